/* SPDX-License-Identifier: MIT */
/* policy.h - the simulated machine's part in a policy's work */
#ifndef OVERBOOK_SIM_POLICY_H
#define OVERBOOK_SIM_POLICY_H

#include "vmm/sim/sim.h"

/* As [policy] says; nothing if there is none. */
int sim_policy_init(struct sim *s, GError **error);
/* Decide, if it is time. */
void sim_policy_tick(struct sim *s);

#endif
