/* SPDX-License-Identifier: MIT */
/*
 * ept.c - second-stage paging
 *
 * Problem. The guest owns its page tables and CR3; the processor translates what they yield, a guest-physical
 * address, once more through a table of ours. That table has to say, at any time, no more than gmem allows: a
 * page that gmem moves, shares, logs or takes back must not be reachable through a stale entry.
 *
 * Idea. The table is a cache of gmem's answers and starts empty. An access that finds no entry, or too weak a one, is
 * an EPT violation: gmem_fault() makes the page accessible and says how large a leaf may map it, and that leaf is
 * written. Everything else weakens entries, and is followed by a flush:
 *
 *	unmap		  removes leaves; one that sticks out of the range is split first
 *	wrprotect	  takes the write bit; a leaf inside the range stays large and is split by the write that comes
 *	log_dirty	  (page-modification log) splits to 4K and clears dirty bits; the processor logs the next write
 *	test_clear_young  removes one page's leaf and says if it was touched: by its accessed bit if the processor
 *			  keeps those, else by the fact that it was mapped, since only a touch maps a page
 *	clear_accessed	  the same, by the accessed bit alone, and the leaf stays
 *	collapse	  replaces a table by one leaf, accessed and dirty bits or-ed together
 *
 * A split needs a frame for a table. If the host has none left, the large leaf is removed instead, which is
 * always allowed: the next touch brings it back.
 *
 * While the dirty log is on gmem asks for 4K leaves: a 2M leaf would log 2M. A violation itself needs no flush, since
 * the processor drops what it cached for the address that violated (SDM 28.3.3.1); changing the *shape* of the tree
 * under a cached leaf does.
 *
 * A misconfiguration is an entry that the processor finds malformed. None is ever written here, so it is a
 * corrupted table. A malformed leaf is dropped and filled anew; a malformed pointer is mended if what it points
 * to is a table of this VM. Otherwise the guest ends with -EUCLEAN. Repairs are counted.
 *
 * Structures: struct pt (mm/pt.h), nothing else. No rmap is needed, the gfn is the address.
 *
 * Invariants (ept_verify, called after every step of tests/model/test_ept_model.c):
 * - each leaf maps exactly the frames that gmem_lookup() names, with no right that gmem does not give;
 * - every present entry is, accessed and dirty bits aside, exactly what the format makes of its address and rights;
 * - every table is a frame of kind FRAME_TABLE of this VM, and the number reached is pt.ntables.
 *
 * Source: Intel SDM vol. 3C, sections 28.3 (EPT), 28.3.5 (A/D flags), 28.3.6 (PML); AMD APM vol. 2, section 15.25.
 */
#define G_LOG_DOMAIN "ept"
#include "ept/ept.h"

#include <glib.h>
#include <inttypes.h>

#include "mm/err.h"
#include "mm/pt.h"

struct ept {
	struct paging base;
	struct paging_config cfg;
	struct gmem *gmem;
	struct machine *machine;
	struct counters *c;
	unsigned vm;
	uint64_t ad; /* accessed and dirty bits that the processor sets; 0: it does not */
	struct pt pt;
};

static struct ept *ept_of(struct paging *p)
{
	return (struct ept *)p;
}

static void ept_charge(struct ept *e, enum charge_kind kind, uint64_t n)
{
	if (n)
		e->machine->ops->charge(e->machine, e->vm, kind, n);
}

static void ept_flush(struct ept *e, gfn_t gfn, uint64_t npages)
{
	e->machine->ops->flush(e->machine, e->vm, FLUSH_GPA, gfn, npages);
}

/* The arena is there from the start and never goes: map it all, so that no fault is ever counted for it. */
static int map_arena(struct ept *e)
{
	const struct gmem_config *gc = gmem_config(e->gmem);
	struct gmem_page page;
	int err;

	for (gfn_t gfn = 0; gfn < gc->arena_pages; gfn += LEVEL_PAGES(page.level)) {
		err = gmem_lookup(e->gmem, gfn, &page);
		if (err)
			return err;
		page.level = MIN(page.level, e->cfg.max_leaf);
		err = pt_map(&e->pt, gfn << PAGE_SHIFT, page.level, page.hfn << PAGE_SHIFT, page.access, NULL);
		if (err)
			return err;
	}
	return 0;
}

static struct paging *ept_create(const struct paging_config *cfg)
{
	const struct pt_format *fmt = cfg->npt ? &pt_format_npt : &pt_format_ept;
	const struct gmem_config *gc = gmem_config(cfg->gmem);
	struct ept *e;
	int err;

	if ((cfg->host_levels != 4 && cfg->host_levels != 5) || cfg->max_leaf < 1 || cfg->max_leaf > fmt->max_leaf ||
	    (cfg->pml && (!cfg->ad_bits || cfg->npt)) || gc->npages > LEVEL_PAGES(cfg->host_levels + 1)) {
		errno = -ERR(-EINVAL);
		return NULL;
	}
	e = g_new0(struct ept, 1);
	e->base.ops = &ept_paging_ops;
	e->cfg = *cfg;
	e->gmem = cfg->gmem;
	e->machine = gmem_machine(cfg->gmem);
	e->c = gmem_counters(cfg->gmem);
	e->vm = gc->vm;
	e->ad = cfg->npt || cfg->ad_bits ? fmt->accessed | fmt->dirty : 0;
	err = pt_init(&e->pt, fmt, gmem_frames(cfg->gmem), cfg->host_levels, e->vm, gc->node);
	if (!err && (err = map_arena(e)))
		pt_destroy(&e->pt);
	if (err) {
		g_free(e);
		errno = -err;
		return NULL;
	}
	return &e->base;
}

static void ept_destroy(struct paging *p)
{
	struct ept *e = ept_of(p);

	pt_destroy(&e->pt);
	g_free(e);
}

static int ept_collect_ad(struct pt *pt, uint64_t addr, unsigned level, uint64_t *entry, void *ctx)
{
	(void)addr, (void)level;
	*(uint64_t *)ctx |= *entry & (pt->fmt->accessed | pt->fmt->dirty);
	return 0;
}

/*
 * Write the leaf of @level over @gpa, whatever is there now: nothing, the same leaf with other rights, a larger
 * leaf (split) or a table (collapsed). Accessed and dirty bits of what it replaces are kept.
 */
static int ept_set_leaf(struct ept *e, gpa_t gpa, unsigned level, hpa_t hpa, unsigned access)
{
	const struct pt_format *fmt = e->pt.fmt;
	struct pt_slot s = pt_walk(&e->pt, gpa, level);
	bool present = pt_present(fmt, *s.entry), leaf = present && pt_is_leaf(fmt, *s.entry, s.level);
	uint64_t ntables = e->pt.ntables, ad = 0, old;
	int err;

	if (present)
		pt_for_each(&e->pt, gpa, LEVEL_SIZE(level), ept_collect_ad, &ad);
	err = pt_map(&e->pt, gpa, level, hpa, access, &old);
	if (e->pt.ntables > ntables)
		ept_charge(e, CHARGE_TABLE_PAGE, e->pt.ntables - ntables);
	if (err)
		return err;
	*pt_walk(&e->pt, gpa, level).entry |= ad & e->ad;
	e->c->ept_maps++;
	ept_charge(e, CHARGE_TABLE_WRITE, 1);
	if (leaf && s.level > level) {
		e->c->ept_splits += s.level - level;
		ept_flush(e, gpa >> PAGE_SHIFT & ~(LEVEL_PAGES(s.level) - 1), LEVEL_PAGES(s.level));
	} else if (present && !leaf) {
		e->c->ept_collapses++;
		ept_flush(e, gpa >> PAGE_SHIFT, LEVEL_PAGES(level));
	}
	return 0;
}

static int ept_fill(struct ept *e, gfn_t gfn, unsigned access)
{
	struct gmem_page page;
	unsigned level;
	hpa_t mask;
	int err = gmem_fault(e->gmem, gfn, access, FAULT_CPU, &page);

	if (err)
		return err;
	level = MIN(page.level, e->cfg.max_leaf);
	mask = ~(LEVEL_SIZE(level) - 1);
	return ept_set_leaf(e, gfn << PAGE_SHIFT & mask, level, page.hfn << PAGE_SHIFT & mask, page.access);
}

static bool ept_is_table(const struct ept *e, hpa_t hpa)
{
	const struct frame *f;

	if (!frames_exist(e->pt.frames, hpa >> PAGE_SHIFT))
		return false;
	f = frames_get(e->pt.frames, hpa >> PAGE_SHIFT);
	return FRAME_KIND(f) == FRAME_TABLE && FRAME_VM(f) == e->vm;
}

/* Is a present entry what this file would have written, whatever the processor has done to accessed and dirty bits? */
static bool ept_well_formed(const struct ept *e, uint64_t v, unsigned level)
{
	const struct pt_format *fmt = e->pt.fmt;
	bool leaf = pt_is_leaf(fmt, v, level);
	hpa_t hpa = pt_addr(fmt, v, level, leaf);
	uint64_t made = leaf ? fmt->leaf(hpa, level, fmt->access(v)) : fmt->table(hpa);

	if (!(fmt->access(v) & ACC_R) || (v & ~e->ad) != made)
		return false;
	return leaf ? level <= fmt->max_leaf && hpa >> PAGE_SHIFT < frames_total(e->pt.frames) : ept_is_table(e, hpa);
}

/*
 * Mend the malformed entries on the way to @gpa. 0 also when there are none: the processor may have met one that
 * has been replaced since. -EUCLEAN when a table is lost.
 */
static int ept_repair(struct ept *e, gpa_t gpa)
{
	const struct pt_format *fmt = e->pt.fmt;
	hpa_t table = e->pt.root;

	for (unsigned level = e->pt.levels; level >= 1; level--) {
		uint64_t *entry = &pt_table(e->pt.frames, table)[PT_INDEX(gpa, level)], v = *entry;
		bool pointer = level > 1 && ept_is_table(e, v & fmt->addr);

		if (!pt_present(fmt, v))
			return 0;
		if (!ept_well_formed(e, v, level)) {
			if (!pointer && !(level <= fmt->max_leaf && pt_is_leaf(fmt, v, level)))
				return ERR(-EUCLEAN);
			*entry = pointer ? fmt->table(v & fmt->addr) : 0;
			e->c->ept_repairs++;
			ept_charge(e, CHARGE_TABLE_WRITE, 1);
			ept_flush(e, gpa >> PAGE_SHIFT & ~(LEVEL_PAGES(level) - 1), LEVEL_PAGES(level));
		}
		if (!pointer)
			return 0;
		table = v & fmt->addr;
	}
	return 0;
}

static enum paging_verdict ept_fault(struct paging *p, struct paging_fault *f, int *err)
{
	struct ept *e = ept_of(p);
	unsigned access = f->error & PF_W ? ACC_W : f->error & PF_I ? ACC_X : ACC_R;

	*err = 0;
	if (!f->second_stage)
		return PAGING_INJECT;
	if (f->misconfig)
		*err = ept_repair(e, f->gpa);
	if (!*err)
		*err = ept_fill(e, f->gpa >> PAGE_SHIFT, access);
	return *err ? PAGING_FAIL : PAGING_RETRY;
}

bool ept_access(struct paging *p, gpa_t gpa, unsigned access, struct ept_leaf *leaf)
{
	struct ept *e = ept_of(p);
	const struct pt_format *fmt = e->pt.fmt;
	struct pt_slot s = pt_walk(&e->pt, gpa, 1);
	uint64_t v = *s.entry;

	if (!pt_present(fmt, v) || !pt_is_leaf(fmt, v, s.level))
		return false;
	leaf->access = fmt->access(v) & ACC_RWX;
	if (access & ~leaf->access)
		return false;
	if (access)
		*s.entry |= (fmt->accessed | (access & ACC_W ? fmt->dirty : 0)) & e->ad;
	leaf->hfn = (pt_addr(fmt, v, s.level, true) >> PAGE_SHIFT) + (gpa >> PAGE_SHIFT & (LEVEL_PAGES(s.level) - 1));
	leaf->accessed = !e->ad || *s.entry & fmt->accessed;
	return true;
}

static int ept_guest_write(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len)
{
	(void)p, (void)vcpu, (void)gpa, (void)data, (void)len;
	return ERR(-EINVAL); /* nothing is ever traced */
}

static void ept_guest_event(struct paging *p, unsigned vcpu, enum guest_event ev, uint64_t arg)
{
	(void)p, (void)vcpu, (void)ev, (void)arg; /* the guest's own business */
}

static int ept_hw_root(struct paging *p, unsigned vcpu, hpa_t *root)
{
	(void)vcpu;
	*root = ept_of(p)->pt.root;
	return 0;
}

static int64_t ept_remove(struct ept *e, gpa_t start, uint64_t size)
{
	uint64_t ntables = e->pt.ntables;
	int64_t n = pt_unmap(&e->pt, start, size);

	g_assert(n >= 0); /* only a split could fail, and ept_cut() has done those */
	e->c->ept_unmaps += (uint64_t)n;
	ept_charge(e, CHARGE_TABLE_WRITE, (uint64_t)n);
	ept_charge(e, CHARGE_TABLE_PAGE, ntables - e->pt.ntables);
	return n;
}

/* Split the leaf over @gpa one level down; if the host has no frame for that, remove it. */
static void ept_split(struct ept *e, gpa_t gpa, unsigned level)
{
	gpa_t base = gpa & ~(LEVEL_SIZE(level) - 1);

	if (pt_split(&e->pt, gpa)) {
		ept_remove(e, base, LEVEL_SIZE(level));
		ept_flush(e, base >> PAGE_SHIFT, LEVEL_PAGES(level));
		return;
	}
	e->c->ept_splits++;
	ept_charge(e, CHARGE_TABLE_PAGE, 1);
}

/* See to it that no leaf reaches across @gpa. */
static void ept_cut(struct ept *e, gpa_t gpa)
{
	struct pt_slot s;

	if (gpa >= LEVEL_SIZE(e->pt.levels + 1))
		return;
	for (;;) {
		s = pt_walk(&e->pt, gpa, 1);
		if (!pt_present(e->pt.fmt, *s.entry) || !(gpa & (LEVEL_SIZE(s.level) - 1)))
			return;
		ept_split(e, gpa, s.level);
	}
}

static void ept_unmap(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct ept *e = ept_of(p);
	gpa_t start = gfn << PAGE_SHIFT, end = (gfn + npages) << PAGE_SHIFT;

	ept_cut(e, start);
	ept_cut(e, end);
	if (ept_remove(e, start, end - start))
		ept_flush(e, gfn, npages);
}

static int ept_take_write(struct pt *pt, uint64_t addr, unsigned level, uint64_t *entry, void *ctx)
{
	(void)addr, (void)level;
	if (!(*entry & pt->fmt->write))
		return 0;
	*entry &= ~pt->fmt->write;
	++*(uint64_t *)ctx;
	return 0;
}

static void ept_wrprotect(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct ept *e = ept_of(p);
	gpa_t start = gfn << PAGE_SHIFT, end = (gfn + npages) << PAGE_SHIFT;
	uint64_t n = 0;

	ept_cut(e, start);
	ept_cut(e, end);
	pt_for_each(&e->pt, start, end - start, ept_take_write, &n);
	if (!n)
		return;
	ept_charge(e, CHARGE_TABLE_WRITE, n);
	ept_flush(e, gfn, npages);
}

static bool ept_log_dirty(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct ept *e = ept_of(p);
	gpa_t gpa = gfn << PAGE_SHIFT, end = (gfn + npages) << PAGE_SHIFT;
	uint64_t n = 0, splits = e->c->ept_splits;
	struct pt_slot s;

	if (!e->cfg.pml)
		return false;
	while (gpa < end) {
		s = pt_walk(&e->pt, gpa, 1);
		if (pt_present(e->pt.fmt, *s.entry) && s.level > 1) {
			ept_split(e, gpa, s.level);
			continue;
		}
		if (*s.entry & e->pt.fmt->dirty && s.level == 1) {
			*s.entry &= ~e->pt.fmt->dirty;
			n++;
		}
		gpa = (gpa & ~(LEVEL_SIZE(s.level) - 1)) + LEVEL_SIZE(s.level);
	}
	ept_charge(e, CHARGE_TABLE_WRITE, n);
	if (n || e->c->ept_splits != splits)
		ept_flush(e, gfn, npages);
	return true;
}

void ept_pml_drain(struct paging *p, const gpa_t *gpa, uint32_t n)
{
	struct ept *e = ept_of(p);

	for (uint32_t i = 0; i < n; i++)
		gmem_dirty_log_mark(e->gmem, gpa[i] >> PAGE_SHIFT);
}

static bool ept_test_clear_young(struct paging *p, gfn_t gfn)
{
	struct ept *e = ept_of(p);
	struct pt_slot s;
	bool young;

	ept_cut(e, gfn << PAGE_SHIFT);
	ept_cut(e, (gfn + 1) << PAGE_SHIFT);
	s = pt_walk(&e->pt, gfn << PAGE_SHIFT, 1);
	if (!pt_present(e->pt.fmt, *s.entry))
		return false;
	young = !e->ad || *s.entry & e->pt.fmt->accessed;
	ept_remove(e, gfn << PAGE_SHIFT, PAGE_SIZE);
	ept_flush(e, gfn, 1);
	return young;
}

static int ept_clear_accessed(struct paging *p, gfn_t gfn)
{
	struct ept *e = ept_of(p);
	struct pt_slot s;

	if (!e->ad)
		return -1;
	ept_cut(e, gfn << PAGE_SHIFT);
	ept_cut(e, (gfn + 1) << PAGE_SHIFT);
	s = pt_walk(&e->pt, gfn << PAGE_SHIFT, 1);
	if (!pt_present(e->pt.fmt, *s.entry) || !(*s.entry & e->pt.fmt->accessed))
		return 0;
	/* A processor that has it in its TLB would not set it again. */
	*s.entry &= ~e->pt.fmt->accessed;
	ept_flush(e, gfn, 1);
	return 1;
}

static void ept_collapse(struct paging *p, gfn_t gfn, unsigned level)
{
	struct ept *e = ept_of(p);
	unsigned leaf = MIN(level, e->cfg.max_leaf);
	struct gmem_page page;

	if (leaf == 1)
		return;
	gfn &= ~(LEVEL_PAGES(level) - 1);
	for (gfn_t end = gfn + LEVEL_PAGES(level); gfn < end; gfn += LEVEL_PAGES(leaf)) {
		struct pt_slot s = pt_walk(&e->pt, gfn << PAGE_SHIFT, leaf);

		/* What nothing maps yet is left to the fault that will touch it. */
		if (s.level != leaf || !pt_present(e->pt.fmt, *s.entry) || pt_is_leaf(e->pt.fmt, *s.entry, leaf))
			continue;
		if (!gmem_lookup(e->gmem, gfn, &page) && page.level >= leaf)
			ept_set_leaf(e, gfn << PAGE_SHIFT, leaf, page.hfn << PAGE_SHIFT, page.access);
	}
}

static uint64_t ept_table_frames(const struct paging *p)
{
	return ((const struct ept *)p)->pt.ntables;
}

static int ept_verify_leaf(struct ept *e, uint64_t v, unsigned level, gpa_t gpa)
{
	unsigned access = e->pt.fmt->access(v) & ACC_RWX;
	hfn_t hfn = pt_addr(e->pt.fmt, v, level, true) >> PAGE_SHIFT;
	struct gmem_page page;

	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++) {
		gfn_t gfn = (gpa >> PAGE_SHIFT) + i;

		if (!gmem_lookup(e->gmem, gfn, &page) && page.hfn == hfn + i && !(access & ~page.access))
			continue;
		g_warning("gfn %#" PRIx64 " is mapped to %#" PRIx64 " access %u, by %#" PRIx64 " at level %u", gfn,
			  hfn + i, access, v, level);
		return -EUCLEAN;
	}
	return 0;
}

static int ept_verify_table(struct ept *e, hpa_t table, unsigned level, gpa_t gpa, uint64_t *ntables)
{
	const struct pt_format *fmt = e->pt.fmt;
	int err = 0;

	++*ntables;
	if (!ept_is_table(e, table)) {
		g_warning("frame %#" PRIx64 " is no table of vm %u", table >> PAGE_SHIFT, e->vm);
		return -EUCLEAN;
	}
	for (unsigned i = 0; i < PT_ENTRIES && !err; i++, gpa += LEVEL_SIZE(level)) {
		uint64_t v = pt_table(e->pt.frames, table)[i];

		if (!pt_present(fmt, v))
			continue;
		if (!ept_well_formed(e, v, level)) {
			g_warning("entry %#" PRIx64 " at level %u over %#" PRIx64 " is malformed", v, level, gpa);
			return -EUCLEAN;
		}
		err = pt_is_leaf(fmt, v, level) ?
			      ept_verify_leaf(e, v, level, gpa) :
			      ept_verify_table(e, pt_addr(fmt, v, level, false), level - 1, gpa, ntables);
	}
	return err;
}

static int ept_verify(struct paging *p)
{
	struct ept *e = ept_of(p);
	uint64_t ntables = 0;
	int err = ept_verify_table(e, e->pt.root, e->pt.levels, 0, &ntables);

	if (!err && ntables != e->pt.ntables) {
		g_warning("%" PRIu64 " tables are linked, %" PRIu64 " are counted", ntables, e->pt.ntables);
		err = -EUCLEAN;
	}
	return err;
}

const struct paging_ops ept_paging_ops = {
	.name = "ept",
	.summary = "Two-dimensional paging: the guest owns its tables, the VMM a second stage below them.",
	.create = ept_create,
	.destroy = ept_destroy,
	.fault = ept_fault,
	.guest_write = ept_guest_write,
	.guest_event = ept_guest_event,
	.hw_root = ept_hw_root,
	.unmap = ept_unmap,
	.wrprotect = ept_wrprotect,
	.log_dirty = ept_log_dirty,
	.test_clear_young = ept_test_clear_young,
	.clear_accessed = ept_clear_accessed,
	.collapse = ept_collapse,
	.table_frames = ept_table_frames,
	.verify = ept_verify,
};
