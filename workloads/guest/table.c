/* SPDX-License-Identifier: MIT */
/*
 * table.c - the kernel's page tables, 4 or 5 levels
 *
 * Problem: map, find, change and remove leaves of 4 KiB, 2 MiB and 1 GiB, through hal_pte_*() only: each call is an
 * access that a paging mode may trace, so entries are read and written once where once will do.
 *
 * Idea: one descent (table_find, table_map) and one visitor for ranges (table_visit), which splits a large leaf that
 * reaches out of the range, lets a callback decide what each leaf becomes, and frees the tables that are left empty.
 * A table's count of entries in use (struct heap_page) ends a visit early and tells when it is empty, without reading
 * it again.
 *
 * Rules: an entry is written by table_set() alone. Entries of upper levels allow all; leaves decide. Accessed and
 * dirty bits are left to the processor: none is set on creation, a split inherits the leaf's. The common table hangs
 * in every root but belongs to none: it is unhooked before a process's tables are taken apart.
 *
 * Invariants (tests/guest/test_kernel.c): nentries is the number of entries that are not 0; an empty table hangs in
 * no other; no entry is read that was written since the last hal_pte_flush(); every change of a present entry is
 * invalidated by the end of the event.
 *
 * Source: Intel SDM vol. 3A, chapter 4: 4.5 (4- and 5-level paging), 4.10.4 (invalidation).
 */
#include "workloads/guest/internal.h"

#define PTE_TABLE (PTE_P | PTE_W | PTE_U)

/* A leaf for a process; @writable false: read-only for now, whatever the mapping allows (copy-on-write). */
uint64_t pte_make(uint64_t gfn, unsigned level, unsigned prot, bool writable)
{
	uint64_t entry = (gfn << PAGE_SHIFT) | PTE_U;

	entry |= prot ? PTE_P : PTE_NONE;
	entry |= level > 1 ? PTE_PS : 0;
	entry |= (prot & PROT_W) && writable ? PTE_W : 0;
	entry |= prot & PROT_X ? 0 : PTE_NX;
	return entry;
}

/* What stands for a page of a process while it is in swap. */
uint64_t pte_swapped(uint64_t slot, unsigned prot, bool writable)
{
	return (pte_make(slot, 1, prot, writable) & ~PTE_P) | PTE_SWAP;
}

/* An empty table, or 0. */
uint64_t table_new(struct kernel *k, unsigned level)
{
	uint64_t gpa = heap_alloc(k, HEAP_TABLE);

	if (gpa)
		hal_table_new(k->hal, gpa, level);
	return gpa;
}

void table_free(struct kernel *k, uint64_t table, unsigned level)
{
	guest_assert(k->hal, heap_page(k, table)->nentries == 0);
	hal_pte_flush(k->hal);
	hal_table_free(k->hal, table, level);
	heap_free(k, table, HEAP_TABLE);
}

/* Change an entry from @old to @entry. An entry that refers to a table is flushed at once: a descent will read it. */
void table_set(struct kernel *k, uint64_t entry_gpa, unsigned level, uint64_t old, uint64_t entry)
{
	struct heap_page *meta = heap_page(k, entry_gpa & PAGE_MASK);

	meta->nentries += !old;
	meta->nentries -= !entry;
	k->counts.pte_writes++;
	hal_pte_write(k->hal, entry_gpa, entry, level);
	if (entry && !pte_is_leaf(entry, level))
		hal_pte_flush(k->hal);
}

/* Descend from @w to the leaf or the empty entry of @va. Its gpa; @w is left at its table. */
uint64_t table_find(struct kernel *k, struct walk *w, uint64_t va, uint64_t *entry)
{
	for (;;) {
		uint64_t gpa = w->table + PT_INDEX(va, w->level) * 8;

		*entry = hal_pte_read(k->hal, gpa);
		if (!*entry || pte_is_leaf(*entry, w->level))
			return gpa;
		w->table = *entry & PTE_ADDR;
		w->level--;
	}
}

/* Descend from @w to @level, making tables, and put @entry in an empty place. @w is left at its table. */
enum result table_map(struct kernel *k, struct walk *w, uint64_t va, unsigned level, uint64_t entry)
{
	while (w->level > level) {
		uint64_t gpa = w->table + PT_INDEX(va, w->level) * 8;
		uint64_t e = hal_pte_read(k->hal, gpa);

		if (!e) {
			e = table_new(k, w->level - 1);
			if (!e)
				return NO_MEMORY;
			e |= PTE_TABLE;
			table_set(k, gpa, w->level, 0, e);
		}
		guest_assert(k->hal, !pte_is_leaf(e, w->level));
		w->table = e & PTE_ADDR;
		w->level--;
	}
	table_set(k, w->table + PT_INDEX(va, level) * 8, level, 0, entry);
	return DONE;
}

/* Replace the large leaf @entry by a table of 512 smaller ones. The table, or 0. The caller invalidates. */
uint64_t table_split(struct kernel *k, uint64_t entry_gpa, uint64_t entry, unsigned level)
{
	uint64_t table = table_new(k, level - 1);
	uint64_t e = level == 2 ? entry & ~PTE_PS : entry;

	if (!table)
		return 0;
	page_split(k, pte_gfn(entry), level);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		table_set(k, table + i * 8, level - 1, 0, e + i * LEVEL_SIZE(level - 1));
	hal_pte_flush(k->hal);
	table_set(k, entry_gpa, level, entry, table | PTE_TABLE);
	return table;
}

static void visit_table(struct visit *v, uint64_t table, unsigned level, uint64_t base);

/* The entry refers to a table: visit that, and drop it if nothing is left in it. */
static void visit_below(struct visit *v, uint64_t gpa, unsigned level, uint64_t entry, uint64_t va)
{
	uint64_t below = entry & PTE_ADDR;

	visit_table(v, below, level - 1, va);
	if (heap_page(v->k, below)->nentries)
		return;
	table_set(v->k, gpa, level, entry, 0);
	flush_add(&v->flush, va);
	table_free(v->k, below, level - 1);
}

static void visit_leaf(struct visit *v, uint64_t gpa, unsigned level, uint64_t entry, uint64_t va)
{
	uint64_t new;

	if (v->start > va || v->end - va < LEVEL_SIZE(level)) {
		uint64_t table = table_split(v->k, gpa, entry, level);

		if (!table) {
			v->result = NO_MEMORY;
			return;
		}
		flush_add(&v->flush, va);
		visit_below(v, gpa, level, table | PTE_TABLE, va);
		return;
	}
	new = v->leaf(v, va, level, entry);
	if (new == entry)
		return;
	table_set(v->k, gpa, level, entry, new);
	if (entry & PTE_P)
		flush_add(&v->flush, va);
}

static void visit_table(struct visit *v, uint64_t table, unsigned level, uint64_t base)
{
	uint64_t end = base + LEVEL_SIZE(level + 1);
	uint64_t first = v->start > base ? v->start : base, last = (v->end < end ? v->end : end) - 1;
	unsigned left = heap_page(v->k, table)->nentries;

	for (unsigned i = PT_INDEX(first, level); i <= PT_INDEX(last, level) && left && !v->result; i++) {
		uint64_t gpa = table + i * 8, va = base + i * LEVEL_SIZE(level);
		uint64_t entry = hal_pte_read(v->k->hal, gpa);

		if (!entry)
			continue;
		left--;
		if (pte_is_leaf(entry, level))
			visit_leaf(v, gpa, level, entry, va);
		else
			visit_below(v, gpa, level, entry, va);
	}
}

/* Visit every leaf of v->p's tables in [start, end); the caller invalidates what v->flush names. */
enum result table_visit_later(struct visit *v)
{
	visit_table(v, v->p->root, v->k->levels, 0);
	return v->result;
}

/* The same, and invalidate what changed. */
enum result table_visit(struct visit *v)
{
	table_visit_later(v);
	flush_end(v->k, v->p, &v->flush);
	return v->result;
}

void flush_add(struct flush *f, uint64_t va)
{
	if (f->n < FLUSH_PAGES)
		f->va[f->n] = va;
	f->n++;
}

/* Table writes and invalidations take effect. Only the interrupted process's space can be reached page by page. */
void flush_end(struct kernel *k, const struct process *p, struct flush *f)
{
	hal_pte_flush(k->hal);
	if (f->n > FLUSH_PAGES || (f->n && process_slot(k, p) != k->interrupted)) {
		hal_flush_space(k->hal, p->root, p->pcid);
	} else {
		for (unsigned i = 0; i < f->n; i++)
			hal_invlpg(k->hal, f->va[i]);
	}
	f->n = 0;
}
