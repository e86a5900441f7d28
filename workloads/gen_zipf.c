/* SPDX-License-Identifier: MIT */
/*
 * gen_zipf.c - zipf: rank k of n pages with probability proportional to k^-theta
 *
 * Problem: the skew of real caches and databases, over millions of pages, at a few nanoseconds a draw, integer only,
 *the same on every host, with at most a few kilobytes of table in the guest.
 *
 * Idea: ranks are cut into buckets as in a log-linear histogram: the first 64 alone, then 32 a power of two, so that
 *the density changes by less than 1/32 within one. A bucket is drawn by Walker's alias method (one multiplication, two
 *look-ups). Within a bucket of width w around rank m the density falls almost linearly, by theta * w / m: a mixture of
 *a uniform draw and, with probability theta * w / 2m, the smaller of two uniform draws has exactly that slope. What
 *remains is the curvature, below 1 part in 1,000 of a page's probability. A bijection scatters ranks over pages
 *(gen.h).
 *
 * The mass of a bucket is an integral of k^-theta by Gauss' two-point rule; the power is exp2(-theta * log2(k)) in
 *fixed point, the logarithm by repeated squaring (40 bits), the exponential by its series.
 *
 * Structures: one table word a bucket:
 *
 *	63        24 23      12 11      0
 *	[ threshold ][  chance ][ alias ]	keep the bucket if a 40-bit draw is below threshold, else take alias;
 *						chance in 1/65536: take the smaller of two draws within it
 *
 * Invariants (test_generators): chi-square of draws against the naive definition, head and tail, for several theta and
 * sizes (zipf_distribution); scattering changes only the order (zipf_scatter).
 * Sources: Walker, "An efficient method for generating discrete random variables", 1977; Vose, 1991 (table
 *construction).
 */
#include "workloads/gen.h"

#define ZIPF_SINGLE  64u
#define ZIPF_SUB     32u
#define ZIPF_BUCKETS 1024u
#define ONE_Q62	     (1ull << 62)
#define LN2_Q62	     0x2c5c85fdf473de6bull
#define INV_2SQRT3   18919u /* 1 / (2 sqrt 3), Q16 */

static const struct workload_param zipf_params[] = {
	{ "theta", "Exponent: rank k is accessed in proportion to 1/k^theta; 0.99 as YCSB.", PARAM_MILLI, 990, 0,
	  4000 },
	GEN_SCATTER_PARAM,
	{ NULL, NULL, PARAM_COUNT, 0, 0, 0 },
};

static uint64_t mul_shift(uint64_t a, uint64_t b, unsigned shift)
{
	return (uint64_t)(((unsigned __int128)a * b) >> shift);
}

/* log2 of @k (Q16, at least 1) in Q40. */
static uint64_t log2_q40(uint64_t k)
{
	unsigned e = 63 - (unsigned)__builtin_clzll(k);
	uint64_t m = k << (63 - e), out = (uint64_t)(e - 16);

	for (int i = 0; i < 40; i++) {
		unsigned __int128 square = (unsigned __int128)m * m;
		unsigned bit = (unsigned)(square >> 127);

		m = (uint64_t)(square >> (63 + bit));
		out = out << 1 | bit;
	}
	return out;
}

/* 2^-y in Q62, y in Q40. */
static uint64_t exp2_neg_q62(uint64_t y)
{
	uint64_t t = mul_shift((y & ((1ull << 40) - 1)) << 22, LN2_Q62, 62), r = ONE_Q62;

	if (y >> 40 > 62)
		return 0;
	for (unsigned n = 20; n > 0; n--)
		r = ONE_Q62 - mul_shift(t, r, 62) / n;
	return r >> (y >> 40);
}

/* k^-theta in Q62, k in Q16. */
static uint64_t power_q62(uint64_t k, uint64_t theta_milli)
{
	return exp2_neg_q62(log2_q40(k) * theta_milli / 1000);
}

static inline uint64_t bucket_start(uint64_t b)
{
	return b < ZIPF_SINGLE ? b : (ZIPF_SUB + b % ZIPF_SUB) << (b / ZIPF_SUB - 1);
}

static inline uint64_t bucket_width(uint64_t b, uint64_t n)
{
	uint64_t width = b < ZIPF_SINGLE ? 1 : 1ull << (b / ZIPF_SUB - 1), left = n - bucket_start(b);

	return width < left ? width : left;
}

/* Sum of k^-theta over the bucket's ranks (rank 0 is k = 1), Q36: exact enough to total below 2^62 for 2^26 pages. */
static uint64_t bucket_mass(uint64_t b, uint64_t n, uint64_t theta)
{
	uint64_t start = bucket_start(b), width = bucket_width(b, n), mid = (start << 16) + (width << 15) + (1u << 15);
	uint64_t node = width * INV_2SQRT3;

	if (width == 1)
		return power_q62((start + 1) << 16, theta) >> 26;
	return mul_shift(width, power_q62(mid - node, theta) / 2 + power_q62(mid + node, theta) / 2, 26);
}

/* (p << 40) / total for p < total < 2^62, bit by bit: no 128-bit division in a freestanding guest. */
static uint64_t fraction_q40(uint64_t p, uint64_t total)
{
	uint64_t q = 0;

	for (int i = 0; i < 40; i++) {
		p <<= 1;
		q <<= 1;
		if (p >= total) {
			p -= total;
			q |= 1;
		}
	}
	return q;
}

static uint64_t bucket_chance(uint64_t b, uint64_t n, uint64_t theta)
{
	uint64_t start = bucket_start(b), width = bucket_width(b, n);

	if (width == 1)
		return 0;
	return theta * width * 65536 / (1000 * (2 * start + width + 1));
}

/* Vose's construction: pair a bucket that has less than the average with one that has more, until none is left. */
static void build_alias(uint64_t *table, uint64_t *scaled, uint32_t nb, uint64_t total)
{
	uint16_t small[ZIPF_BUCKETS], large[ZIPF_BUCKETS];
	uint32_t nsmall = 0, nlarge = 0;

	for (uint32_t b = 0; b < nb; b++) {
		if (scaled[b] < total)
			small[nsmall++] = (uint16_t)b;
		else
			large[nlarge++] = (uint16_t)b;
	}
	while (nsmall && nlarge) {
		uint32_t s = small[--nsmall], l = large[nlarge - 1];

		table[s] |= fraction_q40(scaled[s], total) << 24 | l;
		scaled[l] -= total - scaled[s];
		if (scaled[l] < total) {
			nlarge--;
			small[nsmall++] = (uint16_t)l;
		}
	}
	while (nlarge) {
		nlarge--;
		table[large[nlarge]] |= ((1ull << 40) - 1) << 24 | large[nlarge];
	}
	while (nsmall) {
		nsmall--;
		table[small[nsmall]] |= ((1ull << 40) - 1) << 24 | small[nsmall];
	}
}

static void zipf_prepare(const struct phase *ph, uint64_t *table, uint32_t *nwords)
{
	uint64_t scaled[ZIPF_BUCKETS], total = 0;
	uint32_t nb = 0, room = *nwords, shift = 0;

	while (nb < ZIPF_BUCKETS && bucket_start(nb) < ph->npages)
		nb++;
	*nwords = nb;
	if (nb > room)
		return;
	for (uint32_t b = 0; b < nb; b++)
		total += scaled[b] = bucket_mass(b, ph->npages, ph->param[0]);
	while (total >> shift >= 1ull << 50)
		shift++;
	/* Now masses times nb fit 62 bits, and their average is the (shifted) total. */
	total = 0;
	for (uint32_t b = 0; b < nb; b++)
		total += scaled[b] >>= shift;
	for (uint32_t b = 0; b < nb; b++) {
		scaled[b] *= nb;
		table[b] = bucket_chance(b, ph->npages, ph->param[0]) << 12;
	}
	build_alias(table, scaled, nb, total);
}

static uint32_t zipf_next(const struct phase *ph, const uint64_t *table, uint64_t *g, struct rng *rng, struct op *out,
			  uint32_t max)
{
	struct gen_scatter scatter = gen_scatter_make(ph->npages, ph->param[1]);
	uint64_t nb = ph->table_words, va = phase_va(ph);

	(void)g;
	for (uint32_t i = 0; i < max; i++) {
		unsigned __int128 draw = (unsigned __int128)rng_u64(rng) * nb;
		uint64_t b = (uint64_t)(draw >> 64), entry = table[b], r = rng_u64(rng), width, rank;

		b = ((uint64_t)draw >> 24) < (entry >> 24) ? b : entry & 0xfff;
		width = bucket_width(b, ph->npages);
		rank = mul_shift(r, width, 64);
		if (__builtin_expect(((r >> 9) & 0xffff) < ((table[b] >> 12) & 0xfff), 0)) {
			uint64_t other = rng_below(rng, width);

			rank = other < rank ? other : rank;
		}
		gen_load(&out[i], va + gen_scatter(&scatter, bucket_start(b) + rank) * 4096 + (r & 511) * 8);
	}
	return max;
}

const struct workload_ops gen_zipf = {
	.name = "zipf",
	.summary = "Few pages get most of the accesses: the k-th most popular in proportion to 1/k^theta.",
	.params = zipf_params,
	.prepare = zipf_prepare,
	.next = zipf_next,
};
