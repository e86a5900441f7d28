/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - Linux's kernel samepage merging
 *
 * Problem: find equal pages among millions that change all the time, with a fixed budget of pages a second and without
 * trusting a hash.
 *
 * Idea: two search trees ordered by the bytes of pages. The *stable* tree holds merged frames, which cannot change. A
 * page that is in no hurry to change (its checksum equals that of the pass before) is looked for there; else in the
 * *unstable* tree, of pages that are not merged and not protected: they may change while they are in it, the tree may
 * then be out of order and miss an equal page, and it is thrown away at the end of every pass. An equal page found
 * there is compared once more under protection and the two become a merged frame. *Smart scan*: a page that did not
 * merge in its first three passes is skipped for 1, 2, 4, then 8 passes between looks. *use_zero_pages*: pages of
 * zeros map the zero frame before any tree is searched. *max_page_sharing*: a content gets another frame when the
 * last is full (stable.h). *merge_across_nodes* off: each NUMA node has trees of its own.
 *
 * Differences to the kernel: the stable tree offers no stale nodes, so that pages_shared and pages_sharing are exact at
 * every moment; a page that got another frame is new.
 * As in recent kernels, the checksum comes before the search of the stable tree; older ones searched first.
 *
 * Data structures: two GTrees (balanced binary trees) for each node. An unstable tree that is out of order is still a
 * tree: a look-up may miss, a removal may take another node. Real guests write while we compare, so nothing holds any
 * more that the comparison before this one said: what was not found may be there when it is inserted.
 *
 * Invariants: of pages unchanged over two full passes exactly the equal ones are merged; every frame in the stable tree
 * is merged and has 1 to max_page_sharing pages (tests/model/test_dedup_model.c); a page that changes between any two
 * comparisons does no harm (tests/unit/test_dedup.c).
 *
 * Source: Arcangeli, Eidus, Wright, Increasing memory density by using KSM, Linux Symposium 2009; Linux mm/ksm.c and
 * Documentation/admin-guide/mm/ksm.rst.
 */
#include <errno.h>
#include <glib.h>

#include "dedup/stable.h"

extern const struct dedup_ops dedup_ksm;

struct candidate {
	unsigned vm;
	gfn_t gfn;
};

struct ksm {
	struct dedup base;
	struct stable_set set;
	GTree **stable, **unstable; /* by domain */
	unsigned ndomains;
	uint64_t zero_checksum;
	unsigned vm; /* where the pass is */
	gfn_t gfn;
	bool free; /* comparisons are not charged: the kernel has the node, or the place, in hand */
};

static gint compare_stable(gconstpointer a, gconstpointer b, gpointer data)
{
	struct ksm *k = data;
	const struct stable *x = a, *y = b;
	struct machine *m = k->base.cfg.machine;

	if (k->free)
		return m->ops->compare(m, x->hfn, y->hfn);
	return dedup_compare(&k->base, x->hfn, y->hfn);
}

/* A page that is gone reads as zeros. */
static hfn_t frame_of(const struct ksm *k, const struct candidate *c)
{
	struct gmem_page page;

	gmem_lookup(k->base.cfg.vms[c->vm], c->gfn, &page);
	return page.state == PAGE_RESIDENT ? page.hfn : HFN_NONE;
}

static gint compare_unstable(gconstpointer a, gconstpointer b, gpointer data)
{
	struct ksm *k = data;

	return dedup_compare(&k->base, frame_of(k, a), frame_of(k, b));
}

static GTree *new_unstable(struct ksm *k)
{
	return g_tree_new_full(compare_unstable, k, NULL, g_free);
}

static void forget(struct dedup *d, struct stable *s)
{
	struct ksm *k = (struct ksm *)d;

	k->free = true;
	g_tree_remove(k->stable[s->domain], s);
	k->free = false;
}

static struct dedup *ksm_create(const struct dedup_config *cfg)
{
	struct ksm *k = g_new0(struct ksm, 1);

	if (!dedup_init(&k->base, &dedup_ksm, cfg)) {
		g_free(k);
		return NULL;
	}
	k->ndomains = dedup_domains(&k->base);
	k->stable = g_new(GTree *, k->ndomains);
	k->unstable = g_new(GTree *, k->ndomains);
	for (unsigned i = 0; i < k->ndomains; i++) {
		k->stable[i] = g_tree_new_full(compare_stable, k, NULL, NULL);
		k->unstable[i] = new_unstable(k);
	}
	k->zero_checksum = cfg->machine->ops->checksum(cfg->machine, HFN_NONE);
	stable_init(&k->set, &k->base, forget);
	return &k->base;
}

static void ksm_destroy(struct dedup *d)
{
	struct ksm *k = (struct ksm *)d;

	for (unsigned i = 0; i < k->ndomains; i++) {
		g_tree_unref(k->unstable[i]);
		g_tree_unref(k->stable[i]);
	}
	g_free(k->unstable);
	g_free(k->stable);
	stable_fini(&k->set);
	dedup_fini(d);
	g_free(k);
}

/* How many passes a page of that age may be skipped. */
static uint8_t skip_age(uint8_t age)
{
	return age <= 3 ? 1 : age <= 5 ? 2 : age <= 8 ? 4 : 8;
}

static bool smart_skip(struct ksm *k, struct dedup_page *p)
{
	uint8_t age = p->item->age;

	if (!k->base.cfg.smart_scan || p->page.state != PAGE_RESIDENT)
		return false;
	if (age != UINT8_MAX)
		p->item->age++;
	if (age < 3)
		return false;
	if (!p->item->skips) {
		p->item->skips = skip_age(age);
		return false;
	}
	p->item->skips--;
	return true;
}

static struct stable *find_stable(struct ksm *k, hfn_t hfn)
{
	struct stable probe = { .hfn = hfn };

	return g_tree_lookup(k->stable[dedup_domain(&k->base, hfn)], &probe);
}

/* A merged frame, whose content has the frame @found already, if any. */
static void add_stable(struct ksm *k, struct stable *found, hfn_t hfn)
{
	struct stable *s = stable_add(&k->set, found, hfn, 0);

	if (!found)
		g_tree_insert(k->stable[dedup_domain(&k->base, hfn)], s, s);
}

/* Into the stable tree's frame; or why not. */
static bool merge_stable(struct ksm *k, struct dedup_page *p, struct stable **found)
{
	hfn_t target;

	*found = find_stable(k, p->page.hfn);
	if (!*found)
		return false;
	target = stable_pick(&k->set, *found);
	return target != HFN_NONE && dedup_merge_into(&k->base, p, target);
}

/* With an equal page of the unstable tree; or put it there. */
static void merge_unstable(struct ksm *k, struct dedup_page *p, struct stable *full)
{
	unsigned domain = dedup_domain(&k->base, p->page.hfn);
	GTree *unstable = k->unstable[domain];
	struct candidate probe = { .vm = p->vm, .gfn = p->gfn }, *c = g_tree_lookup(unstable, &probe);
	struct dedup_page other;
	hfn_t hfn;

	dedup_blame(p, full ? REASON_LIMIT : REASON_UNIQUE);
	if (!c) {
		c = g_memdup2(&probe, sizeof(probe));
		g_tree_replace(unstable, c, c); /* of an equal one both its key and its value, which are one */
		return;
	}
	dedup_look(&k->base, c->vm, c->gfn, &other);
	if (!dedup_candidate(&k->base, &other) || dedup_domain(&k->base, other.page.hfn) != domain)
		return;
	g_tree_remove(unstable, c);
	if (!dedup_merge_pair(&k->base, &other, p, &hfn))
		return;
	k->free = true;
	full = find_stable(k, hfn);
	k->free = false;
	add_stable(k, full, hfn);
}

static void ksm_adopt(struct dedup *d, hfn_t hfn)
{
	struct ksm *k = (struct ksm *)d;

	add_stable(k, find_stable(k, hfn), hfn);
}

static void scan_page(struct ksm *k, struct dedup_page *p)
{
	struct dedup_item *item = p->item;
	struct stable *found;
	uint64_t checksum;

	if (!dedup_candidate(&k->base, p))
		return;
	checksum = dedup_checksum(&k->base, p);
	if (!item->seen || item->checksum != checksum) {
		item->checksum = checksum;
		item->seen = 1;
		item->reason = REASON_VOLATILE;
		return;
	}
	if (k->base.cfg.use_zero_pages && checksum == k->zero_checksum && dedup_merge_zero(&k->base, p))
		return;
	if (!merge_stable(k, p, &found))
		merge_unstable(k, p, found);
}

static void end_pass(struct ksm *k)
{
	for (unsigned i = 0; i < k->ndomains; i++) {
		g_tree_unref(k->unstable[i]);
		k->unstable[i] = new_unstable(k);
	}
	k->base.cfg.host->full_scans++;
	k->vm = 0;
	k->gfn = 0;
}

/* The next page of the pass; false: it is over. */
static bool next_page(struct ksm *k, struct dedup_page *p)
{
	for (; k->vm < k->base.cfg.nvms; k->vm++, k->gfn = 0) {
		gfn_t gfn = gmem_next_mapped(k->base.cfg.vms[k->vm], k->gfn);

		if (gfn == GFN_NONE)
			continue;
		k->gfn = gfn + 1;
		dedup_look(&k->base, k->vm, gfn, p);
		return true;
	}
	return false;
}

static void ksm_scan(struct dedup *d, uint64_t npages)
{
	struct ksm *k = (struct ksm *)d;
	bool whole = k->vm == 0 && k->gfn == 0; /* this call begins the pass */
	uint64_t budget = npages;
	struct dedup_page p;

	while (npages) {
		if (!next_page(k, &p)) {
			end_pass(k);
			if (whole || npages < budget)
				return;
			whole = true; /* the pass had ended just where the last call stopped */
			continue;
		}
		if (smart_skip(k, &p)) {
			gmem_counters(p.g)->pages_skipped++;
			continue;
		}
		scan_page(k, &p);
		gmem_counters(p.g)->pages_scanned++;
		npages--;
	}
}

const struct dedup_ops dedup_ksm = {
	.name = "ksm",
	.summary = "Linux's KSM: trees of stable and of unstable pages, a checksum keeps volatile ones out.",
	.create = ksm_create,
	.scan = ksm_scan,
	.adopt = ksm_adopt,
	.destroy = ksm_destroy,
};
