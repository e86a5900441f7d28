/* SPDX-License-Identifier: MIT */
/*
 * policy.c - the simulated machine's part in a policy's work
 *
 * Decisions are taken between quanta, when every CPU has come to that time. They cost nothing themselves; what follows
 * from them does.
 */
#include "vmm/sim/policy.h"

#include <errno.h>

#include "vmm/policy_run.h"
#include "vmm/sim/swap.h"

static void refresh(void *ctx, unsigned vm)
{
	sim_vm_refresh(((struct sim *)ctx)->vms[vm]);
}

static void state(void *ctx, unsigned vm, struct policy_vm *out)
{
	const struct sim *s = ctx;
	const struct sim_vm *v = s->vms[vm];

	out->running = !v->done && !v->waiting;
	out->waiting = v->waiting && v->conf->start_ns <= s->now_ns;
}

/* A sleeping vCPU is ready now: it will find the interrupt. */
static void wake(void *ctx, unsigned vm)
{
	struct sim *s = ctx;
	struct sim_vcpu *v = &s->vms[vm]->vcpu[0];
	uint64_t now = sim_ns_to_cycles(s, s->now_ns);

	if (v->cpu->current != v && !s->vms[vm]->waiting)
		v->ready_at = MIN(v->ready_at, MAX(now, v->off_at));
}

static void block(void *ctx, unsigned vm, uint64_t until_ns)
{
	struct sim *s = ctx;

	s->vms[vm]->blocked_until = until_ns;
}

static uint64_t next_start(void *ctx, uint64_t now)
{
	const struct sim *s = ctx;
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < s->nvms; i++)
		if (s->vms[i]->waiting && s->vms[i]->conf->start_ns > now)
			next = MIN(next, s->vms[i]->conf->start_ns);
	return next;
}

static void start(void *ctx, unsigned vm, bool admitted)
{
	struct sim *s = ctx;

	s->vms[vm]->waiting = false;
	if (!admitted)
		sim_vm_fail(s->vms[vm], "policy %s did not admit it", s->run->e->policy.ops->name);
}

/* An advisor does what it thinks best: then there is nothing to set. */
static void scanner(void *ctx, uint64_t *pages_to_scan, uint64_t *sleep_ns)
{
	const struct sim *s = ctx;

	*pages_to_scan = s->dedup && !s->run->e->dedup.advisor ? s->pages_to_scan : 0;
	*sleep_ns = s->scan_sleep_ns;
}

static void set_scanner(void *ctx, uint64_t pages_to_scan, uint64_t sleep_ns)
{
	struct sim *s = ctx;

	s->pages_to_scan = pages_to_scan;
	s->scan_sleep_ns = sleep_ns;
}

static const struct policy_machine machine = {
	.refresh = refresh,
	.state = state,
	.wake = wake,
	.block = block,
	.next_start = next_start,
	.start = start,
	.scanner = scanner,
	.set_scanner = set_scanner,
};

int sim_policy_init(struct sim *s, GError **error)
{
	const struct policy_run_config cfg = {
		.run = s->run,
		.frames = s->frames,
		.swap = s->swap ? s->swap->swap : NULL,
		.estimate = s->estimate,
		.host = &s->host,
		.machine = &machine,
		.ctx = s,
	};
	g_autofree struct policy_vm_parts *parts = g_new0(struct policy_vm_parts, s->nvms);
	g_autoptr(GError) why = NULL;

	for (unsigned i = 0; i < s->nvms; i++)
		parts[i] = (struct policy_vm_parts){ s->vms[i]->gmem, sim_balloon_device(s->vms[i]->balloon) };
	s->policy = policy_run_new(&cfg, parts, &why);
	if (!why)
		return 0;
	g_propagate_error(error, g_steal_pointer(&why));
	return -EINVAL;
}

/*
 * What is beyond limits goes now, whoever runs: guests that a policy blocks touch nothing that would make it go. The
 * host's swapper does it beside the guests; only its writes take time, the device's.
 */
static void evict(struct sim *s)
{
	uint64_t before;

	do {
		before = sim_swap_evictions(s);
		sim_swap_balance(s);
	} while (sim_swap_evictions(s) != before);
}

void sim_policy_tick(struct sim *s)
{
	if (!policy_run_tick(s->policy, s->now_ns))
		return;
	evict(s);
	/* Pages may have been taken: a root may be another one. */
	for (unsigned i = 0; i < s->nvms; i++)
		for (unsigned j = 0; j < s->vms[i]->nvcpus && !s->vms[i]->done; j++)
			sim_refresh_root(&s->vms[i]->vcpu[j]);
}
