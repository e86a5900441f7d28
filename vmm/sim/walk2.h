/* SPDX-License-Identifier: MIT */
/*
 * walk2.h - the second stage: guest-physical to host-physical, Intel's way (EPT) and AMD's (NPT)
 *
 * Problem. In a two-dimensional walk every guest-physical address, that of each guest table and that of the data,
 * is translated by a second table. Five references for each of five addresses make the 24 of a cold 4x4 walk.
 *
 * Idea. The same walk for both vendors; an entry is decoded into rights and faults by one function per format. The
 * nested TLB short-cuts the whole translation, the page-walk caches its upper levels.
 *
 * Rules (Intel SDM vol. 3C, 28.3; AMD APM vol. 2, 15.25):
 * - EPT: an entry is present if any of R, W, X is set; W without R, a bad memory type in a leaf and reserved bits are a
 *   misconfiguration, found at the entry, before anything below it. Rights are the intersection over the levels.
 * - With EPT A/D bits a guest's walk *writes* its tables as far as the second stage is concerned: needs W, sets D,
 *   logs. Without them it reads, and writes only to set a guest A or D bit.
 * - NPT: every access is a user one; the guest's walk always writes. A/D bits always exist.
 * - Bits are set, and the page-modification log is written, as each translation succeeds, before the guest's own walk
 *   goes on: if that one faults later, the references it made up to then stand. With the log full the dirty bit stays
 *   clear and the access stops there.
 * - A violation drops what was cached about the address, so that an entry the VMM has just made valid needs no INVEPT.
 *
 * This is a header because the walk of stage 1 (walk.c) is compiled for a few fixed kinds of machine, this inside it.
 *
 * Invariants: tests/model/test_mmu.c compares outcome, gpa, error and every A/D bit with a naive walker;
 * tests/unit/test_walk_refs.c the number of references.
 */
#ifndef OVERBOOK_SIM_WALK2_H
#define OVERBOOK_SIM_WALK2_H

#include "vmm/sim/mmu_int.h"

#define EPT_RWX	   7ull
#define EPT_PS	   (1ull << 7)
#define EPT_A	   (1ull << 8)
#define EPT_D	   (1ull << 9)
#define EPT_TYPE(e) (((e) >> 3) & 7)

_Static_assert(ACC_R == 1 && ACC_W == 2 && ACC_X == 4, "EPT's rights are spelled as ours");

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* What a walk is compiled for: constants in the common kinds, see walk.c. */
struct kind {
	bool two;   /* two dimensions */
	bool npt;
	bool model; /* data caches are modelled */
	bool numa;  /* frames may lie on other nodes */
};

/* What a walk adds to counters and costs, added up at its end. */
struct tally {
	uint32_t refs_guest, refs_host;
	uint32_t ntlb_hits, ntlb_misses;
	uint64_t cycles; /* of references; with flat costs they follow from their number */
};

/* One level of a second-stage walk in progress. */
struct step2 {
	uint64_t *entry;
	uint64_t val;	 /* as read */
	unsigned rights; /* down to here */
};

enum entry_state { ENTRY_ABSENT, ENTRY_BAD, ENTRY_TABLE, ENTRY_LEAF };

static inline uint64_t bits_from(unsigned low)
{
	return PTE_ADDR & (~0ull << low);
}

/* Address bits that must be zero in a large leaf, but for the lowest: bits 12 (or 13) to the size of the page. */
static inline uint64_t low_bits(unsigned level, uint64_t above)
{
	return (LEVEL_SIZE(level) - 1) & ~above;
}

ALWAYS_INLINE enum entry_state ept_decode(uint64_t e, unsigned level, unsigned maxphyaddr, unsigned *rights)
{
	*rights = (unsigned)(e & EPT_RWX);
	if (!(e & EPT_RWX))
		return ENTRY_ABSENT;
	if ((e & (ACC_R | ACC_W)) == ACC_W || (e & bits_from(maxphyaddr)))
		return ENTRY_BAD;
	if (level == 1 || (level <= 3 && (e & EPT_PS))) {
		/* Memory types 2, 3 and 7 are reserved. */
		if (0x8cu >> EPT_TYPE(e) & 1 || (level > 1 && (e & low_bits(level, 0xfff))))
			return ENTRY_BAD;
		return ENTRY_LEAF;
	}
	return e & 0xf8 ? ENTRY_BAD : ENTRY_TABLE;
}

ALWAYS_INLINE enum entry_state npt_decode(uint64_t e, unsigned level, unsigned maxphyaddr, unsigned *rights)
{
	*rights = e & PTE_U ? ACC_R | (e & PTE_W ? ACC_W : 0) | (e & PTE_NX ? 0 : ACC_X) : 0;
	if (!(e & PTE_P))
		return ENTRY_ABSENT;
	if (e & bits_from(maxphyaddr))
		return ENTRY_BAD;
	if (level == 1)
		return ENTRY_LEAF;
	if (!(e & PTE_PS))
		return ENTRY_TABLE;
	/* A large leaf's bit 12 is PAT. */
	return level > 3 || (e & low_bits(level, 0x1fff)) ? ENTRY_BAD : ENTRY_LEAF;
}

/* Look for a cached translation; one that does not allow @access is dropped. */
ALWAYS_INLINE bool ntlb_find(struct sim_mmu *m, gpa_t gpa, unsigned access, struct stage2 *out)
{
	struct assoc *a = &m->ntlb;
	unsigned need = access & ACC_W ? ACC_W | S2_DIRTY : access;

#pragma GCC unroll 3
	for (unsigned level = 1; level <= 3; level++) {
		struct tlb_hit hit;

		if (!a->seen[level] || !tlb_probe(a, gpa, level, m->ids.guest, &hit))
			continue;
		uint64_t val = a->val[hit.slot];

		if ((val & need) != need) {
			assoc_drop(a, hit.slot);
			continue;
		}
		assoc_touch(a, hit.slot);
		*out = (struct stage2){ (val & ~S2_FLAGS) | (gpa & (LEVEL_SIZE(level) - 1)), val & S2_FLAGS, level };
		return true;
	}
	return false;
}

/* Where to begin: the lowest table that a page-walk cache knows, else the root. Returns the table's level. */
ALWAYS_INLINE unsigned npwc_begin(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, hpa_t *table,
				  unsigned *rights)
{
#pragma GCC unroll 4
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		struct assoc *a = &m->npwc[level];
		uint64_t page = assoc_page(gpa, level);
		int32_t slot = a->seen[0] ? assoc_find(a, assoc_set(a, page), assoc_key(page, 0, m->ids.guest)) : -1;

		if (slot < 0)
			continue;
		assoc_touch(a, (uint32_t)slot);
		*table = a->val[slot] & PTE_ADDR;
		*rights = a->val[slot] & ACC_RWX;
		return level - 1;
	}
	*table = x->root & PTE_ADDR;
	*rights = ACC_RWX;
	return x->host_levels;
}

/* Fill the page-walk caches from the steps of levels above the leaf, and the nested TLB. */
ALWAYS_INLINE void stage2_remember(struct sim_mmu *m, gpa_t gpa, const struct step2 *steps, unsigned top,
				   const struct stage2 *s)
{
	for (unsigned level = top; level > s->level; level--) {
		struct assoc *a = &m->npwc[level];
		uint64_t page = assoc_page(gpa, level);

		if (a->ways)
			assoc_insert(a, assoc_set(a, page), assoc_key(page, 0, m->ids.guest),
				     (steps[level].val & PTE_ADDR) | steps[level].rights);
	}
	if (m->ntlb.ways) {
		uint64_t page = assoc_page(gpa, s->level);

		assoc_insert(&m->ntlb, assoc_set(&m->ntlb, page), assoc_key(page, s->level, m->ids.guest),
			     (s->hpa & ~(LEVEL_SIZE(s->level) - 1)) | s->flags);
	}
}

/* Stop at an access to @gpa. Always false. */
bool stage2_stop(struct sim_mmu *m, const struct mmu_context *x, enum mmu_outcome outcome, uint32_t error, gpa_t gpa,
		 unsigned access, bool table, struct mmu_result *r);

/* One translation's steps, for a function that is not inlined: a copy, see walk.c. */
struct steps2 {
	struct step2 at[MAX_LEVELS + 1];
};

/* The translation stands, and bits are to be set: accessed and dirty; a page that becomes dirty is logged. */
bool stage2_update(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, unsigned access, bool table,
		   struct steps2 steps, unsigned top, unsigned leaf, struct mmu_result *r);

/*
 * Translate @gpa for @access (one of ACC_R, ACC_W, ACC_X); @table: the access is the guest's own walk. False: r says
 * why not. Sets A/D bits and feeds the caches as it succeeds.
 */
ALWAYS_INLINE bool walk_stage2(struct kind k, struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa,
			       unsigned access, bool table, struct stage2 *out, struct tally *t, struct mmu_result *r)
{
	uint64_t a = k.npt ? PTE_A : EPT_A, d = k.npt ? PTE_D : EPT_D, all = ~0ull, e;
	struct steps2 steps;
	unsigned top, level, rights, own;
	hpa_t at;

	if (ntlb_find(m, gpa, access, out)) {
		t->ntlb_hits++;
		return true;
	}
	t->ntlb_misses++;
	/* Four levels translate 48 bits of guest-physical address, whatever MAXPHYADDR is. */
	if (gpa >> (x->host_levels == 4 ? 48 : 57))
		return stage2_stop(m, x, MMU_VIOLATION, 0, gpa, access, table, r);

	top = npwc_begin(m, x, gpa, &at, &rights);
	for (level = top;; level--) {
		hpa_t ehpa = at + 8 * PT_INDEX(gpa, level);
		uint64_t *entry = (uint64_t *)(x->bytes + ehpa);
		enum entry_state state;

		e = *entry;
		t->refs_host++;
		if (k.model || k.numa)
			t->cycles += mmu_table_cycles(m, x, ehpa);
		state = k.npt ? npt_decode(e, level, x->maxphyaddr, &own) : ept_decode(e, level, x->maxphyaddr, &own);
		if (state == ENTRY_ABSENT)
			return stage2_stop(m, x, MMU_VIOLATION, 0, gpa, access, table, r);
		if (state == ENTRY_BAD)
			return stage2_stop(m, x, MMU_MISCONFIG, PF_P | PF_RSVD, gpa, access, table, r);
		rights &= own;
		all &= e;
		steps.at[level] = (struct step2){ entry, e, rights };
		if (state == ENTRY_LEAF)
			break;
		at = e & PTE_ADDR;
	}
	if (level == 1)
		ahead_learn(m->ahead.stage2, gpa, at);
	if ((rights & access) != access)
		return stage2_stop(m, x, MMU_VIOLATION, PF_P, gpa, access, table, r);

	bool ad = k.npt || x->ad_bits;

	if (ad && (!(all & a) || ((access & ACC_W) && !(e & d))) &&
	    !stage2_update(m, x, gpa, access, table, steps, top, level, r))
		return false;
	out->hpa = (e & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) | (gpa & (LEVEL_SIZE(level) - 1));
	out->flags = rights | (!ad || (access & ACC_W) || (e & d) ? S2_DIRTY : 0);
	out->level = level;
	stage2_remember(m, gpa, steps.at, top, out);
	return true;
}

#endif
