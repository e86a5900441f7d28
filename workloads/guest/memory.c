/* SPDX-License-Identifier: MIT */
/*
 * memory.c - pages for processes when there is a disk to put others on: set-up and watermarks
 *
 * Problem: a page that is wanted now has to come from somewhere, and finding one that can go takes time: a write.
 *
 * Idea: three watermarks of free pages. Below low, every event of the kernel first reclaims a batch, until there are
 * high; below min, who wants a page has to reclaim itself and to wait (reclaim_room()); the last min pages go only to
 * who found nothing to reclaim, before the balloon gives way and processes die. min is the square root of 16 x the
 * memory in KiB, in KiB; low and high are 5/4 and 3/2 of it.
 *
 * Large pages are given while there are plenty, as they cannot be had by reclaiming; what is read ahead leaves low, the
 * balloon leaves min.
 *
 * Invariant (tests/guest/test_reclaim.c): no allocation but an urgent one leaves less than min free.
 *
 * Source: Linux mm/page_alloc.c, init_per_zone_wmark_min() and __setup_per_zone_wmarks().
 */
#include "workloads/guest/block.h"
#include "workloads/guest/internal.h"

static uint64_t clusters_of(uint64_t nslots)
{
	return (nslots + SWAP_CLUSTER - 1) / SWAP_CLUSTER;
}

/* Bytes of the arena that a guest with this disk needs for @npages of memory above it. */
uint64_t memory_metadata(const struct boot_info *b, uint64_t npages)
{
	const struct disk_info *d = &b->disk;

	if (!d->registers)
		return 0;
	return npages * sizeof(struct lru_page) + d->file_pages * 8 + d->swap_pages * sizeof(struct swap_slot) +
	       (clusters_of(d->swap_pages) * sizeof(uint16_t) + 7) / 8 * 8;
}

static void place_arrays(struct kernel *k)
{
	const struct disk_info *d = &k->info->disk;
	uint64_t at = k->mem_gpa;
	struct memory *m = &k->mem;

	m->index = hal_arena(k->hal, at);
	k->export->file_words = at;
	at += d->file_pages * 8;
	m->slot = hal_arena(k->hal, at);
	k->export->swap_slots = at;
	at += d->swap_pages * sizeof(struct swap_slot);
	m->cluster = hal_arena(k->hal, at);
	bytes_zero(m->index, at + clusters_of(d->swap_pages) * sizeof(uint16_t) - k->export->file_words);
	at += (clusters_of(d->swap_pages) * sizeof(uint16_t) + 7) / 8 * 8;
	m->page = hal_arena(k->hal, at);
}

static uint64_t root_of(uint64_t x)
{
	uint64_t r = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= x)
			r |= bit;
	return r;
}

/* There is a disk that works. */
void memory_start(struct kernel *k)
{
	struct memory *m = &k->mem;
	uint64_t npages = k->alloc.end_gfn - k->alloc.first_gfn;

	place_arrays(k);
	m->file_pages = block_file_pages(k);
	m->swap_pages = m->swap_free = block_swap_pages(k);
	m->min = root_of(npages * (PAGE_SIZE / 1024) * 16) / (PAGE_SIZE / 1024);
	m->low = m->min + m->min / 4;
	m->high = m->min + m->min / 2;
	m->swappiness = k->info->swappiness > 200 ? 200 : k->info->swappiness;
	m->seen_ns = hal_now(k->hal);
	for (unsigned i = 0; i < LRU_LISTS; i++)
		m->list[i] = (struct lru){ .head = NO_PAGE, .tail = NO_PAGE };
}

/* A unit of @level for a process, or 0: then, if it is of level 1, reclaim_room() may help. */
uint64_t page_take(struct kernel *k, unsigned level)
{
	struct memory *m = &k->mem;
	uint64_t gfn = 0;

	if (!m->page || (level == 1 ? k->counts.pages_free > m->min || m->urgent :
				      k->counts.pages_free > m->high + LEVEL_PAGES(level)))
		gfn = page_alloc(k, level);
	if (!gfn && level == 1)
		m->short_of_pages = true;
	return gfn;
}

/* A page for what is of use but not needed. */
uint64_t page_spare(struct kernel *k)
{
	return k->counts.pages_free > k->mem.low ? page_alloc(k, 1) : 0;
}

/* A page for the balloon: one that is free, or one that reclaim can free at once. What it has to write comes later. */
uint64_t page_give_up(struct kernel *k)
{
	if (k->mem.page && k->counts.pages_free <= k->mem.min && !reclaim_direct(k))
		return 0;
	return !k->mem.page || k->counts.pages_free > k->mem.min ? page_alloc(k, 1) : 0;
}

/* Pages that new processes could have without swapping, as Linux's si_mem_available() guesses it. */
uint64_t memory_available(const struct kernel *k)
{
	const struct memory *m = &k->mem;
	uint64_t cache = k->counts.pages_cache, kept = cache / 2 < m->low ? cache / 2 : m->low;
	uint64_t all = k->counts.pages_free + cache - kept;

	return all > m->min ? all - m->min : 0;
}
