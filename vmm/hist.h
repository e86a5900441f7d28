/* SPDX-License-Identifier: MIT */
/*
 * hist.h - a histogram of latencies: log-linear, exact to 1 part in 32
 *
 * Buckets double every 32 (as HdrHistogram with two significant binary digits more), values are nanoseconds up to 2^40.
 * Integer only, so that percentiles are the same on every host.
 */
#ifndef OVERBOOK_VMM_HIST_H
#define OVERBOOK_VMM_HIST_H

#include <stdint.h>

#define HIST_SUB     32
#define HIST_BUCKETS (HIST_SUB * 37)

struct hist {
	uint64_t n, sum;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value, uint64_t times);
/* The smallest value v such that at least @ppm parts per million of the entries are <= v; 0 if empty. */
uint64_t hist_percentile(const struct hist *h, uint32_t ppm);

#endif
