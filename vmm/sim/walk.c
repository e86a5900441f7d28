/* SPDX-License-Identifier: MIT */
/*
 * walk.c - the first stage: a linear address through the table at CR3, in one or two dimensions
 *
 * Problem. On a TLB miss the processor walks four or five levels of table. In 1D an entry holds host-physical addresses
 * (shadow, pv; native with a bias); in 2D guest-physical ones, each of which goes through the second stage first.
 *
 * Idea. Walk down, remember each step, decide at the leaf, and only then write: accessed bits of every level used, the
 * dirty bit of the leaf, page-walk caches, TLB. So an access that faults in stage 1, or whose data violates in stage 2,
 * has changed nothing in stage 1. (Real processors may set accessed bits earlier; the architecture allows both.)
 *
 * Rules (Intel SDM vol. 3A, 4.5 to 4.8 and 4.10; vol. 3C, 28.3.3.2 for what a walk may do to the guest's tables):
 * - not present: error P = 0. Reserved bits in a present entry: P and RSVD, before anything below is looked at. Rights
 *   are judged once, at the leaf, over all levels.
 * - Page-walk caches hold only entries that point to tables and have been used, that is, whose accessed bit is set. In
 *   2D they hold the host-physical address of the next table, which saves translating it.
 * - A fault drops what the caches knew of the address: the next attempt reads the tables.
 *
 * The walk is compiled three times: for one dimension and for EPT with flat costs on one node, which is what long runs
 * do, and for everything else. Only constants differ.
 *
 * Invariants: as in walk2.h; that 1D and 2D cost (sum over levels of m_i + 1) + m references is
 * tests/unit/test_walk_refs.c.
 */
#include "vmm/sim/walk2.h"

/* One level of a walk in progress. */
struct step {
	uint64_t *entry;
	uint64_t val;	 /* as read */
	gpa_t gpa;	 /* of the entry, 2D */
	hpa_t table;	 /* that holds the entry */
	unsigned rights; /* down to here: TLB_W, TLB_U, TLB_X */
	bool table_w;	 /* stage 2 allows writing to the table */
};

struct walk {
	struct sim_mmu *m;
	const struct mmu_context *x;
	struct mmu_result *r;
	gva_t gva;
	unsigned access;
	unsigned top, leaf; /* levels of the first and last entry read */
	gpa_t table_gpa;    /* 2D: where the next table is; 1D: its address, bias not yet added */
	hpa_t table;	    /* the next table, if `known` */
	bool known, table_w;
	unsigned rights;
	bool missing; /* an A or D bit that this access has to set */
	struct tally t;
	struct step steps[MAX_LEVELS + 1];
};

void walk_drop_pwc(struct assoc *pwc, uint64_t addr, unsigned space)
{
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		struct assoc *a = &pwc[level];
		uint64_t page = assoc_page(addr, level);
		int32_t slot = a->seen[0] ? assoc_find(a, assoc_set(a, page), assoc_key(page, 0, space)) : -1;

		if (slot >= 0)
			assoc_drop(a, (uint32_t)slot);
	}
}

/*
 * In what follows a struct walk is never passed by address to a function that is not inlined: then the compiler may
 * keep it in registers, whatever is stored through other pointers. What is rare gets a copy.
 */
static __attribute__((noinline)) bool stop_fault(struct sim_mmu *m, const struct mmu_context *x, gva_t gva,
						 unsigned access, uint32_t error, struct mmu_result *r)
{
	walk_drop_pwc(m->pwc, gva, m->ids.own);
	return mmu_page_fault(x, access, error, r);
}

ALWAYS_INLINE bool fault(const struct walk *w, uint32_t error)
{
	return stop_fault(w->m, w->x, w->gva, w->access, error, w->r);
}

/* Where to begin: below the lowest entry that a page-walk cache knows, else at the root. */
ALWAYS_INLINE void begin(struct kind k, struct walk *w)
{
	const struct mmu_context *x = w->x;

#pragma GCC unroll 4
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		struct assoc *a = &w->m->pwc[level];
		uint64_t page = assoc_page(w->gva, level);
		int32_t slot = a->seen[0] ? assoc_find(a, assoc_set(a, page), assoc_key(page, 0, w->m->ids.own)) : -1;

		if (slot < 0)
			continue;
		assoc_touch(a, (uint32_t)slot);
		x->c->pwc_hits++;
		w->table = a->val[slot] & PTE_ADDR;
		w->table_gpa = a->aux[slot];
		w->rights = a->val[slot] & (TLB_W | TLB_U | TLB_X);
		w->table_w = (a->val[slot] & PWC_TABLE_W) != 0;
		w->known = true;
		w->top = level - 1;
		return;
	}
	w->table_gpa = (k.two || x->bias ? x->regs->cr3 : x->root) & PTE_ADDR;
	w->rights = TLB_W | TLB_U | TLB_X;
	w->known = false;
	w->top = x->levels;
}

/* 1D: an address as an entry spells it. False if it lies beyond the guest's memory. */
ALWAYS_INLINE bool locate(const struct walk *w, uint64_t addr, bool table, hpa_t *hpa)
{
	const struct mmu_context *x = w->x;

	*hpa = addr + x->bias;
	if (!x->limit || addr < x->limit)
		return true;
	w->r->outcome = MMU_VIOLATION;
	w->r->error = w->access & ACC_W && !table ? PF_W : 0;
	w->r->gpa = addr;
	w->r->table_access = table;
	return false;
}

/* Find the host-physical address of the table for @level's entry. */
ALWAYS_INLINE bool find_table(struct kind k, struct walk *w, unsigned level)
{
	const struct mmu_context *x = w->x;
	gpa_t entry_gpa = w->table_gpa + 8 * PT_INDEX(w->gva, level);
	struct stage2 s = { 0 };

	if (w->known) {
		w->known = false; /* of this table only */
		return true;
	}
	w->table_w = true;
	if (!k.two)
		return locate(w, w->table_gpa, true, &w->table);
	if (!walk_stage2(k, w->m, x, entry_gpa, k.npt || x->ad_bits ? ACC_W : ACC_R, true, &s, &w->t, w->r))
		return false;
	w->table = s.hpa & PAGE_MASK;
	w->table_w = (s.flags & ACC_W) != 0;
	return true;
}

/* Bits that must be zero in a present entry. SDM vol. 3A, tables 4-14 to 4-20. */
ALWAYS_INLINE uint64_t reserved_bits(const struct mmu_context *x, unsigned level, bool leaf)
{
	uint64_t bits = PTE_ADDR & (~0ull << x->maxphyaddr);

	if (!(x->regs->efer & EFER_NX))
		bits |= PTE_NX;
	if (level > 3)
		bits |= PTE_PS;
	if (leaf && level > 1)
		bits |= (LEVEL_SIZE(level) - 1) & ~0x1fffull; /* bit 12 is PAT */
	return bits;
}

/* Read entries down to a leaf. */
ALWAYS_INLINE bool descend(struct kind k, struct walk *w)
{
	const struct mmu_context *x = w->x;

	for (unsigned level = w->top;; level--) {
		if (!find_table(k, w, level))
			return false;

		uint64_t offset = 8 * PT_INDEX(w->gva, level);
		uint64_t *entry = (uint64_t *)(x->bytes + w->table + offset), e = *entry;
		bool leaf = level == 1 || (level <= 3 && (e & PTE_PS));

		w->t.refs_guest++;
		if (k.model || k.numa)
			w->t.cycles += mmu_table_cycles(w->m, x, w->table + offset);
		if (!(e & PTE_P))
			return fault(w, 0);
		if (e & reserved_bits(x, level, leaf))
			return fault(w, PF_P | PF_RSVD);
		w->rights &= (e & PTE_W ? TLB_W : 0) | (e & PTE_U ? TLB_U : 0) | (e & PTE_NX ? 0 : TLB_X);
		w->steps[level] = (struct step){ entry, e, w->table_gpa + offset, w->table, w->rights, w->table_w };
		w->leaf = level;
		if (level == 1)
			ahead_learn(w->m->ahead.stage1, w->gva, w->table);
		if (leaf)
			return true;
		w->table_gpa = e & PTE_ADDR;
	}
}

ALWAYS_INLINE uint64_t bits_to_set(const struct walk *w, unsigned level)
{
	uint64_t bits = level == w->leaf && (w->access & ACC_W) ? PTE_A | PTE_D : PTE_A;

	return bits & ~w->steps[level].val;
}

ALWAYS_INLINE bool lacks_bits(const struct walk *w)
{
	uint64_t all = PTE_A | PTE_D;

	for (unsigned level = w->top; level >= w->leaf; level--)
		all &= w->steps[level].val | (level == w->leaf && (w->access & ACC_W) ? 0 : PTE_D);
	return all != (PTE_A | PTE_D);
}

/* Setting a guest's A or D bit writes to its table: the second stage must allow that. */
static __attribute__((noinline)) bool may_set_bits(struct walk w)
{
	for (unsigned level = w.top; level >= w.leaf; level--) {
		const struct step *s = &w.steps[level];

		if (s->table_w || !bits_to_set(&w, level))
			continue;
		w.r->outcome = MMU_VIOLATION;
		w.r->error = PF_P | PF_W | (w.x->npt ? PF_U : 0);
		w.r->gpa = s->gpa;
		w.r->table_access = true;
		walk_drop_gpa(w.m, s->gpa);
		walk_drop_pwc(w.m->pwc, w.gva, w.m->ids.own);
		return false;
	}
	return true;
}

static __attribute__((noinline)) void set_bits(struct walk w)
{
	for (unsigned level = w.top; level >= w.leaf; level--)
		mmu_set_bits(w.m, w.x, w.steps[level].entry, bits_to_set(&w, level), w.r);
}

/* Entries above the leaf that this walk read go into the page-walk caches. */
ALWAYS_INLINE void fill_pwc(struct walk *w)
{
	for (unsigned level = w->top; level > w->leaf; level--) {
		struct assoc *a = &w->m->pwc[level];
		uint64_t page = assoc_page(w->gva, level);
		const struct step *next = &w->steps[level - 1];
		uint64_t val = next->table | w->steps[level].rights | (next->table_w ? PWC_TABLE_W : 0);

		if (a->ways)
			a->aux[assoc_insert(a, assoc_set(a, page), assoc_key(page, 0, w->m->ids.own), val)] =
				w->steps[level].val & PTE_ADDR;
	}
}

/* Translate the page itself, in whichever dimension, and put it into the TLB. */
ALWAYS_INLINE bool finish(struct kind k, struct walk *w, uint64_t *val, unsigned *level)
{
	const struct mmu_context *x = w->x;
	const struct step *leaf = &w->steps[w->leaf];
	uint64_t inside = LEVEL_SIZE(w->leaf) - 1;
	uint64_t addr = (leaf->val & PTE_ADDR & ~inside) | (w->gva & inside);
	struct stage2 s = { .flags = ACC_RWX | S2_DIRTY, .level = w->leaf };

	if (!k.two ? !locate(w, addr, false, &s.hpa) :
		     !walk_stage2(k, w->m, x, addr, w->access & ACC_RWX, false, &s, &w->t, w->r))
		return false;
	if (w->missing)
		set_bits(*w);
	fill_pwc(w);

	bool dirty = (leaf->val & PTE_D) || (w->access & ACC_W);
	bool store = dirty && (s.flags & ACC_W) && (s.flags & S2_DIRTY);
	bool global = (leaf->val & PTE_G) && (x->regs->cr4 & CR4_PGE);

	*level = tlb_level(&w->m->tlb, s.level < w->leaf ? s.level : w->leaf);
	/* An entry must not reach beyond the end of memory, where the next access has to fail. */
	while (x->limit && *level > 1 && (addr | (LEVEL_SIZE(*level) - 1)) >= x->limit)
		*level = tlb_level(&w->m->tlb, *level - 1);
	/* With a bias a large page is not aligned to its size in host memory: the entry holds where it begins. */
	*val = (s.hpa - (w->gva & (LEVEL_SIZE(*level) - 1))) | leaf->rights | (s.flags & ACC_R ? TLB_LOAD : 0) |
	       (s.flags & ACC_X ? TLB_FETCH : 0) | (store ? TLB_STORE : 0) | (global ? TLB_GLOBAL : 0) |
	       (k.numa && mmu_remote(w->m, x, s.hpa) ? TLB_REMOTE : 0);
	tlb_fill(&w->m->tlb, w->gva, *level, &w->m->ids, *val);
	return true;
}

/* What the walk did, whether it succeeded or not. */
ALWAYS_INLINE void publish(struct kind k, const struct walk *w)
{
	const struct tally *t = &w->t;
	struct counters *c = w->x->c;
	uint32_t refs = t->refs_guest + t->refs_host;

	c->walks++;
	c->walk_refs += refs;
	c->walk_refs_guest += t->refs_guest;
	c->walk_refs_host += t->refs_host;
	c->ntlb_hits += t->ntlb_hits;
	c->ntlb_misses += t->ntlb_misses;
	w->r->refs += refs;
	w->r->walk_cycles += w->m->p.walk_start_cycles;
	w->r->walk_cycles += k.model || k.numa ? t->cycles : (uint64_t)refs * w->m->p.flat_ref_cycles;
}

ALWAYS_INLINE bool walk_as(struct kind k, struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access,
			   uint64_t *val, unsigned *level, struct mmu_result *r)
{
	struct walk w;
	bool ok;

	w.m = m;
	w.x = x;
	w.r = r;
	w.gva = gva;
	w.access = access;
	w.t = (struct tally){ 0 };
	begin(k, &w);
	ok = descend(k, &w);
	if (ok && !stage1_allows(w.rights, access, cpu_mode_of(x->regs)))
		ok = fault(&w, PF_P);
	if (ok) {
		w.missing = lacks_bits(&w);
		ok = (!w.missing || may_set_bits(w)) && finish(k, &w, val, level);
	}
	publish(k, &w);
	return ok;
}

bool walk_stage1(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, uint64_t *val,
		 unsigned *level, struct mmu_result *r)
{
	struct kind k = {
		.two = x->walk == MMU_2D,
		.npt = x->npt,
		.model = m->cache_model,
		.numa = mmu_numa(m, x),
	};

	if (!k.two && !k.model && !k.numa)
		return walk_as((struct kind){ 0 }, m, x, gva, access, val, level, r);
	if (k.two && !k.npt && !k.model && !k.numa)
		return walk_as((struct kind){ .two = true }, m, x, gva, access, val, level, r);
	return walk_as(k, m, x, gva, access, val, level, r);
}
