/* SPDX-License-Identifier: MIT */
/*
 * workingset.c - was a page that comes back gone for too long to have been kept?
 *
 * Problem: a page that is used again and again, but less often than the inactive list takes to pass, is evicted every
 * time; one that is read once should not push out active ones. Both look the same when they come in.
 *
 * Idea: count evictions and activations: age. An evicted page leaves a *shadow* in its place, the age at that time.
 * When it is read again, its refault distance is by how much age has grown: so many more pages of inactive list would
 * have kept it. If there are as many pages on the active lists, which may not deserve their place any better, it
 * becomes active at once and competes with them.
 *
 * Data: a shadow is a cache word: CACHE_SHADOW, age << 1, and in bit 0 whether the page had been active before. File
 * pages have theirs in the index of the page cache, anonymous ones in their slot.
 *
 * What reclaiming of each kind costs is counted too: pages written and pages that refault from the working set, 32
 * times a page that was looked at in vain; halved whenever it exceeds a quarter of the lists.
 *
 * Source: Linux mm/workingset.c (Weiner 2012 and 2020), mm/swap.c (lru_note_cost()).
 */
#include "workloads/guest/internal.h"

#define COST_OF_IO 32u

/* The shadow of a page that goes now. */
uint64_t workingset_evict(struct kernel *k, uint64_t gfn)
{
	bool active_before = lru_page(k, gfn)->flags & PG_WORKINGSET;

	return CACHE_SHADOW | ((k->mem.age++ << 1) & ~CACHE_SHADOW) | active_before;
}

void workingset_cost(struct kernel *k, bool file, uint64_t nios, uint64_t nlooked)
{
	struct memory *m = &k->mem;
	uint64_t total = 0;

	m->cost[file] += nios * COST_OF_IO + nlooked;
	for (unsigned i = 0; i < LRU_LISTS; i++)
		total += m->list[i].npages;
	while (m->cost[0] + m->cost[1] > total / 4) {
		m->cost[0] /= 2;
		m->cost[1] /= 2;
		if (!m->cost[0] && !m->cost[1])
			break;
	}
}

/* The page comes in where @word was. Is it to be active? */
bool workingset_refault(struct kernel *k, uint64_t gfn, uint64_t word)
{
	struct memory *m = &k->mem;
	struct lru_page *g = lru_page(k, gfn);
	bool file = g->flags & PG_FILE;
	uint64_t distance, size = m->list[LRU_ACTIVE_FILE].npages;

	if (!(word & CACHE_SHADOW))
		return false;
	*(file ? &k->counts.refaults_file : &k->counts.refaults_anon) += 1;
	distance = m->age - ((word & ~CACHE_SHADOW) >> 1);
	if (!file)
		size += m->list[LRU_INACTIVE_FILE].npages;
	if (m->swap_free)
		size += m->list[LRU_ACTIVE_ANON].npages + (file ? m->list[LRU_INACTIVE_ANON].npages : 0);
	if (distance > size)
		return false;
	m->age++;
	*(file ? &k->counts.activates_file : &k->counts.activates_anon) += 1;
	if (word & 1) {
		g->flags |= PG_WORKINGSET;
		workingset_cost(k, file, 1, 0);
	}
	return true;
}
