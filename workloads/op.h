/* SPDX-License-Identifier: MIT */
/*
 * op.h - the operations a process performs, as its program emits them
 *
 * A program's next() fills an array of these; the world it runs in executes them: the simulated CPU, or, in a
 * real guest, a loop at CPL 3 that does the loads and stores. One item is one operation for the schedule
 * (a lockstep quantum is 1,000 of them). 16 bytes, because the simulator reads one every few nanoseconds.
 */
#ifndef OVERBOOK_WORKLOADS_OP_H
#define OVERBOOK_WORKLOADS_OP_H

#include <stdint.h>

enum op_kind {
	OP_READ = 0,  /* load 8 bytes at va; arg: 0, or OP_READ_ONLY from a generator (no meaning to who executes it) */
	OP_WRITE = 1, /* load at va, then store arg into word 0 of va's page */
	OP_EXEC = 2,  /* fetch at va */
	/* From here on: system calls. */
	OP_MMAP = 3,	 /* map anonymous zero memory at va (page aligned); arg: OP_MAP() */
	OP_MUNMAP = 4,	 /* arg: OP_MAP() (only its page count counts) */
	OP_MPROTECT = 5, /* arg: OP_MAP() */
	OP_FORK = 6,	 /* child: copy-on-write copy of the caller, its program started at phase arg */
	OP_EXIT = 7,	 /* leave; memory is freed */
	OP_WAIT = 8,	 /* sleep until no child is alive */
	OP_YIELD = 9,	 /* let another process run */
	OP_SLEEP = 10,	 /* think time: sleep for arg nanoseconds */
	OP_FILL = 11,	 /* give va's page the pattern base arg, keeping word 0 (a page-content writer) */
	OP_MMAP_FILE = 12, /* map a part of the disk's file range, shared, at va; arg: OP_MAP_FILE() */
	OP_KINDS,
};

/* va in bits 56:0 (a canonical user address even with 5 levels), kind in bits 63:57. */
struct op {
	uint64_t va_kind;
	uint64_t arg;
};

#define OP_VA_MASK	 ((1ull << 57) - 1)
#define OP_MAKE(k, va)	 (((uint64_t)(k) << 57) | (va))
#define OP_VA(op)	 ((op)->va_kind & OP_VA_MASK)
#define OP_KIND(op)	 ((unsigned)((op)->va_kind >> 57))
#define OP_IS_ACCESS(op) (OP_KIND(op) <= OP_EXEC)

/* arg of an OP_READ that a program may not turn into a write. */
#define OP_READ_ONLY 1u

/* Arguments of the mapping calls: pages (4 KiB ones) in bits 39:0, protection, leaf level of the mapping. */
#define PROT_R 1u
#define PROT_W 2u
#define PROT_X 4u
#define OP_MAP(npages, prot, level) ((uint64_t)(npages) | ((uint64_t)(prot) << 40) | ((uint64_t)(level) << 48))
#define OP_MAP_PAGES(arg) ((arg) & ((1ull << 40) - 1))
#define OP_MAP_PROT(arg)  ((unsigned)((arg) >> 40) & 0xff)
#define OP_MAP_LEVEL(arg) ((unsigned)((arg) >> 48) & 0xff)

/* Of OP_MMAP_FILE: pages in bits 29:0, protection in 32:30, first page of the file range in 63:33. */
#define OP_MAP_FILE(npages, prot, offset) ((uint64_t)(npages) | ((uint64_t)(prot) << 30) | ((uint64_t)(offset) << 33))
#define OP_FILE_PAGES(arg)  ((arg) & ((1ull << 30) - 1))
#define OP_FILE_PROT(arg)   ((unsigned)((arg) >> 30) & 7)
#define OP_FILE_OFFSET(arg) ((arg) >> 33)

#endif
