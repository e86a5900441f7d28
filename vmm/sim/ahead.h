/* SPDX-License-Identifier: MIT */
/*
 * ahead.h - prefetching the table entries that coming accesses will need
 *
 * Problem. With a working set far beyond the TLBs the simulator itself waits for memory: the leaf entries of both
 * stages of 16 GiB are 64 MiB of the host's memory, read in random order.
 *
 * Idea. mmu_run() knows the accesses to come. A walk leaves a *hint* for its 2 MiB of address: where the table with the
 * leaf entries is. AHEAD_FAR operations ahead the guest's entry is prefetched through the hint; AHEAD_NEAR ahead it is
 * read, which gives the guest-physical address, and the second-stage entry is prefetched likewise; AHEAD_STORE ahead
 * that one is read, and if the operation is a store, the content of its frame is prefetched. Nothing else depends
 * on hints, so they may be stale or missing: only time is lost. They are consulted while many accesses miss (they cost
 * a stream of hits twice its time). The distances are as short as a miss of the host's caches allows: what is fetched
 * early is thrown out again before it is used.
 *
 * A hint is the frame number of the table, four bytes, so that those of 16 GiB stay in the host's second-level cache.
 * It is not tagged: one that belongs to another space or region, or is stale, only fetches a useless line.
 */
#ifndef OVERBOOK_SIM_AHEAD_H
#define OVERBOOK_SIM_AHEAD_H

#include <stdint.h>

#include "mm/types.h"

/* In operations. */
#define AHEAD_FAR   16u
#define AHEAD_NEAR  8u
#define AHEAD_STORE 4u
#define AHEAD_HINTS 16384u /* a power of two: 32 GiB of 2 MiB regions */

struct ahead {
	bool on;
	uint32_t *stage1, *stage2; /* 0: none yet */
};

static inline uint32_t *ahead_slot(uint32_t *hints, uint64_t addr)
{
	return &hints[addr >> LEVEL_SHIFT(2) & (AHEAD_HINTS - 1)];
}

/* Where the leaf entry of @addr probably is; in frame 0 if nothing is known. Frames stay mapped: it may be read. */
static inline const uint64_t *ahead_entry(uint32_t *hints, const uint8_t *bytes, uint64_t addr)
{
	return (const uint64_t *)(bytes + ((hpa_t)*ahead_slot(hints, addr) << PAGE_SHIFT)) + PT_INDEX(addr, 1);
}

static inline void ahead_learn(uint32_t *hints, uint64_t addr, hpa_t table)
{
	*ahead_slot(hints, addr) = (uint32_t)(table >> PAGE_SHIFT);
}

#endif
