/* SPDX-License-Identifier: MIT */
/*
 * host.c - the real machine's part in what the host does beside its guests (vmm/host.h)
 *
 * Jobs take real time, of the thread that does them. All of it happens with the lock held, between quanta in lockstep.
 */
#include "vmm/kvm/ksm.h"
#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

/* Of this thread: what a host's job takes is not what others take from it meanwhile, as ksmd's time is not either. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void job_begins(void *ctx, enum host_job job)
{
	struct kvm_machine *m = ctx;

	(void)job;
	m->job_began = cpu_ns();
}

static uint64_t job_ends(void *ctx, enum host_job job)
{
	struct kvm_machine *m = ctx;
	uint64_t ns = cpu_ns() - m->job_began;

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
	(void)vm;
	kvm_free_poke(ctx);
}

static gboolean merge_begin(void *ctx, GError **error)
{
	struct kvm_machine *m = ctx;

	m->ksm = kvm_ksm_new(&m->run->e->dedup, error);
	for (unsigned i = 0; m->ksm && i < m->nvms; i++) {
		const struct kvm_vm *vm = m->vms[i];
		int err = kvm_ksm_add(m->ksm, i, vm->memory, (size_t)(vm->npages - vm->arena_pages) * PAGE_SIZE);

		if (err) {
			g_set_error(error, VMM_ERROR, VMM_LACKS, "[dedup] algorithm = kernel: MADV_MERGEABLE: %s",
				    g_strerror(-err));
			return FALSE;
		}
	}
	return m->ksm != NULL;
}

static void merge_stop(void *ctx, bool unmerge)
{
	struct kvm_machine *m = ctx;

	kvm_ksm_stop(m->ksm, unmerge);
}

static void merge_report(void *ctx, struct counters *host)
{
	struct kvm_machine *m = ctx;
	g_autofree uint64_t *pages = g_new0(uint64_t, m->nvms);
	uint64_t merged = kvm_ksm_read(m->ksm, host);

	if (!kvm_ksm_read_vms(m->ksm, pages, m->nvms))
		host->pages_merged = merged;
	for (unsigned i = 0; i < m->nvms; i++)
		m->vms[i]->counters.pages_merged = pages[i];
}

const struct host_ops kvm_host_ops = {
	.job_begins = job_begins,
	.job_ends = job_ends,
	.job_ns = job_ns,
	.done = done,
	.fail = fail,
	.page_free = page_free,
	.refresh = refresh,
	.merge_begin = merge_begin,
	.merge_stop = merge_stop,
	.merge_report = merge_report,
	.wake = wake,
};
