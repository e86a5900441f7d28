/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - two levels of TLB, and what an entry of theirs remembers
 *
 * An entry maps one page of 4K, 2M or 1G: the smaller of what the two stages mapped it with. Its value is the
 * host-physical address of the page with what the walk found about rights in the low bits, *not* merged into one
 * answer: whether an access may pass depends on the CPU's state of the moment (WP, SMEP, SMAP, AC), which
 * changes without a flush.
 *
 * A store needs TLB_STORE: the dirty bits of both stages are set and the second stage allows writing. Where it is
 * clear the processor walks again, which either sets the bits or finds the violation.
 */
#ifndef OVERBOOK_SIM_TLB_H
#define OVERBOOK_SIM_TLB_H

#include "mm/paging.h"
#include "mm/types.h"
#include "vmm/sim/assoc.h"

#define TLB_W	   (1u << 0) /* stage 1: writable at every level */
#define TLB_U	   (1u << 1) /* stage 1: user at every level */
#define TLB_X	   (1u << 2) /* stage 1: no NX bit at any level */
#define TLB_LOAD   (1u << 3) /* stage 2 allows reading; always set in 1D */
#define TLB_FETCH  (1u << 4) /* stage 2 allows execution; always set in 1D */
#define TLB_STORE  (1u << 5) /* dirty, and stage 2 allows writing */
#define TLB_GLOBAL (1u << 6)
#define TLB_REMOTE (1u << 7) /* the frame lies on another NUMA node */
#define TLB_FLAGS  0xfffull

_Static_assert((TLB_FLAGS & PTE_ADDR) == 0, "flags lie below the address");

/* The part of a CPU's state that rights depend on. */
struct cpu_mode {
	bool wp, nx, smep, smap; /* smap: CR4.SMAP set and RFLAGS.AC clear */
};

static inline struct cpu_mode cpu_mode_of(const struct guest_regs *regs)
{
	return (struct cpu_mode){
		.wp = (regs->cr0 & CR0_WP) != 0,
		.nx = (regs->efer & EFER_NX) != 0,
		.smep = (regs->cr4 & CR4_SMEP) != 0,
		.smap = (regs->cr4 & CR4_SMAP) && !(regs->rflags & RFLAGS_AC),
	};
}

/* Do stage-1 rights (TLB_W, TLB_U, TLB_X) let @access pass? SDM vol. 3A, 4.6.1. */
static inline bool stage1_allows(unsigned rights, unsigned access, struct cpu_mode cpu)
{
	if (access & ACC_U) {
		if (!(rights & TLB_U))
			return false;
		return access & ACC_X ? (rights & TLB_X) != 0 : !(access & ACC_W) || (rights & TLB_W);
	}
	if (access & ACC_X)
		return (rights & TLB_X) && !(cpu.smep && (rights & TLB_U));
	if (cpu.smap && (rights & TLB_U))
		return false;
	return !(access & ACC_W) || (rights & TLB_W) || !cpu.wp;
}

/* Does an entry with @flags satisfy @access without a walk? */
static inline bool tlb_allows(unsigned flags, unsigned access, struct cpu_mode cpu)
{
	unsigned need = (access & ACC_R ? TLB_LOAD : 0) | (access & ACC_W ? TLB_STORE : 0) |
			(access & ACC_X ? TLB_FETCH : 0);

	return (flags & need) == need && stage1_allows(flags, access, cpu);
}

/* Identifiers of address spaces, as keys carry them; see space.h. */
struct space_ids {
	unsigned own;	 /* (vpid, pcid) */
	unsigned global; /* global pages of vpid */
	unsigned guest;	 /* guest-physical addresses of vpid */
};

struct tlb {
	struct assoc array[6];	 /* L1 4K, 2M, 1G; L2; L2 1G; one without ways, for what a CPU lacks */
	struct assoc *l1[4], *l2[4]; /* by page size; may be the same or have no ways */
	bool globals;		 /* a global entry was put in since the last complete flush */
};

void tlb_init(struct tlb *t, const struct sim_profile *p, uint32_t *clock);
void tlb_free(struct tlb *t);

/* Where an address was found. */
struct tlb_hit {
	struct assoc *a;
	struct slot slot;
	unsigned level;
};

static inline bool tlb_probe(struct assoc *a, gva_t gva, unsigned level, unsigned space, struct tlb_hit *hit)
{
	uint64_t page = assoc_page(gva, level);
	struct slot slot = assoc_find(a, page, assoc_key(page, level, space));

	if (!slot.row)
		return false;
	*hit = (struct tlb_hit){ a, slot, level };
	return true;
}

/* Look in one level of TLB: small pages first, the space's own entries before global ones. Recency is untouched. */
static inline bool tlb_find(struct tlb *t, struct assoc *const *by_level, gva_t gva, const struct space_ids *ids,
			    struct tlb_hit *hit)
{
	for (unsigned level = 1; level <= 3; level++) {
		struct assoc *a = by_level[level];

		if (!assoc_seen(a, level))
			continue;
		if (tlb_probe(a, gva, level, ids->own, hit))
			return true;
		if (t->globals && tlb_probe(a, gva, level, ids->global, hit))
			return true;
	}
	return false;
}

/* An entry found in L2 moves up: a copy into L1. */
static inline void tlb_promote(struct tlb *t, gva_t gva, const struct tlb_hit *l2)
{
	assoc_insert(t->l1[l2->level], assoc_page(gva, l2->level), l2->level, *slot_key(l2->slot), *slot_val(l2->slot));
}

/* The largest page size up to @level that the first level can hold. */
static inline unsigned tlb_level(const struct tlb *t, unsigned level)
{
	while (level > 1 && !t->l1[level]->ways)
		level--;
	return level;
}

/* Put the result of a walk into both levels. @val: address of the page of @level and flags. */
static inline void tlb_fill(struct tlb *t, gva_t gva, unsigned level, const struct space_ids *ids, uint64_t val)
{
	uint64_t page = assoc_page(gva, level);
	uint64_t key = assoc_key(page, level, val & TLB_GLOBAL ? ids->global : ids->own);
	struct assoc *l1 = t->l1[level], *l2 = t->l2[level];

	t->globals |= (val & TLB_GLOBAL) != 0;
	assoc_insert(l1, page, level, key, val);
	if (l2->ways)
		assoc_insert(l2, page, level, key, val);
}

/* Drop every entry of the space and every global one that maps @gva, whatever its size. */
void tlb_drop(struct tlb *t, gva_t gva, const struct space_ids *ids);
/* Drop entries that map @gva in any space for which @match holds. */
void tlb_drop_address(struct tlb *t, gva_t gva, bool (*match)(unsigned space, void *ctx), void *ctx);
void tlb_drop_spaces(struct tlb *t, bool (*match)(unsigned space, void *ctx), void *ctx);

#endif
