/* SPDX-License-Identifier: MIT */
/*
 * pv_verify.c - check every table of a pv guest against the invariants that pv.c lists
 *
 * For tests: it visits every entry of every table, and every head of the rmap.
 */
#define G_LOG_DOMAIN "sim"
#include <glib.h>
#include <inttypes.h>

#include "vmm/sim/pv_impl.h"

struct pv_check {
	struct pv *pv;
	uint32_t *refs;	     /* [narena], recounted */
	uint64_t nleaves[4]; /* by level */
	uint64_t nsplinters;
};

struct pv_find {
	hpa_t entry;
	unsigned n;
};

static void pv_find_one(hpa_t entry, void *ctx)
{
	struct pv_find *f = ctx;

	f->n += entry == f->entry;
}

#define pv_wrong(...) (g_warning(__VA_ARGS__), -EUCLEAN)

/* An installed leaf of @level over @gfn, for the guest's leaf @v. */
static int pv_verify_leaf(struct pv_check *c, hpa_t entry, uint64_t v, unsigned level, gfn_t gfn)
{
	uint64_t hw = *pv_word(c->pv, entry);
	hfn_t hfn = (hw & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) >> PAGE_SHIFT;
	struct pv_find f = { .entry = entry };
	struct gmem_page page;

	c->nleaves[level]++;
	rmap_for_each(c->pv->rmap[level], pv_rmap_index(gfn, level), pv_find_one, &f);
	if (f.n != 1)
		return pv_wrong("leaf at %#" PRIx64 " for gfn %#" PRIx64 " is %u times in the rmap", entry, gfn, f.n);
	if ((hw & (PTE_W | PTE_U)) & ~v || (v & PTE_NX && !(hw & PTE_NX)))
		return pv_wrong("leaf %#" PRIx64 " grants more than the guest's %#" PRIx64, hw, v);
	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++) {
		if (gmem_lookup(c->pv->gmem, gfn + i, &page) || page.hfn != hfn + i || !(page.access & ACC_R) ||
		    (hw & PTE_W && !(page.access & ACC_W)))
			return pv_wrong("gfn %#" PRIx64 " is mapped by %#" PRIx64 " against gmem", gfn + i, hw);
		if (page.state == PAGE_RESIDENT && gmem_gfn_of(c->pv->gmem, hfn + i) != gfn + i)
			return pv_wrong("frame %#" PRIx64 " is not gfn %#" PRIx64, hfn + i, gfn + i);
	}
	if (hw & PTE_W && pv_holds_tables(c->pv, gfn, level))
		return pv_wrong("a table near gfn %#" PRIx64 " is mapped writable by %#" PRIx64, gfn, hw);
	return 0;
}

/* What is installed for the guest's leaf @v: nothing, a leaf, or a splinter. */
static int pv_verify_over_leaf(struct pv_check *c, hpa_t entry, uint64_t v, unsigned level, gfn_t gfn)
{
	uint64_t hw = *pv_word(c->pv, entry);
	const struct pv_splinter *sp;
	hpa_t table = hw & PTE_ADDR;
	int err = 0;

	if (!hw)
		return 0;
	if (!(hw & PTE_P))
		return pv_wrong("entry %#" PRIx64 " in memory is not present and not zero", hw);
	if (pv_is_leaf(hw, level))
		return pv_verify_leaf(c, entry, v, level, gfn);
	sp = g_hash_table_lookup(c->pv->splinters, GSIZE_TO_POINTER(table >> PAGE_SHIFT));
	if (!sp || sp->parent != entry || sp->level != level - 1)
		return pv_wrong("entry %#" PRIx64 " points to no splinter of its own", hw);
	c->nsplinters++;
	for (unsigned i = 0; i < PT_ENTRIES && !err; i++)
		err = pv_verify_over_leaf(c, table + i * sizeof(uint64_t), v, level - 1,
					  gfn + i * LEVEL_PAGES(level - 1));
	return err;
}

static int pv_verify_entry(struct pv_check *c, gfn_t table, unsigned i)
{
	const struct pv_page *t = &c->pv->page[table];
	hpa_t entry = pv_entry_hpa(c->pv, table, i);
	uint64_t v = t->view[i], hw = *pv_word(c->pv, entry);
	gfn_t gfn = (v & PTE_ADDR) >> PAGE_SHIFT;

	if (!(v & PTE_P))
		return hw ? pv_wrong("entry %#" PRIx64 " in memory for %#" PRIx64 " of the guest", hw, v) : 0;
	if (!pv_is_pointer(v, t->level))
		return pv_verify_over_leaf(c, entry, v, t->level, pv_leaf_gfn(v, t->level));
	if (gfn >= c->pv->narena || c->pv->page[gfn].level != t->level - 1)
		return pv_wrong("pointer %#" PRIx64 " at level %u leads to no table", v, t->level);
	if ((hw & PTE_ADDR) != c->pv->arena + (gfn << PAGE_SHIFT) || ((hw ^ v) & ~(PTE_ADDR | PTE_A)))
		return pv_wrong("pointer %#" PRIx64 " is %#" PRIx64 " in memory", v, hw);
	c->refs[gfn]++;
	return 0;
}

static int pv_verify_counts(const struct pv_check *c)
{
	const struct pv *pv = c->pv;

	for (gfn_t gfn = 0; gfn < pv->narena; gfn++)
		if (c->refs[gfn] != pv->page[gfn].refs)
			return pv_wrong("table %#" PRIx64 " has %u references, not %u", gfn, c->refs[gfn],
					pv->page[gfn].refs);
	for (unsigned level = 1; level <= 3; level++) {
		uint64_t n = 0;

		for (gfn_t i = 0; i <= pv_rmap_index(pv->npages - 1, level); i++)
			n += rmap_count(pv->rmap[level], i);
		if (n != c->nleaves[level])
			return pv_wrong("%" PRIu64 " leaves of level %u, %" PRIu64 " in the rmap", c->nleaves[level],
					level, n);
	}
	if (c->nsplinters != g_hash_table_size(pv->splinters))
		return pv_wrong("%" PRIu64 " splinters are linked, %u exist", c->nsplinters,
				g_hash_table_size(pv->splinters));
	return 0;
}

int pv_verify(struct paging *p)
{
	struct pv_check c = { .pv = pv_of(p) };
	int err = 0;

	c.refs = g_new0(uint32_t, c.pv->narena);
	for (gfn_t gfn = 0; gfn < c.pv->narena && !err; gfn++)
		for (unsigned i = 0; c.pv->page[gfn].level && i < PT_ENTRIES && !err; i++)
			err = pv_verify_entry(&c, gfn, i);
	if (!err)
		err = pv_verify_counts(&c);
	g_free(c.refs);
	return err;
}
