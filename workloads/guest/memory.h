/* SPDX-License-Identifier: MIT */
/*
 * memory.h - what a guest with a disk keeps of its memory: page cache, swap, LRU lists; for workloads/guest/ and tests
 *
 * A guest without a disk has nothing to reclaim and pays nothing for this: memory.page is NULL. With one, each page
 * above the arena has a struct lru_page beside its struct page, each page of the file range a *cache word* and each
 * page of swap a struct swap_slot (abi.h), in the arena.
 *
 *	page cache: word of file page i -> gfn. All mappings of the file are shared ones of that page.
 *	swap cache: word of slot i -> gfn, while the page is in memory and the slot is kept for it.
 *	swapped entry: a leaf with PTE_SWAP that names a slot; swap_slot.refs counts them.
 *
 * A cached page is held by its cache like by one more mapping (page_get), so it outlives its processes' mappings.
 */
#ifndef OVERBOOK_GUEST_MEMORY_H
#define OVERBOOK_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/guest/abi.h"

struct kernel;
struct process;
struct vma;
struct walk;

/* What may come of what the kernel tries. */
enum result {
	DONE = 0,
	NO_MEMORY,   /* of either kind: process pages or heap; reclaim or killing a process may help */
	BAD_ADDRESS, /* the process's own mistake */
	WAIT,	     /* for the disk (memory.wait_gfn): begin again when it is done */
};

/* What a fault found missing. */
enum fault_kind {
	FAULT_DEMAND,
	FAULT_COW,
	FAULT_SPURIOUS,
	FAULT_MINOR, /* found in page cache or swap cache */
	FAULT_MAJOR, /* had to be read */
};

enum lru_list {
	LRU_INACTIVE_ANON,
	LRU_ACTIVE_ANON,
	LRU_INACTIVE_FILE,
	LRU_ACTIVE_FILE,
	LRU_LISTS,
	LRU_NONE = LRU_LISTS, /* on no list: free, in the balloon, a part of a large page, or a giant */
};

/* lru_page.flags */
#define PG_FILE	      (1u << 0)
#define PG_LARGE      (1u << 1)	 /* the first page of a 2 MiB unit that is on its list as one */
#define PG_CACHED     (1u << 2)	 /* in page cache or swap cache */
#define PG_DIRTY      (1u << 3)	 /* newer than the disk, as far as was seen: entries may know of more */
#define PG_LOADING    (1u << 4)	 /* being read: contents are not there yet */
#define PG_WRITING    (1u << 5)
#define PG_RECLAIM    (1u << 6)	 /* to be freed when it has been written */
#define PG_REFERENCED (1u << 7)	 /* was seen accessed once while inactive */
#define PG_WORKINGSET (1u << 8)	 /* was on an active list before */
#define PG_READAHEAD  (1u << 9)	 /* touching it starts the next read ahead */
#define PG_FAILED     (1u << 10) /* could not be read */
#define PG_AWAITED    (1u << 11) /* was read for a process that has not come to it yet: not to be taken from it */

#define NO_PAGE	     UINT32_MAX
#define NO_HINT	     0xfffu
#define SWAP_CLUSTER 256u /* slots given out one after the other, as Linux's SWAPFILE_CLUSTER */

/* 24 bytes a page. prev and next are numbers of pages (gfn - first_gfn). */
struct lru_page {
	uint64_t key; /* address in processes, or page of the file << 12; low 12 bits: a slot that maps it, a hint */
	uint32_t prev, next;
	uint32_t slot; /* of the swap cache */
	uint16_t flags; /* PG_* */
	uint16_t list;	/* enum lru_list */
};

_Static_assert(sizeof(struct lru_page) == 24, "what a guest with a disk pays for each page");

struct lru {
	uint32_t head, tail; /* new pages come to the head, the tail goes first */
	uint64_t npages;
};

struct memory {
	struct lru_page *page; /* [gfn - first_gfn]; NULL: there is no disk, and nothing of this is used */
	uint64_t *index;       /* [file_pages] cache words */
	struct swap_slot *slot; /* [swap_pages] */
	uint16_t *cluster;     /* [swap_pages / SWAP_CLUSTER, up]: slots in use of each */
	uint64_t file_pages, swap_pages;
	uint64_t min, low, high; /* watermarks of free pages */
	uint64_t swappiness;
	struct lru list[LRU_LISTS];
	uint64_t age;		  /* evictions and activations so far: what refault distances are measured in */
	uint64_t cost[2];	  /* what reclaiming of each kind has cost lately: anonymous, file */
	uint64_t scan_debt[2];	  /* batches that each kind owes */
	uint64_t file_refaults;	  /* activations of refaulting file pages when reclaim last looked */
	uint64_t nloading, nwriting, nreclaiming; /* pages under way; of the written, those to be freed then */
	uint64_t swap_free;	  /* slots */
	uint64_t swap_next;	  /* where the search for one goes on */
	uint32_t blocked_head, blocked_tail; /* processes that wait for the disk, first in, first out */
	uint32_t nstalled;	  /* of them, those that wait for lack of memory */
	uint64_t seen_ns;	  /* when stalls were last counted */
	uint64_t wait_gfn;	  /* what the event's process has to wait for; 0: any completion */
	bool wait_stall;	  /* that is for lack of memory */
	bool kswapd;		  /* free pages fell below low and have not reached high again */
	bool urgent;		  /* the reserve below min may be used */
	bool short_of_pages;	  /* an allocation was refused since this was cleared */
	unsigned futile;	  /* batches without success in a row */
};

/* Invalidations that a batch of changes in any processes' tables needs. */
#define GATHER_PAGES 32u
struct gather {
	uint32_t n; /* of va[], in the interrupted process; may exceed GATHER_PAGES: then its whole space goes */
	uint64_t va[GATHER_PAGES];
	uint64_t other[(EXPORT_PROCESSES + 63) / 64]; /* the other processes concerned, by slot */
};

static inline uint64_t word_gfn(uint64_t word)
{
	return word & CACHE_SHADOW ? 0 : word & ~CACHE_LOADING;
}

/* memory.c: set-up, and pages for processes */
uint64_t memory_metadata(const struct boot_info *b, uint64_t npages);
void memory_start(struct kernel *k);
uint64_t page_take(struct kernel *k, unsigned level);
uint64_t page_spare(struct kernel *k);
uint64_t page_give_up(struct kernel *k);
uint64_t memory_available(const struct kernel *k);

/* lru.c */
struct lru_page *lru_page(struct kernel *k, uint64_t gfn);
void lru_insert(struct kernel *k, uint64_t gfn, enum lru_list list, bool head);
void lru_remove(struct kernel *k, uint64_t gfn);
void lru_born(struct kernel *k, uint64_t gfn);
void lru_anon(struct kernel *k, const struct process *p, uint64_t va, uint64_t gfn, unsigned level);
void lru_forget(struct kernel *k, uint64_t gfn);
void lru_split(struct kernel *k, uint64_t gfn, unsigned level);
void lru_activate(struct kernel *k, uint64_t gfn);
bool lru_inactive_low(const struct kernel *k, bool file);

/* rmap.c */
void gather_add(struct kernel *k, struct gather *g, const struct process *p, uint64_t va);
void gather_end(struct kernel *k, struct gather *g);
unsigned rmap_referenced(struct kernel *k, uint64_t gfn, struct gather *g);
bool rmap_unmap(struct kernel *k, uint64_t gfn, struct gather *g);
bool rmap_split(struct kernel *k, uint64_t gfn, struct gather *g);

/* cache.c: the page cache, and what it shares with the swap cache */
uint64_t cache_disk_page(struct kernel *k, uint64_t gfn);
uint64_t *cache_word(struct kernel *k, uint64_t gfn);
void cache_add(struct kernel *k, uint64_t gfn);
void cache_drop(struct kernel *k, uint64_t gfn, uint64_t word);
enum result cache_fault(struct kernel *k, struct process *p, struct vma *m, struct walk *w, uint64_t va,
			enum fault_kind *kind);

/* swap.c */
void swap_slot_settle(struct kernel *k, uint64_t slot);
bool swap_add(struct kernel *k, uint64_t gfn);
void swap_get(struct kernel *k, uint64_t slot);
void swap_put(struct kernel *k, uint64_t slot);
void swap_settle(struct kernel *k, uint64_t gfn);
void swap_forget(struct kernel *k, uint64_t gfn);
uint32_t swap_sharers(struct kernel *k, uint64_t gfn);
uint32_t swap_slot_sharers(struct kernel *k, uint64_t slot);
enum result swap_fault(struct kernel *k, struct process *p, uint64_t gpa, uint64_t va, uint64_t entry,
		       enum fault_kind *kind);

/* workingset.c */
uint64_t workingset_evict(struct kernel *k, uint64_t gfn);
bool workingset_refault(struct kernel *k, uint64_t gfn, uint64_t word);
void workingset_cost(struct kernel *k, bool file, uint64_t nios, uint64_t nlooked);

/* reclaim.c */
void reclaim_background(struct kernel *k);
uint64_t reclaim_direct(struct kernel *k);
enum result reclaim_room(struct kernel *k);

/* io.c */
unsigned io_read(struct kernel *k, uint64_t disk_page, const uint64_t *gfn, unsigned n);
bool io_write(struct kernel *k, uint64_t gfn, uint32_t npages);
enum result io_wait(struct kernel *k, uint64_t gfn, bool stall);
enum result io_wait_any(struct kernel *k, bool stall);
void io_block(struct kernel *k, struct process *p);
void io_unblock(struct kernel *k, struct process *p);
bool io_wake(struct kernel *k, uint64_t gfn);
bool io_awaited(struct kernel *k, uint64_t gfn);
void io_account(struct kernel *k);

#endif
