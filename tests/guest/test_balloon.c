/* SPDX-License-Identifier: MIT */
/*
 * test_balloon.c - whole guests with balloons in the simulator
 *
 * A guest whose balloon inflates and deflates under a random workload must end with the contents of the same guest
 * without one, in every paging mode, whatever its driver does, as long as it does not run out of memory; and if
 * it does, giving pages back must be enough.
 */
#include <check.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

static const char *const modes[] = { "ept", "shadow", "pv" };

/* Fork, mmap, random writes and sleep over 16 of 32 MiB. */
#define WORKLOAD \
	"[workload w]\nprocesses = 2\nphases = load, mix, churn, storm, child, rest\n" \
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = heap\nsize = 4 MiB\noperations = 1024\n" \
	"writes = 100%%\ncontents = text\n" \
	"[phase mix]\npattern = uniform\nregion = heap\nsize = 6 MiB\noperations = 6000\nwrites = 40%%\n" \
	"[phase churn]\npattern = mmap\narea = 64 KiB\nkeep = 4\nsize = 1 MiB\noperations = 2000\nwrites = 50%%\n" \
	"[phase storm]\npattern = fork\nforks = child\ntouches = 16\nregion = heap\nsize = 6 MiB\n" \
	"operations = 300\n" \
	"[phase child]\npattern = uniform\nchild = yes\nregion = heap\nsize = 6 MiB\noperations = 300\n" \
	"writes = 50%%\n" \
	"[phase rest]\npattern = zipf\nregion = heap\nsize = 6 MiB\noperations = 4000\nthink-time = 100 us\n" \
	"think-every = 500\n"

static char *text(const char *schedule, const char *mode, uint64_t seed, const char *balloon, const char *vm)
{
	return g_strdup_printf("[experiment]\nschedule = %s\nseed = %" G_GUINT64_FORMAT
			       "\nsample-interval = 200 us\nquantum = 200\n[host]\nmemory = 128 MiB\n[balloon]\n%s\n"
			       "[vm a]\nmemory = 32 MiB\nworkload = w\npaging = %s\n%s\n" WORKLOAD,
			       schedule, seed, balloon, mode, vm);
}

static struct text_run run(const char *schedule, const char *mode, uint64_t seed, const char *balloon, const char *vm)
{
	g_autofree char *t = text(schedule, mode, seed, balloon, vm);
	struct text_run r;
	GError *error = NULL;

	if (!run_text(&r, &backend_sim, t, &error))
		ck_abort_msg("%s\n%s", error->message, t);
	return r;
}

/* What holds at all times; the most that was ever in the balloon. */
static uint64_t check_samples(const struct text_run *r)
{
	uint64_t most = 0;

	for (guint i = 0; i < r->run->samples->len; i++) {
		const struct counters *c = &g_array_index(r->run->samples, struct run_sample, i).counters;

		/* Process pages are 32 MiB less an arena of at least 4: what is ballooned has no frame. */
		must(c->pages_resident + c->balloon_actual <= (32 - 4) * 256);
		must(c->balloon_inflated - c->balloon_deflated == c->balloon_actual);
		most = MAX(most, c->balloon_actual);
	}
	return most;
}

static uint64_t plain_digest(const char *mode, uint64_t seed)
{
	struct text_run r = run("lockstep", mode, seed, "", "");
	struct run_vm *vm = run_text_vm(&r, 0);
	uint64_t digest = vm->digest;

	ck_assert_msg(vm->has_digest && !vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->counters.guest_oom_kills, 0);
	ck_assert_uint_eq(vm->counters.exits_io, 0);
	run_text_free(&r);
	return digest;
}

/* What if targets change all the time? Nobody's memory changes, and what must not be wrong is not. */
START_TEST(contents_stay)
{
	const char *mode = modes[_i % 3];
	struct rng rng;
	uint64_t seed = 40 + (uint64_t)_i, from, length, digest = plain_digest(mode, seed);
	struct text_run r;
	struct run_vm *vm;

	rng_seed(&rng, seed);
	from = rng_below(&rng, 2000);
	length = 200 + rng_below(&rng, 2000);

	g_autofree char *keys = g_strdup_printf(
		"balloon-target = %u KiB\nballoon-from = %u us\nballoon-until = %u us\nballoon-period = %u us",
		4 * (100 + (unsigned)rng_below(&rng, 1900)), (unsigned)from, (unsigned)(from + length),
		(unsigned)(length + 100 + rng_below(&rng, 1500)));
	g_autofree char *balloon = g_strdup_printf(
		"rate = %u\ninterval = %u us\nmust-tell-host = %s\nstats-interval = 300 us",
		50 + (unsigned)rng_below(&rng, 2000), 20 + (unsigned)rng_below(&rng, 300), _i % 2 ? "yes" : "no");

	r = run("lockstep", mode, seed, balloon, keys);
	vm = run_text_vm(&r, 0);
	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->digest, digest);
	ck_assert_uint_gt(check_samples(&r), 0);
	ck_assert_uint_gt(vm->counters.balloon_inflated, 0);
	ck_assert_uint_gt(vm->counters.balloon_deflated, 0);
	ck_assert_uint_eq(vm->counters.balloon_errors, 0);
	ck_assert_uint_eq(vm->counters.guest_oom_kills, 0);
	ck_assert_uint_gt(vm->counters.balloon_reports, 1);
	ck_assert_uint_gt(vm->counters.exits_io, 0);
	run_text_free(&r);
}
END_TEST

static const struct {
	const char *behaviour;
	bool gives, errs;
} drivers[] = {
	{ "good", true, false }, { "slow", true, false }, { "silent", false, false }, { "hostile", true, true },
};

/* What if the driver is slow, silent or hostile? The guest's memory is the same, and the host counts what was wrong. */
START_TEST(behaviours)
{
	const char *mode = modes[_i / 4 % 3];
	g_autofree char *keys = g_strdup_printf(
		"balloon-target = 6 MiB\nballoon-from = 500 us\nballoon-until = 4 ms\nballoon-period = 5 ms\n"
		"balloon-behaviour = %s",
		drivers[_i % 4].behaviour);
	struct text_run r = run("lockstep", mode, 7, "rate = 300\ninterval = 50 us", keys);
	struct run_vm *vm = run_text_vm(&r, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->digest, plain_digest(mode, 7));
	ck_assert(drivers[_i % 4].gives == (check_samples(&r) > 0));
	ck_assert(drivers[_i % 4].errs == (vm->counters.balloon_errors > 10));
	ck_assert(drivers[_i % 4].errs || vm->counters.balloon_errors == 0);
	run_text_free(&r);
}
END_TEST

/* What if the host wants more than the guest can spare? It takes pages back rather than kill, if that was offered. */
START_TEST(out_of_memory)
{
	static const char keys[] = "balloon-target = 20 MiB\nballoon-from = 0";
	struct text_run r = run("lockstep", modes[_i % 3], 9, "deflate-on-oom = yes\ninterval = 10 us", keys);
	struct run_vm *vm = run_text_vm(&r, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->digest, plain_digest(modes[_i % 3], 9));
	ck_assert_uint_gt(vm->counters.balloon_oom_deflates, 0);
	ck_assert_uint_eq(vm->counters.guest_oom_kills, 0);
	ck_assert_uint_gt(check_samples(&r), 0);
	run_text_free(&r);

	r = run("lockstep", modes[_i % 3], 9, "deflate-on-oom = no\ninterval = 10 us", keys);
	vm = run_text_vm(&r, 0);
	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->counters.balloon_oom_deflates, 0);
	ck_assert_uint_gt(vm->counters.guest_oom_kills, 0);
	run_text_free(&r);
}
END_TEST

/* What if time comes from costs? The target is reached and kept, also by a guest that sleeps; and costs are seen. */
START_TEST(free_schedule)
{
	struct text_run r = run("free", modes[_i % 3], 11, "rate = 400\ninterval = 100 us",
				"balloon-target = 8 MiB\nballoon-from = 1 ms\nballoon-until = 10 ms");
	struct run_vm *vm = run_text_vm(&r, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	check_samples(&r);
	ck_assert_uint_eq(vm->counters.balloon_inflated, 2048);
	ck_assert_uint_eq(vm->counters.balloon_deflated, 2048);
	ck_assert_uint_eq(vm->counters.balloon_actual, 0);
	ck_assert_uint_gt(vm->counters.ns_exit_other, 0);
	run_text_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("balloon, whole guests");
	TCase *tc = tcase_create("balloon");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, contents_stay, 0, 9);
	tcase_add_loop_test(tc, behaviours, 0, 12);
	tcase_add_loop_test(tc, out_of_memory, 0, 3);
	tcase_add_loop_test(tc, free_schedule, 0, 3);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
