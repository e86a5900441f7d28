/* SPDX-License-Identifier: MIT */
/* test_expect.c - verdicts on results that are files alone: every kind of value, selection and reason */
#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "vmm/expect.h"
#include "vmm/results.h"

static char *dir;

static void setup(void)
{
	dir = g_dir_make_tmp("overbook-expect-XXXXXX", NULL);
	ck_assert_ptr_nonnull(dir);
}

static void teardown(void)
{
	unfinished_remove(dir);
	g_free(dir);
}

static void put(const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(dir, name, NULL), *parent = g_path_get_dirname(path);

	g_mkdir_with_parents(parent, 0777);
	ck_assert(g_file_set_contents(path, text, -1, NULL));
}

#define INI  "[experiment]\ntitle=T\n[vm a]\npaging = ept\nworkload = w\n"
#define HEAD "[expect x]\nclaim = c\nsource = s\n"

/* Four runs: paging ept and pv, each twice; host.walks and exits of VM a and b-0, b-1. */
static void put_runs(void)
{
	static const struct {
		const char *name;
		int walks, exits, b;
	} runs[] = { { "e1", 10, 4, 1 }, { "e2", 30, 8, 1 }, { "p1", 100, 8, 2 }, { "p2", 300, 8, 2 } };
	g_autofree char *manifest = NULL;

	for (unsigned i = 0; i < 4; i++) {
		g_autofree char *file = g_strdup_printf("%s/summary.json", runs[i].name);
		g_autofree char *text = g_strdup_printf(
			"{\"host\": {\"walks\": %d, \"quanta\": 5}, \"vms\": {\"a\": {\"exits\": %d}, "
			"\"b-0\": {\"exits\": %d}, \"b-1\": {\"exits\": 7}, \"bc\": {\"exits\": 1000}}}",
			runs[i].walks, runs[i].exits, runs[i].b);

		put(file, text);
	}
	manifest = g_strdup("{\"runs\": ["
			    "{\"directory\": \"e1\", \"set\": {\"vm.paging\": \"ept\", \"vm.levels\": \"4\"}},"
			    "{\"directory\": \"e2\", \"set\": {\"vm.paging\": \"ept\", \"vm.levels\": \"4\"}},"
			    "{\"directory\": \"p1\", \"set\": {\"vm.paging\": \"pv\", \"vm.levels\": \"4\"}},"
			    "{\"directory\": \"p2\", \"set\": {\"vm.paging\": \"pv\", \"vm.levels\": \"4\"}}]}");
	put("manifest.json", manifest);
}

static struct view *view;
static struct expected *expected;

/* The first judgement of an experiment that expects @lines. */
static const struct judgement *judge(const char *lines)
{
	g_autofree char *ini = g_strconcat(INI HEAD, lines, NULL);
	GError *error = NULL;

	put("experiment.ini", ini);
	view = view_load(dir, &error);
	ck_assert_msg(view != NULL, "%s", error ? error->message : "");
	expected = expected_judge(view, &error);
	ck_assert_msg(expected != NULL, "%s", error ? error->message : "");
	ck_assert_uint_ge(expected->judgements->len, 1);
	return g_ptr_array_index(expected->judgements, 0);
}

static void done(void)
{
	expected_free(expected);
	view_free(view);
}

START_TEST(what_if_it_is_the_mean_of_a_ratio)
{
	put_runs();
	const struct judgement *j = judge("value = walks + quanta / quanta\nwhere = vm.paging=ept\nmin = 5\nmax = 5\n");

	ck_assert_uint_eq(expected->judgements->len, 1);
	ck_assert_double_eq(j->value, 5); /* (15 / 5 + 35 / 5) / 2 */
	ck_assert_double_eq_tol(j->ci, 12.706 * 2, 1e-9);
	ck_assert_str_eq(j->label, "ept, 4");
	ck_assert_int_eq(j->verdict, VERDICT_REPRODUCED);
	done();
}
END_TEST

START_TEST(what_if_it_is_outside_of_its_band)
{
	put_runs();
	ck_assert_int_eq(judge("value = walks\nwhere = vm.paging=ept\nmin = 20.1\n")->verdict, VERDICT_NOT_REPRODUCED);
	done();
	ck_assert_int_eq(judge("value = walks\nwhere = vm.paging=ept\nmax = 19.9\n")->verdict, VERDICT_NOT_REPRODUCED);
	done();
	ck_assert_int_eq(judge("value = walks\nwhere = vm.paging=ept\nmax = 2000%\n")->verdict, VERDICT_REPRODUCED);
	done();
}
END_TEST

START_TEST(what_if_every_combination_is_meant)
{
	put_runs();
	judge("value = walks - quanta\nmin = 10\nmax = 100\n");
	ck_assert_uint_eq(expected->judgements->len, 2);

	const struct judgement *a = g_ptr_array_index(expected->judgements, 0),
			       *b = g_ptr_array_index(expected->judgements, 1);

	ck_assert_double_eq(a->value, 15);
	ck_assert_double_eq(b->value, 195);
	ck_assert_int_eq(a->verdict, VERDICT_REPRODUCED);
	ck_assert_int_eq(b->verdict, VERDICT_NOT_REPRODUCED);
	done();
}
END_TEST

/* Repetition by repetition: (8 / 4 + 8 / 8) / 2, not 8 / 6. */
START_TEST(what_if_two_combinations_are_divided)
{
	put_runs();
	const struct judgement *j =
		judge("value = exits\nvm = a\nwhere = vm.paging=pv\nagainst = vm.paging=ept\nmin = 149%\nmax = 151%\n");
	g_autofree char *value = judgement_value(j), *band = judgement_band(j);

	ck_assert_double_eq(j->value, 1.5);
	ck_assert_str_eq(j->label, "pv, 4");
	ck_assert_str_eq(j->against, "ept, 4");
	ck_assert_int_eq(j->verdict, VERDICT_REPRODUCED);
	ck_assert_str_eq(value, "150.0% \u00b1 635.3%");
	ck_assert_str_eq(band, "149% to 151%");
	done();
}
END_TEST

/* [vm b] is b-0 and b-1 together, and not bc. */
START_TEST(what_if_it_is_of_several_vms)
{
	put_runs();
	ck_assert_double_eq(judge("value = exits\nvm = b\nwhere = vm.paging=pv\nmin = 1\n")->value, 9);
	done();
	ck_assert_double_eq(judge("value = exits\nvm = b-1\nwhere = vm.paging=pv\nmin = 1\n")->value, 7);
	done();
	ck_assert_double_eq(judge("value = exits\nvm = a\nagainst-vm = b-0\nwhere = vm.paging=pv\nmin = 1\n")->value,
			    4);
	done();
}
END_TEST

static const struct {
	const char *lines, *reason;
} reasons[] = {
	{ "value = walks\nmin = 1\nnot-comparable = other host\n", "other host" },
	{ "value = walks\nmin = 1\nwhere = vm.levels=5\n", "no run has vm.levels = 5" },
	{ "value = walks\nmin = 1\nwhere = host.memory=1 GiB\n", "host.memory is not said here, not 1 GiB" },
	{ "value = walks\nmin = 1\nagainst = vm.levels=5\n", "no run to divide by" },
	{ "value = exits\nvm = nosuch\nmin = 1\n", "no such value" },
	{ "value = walks / faults_young\nmin = 1\n", "divisor is zero" },
};

START_TEST(what_if_it_cannot_be_compared)
{
	put_runs();
	const struct judgement *j = judge(reasons[_i].lines);

	ck_assert_int_eq(j->verdict, VERDICT_NOT_COMPARABLE);
	ck_assert_msg(strstr(j->reason, reasons[_i].reason) != NULL, "%s", j->reason);
	done();
}
END_TEST

START_TEST(what_if_a_guest_failed)
{
	put("manifest.json", "{}");
	put("summary.json", "{\"host\": {\"walks\": 3}, \"vms\": {\"a\": {}}, \"failures\": {\"a\": \"broke\"}}");
	const struct judgement *j = judge("value = walks\nmin = 1\nwhere = vm.paging = ept\n");

	ck_assert_double_eq(j->value, 3);
	ck_assert_int_eq(j->verdict, VERDICT_NOT_COMPARABLE);
	ck_assert_str_eq(j->reason, "VM a failed: broke");
	done();
}
END_TEST

START_TEST(what_if_the_file_is_written)
{
	g_autofree char *path = g_build_filename(dir, "expected.csv", NULL), *csv = NULL;

	put("manifest.json", "{}");
	put("summary.json", "{\"host\": {\"walks\": 3}, \"vms\": {\"a\": {}}}");
	put("experiment.ini", INI);
	ck_assert(expected_write(dir, TRUE, NULL));
	ck_assert(!g_file_test(path, G_FILE_TEST_EXISTS));
	put("experiment.ini", INI "[expect x]\nclaim = \"c\", d\nvalue = walks\nmin = 40%\nsource = s\n");
	ck_assert(expected_write(dir, TRUE, NULL));
	ck_assert(g_file_get_contents(path, &csv, NULL, NULL));
	ck_assert_str_eq(csv, "expect,combination,against,vm,quantity,min,max,value,ci95,verdict,reason,claim,source\n"
			      "x,,,host,walks,0.4,,3,0,reproduced,,\"\"\"c\"\", d\",s\n");
	put("experiment.ini", INI "[expect x]\nclaim = c\n");
	ck_assert(!expected_write(dir, TRUE, NULL));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("expect");
	TCase *tc = tcase_create("expect");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_if_it_is_the_mean_of_a_ratio);
	tcase_add_test(tc, what_if_it_is_outside_of_its_band);
	tcase_add_test(tc, what_if_every_combination_is_meant);
	tcase_add_test(tc, what_if_two_combinations_are_divided);
	tcase_add_test(tc, what_if_it_is_of_several_vms);
	tcase_add_loop_test(tc, what_if_it_cannot_be_compared, 0, G_N_ELEMENTS(reasons));
	tcase_add_test(tc, what_if_a_guest_failed);
	tcase_add_test(tc, what_if_the_file_is_written);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
