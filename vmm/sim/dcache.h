/* SPDX-License-Identifier: MIT */
/*
 * dcache.h - the data caches that table references and data accesses go through (caches = model)
 *
 * Three levels of 64-byte lines by host-physical address, each set-associative with exact LRU, filled on every miss
 * and not inclusive of one another: a line evicted from L2 may live on in L1. Loads and stores are alike
 * (write-allocate), the cost of a reference is the load-to-use latency of the level that has the line. No prefetcher,
 * no bandwidth: docs/cost-model.md says what that leaves out.
 *
 * A set is an array of 32-bit tags, most recently used first: a hit moves its tag to the front, a miss drops the
 * last. So one host cache line holds all of a 16-way set. Tag 0 is empty. With at least 64 sets, 32 bits
 * suffice for 16 TiB of host memory.
 */
#ifndef OVERBOOK_SIM_DCACHE_H
#define OVERBOOK_SIM_DCACHE_H

#include <smmintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/counters.h"
#include "vmm/sim/profile.h"

#define DCACHE_LINE_SHIFT 6

struct dcache_level {
	uint32_t ways, stride; /* stride: ways rounded up to four */
	uint32_t set_mask, set_bits;
	uint32_t cycles;
	uint32_t *tag;
};

struct dcache {
	struct dcache_level level[3];
	uint32_t mem_cycles;
};

void dcache_init(struct dcache *d, const struct sim_profile *p);
void dcache_free(struct dcache *d);

/* Reference a line in one level: true if it was there. Afterwards it is, as the most recent. */
static inline bool dcache_touch(struct dcache_level *l, uint64_t line)
{
	uint32_t *set = l->tag + ((uint32_t)line & l->set_mask) * l->stride;
	uint32_t tag = (uint32_t)(line >> l->set_bits) + 1, at = l->ways - 1;
	__m128i want = _mm_set1_epi32((int)tag);
	bool found = false;

	if (set[0] == tag)
		return true;
	for (uint32_t w = 0; w < l->stride; w += 4) {
		__m128i eq = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)(set + w)), want);
		unsigned hit = (unsigned)_mm_movemask_ps(_mm_castsi128_ps(eq));

		if (hit) {
			at = w + (uint32_t)__builtin_ctz(hit);
			found = true;
			break;
		}
	}
	/* Make room at the front: single tags down to a multiple of four, then four at a time. */
	for (; at & 3; at--)
		set[at] = set[at - 1];
	for (; at; at -= 4)
		_mm_storeu_si128((__m128i *)(set + at - 3), _mm_loadu_si128((const __m128i *)(set + at - 4)));
	set[0] = tag;
	return found;
}

/* The cycles one reference to @hpa costs; *memory says that no cache had it. */
static inline uint32_t dcache_ref(struct dcache *d, uint64_t hpa, struct counters *c, bool *memory)
{
	uint64_t line = hpa >> DCACHE_LINE_SHIFT;

	*memory = false;
	if (dcache_touch(&d->level[0], line))
		return d->level[0].cycles;
	c->cache_l1_misses++;
	if (dcache_touch(&d->level[1], line))
		return d->level[1].cycles;
	c->cache_l2_misses++;
	if (dcache_touch(&d->level[2], line))
		return d->level[2].cycles;
	c->cache_l3_misses++;
	*memory = true;
	return d->mem_cycles;
}

#endif
