/* SPDX-License-Identifier: MIT */
/*
 * refault.c - give to who misses what was taken, take from who does not
 *
 * Problem. Shares and idle taxes need to know what a guest uses. A page that was taken and comes back at once tells
 * it without any scanning: the guest is too small by about the pages that came back.
 *
 * Idea. A guest refaults if more than `tolerated` of its pages come back in a second. It gets `gain` pages for each
 * that did. What they get, and what lacks to `reserve` of free memory, is taken from the others: at most `step` of the
 * size of each, in proportion to size and to how far they are from the tolerated rate. Nobody is asked for anything as
 * long as there is enough.
 *
 * Invariants (tests/unit/test_policy.c): nobody who refaults loses a page; what is taken is what is needed, or all
 * steps.
 *
 * Source: the signal is that of J. Weiner's refault distance (Linux mm/workingset.c, 2014); turning it into a division
 * of the host's memory is ours, nearest to P. Zhou et al., ASPLOS 2004, who divide by slopes of miss-ratio curves.
 */
#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { TOLERATED, GAIN, STEP, RESERVE };

static const struct policy_key keys[] = {
	{ "tolerated", POLICY_SHARE, 10000, 1, 10000000, "Part of a guest's pages that may come back in a second." },
	{ "gain", POLICY_COUNT, 2, 1, 1000, "Pages that a guest gets for each one that came back." },
	{ "step", POLICY_SHARE, 20000, 1, 1000000, "Most of its size that a guest loses in one decision." },
	{ "reserve", POLICY_SHARE, 60000, 0, 500000, "Of the host's memory, kept free." },
	{ .name = NULL },
};

/* Its refaults in a second, in ppm of its size. */
static uint64_t rate_of(const struct policy_view *view, const struct policy_vm *vm)
{
	uint64_t size = divide_size(vm), ns = view->host.interval_ns;

	if (!size || !ns)
		return 0;
	return (uint64_t)((unsigned __int128)vm->since.refaults * POLICY_PPM * 1000000000u / size / ns);
}

/* What it could lose at most, weighed by how quiet it is. */
static uint64_t spare(const struct policy_view *view, const struct policy_vm *vm)
{
	uint64_t rate = rate_of(view, vm), tolerated = view->constant[TOLERATED];

	if (!vm->running || rate >= tolerated)
		return 0;
	return divide_part(divide_part(divide_size(vm), view->constant[STEP]),
			   POLICY_PPM - rate * POLICY_PPM / tolerated);
}

static void plan_vm(const struct policy_view *view, const struct policy_vm *vm, uint64_t needed, uint64_t spares,
		    struct policy_vm_plan *plan)
{
	uint64_t size = divide_size(vm), rate = rate_of(view, vm), wanted = size;

	if (rate >= view->constant[TOLERATED]) {
		wanted = size + view->constant[GAIN] * vm->since.refaults;
		policy_because(&plan->rule, "refaults");
	} else if (needed) {
		uint64_t part = spare(view, vm);

		if (needed < spares)
			part = (uint64_t)((unsigned __int128)part * needed / spares);
		wanted = size - part;
		policy_because(&plan->rule, "misses-nothing");
	} else {
		policy_because(&plan->rule, "enough-for-all");
	}
	policy_input(&plan->rule, "size", size);
	policy_input(&plan->rule, "refaults", vm->since.refaults);
	policy_input(&plan->rule, "rate", rate);
	policy_input(&plan->rule, "tolerated", view->constant[TOLERATED]);
	policy_input(&plan->rule, "needed", needed);
	policy_input(&plan->rule, "wanted", wanted);
	if (wanted != size)
		divide_resize(vm, wanted, plan);
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	uint64_t reserve = divide_part(view->host.frames, view->constant[RESERVE]), free = view->host.free;
	uint64_t grow = 0, spares = 0, needed;

	(void)state;
	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];

		spares += spare(view, vm);
		if (vm->running && rate_of(view, vm) >= view->constant[TOLERATED])
			grow += view->constant[GAIN] * vm->since.refaults;
	}
	needed = grow + reserve > free ? grow + reserve - free : 0;
	for (uint32_t i = 0; i < view->nvms; i++)
		if (view->vm[i].running)
			plan_vm(view, &view->vm[i], needed, spares, &plan->vm[i]);
}

static const struct policy_sentence rules[] = {
	{ "refaults",
	  "{refaults} pages that were taken from {vm} came back, {rate:ppm} of its {size:pages} in a second: "
	  "it gets more" },
	{ "misses-nothing", "{needed:pages} are needed, and {vm} misses little of what was taken ({rate:ppm} of its "
			    "{size:pages} in a second): it is left {wanted:pages}" },
	{ "enough-for-all", "nobody needs anything; {vm} has {size:pages}" },
	{ NULL, NULL },
};

const struct policy_ops policy_refault = {
	.abi = POLICY_ABI,
	.name = "refault",
	.summary = "Gives to guests whose pages come back, takes from those that miss nothing.",
	.keys = keys,
	.rules = rules,
	.decide = decide,
};
