/* SPDX-License-Identifier: MIT */
/* The scanner, its advisor, NUMA nodes and collapsing, in whole guests. */
#include <check.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

static const char guests[] = "[vm a]\ncount = 2\nmemory = 32 MiB\nworkload = w\n%s"
			     "[workload w]\nphases = fill, work\n"
			     "[phase fill]\npattern = sequential\nregion = r\nsize = 4 MiB\nstep = 4 KiB\n"
			     "operations = 1024\nwrites = 0%%\ncontents = text:300\n%s"
			     "[phase work]\npattern = zipf\nregion = r\nsize = 4 MiB\nwrites = 2%%\noperations = %u\n"
			     "stamps = 2\n%s";

static void run(struct text_run *t, const char *head, const char *vm, const char *phase, unsigned operations)
{
	g_autofree char *body = g_strdup_printf(guests, vm, phase, operations, phase);
	g_autofree char *text = g_strconcat(head, body, NULL);
	GError *error = NULL;

	ck_assert_msg(run_text(t, &backend_sim, text, &error), "%s", error ? error->message : "");
	for (unsigned i = 0; i < 2; i++)
		ck_assert_msg(!run_text_vm(t, i)->failure, "%s", run_text_vm(t, i)->failure);
}

/* What if an advisor leads? It asks for more pages until passes take their target, within its bounds. */
START_TEST(test_advisor)
{
	static const char head[] = "[experiment]\nduration = 100 ms\nsample-interval = 1 ms\n"
				   "[host]\nmemory = 256 MiB\ncpus = 3\n"
				   "[dedup]\nalgorithm = hash\nsleep = 200 us\nadvisor = scan-time\n"
				   "advisor-target-scan-time = 2 ms\nadvisor-min-pages-to-scan = 100\n"
				   "advisor-max-pages-to-scan = 1000\nadvisor-max-cpu = 100%\nadvisor-min-cpu = 0%\n";
	struct text_run t;
	uint64_t most = 0;

	run(&t, head, "", "", 0);
	for (guint i = 0; i < t.run->samples->len; i++) {
		const struct run_sample *s = &g_array_index(t.run->samples, struct run_sample, i);

		if (s->vm != RUN_HOST)
			continue;
		must(s->counters.pages_to_scan >= 100 && s->counters.pages_to_scan <= 1000);
		most = MAX(most, s->counters.pages_to_scan);
	}
	must(most > 150);
	must(t.run->host.full_scans > 8 && t.run->host.full_scans < 40);
	run_text_free(&t);
}
END_TEST

/* What if time does not count what things cost? In lockstep the advisor says the same on every processor. */
START_TEST(test_lockstep)
{
	static const char *const profiles[] = { "icelake-sp", "zen3" };
	struct counters first = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *head = g_strdup_printf(
			"[experiment]\nschedule = lockstep\nsample-interval = 0\n"
			"[host]\nmemory = 256 MiB\nprofile = %s\n"
			"[dedup]\nalgorithm = ksm\nsleep = 100 us\nadvisor = scan-time\n"
			"advisor-target-scan-time = 500 us\nadvisor-min-pages-to-scan = 200\n", profiles[i]);
		struct text_run t;

		run(&t, head, "", "", 60000);
		must(t.run->host.full_scans > 3 && t.run->host.merges > 100);
		if (i) {
			must_eq(t.run->host.full_scans, first.full_scans);
			must_eq(t.run->host.pages_scanned, first.pages_scanned);
			must_eq(t.run->host.merges, first.merges);
			must_eq(t.run->host.pages_to_scan, first.pages_to_scan);
		}
		first = t.run->host;
		run_text_free(&t);
	}
}
END_TEST

/* What if guests live on two nodes? Across them nothing is shared unless that is allowed; memory ends the same. */
START_TEST(test_nodes)
{
	uint64_t digest[2] = { 0 };

	for (unsigned across = 0; across < 2; across++) {
		g_autofree char *head = g_strdup_printf(
			"[experiment]\nschedule = lockstep\nsample-interval = 0\n"
			"[host]\nmemory = 256 MiB\nnodes = 2\n"
			"[dedup]\nalgorithm = ksm\npages-to-scan = 500\nsleep = 50 us\nmerge-across-nodes = %s\n"
			"[vm b]\nmemory = 32 MiB\nworkload = w\nnode = 1\n", across ? "yes" : "no");
		struct text_run t;

		run(&t, head, "", "", 60000);
		for (unsigned i = 0; i < 2; i++) {
			must(!digest[i] || digest[i] == run_text_vm(&t, i)->digest);
			digest[i] = run_text_vm(&t, i)->digest;
		}
		must_eq(t.run->host.pages_other_node > 0, !across);
		must(t.run->host.merges > 100);
		run_text_free(&t);
	}
}
END_TEST

/* What if large pages are split to merge, and made whole again? Some are whole at the end, and the reach shows it. */
START_TEST(test_collapse)
{
	uint64_t digest[2] = { 0 }, reach[2];

	for (unsigned collapse = 0; collapse < 2; collapse++) {
		const struct counters *c;
		struct text_run t;

		run(&t, "[experiment]\nschedule = lockstep\nsample-interval = 1 ms\n"
			"[host]\nmemory = 256 MiB\npage-size = 2M\n"
			"[dedup]\nalgorithm = hash\npages-to-scan = 3000\nsleep = 100 us\nstop = 2 ms\n",
		    collapse ? "collapse = 200 us\ncollapse-max-shared = 512\n" : "", "page-size = 2M\n", 60000);
		c = &t.run->host;
		for (unsigned i = 0; i < 2; i++) {
			must(!digest[i] || digest[i] == run_text_vm(&t, i)->digest);
			digest[i] = run_text_vm(&t, i)->digest;
		}
		must(c->host_splits > 0 && c->merges > 100);
		must_eq(c->host_collapses > 0, collapse);
		must_eq(c->collapse_unshared > 0, collapse);
		if (collapse)
			must(c->pages_large >= 2 * 1024);
		reach[collapse] = c->tlb_reach;
		run_text_free(&t);
	}
	must(reach[1] > 10 * reach[0]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scanner");
	TCase *t = tcase_create("scanner");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_advisor);
	tcase_add_test(t, test_lockstep);
	tcase_add_test(t, test_nodes);
	tcase_add_test(t, test_collapse);
	suite_add_tcase(s, t);
	return suite_run(s);
}
