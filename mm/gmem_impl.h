/* SPDX-License-Identifier: MIT */
/*
 * gmem_impl.h - what gmem.c, gmem_block.c, gmem_collapse.c, gmem_free.c, gmem_log.c, gmem_share.c and gmem_swap.c
 * share; private to them
 */
#ifndef OVERBOOK_MM_GMEM_IMPL_H
#define OVERBOOK_MM_GMEM_IMPL_H

#include "mm/events.h"
#include "mm/gmem.h"
#include "mm/paging.h"

/*
 * The word of a page. hfn is valid in states RESIDENT, SHARED and ZERO; SWAPPED and COMPRESSED have the number of
 * their slot there, DROPPED that of its disk page.
 *
 *	 63           12 11    10     9     8      7     6     5     4     3    2   0
 *	+---------------+----+------+----+------+------+-----+------+-----+-----+-----+
 *	| hfn, slot	|DISK|SPARED|OWED|POISON|HINTED|AHEAD|CACHED|TOUCH|IDLE |state|
 *	+---------------+----+------+----+------+------+-----+------+-----+-----+-----+
 */
#define WORD_STATE   7ull
#define WORD_IDLE    (1ull << 3) /* unmapped by test_clear_young: the next touch is a young fault */
#define WORD_TOUCHED (1ull << 4) /* touched by a fault or by DMA since test_clear_young */
#define WORD_CACHED  (1ull << 5) /* a swap slot holds the same bytes: not mapped writable */
#define WORD_AHEAD   (1ull << 6) /* read ahead, not touched since; IDLE too */
#define WORD_HINTED  (1ull << 7) /* the guest says that it is free; IDLE too */
#define WORD_POISON  (1ull << 8) /* ABSENT: comes back filled with the poison value; HINTED: it will, once dropped */
#define WORD_OWED    (1ull << 9) /* gmem_observe_young() was told of a touch, gmem_test_clear_young() was not yet */
#define WORD_SPARED  (1ull << 10) /* the other way round */
#define WORD_DISK    (1ull << 11) /* equal to its disk page and known to be: not mapped writable (gmem_disk.c) */
#define WORD_HFN     12

_Static_assert(PAGE_STATES <= WORD_STATE + 1, "a state fits its field");

#define WORD(state, hfn) ((uint64_t)(state) | (hfn) << WORD_HFN)

static inline enum page_state word_state(uint64_t w)
{
	return (enum page_state)(w & WORD_STATE);
}

/* Is there a frame to map? */
static inline bool word_mapped(uint64_t w)
{
	return word_state(w) == PAGE_RESIDENT || word_state(w) == PAGE_SHARED || word_state(w) == PAGE_ZERO;
}

/* 2 MiB of guest memory. The third level is cheap to ask for and cheap to change: it is not kept per page. */
struct gmem_block {
	uint16_t present; /* pages that are not ABSENT */
	uint16_t idle;	  /* pages with WORD_IDLE */
	uint16_t level;	  /* of the backing: 2 or 3; anything less: single frames */
	uint16_t hinted : 10; /* pages with WORD_HINTED */
	uint16_t listed : 1;  /* on the host's list of blocks with such pages (gmem_free.c) */
};

struct gmem_giga {
	uint32_t present, idle;
};

struct gmem {
	struct gmem_config cfg;
	struct frames *frames;
	struct machine *machine;
	struct paging *paging; /* NULL until gmem_set_paging() */
	struct counters *c;
	struct events *events;
	struct reclaimer *reclaim; /* NULL: what is resident stays */
	struct gmem_disk *disk;	   /* NULL: no disk moves whole pages (gmem_disk.c) */
	uint64_t *page;		   /* [npages], lazily backed; unused below run_pages */
	struct gmem_block *block;  /* [npages / 512], rounded up */
	struct gmem_giga *giga;	   /* [npages / 262,144], rounded up */
	hfn_t run;		   /* gfns [0, run_pages) are frames run + gfn: the arena, or a linear guest */
	uint64_t run_pages;
	uint64_t *dirty;	   /* one bit a page while the dirty log is on, else NULL */
	bool log_by_cpu;	   /* the processor logs writes itself */
	uint64_t poison;	   /* what the guest fills free pages with, 0: nothing that zeros would not do */
	struct gmem_watch *watch;  /* NULL: nobody */
	bool observed;		   /* gmem_observe_young() has been called */
	bool young_by_bit;	   /* accessed bits say what was touched, where there are any */
	bool balloon_strict;	   /* the guest must tell the host before it touches a ballooned page */
};

static inline gfn_t block_start(gfn_t gfn, unsigned level)
{
	return gfn & ~(LEVEL_PAGES(level) - 1);
}

/* The one place where a page's word changes state or frame: keeps counts, gauge and event log in step. */
void gmem_set(struct gmem *g, gfn_t gfn, uint64_t word, enum event_cause cause);

/* Log that something happened to a page whose state stays. */
void gmem_log_event(struct gmem *g, gfn_t gfn, enum event_cause cause);

/* The size of the backing of 2 MiB block number @block is @level from now on: keeps the gauge in step. */
static inline void gmem_set_level(struct gmem *g, uint64_t block, unsigned level)
{
	g->c->pages_large += LEVEL_PAGES(2) * ((level > 1) - (uint64_t)(g->block[block].level > 1));
	g->block[block].level = (uint16_t)level;
}

/* That of every block in the aligned block of @level around @gfn. */
void gmem_set_levels(struct gmem *g, gfn_t gfn, unsigned level, unsigned to);
void gmem_log_block(struct gmem *g, gfn_t gfn, unsigned level, enum event_cause cause);

/* Contents and metadata of a resident page that is unmapped go to frame @to; its old frame goes back. */
int gmem_change_frame(struct gmem *g, gfn_t gfn, hfn_t to, enum event_cause cause);

/* Write down that the large backing over @gfn, if any, is single frames from now on. */
void gmem_shatter(struct gmem *g, gfn_t gfn);

/*
 * One page fewer maps merged frame @hfn, and the frame goes with the last: contents first, while nobody can reach it.
 */
void gmem_share_drop(struct gmem *g, gfn_t gfn, hfn_t hfn);
/* Give a SHARED or ZERO page a frame of its own again. -ENOMEM; -EAGAIN: it was swapped meanwhile. */
int gmem_share_break(struct gmem *g, gfn_t gfn);

/* Enter a page in the dirty log, unless it is there; true if it was not. */
bool gmem_mark_dirty(struct gmem *g, gfn_t gfn);

/* Tell the paging mode that [gfn, gfn + LEVEL_PAGES(level)) has frames, as large as it may map them. */
void gmem_tell_mapped(struct gmem *g, gfn_t gfn, unsigned level);

/* Somebody touches a ballooned page: 0 if it is absent now, else -EPERM. */
int gmem_balloon_touch(struct gmem *g, gfn_t gfn, enum fault_source src);

/* gmem_free.c: an absent page with WORD_POISON gets frame @hfn: write the value. */
int gmem_fill_poison(struct gmem *g, gfn_t gfn, hfn_t hfn);
/* gmem_free.c: none of its blocks is on the host's list any more. */
void gmem_forget_hints(struct gmem *g);

/* gmem_place.c: frames for the aligned block of @level around @gfn, where the VM's placement wants them. -ENOMEM. */
int gmem_take_frames(struct gmem *g, gfn_t gfn, unsigned level, hfn_t *hfn);
/* gmem_place.c: RESIDENT pages from @hfn on come (@by > 0) or go: the gauges of their nodes. */
void gmem_count_node(struct gmem *g, hfn_t hfn, uint64_t npages, int by);
/* gmem_place.c: a single frame for @gfn, evicting for it if that is possible. -ENOMEM. */
int gmem_frame_for(struct gmem *g, gfn_t gfn, hfn_t *hfn);

/* gmem_swap.c: a page that is SWAPPED or COMPRESSED becomes RESIDENT. -ENOMEM, -EIO. */
int gmem_swap_in(struct gmem *g, gfn_t gfn, unsigned access, enum fault_source src);

/* gmem_swap.c: a CACHED page is about to be written: its slot goes. */
void gmem_uncache(struct gmem *g, gfn_t gfn);

/* gmem_disk.c: the page is no longer known to equal any disk page; g->disk is there. */
void gmem_disk_forget(struct gmem *g, gfn_t gfn);
/* A DROPPED page becomes RESIDENT. -ENOMEM. */
int gmem_disk_in(struct gmem *g, gfn_t gfn, enum fault_source src);
/* The bytes of a DROPPED page. */
void gmem_disk_peek(const struct gmem *g, gfn_t gfn, void *page);
/* A page in @hfn goes to swap, written to the device or not; has come back from it to @hfn. */
void gmem_disk_count_evict(struct gmem *g, gfn_t gfn, hfn_t hfn, bool written);
void gmem_disk_count_read(struct gmem *g, gfn_t gfn, hfn_t hfn);
void gmem_disk_free(struct gmem *g);

static inline bool word_swapped(uint64_t w)
{
	return word_state(w) == PAGE_SWAPPED || word_state(w) == PAGE_COMPRESSED;
}

/* Are its contents somewhere else than in a frame? */
static inline bool word_away(uint64_t w)
{
	return word_swapped(w) || word_state(w) == PAGE_DROPPED;
}

static inline void gmem_unmap(struct gmem *g, gfn_t gfn, uint64_t npages)
{
	if (g->paging)
		g->paging->ops->unmap(g->paging, gfn, npages);
}

static inline void gmem_charge(struct gmem *g, enum charge_kind kind, uint64_t n)
{
	g->machine->ops->charge(g->machine, g->cfg.vm, kind, n);
}

#endif
