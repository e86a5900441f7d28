/* SPDX-License-Identifier: MIT */
/*
 * fake_hal.h - a world for the guest kernel: plain memory, real bytes, a naive walk, and a suspicious TLB
 *
 * The guest's memory is one lazily backed block. Accesses of the current process walk its tables as the manual says
 * and set accessed and dirty bits; translations and tables are remembered in a TLB and a page-walk cache that only
 * the kernel's own invalidations empty (switching processes does not), and after every event each remembered one must
 * still be right. Table writes are queued as in pv until flushed; reading a queued entry, or returning with one, is
 * an error.
 */
#ifndef OVERBOOK_TESTS_FAKE_HAL_H
#define OVERBOOK_TESTS_FAKE_HAL_H

#include <glib.h>

#include "workloads/guest/internal.h"

struct fake_disk;

#define FAKE_TLB   64
#define FAKE_PWC   16
#define FAKE_QUEUE 2048

struct fake_tlb {
	uint64_t root;
	unsigned pcid;
	uint64_t va; /* of the block */
	unsigned level;
	uint64_t entry; /* 0: unused */
};

/* A page-walk cache entry: where the level-1 table of a 2 MiB block was. */
struct fake_pwc {
	uint64_t root;
	unsigned pcid;
	uint64_t block; /* va >> 21 */
	uint64_t table; /* 0: unused */
};

struct hal {
	uint8_t *mem;
	uint64_t npages;
	uint64_t now;
	struct kernel *kernel;
	struct fake_tlb tlb[FAKE_TLB];
	unsigned tlb_next;
	struct fake_pwc pwc[FAKE_PWC];
	unsigned pwc_next;
	uint64_t queued[FAKE_QUEUE]; /* entry gpas */
	unsigned nqueued;
	uint64_t interrupted; /* root of the process that the event interrupted */
	struct fake_disk *disk; /* NULL: none */
	uint64_t zeroed, copied, filled, tables_new, tables_free, invlpgs, flushes;
};

struct fake_config {
	uint64_t npages;
	uint64_t arena_end; /* 0: as kernel_arena_pages() says */
	unsigned levels;    /* 0: 4 */
	uint32_t flags;
	uint32_t nprocesses;
	uint64_t timeslice;
	struct fake_disk *disk; /* fake_disk.h; NULL: none */
	uint64_t swappiness;
};

/* A booted guest whose script has @nprocesses processes of no phases. kernel is NULL if it would not boot. */
struct hal *fake_new(const struct fake_config *cfg);
void fake_free(struct hal *h);

/* The current process loads the word at @va, stores @value there, or fetches. False: it did not survive that. */
bool fake_read(struct hal *h, uint64_t va, uint64_t *value);
bool fake_write(struct hal *h, uint64_t va, uint64_t value);
bool fake_fetch(struct hal *h, uint64_t va);

/* The processor walks ahead of the current process: the page-walk cache learns of @va's table, nothing else happens. */
void fake_speculate(struct hal *h, uint64_t va);

/* Events. */
void fake_op(struct hal *h, unsigned kind, uint64_t va, uint64_t arg);
void fake_quantum(struct hal *h);
void fake_wake(struct hal *h);
void fake_interrupt(struct hal *h);
void fake_fault(struct hal *h, uint64_t va, uint32_t error);

/* The page of @p's tables at @va as bytes, without touching anything; NULL if none is mapped. @entry gets the leaf. */
uint8_t *fake_peek(struct hal *h, const struct process *p, uint64_t va, uint64_t *entry, unsigned *level);

struct process *fake_process(struct hal *h, uint32_t pid); /* NULL: not alive */

/* What a full look at all tables found. */
struct fake_census {
	uint16_t *maps;	  /* entries that map each page */
	uint8_t *writer;  /* some of them may write */
	uint64_t *file;	  /* page of the file + 1 that they say it is */
	uint32_t *refs;	  /* of slots, entries that name them */
	bool *cached;	  /* in page cache or swap cache */
	uint64_t ntables, npages;
};

/* The page that a leaf entry stands for, in memory or on disk; NULL if it is empty. */
uint8_t *fake_leaf_bytes(struct hal *h, uint64_t entry, unsigned level, uint64_t va);

/* Check every invariant of the kernel's structures against its tables; aborts with a message. */
void fake_check(struct hal *h);

#endif
