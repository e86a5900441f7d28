/* SPDX-License-Identifier: MIT */
/* test_estimate.c - estimators on patterns of access whose working set is known, and the scores they get */
#include <string.h>

#include "mm/estimate.h"
#include "mm/events.h"
#include "mm/reuse.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define ARENA  512u
#define PAGES  1536u /* of the VM: 1024 outside the arena */
#define WINDOW 1600u /* ns: a step is 100 */

struct world {
	struct frames *fr;
	struct fake_machine *fm;
	struct counters c;
	struct gmem *g;
	struct fake_paging *p;
	struct estimate *e;
	uint64_t now, truth;
};

static struct world w;

static uint64_t truth(void *ctx, unsigned vm)
{
	must(ctx == &w && vm == 0);
	return w.truth;
}

static void begin(const char *const *methods, uint64_t sample_pages, uint64_t sampling_ppm)
{
	const struct gmem_config cfg = { .npages = PAGES, .arena_pages = ARENA, .level = 1 };
	struct estimate_config e = {
		.vms = &w.g, .nvms = 1, .window_ns = WINDOW, .sample_pages = sample_pages,
		.sampling_ppm = sampling_ppm, .seed = 7, .truth = truth, .ctx = &w,
	};

	memset(&w, 0, sizeof(w));
	w.fr = frames_new(PAGES + 512, 1);
	w.fm = fake_machine_new(PAGES + 512);
	w.g = gmem_new(&cfg, w.fr, &w.fm->base, &w.c, NULL);
	must(w.g);
	w.p = fake_paging_new(w.g);
	for (unsigned i = 0; methods[i]; i++) {
		e.methods[i] = estimator_find(methods[i]);
		must(e.methods[i]);
	}
	w.e = estimate_new(&e);
	must(w.e);
}

static void end(void)
{
	estimate_free(w.e);
	fake_paging_free(w.p);
	gmem_free(w.g);
	fake_machine_free(w.fm);
	frames_free(w.fr);
}

static void touch(gfn_t first, unsigned n)
{
	bool faulted;

	for (unsigned i = 0; i < n; i++)
		must(fake_paging_access(w.p, ARENA + first + i, ACC_W, &faulted) == 0);
}

static void steps(unsigned n)
{
	for (; n; n--) {
		w.now = estimate_due(w.e);
		estimate_tick(w.e, w.now);
	}
}

#define METHODS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Random touches, and a list in LRU order. */
START_TEST(distances_are_those_of_a_list)
{
	struct reuse *r = reuse_new();
	uint32_t list[300], n = 0;
	struct rng rng;

	rng_seed(&rng, 1);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t item = (uint32_t)rng_below(&rng, i < 10000 ? 40 : 300), at = 0;

		while (at < n && list[at] != item)
			at++;
		must_eq(reuse_touch(r, item), at < n ? at + 1 : 0);
		if (at == n)
			n++;
		memmove(list + 1, list, at * sizeof(*list));
		list[0] = item;
	}
	reuse_free(r);
}
END_TEST

START_TEST(names_are_found)
{
	for (unsigned i = 0; estimator_table[i]; i++)
		must(estimator_find(estimator_table[i]->name) == estimator_table[i]);
	must(!estimator_find("lru"));
}
END_TEST

START_TEST(windows_have_sixteen_steps)
{
	begin(METHODS("refault"), 1, 1000000);
	must_eq(estimate_due(w.e), 100);
	estimate_tick(w.e, 99);
	must_eq(estimate_due(w.e), 100);
	estimate_tick(w.e, 100);
	must_eq(estimate_due(w.e), 200);
	estimate_tick(w.e, 1650); /* late: what was due is made up for */
	must_eq(estimate_due(w.e), 1700);
	end();
}
END_TEST

/* Truth 10, 20, 30 pages; resident are 25: errors of 5 too high and 5 too low; the first window does not count. */
START_TEST(scores_are_sums)
{
	begin(METHODS("refault"), 1, 1000000);
	touch(0, 25);
	for (w.truth = 10; w.truth <= 30; w.truth += 10) {
		steps(ESTIMATE_STEPS);
		must_eq(w.c.wss_truth, w.truth);
	}
	must_eq(w.c.wss_windows, 2);
	must_eq(w.c.wss_truth_sum, 50);
	must_eq(w.c.wss_refault_error, 10);
	must_eq(w.c.wss_refault_over, 5);
	w.truth = UINT64_MAX; /* the VM has ended */
	steps(ESTIMATE_STEPS);
	must_eq(w.c.wss_windows, 2);
	must_eq(w.c.wss_truth, 30);
	must_eq(estimate_active_pages(w.e, 0), 25);
	end();
}
END_TEST

/* All 1,024 pages watched: shares are exact, averages as the file says: slow an eighth, fast a half of each change. */
START_TEST(esx_averages_by_hand)
{
	begin(METHODS("esx"), 5000, 1000000);
	touch(0, 1024);
	steps(ESTIMATE_STEPS); /* chooses; nothing is known yet */
	must_eq(w.c.wss_esx, 0);
	touch(0, 256);
	steps(1); /* the running window alone: a quarter */
	must_eq(w.c.wss_esx, 256);
	steps(ESTIMATE_STEPS - 1);
	must_eq(w.c.wss_esx, 256);
	touch(0, 768);
	steps(1); /* the fast average half way from 1/4 to 3/4 */
	must_eq(w.c.wss_esx, 512);
	steps(ESTIMATE_STEPS - 1);
	must_eq(w.c.wss_esx, 512);
	/* Nothing is touched: fast 1/2, 1/4, 1/8; slow 5/16 - 1/8 of it each time: the slow one is believed. */
	steps(ESTIMATE_STEPS);
	must_eq(w.c.wss_esx, 280); /* 5/16 * 7/8 = 0.2734 */
	steps(ESTIMATE_STEPS);
	must_eq(w.c.wss_esx, 245);
	end();
}
END_TEST

/* 100 of 1,024 pages: within four standard deviations of the truth, in every window. */
START_TEST(esx_samples_what_it_may)
{
	begin(METHODS("esx"), 100, 1000000);
	touch(0, 1024);
	steps(ESTIMATE_STEPS);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t young = w.c.faults_young;

		touch(0, 512);
		steps(ESTIMATE_STEPS);
		must(w.c.faults_young - young <= 100 && w.c.faults_young - young > 25);
		must(w.c.wss_esx > 512 - 205 && w.c.wss_esx < 512 + 205);
	}
	end();
}
END_TEST

static uint64_t ages(void)
{
	return w.c.idle_age_0 + w.c.idle_age_1 + w.c.idle_age_2 + w.c.idle_age_4 + w.c.idle_age_8;
}

START_TEST(idle_pages_grow_old)
{
	begin(METHODS("idle"), 1, 1000000);
	touch(0, 300);
	steps(ESTIMATE_STEPS);
	must_eq(w.c.wss_idle, 300);
	must_eq(w.c.idle_age_0, 300);
	for (unsigned i = 1; i <= 9; i++) {
		touch(0, 100);
		steps(ESTIMATE_STEPS);
		must_eq(w.c.wss_idle, 100);
		must_eq(w.c.idle_age_0, 100);
		must_eq(i == 1 ? w.c.idle_age_1 : i <= 3 ? w.c.idle_age_2 : i <= 7 ? w.c.idle_age_4 : w.c.idle_age_8,
			200);
	}
	for (unsigned i = 0; i < 300; i++) /* as old as ages go */
		steps(ESTIMATE_STEPS);
	must_eq(w.c.idle_age_8, 300);
	for (gfn_t gfn = ARENA; gfn < ARENA + 50; gfn++)
		must(gmem_release(w.g, gfn) == 0);
	steps(ESTIMATE_STEPS);
	must_eq(ages(), 250);
	must_eq(w.c.faults_young, 900);
	end();
}
END_TEST

/* A loop over 600 pages in a memory of 400, oldest first out: each page is missed for 200 evictions. */
START_TEST(refault_distances_add_up)
{
	struct estimator_args args;
	struct estimator *x;

	begin(METHODS("refault"), 1, 1000000);
	args = (struct estimator_args){ .g = w.g, .first = ARENA, .npages = PAGES };
	x = estimator_refault.create(&args);
	x->g = w.g;
	for (unsigned i = 0; i < 3000; i++) {
		if (i >= 400)
			estimator_refault.event(x, ARENA + (i - 400) % 600, PAGE_RESIDENT, PAGE_SWAPPED, EVENT_EVICT);
		if (i >= 600)
			estimator_refault.event(x, ARENA + i % 600, PAGE_SWAPPED, PAGE_RESIDENT, EVENT_SWAP_IN);
		w.c.pages_resident = MIN(i, 400u);
		w.c.pages_swapped = i < 600 ? 0 : 200;
	}
	estimator_refault.step(x, ESTIMATE_STEPS - 1, true);
	must_eq(x->pages, 600);
	/* Read ahead, then touched: a refault; read ahead, then evicted: none. */
	estimator_refault.event(x, ARENA, PAGE_RESIDENT, PAGE_SWAPPED, EVENT_EVICT);
	estimator_refault.event(x, ARENA, PAGE_SWAPPED, PAGE_RESIDENT, EVENT_READAHEAD);
	estimator_refault.event(x, ARENA + 1, PAGE_RESIDENT, PAGE_SWAPPED, EVENT_EVICT);
	estimator_refault.event(x, ARENA, PAGE_RESIDENT, PAGE_RESIDENT, EVENT_YOUNG);
	estimator_refault.event(x, ARENA + 1, PAGE_SWAPPED, PAGE_ABSENT, EVENT_RELEASE);
	estimator_refault.step(x, ESTIMATE_STEPS - 1, true);
	must_eq(x->pages, 402);
	/* No refault: what is resident is enough. */
	estimator_refault.step(x, ESTIMATE_STEPS - 1, true);
	must_eq(x->pages, 400);
	estimator_refault.destroy(x);
	w.c.pages_resident = 0;
	end();
}
END_TEST

/* A loop over 320 pages, twenty at each step, once round in each window. */
static void loop_once(void)
{
	for (unsigned i = 0; i < ESTIMATE_STEPS; i++) {
		touch(i * 20, 20);
		steps(1);
	}
}

START_TEST(mrc_finds_a_loop)
{
	uint32_t ppm[ESTIMATE_POINTS];
	uint64_t most;

	begin(METHODS("mrc"), 1, 1000000);
	touch(900, 100); /* used once: no memory would have spared it */
	loop_once();
	must_eq(w.c.wss_mrc, 0); /* nothing was used again */
	for (unsigned i = 0; i < 5; i++)
		loop_once();
	must_eq(w.c.wss_mrc, 320);
	/* A step, at the loop's size: with less of LRU's memory every reuse misses. */
	must(estimate_curve(w.e, 0, 0, &most, ppm));
	must_eq(most, 320);
	for (unsigned i = 0; i < ESTIMATE_POINTS; i++)
		must_eq(ppm[i], i < ESTIMATE_POINTS - 1 ? 1000000 : 0);
	for (unsigned i = 0; i < 12; i++)
		steps(ESTIMATE_STEPS);
	must_eq(w.c.wss_mrc, 0); /* forgotten */
	must(!estimate_curve(w.e, 0, 0, &most, ppm));
	end();
}
END_TEST

/* One page in ten followed, some thirty in all, and estimates in units of about ten pages. */
START_TEST(mrc_follows_a_share)
{
	uint64_t young;

	begin(METHODS("mrc"), 1, 100000);
	for (unsigned i = 0; i < 6; i++) {
		young = w.c.faults_young;
		loop_once();
		young = w.c.faults_young - young;
	}
	must(young > 15 && young < 60);
	must(w.c.wss_mrc > 290 && w.c.wss_mrc <= 330);
	end();
}
END_TEST

/* Whoever asks, each method is told of each touch once, and the reclaimer too. */
START_TEST(methods_do_not_disturb_one_another)
{
	begin(METHODS("idle", "esx", "mrc"), 5000, 1000000);
	touch(0, 1024);
	steps(ESTIMATE_STEPS);
	for (unsigned i = 0; i < 4; i++) {
		touch(0, 400);
		for (unsigned n = 0; n < ESTIMATE_STEPS; n++) {
			steps(1);
			for (gfn_t gfn = ARENA; n % 5 == 3 && gfn < ARENA + 500; gfn++)
				must(gmem_test_clear_young(w.g, gfn) == (n == 3 && gfn < ARENA + 400) ||
				     (i == 0 && n == 3 && gfn >= ARENA + 400));
		}
		must_eq(w.c.wss_idle, 400);
		must_eq(w.c.wss_esx, i ? w.c.wss_esx : 400);
	}
	must(w.c.wss_esx >= 400 && w.c.wss_esx <= 401);
	must_eq(estimate_pages(w.e, 0, 0), 400);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("estimate");
	TCase *tc = tcase_create("estimate");

	tcase_add_test(tc, distances_are_those_of_a_list);
	tcase_add_test(tc, names_are_found);
	tcase_add_test(tc, windows_have_sixteen_steps);
	tcase_add_test(tc, scores_are_sums);
	tcase_add_test(tc, esx_averages_by_hand);
	tcase_add_test(tc, esx_samples_what_it_may);
	tcase_add_test(tc, idle_pages_grow_old);
	tcase_add_test(tc, refault_distances_add_up);
	tcase_add_test(tc, mrc_finds_a_loop);
	tcase_add_test(tc, mrc_follows_a_share);
	tcase_add_test(tc, methods_do_not_disturb_one_another);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
