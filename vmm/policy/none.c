/* SPDX-License-Identifier: MIT */
/*
 * none.c - nobody is asked for anything
 *
 * The base line: guests take what they touch until the host is full; then the host's swap decides page by page, or a
 * guest fails if there is none.
 */
#include "vmm/policy/policies.h"

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	(void)state;
	(void)view;
	(void)plan;
}

const struct policy_ops policy_none = {
	.abi = POLICY_ABI,
	.name = "none",
	.summary = "Asks nobody for anything: the host's swap takes what it needs, from any guest.",
	.decide = decide,
};
