/* SPDX-License-Identifier: MIT */
/* guest_counts.h - what the guest kernel counted and tells, for its VM's counters and the report */
#ifndef OVERBOOK_VMM_GUEST_COUNTS_H
#define OVERBOOK_VMM_GUEST_COUNTS_H

#include "mm/counters.h"
#include "vmm/vmm.h"
#include "workloads/guest/kernel.h"

void guest_counts(const struct kernel_counts *k, struct counters *c);

/*
 * Which processes the guest killed for lack of memory, for the report; NULL: none. @export is the guest's word, and not
 * believed. g_free.
 */
char *guest_killed(const struct run *r, const struct conf_vm *vm, const struct guest_export *export);

#endif
