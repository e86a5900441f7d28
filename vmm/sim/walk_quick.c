/* SPDX-License-Identifier: MIT */
/*
 * walk_quick.c - the walks that nearly all are, in few instructions
 *
 * Problem. A program whose pages outnumber the TLB walks at every other access, and a two-dimensional walk makes a
 * dozen look-ups and half a dozen replacements in TLBs and page-walk caches, each of which must be done exactly.
 *
 * Idea. At flat costs on one node, with 4K pages, and with every entry as usual (struct usual), there is nothing to
 * decide: what a walk reads is compared with a mask, what it found goes into the caches. Nothing is
 * called, so that all of it stays in registers; with sets of four ways everywhere, as many processors have, it is
 * compiled once more with that number known. What is unusual is met before it has changed anything: walk_on() takes
 * over from there, stage2() for one translation.
 *
 * Invariant: what a walk does and counts is what walk_plain() does and counts (tests/model/test_mmu_run.c).
 */
#include "vmm/sim/walk.h"

#define ALWAYS static inline __attribute__((always_inline))

/* References of the second stage, and hits and misses of the nested TLB: three counts in one word. */
#define TALLY_HIT  (1ull << 16)
#define TALLY_MISS (1ull << 32)

ALWAYS uint32_t set_of(const struct assoc *a, uint64_t page, bool four)
{
	return ((uint32_t)page & a->set_mask) * (four ? 4 : a->stride);
}

ALWAYS int32_t find(const struct assoc *a, uint32_t set, uint64_t key, bool four)
{
	unsigned hit;

	if (!four)
		return assoc_find(a, set, key);
	hit = assoc_match4(a->key + set, _mm_set1_epi64x((long long)key));
	return hit ? (int32_t)(set + (uint32_t)__builtin_ctz(hit)) : -1;
}

ALWAYS uint32_t insert(struct assoc *a, uint32_t set, unsigned level, uint64_t key, uint64_t val, uint32_t now,
		       bool four)
{
	uint32_t slot = four ? assoc_victim4(a, set) : assoc_victim(a, set);

	a->seen |= 1u << level;
	a->key[slot] = key;
	a->val[slot] = val;
	a->stamp[slot] = now;
	return slot;
}

/* The lowest entry for @addr in page-walk caches: its level; 0: none up to the fourth. */
ALWAYS unsigned find_pwc(const struct assoc *pwc, uint64_t addr, unsigned space, uint32_t *slot, bool four)
{
#pragma GCC unroll 3
	for (unsigned level = 2; level <= 4; level++) {
		uint64_t page = addr >> LEVEL_SHIFT(level);
		int32_t s = find(&pwc[level], set_of(&pwc[level], page, four), assoc_key(page, 0, space), four);

		if (s >= 0) {
			*slot = (uint32_t)s;
			return level;
		}
	}
	return 0;
}

/* As stage2(), for an entry of @leaf's looks that allows @need. 0: it is not that simple, and nothing was done. */
ALWAYS uint64_t translate(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, unsigned need, struct usual leaf,
			  uint64_t *tally, bool four)
{
	struct assoc *ntlb = &m->ntlb, *cache;
	uint64_t page = gpa >> PAGE_SHIFT, key = assoc_key(page, 1, m->ids.guest), at, e, upper[MAX_LEVELS + 1];
	uint32_t set = set_of(ntlb, page, four), found, now;
	int32_t slot = find(ntlb, set, key, four);
	unsigned top, level;

	if (UNLIKELY(ntlb->seen & ~2u))
		return 0;
	if (slot >= 0) {
		if (UNLIKELY((ntlb->val[slot] & need) != need))
			return 0;
		ntlb->stamp[slot] = ++m->clock;
		*tally += TALLY_HIT;
		return ntlb->val[slot];
	}
	top = find_pwc(m->npwc, gpa, m->ids.guest, &found, four);
	if (UNLIKELY(!top))
		return 0;
	cache = &m->npwc[top--];
	at = cache->val[found];
	if (UNLIKELY((at & ACC_RWX) != ACC_RWX))
		return 0;
	for (level = top; level > 1; level--) {
		upper[level] = at = *(const uint64_t *)(x->bytes + (at & PTE_ADDR) + 8 * PT_INDEX(gpa, level));
		if (UNLIKELY(!is_usual(at, m->rules.table2)))
			return 0;
	}
	at &= PTE_ADDR;
	e = *(const uint64_t *)(x->bytes + at + 8 * PT_INDEX(gpa, 1));
	if (UNLIKELY(!is_usual(e, leaf)))
		return 0;

	now = ++m->clock;
	*tally += TALLY_MISS + top;
	cache->stamp[found] = now;
	if (top > 1)
		ahead_learn(m->ahead.stage2, gpa, at);
	for (level = top; level > 1; level--) {
		struct assoc *a = &m->npwc[level];

		page = gpa >> LEVEL_SHIFT(level);
		insert(a, set_of(a, page, four), 0, assoc_key(page, 0, m->ids.guest),
		       (upper[level] & PTE_ADDR) | ACC_RWX, now, four);
	}
	at = (e & PTE_ADDR) | ACC_RWX | ((e & m->rules.dirty2) == m->rules.dirty2 ? S2_DIRTY : 0);
	insert(ntlb, set, 1, key, at, now, four);
	return at;
}

/* A 4K page's entry, into both levels of TLB. */
ALWAYS void fill_tlb(struct tlb *t, uint64_t page, unsigned space, uint64_t val, uint32_t now, bool four)
{
	struct assoc *l1 = t->l1[1], *l2 = t->l2[1];
	uint64_t key = assoc_key(page, 1, space);

	insert(l1, set_of(l1, page, four), 1, key, val, now, four);
	insert(l2, set_of(l2, page, false), 1, key, val, now, false);
}

/* The long way from @level on, for a walk that has done what @w and @tally say. */
static __attribute__((noinline)) bool go_on(struct walk *w, unsigned level, uint64_t tally, uint64_t *val,
					    unsigned *size)
{
	w->t.refs_guest = w->top - level;
	w->t.refs_host = (uint16_t)tally;
	w->t.ntlb_hits = (uint16_t)(tally / TALLY_HIT);
	w->t.ntlb_misses = (uint16_t)(tally / TALLY_MISS);
	w->t.cycles = 0;
	w->missing = false;
	return walk_on(w, level, val, size);
}

/* What translate() would not do. */
static __attribute__((noinline)) uint64_t table_closely(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa,
							struct mmu_result *r, uint64_t *tally)
{
	struct trip t = { .m = m, .x = x, .r = r };
	uint64_t word = stage2(&t, gpa, m->rules.table_access, true);

	*tally += t.refs_host + t.ntlb_hits * TALLY_HIT + t.ntlb_misses * TALLY_MISS;
	return word;
}

/* What a complete walk did. */
ALWAYS void publish(const struct sim_mmu *m, struct counters *c, unsigned guest, uint64_t tally, struct mmu_result *r)
{
	uint32_t host = (uint16_t)tally, refs = guest + host;

	c->walks++;
	c->walk_refs += refs;
	c->walk_refs_guest += guest;
	c->walk_refs_host += host;
	c->ntlb_hits += (uint16_t)(tally / TALLY_HIT);
	c->ntlb_misses += (uint16_t)(tally / TALLY_MISS);
	r->refs += refs;
	r->walk_cycles += m->p.walk_start_cycles + (uint64_t)refs * m->p.flat_ref_cycles;
}

/* May an access at user level, or another one, use a page with @rights? */
ALWAYS bool may(unsigned rights, unsigned access, const struct mmu_context *x)
{
	unsigned need = TLB_U | (access & ACC_W) >> 1 | (access & ACC_X);

	_Static_assert(TLB_W == ACC_W >> 1 && TLB_X == ACC_X, "rights are named alike");
	return LIKELY(access & ACC_U) ? (rights & need) == need : stage1_allows(rights, access, cpu_mode_of(x->regs));
}

/*
 * From the entry of *level, in the table at w->place, to the table with the leaf's: *level becomes 1. False: *level is
 * where things are unusual, or 0 after a fault.
 */
ALWAYS bool down(struct sim_mmu *m, const struct mmu_context *x, struct walk *w, gva_t gva, unsigned *level,
		 uint64_t *tally, struct mmu_result *r, bool four)
{
	unsigned top = *level;
	uint64_t place = w->place[top], e, word;

	for (; *level > 1; --*level) {
		e = *(const uint64_t *)(x->bytes + (place & PTE_ADDR) + 8 * PT_INDEX(gva, *level));
		if (UNLIKELY(!is_usual(e, m->rules.table1)))
			return false;
		w->entry[*level] = e;
		place &= rights_of(e);
		e &= PTE_ADDR;
		if (x->walk == MMU_2D) {
			word = translate(m, x, e, m->rules.table_need, m->rules.table_leaf, tally, four);
			if (UNLIKELY(!word))
				word = table_closely(m, x, e + 8 * PT_INDEX(gva, *level - 1), r, tally);
			if (UNLIKELY(!word)) {
				publish(m, x->c, top - *level + 1, *tally, r);
				*level = 0;
				return false;
			}
			place |= (word & PTE_ADDR) | (word & ACC_W) << 2;
		} else {
			if (UNLIKELY(x->limit && e >= x->limit))
				return false;
			place |= (e + x->bias) | PWC_TABLE_W;
		}
		w->place[*level - 1] = place;
	}
	return true;
}

/* The page itself, in whichever dimension, as a word of stage2(). 0: it is not that simple. */
ALWAYS uint64_t find_page(struct sim_mmu *m, const struct mmu_context *x, uint64_t addr, unsigned access,
			  uint64_t *tally, bool four)
{
	const struct rules *u = &m->rules;
	bool store = access & ACC_W;

	if (x->walk == MMU_2D)
		return translate(m, x, addr, store ? ACC_W | S2_DIRTY : access & ACC_RWX, store ? u->store2 : u->load2,
				 tally, four);
	return x->limit && addr >= x->limit ? 0 : (addr + x->bias) | ACC_RWX | S2_DIRTY;
}

/* What the walk read above the leaf, into the page-walk caches. */
ALWAYS void fill_pwc(struct sim_mmu *m, const struct walk *w, gva_t gva, unsigned top, uint32_t now, bool four)
{
	if (top > 1)
		ahead_learn(m->ahead.stage1, gva, w->place[1]);
	for (unsigned level = top; level > 1; level--) {
		struct assoc *a = &m->pwc[level];
		uint64_t page = (gva & KEY_ADDR_MASK) >> LEVEL_SHIFT(level);

		a->aux[insert(a, set_of(a, page, four), 0, assoc_key(page, 0, m->ids.own), w->place[level - 1], now,
			      four)] = w->entry[level] & PTE_ADDR;
	}
}

ALWAYS bool walk(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, uint64_t *val,
		 unsigned *size, struct mmu_result *r, bool four)
{
	uint64_t addr = gva & KEY_ADDR_MASK, tally = 0, e, word;
	struct walk w;
	uint32_t slot, now;
	unsigned top = find_pwc(m->pwc, addr, m->ids.own, &slot, four), level, rights;

	if (UNLIKELY(!top))
		return walk_plain(m, x, gva, access, val, size, r);
	m->pwc[top].stamp[slot] = ++m->clock;
	x->c->pwc_hits++;
	level = top - 1;
	w.place[level] = m->pwc[top].val[slot];
	if (UNLIKELY(!down(m, x, &w, gva, &level, &tally, r, four)))
		goto unusual;
	e = *(const uint64_t *)(x->bytes + (w.place[1] & PTE_ADDR) + 8 * PT_INDEX(gva, 1));
	rights = (unsigned)w.place[1] & rights_of(e);
	if (UNLIKELY(!is_usual(e, access & ACC_W ? m->rules.store1 : m->rules.load1) || !may(rights, access, x)))
		goto unusual;
	word = find_page(m, x, e & PTE_ADDR, access, &tally, four);
	if (UNLIKELY(!word))
		goto unusual;

	now = ++m->clock;
	fill_pwc(m, &w, gva, top - 1, now, four);
	publish(m, x->c, top - 1, tally, r);
	_Static_assert(PTE_D >> 3 == S2_DIRTY, "a bit moves");
	*val = (word & PTE_ADDR) | rights | walk_tlb_flags((unsigned)word & (ACC_RWX | (unsigned)e >> 3));
	*size = 1;
	fill_tlb(&m->tlb, addr >> PAGE_SHIFT, m->ids.own, *val, now, four);
	return true;
unusual:
	if (!level)
		return false;
	w.t = (struct trip){ .m = m, .x = x, .r = r };
	w.gva = gva;
	w.access = access;
	w.top = top - 1;
	w.table_gpa = m->pwc[top].aux[slot];
	return go_on(&w, level, tally, val, size);
}

bool walk_stage1(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, uint64_t *val,
		 unsigned *size, struct mmu_result *r)
{
	if (UNLIKELY(!m->rules.quick))
		return walk_plain(m, x, gva, access, val, size, r);
	return m->four ? walk(m, x, gva, access, val, size, r, true) : walk(m, x, gva, access, val, size, r, false);
}
