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
 * This is every rule spelled out; walks that meet nothing unusual are done in walk_quick.c.
 *
 * Invariants: as in walk2.c; that 1D and 2D cost (sum over levels of m_i + 1) + m references is
 * tests/unit/test_walk_refs.c.
 */
#include "vmm/sim/walk.h"

static void set_rules(struct rules *r, const struct mmu_context *x)
{
	uint64_t high = bits_from(x->maxphyaddr), stage1 = PTE_P | PTE_A;

	r->reserved1 = high | (x->regs->efer & EFER_NX ? 0 : PTE_NX);
	r->table1 = usual(stage1, r->reserved1 | PTE_PS);
	/* Global entries are put into the TLB under another tag. */
	r->load1 = usual(stage1, r->reserved1 | (x->regs->cr4 & CR4_PGE ? PTE_G : 0));
	r->store1 = usual(r->load1.want | PTE_D, r->load1.mask & ~r->load1.want);
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
	r->table_access = x->npt || x->ad_bits ? ACC_W : ACC_R;
	r->table_need = r->table_access == ACC_W ? ACC_W | S2_DIRTY : ACC_R;
	r->table_leaf = r->table_access == ACC_W ? r->store2 : r->load2;
}

/* All that set_rules() looks at. Never 0. */
static uint64_t rules_key(const struct mmu_context *x)
{
	return 1 | (uint64_t)x->npt << 1 | (uint64_t)x->ad_bits << 2 | (x->regs->efer & EFER_NX ? 1ull << 3 : 0) |
	       (x->regs->cr4 & CR4_PGE ? 1ull << 4 : 0) | (uint64_t)x->maxphyaddr << 5;
}

void walk_prepare(struct sim_mmu *m, const struct mmu_context *x)
{
	uint64_t key = rules_key(x);

	mmu_enter(m, x);
	if (m->rules_key != key) {
		m->rules_key = key;
		set_rules(&m->rules, x);
	}
	m->rules.flat = !m->cache_model && !mmu_numa(x);
	m->rules.quick = m->whole && !m->plain && !mmu_numa(x);
}

void walk_drop_pwc(struct assoc *pwc, uint64_t addr, unsigned space)
{
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		struct assoc *a = &pwc[level];
		uint64_t page = assoc_page(addr, level);
		struct slot s = { 0 };

		if (assoc_seen(a, 0))
			s = assoc_find(a, page, assoc_key(page, 0, space));
		if (s.row)
			slot_drop(s);
	}
}

static __attribute__((noinline)) bool fault(const struct walk *w, uint32_t error)
{
	walk_drop_pwc(w->t.m->pwc, w->gva, w->t.m->ids.own);
	return mmu_page_fault(w->t.x, w->access, error, w->t.r);
}

/* 1D: an address as an entry spells it. False if it lies beyond the guest's memory. */
static bool locate(const struct walk *w, uint64_t addr, bool table, hpa_t *hpa)
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

/* The table at @gpa is the one of @level: where is it in host memory? False: a fault. */
static bool find_table(struct walk *w, gpa_t gpa, unsigned level, unsigned rights)
{
	hpa_t table;

	if (w->t.x->walk == MMU_2D) {
		gpa_t at = gpa + 8 * PT_INDEX(w->gva, level);
		uint64_t word = stage2(&w->t, at, w->t.m->rules.table_access, true);

		_Static_assert(PWC_TABLE_W == ACC_W << 2, "a right that only moves");
		w->place[level] = (word & PTE_ADDR) | (word & ACC_W) << 2 | rights;
		return word != 0;
	}
	if (!locate(w, gpa, true, &table))
		return false;
	w->place[level] = table | PWC_TABLE_W | rights;
	return true;
}

/* Where to begin: below the lowest entry that a page-walk cache knows, else at the root. False: a fault. */
static bool begin(struct walk *w)
{
	const struct mmu_context *x = w->t.x;
	struct sim_mmu *m = w->t.m;
	unsigned level;
	struct slot s = pwc_find(m->pwc, w->gva & KEY_ADDR_MASK, m->ids.own, &level);

	if (s.row) {
		assoc_touch(&m->pwc[level], s);
		x->c->pwc_hits++;
		w->top = level - 1;
		w->place[w->top] = *slot_val(s);
		w->table_gpa = *slot_aux(s);
		return true;
	}
	w->table_gpa = (x->walk == MMU_2D || x->bias ? x->regs->cr3 : x->root) & PTE_ADDR;
	w->top = x->levels;
	return find_table(w, w->table_gpa, w->top, RIGHTS);
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

/* Read entries from @level's down to a leaf. */
static bool descend(struct walk *w, unsigned level)
{
	struct sim_mmu *m = w->t.m;

	for (;; level--) {
		hpa_t at = walk_entry_at(w, level);
		uint64_t e = *(const uint64_t *)(w->t.x->bytes + at);
		bool leaf = level == 1 || (level <= 3 && (e & PTE_PS));

		w->entry[level] = e;
		w->t.refs_guest++;
		w->t.cycles += mmu_table_cycles(m, w->t.x, at);
		if (!(e & PTE_P))
			return fault(w, 0);
		if (e & reserved_bits(w, level, leaf))
			return fault(w, PF_P | PF_RSVD);
		w->missing |= !(e & PTE_A) || (leaf && (w->access & ACC_W) && !(e & PTE_D));
		if (leaf) {
			w->leaf = level;
			if (level == 1 && w->top > 1)
				ahead_learn(m->ahead.stage1, w->gva, w->place[1]);
			return true;
		}
		if (!find_table(w, e & PTE_ADDR, level - 1, (unsigned)w->place[level] & rights_of(e)))
			return false;
	}
}

static uint64_t bits_to_set(const struct walk *w, unsigned level)
{
	uint64_t bits = level == w->leaf && (w->access & ACC_W) ? PTE_A | PTE_D : PTE_A;

	return bits & ~w->entry[level];
}

/* Setting a guest's A or D bit writes to its table: the second stage must allow that. */
static bool may_set_bits(const struct walk *w)
{
	for (unsigned level = w->top; level >= w->leaf; level--) {
		struct mmu_result *r = w->t.r;

		if ((w->place[level] & PWC_TABLE_W) || !bits_to_set(w, level))
			continue;
		r->outcome = MMU_VIOLATION;
		r->error = PF_P | PF_W | (w->t.x->npt ? PF_U : 0);
		r->gpa = level == w->top ? w->table_gpa : w->entry[level + 1] & PTE_ADDR;
		r->gpa += 8 * PT_INDEX(w->gva, level);
		r->table_access = true;
		walk_drop_gpa(w->t.m, r->gpa);
		walk_drop_pwc(w->t.m->pwc, w->gva, w->t.m->ids.own);
		return false;
	}
	return true;
}

static void set_bits(struct walk *w)
{
	const struct mmu_context *x = w->t.x;

	for (unsigned level = w->top; level >= w->leaf; level--)
		mmu_set_bits(w->t.m, x, (uint64_t *)(x->bytes + walk_entry_at(w, level)), bits_to_set(w, level),
			     w->t.r);
}

/* Entries above the leaf that this walk read go into the page-walk caches. */
static void fill_pwc(struct walk *w)
{
	for (unsigned level = w->top; level > w->leaf; level--) {
		struct assoc *a = &w->t.m->pwc[level];
		uint64_t page = (w->gva & KEY_ADDR_MASK) >> LEVEL_SHIFT(level);

		if (a->ways)
			*slot_aux(assoc_insert(a, page, 0, assoc_key(page, 0, w->t.m->ids.own),
					       w->place[level - 1])) = w->entry[level] & PTE_ADDR;
	}
}

/* The largest page that may be cached for @addr, whose stages map it with pages of @level at least. */
static unsigned fit_level(const struct walk *w, uint64_t addr, unsigned level)
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
static uint64_t finish(struct walk *w, unsigned rights)
{
	const struct mmu_context *x = w->t.x;
	struct sim_mmu *m = w->t.m;
	uint64_t leaf = w->entry[w->leaf], inside = LEVEL_SIZE(w->leaf) - 1;
	uint64_t addr = (leaf & PTE_ADDR & ~inside) | (w->gva & inside);
	unsigned flags = ACC_RWX | S2_DIRTY, level = w->leaf;
	hpa_t hpa;
	uint64_t val;

	if (x->walk == MMU_2D) {
		uint64_t word = stage2(&w->t, addr, w->access & ACC_RWX, false);

		if (!word)
			return 0;
		hpa = (word & PTE_ADDR) | (addr & ~PAGE_MASK);
		flags = word & S2_FLAGS;
		level = stage2_level(word) < level ? stage2_level(word) : level;
	} else if (!locate(w, addr, false, &hpa)) {
		return 0;
	}
	if (w->missing)
		set_bits(w);
	fill_pwc(w);
	level = fit_level(w, addr, level);
	if (!(leaf & PTE_D) && !(w->access & ACC_W))
		flags &= ~S2_DIRTY;
	/* With a bias a large page is not aligned to its size in host memory: the entry holds where it begins. */
	val = (hpa - (w->gva & (LEVEL_SIZE(level) - 1))) | rights | walk_tlb_flags(flags);
	if ((leaf & PTE_G) && (x->regs->cr4 & CR4_PGE))
		val |= TLB_GLOBAL;
	if (mmu_remote(x, hpa))
		val |= TLB_REMOTE;
	w->t.r->level = level;
	tlb_fill(&m->tlb, w->gva, level, &m->ids, val);
	return val;
}

/* What the walk did, whether it succeeded or not. */
static void publish(const struct trip *t)
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

uint64_t walk_on(struct walk *w, unsigned level)
{
	uint64_t val = 0;

	if (descend(w, level)) {
		unsigned rights = (unsigned)w->place[w->leaf] & rights_of(w->entry[w->leaf]);

		if (!stage1_allows(rights, w->access, cpu_mode_of(w->t.x->regs)))
			fault(w, PF_P);
		else if (!w->missing || may_set_bits(w))
			val = finish(w, rights);
	}
	publish(&w->t);
	return val;
}

uint64_t walk_plain(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, struct mmu_result *r)
{
	struct walk w = { .t = { .m = m, .x = x, .r = r }, .gva = gva, .access = access };

	if (begin(&w))
		return walk_on(&w, w.top);
	publish(&w.t);
	return 0;
}
