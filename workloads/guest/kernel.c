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
 * page_put(). With a disk, every event begins with a batch of reclaim if memory is low (reclaim.c), and a process may
 * have to wait for the disk in what it was about (io.c): that is begun anew, within the kernel, when it is to run
 * again.
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

bool kernel_page_free(const struct kernel *k, uint64_t gfn)
{
	return alloc_page_free(&k->alloc, gfn);
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

/* Every event begins with this... */
static void enter(struct kernel *k)
{
	k->interrupted = k->current;
	k->mem.urgent = k->mem.short_of_pages = false;
	if (!k->mem.page)
		return;
	io_account(k);
	reclaim_background(k);
}

/* Memory was wanted and not there. DONE: try again; WAIT; NO_MEMORY: who wanted it is no more. */
static enum result make_room(struct kernel *k)
{
	if (k->mem.short_of_pages) {
		enum result r = k->mem.page ? reclaim_room(k) : NO_MEMORY;

		if (r != NO_MEMORY)
			return r;
	}
	return process_oom(k) ? DONE : NO_MEMORY;
}

static void count_fault(struct kernel *k, struct process *p, enum fault_kind kind)
{
	struct kernel_counts *c = &k->counts;
	uint64_t *const count[] = {
		[FAULT_DEMAND] = &c->faults_demand,	[FAULT_COW] = &c->faults_cow,
		[FAULT_SPURIOUS] = &c->faults_spurious, [FAULT_MINOR] = &c->faults_minor,
		[FAULT_MAJOR] = &c->faults_major,
	};

	if (!p->major)
		(*count[kind])++;
	p->major = kind == FAULT_MAJOR; /* and will not count as something else when it is dealt with */
}

/* It is begun anew when what it waits for has come. */
static void wait_with(struct kernel *k, struct process *p, struct op op, uint32_t error, enum fault_kind kind)
{
	p->call = op;
	p->error = error;
	p->retry = true;
	if (kind == FAULT_MAJOR)
		count_fault(k, p, kind);
	io_block(k, p);
}

static void deal_with_fault(struct kernel *k, struct process *p, uint64_t va, uint32_t error)
{
	unsigned want = error & PF_W ? PROT_W : error & PF_I ? PROT_X : PROT_R;
	enum fault_kind kind = FAULT_SPURIOUS;
	enum result r;

	do {
		r = error & PF_RSVD ? BAD_ADDRESS : fault_resolve(k, p, va, want, &kind);
	} while (r == NO_MEMORY && !(r = make_room(k)));

	switch (r) {
	case DONE:
		count_fault(k, p, kind);
		p->major = false;
		break;
	case WAIT:
		wait_with(k, p, (struct op){ OP_MAKE(OP_READ, va), 0 }, error, kind);
		break;
	case BAD_ADDRESS:
		k->counts.faults_segv++;
		end_current(k, p, true);
		break;
	case NO_MEMORY:
		schedule_pick(k);
		break;
	}
}

static enum result memory_call(struct kernel *k, struct process *p, const struct op *op, enum fault_kind *kind)
{
	uint64_t va = OP_VA(op), npages = OP_MAP_PAGES(op->arg);
	unsigned prot = OP_MAP_PROT(op->arg) & (PROT_R | PROT_W | PROT_X), level = OP_MAP_LEVEL(op->arg);

	switch (OP_KIND(op)) {
	case OP_MMAP:
		return vma_map(k, p, va, npages, prot, level < 1 ? 1 : level > 3 ? 3 : level);
	case OP_MMAP_FILE:
		return vma_map_file(k, p, va, OP_FILE_PAGES(op->arg), OP_FILE_PROT(op->arg), OP_FILE_OFFSET(op->arg));
	case OP_MUNMAP:
		return vma_unmap(k, p, va, npages);
	case OP_MPROTECT:
		return vma_protect(k, p, va, npages, prot);
	default:
		return fault_fill(k, p, va, op->arg, kind);
	}
}

static void system_call_memory(struct kernel *k, struct process *p, const struct op *op)
{
	enum fault_kind kind = FAULT_SPURIOUS;
	enum result r;

	do {
		r = memory_call(k, p, op, &kind);
	} while (r == NO_MEMORY && !(r = make_room(k)));

	if (r == WAIT) {
		wait_with(k, p, *op, 0, kind);
		return;
	}
	if (r == BAD_ADDRESS) {
		end_current(k, p, true);
		return;
	}
	if (r == NO_MEMORY) {
		schedule_pick(k);
		return;
	}
	if (kind == FAULT_MINOR)
		count_fault(k, p, kind);
	p->major = false;
	k->counts.mmaps += OP_KIND(op) == OP_MMAP || OP_KIND(op) == OP_MMAP_FILE;
	k->counts.munmaps += OP_KIND(op) == OP_MUNMAP;
	k->counts.mprotects += OP_KIND(op) == OP_MPROTECT;
}

/* ...and ends with this: who is to run may have to begin anew what it waited in. */
static void leave(struct kernel *k)
{
	struct process *p;

	while ((p = kernel_current(k)) && p->retry) {
		struct op op = p->call;

		p->retry = false;
		if (OP_KIND(&op) == OP_READ)
			deal_with_fault(k, p, OP_VA(&op), p->error);
		else
			system_call_memory(k, p, &op);
	}
}

void kernel_page_fault(struct kernel *k, uint64_t cr2, uint32_t error)
{
	struct process *p = kernel_current(k);

	guest_assert(k->hal, p != NULL);
	enter(k);
	k->counts.faults++;
	deal_with_fault(k, p, cr2, error);
	leave(k);
}

void kernel_syscall(struct kernel *k, const struct op *op)
{
	struct process *p = kernel_current(k);

	guest_assert(k->hal, p != NULL);
	enter(k);
	switch (OP_KIND(op)) {
	case OP_MMAP:
	case OP_MMAP_FILE:
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
	leave(k);
}

void kernel_quantum(struct kernel *k)
{
	struct process *p = kernel_current(k);

	enter(k);
	balloon_tick(k);
	if (p && ++p->quanta >= k->info->timeslice)
		schedule_yield(k);
	else
		schedule_pick(k);
	leave(k);
}

void kernel_wake(struct kernel *k)
{
	enter(k);
	balloon_tick(k);
	schedule_pick(k);
	leave(k);
}

void kernel_interrupt(struct kernel *k, unsigned lines)
{
	enter(k);
	if (lines & IRQ_DISK)
		block_interrupt(k);
	if (lines & IRQ_BALLOON)
		balloon_interrupt(k);
	schedule_pick(k);
	leave(k);
}
