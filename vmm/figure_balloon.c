/* SPDX-License-Identifier: MIT */
/*
 * figure_balloon.c - what balloons were asked for and what they held, over time
 *
 * A panel for each guest that has a balloon, in each combination (its first repetition), with two lines: target and
 * actual, in MiB. A row of the CSV has values for one panel; gnuplot draws lines through the cells that are not empty.
 */
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

enum { TARGET, ACTUAL, LINES };
static const char *const counters[LINES] = { [TARGET] = "balloon_target", [ACTUAL] = "balloon_actual" };

struct panel {
	char *title;
	GString *rows; /* time and values, to be moved to the panel's columns */
	guint points;
};

static void panel_free(gpointer p)
{
	struct panel *panel = p;

	g_free(panel->title);
	g_string_free(panel->rows, TRUE);
	g_free(panel);
}

static int column_of(char **header, const char *name)
{
	for (int i = 0; header[i]; i++)
		if (!strcmp(header[i], name))
			return i;
	return -1;
}

/* The samples of the row's VM as rows of the figure, in the columns of panel number @index; NULL: it has no balloon. */
static struct panel *panel_of(const struct view *v, const struct view_row *row, guint index)
{
	g_autofree char *path = g_build_filename(v->dir, row->run, "samples.csv", NULL), *text = NULL;
	g_auto(GStrv) lines = NULL, header = NULL;
	struct panel *panel;
	int column[LINES];
	double most = 0;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	header = g_strsplit(lines[0], ",", -1);
	for (guint i = 0; i < LINES; i++)
		column[i] = column_of(header, counters[i]);
	if (column[TARGET] < 0 || column[ACTUAL] < 0)
		return NULL;
	panel = g_new0(struct panel, 1);
	panel->rows = g_string_new(NULL);
	panel->title = *row->label ? g_strdup_printf("%s, %s", row->vm, row->label) : g_strdup(row->vm);
	for (guint n = 1; lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);

		if (g_strv_length(f) != g_strv_length(header) || strcmp(f[1], row->vm))
			continue;
		g_string_append_printf(panel->rows, "%.9g", g_ascii_strtod(f[0], NULL) / 1e6);
		for (guint i = 0; i < LINES * index; i++)
			g_string_append_c(panel->rows, ',');
		for (guint i = 0; i < LINES; i++) {
			double mib = g_ascii_strtod(f[column[i]], NULL) / 256;

			most = MAX(most, mib);
			g_string_append_printf(panel->rows, ",%.6g", mib);
		}
		g_string_append_c(panel->rows, '\n');
		panel->points++;
	}
	/* Fewer than four points are no picture. */
	if (most > 0 && panel->points >= 4)
		return panel;
	panel_free(panel);
	return NULL;
}

gboolean figure_balloon(const struct view *v, GString *csv, GString *vars)
{
	g_autoptr(GPtrArray) panels = g_ptr_array_new_with_free_func(panel_free);
	guint all = 0;

	for (guint i = 0; i < v->rows->len; i++) {
		struct panel *p = panel_of(v, g_ptr_array_index(v->rows, i), panels->len);

		all += p != NULL;
		if (p && panels->len < FIGURE_PANELS)
			g_ptr_array_add(panels, p);
		else if (p)
			panel_free(p);
	}
	if (!panels->len)
		return FALSE;
	g_string_append(csv, "time_ms");
	for (guint i = 0; i < panels->len; i++)
		for (guint j = 0; j < LINES; j++) {
			const struct panel *p = g_ptr_array_index(panels, i);
			g_autofree char *name = g_strdup_printf("%s %s", p->title, j == TARGET ? "target" : "actual");

			g_string_append_c(csv, ',');
			text_gnuplot_field(csv, name);
		}
	g_string_append_c(csv, '\n');
	g_string_append_printf(vars, "balloon_panels = %u\narray balloon_title[%u] = [", panels->len, panels->len);
	for (guint i = 0; i < panels->len; i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, ((struct panel *)g_ptr_array_index(panels, i))->title);
	}
	g_string_append(vars, "]\nballoon_points = '");
	for (guint i = 0; i < panels->len; i++) {
		const struct panel *p = g_ptr_array_index(panels, i);

		g_string_append_printf(vars, "%s%u %u", i ? " " : "", p->points, p->points);
		g_string_append_len(csv, p->rows->str, (gssize)p->rows->len);
	}
	g_string_append(vars, "'\n");
	if (all > panels->len)
		g_string_append_printf(vars, "balloon_note = ' (%u of %u balloons)'\n", panels->len, all);
	else
		g_string_append(vars, "balloon_note = ''\n");
	return TRUE;
}
