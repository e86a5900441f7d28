/* SPDX-License-Identifier: MIT */
/*
 * figure_series.c - data of the figures over time, from the samples.csv of each run
 *
 * One line for each VM in a single run; with several combinations a panel for each VM and in it a line for each of them
 * (its first repetition). Runs sample at times of their own, so a row of the CSV has values for one run only; gnuplot
 * draws a line through the cells of its column that are not empty.
 */
#include <math.h>
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

struct series {
	const struct view *v;
	const char *counter;
	gboolean rate; /* per nanosecond, else as it is */
	double factor;
	GString *csv;
	guint nvms, nlines; /* columns: nvms * nlines, a VM's side by side */
	guint *points;	    /* in each column */
	double most;	    /* value, after the factor */
};

/* Column of @name in the header, or -1. */
static int column_of(char **header, const char *name)
{
	for (int i = 0; header[i]; i++)
		if (!strcmp(header[i], name))
			return i;
	return -1;
}

static int vm_of(const struct series *s, const char *name)
{
	for (guint i = 0; i < s->nvms; i++)
		if (!strcmp(name, g_ptr_array_index(s->v->vms, i)))
			return (int)i;
	return -1;
}

static void put_row(struct series *s, guint line, double ns, const double *value)
{
	g_string_append_printf(s->csv, "%.9g", ns / 1e6);
	for (guint i = 0; i < s->nvms; i++)
		for (guint j = 0; j < s->nlines; j++) {
			g_string_append_c(s->csv, ',');
			if (j != line || isnan(value[i]))
				continue;
			g_string_append_printf(s->csv, "%.6g", s->factor * value[i]);
			s->most = MAX(s->most, s->factor * value[i]);
			s->points[i * s->nlines + j]++;
		}
	g_string_append_c(s->csv, '\n');
}

/* When each VM last did something: a rate ends there, rather than stay at zero while others go on. */
static void find_ends(const struct series *s, char **lines, int column, int columns, double *end)
{
	g_autofree double *last = g_new0(double, s->nvms);

	for (guint n = 1; lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);

		if ((int)g_strv_length(f) != columns)
			return;
		int vm = vm_of(s, f[1]);
		double x = g_ascii_strtod(f[column], NULL);

		if (vm >= 0 && x != last[vm]) {
			last[vm] = x;
			end[vm] = g_ascii_strtod(f[0], NULL);
		}
	}
}

/* What one run measured. The host's row closes each time. */
static void add_run(struct series *s, guint line, char **lines)
{
	g_auto(GStrv) header = g_strsplit(lines[0], ",", -1);
	g_autofree double *now = g_new0(double, s->nvms), *last = g_new0(double, s->nvms),
			  *value = g_new(double, s->nvms);
	g_autofree double *end = g_new0(double, s->nvms);
	int column = column_of(header, s->counter), columns = (int)g_strv_length(header);
	double last_ns = 0, longest = 0;

	if (column < 0)
		return;
	find_ends(s, lines, column, columns, end);
	for (guint n = 1; lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);

		if ((int)g_strv_length(f) != columns)
			break;
		double ns = g_ascii_strtod(f[0], NULL);
		int vm = vm_of(s, f[1]);

		if (vm >= 0)
			now[vm] = g_ascii_strtod(f[column], NULL);
		if (strcmp(f[1], "host"))
			continue;
		/* The last interval is cut short, and a rate over nearly nothing says nothing. */
		longest = MAX(longest, ns - last_ns);
		if (s->rate && (ns <= last_ns || ns - last_ns < longest / 4))
			continue;
		for (guint i = 0; i < s->nvms; i++)
			value[i] = !s->rate ? now[i] : last_ns <= end[i] ? (now[i] - last[i]) / (ns - last_ns) : NAN;
		put_row(s, line, ns, value);
		memcpy(last, now, s->nvms * sizeof(*last));
		last_ns = ns;
	}
}

static void header(const struct series *s)
{
	g_string_append(s->csv, "time_ms");
	for (guint i = 0; i < s->nvms; i++)
		for (guint j = 0; j < s->nlines; j++) {
			const char *vm = g_ptr_array_index(s->v->vms, i), *label = g_ptr_array_index(s->v->labels, j);

			g_string_append_c(s->csv, ',');
			text_gnuplot_field(s->csv, s->v->labels->len > 1 ? label : vm);
		}
	g_string_append_c(s->csv, '\n');
}

/* A series of fewer than four points is no picture, nor are more lines than can be told apart. */
static gboolean series(struct series *s, const char *name, GString *vars)
{
	gboolean single = s->v->labels->len < 2, ok = FALSE;

	s->nvms = MIN(s->v->vms->len, single ? FIGURE_LINES : FIGURE_PANELS);
	s->nlines = MIN(s->v->labels->len, FIGURE_LINES);
	if (s->v->labels->len > FIGURE_LINES)
		return FALSE;
	s->points = g_new0(guint, s->nvms * s->nlines);
	header(s);
	for (guint j = 0; j < s->nlines; j++) {
		const char *run = view_run(s->v, g_ptr_array_index(s->v->labels, j));
		g_autofree char *path = g_build_filename(s->v->dir, run, "samples.csv", NULL), *text = NULL;

		if (!g_file_get_contents(path, &text, NULL, NULL))
			continue;
		g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

		if (lines[0])
			add_run(s, j, lines);
	}
	g_string_append_printf(vars, "%s_panels = %u\n%s_lines = %u\n%s_points = '", name, single ? 1 : s->nvms, name,
			       single ? s->nvms : s->nlines, name);
	for (guint i = 0; i < s->nvms * s->nlines; i++) {
		g_string_append_printf(vars, "%s%u", i ? " " : "", MAX(s->points[i], 1));
		ok = ok || s->points[i] >= 4;
	}
	g_string_append_printf(vars, "'\narray %s_titles[%u] = [", name, single ? s->nvms : s->nlines);
	for (guint i = 0; i < (single ? s->nvms : s->nlines); i++) {
		g_string_append(vars, i ? ", " : "");
		text_gnuplot_quoted(vars, g_ptr_array_index(single ? s->v->vms : s->v->labels, i));
	}
	g_string_append(vars, "]\n");
	if (s->nvms < s->v->vms->len)
		g_string_append_printf(vars, "%s_note = ' (%u of %u guests)'\n", name, s->nvms, s->v->vms->len);
	else
		g_string_append_printf(vars, "%s_note = ''\n", name);
	g_free(s->points);
	return ok;
}

gboolean figure_memory(const struct view *v, GString *csv, GString *vars)
{
	struct series s = { .v = v, .counter = "pages_resident", .factor = 4.0 / 1024, .csv = csv };

	return series(&s, "memory", vars);
}

gboolean figure_throughput(const struct view *v, GString *csv, GString *vars)
{
	const struct figure_unit *largest = figure_rate_unit(G_MAXDOUBLE), *unit;
	struct series s = {
		.v = v, .counter = "operations", .rate = TRUE, .factor = 1e9 * largest->factor, .csv = csv
	};
	gsize before = vars->len;
	gboolean ok = series(&s, "throughput", vars);

	/* Most often that was it. */
	unit = figure_rate_unit(s.most / largest->factor);
	if (unit != largest) {
		g_string_truncate(csv, 0);
		g_string_truncate(vars, before);
		s.factor = 1e9 * unit->factor;
		ok = series(&s, "throughput", vars);
	}
	text_gnuplot_set(vars, "throughput_unit", unit->name);
	return ok;
}
