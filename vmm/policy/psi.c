/* SPDX-License-Identifier: MIT */
/*
 * psi.c - take from everybody, all the time, as long as nobody waits for memory
 *
 * Problem. How much a guest can spare is hard to estimate from its accesses, and says nothing about how much slower it
 * gets: that depends on the device behind.
 *
 * Idea. Measure the harm instead: the share of time in which some of the guest waited for memory (PSI's `some`). While
 * it is below a threshold, take
 *
 *	reclaim = current * ratio * max(0, 1 - pressure / threshold)
 *
 * each interval; the nearer to the threshold, the less. Above the threshold give back: by `back-off` of the guest's
 * size for each time that the threshold is exceeded, up to ten. In TMO, where the kernel reclaims once and sets no
 * limit, a cgroup grows back by itself; a balloon does not, so that part is ours. Room for first touches is left.
 *
 * Guests with a balloon that answers give by that, so that they choose what goes; others by swap.
 *
 * Source: J. Weiner et al., TMO: Transparent Memory Offloading in Datacenters, ASPLOS 2022, section 3.3: ratio 0.0005,
 * threshold 0.1%, every 6 s.
 */
#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { THRESHOLD, RATIO, BACK_OFF };

static const struct policy_key keys[] = {
	{ "threshold", POLICY_SHARE, 1000, 1, 1000000, "Part of its time that a guest may wait for memory." },
	{ "ratio", POLICY_SHARE, 500, 1, 1000000,
	  "Part of its memory that is taken in each decision, without pressure." },
	{ "back-off", POLICY_SHARE, 10000, 0, 1000000,
	  "Part of its size that it gets back, for each time that pressure exceeds the threshold." },
	{ .name = NULL },
};

static void plan_vm(const struct policy_view *view, const struct policy_vm *vm, struct policy_vm_plan *plan)
{
	const uint64_t *k = view->constant;
	uint64_t size = divide_size(vm), interval = view->host.interval_ns;
	uint64_t pressure = interval ? vm->since.stall_some_ns * POLICY_PPM / interval : 0, change;
	bool relax = pressure >= k[THRESHOLD];

	if (relax) {
		uint64_t excess = pressure * POLICY_PPM / k[THRESHOLD] - POLICY_PPM;

		change = divide_part(size,
				     divide_part(k[BACK_OFF], excess < 10 * POLICY_PPM ? excess : 10 * POLICY_PPM));
		policy_because(&plan->rule, "under-pressure");
	} else {
		change = divide_part(size, divide_part(k[RATIO], POLICY_PPM - pressure * POLICY_PPM / k[THRESHOLD]));
		policy_because(&plan->rule, "no-pressure");
	}
	policy_input(&plan->rule, "size", size);
	policy_input(&plan->rule, "pressure", pressure);
	policy_input(&plan->rule, "threshold", k[THRESHOLD]);
	policy_input(&plan->rule, "change", change);
	divide_resize(vm, relax ? size + change : size - change, plan);
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	(void)state;
	for (uint32_t i = 0; i < view->nvms; i++)
		if (view->vm[i].running)
			plan_vm(view, &view->vm[i], &plan->vm[i]);
}

static const struct policy_sentence rules[] = {
	{ "no-pressure", "{vm} waited for memory {pressure:ppm} of the time, less than {threshold:ppm}: of its "
			 "{size:pages} it can spare {change:pages}" },
	{ "under-pressure", "{vm} waited for memory {pressure:ppm} of the time, not less than {threshold:ppm}: it gets "
			    "{change:pages} more than its {size:pages}" },
	{ NULL, NULL },
};

const struct policy_ops policy_psi = {
	.abi = POLICY_ABI,
	.name = "psi",
	.summary = "Takes a little from everybody as long as nobody waits for memory (TMO's Senpai, 2022).",
	.keys = keys,
	.rules = rules,
	.decide = decide,
};
