/* SPDX-License-Identifier: MIT */
/*
 * replace_clock.c - second chance: an approximation of LRU that costs one store on a hit
 *
 * Problem: hardware keeps one referenced bit for a page, not an order. Evict pages that were not used lately, knowing
 * only that.
 *
 * Idea: frames on a ring under a hand. An access sets the page's bit. To find a victim the hand advances; a referenced
 * page loses its bit and is passed over (its second chance), an unreferenced one goes and the new page takes its frame;
 * the hand ends behind it.
 *
 * `clock` inserts a page with its bit set: the access that faulted it in is retried by the processor, which sets the
 * bit. `clock0` inserts it clear, as simulators of caches often do; pages used once then leave a lap earlier.
 *
 * Structures: the ring (an id for each frame) and one state byte for each page, so that a hit reads and writes a single
 * byte.
 *
 * Invariants (tests/unit/test_replace.c, replace_never_overfills; tests/model/test_mrc.c, policies_match_lists):
 *  - the pages whose state is not ABSENT are those on the ring, each once;
 *  - the hand passes at most nframes pages before it finds a victim, and clears a bit at each: constant time,
 *    amortised.
 *
 * Source: Corbato, A paging experiment with the Multics system, 1968.
 */
#include "mm/replace.h"

#include <glib.h>

enum page_state { ABSENT, UNREFERENCED, REFERENCED };

struct clock {
	uint32_t nframes, nused, hand;
	uint32_t *ring;	 /* [nframes] ids */
	uint8_t state[]; /* [nids] */
};

static void *clock_create(const struct replace_args *args)
{
	struct clock *c = g_malloc0(sizeof(*c) + args->nids);

	/* More frames than pages are never used: do not let a huge memory cost a huge ring. */
	c->nframes = MIN(args->nframes, MAX(args->nids, 1));
	c->ring = g_new(uint32_t, c->nframes);
	return c;
}

static void clock_destroy(void *policy)
{
	struct clock *c = policy;

	g_free(c->ring);
	g_free(c);
}

/* Give @id a frame, evicting if it must; the state it begins with is the caller's choice. */
static uint32_t place(struct clock *c, uint32_t id)
{
	uint32_t victim, hand = c->hand;

	if (c->nused < c->nframes) {
		c->ring[c->nused++] = id;
		return REPLACE_NONE;
	}
	while (c->state[c->ring[hand]] == REFERENCED) {
		c->state[c->ring[hand]] = UNREFERENCED;
		hand = hand + 1 == c->nframes ? 0 : hand + 1;
	}
	victim = c->ring[hand];
	c->state[victim] = ABSENT;
	c->ring[hand] = id;
	c->hand = hand + 1 == c->nframes ? 0 : hand + 1;
	return victim;
}

static inline bool clock_step(struct clock *c, uint32_t id, uint32_t *victim, enum page_state inserted)
{
	if (c->state[id] != ABSENT) {
		c->state[id] = REFERENCED;
		return true;
	}
	*victim = place(c, id);
	c->state[id] = inserted;
	return false;
}

static inline uint64_t replay(struct clock *c, const uint32_t *ids, size_t n, enum page_state inserted)
{
	uint64_t misses = 0;
	uint32_t victim;

	for (size_t i = 0; i < n; i++)
		misses += !clock_step(c, ids[i], &victim, inserted);
	return misses;
}

static bool clock_access(void *policy, uint32_t id, uint32_t *victim)
{
	return clock_step(policy, id, victim, REFERENCED);
}

static uint64_t clock_replay(void *policy, const uint32_t *ids, size_t n)
{
	return replay(policy, ids, n, REFERENCED);
}

static bool clock0_access(void *policy, uint32_t id, uint32_t *victim)
{
	return clock_step(policy, id, victim, UNREFERENCED);
}

static uint64_t clock0_replay(void *policy, const uint32_t *ids, size_t n)
{
	return replay(policy, ids, n, UNREFERENCED);
}

const struct replace_ops replace_clock = {
	.name = "clock",
	.summary = "second chance by referenced bit; a page comes in referenced, as a faulting access leaves it on "
		   "hardware",
	.create = clock_create,
	.destroy = clock_destroy,
	.access = clock_access,
	.replay = clock_replay,
};

const struct replace_ops replace_clock0 = {
	.name = "clock0",
	.summary = "second chance by referenced bit; a page comes in unreferenced, as in many cache simulators",
	.create = clock_create,
	.destroy = clock_destroy,
	.access = clock0_access,
	.replay = clock0_replay,
};
