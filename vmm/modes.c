/* SPDX-License-Identifier: MIT */
/* modes.c - the paging modes, in the order of enum paging_mode */
#include "ept/ept.h"
#include "shadow/shadow.h"
#include "vmm/sim/native.h"
#include "vmm/sim/pv.h"
#include "vmm/vmm.h"

const struct paging_ops *const paging_modes[] = {
	[MODE_NATIVE] = &native_paging_ops, [MODE_SHADOW] = &shadow_paging_ops, [MODE_EPT] = &ept_paging_ops,
	[MODE_PV] = &pv_paging_ops,	    [MODE_COUNT] = NULL,
};
