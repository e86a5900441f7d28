/* SPDX-License-Identifier: MIT */
/*
 * lru.c - which pages were used lately, as far as anybody looks
 *
 * Problem: find pages that are not in use, among all of a guest's, without seeing its accesses.
 *
 * Idea: two lists for anonymous pages and two for the page cache, each in the order in which pages came. A page begins
 * at the head of the inactive list and is looked at when it has come to the tail: accessed twice since it was looked at
 * first, it becomes active; else it goes (reclaim.c). The active list gives its tail back when the inactive one has
 * become short in proportion. What was evicted and comes back soon shows that its list was too short (workingset.c).
 *
 * Structures: struct lru_page, 24 bytes for each page above the arena, linked by number. A 2 MiB unit is on its list as
 * one, by its first page, until its leaf is split; then its pages are on it, oldest addresses first to go. A 1 GiB unit
 * is on none and is not reclaimed, as Linux's are hugetlbfs pages: only its parts are, once it was split.
 *
 * Invariants (tests/guest/test_reclaim.c): a page is on a list iff a process maps it or a cache holds it, and is no
 * part of a large one; counts of lists are the sums of their pages.
 *
 * Source: Linux mm/vmscan.c and mm/swap.c (active and inactive lists, inactive_is_low()); Jiang, Zhang: LIRS, 2002, for
 * what is wrong with one list.
 */
#include "workloads/guest/internal.h"

struct lru_page *lru_page(struct kernel *k, uint64_t gfn)
{
	return &k->mem.page[gfn - k->alloc.first_gfn];
}

static uint64_t pages_of(const struct lru_page *g)
{
	return g->flags & PG_LARGE ? LEVEL_PAGES(2) : 1;
}

void lru_insert(struct kernel *k, uint64_t gfn, enum lru_list list, bool head)
{
	struct lru *l = &k->mem.list[list];
	struct lru_page *g = lru_page(k, gfn);
	uint32_t n = (uint32_t)(gfn - k->alloc.first_gfn);

	g->list = list;
	g->prev = head ? NO_PAGE : l->tail;
	g->next = head ? l->head : NO_PAGE;
	if (g->prev == NO_PAGE)
		l->head = n;
	else
		k->mem.page[g->prev].next = n;
	if (g->next == NO_PAGE)
		l->tail = n;
	else
		k->mem.page[g->next].prev = n;
	l->npages += pages_of(g);
	k->counts.pages_list[list] += pages_of(g);
}

void lru_remove(struct kernel *k, uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);
	struct lru *l = &k->mem.list[g->list];

	if (g->prev == NO_PAGE)
		l->head = g->next;
	else
		k->mem.page[g->prev].next = g->next;
	if (g->next == NO_PAGE)
		l->tail = g->prev;
	else
		k->mem.page[g->next].prev = g->prev;
	l->npages -= pages_of(g);
	k->counts.pages_list[g->list] -= pages_of(g);
	g->list = LRU_NONE;
}

/* It comes from the allocator, whoever wants it. */
void lru_born(struct kernel *k, uint64_t gfn)
{
	*lru_page(k, gfn) = (struct lru_page){ .key = NO_HINT, .list = LRU_NONE };
}

/* The unit at @gfn is for anonymous memory of @p around @va. */
void lru_anon(struct kernel *k, const struct process *p, uint64_t va, uint64_t gfn, unsigned level)
{
	struct lru_page *g;

	if (!k->mem.page)
		return;
	g = lru_page(k, gfn);
	g->key = (va & ~(LEVEL_SIZE(level) - 1)) | process_slot(k, p);
	g->flags = level == 2 ? PG_LARGE : 0;
	if (level < 3)
		lru_insert(k, gfn, LRU_INACTIVE_ANON, true);
}

/* Its unit goes back to the allocator. */
void lru_forget(struct kernel *k, uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);

	if (g->list != LRU_NONE)
		lru_remove(k, gfn);
	g->flags = 0;
}

/* A unit of @level became 512 smaller ones. */
void lru_split(struct kernel *k, uint64_t gfn, unsigned level)
{
	struct lru_page whole = *lru_page(k, gfn);
	enum lru_list list = whole.list == LRU_NONE ? LRU_INACTIVE_ANON : (enum lru_list)whole.list;
	uint64_t step = LEVEL_PAGES(level - 1);

	if (whole.list != LRU_NONE)
		lru_remove(k, gfn);
	for (unsigned i = PT_ENTRIES; i-- > 0;) {
		struct lru_page *g = lru_page(k, gfn + i * step);

		*g = (struct lru_page){
			.key = whole.key + i * LEVEL_SIZE(level - 1),
			.flags = level == 3 ? PG_LARGE : (uint16_t)(whole.flags & ~PG_LARGE),
		};
		lru_insert(k, gfn + i * step, list, false);
	}
}

void lru_activate(struct kernel *k, uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);
	bool file = g->flags & PG_FILE;

	if (g->list != LRU_NONE)
		lru_remove(k, gfn);
	g->flags &= ~PG_REFERENCED;
	lru_insert(k, gfn, file ? LRU_ACTIVE_FILE : LRU_ACTIVE_ANON, true);
	k->mem.age += pages_of(g);
}

/* The square root of 10 x the list's GiB, at least 1: how much longer the active list may be than the inactive one. */
bool lru_inactive_low(const struct kernel *k, bool file)
{
	uint64_t inactive = k->mem.list[file ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON].npages;
	uint64_t active = k->mem.list[file ? LRU_ACTIVE_FILE : LRU_ACTIVE_ANON].npages;
	uint64_t gib = (inactive + active) >> 18, ratio = 1;

	while ((ratio + 1) * (ratio + 1) <= 10 * gib)
		ratio++;
	return inactive * ratio < active;
}
