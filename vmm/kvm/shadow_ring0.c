/* SPDX-License-Identifier: MIT */
/*
 * shadow_ring0.c - the ring 0 that a shadow-mode guest believes it has
 *
 * Problem. The guest's stub (workloads/guest/kvm/stub.S) is written for ring 0: it is entered by exceptions through the
 * guest's IDT, loads CR3, invalidates, calls the VMM and returns by iretq. Here the guest has no ring 0.
 *
 * Idea. The stub is a few instructions long, so the VMM interprets it: an exception is delivered as a processor would
 * (gate, stack from the TSS, frame), through the guest's own tables with supervisor rights, and from there emulate.c
 * goes on until iretq leads to CPL 3, where the processor takes over. What the guest does with CR3 and INVLPG becomes
 * events of the paging mode; its `out` is a hypercall. The guest's descriptor tables are where the VMM put them at
 * boot: an instruction that would move them is not known here, and ends the guest.
 *
 * A guest is hostile: whatever makes no sense ends it with a message, and so does a ring 0 that does not come to an
 * end.
 *
 * What is counted is what would exit on hardware: the CR3 load of a stub that was entered by a system call, but not
 * that after a page fault, which the VMM reflects (vmm/sim/exits.c counts the same way).
 *
 * Source: Intel SDM vol. 3A, 6.14 (exceptions in 64-bit mode), 7.7 (TSS).
 */
#include "vmm/kvm/shadow.h"

#include <errno.h>
#include <string.h>

/* Far more than any path through the stub. */
#define RING0_MOST 1000

#define TSS_RSP0 4

static struct kvm_vm *vm_of(struct emu *e)
{
	return ((struct kvm_shadow *)((char *)e - offsetof(struct kvm_shadow, cpu)))->vm;
}

static int failed(struct kvm_vm *vm, const char *what, uint64_t gva, int err)
{
	kvm_vm_fail_as(vm, failure_of(err), "%s 0x%" G_GINT64_MODIFIER "x: %s", what, gva, failure_text(err));
	return -1;
}

/* One part of an access, within a page. */
static int access_page(struct emu *e, uint64_t gva, void *buf, unsigned len, unsigned access, bool store)
{
	struct kvm_vm *vm = vm_of(e);
	uint32_t error = 0;
	gpa_t gpa;
	int ret = shadow_translate(vm->paging, 0, gva, access, &gpa, &error);

	if (ret == 1) {
		e->error = error;
		e->cr2 = gva;
		return 1;
	}
	if (ret == 0 && gpa >> PAGE_SHIFT >= vm->npages) {
		if (kvm_mmio(vm, gpa, store, buf, len))
			return 0;
		ret = -EFAULT;
	}
	if (ret == 0)
		ret = store ? shadow_store(vm->paging, 0, gpa, buf, len) : gmem_read(vm->gmem, gpa, buf, len);
	return ret ? failed(vm, "emulated access to", gva, ret) : 0;
}

static int access_memory(struct emu *e, uint64_t gva, uint8_t *buf, unsigned len, unsigned access, bool store)
{
	while (len) {
		unsigned n = MIN(len, PAGE_SIZE - (unsigned)(gva & ~PAGE_MASK));
		int ret = access_page(e, gva, buf, n, access, store);

		if (ret)
			return ret;
		gva += n;
		buf += n;
		len -= n;
	}
	return 0;
}

static int emu_read(struct emu *e, uint64_t gva, void *buf, unsigned len, unsigned access)
{
	return access_memory(e, gva, buf, len, access, false);
}

/* Both pages must be writable before the first byte changes. */
static int emu_write(struct emu *e, uint64_t gva, const void *buf, unsigned len, unsigned access)
{
	uint8_t copy[16], old;

	memcpy(copy, buf, len);
	if ((gva ^ (gva + len - 1)) & PAGE_MASK) {
		int ret = access_memory(e, gva + len - 1, &old, 1, access, false);

		if (ret)
			return ret;
	}
	return access_memory(e, gva, copy, len, access, true);
}

static int load_cr3(struct emu *e, uint64_t value)
{
	struct kvm_vm *vm = vm_of(e);
	gfn_t gfn = (value & PTE_ADDR) >> PAGE_SHIFT;

	/* A root outside of the arena could be taken away under a running processor. */
	if (gfn >= vm->arena_pages) {
		kvm_vm_fail_as(vm, FAILURE_CRASH,
			       "triple fault: its ring 0 loads CR3 with 0x%" G_GINT64_MODIFIER "x, not in its arena",
			       value);
		return -1;
	}
	vm->regs.cr3 = value & ~CR3_NOFLUSH;
	vm->shadow->spaces[value & CR3_PCID] = value & PTE_ADDR;
	if (!vm->shadow->reflected)
		kvm_count_exit(vm, &vm->counters.exits_cr_write);
	vm->shadow->reflected = false;
	vm->paging->ops->guest_event(vm->paging, 0, GUEST_CR3, value);
	return 0;
}

static int invlpg(struct emu *e, uint64_t gva)
{
	struct kvm_vm *vm = vm_of(e);

	kvm_count_exit(vm, &vm->counters.exits_invlpg);
	vm->paging->ops->guest_event(vm->paging, 0, GUEST_INVLPG, gva);
	return 0;
}

/* Of one address or, type 1, of all that is cached for a PCID; the other types drop everything. */
static int invpcid(struct emu *e, uint64_t type, uint64_t pcid, uint64_t gva)
{
	struct kvm_vm *vm = vm_of(e);
	struct paging *p = vm->paging;

	if (type == 0)
		return invlpg(e, gva);
	kvm_count_exit(vm, &vm->counters.exits_invlpg);
	pcid &= CR3_PCID;
	if (type == 1)
		p->ops->guest_event(p, 0, GUEST_CR3, vm->shadow->spaces[pcid] | pcid);
	else
		p->ops->guest_event(p, 0, GUEST_MODE, 0);
	return 0;
}

const struct emu_ops kvm_shadow_emu_ops = {
	.read = emu_read,
	.write = emu_write,
	.load_cr3 = load_cr3,
	.invlpg = invlpg,
	.invpcid = invpcid,
};

static void triple_fault(struct kvm_vm *vm, unsigned vector)
{
	if (!vm->done)
		kvm_vm_fail_as(vm, FAILURE_CRASH,
			       "triple fault: exception %u at 0x%" G_GINT64_MODIFIER "x cannot be delivered", vector,
			       vm->shadow->cpu.rip);
}

/* The gate of @vector; 0: there is none that can be used. */
static uint64_t gate(struct kvm_vm *vm, unsigned vector, uint64_t *low)
{
	struct emu *e = &vm->shadow->cpu;
	uint64_t g[2];

	if (emu_read(e, TABLES_VA + IDT_OFFSET + vector * 16, g, sizeof(g), ACC_R))
		return 0;
	*low = g[0];
	/* Present, an interrupt or trap gate, no stack of its own, to the one segment of ring 0. */
	if (!(g[0] >> 47 & 1) || (g[0] >> 41 & 7) != 7 || (g[0] >> 32 & 7) || (g[0] >> 16 & 0xffff) != SEL_STUB_CS)
		return 0;
	return (g[0] & 0xffff) | (g[0] >> 48 & 0xffff) << 16 | g[1] << 32;
}

static bool has_error(unsigned vector)
{
	return vector < 32 && 0x227d00u >> vector & 1;
}

void kvm_shadow_deliver(struct kvm_vm *vm, unsigned vector, uint64_t error)
{
	struct emu *e = &vm->shadow->cpu;
	bool outer = e->cpl == 3;
	uint64_t low, cr2 = e->cr2, to = gate(vm, vector, &low), rsp = e->gpr[EMU_RSP];
	uint64_t frame[6] = { error, e->rip, outer ? SEL_USER_CS : SEL_STUB_CS, e->rflags, rsp, SEL_USER_SS };
	unsigned skip = has_error(vector) ? 0 : 1;

	/* int3 is the program's wish: the gate must allow it. */
	if (to && outer && vector == 3 && (low >> 45 & 3) != 3) {
		e->rip -= 1;
		kvm_shadow_deliver(vm, 13, 3 * 8 + 2);
		return;
	}
	if (to && outer && emu_read(e, TABLES_VA + TSS_OFFSET + TSS_RSP0, &rsp, sizeof(rsp), ACC_R))
		to = 0;
	rsp &= ~15ull;
	for (unsigned i = 6; i > skip && to; i--) {
		rsp -= 8;
		if (emu_write(e, rsp, &frame[i - 1], 8, ACC_W))
			to = 0;
	}
	if (!to) {
		triple_fault(vm, vector);
		return;
	}
	e->gpr[EMU_RSP] = rsp;
	e->rip = to;
	e->rflags &= ~(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF);
	e->cr2 = cr2;
	e->cpl = 0;
}

static int64_t ring0_ends(struct kvm_vm *vm, enum failure kind, const char *why)
{
	const struct emu *e = &vm->shadow->cpu;

	if (!vm->done)
		kvm_vm_fail_as(vm, kind, "its ring 0 %s: %s at 0x%" G_GINT64_MODIFIER "x", why, e->name, e->rip);
	return 0;
}

enum emu_result kvm_shadow_emulate(struct kvm_vm *vm)
{
	struct emu *e = &vm->shadow->cpu;
	enum emu_result result = emulate_one(e);

	if (result == EMU_FAULT)
		kvm_shadow_deliver(vm, e->vector, e->error);
	return result;
}

static int64_t port_ends(struct kvm_vm *vm)
{
	const struct emu *e = &vm->shadow->cpu;

	if (e->port == HYPERCALL_PORT && e->port_bytes == 4)
		kvm_vm_fail_as(vm, FAILURE_ACCESS, "an unknown hypercall");
	else
		kvm_vm_fail_as(vm, FAILURE_ACCESS, "access to port 0x%x", e->port);
	return 0;
}

int64_t kvm_shadow_ring0(struct kvm_vm *vm)
{
	struct emu *e = &vm->shadow->cpu;

	for (unsigned n = 0; e->cpl == 0 && !vm->done; n++) {
		if (n == RING0_MOST)
			return ring0_ends(vm, FAILURE_HANG, "does not come to an end");
		switch (kvm_shadow_emulate(vm)) {
		case EMU_DONE:
		case EMU_FAULT:
			break;
		case EMU_OUT:
			if (e->port != HYPERCALL_PORT || e->port_bytes != 4 || !e->value)
				return port_ends(vm);
			return e->value;
		case EMU_IN:
			return port_ends(vm);
		case EMU_HALT:
			return HC_IDLE;
		case EMU_UNKNOWN:
			return ring0_ends(vm, FAILURE_CRASH, "executes what the VMM does not know");
		case EMU_FAILED:
			return ring0_ends(vm, FAILURE_CRASH, "cannot go on");
		}
	}
	return vm->done ? 0 : -1;
}
