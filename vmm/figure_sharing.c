/* SPDX-License-Identifier: MIT */
/*
 * figure_sharing.c - data of the figures `sharing`, where all guests' memory is, and `merging`, what became of each
 * page; one bar for each combination
 */
#include "vmm/figure.h"
#include "vmm/text.h"

static const struct figure_part sharing_parts[] = {
	{ "frames_backing", "in host frames", 3, NULL },
	{ "frames_compressed", "compressed tier", 10, NULL },
	{ "saved_inter", "saved: between guests", 9, NULL },
	{ "saved_self", "saved: within a guest", 7, NULL },
	{ "saved_zero", "saved: zeros", 5, NULL },
	{ "saved_patch", "saved: patches", 6, NULL },
	{ "saved_compress", "saved: compression", 12, NULL },
	{ NULL, NULL, 0, NULL },
};

static const struct figure_part merging_parts[] = {
	{ "pages_merged", "merged", 9, NULL },
	{ "ksm_zero_pages", "zero frame", 5, NULL },
	{ "pages_unshared", "unique", 3, NULL },
	{ "pages_volatile", "volatile", 4, NULL },
	{ "pages_huge", "large page", 6, NULL },
	{ "pages_limited", "sharing limit", 8, NULL },
	{ "pages_other_node", "other node", 7, NULL },
	{ "pages_refused", "no mapping left", 13, NULL },
	{ "pages_unscanned", "not scanned", 1, NULL },
	{ "balloon_actual", "ballooned", 12, NULL },
	{ "pages_swapped", "swapped", 2, NULL },
	{ "pages_compressed", "compressed", 10, NULL },
	{ "pages_dropped", "on the guest's disk", 11, NULL },
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

/* Which parts are worth a place in the legend; the first always is. */
static gboolean occurs(const struct view *v, const struct figure_part *parts, const struct figure_part *p)
{
	for (guint j = 0; j < v->labels->len; j++)
		if (p == parts || total(v, g_ptr_array_index(v->labels, j), p->counter) > 0)
			return TRUE;
	return FALSE;
}

static void bar(const struct view *v, const struct figure_part *parts, const char *label, GString *csv)
{
	text_gnuplot_field(csv, "all guests");
	g_string_append_c(csv, ',');
	text_gnuplot_field(csv, *label ? label : "all guests");
	for (const struct figure_part *p = parts; p->counter; p++)
		if (occurs(v, parts, p))
			g_string_append_printf(csv, ",%.6g", total(v, label, p->counter));
	g_string_append_c(csv, '\n');
}

/* TRUE if any part but the first has anything. */
static gboolean stacked(const struct view *v, const char *name, const struct figure_part *parts, GString *csv,
			GString *vars)
{
	guint bars = MIN(v->labels->len, FIGURE_BARS);
	gboolean any = FALSE;
	gsize longest = 0;

	g_string_append(csv, "vm,combination");
	g_string_append_printf(vars, "%s_styles = '", name);
	for (const struct figure_part *p = parts; p->counter; p++) {
		if (!occurs(v, parts, p))
			continue;
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, p->title);
		g_string_append_printf(vars, "%s%u", p == parts ? "" : " ", p->style);
		any = any || p != parts;
	}
	g_string_append_c(csv, '\n');
	for (guint j = 0; j < bars; j++) {
		const char *label = g_ptr_array_index(v->labels, j);

		bar(v, parts, label, csv);
		longest = MAX(longest, (gsize)g_utf8_strlen(*label ? label : "all guests", -1));
	}
	g_string_append_printf(vars, "'\n%s_bars = %u\n%s_label_length = %" G_GSIZE_FORMAT "\n", name, bars, name,
			       longest);
	g_autofree char *keys = g_strconcat(name, "_keys", NULL);

	text_gnuplot_set(vars, keys, v->keys);
	return any;
}

gboolean figure_sharing(const struct view *v, GString *csv, GString *vars)
{
	return stacked(v, "sharing", sharing_parts, csv, vars);
}

/* Only where something scans are pages told apart. */
gboolean figure_merging(const struct view *v, GString *csv, GString *vars)
{
	return stacked(v, "merging", merging_parts, csv, vars) && occurs(v, NULL, &sharing_parts[0]);
}
