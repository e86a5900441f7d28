/* SPDX-License-Identifier: MIT */
/*
 * gen_memory.c - mmap churn and page-content writer
 *
 * Problem: address spaces that never rest (allocators, compilers, web servers), and memory whose contents matter (what
 * merges, what compresses).
 *
 * Idea: `mmap` cuts its region into areas and, round and round, unmaps the oldest, maps it anew, touches each page,
 * makes it read-only and reads some of it again. `content` writes whole pages: in order, each with a fresh content
 * of the phase's family, one of a few common ones, or zeros.
 *
 * Structures: mmap: state[0] the iteration, state[1] the step within it. content: state[0] the next page, state[1]
 * fresh contents made. Invariants (test_generators): churn (an access only hits what is mapped and allowed),
 * duplicates.
 */
#include "workloads/gen.h"
#include "workloads/pattern.h"

static const struct workload_param mmap_params[] = {
	{ "area", "Size of an area.", PARAM_SIZE, 64 << 10, 4096, 1ull << 40 },
	{ "keep", "Areas mapped at a time; at most what the region holds.", PARAM_COUNT, 4, 1, UINT32_MAX },
	{ "rereads", "Loads from each area after it was made read-only.", PARAM_COUNT, 4, 0, UINT32_MAX },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

/* Step 0 unmap, 1 map, 2.. touch each page, then protect, then the rereads. */
static void mmap_step(const struct phase *ph, uint64_t *g, struct rng *rng, struct op *out)
{
	uint64_t npages = ph->param[0] / 4096 < ph->npages ? ph->param[0] / 4096 : ph->npages;
	uint64_t slots = ph->npages / npages, va, step = g[1]++;

	slots = slots < ph->param[1] ? slots : ph->param[1];
	va = phase_va(ph) + g[0] % slots * npages * 4096;
	if (step == 0 && g[0] < slots)
		step = g[1]++;
	if (step == 0)
		gen_call(out, OP_MUNMAP, va, OP_MAP(npages, 0, 0));
	else if (step == 1)
		gen_call(out, OP_MMAP, va, OP_MAP(npages, PROT_R | PROT_W, 1));
	else if (step < 2 + npages)
		gen_load(out, va + (step - 2) * 4096);
	else if (step == 2 + npages)
		gen_call(out, OP_MPROTECT, va, OP_MAP(npages, PROT_R, 1));
	else
		gen_call(out, OP_READ, va + rng_below(rng, npages * 512) * 8, OP_READ_ONLY);
	if (g[1] == 3 + npages + ph->param[2]) {
		g[0]++;
		g[1] = 0;
	}
}

static uint32_t mmap_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			  uint32_t max)
{
	(void)table;
	for (uint32_t i = 0; i < max; i++)
		mmap_step(ph, g, rng, &out[i]);
	return max;
}

const struct workload_ops gen_mmap = {
	.name = "mmap",
	.summary = "Mapping churn: maps a small area, touches, protects, reads and unmaps it, over and over.",
	.params = mmap_params,
	.flags = WORKLOAD_MAPS | WORKLOAD_CALLS,
	.next = mmap_next,
};

static const struct workload_param content_params[] = {
	{ "duplicates", "Share of the pages written with one of the common contents.", PARAM_PPM, 300000, 0, 1000000 },
	{ "distinct", "How many common contents there are, the same in every VM.", PARAM_COUNT, 100, 1, UINT32_MAX },
	{ "zeros", "Share of the pages written with zeros.", PARAM_PPM, 50000, 0, 1000000 },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t content_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng,
			     struct op *out, uint32_t max)
{
	unsigned family = PATTERN_FAMILY(ph->content);

	(void)table;
	for (uint32_t i = 0; i < max; i++) {
		uint64_t dice = rng_below(rng, 1000000), draw = rng_u64(rng), base = 0;

		/* Common contents have numbers below 2^32, fresh ones the bit above. */
		if (dice >= ph->param[2] && dice < ph->param[2] + ph->param[0])
			base = PATTERN_BASE(family, (draw >> 32) * ph->param[1] >> 32);
		else if (dice >= ph->param[2])
			base = PATTERN_BASE(family, draw | 1ull << 55);
		gen_call(&out[i], OP_FILL, phase_va(ph) + g[0] * 4096, base);
		if (++g[0] >= ph->npages)
			g[0] = 0;
	}
	return max;
}

const struct workload_ops gen_content = {
	.name = "content",
	.summary = "Writes whole pages in order: fresh contents of one family, common ones, or zeros.",
	.params = content_params,
	.flags = WORKLOAD_FILLS | WORKLOAD_CALLS,
	.next = content_next,
};
