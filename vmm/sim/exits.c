/* SPDX-License-Identifier: MIT */
/*
 * exits.c - what the VMM does when the simulated processor stops
 *
 * Each paging mode leaves something else to the hardware:
 *
 *	native	every fault is the guest's; nothing exits
 *	ept	stage-1 faults are the guest's; violations, misconfigurations and a full PML exit
 *	shadow	every page fault exits: the VMM fills, traces, or reflects it; so do CR3 loads and INVLPG
 *	pv	the same, but CR3 loads and invalidations are hypercalls
 *
 * An exit costs its hardware round trip plus the handler's fixed part (both from the profile); what the handler then
 * does to tables and memory is charged by the memory manager, piece by piece, to the bucket of the exit.
 *
 * The lab guest's kernel lives in a root of its own, so entering and leaving it loads CR3 twice. When the VMM
 * reflects a fault into a shadow or pv guest it switches to the kernel's root itself: that entry costs no
 * exit of its own.
 */
#include <stdarg.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "vmm/sim/sim.h"

static const struct {
	size_t counter;
	enum bucket bucket;
	size_t handler; /* field of the profile */
} causes[EXIT_CAUSES] = {
#define CAUSE(counter, bucket, handler) \
	{ offsetof(struct counters, counter), bucket, offsetof(struct sim_profile, handler) }
	[EXIT_PAGE_FAULT] = CAUSE(exits_page_fault, BUCKET_PAGE_FAULT, handle_page_fault),
	[EXIT_TRACED_WRITE] = CAUSE(exits_traced_write, BUCKET_TRACED_WRITE, handle_traced_write),
	[EXIT_CR_WRITE] = CAUSE(exits_cr_write, BUCKET_CR_WRITE, handle_cr),
	[EXIT_INVLPG] = CAUSE(exits_invlpg, BUCKET_INVLPG, handle_invlpg),
	[EXIT_EPT_VIOLATION] = CAUSE(exits_ept_violation, BUCKET_EPT, handle_ept),
	[EXIT_EPT_MISCONFIG] = CAUSE(exits_ept_misconfig, BUCKET_EPT, handle_ept),
	[EXIT_PML_FULL] = CAUSE(exits_pml_full, BUCKET_OTHER, handle_pml),
	[EXIT_HYPERCALL] = CAUSE(exits_hypercall, BUCKET_HYPERCALL, handle_hypercall),
	[EXIT_INTERRUPT] = CAUSE(exits_interrupt, BUCKET_OTHER, handle_interrupt),
	[EXIT_IO] = CAUSE(exits_io, BUCKET_OTHER, handle_io),
	[EXIT_HALT] = CAUSE(exits_halt, BUCKET_OTHER, handle_halt),
#undef CAUSE
};

void sim_vm_fail(struct sim_vm *vm, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	run_vm_fail(vm->out, &vm->counters, FAILURE_OTHER, format, ap);
	va_end(ap);
	vm->done = true;
}

void sim_vm_fail_as(struct sim_vm *vm, enum failure kind, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	run_vm_fail(vm->out, &vm->counters, kind, format, ap);
	va_end(ap);
	vm->done = true;
}

void sim_exit(struct sim_vcpu *v, enum exit_cause cause)
{
	const struct sim_profile *p = v->vm->sim->profile;
	struct counters *c = &v->vm->counters;

	c->exits++;
	(*(uint64_t *)((char *)c + causes[cause].counter))++;
	v->bucket = causes[cause].bucket;
	sim_spend(v, v->bucket, p->exit_cycles + *(const uint32_t *)((const char *)p + causes[cause].handler));
	/* No handler has begun: nobody holds a page or a table. */
	host_balance(&v->vm->sim->host);
}

/* The guest's registers changed: so do the processor's. */
static void load_registers(struct sim_vcpu *v)
{
	if (v->vm->conf->paging == MODE_SHADOW)
		shadow_hw_regs(&v->regs, &v->hw);
	else
		v->hw = v->regs;
}

void sim_set_cr3(struct sim_vcpu *v, uint64_t cr3)
{
	v->regs.cr3 = cr3;
	load_registers(v);
}

void sim_refresh_root(struct sim_vcpu *v)
{
	struct paging *p = v->vm->paging;
	int err = p->ops->hw_root(p, v->id, &v->ctx.root);

	load_registers(v);
	if (err)
		sim_vm_fail_as(v->vm, FAILURE_MEMORY, "no host memory for a root table (%s)", g_strerror(-err));
}

void sim_drain_pml(struct sim_vcpu *v)
{
	if (v->pml.n)
		ept_pml_drain(v->vm->paging, v->pml.gpa, v->pml.n);
	v->pml.n = 0;
}

static enum sim_verdict ask_paging(struct sim_vcpu *v, struct mmu_result *r)
{
	struct sim_vm *vm = v->vm;
	struct paging_fault f = {
		.vcpu = v->id,
		.error = r->error,
		.gva = r->gva,
		.gpa = r->gpa,
		.second_stage = r->outcome != MMU_PAGE_FAULT,
		.table_access = r->table_access,
		.misconfig = r->outcome == MMU_MISCONFIG,
	};
	int err = 0;
	enum paging_verdict verdict = vm->paging->ops->fault(vm->paging, &f, &err);

	sim_refresh_root(v);
	r->error = f.error;
	r->gpa = f.gpa;
	switch (verdict) {
	case PAGING_RETRY:
		return SIM_RETRY;
	case PAGING_EMULATE:
		return SIM_EMULATE;
	case PAGING_INJECT:
		vm->counters.exits_inject++;
		sim_spend(v, v->bucket, vm->sim->profile->inject_cycles);
		return SIM_INJECT;
	case PAGING_FAIL:
		break;
	}
	sim_vm_fail_as(vm, failure_of(err),
		       "access to 0x%" G_GINT64_MODIFIER "x (guest-physical 0x%" G_GINT64_MODIFIER "x): %s", r->gva,
		       r->gpa, failure_text(err));
	return SIM_FAILED;
}

enum sim_verdict sim_handle(struct sim_vcpu *v, struct mmu_result *r)
{
	int mode = v->vm->conf->paging;
	enum sim_verdict verdict;

	switch (r->outcome) {
	case MMU_PAGE_FAULT:
		if (mode == MODE_NATIVE || mode == MODE_EPT)
			return SIM_INJECT;
		sim_exit(v, EXIT_PAGE_FAULT);
		verdict = ask_paging(v, r);
		if (verdict == SIM_EMULATE) {
			/* The same exit: it turned out to be a write to a traced table. */
			v->vm->counters.exits_page_fault--;
			v->vm->counters.exits_traced_write++;
			v->bucket = BUCKET_TRACED_WRITE;
			sim_spend(v, v->bucket, v->vm->sim->profile->handle_traced_write);
		}
		return verdict;
	case MMU_VIOLATION:
		sim_exit(v, EXIT_EPT_VIOLATION);
		return ask_paging(v, r);
	case MMU_MISCONFIG:
		sim_exit(v, EXIT_EPT_MISCONFIG);
		return ask_paging(v, r);
	case MMU_PML_FULL:
		sim_exit(v, EXIT_PML_FULL);
		sim_drain_pml(v);
		return SIM_RETRY;
	case MMU_OK:
		break;
	}
	return SIM_RETRY;
}

int sim_emulate_store(struct sim_vcpu *v, const struct mmu_result *r, uint64_t value)
{
	struct paging *p = v->vm->paging;
	int err = p->ops->guest_write(p, v->id, r->gpa, &value, sizeof(value));

	if (err)
		sim_vm_fail_as(v->vm, failure_of(err),
			       "write to the table at guest-physical 0x%" G_GINT64_MODIFIER "x: %s", r->gpa,
			       g_strerror(-err));
	sim_refresh_root(v);
	return err;
}

void sim_load_cr3(struct sim_vcpu *v, uint64_t cr3, bool exits)
{
	struct sim_vm *vm = v->vm;
	int mode = vm->conf->paging;

	sim_set_cr3(v, cr3 & ~CR3_NOFLUSH);
	if (mode == MODE_SHADOW || mode == MODE_PV) {
		if (exits)
			sim_exit(v, mode == MODE_SHADOW ? EXIT_CR_WRITE : EXIT_HYPERCALL);
		vm->paging->ops->guest_event(vm->paging, v->id, GUEST_CR3, cr3);
	} else {
		sim_spend(v, BUCKET_KERNEL, vm->sim->profile->cr3_cycles);
	}
	sim_refresh_root(v);
	mmu_load_cr3(v->cpu->mmu, &v->ctx, cr3);
}

void sim_invalidate(struct sim_vcpu *v, uint64_t space, enum guest_event event, uint64_t arg)
{
	struct sim_vm *vm = v->vm;
	int mode = vm->conf->paging;
	uint64_t own = v->regs.cr3;

	/* INVPCID names an address space that is not the one CR3 holds while the kernel runs. */
	sim_set_cr3(v, space & ~CR3_NOFLUSH);
	if (mode == MODE_SHADOW || mode == MODE_PV) {
		sim_exit(v, mode == MODE_SHADOW ? EXIT_INVLPG : EXIT_HYPERCALL);
		vm->paging->ops->guest_event(vm->paging, v->id, event, arg);
	} else {
		sim_spend(v, BUCKET_KERNEL,
			  event == GUEST_INVLPG ? vm->sim->profile->invlpg_cycles : vm->sim->profile->invpcid_cycles);
	}
	if (event == GUEST_INVLPG)
		mmu_invlpg(v->cpu->mmu, &v->ctx, arg);
	else
		mmu_flush_space(v->cpu->mmu, &v->ctx, (unsigned)(space & CR3_PCID));
	sim_set_cr3(v, own);
	sim_refresh_root(v);
}
