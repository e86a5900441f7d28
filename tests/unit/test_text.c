/* SPDX-License-Identifier: MIT */
/* test_text.c - a user's text where it could be taken for something else */
#include <check.h>
#include <math.h>

#include "tests/lib/suite.h"
#include "vmm/text.h"

typedef void (*escape_fn)(GString *out, const char *text);

static const struct {
	escape_fn escape;
	const char *in, *out;
} cases[] = {
	{ text_csv, "plain 1", "plain 1" },
	{ text_csv, "a,b", "\"a,b\"" },
	{ text_csv, "say \"x\"", "\"say \"\"x\"\"\"" },
	{ text_csv, "two\nlines", "\"two\nlines\"" },
	{ text_gnuplot_field, "a,b", "\"a,b\"" },
	{ text_gnuplot_field, "say \"x\"\n", "\"say 'x' \"" },
	{ text_gnuplot_quoted, "it's `date` \\n %d \"", "'it''s `date` \\n %d \"'" },
	{ text_gnuplot_quoted, "two\r\nlines", "'two  lines'" },
	{ text_html, "<a href=\"x\">&'", "&lt;a href=&quot;x&quot;&gt;&amp;&apos;" },
};

START_TEST(what_if_text_has_special_characters)
{
	GString *out = g_string_new(NULL);

	cases[_i].escape(out, cases[_i].in);
	if (cases[_i].escape == text_html) /* GLib writes one of two forms of the apostrophe */
		g_string_replace(out, "&#39;", "&apos;", 0);
	ck_assert_str_eq(out->str, cases[_i].out);
	g_string_free(out, TRUE);
}
END_TEST

START_TEST(what_if_a_variable_is_set)
{
	GString *out = g_string_new(NULL);

	text_gnuplot_set(out, "title", "it's");
	ck_assert_str_eq(out->str, "title = 'it''s'\n");
	g_string_free(out, TRUE);
}
END_TEST

static const struct {
	double x;
	const char *text;
} numbers[] = {
	{ 0, "0" },
	{ 7, "7" },
	{ 2.0135, "2.01" },
	{ 9.999, "10.0" },
	{ 12.34, "12.3" },
	{ 99.97, "100" },
	{ 123.4, "123" },
	{ 999.7, "1\u202f000" },
	{ 1234567, "1\u202f234\u202f567" },
	{ 999, "999" },
	{ -4.5, "-4.50" },
	{ -12345, "-12\u202f345" },
};

START_TEST(what_if_a_number_is_to_be_read)
{
	char *text = text_number(numbers[_i].x);

	ck_assert_str_eq(text, numbers[_i].text);
	g_free(text);
}
END_TEST

START_TEST(what_if_it_is_no_number)
{
	char *a = text_number(NAN), *b = text_number(INFINITY);

	ck_assert_str_eq(a, "-");
	ck_assert_str_eq(b, "-");
	g_free(a);
	g_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");
	TCase *tc = tcase_create("text");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_if_text_has_special_characters, 0, G_N_ELEMENTS(cases));
	tcase_add_test(tc, what_if_a_variable_is_set);
	tcase_add_loop_test(tc, what_if_a_number_is_to_be_read, 0, G_N_ELEMENTS(numbers));
	tcase_add_test(tc, what_if_it_is_no_number);
	suite_add_tcase(s, tc);

	return suite_run(s);
}
