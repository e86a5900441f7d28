/* SPDX-License-Identifier: MIT */
/*
 * test_pathologies.c - guests with disks on a host that has too little memory, in the simulator
 *
 * Whatever the host swaps, drops onto the guest's disk or forgets unread, the guest must end with what it has on a host
 * with memory for all, in every paging mode and schedule; and the same run twice must be the same.
 */
#include <check.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

#define WORKLOAD \
	"[workload w]\nphases = begin, old, read, allocate, change, mix, grow\n" \
	"[phase begin]\npattern = fork\nforks = old\nregion = shell\nsize = 64 KiB\ntouches = 1\noperations = 2\n" \
	"[phase old]\nchild = yes\npattern = sequential\nstep = 4 KiB\nsize = 12 MiB\noperations = 3072\n" \
	"writes = 100%%\n" \
	"[phase read]\npattern = sequential\nbacking = file\nstep = 4 KiB\nsize = 10 MiB\noperations = 7680\n" \
	"writes = 0%%\n" \
	"[phase allocate]\npattern = sequential\nstep = 4 KiB\nsize = 4 MiB\noperations = 1024\nwrites = 100%%\n" \
	"[phase change]\npattern = uniform\nbacking = file\noffset = 8 MiB\nsize = 3 MiB\noperations = 1500\n" \
	"writes = 30%%\n" \
	"[phase mix]\npattern = uniform\nregion = allocate\nsize = 4 MiB\noperations = 2000\nwrites = 40%%\n" \
	"[phase grow]\npattern = sequential\nstep = 4 KiB\nsize = 18 MiB\noperations = 4608\nwrites = 100%%\n"

struct remedy {
	const char *keys;
	bool mapper, preventer;
};

static const struct remedy remedies[] = {
	{ "mapper = no\npreventer = no\n", false, false },
	{ "mapper = yes\npreventer = no\n", true, false },
	{ "mapper = no\npreventer = yes\n", false, true },
	{ "mapper = yes\npreventer = yes\n", true, true },
};

static struct text_run run(const char *schedule, const char *mode, unsigned host_mib, const char *swap)
{
	g_autofree char *text =
		g_strdup_printf("[experiment]\nschedule = %s\nsample-interval = 5 ms\nquantum = 200\n[host]\n"
				"memory = %u MiB\n[swap]\nsize = 96 MiB\n%s[vm a]\nmemory = 24 MiB\nworkload = w\n"
				"paging = %s\ndisk = 16 MiB\nguest-swap = 32 MiB\n" WORKLOAD,
				schedule, host_mib, swap, mode);
	struct text_run r;
	GError *error = NULL;

	if (!run_text(&r, &backend_sim, text, &error))
		ck_abort_msg("%s", error->message);
	must(run_text_vm(&r, 0)->failure == NULL);
	must(run_text_vm(&r, 0)->has_digest);
	return r;
}

static void check_counts(const struct counters *c, const struct remedy *r)
{
	must(c->swap_outs > 1000 && c->blk_read_pages > 1000 && c->blk_errors == 0);
	must_eq(c->guest_oom_kills, 0);
	must(c->guest_swap_outs > 50);
	must(r->mapper ? c->swap_mapper_drops > 100 && c->faults_dropped > 10 : !c->swap_mapper_drops);
	must(r->mapper ? !c->swap_silent_writes && !c->swap_false_anonymous : c->swap_silent_writes > 100);
	must((c->swap_prevented > 20) == (r->mapper || r->preventer));
	must((c->swap_false_reads > 20) == !r->preventer);
	must(!c->swap_stale_reads == (r->mapper || r->preventer));
}

/* Loops over mode and schedule. */
START_TEST(contents_survive)
{
	static const char *const modes[] = { "ept", "shadow", "pv" };
	const char *mode = modes[_i / 2], *schedule = _i % 2 ? "lockstep" : "free";
	struct text_run ample = run(schedule, mode, 128, "");
	uint64_t digest = run_text_vm(&ample, 0)->digest;

	must_eq(run_text_vm(&ample, 0)->counters.swap_outs, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(remedies); i++) {
		struct text_run r = run(schedule, mode, 16, remedies[i].keys);

		must_eq(run_text_vm(&r, 0)->digest, digest);
		check_counts(&run_text_vm(&r, 0)->counters, &remedies[i]);
		run_text_free(&r);
	}
	run_text_free(&ample);
}
END_TEST

/* Pages that a process left behind in swap are dead until somebody wants them. */
START_TEST(dead_pages)
{
	struct text_run a = run("free", "ept", 16, remedies[0].keys), b = run("free", "ept", 16, remedies[0].keys);
	uint64_t most = 0;

	must_eq(a.run->samples->len, b.run->samples->len);
	for (guint i = 0; i < a.run->samples->len; i++) {
		const struct counters *c = &g_array_index(a.run->samples, struct run_sample, i).counters;

		must(!memcmp(c, &g_array_index(b.run->samples, struct run_sample, i).counters, sizeof(*c)));
		must(c->swap_dead <= c->pages_swapped);
		most = MAX(most, c->swap_dead);
	}
	must(most > 500);
	run_text_free(&a);
	run_text_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pathologies");
	TCase *tc = tcase_create("simulated");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, contents_survive, 0, 6);
	tcase_add_test(tc, dead_pages);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
