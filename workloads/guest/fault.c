/* SPDX-License-Identifier: MIT */
/*
 * fault.c - page faults: demand-zero, copy-on-write, and which go to the page cache (cache.c) or to swap (swap.c)
 *
 * A page comes into being on first touch, zeroed, with the rights of its mapping; a read gets a page of its own too
 * (there is no shared zero page: what merges pages in this laboratory is the host). The largest leaf is tried that
 * the mapping wants, that fits into it, that no smaller table stands in the way of and that memory can be had for.
 *
 * After a fork all writable pages are shared read-only: an entry without PTE_W where the mapping allows writing. The
 * first writer copies; the last owner just takes the right back. A shared large page is copied as a whole if a free
 * block of its size exists; otherwise its leaf is split and only the part that was written is copied.
 *
 * A page that comes back from swap is as it was: an entry without PTE_W may have to be copied next.
 *
 * The new page's contents are complete before an entry refers to it, and the old page is put only after the entry was
 * replaced and invalidated.
 *
 * Invariants (tests/guest/test_kernel.c, test_random.c): no two processes can write one page; a process reads what it
 * alone wrote since it was forked.
 */

#include "workloads/guest/internal.h"

static uint64_t block_start(uint64_t va, unsigned level)
{
	return va & ~(LEVEL_SIZE(level) - 1);
}

static bool block_fits(const struct vma *m, uint64_t va, unsigned level)
{
	uint64_t start = block_start(va, level), end = m->va + (m->npages << PAGE_SHIFT);

	return start >= m->va && end - start >= LEVEL_SIZE(level);
}

/* Nothing is mapped at @va; @w stands at the table that has the empty entry. */
static enum result demand_zero(struct kernel *k, struct process *p, const struct vma *m, struct walk *w, uint64_t va)
{
	unsigned level = m->level < w->level ? m->level : w->level;
	uint64_t gfn = 0;
	enum result r;

	for (; level > 0; level--) {
		if (level > 1 && !block_fits(m, va, level))
			continue;
		gfn = page_take(k, level);
		if (gfn)
			break;
	}
	if (!gfn)
		return NO_MEMORY;
	page_get(k, gfn, level);
	lru_anon(k, p, va, gfn, level);
	hal_zero_pages(k->hal, gfn, LEVEL_PAGES(level));
	r = table_map(k, w, va, level, pte_make(gfn, level, m->prot, true));
	if (r) {
		page_put(k, gfn, level);
		return r;
	}
	p->npages += LEVEL_PAGES(level);
	hal_pte_flush(k->hal);
	return DONE;
}

static void replace(struct kernel *k, struct process *p, uint64_t gpa, unsigned level, uint64_t va, uint64_t old,
		    uint64_t entry)
{
	struct flush f = { .n = 0 };

	table_set(k, gpa, level, old, entry);
	flush_add(&f, block_start(va, level));
	flush_end(k, p, &f);
}

/*
 * The leaf @entry is no more; others may map its page. They have to know of its stores: a page whose copy in swap is
 * old may have been shared by fork since, and only this entry's dirty bit told of it.
 */
static void put_shared(struct kernel *k, uint64_t entry, unsigned level)
{
	uint64_t gfn = pte_gfn(entry);
	bool cached = level == 1 && k->mem.page && (lru_page(k, gfn)->flags & PG_CACHED);

	if (cached && (entry & PTE_D))
		lru_page(k, gfn)->flags |= PG_DIRTY;
	page_put(k, gfn, level);
	if (cached)
		swap_settle(k, gfn);
}

/* A write to a page that its mapping lets it write, but not yet its entry. */
static enum result break_share(struct kernel *k, struct process *p, const struct vma *m, uint64_t va)
{
	for (;;) {
		struct walk w = { p->root, k->levels };
		uint64_t old, gpa = table_find(k, &w, va, &old), gfn = pte_gfn(old), copy;

		if (page_exclusive(k, gfn, w.level)) {
			replace(k, p, gpa, w.level, va, old, old | PTE_W);
			if (w.level == 1 && k->mem.page)
				swap_forget(k, gfn); /* its copy in swap is about to be old */
			return DONE;
		}
		copy = page_take(k, w.level);
		if (copy) {
			page_get(k, copy, w.level);
			lru_anon(k, p, va, copy, w.level);
			hal_copy_pages(k->hal, copy, gfn, LEVEL_PAGES(w.level));
			replace(k, p, gpa, w.level, va, old, pte_make(copy, w.level, m->prot, true));
			put_shared(k, old, w.level);
			return DONE;
		}
		if (w.level == 1 || !table_split(k, gpa, old, w.level))
			return NO_MEMORY;

		struct flush f = { .n = 0 };

		flush_add(&f, block_start(va, w.level));
		flush_end(k, p, &f);
	}
}

/*
 * Process @p needs right @want (one of PROT_*) at @va. On DONE it has it, and @kind says what was missing; on WAIT too.
 * BAD_ADDRESS: no mapping gives it that right, or the disk could not be read.
 */
enum result fault_resolve(struct kernel *k, struct process *p, uint64_t va, unsigned want, enum fault_kind *kind)
{
	struct vma *m = vma_find(k, p, va);
	struct walk w = { p->root, k->levels };
	uint64_t entry, gpa;

	*kind = FAULT_SPURIOUS;
	if (!m || !m->prot || (want & ~(m->prot | PROT_R)))
		return BAD_ADDRESS;
	gpa = table_find(k, &w, va, &entry);
	if (!entry && m->file)
		return cache_fault(k, p, m, &w, va, kind);
	if (!entry) {
		*kind = FAULT_DEMAND;
		return demand_zero(k, p, m, &w, va);
	}
	if (pte_is_swap(entry)) {
		enum result r = swap_fault(k, p, gpa, va, entry, kind);

		if (r || !(want & PROT_W) || (entry & PTE_W))
			return r;
		return break_share(k, p, m, va);
	}
	guest_assert(k->hal, entry & PTE_P);
	if ((want & PROT_W) && !(entry & PTE_W)) {
		*kind = FAULT_COW;
		return break_share(k, p, m, va);
	}
	return DONE;
}

/* Give the page at @va the pattern @base, as its owner writing it would. */
enum result fault_fill(struct kernel *k, struct process *p, uint64_t va, uint64_t base, enum fault_kind *kind)
{
	struct walk w = { p->root, k->levels };
	enum result r = fault_resolve(k, p, va, PROT_W, kind);
	uint64_t entry;

	if (r)
		return r;
	table_find(k, &w, va, &entry);
	hal_fill_page(k->hal, pte_gfn(entry) + (va >> PAGE_SHIFT) % LEVEL_PAGES(w.level), base);
	if (w.level == 1 && k->mem.page)
		lru_page(k, pte_gfn(entry))->flags |= PG_DIRTY; /* the entry does not know of the kernel's stores */
	return DONE;
}
