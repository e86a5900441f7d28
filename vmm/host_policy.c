/* SPDX-License-Identifier: MIT */
/*
 * host_policy.c - a policy's hands on any machine
 *
 * Decisions are taken between quanta, when every CPU has come to that time. They cost nothing themselves; what follows
 * from them does.
 */
#include "vmm/host.h"

static void refresh(void *ctx, unsigned vm)
{
	struct host *h = ctx;

	h->ops->refresh(h->ctx, vm);
}

static void state(void *ctx, unsigned vm, struct policy_vm *out)
{
	const struct host *h = ctx;
	const struct host_vm *v = &h->vm[vm];

	out->running = !h->ops->done(h->ctx, vm) && !v->waiting;
	out->waiting = v->waiting && v->conf->start_ns <= h->now_ns;
}

/* One that sleeps will find the interrupt. */
static void wake(void *ctx, unsigned vm)
{
	struct host *h = ctx;

	if (!h->vm[vm].waiting)
		h->ops->wake(h->ctx, vm);
}

static void block(void *ctx, unsigned vm, uint64_t until_ns)
{
	struct host *h = ctx;

	h->vm[vm].blocked_until = until_ns;
}

static uint64_t next_start(void *ctx, uint64_t now)
{
	const struct host *h = ctx;
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < h->nvms; i++)
		if (h->vm[i].waiting && h->vm[i].conf->start_ns > now)
			next = MIN(next, h->vm[i].conf->start_ns);
	return next;
}

static void start(void *ctx, unsigned vm, bool admitted)
{
	struct host *h = ctx;
	g_autofree char *why = NULL;

	h->vm[vm].waiting = false;
	if (admitted)
		return;
	why = g_strdup_printf("policy %s did not admit it", h->run->e->policy.ops->name);
	h->ops->fail(h->ctx, vm, why);
}

/* An advisor does what it thinks best: then there is nothing to set. */
static void scanner(void *ctx, uint64_t *pages_to_scan, uint64_t *sleep_ns)
{
	const struct host *h = ctx;

	*pages_to_scan = h->dedup && !h->run->e->dedup.advisor ? h->pages_to_scan : 0;
	*sleep_ns = h->scan_sleep_ns;
}

static void set_scanner(void *ctx, uint64_t pages_to_scan, uint64_t sleep_ns)
{
	struct host *h = ctx;

	h->pages_to_scan = pages_to_scan;
	h->scan_sleep_ns = sleep_ns;
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

gboolean host_policy_init(struct host *h, GError **error)
{
	const struct policy_run_config cfg = {
		.run = h->run,
		.frames = h->frames,
		.swap = h->swap,
		.estimate = h->estimate,
		.host = &h->counters,
		.machine = &machine,
		.ctx = h,
	};
	g_autofree struct policy_vm_parts *parts = g_new0(struct policy_vm_parts, h->nvms);
	GError *why = NULL;

	for (unsigned i = 0; i < h->nvms; i++)
		parts[i] = (struct policy_vm_parts){ h->vm[i].gmem, vm_balloon_device(h->vm[i].balloon) };
	h->policy = policy_run_new(&cfg, parts, &why);
	if (!why)
		return TRUE;
	g_propagate_error(error, why);
	return FALSE;
}

bool host_decide(struct host *h, uint64_t now_ns)
{
	h->now_ns = now_ns;
	if (!policy_run_tick(h->policy, now_ns))
		return false;
	/*
	 * What is beyond limits goes now, whoever runs: guests that a policy blocks touch nothing that would make it
	 * go. The host's swapper does it beside the guests; only its writes take time, the device's.
	 */
	host_evict(h);
	if (h->ops->unmapped)
		h->ops->unmapped(h->ctx);
	return true;
}
