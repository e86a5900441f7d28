/* SPDX-License-Identifier: MIT */
/* host.c - what a host does beside running guests: beginning and end */
#include "vmm/host.h"

#include <errno.h>

#include "mm/err.h"

/* In lockstep, more tables than any experiment that is not made for it needs: one for four pages. */
#define TABLE_SHARE 4u
#define TABLE_LEAST 4096u

struct frames *host_frames(const struct run *run, bool shared)
{
	const struct conf_host *c = &run->e->host;
	struct frames_config cfg = { .npages = c->memory / PAGE_SIZE, .nnodes = (unsigned)c->nodes, .shared = shared };

	if (run->e->experiment.schedule == SCHEDULE_LOCKSTEP)
		cfg.ntables = cfg.npages / TABLE_SHARE + TABLE_LEAST;
	return frames_create(&cfg);
}

int host_init(struct host *h, struct run *run, struct machine *machine, struct frames *frames,
	      const struct host_ops *ops, void *ctx)
{
	h->run = run;
	h->machine = machine;
	h->frames = frames;
	h->ops = ops;
	h->ctx = ctx;
	h->nvms = run->vms->len;
	h->vm = g_new0(struct host_vm, h->nvms);
	h->gmems = g_new0(struct gmem *, h->nvms);
	for (unsigned i = 0; i < h->nvms; i++) {
		h->vm[i].out = g_ptr_array_index(run->vms, i);
		h->vm[i].conf = h->vm[i].out->conf;
	}
	return host_swap_init(h);
}

int host_attach(struct host *h, unsigned vm, struct gmem *g, struct vm_balloon *balloon)
{
	struct host_vm *v = &h->vm[vm];

	v->gmem = h->gmems[vm] = g;
	v->balloon = balloon;
	v->blocked_until = v->conf->start_ns;
	v->waiting = experiment_has_policy(h->run->e);
	return host_swap_attach(h, vm);
}

gboolean host_begin(struct host *h, GError **error)
{
	return host_scan_init(h, error) && host_estimate_init(h, error) && host_policy_init(h, error);
}

void host_report(struct host *h)
{
	host_scan_report(h);
	host_swap_report(h, false);
	h->counters.frames_tier = h->swap ? swap_pool_used(h->swap) : 0;
}

void host_finish(struct host *h)
{
	policy_run_finish(h->policy);
	host_estimate_finish(h);
	host_swap_report(h, true);
}

void host_stop(struct host *h)
{
	policy_run_free(h->policy);
	h->policy = NULL;
	if (h->dedup)
		h->dedup->ops->destroy(h->dedup);
	h->dedup = NULL;
	if (h->estimate)
		estimate_free(h->estimate);
	h->estimate = NULL;
}

void host_destroy(struct host *h)
{
	for (unsigned i = 0; i < h->nvms; i++)
		g_free(h->vm[i].dirty);
	g_free(h->vm);
	g_free(h->gmems);
	if (h->swap)
		swap_free(h->swap);
}
