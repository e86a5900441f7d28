/* SPDX-License-Identifier: MIT */
/* raw_guest.c - see raw_guest.h */
#include "tests/lib/raw_guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* rdi: address of the first page, rsi: how many; r8: address of round and of its end; r11: where to say how it went. */
__asm__(".pushsection .rodata\n"
	"raw_guest_code:\n"
	"	xor %r10d, %r10d\n"
	"1:	mov (%r8), %r12\n"
	"	mov %r12, %rbx\n"
	"	and $511, %ebx\n"
	"	xor %ecx, %ecx\n"
	"	mov %rdi, %rdx\n"
	"2:	mov %rcx, %rax\n"
	"	shr $2, %rax\n"
	"	inc %rax\n"
	"	lea -512(%r12), %r9\n"
	"	shl $20, %r9\n"
	"	add %rax, %r9\n"
	"	cmp $512, %r12\n"
	"	cmovb %r10, %r9\n"
	"	cmp %r9, (%rdx, %rbx, 8)\n"
	"	jne 3f\n"
	"	mov %r12, %r9\n"
	"	shl $20, %r9\n"
	"	add %rax, %r9\n"
	"	mov %r9, (%rdx, %rbx, 8)\n"
	"	add $4096, %rdx\n"
	"	inc %rcx\n"
	"	cmp %rsi, %rcx\n"
	"	jb 2b\n"
	"	inc %r12\n"
	"	mov %r12, (%r8)\n"
	"	cmp 8(%r8), %r12\n"
	"	jb 1b\n"
	"	mov $1, %eax\n"
	"	mov %eax, (%r11)\n"
	"	jmp 1b\n"
	"3:	mov $2, %eax\n"
	"	mov %rdx, 16(%r8)\n"
	"	mov (%rdx, %rbx, 8), %rcx\n"
	"	mov %rcx, 24(%r8)\n"
	"	mov %eax, (%r11)\n"
	"raw_guest_code_end:\n"
	".popsection");
extern const uint8_t raw_guest_code[], raw_guest_code_end[];

enum { CODE = 0x10000, ROUND = 0x11000, PML4 = 0x20000, PDPT = 0x21000, PD = 0x22000 };
#define USER	7ull /* present, writable, user */
#define LARGE	0x80ull
#define SIZE_2M (2ull << 20)

/* Round, its end, and what was wrong where. */
static volatile uint64_t *state(const struct kvm_vm *vm)
{
	return kvm_arena(vm, ROUND);
}

uint64_t raw_guest_round(const struct kvm_vm *vm)
{
	return state(vm)[0];
}

void raw_guest_stop(struct kvm_vm *vm)
{
	state(vm)[1] = 0;
}

/* All of memory at its own address, and 2 MiB beyond its end, where nothing is. */
static void write_tables(struct kvm_vm *vm)
{
	uint64_t *pml4 = kvm_arena(vm, PML4), *pdpt = kvm_arena(vm, PDPT), *pd = kvm_arena(vm, PD);

	memset(pml4, 0, PAGE_SIZE);
	memset(pdpt, 0, PAGE_SIZE);
	memset(pd, 0, PAGE_SIZE);
	pml4[0] = PDPT | USER;
	pdpt[0] = PD | USER;
	g_assert(vm->npages % 512 == 0 && vm->npages / 512 < 512);
	for (uint64_t i = 0; i <= vm->npages / 512; i++)
		pd[i] = i * SIZE_2M | USER | LARGE;
}

void raw_guest_start(struct kvm_vm *vm, uint64_t npages)
{
	struct kvm_regs regs = {
		.rip = CODE, .rflags = 2, .rdi = vm->arena_pages * PAGE_SIZE, .rsi = npages, .r8 = ROUND,
		.r11 = vm->npages * PAGE_SIZE,
	};
	struct kvm_sregs sregs;

	g_assert(npages <= vm->npages - vm->arena_pages);
	write_tables(vm);
	memcpy(kvm_arena(vm, CODE), raw_guest_code, (size_t)(raw_guest_code_end - raw_guest_code));
	memset(kvm_arena(vm, ROUND), 0, PAGE_SIZE);
	g_assert(!ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs));
	sregs.cr3 = PML4;
	g_assert(!ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs));
	g_assert(!ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs));
}

bool raw_guest_run(struct kvm_vm *vm, uint64_t rounds)
{
	struct kvm_run *r = vm->kvm_run;

	state(vm)[1] = rounds;
	for (;;) {
		int err = ioctl(vm->vcpu_fd, KVM_RUN, 0) ? errno : 0;

		if (err == EINTR || err == EAGAIN || (err == EFAULT && kvm_merge_disturbed(vm)))
			continue;
		if (err || r->exit_reason != KVM_EXIT_MMIO || !r->mmio.is_write) {
			fprintf(stderr, "%s: exit %u, error %d\n", vm->out->name, r->exit_reason, err);
			return false;
		}
		if (r->mmio.data[0] == 1)
			return true;
		/* It was given up, and sees what then is there. */
		if (vm->out->failure)
			return false;
		fprintf(stderr, "%s: round %" G_GUINT64_FORMAT ": word %" G_GUINT64_FORMAT " of page %"
			G_GINT64_MODIFIER "x is %" G_GINT64_MODIFIER "x\n", vm->out->name, state(vm)[0],
			state(vm)[0] % 512, state(vm)[2] >> PAGE_SHIFT, state(vm)[3]);
		return false;
	}
}
