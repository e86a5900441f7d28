/* SPDX-License-Identifier: MIT */
/*
 * gen_scan.c - sequential and strided: walks through the region, over and over
 *
 * Problem: the accesses of a program that reads its memory in order, or one column of a matrix: what prefetchers,
 * same-page filters and huge pages love, and what least-recently-used replacement hates once it exceeds memory.
 *
 * Idea: one offset. `sequential` adds `step` and starts again at the region's end. `strided` adds `stride`; each new
 * pass begins `shift` bytes further, as a loop over columns does, until a stride is covered.
 *
 * Structures: state[0] the next offset, state[1] where the pass began. Invariants (test_generators): covers every page
 * (covers).
 */
#include "workloads/gen.h"

static const struct workload_param sequential_params[] = {
	{ "step", "Distance from one access to the next.", PARAM_SIZE, 64, 8, 1u << 30 },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t sequential_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng,
				struct op *out, uint32_t max)
{
	uint64_t va = phase_va(ph), end = ph->npages * 4096, step = ph->param[0], at = g[0];

	(void)table;
	(void)rng;
	for (uint32_t i = 0; i < max; i++) {
		gen_load(&out[i], va + at);
		at += step;
		if (at >= end)
			at = 0;
	}
	g[0] = at;
	return max;
}

const struct workload_ops gen_sequential = {
	.name = "sequential",
	.summary = "Walks through the region from its first byte to its last, over and over.",
	.params = sequential_params,
	.next = sequential_next,
};

static const struct workload_param strided_params[] = {
	{ "stride", "Distance from one access to the next.", PARAM_SIZE, 4096 + 64, 8, 1ull << 40 },
	{ "shift", "How much further each new pass begins, until a stride is covered.", PARAM_SIZE, 64, 0, 1ull << 40 },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t strided_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng,
			     struct op *out, uint32_t max)
{
	uint64_t va = phase_va(ph), end = ph->npages * 4096, stride = ph->param[0], at = g[0];
	uint64_t limit = stride < end ? stride : end;

	(void)table;
	(void)rng;
	for (uint32_t i = 0; i < max; i++) {
		gen_load(&out[i], va + at);
		at += stride;
		if (at >= end) {
			g[1] += ph->param[1];
			if (g[1] >= limit)
				g[1] = 0;
			at = g[1];
		}
	}
	g[0] = at;
	return max;
}

const struct workload_ops gen_strided = {
	.name = "strided",
	.summary = "Walks through the region in steps of a stride, each pass a little shifted: a matrix by columns.",
	.params = strided_params,
	.next = strided_next,
};
