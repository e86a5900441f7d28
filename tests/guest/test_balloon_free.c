/* SPDX-License-Identifier: MIT */
/*
 * test_balloon_free.c - whole guests that tell the host of their free pages, in the simulator
 *
 * Whatever a guest reports or hints, and whatever its free pages hold, its processes end with the contents of the same
 * guest that told nothing, in every paging mode, also when the host is short of memory; and a guest that looks for its
 * poison value finds it.
 */
#include <check.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

static const char *const modes[] = { "ept", "shadow", "pv" };

/* Memory comes and goes: 6 of 32 MiB in use, 8 more mapped and unmapped, and forks. */
#define WORKLOAD \
	"[workload w]\nprocesses = 2\nphases = load, churn, mix, storm, child, rest\n" \
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = heap\nsize = 4 MiB\noperations = 1024\n" \
	"writes = 100%%\ncontents = text\n" \
	"[phase churn]\npattern = mmap\narea = 2 MiB\nkeep = 2\nsize = 8 MiB\noperations = 2000\nwrites = 50%%\n" \
	"[phase mix]\npattern = uniform\nregion = heap\nsize = 6 MiB\noperations = 2000\nwrites = 40%%\n" \
	"[phase storm]\npattern = fork\nforks = child\ntouches = 16\nregion = heap\nsize = 6 MiB\noperations = 200\n" \
	"[phase child]\npattern = uniform\nchild = yes\nregion = heap\nsize = 6 MiB\noperations = 200\n" \
	"writes = 50%%\n" \
	"[phase rest]\npattern = zipf\nregion = heap\nsize = 6 MiB\noperations = 2000\nthink-time = 200 us\n" \
	"think-every = 500\n"

struct setting {
	const char *schedule, *host, *balloon, *vm;
	unsigned mode, nvms;
};

static struct text_run run(const struct setting *s)
{
	g_autofree char *t = g_strdup_printf(
		"[experiment]\nschedule = %s\nsample-interval = 200 us\nquantum = 200\n[host]\n%s\n[balloon]\n%s\n"
		"[vm a]\ncount = %u\nmemory = 32 MiB\nworkload = w\npaging = %s\n%s\n" WORKLOAD,
		s->schedule, s->host, s->balloon, s->nvms, modes[s->mode], s->vm);
	struct text_run r;
	GError *error = NULL;

	if (!run_text(&r, &backend_sim, t, &error))
		ck_abort_msg("%s\n%s", error->message, t);
	for (unsigned i = 0; i < s->nvms; i++) {
		ck_assert_msg(!run_text_vm(&r, i)->failure, "%s\n%s", run_text_vm(&r, i)->failure, t);
		ck_assert_uint_eq(run_text_vm(&r, i)->counters.guest_oom_kills, 0);
	}
	return r;
}

/* Two guests, of which each wants 24 MiB at times. */
#define TIGHT "memory = 44 MiB\n[swap]\nsize = 128 MiB\nlow-watermark = 3%\nhigh-watermark = 4%"
#define TIMES "\nreporting-delay = 200 us\nhint-interval = 700 us\ninterval = 20 us"

static const struct {
	const char *name, *balloon, *vm;
	bool reports, hints, restores, keeps, errs, destroys;
} cases[] = {
	{ "reporting", "reporting = yes\nfree-order = 4" TIMES, "", .reports = true },
	{ "small blocks", "reporting = yes\nfree-order = 0" TIMES, "", .reports = true },
	{ "hints", "free-page-hint = yes\nfree-order = 3" TIMES, "", .hints = true },
	{ "both, numbered by the specification", "reporting = yes\nfree-page-hint = yes\nqueues = spec\n"
	  "free-order = 2\nreporting-delay = 1200 us\nhint-interval = 700 us\ninterval = 20 us",
	  "",
	  .reports = true, .hints = true },
	{ "hints refused", "reporting = yes\nfree-page-hint = yes\nfree-order = 5" TIMES,
	  "free-page-hint = no", .reports = true },
	{ "with a balloon", "reporting = yes\nfree-page-hint = yes\nfree-order = 2" TIMES,
	  "balloon-target = 6 MiB\nballoon-from = 300 us\nballoon-until = 2 ms\nballoon-period = 3 ms", .reports = true,
	  .hints = true },
	{ "poison restored", "reporting = yes\nfree-page-hint = yes\nfree-order = 4" TIMES, "page-poison = aa",
	  .reports = true, .hints = true, .restores = true },
	{ "poison kept", "reporting = yes\nfree-order = 4\npoisoned-pages = keep" TIMES, "page-poison = aa",
	  .reports = true, .keeps = true },
	{ "zeros are a poison too", "reporting = yes\nfree-order = 1" TIMES, "page-poison = zero",
	  .reports = true },
	{ "poison, and the host knows nothing of it", "reporting = yes\npage-poison = no" TIMES,
	  "page-poison = aa", .reports = false },
	{ "slow", "reporting = yes\nfree-page-hint = yes\nfree-order = 0\nrate = 6400" TIMES,
	  "balloon-behaviour = slow", .reports = true, .hints = true },
	{ "silent", "reporting = yes\nfree-page-hint = yes" TIMES, "balloon-behaviour = silent",
	  .reports = false },
	{ "hostile", "reporting = yes\nfree-page-hint = yes\nfree-order = 3" TIMES,
	  "balloon-target = 4 MiB\nballoon-behaviour = hostile", .reports = true, .hints = true, .errs = true },
	{ "reckless", "reporting = yes\nfree-page-hint = yes\nfree-order = 2\nreporting-delay = 900 us\n"
	  "hint-interval = 300 us",
	  "balloon-behaviour = reckless", .reports = true, .hints = true, .destroys = true },
};

#define CASES G_N_ELEMENTS(cases)

static void check_samples(const struct text_run *r)
{
	/* Of both guests, and of the host: their sum. */
	for (guint i = 0; i < r->run->samples->len; i++) {
		const struct counters *c = &g_array_index(r->run->samples, struct run_sample, i).counters;

		must(c->pages_hinted <= c->pages_resident);
		must(c->balloon_reported_released <= c->balloon_reported_pages);
		must(c->pages_resident + c->balloon_actual <= 2 * (32 - 4) * 256);
	}
}

static void check_counts(unsigned i, const struct counters *c)
{
	const char *name = cases[i].name;

	ck_assert_msg(cases[i].reports == (c->balloon_reported_pages > 0), "%s", name);
	ck_assert_msg(cases[i].keeps || cases[i].reports == (c->balloon_reported_released > 0), "%s", name);
	ck_assert_msg(cases[i].hints == (c->balloon_hints > 0), "%s", name);
	ck_assert_msg(cases[i].restores == (c->balloon_poison_restored > 0), "%s", name);
	ck_assert_msg(cases[i].keeps == (c->balloon_poison_kept > 0), "%s", name);
	ck_assert_msg(cases[i].errs == (c->balloon_errors > 10), "%s: %lu errors", name, (gulong)c->balloon_errors);
	ck_assert_msg(cases[i].errs || !c->balloon_errors, "%s: %lu errors", name, (gulong)c->balloon_errors);
	ck_assert_msg(c->guest_poison_errors == 0, "%s: %lu poison errors", name, (gulong)c->guest_poison_errors);
}

/* Digests of both guests in each mode, when nothing is told and the host has memory for all; from before the tests. */
static uint64_t plain[G_N_ELEMENTS(modes)][2];

static void run_plain(void)
{
	for (unsigned mode = 0; mode < G_N_ELEMENTS(modes); mode++) {
		const struct setting s = { "lockstep", "memory = 256 MiB", "", "", mode, 2 };
		struct text_run r = run(&s);

		for (unsigned vm = 0; vm < 2; vm++)
			plain[mode][vm] = run_text_vm(&r, vm)->digest;
		run_text_free(&r);
	}
}

/* What if a guest says what is free, to a host that is short of memory? */
START_TEST(contents_stay)
{
	const struct setting told = { "lockstep", TIGHT, cases[_i].balloon, cases[_i].vm, (unsigned)_i % 3, 2 };
	struct text_run r = run(&told);

	check_samples(&r);
	for (unsigned vm = 0; vm < 2; vm++)
		ck_assert_msg((run_text_vm(&r, vm)->digest != plain[_i % 3][vm]) == cases[_i].destroys, "%s",
			      cases[_i].name);
	check_counts((unsigned)_i, &run_text_vm(&r, 0)->counters);
	run_text_free(&r);
}
END_TEST

/* What if time comes from costs? */
START_TEST(free_schedule)
{
	const struct setting told = { "free", TIGHT, cases[_i].balloon, cases[_i].vm, (unsigned)_i % 3, 2 };
	struct text_run r = run(&told);

	check_samples(&r);
	check_counts((unsigned)_i, &run_text_vm(&r, 0)->counters);
	run_text_free(&r);
}
END_TEST

/* One guest after the other forks a child that copies 8 MiB and ends. The host has room for that once. */
static uint64_t swap_outs_of(const char *balloon, const char *mode)
{
	g_autofree char *t = g_strdup_printf(
		"[experiment]\n[host]\ncpus = 2\nmemory = 40 MiB\n[balloon]\n%s\n"
		"[swap]\nsize = 64 MiB\nlow-watermark = 2%%\n"
		"[vm a]\nmemory = 32 MiB\nworkload = early\npaging = %s\n"
		"[vm b]\nmemory = 32 MiB\nworkload = late\npaging = %s\n"
		"[workload early]\nphases = load, storm, child, rest\n"
		"[workload late]\nphases = wait, load, storm, child\n"
		"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = heap\nsize = 8 MiB\noperations = 2048\n"
		"writes = 100%%\ncontents = text\n"
		"[phase storm]\npattern = fork\nforks = child\ntouches = 16\nregion = heap\nsize = 8 MiB\n"
		"operations = 20\n"
		"[phase child]\npattern = uniform\nchild = yes\nregion = heap\nsize = 8 MiB\noperations = 8000\n"
		"writes = 100%%\n"
		"[phase rest]\npattern = uniform\nregion = heap\nsize = 8 MiB\noperations = 5000\nthink-time = 3 ms\n"
		"[phase wait]\npattern = sequential\nregion = heap\nsize = 8 MiB\noperations = 10\nthink-time = 20 ms\n"
		"think-every = 9\n",
		balloon, mode, mode);
	struct text_run r;
	GError *error = NULL;
	uint64_t n = 0;

	if (!run_text(&r, &backend_sim, t, &error))
		ck_abort_msg("%s\n%s", error->message, t);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_msg(!run_text_vm(&r, i)->failure, "%s", run_text_vm(&r, i)->failure);
		n += run_text_vm(&r, i)->counters.swap_outs;
	}
	run_text_free(&r);
	return n;
}

/* What if a host short of memory is told what is free? It swaps less. */
START_TEST(swaps_less)
{
	uint64_t before = swap_outs_of("", modes[_i]);

	ck_assert_uint_gt(before, 500);
	ck_assert_uint_lt(swap_outs_of("reporting = yes\nfree-order = 2" TIMES, modes[_i]), before / 4);
	ck_assert_uint_lt(swap_outs_of("free-page-hint = yes\nfree-order = 2" TIMES, modes[_i]), before / 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("free pages, whole guests");
	TCase *tc = tcase_create("free");

	tcase_add_unchecked_fixture(tc, run_plain, NULL);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, contents_stay, 0, (int)CASES);
	tcase_add_loop_test(tc, free_schedule, 0, (int)CASES);
	tcase_add_loop_test(tc, swaps_less, 0, 3);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
