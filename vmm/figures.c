/* SPDX-License-Identifier: MIT */
/*
 * figures.c - from results to pictures
 *
 * Each figure's template is copied into the run directory and run there, so that whoever wants another colour edits the
 * copy and runs gnuplot by hand. Which figures are drawn: those that [experiment] figures names, else those that have
 * something to show.
 */
#include "vmm/child.h"
#include "vmm/data.h"
#include "vmm/figure.h"
#include "vmm/report.h"
#include "vmm/results.h"
#include "vmm/text.h"
#include "vmm/vmm.h"

const struct figure figure_table[] = {
	{ "metric", "The experiment's measure for each guest; less is better. Repeated runs have their 95% interval.",
	  FALSE, figure_metric },
	{ "walk-references", "Table entries that the processor reads in one page walk.", TRUE, figure_walk_references },
	{ "time", "Time per operation: useful work, translation, and VM exits by cause.", FALSE, figure_time },
	{ "exits", "VM exits per 1,000 operations, by cause.", FALSE, figure_exits },
	{ "translation", "Accesses that the first-level TLB did not translate.", FALSE, figure_translation },
	{ "latency", "Latency of accesses, the faults that they take included: from the median to the tail.", FALSE,
	  figure_latency },
	{ "memory", "Guest memory resident in host frames, over time.", FALSE, figure_memory },
	{ "balloon", "What each balloon was asked for and what it held, over time.", FALSE, figure_balloon },
	{ "guest-memory", "What guests with a disk have in memory and in their swap, over time.", FALSE,
	  figure_guest_memory },
	{ "throughput", "Operations in each second, over time.", FALSE, figure_throughput },
	{ "working-set", "What each guest uses in a window of time: the truth and estimates, over time.", FALSE,
	  figure_working_set },
	{ "working-set-error", "How far estimates of working sets were off, in per cent of the truth.", FALSE,
	  figure_working_set_error },
	{ "pathologies", "Pages that the host's swapping moved or kept in vain, by VSwapper's names.", TRUE,
	  figure_pathologies },
	{ "miss-ratio", "What share of a guest's reuses would miss in how much memory: the curve of method mrc.", FALSE,
	  figure_miss_ratio },
	{ "where", "Where guests' pages were, over time: in frames, merged, ballooned, compressed, swapped.", FALSE,
	  figure_where },
	{ "states", "The host's free memory and its state at each decision of a policy that has states.", FALSE,
	  figure_states },
	{ "work", "Operations of each guest in a second; more is better.", TRUE, figure_work },
	{ "sharing", "Guest memory in host frames, and saved by merging: zeros, within a guest, between guests.",
	  FALSE, figure_sharing },
	{ "merging", "What merging made of each page of the guests: merged, or the reason why it is not.", FALSE,
	  figure_merging },
	{ "savings", "Memory saved by merging, patches and compression, all guests together, over time.", FALSE,
	  figure_savings },
	{ "savings-cost", "The same against the time that the scanner took for it.", TRUE, figure_savings_cost },
	{ "large-pages", "Guest memory behind large host pages, all guests together, over time.", TRUE,
	  figure_large_pages },
	{ "tlb-reach", "What a second-level TLB translates when full, mean of the guests, over time.", TRUE,
	  figure_tlb_reach },
	{ NULL, NULL, FALSE, NULL },
};

static gboolean wanted(const struct view *v, const struct figure *f)
{
	if (*v->figures)
		return g_strv_contains((const char *const *)v->figures, f->name);
	return !f->asked;
}

static gboolean copy_template(const char *dir, const char *name, GError **error)
{
	g_autofree char *file = g_strdup_printf("figures/%s.gp", name);
	g_autofree char *from = data_path(file), *to = g_build_filename(dir, file, NULL), *text = NULL;
	gsize len;

	if (!from) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "the template %s is not to be found: set OVERBOOK_DATA to the folder that holds figures/",
			    file);
		return FALSE;
	}
	return g_file_get_contents(from, &text, &len, error) && g_file_set_contents(to, text, (gssize)len, error);
}

/* What the templates load. */
static gboolean copy_shared(const char *dir, GError **error)
{
	static const char *const shared[] = { "style", "grid", "bars", "stacked", "lines" };
	gboolean ok = TRUE;

	for (unsigned i = 0; ok && i < G_N_ELEMENTS(shared); i++)
		ok = copy_template(dir, shared[i], error);
	return ok;
}

static gboolean gnuplot(const char *dir, const char *name, GError **error)
{
	g_autofree char *script = g_strdup_printf("figures/%s.gp", name);
	g_autofree char *err = NULL;
	char *argv[] = { "gnuplot", script, NULL };
	int status;

	if (!g_spawn_sync(dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
			  child_dies_with, GINT_TO_POINTER(getpid()), NULL, &err,
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

static gboolean write_text(const char *dir, const char *name, const char *suffix, const GString *text, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/figures/%s.%s", dir, name, suffix);

	return g_file_set_contents(path, text->str, (gssize)text->len, error);
}

static guint longest(const GPtrArray *names, guint most)
{
	guint max = 0;

	for (guint i = 0; i < MIN(names->len, most); i++)
		max = MAX(max, (guint)g_utf8_strlen(g_ptr_array_index(names, i), -1));
	return max;
}

/* " (12 of 20 guests, 40 of 48 combinations)", or "". */
static char *left_out(const struct view *v, guint panels, guint bars)
{
	gboolean single = v->labels->len < 2;
	guint vms = single ? bars : panels;
	GString *out = g_string_new(NULL);

	if (vms < v->vms->len)
		g_string_append_printf(out, "%u of %u guests", vms, v->vms->len);
	if (!single && bars < v->labels->len)
		g_string_append_printf(out, "%s%u of %u combinations", out->len ? ", " : "", bars, v->labels->len);
	if (out->len) {
		g_string_prepend(out, " (");
		g_string_append_c(out, ')');
	}
	return g_string_free(out, FALSE);
}

/* What every template may use. */
static void common_vars(const struct view *v, GString *vars)
{
	gboolean single = v->labels->len < 2;
	guint panels = single ? 1 : MIN(v->vms->len, FIGURE_PANELS),
	      bars = MIN(single ? v->vms->len : v->labels->len, FIGURE_BARS);

	g_string_append(vars,
			"# What the templates need to know of this run. Panels are VMs and bars combinations, or\n"
			"# in a single run there is one panel and bars are VMs.\n");
	g_string_append_printf(vars, "panels = %u\nbars = %u\n", panels, bars);
	g_string_append_printf(vars, "label_column = %u\nlabel_length = %u\n", single ? 1 : 2,
			       longest(single ? v->vms : v->labels, bars));
	g_string_append_printf(vars, "array panel_title[%u] = [", panels);
	for (guint i = 0; i < panels; i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, single ? "" : g_ptr_array_index(v->vms, i));
	}
	g_string_append(vars, "]\n");
	g_autofree char *note = left_out(v, panels, bars);

	text_gnuplot_set(vars, "note", note);
}

/* Data and template of every figure that fits; @drawn gets their rows. */
static gboolean prepare(const struct view *v, GPtrArray *drawn, GString *vars, GError **error)
{
	for (const struct figure *f = figure_table; f->name; f++) {
		g_autoptr(GString) csv = g_string_new(NULL), own = g_string_new(NULL);

		if (!wanted(v, f) || !f->data(v, csv, own))
			continue;
		if (!write_text(v->dir, f->name, "csv", csv, error) || !copy_template(v->dir, f->name, error))
			return FALSE;
		g_string_append(vars, own->str);
		g_ptr_array_add(drawn, (gpointer)f->name);
	}
	return write_text(v->dir, "run", "gp", vars, error) && copy_shared(v->dir, error);
}

gboolean figures_draw(const char *dir, GError **error)
{
	struct view *v = view_load(dir, error);
	g_autoptr(GString) vars = g_string_new(NULL);
	g_autoptr(GPtrArray) drawn = g_ptr_array_new();
	g_autofree char *sub = g_build_filename(dir, "figures", NULL);
	gboolean ok;

	if (!v)
		return FALSE;
	g_mkdir_with_parents(sub, 0777);
	common_vars(v, vars);
	ok = prepare(v, drawn, vars, error);
	for (guint i = 0; ok && i < drawn->len; i++)
		ok = gnuplot(dir, g_ptr_array_index(drawn, i), error);
	view_free(v);
	return ok;
}
