/* SPDX-License-Identifier: MIT */
/*
 * swap_only.c - proportional shares, enforced by the host's swap alone
 *
 * What a host can do without its guests' help: each may have its share of the memory, and what it has beyond goes to
 * swap, chosen by a host that knows nothing of what the guest's pages are for. No tax, no balloon.
 */
#include <stdlib.h>

#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { RESERVE };

static const struct policy_key keys[] = {
	{ "reserve", POLICY_SHARE, 60000, 0, 500000, "Of the host's memory, kept free." },
	{ .name = NULL },
};

static void *create(uint32_t nvms)
{
	return calloc(nvms + 1, sizeof(struct claim));
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	uint64_t reserve = divide_part(view->host.frames, view->constant[RESERVE]);
	struct claim *claim = state;
	bool scarce = divide_host(view, 0, reserve, claim);

	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];
		struct policy_rule *r = &plan->vm[i].rule;

		if (!vm->running && !vm->resident)
			continue;
		policy_because(r, scarce ? "share" : "enough-for-all");
		policy_input(r, "shares", vm->shares);
		policy_input(r, "resident", vm->resident);
		policy_input(r, "wanted", claim[i].max);
		policy_input(r, "free", view->host.free);
		plan->vm[i].limit = scarce && claim[i].grant < vm->memory ? claim[i].grant : POLICY_NO_LIMIT;
	}
}

static const struct policy_sentence rules[] = {
	{ "share", "guests want more than there is; for its {shares} shares {vm}, which wants {wanted:pages} and has "
		   "{resident:pages}, gets a part" },
	{ "enough-for-all", "all guests together want no more than the host has ({free:pages} are free)" },
	{ NULL, NULL },
};

const struct policy_ops policy_swap_only = {
	.abi = POLICY_ABI,
	.name = "swap-only",
	.summary = "Proportional shares, enforced by the host's swap alone.",
	.keys = keys,
	.rules = rules,
	.create = create,
	.destroy = free,
	.decide = decide,
};
