/* SPDX-License-Identifier: MIT */
/*
 * native.h - paging mode native: a linear guest whose own tables the processor walks
 *
 * The processor starts at CR3 and adds a bias to every address (mmu_context.bias); hw_root yields the sum for the root.
 */
#ifndef OVERBOOK_SIM_NATIVE_H
#define OVERBOOK_SIM_NATIVE_H

#include "mm/paging.h"

extern const struct paging_ops native_paging_ops;

/* Host address of guest-physical 0. */
hpa_t native_bias(const struct paging *p);

#endif
