/* SPDX-License-Identifier: MIT */
/*
 * shadow_flush.c - entries that the processor must forget
 *
 * Problem. After shadow/ has taken an entry away, TLBs and page-walk caches may still hold it; and a KVM without
 * second-stage paging holds more than a TLB would: it shadows our tables in turn and notices only stores that the guest
 * itself makes, and pages that are taken from under it.
 *
 * Idea. Collect the entries (weakened()), and at flush() ask where the vCPU is.
 *
 * It stands in the stub, which is the common case (the VMM acts on its exit, or another VM's turn is on): nothing can
 * be used before it goes back. So wait until then (settle()), and let the stub write each entry again as it is, which
 * every KVM that shadows tables must notice, and load CR3, which drops all that a processor has cached. Everything
 * that was weakened since is done in one go. Where that would take longer than to have KVM forget everything, add and
 * delete a memory slot instead: KVM then drops all its tables of the VM.
 *
 * It may be running (another VM's fault takes its page): at once. A leaf's old target page is zapped from all of KVM's
 * tables by taking it out of this process's (MADV_DONTNEED on a shared mapping: the bytes stay); a link needs the slot.
 *
 * Not present to present needs nothing, nor do rights that are added: the fault that asks for them made KVM look.
 *
 * Invariants: between flush() and the guest's next instruction every entry weakened before has been undone in one of
 * these ways. A frame that was a table is given other contents only then, since a frame in reuse is written
 * while the vCPU is outside or after an immediate flush (tests/guest/test_kvm_shadow.c).
 *
 * Source: what KVM notices was measured (docs/guest-abi.md names the machines); Linux arch/x86/kvm/mmu/mmu.c,
 * kvm_mmu_track_write(); Intel SDM vol. 3A, 4.10.4.
 */
#include "vmm/kvm/shadow.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "mm/pt.h"

#define SLOT_SPARE 3

/* Entries that the stub writes again at most; with more, a flush of everything and its refaults are cheaper. */
#define STUB_MOST 48

static struct kvm_vm *vm_of(struct machine *m, unsigned vm)
{
	return ((struct kvm_machine *)m)->vms[vm];
}

void kvm_shadow_weakened(struct machine *m, unsigned id, const struct machine_entry *e)
{
	struct kvm_shadow *s = vm_of(m, id)->shadow;

	if (!s || s->flush_all)
		return;
	if (s->nentries == WORK_MAX) {
		s->flush_all = true;
		return;
	}
	if (s->nentries == s->most) {
		s->most = s->most ? 2 * s->most : 16;
		s->entry = g_renew(struct machine_entry, s->entry, s->most);
	}
	s->entry[s->nentries++] = *e;
}

/* KVM drops everything of the VM when a slot goes, whichever. */
static void forget_all(struct kvm_vm *vm)
{
	struct kvm_userspace_memory_region r = {
		.slot = SLOT_SPARE,
		.guest_phys_addr = vm->shadow->own_gpa + LEVEL_SIZE(3),
		.memory_size = PAGE_SIZE,
		.userspace_addr = (uintptr_t)vm->shadow->own + OWN_WORK * PAGE_SIZE,
	};
	int err = ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);

	r.memory_size = 0;
	if (!err)
		err = ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
	if (err)
		g_error("cannot flush a guest's tables: %s", g_strerror(errno));
}

static void forget_target(struct kvm_vm *vm, const struct machine_entry *e)
{
	void *at = frames_bytes(vm->m->frames) + e->hfn * PAGE_SIZE;

	if (madvise(at, e->npages * PAGE_SIZE, MADV_DONTNEED))
		g_error("cannot flush a page: %s", g_strerror(errno));
}

static void flush_running(struct kvm_vm *vm)
{
	struct kvm_shadow *s = vm->shadow;
	bool all = s->flush_all;

	for (unsigned i = 0; i < s->nentries && !all; i++)
		all = !s->entry[i].leaf;
	if (all)
		forget_all(vm);
	for (unsigned i = 0; i < s->nentries && !all; i++)
		forget_target(vm, &s->entry[i]);
	s->nentries = 0;
	s->flush_all = false;
}

void kvm_shadow_flush(struct machine *m, unsigned id, enum flush_kind kind, uint64_t start, uint64_t n)
{
	struct kvm_vm *vm = vm_of(m, id);

	(void)kind;
	(void)start;
	(void)n;
	/* A guest that was given up while it ran may have no vCPU any more. */
	if (vm->shadow && vm->shadow->inside && vm->fd >= 0)
		flush_running(vm);
}

/* Does the stub still find itself on the root that it runs on? */
static bool root_stands(const struct kvm_vm *vm)
{
	const struct kvm_machine *m = vm->m;
	hfn_t hfn = vm->shadow->root >> PAGE_SHIFT;
	uint64_t owner = frames_get(m->frames, hfn)->owner;

	return OWNER_KIND(owner) == FRAME_TABLE && OWNER_VM(owner) == vm->id &&
	       pt_table(m->frames, vm->shadow->root)[OWN_SLOT] == kvm_shadow_entry(vm);
}

static void set_root(struct kvm_vm *vm, hpa_t root)
{
	vm->kvm_run->s.regs.sregs.cr3 = root;
	vm->kvm_run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	vm->shadow->root = root;
}

void kvm_shadow_settle(struct kvm_vm *vm, hpa_t root)
{
	struct kvm_shadow *s = vm->shadow;
	uint8_t *work = s->own + OWN_WORK * PAGE_SIZE;
	uint64_t *list = (uint64_t *)(work + WORK_LIST);
	unsigned n = 0;

	if (root != s->root && (!s->parked || !root_stands(vm)))
		set_root(vm, root);
	if (s->flush_all || s->nentries > STUB_MOST || (s->nentries && !s->parked))
		forget_all(vm);
	else
		for (; n < s->nentries; n++)
			list[n] = OWN_VA + LEVEL_SIZE(3) + s->entry[n].entry;
	list[n] = 0;
	if (n || root != s->root) {
		*(uint64_t *)(work + WORK_CR3) = root;
		*(uint32_t *)(work + WORK_TODO) = 1;
	}
	s->root = root;
	s->nentries = 0;
	s->flush_all = false;
}
