/* SPDX-License-Identifier: MIT */
/*
 * figure_panels.c - several gauges of each guest over time
 *
 * A panel for each guest in each combination (its first repetition) that has something to show, in it a line for each
 * gauge, in MiB. A row of the CSV has values for one panel; gnuplot draws lines through the cells that are not empty.
 * `balloon`: what was asked for, what it held. `working-set`: the truth and the estimates. `guest-memory`: what a guest
 * with a disk has in its memory and in its swap.
 */
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

#define LINES_MAX 6

/* The lines of a figure, without those that are zero everywhere. */
struct lines {
	const char *counter[LINES_MAX], *title[LINES_MAX];
	guint n;
	const char *more[LINES_MAX]; /* a counter to be added, or NULL */
};

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

/* Where a line's values are. */
struct columns {
	int first, more; /* to be added; -1: none */
};

/* One sample as a row, in the columns of panel number @index; the largest value in *most. */
static void add_point(struct panel *panel, char **f, const struct columns *column, guint nlines, guint index,
		      double *most)
{
	g_string_append_printf(panel->rows, "%.9g", g_ascii_strtod(f[0], NULL) / 1e6);
	for (guint i = 0; i < nlines * index; i++)
		g_string_append_c(panel->rows, ',');
	for (guint i = 0; i < nlines; i++) {
		double mib = g_ascii_strtod(f[column[i].first], NULL) / 256;

		if (column[i].more >= 0)
			mib += g_ascii_strtod(f[column[i].more], NULL) / 256;
		*most = MAX(*most, mib);
		g_string_append_printf(panel->rows, ",%.6g", mib);
	}
	g_string_append_c(panel->rows, '\n');
	panel->points++;
}

/* The samples of the row's VM, named with its combination if @labelled; NULL: nothing to show. */
static struct panel *panel_of(const struct view *v, const struct view_row *row, const struct lines *l,
			      gboolean labelled, guint index)
{
	g_autofree char *path = g_build_filename(v->dir, row->run, "samples.csv", NULL), *text = NULL;
	g_auto(GStrv) lines = NULL, header = NULL;
	struct panel *panel;
	struct columns column[LINES_MAX];
	double most = 0;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	header = g_strsplit(lines[0], ",", -1);
	for (guint i = 0; i < l->n; i++) {
		column[i].first = column_of(header, l->counter[i]);
		column[i].more = l->more[i] ? column_of(header, l->more[i]) : -1;
		if (column[i].first < 0)
			return NULL;
	}
	panel = g_new0(struct panel, 1);
	panel->rows = g_string_new(NULL);
	panel->title = labelled && *row->label ? g_strdup_printf("%s, %s", row->vm, row->label) : g_strdup(row->vm);
	for (guint n = 1; lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);

		if (g_strv_length(f) == g_strv_length(header) && !strcmp(f[1], row->vm))
			add_point(panel, f, column, l->n, index, &most);
	}
	/* Fewer than four points are no picture. */
	if (most > 0 && panel->points >= 4)
		return panel;
	panel_free(panel);
	return NULL;
}

static void put_header(const GPtrArray *panels, const struct lines *l, GString *csv)
{
	g_string_append(csv, "time_ms");
	for (guint i = 0; i < panels->len; i++)
		for (guint j = 0; j < l->n; j++) {
			const struct panel *p = g_ptr_array_index(panels, i);
			g_autofree char *name = g_strdup_printf("%s %s", p->title, l->title[j]);

			g_string_append_c(csv, ',');
			text_gnuplot_field(csv, name);
		}
	g_string_append_c(csv, '\n');
}

/* What the template NAME.gp wants; its variables begin with NAME, '-' as '_'. */
static void put_vars(const GPtrArray *panels, const struct lines *l, guint all, const char *name, GString *vars)
{
	g_string_append_printf(vars, "%s_panels = %u\narray %s_title[%u] = [", name, panels->len, name, panels->len);
	for (guint i = 0; i < panels->len; i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, ((struct panel *)g_ptr_array_index(panels, i))->title);
	}
	g_string_append_printf(vars, "]\narray %s_lines[%u] = [", name, l->n);
	for (guint j = 0; j < l->n; j++) {
		g_string_append(vars, j ? ", " : "");
		text_gnuplot_quoted(vars, l->title[j]);
	}
	g_string_append_printf(vars, "]\n%s_points = '", name);
	for (guint i = 0; i < panels->len * l->n; i++)
		g_string_append_printf(vars, "%s%u", i ? " " : "",
				       ((struct panel *)g_ptr_array_index(panels, i / l->n))->points);
	g_string_append(vars, "'\n");
	if (all > panels->len)
		g_string_append_printf(vars, "%s_note = ' (%u of %u panels)'\n", name, panels->len, all);
	else
		g_string_append_printf(vars, "%s_note = ''\n", name);
}

/* @label: of that combination alone; NULL: of all. */
static gboolean draw(const struct view *v, const char *name, const struct lines *l, const char *label, GString *csv,
		     GString *vars)
{
	g_autoptr(GPtrArray) panels = g_ptr_array_new_with_free_func(panel_free);
	guint all = 0;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);
		struct panel *p = label && strcmp(label, row->label) ? NULL : panel_of(v, row, l, !label, panels->len);

		all += p != NULL;
		if (p && panels->len < FIGURE_PANELS)
			g_ptr_array_add(panels, p);
		else if (p)
			panel_free(p);
	}
	if (!panels->len)
		return FALSE;
	put_header(panels, l, csv);
	put_vars(panels, l, all, name, vars);
	for (guint i = 0; i < panels->len; i++) {
		const struct panel *p = g_ptr_array_index(panels, i);

		g_string_append_len(csv, p->rows->str, (gssize)p->rows->len);
	}
	return TRUE;
}

gboolean figure_balloon(const struct view *v, GString *csv, GString *vars)
{
	static const struct lines lines = { .counter = { "balloon_target", "balloon_actual" },
					    .title = { "target", "actual" },
					    .n = 2 };

	return draw(v, "balloon", &lines, NULL, csv, vars);
}

/* Only if some guest has a page cache or swaps. */
gboolean figure_guest_memory(const struct view *v, GString *csv, GString *vars)
{
	static const struct lines lines = {
		.counter = { "guest_pages_cache", "guest_pages_active_anon", "guest_pages_swapped", "guest_pages_free",
			     "balloon_actual" },
		.title = { "page cache", "anonymous", "swap slots", "free", "balloon" },
		.more = { NULL, "guest_pages_inactive_anon" },
		.n = 5,
	};
	gboolean any = FALSE;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);

		any = any || view_counter(row, "guest_pages_cache", NULL) > 0 ||
		      view_counter(row, "guest_pages_swapped", NULL) > 0;
	}
	return any && draw(v, "guest_memory", &lines, NULL, csv, vars);
}

const struct figure_part figure_estimates[] = {
	{ "wss_esx", "esx", 1, "wss_esx_error" },
	{ "wss_idle", "idle", 2, "wss_idle_error" },
	{ "wss_refault", "refault", 3, "wss_refault_error" },
	{ "wss_mrc", "mrc", 4, "wss_mrc_error" },
	{ NULL, NULL, 0, NULL },
};

guint figure_methods(const struct view *v, const char *label, const struct figure_part **used)
{
	guint n = 0;

	for (const struct figure_part *p = figure_estimates; p->counter; p++) {
		gboolean any = FALSE;

		for (guint i = 0; i < v->rows->len; i++) {
			const struct view_row *row = g_ptr_array_index(v->rows, i);

			any = any || (!strcmp(row->label, label) && (view_counter(row, p->counter, NULL) > 0 ||
								      view_counter(row, p->prose, NULL) > 0));
		}
		if (any)
			used[n++] = p;
	}
	return n;
}

const char *figure_most_methods(const struct view *v)
{
	const struct figure_part *used[FIGURE_ESTIMATES];
	const char *best = NULL;
	guint most = 0;

	for (guint i = 0; i < v->labels->len; i++) {
		guint n = figure_methods(v, g_ptr_array_index(v->labels, i), used);

		if (n > most) {
			most = n;
			best = g_ptr_array_index(v->labels, i);
		}
	}
	return best;
}

/* Of the combination with the most methods, so that they are seen on the same accesses. */
gboolean figure_working_set(const struct view *v, GString *csv, GString *vars)
{
	const char *label = figure_most_methods(v);
	const struct figure_part *used[FIGURE_ESTIMATES];
	guint n = label ? figure_methods(v, label, used) : 0;
	struct lines l = { .counter = { "wss_truth" }, .title = { "truth" }, .n = 1 };

	for (guint i = 0; i < n; i++, l.n++) {
		l.counter[l.n] = used[i]->counter;
		l.title[l.n] = used[i]->title;
	}
	return n && draw(v, "wss", &l, label, csv, vars);
}
