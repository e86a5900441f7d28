/* SPDX-License-Identifier: MIT */
/* view.c - results read back from disk */
#include <math.h>
#include <string.h>

#include "vmm/view.h"
#include "vmm/vmm.h"

static void row_free(gpointer p)
{
	struct view_row *r = p;

	g_free(r->label);
	g_free(r->vm);
	g_free(r->run);
	g_ptr_array_unref(r->counters);
	g_ptr_array_unref(r->latency);
	g_free(r);
}

void view_free(struct view *v)
{
	if (!v)
		return;
	g_free(v->dir);
	g_free(v->title);
	g_free(v->question);
	g_free(v->metric);
	g_strfreev(v->figures);
	g_free(v->keys);
	g_ptr_array_unref(v->rows);
	g_ptr_array_unref(v->hosts);
	g_ptr_array_unref(v->sets);
	g_ptr_array_unref(v->labels);
	g_ptr_array_unref(v->vms);
	g_ptr_array_unref(v->parsers);
	g_free(v);
}

static JsonObject *load(struct view *v, const char *run, const char *file, GError **error)
{
	g_autofree char *path = g_build_filename(v->dir, run, file, NULL);
	JsonParser *p = json_parser_new();

	g_ptr_array_add(v->parsers, p);
	if (!json_parser_load_from_file(p, path, error)) {
		g_prefix_error(error, "%s: ", path);
		return NULL;
	}
	JsonNode *root = json_parser_get_root(p);

	if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: not a file that overbook wrote", path);
		return NULL;
	}
	return json_node_get_object(root);
}

static JsonObject *section(JsonObject *o, const char *name)
{
	JsonNode *n = o ? json_object_get_member(o, name) : NULL;

	return n && JSON_NODE_HOLDS_OBJECT(n) ? json_node_get_object(n) : NULL;
}

static const char *text(JsonObject *o, const char *name)
{
	JsonNode *n = o ? json_object_get_member(o, name) : NULL;

	return n && JSON_NODE_HOLDS_VALUE(n) && json_node_get_value_type(n) == G_TYPE_STRING ? json_node_get_string(n)
											     : NULL;
}

static gboolean remember(GPtrArray *set, const char *name)
{
	for (guint i = 0; i < set->len; i++)
		if (!strcmp(g_ptr_array_index(set, i), name))
			return FALSE;
	g_ptr_array_add(set, g_strdup(name));
	return TRUE;
}

static struct view_row *row_new(const char *run, const char *label, const char *vm)
{
	struct view_row *row = g_new0(struct view_row, 1);

	row->label = g_strdup(label);
	row->vm = g_strdup(vm);
	row->run = g_strdup(run);
	row->counters = g_ptr_array_new();
	row->latency = g_ptr_array_new();
	return row;
}

/* The host's counters, which no table of guests shows. */
static void add_host(struct view *v, const char *run, const char *label, JsonObject *counters)
{
	struct view_row *row = NULL;

	for (guint i = 0; i < v->hosts->len; i++) {
		row = g_ptr_array_index(v->hosts, i);
		if (!strcmp(row->label, label))
			break;
		row = NULL;
	}
	if (!row) {
		row = row_new(run, label, "host");
		g_ptr_array_add(v->hosts, row);
	}
	g_ptr_array_add(row->counters, counters);
}

static gboolean add_run(struct view *v, const char *run, const char *label, JsonObject *set, GError **error)
{
	JsonObject *summary = load(v, run, "summary.json", error);
	JsonObject *vms = section(summary, "vms");

	if (!vms) {
		if (summary)
			g_set_error(error, VMM_ERROR, VMM_USAGE, "%s/%s/summary.json: has no \"vms\"", v->dir, run);
		return FALSE;
	}
	JsonNode *interrupted = json_object_get_member(summary, "interrupted");
	g_autoptr(GList) names = json_object_get_members(vms);

	if (!names) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s/%s/summary.json: \"vms\" is empty", v->dir, run);
		return FALSE;
	}
	if (interrupted && JSON_NODE_HOLDS_VALUE(interrupted) && json_node_get_boolean(interrupted))
		v->interrupted = TRUE;
	if (remember(v->labels, label))
		g_ptr_array_add(v->sets, set);
	if (section(summary, "host"))
		add_host(v, run, label, section(summary, "host"));
	for (GList *l = names; l; l = l->next) {
		if (!section(vms, l->data)) {
			g_set_error(error, VMM_ERROR, VMM_USAGE, "%s/%s/summary.json: VM \"%s\" has no counters",
				    v->dir, run, (char *)l->data);
			return FALSE;
		}
		struct view_row *row = (struct view_row *)view_find(v, label, l->data);
		JsonObject *latency = section(section(summary, "latency"), l->data);

		if (!row) {
			row = row_new(run, label, l->data);
			row->digest = text(section(summary, "digest"), l->data);
			g_ptr_array_add(v->rows, row);
			remember(v->vms, l->data);
		}
		if (!row->failure)
			row->failure = text(section(summary, "failures"), l->data);
		if (!row->killed)
			row->killed = text(section(summary, "killed"), l->data);
		g_ptr_array_add(row->counters, section(vms, l->data));
		if (latency)
			g_ptr_array_add(row->latency, latency);
	}
	return TRUE;
}

/* "shadow, 2M" from {"vm.paging": "shadow", "host.page-size": "2M"}. */
static char *label_of(JsonObject *set)
{
	g_autoptr(GString) out = g_string_new(NULL);
	g_autoptr(GList) names = set ? json_object_get_members(set) : NULL;

	for (GList *l = names; l; l = l->next)
		g_string_append_printf(out, "%s%s", out->len ? ", " : "",
				       text(set, l->data) ? text(set, l->data) : "?");
	return g_strdup(out->str);
}

static gboolean add_runs(struct view *v, JsonArray *runs, GError **error)
{
	for (guint i = 0; i < json_array_get_length(runs); i++) {
		JsonNode *node = json_array_get_element(runs, i);
		JsonObject *run = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		JsonObject *set = section(run, "set");
		g_autofree char *label = label_of(set);

		if (!text(run, "directory")) {
			g_set_error(error, VMM_ERROR, VMM_USAGE, "%s/manifest.json: run %u has no directory", v->dir,
				    i);
			return FALSE;
		}
		if (!*v->keys && set) {
			g_autoptr(GString) keys = g_string_new(NULL);
			g_autoptr(GList) names = json_object_get_members(set);

			for (GList *l = names; l; l = l->next)
				g_string_append_printf(keys, "%s%s", keys->len ? ", " : "", (char *)l->data);
			g_free(v->keys);
			v->keys = g_strdup(keys->str);
		}
		if (!add_run(v, text(run, "directory"), label, set, error))
			return FALSE;
	}
	return TRUE;
}

static char *key_text(GKeyFile *kf, const char *key)
{
	char *value = g_key_file_get_string(kf, "experiment", key, NULL);

	return value ? value : g_strdup("");
}

struct view *view_load(const char *dir, GError **error)
{
	struct view *v = g_new0(struct view, 1);
	g_autoptr(GKeyFile) kf = g_key_file_new();
	g_autofree char *ini = g_build_filename(dir, "experiment.ini", NULL), *figures = NULL;

	v->dir = g_strdup(dir);
	v->keys = g_strdup("");
	v->rows = g_ptr_array_new_with_free_func(row_free);
	v->hosts = g_ptr_array_new_with_free_func(row_free);
	v->sets = g_ptr_array_new();
	v->labels = g_ptr_array_new_with_free_func(g_free);
	v->vms = g_ptr_array_new_with_free_func(g_free);
	v->parsers = g_ptr_array_new_with_free_func(g_object_unref);
	if (!g_key_file_load_from_file(kf, ini, G_KEY_FILE_NONE, error)) {
		g_prefix_error(error, "%s is no run directory: ", dir);
		goto fail;
	}
	v->title = key_text(kf, "title");
	v->question = key_text(kf, "question");
	v->metric = key_text(kf, "metric");
	if (!*v->metric) {
		g_free(v->metric);
		v->metric = g_strdup("ns_total/operations");
	}
	figures = key_text(kf, "figures");
	v->figures = g_strsplit_set(figures, ",", -1);
	for (unsigned i = 0; v->figures[i]; i++)
		g_strstrip(v->figures[i]);

	JsonObject *manifest = load(v, "", "manifest.json", error);

	if (!manifest)
		goto fail;
	JsonNode *runs = json_object_get_member(manifest, "runs");

	if (runs && !JSON_NODE_HOLDS_ARRAY(runs)) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s/manifest.json: \"runs\" is no list", dir);
		goto fail;
	}
	if (runs) {
		if (!add_runs(v, json_node_get_array(runs), error))
			goto fail;
		if (!v->rows->len) {
			g_set_error(error, VMM_ERROR, VMM_USAGE, "%s/manifest.json: \"runs\" is empty", dir);
			goto fail;
		}
	} else if (!add_run(v, "", "", NULL, error)) {
		goto fail;
	}
	return v;
fail:
	view_free(v);
	return NULL;
}

const struct view_row *view_find(const struct view *v, const char *label, const char *vm)
{
	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (!strcmp(r->label, label) && !strcmp(r->vm, vm))
			return r;
	}
	return NULL;
}

const char *view_run(const struct view *v, const char *label)
{
	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (!strcmp(r->label, label))
			return r->run;
	}
	return "";
}

double view_t95(guint degrees)
{
	/* Tables to 30 degrees of freedom, then the normal's quantile (within 4%). */
	static const double t[] = { 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
				   2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
				   2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042 };

	return degrees >= 1 && degrees <= G_N_ELEMENTS(t) ? t[degrees - 1] : 1.96;
}

double view_value(JsonObject *o, const char *name)
{
	JsonNode *n = json_object_get_member(o, name);

	return n && JSON_NODE_HOLDS_VALUE(n) ? json_node_get_double(n) : 0;
}

double view_mean(const double *x, guint n, double *ci)
{
	double sum = 0, squares = 0;

	for (guint i = 0; i < n; i++)
		sum += x[i];

	double m = n ? sum / n : NAN;

	for (guint i = 0; i < n; i++)
		squares += (x[i] - m) * (x[i] - m);
	if (ci)
		*ci = n > 1 ? view_t95(n - 1) * sqrt(squares / (n - 1) / n) : 0;
	return m;
}

static double mean_of(const GPtrArray *objects, const char *name, const char *denominator, double *ci)
{
	g_autofree double *x = g_new(double, objects->len + 1);
	guint n = 0;

	for (guint i = 0; i < objects->len; i++) {
		JsonObject *o = g_ptr_array_index(objects, i);
		double d = denominator ? view_value(o, denominator) : 1;

		if (d > 0)
			x[n++] = view_value(o, name) / d;
	}
	return view_mean(x, n, ci);
}

double view_counter(const struct view_row *row, const char *counter, double *ci)
{
	return mean_of(row->counters, counter, NULL, ci);
}

double view_latency(const struct view_row *row, const char *point)
{
	return mean_of(row->latency, point, NULL, NULL);
}

static void split_metric(const char *metric, char **num, char **den)
{
	const char *slash = strchr(metric, '/');

	*num = g_strstrip(slash ? g_strndup(metric, (gsize)(slash - metric)) : g_strdup(metric));
	*den = slash ? g_strstrip(g_strdup(slash + 1)) : NULL;
}

double view_metric(const struct view_row *row, const char *metric, double *ci)
{
	g_autofree char *num = NULL, *den = NULL;

	split_metric(metric, &num, &den);
	return mean_of(row->counters, num, den, ci);
}

static const char *unit_of(const char *counter)
{
	for (const struct counter_info *c = counter_table; c->name; c++)
		if (!strcmp(c->name, counter))
			return strcmp(c->unit, "size") ? c->unit : "bytes";
	return "count";
}

/* "operations" -> "operation", "tlb_misses" -> "tlb miss" */
static char *singular(const char *counter)
{
	char *s = g_strdelimit(g_strdup(counter), "_", ' ');
	size_t n = strlen(s);

	if (g_str_has_suffix(s, "sses") || g_str_has_suffix(s, "ches") || g_str_has_suffix(s, "shes"))
		s[n - 2] = '\0';
	else if (n > 2 && s[n - 1] == 's' && s[n - 2] != 's')
		s[n - 1] = '\0';
	return s;
}

char *view_metric_unit(const char *metric)
{
	g_autofree char *num = NULL, *den = NULL;

	split_metric(metric, &num, &den);

	gboolean counts = !strcmp(unit_of(num), "count");

	if (!den)
		return g_strdup(counts ? "" : unit_of(num));

	g_autofree char *each = singular(strcmp(unit_of(den), "count") ? unit_of(den) : den);

	g_autofree char *unit = counts ? g_strdelimit(g_strdup(num), "_", ' ') : g_strdup(unit_of(num));

	return g_strdup_printf("%s per %s", unit, each);
}

char *view_metric_label(const char *metric)
{
	g_autofree char *num = NULL, *den = NULL, *unit = view_metric_unit(metric);

	split_metric(metric, &num, &den);
	return g_strconcat(num, den ? " / " : "", den ? den : "", *unit ? " (" : "", unit, *unit ? ")" : "", NULL);
}
