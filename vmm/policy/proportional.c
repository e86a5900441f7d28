/* SPDX-License-Identifier: MIT */
/*
 * proportional.c - proportional shares with a tax on idle memory
 *
 * Memory is divided as divide.c says, whenever guests want more than there is: balloons where guests have them, swap
 * for the rest. With a tax of 0 it is plain proportional sharing; at 75%, ESX's default, an idle page costs its guest
 * four times what a page in use does.
 *
 * A plan that differs from what was asked before by less than `step` of the guest's memory is not worth the work: what
 * was asked stays. Memory is given back only when all can have what they want.
 *
 * Source: Waldspurger, OSDI 2002, sections 5.1 and 5.2. The step is ours.
 */
#include <stdlib.h>

#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { TAX, RESERVE, STEP };

static const struct policy_key keys[] = {
	{ "idle-tax", POLICY_SHARE, 750000, 0, 990000,
	  "Part of its idle memory that may be taken from a guest: an idle page costs 1 / (1 - tax) pages in use." },
	{ "reserve", POLICY_SHARE, 60000, 0, 500000, "Of the host's memory, kept free." },
	{ "step", POLICY_SHARE, 10000, 0, 1000000,
	  "Changes by less than this part of a guest's memory are not asked." },
	{ .name = NULL },
};

static void *create(uint32_t nvms)
{
	return calloc(nvms + 1, sizeof(struct claim));
}

/* @asked instead of what was asked before is not worth it. */
static bool too_small(const struct policy_vm *vm, const struct claim *claim, uint64_t asked, uint64_t step)
{
	uint64_t before = vm->balloon_target, change = asked > before ? asked - before : before - asked;

	return asked && change < divide_part(vm->memory, step) && before <= divide_balloon(vm, claim->min);
}

static void plan_vm(const struct policy_view *view, const struct policy_vm *vm, const struct claim *claim, bool scarce,
		    struct policy_vm_plan *plan)
{
	const uint64_t *constant = view->constant;
	struct policy_rule *r = &plan->rule;

	policy_because(r, !scarce ? "enough-for-all" : claim->grant == claim->min ? "minimum" : "idle-adjusted-share");
	policy_input(r, "shares", vm->shares);
	policy_input(r, "resident", vm->resident);
	policy_input(r, "active", vm->active_ppm);
	policy_input(r, "rho", divide_rho(vm, constant[TAX]));
	policy_input(r, "wanted", claim->max);
	policy_input(r, "granted", claim->grant);
	policy_input(r, "free", view->host.free);
	if (!scarce) {
		divide_free(vm, plan);
		return;
	}
	divide_ask(vm, claim->grant, plan);
	if (plan->balloon != POLICY_KEEP && too_small(vm, claim, plan->balloon, constant[STEP]))
		plan->balloon = vm->balloon_target;
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	struct claim *claim = state;
	uint64_t reserve = divide_part(view->host.frames, view->constant[RESERVE]);
	bool scarce = divide_host(view, view->constant[TAX], reserve, claim);

	for (uint32_t i = 0; i < view->nvms; i++)
		if (view->vm[i].running || view->vm[i].resident > view->vm[i].pinned)
			plan_vm(view, &view->vm[i], &claim[i], scarce, &plan->vm[i]);
}

static const struct policy_sentence rules[] = {
	{ "idle-adjusted-share",
	  "guests want more than there is; {vm} uses {active:ppm} of its {resident:pages} and pays {rho} millionths of "
	  "a share for each page, so of the {wanted:pages} that it wants it gets {granted:pages}" },
	{ "minimum", "guests want more than there is, and {vm}, which uses {active:ppm} of its {resident:pages}, "
		     "is left its minimum of {granted:pages}" },
	{ "enough-for-all", "all guests together want no more than the host has ({free:pages} are free)" },
	{ NULL, NULL },
};

const struct policy_ops policy_proportional = {
	.abi = POLICY_ABI,
	.name = "proportional",
	.summary = "Proportional shares with min, max and a tax on idle memory (Waldspurger 2002).",
	.keys = keys,
	.rules = rules,
	.create = create,
	.destroy = free,
	.decide = decide,
};
