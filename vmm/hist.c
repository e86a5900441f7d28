/* SPDX-License-Identifier: MIT */
/*
 * hist.c - log-linear histogram
 *
 * Values below 2 * HIST_SUB have a bucket each; above, every power of two is cut into HIST_SUB equal parts, so a bucket
 * is never wider than 1/HIST_SUB of its values. percentile() answers with the bucket's lower edge.
 */
#include "vmm/hist.h"

#define SUB_BITS 5
_Static_assert(HIST_SUB == 1 << SUB_BITS, "HIST_SUB is a power of two");

static unsigned bucket_of(uint64_t v)
{
	if (v < HIST_SUB)
		return (unsigned)v;

	unsigned msb = 63 - (unsigned)__builtin_clzll(v);
	unsigned b = (msb - SUB_BITS + 1) * HIST_SUB + (unsigned)((v >> (msb - SUB_BITS)) & (HIST_SUB - 1));

	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

static uint64_t bucket_value(unsigned b)
{
	unsigned group = b / HIST_SUB, part = b % HIST_SUB;

	return group ? (uint64_t)(HIST_SUB + part) << (group - 1) : part;
}

void hist_add(struct hist *h, uint64_t value, uint64_t times)
{
	h->n += times;
	h->sum += value * times;
	h->bucket[bucket_of(value)] += times;
}

uint64_t hist_percentile(const struct hist *h, uint32_t ppm)
{
	unsigned __int128 need = (unsigned __int128)h->n * ppm;
	unsigned __int128 seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += (unsigned __int128)h->bucket[i] * 1000000;
		if (h->bucket[i] && seen >= need)
			return bucket_value(i);
	}
	return 0;
}
