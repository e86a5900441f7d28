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
 * - With EPT A/D bits a guest's walk *writes* its tables as far as the second stage is concerned: needs W, sets D, logs.
 *   Without them it reads, and writes only to set a guest A or D bit.
 * - NPT: every access is a user one; the guest's walk always writes. A/D bits always exist.
 * - Bits are set, and the page-modification log is written, as each translation succeeds, before the guest's own walk goes
 *   on: if that one faults later, the references it made up to then stand. With the log full the dirty bit
 *   stays clear and the access stops there.
 * - A violation drops what was cached about the address, so that an entry the VMM has just made valid needs no INVEPT.
 *
 * Invariants: tests/model/test_mmu.c compares outcome, gpa, error and every A/D bit with a naive walker;
 * tests/unit/test_walk_refs.c the number of references.
 */
#include "vmm/sim/mmu_int.h"

#define EPT_RWX	   7ull
#define EPT_PS	   (1ull << 7)
#define EPT_A	   (1ull << 8)
#define EPT_D	   (1ull << 9)
#define EPT_TYPE(e) (((e) >> 3) & 7)

_Static_assert(ACC_R == 1 && ACC_W == 2 && ACC_X == 4, "EPT's rights are spelled as ours");

enum entry_state { ENTRY_ABSENT, ENTRY_BAD, ENTRY_TABLE, ENTRY_LEAF };

static uint64_t bits_between(unsigned high, unsigned low)
{
	return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* Memory types 2, 3 and 7 are reserved. */
static bool ept_bad_type(uint64_t e)
{
	unsigned type = EPT_TYPE(e);

	return type == 2 || type == 3 || type == 7;
}

static enum entry_state ept_decode(uint64_t e, unsigned level, unsigned maxphyaddr, unsigned *rights)
{
	if (!(e & EPT_RWX))
		return ENTRY_ABSENT;
	*rights = (unsigned)(e & EPT_RWX);
	if ((e & (ACC_R | ACC_W)) == ACC_W || (e & bits_between(51, maxphyaddr)))
		return ENTRY_BAD;
	if (level == 1 || (level <= 3 && (e & EPT_PS)))
		return ept_bad_type(e) || (level > 1 && (e & bits_between(LEVEL_SHIFT(level) - 1, 12))) ? ENTRY_BAD :
													  ENTRY_LEAF;
	return e & bits_between(7, 3) ? ENTRY_BAD : ENTRY_TABLE;
}

static enum entry_state npt_decode(uint64_t e, unsigned level, unsigned maxphyaddr, unsigned *rights)
{
	if (!(e & PTE_P))
		return ENTRY_ABSENT;
	*rights = e & PTE_U ? ACC_R | (e & PTE_W ? ACC_W : 0) | (e & PTE_NX ? 0 : ACC_X) : 0;
	if (e & bits_between(51, maxphyaddr))
		return ENTRY_BAD;
	if (level == 1)
		return ENTRY_LEAF;
	if (!(e & PTE_PS))
		return ENTRY_TABLE;
	/* A large leaf's bit 12 is PAT. */
	return level > 3 || (e & bits_between(LEVEL_SHIFT(level) - 1, 13)) ? ENTRY_BAD : ENTRY_LEAF;
}

void walk_drop_gpa(struct sim_mmu *m, gpa_t gpa)
{
	walk_drop_pwc(m->npwc, gpa, m->ids.guest);
	for (unsigned level = 1; level <= 3; level++) {
		struct tlb_hit hit;

		if (m->ntlb.count[level] && tlb_probe(&m->ntlb, gpa, level, m->ids.guest, &hit))
			assoc_drop(hit.a, hit.slot);
	}
}

/* Stop at an access to @gpa. Always false. */
static bool stop(struct sim_mmu *m, const struct mmu_context *x, enum mmu_outcome outcome, uint32_t error, gpa_t gpa,
		 unsigned access, bool table, struct mmu_result *r)
{
	r->outcome = outcome;
	r->error = error | (access & ACC_W ? PF_W : 0) | (access & ACC_X ? PF_I : 0) | (x->npt ? PF_U : 0);
	r->gpa = gpa;
	r->table_access = table;
	if (outcome != MMU_PML_FULL)
		walk_drop_gpa(m, gpa);
	return false;
}

/* Look for a cached translation; one that does not allow @access is dropped. */
static bool ntlb_find(struct sim_mmu *m, gpa_t gpa, unsigned access, struct stage2 *out)
{
	struct assoc *a = &m->ntlb;
	unsigned need = access & ACC_W ? ACC_W | S2_DIRTY : access;

	for (unsigned level = 1; level <= 3; level++) {
		struct tlb_hit hit;

		if (!a->count[level] || !tlb_probe(a, gpa, level, m->ids.guest, &hit))
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
static unsigned npwc_begin(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, hpa_t *table, unsigned *rights)
{
	for (unsigned level = 2; level <= x->host_levels; level++) {
		struct assoc *a = &m->npwc[level];
		uint64_t page = assoc_page(gpa, level);
		int32_t slot = a->count[0] ? assoc_find(a, assoc_set(a, page), assoc_key(page, 0, m->ids.guest)) : -1;

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

/* One level's worth of a walk in progress. */
struct step {
	uint64_t *entry;
	uint64_t val; /* as read */
	unsigned rights; /* down to here */
};

/* Fill the page-walk caches from the steps of levels above @leaf, and the nested TLB. */
static void remember(struct sim_mmu *m, gpa_t gpa, const struct step *steps, unsigned top, const struct stage2 *s)
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

/* The translation stands: set accessed and dirty bits, log a page that becomes dirty. */
static bool commit(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, unsigned access, bool table,
		   struct step *steps, unsigned top, unsigned leaf, struct mmu_result *r)
{
	uint64_t a = x->npt ? PTE_A : EPT_A, d = x->npt ? PTE_D : EPT_D;
	bool dirties = (access & ACC_W) && !(steps[leaf].val & d);

	if (!x->npt && !x->ad_bits)
		return true;
	if (dirties && x->pml && !x->npt) {
		if (x->pml->n >= 512)
			return stop(m, x, MMU_PML_FULL, PF_P, gpa, access, table, r);
		x->pml->gpa[x->pml->n++] = gpa & PAGE_MASK;
		x->c->pml_entries++;
	}
	for (unsigned level = top; level > leaf; level--)
		mmu_set_bits(m, x, steps[level].entry, a, r);
	mmu_set_bits(m, x, steps[leaf].entry, dirties ? a | d : a, r);
	return true;
}

bool walk_stage2(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, unsigned access, bool table,
		 struct stage2 *out, struct mmu_result *r)
{
	struct step steps[MAX_LEVELS + 1];
	unsigned top, level, rights;
	enum entry_state state;
	hpa_t at;

	if (ntlb_find(m, gpa, access, out)) {
		x->c->ntlb_hits++;
		return true;
	}
	x->c->ntlb_misses++;
	/* Four levels translate 48 bits of guest-physical address, whatever MAXPHYADDR is. */
	if (gpa >> (x->host_levels == 4 ? 48 : 57))
		return stop(m, x, MMU_VIOLATION, 0, gpa, access, table, r);

	top = npwc_begin(m, x, gpa, &at, &rights);
	for (level = top;; level--) {
		hpa_t ehpa = at + 8 * PT_INDEX(gpa, level);
		uint64_t *entry = (uint64_t *)(x->bytes + ehpa), e = *entry;
		unsigned own;

		r->refs++;
		x->c->walk_refs++;
		x->c->walk_refs_host++;
		r->walk_cycles += mmu_table_cycles(m, x, ehpa);
		state = x->npt ? npt_decode(e, level, x->maxphyaddr, &own) : ept_decode(e, level, x->maxphyaddr, &own);
		if (state == ENTRY_ABSENT)
			return stop(m, x, MMU_VIOLATION, 0, gpa, access, table, r);
		if (state == ENTRY_BAD)
			return stop(m, x, MMU_MISCONFIG, PF_P | PF_RSVD, gpa, access, table, r);
		rights &= own;
		steps[level] = (struct step){ entry, e, rights };
		if (level == 1)
			ahead_learn(m->ahead.stage2, gpa, at);
		if (state == ENTRY_LEAF)
			break;
		at = e & PTE_ADDR;
	}
	if ((rights & access) != access)
		return stop(m, x, MMU_VIOLATION, PF_P, gpa, access, table, r);
	if (!commit(m, x, gpa, access, table, steps, top, level, r))
		return false;

	bool clean = (x->npt || x->ad_bits) && !(*steps[level].entry & (x->npt ? PTE_D : EPT_D));

	out->hpa = (steps[level].val & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) | (gpa & (LEVEL_SIZE(level) - 1));
	out->flags = rights | (clean ? 0 : S2_DIRTY);
	out->level = level;
	remember(m, gpa, steps, top, out);
	return true;
}
