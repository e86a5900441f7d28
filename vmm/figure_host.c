/* SPDX-License-Identifier: MIT */
/*
 * figure_host.c - data of figures over time (that of the run or of the scanner) that concern all guests together, from
 * the host's rows of each samples.csv
 *
 * One panel, a line for each combination (its first repetition). As in figure_series.c runs sample at times of their
 * own, so a row of the CSV has a value for one run only.
 */
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

/* A sum of gauges: those of @less are subtracted. NULL-ended. */
struct sum {
	const char *more[4], *less[4];
	double factor;
	gboolean mean; /* of the guests, not their sum */
	const char *x; /* a time to draw it against; NULL: that of the run */
};

static double guests(const struct view *v, const char *label)
{
	double n = 0;

	for (guint i = 0; i < v->rows->len; i++)
		n += !strcmp(((const struct view_row *)g_ptr_array_index(v->rows, i))->label, label);
	return MAX(n, 1);
}

static double field(char **header, char **f, const char *name)
{
	for (int i = 0; header[i] && f[i]; i++)
		if (!strcmp(header[i], name))
			return g_ascii_strtod(f[i], NULL);
	return 0;
}

static double value(const struct sum *s, char **header, char **f)
{
	double x = 0;

	for (const char *const *c = s->more; *c; c++)
		x += field(header, f, *c);
	for (const char *const *c = s->less; *c; c++)
		x -= field(header, f, *c);
	return x * s->factor;
}

/* How many points there are; *any: one that is not zero. */
static guint add_run(const struct view *v, const struct sum *s, guint line, guint nlines, GString *csv, gboolean *any)
{
	const char *label = g_ptr_array_index(v->labels, line);
	g_autofree char *path = g_build_filename(v->dir, view_run(v, label), "samples.csv", NULL), *text = NULL;
	guint n = 0;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_auto(GStrv) header = g_strsplit(lines[0] ? lines[0] : "", ",", -1);

	for (guint i = 1; header[0] && lines[i] && *lines[i]; i++) {
		g_auto(GStrv) f = g_strsplit(lines[i], ",", -1);
		double x;

		if (g_strv_length(f) != g_strv_length(header) || strcmp(f[1], "host"))
			continue;
		x = value(s, header, f) / (s->mean ? guests(v, label) : 1);
		*any = *any || x != 0;
		g_string_append_printf(csv, "%.9g", (s->x ? field(header, f, s->x) : g_ascii_strtod(f[0], NULL)) / 1e6);
		for (guint j = 0; j < nlines; j++) {
			g_string_append_c(csv, ',');
			if (j == line)
				g_string_append_printf(csv, "%.6g", x);
		}
		g_string_append_c(csv, '\n');
		n++;
	}
	return n;
}

static gboolean over_time(const struct view *v, const char *name, const struct sum *s, GString *csv, GString *vars)
{
	guint nlines = MIN(v->labels->len, FIGURE_LINES);
	g_autoptr(GString) points = g_string_new(NULL), titles = g_string_new(NULL);
	gboolean any = FALSE, enough = FALSE;

	if (v->labels->len > FIGURE_LINES)
		return FALSE;
	g_string_append(csv, s->x ? s->x : "time_ms");
	for (guint j = 0; j < nlines; j++) {
		const char *label = g_ptr_array_index(v->labels, j);

		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, *label ? label : "all guests");
		g_string_append(titles, j ? ", " : "");
		text_gnuplot_quoted(titles, *label ? label : "all guests");
	}
	g_string_append_c(csv, '\n');
	for (guint j = 0; j < nlines; j++) {
		guint n = add_run(v, s, j, nlines, csv, &any);

		g_string_append_printf(points, "%s%u", j ? " " : "", MAX(n, 1));
		enough = enough || n >= 4;
	}
	g_string_append_printf(vars, "%s_lines = %u\n%s_points = '%s'\n", name, nlines, name, points->str);
	g_string_append_printf(vars, "array %s_titles[%u] = [%s]\n", name, nlines, titles->str);
	g_autofree char *keys = g_strconcat(name, "_keys", NULL);

	text_gnuplot_set(vars, keys, v->keys);
	return any && enough;
}

gboolean figure_savings(const struct view *v, GString *csv, GString *vars)
{
	static const struct sum s = {
		.more = { "pages_backed", "pages_compressed", NULL },
		.less = { "frames_backing", "frames_tier", "frames_reference", NULL },
		.factor = 1.0 / 256,
	};

	return over_time(v, "savings", &s, csv, vars);
}

gboolean figure_savings_cost(const struct view *v, GString *csv, GString *vars)
{
	static const struct sum s = {
		.more = { "pages_backed", "pages_compressed", NULL },
		.less = { "frames_backing", "frames_tier", "frames_reference", NULL },
		.factor = 1.0 / 256,
		.x = "ns_dedup",
	};

	return over_time(v, "savings_cost", &s, csv, vars);
}

gboolean figure_large_pages(const struct view *v, GString *csv, GString *vars)
{
	static const struct sum s = { .more = { "pages_large", NULL }, .factor = 1.0 / 256 };

	return over_time(v, "large_pages", &s, csv, vars);
}

gboolean figure_tlb_reach(const struct view *v, GString *csv, GString *vars)
{
	static const struct sum s = { .more = { "tlb_reach", NULL }, .factor = 1.0 / (1 << 20), .mean = TRUE };

	return over_time(v, "tlb_reach", &s, csv, vars);
}
