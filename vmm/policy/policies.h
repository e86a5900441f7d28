/* SPDX-License-Identifier: MIT */
/* policies.h - the policies that come with overbook: one file each in vmm/policy/ */
#ifndef OVERBOOK_POLICY_POLICIES_H
#define OVERBOOK_POLICY_POLICIES_H

#include "vmm/policy.h"

extern const struct policy_ops policy_none, policy_static, policy_swap_only, policy_proportional, policy_esx,
	policy_esx_minfree, policy_mom, policy_psi, policy_refault;

/* NULL-ended; in the order of `[policy] name`. */
extern const struct policy_ops *const policies[];

#endif
