/* SPDX-License-Identifier: MIT */
/*
 * pv_impl.h - what the files of direct paging share: pv.c (interface), pv_table.c (entries), pv_verify.c
 *
 * pv.c opens with the whole picture.
 */
#ifndef OVERBOOK_SIM_PV_IMPL_H
#define OVERBOOK_SIM_PV_IMPL_H

#include <glib.h>

#include "mm/rmap.h"
#include "vmm/sim/pv.h"

/* A page of the arena. While it is a table, its bytes are what the processor walks, view[] is what the guest wrote. */
struct pv_page {
	uint64_t *view; /* 512 entries; NULL unless a table */
	uint32_t refs;	/* entries that point to it */
	uint8_t level;	/* 0: not a table */
	uint8_t was;	/* its level before it was freed */
	uint64_t epoch; /* flushes needed since it was freed, before the guest may write it */
};

/* A table of the VMM's own below a large leaf that cannot be installed as one. */
struct pv_splinter {
	hpa_t parent;	/* entry that points here: in a guest's table or in another splinter */
	unsigned level; /* of the entries in it */
};

struct pv {
	struct paging base;
	struct paging_config cfg;
	const struct guest_regs **regs; /* [nvcpus] */
	struct gmem *gmem;
	struct machine *machine;
	struct frames *frames;
	struct counters *c;
	unsigned vm;
	uint64_t npages, narena;
	hpa_t arena;		/* host address of guest-physical 0 */
	struct pv_page *page;	/* [narena] */
	uint16_t *ntables;	/* tables in each 2M of the arena */
	GHashTable *splinters;	/* hfn -> struct pv_splinter; looked up, never walked */
	struct rmap *rmap[4];	/* [level], by gfn >> 9 * (level - 1): installed leaves of that level */
	uint64_t epoch;		/* flushes so far */
	uint64_t freed_epoch;	/* highest pv_page.epoch */
	bool flush;		/* before the guest runs on */
	bool stale;		/* the TLB may hold leaves the guest has removed: flush before a frame goes */
	bool stale_arena;	/* the same, for writable leaves over the arena: flush before a page becomes a table */
};

/* Where an installed entry lives. */
struct pv_slot {
	uint64_t *hw;
	uint64_t *view; /* NULL in a splinter */
	hpa_t parent;	/* in a splinter */
	unsigned level;
};

static inline struct pv *pv_of(struct paging *p)
{
	return (struct pv *)p;
}

static inline bool pv_is_leaf(uint64_t v, unsigned level)
{
	return v & PTE_P && (level == 1 || v & PTE_PS);
}

static inline bool pv_is_pointer(uint64_t v, unsigned level)
{
	return v & PTE_P && level > 1 && !(v & PTE_PS);
}

/* First gfn that a leaf of the guest's names. */
static inline gfn_t pv_leaf_gfn(uint64_t v, unsigned level)
{
	return (v & PTE_ADDR) >> PAGE_SHIFT & ~(LEVEL_PAGES(level) - 1);
}

static inline gfn_t pv_rmap_index(gfn_t gfn, unsigned level)
{
	return gfn >> (PT_BITS * (level - 1));
}

/* Of an entry in table page @gfn. */
static inline hpa_t pv_entry_hpa(const struct pv *pv, gfn_t gfn, unsigned index)
{
	return pv->arena + (gfn << PAGE_SHIFT) + index * sizeof(uint64_t);
}

static inline uint64_t *pv_word(const struct pv *pv, hpa_t hpa)
{
	return (uint64_t *)(frames_bytes(pv->frames) + hpa);
}

/* pv_table.c */
bool pv_holds_tables(const struct pv *pv, gfn_t gfn, unsigned level);
/* Accessed and dirty bits that the processor set below an entry over a leaf of the guest's. */
uint64_t pv_collect_ad(const struct pv *pv, hpa_t entry, unsigned level);
/* Store a validated value in entry @index of table page @table, and install as much of it as is known. */
void pv_set_entry(struct pv *pv, gfn_t table, unsigned index, uint64_t value);
/* Install @page for @gfn below the entry that holds the guest's leaf @v. -ENOMEM. */
int pv_fill(struct pv *pv, hpa_t entry, uint64_t v, unsigned level, gfn_t gfn, const struct gmem_page *page);
/* Remove one installed leaf because gmem says so, keeping its A/D bits for the guest, which are returned. */
uint64_t pv_drop(struct pv *pv, hpa_t entry, gfn_t gfn);
/* The VMM takes away every writable mapping of an arena page. */
void pv_revoke_write(struct pv *pv, gfn_t gfn, uint64_t npages, bool drop_large);
/* Flush what this operation made stale. Every entry point ends with it. */
void pv_settle(struct pv *pv);

/* pv_verify.c */
int pv_verify(struct paging *p);

#endif
