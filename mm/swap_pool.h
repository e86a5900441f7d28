/* SPDX-License-Identifier: MIT */
/*
 * swap_pool.h - the resident pages of a host, and which of them goes next
 *
 * One pool holds every frame that the reclaimer may take, by hfn; who owns a frame is the frames' business. To add a
 * policy: a const struct swap_policy in swap_pool.c and a line in swap_policies[].
 */
#ifndef OVERBOOK_MM_SWAP_POOL_H
#define OVERBOOK_MM_SWAP_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/types.h"
#include "workloads/rng.h"

struct swap_pool {
	const struct swap_policy *policy;
	uint64_t nframes, count;
	/* fifo and clock: a ring through a sentinel, hfn nframes; next of that is the oldest */
	uint32_t *next, *prev;
	/* random: table[place[hfn]] = hfn; holes are places that a victim left, filled again last first */
	uint32_t *table, *place, *hole;
	uint64_t nplaces, nholes;
	struct rng rng;
	/* Was the page in @hfn touched since this was last asked? */
	bool (*young)(void *ctx, hfn_t hfn);
	void *ctx;
};

struct swap_policy {
	const char *name;
	const char *summary; /* one sentence, for `overbook list policies` */
	void (*create)(struct swap_pool *p);
	void (*add)(struct swap_pool *p, uint32_t hfn);
	void (*remove)(struct swap_pool *p, uint32_t hfn);
	/* The page moved: @to takes the place of @from. */
	void (*rename)(struct swap_pool *p, uint32_t from, uint32_t to);
	/* The page to go, which stays in the pool until remove(); the pool is not empty. */
	uint32_t (*victim)(struct swap_pool *p);
	/* The victim could not go: choose another next time. */
	void (*spare)(struct swap_pool *p, uint32_t hfn);
};

extern const struct swap_policy swap_fifo, swap_random, swap_clock;
extern const struct swap_policy *const swap_policies[]; /* NULL-ended */

/* For a host of @nframes, below 2^32. 0, or -ENOMEM. */
int swap_pool_init(struct swap_pool *p, const struct swap_policy *policy, uint64_t nframes, uint64_t seed);
void swap_pool_destroy(struct swap_pool *p);
void swap_pool_add(struct swap_pool *p, hfn_t hfn);
void swap_pool_remove(struct swap_pool *p, hfn_t hfn);

#endif
