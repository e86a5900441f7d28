/* SPDX-License-Identifier: MIT */
/* test_view.c - results read back: means, intervals, metrics; directories that are no results */
#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "vmm/results.h"
#include "vmm/view.h"

static char *dir;

static void setup(void)
{
	dir = g_dir_make_tmp("overbook-view-XXXXXX", NULL);
	ck_assert_ptr_nonnull(dir);
}

static void teardown(void)
{
	unfinished_remove(dir);
	g_free(dir);
}

static void put(const char *name, const char *text)
{
	char *path = g_build_filename(dir, name, NULL), *parent = g_path_get_dirname(path);

	g_mkdir_with_parents(parent, 0777);
	ck_assert(g_file_set_contents(path, text, -1, NULL));
	g_free(parent);
	g_free(path);
}

#define INI "[experiment]\ntitle=T\nquestion=Q\nmetric=ns_total/operations\n"

static struct view *must_load(void)
{
	GError *error = NULL;
	struct view *v = view_load(dir, &error);

	ck_assert_msg(v != NULL, "%s", error ? error->message : "no message");
	return v;
}

/* One run of one combination: ns_total and operations of VM a. */
static void put_run(const char *name, int ns, int operations)
{
	char *file = g_strdup_printf("%s/summary.json", name);
	char *text = g_strdup_printf(
		"{\"vms\": {\"a\": {\"ns_total\": %d, \"operations\": %d}}, \"digest\": {\"a\": \"%04x\"}}", ns,
		operations, (unsigned)ns);

	put(file, text);
	g_free(text);
	g_free(file);
}

START_TEST(what_if_it_is_a_single_run)
{
	put("experiment.ini", INI);
	put("manifest.json", "{}");
	put("summary.json", "{\"interrupted\": true, \"vms\": {\"a\": {\"walks\": 7, \"operations\": 2}, \"b\": {}},"
			    "\"latency\": {\"a\": {\"count\": 4, \"p50_ns\": 9}}, \"failures\": {\"b\": \"broke\"}}");
	struct view *v = must_load();
	const struct view_row *a = view_find(v, "", "a"), *b = view_find(v, "", "b");

	ck_assert_uint_eq(v->rows->len, 2);
	ck_assert(v->interrupted);
	ck_assert_str_eq(v->title, "T");
	ck_assert_ptr_null(*v->figures);
	ck_assert_str_eq(v->keys, "");
	ck_assert_double_eq(view_counter(a, "walks", NULL), 7);
	ck_assert_double_eq(view_counter(a, "nosuch", NULL), 0);
	ck_assert_double_eq(view_metric(a, "walks / operations", NULL), 3.5);
	ck_assert_double_eq(view_latency(a, "p50_ns"), 9);
	ck_assert(isnan(view_metric(b, "walks/operations", NULL)));
	ck_assert(isnan(view_latency(b, "p50_ns")));
	ck_assert_ptr_null(a->failure);
	ck_assert_str_eq(b->failure, "broke");
	ck_assert_ptr_null(a->digest);
	ck_assert_ptr_null(view_find(v, "x", "a"));
	view_free(v);
}
END_TEST

/* Three values 10, 12, 17: mean 13, standard deviation sqrt(13), so the interval is 4.303 * sqrt(13 / 3). */
START_TEST(what_if_runs_are_repeated)
{
	double ci;

	put("experiment.ini", INI);
	put("manifest.json", "{\"runs\": [{\"directory\": \"r1\", \"set\": {\"vm.paging\": \"ept\"}},"
			     "{\"directory\": \"r2\", \"set\": {\"vm.paging\": \"ept\"}},"
			     "{\"directory\": \"r3\", \"set\": {\"vm.paging\": \"ept\"}},"
			     "{\"directory\": \"s\", \"set\": {\"vm.paging\": \"pv\"}}]}");
	put_run("r1", 10, 1);
	put_run("r2", 24, 2);
	put_run("r3", 17, 1);
	put_run("s", 5, 0);
	struct view *v = must_load();
	const struct view_row *r = view_find(v, "ept", "a"), *s = view_find(v, "pv", "a");

	ck_assert_uint_eq(v->rows->len, 2);
	ck_assert_uint_eq(v->labels->len, 2);
	ck_assert_uint_eq(v->vms->len, 1);
	ck_assert_str_eq(v->keys, "vm.paging");
	ck_assert_uint_eq(r->counters->len, 3);
	ck_assert_str_eq(r->digest, "000a");
	ck_assert_double_eq(view_counter(r, "ns_total", NULL), 17);
	ck_assert_double_eq(view_metric(r, v->metric, &ci), 13);
	ck_assert_double_eq_tol(ci, 4.303 * sqrt(13.0 / 3), 1e-9);
	ck_assert(isnan(view_metric(s, v->metric, &ci)));
	view_counter(s, "ns_total", &ci);
	ck_assert_double_eq(ci, 0);
	view_free(v);
}
END_TEST

START_TEST(what_if_a_repetition_counts_nothing)
{
	put("experiment.ini", INI);
	put("manifest.json", "{\"runs\": [{\"directory\": \"r1\"}, {\"directory\": \"r2\"}]}");
	put_run("r1", 10, 0);
	put_run("r2", 30, 10);
	struct view *v = must_load();

	ck_assert_double_eq(view_metric(view_find(v, "", "a"), v->metric, NULL), 3);
	view_free(v);
}
END_TEST

START_TEST(what_if_two_keys_are_varied)
{
	put("experiment.ini", INI "figures=time, exits\n");
	put("manifest.json",
	    "{\"runs\": [{\"directory\": \"r\", \"set\": {\"vm.paging\": \"ept\", \"vm.levels\": \"5\"}}]}");
	put_run("r", 1, 1);
	struct view *v = must_load();

	ck_assert_str_eq(v->keys, "vm.paging, vm.levels");
	ck_assert_str_eq(g_ptr_array_index(v->labels, 0), "ept, 5");
	ck_assert_uint_eq(g_strv_length(v->figures), 2);
	ck_assert_str_eq(v->figures[1], "exits");
	view_free(v);
}
END_TEST

static const struct {
	const char *metric, *label, *unit;
} labels[] = {
	{ "ns_total/operations", "ns_total / operations (ns per operation)", "ns per operation" },
	{ " walk_refs / walks ", "walk_refs / walks (walk refs per walk)", "walk refs per walk" },
	{ "ns_walk/tlb_misses", "ns_walk / tlb_misses (ns per tlb miss)", "ns per tlb miss" },
	{ "ns_walk/accesses", "ns_walk / accesses (ns per access)", "ns per access" },
	{ "ns_total/guest_switches", "ns_total / guest_switches (ns per guest switch)", "ns per guest switch" },
	{ "ns_walk/ns_total", "ns_walk / ns_total (ns per ns)", "ns per ns" },
	{ "pages_resident", "pages_resident (pages)", "pages" },
	{ "exits", "exits", "" },
};

START_TEST(what_if_a_metric_is_put_in_words)
{
	char *label = view_metric_label(labels[_i].metric), *unit = view_metric_unit(labels[_i].metric);

	ck_assert_str_eq(label, labels[_i].label);
	ck_assert_str_eq(unit, labels[_i].unit);
	g_free(label);
	g_free(unit);
}
END_TEST

START_TEST(what_if_t_is_asked_beyond_its_table)
{
	ck_assert_double_eq(view_t95(1), 12.706);
	ck_assert_double_eq(view_t95(30), 2.042);
	ck_assert_double_eq(view_t95(1000), 1.96);
	for (guint i = 1; i < 40; i++)
		ck_assert(view_t95(i + 1) <= view_t95(i));
}
END_TEST

/* Each is one file of a directory that is good otherwise, and what the message must name. */
static const struct {
	const char *file, *text, *names;
} bad[] = {
	{ "experiment.ini", "no key file", "no run directory" },
	{ "manifest.json", "", "manifest.json" },
	{ "manifest.json", "[]", "manifest.json" },
	{ "manifest.json", "{", "manifest.json" },
	{ "manifest.json", "{\"runs\": 1}", "runs" },
	{ "manifest.json", "{\"runs\": []}", "runs" },
	{ "manifest.json", "{\"runs\": [1]}", "run 0" },
	{ "manifest.json", "{\"runs\": [{}]}", "run 0" },
	{ "manifest.json", "{\"runs\": [{\"directory\": 1}]}", "run 0" },
	{ "manifest.json", "{\"runs\": [{\"directory\": \"nowhere\"}]}", "nowhere" },
	{ "summary.json", "", "summary.json" },
	{ "summary.json", "null", "summary.json" },
	{ "summary.json", "{}", "vms" },
	{ "summary.json", "{\"vms\": 1}", "vms" },
	{ "summary.json", "{\"vms\": {}}", "vms" },
	{ "summary.json", "{\"vms\": {\"a\": 1}}", "a" },
	{ "summary.json", "\xff\xfe", "summary.json" },
};

START_TEST(what_if_a_file_is_malformed)
{
	GError *error = NULL;

	put("experiment.ini", INI);
	put("manifest.json", "{}");
	put("summary.json", "{\"vms\": {\"a\": {}}}");
	put(bad[_i].file, bad[_i].text);
	struct view *v = view_load(dir, &error);

	ck_assert_msg(v == NULL, "%s: %s is taken", bad[_i].file, bad[_i].text);
	ck_assert_ptr_nonnull(error);
	ck_assert_msg(strstr(error->message, bad[_i].names) != NULL, "%s", error->message);
	g_error_free(error);
}
END_TEST

/* Values of the wrong kind are no values. */
START_TEST(what_if_a_value_is_of_the_wrong_kind)
{
	put("experiment.ini", INI);
	put("manifest.json", "{}");
	put("summary.json",
	    "{\"interrupted\": [], \"vms\": {\"a\": {\"walks\": \"x\", \"exits\": {}, \"operations\": 2.5}},"
	    "\"digest\": {\"a\": 3}, \"failures\": [], \"latency\": {\"a\": 4}}");
	struct view *v = must_load();
	const struct view_row *a = view_find(v, "", "a");

	ck_assert_double_eq(view_counter(a, "walks", NULL), 0);
	ck_assert_double_eq(view_counter(a, "exits", NULL), 0);
	ck_assert_double_eq(view_counter(a, "operations", NULL), 2.5);
	ck_assert_ptr_null(a->digest);
	ck_assert_ptr_null(a->failure);
	ck_assert(isnan(view_latency(a, "p50_ns")));
	view_free(v);
}
END_TEST

START_TEST(what_if_there_is_nothing)
{
	GError *error = NULL;

	ck_assert_ptr_null(view_load(dir, &error));
	ck_assert_ptr_nonnull(error);
	g_error_free(error);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("view");
	TCase *tc = tcase_create("view");

	/* GLib's own complaints about a file would be our bug: let them end the test. */
	g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_if_it_is_a_single_run);
	tcase_add_test(tc, what_if_runs_are_repeated);
	tcase_add_test(tc, what_if_a_repetition_counts_nothing);
	tcase_add_test(tc, what_if_two_keys_are_varied);
	tcase_add_loop_test(tc, what_if_a_metric_is_put_in_words, 0, G_N_ELEMENTS(labels));
	tcase_add_test(tc, what_if_t_is_asked_beyond_its_table);
	tcase_add_loop_test(tc, what_if_a_file_is_malformed, 0, G_N_ELEMENTS(bad));
	tcase_add_test(tc, what_if_a_value_is_of_the_wrong_kind);
	tcase_add_test(tc, what_if_there_is_nothing);
	suite_add_tcase(s, tc);

	return suite_run(s);
}
