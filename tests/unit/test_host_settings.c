/* SPDX-License-Identifier: MIT */
/* Settings of the host and their journal, on a host that is a directory; writers are processes that die as told. */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "vmm/host_settings.h"
#include "vmm/vmm.h"

#define RUN   "/sys/kernel/mm/ksm/run"
#define PAGES "/sys/kernel/mm/ksm/pages_to_scan"
#define MAPS  "/proc/sys/vm/max_map_count"
#define THP   "/sys/kernel/mm/transparent_hugepage/enabled"

static struct host_place place;
static char *root, *journal;

/* What is on is a file beside the swap file. */
static int swap_on(const char *path)
{
	g_autofree char *mark = g_strconcat(path, ".on", NULL);

	return strstr(path, "bad") ? -EINVAL : g_file_set_contents(mark, "", 0, NULL) ? 0 : -EIO;
}

static int swap_off(const char *path)
{
	g_autofree char *mark = g_strconcat(path, ".on", NULL);

	return g_unlink(mark) ? -EINVAL : 0;
}

static void put(const char *path, const char *value)
{
	g_autofree char *file = g_strconcat(root, path, NULL), *dir = g_path_get_dirname(file);

	ck_assert_int_eq(g_mkdir_with_parents(dir, 0777), 0);
	ck_assert(g_file_set_contents(file, value, -1, NULL));
}

static void holds(const char *path, const char *value)
{
	g_autofree char *now = host_settings_read(&place, path);

	ck_assert_str_eq(now ? now : "nothing", value);
}

static void setup(void)
{
	root = g_dir_make_tmp("overbook-host-XXXXXX", NULL);
	ck_assert_ptr_nonnull(root);
	place = (struct host_place){
		.root = root, .dir = g_build_filename(root, "run", NULL), .swap_on = swap_on, .swap_off = swap_off
	};
	journal = g_build_filename(place.dir, "settings.json", NULL);
	put(RUN, "0\n");
	put(PAGES, "100\n");
	put(MAPS, "65530\n");
	put(THP, "always [madvise] never\n");
}

static void teardown(void)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", root);

	ck_assert_int_eq(system(command), 0);
	g_free((char *)place.dir);
	g_free(journal);
	g_free(root);
}

/* A process that changes something, says so and waits for its end. */
struct writer {
	pid_t pid;
	int said, told;
};

static void ok(gboolean yes)
{
	if (!yes)
		_exit(9);
}

static struct writer start(void (*change)(struct host_settings *s))
{
	int said[2], told[2];
	char c = 0;

	ck_assert_int_eq(pipe(said), 0);
	ck_assert_int_eq(pipe(told), 0);

	pid_t pid = fork();

	if (!pid) {
		struct host_settings *s = host_settings_new(&place, "overbook run other.ini");

		close(told[1]);
		change(s);
		ok(write(said[1], "x", 1) == 1);
		ok(read(told[0], &c, 1) == 0); /* the pipe is closed: end well */
		host_settings_free(s);
		_exit(0);
	}
	close(said[1]);
	close(told[0]);
	ck_assert_int_eq(read(said[0], &c, 1), 1);
	return (struct writer){ pid, said[0], told[1] };
}

static void end(struct writer *w, bool killed)
{
	int status;

	if (killed)
		kill(w->pid, SIGKILL);
	close(w->told);
	close(w->said);
	ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
	ck_assert(killed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void ksm_on(struct host_settings *s)
{
	ok(host_settings_claim(s, "KSM", NULL));
	ok(host_settings_set(s, PAGES, "5000", NULL));
	ok(host_settings_set(s, RUN, "1", NULL));
	ok(host_settings_set(s, PAGES, "7000", NULL));
}

static void more_maps(struct host_settings *s)
{
	ok(host_settings_raise(s, MAPS, 300000, NULL));
}

static void swap_file(struct host_settings *s)
{
	g_autofree char *file = g_build_filename(root, "swap", NULL);

	ok(host_settings_file(s, file, NULL));
	ok(g_file_set_contents(file, "pages", -1, NULL));
	ok(host_settings_swap_on(s, file, NULL));
}

START_TEST(what_if_a_run_ends_well)
{
	struct host_settings *s = host_settings_new(&place, "overbook run a.ini");

	ksm_on(s);
	holds(RUN, "1");
	holds(PAGES, "7000");
	ck_assert(g_file_test(journal, G_FILE_TEST_EXISTS));
	host_settings_free(s);
	holds(RUN, "0");
	holds(PAGES, "100");
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
}
END_TEST

START_TEST(what_if_it_is_killed)
{
	struct writer w = start(ksm_on);
	g_autofree char *line = NULL, *again = NULL;
	gboolean whole;

	end(&w, true);
	holds(RUN, "1");
	line = host_settings_repair(&place, &whole);
	ck_assert(whole);
	ck_assert_ptr_nonnull(strstr(line, "other.ini"));
	ck_assert_ptr_nonnull(strstr(line, RUN " is 0 again"));
	ck_assert_ptr_null(strchr(line, '\n'));
	holds(RUN, "0");
	holds(PAGES, "100");
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
	again = host_settings_repair(&place, &whole);
	ck_assert_ptr_null(again);
}
END_TEST

/* The journal is ahead of the change: undoing what has not happened must do nothing. */
START_TEST(what_if_it_is_killed_between)
{
	struct writer w = start(ksm_on);
	g_autofree char *line = NULL;

	end(&w, true);
	put(RUN, "0\n");
	put(PAGES, "5000\n"); /* its first value: the second was only announced */
	line = host_settings_repair(&place, NULL);
	ck_assert_ptr_null(strstr(line, RUN));
	holds(RUN, "0");
	holds(PAGES, "100");
}
END_TEST

START_TEST(what_if_someone_else_has_changed_it_since)
{
	struct writer w = start(ksm_on);
	g_autofree char *line = NULL;

	end(&w, true);
	put(PAGES, "1234\n");
	line = host_settings_repair(&place, NULL);
	ck_assert_ptr_nonnull(strstr(line, "1234"));
	holds(PAGES, "1234");
	holds(RUN, "0");
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
}
END_TEST

START_TEST(what_if_the_living_are_left_alone)
{
	struct writer w = start(ksm_on);
	g_autofree char *line = host_settings_repair(&place, NULL), *list = host_settings_list(&place);

	ck_assert_ptr_null(line);
	ck_assert_ptr_nonnull(strstr(list, RUN " = 1 by overbook run other.ini"));
	holds(RUN, "1");
	end(&w, false);
	holds(RUN, "0");
}
END_TEST

START_TEST(what_if_the_second_is_refused)
{
	struct writer w = start(ksm_on);
	struct host_settings *s = host_settings_new(&place, "overbook run mine.ini");
	g_autofree char *pid = g_strdup_printf("pid %d", (int)w.pid);
	GError *error = NULL;

	ck_assert(!host_settings_claim(s, "KSM", &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_LACKS));
	ck_assert_ptr_nonnull(strstr(error->message, "other.ini"));
	ck_assert_ptr_nonnull(strstr(error->message, pid));
	g_clear_error(&error);
	ck_assert(!host_settings_set(s, RUN, "2", &error));
	ck_assert_ptr_nonnull(strstr(error->message, "other.ini"));
	g_clear_error(&error);
	holds(RUN, "1");
	end(&w, true);
	/* A dead one holds nothing: what it left is put back first. */
	ck_assert(host_settings_claim(s, "KSM", NULL));
	holds(RUN, "0");
	host_settings_free(s);
}
END_TEST

START_TEST(what_if_the_last_one_restores)
{
	struct writer w = start(more_maps);
	struct host_settings *s = host_settings_new(&place, "overbook run mine.ini");

	ck_assert(host_settings_raise(s, MAPS, 200000, NULL));
	holds(MAPS, "300000");
	end(&w, false);
	holds(MAPS, "200000");
	w = start(more_maps);
	holds(MAPS, "300000");
	host_settings_free(s);
	holds(MAPS, "300000");
	end(&w, true);
	g_free(host_settings_repair(&place, NULL));
	holds(MAPS, "65530");
}
END_TEST

START_TEST(what_if_it_is_high_enough)
{
	struct host_settings *s = host_settings_new(&place, "overbook run mine.ini");

	ck_assert(host_settings_raise(s, MAPS, 1000, NULL));
	holds(MAPS, "65530");
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
	host_settings_free(s);
}
END_TEST

START_TEST(what_if_a_swap_file_is_left)
{
	struct writer w = start(swap_file);
	g_autofree char *file = g_build_filename(root, "swap", NULL), *mark = g_strconcat(file, ".on", NULL);
	g_autofree char *line = NULL;

	end(&w, true);
	ck_assert(g_file_test(mark, G_FILE_TEST_EXISTS));
	line = host_settings_repair(&place, NULL);
	ck_assert_ptr_nonnull(strstr(line, "is off"));
	ck_assert_ptr_nonnull(strstr(line, "is removed"));
	ck_assert(!g_file_test(mark, G_FILE_TEST_EXISTS));
	ck_assert(!g_file_test(file, G_FILE_TEST_EXISTS));
}
END_TEST

START_TEST(what_if_a_change_fails)
{
	struct host_settings *s = host_settings_new(&place, "overbook run mine.ini");
	GError *error = NULL;

	ck_assert(!host_settings_set(s, "/sys/kernel/mm/ksm/nothing", "1", &error));
	ck_assert(g_error_matches(error, VMM_ERROR, VMM_LACKS));
	ck_assert_ptr_nonnull(strstr(error->message, "nothing"));
	g_clear_error(&error);
	ck_assert(!host_settings_swap_on(s, "/nonexistent/bad", &error));
	ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent/bad"));
	g_clear_error(&error);
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
	host_settings_free(s);
}
END_TEST

START_TEST(what_if_a_setting_offers_a_choice)
{
	struct host_settings *s = host_settings_new(&place, "overbook run mine.ini");

	holds(THP, "madvise");
	ck_assert(host_settings_set(s, THP, "always", NULL));
	host_settings_free(s);
	holds(THP, "madvise");
}
END_TEST

/* Its pid may have been given to another process by then. */
START_TEST(what_if_a_pid_is_used_again)
{
	struct writer w = start(ksm_on);
	g_autofree char *text = NULL, *line = NULL;
	char *at;

	ck_assert(g_file_get_contents(journal, &text, NULL, NULL));
	for (at = strstr(text, "\"start\" : "); at; at = strstr(at + 1, "\"start\" : "))
		at[10] = at[10] == '9' ? '8' : (char)(at[10] + 1);
	ck_assert(g_file_set_contents(journal, text, -1, NULL));
	line = host_settings_repair(&place, NULL);
	ck_assert_ptr_nonnull(strstr(line, RUN));
	holds(RUN, "0");
	end(&w, false);
}
END_TEST

START_TEST(what_if_the_host_has_booted_since)
{
	struct writer w = start(ksm_on);
	g_autofree char *text = NULL, *line = NULL;
	char *at;

	ck_assert(g_file_get_contents(journal, &text, NULL, NULL));
	at = strstr(text, "\"boot\" : \"");
	at[10] = at[10] == 'a' ? 'b' : 'a';
	ck_assert(g_file_set_contents(journal, text, -1, NULL));
	line = host_settings_repair(&place, NULL);
	ck_assert_ptr_null(line);
	holds(RUN, "1"); /* somebody's of this boot */
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
	end(&w, false);
}
END_TEST

static const char *const nonsense[] = { "", "{", "[]", "{}", "{\"boot\": 3, \"changes\": []}", "{\"boot\": \"x\"}",
					"{\"boot\": \"x\", \"changes\": [7]}",
					"{\"boot\": \"x\", \"changes\": [{\"kind\": \"setting\", \"name\": \"/x\"}]}",
					"{\"boot\": \"x\", \"changes\": [{\"kind\": \"what\", \"name\": \"y\"}]}" };

START_TEST(what_if_the_journal_makes_no_sense)
{
	g_autofree char *bad = g_strconcat(journal, ".bad", NULL), *line = NULL;
	GLogLevelFlags fatal = g_log_set_always_fatal(0);

	ck_assert_int_eq(g_mkdir_with_parents(place.dir, 0777), 0);
	ck_assert(g_file_set_contents(journal, nonsense[_i], -1, NULL));
	line = host_settings_repair(&place, NULL);
	ck_assert_ptr_null(line);
	ck_assert(g_file_test(bad, G_FILE_TEST_EXISTS));
	ck_assert(!g_file_test(journal, G_FILE_TEST_EXISTS));
	g_log_set_always_fatal(fatal);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("host_settings");
	TCase *tc = tcase_create("host_settings");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_if_a_run_ends_well);
	tcase_add_test(tc, what_if_it_is_killed);
	tcase_add_test(tc, what_if_it_is_killed_between);
	tcase_add_test(tc, what_if_someone_else_has_changed_it_since);
	tcase_add_test(tc, what_if_the_living_are_left_alone);
	tcase_add_test(tc, what_if_the_second_is_refused);
	tcase_add_test(tc, what_if_the_last_one_restores);
	tcase_add_test(tc, what_if_it_is_high_enough);
	tcase_add_test(tc, what_if_a_swap_file_is_left);
	tcase_add_test(tc, what_if_a_change_fails);
	tcase_add_test(tc, what_if_a_setting_offers_a_choice);
	tcase_add_test(tc, what_if_a_pid_is_used_again);
	tcase_add_test(tc, what_if_the_host_has_booted_since);
	tcase_add_loop_test(tc, what_if_the_journal_makes_no_sense, 0, G_N_ELEMENTS(nonsense));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
