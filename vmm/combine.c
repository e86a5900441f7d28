/* SPDX-License-Identifier: MIT */
/*
 * combine.c - several runs, one table
 *
 * summary.csv: one row per run and VM ("host" for the sum): the varied keys, the repetition, the VM, every
 * counter, the latency percentiles. means.csv, when there are repetitions: the mean of each counter over them and the
 * half-width of its 95% confidence interval (Student's t with n - 1 degrees of freedom).
 */
#include <json-glib/json-glib.h>

#include "vmm/results.h"
#include "vmm/text.h"
#include "vmm/view.h"

static const char *const latency_columns[] = { "p50_ns", "p90_ns", "p99_ns", "p99.9_ns", NULL };

static JsonObject *member_object(JsonObject *o, const char *name)
{
	return o && json_object_has_member(o, name) ? json_object_get_object_member(o, name) : NULL;
}

static void csv_key_columns(GString *out, const GPtrArray *first)
{
	for (guint i = 0; i < first->len; i++) {
		const struct override *o = g_ptr_array_index(first, i);
		g_autofree char *name = g_strdup_printf("%s.%s", o->section, o->key);

		text_csv(out, name);
		g_string_append_c(out, ',');
	}
}

static void csv_key_values(GString *out, const GPtrArray *cell)
{
	for (guint i = 0; i < cell->len; i++) {
		text_csv(out, ((const struct override *)g_ptr_array_index(cell, i))->value);
		g_string_append_c(out, ',');
	}
}

static void csv_counters(GString *out, JsonObject *counters, JsonObject *latency)
{
	for (const struct counter_info *i = counter_table; i->name; i++)
		g_string_append_printf(out, ",%" G_GINT64_FORMAT,
				       json_object_get_int_member_with_default(counters, i->name, 0));
	for (unsigned i = 0; latency_columns[i]; i++) {
		g_string_append_c(out, ',');
		if (latency)
			g_string_append_printf(out, "%" G_GINT64_FORMAT,
					       json_object_get_int_member_with_default(latency, latency_columns[i], 0));
	}
	g_string_append_c(out, '\n');
}

static JsonParser *load_summary(const char *dir, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, "summary.json", NULL);
	JsonParser *p = json_parser_new();

	if (json_parser_load_from_file(p, path, error))
		return p;
	g_object_unref(p);
	return NULL;
}

static gboolean write_summary(const char *dir, const GArray *parts, GError **error)
{
	g_autoptr(GString) out = g_string_new(NULL);
	g_autofree char *path = g_build_filename(dir, "summary.csv", NULL);

	csv_key_columns(out, g_array_index(parts, struct part, 0).cell);
	g_string_append(out, "repeat,vm");
	for (const struct counter_info *i = counter_table; i->name; i++)
		g_string_append_printf(out, ",%s", i->name);
	for (unsigned i = 0; latency_columns[i]; i++)
		g_string_append_printf(out, ",%s", latency_columns[i]);
	g_string_append_c(out, '\n');
	for (guint n = 0; n < parts->len; n++) {
		const struct part *part = &g_array_index(parts, struct part, n);
		g_autoptr(JsonParser) p = load_summary(dir, part->name, error);

		if (!p)
			return FALSE;

		JsonObject *root = json_node_get_object(json_parser_get_root(p));
		JsonObject *vms = member_object(root, "vms");
		g_autoptr(GList) members = json_object_get_members(vms);

		for (GList *l = members; l; l = l->next) {
			csv_key_values(out, part->cell);
			g_string_append_printf(out, "%" G_GUINT64_FORMAT ",%s", part->repeat, (char *)l->data);
			csv_counters(out, member_object(vms, l->data),
				     member_object(member_object(root, "latency"), l->data));
		}
		csv_key_values(out, part->cell);
		g_string_append_printf(out, "%" G_GUINT64_FORMAT ",host", part->repeat);
		csv_counters(out, member_object(root, "host"), NULL);
	}
	return g_file_set_contents(path, out->str, (gssize)out->len, error);
}

/* means.csv from the view, which knows which runs are repetitions of one another. */
static gboolean write_means(const char *dir, GError **error)
{
	g_autoptr(GString) out = g_string_new(NULL);
	g_autofree char *path = g_build_filename(dir, "means.csv", NULL);
	struct view *v = view_load(dir, error);

	if (!v)
		return FALSE;
	g_string_append(out, "combination,vm,repeats");
	for (const struct counter_info *i = counter_table; i->name; i++)
		g_string_append_printf(out, ",%s,%s_ci95", i->name, i->name);
	g_string_append_c(out, '\n');
	for (guint n = 0; n < v->rows->len; n++) {
		const struct view_row *row = g_ptr_array_index(v->rows, n);

		text_csv(out, row->label);
		g_string_append_printf(out, ",%s,%u", row->vm, row->counters->len);
		for (const struct counter_info *i = counter_table; i->name; i++) {
			double ci, m = view_counter(row, i->name, &ci);

			g_string_append_printf(out, ",%.6g,%.6g", m, ci);
		}
		g_string_append_c(out, '\n');
	}
	view_free(v);
	return g_file_set_contents(path, out->str, (gssize)out->len, error);
}

static gboolean write_manifest(const char *dir, const GArray *parts, const struct manifest *m, GError **error)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	g_autofree char *path = g_build_filename(dir, "manifest.json", NULL);
	g_autofree char *json = NULL;

	json_builder_begin_object(b);
	manifest_common(b, m);
	json_builder_set_member_name(b, "runs");
	json_builder_begin_array(b);
	for (guint n = 0; n < parts->len; n++) {
		const GPtrArray *cell = g_array_index(parts, struct part, n).cell;

		json_builder_begin_object(b);
		json_builder_set_member_name(b, "directory");
		json_builder_add_string_value(b, g_array_index(parts, struct part, n).name);
		json_builder_set_member_name(b, "set");
		json_builder_begin_object(b);
		for (guint i = 0; i < cell->len; i++) {
			const struct override *o = g_ptr_array_index(cell, i);
			g_autofree char *key = g_strdup_printf("%s.%s", o->section, o->key);

			json_builder_set_member_name(b, key);
			json_builder_add_string_value(b, o->value);
		}
		json_builder_end_object(b);
		json_builder_end_object(b);
	}
	json_builder_end_array(b);
	json_builder_end_object(b);
	json = json_text(b);
	return g_file_set_contents(path, json, -1, error);
}

gboolean results_combine(const char *dir, const GArray *parts, const struct manifest *m, GError **error)
{
	bool repeated = false;

	for (guint n = 0; n < parts->len; n++)
		repeated |= g_array_index(parts, struct part, n).repeat > 1;
	return write_summary(dir, parts, error) && write_manifest(dir, parts, m, error) &&
	       (!repeated || write_means(dir, error));
}
