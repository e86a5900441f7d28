/* SPDX-License-Identifier: MIT */
/* report_expect.c - what the literature let one expect, and what came */
#include "vmm/expect.h"
#include "vmm/report_impl.h"
#include "vmm/text.h"

static void cell(GString *out, const char *text)
{
	g_string_append(out, "<td>");
	text_html(out, text);
	g_string_append(out, "</td>");
}

static void row(const struct judgement *j, GString *out)
{
	g_autofree char *value = judgement_value(j), *band = judgement_band(j);

	g_string_append(out, "<tr><th scope=\"row\" class=\"wide\">");
	text_html(out, j->expect->claim);
	g_string_append(out, "<br><small>");
	text_html(out, j->expect->source);
	g_string_append(out, "</small></th>");
	cell(out, j->label);
	cell(out, value);
	cell(out, band);
	g_string_append_printf(out, "<td class=\"prose\"><strong%s>%s</strong>",
			       j->verdict == VERDICT_NOT_REPRODUCED ? " class=\"bad\"" : "", verdict_name(j->verdict));
	if (j->reason) {
		g_string_append(out, ": ");
		text_html(out, j->reason);
	}
	g_string_append(out, "</td>");
	g_string_append(out, "<td class=\"prose\"><code>");
	text_html(out, j->expect->value);
	g_string_append(out, "</code> of ");
	text_html(out, j->expect->vm);
	if (*j->expect->against_vm || *j->against) {
		g_string_append(out, ", divided by that of ");
		text_html(out, *j->expect->against_vm ? j->expect->against_vm : "the same");
		g_string_append(out, *j->against ? " in " : "");
		text_html(out, j->against);
	}
	g_string_append(out, "</td></tr>\n");
}

void report_expect(const struct view *v, GString *out)
{
	g_autoptr(GError) error = NULL;
	struct expected *x = expected_judge(v, &error);
	guint n[3] = { 0 };

	if (!x) {
		g_string_append(out, "<p class=\"bad\">What was expected cannot be told: ");
		text_html(out, error->message);
		g_string_append(out, "</p>\n");
	}

	if (x && x->judgements->len) {
		for (guint i = 0; i < x->judgements->len; i++)
			n[((const struct judgement *)g_ptr_array_index(x->judgements, i))->verdict]++;
		g_string_append_printf(out,
				       "<h2>Against the literature</h2>\n"
				       "<p>%u reproduced, %u not reproduced, %u not comparable.</p>\n"
				       "<div class=\"box\"><table>\n<tr><th>Found before</th><th>Here, in</th>"
				       "<th>Value</th><th>Expected</th><th class=\"prose\">Verdict</th>"
				       "<th class=\"prose\">What it is</th></tr>\n",
				       n[VERDICT_REPRODUCED], n[VERDICT_NOT_REPRODUCED], n[VERDICT_NOT_COMPARABLE]);
		for (guint i = 0; i < x->judgements->len; i++)
			row(g_ptr_array_index(x->judgements, i), out);
		g_string_append(out, "</table></div>\n");
	}
	expected_free(x);
}
