/* SPDX-License-Identifier: MIT */
/*
 * native.h - paging mode native: a linear guest whose own tables the processor walks
 *
 * hw_root yields the host address of the guest's root, mmu_context.bias already added; the machine takes the bias itself
 * from gmem_lookup(gmem, 0).
 */
#ifndef OVERBOOK_SIM_NATIVE_H
#define OVERBOOK_SIM_NATIVE_H

#include "mm/paging.h"

extern const struct paging_ops native_paging_ops;

#endif
