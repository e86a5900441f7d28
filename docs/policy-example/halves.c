/* SPDX-License-Identifier: MIT */
/*
 * halves.c - an example of a policy of one's own: guests share the host equally, but who is idle gets half
 *
 *	cc -O2 -fPIC -shared -o halves.so halves.c -I/usr/local/include
 *	overbook run --policy ./halves.so experiment.ini -o results/halves
 *	overbook explain results/halves
 *
 * In the source tree the header is vmm/policy.h; -I. and -DPOLICY_HEADER='"vmm/policy.h"' use that one.
 */
#ifdef POLICY_HEADER
#include POLICY_HEADER
#else
#include <overbook/policy.h>
#endif

enum { RESERVE, IDLE };

static const struct policy_key keys[] = {
	{ "reserve", POLICY_SHARE, 100000, 0, 900000, "Of the host's memory, kept free." },
	{ "idle", POLICY_COUNT, 1000, 0, UINT64_MAX, "A guest with fewer operations since the last decision is idle." },
	{ .name = NULL },
};

static bool is_idle(const struct policy_view *view, const struct policy_vm *vm)
{
	return vm->since.operations < view->constant[IDLE];
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	uint64_t reserve = view->host.frames / 100 * (view->constant[RESERVE] / 10000);
	uint64_t there = view->host.frames - view->host.overhead, parts = 0;

	(void)state; /* it needs none */
	there -= reserve < there ? reserve : there;
	for (uint32_t i = 0; i < view->nvms; i++)
		if (view->vm[i].running)
			parts += is_idle(view, &view->vm[i]) ? 1 : 2;
	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];
		struct policy_vm_plan *p = &plan->vm[i];
		uint64_t part;

		if (!vm->running || !vm->has_balloon)
			continue;
		part = there * (is_idle(view, vm) ? 1 : 2) / parts;
		p->balloon = part < vm->memory ? vm->memory - part : 0;
		/* What is more than a balloon may hold would be clamped and counted: say what is meant. */
		if (p->balloon > vm->balloon_limit)
			p->balloon = vm->balloon_limit;
		policy_because(&p->rule, is_idle(view, vm) ? "half-a-part" : "a-part");
		policy_input(&p->rule, "part", part);
		policy_input(&p->rule, "operations", vm->since.operations);
	}
}

static const struct policy_sentence rules[] = {
	{ "a-part", "{vm} works, and gets its part of {part:pages}" },
	{ "half-a-part", "{vm} did only {operations} operations, and gets half a part, {part:pages}" },
	{ NULL, NULL },
};

const struct policy_ops overbook_policy = {
	.abi = POLICY_ABI,
	.name = "halves",
	.summary = "Equal parts of the host's memory, half a part for who is idle.",
	.keys = keys,
	.rules = rules,
	.decide = decide,
};
