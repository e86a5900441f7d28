/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - who takes frames back when the host runs out of them
 *
 * gmem changes the state of pages; a reclaimer chooses which pages give way and where their contents go. One reclaimer
 * serves a host: every gmem that it may take from is attached to it (gmem_set_reclaimer), and tells it of each page
 * that gains or loses a frame. mm/swap.h is the one there is.
 */
#ifndef OVERBOOK_MM_RECLAIM_H
#define OVERBOOK_MM_RECLAIM_H

#include "mm/gmem.h"

struct reclaimer;

struct reclaimer_ops {
	const char *name;

	/*
	 * gmem_fault(), before @g gets @npages more frames: may it have them? Evicts of @g's own pages to make room for
	 * one; a single page is given even if the answer is no. Conditions as of supply().
	 */
	bool (*admit)(struct reclaimer *r, struct gmem *g, uint64_t npages);

	/*
	 * gmem_fault(), when no frame was to be had: make at least @npages free by evicting pages, of any VM. -ENOMEM
	 * if nothing can go any more. Calls gmem_evict(); so the caller holds no page and no table.
	 */
	int (*supply)(struct reclaimer *r, uint64_t npages);

	/* The same, but only a page of @g itself helps; true if one went. */
	bool (*supply_own)(struct reclaimer *r, struct gmem *g);

	/*
	 * The machine, between two faults, or gmem_fault() (at_faults): evict ahead of need, if fewer frames are free
	 * than there should be.
	 */
	void (*balance)(struct reclaimer *r);

	/*
	 * gmem, when a page's state or frame has changed; a ref is the hfn of a RESIDENT page, the slot of one in
	 * swap. Frees the slot of a page whose contents are no longer there.
	 */
	void (*changed)(struct reclaimer *r, struct gmem *g, gfn_t gfn, enum page_state from, uint64_t from_ref,
			enum page_state to, uint64_t to_ref);

	/*
	 * gmem, when page @gfn, whose contents were in @slot, comes back to frame @hfn for @write. True: the slot
	 * stays, as the copy of a clean page; else it is free now.
	 */
	bool (*fetch)(struct reclaimer *r, struct gmem *g, enum page_state state, uint64_t slot, hfn_t hfn, bool write);

	/*
	 * gmem, for a SWAPPED page: wait for the device to read @slot, and with it what lies near and is worth it, by
	 * gmem_swap_ahead().
	 */
	void (*read)(struct reclaimer *r, uint64_t slot);

	/* gmem: may @g have one page more, ahead of its touch? Makes no room for it. */
	bool (*room)(struct reclaimer *r, struct gmem *g);

	/* gmem: the page in frame @hfn is about to be written, the copy in its slot is worth nothing any more. */
	void (*forget)(struct reclaimer *r, hfn_t hfn);
};

/* Whoever merges pages may spare a victim the way to swap (dedup/). */
struct page_sharer {
	/* The reclaimer, before RESIDENT page @gfn goes: true if it maps a merged frame now, and its own is free. */
	bool (*share)(struct page_sharer *s, struct gmem *g, gfn_t gfn);
};

struct reclaimer {
	const struct reclaimer_ops *ops;
	struct page_sharer *sharer; /* NULL: nobody */
	uint64_t reserve; /* frames that large backing leaves alone: tables are made of them */
	unsigned cluster; /* readahead: aligned groups of 2^cluster pages */
	bool mapper;	  /* drop clean pages that are on the guest's own disk (mm/gmem_disk.c) */
	bool preventer;	  /* do not read what will be overwritten whole */
	bool at_faults;	  /* gmem_fault() calls balance() itself, before a vCPU's page gets a frame */
};

/* From now on @g's pages are @r's to take. Before the first of them has a frame. */
void gmem_set_reclaimer(struct gmem *g, struct reclaimer *r);

/*
 * RESIDENT or SHARED to @to (SWAPPED or COMPRESSED): contents go to @slot, unless they are there already, and the frame
 * goes back; a merged one with its last page.
 * -EBUSY for a page in another state or in a run, or what machine->save() says: then nothing has changed.
 */
int gmem_evict(struct gmem *g, gfn_t gfn, enum page_state to, uint64_t slot);

/* The same, to COMPRESSED, as a patch of the page in merged frame @reference (machine->save_patch). */
int gmem_evict_patch(struct gmem *g, gfn_t gfn, uint64_t slot, hfn_t reference);

/* COMPRESSED to SWAPPED, in the same slot. -EIO: then nothing has changed. */
int gmem_write_back(struct gmem *g, gfn_t gfn);

/*
 * RESIDENT to DROPPED, if the mapper knows that the page equals a page of the guest's disk; a slot that it may have
 * is free then. Else -EBUSY.
 */
int gmem_evict_to_disk(struct gmem *g, gfn_t gfn);

/*
 * SWAPPED to RESIDENT ahead of a touch, which is noticed when it comes; the slot stays the page's copy. -EBUSY if it is
 * not swapped, -ENOMEM if no frame is free (none is made), -EIO.
 */
int gmem_swap_ahead(struct gmem *g, gfn_t gfn);

/* The slot of a page in state SWAPPED or COMPRESSED. */
uint64_t gmem_slot(const struct gmem *g, gfn_t gfn);

#endif
