/* SPDX-License-Identifier: MIT */
/*
 * figure_where.c - figures of overcommit: where the pages were over time, and who got how much work done
 *
 * `where`: a panel for each guest in each combination, or, if there are too many, for all guests of each combination:
 * what had a frame, was merged, in the balloon, in the compressed tier, on the swap device, stacked, in MiB. Of more
 * combinations than there are panels, those are shown that differ from the last in the last key alone. A row of the CSV
 * is one sample of one panel.
 *
 * `work`: a bar for each combination, of the operations of each guest in a second of simulated time.
 */
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

static const struct figure_part parts[] = {
	{ "pages_resident", "in a host frame", 3, NULL },
	{ "pages_merged", "merged", 9, NULL },
	{ "ksm_zero_pages", "zero frame", 5, NULL },
	{ "balloon_actual", "ballooned", 12, NULL },
	{ "pages_compressed", "compressed", 10, NULL },
	{ "pages_swapped", "in the host's swap", 2, NULL },
	{ NULL, NULL, 0, NULL },
};

#define PARTS (G_N_ELEMENTS(parts) - 1)

struct panel {
	const char *run, *vm;
	char *title;
};

static void clear_panel(gpointer p)
{
	g_free(((struct panel *)p)->title);
}

static int column_of(char **header, const char *name)
{
	for (int i = 0; header[i]; i++)
		if (!strcmp(header[i], name))
			return i;
	return -1;
}

/* The part of a label before its last value; 0: it has only one. */
static gsize head_of(const char *label)
{
	const char *comma = g_strrstr(label, ", ");

	return comma ? (gsize)(comma - label) : 0;
}

/* The combinations that are shown when there are too many for all: those of the last value of all keys but the last. */
static gboolean is_shown(const struct view *v, const char *label)
{
	const char *last = g_ptr_array_index(v->labels, v->labels->len - 1);
	gsize head = head_of(last);

	return v->labels->len <= FIGURE_PANELS || (head == head_of(label) && !strncmp(last, label, head));
}

static GArray *choose_panels(const struct view *v)
{
	GArray *panels = g_array_new(FALSE, FALSE, sizeof(struct panel));
	gboolean single = v->labels->len < 2, each = single || v->rows->len <= FIGURE_PANELS;
	const char *told = NULL;

	g_array_set_clear_func(panels, clear_panel);
	for (guint i = 0; i < v->rows->len && panels->len < FIGURE_PANELS; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);
		struct panel p = { r->run, each ? r->vm : "host", NULL };

		if (!each && (!is_shown(v, r->label) || !g_strcmp0(told, r->label)))
			continue;
		told = r->label;
		p.title = single ? g_strdup(r->vm) :
			  each	 ? g_strdup_printf("%s, %s", r->vm, r->label) :
				   g_strdup(r->label);
		g_array_append_val(panels, p);
	}
	return panels;
}

/* The samples of a panel; adds to the sums of the parts, and returns their number. */
static guint put_panel(const struct view *v, const struct panel *p, guint number, double *sums, GString *csv)
{
	g_autofree char *path = g_build_filename(v->dir, p->run, "samples.csv", NULL), *text = NULL;
	g_auto(GStrv) lines = NULL, header = NULL;
	guint points = 0;
	int column[PARTS];

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	lines = g_strsplit(text, "\n", -1);
	header = g_strsplit(lines[0], ",", -1);
	for (guint i = 0; i < PARTS; i++)
		column[i] = column_of(header, parts[i].counter);
	for (guint n = 1; lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);

		if (g_strv_length(f) != g_strv_length(header) || strcmp(f[1], p->vm))
			continue;
		g_string_append_printf(csv, "%u,%.9g", number, g_ascii_strtod(f[0], NULL) / 1e6);
		for (guint i = 0; i < PARTS; i++) {
			double mib = column[i] < 0 ? 0 : g_ascii_strtod(f[column[i]], NULL) / 256;

			sums[i] += mib;
			g_string_append_printf(csv, ",%.6g", mib);
		}
		g_string_append_c(csv, '\n');
		points++;
	}
	return points;
}

static void put_vars(const GArray *panels, const double *sums, GString *vars)
{
	gboolean first = TRUE;

	g_string_append_printf(vars, "where_panels = %u\narray where_title[%u] = [", panels->len, panels->len);
	for (guint i = 0; i < panels->len; i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, g_array_index(panels, struct panel, i).title);
	}
	g_string_append(vars,
			"]\n# Which of the columns, counted from the third, have anything in them.\nwhere_parts = '");
	for (guint i = 0; i < PARTS; i++)
		if (!i || sums[i] > 0) {
			g_string_append_printf(vars, "%s%u", first ? "" : " ", i + 1);
			first = FALSE;
		}
	g_string_append(vars, "'\nwhere_styles = '");
	for (guint i = 0; i < PARTS; i++)
		g_string_append_printf(vars, "%s%u", i ? " " : "", parts[i].style);
	g_string_append(vars, "'\n");
}

gboolean figure_where(const struct view *v, GString *csv, GString *vars)
{
	g_autoptr(GArray) panels = choose_panels(v);
	double sums[PARTS] = { 0 }, elsewhere = 0;

	g_string_append(csv, "panel,time_ms");
	for (guint i = 0; i < PARTS; i++) {
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, parts[i].title);
	}
	g_string_append_c(csv, '\n');
	for (guint i = 0; i < panels->len; i++)
		/* Fewer than four points are no picture. */
		if (put_panel(v, &g_array_index(panels, struct panel, i), i + 1, sums, csv) < 4)
			return FALSE;
	for (guint i = 1; i < PARTS; i++)
		elsewhere += sums[i];
	put_vars(panels, sums, vars);
	return elsewhere > 0;
}

/* Operations in a second of the combination's time; 0: not known. */
static double rate_of(const struct view *v, const char *label, const char *vm)
{
	const struct view_row *row = view_find(v, label, vm);
	double ns = row ? view_counter(row, "ns_total", NULL) + view_counter(row, "ns_idle", NULL) : 0;

	return ns > 0 ? view_counter(row, "operations", NULL) * 1e9 / ns : 0;
}

gboolean figure_work(const struct view *v, GString *csv, GString *vars)
{
	guint bars = MIN(v->labels->len, FIGURE_BARS), nvms = MIN(v->vms->len, 12);
	const struct figure_unit *unit;
	double most = 0;
	gsize longest = 0;

	for (guint j = 0; j < bars; j++) {
		double all = 0;

		for (guint i = 0; i < nvms; i++)
			all += rate_of(v, g_ptr_array_index(v->labels, j), g_ptr_array_index(v->vms, i));
		most = MAX(most, all);
	}
	unit = figure_rate_unit(most);
	text_gnuplot_set(vars, "work_unit", unit->name);
	g_string_append(csv, "vm,combination");
	g_string_append(vars, "work_styles = '");
	for (guint i = 0; i < nvms; i++) {
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, g_ptr_array_index(v->vms, i));
		g_string_append_printf(vars, "%s%u", i ? " " : "", i + 1);
	}
	g_string_append_c(csv, '\n');
	for (guint j = 0; j < bars; j++) {
		const char *label = g_ptr_array_index(v->labels, j);

		text_gnuplot_field(csv, "all guests");
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, *label ? label : "all guests");
		for (guint i = 0; i < nvms; i++)
			g_string_append_printf(csv, ",%.6g",
					       rate_of(v, label, g_ptr_array_index(v->vms, i)) * unit->factor);
		g_string_append_c(csv, '\n');
		longest = MAX(longest, (gsize)g_utf8_strlen(*label ? label : "all guests", -1));
	}
	g_string_append_printf(vars, "'\nwork_bars = %u\nwork_label_length = %" G_GSIZE_FORMAT "\n", bars, longest);
	text_gnuplot_set(vars, "work_keys", v->keys);
	return bars > 0 && nvms == v->vms->len;
}
