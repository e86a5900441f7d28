/* SPDX-License-Identifier: MIT */
/*
 * heap.c - pages of the arena: page tables, run-times, mappings
 *
 * Pages never used come from a bump pointer; freed ones go to a list of their use and come back only for the same
 * use. A page that was a page table may still be traced by the VMM (shadow paging): used as ordinary data, it would
 * trap on every store. The lists are chained in the metadata, never through the pages themselves.
 *
 * Invariant (tests/guest/test_kernel.c): when the last process has ended, nfree is what it was after boot but for
 * pages of mappings, which are kept.
 */
#include "workloads/guest/internal.h"

static uint32_t heap_index(const struct kernel *k, uint64_t gpa)
{
	return (uint32_t)((gpa - k->heap.start) >> PAGE_SHIFT);
}

struct heap_page *heap_page(struct kernel *k, uint64_t gpa)
{
	return &k->heap.page[heap_index(k, gpa)];
}

/* A page, its contents anything; 0 when there is none. */
uint64_t heap_alloc(struct kernel *k, enum heap_use use)
{
	struct heap *h = &k->heap;
	uint64_t gpa;

	if (h->free[use] != UINT32_MAX) {
		gpa = h->start + ((uint64_t)h->free[use] << PAGE_SHIFT);
		h->free[use] = heap_page(k, gpa)->next;
	} else if (h->bump < h->end) {
		gpa = h->bump;
		h->bump += PAGE_SIZE;
	} else {
		return 0;
	}
	h->nfree--;
	heap_page(k, gpa)->nentries = 0;
	return gpa;
}

void heap_free(struct kernel *k, uint64_t gpa, enum heap_use use)
{
	struct heap *h = &k->heap;

	heap_page(k, gpa)->next = h->free[use];
	h->free[use] = heap_index(k, gpa);
	h->nfree++;
}
