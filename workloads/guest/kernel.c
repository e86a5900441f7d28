/* SPDX-License-Identifier: MIT */
/*
 * kernel.c - the guest kernel's events
 *
 * Each function deals with one event of the process that kernel_current() names and returns; what it changed in
 * tables is flushed and invalidated by then. Running out of memory on the way ends the largest process and tries
 * again, until the event is dealt with or its process was the one to go.
 *
 * What a process does wrong ends that process: a fault outside its mappings or against their protection (counted), a
 * system call with addresses that no process may have.
 *
 * The balloon driver (balloon/driver.c) works from the same events: it takes pages by page_alloc() and returns them by
 * page_put(). What is to come hangs in here: page cache and guest swap resolve faults in fault.c by the mapping they
 * find, reclaim takes pages as the balloon does.
 */
#include <stddef.h>

#include "workloads/guest/balloon.h"
#include "workloads/guest/block.h"
#include "workloads/guest/internal.h"

uint64_t kernel_root(const struct kernel *k)
{
	return k->root;
}

struct process *kernel_current(struct kernel *k)
{
	return k->current == NO_PROCESS ? NULL : &k->process[k->current];
}

struct runtime *kernel_runtime(struct kernel *k, const struct process *p)
{
	return hal_arena(k->hal, p->runtime);
}

uint64_t kernel_wake_time(const struct kernel *k)
{
	uint64_t process = k->sleeping == NO_PROCESS ? UINT64_MAX : k->process[k->sleeping].wake_ns;
	uint64_t balloon = balloon_wake_time(k);

	return process < balloon ? process : balloon;
}

bool kernel_done(const struct kernel *k)
{
	return k->nlive == 0;
}

const struct kernel_counts *kernel_counts(const struct kernel *k)
{
	return &k->counts;
}

static void end_current(struct kernel *k, struct process *p, bool killed)
{
	process_exit(k, p, killed);
	schedule_pick(k);
}

void kernel_page_fault(struct kernel *k, uint64_t cr2, uint32_t error)
{
	struct process *p = kernel_current(k);
	unsigned want = error & PF_W ? PROT_W : error & PF_I ? PROT_X : PROT_R;
	enum fault_kind kind;
	enum result r;

	guest_assert(k->hal, p != NULL);
	k->counts.faults++;
	do
		r = error & PF_RSVD ? BAD_ADDRESS : fault_resolve(k, p, cr2, want, &kind);
	while (r == NO_MEMORY && process_oom(k));

	if (r == BAD_ADDRESS) {
		k->counts.faults_segv++;
		end_current(k, p, true);
	} else if (r == NO_MEMORY) {
		schedule_pick(k);
	} else if (kind == FAULT_DEMAND) {
		k->counts.faults_demand++;
	} else if (kind == FAULT_COW) {
		k->counts.faults_cow++;
	} else {
		k->counts.faults_spurious++;
	}
}

static enum result memory_call(struct kernel *k, struct process *p, const struct op *op)
{
	uint64_t va = OP_VA(op), npages = OP_MAP_PAGES(op->arg);
	unsigned prot = OP_MAP_PROT(op->arg) & (PROT_R | PROT_W | PROT_X), level = OP_MAP_LEVEL(op->arg);

	switch (OP_KIND(op)) {
	case OP_MMAP:
		return vma_map(k, p, va, npages, prot, level < 1 ? 1 : level > 3 ? 3 : level);
	case OP_MUNMAP:
		return vma_unmap(k, p, va, npages);
	case OP_MPROTECT:
		return vma_protect(k, p, va, npages, prot);
	default:
		return fault_fill(k, p, va, op->arg);
	}
}

static void system_call_memory(struct kernel *k, struct process *p, const struct op *op)
{
	enum result r;

	do
		r = memory_call(k, p, op);
	while (r == NO_MEMORY && process_oom(k));

	if (r == BAD_ADDRESS) {
		end_current(k, p, true);
		return;
	}
	if (r == NO_MEMORY) {
		schedule_pick(k);
		return;
	}
	k->counts.mmaps += OP_KIND(op) == OP_MMAP;
	k->counts.munmaps += OP_KIND(op) == OP_MUNMAP;
	k->counts.mprotects += OP_KIND(op) == OP_MPROTECT;
}

void kernel_syscall(struct kernel *k, const struct op *op)
{
	struct process *p = kernel_current(k);

	guest_assert(k->hal, p != NULL);
	switch (OP_KIND(op)) {
	case OP_MMAP:
	case OP_MUNMAP:
	case OP_MPROTECT:
	case OP_FILL:
		system_call_memory(k, p, op);
		break;
	case OP_FORK:
		process_fork(k, p, (uint32_t)op->arg);
		break;
	case OP_WAIT:
		schedule_wait(k, p);
		break;
	case OP_YIELD:
		schedule_yield(k);
		break;
	case OP_SLEEP:
		schedule_sleep(k, p, op->arg);
		break;
	default: /* OP_EXIT, and what is no system call */
		end_current(k, p, false);
		break;
	}
}

void kernel_quantum(struct kernel *k)
{
	struct process *p = kernel_current(k);

	balloon_tick(k);
	if (p && ++p->quanta >= k->info->timeslice)
		schedule_yield(k);
	else
		schedule_pick(k);
}

void kernel_wake(struct kernel *k)
{
	balloon_tick(k);
	schedule_pick(k);
}

void kernel_interrupt(struct kernel *k)
{
	block_interrupt(k);
	balloon_interrupt(k);
	schedule_pick(k);
}

/* Nobody in this kernel reads or writes the disk. */
void block_done(struct kernel *k, uint64_t cookie, bool ok)
{
	(void)cookie, (void)ok;
	guest_assert(k->hal, false);
}
