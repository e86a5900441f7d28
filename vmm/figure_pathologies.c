/* SPDX-License-Identifier: MIT */
/*
 * figure_pathologies.c - data of the figure `pathologies`: what uncooperative swapping does in vain, one panel for each
 * kind that occurs, one bar for each combination
 */
#include "vmm/figure.h"
#include "vmm/text.h"

static const struct figure_part pathologies[] = {
	{ "swap_silent_writes", "silent writes", 0, NULL },
	{ "swap_false_anonymous", "false page anonymity", 0, NULL },
	{ "swap_stale_reads", "stale reads", 0, NULL },
	{ "swap_false_reads", "false reads", 0, NULL },
	{ "swap_decayed", "decayed sequentiality", 0, NULL },
	{ "swap_double_paging", "double paging", 0, NULL },
	{ NULL, NULL, 0, NULL },
};

/* Of all guests of a combination. */
static double total(const struct view *v, const char *label, const char *counter)
{
	double sum = 0;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);

		if (!g_strcmp0(row->label, label))
			sum += view_counter(row, counter, NULL);
	}
	return sum;
}

static gboolean occurs(const struct view *v, const char *counter, guint bars)
{
	for (guint i = 0; i < bars; i++)
		if (total(v, g_ptr_array_index(v->labels, i), counter) > 0)
			return TRUE;
	return FALSE;
}

gboolean figure_pathologies(const struct view *v, GString *csv, GString *vars)
{
	guint bars = MIN(v->labels->len, FIGURE_BARS), panels = 0;
	g_autoptr(GString) titles = g_string_new(NULL);
	gsize longest = 0;

	g_string_append(csv, "pathology,combination,pages\n");
	for (guint i = 0; i < bars; i++)
		longest = MAX(longest, strlen(g_ptr_array_index(v->labels, i)));
	for (const struct figure_part *p = pathologies; p->counter; p++) {
		if (!occurs(v, p->counter, bars))
			continue;
		g_string_append_printf(titles, "%s\"%s\"", panels++ ? ", " : "", p->title);
		for (guint i = 0; i < bars; i++) {
			const char *label = g_ptr_array_index(v->labels, i);

			text_gnuplot_field(csv, p->title);
			g_string_append_c(csv, ',');
			text_gnuplot_field(csv, *label ? label : "all guests");
			g_string_append_printf(csv, ",%.6g\n", total(v, label, p->counter));
		}
	}
	if (panels)
		g_string_append_printf(vars,
				       "pathologies_panels = %u\npathologies_bars = %u\n"
				       "pathologies_label_length = %u\narray pathologies_title[%u] = [%s]\n",
				       panels, bars, (guint)MAX(longest, strlen("all guests")), panels, titles->str);
	text_gnuplot_set(vars, "pathologies_keys", v->keys);
	return panels > 0;
}
