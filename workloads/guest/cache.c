/* SPDX-License-Identifier: MIT */
/*
 * cache.c - the page cache: pages of the disk's file range in memory
 *
 * Problem: processes map files that are larger than memory; a page must be in memory once, whoever maps it, be read
 * when it is first touched, and before that if the touches so far say that it will be.
 *
 * Idea: one word for each page of the file range: its gfn, or a shadow of when it was evicted (workingset.c). A fault
 * finds the page there and maps it (minor), or reads it and lets its process wait (major); who finds it being read
 * waits too. A sequence of faults doubles a window of pages read at once, from 4 to 32: the page at which the window
 * before the last begins to be used up is marked, and touching it starts the next. Anything else reads one page.
 *
 * All mappings are shared, with the rights that the mapping gives, so there is no copy-on-write here. That a page is
 * dirty is seen in the dirty bits of the entries, when they go, and written when the page is reclaimed: there is no
 * periodic writing. What a process still has dirty at the end is in the digest (vmm/digest.c) as part of the disk.
 *
 * Invariants (tests/guest/test_reclaim.c): a word names a page iff that page is PG_CACHED | PG_FILE with that key; its
 * entries are those of mappings of that page of the file.
 *
 * Source: Linux mm/filemap.c (filemap_fault()) and mm/readahead.c (ondemand_readahead(), get_init_ra_size(),
 * get_next_ra_size()), with a limit of 32 pages, VM_READAHEAD_PAGES.
 */
#include "workloads/guest/internal.h"

#define READAHEAD_FIRST 4u
#define READAHEAD_MOST	32u

/* The page of the disk that a cached page is a copy of. */
uint64_t cache_disk_page(struct kernel *k, uint64_t gfn)
{
	const struct lru_page *g = lru_page(k, gfn);

	return g->flags & PG_FILE ? g->key >> PAGE_SHIFT : k->mem.file_pages + g->slot;
}

uint64_t *cache_word(struct kernel *k, uint64_t gfn)
{
	const struct lru_page *g = lru_page(k, gfn);

	return g->flags & PG_FILE ? &k->mem.index[g->key >> PAGE_SHIFT] : &k->mem.slot[g->slot].word;
}

/* From now on the cache holds the page, as its flags and key say. */
void cache_add(struct kernel *k, uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);

	page_get(k, gfn, 1);
	g->flags |= PG_CACHED;
	*cache_word(k, gfn) = gfn | (g->flags & PG_LOADING ? CACHE_LOADING : 0);
	k->counts.pages_cache += !!(g->flags & PG_FILE);
}

/* The cache lets go of the page, which is freed unless it is mapped; @word stays in its place. */
void cache_drop(struct kernel *k, uint64_t gfn, uint64_t word)
{
	struct lru_page *g = lru_page(k, gfn);

	*cache_word(k, gfn) = word;
	g->flags &= ~PG_CACHED;
	if (g->flags & PG_FILE)
		k->counts.pages_cache--;
	else
		swap_slot_settle(k, g->slot);
	page_put(k, gfn, 1);
}

/* The page at @gfn, fresh from the allocator, is to be read from page @i of the file range. */
static void cache_new(struct kernel *k, uint64_t i, uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);
	uint64_t word = k->mem.index[i];
	bool active;

	g->key = (i << PAGE_SHIFT) | NO_HINT;
	g->flags = PG_FILE | PG_LOADING;
	active = workingset_refault(k, gfn, word);
	lru_insert(k, gfn, active ? LRU_ACTIVE_FILE : LRU_INACTIVE_FILE, true);
	cache_add(k, gfn);
}

/* The next window: what a fault at page @i of the file range lets expect. */
static void window_move(struct vma *m, uint64_t i)
{
	uint64_t next = m->ra_start + m->ra_size;
	bool sequential = m->ra_size && (i == next || i == next - m->ra_async);

	if (sequential) {
		m->ra_start = next;
		m->ra_size = (uint16_t)(m->ra_size < READAHEAD_MOST / 16 ? m->ra_size * 4 : m->ra_size * 2);
		m->ra_size = m->ra_size < READAHEAD_MOST ? m->ra_size : READAHEAD_MOST;
		m->ra_async = m->ra_size;
	} else {
		bool begins = i == m->offset || i == m->ra_prev + 1;

		m->ra_start = i;
		m->ra_size = begins ? READAHEAD_FIRST : 1;
		m->ra_async = m->ra_size - 1;
	}
}

/*
 * Read the window, as far as memory allows and up to a page that is cached: into @first, if it is not 0, and pages to
 * spare. The pages that are being read.
 */
static unsigned window_read(struct kernel *k, struct vma *m, uint64_t first)
{
	uint64_t gfn[READAHEAD_MOST] = { 0 }, end = m->offset + m->npages;
	unsigned n = 0, mark = (unsigned)m->ra_size - m->ra_async, done;

	while (n < m->ra_size && m->ra_start + n < end && !word_gfn(k->mem.index[m->ra_start + n])) {
		uint64_t page = n || !first ? page_spare(k) : first;

		if (!page)
			break;
		cache_new(k, m->ra_start + n, page);
		gfn[n++] = page;
	}
	done = io_read(k, m->ra_start, gfn, n);
	k->counts.file_reads += done;
	for (unsigned i = done; i < n; i++)
		cache_drop(k, gfn[i], 0);
	if (m->ra_async && done > mark)
		lru_page(k, gfn[mark])->flags |= PG_READAHEAD;
	return done;
}

static enum result read_page(struct kernel *k, struct vma *m, uint64_t i)
{
	uint64_t gfn = page_take(k, 1);

	if (!gfn)
		return NO_MEMORY;
	window_move(m, i);
	if (m->ra_start != i) { /* an earlier window was cut short here */
		m->ra_start = i;
		m->ra_size = READAHEAD_FIRST;
		m->ra_async = READAHEAD_FIRST - 1;
	}
	return window_read(k, m, gfn) ? DONE : io_wait_any(k, false);
}

static enum result map_page(struct kernel *k, struct process *p, const struct vma *m, struct walk *w, uint64_t va,
			    uint64_t gfn)
{
	struct lru_page *g = lru_page(k, gfn);
	enum result r;

	page_get(k, gfn, 1);
	r = table_map(k, w, va & PAGE_MASK, 1, pte_make(gfn, 1, m->prot, true) | PTE_FILE);
	if (r) {
		page_put(k, gfn, 1);
		return r;
	}
	g->key = (g->key & PAGE_MASK) | process_slot(k, p);
	g->flags &= ~PG_AWAITED;
	p->npages++;
	hal_pte_flush(k->hal);
	return DONE;
}

/* Nothing is mapped at @va, of a mapping of the file range; @w stands at the table that has the empty entry. */
enum result cache_fault(struct kernel *k, struct process *p, struct vma *m, struct walk *w, uint64_t va,
			enum fault_kind *kind)
{
	uint64_t i = m->offset + ((va - m->va) >> PAGE_SHIFT), gfn = word_gfn(k->mem.index[i]);
	struct lru_page *g;

	*kind = FAULT_MINOR;
	if (!gfn) {
		enum result r = read_page(k, m, i);

		if (r)
			return r;
		*kind = FAULT_MAJOR;
		gfn = word_gfn(k->mem.index[i]);
	}
	g = lru_page(k, gfn);
	if (g->flags & PG_LOADING)
		return io_wait(k, gfn, g->flags & PG_WORKINGSET);
	if (g->flags & PG_FAILED) {
		cache_drop(k, gfn, 0); /* who comes next tries again */
		return BAD_ADDRESS;
	}
	if (g->flags & PG_READAHEAD) {
		g->flags &= ~PG_READAHEAD;
		window_move(m, i);
		window_read(k, m, 0);
	}
	m->ra_prev = i;
	return map_page(k, p, m, w, va, gfn);
}
