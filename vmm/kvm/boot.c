/* SPDX-License-Identifier: MIT */
/*
 * boot.c - what is in a guest's arena before its first instruction
 *
 * The linked image, the descriptor tables, a root to boot on, the stub's data, boot_info and the script. The kernel
 * then makes its own root and tables in its heap, and the boot root falls out of use.
 *
 * Sources: Intel SDM vol. 3A, figures 3-8 (segment descriptors), 6-8 (64-bit gates), 7-11 (64-bit TSS).
 */
#include <string.h>

#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

#define TABLE_USER (PTE_P | PTE_W | PTE_U)
#define RFLAGS_1   0x2u /* always set */
#define RFLAGS_IF  0x200u

const struct image_header *kvm_image_header(void)
{
	return (const struct image_header *)kvm_guest_image;
}

static uint64_t *table(struct kvm_vm *vm, gpa_t gpa)
{
	return kvm_arena(vm, gpa);
}

/* The pages that every root maps alike, as the kernel will map them from the same list. */
static void write_boot_common(struct kvm_vm *vm, const struct boot_info *b)
{
	gpa_t pdpt = BOOT_ROOT_GPA + PAGE_SIZE, pd = pdpt + PAGE_SIZE, pt = pd + PAGE_SIZE;

	table(vm, BOOT_ROOT_GPA)[PT_INDEX(COMMON_VA, 4)] = pdpt | TABLE_USER;
	table(vm, pdpt)[PT_INDEX(COMMON_VA, 3)] = pd | TABLE_USER;
	table(vm, pd)[PT_INDEX(COMMON_VA, 2)] = pt | TABLE_USER;
	for (unsigned i = 0; i < COMMON_RANGES; i++) {
		const struct common_range *c = &b->common[i];
		uint64_t bits = PTE_P | (c->flags & COMMON_SUPERVISOR ? 0 : PTE_U) | (c->flags & COMMON_W ? PTE_W : 0) |
				(c->flags & COMMON_X ? 0 : PTE_NX);

		for (uint32_t j = 0; j < c->npages; j++)
			table(vm, pt)[c->page + j] = (c->gpa + j * PAGE_SIZE) | bits;
	}
}

/* The arena at the direct map. */
static void write_boot_direct_map(struct kvm_vm *vm)
{
	gpa_t arena_end = vm->arena_pages * PAGE_SIZE, pdpt = BOOT_ROOT_GPA + 4 * PAGE_SIZE;

	table(vm, BOOT_ROOT_GPA)[PT_INDEX(KERNEL_DIRECT_MAP, 4)] = pdpt | TABLE_USER;
	for (gpa_t gpa = 0; gpa < arena_end; gpa += LEVEL_SIZE(2)) {
		gpa_t pd = BOOT_PD_GPA + (gpa >> LEVEL_SHIFT(3)) * PAGE_SIZE;

		table(vm, pdpt)[gpa >> LEVEL_SHIFT(3)] = pd | TABLE_USER;
		table(vm, pd)[PT_INDEX(gpa, 2)] = gpa | PTE_PS | TABLE_USER;
	}
}

/* The registers of devices there, too: the kernel sets them up before it has tables of its own. */
static void write_boot_devices(struct kvm_vm *vm)
{
	gpa_t gpa = device_gpa(vm->npages, DEVICE_BALLOON), va = KERNEL_DIRECT_MAP + gpa;
	gpa_t pd = BOOT_PD_GPA + ((vm->arena_pages * PAGE_SIZE - 1) >> LEVEL_SHIFT(3)) * PAGE_SIZE + PAGE_SIZE;
	uint64_t *pdpt = &table(vm, BOOT_ROOT_GPA)[PT_INDEX(va, 4)];

	if (!*pdpt)
		*pdpt = (pd + PAGE_SIZE) | TABLE_USER;
	table(vm, *pdpt & PTE_ADDR)[PT_INDEX(va, 3)] = pd | TABLE_USER;
	table(vm, pd)[PT_INDEX(va, 2)] = gpa | PTE_PS | PTE_NX | TABLE_USER;
}

static void write_idt(struct kvm_vm *vm)
{
	uint64_t *idt = kvm_arena(vm, TABLES_GPA + IDT_OFFSET);

	for (unsigned i = 0; i < IMAGE_VECTORS; i++) {
		uint64_t at = kvm_image_header()->gate[i];
		/* An interrupt gate: ring 0 is not interrupted. CPL 3 may raise only the breakpoint itself. */
		uint64_t type = i == 3 ? 0xee : 0x8e, ist = i >= VECTOR_TIMER;

		idt[2 * i] = (at & 0xffff) | (uint64_t)SEL_STUB_CS << 16 | ist << 32 | type << 40 |
			     (at >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = at >> 32;
	}
}

static void write_descriptors(struct kvm_vm *vm)
{
	uint64_t *gdt = kvm_arena(vm, TABLES_GPA), tss = TABLES_VA + TSS_OFFSET,
		 rsp0 = STUB_DATA_VA + STUB_STACK_TOP, ist1 = STUB_DATA_VA + STUB_IRQ_STACK_TOP;

	gdt[SEL_STUB_CS >> 3] = 0x00209b0000000000ull;
	gdt[2] = 0x0000930000000000ull;
	gdt[SEL_USER_SS >> 3] = 0x0000f30000000000ull;
	gdt[SEL_USER_CS >> 3] = 0x0020fb0000000000ull;
	gdt[SEL_TSS >> 3] = 0x67 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	gdt[(SEL_TSS >> 3) + 1] = tss >> 32;
	/* The I/O bitmap's offset lies beyond the segment's limit: every port is closed to CPL 3. */
	memcpy((uint8_t *)kvm_arena(vm, TABLES_GPA + TSS_OFFSET) + 4, &rsp0, sizeof(rsp0));
	memcpy((uint8_t *)kvm_arena(vm, TABLES_GPA + TSS_OFFSET) + 0x24, &ist1, sizeof(ist1));
	memcpy((uint8_t *)kvm_arena(vm, TABLES_GPA + TSS_OFFSET) + 0x66, &(uint16_t){ 0x68 }, sizeof(uint16_t));
	write_idt(vm);
}

static void write_frame(struct kvm_vm *vm, unsigned offset, uint64_t rip, uint64_t rflags, uint64_t rsp)
{
	const uint64_t frame[5] = { rip, SEL_USER_CS, rflags, rsp, SEL_USER_SS };

	memcpy((uint8_t *)kvm_arena(vm, STUB_DATA_GPA) + offset, frame, sizeof(frame));
}

static void write_stub_data(struct kvm_vm *vm, uint32_t flags)
{
	uint64_t *data = kvm_arena(vm, STUB_DATA_GPA);

	data[STUB_IN_KERNEL / 8] = 1;
	data[STUB_KERNEL_CR3 / 8] = BOOT_ROOT_GPA;
	write_frame(vm, STUB_KERNEL_FRAME, kvm_image_header()->event, RFLAGS_1, KERNEL_DIRECT_MAP + STACK_TOP_GPA);
	write_frame(vm, STUB_USER_FRAME, kvm_image_header()->process,
		    RFLAGS_1 | (flags & BOOT_INTERRUPTS ? RFLAGS_IF : 0), USER_STACK_VA);
}

static void write_image(struct kvm_vm *vm)
{
	const struct image_header *h = kvm_image_header();

	for (unsigned i = 0; i < IMAGE_SEGMENTS; i++)
		memcpy(kvm_arena(vm, h->segment[i].gpa), kvm_guest_image + h->segment[i].offset, h->segment[i].nbytes);
}

struct boot_info kvm_boot_info(const struct kvm_vm *vm)
{
	const struct experiment *e = vm->m->run->e;
	const struct conf_vm *c = vm->conf;
	uint64_t npages = c->memory / PAGE_SIZE;
	struct boot_info boot = {
		.npages = npages,
		.arena_end = c->arena,
		.levels = c->guest_levels,
		.flags = BOOT_KEEP |
			 (e->experiment.schedule == SCHEDULE_LOCKSTEP ? BOOT_LOCKSTEP :
			  vm->m->shadow				      ? 0 :
									BOOT_INTERRUPTS) |
			 /* A real processor may have none; with paging = shadow, CR3 loads are the VMM's. */
			 (vm->m->shadow && c->pcid ? BOOT_PCID : 0),
		.quantum = e->experiment.quantum,
		.timeslice = 1,
		.poison = (uint64_t)c->page_poison,
		.balloon = vm_balloon_info(e, c, device_gpa(npages, DEVICE_BALLOON)),
		.disk = vm_disk_info(c, device_gpa(npages, DEVICE_DISK)),
		.swappiness = c->swappiness,
	};

	boot_info_layout(&boot, vm->script->nprocesses);
	return boot;
}

void kvm_boot_write(struct kvm_vm *vm)
{
	write_image(vm);
	write_boot_common(vm, &vm->boot);
	write_boot_direct_map(vm);
	write_boot_devices(vm);
	write_descriptors(vm);
	write_stub_data(vm, vm->boot.flags);
	memcpy(kvm_arena(vm, BOOT_INFO_GPA), &vm->boot, sizeof(vm->boot));
	memcpy(kvm_arena(vm, SCRIPT_GPA), vm->script, sizeof(*vm->script));
}
