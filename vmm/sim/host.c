/* SPDX-License-Identifier: MIT */
/*
 * host.c - the simulated machine's part in what the host does beside its guests (vmm/host.h)
 *
 * Merging and estimating are billed to the host. In the free schedule the CPU that is furthest behind does the work, as
 * a kernel thread would, and the vCPU that runs there next waits for it; in lockstep time does not depend on costs.
 */
#include "vmm/sim/sim.h"
#include "vmm/sim/truth.h"

static void job_begins(void *ctx, enum host_job job)
{
	struct sim *s = ctx;

	s->job = job;
	s->job_began = s->job_cycles[job];
}

static uint64_t job_ends(void *ctx, enum host_job job)
{
	struct sim *s = ctx;

	s->job = HOST_JOBS;
	return sim_cycles_to_ns(s, s->job_cycles[job] - s->job_began);
}

static uint64_t job_ns(void *ctx, enum host_job job)
{
	const struct sim *s = ctx;

	return sim_cycles_to_ns(s, s->job_cycles[job]);
}

static void unmapped(void *ctx)
{
	struct sim *s = ctx;

	for (unsigned i = 0; i < s->nvms; i++)
		for (unsigned j = 0; j < s->vms[i]->nvcpus && !s->vms[i]->done; j++)
			sim_refresh_root(&s->vms[i]->vcpu[j]);
}

static bool done(void *ctx, unsigned vm)
{
	const struct sim *s = ctx;

	return s->vms[vm]->done;
}

static void fail(void *ctx, unsigned vm, const char *why)
{
	struct sim *s = ctx;

	sim_vm_fail(s->vms[vm], "%s", why);
}

static bool page_free(void *ctx, unsigned vm, gfn_t gfn)
{
	const struct sim *s = ctx;

	return s->vms[vm]->kernel && kernel_page_free(s->vms[vm]->kernel, gfn);
}

static void drain(void *ctx, unsigned vm)
{
	struct sim *s = ctx;

	for (unsigned i = 0; i < s->vms[vm]->nvcpus; i++)
		sim_drain_pml(&s->vms[vm]->vcpu[i]);
}

static uint64_t truth(void *ctx, unsigned vm)
{
	struct sim *s = ctx;

	return s->vms[vm]->done ? UINT64_MAX : truth_take(s->vms[vm]->truth);
}

static void refresh(void *ctx, unsigned vm)
{
	struct sim *s = ctx;

	sim_vm_refresh(s->vms[vm]);
}

/* A sleeping vCPU is ready now: it will find the interrupt. */
static void wake(void *ctx, unsigned vm)
{
	struct sim *s = ctx;
	struct sim_vcpu *v = &s->vms[vm]->vcpu[0];

	if (v->cpu->current != v)
		v->ready_at = MIN(v->ready_at, MAX(sim_ns_to_cycles(s, s->now_ns), v->off_at));
}

const struct host_ops sim_host_ops = {
	.job_begins = job_begins,
	.job_ends = job_ends,
	.job_ns = job_ns,
	.unmapped = unmapped,
	.done = done,
	.fail = fail,
	.page_free = page_free,
	.drain = drain,
	.truth = truth,
	.refresh = refresh,
	.wake = wake,
};

gboolean sim_truth_init(struct sim *s, GError **error)
{
	for (unsigned i = 0; s->run->e->estimate.truth && i < s->nvms; i++) {
		const struct gmem_config *g = gmem_config(s->vms[i]->gmem);

		s->vms[i]->truth = truth_new(g->arena_pages, g->npages);
		if (s->vms[i]->truth)
			continue;
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "no address space for estimating working sets: raise the limit (ulimit -v)");
		return FALSE;
	}
	return TRUE;
}

uint64_t sim_host_work(struct sim *s, uint64_t now_ns)
{
	uint64_t before = s->job_cycles[HOST_SCAN] + s->job_cycles[HOST_ESTIMATE];

	host_scan(&s->host, now_ns);
	host_estimate(&s->host, now_ns);
	return s->job_cycles[HOST_SCAN] + s->job_cycles[HOST_ESTIMATE] - before;
}
