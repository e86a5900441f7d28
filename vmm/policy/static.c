/* SPDX-License-Identifier: MIT */
/*
 * static.c - every guest is held at a part of its [vm] max, whatever happens
 *
 * What an administrator does who sets balloons by hand. Invariant (tests/unit/test_policy.c): the plan depends on
 * nothing but sizes and balloons.
 */
#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { PART };

static const struct policy_key keys[] = {
	{ "part", POLICY_SHARE, 1000000, 1, 1000000, "Of its [vm] max, what each guest may have." },
	{ .name = NULL },
};

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	(void)state;
	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];
		struct policy_rule *r = &plan->vm[i].rule;

		if (!vm->running)
			continue;
		policy_because(r, "held-at-max");
		policy_input(r, "part", view->constant[PART]);
		policy_input(r, "max", vm->max);
		policy_input(r, "memory", vm->memory);
		divide_ask(vm, max64(divide_part(vm->max, view->constant[PART]), max64(vm->min, vm->pinned)),
			   &plan->vm[i]);
	}
}

static const struct policy_sentence rules[] = {
	{ "held-at-max", "{vm} has {memory:pages} and may have {part:ppm} of {max:pages}, always" },
	{ NULL, NULL },
};

const struct policy_ops policy_static = {
	.abi = POLICY_ABI,
	.name = "static",
	.summary = "Holds every guest at a part of its [vm] max, by its balloon, or by swap if it has none.",
	.keys = keys,
	.rules = rules,
	.decide = decide,
};
