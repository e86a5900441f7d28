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
 * An entry that is as usual (struct usual) passes by one compare; whatever is not, is looked at closely, aside.
 *
 * Invariants: as in walk2.c; that 1D and 2D cost (sum over levels of m_i + 1) + m references is
 * tests/unit/test_walk_refs.c.
 */
#include "vmm/sim/walk2.h"

/* With the address of a table in host memory go PWC_TABLE_W and this; 0: not known. */
#define TABLE_KNOWN (1u << 4)

/* One level of a walk in progress. */
struct step {
	uint64_t *entry;
	uint64_t val;	 /* as read */
	gpa_t gpa;	 /* of the table that holds the entry, 2D */
	hpa_t table;	 /* the same in host memory, and PWC_TABLE_W */
	unsigned rights; /* down to here: TLB_W, TLB_U, TLB_X */
};

struct walk {
	struct trip t;
	gva_t gva;
	unsigned access;
	unsigned top, leaf; /* levels of the first and last entry read */
	gpa_t table_gpa;    /* 2D: where the first table is; 1D: its address, bias not yet added */
	hpa_t table;	    /* the same in host memory, and both flags */
	unsigned rights;
	bool missing; /* an A or D bit that this access has to set */
	struct step steps[MAX_LEVELS + 1];
};

static void set_rules(struct rules *r, const struct mmu_context *x)
{
	uint64_t high = bits_from(x->maxphyaddr), stage1 = PTE_P | PTE_A;

	r->reserved1 = high | (x->regs->efer & EFER_NX ? 0 : PTE_NX);
	r->table1 = usual(stage1, r->reserved1 | PTE_PS);
	r->load1 = usual(stage1, r->reserved1);
	r->store1 = usual(stage1 | PTE_D, r->reserved1);
	if (x->npt) {
		uint64_t all = PTE_P | PTE_W | PTE_U | PTE_A;

		r->dirty2 = PTE_D;
		r->table2 = usual(all, high | PTE_NX | PTE_PS);
		r->load2 = usual(all, high | PTE_NX);
	} else {
		uint64_t all = EPT_RWX | (x->ad_bits ? EPT_A : 0);

		r->dirty2 = x->ad_bits ? EPT_D : 0;
		r->table2 = usual(all, high | 0xf8);
		r->load2 = usual(all | EPT_WRITE_BACK, high | EPT_TYPE_MASK);
	}
	r->store2 = usual(r->load2.want | r->dirty2, r->load2.mask & ~r->load2.want & ~r->dirty2);
}

void walk_prepare(struct sim_mmu *m, const struct mmu_context *x)
{
	mmu_enter(m, x);
	set_rules(&m->rules, x);
	m->rules.flat = !m->cache_model && !mmu_numa(m, x);
	m->rules.quick2 = m->rules.flat && m->ntlb.ways;
}

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

static __attribute__((noinline)) bool fault(const struct walk *w, uint32_t error)
{
	walk_drop_pwc(w->t.m->pwc, w->gva, w->t.m->ids.own);
	return mmu_page_fault(w->t.x, w->access, error, w->t.r);
}

/* Where to begin: below the lowest entry that a page-walk cache knows, else at the root. */
static inline void begin(struct walk *w)
{
	const struct mmu_context *x = w->t.x;
	uint64_t addr = w->gva & KEY_ADDR_MASK;

#pragma GCC unroll 4
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		struct assoc *a = &w->t.m->pwc[level];
		uint64_t page = addr >> LEVEL_SHIFT(level), val;
		int32_t slot = a->seen[0] ? assoc_find(a, assoc_set(a, page), assoc_key(page, 0, w->t.m->ids.own)) : -1;

		if (slot < 0)
			continue;
		assoc_touch(a, (uint32_t)slot);
		x->c->pwc_hits++;
		val = a->val[slot];
		w->table = (val & (PTE_ADDR | PWC_TABLE_W)) | TABLE_KNOWN;
		w->table_gpa = a->aux[slot];
		w->rights = val & (TLB_W | TLB_U | TLB_X);
		w->top = level - 1;
		return;
	}
	w->table_gpa = (x->walk == MMU_2D || x->bias ? x->regs->cr3 : x->root) & PTE_ADDR;
	w->rights = TLB_W | TLB_U | TLB_X;
	w->table = 0;
	w->top = x->levels;
}

/* 1D: an address as an entry spells it. False if it lies beyond the guest's memory. */
static inline bool locate(const struct walk *w, uint64_t addr, bool table, hpa_t *hpa)
{
	const struct mmu_context *x = w->t.x;
	struct mmu_result *r = w->t.r;

	*hpa = addr + x->bias;
	if (!x->limit || addr < x->limit)
		return true;
	r->outcome = MMU_VIOLATION;
	r->error = w->access & ACC_W && !table ? PF_W : 0;
	r->gpa = addr;
	r->table_access = table;
	return false;
}

/* The host-physical address of the table at @gpa, whose entry at @offset is wanted, and flags. False: a fault. */
static inline bool find_table(struct walk *w, gpa_t gpa, uint64_t offset, hpa_t *table)
{
	const struct mmu_context *x = w->t.x;

	if (x->walk == MMU_2D) {
		uint64_t word = stage2(&w->t, gpa + offset, x->npt || x->ad_bits ? ACC_W : ACC_R, true);

		_Static_assert(PWC_TABLE_W == ACC_W << 2, "a right that only moves");
		*table = (word & PTE_ADDR) | (word & ACC_W) << 2 | TABLE_KNOWN;
		return word != 0;
	}
	if (!locate(w, gpa, true, table))
		return false;
	*table |= PWC_TABLE_W | TABLE_KNOWN;
	return true;
}

/* Bits that must be zero in a present entry. SDM vol. 3A, tables 4-14 to 4-20. */
static uint64_t reserved_bits(const struct walk *w, unsigned level, bool leaf)
{
	uint64_t bits = w->t.m->rules.reserved1;

	if (level > 3)
		bits |= PTE_PS;
	if (leaf && level > 1)
		bits |= (LEVEL_SIZE(level) - 1) & ~0x1fffull; /* bit 12 is PAT */
	return bits;
}

/* R/W, U/S and not NX as TLB_W, TLB_U, TLB_X. */
static inline unsigned rights_of(uint64_t e)
{
	_Static_assert(TLB_W == PTE_W >> 1 && TLB_U == PTE_U >> 1 && TLB_X == PTE_NX >> 61, "bits keep their order");

	return (unsigned)(e >> 1 & (TLB_W | TLB_U)) | (unsigned)(~e >> 61 & TLB_X);
}

/* An entry that is not as usual. False: it faults. */
static __attribute__((noinline)) bool look_closely(struct walk *w, uint64_t e, unsigned level, bool *leaf)
{
	*leaf = level == 1 || (level <= 3 && (e & PTE_PS));
	if (!(e & PTE_P))
		return fault(w, 0);
	if (e & reserved_bits(w, level, *leaf))
		return fault(w, PF_P | PF_RSVD);
	w->missing |= !(e & PTE_A) || (*leaf && (w->access & ACC_W) && !(e & PTE_D));
	return true;
}

/* Read entries down to a leaf. */
static inline bool descend(struct walk *w)
{
	const struct mmu_context *x = w->t.x;
	struct sim_mmu *m = w->t.m;
	gpa_t table_gpa = w->table_gpa;
	hpa_t table = w->table;
	unsigned rights = w->rights;

	for (unsigned level = w->top;; level--) {
		uint64_t offset = 8 * PT_INDEX(w->gva, level), e;
		bool leaf = level == 1;

		if (!table && !find_table(w, table_gpa, offset, &table))
			return false;

		uint64_t *entry = (uint64_t *)(x->bytes + (table & PTE_ADDR) + offset);

		e = *entry;
		w->t.refs_guest++;
		if (UNLIKELY(!m->rules.flat))
			w->t.cycles += mmu_table_cycles(m, x, (table & PTE_ADDR) + offset);

		const struct usual *u = !leaf		  ? &m->rules.table1 :
					w->access & ACC_W ? &m->rules.store1 :
							    &m->rules.load1;

		if (UNLIKELY(!is_usual(e, *u)) && !look_closely(w, e, level, &leaf))
			return false;
		rights &= rights_of(e);
		w->steps[level] = (struct step){ entry, e, table_gpa, table ^ TABLE_KNOWN, rights };
		if (leaf) {
			w->leaf = level;
			if (level == 1 && w->top > 1)
				ahead_learn(m->ahead.stage1, w->gva, table);
			return true;
		}
		table_gpa = e & PTE_ADDR;
		table = 0;
	}
}

static uint64_t bits_to_set(const struct walk *w, unsigned level)
{
	uint64_t bits = level == w->leaf && (w->access & ACC_W) ? PTE_A | PTE_D : PTE_A;

	return bits & ~w->steps[level].val;
}

/* Setting a guest's A or D bit writes to its table: the second stage must allow that. */
static __attribute__((noinline)) bool may_set_bits(const struct walk *w)
{
	for (unsigned level = w->top; level >= w->leaf; level--) {
		const struct step *s = &w->steps[level];
		struct mmu_result *r = w->t.r;

		if ((s->table & PWC_TABLE_W) || !bits_to_set(w, level))
			continue;
		r->outcome = MMU_VIOLATION;
		r->error = PF_P | PF_W | (w->t.x->npt ? PF_U : 0);
		r->gpa = s->gpa + 8 * PT_INDEX(w->gva, level);
		r->table_access = true;
		walk_drop_gpa(w->t.m, r->gpa);
		walk_drop_pwc(w->t.m->pwc, w->gva, w->t.m->ids.own);
		return false;
	}
	return true;
}

static __attribute__((noinline)) void set_bits(struct walk *w)
{
	for (unsigned level = w->top; level >= w->leaf; level--)
		mmu_set_bits(w->t.m, w->t.x, w->steps[level].entry, bits_to_set(w, level), w->t.r);
}

/* Entries above the leaf that this walk read go into the page-walk caches. */
static inline void fill_pwc(struct walk *w)
{
	for (unsigned level = w->top; level > w->leaf; level--) {
		struct assoc *a = &w->t.m->pwc[level];
		uint64_t page = (w->gva & KEY_ADDR_MASK) >> LEVEL_SHIFT(level);

		if (a->ways)
			a->aux[assoc_insert(a, assoc_set(a, page), 0, assoc_key(page, 0, w->t.m->ids.own),
					    w->steps[level - 1].table | w->steps[level].rights)] =
				w->steps[level].val & PTE_ADDR;
	}
}

/* The largest page that may be cached for @addr, whose stages map it with pages of @level at least. */
static __attribute__((noinline)) unsigned fit_level(const struct walk *w, uint64_t addr, unsigned level)
{
	const struct tlb *tlb = &w->t.m->tlb;
	uint64_t limit = w->t.x->limit;

	level = tlb_level(tlb, level);
	/* An entry must not reach beyond the end of memory, where the next access has to fail. */
	while (limit && level > 1 && (addr | (LEVEL_SIZE(level) - 1)) >= limit)
		level = tlb_level(tlb, level - 1);
	return level;
}

/* Translate the page itself, in whichever dimension, and put it into the TLB. */
static inline bool finish(struct walk *w, uint64_t *val, unsigned *level)
{
	const struct mmu_context *x = w->t.x;
	struct sim_mmu *m = w->t.m;
	const struct step *leaf = &w->steps[w->leaf];
	uint64_t inside = LEVEL_SIZE(w->leaf) - 1;
	uint64_t addr = (leaf->val & PTE_ADDR & ~inside) | (w->gva & inside);
	unsigned flags = ACC_RWX | S2_DIRTY, size = w->leaf;
	hpa_t hpa;

	if (x->walk == MMU_2D) {
		uint64_t word = stage2(&w->t, addr, w->access & ACC_RWX, false);

		if (!word)
			return false;
		hpa = (word & PTE_ADDR) | (addr & ~PAGE_MASK);
		flags = word & S2_FLAGS;
		size = stage2_level(word) < size ? stage2_level(word) : size;
	} else if (!locate(w, addr, false, &hpa)) {
		return false;
	}
	if (UNLIKELY(w->missing))
		set_bits(w);
	fill_pwc(w);
	if (UNLIKELY(size > 1))
		size = fit_level(w, addr, size);

	uint64_t dirty = w->access & ACC_W ? PTE_D : leaf->val & PTE_D;

	/* With a bias a large page is not aligned to its size in host memory: the entry holds where it begins. */
	*val = (hpa - (w->gva & (LEVEL_SIZE(size) - 1))) | leaf->rights | (flags & ACC_R ? TLB_LOAD : 0) |
	       (flags & ACC_X ? TLB_FETCH : 0) | (dirty && (flags & ACC_W) && (flags & S2_DIRTY) ? TLB_STORE : 0);
	if (UNLIKELY((leaf->val & PTE_G) && (x->regs->cr4 & CR4_PGE)))
		*val |= TLB_GLOBAL;
	if (UNLIKELY(!m->rules.flat && mmu_remote(m, x, hpa)))
		*val |= TLB_REMOTE;
	*level = size;
	tlb_fill(&m->tlb, w->gva, size, &m->ids, *val);
	return true;
}

/* What the walk did, whether it succeeded or not. */
static inline void publish(const struct trip *t)
{
	struct counters *c = t->x->c;
	uint32_t refs = t->refs_guest + t->refs_host;

	c->walks++;
	c->walk_refs += refs;
	c->walk_refs_guest += t->refs_guest;
	c->walk_refs_host += t->refs_host;
	c->ntlb_hits += t->ntlb_hits;
	c->ntlb_misses += t->ntlb_misses;
	t->r->refs += refs;
	t->r->walk_cycles += t->m->p.walk_start_cycles;
	t->r->walk_cycles += t->m->rules.flat ? (uint64_t)refs * t->m->p.flat_ref_cycles : t->cycles;
}

bool walk_stage1(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, uint64_t *val,
		 unsigned *level, struct mmu_result *r)
{
	struct walk w;
	bool ok;

	w.t = (struct trip){ .m = m, .x = x, .r = r };
	w.gva = gva;
	w.access = access;
	w.missing = false;
	begin(&w);
	ok = descend(&w);
	if (ok && UNLIKELY(!stage1_allows(w.steps[w.leaf].rights, access, cpu_mode_of(x->regs))))
		ok = fault(&w, PF_P);
	ok = ok && (!UNLIKELY(w.missing) || may_set_bits(&w)) && finish(&w, val, level);
	publish(&w.t);
	return ok;
}
