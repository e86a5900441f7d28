/* SPDX-License-Identifier: MIT */
/*
 * esx.c - free memory in four states, each with its means
 *
 * Problem. Ballooning is cheap but slow, swapping is quick but takes what the guest needs most, and a host must never
 * run out. Which to use when?
 *
 * Idea. How much of the host is free says how bad things are. Four thresholds make four states:
 *
 *	high	enough is free: nobody is asked for more; balloons and limits ease as far as the shares allow
 *	soft	balloons; swap where a guest has none or its driver does not answer
 *	hard	swap as well: balloons are too slow
 *	low	and guests above their target do not run until they are below it
 *
 * A state is entered as soon as less than its threshold is free; it is left for the next better one only when that
 * one's threshold is exceeded by `hysteresis` of it, so that a host at a threshold does not go to and fro. Targets are
 * those of divide.c, shares with the idle tax, computed so that as much as the threshold of high becomes free.
 *
 * `esx` has the thresholds of 2002, shares of the host's memory. `esx-minfree` has those of ESX 4.1 and later, where
 * one per cent of a terabyte is too much: shares of minFree, which is 6% of the first 4 GiB, 4% of the next 8, 2% of
 * the next 16 and 1% of the rest.
 *
 * Admission: a guest starts only if what is guaranteed to all, this one included, leaves the threshold of high free.
 *
 * Invariants (tests/unit/test_policy.c): the states' thresholds and hysteresis; high asks for nothing new; only low
 * blocks, and only who is above its target.
 *
 * Source: Waldspurger, OSDI 2002, section 6.3 (the paper says that a state is left after exceeding the threshold
 * significantly, not by how much: the tenth is ours) and 6.2 for admission; VMware, Understanding Memory Resource
 * Management in VMware vSphere 5.0, for minFree.
 */
#include <stdlib.h>

#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"

enum { TAX, HYSTERESIS, THRESHOLDS }; /* and from there on one for each state */
enum { HIGH, SOFT, HARD, LOW, STATES };

static const struct policy_key keys[] = {
	{ "idle-tax", POLICY_SHARE, 750000, 0, 990000, "Part of its idle memory that may be taken from a guest." },
	{ "hysteresis", POLICY_SHARE, 100000, 0, 1000000,
	  "By how much of it a threshold must be exceeded until a worse state ends." },
	{ "high", POLICY_SHARE, 60000, 0, 900000, "Of the host's memory: free when all is well; what targets aim at." },
	{ "soft", POLICY_SHARE, 40000, 0, 900000, "With less free, balloons take." },
	{ "hard", POLICY_SHARE, 20000, 0, 900000, "With less free, swap takes as well." },
	{ "low", POLICY_SHARE, 10000, 0, 900000, "With less free, guests above their target do not run." },
	{ .name = NULL },
};

static const struct policy_key minfree_keys[] = {
	{ "idle-tax", POLICY_SHARE, 750000, 0, 990000, "Part of its idle memory that may be taken from a guest." },
	{ "hysteresis", POLICY_SHARE, 100000, 0, 1000000,
	  "By how much of it a threshold must be exceeded until a worse state ends." },
	{ "high", POLICY_SHARE, 1000000, 0, 10000000, "Of minFree: free when all is well; what targets aim at." },
	{ "soft", POLICY_SHARE, 640000, 0, 10000000, "With less free, balloons take." },
	{ "hard", POLICY_SHARE, 320000, 0, 10000000, "With less free, swap takes as well." },
	{ "low", POLICY_SHARE, 160000, 0, 10000000, "With less free, guests above their target do not run." },
	{ .name = NULL },
};

static const char *const state_rules[STATES] = { "high-state", "soft-state", "hard-state", "low-state" };

struct esx {
	unsigned state;
	bool minfree;
	struct claim claim[]; /* nvms */
};

static void *create_state(uint32_t nvms, bool minfree)
{
	struct esx *e = calloc(1, sizeof(*e) + nvms * sizeof(e->claim[0]));

	if (e)
		e->minfree = minfree;
	return e;
}

static void *create(uint32_t nvms)
{
	return create_state(nvms, false);
}

static void *create_minfree(uint32_t nvms)
{
	return create_state(nvms, true);
}

static uint64_t minfree(uint64_t frames)
{
	static const struct {
		uint64_t gib, percent;
	} scale[] = { { 4, 6 }, { 8, 4 }, { 16, 2 }, { UINT32_MAX, 1 } };
	uint64_t sum = 0;

	for (unsigned i = 0; i < 4 && frames; i++) {
		uint64_t there = scale[i].gib << 18, n = frames < there ? frames : there;

		sum += n * scale[i].percent;
		frames -= n;
	}
	return sum / 100;
}

static void thresholds(const struct esx *e, const struct policy_view *view, uint64_t *threshold)
{
	uint64_t whole = e->minfree ? minfree(view->host.frames) : view->host.frames;

	for (unsigned s = 0; s < STATES; s++)
		threshold[s] = divide_part(whole, view->constant[THRESHOLDS + s]);
}

static unsigned next_state(unsigned state, uint64_t free, const uint64_t *threshold, uint64_t hysteresis)
{
	unsigned now = HIGH;

	for (unsigned s = SOFT; s < STATES; s++)
		if (free < threshold[s])
			now = s;
	if (now >= state)
		return now;
	while (state > now) {
		uint64_t better = threshold[state - 1];

		if (free <= better + divide_part(better, hysteresis))
			break;
		state--;
	}
	return state;
}

static void admit(const struct policy_view *view, uint32_t asking, uint64_t reserve, struct policy_vm_plan *plan)
{
	uint64_t guaranteed = 0, there = view->host.frames - view->host.overhead;
	struct policy_rule *r = &plan->rule;

	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];

		if (vm->running || i == asking)
			guaranteed += vm->min > vm->pinned ? vm->min : vm->pinned;
		else
			guaranteed += vm->pinned;
	}
	plan->admit = guaranteed + reserve <= there;
	policy_because(r, plan->admit ? "admitted" : "refused");
	policy_input(r, "min", view->vm[asking].min);
	policy_input(r, "guaranteed", guaranteed);
	policy_input(r, "reserve", reserve);
	policy_input(r, "there", there);
}

static void plan_vm(const struct policy_view *view, const struct esx *e, uint32_t i, bool scarce, uint64_t threshold,
		    struct policy_vm_plan *plan)
{
	const struct policy_vm *vm = &view->vm[i];
	const struct claim *c = &e->claim[i];
	struct policy_rule *r = &plan->rule;

	policy_because(r, state_rules[e->state]);
	policy_input(r, "free", view->host.free);
	policy_input(r, "threshold", threshold);
	policy_input(r, "resident", vm->resident);
	policy_input(r, "shares", vm->shares);
	policy_input(r, "active", vm->active_ppm);
	policy_input(r, "granted", c->grant);
	if (!scarce) {
		divide_free(vm, plan);
		return;
	}
	divide_ask(vm, c->grant, plan);
	if (e->state == HIGH) {
		if (plan->balloon != POLICY_KEEP && plan->balloon > vm->balloon_target)
			plan->balloon = vm->balloon_target;
		if (vm->limit >= vm->memory || c->grant >= vm->memory)
			plan->limit = POLICY_NO_LIMIT;
		else
			plan->limit = max64(vm->limit, c->grant);
	} else if (e->state >= HARD && c->grant < vm->memory) {
		plan->limit = c->grant;
	}
	/* Its claim is what it was granted; a page or two above it is rounding. */
	plan->block = e->state == LOW && vm->running && vm->resident > c->grant + vm->memory / 256;
}

static void decide(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	struct esx *e = state;
	uint64_t threshold[STATES];
	bool scarce;

	thresholds(e, view, threshold);
	e->state = next_state(e->state, view->host.free, threshold, view->constant[HYSTERESIS]);
	scarce = divide_host(view, view->constant[TAX], threshold[HIGH], e->claim);
	policy_because(&plan->rule, state_rules[e->state]);
	policy_input(&plan->rule, "free", view->host.free);
	policy_input(&plan->rule, "threshold", threshold[e->state]);
	policy_input(&plan->rule, "state", e->state);
	for (uint32_t i = 0; i < view->nvms; i++) {
		const struct policy_vm *vm = &view->vm[i];

		if (vm->waiting)
			admit(view, i, threshold[HIGH], &plan->vm[i]);
		else if (vm->running || vm->resident > vm->pinned)
			plan_vm(view, e, i, scarce, threshold[e->state], &plan->vm[i]);
	}
}

static const struct policy_sentence rules[] = {
	{ "high-state", "the host is in state high: {free:pages} are free" },
	{ "soft-state", "the host is in state soft, for {free:pages} are free and the threshold is {threshold:pages}: "
			"balloons take" },
	{ "hard-state", "the host is in state hard, for {free:pages} are free and the threshold is {threshold:pages}: "
			"swap takes as well as balloons" },
	{ "low-state", "the host is in state low, for {free:pages} are free and the threshold is {threshold:pages}: "
		       "swap takes, and guests above their target do not run" },
	{ "admitted", "{guaranteed:pages} would be guaranteed to guests, {vm} included, and {reserve:pages} are kept "
		      "free, of {there:pages}" },
	{ "refused", "{guaranteed:pages} would be guaranteed to guests, {vm} and its {min:pages} included; with "
		     "{reserve:pages} to be kept free that is more than the {there:pages} there are" },
	{ NULL, NULL },
};

const struct policy_ops policy_esx = {
	.abi = POLICY_ABI,
	.name = "esx",
	.summary = "Balloons, then swap, then blocking, by how much is free: 6, 4, 2 and 1% (ESX, 2002).",
	.keys = keys,
	.rules = rules,
	.create = create,
	.destroy = free,
	.decide = decide,
};

const struct policy_ops policy_esx_minfree = {
	.abi = POLICY_ABI,
	.name = "esx-minfree",
	.summary = "The same with thresholds of 100, 64, 32 and 16% of minFree (ESX 4.1 and later).",
	.keys = minfree_keys,
	.rules = rules,
	.create = create_minfree,
	.destroy = free,
	.decide = decide,
};
