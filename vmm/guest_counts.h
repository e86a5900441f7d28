/* SPDX-License-Identifier: MIT */
/* guest_counts.h - what the guest kernel counted, as counters of its VM */
#ifndef OVERBOOK_VMM_GUEST_COUNTS_H
#define OVERBOOK_VMM_GUEST_COUNTS_H

#include "mm/counters.h"
#include "workloads/guest/kernel.h"

void guest_counts(const struct kernel_counts *k, struct counters *c);

#endif
