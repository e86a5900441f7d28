/* SPDX-License-Identifier: MIT */
/*
 * rng.h - the one random-number generator of guest, workloads and simulator
 *
 * xoshiro256** (Blackman, Vigna: Scrambled linear pseudorandom number generators, 2018), seeded through
 * splitmix64. Passed in everywhere; there is no global one. Integer only and freestanding, so a stream is the
 * same in the guest, in the simulator and on every host.
 */
#ifndef OVERBOOK_WORKLOADS_RNG_H
#define OVERBOOK_WORKLOADS_RNG_H

#include <stdint.h>

struct rng {
	uint64_t s[4];
};

/* A bijection of 64-bit words that looks random; also the project's way to mix ids into seeds. */
static inline uint64_t rng_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline void rng_seed(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = seed = rng_mix(seed);
}

static inline uint64_t rng_u64(struct rng *r)
{
	uint64_t *s = r->s, x = s[1] * 5, t = s[1] << 17;
	uint64_t out = ((x << 7) | (x >> 57)) * 9;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = (s[3] << 45) | (s[3] >> 19);
	return out;
}

/* Uniform in [0, n), n > 0: the high half of a 128-bit product (Lemire); its bias is below 2^-64 * n. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rng_u64(r) * n) >> 64);
}

#endif
