/* SPDX-License-Identifier: MIT */
/* Replacement policies: the rules all of them keep, and small cases whose outcome a person can check on paper. */
#include <check.h>
#include <glib.h>

#include "mm/replace.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

/* Misses of @name with @nframes frames on ids[n]. */
static uint64_t misses_of(const char *name, uint32_t nframes, uint32_t nids, const uint32_t *ids, size_t n)
{
	const struct replace_ops *ops = replace_find(name);
	g_autofree uint32_t *next = replace_next_use(ids, n, nids);
	struct replace_args args = {
		.nframes = nframes, .nids = nids, .seed = 1, .trace = ids, .next_use = next, .n = n };
	void *policy = ops->create(&args);
	uint64_t misses = ops->replay(policy, ids, n);

	ops->destroy(policy);
	return misses;
}

#define MISSES(name, nframes, ids) misses_of(name, nframes, 10, ids, G_N_ELEMENTS(ids))

/* Belady, Nelson and Shedler's own example. */
static const uint32_t anomaly[] = { 1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5 };

START_TEST(fifo_has_beladys_anomaly)
{
	ck_assert_uint_eq(MISSES("fifo", 3, anomaly), 9);
	ck_assert_uint_eq(MISSES("fifo", 4, anomaly), 10);
}
END_TEST

START_TEST(lru_and_opt_on_the_same_string)
{
	ck_assert_uint_eq(MISSES("lru", 3, anomaly), 10);
	ck_assert_uint_eq(MISSES("lru", 4, anomaly), 8);
	ck_assert_uint_eq(MISSES("opt", 3, anomaly), 7);
	ck_assert_uint_eq(MISSES("opt", 4, anomaly), 6);
}
END_TEST

/*
 * 1 2 3, then 4 takes a frame, then 1 and 2 again. clock: all three are referenced, so the hand clears them all and
 * takes 1; then 1 takes 2's frame, 2 takes 3's. A hit on 1 before 4 comes does not change that for clock, but saves
 * page 1 for clock0.
 */
START_TEST(clock_inserts_referenced_and_clock0_does_not)
{
	static const uint32_t ids[] = { 1, 2, 3, 1, 4, 1, 2 };

	ck_assert_uint_eq(MISSES("clock", 3, ids), 6);
	ck_assert_uint_eq(MISSES("clock0", 3, ids), 5);
}
END_TEST

START_TEST(a_loop_larger_than_memory)
{
	uint32_t ids[1000];

	for (int i = 0; i < 1000; i++)
		ids[i] = i % 10;
	ck_assert_uint_eq(MISSES("lru", 9, ids), 1000);
	ck_assert_uint_eq(MISSES("fifo", 9, ids), 1000);
	/* One page of ten misses in each round of nine: after the first 10, 990 / 9. */
	ck_assert_uint_eq(MISSES("opt", 9, ids), 120);
	ck_assert_uint_lt(MISSES("random", 9, ids), 400);
	for (const struct replace_ops *const *p = replace_policies; *p; p++)
		ck_assert_uint_eq(MISSES((*p)->name, 10, ids), 10);
}
END_TEST

START_TEST(next_use_is_the_next_position)
{
	static const uint32_t ids[] = { 0, 1, 0, 2, 1 };
	g_autofree uint32_t *next = replace_next_use(ids, 5, 3);

	ck_assert_uint_eq(next[0], 2);
	ck_assert_uint_eq(next[1], 4);
	for (int i = 2; i < 5; i++)
		ck_assert_uint_eq(next[i], REPLACE_NONE);
}
END_TEST

START_TEST(names_are_unique_and_found)
{
	for (const struct replace_ops *const *p = replace_policies; *p; p++)
		ck_assert_ptr_eq(replace_find((*p)->name), *p);
	ck_assert_ptr_null(replace_find("lruu"));
}
END_TEST

static void fill(struct rng *r, uint32_t *ids, size_t n, uint32_t nids)
{
	for (size_t i = 0; i < n; i++)
		ids[i] = rng_below(r, 1 + rng_below(r, nids)); /* low numbers more often */
}

/* One policy on one random trace: what it says of hits and victims must fit a set of at most nframes pages. */
static void check_never_overfills(const struct replace_ops *ops, struct replace_args *args)
{
	g_autofree bool *resident = g_new0(bool, args->nids);
	void *policy = ops->create(args), *again = ops->create(args);
	uint64_t misses = 0;
	uint32_t nresident = 0;

	for (size_t i = 0; i < args->n; i++) {
		uint32_t id = args->trace[i], victim = 12345;
		bool hit = ops->access(policy, id, &victim);

		ck_assert_msg(hit == resident[id], "%s: access %zu", ops->name, i);
		if (hit)
			continue;
		misses++;
		if (nresident == args->nframes) {
			ck_assert_uint_lt(victim, args->nids);
			ck_assert_msg(resident[victim] && victim != id, "%s: access %zu", ops->name, i);
			resident[victim] = false;
		} else {
			ck_assert_uint_eq(victim, REPLACE_NONE);
			nresident++;
		}
		resident[id] = true;
	}
	ck_assert_uint_eq(ops->replay(again, args->trace, args->n), misses);
	ops->destroy(policy);
	ops->destroy(again);
}

START_TEST(replace_never_overfills)
{
	const struct replace_ops *ops = replace_policies[_i];
	uint32_t ids[2000];
	struct rng r;

	rng_seed(&r, 7);
	for (uint32_t nframes = 1; nframes < 80; nframes += 3) {
		uint32_t nids = 1 + rng_below(&r, 70);

		fill(&r, ids, G_N_ELEMENTS(ids), nids);
		g_autofree uint32_t *next = replace_next_use(ids, G_N_ELEMENTS(ids), nids);
		struct replace_args args = { .nframes = nframes,
					    .nids = nids,
					    .seed = nframes,
					    .trace = ids,
					    .next_use = next,
					    .n = G_N_ELEMENTS(ids) };
		check_never_overfills(ops, &args);
	}
}
END_TEST

START_TEST(random_follows_its_seed)
{
	struct replace_args args = { .nframes = 20, .nids = 50, .seed = 3 }, other = args;
	uint32_t va, vb, vc, ndiffer = 0;
	const struct replace_ops *ops = &replace_random;
	void *a, *b, *c;

	other.seed = 4;
	a = ops->create(&args), b = ops->create(&args), c = ops->create(&other);
	for (uint32_t i = 0; i < 500; i++) {
		va = vb = vc = REPLACE_NONE;
		ck_assert(ops->access(a, i % 50, &va) == ops->access(b, i % 50, &vb));
		ops->access(c, i % 50, &vc);
		ck_assert_uint_eq(va, vb);
		ndiffer += va != vc;
	}
	ck_assert_uint_gt(ndiffer, 0);
	ops->destroy(a), ops->destroy(b), ops->destroy(c);
}
END_TEST

/* A future longer than one, two and three levels of the optimum's bitmaps. */
START_TEST(opt_over_long_futures)
{
	for (uint32_t n = 60; n <= 600000; n *= 10) {
		g_autofree uint32_t *ids = g_new(uint32_t, n);

		for (uint32_t i = 0; i < n; i++)
			ids[i] = i % (n / 2);
		/* Twice over n/2 pages with n/4 frames: the first round misses all; n/4 pages are kept for the second.
		 */
		ck_assert_uint_eq(misses_of("opt", n / 4, n / 2, ids, n), n / 2 + n / 4);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("replace");
	TCase *tc = tcase_create("replace");
	int npolicies = 0;

	while (replace_policies[npolicies])
		npolicies++;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, fifo_has_beladys_anomaly);
	tcase_add_test(tc, lru_and_opt_on_the_same_string);
	tcase_add_test(tc, clock_inserts_referenced_and_clock0_does_not);
	tcase_add_test(tc, a_loop_larger_than_memory);
	tcase_add_test(tc, next_use_is_the_next_position);
	tcase_add_test(tc, names_are_unique_and_found);
	tcase_add_loop_test(tc, replace_never_overfills, 0, npolicies);
	tcase_add_test(tc, random_follows_its_seed);
	tcase_add_test(tc, opt_over_long_futures);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
