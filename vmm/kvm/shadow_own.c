/* SPDX-License-Identifier: MIT */
/*
 * shadow_own.c - the VMM's own pages in a shadow-mode guest, and a vCPU that starts there
 *
 * A processor needs descriptor tables, a stack and code to take an exception, at addresses that are mapped whatever
 * root it is on. They are supervisor pages in one slot of every root, which shadow/ keeps free of the guest's entries,
 * so the guest, always at CPL 3, can neither read nor write them; its own GDT, IDT and TSS are only data to the
 * processor. Beside them the stub sees all of the host's memory, to write table entries again.
 *
 *	OWN_VA + page * 4096	PDPT, PD, PT of the slot; stub; GDT, TSS, IDT; stack; work (shadow.h)
 *	OWN_VA + 1 GiB + hpa	the host's memory, in leaves of 2 MiB whose tables all VMs of a run share
 *
 * Invariants (tests/guest/test_kvm_shadow.c): whatever a guest does at CPL 3, these pages hold what the VMM put there.
 *
 * Sources: Intel SDM vol. 3A, figures 3-8 (segment descriptors), 6-8 (64-bit gates), 7-11 (64-bit TSS).
 */
#include "vmm/kvm/shadow.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define OWN_ENTRY (PTE_P | PTE_W | PTE_A)
#define OWN_LEAF  (OWN_ENTRY | PTE_D)

#define SLOT_HOST   0
#define SLOT_OWN    1
#define SLOT_DIRECT 2

#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR4_OSFXSR (1u << 9)

_Static_assert(WORK_LIST + 8 * (WORK_MAX + 1) <= PAGE_SIZE, "the list of work must fit its page");
_Static_assert(OWN_VA == (uint64_t)OWN_SLOT << LEVEL_SHIFT(4), "the VMM's slot");

static uint64_t ngigas(const struct kvm_machine *m)
{
	return (m->frames->end * PAGE_SIZE + LEVEL_SIZE(3) - 1) >> LEVEL_SHIFT(3);
}

/* KVM-physical addresses above the host's memory. */
static hpa_t own_gpa(const struct kvm_machine *m)
{
	return ngigas(m) << LEVEL_SHIFT(3);
}

static hpa_t direct_gpa(const struct kvm_machine *m)
{
	return own_gpa(m) + LEVEL_SIZE(2);
}

gboolean kvm_shadow_start(struct kvm_machine *m, GError **error)
{
	size_t nbytes = ngigas(m) * PAGE_SIZE;

	if (ngigas(m) >= PT_ENTRIES) {
		g_set_error(error, VMM_ERROR, VMM_USAGE,
			    "[host] memory: with paging = shadow, machine = kvm supports at most %u GiB",
			    PT_ENTRIES - 1);
		return FALSE;
	}
	void *tables = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (tables == MAP_FAILED) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "tables of the host's memory: %s", g_strerror(errno));
		return FALSE;
	}
	m->bytes = kvm_frames_bytes;
	m->shadow_direct = tables;
	for (uint64_t i = 0; i < m->frames->end / LEVEL_PAGES(2); i++)
		m->shadow_direct[i] = i << LEVEL_SHIFT(2) | PTE_PS | OWN_LEAF | PTE_NX;
	return TRUE;
}

void kvm_shadow_stop(struct kvm_machine *m)
{
	if (m->shadow_direct)
		munmap(m->shadow_direct, ngigas(m) * PAGE_SIZE);
	m->shadow_direct = NULL;
}

static void write_idt(uint8_t *tables)
{
	uint64_t *idt = (uint64_t *)(tables + IDT_OFFSET);

	for (unsigned i = 0; i < IMAGE_VECTORS; i++) {
		uint64_t at = OWN_VA + OWN_STUB * PAGE_SIZE + i * GATE_BYTES;
		/* An interrupt gate; CPL 3 may raise only the breakpoint itself. */
		uint64_t type = i == 3 ? 0xee : 0x8e;

		idt[2 * i] = (at & 0xffff) | (uint64_t)SEL_STUB_CS << 16 | type << 40 | (at >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = at >> 32;
	}
}

static void write_descriptors(uint8_t *tables)
{
	uint64_t *gdt = (uint64_t *)tables, tss = OWN_VA + OWN_TABLES * PAGE_SIZE + TSS_OFFSET,
		 rsp0 = OWN_VA + (OWN_STACK + 1) * PAGE_SIZE;

	gdt[SEL_STUB_CS >> 3] = 0x00209b0000000000ull;
	gdt[2] = 0x0000930000000000ull;
	gdt[SEL_USER_SS >> 3] = 0x0000f30000000000ull;
	gdt[SEL_USER_CS >> 3] = 0x0020fb0000000000ull;
	gdt[SEL_TSS >> 3] = 0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56;
	gdt[(SEL_TSS >> 3) + 1] = tss >> 32;
	/* The I/O bitmap's offset lies beyond the segment's limit: every port is closed to CPL 3. */
	memcpy(tables + TSS_OFFSET + 4, &rsp0, sizeof(rsp0));
	memcpy(tables + TSS_OFFSET + 0x66, &(uint16_t){ 0x68 }, sizeof(uint16_t));
	write_idt(tables);
}

static void write_tables(const struct kvm_machine *m, struct kvm_shadow *s)
{
	uint64_t *pdpt = (uint64_t *)(s->own + OWN_PDPT * PAGE_SIZE), *pd = (uint64_t *)(s->own + OWN_PD * PAGE_SIZE),
		 *pt = (uint64_t *)(s->own + OWN_PT * PAGE_SIZE);

	pdpt[0] = (s->own_gpa + OWN_PD * PAGE_SIZE) | OWN_ENTRY;
	pd[0] = (s->own_gpa + OWN_PT * PAGE_SIZE) | OWN_ENTRY;
	pt[OWN_STUB] = (s->own_gpa + OWN_STUB * PAGE_SIZE) | PTE_P | PTE_A;
	for (unsigned i = OWN_TABLES; i < OWN_PAGES; i++)
		pt[i] = (s->own_gpa + i * PAGE_SIZE) | OWN_LEAF | PTE_NX;
	for (uint64_t i = 0; i < ngigas(m); i++)
		pdpt[i + 1] = (direct_gpa(m) + i * PAGE_SIZE) | OWN_ENTRY;
}

gboolean kvm_shadow_create(struct kvm_vm *vm, GError **error)
{
	struct kvm_shadow *s = g_new0(struct kvm_shadow, 1);
	void *own = mmap(NULL, OWN_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	vm->shadow = s;
	s->vm = vm;
	s->spaces = g_new0(gpa_t, CR3_PCID + 1);
	if (own == MAP_FAILED) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start: %s", vm->out->name,
			    g_strerror(errno));
		return FALSE;
	}
	s->own = own;
	s->own_gpa = own_gpa(vm->m);
	write_tables(vm->m, s);
	write_descriptors(s->own + OWN_TABLES * PAGE_SIZE);
	memcpy(s->own + OWN_STUB * PAGE_SIZE, kvm_shadow_stub, (size_t)(kvm_shadow_stub_end - kvm_shadow_stub));
	s->cpu = (struct emu){
		.rip = kvm_image_header()->entry,
		.rflags = RFLAGS_ONE,
		.cpl = 3,
		.user_cs = SEL_USER_CS,
		.user_ss = SEL_USER_SS,
		.ops = &kvm_shadow_emu_ops,
	};
	s->cpu.gpr[EMU_RSP] = KERNEL_DIRECT_MAP + STACK_TOP_GPA;
	return TRUE;
}

void kvm_shadow_destroy(struct kvm_vm *vm)
{
	struct kvm_shadow *s = vm->shadow;

	if (!s)
		return;
	if (s->own)
		munmap(s->own, OWN_PAGES * PAGE_SIZE);
	g_free(s->entry);
	g_free(s->spaces);
	g_free(s);
	vm->shadow = NULL;
}

uint64_t kvm_shadow_entry(const struct kvm_vm *vm)
{
	return (vm->shadow->own_gpa + OWN_PDPT * PAGE_SIZE) | OWN_ENTRY;
}

static int set_slots(struct kvm_vm *vm)
{
	struct kvm_machine *m = vm->m;
	const struct kvm_userspace_memory_region slots[] = {
		{ .slot = SLOT_HOST,
		  .memory_size = m->frames->end * PAGE_SIZE,
		  .userspace_addr = (uintptr_t)frames_bytes(m->frames) },
		{ .slot = SLOT_OWN,
		  .guest_phys_addr = own_gpa(m),
		  .memory_size = OWN_PAGES * PAGE_SIZE,
		  .userspace_addr = (uintptr_t)vm->shadow->own },
		{ .slot = SLOT_DIRECT,
		  .guest_phys_addr = direct_gpa(m),
		  .memory_size = ngigas(m) * PAGE_SIZE,
		  .userspace_addr = (uintptr_t)m->shadow_direct },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(slots); i++)
		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slots[i]))
			return -1;
	return 0;
}

static void set_segments(struct kvm_sregs *s)
{
	const struct kvm_segment code = { .limit = ~0u, .selector = SEL_USER_CS, .type = 11, .present = 1, .dpl = 3,
					  .s = 1, .l = 1, .g = 1 };
	const struct kvm_segment data = { .limit = ~0u, .selector = SEL_USER_SS, .type = 3, .present = 1, .dpl = 3,
					  .db = 1, .s = 1, .g = 1 };

	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = (struct kvm_segment){ .base = OWN_VA + OWN_TABLES * PAGE_SIZE + TSS_OFFSET, .limit = 0x67,
				      .selector = SEL_TSS, .type = 11, .present = 1 };
	s->gdt.base = OWN_VA + OWN_TABLES * PAGE_SIZE;
	s->gdt.limit = SEL_TSS + 15;
	s->idt.base = OWN_VA + OWN_TABLES * PAGE_SIZE + IDT_OFFSET;
	s->idt.limit = IMAGE_VECTORS * 16 - 1;
}

gboolean kvm_shadow_vcpu(struct kvm_vm *vm, GError **error)
{
	const struct emu *cpu = &vm->shadow->cpu;
	struct kvm_regs regs = { .rip = cpu->rip, .rsp = cpu->gpr[EMU_RSP], .rflags = cpu->rflags };
	struct guest_regs hw;
	struct kvm_sregs s;
	int err;

	g_mutex_lock(&vm->m->lock);
	err = -vm->paging->ops->hw_root(vm->paging, 0, &vm->shadow->root);
	g_mutex_unlock(&vm->m->lock);
	shadow_hw_regs(&vm->regs, &hw);
	if (err == 0 && (set_slots(vm) || ioctl(vm->vcpu_fd, KVM_GET_SREGS, &s)))
		err = errno;
	if (err == 0) {
		set_segments(&s);
		s.cr0 = hw.cr0 | CR0_ET | CR0_NE;
		s.cr3 = vm->shadow->root;
		s.cr4 = (hw.cr4 & ~CR4_PCIDE) | CR4_OSFXSR; /* the guest's PCIDs are only its belief */
		s.efer = hw.efer;
		if (ioctl(vm->vcpu_fd, KVM_SET_SREGS, &s) || ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs))
			err = errno;
	}
	/* KVM hands these over with every exit, and takes them back where told. */
	vm->kvm_run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	if (err)
		g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start in shadow mode: %s", vm->out->name,
			    g_strerror(err));
	return err == 0;
}
