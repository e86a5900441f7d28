/* SPDX-License-Identifier: MIT */
/* test_profile.c - processors described: built in, in files, overridden */
#include <check.h>
#include <glib/gstdio.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "vmm/sim/profile.h"
#include "vmm/vmm.h"

static char *dir;

static void setup(void)
{
	dir = g_dir_make_tmp("overbook-profile-XXXXXX", NULL);
	ck_assert_ptr_nonnull(dir);
}

static void teardown(void)
{
	g_rmdir(dir);
	g_free(dir);
}

START_TEST(what_if_every_field_is_echoed_and_set_back)
{
	for (size_t i = 0; profiles[i]; i++) {
		struct sim_profile *p = profile_load(profiles[i]->name, NULL), *q = profile_load("bare", NULL);

		ck_assert_str_eq(p->name, profiles[i]->name);
		ck_assert_ptr_nonnull(p->summary);
		for (unsigned f = 0; profile_field(f); f++) {
			GError *err = NULL;
			char *value = profile_get(p, profile_field(f));

			ck_assert_msg(profile_set(q, profile_field(f), value, &err), "%s", err ? err->message : "");
			g_free(value);
		}
		/* The table of fields covers the struct: nothing but the names may differ now. */
		q->name = p->name;
		q->summary = p->summary;
		ck_assert_str_eq(q->vendor, p->vendor);
		q->vendor = p->vendor;
		ck_assert_int_eq(memcmp(p, q, sizeof(*p)), 0);
		profile_free(p);
		profile_free(q);
	}
	ck_assert_ptr_null(profile_get(profiles[0], "l5"));
}
END_TEST

START_TEST(what_if_both_vendors_are_asked_for)
{
	bool intel = false, amd = false;

	for (size_t i = 0; profiles[i]; i++) {
		intel |= !strcmp(profiles[i]->vendor, "intel");
		amd |= !strcmp(profiles[i]->vendor, "amd");
	}
	ck_assert(intel && amd);
}
END_TEST

static const struct {
	const char *field, *value, *allowed;
} bad[] = {
	{ "l1_4k", "0", "ENTRIES/WAYS" },     { "l1_4k", "64", "ENTRIES/WAYS" },
	{ "l1_4k", "64/", "ENTRIES/WAYS" },   { "l1_4k", "64/5", "ENTRIES/WAYS" },
	{ "l1_4k", "/4", "ENTRIES/WAYS" },    { "l1_4k", "64/4 ways", "ENTRIES/WAYS" },
	{ "l1_4k", "-64/4", "ENTRIES/WAYS" }, { "l2", "1536/8", "power of two" },
	{ "l2", "1536/0", "ENTRIES/WAYS" },   { "l2", "99999999999999999999/4", "65536" },
	{ "l2", "", "or 0" },		      { "pwc2", "32/33", "ENTRIES/WAYS" },
	{ "l1d", "48/8", "power of two" },    { "l1d", "0", "64 sets" },
	{ "l1d", "2/8", "64 sets" },	      { "l3d", "9999999/16", "KiB" },
	{ "mhz", "0", "1 to 100000" },	      { "mhz", "fast", "1 to 100000" },
	{ "mhz", "2.5", "1 to 100000" },      { "maxphyaddr", "53", "36 to 52" },
	{ "exit_cycles", "-1", "0 to" },      { "exit_cycles", "1000000001", "0 to" },
	{ "exit_cycles", "1 us", "0 to" },    { "l2_shared_2m", "yes", "0 or 1" },
	{ "vendor", "arm", "intel or amd" },  { "pwc1", "4/4", "no such field" },
	{ "name", "x", "no such field" },     { "", "", "no such field" },
};

START_TEST(what_if_a_value_is_refused)
{
	struct sim_profile *p = profile_load("zen3", NULL), *before = profile_load("zen3", NULL);
	GError *err = NULL;

	ck_assert(!profile_set(p, bad[_i].field, bad[_i].value, &err));
	ck_assert(g_error_matches(err, VMM_ERROR, VMM_USAGE));
	ck_assert_ptr_nonnull(strstr(err->message, bad[_i].field));
	ck_assert_ptr_nonnull(strstr(err->message, bad[_i].value));
	ck_assert_ptr_nonnull(strstr(err->message, bad[_i].allowed));
	ck_assert_int_eq(memcmp(p, before, sizeof(*p)), 0);
	g_error_free(err);
	profile_free(p);
	profile_free(before);
}
END_TEST

START_TEST(what_if_good_values_are_odd)
{
	struct sim_profile *p = profile_load("icelake-sp", NULL);

	ck_assert(profile_set(p, "l1_1g", "0", NULL));
	ck_assert_uint_eq(p->l1_1g.entries, 0);
	ck_assert(profile_set(p, "l1_4k", " 12/3 ", NULL));
	ck_assert_uint_eq(p->l1_4k.entries, 12);
	ck_assert_uint_eq(p->l1_4k.ways, 3);
	ck_assert(profile_set(p, "npwc5", "7/7", NULL));
	ck_assert_uint_eq(p->npwc[5].entries, 7);
	profile_free(p);
}
END_TEST

/* Load @text as a file; the message names the file if it is refused. */
static struct sim_profile *load_text(const char *text, GError **err)
{
	char *path = g_build_filename(dir, "mine.ini", NULL);

	ck_assert(g_file_set_contents(path, text, -1, NULL));
	struct sim_profile *p = profile_load(path, err);

	if (!p) {
		ck_assert_ptr_nonnull(strstr((*err)->message, path));
		ck_assert(g_error_matches(*err, VMM_ERROR, VMM_USAGE));
	}
	g_unlink(path);
	g_free(path);
	return p;
}

START_TEST(what_if_a_user_writes_a_profile)
{
	GError *err = NULL;
	struct sim_profile *p = load_text("[profile]\nsummary = Mine\nl2 = 64/4\nbase = zen3\nname = my-zen\n", &err);

	ck_assert_msg(p != NULL, "%s", err ? err->message : "");
	ck_assert_str_eq(p->name, "my-zen");
	ck_assert_str_eq(p->summary, "Mine");
	ck_assert_str_eq(p->vendor, "amd");
	ck_assert_uint_eq(p->l2.entries, 64);
	ck_assert_uint_eq(p->l1_4k.entries, 64);
	profile_free(p);
}
END_TEST

START_TEST(what_if_the_file_is_wrong)
{
	static const char *const text[][2] = {
		{ "", "profile" },
		{ "junk", "" },
		{ "[profile]\nl2 = 64/4\n", "base" },
		{ "[profile]\nbase = pentium\n", "skylake-sp" },
		{ "[profile]\nbase = zen3\nl2 = 65/4\n", "l2 = 65/4" },
		{ "[profile]\nbase = zen3\nl9 = 64/4\n", "l9" },
		{ "[profile]\nbase = zen3\n[costs]\nmhz = 1\n", "[costs]" },
	};
	GError *err = NULL;

	ck_assert_ptr_null(load_text(text[_i][0], &err));
	ck_assert_ptr_nonnull(strstr(err->message, text[_i][1]));
	g_error_free(err);
}
END_TEST

/* docs/cost-model.md has a row for every field: its name, then its value in the first three profiles. */
START_TEST(what_if_the_document_is_out_of_step)
{
	char *text;

	ck_assert(g_file_get_contents("docs/cost-model.md", &text, NULL, NULL));
	for (unsigned f = 0; profile_field(f); f++) {
		GString *row = g_string_new(NULL);

		g_string_printf(row, "\n| %s |", profile_field(f));
		for (unsigned i = 0; i < 3; i++) {
			char *value = profile_get(profiles[i], profile_field(f));

			g_string_append_printf(row, " %s |", value);
			g_free(value);
		}
		ck_assert_msg(strstr(text, row->str) != NULL, "no such row in docs/cost-model.md:%s", row->str);
		g_string_free(row, TRUE);
	}
	g_free(text);
}
END_TEST

START_TEST(what_if_there_is_no_such_profile)
{
	GError *err = NULL;

	ck_assert_ptr_null(profile_load("pentium", &err));
	ck_assert(g_error_matches(err, VMM_ERROR, VMM_USAGE));
	ck_assert_ptr_nonnull(strstr(err->message, "pentium"));
	ck_assert_ptr_nonnull(strstr(err->message, "zen3"));
	g_clear_error(&err);
	ck_assert_ptr_null(profile_load("/nonexistent/p.ini", &err));
	ck_assert_ptr_nonnull(strstr(err->message, "/nonexistent/p.ini"));
	g_error_free(err);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("profile");
	TCase *tc = tcase_create("profile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_if_every_field_is_echoed_and_set_back);
	tcase_add_test(tc, what_if_both_vendors_are_asked_for);
	tcase_add_loop_test(tc, what_if_a_value_is_refused, 0, G_N_ELEMENTS(bad));
	tcase_add_test(tc, what_if_good_values_are_odd);
	tcase_add_test(tc, what_if_a_user_writes_a_profile);
	tcase_add_loop_test(tc, what_if_the_file_is_wrong, 0, 7);
	tcase_add_test(tc, what_if_the_document_is_out_of_step);
	tcase_add_test(tc, what_if_there_is_no_such_profile);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
