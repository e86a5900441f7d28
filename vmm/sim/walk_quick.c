/* SPDX-License-Identifier: MIT */
/*
 * walk_quick.c - the walks that nearly all are, in few instructions
 *
 * Problem. A program whose pages outnumber the TLB walks at every other access, and a two-dimensional walk makes a
 * dozen look-ups and half a dozen replacements in TLBs and page-walk caches, each of which must be done exactly.
 *
 * Idea. On one node, with 4K pages, and with every entry as usual (struct usual), there is nothing to decide: what a
 * walk reads is compared with a mask, what it found goes into the caches. At flat costs nothing is called, so that all
 * of it stays in registers; with sets of four ways everywhere, as many processors have, it is compiled once more with
 * that number known. What is unusual is met before it has changed anything: walk_on() takes over from there, stage2()
 * for one translation. (So with other costs an entry's reference is charged when it is known that all went well.)
 *
 * Invariant: what a walk does and counts is what walk_plain() does and counts (tests/model/test_mmu_run.c).
 */
#include "vmm/sim/walk.h"

#define ALWAYS static inline __attribute__((always_inline))

/* @four: the array has sets of four ways. */
ALWAYS uint8_t *row_of(const struct assoc *a, uint64_t page, bool four)
{
	return four ? assoc_row4(a, page) : assoc_row(a, page);
}

ALWAYS struct slot find(const struct assoc *a, uint8_t *row, uint64_t key, bool four)
{
	return row_find(row, four ? 4 : a->stride, key);
}

ALWAYS struct slot insert(struct assoc *a, uint8_t *row, unsigned level, uint64_t key, uint64_t val, uint32_t now,
			  bool four)
{
	struct slot s = row_victim(row, four ? 4 : a->stride);

	a->seen |= 1u << level;
	*slot_key(s) = key;
	*slot_val(s) = val;
	*slot_stamp(s) = now;
	return s;
}

/* The lowest entry for @addr in page-walk caches, and its *level: the fourth is the last that matters. */
ALWAYS struct slot find_pwc(const struct assoc *pwc, uint64_t addr, unsigned space, unsigned *level, bool four)
{
	struct slot s = { 0 };

#pragma GCC unroll 3
	for (unsigned l = 2; l <= 4; l++) {
		uint64_t page = addr >> LEVEL_SHIFT(l);

		*level = l;
		s = find(&pwc[l], row_of(&pwc[l], page, four), assoc_key(page, 0, space), four);
		if (s.row)
			break;
	}
	return s;
}

/* The state of a walk that changes with every step. */
struct going {
	uint64_t tally;
	uint32_t now; /* m->clock, between calls of what is not in this file */
	/* With other than flat costs: cycles, and a reference that is charged with the next translation, or 0. */
	uint64_t cycles;
	hpa_t pending;
};

ALWAYS void charge(struct sim_mmu *m, const struct mmu_context *x, hpa_t at, struct going *g)
{
	if (at)
		g->cycles += mmu_table_cycles(m, x, at);
}

/* Entries from @top down to the second level, read on the way to @gpa, into the second stage's page-walk caches. */
ALWAYS void fill_npwc(struct sim_mmu *m, gpa_t gpa, const uint64_t *upper, unsigned top, uint32_t now, bool four)
{
#pragma GCC unroll 2
	for (unsigned level = 3; level > 1; level--) {
		uint64_t p = gpa >> LEVEL_SHIFT(level);

		if (level <= top)
			insert(&m->npwc[level], row_of(&m->npwc[level], p, four), 0, assoc_key(p, 0, m->ids.guest),
			       (upper[level] & PTE_ADDR) | ACC_RWX, now, four);
	}
}

/* As stage2(), for an entry of @leaf's looks that allows @need. 0: it is not that simple, and nothing was done. */
ALWAYS uint64_t translate(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, unsigned need, struct usual leaf,
			  struct going *g, bool four, bool flat)
{
	struct assoc *ntlb = &m->ntlb;
	uint64_t page = gpa >> PAGE_SHIFT, key = assoc_key(page, 1, m->ids.guest), at, e, upper[4];
	hpa_t ref[4];
	uint8_t *row = row_of(ntlb, page, four);
	struct slot s = find(ntlb, row, key, four);
	unsigned top;

	if (UNLIKELY(ntlb->seen & ~2u))
		return 0;
	if (UNLIKELY(s.row)) {
		at = *slot_val(s);
		if (UNLIKELY((at & need) != need))
			return 0;
		if (!flat)
			charge(m, x, g->pending, g);
		*slot_stamp(s) = ++g->now;
		g->tally += WALK_HIT;
		return at;
	}
	s = find_pwc(m->npwc, gpa, m->ids.guest, &top, four);
	if (UNLIKELY(!s.row))
		return 0;
	top--;
	at = *slot_val(s);
	if (UNLIKELY((at & ACC_RWX) != ACC_RWX))
		return 0;
#pragma GCC unroll 2
	for (unsigned level = 3; level > 1; level--) {
		if (level > top)
			continue;
		ref[level] = (at & PTE_ADDR) + 8 * PT_INDEX(gpa, level);
		upper[level] = at = *(const uint64_t *)(x->bytes + ref[level]);
		if (UNLIKELY(!is_usual(at, m->rules.table2)))
			return 0;
	}
	at &= PTE_ADDR;
	ref[1] = at + 8 * PT_INDEX(gpa, 1);
	e = *(const uint64_t *)(x->bytes + ref[1]);
	if (UNLIKELY(!is_usual(e, leaf)))
		return 0;

	if (!flat) {
		charge(m, x, g->pending, g);
		for (unsigned level = top; level; level--)
			charge(m, x, ref[level], g);
	}

	*slot_stamp(s) = ++g->now;
	g->tally += WALK_MISS + top;
	if (top > 1)
		ahead_learn(m->ahead.stage2, gpa, at);
	fill_npwc(m, gpa, upper, top, g->now, four);
	at = (e & PTE_ADDR) | ACC_RWX | ((e & m->rules.dirty2) == m->rules.dirty2 ? S2_DIRTY : 0);
	insert(ntlb, row, 1, key, at, g->now, four);
	return at;
}

/* A 4K page's entry, into both levels of TLB. */
ALWAYS void fill_tlb(struct tlb *t, uint64_t page, unsigned space, uint64_t val, uint32_t now, bool four)
{
	struct assoc *l1 = t->l1[1], *l2 = t->l2[1];
	uint64_t key = assoc_key(page, 1, space);

	insert(l1, row_of(l1, page, four), 1, key, val, now, four);
	insert(l2, assoc_row(l2, page), 1, key, val, now, false);
}

/* The long way from @level on, for a walk that has come so far. */
static __attribute__((noinline)) uint64_t go_on(struct walk *w, unsigned level, struct going g)
{
	w->t.refs_guest = w->top - level;
	w->t.refs_host = (uint16_t)g.tally;
	w->t.ntlb_hits = (uint16_t)(g.tally / WALK_HIT);
	w->t.ntlb_misses = (uint16_t)(g.tally / WALK_MISS);
	w->t.cycles = g.cycles;
	w->t.m->clock = g.now;
	w->t.x->c->pwc_hits++;
	return walk_on(w, level);
}

/* What translate() would not do. */
static __attribute__((noinline)) uint64_t table_closely(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa,
							struct mmu_result *r, struct going *g)
{
	struct trip t = { .m = m, .x = x, .r = r };
	uint64_t word;

	m->clock = g->now;
	word = stage2(&t, gpa, m->rules.table_access, true);
	g->now = m->clock;
	g->cycles += t.cycles;
	g->tally += t.refs_host + t.ntlb_hits * WALK_HIT + t.ntlb_misses * WALK_MISS;
	return word;
}

/* What a complete walk did. */
ALWAYS void publish(struct sim_mmu *m, struct mmu_result *r, struct going g, bool flat)
{
	uint32_t refs = (uint32_t)(g.tally / WALK_GUEST) + (uint16_t)g.tally;

	m->clock = g.now;
	m->quick_walks++;
	m->quick_tally += g.tally;
	r->refs += refs;
	r->walk_cycles += m->p.walk_start_cycles + (flat ? (uint64_t)refs * m->p.flat_ref_cycles : g.cycles);
}

/* May an access at user level, or another one, use a page with @rights? */
ALWAYS bool may(unsigned rights, unsigned access, const struct mmu_context *x)
{
	unsigned need = TLB_U | (access & ACC_W) >> 1 | (access & ACC_X);

	_Static_assert(TLB_W == ACC_W >> 1 && TLB_X == ACC_X, "rights are named alike");
	return LIKELY(access & ACC_U) ? (rights & need) == need : stage1_allows(rights, access, cpu_mode_of(x->regs));
}

/*
 * Through the entry of @level, in the table at w->place, to the next table. False: it is unusual, and *stop @level; or
 * it faulted, and *stop 0.
 */
ALWAYS bool step(struct sim_mmu *m, const struct mmu_context *x, struct walk *w, gva_t gva, unsigned top,
		 unsigned level, unsigned *stop, struct going *g, struct mmu_result *r, bool four, bool flat)
{
	uint64_t place = w->place[level], word;
	hpa_t at = (place & PTE_ADDR) + 8 * PT_INDEX(gva, level);
	uint64_t e = *(const uint64_t *)(x->bytes + at);

	*stop = level;
	if (UNLIKELY(!is_usual(e, m->rules.table1)))
		return false;
	w->entry[level] = e;
	place &= rights_of(e);
	e &= PTE_ADDR;
	if (UNLIKELY(x->walk == MMU_1D && x->limit && e >= x->limit))
		return false;
	if (!flat)
		charge(m, x, at, g);
	if (x->walk == MMU_2D) {
		word = translate(m, x, e, m->rules.table_need, m->rules.table_leaf, g, four, flat);
		if (UNLIKELY(!word))
			word = table_closely(m, x, e + 8 * PT_INDEX(gva, level - 1), r, g);
		if (UNLIKELY(!word)) {
			g->tally += (top - level + 1) * WALK_GUEST;
			*stop = 0;
			return false;
		}
		w->place[level - 1] = place | (word & PTE_ADDR) | (word & ACC_W) << 2;
		return true;
	}
	w->place[level - 1] = place | (e + x->bias) | PWC_TABLE_W;
	return true;
}

/* The page itself, in whichever dimension, as a word of stage2(). 0: it is not that simple. */
ALWAYS uint64_t find_page(struct sim_mmu *m, const struct mmu_context *x, uint64_t addr, unsigned access,
			  struct going *g, bool four, bool flat)
{
	const struct rules *u = &m->rules;
	bool store = access & ACC_W;

	if (x->walk == MMU_2D)
		return translate(m, x, addr, store ? ACC_W | S2_DIRTY : access & ACC_RWX, store ? u->store2 : u->load2,
				 g, four, flat);
	if (UNLIKELY(x->limit && addr >= x->limit))
		return 0;
	if (!flat)
		charge(m, x, g->pending, g);
	return (addr + x->bias) | ACC_RWX | S2_DIRTY;
}

/* What the walk read above the leaf, into the page-walk caches. */
ALWAYS void fill_pwc(struct sim_mmu *m, const struct walk *w, gva_t gva, unsigned top, uint32_t now, bool four)
{
	if (top > 1)
		ahead_learn(m->ahead.stage1, gva, w->place[1]);
#pragma GCC unroll 2
	for (unsigned level = 3; level > 1; level--) {
		uint64_t page = (gva & KEY_ADDR_MASK) >> LEVEL_SHIFT(level);

		if (level <= top)
			*slot_aux(insert(&m->pwc[level], row_of(&m->pwc[level], page, four), 0,
					 assoc_key(page, 0, m->ids.own), w->place[level - 1], now, four)) =
				w->entry[level] & PTE_ADDR;
	}
}

ALWAYS uint64_t walk(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access,
		     struct mmu_result *r, bool four, bool flat)
{
	struct going g = { .now = m->clock };
	struct walk w;
	unsigned top, stop, rights;
	struct slot s = find_pwc(m->pwc, gva & KEY_ADDR_MASK, m->ids.own, &top, four);
	uint64_t e, word, val;

	if (UNLIKELY(!s.row))
		return walk_plain(m, x, gva, access, r);
	*slot_stamp(s) = ++g.now;
	w.place[--top] = *slot_val(s);
	if (top >= 3 && UNLIKELY(!step(m, x, &w, gva, top, 3, &stop, &g, r, four, flat)))
		goto unusual;
	if (top >= 2 && UNLIKELY(!step(m, x, &w, gva, top, 2, &stop, &g, r, four, flat)))
		goto unusual;
	stop = 1;
	g.pending = (w.place[1] & PTE_ADDR) + 8 * PT_INDEX(gva, 1);
	e = *(const uint64_t *)(x->bytes + g.pending);
	rights = (unsigned)w.place[1] & rights_of(e);
	if (UNLIKELY(!is_usual(e, access & ACC_W ? m->rules.store1 : m->rules.load1) || !may(rights, access, x)))
		goto unusual;
	word = find_page(m, x, e & PTE_ADDR, access, &g, four, flat);
	if (UNLIKELY(!word))
		goto unusual;

	g.now++;
	fill_pwc(m, &w, gva, top, g.now, four);
	_Static_assert(PTE_D >> 3 == S2_DIRTY, "a bit moves");
	val = (word & PTE_ADDR) | rights | walk_tlb_flags((unsigned)word & (ACC_RWX | (unsigned)e >> 3));
	fill_tlb(&m->tlb, (gva & KEY_ADDR_MASK) >> PAGE_SHIFT, m->ids.own, val, g.now, four);
	r->level = 1;
	g.tally += top * WALK_GUEST;
	publish(m, r, g, flat);
	return val;
unusual:
	if (!stop) {
		publish(m, r, g, flat);
		return 0;
	}
	w.t = (struct trip){ .m = m, .x = x, .r = r };
	w.gva = gva;
	w.access = access;
	w.top = top;
	w.table_gpa = *slot_aux(s);
	w.missing = false;
	return go_on(&w, stop, g);
}

uint64_t walk_stage1(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, struct mmu_result *r)
{
	if (UNLIKELY(!m->rules.quick))
		return walk_plain(m, x, gva, access, r);
	if (UNLIKELY(!m->rules.flat))
		return walk(m, x, gva, access, r, false, false);
	return m->four ? walk(m, x, gva, access, r, true, true) : walk(m, x, gva, access, r, false, true);
}
