/* SPDX-License-Identifier: MIT */
/*
 * assoc.h - a set-associative array with exact LRU: what TLBs, page-walk caches and the nested TLB are made of
 *
 * Problem. Every simulated access looks one of these up, so a look-up must cost a nanosecond or two; yet replacement
 * must be exact, or two runs of one stream by different code would part ways.
 *
 * Idea. A set is a row of 64-bit keys, compared four at a time by SSE4.1, then as many values, stamps and second words:
 * one address leads to all of them, and a set of four fills two of the host's cache lines. A key is the whole tag, page
 * number, page size and address space, so one compare decides. Recency is a 32-bit stamp: a hit stores one word,
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
	uint32_t row_bytes;
	uint32_t *clock;   /* last stamp given, of all the CPU's arrays */
	uint8_t *rows;
};

/* One way of a set. */
struct slot {
	uint8_t *row; /* NULL: none */
	uint32_t way, stride;
};

#define ASSOC_ROW_BYTES(stride, aux) (((stride) * (20 + 8 * (aux)) + 63) & ~63u)
#define ASSOC_ROW4		7 /* log2 of those of a set of four */
_Static_assert(ASSOC_ROW_BYTES(4, 0) == 1 << ASSOC_ROW4 && ASSOC_ROW_BYTES(4, 1) == 1 << ASSOC_ROW4, "two lines");

static inline uint64_t *slot_key(struct slot s)
{
	return (uint64_t *)s.row + s.way;
}

static inline uint64_t *slot_val(struct slot s)
{
	return (uint64_t *)s.row + s.stride + s.way;
}

static inline uint32_t *slot_stamp(struct slot s)
{
	return (uint32_t *)s.row + 4 * s.stride + s.way;
}

/* A second word of payload: only of arrays that were made with them. */
static inline uint64_t *slot_aux(struct slot s)
{
	return (uint64_t *)((uint32_t *)s.row + 5 * s.stride) + s.way;
}

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

/* The set that @page falls into. */
static inline uint8_t *assoc_row(const struct assoc *a, uint64_t page)
{
	return a->rows + (size_t)((uint32_t)page & a->set_mask) * a->row_bytes;
}

/* The same of sets of four. */
static inline uint8_t *assoc_row4(const struct assoc *a, uint64_t page)
{
	return a->rows + ((uint64_t)((uint32_t)page & a->set_mask) << ASSOC_ROW4);
}

/* Which of four keys equal @want, a word of 32 bits for each. */
static inline __m128i assoc_match4(const uint64_t *key, __m128i want)
{
	__m128i lo = _mm_cmpeq_epi64(_mm_load_si128((const __m128i *)key), want);
	__m128i hi = _mm_cmpeq_epi64(_mm_load_si128((const __m128i *)(key + 2)), want);

	return _mm_castps_si128(
		_mm_shuffle_ps(_mm_castsi128_ps(lo), _mm_castsi128_ps(hi), _MM_SHUFFLE(2, 0, 2, 0)));
}

/* A mask of so many bits. */
static inline unsigned assoc_mask4(__m128i words)
{
	return (unsigned)_mm_movemask_ps(_mm_castsi128_ps(words));
}

/* The same of twelve; more bits follow. */
static inline unsigned assoc_mask12(__m128i a, __m128i b, __m128i c)
{
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, c)));
}

/* The way of a row, for sets of any size. -1: none. */
int32_t assoc_find_wide(const uint8_t *row, uint32_t stride, uint64_t key);
uint32_t assoc_victim_wide(const uint8_t *row, uint32_t stride);

/*
 * Where @key is in the set at @row, if anywhere. Recency is not touched. All ways are compared before the first branch,
 * which is then the only one that cannot be foreseen.
 */
static inline __attribute__((always_inline)) struct slot row_find(uint8_t *row, uint32_t stride, uint64_t key)
{
	const uint64_t *keys = (const uint64_t *)row;
	__m128i want = _mm_set1_epi64x((long long)key);

	if (stride == 4) {
		unsigned hit = assoc_mask4(assoc_match4(keys, want));

		return (struct slot){ hit ? row : NULL, (uint32_t)__builtin_ctz(hit | 1u << 4), 4 };
	}
	if (stride == 12) {
		unsigned hit = assoc_mask12(assoc_match4(keys, want), assoc_match4(keys + 4, want),
					    assoc_match4(keys + 8, want));

		return (struct slot){ hit ? row : NULL, (uint32_t)__builtin_ctz(hit | 1u << 12), 12 };
	}
	int32_t way = assoc_find_wide(row, stride, key);

	return (struct slot){ way < 0 ? NULL : row, (uint32_t)way, stride };
}

static inline struct slot assoc_find(const struct assoc *a, uint64_t page, uint64_t key)
{
	return row_find(assoc_row(a, page), a->stride, key);
}

/* Replace stamps by ranks, from 1 to the number of ways. */
void assoc_renumber(struct assoc *a);

#define ASSOC_PADDING	UINT32_MAX
#define ASSOC_LAST_TICK (UINT32_MAX - 1)

static inline void assoc_touch(struct assoc *a, struct slot s)
{
	*slot_stamp(s) = ++*a->clock;
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

/* The way to be replaced: an empty one, else the least recently used: the smallest stamp. */
static inline __attribute__((always_inline)) struct slot row_victim(uint8_t *row, uint32_t stride)
{
	const __m128i *stamp = (const __m128i *)((uint32_t *)row + 4 * stride);

	if (stride == 4) {
		__m128i min = assoc_least4(stamp[0]);

		return (struct slot){ row, (uint32_t)__builtin_ctz(assoc_mask4(_mm_cmpeq_epi32(stamp[0], min))), 4 };
	}
	if (stride == 12) {
		__m128i min = assoc_least4(_mm_min_epu32(_mm_min_epu32(stamp[0], stamp[1]), stamp[2]));
		unsigned mask = assoc_mask12(_mm_cmpeq_epi32(stamp[0], min), _mm_cmpeq_epi32(stamp[1], min),
					     _mm_cmpeq_epi32(stamp[2], min));

		return (struct slot){ row, (uint32_t)__builtin_ctz(mask), 12 };
	}
	return (struct slot){ row, assoc_victim_wide(row, stride), stride };
}

/* Put a key of @level that is not in @row, its set; it becomes the most recent. */
static inline struct slot row_insert(struct assoc *a, uint8_t *row, uint32_t stride, unsigned level, uint64_t key,
				     uint64_t val)
{
	struct slot s = row_victim(row, stride);

	a->seen |= 1u << level;
	*slot_key(s) = key;
	*slot_val(s) = val;
	assoc_touch(a, s);
	return s;
}

/* The same; @a must have ways. */
static inline struct slot assoc_insert(struct assoc *a, uint64_t page, unsigned level, uint64_t key, uint64_t val)
{
	return row_insert(a, assoc_row(a, page), a->stride, level, key, val);
}

static inline void slot_drop(struct slot s)
{
	*slot_key(s) = 0;
	*slot_stamp(s) = 0;
}

/* Drop all entries for which @match(space, ctx) holds. */
void assoc_drop_spaces(struct assoc *a, bool (*match)(unsigned space, void *ctx), void *ctx);

#endif
