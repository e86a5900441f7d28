/* SPDX-License-Identifier: MIT */
/* figure_sharing.c - data of the figure `sharing`: where all guests' memory is, one bar for each combination */
#include "vmm/figure.h"
#include "vmm/text.h"

static const struct figure_part parts[] = {
	{ "frames_backing", "in host frames", 3, NULL },
	{ "saved_inter", "saved: between guests", 9, NULL },
	{ "saved_self", "saved: within a guest", 7, NULL },
	{ "saved_zero", "saved: zeros", 5, NULL },
	{ NULL, NULL, 0, NULL },
};

/* MiB, of all guests of a combination. */
static double total(const struct view *v, const char *label, const char *counter)
{
	double pages = 0;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);

		if (!g_strcmp0(row->label, label))
			pages += view_counter(row, counter, NULL);
	}
	return pages / 256;
}

gboolean figure_sharing(const struct view *v, GString *csv, GString *vars)
{
	guint bars = MIN(v->labels->len, FIGURE_BARS);
	gsize longest = 0;
	double saved = 0;

	g_string_append(csv, "vm,combination");
	g_string_append(vars, "sharing_styles = '");
	for (const struct figure_part *p = parts; p->counter; p++) {
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, p->title);
		g_string_append_printf(vars, "%s%u", p == parts ? "" : " ", p->style);
	}
	g_string_append_c(csv, '\n');
	for (guint j = 0; j < bars; j++) {
		const char *label = g_ptr_array_index(v->labels, j);

		text_gnuplot_field(csv, "all guests");
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, *label ? label : "all guests");
		for (const struct figure_part *p = parts; p->counter; p++) {
			double mib = total(v, label, p->counter);

			g_string_append_printf(csv, ",%.6g", mib);
			saved += p == parts ? 0 : mib;
		}
		g_string_append_c(csv, '\n');
		longest = MAX(longest, (gsize)g_utf8_strlen(*label ? label : "all guests", -1));
	}
	g_string_append_printf(vars, "'\nsharing_bars = %u\nsharing_label_length = %" G_GSIZE_FORMAT "\n",
			       bars, longest);
	text_gnuplot_set(vars, "sharing_keys", v->keys);
	return saved > 0;
}
