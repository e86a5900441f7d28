/* SPDX-License-Identifier: MIT */
/*
 * walk.h - a walk of the first stage in progress, as walk.c and walk_quick.c hand it over
 */
#ifndef OVERBOOK_SIM_WALK_H
#define OVERBOOK_SIM_WALK_H

#include "vmm/sim/walk2.h"

struct walk {
	struct trip t;
	gva_t gva;
	unsigned access;
	unsigned top, leaf; /* levels of the first and last entry read */
	gpa_t table_gpa;    /* 2D: where the first table is; 1D: its address, bias not yet added */
	bool missing;	    /* an A or D bit that this access has to set */
	/*
	 * By level, from @top down: where the table is in host memory, PWC_TABLE_W and the rights of the entries above
	 * it (that is what the page-walk cache of the level above holds); and its entry, as read.
	 */
	uint64_t place[MAX_LEVELS + 1], entry[MAX_LEVELS + 1];
};

/* Where the walk's entry of @level is, as far as it came. */
static inline hpa_t walk_entry_at(const struct walk *w, unsigned level)
{
	return (w->place[level] & PTE_ADDR) + 8 * PT_INDEX(w->gva, level);
}

/* R/W, U/S and not NX as TLB_W, TLB_U, TLB_X. */
static inline unsigned rights_of(uint64_t e)
{
	_Static_assert(TLB_W == PTE_W >> 1 && TLB_U == PTE_U >> 1 && TLB_X == PTE_NX >> 61, "bits keep their order");

	return (unsigned)(e >> 1 & (TLB_W | TLB_U)) | (unsigned)(~e >> 61 & TLB_X);
}

#define RIGHTS (TLB_W | TLB_U | TLB_X)

/* What a translation of the second stage with @flags (S2_*) lets a TLB entry allow, its page dirty in the first. */
static inline unsigned walk_tlb_flags(unsigned flags)
{
	_Static_assert(TLB_LOAD == ACC_R << 3 && TLB_FETCH == ACC_X << 2, "bits move");
	_Static_assert(TLB_STORE == ACC_W << 4 && TLB_STORE == S2_DIRTY << 2, "and meet");

	return (flags & ACC_R) << 3 | (flags & ACC_X) << 2 | (flags << 4 & flags << 2 & TLB_STORE);
}

/* The walk from @level down, with all above it done and noted in @w; to its end. As walk_stage1(). */
uint64_t walk_on(struct walk *w, unsigned level);

/* All of it, the long way. */
uint64_t walk_plain(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access,
		    struct mmu_result *r);

#endif
