/* SPDX-License-Identifier: MIT */
/*
 * host.c - the real machine's part in what the host does beside its guests (vmm/host.h)
 *
 * Jobs take real time, of this process. All of it happens with the lock held, between quanta in lockstep.
 */
#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

static void job_begins(void *ctx, enum host_job job)
{
	struct kvm_machine *m = ctx;

	(void)job;
	m->job_began = kvm_clock_ns();
}

static uint64_t job_ends(void *ctx, enum host_job job)
{
	struct kvm_machine *m = ctx;
	uint64_t ns = kvm_clock_ns() - m->job_began;

	m->job_ns[job] += ns;
	return ns;
}

static uint64_t job_ns(void *ctx, enum host_job job)
{
	const struct kvm_machine *m = ctx;

	return m->job_ns[job];
}

static bool done(void *ctx, unsigned vm)
{
	const struct kvm_machine *m = ctx;

	return m->vms[vm]->done;
}

static void fail(void *ctx, unsigned vm, const char *why)
{
	struct kvm_machine *m = ctx;

	kvm_vm_fail(m->vms[vm], "%s", why);
}

static bool page_free(void *ctx, unsigned vm, gfn_t gfn)
{
	const struct kvm_machine *m = ctx;
	const struct kvm_vm *v = m->vms[vm];

	return kernel_arena_page_free(kvm_arena(v, 0), &v->boot, gfn);
}

static void refresh(void *ctx, unsigned vm)
{
	struct kvm_machine *m = ctx;

	kvm_vm_refresh(m->vms[vm]);
}

/* In lockstep every guest looks at its devices often enough by itself. */
static void wake(void *ctx, unsigned vm)
{
	(void)ctx;
	(void)vm;
}

const struct host_ops kvm_host_ops = {
	.job_begins = job_begins,
	.job_ends = job_ends,
	.job_ns = job_ns,
	.done = done,
	.fail = fail,
	.page_free = page_free,
	.refresh = refresh,
	.wake = wake,
};
