/* SPDX-License-Identifier: MIT */
/*
 * experiment_raw.c - an experiment file as text: sections, keys, values; and overrides of them
 *
 * GKeyFile does the syntax, but merges sections and keys that appear twice, without a word; scan_duplicates() looks for
 * them first. Values are taken raw: no escapes, so that what one sees is what one gets.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/conf.h"

#define RAW_MAX (1u << 20)

G_DEFINE_QUARK(overbook - experiment, experiment_error)

static void fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void fail(GError **error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	g_set_error_literal(error, EXPERIMENT_ERROR, 0, text);
}

static void entry_free(gpointer p)
{
	struct raw_entry *e = p;

	g_free(e->key);
	g_free(e->value);
	g_free(e);
}

static void section_free(gpointer p)
{
	struct raw_section *s = p;

	g_free(s->name);
	g_ptr_array_unref(s->entries);
	g_free(s);
}

static struct raw *raw_new(const char *path)
{
	struct raw *raw = g_new0(struct raw, 1);

	raw->path = g_strdup(path);
	raw->sections = g_ptr_array_new_with_free_func(section_free);
	return raw;
}

void raw_free(struct raw *raw)
{
	if (!raw)
		return;
	g_free(raw->path);
	g_ptr_array_unref(raw->sections);
	g_free(raw);
}

static struct raw_section *add_section(struct raw *raw, enum conf_section kind, const char *name)
{
	struct raw_section *s = g_new0(struct raw_section, 1);

	s->kind = kind;
	s->name = g_strdup(name);
	s->entries = g_ptr_array_new_with_free_func(entry_free);
	g_ptr_array_add(raw->sections, s);
	return s;
}

static void set_entry(struct raw_section *s, const char *key, const char *value, const char *from)
{
	struct raw_entry *e = (struct raw_entry *)raw_find(s, key);

	if (!e) {
		e = g_new0(struct raw_entry, 1);
		e->key = g_strdup(key);
		g_ptr_array_add(s->entries, e);
	}
	g_free(e->value);
	e->value = g_strdup(value);
	e->from = from;
}

const struct raw_entry *raw_find(const struct raw_section *s, const char *key)
{
	for (guint i = 0; i < s->entries->len; i++) {
		const struct raw_entry *e = g_ptr_array_index(s->entries, i);

		if (!strcmp(e->key, key))
			return e;
	}
	return NULL;
}

struct raw *raw_copy(const struct raw *raw)
{
	struct raw *copy = raw_new(raw->path);

	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);
		struct raw_section *t = add_section(copy, s->kind, s->name);

		for (guint j = 0; j < s->entries->len; j++) {
			const struct raw_entry *e = g_ptr_array_index(s->entries, j);

			set_entry(t, e->key, e->value, e->from);
		}
	}
	return copy;
}

/* For messages: the beginning of what may be a megabyte. */
static char *shorten(const char *text)
{
	g_autofree char *begin = NULL;

	if (g_utf8_strlen(text, -1) <= 80)
		return g_strdup(text);
	begin = g_utf8_substring(text, 0, 77);
	return g_strconcat(begin, "...", NULL);
}

gboolean raw_fault(const struct raw *raw, const struct raw_section *s, const struct raw_entry *e, GError **error,
		   const char *format, ...)
{
	const struct conf_section_info *info = &conf_sections[s->kind];
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	g_autofree char *key = e ? shorten(e->key) : NULL, *value = e ? shorten(e->value) : NULL;
	g_autofree char *at = e ? g_strdup_printf(" %s = %s%s", key, value, e->from) : g_strdup("");

	const char *several = e && *e->from && strchr(e->value, ',') ? "; several values to try go into [vary]" : "";

	fail(error, "%s: [%s%s%s]%s: %s%s", raw->path, info->name, *s->name ? " " : "", s->name, at, text, several);
	return FALSE;
}

/* The whole file, at most RAW_MAX bytes, from a pipe too; NULL and a message. */
static char *read_text(const char *path, gsize *len, GError **error)
{
	FILE *f = fopen(path, "re");
	g_autofree char *text = g_malloc(RAW_MAX + 2);
	int err;

	if (!f) {
		fail(error, "%s: cannot be read: %s", path, g_strerror(errno));
		return NULL;
	}
	errno = 0;
	*len = fread(text, 1, RAW_MAX + 1, f);
	err = ferror(f) ? errno : 0;
	fclose(f);
	if (err) {
		fail(error, "%s: cannot be read: %s", path, g_strerror(err));
		return NULL;
	}
	text[*len] = '\0';
	if (*len > RAW_MAX) {
		fail(error, "%s: too large for an experiment file: at most 1 MiB is allowed", path);
		return NULL;
	}
	if (!g_utf8_validate(text, (gssize)*len, NULL)) {
		fail(error, "%s: not a text file: UTF-8 without zero bytes is needed", path);
		return NULL;
	}
	return g_steal_pointer(&text);
}

/* What appears twice, GKeyFile would merge. Lines are numbered from 1. */
static gboolean scan_duplicates(const char *path, const char *text, GError **error)
{
	g_autoptr(GHashTable) lines_of = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autofree char *section = g_strdup("");

	for (guint i = 0; lines[i]; i++) {
		char *line = g_strstrip(lines[i]), *equals = strchr(line, '=');
		g_autofree char *what = NULL;
		guint before;

		if (*line == '[') {
			g_free(section);
			section = g_strdup(line);
			what = g_strdup(line);
		} else if (*line && *line != '#' && equals) {
			g_autofree char *key = g_strndup(line, (gsize)(equals - line));

			what = g_strdup_printf("%s %s", section, g_strchomp(key));
		} else {
			continue;
		}
		before = GPOINTER_TO_UINT(g_hash_table_lookup(lines_of, what));
		if (before) {
			fail(error, "%s: line %u: %s appears twice, first on line %u; once is allowed", path, i + 1,
			     what, before);
			return FALSE;
		}
		g_hash_table_insert(lines_of, g_steal_pointer(&what), GUINT_TO_POINTER(i + 1));
	}
	return TRUE;
}

/* "vm web" to kind and name. */
static gboolean parse_section(const char *path, const char *text, enum conf_section *kind, const char **name,
			      GError **error)
{
	const char *space = strchr(text, ' ');
	g_autofree char *word = space ? g_strndup(text, (gsize)(space - text)) : g_strdup(text);
	const char *names[SECTION_COUNT + 1] = { NULL };
	const char *near;

	*name = space ? space + 1 + strspn(space, " ") - 1 : "";
	for (int i = 0; i < SECTION_COUNT; i++) {
		names[i] = conf_sections[i].name;
		if (!strcmp(word, names[i])) {
			*kind = (enum conf_section)i;
			return TRUE;
		}
	}
	near = conf_nearest(word, names);
	g_autofree char *hint = near ? g_strdup_printf("; did you mean [%s]?", near) : g_strdup("");

	fail(error,
	     "%s: [%s]: no such section%s Allowed are [experiment], [host], [vm NAME], [workload NAME], [phase NAME], "
	     "[costs] "
	     "and [vary]",
	     path, text, near ? hint : ".");
	return FALSE;
}

static gboolean take_section(struct raw *raw, GKeyFile *kf, const char *group, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(kf, group, NULL, NULL);
	const struct conf_section_info *info;
	enum conf_section kind;
	struct raw_section *s;
	const char *name;

	if (!parse_section(raw->path, group, &kind, &name, error))
		return FALSE;
	info = &conf_sections[kind];
	if (info->named && !conf_is_name(name)) {
		fail(error, "%s: [%s]: a name is needed, as in [%s web]: letters, digits, '-' and '_', at most 64",
		     raw->path, group, info->name);
		return FALSE;
	}
	if (!info->named && *name) {
		fail(error, "%s: [%s]: there is only one of its kind; [%s] is allowed", raw->path, group, info->name);
		return FALSE;
	}
	s = add_section(raw, kind, name);
	for (char **k = keys; *k; k++) {
		g_autofree char *value = g_key_file_get_value(kf, group, *k, NULL);

		set_entry(s, *k, g_strstrip(value), "");
	}
	return TRUE;
}

struct raw *raw_read(const char *path, GError **error)
{
	gsize len = 0;
	g_autofree char *text = read_text(path, &len, error);
	g_autoptr(GKeyFile) kf = g_key_file_new();
	g_autoptr(GError) why = NULL;
	struct raw *raw;

	if (!text || !scan_duplicates(path, text, error))
		return NULL;
	if (!g_key_file_load_from_data(kf, text, len, G_KEY_FILE_NONE, &why)) {
		fail(error, "%s: %s (lines are [section], key = value or # comment)", path, why->message);
		return NULL;
	}
	g_auto(GStrv) groups = g_key_file_get_groups(kf, NULL);

	raw = raw_new(path);
	for (char **g = groups; *g; g++)
		if (!take_section(raw, kf, *g, error)) {
			raw_free(raw);
			return NULL;
		}
	return raw;
}

static gboolean no_section(const struct raw *raw, enum conf_section kind, const struct override *o, GError **error)
{
	GString *have = g_string_new(NULL);

	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);

		if (s->kind == kind)
			g_string_append_printf(have, "%s[%s %s]", have->len ? ", " : "", conf_sections[kind].name,
					       s->name);
	}
	fail(error, "%s: %s.%s = %s: there is no [%s]; allowed here: %s%s", raw->path, o->section, o->key, o->value,
	     o->section, kind == SECTION_VM ? "vm for all of them, " : "",
	     have->len ? have->str : "none, for the file has none");
	g_string_free(have, TRUE);
	return FALSE;
}

gboolean raw_override(struct raw *raw, const struct override *o, const char *from, GError **error)
{
	enum conf_section kind;
	const char *name;
	gboolean found = FALSE;

	if (!parse_section(raw->path, o->section, &kind, &name, error))
		return FALSE;
	for (guint i = 0; i < raw->sections->len; i++) {
		struct raw_section *s = g_ptr_array_index(raw->sections, i);

		if (s->kind != kind || ((kind != SECTION_VM || *name) && strcmp(s->name, name)))
			continue;
		set_entry(s, o->key, o->value, from);
		found = TRUE;
	}
	if (kind == SECTION_VARY) {
		fail(error, "%s: %s.%s = %s: [vary] cannot be overridden; override the key that it varies", raw->path,
		     o->section, o->key, o->value);
		return FALSE;
	}
	if (found || (kind == SECTION_VM && !*name))
		return TRUE;
	if (conf_sections[kind].named || *name)
		return no_section(raw, kind, o, error);
	set_entry(add_section(raw, kind, ""), o->key, o->value, from);
	return TRUE;
}

struct override *override_parse(const char *text, GError **error)
{
	const char *equals = strchr(text, '='), *dot = equals ? g_strrstr_len(text, equals - text, ".") : NULL;
	struct override *o;

	if (!dot || dot == text || dot + 1 == equals) {
		fail(error, "--set %s: SECTION.KEY=VALUE is needed, for instance vm.paging=shadow", text);
		return NULL;
	}
	o = g_new0(struct override, 1);
	o->section = g_strstrip(g_strndup(text, (gsize)(dot - text)));
	o->key = g_strstrip(g_strndup(dot + 1, (gsize)(equals - dot - 1)));
	o->value = g_strstrip(g_strdup(equals + 1));
	return o;
}

void override_free(struct override *o)
{
	if (!o)
		return;
	g_free(o->section);
	g_free(o->key);
	g_free(o->value);
	g_free(o);
}
