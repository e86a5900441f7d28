/* SPDX-License-Identifier: MIT */
/*
 * report.c - report.html: the answer first, then what supports it
 *
 * One self-contained page: no network, no script; figures are embedded. It is laid out for a phone's width first, tables wrap into
 * their own scrolling box, and colours follow the reader's light or dark setting.
 *
 * The answer is computed from the experiment's metric (a counter, or a ratio of two; less is better): with [vary], for
 * each guest which combination comes lowest and by how much; in a single run the metric of each guest and where its time went.
 */
#include <math.h>
#include <string.h>

#include "vmm/report.h"
#include "vmm/view.h"
#include "vmm/vmm.h"

static const char *const page_style =
	"<style>:root{color-scheme:light dark;--fg:#1a1a1a;--bg:#fff;--soft:#f2f4f6;--line:#ccc;--link:#1b4f72}"
	"@media(prefers-color-scheme:dark){:root{--fg:#e6e6e6;--bg:#16181b;--soft:#23262b;--line:#444;--link:#7fb3d5}}"
	"body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:62rem;margin:0 auto;"
	"padding:1rem;overflow-wrap:anywhere}h1{font-size:1.5rem;line-height:1.2}h2{font-size:1.15rem;margin-top:2rem}"
	".answer{background:var(--soft);border-left:.3rem solid var(--link);padding:.6rem 1rem}"
	".box{overflow-x:auto;max-width:100%}table{border-collapse:collapse;font-size:.9rem}"
	"th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;overflow-wrap:normal}"
	"th:first-child,td:first-child{text-align:left}img{max-width:100%;height:auto;background:#fff;border-radius:.3rem}"
	"pre{background:var(--soft);padding:.8rem;overflow-x:auto;font-size:.82rem;white-space:pre-wrap}"
	"figure{margin:1rem 0}figcaption{font-size:.9rem;opacity:.8}.bad{color:#c0392b;font-weight:600}</style>";

static void esc(GString *out, const char *text)
{
	g_autofree char *e = g_markup_escape_text(text, -1);

	g_string_append(out, e);
}

/* Three significant digits, thousands separated. */
static char *number(double x)
{
	if (isnan(x))
		return g_strdup("-");
	if (fabs(x) < 1000 && x != floor(x))
		return g_strdup_printf(fabs(x) < 10 ? "%.2f" : "%.1f", x);

	g_autofree char *digits = g_strdup_printf("%.0f", fabs(x));
	GString *out = g_string_new(x < 0 ? "-" : "");

	for (size_t n = strlen(digits), i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			g_string_append(out, "\u2009");
		g_string_append_c(out, digits[i]);
	}
	return g_string_free(out, FALSE);
}

/* The parts of a vCPU's time that a sentence may name. */
static const struct {
	const char *counter, *name;
} parts[] = {
	{ "ns_work", "useful work" },
	{ "ns_walk", "page walks and TLB misses" },
	{ "ns_guest_kernel", "the guest kernel" },
	{ "ns_exit_page_fault", "page-fault exits" },
	{ "ns_exit_traced_write", "traced writes" },
	{ "ns_exit_cr_write", "CR3 exits" },
	{ "ns_exit_invlpg", "INVLPG exits" },
	{ "ns_exit_ept", "EPT violations" },
	{ "ns_exit_hypercall", "hypercalls" },
	{ "ns_exit_other", "other exits" },
	{ "ns_host_memory", "host memory management" },
};

/* "34% page walks and TLB misses, 21% CR3 exits": the largest parts beside useful work. */
static void overheads(const struct view_row *row, GString *out)
{
	double all = view_counter(row, "ns_total", NULL), first = 0, second = 0;
	unsigned a = 0, b = 0;

	for (unsigned i = 1; i < G_N_ELEMENTS(parts); i++) {
		double x = view_counter(row, parts[i].counter, NULL);

		if (x > first) {
			second = first;
			b = a;
			first = x;
			a = i;
		} else if (x > second) {
			second = x;
			b = i;
		}
	}
	if (all <= 0 || first <= 0)
		return;
	g_string_append_printf(out, " (of its time %.0f%% %s", first * 100 / all, parts[a].name);
	if (second > 0)
		g_string_append_printf(out, ", %.0f%% %s", second * 100 / all, parts[b].name);
	g_string_append_c(out, ')');
}

static void answer_for_vm(const struct view *v, const char *vm, GString *out)
{
	const struct view_row *best = NULL, *worst = NULL;

	for (guint i = 0; i < v->labels->len; i++) {
		const struct view_row *row = view_find(v, g_ptr_array_index(v->labels, i), vm);
		double x = row ? view_metric(row, v->metric, NULL) : NAN;

		if (isnan(x))
			continue;
		if (!best || x < view_metric(best, v->metric, NULL))
			best = row;
		if (!worst || x > view_metric(worst, v->metric, NULL))
			worst = row;
	}
	if (!best)
		return;

	g_autofree char *low = number(view_metric(best, v->metric, NULL)), *high = number(view_metric(worst, v->metric, NULL));

	g_string_append(out, "<li><strong>");
	esc(out, vm);
	g_string_append(out, "</strong>: ");
	if (best == worst || view_metric(best, v->metric, NULL) == view_metric(worst, v->metric, NULL)) {
		g_string_append(out, low);
		if (best == worst)
			overheads(best, out);
		else
			g_string_append(out, " in every combination");
	} else {
		double ratio = view_metric(worst, v->metric, NULL) / view_metric(best, v->metric, NULL);

		g_string_append(out, "lowest with <strong>");
		esc(out, best->label);
		g_string_append_printf(out, "</strong> at %s, highest with ", low);
		esc(out, worst->label);
		g_string_append_printf(out, " at %s", high);
		if (isfinite(ratio))
			g_string_append_printf(out, ", %.2f times as much", ratio);
		overheads(worst, out);
	}
	g_string_append(out, "</li>\n");
}

static void answer(const struct view *v, GString *out)
{
	g_string_append(out, "<div class=\"answer\"><p>");
	if (*v->question) {
		g_string_append(out, "<strong>");
		esc(out, v->question);
		g_string_append(out, "</strong><br>");
	}
	g_string_append(out, "By <code>");
	esc(out, v->metric);
	g_string_append(out, "</code> (less is better):</p><ul>\n");
	for (guint i = 0; i < v->vms->len; i++)
		answer_for_vm(v, g_ptr_array_index(v->vms, i), out);
	g_string_append(out, "</ul></div>\n");
}

static void failures(const struct view *v, GString *out)
{
	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (!r->failure)
			continue;
		g_string_append(out, "<p class=\"bad\">");
		esc(out, r->vm);
		g_string_append(out, *r->label ? " (" : "");
		esc(out, r->label);
		g_string_append(out, *r->label ? ") failed: " : " failed: ");
		esc(out, r->failure);
		g_string_append(out, "</p>\n");
	}
}

static void embed(GString *out, const char *path, const char *name)
{
	g_autofree char *svg = NULL, *base64 = NULL;
	gsize len;

	if (!g_file_get_contents(path, &svg, &len, NULL))
		return;
	base64 = g_base64_encode((const guchar *)svg, len);
	g_string_append_printf(out,
			       "<figure><img alt=\"figure %s\" src=\"data:image/svg+xml;base64,%s\">"
			       "<figcaption>figures/%s.svg; edit figures/%s.gp and run <code>gnuplot figures/%s.gp</code> "
			       "here to change it</figcaption></figure>\n", name, base64, name, name, name);
}

static void embed_all(const struct view *v, GString *out)
{
	static const char *const order[] = { "metric", "time", "exits", "translation", "memory", "throughput" };

	for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
		g_autofree char *path = g_strdup_printf("%s/figures/%s.svg", v->dir, order[i]);

		embed(out, path, order[i]);
	}
}

/* The columns of the first table: what to print of a row, and how it is headed. */
static const struct {
	const char *head, *metric;
} columns[] = {
	{ "ns per operation", "ns_total/operations" },
	{ "operations", "operations" },
	{ "walk references per walk", "walk_refs/walks" },
	{ "page walks", "walks" },
	{ "VM exits", "exits" },
	{ "guest page faults", "guest_faults" },
	{ "host faults", "faults_absent" },
	{ "resident pages", "pages_resident" },
	{ "table frames", "table_frames" },
};

static void cell(GString *out, double x)
{
	g_autofree char *n = number(x);

	g_string_append_printf(out, "<td>%s</td>", n);
}

static void table(const struct view *v, GString *out)
{
	g_string_append(out, "<div class=\"box\"><table><tr><th>guest</th>");
	for (unsigned i = 0; i < G_N_ELEMENTS(columns); i++)
		g_string_append_printf(out, "<th>%s</th>", columns[i].head);
	g_string_append(out, "<th>p50 ns</th><th>p99 ns</th><th>p99.9 ns</th><th>digest</th></tr>\n");
	for (guint i = 0; i < v->vms->len; i++) {
		for (guint j = 0; j < v->labels->len; j++) {
			const struct view_row *r = view_find(v, g_ptr_array_index(v->labels, j),
							     g_ptr_array_index(v->vms, i));

			if (!r)
				continue;
			g_string_append(out, "<tr><td>");
			esc(out, r->vm);
			g_string_append(out, *r->label ? ": " : "");
			esc(out, r->label);
			g_string_append(out, "</td>");
			for (unsigned k = 0; k < G_N_ELEMENTS(columns); k++)
				cell(out, view_metric(r, columns[k].metric, NULL));
			cell(out, view_latency(r, "p50_ns"));
			cell(out, view_latency(r, "p99_ns"));
			cell(out, view_latency(r, "p99.9_ns"));
			g_string_append_printf(out, "<td><code>%s</code></td></tr>\n", r->digest ? r->digest : "-");
		}
	}
	g_string_append(out, "</table></div>\n");
}

/* Every counter that is not zero everywhere, by name. */
static void all_counters(const struct view *v, GString *out)
{
	g_string_append(out, "<details><summary>Every counter that is not zero</summary><div class=\"box\"><table><tr><th>counter</th>");
	for (guint j = 0; j < v->rows->len; j++) {
		const struct view_row *r = g_ptr_array_index(v->rows, j);

		g_string_append(out, "<th>");
		esc(out, r->vm);
		g_string_append(out, *r->label ? "<br>" : "");
		esc(out, r->label);
		g_string_append(out, "</th>");
	}
	g_string_append(out, "</tr>\n");
	for (const struct counter_info *c = counter_table; c->name; c++) {
		double sum = 0;

		for (guint j = 0; j < v->rows->len; j++)
			sum += view_counter(g_ptr_array_index(v->rows, j), c->name, NULL);
		if (sum == 0)
			continue;
		g_string_append_printf(out, "<tr><td title=\"%s\"><code>%s</code></td>", c->sentence, c->name);
		for (guint j = 0; j < v->rows->len; j++)
			cell(out, view_counter(g_ptr_array_index(v->rows, j), c->name, NULL));
		g_string_append(out, "</tr>\n");
	}
	g_string_append(out, "</table></div></details>\n");
}

static void file_section(const struct view *v, const char *title, const char *file, GString *out)
{
	g_autofree char *path = g_build_filename(v->dir, file, NULL), *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	g_string_append_printf(out, "<h2>%s</h2>\n<pre>", title);
	esc(out, text);
	g_string_append(out, "</pre>\n");
}

gboolean report_write(const char *dir, GError **error)
{
	struct view *v = view_load(dir, error);
	g_autoptr(GString) out = g_string_new("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
					      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
	g_autofree char *path = g_build_filename(dir, "report.html", NULL);

	if (!v)
		return FALSE;
	esc(out, v->title);
	g_string_append_printf(out, "</title>%s</head><body>\n<h1>", page_style);
	esc(out, v->title);
	g_string_append(out, "</h1>\n");
	answer(v, out);
	failures(v, out);
	g_string_append(out, "<h2>Figures</h2>\n");
	embed_all(v, out);
	g_string_append(out, "<h2>Numbers</h2>\n");
	table(v, out);
	all_counters(v, out);
	file_section(v, "The experiment", "experiment.ini", out);
	file_section(v, "The run", "manifest.json", out);
	g_string_append(out, "</body></html>\n");
	view_free(v);
	return g_file_set_contents(path, out->str, (gssize)out->len, error);
}
