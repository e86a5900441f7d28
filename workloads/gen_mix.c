/* SPDX-License-Identifier: MIT */
/*
 * gen_mix.c - anything a process may do, at random
 *
 * Problem: property tests want address spaces in states that nobody thought of.
 *
 * Idea: the region is cut into 64 areas. Most items are accesses to mapped areas; the others map an area, unmap it,
 * take its write permission or give it back, fill a page, yield, fork a child, or wait for the children. An access
 * never hits what is not mapped or not allowed, so the process lives.
 *
 * Structures: state[0] bit a: area a is mapped; state[1] bit a: it may be written; state[2] children forked since the
 * last wait. Invariant (test_modes): the same seed gives the same stream in every machine and paging mode.
 */
#include "workloads/gen.h"
#include "workloads/pattern.h"

#define AREAS	 64u
#define CHILDREN 8u

static const struct workload_param mix_params[] = {
	{ "calls", "Share of the items that are system calls.", PARAM_PPM, 200000, 0, 900000 },
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint64_t area_pages(const struct phase *ph)
{
	return ph->npages < AREAS ? 1 : ph->npages / AREAS;
}

static uint64_t area_va(const struct phase *ph, unsigned area)
{
	return phase_va(ph) + area * area_pages(ph) * 4096;
}

/* The first set bit at or after a random one; @bits is not 0. */
static unsigned some_bit(uint64_t bits, struct rng *rng)
{
	unsigned from = (unsigned)rng_below(rng, 64);
	uint64_t turned = from ? (bits >> from) | (bits << (64 - from)) : bits;

	return (from + (unsigned)__builtin_ctzll(turned)) % 64;
}

static void access_some(const struct phase *ph, const uint64_t *g, struct rng *rng, struct op *out)
{
	unsigned area = some_bit(g[0], rng);
	uint64_t va = area_va(ph, area) + rng_below(rng, area_pages(ph) * 512) * 8;

	gen_call(out, OP_READ, va, (g[1] >> area) & 1 ? 0 : OP_READ_ONLY);
}

static void map_some(const struct phase *ph, uint64_t *g, uint64_t unmapped, struct rng *rng, struct op *out)
{
	unsigned area = some_bit(unmapped, rng);

	g[0] |= 1ull << area;
	g[1] |= 1ull << area;
	gen_call(out, OP_MMAP, area_va(ph, area), OP_MAP(area_pages(ph), PROT_R | PROT_W, 1));
}

static void call_some(const struct phase *ph, uint64_t *g, uint64_t unmapped, struct rng *rng, struct op *out)
{
	unsigned area = some_bit(g[0], rng);
	uint64_t va = area_va(ph, area), bit = 1ull << area;

	switch (rng_below(rng, 16)) {
	case 0 ... 4:
		if (unmapped) {
			map_some(ph, g, unmapped, rng, out);
			return;
		}
		break;
	case 5 ... 7:
		g[0] &= ~bit;
		g[1] &= ~bit;
		gen_call(out, OP_MUNMAP, va, OP_MAP(area_pages(ph), 0, 0));
		return;
	case 8 ... 10:
		g[1] ^= bit;
		gen_call(out, OP_MPROTECT, va, OP_MAP(area_pages(ph), PROT_R | (g[1] & bit ? PROT_W : 0), 1));
		return;
	case 11:
		if (g[1] & bit) {
			gen_call(out, OP_FILL, va, PATTERN_BASE(PATTERN_TEXT, 1 + rng_below(rng, 16)));
			return;
		}
		break;
	case 12:
		if (g[2] < CHILDREN) {
			g[2]++;
			gen_call(out, OP_FORK, 0, ph->fork_phase);
			return;
		}
		break;
	case 13:
		g[2] = 0;
		gen_call(out, OP_WAIT, 0, 0);
		return;
	default:
		break;
	}
	gen_call(out, OP_YIELD, 0, 0);
}

static uint32_t mix_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			 uint32_t max)
{
	uint64_t all = ph->npages >= AREAS ? ~0ull : (1ull << ph->npages) - 1;

	(void)table;
	for (uint32_t i = 0; i < max; i++) {
		uint64_t unmapped = all & ~g[0];

		if (!g[0])
			map_some(ph, g, unmapped, rng, &out[i]);
		else if (rng_below(rng, 1000000) < ph->param[0])
			call_some(ph, g, unmapped, rng, &out[i]);
		else
			access_some(ph, g, rng, &out[i]);
	}
	return max;
}

const struct workload_ops gen_mix = {
	.name = "mix",
	.summary =
		"Anything at random: accesses, maps, unmaps, protections, fills, forks, yields; for tests of machines.",
	.params = mix_params,
	.flags = WORKLOAD_MAPS | WORKLOAD_CALLS | WORKLOAD_FORKS,
	.next = mix_next,
};
