/* SPDX-License-Identifier: MIT */
/* policy.c - views made by hand, for tests of policies */
#include "tests/lib/policy.h"

#include <check.h>
#include <string.h>

#include "vmm/policy/policies.h"

void policy_bench_init(struct policy_bench *b, const char *policy, uint32_t nvms, uint64_t frames, uint64_t memory)
{
	*b = (struct policy_bench){ .view = { .nvms = nvms, .vm = b->vm, .constant = b->constant } };
	for (unsigned i = 0; policies[i]; i++)
		if (!strcmp(policies[i]->name, policy))
			b->ops = policies[i];
	ck_assert_msg(b->ops != NULL, "no policy %s", policy);
	for (unsigned i = 0; b->ops->keys && b->ops->keys[i].name; i++)
		b->constant[i] = b->ops->keys[i].def;
	b->view.host = (struct policy_host){ .frames = frames, .free = frames / 2 };
	for (uint32_t i = 0; i < nvms; i++)
		b->vm[i] = (struct policy_vm){
			.name = "vm",
			.running = true,
			.shares = 1000,
			.memory = memory,
			.max = memory,
			.has_balloon = true,
			.responding = true,
			.balloon_limit = memory * 65 / 100,
			.resident = memory,
			.limit = POLICY_NO_LIMIT,
			.active_ppm = POLICY_PPM,
		};
	if (b->ops->create) {
		b->state = b->ops->create(nvms);
		ck_assert(b->state != NULL);
	}
}

void policy_bench_free(struct policy_bench *b)
{
	if (b->ops->destroy)
		b->ops->destroy(b->state);
}

void policy_bench_set(struct policy_bench *b, const char *key, uint64_t value)
{
	for (unsigned i = 0; b->ops->keys && b->ops->keys[i].name; i++)
		if (!strcmp(b->ops->keys[i].name, key)) {
			b->constant[i] = value;
			return;
		}
	ck_abort_msg("%s has no key %s", b->ops->name, key);
}

void policy_bench_decide(struct policy_bench *b)
{
	b->view.host.interval_ns = b->view.host.time_ns ? 100000000 : 0;
	b->view.host.time_ns += 100000000;
	b->plan = (struct policy_plan){ .nvms = b->view.nvms,
					.vm = b->plan_vm,
					.pages_to_scan = POLICY_KEEP,
					.sleep_ns = POLICY_KEEP };
	for (uint32_t i = 0; i < b->view.nvms; i++)
		b->plan_vm[i] = (struct policy_vm_plan){ .balloon = POLICY_KEEP, .limit = POLICY_KEEP, .admit = true };
	b->ops->decide(b->state, &b->view, &b->plan);
}

uint64_t policy_bench_input(const struct policy_rule *r, const char *name)
{
	for (uint32_t i = 0; i < r->ninputs; i++)
		if (!strcmp(r->input[i].name, name))
			return r->input[i].value;
	ck_abort_msg("rule %s did not look at %s", r->name ? r->name : "(none)", name);
	return 0;
}
