/* SPDX-License-Identifier: MIT */
/*
 * gen_chase.c - pointer chase: one long cycle through every node of the region
 *
 * Problem: a linked list whose every node is visited once before any is visited again: no locality for a TLB to
 * exploit, no order for a prefetcher, and a reuse distance equal to the region.
 *
 * Idea: nodes of `grain` bytes, numbered 0 to n - 1. A congruential sequence x -> 5x + c modulo the next power of two,
 * c odd, is one cycle through all residues (Hull and Dobell, 1962); leaving out those not below n leaves one cycle
 * through n numbers. Its low bits are regular, so a scatter bijection makes positions of numbers.
 *
 * Structures: state[0] is x. Invariants (test_generators): visits each node exactly once in n accesses
 * (chase_is_one_cycle).
 */
#include "workloads/gen.h"

static const struct workload_param chase_params[] = {
	{ "grain", "Size of a node: 4K visits each page once a round, 64 each cache line.", PARAM_SIZE, 4096, 8,
	  1ull << 30 },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t chase_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			   uint32_t max)
{
	uint64_t n = ph->npages * 4096 / ph->param[0], x = g[0];
	struct gen_scatter scatter = gen_scatter_make(n ? n : 1, 1);

	(void)table;
	(void)rng;
	for (uint32_t i = 0; i < max; i++) {
		gen_load(&out[i], phase_va(ph) + gen_scatter(&scatter, x) * ph->param[0]);
		do
			x = (x * 5 + 0x3c6ef372fe94f82bull) & scatter.mask;
		while (x >= scatter.n);
	}
	g[0] = x;
	return max;
}

const struct workload_ops gen_chase = {
	.name = "chase",
	.summary = "Follows a linked list that visits every node of the region once before it repeats.",
	.params = chase_params,
	.next = chase_next,
};
