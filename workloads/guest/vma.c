/* SPDX-License-Identifier: MIT */
/*
 * vma.c - what a process may touch: its mappings, in order of address
 *
 * A process has a list of mappings that do not overlap, each with a protection and the largest leaf to map it with.
 * mmap replaces what was there, munmap and mprotect apply to what is there and ignore holes; each first cuts the list
 * at both ends of its range, so that afterwards only whole mappings are concerned. Neighbours that are alike are
 * joined. A hint remembers the mapping found last, where a fault's successor most often falls.
 *
 * A mapping is of anonymous memory, or of a part of the disk's file range, from page `offset` on, shared with
 * everybody who maps it.
 *
 * Every function can be repeated after NO_MEMORY: what it did by then is part of what it does.
 *
 * Invariants (tests/guest/test_kernel.c): sorted, disjoint, not empty, page aligned; adjacent ones differ in
 * protection, level or in what they map; pages are mapped inside mappings only, with no more rights.
 */
#include <stddef.h>

#include "workloads/guest/internal.h"

struct vma *vma_at(struct kernel *k, uint64_t gpa)
{
	return hal_arena(k->hal, gpa);
}

static uint64_t vma_end(const struct vma *m)
{
	return m->va + (m->npages << PAGE_SHIFT);
}

static uint64_t vma_alloc(struct kernel *k)
{
	uint64_t gpa = k->unused_vmas;

	if (!gpa) {
		gpa = heap_alloc(k, HEAP_VMAS);
		if (!gpa)
			return 0;
		for (unsigned i = 0; i < PAGE_SIZE / sizeof(struct vma); i++) {
			uint64_t m = gpa + i * sizeof(struct vma);

			vma_at(k, m)->next = k->unused_vmas;
			k->unused_vmas = m;
		}
		gpa = k->unused_vmas;
	}
	k->unused_vmas = vma_at(k, gpa)->next;
	k->nvmas++;
	return gpa;
}

static void vma_free(struct kernel *k, uint64_t gpa)
{
	vma_at(k, gpa)->next = k->unused_vmas;
	k->unused_vmas = gpa;
	k->nvmas--;
}

/* The mapping that holds @va, or NULL. */
struct vma *vma_find(struct kernel *k, struct process *p, uint64_t va)
{
	uint64_t gpa = p->hint && vma_at(k, p->hint)->va <= va ? p->hint : p->vmas;

	while (gpa) {
		struct vma *m = vma_at(k, gpa);

		if (va < m->va)
			return NULL;
		if (va < vma_end(m)) {
			p->hint = gpa;
			return m;
		}
		gpa = m->next;
	}
	return NULL;
}

/* The link to the first mapping that ends above @va. */
static uint64_t *vma_link(struct kernel *k, struct process *p, uint64_t va)
{
	uint64_t *link = &p->vmas;

	while (*link && vma_end(vma_at(k, *link)) <= va)
		link = &vma_at(k, *link)->next;
	return link;
}

/* Let no mapping reach across @va. */
static enum result vma_cut(struct kernel *k, struct process *p, uint64_t va)
{
	uint64_t *link = vma_link(k, p, va);
	struct vma *m, *upper;
	uint64_t gpa;

	if (!*link)
		return DONE;
	m = vma_at(k, *link);
	if (m->va >= va)
		return DONE;
	gpa = vma_alloc(k);
	if (!gpa)
		return NO_MEMORY;
	upper = vma_at(k, gpa);
	*upper = *m;
	upper->va = va;
	upper->npages = (vma_end(m) - va) >> PAGE_SHIFT;
	upper->offset += (va - m->va) >> PAGE_SHIFT;
	m->npages -= upper->npages;
	m->next = gpa;
	return DONE;
}

static bool vma_continues(const struct vma *m, const struct vma *n)
{
	return n->va == vma_end(m) && n->prot == m->prot && n->level == m->level && n->file == m->file &&
	       (!m->file || n->offset == m->offset + m->npages);
}

/* Join alike neighbours around [va, end]. */
static void vma_join(struct kernel *k, struct process *p, uint64_t va, uint64_t end)
{
	uint64_t *link = vma_link(k, p, va ? va - 1 : 0);

	while (*link && vma_at(k, *link)->va <= end) {
		struct vma *m = vma_at(k, *link), *n;
		uint64_t next = m->next;

		n = next ? vma_at(k, next) : NULL;
		if (n && vma_continues(m, n)) {
			m->npages += n->npages;
			m->next = n->next;
			vma_free(k, next);
		} else {
			link = &m->next;
		}
	}
}

/* Is it a range that a process may have? */
static bool vma_valid(const struct kernel *k, uint64_t va, uint64_t npages)
{
	uint64_t limit = 1ull << (k->levels == 5 ? 56 : 47), nbytes = npages << PAGE_SHIFT;

	if (va % PAGE_SIZE || !npages || npages > limit >> PAGE_SHIFT || va > limit - nbytes)
		return false;
	return va + nbytes <= RUNTIME_VA || va >= RUNTIME_VA + RESERVED_SIZE;
}

static uint64_t protect_leaf(struct visit *v, uint64_t va, unsigned level, uint64_t entry)
{
	uint64_t gfn = pte_gfn(entry);
	bool writable;

	if (pte_is_swap(entry))
		return pte_swapped(gfn, v->prot, (v->prot & PROT_W) && swap_slot_sharers(v->k, gfn) == 1);
	if ((entry & PTE_FILE) && !v->prot)
		return process_drop_leaf(v, va, level, entry); /* found again in the page cache */
	if (entry & PTE_FILE)
		return pte_make(gfn, level, v->prot, true) | (entry & (PTE_A | PTE_D | PTE_FILE));
	writable = (v->prot & PROT_W) && page_exclusive(v->k, gfn, level);
	return pte_make(gfn, level, v->prot, writable) | (entry & (PTE_A | PTE_D));
}

enum result vma_unmap(struct kernel *k, struct process *p, uint64_t va, uint64_t npages)
{
	uint64_t end = va + (npages << PAGE_SHIFT), *link;
	struct visit v = { .k = k, .p = p, .start = va, .end = end, .leaf = process_drop_leaf };

	if (!vma_valid(k, va, npages))
		return BAD_ADDRESS;
	if (vma_cut(k, p, va) || vma_cut(k, p, end) || table_visit(&v))
		return NO_MEMORY;
	p->hint = 0;
	link = vma_link(k, p, va);
	while (*link && vma_at(k, *link)->va < end) {
		uint64_t gone = *link;

		*link = vma_at(k, gone)->next;
		vma_free(k, gone);
	}
	return DONE;
}

static enum result vma_place(struct kernel *k, struct process *p, const struct vma *new)
{
	uint64_t va = new->va, npages = new->npages, gpa, *link;
	enum result r = vma_unmap(k, p, va, npages);

	if (r)
		return r;
	gpa = vma_alloc(k);
	if (!gpa)
		return NO_MEMORY;
	link = vma_link(k, p, va);
	*vma_at(k, gpa) = *new;
	vma_at(k, gpa)->next = *link;
	*link = gpa;
	vma_join(k, p, va, va + (npages << PAGE_SHIFT));
	return DONE;
}

enum result vma_map(struct kernel *k, struct process *p, uint64_t va, uint64_t npages, unsigned prot, unsigned level)
{
	const struct vma m = { .va = va, .npages = npages, .prot = prot, .level = level };

	return vma_place(k, p, &m);
}

/* Map the disk's file range from page @offset on. */
enum result vma_map_file(struct kernel *k, struct process *p, uint64_t va, uint64_t npages, unsigned prot,
			 uint64_t offset)
{
	const struct vma m = {
		.va = va, .npages = npages, .prot = prot, .level = 1, .file = 1, .offset = offset,
		.ra_prev = UINT64_MAX - 1,
	};

	if (offset > k->mem.file_pages || npages > k->mem.file_pages - offset)
		return BAD_ADDRESS;
	return vma_place(k, p, &m);
}

/* Protect one mapping: entries first, so that a repeat after NO_MEMORY finds the work still to do. */
static enum result protect_one(struct kernel *k, struct process *p, struct vma *m, unsigned prot)
{
	struct visit v = {
		.k = k, .p = p, .start = m->va, .end = vma_end(m), .leaf = protect_leaf, .prot = prot
	};

	if (table_visit(&v))
		return NO_MEMORY;
	m->prot = prot;
	return DONE;
}

enum result vma_protect(struct kernel *k, struct process *p, uint64_t va, uint64_t npages, unsigned prot)
{
	uint64_t end = va + (npages << PAGE_SHIFT);

	if (!vma_valid(k, va, npages))
		return BAD_ADDRESS;
	if (vma_cut(k, p, va) || vma_cut(k, p, end))
		return NO_MEMORY;
	p->hint = 0;
	for (uint64_t gpa = *vma_link(k, p, va); gpa && vma_at(k, gpa)->va < end; gpa = vma_at(k, gpa)->next)
		if (protect_one(k, p, vma_at(k, gpa), prot))
			return NO_MEMORY;
	vma_join(k, p, va, end);
	return DONE;
}

/* A child begins with its parent's mappings. On NO_MEMORY it has some of them. */
enum result vma_copy_all(struct kernel *k, struct process *child, const struct process *parent)
{
	uint64_t *link = &child->vmas;

	for (uint64_t gpa = parent->vmas; gpa; gpa = vma_at(k, gpa)->next) {
		uint64_t copy = vma_alloc(k);

		if (!copy)
			return NO_MEMORY;
		*vma_at(k, copy) = *vma_at(k, gpa);
		vma_at(k, copy)->next = 0;
		*link = copy;
		link = &vma_at(k, copy)->next;
	}
	return DONE;
}

void vma_free_all(struct kernel *k, struct process *p)
{
	while (p->vmas) {
		uint64_t gpa = p->vmas;

		p->vmas = vma_at(k, gpa)->next;
		vma_free(k, gpa);
	}
	p->hint = 0;
}
