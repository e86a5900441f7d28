/* SPDX-License-Identifier: MIT */
/*
 * swap.c - the guest's own swap: slots, the swap cache, and faults on what is there
 *
 * Problem: put anonymous pages, which fork may have shared, on the disk and get them back, with as few and as long
 * requests as possible.
 *
 * Idea: a page that goes gets a slot; each entry that mapped it is replaced by one that names the slot, counted in
 * swap_slot.refs, so fork copies and exit drops such entries like any other. Between memory and disk the page is in
 * the *swap cache*: the slot's word names it. There it can be mapped again, is found by the next of its owners, and
 * stays after it was read back: reclaimed again without a store since, it goes without being written. The slot is
 * given up when nobody names it and its page is not in the cache, when the page's only owner is about to write it, or
 * on the next chance when more than half of swap is in use.
 *
 * Slots are given out one after another within a cluster of 256, free clusters first, so pages reclaimed together are
 * neighbours and are written by one request. Reading one reads its aligned group of 8 as far as it is in use and memory
 * to spare is there.
 *
 * A page belongs to as many as entries map it and entries name its slot (swap_sharers()): so copy-on-write decides as
 * if nothing had ever been in swap, and what processes see is the same.
 *
 * Invariants (tests/guest/test_reclaim.c): refs of a slot is the number of entries that name it; a slot is free iff
 * nothing names it and its word is 0; cluster[] and swap_free count the slots in use.
 *
 * Source: Linux mm/swapfile.c, mm/swap_state.c (swap_cluster_readahead(), page-cluster 3), mm/memory.c
 * (do_swap_page()).
 */
#include "workloads/guest/internal.h"

#define SWAP_AROUND 8u
#define NO_SLOT	    UINT64_MAX

static bool slot_free(const struct kernel *k, uint64_t slot)
{
	return !k->mem.slot[slot].refs && !k->mem.slot[slot].word;
}

/* A cluster that is free, or else one that is not full, after cluster @c. */
static uint64_t next_cluster(const struct kernel *k, uint64_t c)
{
	uint64_t n = (k->mem.swap_pages + SWAP_CLUSTER - 1) / SWAP_CLUSTER, some = n;

	for (uint64_t i = 1; i <= n; i++) {
		uint64_t at = (c + i) % n, nslots = k->mem.swap_pages - at * SWAP_CLUSTER;

		if (!k->mem.cluster[at])
			return at;
		if (some == n && k->mem.cluster[at] < (nslots < SWAP_CLUSTER ? nslots : SWAP_CLUSTER))
			some = at;
	}
	return some;
}

static uint64_t slot_take(struct kernel *k)
{
	struct memory *m = &k->mem;

	if (!m->swap_free)
		return NO_SLOT;
	for (;;) {
		uint64_t at = m->swap_next, c = at / SWAP_CLUSTER, end = (c + 1) * SWAP_CLUSTER;

		end = end < m->swap_pages ? end : m->swap_pages;
		while (at < end && !slot_free(k, at))
			at++;
		if (at < end) {
			m->swap_next = at + 1 < end ? at + 1 : next_cluster(k, c) * SWAP_CLUSTER;
			m->swap_free--;
			m->cluster[c]++;
			k->counts.pages_swapped++;
			return at;
		}
		m->swap_next = next_cluster(k, c) * SWAP_CLUSTER;
	}
}

/* Give the slot up if nothing needs it any more: nobody names it, and no page is cached for it. */
void swap_slot_settle(struct kernel *k, uint64_t slot)
{
	struct swap_slot *s = &k->mem.slot[slot];

	if (s->refs || word_gfn(s->word))
		return;
	s->word = 0;
	k->mem.swap_free++;
	k->mem.cluster[slot / SWAP_CLUSTER]--;
	k->counts.pages_swapped--;
}

/* The anonymous page gets a slot, to be written there. False: swap is full. */
bool swap_add(struct kernel *k, uint64_t gfn)
{
	uint64_t slot = slot_take(k);

	if (slot == NO_SLOT)
		return false;
	lru_page(k, gfn)->slot = (uint32_t)slot;
	lru_page(k, gfn)->flags |= PG_DIRTY;
	cache_add(k, gfn);
	return true;
}

/* One more entry names the slot. */
void swap_get(struct kernel *k, uint64_t slot)
{
	k->mem.slot[slot].refs++;
}

/* One less. */
void swap_put(struct kernel *k, uint64_t slot)
{
	struct swap_slot *s = &k->mem.slot[slot];
	uint64_t gfn = word_gfn(s->word);

	guest_assert(k->hal, s->refs > 0);
	s->refs--;
	if (gfn)
		swap_settle(k, gfn);
	else
		swap_slot_settle(k, slot);
}

/* A page of the swap cache that nobody owns any more goes. */
void swap_settle(struct kernel *k, uint64_t gfn)
{
	const struct lru_page *g = lru_page(k, gfn);

	if (!(g->flags & PG_FILE) && !k->mem.slot[g->slot].refs && page_refs(k, gfn) == 1 &&
	    !page_held_above(k, gfn) && !(g->flags & (PG_LOADING | PG_WRITING)))
		cache_drop(k, gfn, 0);
}

/* The page is in memory to stay: give up its slot, if it has one that nobody names. */
void swap_forget(struct kernel *k, uint64_t gfn)
{
	const struct lru_page *g = lru_page(k, gfn);

	if ((g->flags & PG_CACHED) && !(g->flags & (PG_FILE | PG_LOADING | PG_WRITING)) && !k->mem.slot[g->slot].refs)
		cache_drop(k, gfn, 0);
}

/* Entries that map the anonymous page or name its slot. */
uint32_t swap_sharers(struct kernel *k, uint64_t gfn)
{
	const struct lru_page *g = lru_page(k, gfn);

	return g->flags & PG_CACHED ? page_refs(k, gfn) - 1 + k->mem.slot[g->slot].refs : page_refs(k, gfn);
}

uint32_t swap_slot_sharers(struct kernel *k, uint64_t slot)
{
	const struct swap_slot *s = &k->mem.slot[slot];
	uint64_t gfn = word_gfn(s->word);

	return s->refs + (gfn ? page_refs(k, gfn) - 1 + page_held_above(k, gfn) : 0);
}

/* The page at @gfn, fresh from the allocator, is to be read from @slot. */
static void slot_new(struct kernel *k, uint64_t slot, uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);
	bool active;

	g->key = NO_HINT;
	g->flags = PG_LOADING;
	g->slot = (uint32_t)slot;
	active = workingset_refault(k, gfn, k->mem.slot[slot].word);
	lru_insert(k, gfn, active ? LRU_ACTIVE_ANON : LRU_INACTIVE_ANON, true);
	cache_add(k, gfn);
}

/* May it be read along? */
static bool slot_wanted(const struct kernel *k, uint64_t slot)
{
	return k->mem.slot[slot].refs && !word_gfn(k->mem.slot[slot].word);
}

/* Read @slot, and with it those around it. */
static enum result swap_in(struct kernel *k, uint64_t slot)
{
	uint64_t gfn[SWAP_AROUND], base = slot / SWAP_AROUND * SWAP_AROUND, at = slot, first, page = page_take(k, 1);
	unsigned n = 0, done;

	if (!page)
		return NO_MEMORY;
	while (at > base && slot_wanted(k, at - 1))
		at--;
	for (first = at; at < base + SWAP_AROUND && at < k->mem.swap_pages && slot_wanted(k, at); at++) {
		uint64_t to = at == slot ? page : page_spare(k);

		if (!to && at > slot)
			break;
		if (!to) { /* no memory for those before it */
			for (unsigned i = 0; i < n; i++)
				cache_drop(k, gfn[i], 0);
			n = 0;
			at = slot;
			first = slot;
			to = page;
		}
		slot_new(k, at, to);
		gfn[n++] = to;
	}
	done = io_read(k, k->mem.file_pages + first, gfn, n);
	k->counts.swap_ins += done;
	for (unsigned i = done; i < n; i++)
		cache_drop(k, gfn[i], 0);
	return done > slot - first ? DONE : io_wait_any(k, true);
}

static void map_page(struct kernel *k, struct process *p, uint64_t gpa, uint64_t va, uint64_t entry, uint64_t gfn)
{
	struct memory *m = &k->mem;
	uint64_t slot = pte_gfn(entry);

	table_set(k, gpa, 1, entry, (entry & (PTE_W | PTE_U | PTE_NX)) | PTE_P | (gfn << PAGE_SHIFT));
	hal_pte_flush(k->hal);
	page_get(k, gfn, 1);
	m->slot[slot].refs--;
	lru_page(k, gfn)->key = (va & PAGE_MASK) | process_slot(k, p);
	lru_page(k, gfn)->flags &= ~PG_AWAITED;
	if (m->swap_free < m->swap_pages / 2)
		swap_forget(k, gfn);
}

/* The leaf @entry at @gpa, for @va, names a slot. On DONE it maps the page, with the rights that it had. */
enum result swap_fault(struct kernel *k, struct process *p, uint64_t gpa, uint64_t va, uint64_t entry,
		       enum fault_kind *kind)
{
	uint64_t slot = pte_gfn(entry), gfn = word_gfn(k->mem.slot[slot].word);
	const struct lru_page *g;

	*kind = FAULT_MINOR;
	if (!gfn) {
		enum result r = swap_in(k, slot);

		if (r)
			return r;
		*kind = FAULT_MAJOR;
		gfn = word_gfn(k->mem.slot[slot].word);
	}
	g = lru_page(k, gfn);
	if (g->flags & PG_LOADING)
		return io_wait(k, gfn, true);
	if (g->flags & PG_FAILED)
		return BAD_ADDRESS;
	map_page(k, p, gpa, va, entry, gfn);
	return DONE;
}
