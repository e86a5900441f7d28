/* SPDX-License-Identifier: MIT */
/*
 * report_merging.c - "why is not more merged?": for every page that merging could work on, what became of it
 *
 * One row for each combination, all its guests together; the pages of a row add up to its first column.
 */
#include "vmm/figure.h"
#include "vmm/report_impl.h"
#include "vmm/text.h"

/* What can become of a page. The first two are merged, the others are why it is not. */
static const struct {
	const char *counter, *head, *prose, *remedy;
} fates[] = {
	{ "pages_merged", "merged", "merged", "Map a frame together with equal pages." },
	{ "ksm_zero_pages", "zero frame", "zeros", "Map the host's one frame of zeros." },
	{ "pages_unshared", "unique", "unique", "Nothing equal was found when they were last looked at." },
	{ "pages_volatile", "volatile", "changing too fast",
	  "Changed between two looks, or were looked at only once so far: looking more often may help (pages-to-scan, "
	  "sleep)." },
	{ "pages_huge", "huge", "part of large host pages",
	  "Part of a large host page that split-huge = no leaves whole." },
	{ "pages_limited", "limit", "beyond max-page-sharing",
	  "Equal to merged frames that all have max-page-sharing pages." },
	{ "pages_other_node", "other node", "equal only to pages of other NUMA nodes",
	  "Equal to pages of other NUMA nodes, which merge-across-nodes = no keeps apart." },
	{ "pages_refused", "no mapping", "beyond what the machine can map",
	  "Each would take up to two mappings of this process, and they are used up: raise vm.max_map_count, or [host] "
	  "mappings." },
	{ "pages_unscanned", "not scanned", "not looked at yet",
	  "The scanner has not come by since they got their frames: a larger pages-to-scan or a shorter sleep helps." },
	{ "balloon_actual", "ballooned", "in balloons", "Given up to a balloon: they have no contents to merge." },
	{ "pages_swapped", "swapped", "in swap", "On the swap device." },
	{ "pages_dropped", "on disk", "on the guests' disks", "Dropped by the mapper: they are on the guest's disk." },
	{ "pages_compressed", "compressed", "in the compressed tier", "In the compressed tier, or patches." },
};

#define MERGED_FATES 2

static double total(const struct view *v, const char *label, unsigned fate)
{
	double pages = 0;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);

		if (!g_strcmp0(row->label, label) && view_counter(row, "pages_backed", NULL) > 0)
			pages += view_counter(row, fates[fate].counter, NULL);
	}
	return pages;
}

static gboolean occurs(const struct view *v, unsigned fate)
{
	for (guint j = 0; j < v->labels->len; j++)
		if (total(v, g_ptr_array_index(v->labels, j), fate) > 0)
			return TRUE;
	return FALSE;
}

static void heads(const struct view *v, GString *out)
{
	g_string_append(out, "<tr><th scope=\"col\">");
	text_html(out, v->labels->len > 1 ? v->keys : "");
	g_string_append(out, "</th><th scope=\"col\">pages</th>");
	for (unsigned f = 0; f < G_N_ELEMENTS(fates); f++)
		if (occurs(v, f))
			g_string_append_printf(out, "<th scope=\"col\">%s</th>", fates[f].head);
	g_string_append(out, "</tr>\n");
}

static double all_pages(const struct view *v, const char *label)
{
	double all = 0;

	for (unsigned f = 0; f < G_N_ELEMENTS(fates); f++)
		all += total(v, label, f);
	return all;
}

static void row(const struct view *v, const char *label, GString *out)
{
	double all = all_pages(v, label);
	g_autofree char *n = text_number(all);

	if (all <= 0)
		return;
	g_string_append(out, "<tr><th scope=\"row\">");
	text_html(out, *label ? label : "all guests");
	g_string_append_printf(out, "</th><td>%s</td>", n);
	for (unsigned f = 0; f < G_N_ELEMENTS(fates); f++) {
		g_autofree char *x = text_number(total(v, label, f));

		if (occurs(v, f))
			g_string_append_printf(out, "<td>%s <small>%.1f%%</small></td>", x,
					       total(v, label, f) * 100 / all);
	}
	g_string_append(out, "</tr>\n");
}

/* "Of 99,000 pages 61.0% are merged; most of the others are unique." */
static void sentence(const struct view *v, const char *label, GString *out)
{
	double all = all_pages(v, label), merged = 0, most = 0;
	g_autofree char *n = text_number(all);
	unsigned why = MERGED_FATES;

	if (all <= 0)
		return;
	for (unsigned f = 0; f < MERGED_FATES; f++)
		merged += total(v, label, f);
	for (unsigned f = MERGED_FATES; f < G_N_ELEMENTS(fates); f++)
		if (total(v, label, f) > most) {
			most = total(v, label, f);
			why = f;
		}
	g_string_append(out, "<p>");
	if (*label) {
		text_html(out, label);
		g_string_append(out, ": of ");
	} else {
		g_string_append(out, "Of ");
	}
	g_string_append_printf(out, "%s pages %.1f%% are merged", n, merged * 100 / all);
	if (most > 0)
		g_string_append_printf(out, "; most of the others are %s (%.1f%%)", fates[why].prose, most * 100 / all);
	g_string_append(out, ".</p>\n");
}

void report_merging(const struct view *v, GString *out)
{
	double all = 0;

	for (guint j = 0; j < v->labels->len; j++)
		all += all_pages(v, g_ptr_array_index(v->labels, j));
	if (all <= 0)
		return;
	g_string_append(out, "<h2>Why is not more merged?</h2>\n");
	sentence(v, g_ptr_array_index(v->labels, v->labels->len - 1), out);
	g_string_append(out, "<div class=\"box\"><table>\n");
	heads(v, out);
	for (guint j = 0; j < v->labels->len; j++)
		row(v, g_ptr_array_index(v->labels, j), out);
	g_string_append(out, "</table></div>\n<details><summary>What that means</summary>\n<dl>\n");
	for (unsigned f = 0; f < G_N_ELEMENTS(fates); f++)
		if (occurs(v, f))
			g_string_append_printf(out, "<dt>%s (<code>%s</code>)</dt><dd>%s</dd>\n", fates[f].head,
					       fates[f].counter, fates[f].remedy);
	g_string_append(out, "</dl></details>\n");
}
