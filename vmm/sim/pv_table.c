/* SPDX-License-Identifier: MIT */
/*
 * pv_table.c - entries of direct paging: how what the guest wrote becomes what the processor walks
 *
 * An entry of a guest's table has two values: view[], the guest's, and the one in memory ("hw"), the processor's.
 *
 *	view		hw
 *	not present	0
 *	pointer		the same flags, the host address of the table (arena pages never move: always exact)
 *	leaf		0			nothing is known of the page yet: filled by the first touch
 *			a leaf			the host frame; write bit only if gmem and the page's type allow it
 *			pointer to a splinter	a large leaf that gmem cannot back by one: a table of the VMM's own,
 *						whose entries are again one of these three
 *
 * A leaf in memory is recorded in the rmap of its level under its first gfn, so gmem finds it; a large one under one
 * head, not 512. An accessed or dirty bit in memory belongs to the guest: before the leaf goes, it moves to view[].
 */
#define G_LOG_DOMAIN "sim"
#include <glib.h>

#include "mm/err.h"
#include "mm/pt.h"
#include "vmm/sim/pv_impl.h"

#define PTE_PAT_LARGE (1ull << 12) /* in a leaf of level 2 or 3; bit 7 of a level-1 entry */

static void pv_charge(struct pv *pv, enum charge_kind kind, uint64_t n)
{
	if (n)
		pv->machine->ops->charge(pv->machine, pv->vm, kind, n);
}

void pv_settle(struct pv *pv)
{
	if (!pv->flush)
		return;
	pv->machine->ops->flush(pv->machine, pv->vm, FLUSH_VM, 0, 0);
	pv->flush = pv->stale = pv->stale_arena = false;
	pv->epoch++;
}

static struct pv_slot pv_slot_at(const struct pv *pv, hpa_t entry)
{
	struct pv_slot s = { .hw = pv_word(pv, entry) };
	gfn_t gfn = (entry - pv->arena) >> PAGE_SHIFT;
	unsigned index = entry % PAGE_SIZE / sizeof(uint64_t);
	const struct pv_splinter *sp;

	if (entry >= pv->arena && gfn < pv->narena) {
		s.view = &pv->page[gfn].view[index];
		s.level = pv->page[gfn].level;
		return s;
	}
	sp = g_hash_table_lookup(pv->splinters, GSIZE_TO_POINTER(entry >> PAGE_SHIFT));
	s.level = sp->level;
	s.parent = sp->parent;
	return s;
}

/* Does the naturally aligned block of @level around @gfn hold a table page? */
bool pv_holds_tables(const struct pv *pv, gfn_t gfn, unsigned level)
{
	gfn_t end;

	gfn &= ~(LEVEL_PAGES(level) - 1);
	end = MIN(gfn + LEVEL_PAGES(level), pv->narena);
	if (level == 1)
		return gfn < end && pv->page[gfn].level;
	for (; gfn < end; gfn += LEVEL_PAGES(2))
		if (pv->ntables[pv_rmap_index(gfn, 2)])
			return true;
	return false;
}

/* What the processor walks for the guest's leaf @v of @from, installed as a leaf of @level. */
static uint64_t pv_make_leaf(uint64_t v, unsigned from, unsigned level, hfn_t hfn, unsigned access)
{
	bool pat = v & (from > 1 ? PTE_PAT_LARGE : PTE_PS);
	uint64_t e = (v & ~(PTE_ADDR | PTE_PS)) | hfn << PAGE_SHIFT;

	if (level > 1)
		e |= PTE_PS | (pat ? PTE_PAT_LARGE : 0);
	else if (pat)
		e |= PTE_PS;
	if (!(access & ACC_W))
		e &= ~PTE_W;
	if (!(access & ACC_X))
		e |= PTE_NX;
	return e;
}

/* Empty an entry over a leaf: @gfn is the first it covers. Returns the A/D bits of what was there. */
static uint64_t pv_zap(struct pv *pv, hpa_t entry, unsigned level, gfn_t gfn)
{
	uint64_t *hw = pv_word(pv, entry), v = *hw, ad = 0;

	if (!(v & PTE_P))
		return 0;
	if (pv_is_leaf(v, level)) {
		bool found = rmap_remove(pv->rmap[level], pv_rmap_index(gfn, level), entry);

		g_assert(found);
		ad = v & (PTE_A | PTE_D);
	} else {
		hpa_t table = v & PTE_ADDR;

		for (unsigned i = 0; i < PT_ENTRIES; i++)
			ad |= pv_zap(pv, table + i * sizeof(uint64_t), level - 1, gfn + i * LEVEL_PAGES(level - 1));
		g_hash_table_remove(pv->splinters, GSIZE_TO_POINTER(table >> PAGE_SHIFT));
		frames_release(pv->frames, table >> PAGE_SHIFT, 1);
		pv_charge(pv, CHARGE_TABLE_PAGE, 1);
		pv->flush = true; /* walk caches may lead there */
	}
	*hw = 0;
	pv_charge(pv, CHARGE_TABLE_WRITE, 1);
	return ad;
}

uint64_t pv_collect_ad(const struct pv *pv, hpa_t entry, unsigned level)
{
	uint64_t v = *pv_word(pv, entry), ad = 0;

	if (!(v & PTE_P))
		return 0;
	if (pv_is_leaf(v, level))
		return v & (PTE_A | PTE_D);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		ad |= pv_collect_ad(pv, (v & PTE_ADDR) + i * sizeof(uint64_t), level - 1);
	return ad;
}

uint64_t pv_drop(struct pv *pv, hpa_t entry, gfn_t gfn)
{
	struct pv_slot s = pv_slot_at(pv, entry);
	uint64_t ad = pv_zap(pv, entry, s.level, gfn & ~(LEVEL_PAGES(s.level) - 1));

	pv->c->pv_rewrites++;
	if (ad & PTE_A)
		pv->flush = true; /* never cached while the accessed bit is clear */
	while (!s.view)
		s = pv_slot_at(pv, s.parent);
	*s.view |= ad;
	return ad;
}

static hpa_t pv_splinter(struct pv *pv, hpa_t parent, unsigned level)
{
	struct pv_splinter *sp;
	hfn_t hfn;

	if (frames_alloc(pv->frames, 1, gmem_config(pv->gmem)->node, false, FRAME_OWNER(FRAME_TABLE, pv->vm, 0), &hfn))
		return 0;
	sp = g_new(struct pv_splinter, 1);
	*sp = (struct pv_splinter){ .parent = parent, .level = level };
	g_hash_table_insert(pv->splinters, GSIZE_TO_POINTER(hfn), sp);
	/* The leaves below say what is allowed. */
	*pv_word(pv, parent) = hfn << PAGE_SHIFT | PTE_P | PTE_W | PTE_U | PTE_A;
	pv_charge(pv, CHARGE_TABLE_PAGE, 1);
	return hfn << PAGE_SHIFT;
}

/* May the guest's leaf @v be installed at @level around @gfn as it stands? A writable one must not cover a table. */
static bool pv_fits(const struct pv *pv, uint64_t v, unsigned level, gfn_t gfn, const struct gmem_page *page)
{
	if (level > MIN(page->level, pv->cfg.max_leaf))
		return level == 1;
	return level == 1 || !(v & PTE_W) || !pv_holds_tables(pv, gfn, level);
}

/* Write the leaf of @level at @entry; @from is the level of the guest's leaf @v. */
static void pv_install(struct pv *pv, hpa_t entry, uint64_t v, unsigned from, unsigned level, gfn_t gfn,
		       const struct gmem_page *page)
{
	gfn_t first = gfn & ~(LEVEL_PAGES(level) - 1);
	hfn_t hfn = page->hfn & ~(LEVEL_PAGES(level) - 1);
	uint64_t *hw = pv_word(pv, entry), ad = 0;
	unsigned access = page->access;

	if (pv_is_leaf(*hw, level)) {
		ad = *hw & (PTE_A | PTE_D);
	} else {
		ad = pv_zap(pv, entry, level, first); /* a splinter that is needed no more */
		rmap_add(pv->rmap[level], pv_rmap_index(first, level), entry);
	}
	if (level == 1 && pv_holds_tables(pv, gfn, 1))
		access &= ~ACC_W;
	*hw = pv_make_leaf(v, from, level, hfn, access) | ad;
	if (*hw & PTE_W && first < pv->narena &&
	    (level == 1 ? pv->page[first].epoch : pv->freed_epoch) > pv->epoch)
		pv->flush = true; /* a walk cache may still take it for a table */
	pv_charge(pv, CHARGE_TABLE_WRITE, 1);
}

int pv_fill(struct pv *pv, hpa_t entry, uint64_t v, unsigned level, gfn_t gfn, const struct gmem_page *page)
{
	unsigned from = level;

	while (!pv_fits(pv, v, level, gfn, page)) {
		hpa_t table = *pv_word(pv, entry) & PTE_ADDR;

		if (pv_is_leaf(*pv_word(pv, entry), level))
			pv_drop(pv, entry, gfn);
		if (!(*pv_word(pv, entry) & PTE_P))
			table = pv_splinter(pv, entry, level - 1);
		if (!table)
			return ERR(-ENOMEM);
		level--;
		entry = table + PT_INDEX(gfn << PAGE_SHIFT, level) * sizeof(uint64_t);
	}
	pv_install(pv, entry, v, from, level, gfn, page);
	return 0;
}

/* Forget what an entry of the guest's table stands for, because the guest replaces it. */
static void pv_clear_entry(struct pv *pv, hpa_t entry, uint64_t v, unsigned level)
{
	if (pv_is_pointer(v, level)) {
		pv->page[(v & PTE_ADDR) >> PAGE_SHIFT].refs--;
		*pv_word(pv, entry) = 0;
	} else if (v & PTE_P) {
		gfn_t gfn = pv_leaf_gfn(v, level);

		if (!(pv_zap(pv, entry, level, gfn) & PTE_A))
			return;
		pv->stale = true;
		if (v & PTE_W && gfn < pv->narena)
			pv->stale_arena = true;
	}
}

void pv_set_entry(struct pv *pv, gfn_t table, unsigned index, uint64_t value)
{
	struct pv_page *t = &pv->page[table];
	hpa_t entry = pv_entry_hpa(pv, table, index);
	struct gmem_page page;
	gfn_t gfn;

	pv_clear_entry(pv, entry, t->view[index], t->level);
	t->view[index] = value;
	if (pv_is_pointer(value, t->level)) {
		gfn = (value & PTE_ADDR) >> PAGE_SHIFT;
		pv->page[gfn].refs++;
		*pv_word(pv, entry) = (value & ~PTE_ADDR) | (pv->arena + (gfn << PAGE_SHIFT));
	} else if (value & PTE_P) {
		gfn = pv_leaf_gfn(value, t->level);
		if (!gmem_lookup(pv->gmem, gfn, &page) && page.hfn != HFN_NONE && page.access & ACC_R &&
		    pv_fits(pv, value, t->level, gfn, &page))
			pv_install(pv, entry, value, t->level, t->level, gfn, &page);
	}
	pv_charge(pv, CHARGE_TABLE_WRITE, 1);
}

struct pv_revoke {
	struct pv *pv;
	gfn_t gfn;
	bool drop;
};

static void pv_revoke_one(hpa_t entry, void *ctx)
{
	struct pv_revoke *r = ctx;
	uint64_t *hw = pv_word(r->pv, entry);

	if (!(*hw & PTE_W))
		return;
	if (r->drop) {
		pv_drop(r->pv, entry, r->gfn);
		return;
	}
	if (*hw & PTE_A)
		r->pv->flush = true;
	*hw &= ~PTE_W;
	r->pv->c->pv_rewrites++;
	pv_charge(r->pv, CHARGE_TABLE_WRITE, 1);
}

void pv_revoke_write(struct pv *pv, gfn_t gfn, uint64_t npages, bool drop_large)
{
	for (unsigned level = 1; level <= 3; level++) {
		struct pv_revoke r = { .pv = pv, .drop = drop_large && level > 1 };
		gfn_t first = gfn & ~(LEVEL_PAGES(level) - 1);

		for (r.gfn = first; r.gfn < gfn + npages; r.gfn += LEVEL_PAGES(level))
			rmap_for_each(pv->rmap[level], pv_rmap_index(r.gfn, level), pv_revoke_one, &r);
	}
}
