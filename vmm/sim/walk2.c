/* SPDX-License-Identifier: MIT */
/*
 * walk2.c - the second stage: guest-physical to host-physical, Intel's way (EPT) and AMD's (NPT)
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
 * Translations that find everything as usual do not come here: walk_quick.c does them.
 *
 * Invariants: tests/model/test_mmu.c compares outcome, gpa, error and every A/D bit with a naive walker;
 * tests/unit/test_walk_refs.c the number of references.
 */
#include "vmm/sim/walk2.h"

/* One level of a second-stage walk in progress. */
struct step2 {
	uint64_t *entry;
	uint64_t val;	 /* as read */
	unsigned rights; /* down to here */
};

enum entry_state { ENTRY_ABSENT, ENTRY_BAD, ENTRY_TABLE, ENTRY_LEAF };

/* Address bits that must be zero in a large leaf, but for the lowest: bits 12 (or 13) to the size of the page. */
static inline uint64_t low_bits(unsigned level, uint64_t above)
{
	return (LEVEL_SIZE(level) - 1) & ~above;
}

static enum entry_state ept_decode(uint64_t e, unsigned level, unsigned maxphyaddr, unsigned *rights)
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

static enum entry_state npt_decode(uint64_t e, unsigned level, unsigned maxphyaddr, unsigned *rights)
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

/* Look for a cached translation; one that does not allow @access is dropped. 0: there is none. */
static uint64_t ntlb_find(struct sim_mmu *m, gpa_t gpa, unsigned access)
{
	struct assoc *a = &m->ntlb;
	unsigned need = access & ACC_W ? ACC_W | S2_DIRTY : access;

	for (unsigned level = 1; level <= 3; level++) {
		struct tlb_hit hit;

		if (!assoc_seen(a, level) || !tlb_probe(a, gpa, level, m->ids.guest, &hit))
			continue;
		uint64_t val = *slot_val(hit.slot);

		if ((val & need) != need) {
			slot_drop(hit.slot);
			continue;
		}
		assoc_touch(a, hit.slot);
		return stage2_word(val | (gpa & (LEVEL_SIZE(level) - 1)), val & S2_FLAGS, level);
	}
	return 0;
}

/* What an entry of @level says goes into its page-walk cache. */
static inline void npwc_insert(struct sim_mmu *m, gpa_t gpa, unsigned level, uint64_t table, unsigned rights)
{
	struct assoc *a = &m->npwc[level];
	uint64_t page = gpa >> LEVEL_SHIFT(level);

	if (a->ways)
		assoc_insert(a, page, 0, assoc_key(page, 0, m->ids.guest), (table & PTE_ADDR) | rights);
}

void walk_drop_gpa(struct sim_mmu *m, gpa_t gpa)
{
	walk_drop_pwc(m->npwc, gpa, m->ids.guest);
	for (unsigned level = 1; level <= 3; level++) {
		struct tlb_hit hit;

		if (assoc_seen(&m->ntlb, level) && tlb_probe(&m->ntlb, gpa, level, m->ids.guest, &hit))
			slot_drop(hit.slot);
	}
}

/* An access as stage2() was asked for it. */
struct request {
	gpa_t gpa;
	unsigned access;
	bool table;
};

/* Stop there. Always 0. */
static uint64_t stop(struct trip *t, enum mmu_outcome outcome, uint32_t error, struct request q)
{
	struct mmu_result *r = t->r;

	r->outcome = outcome;
	r->error = error | (q.access & ACC_W ? PF_W : 0) | (q.access & ACC_X ? PF_I : 0) | (t->x->npt ? PF_U : 0);
	r->gpa = q.gpa;
	r->table_access = q.table;
	if (outcome != MMU_PML_FULL)
		walk_drop_gpa(t->m, q.gpa);
	return 0;
}

/* The translation stands, and bits are to be set: accessed and dirty; a page that becomes dirty is logged. */
static bool update(struct trip *t, struct request q, const struct step2 *steps, unsigned top, unsigned leaf)
{
	const struct mmu_context *x = t->x;
	uint64_t a = x->npt ? PTE_A : EPT_A, d = x->npt ? PTE_D : EPT_D;
	bool dirties = (q.access & ACC_W) && !(steps[leaf].val & d);

	if (dirties && x->pml && !x->npt) {
		if (x->pml->n >= G_N_ELEMENTS(x->pml->gpa))
			return stop(t, MMU_PML_FULL, PF_P, q);
		x->pml->gpa[x->pml->n++] = q.gpa & PAGE_MASK;
		x->c->pml_entries++;
	}
	for (unsigned level = top; level > leaf; level--)
		mmu_set_bits(t->m, x, steps[level].entry, a, t->r);
	mmu_set_bits(t->m, x, steps[leaf].entry, dirties ? a | d : a, t->r);
	return true;
}

/* Read entries from @level's down to a leaf, whose level is returned; 0: there is none. */
static unsigned descend(struct trip *t, struct request q, struct step2 *steps, unsigned level, hpa_t at,
			unsigned rights)
{
	const struct mmu_context *x = t->x;

	for (;; level--) {
		hpa_t ehpa = at + 8 * PT_INDEX(q.gpa, level);
		uint64_t *entry = (uint64_t *)(x->bytes + ehpa), e = *entry;
		enum entry_state state;
		unsigned own;

		t->refs_host++;
		t->cycles += mmu_table_cycles(t->m, x, ehpa);
		state = x->npt ? npt_decode(e, level, x->maxphyaddr, &own) : ept_decode(e, level, x->maxphyaddr, &own);
		if (state == ENTRY_ABSENT)
			return (unsigned)stop(t, MMU_VIOLATION, 0, q);
		if (state == ENTRY_BAD)
			return (unsigned)stop(t, MMU_MISCONFIG, PF_P | PF_RSVD, q);
		rights &= own;
		steps[level] = (struct step2){ entry, e, rights };
		if (state == ENTRY_LEAF) {
			if (level == 1)
				ahead_learn(t->m->ahead.stage2, q.gpa, at);
			return level;
		}
		at = e & PTE_ADDR;
	}
}

uint64_t stage2(struct trip *t, gpa_t gpa, unsigned access, bool table)
{
	struct request q = { gpa, access, table };
	struct sim_mmu *m = t->m;
	const struct mmu_context *x = t->x;
	uint64_t word = ntlb_find(m, q.gpa, q.access), a = x->npt ? PTE_A : EPT_A, all = ~0ull, page;
	struct step2 steps[MAX_LEVELS + 1];
	hpa_t at = x->root & PTE_ADDR;
	unsigned top = x->host_levels, leaf, rights = ACC_RWX;
	bool ad = x->npt || x->ad_bits, dirty;

	if (word) {
		t->ntlb_hits++;
		return word;
	}
	t->ntlb_misses++;
	/* Four levels translate 48 bits of guest-physical address, whatever MAXPHYADDR is. */
	if (q.gpa >> (x->host_levels == 4 ? 48 : 57))
		return stop(t, MMU_VIOLATION, 0, q);

	struct slot s = pwc_find(m->npwc, q.gpa, m->ids.guest, &leaf);

	if (s.row) {
		assoc_touch(&m->npwc[leaf], s);
		at = *slot_val(s) & PTE_ADDR;
		rights = *slot_val(s) & ACC_RWX;
		top = leaf - 1;
	}
	leaf = descend(t, q, steps, top, at, rights);
	if (!leaf)
		return 0;
	rights = steps[leaf].rights;
	if ((rights & q.access) != q.access)
		return stop(t, MMU_VIOLATION, PF_P, q);
	dirty = !ad || (steps[leaf].val & (x->npt ? PTE_D : EPT_D));
	for (unsigned level = top; level >= leaf; level--)
		all &= steps[level].val;
	if (ad && (!(all & a) || ((q.access & ACC_W) && !dirty)) && !update(t, q, steps, top, leaf))
		return 0;
	for (unsigned level = top; level > leaf; level--)
		npwc_insert(m, q.gpa, level, steps[level].val, steps[level].rights);
	rights |= dirty || (q.access & ACC_W) ? S2_DIRTY : 0;
	at = steps[leaf].val & PTE_ADDR & ~(LEVEL_SIZE(leaf) - 1);
	page = q.gpa >> LEVEL_SHIFT(leaf);
	if (m->ntlb.ways)
		assoc_insert(&m->ntlb, page, leaf, assoc_key(page, leaf, m->ids.guest), at | rights);
	return stage2_word(at | (q.gpa & (LEVEL_SIZE(leaf) - 1)), rights, leaf);
}
