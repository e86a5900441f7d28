/* SPDX-License-Identifier: MIT */
/* backends.c - the machines there are, by the index that conf_experiment.machine holds */
#include "vmm/vmm.h"

const struct backend *const backends[] = { &backend_sim, &backend_kvm, NULL };
