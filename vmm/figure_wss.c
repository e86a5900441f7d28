/* SPDX-License-Identifier: MIT */
/*
 * figure_wss.c - data of the figure `working-set-error`: a panel for each guest, in it a bar for each method, of two
 * parts: how much too low its estimates were and how much too high, on average, in per cent of the truth
 */
#include "vmm/figure.h"
#include "vmm/text.h"

gboolean figure_working_set_error(const struct view *v, GString *csv, GString *vars)
{
	const char *label = figure_most_methods(v);
	const struct figure_part *used[FIGURE_ESTIMATES];
	guint n = label ? figure_methods(v, label, used) : 0, panels = 0;
	g_autoptr(GString) titles = g_string_new(NULL);

	g_string_append(csv, "vm,method,too low,too high\n");
	for (guint i = 0; i < v->vms->len && panels < FIGURE_PANELS && n; i++) {
		const struct view_row *row = view_find(v, label, g_ptr_array_index(v->vms, i));
		double truth = row ? view_counter(row, "wss_truth_sum", NULL) : 0;

		if (truth <= 0)
			continue;
		g_string_append(titles, panels++ ? ", " : "");
		text_gnuplot_quoted(titles, row->vm);
		for (guint j = 0; j < n; j++) {
			g_autofree char *over = g_strconcat(used[j]->counter, "_over", NULL);
			double error = view_counter(row, used[j]->prose, NULL), high = view_counter(row, over, NULL);

			text_gnuplot_field(csv, row->vm);
			g_string_append_c(csv, ',');
			text_gnuplot_field(csv, used[j]->title);
			g_string_append_printf(csv, ",%.6g,%.6g\n", (error - high) * 100 / truth, high * 100 / truth);
		}
	}
	g_string_append_printf(vars, "wss_error_panels = %u\nwss_error_bars = %u\narray wss_error_title[%u] = [%s]\n",
			       panels, n, MAX(panels, 1), panels ? titles->str : "''");
	return panels > 0;
}
