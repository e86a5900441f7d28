/* SPDX-License-Identifier: MIT */
/*
 * dedup.c - what all merging algorithms share: looking at pages, merging them, and the account of it
 *
 * Problem: scanners differ in how they find equal pages, and are compared by what they save, at what cost, and by why
 * the rest stays unmerged. So all but the finding must be the same code.
 *
 * Idea: merging is two checks and one call: compare, protect the page, compare again (its last write may have come
 * between; KSM does the same), gmem_share(). Savings are not tracked but counted from what is: dedup_report() goes
 * over all pages with frames, which costs some nanoseconds each and is done once a sample. A frame seen first is
 * backing; seen again from the same VM it is saved by self-sharing, from another VM by sharing between VMs. VMs are
 * gone over in order, so "another VM than the last" is "a VM that had not seen it". Frames of zeros are counted apart
 * whether they are the host's zero frame or just merged.
 *
 * A reason belongs to a frame, not to a page: the low half of its number is kept with it, and a page that was merged
 * and written, or moved, is unscanned again. (A frame that comes back to the same page in between keeps its item,
 * harmlessly: the checksum decides.)
 *
 * That an equal page exists on another NUMA node no algorithm asks, for it would have to search there. The report finds
 * it out: from the checksums of the last looks it learns which nodes have which contents, charged to nobody.
 *
 * Invariants (tests/model/test_dedup_model.c): pages_backed = frames_backing + saved_zero + saved_self + saved_inter;
 * pages_backed = pages_merged + ksm_zero_pages + unshared + volatile + huge + limited + other_node + refused +
 * unscanned;
 * pages_merged = pages_shared + pages_sharing; general_profit is (pages_sharing + ksm_zero_pages) pages less
 * ksm_rmap_items items. The kernel's pages_unshared is pages_unshared + pages_limited + pages_other_node here.
 *
 * Source: Linux Documentation/admin-guide/mm/ksm.rst, for names; Waldspurger 2002, section 4, for the split.
 */
#include "dedup/dedup.h"

#include <errno.h>
#include <glib.h>

#include "dedup/beyond.h"
#include "mm/err.h"
#include "mm/lazy.h"
#include "workloads/rng.h"

extern const struct dedup_ops dedup_ksm, dedup_hash, dedup_oracle;

static const struct dedup_ops dedup_kernel = {
	.name = "kernel",
	.summary = "The host's own kernel merges, by its KSM: real guests with [host] backing = anonymous only.",
	.by_host = true,
};

const struct dedup_ops *const dedup_algorithms[] = { &dedup_ksm, &dedup_hash, &dedup_oracle, &dedup_kernel, NULL };

static uint64_t item_bytes(const struct dedup *d, unsigned vm)
{
	return gmem_config(d->cfg.vms[vm])->npages * sizeof(struct dedup_item);
}

static bool share(struct page_sharer *s, struct gmem *g, gfn_t gfn)
{
	struct dedup *d = (struct dedup *)((char *)s - offsetof(struct dedup, sharer));
	struct dedup_page p;

	if (d->unmerging)
		return false;
	dedup_look(d, gmem_config(g)->vm, gfn, &p);
	return dedup_candidate(d, &p) && d->ops->try_share(d, &p);
}

struct page_sharer *dedup_sharer(struct dedup *d)
{
	return d->ops->try_share ? &d->sharer : NULL;
}

bool dedup_init(struct dedup *d, const struct dedup_ops *ops, const struct dedup_config *cfg)
{
	bool ok = true;

	g_assert(cfg->max_page_sharing >= 2);
	d->ops = ops;
	d->sharer.share = share;
	d->cfg = *cfg;
	d->item = g_new0(struct dedup_item *, cfg->nvms + 1);
	d->seen = lazy_new(frames_total(cfg->frames) * sizeof(*d->seen));
	for (unsigned vm = 0; vm < cfg->nvms; vm++) {
		d->item[vm] = lazy_new(item_bytes(d, vm));
		ok = ok && d->item[vm];
	}
	if (ok && d->seen) {
		d->beyond = beyond_new(d);
		ok = d->beyond || !errno;
	}
	if (ok && d->seen)
		return true;
	dedup_fini(d);
	errno = ENOMEM;
	return false;
}

void dedup_fini(struct dedup *d)
{
	beyond_free(d->beyond);
	for (unsigned vm = 0; vm < d->cfg.nvms; vm++)
		lazy_free(d->item[vm], item_bytes(d, vm));
	lazy_free(d->seen, frames_total(d->cfg.frames) * sizeof(*d->seen));
	g_free(d->item);
}

void dedup_look(struct dedup *d, unsigned vm, gfn_t gfn, struct dedup_page *p)
{
	*p = (struct dedup_page){ .g = d->cfg.vms[vm], .item = &d->item[vm][gfn], .gfn = gfn, .vm = vm };
	gmem_lookup(p->g, gfn, &p->page);
	if (p->page.state != PAGE_RESIDENT || p->item->hfn_low == (uint32_t)p->page.hfn)
		return;
	*p->item = (struct dedup_item){ .hfn_low = (uint32_t)p->page.hfn };
	if (d->beyond)
		beyond_forget(d->beyond, vm, gfn);
}

bool dedup_candidate(struct dedup *d, struct dedup_page *p)
{
	if (p->page.state != PAGE_RESIDENT)
		return false;
	if (d->cfg.split_huge || !gmem_is_large(p->g, p->gfn))
		return true;
	p->item->reason = REASON_HUGE;
	return false;
}

static void charge(struct dedup *d, unsigned vm, enum charge_kind kind)
{
	d->cfg.machine->ops->charge(d->cfg.machine, vm, kind, 1);
}

uint64_t dedup_checksum(struct dedup *d, const struct dedup_page *p)
{
	charge(d, p->vm, CHARGE_CHECKSUM);
	return d->cfg.machine->ops->checksum(d->cfg.machine, p->page.hfn);
}

int dedup_compare(struct dedup *d, hfn_t a, hfn_t b)
{
	charge(d, 0, CHARGE_COMPARE);
	return d->cfg.machine->ops->compare(d->cfg.machine, a, b);
}

static bool merged(struct dedup_page *p, int err)
{
	if (err == -ENOSPC) {
		p->refused = true;
		p->item->reason = REASON_REFUSED;
	}
	if (err)
		return false;
	*p->item = (struct dedup_item){ 0 };
	gmem_counters(p->g)->merges++;
	gmem_lookup(p->g, p->gfn, &p->page);
	return true;
}

bool dedup_merge_zero(struct dedup *d, struct dedup_page *p)
{
	if (gmem_share_protect(p->g, p->gfn) || dedup_compare(d, p->page.hfn, HFN_NONE))
		return false;
	return merged(p, gmem_share_zero(p->g, p->gfn));
}

bool dedup_merge_into(struct dedup *d, struct dedup_page *p, hfn_t stable)
{
	if (gmem_share_protect(p->g, p->gfn) || dedup_compare(d, p->page.hfn, stable))
		return false;
	return merged(p, gmem_share(p->g, p->gfn, stable));
}

/* @a shall not stay merged with nobody. If there is no frame for it, it does, and waits for others. */
static void undo(struct dedup *d, struct dedup_page *a, hfn_t stable)
{
	int err;

	gmem_counters(a->g)->merges--;
	d->unmerging = true; /* a frame for it may be had by swapping */
	err = gmem_unshare(a->g, a->gfn);
	d->unmerging = false;
	if (err && d->ops->adopt)
		d->ops->adopt(d, stable);
	dedup_look(d, a->vm, a->gfn, a);
	if (!err)
		a->item->reason = REASON_REFUSED;
}

bool dedup_merge_pair(struct dedup *d, struct dedup_page *a, struct dedup_page *b, hfn_t *stable)
{
	if (gmem_share_protect(a->g, a->gfn) || gmem_share_protect(b->g, b->gfn) ||
	    dedup_compare(d, a->page.hfn, b->page.hfn))
		return false;
	if (!merged(a, gmem_share_begin(a->g, a->gfn, stable))) {
		b->refused |= a->refused;
		dedup_blame(b, b->item->reason);
		return false;
	}
	if (merged(b, gmem_share(b->g, b->gfn, *stable)))
		return true;
	/* It was RESIDENT a moment ago, or it could not have been protected: the machine had room for one only. */
	undo(d, a, *stable);
	*stable = a->page.hfn;
	return false;
}

bool dedup_merge_alone(struct dedup *d, struct dedup_page *p)
{
	hfn_t hfn;

	if (gmem_share_protect(p->g, p->gfn) || gmem_share_begin(p->g, p->gfn, &hfn))
		return false;
	*p->item = (struct dedup_item){ 0 };
	gmem_lookup(p->g, p->gfn, &p->page);
	if (d->ops->adopt)
		d->ops->adopt(d, hfn);
	return true;
}

void dedup_scan(struct dedup *d, uint64_t npages)
{
	d->ops->scan(d, npages);
	if (d->beyond)
		beyond_scan(d->beyond, npages);
}

uint64_t dedup_refs(const struct dedup *d, hfn_t stable)
{
	return frames_get(d->cfg.frames, stable)->refs;
}

unsigned dedup_domain(const struct dedup *d, hfn_t hfn)
{
	return d->cfg.merge_across_nodes ? 0 : frames_node(d->cfg.frames, hfn);
}

unsigned dedup_domains(const struct dedup *d)
{
	return d->cfg.merge_across_nodes ? 1 : frames_nodes(d->cfg.frames);
}

uint64_t dedup_key(const struct dedup *d, uint64_t checksum, unsigned domain)
{
	return dedup_domains(d) == 1 ? checksum : rng_mix(checksum ^ rng_mix(domain + 1));
}

/* d->seen: epoch in bits 63:24, zero in bit 20, vm in 15:0. */
#define SEEN_ZERO  (1ull << 20)
#define SEEN_EPOCH 24

static void report_shared(struct dedup *d, struct dedup_page *p)
{
	struct counters *c = gmem_counters(p->g);
	uint64_t *seen = &d->seen[p->page.hfn], was = *seen;
	bool first = was >> SEEN_EPOCH != d->epoch, zero_frame = p->page.hfn == d->cfg.frames->zero;
	struct machine *m = d->cfg.machine;

	if (first) {
		bool zero = zero_frame || !m->ops->compare(m, p->page.hfn, HFN_NONE);

		*seen = d->epoch << SEEN_EPOCH | (zero ? SEEN_ZERO : 0) | p->vm;
		c->frames_backing++;
		c->pages_shared += !zero_frame;
		return;
	}
	c->pages_sharing += !zero_frame;
	if (was & SEEN_ZERO)
		c->saved_zero++;
	else if ((was & 0xffff) == p->vm)
		c->saved_self++;
	else
		c->saved_inter++;
	*seen = (was & ~0xffffull) | p->vm;
}

static void report_page(struct dedup *d, struct dedup_page *p)
{
	struct counters *c = gmem_counters(p->g);
	uint64_t *const why[DEDUP_REASONS] = {
		[REASON_UNSCANNED] = &c->pages_unscanned, [REASON_UNIQUE] = &c->pages_unshared,
		[REASON_VOLATILE] = &c->pages_volatile,	  [REASON_HUGE] = &c->pages_huge,
		[REASON_LIMIT] = &c->pages_limited,	  [REASON_NODE] = &c->pages_other_node,
		[REASON_REFUSED] = &c->pages_refused,
	};

	c->pages_backed++;
	c->ksm_rmap_items += p->page.state == PAGE_SHARED || (p->page.state == PAGE_RESIDENT && p->item->seen);
	if (p->page.state != PAGE_RESIDENT) {
		report_shared(d, p);
		return;
	}
	c->frames_backing++;
	++*why[p->item->reason];
	if (d->beyond)
		beyond_report(d->beyond, p);
}

typedef void (*page_fn)(struct dedup *d, struct dedup_page *p);

static void for_each_page(struct dedup *d, page_fn fn)
{
	for (unsigned vm = 0; vm < d->cfg.nvms; vm++) {
		struct gmem *g = d->cfg.vms[vm];
		struct dedup_page p;

		for (gfn_t gfn = gmem_next_mapped(g, 0); gfn != GFN_NONE; gfn = gmem_next_mapped(g, gfn + 1)) {
			dedup_look(d, vm, gfn, &p);
			fn(d, &p);
		}
	}
}

/* A checksum and the nodes that have it. */
struct whereabouts {
	uint64_t checksum, nodes;
};

static bool checksum_of(struct dedup *d, const struct dedup_page *p, uint64_t *checksum)
{
	struct machine *m = d->cfg.machine;

	if (p->page.state == PAGE_SHARED)
		*checksum = m->ops->checksum(m, p->page.hfn);
	else if (p->page.state == PAGE_RESIDENT && p->item->seen)
		*checksum = p->item->checksum;
	else
		return false;
	return true;
}

static void note_node(struct dedup *d, struct dedup_page *p)
{
	struct whereabouts *w, new = { 0 };

	if (!checksum_of(d, p, &new.checksum))
		return;
	w = g_hash_table_lookup(d->nodes, &new.checksum);
	if (!w) {
		w = g_memdup2(&new, sizeof(new));
		g_hash_table_insert(d->nodes, &w->checksum, w);
	}
	w->nodes |= 1ull << frames_node(d->cfg.frames, p->page.hfn);
}

/* Unique where it is, but not in the host. */
static void blame_node(struct dedup *d, struct dedup_page *p)
{
	struct dedup_item *item = p->item;
	const struct whereabouts *w;

	if (p->page.state != PAGE_RESIDENT || (item->reason != REASON_UNIQUE && item->reason != REASON_NODE))
		return;
	w = g_hash_table_lookup(d->nodes, &item->checksum);
	item->reason = w->nodes & (w->nodes - 1) ? REASON_NODE : REASON_UNIQUE;
}

static void blame_nodes(struct dedup *d)
{
	if (dedup_domains(d) == 1)
		return;
	d->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	for_each_page(d, note_node);
	for_each_page(d, blame_node);
	g_hash_table_unref(d->nodes);
	d->nodes = NULL;
}

/* As the kernel has it; a loss is shown as 0. */
static uint64_t profit(const struct dedup *d)
{
	uint64_t saved = 0, items = 0;

	for (unsigned vm = 0; vm < d->cfg.nvms; vm++) {
		const struct counters *c = gmem_counters(d->cfg.vms[vm]);

		saved += (c->pages_sharing + c->ksm_zero_pages) * PAGE_SIZE;
		items += c->ksm_rmap_items * DEDUP_RMAP_ITEM;
	}
	return saved > items ? saved - items : 0;
}

void dedup_report(struct dedup *d)
{
	d->epoch++;
	for (unsigned vm = 0; vm < d->cfg.nvms; vm++) {
		struct counters *c = gmem_counters(d->cfg.vms[vm]);

		c->pages_shared = c->pages_sharing = c->pages_unshared = c->pages_volatile = c->pages_huge = 0;
		c->pages_limited = c->pages_unscanned = c->saved_zero = c->saved_self = c->saved_inter = 0;
		c->pages_backed = c->frames_backing = c->pages_other_node = c->ksm_rmap_items = c->pages_refused = 0;
		c->potential_patch = c->potential_compress = c->potential_both = 0;
	}
	blame_nodes(d);
	for_each_page(d, report_page);
	d->cfg.host->general_profit = profit(d);
	d->cfg.host->frames_reference = d->cfg.swap ? swap_references(d->cfg.swap) : 0;
}

int dedup_unmerge(struct dedup *d)
{
	int err = 0;

	d->unmerging = true; /* frames for it may be had by swapping */
	for (unsigned vm = 0; vm < d->cfg.nvms && !err; vm++) {
		struct gmem *g = d->cfg.vms[vm];

		for (gfn_t gfn = gmem_next_mapped(g, 0); gfn != GFN_NONE && !err; gfn = gmem_next_mapped(g, gfn + 1))
			err = gmem_unshare(g, gfn);
	}
	d->unmerging = false;
	return err;
}
