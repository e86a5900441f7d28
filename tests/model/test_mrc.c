/* SPDX-License-Identifier: MIT */
/*
 * Each replacement policy against its definition, executed literally and slowly: lru against stack distances counted by
 * looking back, opt against Belady's rule by looking ahead, the others against lists that are shifted by hand. Hit by
 * hit, victim by victim.
 */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "mm/replace.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define N    1200
#define NIDS 96

static const uint32_t sizes[] = { 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 96, 200 };

/* Traces of several kinds: uniform, skewed, loops, scans broken by hot pages, runs. */
static void make_trace(uint32_t *ids, uint64_t seed)
{
	struct rng r;
	uint32_t kind = seed % 5, nids, at = 0;

	rng_seed(&r, seed);
	nids = 1 + rng_below(&r, NIDS);
	for (int i = 0; i < N; i++) {
		switch (kind) {
		case 0:
			ids[i] = rng_below(&r, nids);
			break;
		case 1:
			ids[i] = rng_below(&r, 1 + rng_below(&r, 1 + rng_below(&r, nids)));
			break;
		case 2:
			ids[i] = rng_below(&r, 50) ? at++ % nids : rng_below(&r, nids);
			break;
		case 3:
			ids[i] = rng_below(&r, 3) ? rng_below(&r, 1 + nids / 8) : at++ % nids;
			break;
		default:
			at = rng_below(&r, 4) ? at : rng_below(&r, nids);
			ids[i] = at;
		}
	}
}

/* Distinct pages from the last access to ids[i]'s page (and with it) up to i; 0: never accessed before. */
static uint32_t stack_distance(const uint32_t *ids, int i)
{
	bool seen[NIDS] = { false };
	uint32_t distance = 1;

	for (int j = i - 1; j >= 0; j--) {
		if (ids[j] == ids[i])
			return distance;
		distance += !seen[ids[j]];
		seen[ids[j]] = true;
	}
	return 0;
}

static void check_lru_is_stack_distance(uint64_t seed)
{
	uint32_t ids[N], victim;
	bool hit;

	make_trace(ids, seed);
	for (size_t k = 0; k < G_N_ELEMENTS(sizes); k++) {
		void *lru = replace_lru.create(&(struct replace_args){ .nframes = sizes[k], .nids = NIDS });

		for (int i = 0; i < N; i++) {
			uint32_t distance = stack_distance(ids, i);

			hit = replace_lru.access(lru, ids[i], &victim);
			ck_assert_msg(hit == (distance && distance <= sizes[k]), "size %u, access %d", sizes[k], i);
		}
		replace_lru.destroy(lru);
	}
}

/* A memory as a list of pages, index 0 first to go. */
struct list {
	uint32_t n, nframes;
	uint32_t id[NIDS];
	bool referenced[NIDS];
	struct rng rng;
};

static int list_find(const struct list *l, uint32_t id)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->id[i] == id)
			return i;
	return -1;
}

static void list_append(struct list *l, uint32_t id, bool referenced)
{
	l->id[l->n] = id;
	l->referenced[l->n++] = referenced;
}

static uint32_t list_remove(struct list *l, uint32_t at)
{
	uint32_t id = l->id[at];

	l->n--;
	memmove(&l->id[at], &l->id[at + 1], (l->n - at) * sizeof(l->id[0]));
	memmove(&l->referenced[at], &l->referenced[at + 1], (l->n - at) * sizeof(l->referenced[0]));
	return id;
}

/* Belady by looking ahead: where in the list is the page whose next use after i is last? */
static uint32_t farthest(const struct list *l, const uint32_t *ids, int i)
{
	int best = -1, next;
	uint32_t at = 0;

	for (uint32_t k = 0; k < l->n; k++) {
		for (next = i + 1; next < N && ids[next] != l->id[k]; next++)
			;
		if (next > best) {
			best = next;
			at = k;
		}
	}
	return at;
}

static void check_opt_is_belady(uint64_t seed)
{
	uint32_t ids[N], victim;

	make_trace(ids, seed);
	g_autofree uint32_t *next = replace_next_use(ids, N, NIDS);
	for (size_t k = 0; k < G_N_ELEMENTS(sizes); k++) {
		struct list l = { .nframes = sizes[k] };
		void *opt = replace_opt.create(&(struct replace_args){
			.nframes = sizes[k], .nids = NIDS, .trace = ids, .next_use = next, .n = N });

		for (int i = 0; i < N; i++) {
			bool hit = list_find(&l, ids[i]) >= 0;

			/* Which of the pages that are never needed again goes may differ: they do not hit. */
			ck_assert_msg(replace_opt.access(opt, ids[i], &victim) == hit, "size %u, access %d", sizes[k],
				      i);
			if (hit)
				continue;
			if (l.n == l.nframes)
				list_remove(&l, farthest(&l, ids, i));
			list_append(&l, ids[i], false);
		}
		replace_opt.destroy(opt);
	}
}

/* A miss when full, by the book; returns the victim. */
static uint32_t list_evict(struct list *l, const char *policy)
{
	if (!strcmp(policy, "random")) {
		/* The place is drawn; the newcomer must take it, so it is swapped to the end for the caller to append.
		 */
		uint32_t at = rng_below(&l->rng, l->nframes), id = l->id[at];

		return l->id[at] = REPLACE_NONE, id;
	}
	while (l->referenced[0]) {
		uint32_t id = list_remove(l, 0);

		list_append(l, id, false);
	}
	return list_remove(l, 0);
}

static void list_insert(struct list *l, uint32_t id, bool referenced)
{
	int hole = list_find(l, REPLACE_NONE);

	if (hole >= 0)
		l->id[hole] = id;
	else
		list_append(l, id, referenced);
}

static void check_list(const struct replace_ops *ops, const uint32_t *ids, uint32_t nframes)
{
	bool clocked = ops == &replace_clock || ops == &replace_clock0;
	struct list l = { .nframes = nframes };
	void *policy = ops->create(&(struct replace_args){ .nframes = nframes, .nids = NIDS, .seed = nframes });

	rng_seed(&l.rng, nframes);
	for (int i = 0; i < N; i++) {
		uint32_t victim = REPLACE_NONE, expected = REPLACE_NONE;
		int at = list_find(&l, ids[i]);

		ck_assert_msg(ops->access(policy, ids[i], &victim) == (at >= 0), "%s: size %u, access %d", ops->name,
			      nframes, i);
		if (at >= 0) {
			l.referenced[at] = clocked;
			continue;
		}
		if (l.n == l.nframes)
			expected = list_evict(&l, ops->name);
		list_insert(&l, ids[i], ops == &replace_clock);
		ck_assert_msg(victim == expected, "%s: size %u, access %d", ops->name, nframes, i);
	}
	ops->destroy(policy);
}

static void check_policies_match_lists(uint64_t seed)
{
	static const struct replace_ops *const ops[] = { &replace_fifo, &replace_clock, &replace_clock0,
							&replace_random };
	uint32_t ids[N];

	make_trace(ids, seed);
	for (size_t p = 0; p < G_N_ELEMENTS(ops); p++)
		for (size_t k = 0; k < G_N_ELEMENTS(sizes); k++)
			check_list(ops[p], ids, sizes[k]);
}

/* What theory says of whole curves: opt is a lower bound; lru and opt never get worse with more memory. */
static void check_curves_are_ordered(uint64_t seed)
{
	uint64_t before[2] = { UINT64_MAX, UINT64_MAX };
	uint32_t ids[N];

	make_trace(ids, seed);
	g_autofree uint32_t *next = replace_next_use(ids, N, NIDS);
	for (uint32_t nframes = 1; nframes <= NIDS; nframes++) {
		struct replace_args args = {
			.nframes = nframes, .nids = NIDS, .seed = 1, .trace = ids, .next_use = next, .n = N };
		void *opt = replace_opt.create(&args);
		uint64_t least = replace_opt.replay(opt, ids, N);

		replace_opt.destroy(opt);
		for (const struct replace_ops *const *p = replace_policies; *p; p++) {
			void *policy = (*p)->create(&args);
			uint64_t misses = (*p)->replay(policy, ids, N);

			(*p)->destroy(policy);
			ck_assert_uint_ge(misses, least);
			if (*p != &replace_lru && *p != &replace_opt)
				continue;
			ck_assert_uint_le(misses, before[*p == &replace_opt]);
			before[*p == &replace_opt] = misses;
		}
	}
}

#define NSEEDS 30

START_TEST(lru_is_stack_distance)
{
	for (uint64_t seed = 0; seed < NSEEDS; seed++)
		check_lru_is_stack_distance(seed);
}
END_TEST

START_TEST(opt_is_belady)
{
	for (uint64_t seed = 0; seed < NSEEDS; seed++)
		check_opt_is_belady(seed);
}
END_TEST

START_TEST(policies_match_lists)
{
	for (uint64_t seed = 0; seed < NSEEDS; seed++)
		check_policies_match_lists(seed);
}
END_TEST

START_TEST(curves_are_ordered)
{
	for (uint64_t seed = 0; seed < NSEEDS; seed++)
		check_curves_are_ordered(seed);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mrc");
	TCase *tc = tcase_create("mrc");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, lru_is_stack_distance);
	tcase_add_test(tc, opt_is_belady);
	tcase_add_test(tc, policies_match_lists);
	tcase_add_test(tc, curves_are_ordered);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
