/* SPDX-License-Identifier: MIT */
/*
 * counters.h - everything that is counted, by name
 *
 * counters.def has one line per counter: COUNTER(name, unit, "sentence"). From it come this struct, the columns
 * of samples.csv, the keys of summary.json, `overbook list counters` and the reference in docs/. Each VM has one
 * struct and the host another; all counters are cumulative and 64 bit; gauges carry unit `pages`, `frames`,
 * `guests`, or `size` (bytes).
 */
#ifndef OVERBOOK_MM_COUNTERS_H
#define OVERBOOK_MM_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct counters {
#define COUNTER(name, unit, sentence) uint64_t name;
#include "mm/counters.def"
#undef COUNTER
};

struct counter_info {
	const char *name;
	const char *unit; /* count, cycles, ns, pages, frames, bytes, size, guests */
	const char *sentence;
	size_t offset; /* into struct counters */
};

/* In the order of counters.def, ended by a NULL name. */
extern const struct counter_info counter_table[];

static inline uint64_t counter_get(const struct counters *c, const struct counter_info *info)
{
	return *(const uint64_t *)((const char *)c + info->offset);
}

/* Is it what there is now, not what has happened so far? */
bool counter_is_gauge(const struct counter_info *info);

/* sum += add, counter by counter. */
void counters_add(struct counters *sum, const struct counters *add);

#endif
