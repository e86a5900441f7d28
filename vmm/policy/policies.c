/* SPDX-License-Identifier: MIT */
/* policies.c - the list of policies */
#include "vmm/policy/policies.h"

const struct policy_ops *const policies[] = {
	&policy_none,	     &policy_static, &policy_swap_only, &policy_proportional, &policy_esx,
	&policy_esx_minfree, &policy_mom,    &policy_psi,	&policy_refault,      NULL,
};
