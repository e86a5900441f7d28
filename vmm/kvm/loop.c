/* SPDX-License-Identifier: MIT */
/*
 * loop.c - real guests in lockstep
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
#include "vmm/sampler.h"
#include "workloads/guest/kernel.h"

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
	c->accesses = v->reads + v->writes;
	c->operations = v->operations;
	c->quanta = v->quanta;
	guest_counts(&k, c);
}

static void read_counters(void *ctx, unsigned i, struct counters *out)
{
	struct kvm_machine *m = ctx;
	struct kvm_vm *vm = m->vms[i];

	g_mutex_lock(&m->lock);
	*out = vm->counters;
	out->table_frames = vm->paging->ops->table_frames(vm->paging);
	g_mutex_unlock(&m->lock);
	read_guest_counts(vm, out);
	out->ns_total = vm->run_ns;
}

static void count_exit(struct kvm_vm *vm, uint64_t *by_cause)
{
	g_mutex_lock(&vm->m->lock);
	vm->counters.exits++;
	(*by_cause)++;
	g_mutex_unlock(&vm->m->lock);
}

static void fail(struct kvm_vm *vm, const char *why)
{
	g_mutex_lock(&vm->m->lock);
	kvm_vm_fail(vm, "%s", why);
	g_mutex_unlock(&vm->m->lock);
}

/* Nothing to run: let the guest's time pass. */
static void idle(struct kvm_vm *vm)
{
	struct vcpu_page *v = kvm_vcpu_page(vm);
	uint64_t now = v->operations * LOCKSTEP_NS + v->idle_ns;

	count_exit(vm, &vm->counters.exits_halt);
	if (v->wake_ns == UINT64_MAX)
		fail(vm, "every process of the guest waits for ever");
	else if (v->wake_ns > now)
		v->idle_ns += v->wake_ns - now;
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
	fail(vm, why);
	g_free(why);
}

gboolean kvm_boot_run(struct kvm_vm *vm, GError **error)
{
	switch (kvm_vcpu_run(vm)) {
	case HC_BOOTED:
		return TRUE;
	case HC_NO_ARENA:
		fail(vm, "its arena is too small to boot: raise [vm] arena");
		break;
	case HC_PANIC:
		panic(vm);
		break;
	default:
		fail(vm, run_stop ? "interrupted" : "its kernel did not boot");
	}
	g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start: %s", vm->out->name, vm->out->failure);
	return FALSE;
}

/* One VM's turn: to the end of its quantum, of its life, or of the run. */
static void run_quantum(struct kvm_vm *vm)
{
	while (!vm->done) {
		switch (kvm_vcpu_run(vm)) {
		case 0:
			return;
		case HC_YIELD:
			count_exit(vm, &vm->counters.exits_hypercall);
			return;
		case HC_IDLE:
			idle(vm);
			break;
		case HC_DONE:
			vm->done = true;
			break;
		case HC_PANIC:
			panic(vm);
			break;
		default:
			fail(vm, "an unknown hypercall");
		}
	}
}

static bool over(const struct kvm_machine *m)
{
	uint64_t duration = m->run->e->experiment.duration_ns;

	if (run_stop) {
		m->run->interrupted = true;
		return true;
	}
	return duration && m->now_ns >= duration;
}

static void progress(struct kvm_machine *m)
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

	out->killed = guest_killed(vm->m->run, vm->conf, (const void *)(gmem_arena(vm->gmem) + EXPORT_GPA));
	if (!vm->m->run->e->experiment.digest || out->failure)
		return;
	g_mutex_lock(&vm->m->lock);
	out->has_digest = digest_vm(vm->gmem, vm->conf->guest_levels, NULL, NULL, NULL, &out->digest) == 0;
	if (!out->has_digest)
		kvm_vm_fail(vm, "the guest's page tables make no sense: no digest");
	g_mutex_unlock(&vm->m->lock);
}

gboolean kvm_loop(struct kvm_machine *m, GError **error)
{
	struct sampler s;
	bool alive = true;

	sampler_init(&s, m->run, read_counters, m);
	for (uint64_t round = 0; alive && !over(m); round++) {
		alive = false;
		sampler_tick(&s, m->now_ns);
		for (unsigned i = 0; i < m->nvms; i++) {
			alive |= !m->vms[i]->done;
			run_quantum(m->vms[i]);
		}
		m->now_ns += m->run->e->experiment.quantum * LOCKSTEP_NS;
		if (round % 64 == 0)
			progress(m);
	}
	gboolean ok = sampler_finish(&s, m->now_ns, error);

	sampler_destroy(&s);
	for (unsigned i = 0; i < m->nvms && ok; i++)
		digest(m->vms[i]);
	return ok;
}
