/* SPDX-License-Identifier: MIT */
/*
 * kernel.h - the guest kernel, as its world calls it
 *
 * The kernel is event-driven and never blocks: each function deals with one event and returns; afterwards the world
 * looks at kernel_current() and resumes that process in its root, or idles if there is none. All state lives in the
 * arena behind the pointer that kernel_boot() returns; several kernels may live in one address space (the simulator).
 *
 * Freestanding: hal.h, op.h, workload.h and <stdint.h> are all it may include.
 */
#ifndef OVERBOOK_GUEST_KERNEL_H
#define OVERBOOK_GUEST_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/guest/abi.h"
#include "workloads/guest/hal.h"
#include "workloads/op.h"
#include "workloads/workload.h"

#define RUNTIME_OPS 232

/*
 * A process's user-mode state, in a page of its own that is mapped at RUNTIME_VA: the program and the
 * operations it has emitted but not yet performed. Written at CPL 3.
 */
struct runtime {
	struct program program;
	uint32_t pos, n; /* operations [pos, n) of ops[] are still to be performed */
	struct op ops[RUNTIME_OPS];
};

_Static_assert(sizeof(struct runtime) <= PAGE_SIZE, "a run-time is one page");

/* Counts the kernel keeps; the same on every machine. Order as in mm/counters.def. */
struct kernel_counts {
	uint64_t faults, faults_demand, faults_cow, faults_segv, faults_spurious;
	uint64_t forks, exits, switches, mmaps, munmaps, mprotects, pte_writes, oom_kills, pages_free;
	uint64_t balloon_oom_deflates, poison_errors;
	/* Of a guest with a disk (memory.h) */
	uint64_t faults_minor, faults_major, swap_ins, swap_outs, file_reads, writebacks;
	uint64_t refaults_anon, refaults_file, activates_anon, activates_file;
	uint64_t scanned, stolen, direct_stalls, io_errors;
	uint64_t io_wait_ns, stall_some_ns, stall_full_ns;
	uint64_t pages_list[4]; /* by enum lru_list */
	uint64_t pages_cache, pages_swapped;
};

#define NO_PROCESS UINT32_MAX

struct process {
	uint32_t pid;
	uint32_t state;	    /* enum process_state */
	uint64_t root;	    /* gpa of the top table */
	uint32_t pcid;	    /* 0 when PCIDs are off */
	uint32_t nchildren; /* alive */
	uint32_t parent;    /* slot, or NO_PROCESS */
	uint32_t next;	    /* slot of the next in the queue it is in: ready, sleeping or free */
	uint64_t wake_ns;
	uint64_t runtime;   /* gpa of its struct runtime */
	uint64_t vmas;	    /* gpa of the first of its mappings, in order of address; 0: none */
	uint64_t hint;	    /* gpa of the mapping found last, or 0 */
	uint64_t npages;    /* 4 KiB pages that its tables map */
	uint64_t quanta;    /* of its present turn */
	bool keep;	    /* its memory stays when it ends: started at boot with BOOT_KEEP */
	bool stalled;	    /* blocked for lack of memory, not only for the disk */
	bool retry;	    /* what it was about has to be begun anew when it runs again: */
	bool major;	    /* a fault that has been counted */
	uint32_t error;	    /* its error code; or */
	struct op call;	    /* the system call; of a fault, the address */
	uint32_t family;    /* pid of the process that it descends from: only relatives share anonymous pages */
	uint64_t wait_gfn;  /* blocked: for this page; 0: for any completion */
	uint64_t blocked_ns; /* since then */
};

struct kernel; /* in the arena */

/*
 * Pages of the arena that suits a guest of @npages whose script starts @nprocesses: the fixed part below HEAP_MIN_GPA,
 * metadata, tables that map all of its memory once and a quarter, and room for more processes. A multiple of 512.
 * Too small an arena costs the guest processes (out of memory), never its life.
 */
uint64_t kernel_arena_pages(uint64_t npages, uint32_t nprocesses);

/*
 * For the VMM, which has set npages, levels, flags, quantum, timeslice and, if it wants an arena of its own size,
 * arena_end: fill in all else. Both machines lay out their guests with this.
 */
void boot_info_layout(struct boot_info *b, uint32_t nprocesses);

/*
 * Boot: read boot_info, make the kernel's root and its direct map, set up allocators, start the script's
 * processes. NULL when the arena is too small for that.
 */
struct kernel *kernel_boot(struct hal *h);

/* The root of the kernel's own address space; on entry to the kernel the world switches to it. */
uint64_t kernel_root(const struct kernel *k);

/* The process to resume, or NULL: idle until kernel_wake_time(), or for ever when kernel_done(). */
struct process *kernel_current(struct kernel *k);
struct runtime *kernel_runtime(struct kernel *k, const struct process *p);
uint64_t kernel_wake_time(const struct kernel *k);
bool kernel_done(const struct kernel *k);

/* Events. A #PF of the current process (CR2, error code); a system call; the end of a quantum; time has passed. */
void kernel_page_fault(struct kernel *k, uint64_t cr2, uint32_t error);
void kernel_syscall(struct kernel *k, const struct op *op);
void kernel_quantum(struct kernel *k);
void kernel_wake(struct kernel *k);
/* Devices raised their interrupts: each has a line of its own. */
#define IRQ_DISK    (1u << 0)
#define IRQ_BALLOON (1u << 1)
void kernel_interrupt(struct kernel *k, unsigned lines);

/* For the VMM, which would not know in a real host: is nothing of the guest's in this page above the arena? */
bool kernel_page_free(const struct kernel *k, uint64_t gfn);
/* The same of a real guest, whose arena is at @arena as @boot laid it out; nothing in it is believed. */
bool kernel_arena_page_free(const void *arena, const struct boot_info *boot, uint64_t gfn);

const struct kernel_counts *kernel_counts(const struct kernel *k);

#endif
