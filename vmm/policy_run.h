/* SPDX-License-Identifier: MIT */
/*
 * policy_run.h - a policy at work: on any machine
 *
 * Every [policy] interval it gathers the view from counters, guest memory, balloons and swap, lets the policy decide,
 * clamps what makes no sense, does what was asked, and writes down each decision with what came of it: the text of
 * decisions.csv, in run->decisions.
 */
#ifndef OVERBOOK_VMM_POLICY_RUN_H
#define OVERBOOK_VMM_POLICY_RUN_H

#include "balloon/device.h"
#include "mm/estimate.h"
#include "mm/swap.h"
#include "vmm/policy.h"
#include "vmm/vmm.h"

/* What only the machine can do. @ctx is its own. */
struct policy_machine {
	/* Bring @vm's counters up to date. */
	void (*refresh)(void *ctx, unsigned vm);
	/* What it is doing: running and waiting of @out. */
	void (*state)(void *ctx, unsigned vm, struct policy_vm *out);
	/* @vm's balloon was asked for something: it shall look, even if it sleeps. */
	void (*wake)(void *ctx, unsigned vm);
	/* It does not run before that time; or does again, if that is past. */
	void (*block)(void *ctx, unsigned vm, uint64_t until_ns);
	/* When the next one asks to be started, later than @now; UINT64_MAX: none. */
	uint64_t (*next_start)(void *ctx, uint64_t now);
	/* One that waits starts now; or never will, because the policy refused it. */
	void (*start)(void *ctx, unsigned vm, bool admitted);
	/* The merging scanner's knobs; 0 pages: there is none. */
	void (*scanner)(void *ctx, uint64_t *pages_to_scan, uint64_t *sleep_ns);
	void (*set_scanner)(void *ctx, uint64_t pages_to_scan, uint64_t sleep_ns);
};

struct policy_vm_parts {
	struct gmem *gmem;
	struct balloon_device *balloon; /* NULL: it has none */
};

/* All borrowed for the life of the policy_run. */
struct policy_run_config {
	struct run *run;
	struct frames *frames;
	struct swap *swap; /* NULL: the host has none */
	const struct estimate *estimate; /* of working sets; NULL: nobody estimates */
	struct counters *host;
	const struct policy_machine *machine;
	void *ctx;
};

struct policy_run;

/*
 * As [policy] says; NULL if there is none, or with @error set if it cannot begin. @vm: run->vms->len of them, copied.
 */
struct policy_run *policy_run_new(const struct policy_run_config *cfg, const struct policy_vm_parts *vm,
				  GError **error);
/* When it has something to do next. */
uint64_t policy_run_due(const struct policy_run *p);
/* Decide, if it is time. True: it did. */
bool policy_run_tick(struct policy_run *p, uint64_t now_ns);
/* The run is over: what came of the last decisions. */
void policy_run_finish(struct policy_run *p);
void policy_run_free(struct policy_run *p);

#endif
