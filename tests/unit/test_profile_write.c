/* SPDX-License-Identifier: MIT */
/* A profile that is written is the one that is read. */
#include <glib/gstdio.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "vmm/sim/profile.h"
#include "vmm/vmm.h"

static char *path;

static void setup(void)
{
	g_autofree char *dir = g_dir_make_tmp("overbook-profile-XXXXXX", NULL);

	ck_assert_ptr_nonnull(dir);
	path = g_build_filename(dir, "p.ini", NULL);
}

static void teardown(void)
{
	g_autofree char *dir = g_path_get_dirname(path);

	g_unlink(path);
	g_rmdir(dir);
	g_free(path);
}

/* Of the whole, of one field that changed, and of one that did not. */
static char *comment(const char *field, void *ctx)
{
	const char *wanted = ctx;

	if (!*field)
		return g_strdup("a head\n\nof two parts = 3");
	return !strcmp(field, "exit_cycles") || !strcmp(field, wanted) ? g_strdup_printf("about %s [x]", field) : NULL;
}

static void same(const struct sim_profile *a, const struct sim_profile *b)
{
	for (unsigned i = 0; profile_field(i); i++) {
		g_autofree char *x = profile_get(a, profile_field(i)), *y = profile_get(b, profile_field(i));

		ck_assert_msg(!strcmp(x, y), "%s: %s and %s", profile_field(i), x, y);
	}
	ck_assert_str_eq(a->name, b->name);
	ck_assert_str_eq(a->summary, b->summary);
}

START_TEST(what_if_it_is_read_again)
{
	char mem[] = "mem_cycles";
	struct sim_profile *p = profile_load("zen3", NULL), *q;
	g_autofree char *text = NULL;

	p->name = "mine";
	p->summary = "What if?";
	ck_assert(profile_set(p, "exit_cycles", "123456", NULL));
	ck_assert(profile_set(p, "l1d", "64/16", NULL));
	ck_assert(profile_write(p, "zen3", path, comment, mem, NULL));
	q = profile_load(path, NULL);
	ck_assert_ptr_nonnull(q);
	same(p, q);
	ck_assert(g_file_get_contents(path, &text, NULL, NULL));
	ck_assert_ptr_nonnull(strstr(text, "# about exit_cycles [x]\nexit_cycles = 123456\n"));
	ck_assert_ptr_nonnull(strstr(text, "# about mem_cycles [x]\nmem_cycles = 260\n"));
	ck_assert_ptr_nonnull(strstr(text, "# a head\n#\n# of two parts = 3\n[profile]\nbase = zen3\n"));
	ck_assert_ptr_null(strstr(text, "copy_page_cycles"));
	profile_free(p);
	profile_free(q);
}
END_TEST

/* Every field far from the base that the file begins with. */
START_TEST(what_if_the_base_is_another)
{
	struct sim_profile *p = profile_load("skylake-sp", NULL), *q;
	char none[] = "none";

	ck_assert(profile_write(p, "zen3", path, comment, none, NULL));
	q = profile_load(path, NULL);
	ck_assert_ptr_nonnull(q);
	same(p, q);
	profile_free(p);
	profile_free(q);
}
END_TEST

START_TEST(what_if_it_cannot_be_written)
{
	struct sim_profile *p = profile_load("zen3", NULL);
	GError *error = NULL;
	char none[] = "none";

	ck_assert(!profile_write(p, "zen3", "/nonexistent/p.ini", comment, none, &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_FAILED));
	ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent/p.ini"));
	g_clear_error(&error);
	ck_assert(!profile_write(p, "pentium", path, comment, none, &error));
	ck_assert_ptr_nonnull(strstr(error->message, "pentium"));
	g_clear_error(&error);
	profile_free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("profile_write");
	TCase *tc = tcase_create("profile_write");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_if_it_is_read_again);
	tcase_add_test(tc, what_if_the_base_is_another);
	tcase_add_test(tc, what_if_it_cannot_be_written);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
