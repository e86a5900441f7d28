/* SPDX-License-Identifier: MIT */
/*
 * hash.c - content-based page sharing as in VMware ESX Server
 *
 * Problem: find equal pages with one look at each, at a rate that matters to nobody, without a table of all pages.
 *
 * Idea: pages are looked at in random order. A page's checksum is looked up in a hash table. If it names merged
 * frames, the page is compared with one and merged. If it names a *hint*, a page that had that checksum when it was
 * looked at and is not merged nor protected, that page is looked at again: if it still has it, both are compared and
 * merged; if not, the hint was stale, and the new page takes its place. If it names nothing, the page becomes a hint.
 * So a page is merged at its first look if its partner was seen before, however often it changes meanwhile; KSM waits
 * for a second look.
 *
 * Before a page goes to swap it is looked up, too, and merged instead if that can be; it leaves no hint, for it is
 * about to be gone.
 *
 * Data structures: a GHashTable from checksum to entry (merged frames with their chain, and at most one hint). Two
 * contents with one 64-bit checksum share an entry, so one of them is not merged: comparing keeps that
 * harmless. The random order is a bijection of 0 to 2^k - 1, new for each pass: a linear congruential generator of
 * full period, its high bits folded into the low ones, numbers beyond the last page passed over. At the end of a pass
 * hints that are stale are dropped, so that the table is bounded by the number of pages.
 *
 * Invariants (tests/model/test_dedup_model.c): of pages unchanged over a pass the equal ones are merged at its end
 * exactly; tests/unit/test_dedup.c: a pass visits each page once, and the order depends on the seed alone.
 *
 * Source: Waldspurger, Memory Resource Management in VMware ESX Server, OSDI 2002, sections 4.1 and 4.2.
 */
#include <glib.h>

#include "dedup/stable.h"
#include "workloads/rng.h"

extern const struct dedup_ops dedup_hash;

struct entry {
	uint64_t key, checksum;
	struct stable *stable; /* NULL: no merged frame */
	bool hinted;
	unsigned vm; /* the hint */
	gfn_t gfn;
};

struct hash {
	struct dedup base;
	struct stable_set set;
	GHashTable *table; /* dedup_key(): struct entry, which has it */
	uint64_t zero_checksum;
	uint64_t npages;   /* of all VMs */
	uint64_t mask;	   /* 2^k - 1 */
	uint64_t pass, at, state, step, add;
	unsigned shift;
};

/* Order: number @state of the sequence, folded; the low bits of such a generator alone have short periods. */
static void begin_pass(struct hash *h)
{
	uint64_t seed = rng_mix(h->base.cfg.seed ^ rng_mix(h->pass));

	h->at = 0;
	h->state = seed & h->mask;
	h->step = (rng_mix(seed) & h->mask & ~3ull) | 1; /* 1 modulo 4, and an odd addend: full period */
	h->add = (rng_mix(seed + 1) & h->mask) | 1;
}

static uint64_t next_number(struct hash *h)
{
	uint64_t x = h->state;

	h->state = (x * h->step + h->add) & h->mask;
	h->at++;
	return x ^ x >> h->shift;
}

static void forget(struct dedup *d, struct stable *s)
{
	struct hash *h = (struct hash *)d;
	struct entry *e = g_hash_table_lookup(h->table, &s->tag);

	e->stable = NULL;
	if (!e->hinted)
		g_hash_table_remove(h->table, &s->tag);
}

static struct dedup *hash_create(const struct dedup_config *cfg)
{
	struct hash *h = g_new0(struct hash, 1);
	unsigned bits = 2;

	if (!dedup_init(&h->base, &dedup_hash, cfg)) {
		g_free(h);
		return NULL;
	}
	for (unsigned vm = 0; vm < cfg->nvms; vm++)
		h->npages += gmem_config(cfg->vms[vm])->npages;
	while (1ull << bits < h->npages)
		bits++;
	h->mask = (1ull << bits) - 1;
	h->shift = (bits + 1) / 2;
	h->table = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	h->zero_checksum = cfg->machine->ops->checksum(cfg->machine, HFN_NONE);
	stable_init(&h->set, &h->base, forget);
	begin_pass(h);
	return &h->base;
}

static void hash_destroy(struct dedup *d)
{
	struct hash *h = (struct hash *)d;

	stable_fini(&h->set);
	g_hash_table_unref(h->table);
	dedup_fini(d);
	g_free(h);
}

static struct entry *entry_of(struct hash *h, uint64_t checksum, hfn_t hfn)
{
	uint64_t key = dedup_key(&h->base, checksum, dedup_domain(&h->base, hfn));
	struct entry *e = g_hash_table_lookup(h->table, &key);

	if (e)
		return e;
	e = g_new0(struct entry, 1);
	e->key = key;
	e->checksum = checksum;
	g_hash_table_insert(h->table, &e->key, e);
	return e;
}

static void set_hint(struct entry *e, const struct dedup_page *p)
{
	e->hinted = true;
	e->vm = p->vm;
	e->gfn = p->gfn;
}

/* The hint still has the checksum: merge. False: it is stale, or unequal. */
static bool merge_hint(struct hash *h, struct entry *e, struct dedup_page *p)
{
	struct dedup_page other;
	hfn_t hfn;

	dedup_look(&h->base, e->vm, e->gfn, &other);
	if (!dedup_candidate(&h->base, &other) ||
	    dedup_domain(&h->base, other.page.hfn) != dedup_domain(&h->base, p->page.hfn))
		return false;
	if (dedup_checksum(&h->base, &other) != e->checksum) {
		other.item->reason = REASON_VOLATILE;
		return false;
	}
	if (!dedup_merge_pair(&h->base, &other, p, &hfn))
		return false;
	e->hinted = false;
	e->stable = stable_add(&h->set, e->stable, hfn, e->key);
	return true;
}

static void hash_adopt(struct dedup *d, hfn_t hfn)
{
	struct hash *h = (struct hash *)d;
	struct entry *e = entry_of(h, d->cfg.machine->ops->checksum(d->cfg.machine, hfn), hfn);

	e->stable = stable_add(&h->set, e->stable, hfn, e->key);
}

static bool hash_try_share(struct dedup *d, struct dedup_page *p)
{
	struct hash *h = (struct hash *)d;
	uint64_t checksum = dedup_checksum(d, p), key = dedup_key(d, checksum, dedup_domain(d, p->page.hfn));
	struct entry *e = g_hash_table_lookup(h->table, &key);
	hfn_t target;

	if (d->cfg.use_zero_pages && checksum == h->zero_checksum && dedup_merge_zero(d, p))
		return true;
	if (!e)
		return false;
	target = e->stable ? stable_pick(&h->set, e->stable) : HFN_NONE;
	if (target != HFN_NONE && dedup_merge_into(d, p, target))
		return true;
	return e->hinted && (e->vm != p->vm || e->gfn != p->gfn) && merge_hint(h, e, p);
}

static void scan_page(struct hash *h, struct dedup_page *p)
{
	bool changed, limited = false;
	uint64_t checksum;
	struct entry *e;

	if (!dedup_candidate(&h->base, p))
		return;
	checksum = dedup_checksum(&h->base, p);
	changed = p->item->seen && p->item->checksum != checksum;
	p->item->checksum = checksum;
	p->item->seen = 1;
	if (h->base.cfg.use_zero_pages && checksum == h->zero_checksum && dedup_merge_zero(&h->base, p))
		return;
	e = entry_of(h, checksum, p->page.hfn);
	if (e->stable) {
		hfn_t target = stable_pick(&h->set, e->stable);

		if (target != HFN_NONE && dedup_merge_into(&h->base, p, target))
			return;
		limited = target == HFN_NONE;
	}
	dedup_blame(p, changed ? REASON_VOLATILE : limited ? REASON_LIMIT : REASON_UNIQUE);
	if (e->hinted && (e->vm != p->vm || e->gfn != p->gfn) && merge_hint(h, e, p))
		return;
	set_hint(e, p);
}

/* Does the hint's page still look as it did? */
static gboolean stale(gpointer key, gpointer value, gpointer data)
{
	struct hash *h = data;
	struct entry *e = value;
	struct dedup_page p;

	(void)key;
	if (e->hinted) {
		dedup_look(&h->base, e->vm, e->gfn, &p);
		e->hinted = p.page.state == PAGE_RESIDENT && p.item->seen && p.item->checksum == e->checksum;
	}
	return !e->hinted && !e->stable;
}

static void end_pass(struct hash *h)
{
	g_hash_table_foreach_remove(h->table, stale, h);
	h->base.cfg.host->full_scans++;
	h->pass++;
	begin_pass(h);
}

/* The next page of the pass that has a frame; false: it is over. */
static bool next_page(struct hash *h, struct dedup_page *p)
{
	while (h->at <= h->mask) {
		uint64_t n = next_number(h);
		unsigned vm = 0;

		if (n >= h->npages)
			continue;
		for (; n >= gmem_config(h->base.cfg.vms[vm])->npages; vm++)
			n -= gmem_config(h->base.cfg.vms[vm])->npages;
		if (!gmem_is_mapped(h->base.cfg.vms[vm], n))
			continue;
		dedup_look(&h->base, vm, n, p);
		return true;
	}
	return false;
}

static void hash_scan(struct dedup *d, uint64_t npages)
{
	struct hash *h = (struct hash *)d;
	bool whole = h->at == 0;
	uint64_t budget = npages;
	struct dedup_page p;

	while (npages) {
		if (!next_page(h, &p)) {
			end_pass(h);
			if (whole || npages < budget)
				return;
			whole = true;
			continue;
		}
		scan_page(h, &p);
		gmem_counters(p.g)->pages_scanned++;
		npages--;
	}
}

const struct dedup_ops dedup_hash = {
	.name = "hash",
	.summary = "VMware ESX's: a hash table of merged frames and of hints; pages in random order.",
	.create = hash_create,
	.scan = hash_scan,
	.try_share = hash_try_share,
	.adopt = hash_adopt,
	.destroy = hash_destroy,
};
