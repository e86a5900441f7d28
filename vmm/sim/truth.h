/* SPDX-License-Identifier: MIT */
/*
 * truth.h - which pages a guest touches, exactly: what estimates of working sets are held against
 *
 * Made only if [estimate] truth = yes; a VM without it pays one test for each batch of accesses.
 */
#ifndef OVERBOOK_SIM_TRUTH_H
#define OVERBOOK_SIM_TRUTH_H

#include "vmm/sim/sim.h"

/* NULL: no address space. */
struct sim_truth *truth_new(gfn_t first, uint64_t npages);
void truth_free(struct sim_truth *t);

/* The page was touched. Those below first do not count. */
void truth_touch(struct sim_truth *t, gfn_t gfn);
/* The guest's tables may have changed: forget translations. */
void truth_forget(struct sim_truth *t);
/* Pages touched since the last call. */
uint64_t truth_take(struct sim_truth *t);

/* The process that the vCPU runs has performed these accesses. */
void truth_accesses(struct sim_vcpu *v, const struct op *ops, uint32_t n);

#endif
