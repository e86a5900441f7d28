/* SPDX-License-Identifier: MIT */
/*
 * policy_load.h - policies by name, and those that users bring as shared objects
 */
#ifndef OVERBOOK_VMM_POLICY_LOAD_H
#define OVERBOOK_VMM_POLICY_LOAD_H

#include "vmm/policy.h"

/*
 * The policy in the shared object @path, checked; it stays loaded for the program's life. NULL, and in *why (g_free)
 * what is wrong with it: not there, not for this version, nonsense in its tables.
 */
const struct policy_ops *policy_load(const char *path, char **why);

/* What is wrong with the tables of a policy; NULL: nothing. g_free. */
char *policy_fault(const struct policy_ops *ops);

#endif
