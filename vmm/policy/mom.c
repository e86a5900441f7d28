/* SPDX-License-Identifier: MIT */
/*
 * mom.c - oVirt's Memory Overcommitment Manager: its rules for balloons and for KSM
 *
 * What many hosts really run. Below `pressure` of the host's memory free, every guest shrinks: towards what it uses
 * plus a part of free memory that is the smaller the less the host has; by `step` of its size at a time. Below
 * `critical` that part is negative: the guest is meant to swap. Otherwise guests grow back by `step`, or at once to
 * what they use plus their free part. Changes below `least-step` are not worth it. KSM scans more (`ksm-boost`) each
 * time that the host is short of memory and less (`ksm-decay`) when it is not; the sleep is for a host of 16 GiB, and
 * shorter on larger ones, longer on smaller, at least 10 ms.
 *
 * All of it is about what guests say: one without statistics is left alone. No shares, no idle memory, no history.
 * MoM averages its statistics over some rounds; here the last report counts. A guest's [vm] min and max are MoM's
 * balloon_min and balloon_max.
 *
 * Source: oVirt MoM, doc/balloon.rules and the KSM rules of its doc/ksm.rules, whose constants are the defaults here.
 */
#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { PRESSURE, CRITICAL, GUEST_FREE, STEP, LEAST, KSM_BOOST, KSM_DECAY, KSM_MIN, KSM_MAX, KSM_FREE, KSM_SLEEP };

static const struct policy_key keys[] = {
	{ "pressure", POLICY_SHARE, 200000, 1, 1000000, "With less of the host's memory free, guests shrink." },
	{ "critical", POLICY_SHARE, 50000, 0, 1000000, "With less, they shrink below what they use." },
	{ "guest-free", POLICY_SHARE, 200000, 0, 1000000, "Part of its memory that a guest shall have free." },
	{ "step", POLICY_SHARE, 50000, 1, 1000000, "Most that a guest's size changes in one decision." },
	{ "least-step", POLICY_SHARE, 2500, 0, 1000000, "Smaller changes are not asked." },
	{ "ksm-boost", POLICY_COUNT, 300, 0, 1000000, "Pages that the scanner looks at more, under pressure." },
	{ "ksm-decay", POLICY_COUNT, 50, 0, 1000000, "Pages that it looks at less, without." },
	{ "ksm-min", POLICY_COUNT, 64, 1, 1000000, "Fewest pages that it looks at." },
	{ "ksm-max", POLICY_COUNT, 1250, 1, 1000000, "Most pages that it looks at." },
	{ "ksm-free", POLICY_SHARE, 200000, 0, 1000000, "With less of the host's memory free, the scanner speeds up." },
	{ "ksm-sleep", POLICY_TIME, 10000000, 1000, 10000000000, "Its sleep on a host of 16 GiB." },
	{ .name = NULL },
};

/* The size below which the guest is not pushed: what it uses and what of its free memory it may keep. */
static uint64_t floor_of(const struct policy_view *view, uint64_t size, uint64_t used, uint64_t free_ppm)
{
	const uint64_t *k = view->constant;
	uint64_t beyond;

	if (free_ppm > k[CRITICAL])
		return used + divide_part(size, divide_part(k[GUEST_FREE], free_ppm * POLICY_PPM / k[PRESSURE]));
	beyond = divide_part(size, k[CRITICAL] - free_ppm);
	return used - min64(used, beyond);
}

/* A size is asked for if it differs enough, and as far as minimum and balloon allow. */
static bool ask(const struct policy_view *view, const struct policy_vm *vm, uint64_t size, uint64_t wanted,
		struct policy_vm_plan *plan)
{
	uint64_t change = wanted > size ? wanted - size : size - wanted;
	uint64_t kept = max64(vm->min, vm->pinned);

	if (change <= divide_part(size, view->constant[LEAST]))
		return false;
	plan->balloon = divide_balloon(vm, max64(wanted, kept));
	return true;
}

static void plan_vm(const struct policy_view *view, const struct policy_vm *vm, uint64_t free_ppm,
		    struct policy_vm_plan *plan)
{
	const uint64_t *k = view->constant;
	uint64_t size = vm->memory - vm->balloon_actual, used = size - min64(size, vm->guest_free);
	uint64_t step = divide_part(size, k[STEP]), floor, wanted;
	bool asked = false, shrink = free_ppm < k[PRESSURE];

	if (shrink) {
		floor = floor_of(view, size, used, free_ppm);
		wanted = max64(size - step, floor);
		if (wanted <= size)
			asked = ask(view, vm, size, wanted, plan);
	} else {
		floor = used + divide_part(size, k[GUEST_FREE]);
		wanted = max64(min64(size + step, vm->max), floor);
		if (size < vm->max)
			asked = ask(view, vm, size, wanted, plan);
	}
	if (shrink)
		policy_because(&plan->rule, !asked ? "shrunk-enough" : free_ppm <= k[CRITICAL] ? "critical" : "shrink");
	else
		policy_because(&plan->rule, asked ? "grow" : "no-pressure");
	policy_input(&plan->rule, "host_free", free_ppm);
	policy_input(&plan->rule, "pressure", k[PRESSURE]);
	policy_input(&plan->rule, "size", size);
	policy_input(&plan->rule, "used", used);
	policy_input(&plan->rule, "floor", floor);
	policy_input(&plan->rule, "wanted", wanted);
}

/* KSM's rules; a host without a scanner has nothing to set. */
static void plan_scanner(const struct policy_view *view, uint64_t free_ppm, struct policy_plan *plan)
{
	const uint64_t *k = view->constant;
	uint64_t pages = view->host.pages_to_scan, size = max64(view->host.frames, 1);
	bool pressed = free_ppm < k[KSM_FREE];

	if (!pages)
		return;
	pages = pressed ? pages + k[KSM_BOOST] : pages - min64(pages, k[KSM_DECAY]);
	plan->pages_to_scan = max64(min64(pages, k[KSM_MAX]), k[KSM_MIN]);
	plan->sleep_ns = max64((uint64_t)((unsigned __int128)k[KSM_SLEEP] * (1u << 22) / size), 10000000);
	policy_because(&plan->rule, pressed ? "scan-more" : "scan-less");
	policy_input(&plan->rule, "host_free", free_ppm);
	policy_input(&plan->rule, "threshold", k[KSM_FREE]);
	policy_input(&plan->rule, "pages", view->host.pages_to_scan);
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	uint64_t free_ppm = view->host.free * POLICY_PPM / max64(view->host.frames, 1);

	(void)state;
	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];

		if (vm->running && vm->has_balloon && vm->has_stats)
			plan_vm(view, vm, free_ppm, &plan->vm[i]);
		else if (vm->running)
			policy_because(&plan->vm[i].rule, "no-statistics");
	}
	plan_scanner(view, free_ppm, plan);
}

static const struct policy_sentence rules[] = {
	{ "shrink", "{host_free:ppm} of the host's memory is free, less than {pressure:ppm}; {vm} uses {used:pages} of "
		    "its {size:pages} and is to shrink to {wanted:pages}" },
	{ "critical", "only {host_free:ppm} of the host's memory is free; {vm}, which uses {used:pages} of its "
		      "{size:pages}, is to shrink to {wanted:pages} even if it must swap" },
	{ "shrunk-enough", "{host_free:ppm} of the host's memory is free, less than {pressure:ppm}; but {vm} uses "
			   "{used:pages} of its {size:pages} and is to keep {floor:pages}" },
	{ "grow", "{host_free:ppm} of the host's memory is free, no pressure; {vm} may grow from {size:pages} to "
		  "{wanted:pages}" },
	{ "no-pressure", "{host_free:ppm} of the host's memory is free, no pressure; {vm} has its {size:pages}" },
	{ "no-statistics", "{vm} has no balloon, or its driver has not reported anything" },
	{ "scan-more", "{host_free:ppm} of the host's memory is free, less than {threshold:ppm}" },
	{ "scan-less", "{host_free:ppm} of the host's memory is free, not less than {threshold:ppm}" },
	{ NULL, NULL },
};

const struct policy_ops policy_mom = {
	.abi = POLICY_ABI,
	.name = "mom",
	.summary = "oVirt MoM's rules: guests shrink by 5% while less than 20% of the host is free, and grow back.",
	.keys = keys,
	.rules = rules,
	.decide = decide,
};
