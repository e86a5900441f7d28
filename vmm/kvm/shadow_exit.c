/* SPDX-License-Identifier: MIT */
/*
 * shadow_exit.c - a shadow-mode guest comes out, and goes in again
 *
 * A vCPU comes out for one reason: an exception at CPL 3 made the VMM's stub do `out`. Its frame is in the stub's
 * stack, its other registers are in KVM's run page; together they are `cpu`. A page fault is shadow/'s; whatever it
 * says, or any other exception, may go on to the guest, whose ring 0 is then interpreted (shadow_ring0.c).
 *
 * A store that shadow/ wants carried out (a traced table) is decoded and performed by emulate.c with the guest's
 * rights. What emulate.c does not know, vector stores for one, the processor has to do: the trace is lifted for it. A
 * guest that stores so to the very root it stands on gets nowhere that way and is ended.
 *
 * Going in: the registers that changed go back, the stub is told what to do first (shadow_flush.c), and from then on
 * other threads must flush at once what they change.
 *
 * The stub's own rip is never edited: on some processors the `out` is still to be completed.
 */
#include "vmm/kvm/shadow.h"

#include <string.h>

/* Times in a row that one instruction may have its trace lifted. */
#define LIFTED_MOST 8

static void load_cpu(struct kvm_vm *vm)
{
	const struct kvm_regs *r = &vm->kvm_run->s.regs.regs;
	const struct kvm_sregs *s = &vm->kvm_run->s.regs.sregs;
	const struct stub_frame *f = kvm_shadow_frame(vm);
	struct emu *e = &vm->shadow->cpu;
	const uint64_t gpr[EMU_GPRS] = { r->rax, r->rcx, r->rdx, r->rbx, f->rsp, r->rbp, r->rsi, r->rdi,
					 r->r8,	 r->r9,	 r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

	memcpy(e->gpr, gpr, sizeof(gpr));
	e->rip = f->rip;
	e->rflags = (f->rflags & RFLAGS_USER) | RFLAGS_ONE;
	e->cr3 = vm->regs.cr3;
	e->fs_base = s->fs.base;
	e->gs_base = s->gs.base;
	e->cpl = 3;
}

static void store_cpu(struct kvm_vm *vm)
{
	const struct emu *e = &vm->shadow->cpu;
	struct stub_frame *f = kvm_shadow_frame(vm);
	struct kvm_regs *r = &vm->kvm_run->s.regs.regs, new = *r;

	f->rip = e->rip;
	f->rflags = e->rflags;
	f->rsp = e->gpr[EMU_RSP];
	new.rax = e->gpr[EMU_RAX];
	new.rcx = e->gpr[EMU_RCX];
	new.rdx = e->gpr[EMU_RDX];
	new.rbx = e->gpr[EMU_RBX];
	new.rbp = e->gpr[EMU_RBP];
	new.rsi = e->gpr[EMU_RSI];
	new.rdi = e->gpr[EMU_RDI];
	new.r8 = e->gpr[8];
	new.r9 = e->gpr[9];
	new.r10 = e->gpr[10];
	new.r11 = e->gpr[11];
	new.r12 = e->gpr[12];
	new.r13 = e->gpr[13];
	new.r14 = e->gpr[14];
	new.r15 = e->gpr[15];
	if (!memcmp(r, &new, sizeof(new)))
		return;
	*r = new;
	vm->kvm_run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

/* No decoder of ours knows the store: the processor must do it, so the page may not be traced. */
static void lift_trace(struct kvm_vm *vm, gpa_t gpa)
{
	struct kvm_shadow *s = vm->shadow;

	s->lifted = s->given_up_rip == s->cpu.rip ? s->lifted + 1 : 0;
	s->given_up_rip = s->cpu.rip;
	vm->counters.shadow_undecoded++;
	if (s->lifted == LIFTED_MOST)
		kvm_vm_fail_as(vm, FAILURE_ACCESS,
			       "it writes to the page tables it stands on by %s at 0x%" G_GINT64_MODIFIER
			       "x, which the VMM cannot carry out",
			       s->cpu.name, s->cpu.rip);
	shadow_lift_trace(vm->paging, gpa);
}

/* The instruction at rip was carried out, or failed as it would have; false: the VMM cannot. */
static bool emulated(struct kvm_vm *vm)
{
	enum emu_result result = kvm_shadow_emulate(vm);

	return result == EMU_DONE || result == EMU_FAULT || result == EMU_FAILED;
}

/* The instruction at rip stores to a traced page. */
static void emulate_store(struct kvm_vm *vm, const struct paging_fault *f)
{
	/* The same exit: it turned out to be something else. */
	vm->counters.exits_page_fault--;
	vm->counters.exits_traced_write++;
	if (!emulated(vm))
		lift_trace(vm, f->gpa);
}

/* The address is beyond the guest's memory: a device's register, if anything. */
static void device_access(struct kvm_vm *vm)
{
	struct emu *e = &vm->shadow->cpu;

	vm->counters.exits_page_fault--;
	vm->counters.exits_io++;
	if (!emulated(vm))
		kvm_vm_fail_as(vm, FAILURE_ACCESS,
			       "it reaches for a device by %s at 0x%" G_GINT64_MODIFIER
			       "x, which the VMM cannot carry out",
			       e->name, e->rip);
}

static void page_fault(struct kvm_vm *vm, uint64_t error)
{
	struct emu *e = &vm->shadow->cpu;
	struct paging_fault f = { .error = (unsigned)error, .gva = vm->kvm_run->s.regs.sregs.cr2 };
	int err = 0;

	vm->counters.exits++;
	vm->counters.exits_page_fault++;
	switch (vm->paging->ops->fault(vm->paging, &f, &err)) {
	case PAGING_RETRY:
		break;
	case PAGING_EMULATE:
		emulate_store(vm, &f);
		break;
	case PAGING_INJECT:
		vm->counters.exits_inject++;
		vm->shadow->reflected = true;
		e->cr2 = f.gva;
		kvm_shadow_deliver(vm, 14, f.error);
		break;
	case PAGING_FAIL:
		if (err == -EFAULT && f.gpa >> PAGE_SHIFT >= vm->npages) {
			device_access(vm);
			break;
		}
		kvm_vm_fail_as(vm, failure_of(err),
			       "access to 0x%" G_GINT64_MODIFIER "x (guest-physical 0x%" G_GINT64_MODIFIER "x): %s",
			       f.gva, f.gpa, failure_text(err));
	}
}

int64_t kvm_shadow_exit(struct kvm_vm *vm, unsigned vector)
{
	struct kvm_shadow *s = vm->shadow;
	int64_t call = -1;

	g_mutex_lock(&vm->m->lock);
	s->inside = false;
	s->parked = true;
	s->reflected = false;
	load_cpu(vm);
	if (vector == 14)
		page_fault(vm, kvm_shadow_frame(vm)->error);
	else
		kvm_shadow_deliver(vm, vector, kvm_shadow_frame(vm)->error);
	call = kvm_shadow_ring0(vm);
	g_mutex_unlock(&vm->m->lock);
	return call;
}

int64_t kvm_shadow_enter(struct kvm_vm *vm)
{
	struct kvm_shadow *s = vm->shadow;
	int64_t call = -1;
	hpa_t root;
	int err;

	g_mutex_lock(&vm->m->lock);
	if (!s->inside) {
		call = kvm_shadow_ring0(vm);
		err = call < 0 ? vm->paging->ops->hw_root(vm->paging, 0, &root) : 0;
		if (err) {
			kvm_vm_fail_as(vm, FAILURE_MEMORY, "no host memory for a root table (%s)", g_strerror(-err));
			call = 0;
		}
		if (call < 0) {
			kvm_shadow_settle(vm, root);
			if (s->parked)
				store_cpu(vm);
			s->inside = true;
		}
	}
	g_mutex_unlock(&vm->m->lock);
	return call;
}
