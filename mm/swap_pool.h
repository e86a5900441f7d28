/* SPDX-License-Identifier: MIT */
/*
 * swap_pool.h - resident pages, and which of them goes next
 *
 * A pool holds frames that the reclaimer may take, by hfn; who owns a frame is the frames' business. A host has one or
 * several (swap_whom.h); a frame is in one of them at most, so they share what is kept for each frame. To add a policy:
 * a const struct swap_policy in a file mm/swap_NAME.c and a line in swap_policies[].
 */
#ifndef OVERBOOK_MM_SWAP_POOL_H
#define OVERBOOK_MM_SWAP_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/types.h"
#include "workloads/rng.h"

/* Most pools of one host, and most rings of one pool. */
#define SWAP_POOLS 65537u
#define SWAP_RINGS 4u

/* What all pools of a host share: words for each frame, lazily backed. */
struct swap_links {
	uint64_t nframes;
	uint32_t *next, *prev; /* rings: [nframes + SWAP_POOLS * SWAP_RINGS] */
	uint32_t *place;       /* random, opt: [nframes] where it is in table */
	uint32_t *key;	       /* [nframes] what else a policy keeps of a page */
};

struct swap_pool {
	const struct swap_policy *policy;
	const struct swap_links *links;
	uint64_t count;
	/* rings, each through a sentinel behind the frames, this and those after it; next of that is the oldest */
	uint32_t sentinel;
	uint64_t nring[SWAP_RINGS]; /* lru, mglru: pages of each */
	uint32_t age, oldest;	    /* lru: evictions and activations. mglru: youngest and oldest generation */
	/* random: table[place[hfn]] = hfn; holes are places that a victim left, filled again last first. opt: a heap */
	uint32_t *table, *hole;
	uint64_t nplaces, nholes;
	struct rng rng;
	/* Was the page in @hfn touched since this was last asked? */
	bool (*young)(void *ctx, hfn_t hfn);
	/* opt: when will it be used next? Positions, SWAP_NEVER: no more. NULL if nobody knows. */
	uint32_t (*next_use)(void *ctx, hfn_t hfn);
	void *ctx;
};

#define SWAP_NEVER UINT32_MAX

struct swap_policy {
	const char *name;
	const char *summary; /* one sentence, for `overbook list victims` */
	bool offline;	     /* needs next_use() */
	int (*create)(struct swap_pool *p); /* 0, or -ENOMEM */
	/* @shadow: what evicted() said when the page was last evicted; 0: it comes for the first time. */
	void (*add)(struct swap_pool *p, uint32_t hfn, uint32_t shadow);
	void (*remove)(struct swap_pool *p, uint32_t hfn);
	/* The page moved: @to takes the place of @from. */
	void (*rename)(struct swap_pool *p, uint32_t from, uint32_t to);
	/* The page to go, which stays in the pool until remove(); the pool is not empty. */
	uint32_t (*victim)(struct swap_pool *p);
	/* The victim could not go: choose another next time. */
	void (*spare)(struct swap_pool *p, uint32_t hfn);
	/* The victim went: what to remember of it while it is away; not 0. NULL: nothing. */
	uint32_t (*evicted)(struct swap_pool *p);
	/* The page was used, and its next use is another. NULL: it need not be told. */
	void (*used)(struct swap_pool *p, uint32_t hfn);
};

extern const struct swap_policy swap_fifo, swap_random, swap_clock, swap_lru, swap_mglru, swap_opt;
extern const struct swap_policy *const swap_policies[]; /* NULL-ended */

/* For a host of @nframes; with SWAP_POOLS below 2^32. 0, or -ENOMEM: swap_links_destroy() in any case. */
int swap_links_init(struct swap_links *l, uint64_t nframes);
void swap_links_destroy(struct swap_links *l);

/* Pool @number, below SWAP_POOLS, over @links, which it borrows. 0, or -ENOMEM. */
int swap_pool_init(struct swap_pool *p, const struct swap_policy *policy, const struct swap_links *links,
		   unsigned number, uint64_t seed);
void swap_pool_destroy(struct swap_pool *p);
void swap_pool_add(struct swap_pool *p, hfn_t hfn, uint32_t shadow);
void swap_pool_remove(struct swap_pool *p, hfn_t hfn);

/* For policies: ring @k of the pool. */
void swap_ring_create(struct swap_pool *p, unsigned k);
/* As the youngest. */
void swap_ring_add(struct swap_pool *p, unsigned k, uint32_t hfn);
void swap_ring_remove(struct swap_pool *p, uint32_t hfn);
void swap_ring_rename(struct swap_pool *p, uint32_t from, uint32_t to);

/* The oldest of ring @k; the ring's sentinel if it is empty. */
static inline uint32_t swap_ring_oldest(const struct swap_pool *p, unsigned k)
{
	return p->links->next[p->sentinel + k];
}

#endif
