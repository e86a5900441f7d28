/* SPDX-License-Identifier: MIT */
/*
 * figures.c - from results to pictures
 *
 * A figure is a gnuplot template (results/figures/NAME.gp) and a function that writes its data, figures/NAME.csv.
 * The template is copied into the run directory and run there, so that whoever wants another colour edits the copy and runs
 * gnuplot by hand. Which figures are drawn: those that [experiment] figures names, else those that fit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/data.h"
#include "vmm/report.h"
#include "vmm/results.h"
#include "vmm/view.h"
#include "vmm/vmm.h"

#define MAX_SERIES 10

/* One part of a stacked bar: the sum of up to three counters, under one name. */
struct part {
	const char *title;
	const char *counter[3];
};

static const struct part time_parts[] = {
	{ "useful work", { "ns_work" } },
	{ "page walks and TLB misses", { "ns_walk" } },
	{ "guest kernel", { "ns_guest_kernel" } },
	{ "exits: page faults", { "ns_exit_page_fault" } },
	{ "exits: traced writes", { "ns_exit_traced_write" } },
	{ "exits: CR3 loads", { "ns_exit_cr_write" } },
	{ "exits: INVLPG", { "ns_exit_invlpg" } },
	{ "exits: EPT violations", { "ns_exit_ept" } },
	{ "exits: hypercalls", { "ns_exit_hypercall" } },
	{ "exits: other", { "ns_exit_other" } },
	{ "host memory", { "ns_host_memory" } },
	{ NULL, { NULL } },
};

static const struct part exit_parts[] = {
	{ "page faults", { "exits_page_fault" } },
	{ "traced writes", { "exits_traced_write" } },
	{ "CR3 loads", { "exits_cr_write" } },
	{ "INVLPG", { "exits_invlpg" } },
	{ "EPT violations", { "exits_ept_violation" } },
	{ "EPT misconfigurations", { "exits_ept_misconfig" } },
	{ "PML full", { "exits_pml_full" } },
	{ "hypercalls", { "exits_hypercall" } },
	{ "port and MMIO", { "exits_io" } },
	{ "halts", { "exits_halt" } },
	{ NULL, { NULL } },
};

static const struct part translation_parts[] = {
	{ "first-level TLB", { "tlb_l1_hits" } },
	{ "second-level TLB", { "tlb_l2_hits" } },
	{ "page walk", { "tlb_misses" } },
	{ NULL, { NULL } },
};

static double part_value(const struct view_row *row, const struct part *p)
{
	double sum = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(p->counter) && p->counter[i]; i++)
		sum += view_counter(row, p->counter[i], NULL);
	return sum;
}

static void quoted(GString *out, const char *text)
{
	g_string_append_c(out, '"');
	for (; *text; text++)
		g_string_append_c(out, *text == '"' ? '\'' : *text);
	g_string_append_c(out, '"');
}

/* "guest: shadow", or whichever of the two there is. */
static void bar_name(const struct view *v, const struct view_row *row, GString *out)
{
	g_autofree char *name = v->labels->len < 2 ? g_strdup(row->vm) :
				v->vms->len < 2	   ? g_strdup(row->label) :
						     g_strdup_printf("%s: %s", row->vm, row->label);

	quoted(out, name);
}

/* Rows ordered VM by VM, so that what is compared stands side by side, with an empty bar between VMs. */
typedef void (*row_fn)(const struct view *v, const struct view_row *row, const void *ctx, GString *out);

static void each_bar(const struct view *v, unsigned columns, row_fn fn, const void *ctx, GString *out)
{
	for (guint i = 0; i < v->vms->len; i++) {
		if (i && v->labels->len > 1) {
			g_string_append(out, "\"\"");
			for (unsigned n = 0; n < columns; n++)
				g_string_append(out, ",0");
			g_string_append_c(out, '\n');
		}
		for (guint j = 0; j < v->labels->len; j++) {
			const struct view_row *row = view_find(v, g_ptr_array_index(v->labels, j),
							       g_ptr_array_index(v->vms, i));

			if (!row)
				continue;
			bar_name(v, row, out);
			fn(v, row, ctx, out);
			g_string_append_c(out, '\n');
		}
	}
}

static unsigned head(const struct part *parts, GString *out)
{
	unsigned n = 0;

	g_string_append(out, "bar");
	for (; parts[n].title; n++) {
		g_string_append_c(out, ',');
		quoted(out, parts[n].title);
	}
	g_string_append_c(out, '\n');
	return n;
}

/* Scaled by 1 / counter, times a factor: "per 1,000 operations". */
struct scale {
	const struct part *parts;
	double factor;
	gboolean percent; /* of the parts' own sum instead */
};

static void stacked_row(const struct view *v, const struct view_row *row, const void *ctx, GString *out)
{
	const struct scale *s = ctx;
	double whole = 0;

	(void)v;
	if (s->percent)
		for (const struct part *p = s->parts; p->title; p++)
			whole += part_value(row, p);
	else
		whole = view_counter(row, "operations", NULL);
	for (const struct part *p = s->parts; p->title; p++)
		g_string_append_printf(out, ",%.6g", whole > 0 ? part_value(row, p) * s->factor / whole : 0);
}

static void stacked(const struct view *v, const struct part *parts, double factor, gboolean percent, GString *out)
{
	struct scale s = { parts, factor, percent };

	each_bar(v, head(parts, out), stacked_row, &s, out);
}

static void time_data(const struct view *v, GString *out)
{
	stacked(v, time_parts, 1, FALSE, out);
}

static void exits_data(const struct view *v, GString *out)
{
	stacked(v, exit_parts, 1000, FALSE, out);
}

static void translation_data(const struct view *v, GString *out)
{
	stacked(v, translation_parts, 100, TRUE, out);
}

static void metric_row(const struct view *v, const struct view_row *row, const void *ctx, GString *out)
{
	double value = view_metric(row, v->metric), ci = 0;

	(void)ctx;
	if (!strchr(v->metric, '/'))
		view_counter(row, v->metric, &ci);
	g_string_append_printf(out, ",%.6g,%.6g", isnan(value) ? 0 : value, ci);
}

static void metric_data(const struct view *v, GString *out)
{
	g_string_append(out, "bar,value,ci95\n");
	each_bar(v, 2, metric_row, NULL, out);
}

/* samples.csv, pivoted: a line per time, a column per VM. */
static void series(const struct view *v, const char *counter, gboolean rate, double factor, GString *out)
{
	g_autofree char *path = g_build_filename(v->dir, "samples.csv", NULL);
	g_autofree char *text = NULL;
	guint nvms = MIN(v->vms->len, MAX_SERIES), column = 0;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_auto(GStrv) names = g_strsplit(lines[0], ",", -1);
	g_autofree double *last = g_new0(double, nvms), *now = g_new0(double, nvms);
	double last_ns = 0;

	while (names[column] && strcmp(names[column], counter))
		column++;
	g_string_append(out, "time_ms");
	for (guint i = 0; i < nvms; i++) {
		g_string_append_c(out, ',');
		quoted(out, g_ptr_array_index(v->vms, i));
	}
	g_string_append_c(out, '\n');
	for (guint n = 1; lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);
		double ns = g_ascii_strtod(f[0], NULL);

		if (strcmp(f[1], "host")) {
			for (guint i = 0; i < nvms; i++)
				if (!strcmp(f[1], g_ptr_array_index(v->vms, i)))
					now[i] = g_ascii_strtod(f[column], NULL);
			continue;
		}
		/* The host's row closes a time. */
		if (!rate || ns > last_ns) {
			g_string_append_printf(out, "%.6g", ns / 1e6);
			for (guint i = 0; i < nvms; i++)
				g_string_append_printf(out, ",%.6g",
						       factor * (rate ? (now[i] - last[i]) / (ns - last_ns) : now[i]));
			g_string_append_c(out, '\n');
		}
		memcpy(last, now, nvms * sizeof(*last));
		last_ns = ns;
	}
}

static void memory_data(const struct view *v, GString *out)
{
	series(v, "pages_resident", FALSE, 4.0 / 1024, out);
}

static void throughput_data(const struct view *v, GString *out)
{
	series(v, "operations", TRUE, 1000, out);
}

enum fit { FIT_ALWAYS, FIT_MANY, FIT_EXITS, FIT_SERIES };

static const struct figure {
	const char *name;
	enum fit fit;
	void (*data)(const struct view *v, GString *out);
} figures[] = {
	{ "metric", FIT_MANY, metric_data },
	{ "time", FIT_ALWAYS, time_data },
	{ "exits", FIT_EXITS, exits_data },
	{ "translation", FIT_ALWAYS, translation_data },
	{ "memory", FIT_SERIES, memory_data },
	{ "throughput", FIT_SERIES, throughput_data },
	{ NULL, FIT_ALWAYS, NULL },
};

static double total(const struct view *v, const char *counter)
{
	double sum = 0;

	for (guint i = 0; i < v->rows->len; i++)
		sum += view_counter(g_ptr_array_index(v->rows, i), counter, NULL);
	return sum;
}

/* A series of fewer than four points is no picture. */
static gboolean has_series(const struct view *v)
{
	g_autofree char *path = g_build_filename(v->dir, "samples.csv", NULL);
	g_autofree char *text = NULL;
	unsigned lines = 0;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return FALSE;
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	return lines > 4 * (v->vms->len + 1);
}

static gboolean fits(const struct view *v, const struct figure *f)
{
	if (v->figures && *v->figures)
		return g_strv_contains((const char *const *)v->figures, f->name);
	switch (f->fit) {
	case FIT_ALWAYS:
		return total(v, "accesses") > 0;
	case FIT_MANY:
		return v->rows->len > 1;
	case FIT_EXITS:
		return total(v, "exits") > 0;
	case FIT_SERIES:
		return has_series(v);
	}
	return FALSE;
}

static gboolean copy_template(const char *dir, const char *name, GError **error)
{
	g_autofree char *file = g_strdup_printf("figures/%s.gp", name);
	g_autofree char *from = data_path(file), *to = g_build_filename(dir, file, NULL), *text = NULL;
	gsize len;

	if (!from) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "the template %s is not to be found: set OVERBOOK_DATA to the folder that holds figures/", file);
		return FALSE;
	}
	return g_file_get_contents(from, &text, &len, error) && g_file_set_contents(to, text, (gssize)len, error);
}

static gboolean gnuplot(const char *dir, const char *name, GError **error)
{
	g_autofree char *script = g_strdup_printf("figures/%s.gp", name);
	g_autofree char *err = NULL;
	char *argv[] = { "gnuplot", script, NULL };
	int status;

	if (!g_spawn_sync(dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &err,
			  &status, NULL)) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "gnuplot cannot be run: install the package gnuplot-nox");
		return FALSE;
	}
	if (status) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "gnuplot %s failed: %s", script, g_strstrip(err));
		return FALSE;
	}
	return TRUE;
}

static void gnuplot_string(GString *out, const char *name, const char *value)
{
	g_string_append_printf(out, "%s = ", name);
	quoted(out, value);
	g_string_append_c(out, '\n');
}

static gboolean write_text(const char *dir, const char *name, const char *suffix, const GString *text, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/figures/%s.%s", dir, name, suffix);

	return g_file_set_contents(path, text->str, (gssize)text->len, error);
}

static gboolean draw_one(const struct view *v, const struct figure *f, GError **error)
{
	g_autoptr(GString) data = g_string_new(NULL);

	f->data(v, data);
	return write_text(v->dir, f->name, "csv", data, error) && copy_template(v->dir, f->name, error) &&
	       gnuplot(v->dir, f->name, error);
}

gboolean figures_draw(const char *dir, GError **error)
{
	struct view *v = view_load(dir, error);
	g_autoptr(GString) vars = g_string_new("# What the templates need to know of this run.\n");
	g_autofree char *sub = g_build_filename(dir, "figures", NULL);
	gboolean ok;

	if (!v)
		return FALSE;
	g_mkdir_with_parents(sub, 0777);
	gnuplot_string(vars, "run_title", v->title);
	gnuplot_string(vars, "metric_name", v->metric);
	ok = write_text(dir, "run", "gp", vars, error) && copy_template(dir, "style", error);
	for (const struct figure *f = figures; ok && f->name; f++)
		if (fits(v, f))
			ok = draw_one(v, f, error);
	view_free(v);
	return ok;
}
