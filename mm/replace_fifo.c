/* SPDX-License-Identifier: MIT */
/*
 * replace_fifo.c - first in, first out
 *
 * Problem: the cheapest policy there is, and the baseline of the others: it looks at no access but the one that misses.
 *
 * Idea: frames on a ring, filled in order; the victim is the page that came in longest ago, whatever was used since.
 * More memory can mean more misses (Belady's anomaly: Belady, Nelson, Shedler, An anomaly in space-time characteristics
 * of certain programs running in a paging machine, 1969).
 *
 * Structures: the ring (an id for each frame), the index of the oldest, one byte for each page that says whether it is
 * resident.
 *
 * Invariants (tests/unit/test_replace.c, replace_never_overfills, fifo_has_beladys_anomaly; tests/model/test_mrc.c,
 * policies_match_lists): the resident pages are those on the ring, each once, the oldest at the hand once the ring is
 * full.
 */
#include "mm/replace.h"

#include <glib.h>

struct fifo {
	uint32_t nframes, nused, oldest;
	uint32_t *ring;	    /* [nframes] ids */
	uint8_t resident[]; /* [nids] */
};

static void *fifo_create(const struct replace_args *args)
{
	struct fifo *f = g_malloc0(sizeof(*f) + args->nids);

	f->nframes = MIN(args->nframes, MAX(args->nids, 1));
	f->ring = g_new(uint32_t, f->nframes);
	return f;
}

static void fifo_destroy(void *policy)
{
	struct fifo *f = policy;

	g_free(f->ring);
	g_free(f);
}

static inline bool fifo_step(struct fifo *f, uint32_t id, uint32_t *victim)
{
	if (f->resident[id])
		return true;
	f->resident[id] = 1;
	if (f->nused < f->nframes) {
		f->ring[f->nused++] = id;
		*victim = REPLACE_NONE;
		return false;
	}
	*victim = f->ring[f->oldest];
	f->resident[*victim] = 0;
	f->ring[f->oldest] = id;
	f->oldest = f->oldest + 1 == f->nframes ? 0 : f->oldest + 1;
	return false;
}

static bool fifo_access(void *policy, uint32_t id, uint32_t *victim)
{
	return fifo_step(policy, id, victim);
}

static uint64_t fifo_replay(void *policy, const uint32_t *ids, size_t n)
{
	uint64_t misses = 0;
	uint32_t victim;

	for (size_t i = 0; i < n; i++)
		misses += !fifo_step(policy, ids[i], &victim);
	return misses;
}

const struct replace_ops replace_fifo = {
	.name = "fifo",
	.summary = "evicts the page that came in first",
	.create = fifo_create,
	.destroy = fifo_destroy,
	.access = fifo_access,
	.replay = fifo_replay,
};
