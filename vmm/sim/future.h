/* SPDX-License-Identifier: MIT */
/*
 * future.h - what the optimum as victim policy of swapping needs to know: every use of every page
 *
 * [swap] policy = opt runs the experiment twice, first with fifo. All of this does nothing if sim->future is NULL.
 */
#ifndef OVERBOOK_SIM_FUTURE_H
#define OVERBOOK_SIM_FUTURE_H

#include "mm/swap_future.h"
#include "vmm/sim/sim.h"

/* The experiment as it is to be run by itself, without keeping anything of it, to learn its future. */
typedef gboolean (*future_run_fn)(struct run *r, struct swap_future *f, GError **error);
/* Has the experiment a policy that needs it? If so, run it once with @run. FALSE: that failed. */
gboolean sim_future_learn(struct run *r, future_run_fn run, struct swap_future **f, GError **error);

/* The page is used, by a guest's kernel or a device. */
void sim_future_use(struct sim *s, unsigned vm, gfn_t gfn);
/* A process' access to @va has been completed. */
void sim_future_access(struct sim_vcpu *v, gva_t va);

#endif
