/* SPDX-License-Identifier: MIT */
/*
 * figure_states.c - the host's states over time, from the decisions about the host
 *
 * A policy that has states (esx) names free memory, state and threshold among the inputs of its rule for the host. A
 * panel for each combination that has such decisions, up to four; a row of the CSV is one decision.
 */
#include <string.h>

#include "vmm/figure.h"
#include "vmm/text.h"

#define PANELS 4

/* The value of input @name among "a=1;b=2"; FALSE: it is not there. */
static gboolean input(const char *inputs, const char *name, double *value)
{
	g_auto(GStrv) each = g_strsplit(inputs, ";", -1);
	size_t n = strlen(name);

	for (char **i = each; *i; i++)
		if (!strncmp(*i, name, n) && (*i)[n] == '=') {
			*value = g_ascii_strtod(*i + n + 1, NULL);
			return TRUE;
		}
	return FALSE;
}

static guint put_panel(const struct view *v, const char *run, guint number, GString *csv)
{
	g_autofree char *path = g_build_filename(v->dir, run, "decisions.csv", NULL), *text = NULL;
	g_auto(GStrv) lines = NULL;
	guint points = 0;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	lines = g_strsplit(text, "\n", -1);
	for (guint n = 1; lines[0] && lines[n] && *lines[n]; n++) {
		g_auto(GStrv) f = g_strsplit(lines[n], ",", -1);
		double free, state;

		if (g_strv_length(f) != 8 || strcmp(f[1], "host") || !input(f[3], "free", &free) ||
		    !input(f[3], "state", &state))
			continue;
		g_string_append_printf(csv, "%u,%.9g,%.6g,%.0f\n", number, g_ascii_strtod(f[0], NULL) / 1e6, free / 256,
				       state);
		points++;
	}
	return points;
}

gboolean figure_states(const struct view *v, GString *csv, GString *vars)
{
	g_autoptr(GString) titles = g_string_new(NULL);
	const char *last = NULL;
	guint panels = 0;

	g_string_append(csv, "panel,time_ms,free_mib,state\n");
	for (guint i = 0; i < v->rows->len && panels < PANELS; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);
		gsize before = csv->len;

		if (!g_strcmp0(last, r->label))
			continue;
		last = r->label;
		if (put_panel(v, r->run, panels + 1, csv) < 4) {
			g_string_truncate(csv, before);
			continue;
		}
		g_string_append(titles, panels ? ", " : "");
		text_gnuplot_quoted(titles, r->label);
		panels++;
	}
	g_string_append_printf(vars, "states_panels = %u\n", panels);
	if (panels)
		g_string_append_printf(vars, "array states_title[%u] = [%s]\n", panels, titles->str);
	return panels > 0;
}
