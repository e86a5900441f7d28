/* SPDX-License-Identifier: MIT */
/* swap_impl.h - what swap.c and swap_merged.c share; private to them */
#ifndef OVERBOOK_MM_SWAP_IMPL_H
#define OVERBOOK_MM_SWAP_IMPL_H

#include <glib.h>

#include "mm/swap.h"
#include "mm/swap_slots.h"

struct swap {
	struct reclaimer base; /* first */
	struct swap_config cfg;
	struct frames *frames;
	struct machine *machine;
	struct swap_whom whom;
	struct swap_slots slots;
	uint64_t *owner;    /* [nslots] FRAME_OWNER() of the page in it */
	uint16_t *nbytes;   /* [nslots] of a compressed page; 0: on the device */
	uint32_t *clean;    /* [frames] slot + 1 of the page's copy, or 0 */
	uint64_t ncached;   /* of those that are not 0 */
	uint64_t tier_bytes;
	GArray *tier;	    /* hfn_t: the frames of the tier */
	uint64_t nmerged;   /* pages that map merged frames, in all VMs */
	uint64_t evictions;
	uint64_t first, n;  /* slots written, not yet sent to the device */
};

static inline uint64_t swap_nfree(const struct swap *s)
{
	return frames_total(s->frames) - frames_used(s->frames);
}

static inline struct gmem *swap_gmem(const struct swap *s, uint64_t owner)
{
	return swap_whom_vm(&s->whom, OWNER_VM(owner))->g;
}

/* Send what was written lately, and lies together, to the device. */
void swap_write_out(struct swap *s);

/* The page in @hfn, own or merged, goes to a slot that it has not got yet. -errno: it is where it was. */
int swap_evict_dirty(struct swap *s, struct gmem *g, gfn_t gfn, hfn_t hfn);

/*
 * swap_merged.c: evict merged pages, with all the others of their frame, until @want frames are free. -ENOMEM if that
 * cannot be.
 */
int swap_evict_merged(struct swap *s, uint64_t want);

#endif
