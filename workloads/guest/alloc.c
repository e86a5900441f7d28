/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - pages for processes: all memory above the arena
 *
 * Problem: hand out 4 KiB, 2 MiB and 1 GiB pages, give them back, know who shares them after a fork, and keep large
 * pages available; at 4 bytes of metadata a page, none of it touched before its page is.
 *
 * Idea: three levels of *units*. A unit of level 3 (1 GiB) or 2 (2 MiB) is either whole, or open: then its 512
 * children are units of the level below, and it keeps their free list in itself. Small units come from blocks that
 * are open already; a block whose children are all free again becomes whole and goes back to its parent. So
 * coalescing is a counter, not a search.
 *
 * Sharing: each unit counts the entries *of its own level* that map it. One process may map a 2 MiB unit by one large
 * leaf while another, having split its leaf, maps its pages one by one. A page is therefore in use while its own
 * count, its block's or its giant's is above zero, and a block that large leaves still map lets none of its children
 * go.
 *
 * Data structures: struct page[] (4 bytes), struct block[] for levels 2 and 3; doubly linked lists of open blocks
 * that have a free child, one of whole free giants. Ends of memory that are no whole block are open from the start
 * and never close.
 *
 * Invariants (tests/guest/test_alloc.c, against a byte map):
 *   - a free unit is mapped by no entry of any level, and every unit is free exactly once;
 *   - nfree is the length of the chain from head plus the children from bump on;
 *   - a block is on its level's partial list iff it is open and 0 < nfree;
 *   - a block of ref > 0 has no free child;
 *   - when all is given back, the lists are as large units as memory allows.
 *
 * Source: own; the open/whole blocks are slabs (Bonwick 1994), orders as in the buddy system (Knuth, TAOCP 1, 2.5).
 */
#include "workloads/guest/balloon.h"
#include "workloads/guest/internal.h"

static struct block *block_at(struct kernel *k, unsigned level, uint64_t n)
{
	return &k->alloc.level[level][n];
}

static struct page *page_at(struct kernel *k, uint64_t gfn)
{
	return &k->alloc.pages[gfn - k->alloc.first_gfn];
}

static uint16_t *unit_ref(struct kernel *k, unsigned level, uint64_t n)
{
	return level == 1 ? &page_at(k, n)->ref : &block_at(k, level, n)->ref;
}

static void list_add(struct kernel *k, unsigned level, uint32_t *head, uint32_t n)
{
	struct block *b = block_at(k, level, n);

	b->prev = NO_BLOCK;
	b->next = *head;
	if (*head != NO_BLOCK)
		block_at(k, level, *head)->prev = n;
	*head = n;
}

static void list_remove(struct kernel *k, unsigned level, uint32_t *head, uint32_t n)
{
	struct block *b = block_at(k, level, n);

	if (b->prev == NO_BLOCK)
		*head = b->next;
	else
		block_at(k, level, b->prev)->next = b->next;
	if (b->next != NO_BLOCK)
		block_at(k, level, b->next)->prev = b->prev;
}

/* Open block @n: children [first, end) are free. */
static void block_open(struct kernel *k, unsigned level, uint32_t n, unsigned first, unsigned end)
{
	struct block *b = block_at(k, level, n);

	*b = (struct block){
		.nfree = (uint16_t)(end - first), .bump = (uint16_t)first, .head = NO_CHILD, .state = BLOCK_OPEN
	};
	if (b->nfree)
		list_add(k, level, &k->alloc.partial[level], n);
}

/* A free child of open block @n of @level; its number among units of the level below. */
static uint32_t child_take(struct kernel *k, unsigned level, uint32_t n)
{
	struct block *b = block_at(k, level, n);
	uint32_t base = n * PT_ENTRIES;
	uint16_t i = b->head;

	if (i == NO_CHILD)
		i = b->bump++;
	else if (level == 2)
		b->head = page_at(k, base + i)->next;
	else
		b->head = (uint16_t)block_at(k, 2, base + i)->next;
	if (!--b->nfree)
		list_remove(k, level, &k->alloc.partial[level], n);
	return base + i;
}

static uint32_t unit_take(struct kernel *k, unsigned level)
{
	uint32_t n;

	if (level == 3) {
		n = k->alloc.whole;
		if (n == NO_BLOCK)
			return NO_BLOCK;
		list_remove(k, 3, &k->alloc.whole, n);
	} else {
		if (k->alloc.partial[level + 1] == NO_BLOCK) {
			n = unit_take(k, level + 1);
			if (n == NO_BLOCK)
				return NO_BLOCK;
			block_open(k, level + 1, n, 0, PT_ENTRIES);
		}
		n = child_take(k, level + 1, k->alloc.partial[level + 1]);
	}
	if (level == 1)
		page_at(k, n)->ref = 0;
	else
		*block_at(k, level, n) = (struct block){ .state = BLOCK_WHOLE };
	return n;
}

static void unit_give(struct kernel *k, unsigned level, uint32_t n)
{
	uint32_t parent = n / PT_ENTRIES;
	uint16_t i = n % PT_ENTRIES;
	struct block *b;

	if (level == 3) {
		list_add(k, 3, &k->alloc.whole, n);
		return;
	}
	b = block_at(k, level + 1, parent);
	if (level == 1)
		page_at(k, n)->next = b->head;
	else
		block_at(k, 2, n)->next = b->head;
	b->head = i;
	if (!b->nfree++)
		list_add(k, level + 1, &k->alloc.partial[level + 1], parent);
	if (b->nfree == PT_ENTRIES) {
		list_remove(k, level + 1, &k->alloc.partial[level + 1], parent);
		unit_give(k, level + 1, parent);
	}
}

static bool unit_held_above(struct kernel *k, unsigned level, uint64_t n)
{
	for (unsigned l = level + 1; l <= 3; l++) {
		n /= PT_ENTRIES;
		if (block_at(k, l, n)->ref)
			return true;
	}
	return false;
}

/* Nothing of its level or above maps the unit any more: free it, or what of it is not mapped below. */
static void unit_release(struct kernel *k, unsigned level, uint32_t n)
{
	if (level == 1 || block_at(k, level, n)->state == BLOCK_WHOLE) {
		if (k->mem.page)
			lru_forget(k, n * LEVEL_PAGES(level));
		k->counts.pages_free += LEVEL_PAGES(level);
		poison_free(k, n * LEVEL_PAGES(level), LEVEL_PAGES(level));
		k->alloc.freed = true;
		unit_give(k, level, n);
		return;
	}
	for (uint32_t i = 0; i < PT_ENTRIES; i++) {
		uint32_t child = n * PT_ENTRIES + i;

		if (!*unit_ref(k, level - 1, child))
			unit_release(k, level - 1, child);
	}
}

static uint32_t unit_of(uint64_t gfn, unsigned level)
{
	return (uint32_t)(gfn / LEVEL_PAGES(level));
}

/* A unit of @level that nobody maps yet, as its first gfn; 0 when there is none. */
uint64_t page_alloc(struct kernel *k, unsigned level)
{
	uint32_t n;

	poison_all(k);
	n = unit_take(k, level);
	if (n == NO_BLOCK)
		return 0;
	k->counts.pages_free -= LEVEL_PAGES(level);
	poison_check(k, n * LEVEL_PAGES(level), LEVEL_PAGES(level));
	balloon_taken(k, n * LEVEL_PAGES(level), LEVEL_PAGES(level));
	if (k->mem.page)
		lru_born(k, n * LEVEL_PAGES(level));
	return n * LEVEL_PAGES(level);
}

/* One more leaf of @level maps the unit at @gfn. */
void page_get(struct kernel *k, uint64_t gfn, unsigned level)
{
	(*unit_ref(k, level, unit_of(gfn, level)))++;
}

/* A leaf of @level maps it no longer; what nothing maps is free. */
void page_put(struct kernel *k, uint64_t gfn, unsigned level)
{
	uint32_t n = unit_of(gfn, level);
	uint16_t *ref = unit_ref(k, level, n);

	guest_assert(k->hal, *ref > 0);
	if (--*ref == 0 && !unit_held_above(k, level, n))
		unit_release(k, level, n);
}

/* One leaf of @level became 512 of the level below. */
void page_split(struct kernel *k, uint64_t gfn, unsigned level)
{
	uint32_t n = unit_of(gfn, level);
	struct block *b = block_at(k, level, n);
	bool whole = b->state == BLOCK_WHOLE;

	if (whole) {
		b->state = BLOCK_OPEN;
		b->nfree = 0;
		b->bump = PT_ENTRIES;
		b->head = NO_CHILD;
	}
	for (uint32_t i = 0; i < PT_ENTRIES; i++) {
		uint32_t child = n * PT_ENTRIES + i;

		if (whole && level == 3)
			*block_at(k, 2, child) = (struct block){ .state = BLOCK_WHOLE };
		else if (whole)
			page_at(k, child)->ref = 0;
		(*unit_ref(k, level - 1, child))++;
	}
	b->ref--;
	if (whole && k->mem.page)
		lru_split(k, gfn, level);
}

/* No entry of a level below maps a part of the block, which a large leaf holds together. */
static bool block_idle_below(struct kernel *k, unsigned level, uint32_t n)
{
	if (block_at(k, level, n)->state == BLOCK_WHOLE)
		return true;
	for (uint32_t i = 0; i < PT_ENTRIES; i++) {
		uint32_t child = n * PT_ENTRIES + i;

		if (*unit_ref(k, level - 1, child) || (level == 3 && !block_idle_below(k, 2, child)))
			return false;
	}
	return true;
}

/* Is the one leaf of @level that maps it all there is? */
bool page_exclusive(struct kernel *k, uint64_t gfn, unsigned level)
{
	uint32_t n = unit_of(gfn, level), sharers = *unit_ref(k, level, n);

	/* What is in swap counts as if it were mapped; what the swap cache holds does not. */
	if (level == 1 && k->mem.page)
		sharers = swap_sharers(k, gfn);
	if (sharers != 1 || unit_held_above(k, level, n))
		return false;
	return level == 1 || block_idle_below(k, level, n);
}

static void mark(uint64_t map[8], unsigned i)
{
	map[i / 64] |= 1ull << i % 64;
}

/* Which children of open block @n of @level are free. */
static void free_children(struct kernel *k, unsigned level, uint32_t n, uint64_t map[8])
{
	const struct block *b = block_at(k, level, n);
	unsigned rest = b->nfree;

	for (uint16_t i = b->head; i != NO_CHILD; rest--) {
		mark(map, i);
		i = level == 2 ? page_at(k, n * PT_ENTRIES + i)->next :
				 (uint16_t)block_at(k, 2, n * PT_ENTRIES + i)->next;
	}
	for (unsigned i = b->bump; rest; i++, rest--)
		mark(map, i);
}

static bool giant_free(struct kernel *k, uint32_t n)
{
	uint32_t i = k->alloc.whole;

	while (i != NO_BLOCK && i != n)
		i = block_at(k, 3, i)->next;
	return i == n;
}

/* Which pages of the 2 MiB at gfn @n * 512 are free: one bit each. */
void page_free_map(struct kernel *k, uint32_t n, uint64_t map[8])
{
	uint32_t giant = n / PT_ENTRIES;
	uint64_t blocks[8] = { 0 };
	bool whole;

	if (block_at(k, 3, giant)->state == BLOCK_WHOLE) {
		whole = giant_free(k, giant);
	} else {
		free_children(k, 3, giant, blocks);
		whole = blocks[n % PT_ENTRIES / 64] >> n % 64 & 1;
	}
	for (unsigned i = 0; i < 8; i++)
		map[i] = whole ? UINT64_MAX : 0;
	/* What an open giant has given away has valid metadata. */
	if (!whole && block_at(k, 3, giant)->state == BLOCK_OPEN && block_at(k, 2, n)->state == BLOCK_OPEN)
		free_children(k, 2, n, map);
}

/* Entries of level 1 that map the page, its cache counted as one; does a larger leaf map it too? */
uint32_t page_refs(struct kernel *k, uint64_t gfn)
{
	return page_at(k, gfn)->ref;
}

bool page_held_above(struct kernel *k, uint64_t gfn)
{
	return unit_held_above(k, 1, gfn);
}

/* Bytes of metadata for @npages of memory. */
uint64_t alloc_metadata(uint64_t npages)
{
	uint64_t nblocks = npages / LEVEL_PAGES(2) + 1, ngiants = npages / LEVEL_PAGES(3) + 1;

	return npages * sizeof(struct page) + (nblocks + ngiants) * sizeof(struct block);
}

/* All of [first_gfn, end_gfn) is free; first_gfn is 2 MiB aligned. The arrays are in place. */
void alloc_init(struct kernel *k)
{
	struct allocator *a = &k->alloc;
	uint32_t first = unit_of(a->first_gfn, 2), end = unit_of(a->end_gfn, 2);
	unsigned tail = a->end_gfn % PT_ENTRIES;

	a->partial[2] = a->partial[3] = a->whole = NO_BLOCK;
	/* From the top down, so that low memory is taken first. */
	for (uint32_t n = unit_of(a->end_gfn, 3) + 1; n-- > unit_of(a->first_gfn, 3);) {
		uint32_t lo = n * PT_ENTRIES, hi = lo + PT_ENTRIES;

		lo = lo < first ? first : lo;
		hi = hi > end ? end : hi;
		if (hi - lo == PT_ENTRIES) {
			*block_at(k, 3, n) = (struct block){ .state = BLOCK_WHOLE };
			list_add(k, 3, &a->whole, n);
		} else {
			block_open(k, 3, n, lo - n * PT_ENTRIES, hi > lo ? hi - n * PT_ENTRIES : lo - n * PT_ENTRIES);
		}
	}
	if (tail)
		block_open(k, 2, end, 0, tail);
	k->counts.pages_free = a->end_gfn - a->first_gfn;
}

/* Whether a unit may be asked depends on its parent: below an open block's bump, its metadata means something. */
bool alloc_page_free(const struct allocator *a, uint64_t gfn)
{
	if (gfn < a->first_gfn || gfn >= a->end_gfn)
		return false;
	for (unsigned level = 3; level > 1; level--) {
		const struct block *b = &a->level[level][gfn / LEVEL_PAGES(level)];

		if (b->ref || b->state == BLOCK_WHOLE)
			return !b->ref;
		/* The end of memory that is no whole block is open without having been taken from its giant. */
		if (gfn / LEVEL_PAGES(level - 1) % PT_ENTRIES >= b->bump &&
		    (level == 2 || gfn / LEVEL_PAGES(2) != a->end_gfn / LEVEL_PAGES(2)))
			return true;
	}
	return !a->pages[gfn - a->first_gfn].ref;
}
