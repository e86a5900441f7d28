/* SPDX-License-Identifier: MIT */
/*
 * pv.c - direct paging with hypercalls
 *
 * Problem. Shadow paging and two-stage paging pay for a guest that does not know it is virtualized. If the guest
 * cooperates, the processor can walk the guest's *own* tables: one stage, no shadow. Then those tables must
 * hold host frames, and the guest must not be able to write into them what it likes.
 *
 * Idea. Pages of the arena have a type. A page becomes a table of one level by a hypercall (pv_table_new), which
 * validates it; while it is one, the guest changes it by batched hypercalls only (pv_update). Each is checked (the page
 * is such a table; a pointer leads to a table one level lower; a leaf names a page of this guest), translated
 * from guest to host frames and stored. So by induction from the root the processor reaches nothing but this guest's
 * memory. For each table the VMM keeps the guest's own view of the entries, so that the guest reads back what it
 * wrote, and the same guest kernel runs in every mode.
 *
 * No writable mapping of a table. Old Xen refuses to map a table writable and gives guests no large pages.
 * The laboratory's kernel maps all memory by 2M leaves, arena and tables included, so here the guest may *ask* for
 * write access anywhere and the VMM withholds the bit from the entry in memory: a large leaf over tables is
 * splintered into 4K entries, of which those over tables are read-only. Making a page a table takes the write bit
 * away from whatever maps it. A write there by plain store is the guest's error: its page fault, counted as
 * pv_rejected.
 *
 * Lazy. A leaf may name pages that the host has not given yet (the direct map names them all). What gmem knows is
 * installed with the update, the rest stays not-present in memory and is filled when the processor faults on it:
 * the fault handler walks the guest's view, and either the guest itself forbids the access (its own fault, with the
 * error code it would have got) or gmem_fault() resolves it. Large leaves are installed large if their frames are
 * contiguous, else splintered page by page as they are touched (pv_table.c).
 *
 * The other way round, when gmem moves, protects or takes a page, the rmap finds the entries that hold its frame;
 * they are weakened or emptied, and filled again by the next touch.
 *
 * TLB. The guest need not flush what it removes, so a frame may be reachable through the TLB after its last entry
 * is gone. The VMM flushes before that could matter: before a frame goes back (stale), before a page becomes a
 * table (stale_arena), before a former table becomes writable or a table of another level (epoch; compare Xen's
 * tlbflush_timestamp). An entry whose accessed bit is clear was never cached.
 *
 * Invariants (pv_verify, called after every step of tests/model/test_pv_model.c):
 * - entry by entry, view and memory agree as the table in pv_table.c says;
 * - a leaf in memory names the frame that gmem has for its gfn, grants no more than view and gmem, and is not
 *   writable over a table; it is in the rmap of its level exactly once, and nothing else is;
 * - refs of a table is the number of pointers to it; each pointer leads one level down.
 *
 * Source: Barham et al., Xen and the Art of Virtualization, SOSP 2003, section 3.3.3; Xen's public/xen.h
 * (mmu_update) for the shape of the hypercalls; Intel SDM vol. 3A, chapter 4, for the rights.
 */
#define G_LOG_DOMAIN "sim"
#include <string.h>

#include "vmm/sim/pv.h"

#include "mm/err.h"
#include "vmm/sim/pv_impl.h"

static void pv_destroy(struct paging *p)
{
	struct pv *pv = pv_of(p);

	for (gfn_t gfn = 0; gfn < pv->narena; gfn++) {
		struct pv_page *t = &pv->page[gfn];

		for (unsigned i = 0; t->level && i < PT_ENTRIES; i++)
			if (t->view[i])
				pv_set_entry(pv, gfn, i, 0);
		g_free(t->view);
	}
	for (unsigned level = 1; level <= 3; level++)
		if (pv->rmap[level])
			rmap_free(pv->rmap[level]);
	g_hash_table_unref(pv->splinters);
	g_free(pv->ntables);
	g_free(pv->page);
	g_free(pv->regs);
	g_free(pv);
}

static struct paging *pv_create(const struct paging_config *cfg)
{
	const struct gmem_config *gc = gmem_config(cfg->gmem);
	struct gmem_page page;
	struct pv *pv;

	if ((cfg->guest_levels != 4 && cfg->guest_levels != 5) || cfg->max_leaf < 1 || cfg->max_leaf > 3 ||
	    !cfg->nvcpus || !gc->arena_pages || gmem_lookup(cfg->gmem, 0, &page)) {
		errno = -ERR(-EINVAL);
		return NULL;
	}
	pv = g_new0(struct pv, 1);
	pv->base.ops = &pv_paging_ops;
	pv->cfg = *cfg;
	pv->regs = g_new(const struct guest_regs *, cfg->nvcpus);
	memcpy(pv->regs, cfg->regs, cfg->nvcpus * sizeof(*pv->regs));
	pv->gmem = cfg->gmem;
	pv->machine = gmem_machine(cfg->gmem);
	pv->frames = gmem_frames(cfg->gmem);
	pv->c = gmem_counters(cfg->gmem);
	pv->vm = gc->vm;
	pv->npages = gc->npages;
	pv->narena = gc->arena_pages;
	pv->arena = page.hfn << PAGE_SHIFT;
	pv->page = g_new0(struct pv_page, pv->narena);
	pv->ntables = g_new0(uint16_t, pv_rmap_index(pv->narena, 2) + 1);
	pv->splinters = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	for (unsigned level = 1; level <= 3; level++) {
		pv->rmap[level] = rmap_new(pv_rmap_index(pv->npages - 1, level) + 1);
		if (!pv->rmap[level]) {
			pv_destroy(&pv->base);
			errno = ENOMEM;
			return NULL;
		}
	}
	return &pv->base;
}

static int pv_refuse(struct pv *pv, int err)
{
	pv->c->pv_rejected++;
	return err;
}

/* May the guest have @v in a table of @level? */
static int pv_check(const struct pv *pv, uint64_t v, unsigned level)
{
	gfn_t gfn = (v & PTE_ADDR) >> PAGE_SHIFT;

	if (!(v & PTE_P))
		return 0;
	if (pv_is_pointer(v, level))
		return gfn < pv->narena && pv->page[gfn].level == level - 1 ? 0 : ERR(-EINVAL);
	if (level > 3)
		return ERR(-EINVAL);
	/* The reserved bits of a large leaf; bit 12 is PAT. */
	if (level > 1 && gfn & ~1ull & (LEVEL_PAGES(level) - 1))
		return ERR(-EINVAL);
	return pv_leaf_gfn(v, level) < pv->npages ? 0 : ERR(-EINVAL);
}

static bool pv_is_table(const struct pv *pv, gpa_t gpa, unsigned level)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;

	return gfn < pv->narena && level && pv->page[gfn].level == level;
}

int pv_update(struct paging *p, const struct pv_entry *e, uint32_t n)
{
	struct pv *pv = pv_of(p);
	int err = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (e[i].gpa % sizeof(uint64_t) || !pv_is_table(pv, e[i].gpa, e[i].level) ||
		    pv_check(pv, e[i].value, e[i].level)) {
			err = pv_refuse(pv, ERR(-EINVAL));
			break;
		}
		pv_set_entry(pv, e[i].gpa >> PAGE_SHIFT, e[i].gpa % PAGE_SIZE / sizeof(uint64_t), e[i].value);
		pv->c->pv_updates++;
	}
	pv_settle(pv);
	return err;
}

static uint64_t pv_entry_seen(const struct pv *pv, gfn_t gfn, unsigned index)
{
	const struct pv_page *t = &pv->page[gfn];
	hpa_t entry = pv_entry_hpa(pv, gfn, index);
	uint64_t v = t->view[index];

	if (pv_is_pointer(v, t->level))
		return v | (*pv_word(pv, entry) & PTE_A);
	return v & PTE_P ? v | pv_collect_ad(pv, entry, t->level) : v;
}

uint64_t pv_read(struct paging *p, gpa_t gpa)
{
	struct pv *pv = pv_of(p);
	gfn_t gfn = gpa >> PAGE_SHIFT;

	if (gpa % sizeof(uint64_t) || gfn >= pv->narena || !pv->page[gfn].level) {
		pv_refuse(pv, 0);
		return 0;
	}
	return pv_entry_seen(pv, gfn, gpa % PAGE_SIZE / sizeof(uint64_t));
}

int pv_peek(const struct paging *p, gpa_t gpa, uint64_t *entries)
{
	const struct pv *pv = (const struct pv *)p;
	gfn_t gfn = gpa >> PAGE_SHIFT;

	if (gpa % PAGE_SIZE || gfn >= pv->narena || !pv->page[gfn].level)
		return ERR(-EINVAL);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		entries[i] = pv_entry_seen(pv, gfn, i);
	return 0;
}

static void pv_unpin(struct pv *pv, gfn_t gfn)
{
	struct pv_page *t = &pv->page[gfn];

	for (unsigned i = 0; i < PT_ENTRIES; i++)
		if (t->view[i])
			pv_set_entry(pv, gfn, i, 0);
	g_free(t->view);
	t->view = NULL;
	t->was = t->level;
	t->level = 0;
	t->epoch = pv->freed_epoch = pv->epoch + 1;
	pv->ntables[pv_rmap_index(gfn, 2)]--;
}

int pv_table_new(struct paging *p, gpa_t gpa, unsigned level)
{
	struct pv *pv = pv_of(p);
	gfn_t gfn = gpa >> PAGE_SHIFT;
	uint64_t old[PT_ENTRIES], *bytes;
	struct pv_page *t;
	int err = 0;

	if (gpa % PAGE_SIZE || gfn >= pv->narena || !level || level > pv->cfg.guest_levels)
		return pv_refuse(pv, ERR(-EINVAL));
	t = &pv->page[gfn];
	if (t->level)
		return pv_refuse(pv, ERR(-EBUSY));
	if (pv->stale_arena || (t->epoch > pv->epoch && t->was != level))
		pv->flush = true;
	t->view = g_new0(uint64_t, PT_ENTRIES);
	t->level = level;
	pv->ntables[pv_rmap_index(gfn, 2)]++;
	pv_revoke_write(pv, gfn, 1, true);
	bytes = pv_word(pv, pv_entry_hpa(pv, gfn, 0));
	memcpy(old, bytes, sizeof(old));
	memset(bytes, 0, sizeof(old));
	for (unsigned i = 0; i < PT_ENTRIES && !err; i++) {
		err = pv_check(pv, old[i], level);
		if (!err && old[i])
			pv_set_entry(pv, gfn, i, old[i]);
	}
	if (err) {
		pv_unpin(pv, gfn);
		memcpy(bytes, old, sizeof(old));
		pv_refuse(pv, err);
	} else {
		pv->c->pv_pins++;
	}
	pv_settle(pv);
	return err;
}

int pv_table_free(struct paging *p, gpa_t gpa, unsigned level)
{
	struct pv *pv = pv_of(p);

	if (gpa % PAGE_SIZE || !pv_is_table(pv, gpa, level))
		return pv_refuse(pv, ERR(-EINVAL));
	for (unsigned i = 0; i < pv->cfg.nvcpus; i++)
		if ((pv->regs[i]->cr3 & PTE_ADDR) == gpa)
			return pv_refuse(pv, ERR(-EBUSY));
	if (pv->page[gpa >> PAGE_SHIFT].refs)
		return pv_refuse(pv, ERR(-EBUSY));
	pv_unpin(pv, gpa >> PAGE_SHIFT);
	pv_settle(pv);
	return 0;
}

/* The guest's leaf over a linear address, with the rights of the whole path. */
struct pv_walk {
	uint64_t v;	/* the leaf, or the entry that is not present */
	hpa_t entry;
	unsigned level;
	uint64_t rights; /* PTE_W and PTE_U if every level grants them, PTE_NX if one forbids */
};

static bool pv_walk_view(const struct pv *pv, gfn_t table, gva_t gva, struct pv_walk *w)
{
	uint64_t all = PTE_W | PTE_U, any = 0;

	for (w->level = pv->cfg.guest_levels;; w->level--) {
		unsigned index = PT_INDEX(gva, w->level);

		w->v = pv->page[table].view[index];
		w->entry = pv_entry_hpa(pv, table, index);
		if (!(w->v & PTE_P))
			return false;
		all &= w->v;
		any |= w->v;
		if (pv_is_leaf(w->v, w->level))
			break;
		table = (w->v & PTE_ADDR) >> PAGE_SHIFT;
	}
	w->rights = all | (any & PTE_NX);
	return true;
}

/* SDM 4.6: does the guest itself allow the access that @error describes? */
static bool pv_allowed(const struct guest_regs *r, uint64_t rights, unsigned error)
{
	bool user_page = rights & PTE_U, user = error & PF_U;

	if (user && !user_page)
		return false;
	if (error & PF_W && !(rights & PTE_W) && (user || r->cr0 & CR0_WP))
		return false;
	if (error & PF_I)
		return !(r->efer & EFER_NX && rights & PTE_NX) && !(!user && user_page && r->cr4 & CR4_SMEP);
	return user || !user_page || !(r->cr4 & CR4_SMAP) || r->rflags & RFLAGS_AC;
}

static bool pv_canonical(const struct pv *pv, gva_t gva)
{
	unsigned shift = 64 - LEVEL_SHIFT(pv->cfg.guest_levels + 1);

	return (uint64_t)((int64_t)(gva << shift) >> shift) == gva;
}

static int pv_resolve(struct pv *pv, const struct pv_walk *w, gva_t gva, unsigned error)
{
	unsigned access = error & PF_W ? ACC_W : error & PF_I ? ACC_X : ACC_R;
	gfn_t gfn = pv_leaf_gfn(w->v, w->level) + (gva >> PAGE_SHIFT & (LEVEL_PAGES(w->level) - 1));
	struct gmem_page page;
	int err = gmem_lookup(pv->gmem, gfn, &page);

	/* That one of several entries is still empty says nothing about the page. */
	if (!err && (page.hfn == HFN_NONE || ~page.access & access))
		err = gmem_fault(pv->gmem, gfn, access, FAULT_CPU, &page);
	return err ? err : pv_fill(pv, w->entry, w->v, w->level, gfn, &page);
}

static enum paging_verdict pv_fault(struct paging *p, struct paging_fault *f, int *err)
{
	struct pv *pv = pv_of(p);
	const struct guest_regs *r = pv->regs[f->vcpu];
	struct pv_walk w;
	gfn_t gfn;

	*err = 0;
	if (f->second_stage || !pv_is_table(pv, r->cr3 & PTE_ADDR, pv->cfg.guest_levels)) {
		*err = ERR(-EINVAL);
		return PAGING_FAIL;
	}
	if (f->error & PF_RSVD || !pv_canonical(pv, f->gva))
		return PAGING_INJECT; /* NX without EFER.NX: as on hardware */
	f->error &= ~PF_P;
	if (!pv_walk_view(pv, (r->cr3 & PTE_ADDR) >> PAGE_SHIFT, f->gva, &w))
		return PAGING_INJECT;
	gfn = pv_leaf_gfn(w.v, w.level) + (f->gva >> PAGE_SHIFT & (LEVEL_PAGES(w.level) - 1));
	if (!pv_allowed(r, w.rights, f->error)) {
		f->error |= PF_P;
		return PAGING_INJECT;
	}
	if (f->error & PF_W && pv_holds_tables(pv, gfn, 1)) {
		f->error |= PF_P;
		pv_refuse(pv, 0);
		return PAGING_INJECT;
	}
	*err = pv_resolve(pv, &w, f->gva, f->error);
	pv_settle(pv);
	return *err ? PAGING_FAIL : PAGING_RETRY;
}

static int pv_guest_write(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len)
{
	(void)vcpu, (void)gpa, (void)data, (void)len;
	return pv_refuse(pv_of(p), ERR(-EINVAL)); /* no store to a table is emulated */
}

static void pv_guest_event(struct paging *p, unsigned vcpu, enum guest_event ev, uint64_t arg)
{
	struct pv *pv = pv_of(p);

	(void)vcpu;
	if (ev == GUEST_CR3 && !pv_is_table(pv, arg & PTE_ADDR, pv->cfg.guest_levels))
		pv_refuse(pv, 0);
}

static int pv_hw_root(struct paging *p, unsigned vcpu, hpa_t *root)
{
	struct pv *pv = pv_of(p);
	gpa_t gpa = pv->regs[vcpu]->cr3 & PTE_ADDR;

	if (!pv_is_table(pv, gpa, pv->cfg.guest_levels))
		return ERR(-EINVAL);
	*root = pv->arena + gpa;
	return 0;
}

struct pv_visit {
	struct pv *pv;
	gfn_t gfn;
	uint64_t ad;
};

static void pv_drop_one(hpa_t entry, void *ctx)
{
	struct pv_visit *v = ctx;

	v->ad |= pv_drop(v->pv, entry, v->gfn);
}

/* Drop every leaf of any level that covers part of the range; returns their A/D bits. */
static uint64_t pv_drop_range(struct pv *pv, gfn_t gfn, uint64_t npages)
{
	struct pv_visit v = { .pv = pv };

	for (unsigned level = 1; level <= 3; level++)
		for (v.gfn = gfn & ~(LEVEL_PAGES(level) - 1); v.gfn < gfn + npages; v.gfn += LEVEL_PAGES(level))
			rmap_for_each(pv->rmap[level], pv_rmap_index(v.gfn, level), pv_drop_one, &v);
	return v.ad;
}

static void pv_unmap(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct pv *pv = pv_of(p);

	pv_drop_range(pv, gfn, npages);
	if (pv->stale)
		pv->flush = true;
	pv_settle(pv);
}

static void pv_wrprotect(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct pv *pv = pv_of(p);

	pv_revoke_write(pv, gfn, npages, false);
	if (pv->stale)
		pv->flush = true;
	pv_settle(pv);
}

static bool pv_test_clear_young(struct paging *p, gfn_t gfn)
{
	struct pv *pv = pv_of(p);
	uint64_t ad = pv_drop_range(pv, gfn, 1);

	pv_settle(pv);
	return ad & PTE_A;
}

static uint64_t pv_table_frames(const struct paging *p)
{
	return g_hash_table_size(((const struct pv *)p)->splinters);
}

const struct paging_ops pv_paging_ops = {
	.name = "pv",
	.summary = "Direct paging: the processor walks the guest's tables; the guest changes them by hypercalls.",
	.create = pv_create,
	.destroy = pv_destroy,
	.fault = pv_fault,
	.guest_write = pv_guest_write,
	.guest_event = pv_guest_event,
	.hw_root = pv_hw_root,
	.unmap = pv_unmap,
	.wrprotect = pv_wrprotect,
	.test_clear_young = pv_test_clear_young,
	.table_frames = pv_table_frames,
	.verify = pv_verify,
};
