/* SPDX-License-Identifier: MIT */
/*
 * swap_slots.c - slots with clustering
 *
 * Problem: pages that are evicted together are often wanted together, and a device writes and reads neighbours with one
 * command. Taking the lowest free slot would scatter a batch over the holes that earlier pages left.
 *
 * Idea: the device is divided into clusters of 256 slots. One is being filled, in order (next fit); when it has no free
 * slot behind the last one taken, the next cluster that is wholly free is begun; if there is none, the next that has
 * any.
 *
 * Structures: a bit for each slot and a count for each cluster.
 *
 * Invariants (tests/unit/test_swap.c, slots_match_a_set): a slot is held by one taker; all can be taken; while a
 * cluster is wholly free, consecutive takes get consecutive slots but for steps from cluster to cluster.
 *
 * Source: Linux mm/swapfile.c, SWAPFILE_CLUSTER.
 */
#include "mm/swap_slots.h"

#include <errno.h>
#include <glib.h>

static uint64_t nclusters(const struct swap_slots *s)
{
	return (s->nslots + SWAP_CLUSTER - 1) / SWAP_CLUSTER;
}

static uint64_t cluster_size(const struct swap_slots *s, uint64_t cluster)
{
	return MIN(SWAP_CLUSTER, s->nslots - cluster * SWAP_CLUSTER);
}

void swap_slots_init(struct swap_slots *s, uint64_t nslots)
{
	*s = (struct swap_slots){ .nslots = nslots };
	s->used = g_new0(uint64_t, (nslots + 63) / 64);
	s->count = g_new0(uint16_t, nclusters(s));
}

void swap_slots_destroy(struct swap_slots *s)
{
	g_free(s->used);
	g_free(s->count);
}

/* The first free slot in [from, end of its cluster), or end. */
static uint64_t free_from(const struct swap_slots *s, uint64_t from, uint64_t end)
{
	while (from < end && swap_slots_used(s, from))
		from++;
	return from;
}

/* The next cluster behind @after that is wholly free (@empty), or that has a free slot. */
static bool next_cluster(const struct swap_slots *s, uint64_t after, bool empty, uint64_t *cluster)
{
	uint64_t n = nclusters(s);

	for (uint64_t i = 1; i <= n; i++) {
		uint64_t c = (after + i) % n;

		if (empty ? !s->count[c] : s->count[c] < cluster_size(s, c)) {
			*cluster = c;
			return true;
		}
	}
	return false;
}

int swap_slots_take(struct swap_slots *s, uint64_t *slot)
{
	uint64_t at, end, cluster;

	if (s->nused == s->nslots)
		return -ENOSPC;
	/* `next` may be the end of a full cluster, or of the device: nothing is free before the end then. */
	cluster = s->next ? (s->next - 1) / SWAP_CLUSTER : 0;
	end = cluster * SWAP_CLUSTER + cluster_size(s, cluster);
	at = free_from(s, s->next, end);
	if (at == end) {
		if (!next_cluster(s, cluster, true, &cluster))
			next_cluster(s, cluster, false, &cluster);
		end = cluster * SWAP_CLUSTER + cluster_size(s, cluster);
		at = free_from(s, cluster * SWAP_CLUSTER, end);
	}
	g_assert(at < end);
	s->used[at / 64] |= 1ull << (at % 64);
	s->count[at / SWAP_CLUSTER]++;
	s->nused++;
	s->next = at + 1;
	*slot = at;
	return 0;
}

void swap_slots_give(struct swap_slots *s, uint64_t slot)
{
	g_assert(swap_slots_used(s, slot));
	s->used[slot / 64] &= ~(1ull << (slot % 64));
	s->count[slot / SWAP_CLUSTER]--;
	s->nused--;
}
