/* SPDX-License-Identifier: MIT */
/*
 * experiment_vary.c - [vary]: lists of values, and every combination of them
 *
 * A row is SECTION.KEY = a, b, c. A list with ';' is split there alone, so that values may hold commas. All
 * combinations are built and checked when the file is read: a run of hours does not end at its last one's typing error.
 */
#include <string.h>

#include "vmm/conf.h"

#define VARY_MAX       4096u
#define NAME_MAX_BYTES 200u

static gboolean is_fixed(const struct conf_vary *v, const GPtrArray *overrides)
{
	for (guint i = 0; overrides && i < overrides->len; i++) {
		const struct override *o = g_ptr_array_index(overrides, i);

		if (!strcmp(o->section, v->section) && !strcmp(o->key, v->key))
			return TRUE;
	}
	return FALSE;
}

/* A value as a part of a directory's name: blanks fall out, what is not harmless becomes '_'. */
static void append_clean(GString *s, const char *value)
{
	for (; *value; value++)
		if (*value != ' ')
			g_string_append_c(s, g_ascii_isalnum(*value) || strchr("._+%-:", *value) ? *value : '_');
}

static char **split_values(const char *text)
{
	char **values = g_strsplit(text, strchr(text, ';') ? ";" : ",", -1);
	guint n = g_strv_length(values);

	for (guint i = 0; i < n; i++)
		g_strstrip(values[i]);
	if (n > 1 && !*values[n - 1])
		g_clear_pointer(&values[n - 1], g_free);
	return values;
}

static gboolean check_values(const struct raw *raw, const struct raw_section *s, const struct raw_entry *entry,
			     char **values, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	if (!*values)
		return raw_fault(raw, s, entry, error, "a list of values is needed: a, b, c");
	for (char **v = values; *v; v++) {
		GString *clean = g_string_new(NULL);

		if (!**v && values[1]) {
			g_string_free(clean, TRUE);
			return raw_fault(raw, s, entry, error, "a value of the list is empty");
		}
		append_clean(clean, *v);
		if (!g_hash_table_add(seen, g_string_free(clean, FALSE)))
			return raw_fault(raw, s, entry, error, "the value \"%s\" is there twice", *v);
	}
	return TRUE;
}

static gboolean read_row(struct experiment *e, const struct raw *raw, const struct raw_section *s,
			 const struct raw_entry *entry, const GPtrArray *overrides, GError **error)
{
	const char *dot = strrchr(entry->key, '.');
	struct conf_vary *v;

	if (!dot || dot == entry->key || !dot[1])
		return raw_fault(raw, s, entry, error, "the key must be SECTION.KEY, for instance vm.paging");
	v = g_new0(struct conf_vary, 1);
	v->section = g_strndup(entry->key, (gsize)(dot - entry->key));
	v->key = g_strdup(dot + 1);
	v->values = split_values(entry->value);
	g_ptr_array_add(e->vary, v);
	if (!check_values(raw, s, entry, v->values, error))
		return FALSE;
	if (is_fixed(v, overrides))
		g_ptr_array_remove(e->vary, v);
	return TRUE;
}

gboolean vary_read(struct experiment *e, const struct raw *raw, const GPtrArray *overrides, GError **error)
{
	uint64_t n = 1;

	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);

		for (guint j = 0; s->kind == SECTION_VARY && j < s->entries->len; j++)
			if (!read_row(e, raw, s, g_ptr_array_index(s->entries, j), overrides, error))
				return FALSE;
		for (guint j = 0; s->kind == SECTION_VARY && j < e->vary->len; j++) {
			n *= g_strv_length(((struct conf_vary *)g_ptr_array_index(e->vary, j))->values);
			if (n > VARY_MAX)
				return raw_fault(raw, s, NULL, error, "too many combinations; at most %u are allowed",
						 VARY_MAX);
		}
	}
	return TRUE;
}

static gboolean check_cell(const struct raw *raw, const GPtrArray *cell, GError **error)
{
	struct raw *copy = raw_copy(raw);
	struct experiment *e = NULL;
	gboolean ok = TRUE;

	for (guint i = 0; ok && i < cell->len; i++)
		ok = raw_override(copy, g_ptr_array_index(cell, i), " (from [vary])", error);
	ok = ok && (e = experiment_build(copy, error)) && experiment_check(e, error);
	experiment_free(e);
	raw_free(copy);
	return ok;
}

gboolean vary_check(const struct experiment *e, const struct raw *raw, GError **error)
{
	g_autoptr(GPtrArray) cells = experiment_combinations(e);

	for (guint i = 0; e->vary->len && i < cells->len; i++)
		if (!check_cell(raw, g_ptr_array_index(cells, i), error))
			return FALSE;
	return TRUE;
}

GPtrArray *experiment_combinations(const struct experiment *e)
{
	GPtrArray *cells = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
	uint64_t n = 1;

	for (guint i = 0; i < e->vary->len; i++)
		n *= g_strv_length(((const struct conf_vary *)g_ptr_array_index(e->vary, i))->values);
	for (uint64_t number = 0; number < n; number++) {
		GPtrArray *cell = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);
		uint64_t digits = number, weight = n;

		for (guint i = 0; i < e->vary->len; i++) {
			const struct conf_vary *v = g_ptr_array_index(e->vary, i);
			struct override *o = g_new0(struct override, 1);

			weight /= g_strv_length(v->values);
			o->section = g_strdup(v->section);
			o->key = g_strdup(v->key);
			o->value = g_strdup(v->values[digits / weight]);
			digits %= weight;
			g_ptr_array_add(cell, o);
		}
		g_ptr_array_add(cells, cell);
	}
	return cells;
}

static gboolean key_is_unique(const GPtrArray *overrides, const struct override *o)
{
	guint n = 0;

	for (guint i = 0; i < overrides->len; i++)
		n += !strcmp(((const struct override *)g_ptr_array_index(overrides, i))->key, o->key);
	return n == 1;
}

char *combination_name(const GPtrArray *overrides)
{
	GString *s = g_string_new(NULL);

	for (guint i = 0; i < overrides->len; i++) {
		const struct override *o = g_ptr_array_index(overrides, i);

		g_string_append(s, i ? "," : "");
		if (!key_is_unique(overrides, o)) {
			append_clean(s, o->section);
			g_string_append_c(s, '.');
		}
		append_clean(s, o->key);
		g_string_append_c(s, '=');
		append_clean(s, o->value);
	}
	if (s->len > NAME_MAX_BYTES) {
		g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, s->str, -1);

		g_string_truncate(s, NAME_MAX_BYTES - 17);
		g_string_append_printf(s, "~%.16s", sum);
	}
	return g_string_free(s, FALSE);
}
