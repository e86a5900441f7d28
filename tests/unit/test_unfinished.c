/* SPDX-License-Identifier: MIT */
/* test_unfinished.c - temporary names: whose they are, and what becomes of those of the dead */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "vmm/unfinished.h"

static char *folder, *final;

static void setup(void)
{
	folder = g_dir_make_tmp("overbook-test-XXXXXX", NULL);
	ck_assert_ptr_nonnull(folder);
	final = g_build_filename(folder, "run", NULL);
}

static void teardown(void)
{
	unfinished_remove(folder);
	g_clear_pointer(&folder, g_free);
	g_clear_pointer(&final, g_free);
}

static void put(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	ck_assert(g_file_set_contents(path, "x", 1, NULL));
}

static bool there(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static unsigned entries(void)
{
	g_autoptr(GDir) d = g_dir_open(folder, 0, NULL);
	unsigned n = 0;

	while (g_dir_read_name(d))
		n++;
	return n;
}

/* What if it is still being made, in this process or in another? */
START_TEST(living_stay)
{
	struct unfinished dir, file;

	ck_assert_int_eq(unfinished_dir(&dir, final), 0);
	ck_assert_int_eq(unfinished_file(&file, final), 0);
	put(dir.path, "half");
	ck_assert_ptr_null(unfinished_sweep(final));
	ck_assert(there(dir.path, "half") && g_file_test(file.path, G_FILE_TEST_EXISTS));

	/* A child that came after the lock shares it, as a run's own children do. */
	pid_t pid = fork();

	if (!pid) {
		g_autofree char *swept = unfinished_sweep(final);

		_exit(swept != NULL);
	}
	int status;

	waitpid(pid, &status, 0);
	ck_assert_int_eq(status, 0);
	unfinished_end(&dir);
	unfinished_end(&file);
	ck_assert_ptr_null(dir.path);
}
END_TEST

/* What if its maker was killed? */
START_TEST(dead_are_swept)
{
	int ready[2], status;
	char byte;

	ck_assert_int_eq(pipe(ready), 0);

	pid_t pid = fork();

	if (!pid) {
		struct unfinished dir, file;

		if (unfinished_dir(&dir, final) || unfinished_file(&file, final))
			_exit(1);
		put(dir.path, "half");
		_exit(write(ready[1], "", 1) != 1 || pause());
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_ptr_null(unfinished_sweep(final));
	ck_assert_uint_eq(entries(), 2);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_assert(WIFSIGNALED(status));

	g_autofree char *swept = unfinished_sweep(final);

	ck_assert_ptr_nonnull(swept);
	ck_assert_msg(strstr(swept, folder) && strstr(swept, ".run.overbook-"), "%s", swept);
	ck_assert_uint_eq(entries(), 0);
	ck_assert_ptr_null(unfinished_sweep(final));
	close(ready[0]);
	close(ready[1]);
}
END_TEST

/* What if something is merely called alike, lies deeper, or leads elsewhere? */
START_TEST(others_are_left_alone)
{
	static const char *const names[] = {
		"run", ".run", ".run.abcdef", ".overbook-abcdef", "run.overbook-abcdef", ".run.overbook-abcdefg",
		".run.overbook-abcde", ".run.overbook-abcdef.old",
	};
	g_autofree char *deeper = g_build_filename(folder, "deeper", NULL);
	g_autofree char *kept = g_build_filename(folder, "deeper/kept", NULL);
	g_autofree char *link = g_build_filename(folder, ".link.overbook-abcdef", NULL);
	g_autofree char *inside = g_build_filename(folder, ".dead.overbook-abcdef", NULL);
	g_autofree char *way_out = g_build_filename(inside, "way-out", NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		put(folder, names[i]);
	ck_assert_int_eq(g_mkdir_with_parents(kept, 0700), 0);
	ck_assert_int_eq(g_mkdir_with_parents(inside, 0700), 0);
	put(deeper, ".run.overbook-abcdef");
	ck_assert_int_eq(symlink(deeper, link), 0);
	ck_assert_int_eq(symlink(deeper, way_out), 0);

	g_autofree char *swept = unfinished_sweep(final);

	ck_assert_ptr_nonnull(swept);
	ck_assert_msg(g_str_has_suffix(swept, ": .dead.overbook-abcdef"), "%s", swept);
	ck_assert(!g_file_test(inside, G_FILE_TEST_EXISTS));
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		ck_assert_msg(there(folder, names[i]), "%s", names[i]);
	ck_assert(there(deeper, ".run.overbook-abcdef") && there(deeper, "kept") && there(link, "kept"));
}
END_TEST

START_TEST(nowhere)
{
	struct unfinished u;
	g_autofree char *there = g_build_filename(folder, "no/such/run", NULL);

	ck_assert_int_eq(unfinished_dir(&u, there), -ENOENT);
	ck_assert_ptr_null(u.path);
	unfinished_end(&u);
	ck_assert_ptr_null(unfinished_sweep(there));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unfinished");
	TCase *c = tcase_create("unfinished");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, living_stay);
	tcase_add_test(c, dead_are_swept);
	tcase_add_test(c, others_are_left_alone);
	tcase_add_test(c, nowhere);
	suite_add_tcase(s, c);
	return suite_run(s);
}
