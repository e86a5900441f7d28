/* SPDX-License-Identifier: MIT */
/*
 * gen_random.c - uniform, hot/cold and moving working set: independent draws
 *
 * Problem: accesses without order. Uniform is the worst case of every cache; hot/cold the simplest skew; a moving
 * window is a program whose working set drifts, which separates policies that forget from those that do not.
 *
 * Idea: one or two random words an access, no division: the high half of a product (rng_below).
 *
 * Structures: hotcold keeps its scatter in state[0..3]; moving keeps in state[0] the window's first page, in state[1]
 * the accesses since it moved. Invariants (test_generators): uniform_distribution, hotcold_shares,
 * moving_window.
 */
#include "workloads/gen.h"

static uint32_t uniform_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng,
			     struct op *out, uint32_t max)
{
	(void)table;
	(void)g;
	for (uint32_t i = 0; i < max; i++)
		gen_load(&out[i], gen_uniform_va(ph, rng));
	return max;
}

const struct workload_ops gen_uniform = {
	.name = "uniform",
	.summary = "Every word of the region with the same probability.",
	.next = uniform_next,
};

static const struct workload_param hotcold_params[] = {
	{ "hot-pages", "Share of the region's pages that are hot.", PARAM_PPM, 100000, 0, 1000000 },
	{ "hot-accesses", "Share of the accesses that go to hot pages.", PARAM_PPM, 900000, 0, 1000000 },
	GEN_SCATTER_PARAM,
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t hotcold_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng,
			     struct op *out, uint32_t max)
{
	struct gen_scatter scatter = gen_scatter_make(ph->npages, ph->param[2]);
	uint64_t hot = ph->npages * ph->param[0] / 1000000, threshold = (ph->param[1] << 32) / 1000000;

	(void)table;
	(void)g;
	hot = hot ? hot : 1;
	for (uint32_t i = 0; i < max; i++) {
		uint64_t r = rng_u64(rng), page;

		if ((r >> 32) < threshold || hot == ph->npages)
			page = rng_below(rng, hot);
		else
			page = hot + rng_below(rng, ph->npages - hot);
		gen_load(&out[i], phase_va(ph) + gen_scatter(&scatter, page) * 4096 + (r & 511) * 8);
	}
	return max;
}

const struct workload_ops gen_hotcold = {
	.name = "hotcold",
	.summary = "A share of the pages gets a share of the accesses; uniform within each.",
	.params = hotcold_params,
	.next = hotcold_next,
};

static const struct workload_param moving_params[] = {
	{ "window", "Size of the working set.", PARAM_SIZE, 16ull << 20, 4096, 1ull << 44 },
	{ "drift-every", "Accesses until the window moves on by a page; 0: it stands still.", PARAM_COUNT, 1000, 0,
	  UINT64_MAX },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint32_t moving_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			    uint32_t max)
{
	uint64_t window = ph->param[0] / 4096;

	(void)table;
	window = window < ph->npages ? window : ph->npages;
	for (uint32_t i = 0; i < max; i++) {
		uint64_t word = g[0] * 512 + rng_below(rng, window * 512);

		if (word >= ph->npages * 512)
			word -= ph->npages * 512;
		gen_load(&out[i], phase_va(ph) + word * 8);
		if (ph->param[1] && ++g[1] >= ph->param[1]) {
			g[1] = 0;
			if (++g[0] >= ph->npages)
				g[0] = 0;
		}
	}
	return max;
}

const struct workload_ops gen_moving = {
	.name = "moving",
	.summary = "Uniform within a window of pages that moves through the region: a drifting working set.",
	.params = moving_params,
	.next = moving_next,
};
