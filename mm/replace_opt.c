/* SPDX-License-Identifier: MIT */
/*
 * replace_opt.c - the offline optimum: evict the page that is needed again last
 *
 * Problem: how few misses could any policy have had? Belady's MIN evicts the resident page whose next use lies farthest
 * ahead; no demand paging policy misses less. The trouble is to find that page quickly among thousands at each of
 * millions of misses.
 *
 * Idea: next uses are positions in the trace, and no two pages are needed at the same one. So the resident pages *are*
 * a set of positions, and the victim is the page at the largest one. A set of integers with insert, remove and maximum
 * is a tree of bitmaps, 64 ways at each level: five levels for 2^30 requests, each operation a few words, no heap to
 * keep in order and no stale entries. Pages that are never needed again have no position; they wait on a stack and go
 * first, in any order that is the same each time.
 *
 * Structures: level 0 holds a bit for each position, level k + 1 a bit for each word of level k that is not zero; the
 * top is one word.
 *
 * Invariants (tests/unit/test_replace.c, replace_never_overfills; tests/model/test_mrc.c, opt_is_belady):
 *  - before access i, position p is in the set if and only if the page trace[p] is resident and p is its first use from
 *    i on;
 *  - the set and the stack together hold nframes - nfree pages;
 *  - OPT never misses more than any other policy, nor more with more memory.
 *
 * Source: Belady, A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2), 1966.
 */
#include "mm/replace.h"

#include <glib.h>

#define LEVELS 6 /* 64^6 > 2^32 positions */

struct opt {
	const uint32_t *trace, *next_use;
	uint64_t now; /* position of the next access */
	uint32_t nfree, ndead;
	unsigned top; /* the level that is one word */
	uint64_t *level[LEVELS];
	uint32_t *dead;	    /* resident pages never needed again */
	uint8_t resident[]; /* [nids] */
};

static void *opt_create(const struct replace_args *args)
{
	struct opt *o = g_malloc0(sizeof(*o) + args->nids);
	uint64_t nwords = args->n;

	o->trace = args->trace;
	o->next_use = args->next_use;
	o->nfree = args->nframes;
	o->dead = g_new(uint32_t, MIN(args->nframes, args->nids) + 1ull);
	for (o->top = 0;; o->top++) {
		nwords = MAX((nwords + 63) / 64, 1);
		o->level[o->top] = g_new0(uint64_t, nwords);
		if (nwords == 1)
			return o;
	}
}

static void opt_destroy(void *policy)
{
	struct opt *o = policy;

	for (unsigned k = 0; k <= o->top; k++)
		g_free(o->level[k]);
	g_free(o->dead);
	g_free(o);
}

static inline void set_insert(struct opt *o, uint32_t pos)
{
	for (unsigned k = 0; k <= o->top; k++, pos /= 64) {
		uint64_t *word = &o->level[k][pos / 64], old = *word;

		*word = old | 1ull << pos % 64;
		if (old)
			return; /* the levels above know already */
	}
}

static inline void set_remove(struct opt *o, uint32_t pos)
{
	for (unsigned k = 0; k <= o->top; k++, pos /= 64) {
		uint64_t *word = &o->level[k][pos / 64];

		*word &= ~(1ull << pos % 64);
		if (*word)
			return;
	}
}

static inline uint32_t set_max(const struct opt *o)
{
	uint64_t pos = 0;

	for (int k = o->top; k >= 0; k--)
		pos = pos * 64 + 63 - __builtin_clzll(o->level[k][pos]);
	return pos;
}

static uint32_t evict(struct opt *o)
{
	uint32_t pos, victim;

	if (o->ndead) {
		victim = o->dead[--o->ndead];
	} else {
		pos = set_max(o);
		set_remove(o, pos);
		victim = o->trace[pos];
	}
	o->resident[victim] = 0;
	return victim;
}

static inline bool opt_step(struct opt *o, uint32_t id, uint32_t *victim)
{
	bool hit = o->resident[id];
	uint32_t next = o->next_use[o->now];

	if (hit)
		set_remove(o, o->now);
	else if (o->nfree) {
		o->nfree--;
		*victim = REPLACE_NONE;
	} else {
		*victim = evict(o);
	}
	o->resident[id] = 1;
	if (next == REPLACE_NONE)
		o->dead[o->ndead++] = id;
	else
		set_insert(o, next);
	o->now++;
	return hit;
}

static bool opt_access(void *policy, uint32_t id, uint32_t *victim)
{
	return opt_step(policy, id, victim);
}

static uint64_t opt_replay(void *policy, const uint32_t *ids, size_t n)
{
	uint64_t misses = 0;
	uint32_t victim;

	for (size_t i = 0; i < n; i++)
		misses += !opt_step(policy, ids[i], &victim);
	return misses;
}

const struct replace_ops replace_opt = {
	.name = "opt",
	.summary = "evicts the page needed again last (Belady's offline optimum, a bound for the others)",
	.offline = true,
	.create = opt_create,
	.destroy = opt_destroy,
	.access = opt_access,
	.replay = opt_replay,
};
