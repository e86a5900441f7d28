/* SPDX-License-Identifier: MIT */
/*
 * test_guest_memory.c - what if a guest's memory is short: does it change what its processes compute?
 *
 * Random guests with a disk: anonymous memory, files, swap, forks. The digest of each is that of the same guest with
 * memory for everything, in every paging mode, with a balloon that comes and goes, and on a host that swaps too; and in
 * lockstep its counts are the same in every mode.
 */
#include <check.h>
#include <glib.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

static const char *const patterns[] = { "uniform", "hotcold", "moving", "sequential\nstep = 1088 B", "zipf" };

static void add_phase(GString *s, struct rng *rng, const char *name, const char *rest, uint64_t noperations)
{
	g_string_append_printf(s, "[phase %s]\npattern = %s\noperations = %lu\nwrites = %lu%%\n%s", name,
			       patterns[rng_below(rng, G_N_ELEMENTS(patterns))], noperations, rng_below(rng, 60), rest);
}

/* The guest that @seed makes, with so much memory. */
static char *guest(unsigned seed, const char *vm, const char *host)
{
	GString *s = g_string_new(NULL);
	struct rng rng;
	uint64_t anon, file;

	rng_seed(&rng, seed);
	anon = 10 + rng_below(&rng, 8);
	file = 16 + rng_below(&rng, 24);
	g_string_append_printf(s,
			       "[experiment]\nschedule = %s\nsample-interval = 0\nseed = %u\n"
			       "[host]\ncaches = flat\n%s"
			       "[vm g]\nworkload = w\ndisk = 48 MiB\nguest-swap = 96 MiB\nswappiness = %u\n%s"
			       "[workload w]\nphases = a, b, forks, kid, c, d\n",
			       seed % 3 == 2 ? "free" : "lockstep", seed, host, seed % 4 * 60, vm);
	g_autofree char *region = g_strdup_printf("region = anon\nsize = %lu MiB\ncontents = text\n", anon);
	g_autofree char *files = g_strdup_printf("region = file\nbacking = file\noffset = 4 MiB\nsize = %lu MiB\n",
						 file);
	g_autofree char *child = g_strconcat(region, "child = yes\n", NULL);

	add_phase(s, &rng, "a", region, 4000);
	add_phase(s, &rng, "b", files, 6000);
	g_string_append_printf(s, "[phase forks]\npattern = fork\nforks = kid\noperations = 80\n%s", region);
	add_phase(s, &rng, "kid", child, 800);
	add_phase(s, &rng, "c", region, 4000);
	add_phase(s, &rng, "d", files, 4000);
	return g_string_free(s, FALSE);
}

static void run_guest(struct text_run *t, unsigned seed, const char *vm, const char *host)
{
	g_autofree char *text = guest(seed, vm, host);
	g_autoptr(GError) error = NULL;

	ck_assert_msg(run_text(t, &backend_sim, text, &error), "%s\n%s", error ? error->message : "", text);
	ck_assert_msg(!run_text_vm(t, 0)->failure, "%s\n%s", run_text_vm(t, 0)->failure, text);
	ck_assert(run_text_vm(t, 0)->has_digest);
}

#define ROOMY "memory = 256 MiB\npaging = native\n"
#define SHORT "memory = 28 MiB\npaging = "

/* What if the guest swaps, in every mode? */
START_TEST(every_mode)
{
	static const char *const vm[] = { SHORT "native\n", SHORT "shadow\n", SHORT "ept\n", SHORT "pv\n" };
	struct text_run roomy, t[4];

	run_guest(&roomy, (unsigned)_i, ROOMY, "");
	ck_assert_uint_eq(run_text_vm(&roomy, 0)->counters.guest_stolen, 0);
	for (unsigned i = 0; i < 4; i++) {
		const struct counters *c, *first;

		run_guest(&t[i], (unsigned)_i, vm[i], "");
		c = &run_text_vm(&t[i], 0)->counters;
		first = &run_text_vm(&t[0], 0)->counters;
		ck_assert_uint_gt(c->guest_stolen, 0);
		ck_assert_uint_eq(c->guest_oom_kills, 0);
		ck_assert_msg(run_text_vm(&t[i], 0)->digest == run_text_vm(&roomy, 0)->digest, "mode %u, seed %d", i,
			      _i);
		if (t[0].e->experiment.schedule != SCHEDULE_LOCKSTEP)
			continue;
		ck_assert_uint_eq(c->guest_faults_major, first->guest_faults_major);
		ck_assert_uint_eq(c->guest_faults_minor, first->guest_faults_minor);
		ck_assert_uint_eq(c->guest_swap_outs, first->guest_swap_outs);
		ck_assert_uint_eq(c->guest_scanned, first->guest_scanned);
		ck_assert_uint_eq(c->guest_refaults_file, first->guest_refaults_file);
	}
	for (unsigned i = 0; i < 4; i++)
		run_text_free(&t[i]);
	run_text_free(&roomy);
}
END_TEST

/* What if the host takes memory too: by a balloon that comes and goes, or by swapping what the guest swapped? */
START_TEST(host_takes)
{
	static const char *const vm[] = {
		"memory = 36 MiB\nballoon-target = 12 MiB\nballoon-from = 100 us\nballoon-until = 10 ms\n"
		"balloon-period = 20 ms\npaging = shadow\n",
		"memory = 36 MiB\nballoon-target = 12 MiB\nballoon-behaviour = hostile\npaging = ept\n",
		SHORT "ept\n",
	};
	static const char *const host[] = { "", "", "memory = 26 MiB\n[swap]\nsize = 256 MiB\n" };
	struct text_run roomy, t;

	run_guest(&roomy, (unsigned)_i, ROOMY, "");
	for (unsigned i = 0; i < 3; i++) {
		run_guest(&t, (unsigned)_i, vm[i], host[i]);
		ck_assert_uint_gt(run_text_vm(&t, 0)->counters.guest_stolen, 0);
		if (i == 2)
			ck_assert_uint_gt(run_text_vm(&t, 0)->counters.swap_outs, 0);
		ck_assert_msg(run_text_vm(&t, 0)->digest == run_text_vm(&roomy, 0)->digest, "case %u, seed %d", i, _i);
		run_text_free(&t);
	}
	run_text_free(&roomy);
}
END_TEST

/* What if nothing can give way any more? Then a process dies, by name. */
START_TEST(killed)
{
	struct text_run t;
	g_autoptr(GError) error = NULL;

	ck_assert(run_text(&t, &backend_sim,
			   "[experiment]\nschedule = lockstep\n"
			   "[vm g]\nworkload = w\nmemory = 16 MiB\nguest-swap = 1 MiB\n"
			   "[workload w]\nphases = hungry\n"
			   "[phase hungry]\npattern = sequential\nsize = 32 MiB\noperations = 1000000\n",
			   &error));
	ck_assert_uint_eq(run_text_vm(&t, 0)->counters.guest_oom_kills, 1);
	ck_assert_ptr_nonnull(run_text_vm(&t, 0)->killed);
	ck_assert_msg(g_str_has_prefix(run_text_vm(&t, 0)->killed, "process 1 in [phase hungry], which held "), "%s",
		      run_text_vm(&t, 0)->killed);
	run_text_free(&t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guests short of memory");
	TCase *tc = tcase_create("memory");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_mode, 0, 4);
	tcase_add_loop_test(tc, host_takes, 0, 2);
	tcase_add_test(tc, killed);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
