/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - making memory free: from the page cache, or by the guest's swap
 *
 * Problem: below a watermark pages have to go, those that will be missed least, without doing much in one event.
 *
 * Idea: batches of 32 pages from the tail of an inactive list. A page accessed since it was looked at last stays: once
 * more on the inactive list, or, the second time, on the active one. Any other is unmapped everywhere; clean ones are
 * free at once and leave a shadow (workingset.c), dirty ones when they have been written (io.c). Which kind gives: the
 * page cache alone while it has inactive pages to spare and nothing of it comes back; else both in proportion to how
 * cheap they have been lately, weighted by swappiness; anonymous pages alone when hardly any cache is left.
 *
 * Who calls: kernel.c at the entry of each event, below the low watermark until the high one is reached (what kswapd
 * does); who wants a page below min, until 32 pages are free (direct reclaim), waiting for writes if that is all there
 * is; the balloon.
 *
 * Nothing here may run while an event holds entries or walks of tables: allocations only refuse (page_take()), and the
 * event begins anew after reclaim_room().
 *
 * Bounds: a batch looks at 32 pages; direct reclaim at no more than four times what is on the lists.
 *
 * Invariants (tests/guest/test_reclaim.c): contents that processes see do not depend on memory being scarce; a page
 * that was freed is mapped by nobody and no request is under way for it.
 *
 * Source: Linux mm/vmscan.c: shrink_inactive_list(), folio_check_references(), shrink_active_list(), get_scan_count();
 * max. retries of kswapd 16 (MAX_RECLAIM_RETRIES).
 */
#include "workloads/guest/internal.h"

#define BATCH	    32u
#define GIVE_UP	    16u
#define MOST_WRITES (4 * BATCH) /* under way, that direct reclaim adds to */
#define PRIORITY    12u

struct batch {
	struct gather gather;
	uint64_t victim[BATCH]; /* unmapped pages, on no list */
	unsigned n, rotated, written;
};

static uint64_t all_pages(const struct kernel *k)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LRU_LISTS; i++)
		n += k->mem.list[i].npages;
	return n;
}

/* Back to the head of the list that it is on. */
static void rotate(struct kernel *k, uint64_t gfn, struct batch *b)
{
	enum lru_list list = (enum lru_list)lru_page(k, gfn)->list;

	lru_remove(k, gfn);
	lru_insert(k, gfn, list, true);
	b->rotated++;
}

/* The page was accessed @nrefs times, as far as is known: does it stay? */
static bool stays(struct kernel *k, uint64_t gfn, unsigned nrefs, struct batch *b)
{
	struct lru_page *g = lru_page(k, gfn);
	bool again = g->flags & PG_REFERENCED;

	if (!nrefs) {
		g->flags &= ~PG_REFERENCED;
		return false;
	}
	g->flags |= PG_REFERENCED;
	if (again || nrefs > 1) {
		lru_activate(k, gfn);
		b->rotated++;
	} else {
		rotate(k, gfn, b);
	}
	return true;
}

/* Look at the tail of an inactive list. */
static void look_at(struct kernel *k, uint64_t gfn, struct batch *b)
{
	struct lru_page *g = lru_page(k, gfn);

	k->counts.scanned++;
	if ((g->flags & PG_AWAITED) && !io_awaited(k, gfn))
		g->flags &= ~PG_AWAITED;
	if (g->flags & (PG_LOADING | PG_WRITING | PG_AWAITED)) {
		rotate(k, gfn, b);
		return;
	}
	if (stays(k, gfn, rmap_referenced(k, gfn, &b->gather), b))
		return;
	if (g->flags & PG_LARGE) { /* its pages are next */
		if (!k->mem.swap_free || !rmap_split(k, gfn, &b->gather))
			rotate(k, gfn, b);
		return;
	}
	if ((!(g->flags & PG_CACHED) && !swap_add(k, gfn)) || !rmap_unmap(k, gfn, &b->gather)) {
		rotate(k, gfn, b);
		return;
	}
	lru_remove(k, gfn);
	b->victim[b->n++] = gfn;
}

static bool follows(struct kernel *k, uint64_t a, uint64_t b)
{
	return b == a + 1 && (lru_page(k, b)->flags & PG_DIRTY) && cache_disk_page(k, b) == cache_disk_page(k, a) + 1;
}

/* Write dirty victims from the @i-th on, as many as one request takes; how many. */
static unsigned write_run(struct kernel *k, struct batch *b, unsigned i)
{
	unsigned n = 1;

	while (i + n < b->n && follows(k, b->victim[i + n - 1], b->victim[i + n]))
		n++;
	for (unsigned j = i; j < i + n; j++)
		lru_insert(k, b->victim[j],
			   lru_page(k, b->victim[j])->flags & PG_FILE ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON, true);
	if (!io_write(k, b->victim[i], n))
		return n;
	for (unsigned j = i; j < i + n; j++)
		lru_page(k, b->victim[j])->flags |= PG_RECLAIM;
	k->mem.nreclaiming += n;
	b->written += n;
	return n;
}

/* The batch's victims: nobody can reach them any more. */
static void dispose(struct kernel *k, struct batch *b)
{
	for (unsigned i = 0; i < b->n;) {
		uint64_t gfn = b->victim[i];

		if (lru_page(k, gfn)->flags & PG_DIRTY) {
			i += write_run(k, b, i);
			continue;
		}
		cache_drop(k, gfn, workingset_evict(k, gfn));
		k->counts.stolen++;
		i++;
	}
}

static void shrink_inactive(struct kernel *k, bool file)
{
	struct lru *l = &k->mem.list[file ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON];
	struct batch b = { .n = 0 };

	for (unsigned i = 0; i < BATCH && l->tail != NO_PAGE; i++)
		look_at(k, k->alloc.first_gfn + l->tail, &b);
	gather_end(k, &b.gather);
	dispose(k, &b);
	workingset_cost(k, file, b.written, b.rotated);
}

/* Pages from the tail of the active list become inactive, their accessed bits clear. */
static void shrink_active(struct kernel *k, bool file)
{
	struct lru *l = &k->mem.list[file ? LRU_ACTIVE_FILE : LRU_ACTIVE_ANON];
	struct gather g = { .n = 0 };

	for (unsigned i = 0; i < BATCH && l->tail != NO_PAGE; i++) {
		uint64_t gfn = k->alloc.first_gfn + l->tail;

		k->counts.scanned++;
		rmap_referenced(k, gfn, &g);
		lru_remove(k, gfn);
		lru_page(k, gfn)->flags |= PG_WORKINGSET;
		lru_insert(k, gfn, file ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON, true);
	}
	gather_end(k, &g);
}

/* Which kind is to give next? */
static bool pick_file(struct kernel *k)
{
	struct memory *m = &k->mem;
	uint64_t inactive = m->list[LRU_INACTIVE_FILE].npages, file = inactive + m->list[LRU_ACTIVE_FILE].npages;
	uint64_t anon = all_pages(k) - file, total = m->cost[0] + m->cost[1], share[2];
	bool refaults = m->file_refaults != k->counts.activates_file;

	if (!file || !anon || !m->swap_free)
		return file > 0;
	if (k->counts.pages_free + file <= m->high)
		return false;
	if (!refaults && !lru_inactive_low(k, true) && inactive >> (PRIORITY > m->futile ? PRIORITY - m->futile : 0))
		return true;
	share[0] = m->swappiness * (2 * total + 1) / (total + m->cost[0] + 1);
	share[1] = (200 - m->swappiness) * (2 * total + 1) / (total + m->cost[1] + 1);
	m->scan_debt[0] += share[0];
	m->scan_debt[1] += share[1];
	total = m->scan_debt[0] < m->scan_debt[1];
	m->scan_debt[total] -= m->scan_debt[total] < share[0] + share[1] ? m->scan_debt[total] : share[0] + share[1];
	return total;
}

/* One batch. False: nothing came of it. */
static bool reclaim_batch(struct kernel *k)
{
	struct memory *m = &k->mem;
	uint64_t before = k->counts.stolen + m->nreclaiming;
	bool file = pick_file(k);

	if (lru_inactive_low(k, file))
		shrink_active(k, file);
	shrink_inactive(k, file);
	if (k->counts.stolen + m->nreclaiming > before) {
		m->futile = 0;
		return true;
	}
	m->futile += m->futile < GIVE_UP;
	return false;
}

/* At the entry of an event. */
void reclaim_background(struct kernel *k)
{
	struct memory *m = &k->mem;

	if (k->counts.pages_free < m->low && !m->kswapd) {
		m->kswapd = true;
		m->file_refaults = k->counts.activates_file;
	}
	if (k->counts.pages_free >= m->high) {
		m->kswapd = false;
		m->futile = 0;
	}
	if (m->kswapd && m->futile < GIVE_UP && k->counts.pages_free + m->nreclaiming < m->high)
		reclaim_batch(k);
}

/* Until a batch of pages is free, or being written. The pages that became free. */
uint64_t reclaim_direct(struct kernel *k)
{
	uint64_t before = k->counts.stolen, most = 4 * (all_pages(k) / BATCH) + GIVE_UP;

	for (uint64_t i = 0; i < most && k->counts.stolen - before < BATCH; i++) {
		if (k->mem.nwriting >= MOST_WRITES || (k->mem.nreclaiming >= BATCH && i >= GIVE_UP))
			break;
		reclaim_batch(k);
	}
	return k->counts.stolen - before;
}

/* An allocation was refused. DONE: it may be tried again; NO_MEMORY: reclaim cannot help. */
enum result reclaim_room(struct kernel *k)
{
	struct memory *m = &k->mem;
	uint64_t freed;

	m->short_of_pages = false;
	k->counts.direct_stalls++;
	freed = reclaim_direct(k);
	if (k->counts.pages_free > m->min)
		return DONE;
	if (!freed && m->nwriting)
		return io_wait(k, 0, true);
	if (!k->counts.pages_free || (!freed && m->urgent))
		return NO_MEMORY;
	m->urgent = true;
	return DONE;
}
