/* SPDX-License-Identifier: MIT */
/*
 * driver.h - the balloon driver's own structures; for driver.c and its tests only
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

struct balloon_driver {
	uint64_t features;
	uint64_t queue[BALLOON_QUEUES]; /* gpas */
	uint16_t sent[BALLOON_QUEUES];	/* avail.idx of each */
	uint64_t chunk;			/* gpa of the top one, 0: the balloon is empty */
	uint32_t nchunk;		/* pages in it */
	uint32_t npages, target;	/* in the balloon; wanted by the host */
	uint64_t next_ns;		/* when there may be more work */
	bool running;			/* the device is set up */
	bool pending;			/* there is work for next_ns */
	bool held;			/* gave pages back for lack of memory: no more until the host asks anew */
	struct rng rng;			/* a hostile driver's whims */
};

#endif
