/* SPDX-License-Identifier: MIT */
/*
 * gen_process.c - fork storm and context-switch storm
 *
 * Problem: what processes cost. A fork copies page tables and write-protects a whole address space, and its
 * copy-on-write faults rewrite them page by page; a switch loads CR3. Both are dear where page tables are shadowed,
 * cheap where not.
 *
 * Idea: `fork` touches its region a few times (breaking the sharing with the last child), forks a child that runs the
 * phase's fork_phase and exits, and waits after every few. `switch` does a few accesses and yields.
 *
 * Structures: state[0] position within the iteration, state[1] forks since the last wait. Invariants (test_generators):
 * forked_child.
 */
#include "workloads/gen.h"

static const struct workload_param fork_params[] = {
	{ "touches", "Accesses of the parent before each fork, uniform over the region.", PARAM_COUNT, 16, 0,
	  UINT32_MAX },
	{ "wait-every", "Forks until the parent waits for its children.", PARAM_COUNT, 1, 1, 200 },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t fork_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			  uint32_t max)
{
	(void)table;
	for (uint32_t i = 0; i < max; i++) {
		if (g[0] < ph->param[0]) {
			g[0]++;
			gen_load(&out[i], gen_uniform_va(ph, rng));
		} else if (g[1] >= ph->param[1]) {
			g[0] = g[1] = 0;
			gen_call(&out[i], OP_WAIT, 0, 0);
		} else {
			g[0] = ++g[1] >= ph->param[1] ? g[0] : 0;
			gen_call(&out[i], OP_FORK, 0, ph->fork_phase);
		}
	}
	return max;
}

const struct workload_ops gen_fork = {
	.name = "fork",
	.summary = "A fork storm: touches its region, forks a child that runs another phase, waits now and then.",
	.params = fork_params,
	.flags = WORKLOAD_FORKS | WORKLOAD_CALLS,
	.next = fork_next,
};

static const struct workload_param switch_params[] = {
	{ "accesses", "Accesses between two yields, uniform over the region.", PARAM_COUNT, 20, 0, UINT32_MAX },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t switch_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			    uint32_t max)
{
	(void)table;
	for (uint32_t i = 0; i < max; i++) {
		if (g[0]++ < ph->param[0]) {
			gen_load(&out[i], gen_uniform_va(ph, rng));
		} else {
			g[0] = 0;
			gen_call(&out[i], OP_YIELD, 0, 0);
		}
	}
	return max;
}

const struct workload_ops gen_switch = {
	.name = "switch",
	.summary = "A context-switch storm: a few accesses, then another process's turn.",
	.params = switch_params,
	.flags = WORKLOAD_CALLS,
	.next = switch_next,
};
