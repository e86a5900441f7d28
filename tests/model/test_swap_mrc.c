/* SPDX-License-Identifier: MIT */
/*
 * Victims of the host against the miss-ratio curves of their namesakes: a single process replays a trace in a simulated
 * VM that may hold so many pages, with no readahead and a host that is never short; `trace mrc` says how often it has
 * to miss. fifo, random (of the same seed), clock and opt miss as often, and no policy less than opt.
 */
#include <check.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "mm/replace.h"
#include "mm/swap_pool.h"
#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "vmm/trace.h"
#include "workloads/op.h"
#include "workloads/rng.h"

enum { ACCESSES = 8000, PAGES = 500, SEED = 6 };

static const uint32_t sizes[] = { 16, 60, 250 };

/* A trace with hot pages that change, a loop and noise, in a file. */
static char *make_trace(uint64_t seed)
{
	g_autofree char *name = g_strdup_printf("swap-mrc-%d-%u.obt", (int)getpid(), (unsigned)seed);
	char *path = g_build_filename(g_get_tmp_dir(), name, NULL);
	struct trace_writer *w = trace_create(path, NULL);
	struct rng rng;

	must(w != NULL);
	rng_seed(&rng, seed);
	for (unsigned i = 0; i < ACCESSES; i++) {
		uint64_t kind = rng_below(&rng, 10), page;

		page = kind < 6 ? i / 1000 * 71 + rng_below(&rng, 60) : kind < 8 ? i % 233 : rng_below(&rng, PAGES);
		must(trace_write(w, 0x10000000 + page % PAGES * PAGE_SIZE + rng_below(&rng, 500) * 8,
				 rng_below(&rng, 4) ? OP_READ : OP_WRITE, NULL));
	}
	must(trace_commit(w, NULL));
	return path;
}

static uint64_t mrc(const char *path, const char *policy, uint32_t nframes)
{
	struct trace_reader *r = trace_open(path, NULL);
	struct trace_pages pages;
	uint64_t misses;

	must(r && trace_pages_load(&pages, r, NULL));
	trace_mrc(&pages, replace_find(policy), &nframes, 1, SEED, &misses);
	trace_pages_free(&pages);
	trace_close(r);
	return misses;
}

static const char experiment[] =
	"[experiment]\nschedule = %s\nsample-interval = 0\nseed = %d\n"
	"[host]\nmemory = 64 MiB\n"
	"[swap]\nsize = 64 MiB\npolicy = %s\npage-cluster = 0\n"
	"[vm v]\nmemory = 24 MiB\nswap-limit = %u KiB\npaging = %s\nworkload = w\n"
	"[workload w]\nphases = p\n"
	"[phase p]\npattern = trace\ntrace = %s\n";

static uint64_t swap_misses(const char *path, const char *policy, const char *schedule, const char *paging,
			    uint32_t nframes)
{
	g_autofree char *text = g_strdup_printf(experiment, schedule, SEED, policy, nframes * 4, paging, path);
	struct text_run t;
	GError *error = NULL;
	uint64_t misses;

	if (!run_text(&t, &backend_sim, text, &error))
		ck_abort_msg("%s", error->message);

	const struct run_vm *vm = run_text_vm(&t, 0);

	if (vm->failure)
		ck_abort_msg("%s: %s", policy, vm->failure);
	must(vm->has_digest && vm->counters.swap_readahead == 0);
	misses = vm->counters.faults_absent + vm->counters.faults_swapped;
	run_text_free(&t);
	return misses;
}

static const struct {
	const char *schedule, *paging;
} worlds[] = { { "lockstep", "ept" }, { "lockstep", "shadow" }, { "free", "ept" }, { "free", "pv" } };

START_TEST(victims_miss_as_mrc_says)
{
	static const char *const same[] = { "fifo", "random", "clock", "opt" };
	g_autofree char *path = make_trace((uint64_t)_i + 1);
	const char *schedule = worlds[_i].schedule, *paging = worlds[_i].paging;

	for (unsigned k = 0; k < G_N_ELEMENTS(sizes); k++) {
		uint64_t best = mrc(path, "opt", sizes[k]);

		for (unsigned i = 0; i < G_N_ELEMENTS(same); i++)
			must_eq(swap_misses(path, same[i], schedule, paging, sizes[k]), mrc(path, same[i], sizes[k]));
		for (int i = 0; swap_policies[i]; i++)
			must(swap_misses(path, swap_policies[i]->name, schedule, paging, sizes[k]) >= best);
	}
	g_unlink(path);
}
END_TEST

/* What if several VMs compete for a host's memory, in lockstep? Nobody brings back fewer pages than opt. */
static const char several[] =
	"[experiment]\nschedule = lockstep\nsample-interval = 0\n"
	"[host]\nmemory = 32 MiB\n"
	"[swap]\nsize = 256 MiB\npolicy = %s\npage-cluster = 0\n"
	"[vm a]\ncount = 2\nmemory = 48 MiB\nworkload = w\n"
	"[vm b]\nmemory = 48 MiB\nworkload = f\n"
	"[workload w]\nphases = load, use\n"
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 12 MiB\noperations = 3000\n"
	"writes = 80%%\n"
	"[phase use]\npattern = zipf\nregion = r\nsize = 12 MiB\noperations = 9000\n"
	"[workload f]\nphases = start, storm, child\n"
	"[phase start]\npattern = sequential\nstep = 4 KiB\nregion = s\nsize = 8 MiB\noperations = 2048\n"
	"writes = 100%%\n"
	"[phase storm]\npattern = fork\nforks = child\ntouches = 200\nwait-every = 2\nregion = s\nsize = 8 MiB\n"
	"operations = 2000\nwrites = 50%%\n"
	"[phase child]\npattern = uniform\nchild = yes\nregion = s\nsize = 8 MiB\noperations = 300\nwrites = 40%%\n";

START_TEST(nobody_beats_opt_among_vms)
{
	uint64_t ins[16], best = 0, digest[3] = { 0 };

	for (int i = 0; swap_policies[i]; i++) {
		g_autofree char *text = g_strdup_printf(several, swap_policies[i]->name);
		struct text_run t;
		GError *error = NULL;

		if (!run_text(&t, &backend_sim, text, &error))
			ck_abort_msg("%s", error->message);
		ins[i] = 0;
		for (unsigned k = 0; k < 3; k++) {
			const struct run_vm *vm = run_text_vm(&t, k);

			if (vm->failure)
				ck_abort_msg("%s: %s", vm->name, vm->failure);
			must(i == 0 || vm->digest == digest[k]);
			digest[k] = vm->digest;
			ins[i] += vm->counters.swap_ins;
		}
		if (swap_policies[i]->offline)
			best = ins[i];
		run_text_free(&t);
	}
	must(best > 100);
	for (int i = 0; swap_policies[i]; i++)
		must(ins[i] >= best);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap mrc");
	TCase *t = tcase_create("swap mrc");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, victims_miss_as_mrc_says, 0, G_N_ELEMENTS(worlds));
	tcase_add_test(t, nobody_beats_opt_among_vms);
	suite_add_tcase(s, t);
	return suite_run(s);
}
