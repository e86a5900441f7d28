/* SPDX-License-Identifier: MIT */
/* policy_impl.h - between policy_run.c, policy_view.c and policy_log.c only */
#ifndef OVERBOOK_VMM_POLICY_IMPL_H
#define OVERBOOK_VMM_POLICY_IMPL_H

#include "vmm/policy_run.h"

enum policy_mechanism {
	MECHANISM_NONE, /* a rule that asks for nothing */
	MECHANISM_BALLOON,
	MECHANISM_LIMIT,
	MECHANISM_BLOCK,
	MECHANISM_ADMIT,
	MECHANISM_SCAN,
	MECHANISMS,
};

/* A decision whose outcome is not known yet. */
struct pending {
	unsigned vm; /* or RUN_HOST */
	enum policy_mechanism mechanism;
	uint64_t before, asked;
	char *why; /* rule and inputs as in the file */
};

struct guest {
	struct policy_vm_parts parts;
	uint64_t limit;
	bool blocked;
	uint64_t target, actual; /* its balloon at the last decision, and what it was asked for then */
	unsigned silent;      /* decisions since it last moved */
};

struct policy_run {
	struct policy_run_config cfg;
	const struct policy_ops *ops;
	void *state;
	unsigned nvms;
	struct guest *vm;
	struct policy_host host;    /* as last seen */
	struct policy_vm *seen;
	struct policy_vm_plan *plan;
	uint64_t decisions, next;
	GArray *pending; /* of struct pending */
};

/* policy_view.c: bring host and seen up to date. */
void policy_view_read(struct policy_run *p, uint64_t now);

/* policy_log.c: @asked of @mechanism because of @rule; @vm is RUN_HOST for the host. */
void policy_log_add(struct policy_run *p, unsigned vm, enum policy_mechanism mechanism, uint64_t before, uint64_t asked,
		    const struct policy_rule *rule);
/* The view is that of the next decision, or of the end: write down what came of those of time @decided. */
void policy_log_settle(struct policy_run *p, uint64_t decided);

#endif
