/* SPDX-License-Identifier: MIT */
/*
 * conf_value.c - one value of an experiment file: text to number and back, exactly
 *
 * Numbers are decimal with at most nine decimals and a unit; they are computed in integers and must come out whole
 * (1.5 KiB is 1,536 bytes; 0.3 B is an error). What conf_format() writes, conf_parse() reads as the same value
 * (test_experiment: values).
 */
#include "vmm/conf.h"

#include <string.h>

#include "workloads/pattern.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Written with the largest unit that divides, first to last; the rows after the NULL factor-1 row are only read. */
static const struct unit size_units[] = {
	{ "TiB", 1ull << 40 }, { "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "B", 1 }, { "", 1 },
	{ "T", 1ull << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { NULL, 0 },
};
static const struct unit time_units[] = {
	{ "s", 1000000000 }, { "ms", 1000000 }, { "us", 1000 }, { "ns", 1 },
	{ "min", 60000000000ull }, { "h", 3600000000000ull }, { NULL, 0 },
};
static const struct unit share_units[] = { { "%", 10000 }, { "ppm", 1 }, { NULL, 0 } };
static const struct unit count_units[] = {
	{ "", 1 }, { "k", 1000 }, { "M", 1000000 }, { "G", 1000000000 }, { NULL, 0 },
};
static const struct unit milli_units[] = { { "", 1000 }, { NULL, 0 } };

static const struct unit *units_of(enum conf_type type)
{
	switch (type) {
	case CONF_SIZE:
		return size_units;
	case CONF_TIME:
		return time_units;
	case CONF_SHARE:
		return share_units;
	case CONF_MILLI:
		return milli_units;
	default:
		return count_units;
	}
}

/* Decimal number @text times 10^9 into *out, the rest into *rest. False: no number, or beyond 2^64. */
static bool parse_decimal(const char *text, unsigned __int128 *out, const char **rest)
{
	unsigned __int128 n = 0, limit = (unsigned __int128)UINT64_MAX * 1000000000;
	unsigned decimals = 0;

	if (!g_ascii_isdigit(*text))
		return false;
	for (; g_ascii_isdigit(*text) || (*text == '_' && g_ascii_isdigit(text[1])); text++) {
		if (*text != '_')
			n = n * 10 + (unsigned)(*text - '0');
		if (n > UINT64_MAX)
			return false;
	}
	n *= 1000000000;
	if (*text == '.' && g_ascii_isdigit(text[1])) {
		unsigned place = 100000000;

		for (text++; g_ascii_isdigit(*text); text++, place /= 10) {
			if (++decimals > 9)
				return false;
			n += (unsigned __int128)place * (unsigned)(*text - '0');
		}
	}
	*out = n;
	*rest = text;
	return n <= limit;
}

static bool parse_number(const struct conf_key *k, const char *text, uint64_t *out)
{
	const struct unit *u = units_of(k->type);
	unsigned __int128 n;
	const char *rest;

	if (!parse_decimal(text, &n, &rest))
		return false;
	while (*rest == ' ')
		rest++;
	if (n == 0 && *rest == '\0') {
		*out = 0; /* nothing needs no unit */
		return true;
	}
	while (u->name && strcmp(u->name, rest))
		u++;
	if (!u->name || (u->factor > 1 && n > ((unsigned __int128)UINT64_MAX * 1000000000) / u->factor))
		return false;
	n *= u->factor;
	*out = (uint64_t)(n / 1000000000);
	return n % 1000000000 == 0;
}

static char *format_number(enum conf_type type, uint64_t n)
{
	const struct unit *u = units_of(type);
	bool space = type == CONF_SIZE || type == CONF_TIME;

	if (n == 0 || type == CONF_COUNT)
		return g_strdup_printf("%" G_GUINT64_FORMAT, n);
	if (type == CONF_SHARE || type == CONF_MILLI) {
		g_autofree char *s = g_strdup_printf("%" G_GUINT64_FORMAT ".%0*" G_GUINT64_FORMAT, n / u->factor,
						     type == CONF_SHARE ? 4 : 3, n % u->factor);
		size_t len = strlen(s);

		while (s[len - 1] == '0')
			len--;
		if (s[len - 1] == '.')
			len--;
		return g_strdup_printf("%.*s%s", (int)len, s, u->name);
	}
	while (n % u->factor)
		u++;
	return g_strdup_printf("%" G_GUINT64_FORMAT "%s%s", n / u->factor, space ? " " : "", u->name);
}

bool conf_is_name(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!g_ascii_isalnum(*c) && *c != '-' && *c != '_')
			return false;
	return *text && strlen(text) <= 64;
}

/* "text" or "text:100" */
static bool parse_contents(const char *text, unsigned *family, uint64_t *number)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	*number = 0;
	for (*family = 0; *family < PATTERN_FAMILIES; (*family)++) {
		const char *name = pattern_family_name(*family);

		if (strlen(name) == len && !strncmp(name, text, len))
			break;
	}
	if (*family == PATTERN_FAMILIES || (*family == PATTERN_ZERO && colon))
		return false;
	return !colon || (g_ascii_string_to_unsigned(colon + 1, 10, 1, UINT32_MAX, number, NULL));
}

uint64_t conf_contents_base(const char *text)
{
	unsigned family;
	uint64_t number;

	return parse_contents(text, &family, &number) ? PATTERN_BASE(family, number) : 0;
}

static char **split_names(const char *text)
{
	g_auto(GStrv) parts = g_strsplit_set(text, ",;", -1);
	g_autoptr(GPtrArray) out = g_ptr_array_new();

	for (char **p = parts; *p; p++)
		if (*g_strstrip(*p) || p[1])
			g_ptr_array_add(out, g_strdup(*p));
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

static bool parse_names(const struct conf_key *k, const char *text, char ***out)
{
	char **names = split_names(text);
	guint n = g_strv_length(names);
	bool ok = n >= k->min && n <= k->max;

	for (char **p = names; *p; p++)
		ok = ok && conf_is_name(*p);
	if (!ok) {
		g_strfreev(names);
		return false;
	}
	*out = names;
	return true;
}

/* "1", "0-3" or "all" into bits of @out. */
static bool parse_node_range(const char *text, uint64_t *out)
{
	g_auto(GStrv) ends = g_strsplit(text, "-", 2);
	guint64 first, last;

	if (!ends[0] || !g_ascii_string_to_unsigned(g_strstrip(ends[0]), 10, 0, 63, &first, NULL))
		return false;
	last = first;
	if (ends[1] && !g_ascii_string_to_unsigned(g_strstrip(ends[1]), 10, first, 63, &last, NULL))
		return false;
	for (; first <= last; first++)
		*out |= 1ull << first;
	return true;
}

static bool parse_nodes(const char *text, uint64_t *out)
{
	g_auto(GStrv) parts = split_names(text);

	*out = 0;
	if (!strcmp(text, "all"))
		return true;
	for (char **p = parts; *p; p++)
		if (!parse_node_range(*p, out))
			return false;
	return *out != 0;
}

static char *format_nodes(uint64_t nodes)
{
	GString *s = g_string_new(nodes ? "" : "all");

	for (unsigned i = 0; i < 64; i++)
		if (nodes >> i & 1)
			g_string_append_printf(s, "%s%u", s->len ? ", " : "", i);
	return g_string_free(s, FALSE);
}

static bool parse_choice(const struct conf_key *k, const char *text, int *out)
{
	for (int i = 0; k->choices[i]; i++)
		if (!strcmp(text, k->choices[i])) {
			*out = k->base + i;
			return true;
		}
	return false;
}

static bool parse_pattern(const char *text, int *out)
{
	*out = PHASE_TRACE;
	if (!strcmp(text, "trace"))
		return true;
	for (int i = 0; workload_generators[i]; i++)
		if (!strcmp(text, workload_generators[i]->name)) {
			*out = i;
			return true;
		}
	return false;
}

static bool parse_bool(const char *text, bool *out)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1", NULL };

	for (int i = 0; words[i]; i++)
		if (!strcmp(text, words[i])) {
			*out = i & 1;
			return true;
		}
	return false;
}

/* 1.5, -2, 40%: at most 15 characters, so that a double holds it. */
static bool is_number(const char *text)
{
	const char *digits = text + (*text == '-');
	size_t whole = strspn(digits, "0123456789"), decimals;
	const char *rest = digits + whole;

	if (!whole || strlen(text) > 15)
		return false;
	if (*rest == '.') {
		decimals = strspn(++rest, "0123456789");
		if (!decimals)
			return false;
		rest += decimals;
	}
	return !strcmp(rest, "") || !strcmp(rest, "%");
}

static bool parse_any(const struct conf_key *k, const char *text, void *field)
{
	unsigned family;
	uint64_t number;

	switch (k->type) {
	case CONF_NAME:
		if (!conf_is_name(text) && (*text || !k->def || *k->def))
			return false;
		break;
	case CONF_CONTENTS:
		if (!parse_contents(text, &family, &number))
			return false;
		break;
	case CONF_NUMBER:
		if (!is_number(text) && (*text || !k->def || *k->def))
			return false;
		break;
	case CONF_TEXT:
	case CONF_FILE:
	case CONF_PROFILE:
		break;
	case CONF_NAMES:
		return parse_names(k, text, field);
	case CONF_NODES:
		return parse_nodes(text, field);
	case CONF_BOOL:
		return parse_bool(text, field);
	case CONF_ENUM:
		return parse_choice(k, text, field);
	case CONF_PATTERN:
		return parse_pattern(text, field);
	default:
		if (!parse_number(k, text, &number) || number < k->min || number > k->max)
			return false;
		*(uint64_t *)field = number;
		return true;
	}
	*(char **)field = g_strdup(text);
	return true;
}

bool conf_parse(const struct conf_key *k, const char *text, void *field, char **why)
{
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127) {
			*why = g_strdup("control characters are not allowed");
			return false;
		}
	if (parse_any(k, text, field))
		return true;
	*why = conf_describe(k);
	return false;
}

char *conf_format(const struct conf_key *k, const void *field)
{
	int i = k->type == CONF_ENUM || k->type == CONF_PATTERN ? *(const int *)field : 0;

	switch (k->type) {
	case CONF_TEXT:
	case CONF_NAME:
	case CONF_FILE:
	case CONF_PROFILE:
	case CONF_CONTENTS:
	case CONF_NUMBER:
		return g_strdup(*(char *const *)field);
	case CONF_NAMES:
		return g_strjoinv(", ", *(char **const *)field);
	case CONF_NODES:
		return format_nodes(*(const uint64_t *)field);
	case CONF_BOOL:
		return g_strdup(*(const bool *)field ? "yes" : "no");
	case CONF_ENUM:
		return g_strdup(k->choices[i - k->base]);
	case CONF_PATTERN:
		return g_strdup(i == PHASE_TRACE ? "trace" : workload_generators[i]->name);
	default:
		return format_number(k->type, *(const uint64_t *)field);
	}
}

void conf_clear(const struct conf_key *k, void *field)
{
	switch (k->type) {
	case CONF_TEXT:
	case CONF_NAME:
	case CONF_FILE:
	case CONF_PROFILE:
	case CONF_CONTENTS:
	case CONF_NUMBER:
		g_clear_pointer((char **)field, g_free);
		break;
	case CONF_NAMES:
		g_clear_pointer((char ***)field, g_strfreev);
		break;
	default:
		break;
	}
}

static char *describe_range(const struct conf_key *k, const char *what)
{
	g_autofree char *min = format_number(k->type, k->min), *max = format_number(k->type, k->max);

	return k->max == UINT64_MAX ? g_strdup_printf("%s, at least %s", what, min)
				    : g_strdup_printf("%s from %s to %s", what, min, max);
}

static char *describe_patterns(void)
{
	GString *s = g_string_new("one of ");

	for (int i = 0; workload_generators[i]; i++)
		g_string_append_printf(s, "%s, ", workload_generators[i]->name);
	return g_string_free(g_string_append(s, "trace"), FALSE);
}

char *conf_describe(const struct conf_key *k)
{
	switch (k->type) {
	case CONF_TEXT:
		return g_strdup("any text");
	case CONF_FILE:
		return g_strdup("a file name");
	case CONF_NUMBER:
		return g_strdup("a decimal value as 1.5, -2 or 40%");
	case CONF_PROFILE:
		return g_strdup("a profile's name, or a file NAME.ini");
	case CONF_NAME:
		return g_strdup("a name of letters, digits, '-' and '_', at most 64");
	case CONF_NAMES:
		return g_strdup_printf("%s%" G_GUINT64_FORMAT " names, separated by commas",
				       k->min ? "1 to " : "at most ", k->max);
	case CONF_SIZE:
		return describe_range(k, "a size in B, KiB, MiB, GiB or TiB,");
	case CONF_TIME:
		return describe_range(k, "a time in ns, us, ms, s, min or h,");
	case CONF_SHARE:
		return describe_range(k, "a share in % or ppm,");
	case CONF_MILLI:
		return describe_range(k, "a number with at most three decimals,");
	case CONF_COUNT:
		return describe_range(k, "a whole number");
	case CONF_NODES:
		return g_strdup("all, or numbers of nodes from 0 to 63: 0, 2 or 0-3");
	case CONF_BOOL:
		return g_strdup("yes or no");
	case CONF_PATTERN:
		return describe_patterns();
	case CONF_CONTENTS:
		return g_strdup("zero, text, pointer, code, random or near, all but zero perhaps with a number from 1: "
				"text:100");
	case CONF_ENUM:
		break;
	}
	g_autofree char *all = g_strjoinv(", ", (char **)k->choices);

	return g_strdup_printf("one of %s", all);
}

struct conf_key conf_param_key(const struct workload_param *p, unsigned i)
{
	static const enum conf_type types[] = {
		[PARAM_COUNT] = CONF_COUNT, [PARAM_SIZE] = CONF_SIZE,	[PARAM_TIME] = CONF_TIME,
		[PARAM_PPM] = CONF_SHARE,   [PARAM_MILLI] = CONF_MILLI,
	};

	return (struct conf_key){
		.name = p->name,
		.type = types[p->unit],
		.offset = offsetof(struct conf_phase, param) + i * sizeof(uint64_t),
		.min = p->min,
		.max = p->max,
		.sentence = p->summary,
	};
}

const struct workload_param *conf_params(int pattern)
{
	return pattern == PHASE_TRACE ? NULL : workload_generators[pattern]->params;
}

/* Levenshtein's distance, up to a limit on length. */
static unsigned edit_distance(const char *a, const char *b)
{
	size_t n = strlen(b);
	unsigned row[65];

	if (n > 64 || strlen(a) > 64)
		return UINT_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[n];
}

const char *conf_nearest(const char *text, const char *const *names)
{
	const char *best = NULL;
	unsigned least = MAX(2u, (unsigned)strlen(text) / 3) + 1;

	for (; *names; names++) {
		unsigned d = edit_distance(text, *names);

		if (d < least && d < strlen(*names)) {
			least = d;
			best = *names;
		}
	}
	return best;
}
