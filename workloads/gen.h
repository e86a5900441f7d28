/* SPDX-License-Identifier: MIT */
/*
 * gen.h - what the generators share: emitting a load, scattering numbers over a region
 *
 * Included by the generators only (workloads/gen_*.c). Freestanding.
 */
#ifndef OVERBOOK_WORKLOADS_GEN_H
#define OVERBOOK_WORKLOADS_GEN_H

#include "workloads/workload.h"

extern const struct workload_ops gen_sequential, gen_strided, gen_uniform, gen_zipf, gen_hotcold, gen_moving, gen_chase,
	gen_fork, gen_switch, gen_mmap, gen_content, gen_mix;

static inline void gen_load(struct op *out, uint64_t va)
{
	out->va_kind = OP_MAKE(OP_READ, va);
	out->arg = 0;
}

static inline void gen_call(struct op *out, enum op_kind kind, uint64_t va, uint64_t arg)
{
	out->va_kind = OP_MAKE(kind, va);
	out->arg = arg;
}

/* A word anywhere in the region. */
static inline uint64_t gen_uniform_va(const struct phase *ph, struct rng *rng)
{
	return phase_va(ph) + rng_below(rng, ph->npages * 512) * 8;
}

/*
 * A bijection of [0, n) that looks random: two rounds of odd multiplication and xor-shift over the next power of two,
 * walked until it falls below n (each step of the walk is a bijection, so the walk is one of what remains; below
 * two steps on average). @key tells bijections apart; 0 is the identity.
 */
struct gen_scatter {
	uint64_t n, mask, key, shift;
};

static inline struct gen_scatter gen_scatter_make(uint64_t n, uint64_t number)
{
	unsigned bits = 1;

	while (bits < 63 && (1ull << bits) < n)
		bits++;
	return (struct gen_scatter){ n, (1ull << bits) - 1, number ? rng_mix(number) : 0, (bits + 1) / 2 };
}

static inline uint64_t gen_scatter(const struct gen_scatter *s, uint64_t x)
{
	if (!s->key)
		return x;
	do {
		x = ((x ^ s->key) * 0x9e3779b97f4a7c15ull) & s->mask;
		x ^= x >> s->shift;
		x = (x * (s->key | 1)) & s->mask;
		x ^= x >> s->shift;
	} while (x >= s->n);
	return x;
}

#define GEN_SCATTER_PARAM                                                                                              \
	{                                                                                                              \
		"scatter",                                                                                             \
			"Which of many orders the popular pages are scattered over the region in; 0: the first ones "  \
			"are the popular ones.",                                                                       \
			PARAM_COUNT, 1, 0, UINT32_MAX                                                                  \
	}

#endif
