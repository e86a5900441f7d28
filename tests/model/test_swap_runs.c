/* SPDX-License-Identifier: MIT */
/*
 * Whole simulated runs: the same experiment with a host that is too small, for every policy, paging mode and schedule,
 * must end with the digests of a host with memory for all.
 */
#include <check.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

static const char experiment[] =
	"[experiment]\nschedule = %s\nsample-interval = 0\n"
	"[host]\ncpus = 2\nmemory = %s\npage-size = %s\n"
	"[swap]\nsize = %s\npolicy = %s\nwriteback = yes\ncompressor = %s\n"
	"compressed-pool = %s\npage-cluster = %u\nhigh-watermark = %s\n"
	"[dedup]\nalgorithm = %s\nsleep = 50 us\n"
	"[vm a]\ncount = 2\nmemory = 48 MiB\npaging = %s\nworkload = w\n"
	"[vm b]\nmemory = 48 MiB\npaging = %s\nworkload = f\n"
	"dirty-log = wrprotect\ndirty-interval = 1 ms\ncollapse = 1 ms\n"
	"[workload w]\nphases = load, use\n"
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 12 MiB\noperations = 3000\n"
	"writes = 80%%\ncontents = text\n"
	"[phase use]\npattern = zipf\nregion = r\nsize = 12 MiB\noperations = 7000\n"
	"[workload f]\nphases = start, storm, child\n"
	"[phase start]\npattern = sequential\nstep = 4 KiB\nregion = s\nsize = 8 MiB\n"
	"operations = 2048\nwrites = 100%%\n"
	"contents = random\n"
	"[phase storm]\npattern = fork\nforks = child\ntouches = 200\nwait-every = 2\nregion = s\nsize = 8 MiB\n"
	"operations = 2500\nwrites = 50%%\n"
	"[phase child]\npattern = uniform\nchild = yes\nregion = s\nsize = 8 MiB\noperations = 300\nwrites = 40%%\n";

static const struct {
	const char *schedule, *policy, *pool, *paging, *page_size;
	unsigned cluster;
	const char *dedup;
	const char *high; /* far above the low one: much goes at once, perhaps what the guest kernel is just copying */
} runs[] = {
	{ "lockstep", "clock", "0", "ept", "4K", 3, "none", "3%" },
	{ "lockstep", "opt", "0", "shadow", "4K", 3, "none", "3%" },
	{ "lockstep", "lru", "2 MiB", "pv", "4K", 3, "none", "10%" },
	{ "free", "mglru", "0", "shadow", "2M", 3, "none", "3%" },
	{ "lockstep", "fifo", "4 MiB", "ept", "2M", 0, "none", "3%" },
	{ "lockstep", "random", "4 MiB", "shadow", "2M", 4, "none", "3%" },
	{ "free", "random", "0", "ept", "2M", 3, "none", "3%" },
	{ "free", "clock", "2 MiB", "shadow", "4K", 2, "none", "3%" },
	{ "free", "clock", "2 MiB", "pv", "4K", 3, "none", "3%" },
	{ "lockstep", "fifo", "0", "pv", "2M", 3, "none", "3%" },
	{ "lockstep", "random", "0", "ept", "4K", 3, "none", "50%" },
	{ "lockstep", "random", "0", "shadow", "4K", 0, "none", "50%" },
	{ "lockstep", "clock", "0", "ept", "4K", 3, "ksm", "3%" },
	{ "lockstep", "fifo", "2 MiB", "shadow", "2M", 3, "hash", "3%" },
	{ "free", "random", "0", "pv", "4K", 0, "oracle", "3%" },
	{ "free", "clock", "0", "ept", "2M", 2, "ksm", "30%" },
};

static void run_one(struct text_run *t, unsigned i, bool small)
{
	g_autofree char *text =
		g_strdup_printf(experiment, runs[i].schedule, small ? "40 MiB" : "256 MiB", runs[i].page_size,
				small ? "256 MiB" : "0", runs[i].policy, i % 2 ? "lz4" : "zstd",
				runs[i].pool, runs[i].cluster, runs[i].high,
				small ? runs[i].dedup : "none", runs[i].paging, runs[i].paging);
	GError *error = NULL;

	if (!run_text(t, &backend_sim, text, &error))
		ck_abort_msg("%s", error->message);
}

START_TEST(digests_of_a_large_host)
{
	struct text_run small, large;
	uint64_t outs = 0, ins = 0;

	run_one(&small, (unsigned)_i, true);
	run_one(&large, (unsigned)_i, false);
	for (unsigned i = 0; i < 3; i++) {
		const struct run_vm *a = run_text_vm(&small, i), *b = run_text_vm(&large, i);

		if (a->failure)
			ck_abort_msg("%s: %s", a->name, a->failure);
		must(a->has_digest && b->has_digest);
		must_eq(a->digest, b->digest);
		must_eq(a->counters.accesses, b->counters.accesses);
		must_eq(a->counters.guest_faults_demand, b->counters.guest_faults_demand);
		must_eq(b->counters.swap_outs, 0);
		outs += a->counters.swap_outs;
		ins += a->counters.swap_ins;
	}
	must(outs > 1000 && ins > 100);
	run_text_free(&small);
	run_text_free(&large);
}
END_TEST

/*
 * What if the guest kernel copies a page (copy-on-write) and the frame for the copy is taken from the very page that is
 * copied? Thousands of copies on a host that is always full.
 */
static const char copies[] =
	"[experiment]\nschedule = lockstep\nsample-interval = 0\n"
	"[host]\nmemory = %s\n"
	"[swap]\nsize = %s\npolicy = random\npage-cluster = 0\nlow-watermark = 3%%\n"
	"[vm b]\nmemory = 32 MiB\nworkload = f\n"
	"[workload f]\nphases = start, storm, child\n"
	"[phase start]\npattern = sequential\nstep = 4 KiB\nregion = s\nsize = 4 MiB\n"
	"operations = 1024\nwrites = 100%%\n"
	"contents = random\n"
	"[phase storm]\npattern = fork\nforks = child\ntouches = 200\nwait-every = 4\nregion = s\nsize = 4 MiB\n"
	"operations = 30000\nwrites = 100%%\n"
	"[phase child]\npattern = uniform\nchild = yes\nregion = s\nsize = 4 MiB\noperations = 300\nwrites = 40%%\n";

START_TEST(copies_under_pressure)
{
	struct text_run run[2];

	for (int small = 0; small < 2; small++) {
		g_autofree char *text = g_strdup_printf(copies, small ? "12 MiB" : "256 MiB", small ? "64 MiB" : "0");
		GError *error = NULL;

		if (!run_text(&run[small], &backend_sim, text, &error))
			ck_abort_msg("%s", error->message);
	}
	const struct run_vm *a = run_text_vm(&run[0], 0), *b = run_text_vm(&run[1], 0);

	if (b->failure)
		ck_abort_msg("%s", b->failure);
	must(b->counters.swap_ins > 1000 && b->counters.guest_faults_cow > 10000);
	must_eq(a->digest, b->digest);
	run_text_free(&run[0]);
	run_text_free(&run[1]);
}
END_TEST

/*
 * What if the host believes accessed bits? It learns as much without faults, and nothing that guests compute changes.
 * Where there are none (shadow paging), pages are unmapped as ever.
 */
static const char bits[] =
	"[experiment]\nsample-interval = 0\n"
	"[host]\nmemory = %s\npage-size = 2M\nyoung = %s\n"
	"[swap]\nsize = %s\npolicy = %s\n"
	"[vm a]\nmemory = 48 MiB\nworkload = w\n[vm b]\nmemory = 48 MiB\npaging = shadow\nworkload = w\n"
	"[workload w]\nphases = load, use\n"
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 12 MiB\noperations = 3000\n"
	"writes = 80%%\ncontents = text\n"
	"[phase use]\npattern = zipf\nregion = r\nsize = 12 MiB\noperations = 8000\n";

START_TEST(accessed_bits_need_no_faults)
{
	static const char *const policies[] = { "clock", "lru", "mglru" };
	struct text_run run[3];
	const char *policy = policies[_i];

	for (int i = 0; i < 3; i++) {
		g_autofree char *text = g_strdup_printf(bits, i ? "24 MiB" : "256 MiB", i == 2 ? "accessed-bit" :
							"refault", i ? "128 MiB" : "0", policy);
		GError *error = NULL;

		if (!run_text(&run[i], &backend_sim, text, &error))
			ck_abort_msg("%s", error->message);
	}
	for (unsigned vm = 0; vm < 2; vm++) {
		const struct run_vm *large = run_text_vm(&run[0], vm), *refault = run_text_vm(&run[1], vm);
		const struct run_vm *bit = run_text_vm(&run[2], vm);

		must(bit->has_digest && bit->digest == large->digest && refault->digest == large->digest);
		must(refault->counters.faults_young > 0 && refault->counters.swap_ins > 100);
		must((bit->counters.faults_young > 0) == (vm == 1));
		/* What it learns is worth as much. */
		must(bit->counters.swap_ins * 2 < refault->counters.swap_ins * 3);
	}
	for (int i = 0; i < 3; i++)
		run_text_free(&run[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap runs");
	TCase *t = tcase_create("swap runs");

	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, digests_of_a_large_host, 0, G_N_ELEMENTS(runs));
	tcase_add_test(t, copies_under_pressure);
	tcase_add_loop_test(t, accessed_bits_need_no_faults, 0, 3);
	suite_add_tcase(s, t);
	return suite_run(s);
}
