/* SPDX-License-Identifier: MIT */
/*
 * figure_curves.c - data of the figure `miss-ratio`: a line for each guest, from curves.csv of the first combination
 * that has one
 */
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

/* The guests of curves.csv in order, their points as rows of the figure. */
static void put_points(char **lines, GString *csv, GPtrArray *vms)
{
	for (guint i = 1; lines[i] && *lines[i]; i++) {
		g_auto(GStrv) f = g_strsplit(lines[i], ",", -1);
		guint n = 0;

		if (g_strv_length(f) != 3)
			continue;
		while (n < vms->len && strcmp(g_ptr_array_index(vms, n), f[0]))
			n++;
		if (n == vms->len && n < FIGURE_LINES)
			g_ptr_array_add(vms, g_strdup(f[0]));
		if (n < FIGURE_LINES)
			g_string_append_printf(csv, "%u,%.6g,%.6g\n", n + 1, g_ascii_strtod(f[1], NULL) / 256,
					       g_ascii_strtod(f[2], NULL) / 10000);
	}
}

gboolean figure_miss_ratio(const struct view *v, GString *csv, GString *vars)
{
	g_autoptr(GPtrArray) vms = g_ptr_array_new_with_free_func(g_free);

	g_string_append(csv, "line,mib,miss_percent\n");
	for (guint i = 0; i < v->rows->len && !vms->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);
		g_autofree char *path = g_build_filename(v->dir, row->run, "curves.csv", NULL), *text = NULL;
		g_auto(GStrv) lines = NULL;

		if (!g_file_get_contents(path, &text, NULL, NULL))
			continue;
		lines = g_strsplit(text, "\n", -1);
		put_points(lines, csv, vms);
	}
	if (!vms->len)
		return FALSE;
	g_string_append_printf(vars, "array miss_title[%u] = [", vms->len);
	for (guint i = 0; i < vms->len; i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, g_ptr_array_index(vms, i));
	}
	g_string_append(vars, "]\n");
	return TRUE;
}
