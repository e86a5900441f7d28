/* SPDX-License-Identifier: MIT */
/* trace_import.c - texts of accesses into a trace: valgrind's lackey, and CSV; vmm/trace.h gives both grammars */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm/trace.h"
#include "vmm/vmm.h"

#define LONGEST 4096 /* bytes of a line */
#define BUFFER	(64 * 1024)

struct import {
	struct trace_writer *w;
	struct trace_import how;
	enum trace_format format;
	bool begun; /* a line of CSV has said something */
	const char *name;
	uint64_t line;
	bool full; /* the limit is reached */
};

static gboolean refuse(const struct import *im, const char *text, const char *wanted, GError **error)
{
	g_autofree char *shown = g_strndup(text, 40);

	/* What a binary file holds is nobody's business on a terminal. */
	for (char *c = shown; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s:%" PRIu64 ": \"%s%s\" is not %s", im->name, im->line, shown,
		    strlen(text) > 40 ? "..." : "", wanted);
	return FALSE;
}

static gboolean emit(struct import *im, uint64_t address, unsigned kind, GError **error)
{
	if (im->full || (im->how.data_only && kind == OP_EXEC))
		return TRUE;
	if (!trace_write(im->w, address, kind, error)) {
		g_prefix_error(error, "%s:%" PRIu64 ": ", im->name, im->line);
		return FALSE;
	}
	im->full = im->how.limit && trace_written(im->w) == im->how.limit;
	return TRUE;
}

static const char *skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/* Digits of @base at *s into *v; false if there are none or they exceed 64 bits. */
static bool parse_number(const char **s, unsigned base, uint64_t *v)
{
	const char *start = *s;
	uint64_t value = 0;

	for (;; ++*s) {
		int digit = base == 16 ? g_ascii_xdigit_value(**s) : g_ascii_digit_value(**s);

		if (digit < 0)
			break;
		if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
			return false;
	}
	*v = value;
	return *s > start;
}

/* " L 1ffefffe70,8": a letter among spaces, so that a stray CSV line is not taken for one. */
static bool looks_like_lackey(const char *line)
{
	return !strncmp(line, "I  ", 3) || (line[0] == ' ' && line[1] && strchr("LSM", line[1]) && line[2] == ' ');
}

static gboolean import_lackey(struct import *im, const char *line, GError **error)
{
	uint64_t address, size;
	const char *s = line + 3;

	if (!strncmp(line, "==", 2) || !strncmp(line, "--", 2))
		return TRUE;
	if (!looks_like_lackey(line) || !parse_number(&s, 16, &address) || *s++ != ',' ||
	    !parse_number(&s, 10, &size) || *skip_blanks(s))
		return refuse(im, line, "a line of lackey's (as \" L 1ffefffe70,8\")", error);
	if (line[0] == 'I')
		return emit(im, address, OP_EXEC, error);
	if (line[1] != 'S' && !emit(im, address, OP_READ, error))
		return FALSE;
	return line[1] == 'L' || emit(im, address, OP_WRITE, error);
}

static gboolean import_csv(struct import *im, const char *line, GError **error)
{
	static const char types[] = "rwi"; /* in the order of OP_READ, OP_WRITE, OP_EXEC */
	const char *s = skip_blanks(line), *type;
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	bool first = !im->begun;
	uint64_t address;

	im->begun = true;
	if (first && !g_ascii_strncasecmp(s, "address,type", 12) && !*skip_blanks(s + 12))
		return TRUE;
	s += hex ? 2 : 0;
	if (!parse_number(&s, hex ? 16 : 10, &address))
		return refuse(im, line, "address,type (a number below 2^64, decimal or 0x hexadecimal; r, w or i)",
			      error);
	s = skip_blanks(s);
	if (*s != ',')
		return refuse(im, line, "address,type (as 0x7ffc1040,r)", error);
	s = skip_blanks(s + 1);
	type = *s ? strchr(types, g_ascii_tolower(*s)) : NULL;
	if (!type || *skip_blanks(s + 1))
		return refuse(im, line, "address,type with type r, w or i", error);
	return emit(im, address, type - types, error);
}

/* One line without its end. */
static gboolean import_line(struct import *im, char *line, size_t n, GError **error)
{
	im->line++;
	if (n && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	if (strlen(line) != n)
		return refuse(im, line, "text", error);
	if (n > LONGEST)
		return refuse(im, line, "a line of an access: it is too long", error);
	if (!*skip_blanks(line) || line[0] == '#')
		return TRUE;
	if (im->format == TRACE_AUTO)
		im->format = looks_like_lackey(line) || !strncmp(line, "==", 2) || !strncmp(line, "--", 2)
				     ? TRACE_LACKEY
				     : TRACE_CSV;
	return im->format == TRACE_LACKEY ? import_lackey(im, line, error) : import_csv(im, line, error);
}

/* All whole lines in buffer[0..*n); what is left moves to its front. */
static gboolean import_lines(struct import *im, char *buffer, size_t *n, GError **error)
{
	char *at = buffer, *end = buffer + *n, *newline;

	while (!im->full && (newline = memchr(at, '\n', end - at))) {
		if (!import_line(im, at, newline - at, error))
			return FALSE;
		at = newline + 1;
	}
	*n = end - at;
	if (*n > LONGEST && !im->full)
		return import_line(im, at, *n, error); /* which says that it is too long */
	memmove(buffer, at, *n);
	return TRUE;
}

gboolean trace_import(struct trace_writer *w, int fd, const char *name, const struct trace_import *how, GError **error)
{
	struct import im = { .w = w, .how = *how, .format = how->format, .name = name };
	g_autofree char *buffer = g_malloc(BUFFER + 1);
	size_t have = 0;

	while (!im.full) {
		ssize_t k = read(fd, buffer + have, BUFFER - have);

		if (run_stop) {
			g_set_error(error, VMM_ERROR, VMM_FAILED, "%s: interrupted", name);
			return FALSE;
		}
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot be read: %s", name, g_strerror(errno));
			return FALSE;
		}
		if (k == 0)
			break;
		have += k;
		if (!import_lines(&im, buffer, &have, error))
			return FALSE;
	}
	if (have && !im.full && !import_line(&im, buffer, have, error))
		return FALSE;
	if (trace_written(w))
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: holds no access", name);
	return FALSE;
}
