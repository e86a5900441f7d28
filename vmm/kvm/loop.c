/* SPDX-License-Identifier: MIT */
/*
 * loop.c - real guests in lockstep, and what the free schedule (free.c) has in common with it
 *
 * VMs take turns, one quantum each, in order of their number, as in the simulator (vmm/sim/loop.c): a guest's user
 * loop ends its quantum by itself, after so many operations, and its kernel yields by a hypercall. Virtual time is
 * operations x 100 ns; a guest that idles has its own time moved to when it wants to wake. Samples are taken between
 * rounds.
 */
#include <string.h>

#include "vmm/digest.h"
#include "vmm/guest_counts.h"
#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

#define NEVER_NS (1ull << 62)

/* What the guest counts itself, in its arena. */
static void read_guest_counts(const struct kvm_vm *vm, struct counters *c)
{
	const struct vcpu_page *v = kvm_vcpu_page(vm);
	gpa_t arena_end = vm->arena_pages * PAGE_SIZE;
	struct kernel_counts k = { 0 };

	if (v->counts < arena_end && arena_end - v->counts >= sizeof(k))
		memcpy(&k, kvm_arena(vm, v->counts), sizeof(k));
	c->reads = v->reads;
	c->writes = v->writes;
	c->fetches = v->fetches;
	c->accesses = v->reads + v->writes + v->fetches;
	c->operations = v->operations;
	c->quanta = v->quanta;
	guest_counts(&k, c);
}

/* What the VM's part of the compressed tier takes, and saves. */
static void refresh_tier(struct counters *c)
{
	uint64_t patches = (c->patch_size + PAGE_SIZE - 1) / PAGE_SIZE;

	c->frames_compressed = (c->compressed_size + PAGE_SIZE - 1) / PAGE_SIZE;
	c->saved_patch = c->pages_patched - MIN(patches, c->pages_patched);
	c->saved_compress = c->pages_compressed - MIN(c->frames_compressed + c->saved_patch, c->pages_compressed);
}

void kvm_vm_refresh(struct kvm_vm *vm)
{
	struct counters *c = &vm->counters;

	read_guest_counts(vm, c);
	refresh_tier(c);
	c->table_frames = vm->paging->ops->table_frames(vm->paging);
	c->ns_total = vm->run_ns;
	c->ns_exit_ept = MIN(vm->fault_ns, c->ns_total);
	c->ns_exit_other = vm->exit_ns;
	c->ns_work = c->ns_total - MIN(c->ns_exit_ept + c->ns_exit_other, c->ns_total);
	c->ns_idle = vm->idle_ns;
}

static void read_counters(void *ctx, unsigned i, struct counters *out)
{
	struct kvm_machine *m = ctx;

	g_mutex_lock(&m->lock);
	kvm_vm_refresh(m->vms[i]);
	*out = m->vms[i]->counters;
	g_mutex_unlock(&m->lock);
}

static void read_host(void *ctx, struct counters *out)
{
	struct kvm_machine *m = ctx;

	g_mutex_lock(&m->lock);
	host_report(&m->host);
	*out = m->host.counters;
	g_mutex_unlock(&m->lock);
}

static void count_exit(struct kvm_vm *vm, uint64_t *by_cause)
{
	g_mutex_lock(&vm->m->lock);
	kvm_count_exit(vm, by_cause);
	g_mutex_unlock(&vm->m->lock);
}

static void fail(struct kvm_vm *vm, enum failure kind, const char *why)
{
	g_mutex_lock(&vm->m->lock);
	kvm_vm_fail_as(vm, kind, "%s", why);
	g_mutex_unlock(&vm->m->lock);
}

uint64_t kvm_guest_now(struct kvm_vm *vm)
{
	if (vm->m->free)
		return vm->m->start_ns ? kvm_clock_ns() - vm->m->start_ns : 0;
	return kvm_life_operations(vm) * LOCKSTEP_NS + vm->idle_ns;
}

static void look_at_devices(struct kvm_vm *vm)
{
	g_mutex_lock(&vm->m->lock);
	kvm_vcpu_page(vm)->lines = kvm_devices_look(vm);
	g_mutex_unlock(&vm->m->lock);
}

/* Nothing to run: let the guest's time pass, to when it wants to wake or a device has something. */
static void idle(struct kvm_vm *vm)
{
	struct vcpu_page *v = kvm_vcpu_page(vm);
	uint64_t now = kvm_guest_now(vm), wake;

	g_mutex_lock(&vm->m->lock);
	wake = MIN(v->wake_ns, kvm_devices_next(vm));
	if (wake >= NEVER_NS) {
		kvm_vm_fail_as(vm, FAILURE_HANG, "every process of the guest waits for ever");
	} else if (wake > now) {
		kvm_count_exit(vm, &vm->counters.exits_halt);
		vm->idle_ns += wake - now;
		v->idle_ns = vm->idle_ns;
		v->lines = kvm_devices_look(vm);
	}
	g_mutex_unlock(&vm->m->lock);
}

/* Either an assertion of the guest kernel, or an exception in it, which the stub reports without a line. */
static void panic(struct kvm_vm *vm)
{
	const struct guest_export *export = kvm_arena(vm, EXPORT_GPA);
	const uint64_t *stub = kvm_arena(vm, STUB_DATA_GPA);
	gpa_t arena_end = vm->arena_pages * PAGE_SIZE, at = export->panic_file;
	char *why;

	if (export->panic) {
		int n = at < arena_end ? (int)MIN(arena_end - at, 256) : 0;

		why = g_strdup_printf("guest kernel: assertion failed at %.*s:%" G_GUINT64_FORMAT, n,
				      n ? (const char *)kvm_arena(vm, at) : "", export->panic);
	} else {
		why = g_strdup_printf("guest kernel: exception %u (error 0x%x, cr2 0x%" G_GINT64_MODIFIER
				      "x) at 0x%" G_GINT64_MODIFIER "x",
				      (unsigned)stub[STUB_VECTOR / 8], (unsigned)stub[STUB_ERROR / 8],
				      stub[STUB_CR2 / 8], stub[STUB_RIP / 8]);
	}
	fail(vm, FAILURE_CRASH, why);
	g_free(why);
}

gboolean kvm_boot_run(struct kvm_vm *vm, GError **error)
{
	switch (kvm_vcpu_run(vm)) {
	case HC_BOOTED:
		return TRUE;
	case HC_NO_ARENA:
		fail(vm, FAILURE_MEMORY, "its arena is too small to boot: raise [vm] arena");
		g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start: %s", vm->out->name,
			    vm->out->failure);
		return FALSE;
	case HC_PANIC:
		panic(vm);
		return TRUE;
	default:
		if (!run_stop)
			fail(vm, FAILURE_CRASH, "its kernel did not boot");
		return TRUE;
	}
}

void kvm_loop_last_call(struct kvm_vm *vm, uint32_t call)
{
	if (call == HC_PANIC)
		panic(vm);
	else
		fail(vm, FAILURE_ACCESS, "an unknown hypercall");
}

/* One VM's turn: to the end of its quantum, of its life, or of the run. */
static void run_quantum(struct kvm_vm *vm)
{
	while (!vm->done) {
		uint32_t call = kvm_vcpu_run(vm);

		switch (call) {
		case 0:
			return;
		case HC_YIELD:
			count_exit(vm, &vm->counters.exits_hypercall);
			return;
		case HC_IDLE:
			idle(vm);
			break;
		case HC_NOTHING:
			return;
		case HC_REFILL:
			g_mutex_lock(&vm->m->lock);
			kvm_trace_refill(vm);
			g_mutex_unlock(&vm->m->lock);
			break;
		case HC_DEVICES:
			look_at_devices(vm);
			break;
		case HC_DONE:
			vm->done = true;
			break;
		default:
			kvm_loop_last_call(vm, call);
		}
	}
}

bool kvm_loop_over(const struct kvm_machine *m)
{
	uint64_t duration = m->run->e->experiment.duration_ns;

	if (run_stop) {
		m->run->interrupted = true;
		return true;
	}
	return duration && m->now_ns >= duration;
}

void kvm_loop_progress(struct kvm_machine *m)
{
	struct run_part part = { 0 };

	if (!m->run->progress)
		return;
	for (unsigned i = 0; i < m->nvms; i++)
		run_part_add(&part, m->vms[i]->script, kvm_vcpu_page(m->vms[i])->operations, m->vms[i]->done);
	run_part_report(m->run, &part, m->now_ns);
}

static void digest(struct kvm_vm *vm)
{
	struct run_vm *out = vm->out;

	if (trace_feed_error(vm->feed))
		kvm_vm_fail(vm, "%s", trace_feed_error(vm->feed));
	out->killed = guest_killed(vm->m->run, vm->conf, (const void *)(gmem_arena(vm->gmem) + EXPORT_GPA));
	if (!vm->m->run->e->experiment.digest || out->failure)
		return;
	g_mutex_lock(&vm->m->lock);
	out->has_digest = digest_vm(vm->gmem, vm->conf->guest_levels, NULL, NULL,
				    vm->disk ? vm_disk_image(vm->disk) : NULL, &out->digest) == 0;
	if (!out->has_digest)
		kvm_vm_fail_as(vm, FAILURE_ACCESS, "the guest's page tables make no sense: no digest");
	g_mutex_unlock(&vm->m->lock);
}

/* What the simulator does between rounds, in its order (vmm/sim/loop.c). */
static void work_of_host(struct kvm_machine *m)
{
	g_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->nvms; i++)
		if (host_upkeep_due(&m->host, i, m->now_ns))
			host_upkeep(&m->host, i, m->now_ns);
	host_scan(&m->host, m->now_ns);
	host_estimate(&m->host, m->now_ns);
	g_mutex_unlock(&m->lock);
}

static void decide(struct kvm_machine *m)
{
	g_mutex_lock(&m->lock);
	host_decide(&m->host, m->now_ns);
	g_mutex_unlock(&m->lock);
}

static void bury(struct kvm_machine *m, unsigned vm)
{
	g_mutex_lock(&m->lock);
	host_bury(&m->host, vm);
	g_mutex_unlock(&m->lock);
}

static void run_lockstep(struct kvm_machine *m)
{
	bool alive = true;

	kvm_together_begin(m);
	for (uint64_t round = 0; alive && !kvm_loop_over(m); round++) {
		alive = false;
		decide(m);
		sampler_tick(&m->sampler, m->now_ns);
		for (unsigned i = 0; i < m->nvms; i++) {
			if (m->vms[i]->done)
				continue;
			alive = true;
			kvm_together_tick(m);
			if (m->host.vm[i].blocked_until <= m->now_ns)
				run_quantum(m->vms[i]);
			bury(m, i);
		}
		m->now_ns += m->run->e->experiment.quantum * LOCKSTEP_NS;
		work_of_host(m);
		if (round % 64 == 0)
			kvm_loop_progress(m);
	}
	kvm_together_end(m);
}

gboolean kvm_loop(struct kvm_machine *m, GError **error)
{
	gboolean ok;

	g_mutex_lock(&m->lock);
	ok = host_begin(&m->host, error);
	g_mutex_unlock(&m->lock);
	if (!ok)
		return FALSE;
	for (unsigned i = 0; i < m->nvms; i++)
		kvm_stats_begin(m->vms[i]);
	sampler_init(&m->sampler, m->run, read_counters, m);
	m->sampler.read_host = read_host;
	if (m->free)
		kvm_free_run(m);
	else
		run_lockstep(m);
	kvm_stats_write(m);
	g_mutex_lock(&m->lock);
	host_finish(&m->host);
	g_mutex_unlock(&m->lock);
	ok = sampler_finish(&m->sampler, m->now_ns, error);
	sampler_destroy(&m->sampler);
	for (unsigned i = 0; i < m->nvms && ok; i++)
		digest(m->vms[i]);
	return ok;
}
