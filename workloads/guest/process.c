/* SPDX-License-Identifier: MIT */
/*
 * process.c - processes: slots, address spaces, run-times, and their end
 *
 * A process is a slot of struct kernel (published in guest_export), a root, and a run-time: one page with its
 * program. With PCIDs a slot has one of its own, whose translations are dropped when the process ends, before the
 * slot is used again.
 *
 * Out of memory, of process pages or of heap, first lets the balloon give way, if there is one, and then costs the
 * largest process its life (by pages it holds in memory and in swap; the lowest slot among equals), repeatedly if what
 * it gave back was not enough. With BOOT_KEEP the processes of the beginning leave their memory behind when they end,
 * for the digest; that goes before anybody is killed.
 *
 * Invariant (tests/guest/test_kernel.c): an ended process leaves nothing: no page, table, run-time, mapping or slot.
 */
#include <stddef.h>

#include "workloads/guest/balloon.h"
#include "workloads/guest/internal.h"

uint32_t process_slot(const struct kernel *k, const struct process *p)
{
	return (uint32_t)(p - k->process);
}

/* The leaf goes, and with it the page unless somebody else maps it. Pages of the arena have owners of their own. */
uint64_t process_drop_leaf(struct visit *v, uint64_t va, unsigned level, uint64_t entry)
{
	uint64_t gfn = pte_gfn(entry);

	(void)va;
	if (pte_is_swap(entry)) {
		swap_put(v->k, gfn);
		v->p->npages--;
	} else if (gfn >= v->k->alloc.first_gfn) {
		bool cached = level == 1 && v->k->mem.page && (lru_page(v->k, gfn)->flags & PG_CACHED);

		if (cached && (entry & PTE_D))
			lru_page(v->k, gfn)->flags |= PG_DIRTY;
		page_put(v->k, gfn, level);
		if (cached)
			swap_settle(v->k, gfn);
		v->p->npages -= LEVEL_PAGES(level);
	}
	return 0;
}

/* A root with the run-time and the common table in it. */
static enum result map_runtime(struct kernel *k, struct process *p)
{
	struct walk w = { p->root, k->levels };
	enum result r = table_map(k, &w, RUNTIME_VA, 1,
				  pte_make(p->runtime >> PAGE_SHIFT, 1, PROT_R | PROT_W, true));

	if (!r && k->common) {
		w = (struct walk){ p->root, k->levels };
		r = table_map(k, &w, COMMON_VA, 2, k->common | PTE_P | PTE_W | PTE_U);
	}
	hal_pte_flush(k->hal);
	return r;
}

static void unmap_common(struct kernel *k, struct process *p)
{
	struct walk w = { p->root, k->levels };
	uint64_t entry, gpa;

	/* table_find() would descend into the common table: stop above it. */
	do {
		gpa = w.table + PT_INDEX(COMMON_VA, w.level) * 8;
		entry = hal_pte_read(k->hal, gpa);
		w.table = entry & PTE_ADDR;
	} while (entry && --w.level >= 2);
	if (!entry || w.table != k->common)
		return;
	table_set(k, gpa, 2, entry, 0);
	hal_pte_flush(k->hal);
}

/* A process of no state yet, with an empty address space. NULL: no slot or no heap. */
struct process *process_new(struct kernel *k, struct process *parent)
{
	uint32_t slot = k->free_slots;
	struct process *p;

	if (slot == NO_PROCESS)
		return NULL;
	p = &k->process[slot];
	k->free_slots = p->next;
	*p = (struct process){
		.pid = k->next_pid++,
		.pcid = k->info->flags & BOOT_PCID ? slot + 1 : 0,
		.parent = parent ? process_slot(k, parent) : NO_PROCESS,
		.next = NO_PROCESS,
	};
	p->family = parent ? parent->family : p->pid;
	p->root = table_new(k, k->levels);
	p->runtime = heap_alloc(k, HEAP_RUNTIME);
	if (p->runtime)
		bytes_zero(kernel_runtime(k, p), sizeof(struct runtime));
	if (p->root && p->runtime && !map_runtime(k, p))
		return p;
	process_destroy(k, p);
	return NULL;
}

/* It is complete: let it run. */
void process_start(struct kernel *k, struct process *p)
{
	struct export_process *e = &k->export->process[process_slot(k, p)];

	e->pid = p->pid;
	e->root = p->root;
	if (p->parent != NO_PROCESS)
		k->process[p->parent].nchildren++;
	k->nlive++;
	schedule_ready(k, p);
}

/* Give back all that process_new() and the process's life took. It is in no queue. */
void process_destroy(struct kernel *k, struct process *p)
{
	struct visit v = { .k = k, .p = p, .end = 1ull << (k->levels == 5 ? 56 : 47), .leaf = process_drop_leaf };

	schedule_state(k, p, PROCESS_FREE);
	if (p->root) {
		if (k->common)
			unmap_common(k, p);
		table_visit(&v);
		table_free(k, p->root, k->levels);
	}
	vma_free_all(k, p);
	if (p->runtime)
		heap_free(k, p->runtime, HEAP_RUNTIME);
	p->root = p->runtime = 0;
	if (k->interrupted == process_slot(k, p))
		k->interrupted = NO_PROCESS;
	p->next = k->free_slots;
	k->free_slots = process_slot(k, p);
}

/* The parent, if it lives, has a child less and may be waiting for that; children are nobody's from now on. */
static void leave_family(struct kernel *k, struct process *p)
{
	uint32_t slot = process_slot(k, p);

	for (uint32_t i = 0; p->nchildren && i < EXPORT_PROCESSES; i++) {
		if (k->process[i].state == PROCESS_FREE || k->process[i].parent != slot)
			continue;
		k->process[i].parent = NO_PROCESS;
		p->nchildren--;
	}
	if (p->parent != NO_PROCESS) {
		struct process *parent = &k->process[p->parent];

		if (--parent->nchildren == 0 && parent->state == PROCESS_WAITING)
			schedule_ready(k, parent);
	}
}

void process_exit(struct kernel *k, struct process *p, bool killed)
{
	if (p->state != PROCESS_DONE) {
		schedule_remove(k, p);
		leave_family(k, p);
		k->counts.exits++;
		if (--k->nlive == 0)
			k->export->done = 1;
	}
	if (p->keep && !killed)
		schedule_state(k, p, PROCESS_DONE);
	else
		process_destroy(k, p);
}

/* The largest process of those that have ended but are kept, or of those that live. */
static struct process *largest(struct kernel *k, bool ended)
{
	struct process *found = NULL;

	for (uint32_t i = 0; i < EXPORT_PROCESSES; i++) {
		struct process *p = &k->process[i];

		if (p->state == PROCESS_FREE || (p->state == PROCESS_DONE) != ended)
			continue;
		if (!found || p->npages > found->npages)
			found = p;
	}
	return found;
}

/* Give up the largest of the ended processes that are kept. False: there is none. */
bool process_drop_kept(struct kernel *k)
{
	struct process *p = largest(k, true);

	if (p)
		process_exit(k, p, true);
	return p != NULL;
}

/* Its last words, for the host. */
static void tell_of(struct kernel *k, const struct process *p)
{
	struct guest_export *e = k->export;

	k->counts.oom_kills++;
	if (e->nooms < EXPORT_OOMS)
		e->oom[e->nooms] = (struct export_oom){
			.pid = p->pid,
			.phase = kernel_runtime(k, p)->program.phase,
			.npages = p->npages,
			.now_ns = hal_now(k->hal),
		};
	e->nooms++;
}

/* Make room: of the balloon, then of what ended processes left. True if the one running is there and may try again. */
bool process_oom(struct kernel *k)
{
	struct process *victim, *current = kernel_current(k);

	if (balloon_oom(k) || process_drop_kept(k))
		return true;
	victim = largest(k, false);
	guest_assert(k->hal, victim != NULL);
	tell_of(k, victim);
	process_exit(k, victim, true);
	return victim != current;
}
