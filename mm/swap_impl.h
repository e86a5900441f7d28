/* SPDX-License-Identifier: MIT */
/* swap_impl.h - what swap.c, swap_merged.c and swap_patch.c share; private to them */
#ifndef OVERBOOK_MM_SWAP_IMPL_H
#define OVERBOOK_MM_SWAP_IMPL_H

#include <glib.h>

#include "mm/swap.h"
#include "mm/swap_slots.h"
#include "mm/swap_tier.h"

struct swap {
	struct reclaimer base; /* first */
	struct swap_config cfg;
	struct frames *frames;
	struct machine *machine;
	struct swap_whom whom;
	struct swap_slots slots;
	uint64_t *owner;    /* [nslots] FRAME_OWNER() of the page in it */
	uint32_t *shadow;   /* [nslots] what the policy remembers of the page in it */
	uint32_t refault;   /* of the page that is just coming back */
	uint32_t *clean;    /* [frames] slot + 1 of the page's copy, or 0 */
	uint64_t ncached;   /* of those that are not 0 */
	struct swap_tier tier;
	GHashTable *reference; /* slot of a patch: the frame it refers to */
	GHashTable *npatches;  /* such a frame: how many refer to it */
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

/* The page of @g that has just gone to @slot takes @nbytes of the tier. swap_tier_fits() said yes: cannot fail. */
int swap_put_in_tier(struct swap *s, struct gmem *g, uint64_t slot, unsigned nbytes);

/* May the tier have an object of @nbytes? Are there frames for it, with that of its page, which comes back? */
bool swap_tier_fits(const struct swap *s, unsigned nbytes);

/* swap_patch.c */
void swap_patches_init(struct swap *s);
void swap_patches_free(struct swap *s);
bool swap_is_patch(const struct swap *s, uint64_t slot);
/* What is in @slot, of @g, leaves the tier: if it is a patch, its reference may go. Before nbytes is cleared. */
void swap_patch_gone(struct swap *s, struct gmem *g, uint64_t slot);
/* NULL, or what is wrong. */
const char *swap_patch_verify(const struct swap *s);

#endif
