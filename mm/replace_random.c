/* SPDX-License-Identifier: MIT */
/*
 * replace_random.c - evict any page
 *
 * Problem: a baseline that no access pattern can fool: a loop slightly larger than memory, which costs LRU and FIFO
 * every access, costs this policy only a share of them.
 *
 * Idea and structures: the resident pages fill an array in any order; the victim's place is drawn from the policy's own
 * stream of random numbers, which the seed fixes, and the new page takes it.
 *
 * Invariants (tests/unit/test_replace.c, replace_never_overfills, random_follows_its_seed; tests/model/test_mrc.c,
 * policies_match_lists): the resident pages are those in the array, each once; the same seed gives the same victims.
 */
#include "mm/replace.h"

#include <glib.h>

#include "workloads/rng.h"

struct lots {
	struct rng rng;
	uint32_t nframes, nused;
	uint32_t *frame;    /* [nframes] ids */
	uint8_t resident[]; /* [nids] */
};

static void *random_create(const struct replace_args *args)
{
	struct lots *l = g_malloc0(sizeof(*l) + args->nids);

	l->nframes = MIN(args->nframes, MAX(args->nids, 1));
	l->frame = g_new(uint32_t, l->nframes);
	rng_seed(&l->rng, args->seed);
	return l;
}

static void random_destroy(void *policy)
{
	struct lots *l = policy;

	g_free(l->frame);
	g_free(l);
}

static inline bool random_step(struct lots *l, uint32_t id, uint32_t *victim)
{
	uint32_t *place;

	if (l->resident[id])
		return true;
	l->resident[id] = 1;
	if (l->nused < l->nframes) {
		l->frame[l->nused++] = id;
		*victim = REPLACE_NONE;
		return false;
	}
	place = &l->frame[rng_below(&l->rng, l->nframes)];
	*victim = *place;
	l->resident[*victim] = 0;
	*place = id;
	return false;
}

static bool random_access(void *policy, uint32_t id, uint32_t *victim)
{
	return random_step(policy, id, victim);
}

static uint64_t random_replay(void *policy, const uint32_t *ids, size_t n)
{
	uint64_t misses = 0;
	uint32_t victim;

	for (size_t i = 0; i < n; i++)
		misses += !random_step(policy, ids[i], &victim);
	return misses;
}

const struct replace_ops replace_random = {
	.name = "random",
	.summary = "evicts a page drawn at random from the seed",
	.create = random_create,
	.destroy = random_destroy,
	.access = random_access,
	.replay = random_replay,
};
