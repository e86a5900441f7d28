/* SPDX-License-Identifier: MIT */
/*
 * report.c - report.html: the answer first, then what supports it
 *
 * One self-contained page: no network, no script; figures are embedded. It is laid out for a phone's width first,
 * tables scroll in a box of their own, and colours follow the reader's light or dark setting.
 */

#include "vmm/figure.h"
#include "vmm/report.h"
#include "vmm/report_impl.h"
#include "vmm/text.h"

static const char *const page_style =
	"<style>\n"
	":root{color-scheme:light "
	"dark;--fg:#1a1a1a;--bg:#fff;--soft:#f2f4f6;--line:#ccc;--mark:#1b4f72;--bad:#b03a2e}\n"
	"@media(prefers-color-scheme:dark){:root{--fg:#e6e6e6;--bg:#16181b;--soft:#23262b;--line:#444;--mark:#7fb3d5;--"
	"bad:#ec7063}}\n"
	"body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:56rem;margin:0 "
	"auto;padding:1rem;"
	"overflow-wrap:anywhere}\n"
	"h1{font-size:1.5rem;line-height:1.2}h2{font-size:1.15rem;margin-top:2rem}\n"
	".answer,.failed{background:var(--soft);border-left:.3rem solid var(--mark);padding:.1rem 1rem;margin:1rem 0}\n"
	".answer ul,.failed ul{padding-left:1.1rem}.answer li{margin:.4rem 0}\n"
	".failed{border-color:var(--bad)}.bad{color:var(--bad)}\n"
	".box{overflow-x:auto;max-width:100%}\n"
	"table{border-collapse:collapse;font-size:.9rem;overflow-wrap:normal}\n"
	"th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}\n"
	"td{white-space:nowrap;font-variant-numeric:tabular-nums}\n"
	"th:first-child{text-align:left}th[scope=row]{font-weight:normal}.guest "
	"th{padding-top:.8rem}.wide{min-width:13rem}"
	".prose{white-space:normal;text-align:left;min-width:10rem}\n"
	"small{opacity:.75}details{margin:1rem 0}summary{cursor:pointer}dt{font-weight:600}dd{margin:0 0 .4rem 1rem}\n"
	"pre{background:var(--soft);padding:.8rem;overflow-x:auto;font-size:.82rem;white-space:pre-wrap}\n"
	"figure{margin:1.5rem "
	"0}figcaption{font-size:.9rem}img{display:block;max-width:100%;height:auto;background:#fff;"
	"border-radius:.3rem}\n"
	"</style>\n";

static void embed(const struct view *v, const struct figure *f, GString *out)
{
	g_autofree char *path = g_strdup_printf("%s/figures/%s.svg", v->dir, f->name);
	g_autofree char *svg = NULL, *base64 = NULL;
	gsize len;

	if (!g_file_get_contents(path, &svg, &len, NULL))
		return;
	base64 = g_base64_encode((const guchar *)svg, len);
	g_string_append(out, "<figure><img alt=\"");
	text_html(out, f->caption);
	g_string_append_printf(out,
			       " The data is in figures/%s.csv.\" src=\"data:image/svg+xml;base64,%s\">\n<figcaption>",
			       f->name, base64);
	text_html(out, f->caption);
	g_string_append_printf(out, " <small><code>figures/%s.gp</code></small></figcaption></figure>\n", f->name);
}

static void figures(const struct view *v, GString *out)
{
	g_autoptr(GString) all = g_string_new(NULL);

	for (const struct figure *f = figure_table; f->name; f++)
		embed(v, f, all);
	if (!all->len)
		return;
	g_string_append(out, "<h2>Figures</h2>\n");
	g_string_append(out, all->str);
	g_string_append(out, "<p><small>To change a figure, edit its template and run <code>gnuplot "
			     "figures/NAME.gp</code> in the run's "
			     "directory.</small></p>\n");
}

static const char *text_of(JsonObject *o, const char *member)
{
	return json_object_get_string_member_with_default(o, member, "?");
}

/* What the numbers are worth depends on what they were measured on. */
static void ran_on(const struct view *v, GString *out)
{
	g_autofree char *path = g_build_filename(v->dir, "manifest.json", NULL), *text = NULL;
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonObject *m;

	if (!json_parser_load_from_file(parser, path, NULL) ||
	    !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser)))
		return;
	m = json_node_get_object(json_parser_get_root(parser));
	if (g_str_equal(text_of(m, "machine"), "kvm"))
		text = g_strdup_printf("Real guests on KVM: %s, %s. Counts compare with the simulator's, times only "
				       "with each other.", text_of(m, "host_cpu"), text_of(m, "host_kernel"));
	else
		text = g_strdup("Simulated: times are those of the cost profile, and the same on every computer.");
	g_string_append(out, "<p><small>");
	text_html(out, text);
	g_string_append(out, "</small></p>\n");
}

static void file_section(const struct view *v, const char *title, const char *file, GString *out)
{
	g_autofree char *path = g_build_filename(v->dir, file, NULL), *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	g_string_append_printf(out, "<h2>%s</h2>\n<details><summary>%s</summary>\n<pre>\n", title, file);
	text_html(out, text);
	g_string_append(out, "</pre></details>\n");
}

gboolean report_write(const char *dir, GError **error)
{
	struct view *v = view_load(dir, error);
	g_autoptr(GString) out =
		g_string_new("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
			     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
	g_autofree char *path = g_build_filename(dir, "report.html", NULL);

	if (!v)
		return FALSE;

	const char *title = *v->title ? v->title : "overbook";

	text_html(out, title);
	g_string_append_printf(out, "</title>\n%s</head>\n<body>\n<h1>", page_style);
	text_html(out, title);
	g_string_append(out, "</h1>\n");
	ran_on(v, out);
	report_failures(v, out);
	report_answer(v, out);
	report_expect(v, out);
	figures(v, out);
	report_merging(v, out);
	g_string_append(out, "<h2>Numbers</h2>\n");
	report_numbers(v, out);
	report_kvm(v, out);
	file_section(v, "The experiment", "experiment.ini", out);
	file_section(v, "The run", "manifest.json", out);
	g_string_append(out, "</body>\n</html>\n");
	view_free(v);
	return g_file_set_contents(path, out->str, (gssize)out->len, error);
}
