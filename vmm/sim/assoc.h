/* SPDX-License-Identifier: MIT */
/*
 * assoc.h - a set-associative array with exact LRU: what TLBs, page-walk caches and the nested TLB are made of
 *
 * Problem. Every simulated access looks one of these up, so a look-up must cost a nanosecond or two; yet replacement
 * must be exact, or two runs of one stream by different code would part ways.
 *
 * Idea. A set is a row of 64-bit keys, compared four at a time by SSE4.1. A key is the whole tag, page number, page
 * size and address space, so one compare decides. Recency is a 32-bit timestamp beside each key: a hit stores one word,
 * and only a replacement looks for the smallest, four at a time again. All arrays of a CPU share one clock, for stamps
 * only need to differ within a set. Before it runs out, every 2^32 ticks, stamps are replaced by their ranks within
 * the set (mmu_wind()).
 *
 * Invariants (tests/model/test_tlb.c compares with a naive list):
 * - key 0 is an empty way, and so is the padding that rounds a set up to a multiple of four ways; padding has
 *   the largest stamp and is never chosen;
 * - a key is at most once in the array: whoever inserts has just looked it up in vain;
 * - an empty way has stamp 0, a used one a stamp of its own, so that empty ways are filled first, lowest first.
 */
#ifndef OVERBOOK_SIM_ASSOC_H
#define OVERBOOK_SIM_ASSOC_H

#include <smmintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/sim/profile.h"
#include "workloads/x86.h"

/*
 * Key: page number (45 bits at 4K), page size as a level (2 bits), address space (17 bits, never 0).
 * Linear addresses count 57 bits, which tells apart all that are canonical.
 */
#define KEY_SPACE_BITS 17
#define KEY_SPACE_MASK ((1ull << KEY_SPACE_BITS) - 1)
#define KEY_LEVEL_SHIFT KEY_SPACE_BITS
#define KEY_PAGE_SHIFT (KEY_SPACE_BITS + 2)
#define KEY_ADDR_MASK ((1ull << 57) - 1)

struct assoc {
	uint32_t ways;	   /* 0: there is no such structure, every look-up misses */
	uint32_t stride;   /* ways rounded up to four */
	uint32_t set_mask; /* sets - 1 */
	uint32_t seen;	   /* by page size, a bit: clear if there are surely no entries of it */
	uint32_t *clock;   /* last stamp given, of all the CPU's arrays */
	uint32_t *stamp;
	uint64_t *key, *val;
	uint64_t *aux; /* a second word of payload; NULL unless asked for */
};

void assoc_init(struct assoc *a, struct geometry g, bool aux, uint32_t *clock);
void assoc_free(struct assoc *a);

static inline uint64_t assoc_page(uint64_t addr, unsigned level)
{
	return (addr & KEY_ADDR_MASK) >> LEVEL_SHIFT(level);
}

static inline uint64_t assoc_key(uint64_t page, unsigned level, unsigned space)
{
	return page << KEY_PAGE_SHIFT | (uint64_t)level << KEY_LEVEL_SHIFT | space;
}

static inline unsigned assoc_key_level(uint64_t key)
{
	return (unsigned)(key >> KEY_LEVEL_SHIFT) & 3;
}

/* First slot of the set that @page falls into. */
static inline uint32_t assoc_set(const struct assoc *a, uint64_t page)
{
	return ((uint32_t)page & a->set_mask) * a->stride;
}

/* Which of four keys equal @want: a mask of four bits. */
static inline unsigned assoc_match4(const uint64_t *key, __m128i want)
{
	__m128i lo = _mm_cmpeq_epi64(_mm_load_si128((const __m128i *)key), want);
	__m128i hi = _mm_cmpeq_epi64(_mm_load_si128((const __m128i *)(key + 2)), want);

	return (unsigned)_mm_movemask_ps(
		_mm_shuffle_ps(_mm_castsi128_ps(lo), _mm_castsi128_ps(hi), _MM_SHUFFLE(2, 0, 2, 0)));
}

/* assoc_find() and assoc_victim() for sets of other sizes than four ways. */
int32_t assoc_find_wide(const struct assoc *a, uint32_t set, uint64_t key);
uint32_t assoc_victim_wide(const struct assoc *a, uint32_t set);

/*
 * The slot of @key in the set that begins at slot @set, or -1. Recency is not touched. All ways are compared before the
 * first branch, which is then the only one that cannot be foreseen.
 */
static inline int32_t assoc_find(const struct assoc *a, uint32_t set, uint64_t key)
{
	if (__builtin_expect(a->stride != 4, 0))
		return assoc_find_wide(a, set, key);

	unsigned hit = assoc_match4(a->key + set, _mm_set1_epi64x((long long)key));

	return hit ? (int32_t)(set + (uint32_t)__builtin_ctz(hit)) : -1;
}

/* Replace stamps by ranks, from 1 to the number of ways. */
void assoc_renumber(struct assoc *a);

#define ASSOC_PADDING	UINT32_MAX
#define ASSOC_LAST_TICK (UINT32_MAX - 1)

static inline void assoc_touch(struct assoc *a, uint32_t slot)
{
	a->stamp[slot] = ++*a->clock;
}

static inline bool assoc_seen(const struct assoc *a, unsigned level)
{
	return a->seen >> level & 1;
}

/* The smallest of four, in all four places. */
static inline __m128i assoc_least4(__m128i v)
{
	v = _mm_min_epu32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(1, 0, 3, 2)));
	return _mm_min_epu32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(2, 3, 0, 1)));
}

static inline uint32_t assoc_victim4(const struct assoc *a, uint32_t set)
{
	__m128i stamp = _mm_load_si128((const __m128i *)(a->stamp + set));
	__m128i eq = _mm_cmpeq_epi32(stamp, assoc_least4(stamp));

	return set + (uint32_t)__builtin_ctz((unsigned)_mm_movemask_ps(_mm_castsi128_ps(eq)));
}

/* The way to be replaced: an empty one, else the least recently used: the smallest stamp. */
static inline uint32_t assoc_victim(const struct assoc *a, uint32_t set)
{
	return a->stride == 4 ? assoc_victim4(a, set) : assoc_victim_wide(a, set);
}

/* Put a key of @level that is not there; it becomes the most recent. @a must have ways. Returns its slot. */
static inline uint32_t assoc_insert(struct assoc *a, uint32_t set, unsigned level, uint64_t key, uint64_t val)
{
	uint32_t slot = assoc_victim(a, set);

	a->seen |= 1u << level;
	a->key[slot] = key;
	a->val[slot] = val;
	assoc_touch(a, slot);
	return slot;
}

static inline void assoc_drop(struct assoc *a, uint32_t slot)
{
	a->key[slot] = 0;
	a->stamp[slot] = 0;
}

/* Drop all entries for which @match(space, ctx) holds. */
void assoc_drop_spaces(struct assoc *a, bool (*match)(unsigned space, void *ctx), void *ctx);

#endif
