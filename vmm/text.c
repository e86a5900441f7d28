/* SPDX-License-Identifier: MIT */
/* text.c - see text.h */
#include "vmm/text.h"

#include <math.h>
#include <string.h>

void text_csv(GString *out, const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		g_string_append(out, text);
		return;
	}
	g_string_append_c(out, '"');
	for (; *text; text++) {
		if (*text == '"')
			g_string_append_c(out, '"');
		g_string_append_c(out, *text);
	}
	g_string_append_c(out, '"');
}

void text_gnuplot_field(GString *out, const char *text)
{
	g_string_append_c(out, '"');
	for (; *text; text++)
		g_string_append_c(out, *text == '"' ? '\'' : *text == '\n' || *text == '\r' ? ' ' : *text);
	g_string_append_c(out, '"');
}

void text_gnuplot_quoted(GString *out, const char *text)
{
	g_string_append_c(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			g_string_append_c(out, '\'');
		g_string_append_c(out, *text == '\n' || *text == '\r' ? ' ' : *text);
	}
	g_string_append_c(out, '\'');
}

void text_gnuplot_set(GString *out, const char *name, const char *text)
{
	g_string_append_printf(out, "%s = ", name);
	text_gnuplot_quoted(out, text);
	g_string_append_c(out, '\n');
}

void text_html(GString *out, const char *text)
{
	g_autofree char *e = g_markup_escape_text(text, -1);

	g_string_append(out, e);
}

char *text_number(double x)
{
	if (!isfinite(x))
		return g_strdup("-");
	if (fabs(x) < 999.5 && x != floor(x))
		return g_strdup_printf(fabs(x) < 9.995 ? "%.2f" : fabs(x) < 99.95 ? "%.1f" : "%.0f", x);

	g_autofree char *digits = g_strdup_printf("%.0f", fabs(x));
	GString *out = g_string_new(x < 0 ? "-" : "");

	for (size_t n = strlen(digits), i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			g_string_append(out, "\u202f"); /* narrow, and no line breaks there */
		g_string_append_c(out, digits[i]);
	}
	return g_string_free(out, FALSE);
}
