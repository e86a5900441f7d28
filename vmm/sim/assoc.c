/* SPDX-License-Identifier: MIT */
/* assoc.c - making, freeing and sweeping the arrays of assoc.h, and its look-ups in wide sets */
#include "vmm/sim/assoc.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

void assoc_init(struct assoc *a, struct geometry g, bool aux, uint32_t *clock)
{
	*a = (struct assoc){ .ways = g.entries ? g.ways : 0, .clock = clock };
	if (!a->ways)
		return;
	a->stride = (g.ways + 3) & ~3u;
	a->set_mask = g.entries / g.ways - 1;
	a->row_bytes = ASSOC_ROW_BYTES(a->stride, aux);

	size_t nbytes = (size_t)a->row_bytes * (a->set_mask + 1);

	a->rows = aligned_alloc(64, nbytes);
	if (!a->rows)
		g_error("out of memory");
	memset(a->rows, 0, nbytes);
	for (uint64_t set = 0; set <= a->set_mask; set++)
		for (uint32_t w = a->ways; w < a->stride; w++)
			*slot_stamp((struct slot){ assoc_row(a, set), w, a->stride }) = ASSOC_PADDING;
}

/* At most 64 ways at a time: a bit of @hit for each. Inlined with the usual numbers of ways, loops vanish. */
static inline __attribute__((always_inline)) int32_t find_in(const uint64_t *key, uint32_t ways, uint64_t wanted)
{
	__m128i want = _mm_set1_epi64x((long long)wanted);

	for (uint32_t first = 0; first < ways; first += 64) {
		uint64_t hit = 0;
		uint32_t n = ways - first > 64 ? 64 : ways - first;

#pragma GCC unroll 4
		for (uint32_t w = 0; w < n; w += 4)
			hit |= (uint64_t)assoc_mask4(assoc_match4(key + first + w, want)) << w;
		if (hit)
			return (int32_t)(first + (uint32_t)__builtin_ctzll(hit));
	}
	return -1;
}

int32_t assoc_find_wide(const uint8_t *row, uint32_t stride, uint64_t key)
{
	const uint64_t *keys = (const uint64_t *)row;

	return stride == 8  ? find_in(keys, 8, key) :
	       stride == 16 ? find_in(keys, 16, key) :
			      find_in(keys, stride, key);
}

static inline __attribute__((always_inline)) uint32_t victim_in(const uint32_t *stamps, uint32_t ways)
{
	const __m128i *stamp = (const __m128i *)stamps;
	__m128i min = _mm_load_si128(stamp);

#pragma GCC unroll 4
	for (uint32_t w = 4; w < ways; w += 4)
		min = _mm_min_epu32(min, _mm_load_si128(stamp + w / 4));
	min = assoc_least4(min);
	for (uint32_t first = 0;; first += 64) {
		uint64_t hit = 0;
		uint32_t n = ways - first > 64 ? 64 : ways - first;

#pragma GCC unroll 4
		for (uint32_t w = 0; w < n; w += 4) {
			__m128i eq = _mm_cmpeq_epi32(_mm_load_si128(stamp + (first + w) / 4), min);

			hit |= (uint64_t)assoc_mask4(eq) << w;
		}
		if (hit)
			return first + (uint32_t)__builtin_ctzll(hit);
	}
}

uint32_t assoc_victim_wide(const uint8_t *row, uint32_t stride)
{
	const uint32_t *stamp = (const uint32_t *)row + 4 * stride;

	return stride == 8  ? victim_in(stamp, 8) :
	       stride == 16 ? victim_in(stamp, 16) :
			      victim_in(stamp, stride);
}

void assoc_renumber(struct assoc *a)
{
	uint32_t *rank = g_new(uint32_t, a->ways);

	for (uint64_t set = 0; a->ways && set <= a->set_mask; set++) {
		uint32_t *stamp = slot_stamp((struct slot){ assoc_row(a, set), 0, a->stride });

		for (uint32_t w = 0; w < a->ways; w++) {
			rank[w] = 0;
			for (uint32_t v = 0; v < a->ways; v++)
				rank[w] += stamp[w] && stamp[v] && stamp[v] <= stamp[w];
		}
		memcpy(stamp, rank, a->ways * sizeof(*stamp));
	}
	g_free(rank);
}

void assoc_free(struct assoc *a)
{
	free(a->rows);
	*a = (struct assoc){ 0 };
}

void assoc_drop_spaces(struct assoc *a, bool (*match)(unsigned space, void *ctx), void *ctx)
{
	/* Neighbours mostly belong to one space: ask once. */
	unsigned last = 0;
	bool doomed = false;

	if (!a->seen)
		return;
	a->seen = 0;
	for (uint64_t set = 0; set <= a->set_mask; set++) {
		struct slot s = { assoc_row(a, set), 0, a->stride };

		for (; s.way < a->ways; s.way++) {
			unsigned space = (unsigned)(*slot_key(s) & KEY_SPACE_MASK);

			if (!space)
				continue;
			if (space != last)
				doomed = match(space, ctx);
			last = space;
			if (doomed)
				slot_drop(s);
			else
				a->seen |= 1u << assoc_key_level(*slot_key(s));
		}
	}
}
