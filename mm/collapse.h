/* SPDX-License-Identifier: MIT */
/*
 * collapse.h - makes a VM's small pages large again, a few blocks at a time, as khugepaged does
 *
 * Whoever keeps house for a machine calls collapse_scan() from time to time, while no vCPU runs. It goes round the VM's
 * 2 MiB blocks and collapses those whose pages are of the right kinds (mm/gmem.h: gmem_collapse_within). A block in
 * which nothing was touched since test_clear_young() asked is left as it is.
 */
#ifndef OVERBOOK_MM_COLLAPSE_H
#define OVERBOOK_MM_COLLAPSE_H

#include "mm/gmem.h"

struct collapser {
	struct gmem *gmem;
	struct collapse_limits limits;
	uint64_t nblocks; /* to look at each time */
	gfn_t at;	  /* where the next look begins */
};

/* Look at the next blocks; how many became large. */
uint64_t collapse_scan(struct collapser *c);

#endif
