/* SPDX-License-Identifier: MIT */
/*
 * pager.h - a process that swaps its own memory: a region whose pages are compressed when frames run out
 *
 * What a guest's faults cost on the real machine is KVM's exits and the memory manager's decisions as well; this is the
 * fault alone, beside the kernel's own swap to zram. It serves the benches, which is why it is here and not in vmm/.
 * See pager.c.
 */
#ifndef OVERBOOK_TESTS_PAGER_H
#define OVERBOOK_TESTS_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pager;

enum pager_way {
	PAGER_SIGNAL, /* the thread that faulted gets SIGBUS and serves itself. One pager at a time. */
	PAGER_THREAD, /* another thread serves it */
};

struct pager_config {
	size_t npages, nframes; /* of the region; of them at most so many in memory at once */
	size_t ahead;		/* frames to be kept free */
	enum pager_way way;
};

struct pager_stats {
	uint64_t faults, loads; /* of these from the tier */
	uint64_t evictions;
	uint64_t waits;	 /* faults that found no frame and evicted themselves */
	uint64_t caught; /* faults on a page that was just going */
	uint64_t bytes, stored; /* in the tier now: bytes, pages */
};

/* NULL and errno: ENOSYS the kernel lacks userfaultfd or UFFDIO_MOVE (Linux 6.8), EPERM. */
struct pager *pager_new(const struct pager_config *cfg);
void pager_free(struct pager *p);
uint8_t *pager_memory(const struct pager *p);
/* Evict all pages, now. */
void pager_evict_all(struct pager *p);
void pager_stats(struct pager *p, struct pager_stats *out);

#endif
