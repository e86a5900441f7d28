/* SPDX-License-Identifier: MIT */
/*
 * policy.h - views made by hand, for tests of policies
 */
#ifndef OVERBOOK_TESTS_POLICY_H
#define OVERBOOK_TESTS_POLICY_H

#include "vmm/policy.h"

#define POLICY_TEST_VMS 4

/* A host, its guests, a policy's state, and the plan it made last. */
struct policy_bench {
	const struct policy_ops *ops;
	void *state;
	uint64_t constant[POLICY_KEYS];
	struct policy_view view;
	struct policy_vm vm[POLICY_TEST_VMS];
	struct policy_vm_plan plan_vm[POLICY_TEST_VMS];
	struct policy_plan plan;
};

/*
 * The policy of that name with its default constants; a host of @frames frames, half of them free, and @nvms guests of
 * @memory pages, all resident, in use and with a balloon that may hold 65%.
 */
void policy_bench_init(struct policy_bench *b, const char *policy, uint32_t nvms, uint64_t frames, uint64_t memory);
void policy_bench_free(struct policy_bench *b);
/* A constant by name. */
void policy_bench_set(struct policy_bench *b, const char *key, uint64_t value);
/* The next decision, 100 ms later; its plan is in b->plan. */
void policy_bench_decide(struct policy_bench *b);
/* An input of a rule by name; fails the test if the rule has none. */
uint64_t policy_bench_input(const struct policy_rule *r, const char *name);

#endif
