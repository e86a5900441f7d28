/* SPDX-License-Identifier: MIT */
/*
 * swap.h - swapping by the host: the reclaimer that evicts guests' pages to a device
 *
 * One struct swap serves a host and all its guests. It chooses victims (swap_pool.h), gives them slots (swap_slots.h),
 * keeps a compressed tier before the device, and reads ahead when pages come back.
 */
#ifndef OVERBOOK_MM_SWAP_H
#define OVERBOOK_MM_SWAP_H

#include "mm/reclaim.h"
#include "mm/swap_future.h"
#include "mm/swap_pool.h"
#include "mm/swap_whom.h"

struct swap;

struct swap_config {
	uint64_t nslots; /* pages of the device, below 2^32 */
	const struct swap_policy *policy;
	enum swap_order order; /* from whom the next page is taken, when frames run out */
	uint64_t seed;	      /* for policies that draw lots */
	uint64_t low, high;   /* frames: fewer than low free, evict until high are; low <= high. 0: only on demand */
	struct swap_future *future; /* for offline policies; else NULL. Borrowed. */
	unsigned cluster;     /* readahead: aligned groups of 2^cluster slots */
	uint64_t pool_frames; /* most host frames of the compressed tier; 0: there is none */
	bool mapper, preventer; /* see struct reclaimer */
	bool writeback;	      /* a full tier writes its oldest pages to the device */
};

/* NULL and ENOMEM when there is no address space for its tables. Pointers are borrowed for its life. */
struct swap *swap_new(const struct swap_config *cfg, struct frames *fr, struct machine *m);
/* After the guests' gmem, before the frames. */
void swap_free(struct swap *s);

/* @g's pages may go from now on. Before the first of them has a frame. 0, or -ENOMEM: address space for its pool. */
int swap_attach(struct swap *s, struct gmem *g);

/*
 * VM @vm is to hold no more than @npages frames of its own outside the arena (UINT64_MAX: as many as it gets). What it
 * holds beyond goes at balance(), 64 pages each time, the VM furthest beyond first; the VM's own faults evict from it
 * first (swap_outs_limit). SWAP_LEAST are left to it in any case. Merged pages and the compressed tier do not count.
 * -ENOENT: it is not attached, -ENOMEM.
 */
int swap_set_limit(struct swap *s, unsigned vm, uint64_t npages);
uint64_t swap_limit(const struct swap *s, unsigned vm);

/*
 * Put RESIDENT page @gfn into the compressed tier ahead of need, as @nbytes: a patch of the page in merged frame
 * @reference, which stays as long as the patch does, or compressed if that is HFN_NONE. -EBUSY: not resident, or the
 * device has a copy; -ENOSPC: no room; -EIO.
 */
int swap_store(struct swap *s, struct gmem *g, gfn_t gfn, unsigned nbytes, hfn_t reference);
/* Is there room for that, and is the page one that may go? */
bool swap_can_store(const struct swap *s, const struct gmem *g, gfn_t gfn, unsigned nbytes);
/* Host frames that no page maps: they are there for patches alone. */
uint64_t swap_references(const struct swap *s);

struct reclaimer *swap_reclaimer(struct swap *s);

/*
 * With a future: a guest has used the page. Between the use and this call nothing else of any guest is used. False: the
 * run is not the one that the future was learned from.
 */
bool swap_used(struct swap *s, unsigned vm, gfn_t gfn);

/* Pages evicted since the beginning: who holds a frame's number over something that may evict can see that it did. */
uint64_t swap_evictions(const struct swap *s);
/* Host frames that the compressed tier takes now. */
uint64_t swap_pool_used(const struct swap *s);

/*
 * Set every VM's swap_dead: its pages in swap that @is_free says the guest does not use, so that their place is wasted.
 * Goes over all slots.
 */
void swap_count_dead(struct swap *s, bool (*is_free)(void *ctx, unsigned vm, gfn_t gfn), void *ctx);

/* Tests: pool, slots, tier and pages agree; 0, or -EUCLEAN after a warning that says what. */
int swap_verify(struct swap *s);

#endif
