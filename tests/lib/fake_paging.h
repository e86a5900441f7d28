/* SPDX-License-Identifier: MIT */
/*
 * fake_paging.h - a paging mode for tests: a flat array of what each guest page is mapped to
 *
 * fake_paging_access() is a vCPU's access: it uses the mapping if there is one that allows it, sets its accessed and
 * dirty marks, and otherwise asks gmem as any mode does. Every hook asserts what gmem promises: frames do not change
 * while they are mapped, and mappings never give more than gmem_lookup() allows.
 */
#ifndef OVERBOOK_TESTS_FAKE_PAGING_H
#define OVERBOOK_TESTS_FAKE_PAGING_H

#include "mm/gmem.h"
#include "mm/paging.h"

struct fake_mapping {
	hfn_t hfn;
	unsigned access; /* 0: not mapped */
	bool accessed, dirty;
};

struct fake_paging {
	struct paging base;
	struct gmem *gmem;
	uint64_t npages;
	struct fake_mapping *map;
	bool pml; /* log_dirty() takes over, and access marks pages */
	uint64_t unmaps, wrprotects, maps, collapses, youngs, log_dirties; /* calls */
};

/* Also makes itself the VM's paging mode. */
struct fake_paging *fake_paging_new(struct gmem *g);
void fake_paging_free(struct fake_paging *p);

/* One access of a vCPU; 0 or gmem's error. Through @faulted: whether gmem was asked. */
int fake_paging_access(struct fake_paging *p, gfn_t gfn, unsigned access, bool *faulted);

/* Assert that every mapping agrees with gmem. */
void fake_paging_check(const struct fake_paging *p);

#endif
