/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a process becomes two
 *
 * The child gets the parent's mappings and a copy of its tables; no page is copied. Every page they now share loses
 * its right to be written in both (fault.c gives it back); what is in swap is there for both. Leaves keep their size.
 * The parent's own entries that changed are invalidated in one go.
 *
 * A fork that finds no free slot or no heap for the tables makes no child; the parent goes on and does not learn of
 * it, as its program could do nothing about it. A lack of heap counts as an OOM kill: of the child.
 */
#include <stddef.h>

#include "workloads/guest/balloon.h"
#include "workloads/guest/internal.h"

static uint64_t share_leaf(struct visit *v, uint64_t va, unsigned level, uint64_t entry)
{
	uint64_t copy = entry & ~(PTE_W | PTE_A | PTE_D), base = va >> LEVEL_SHIFT(level + 1);

	if (entry & PTE_FILE)
		return entry; /* the child will find it in the page cache */
	/* The previous leaf's table is most often this one's too. */
	if (v->walk.level != level || v->walk_base != base)
		v->walk = (struct walk){ v->child->root, v->k->levels };
	v->walk_base = base;
	v->result = table_map(v->k, &v->walk, va, level, copy);
	if (v->result)
		return entry;
	if (pte_is_swap(entry))
		swap_get(v->k, pte_gfn(entry));
	else
		page_get(v->k, pte_gfn(entry), level);
	v->child->npages += LEVEL_PAGES(level);
	return entry & ~PTE_W;
}

static enum result share_all(struct kernel *k, struct process *parent, struct process *child)
{
	struct visit v = { .k = k, .p = parent, .leaf = share_leaf, .child = child };
	enum result r = vma_copy_all(k, child, parent);

	for (uint64_t gpa = parent->vmas; gpa && !r; gpa = vma_at(k, gpa)->next) {
		struct vma *m = vma_at(k, gpa);

		v.start = m->va;
		v.end = m->va + (m->npages << PAGE_SHIFT);
		r = table_visit(&v);
	}
	return r;
}

static struct process *copy_process(struct kernel *k, struct process *parent)
{
	struct process *child = process_new(k, parent);

	if (child && share_all(k, parent, child)) {
		process_destroy(k, child);
		return NULL;
	}
	return child;
}

void process_fork(struct kernel *k, struct process *parent, uint32_t phase)
{
	struct process *child;
	struct runtime *rt;

	do
		child = copy_process(k, parent);
	while (!child && ((k->free_slots != NO_PROCESS && balloon_oom(k)) || process_drop_kept(k)));

	if (!child) {
		k->counts.oom_kills += k->free_slots != NO_PROCESS;
		return;
	}
	rt = kernel_runtime(k, child);
	rt->program = kernel_runtime(k, parent)->program;
	program_fork(&rt->program, k->script, child->pid, phase);
	process_start(k, child);
	k->counts.forks++;
}
