/* SPDX-License-Identifier: MIT */
/* report_numbers.c - the tables of a report: what matters most, what its words mean, every counter */
#include <math.h>
#include <string.h>

#include "vmm/figure.h"
#include "vmm/report_impl.h"
#include "vmm/text.h"
#include "vmm/vmm.h"

#define OPEN_ROWS    40 /* a longer table is folded */
#define MANY_COLUMNS 24 /* more guests than this: their counters are left to summary.csv */

/* The columns of the first table: what to print of a row, and how it is headed. */
static const struct {
	const char *head, *metric;
} columns[] = {
	{ "ns per operation", "ns_total/operations" },
	{ "operations", "operations" },
	{ "page walks", "walks" },
	{ "references per walk", "walk_refs/walks" },
	{ "VM exits", "exits" },
	{ "guest page faults", "guest_faults" },
	{ "host faults", "faults_absent" },
	{ "resident pages", "pages_resident" },
	{ "table frames", "table_frames" },
};

static const struct {
	const char *head, *point;
} latencies[] = {
	{ "latency: median, ns", "p50_ns" },
	{ "99th percentile, ns", "p99_ns" },
	{ "99.9th percentile, ns", "p99.9_ns" },
};

static void cell(GString *out, double x)
{
	g_autofree char *n = text_number(x);

	g_string_append_printf(out, "<td>%s</td>", n);
}

static gboolean any_metric(const struct view *v, const char *metric)
{
	for (guint i = 0; i < v->rows->len; i++)
		if (view_metric(g_ptr_array_index(v->rows, i), metric, NULL) > 0)
			return TRUE;
	return FALSE;
}

static gboolean any_latency(const struct view *v)
{
	for (guint i = 0; i < v->rows->len; i++)
		if (view_latency(g_ptr_array_index(v->rows, i), "count") > 0)
			return TRUE;
	return FALSE;
}

static void row(const struct view *v, const struct view_row *r, gboolean latency, GString *out)
{
	g_string_append(out, "<tr><th scope=\"row\">");
	text_html(out, v->labels->len > 1 ? r->label : r->vm);
	g_string_append(out, r->failure ? " <span class=\"bad\">failed</span></th>" : "</th>");
	for (unsigned k = 0; k < G_N_ELEMENTS(columns); k++)
		if (any_metric(v, columns[k].metric))
			cell(out, view_metric(r, columns[k].metric, NULL));
	for (unsigned k = 0; latency && k < G_N_ELEMENTS(latencies); k++)
		cell(out, view_latency(r, "count") > 0 ? view_latency(r, latencies[k].point) : NAN);
	g_string_append(out, "</tr>\n");
}

/* A line across, before the combinations of a guest. */
static void guest_heading(const struct view *v, const char *vm, GString *out)
{
	if (v->labels->len < 2)
		return;
	g_string_append(out, "<tr class=\"guest\"><th scope=\"rowgroup\">");
	text_html(out, vm);
	g_string_append(out, "</th></tr>\n");
}

static void table(const struct view *v, GString *out)
{
	gboolean latency = any_latency(v), fold = v->rows->len > OPEN_ROWS;

	if (fold)
		g_string_append_printf(out, "<details><summary>All %u rows</summary>\n", v->rows->len);
	g_string_append(out, "<div class=\"box\"><table>\n<tr><th scope=\"col\">");
	text_html(out, v->labels->len > 1 ? v->keys : "guest");
	g_string_append(out, "</th>");
	for (unsigned i = 0; i < G_N_ELEMENTS(columns); i++)
		if (any_metric(v, columns[i].metric))
			g_string_append_printf(out, "<th scope=\"col\">%s</th>", columns[i].head);
	for (unsigned i = 0; latency && i < G_N_ELEMENTS(latencies); i++)
		g_string_append_printf(out, "<th scope=\"col\">%s</th>", latencies[i].head);
	g_string_append(out, "</tr>\n");
	for (guint i = 0; i < v->vms->len; i++) {
		guest_heading(v, g_ptr_array_index(v->vms, i), out);
		for (guint j = 0; j < v->labels->len; j++) {
			const struct view_row *r =
				view_find(v, g_ptr_array_index(v->labels, j), g_ptr_array_index(v->vms, i));

			if (r)
				row(v, r, latency, out);
		}
	}
	g_string_append(out, fold ? "</table></div></details>\n" : "</table></div>\n");
}

/* Does every combination leave the memory of @vm with the same digest? */
static gboolean same_digest(const struct view *v, const char *vm, gboolean *any)
{
	const char *first = NULL;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (strcmp(r->vm, vm) || !r->digest)
			continue;
		if (first && strcmp(first, r->digest))
			return FALSE;
		first = r->digest;
		*any = TRUE;
	}
	return TRUE;
}

/* A digest in itself says nothing to a reader; whether combinations agree does. */
static void digests(const struct view *v, GString *out)
{
	g_autoptr(GString) differ = g_string_new(NULL);
	gboolean any = FALSE;

	for (guint i = 0; v->labels->len > 1 && i < v->vms->len; i++) {
		if (same_digest(v, g_ptr_array_index(v->vms, i), &any))
			continue;
		g_string_append(differ, differ->len ? ", " : "");
		text_html(differ, g_ptr_array_index(v->vms, i));
	}
	if (differ->len)
		g_string_append_printf(
			out,
			"<p>The memory that guests leave is not the same in every combination: digests differ for "
			"%s. With <code>schedule = free</code>, or where seeds or workloads are varied, that is to "
			"be expected.</p>\n",
			differ->str);
	else if (any)
		g_string_append(
			out,
			"<p>Every guest leaves the same memory in every combination: their digests are equal.</p>\n");
	if (v->labels->len > 1)
		return;
	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (!r->digest)
			continue;
		g_string_append(out, any ? ", " : "<p>Digests of the memory that guests leave: ");
		any = TRUE;
		text_html(out, r->vm);
		g_string_append_printf(out, " <code>%s</code>", r->digest);
	}
	g_string_append(out, any ? ".</p>\n" : "");
}

/* A counter's sentence, without the "Of it: " that its neighbours in the list explain. */
static void sentence(const char *counter, GString *out)
{
	for (const struct counter_info *c = counter_table; c->name; c++) {
		const char *s = c->sentence;

		if (strcmp(c->name, counter))
			continue;
		if (g_str_has_prefix(s, "Of it: ")) {
			s += strlen("Of it: ");
			g_string_append_c(out, g_ascii_toupper(*s++));
		}
		text_html(out, s);
	}
}

static void term(GString *out, const char *name, const char *counter)
{
	g_string_append_printf(out, "<dt>%s</dt><dd>", name);
	sentence(counter, out);
	g_string_append(out, "</dd>\n");
}

static void legend(const struct view *v, GString *out)
{
	g_string_append(out, "<details><summary>What the words mean</summary>\n<dl>\n");
	for (const struct figure_part *p = figure_time_parts; p->counter; p++)
		if (any_metric(v, p->counter))
			term(out, p->title, p->counter);
	for (unsigned i = 0; i < G_N_ELEMENTS(columns); i++)
		if (!strchr(columns[i].metric, '/') && any_metric(v, columns[i].metric))
			term(out, columns[i].head, columns[i].metric);
	g_string_append(out, "</dl></details>\n");
}

/* Every counter that is not zero everywhere. */
static void all_counters(const struct view *v, GString *out)
{
	if (v->rows->len > MANY_COLUMNS) {
		g_string_append(out, "<p>Every counter of every run: <code>summary.csv</code>.</p>\n");
		return;
	}
	g_string_append(out, "<details><summary>Every counter that is not zero</summary>\n<div class=\"box\"><table>\n"
			     "<tr><th scope=\"col\">counter</th>");
	for (guint j = 0; j < v->rows->len; j++) {
		const struct view_row *r = g_ptr_array_index(v->rows, j);

		g_string_append(out, "<th scope=\"col\">");
		text_html(out, r->vm);
		g_string_append(out, *r->label ? "<br>" : "");
		text_html(out, r->label);
		g_string_append(out, "</th>");
	}
	g_string_append(out, "</tr>\n");
	for (const struct counter_info *c = counter_table; c->name; c++) {
		if (!any_metric(v, c->name))
			continue;
		g_string_append_printf(out, "<tr><th scope=\"row\" class=\"wide\"><code>%s</code><br><small>", c->name);
		text_html(out, c->sentence);
		g_string_append(out, "</small></th>");
		for (guint j = 0; j < v->rows->len; j++)
			cell(out, view_counter(g_ptr_array_index(v->rows, j), c->name, NULL));
		g_string_append(out, "</tr>\n");
	}
	g_string_append(out, "</table></div></details>\n");
}

void report_numbers(const struct view *v, GString *out)
{
	guint n = ((const struct view_row *)g_ptr_array_index(v->rows, 0))->counters->len;

	if (n > 1)
		g_string_append_printf(
			out, "<p>Means of %u repetitions; <code>means.csv</code> has their 95%% intervals.</p>\n", n);
	table(v, out);
	digests(v, out);
	legend(v, out);
	all_counters(v, out);
}
