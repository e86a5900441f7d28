/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - merges everything that is equal, at once: the bound that no scanner exceeds
 *
 * Problem: how much of what could be merged does a scanner merge? That needs to be known, not estimated.
 *
 * Idea: each call goes over all pages, whatever its budget. Merged frames are entered first in a hash table by
 * checksum, then every other page is merged with a frame that has room or with an equal page not merged yet, or
 * entered itself. Nothing is kept between calls. It bounds the savings, not the time: that is charged as if each page
 * were read.
 *
 * Data structures: a GHashTable from checksum (of a node's pages, if nodes do not share) to a list of what has it;
 * contents are compared, so equal checksums of unequal pages cost time only.
 *
 * Invariants (tests/model/test_dedup_model.c): after a call two pages with frames of their own are never equal, unless
 * max_page_sharing or a large backing stands between.
 */
#include <glib.h>

#include "dedup/dedup.h"

extern const struct dedup_ops dedup_oracle;

/* A merged frame, or a page that has found no partner yet. */
struct known {
	hfn_t hfn;
	bool merged;
	unsigned vm;
	gfn_t gfn;
	struct known *next; /* with the same key */
};

static struct dedup *oracle_create(const struct dedup_config *cfg)
{
	struct dedup *d = g_new0(struct dedup, 1);

	if (dedup_init(d, &dedup_oracle, cfg))
		return d;
	g_free(d);
	return NULL;
}

static void oracle_destroy(struct dedup *d)
{
	dedup_fini(d);
	g_free(d);
}

static void known_free(gpointer p)
{
	for (struct known *k = p, *next; k; k = next) {
		next = k->next;
		g_free(k);
	}
}

static void enter(GHashTable *table, uint64_t key, const struct dedup_page *p)
{
	struct known *k = g_new0(struct known, 1), *first = g_hash_table_lookup(table, &key);

	k->hfn = p->page.hfn;
	k->merged = p->page.state != PAGE_RESIDENT;
	k->vm = p->vm;
	k->gfn = p->gfn;
	if (first) {
		k->next = first->next;
		first->next = k;
	} else {
		g_hash_table_insert(table, g_memdup2(&key, sizeof(key)), k);
	}
}

static bool merge_with(struct dedup *d, struct known *k, struct dedup_page *p)
{
	struct dedup_page other;

	if (k->merged)
		return dedup_merge_into(d, p, k->hfn);
	dedup_look(d, k->vm, k->gfn, &other);
	k->merged = dedup_merge_pair(d, &other, p, &k->hfn);
	return k->merged;
}

static void merge_page(struct dedup *d, GHashTable *table, struct dedup_page *p)
{
	unsigned domain = dedup_domain(d, p->page.hfn);
	bool limited = false;
	uint64_t key;

	if (!dedup_candidate(d, p))
		return;
	p->item->checksum = dedup_checksum(d, p);
	p->item->seen = 1;
	key = dedup_key(d, p->item->checksum, domain);
	if (d->cfg.use_zero_pages && dedup_compare(d, p->page.hfn, HFN_NONE) == 0 && dedup_merge_zero(d, p))
		return;
	for (struct known *k = g_hash_table_lookup(table, &key); k; k = k->next) {
		if (dedup_domain(d, k->hfn) != domain || dedup_compare(d, k->hfn, p->page.hfn))
			continue;
		if (k->merged && dedup_refs(d, k->hfn) >= d->cfg.max_page_sharing)
			limited = true;
		else if (merge_with(d, k, p))
			return;
	}
	dedup_blame(p, limited ? REASON_LIMIT : REASON_UNIQUE);
	enter(table, key, p);
}

typedef void (*visit_fn)(struct dedup *d, GHashTable *table, struct dedup_page *p);

static void for_each_page(struct dedup *d, visit_fn visit, GHashTable *table)
{
	for (unsigned vm = 0; vm < d->cfg.nvms; vm++) {
		struct gmem *g = d->cfg.vms[vm];
		struct dedup_page p;

		for (gfn_t gfn = gmem_next_mapped(g, 0); gfn != GFN_NONE; gfn = gmem_next_mapped(g, gfn + 1)) {
			dedup_look(d, vm, gfn, &p);
			visit(d, table, &p);
		}
	}
}

/* Each merged frame once, when the first page that maps it comes. */
static void enter_merged(struct dedup *d, GHashTable *table, struct dedup_page *p)
{
	uint64_t key;

	gmem_counters(p->g)->pages_scanned++;
	if (p->page.state != PAGE_SHARED)
		return;
	key = dedup_key(d, dedup_checksum(d, p), dedup_domain(d, p->page.hfn));
	for (struct known *k = g_hash_table_lookup(table, &key); k; k = k->next)
		if (k->hfn == p->page.hfn)
			return;
	enter(table, key, p);
}

static void oracle_scan(struct dedup *d, uint64_t npages)
{
	GHashTable *table = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, known_free);

	(void)npages;
	for_each_page(d, enter_merged, table);
	for_each_page(d, merge_page, table);
	g_hash_table_unref(table);
	d->cfg.host->full_scans++;
}

const struct dedup_ops dedup_oracle = {
	.name = "oracle",
	.summary = "Merges everything equal at once, whatever pages-to-scan: the bound.",
	.create = oracle_create,
	.scan = oracle_scan,
	.destroy = oracle_destroy,
};
