/* SPDX-License-Identifier: MIT */
/*
 * driver.h - the balloon driver's own structures; for driver.c, driver_free.c and their tests only
 *
 * Everything lies in the arena, in pages of the kernel's heap.
 */
#ifndef OVERBOOK_BALLOON_DRIVER_H
#define OVERBOOK_BALLOON_DRIVER_H

#include "workloads/guest/internal.h"
#include "workloads/guest/virtio.h"
#include "workloads/rng.h"

/* A queue is one page: descriptors, rings, and the one buffer that is ever under way. */
#define BALLOON_QUEUE_SIZE 64u
#define BALLOON_AVAIL	   1024u
#define BALLOON_USED	   2048u
#define BALLOON_BUFFER	   3072u
#define BALLOON_PFNS	   256u /* page numbers in a buffer, as Linux sends them */

_Static_assert(BALLOON_BUFFER + BALLOON_PFNS * 4 == PAGE_SIZE, "a queue is one page");

/* Pages in the balloon, on a stack of pages of this form. */
#define BALLOON_CHUNK 1022u
struct balloon_chunk {
	uint64_t below; /* gpa of the chunk below, 0: none */
	uint32_t gfn[BALLOON_CHUNK];
};

_Static_assert(sizeof(struct balloon_chunk) == PAGE_SIZE, "a chunk is one page");

/* A look at all free memory, a part at a time. */
struct balloon_scan {
	uint64_t gfn;	  /* where it goes on; 0: there is none */
	uint64_t next_ns; /* when */
};

#define BALLOON_HEAP_RESERVE 32u /* heap pages that the balloon leaves to page tables */

/* Most blocks of free pages in one request, as Linux sends them. */
#define BALLOON_FREE_BATCH 32u

struct balloon_driver {
	uint64_t features;
	uint64_t queue[BALLOON_QUEUES]; /* gpas */
	uint16_t sent[BALLOON_QUEUES];	/* avail.idx of each */
	uint64_t chunk;			/* gpa of the top one, 0: the balloon is empty */
	uint32_t nchunk;		/* pages in it */
	uint32_t npages, target;	/* in the balloon; wanted by the host */
	uint64_t next_ns;		/* when there may be more work */
	struct balloon_scan report, hint;
	uint64_t report_at;		/* when free pages are to be reported; 0: nothing was freed since */
	uint32_t hint_id;		/* of the hints that the host wants now; 0: none */
	uint64_t known;			/* gpa of a bitmap of blocks that were reported and not used since; 0: none */
	bool running;			/* the device is set up */
	bool pending;			/* there is work for next_ns */
	bool held;			/* gave pages back for lack of memory: no more until the host asks anew */
	struct rng rng;			/* a hostile driver's whims */
};

/* driver.c, for driver_free.c */
void balloon_put32(struct kernel *k, uint32_t reg, uint32_t value);
uint32_t balloon_get32(struct kernel *k, uint32_t reg);
void *balloon_queue_at(struct kernel *k, unsigned queue, uint64_t offset);
void balloon_notify(struct kernel *k, unsigned queue);
/* So many more heads, all 0, are available. */
void balloon_make_available(struct kernel *k, unsigned queue, uint16_t by);
/* Send @len bytes of the queue's buffer. */
void balloon_send(struct kernel *k, unsigned queue, uint32_t len);
/* Has the device given back all that was sent? */
bool balloon_served(struct kernel *k, unsigned queue);

/* driver_free.c: pages that are free, reported and hinted */

/* The device is set up: from the beginning. */
void balloon_free_start(struct kernel *k);
/* Config space changed: does the host want hints, or no more? */
void balloon_free_config(struct kernel *k);
/* Report and hint what is due, up to @rate pages of each. */
void balloon_free_tick(struct kernel *k, uint64_t rate);
uint64_t balloon_free_wake(const struct kernel *k);
/* For a hostile driver: one lie about free pages. */
void balloon_free_lie(struct kernel *k);

#endif
