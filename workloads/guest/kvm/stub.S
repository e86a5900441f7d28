/* SPDX-License-Identifier: MIT */
/*
 * stub.S - all of the guest that runs in ring 0
 *
 * Kernel and processes both run at CPL 3, on roots of their own. Every exception of a process lands here and is
 * forwarded to the kernel: CR2 is saved, the kernel's root loaded, and the kernel entered at image_header.event on an
 * empty stack. It never returns from there: it asks, by int3 with eax = request, for what CPL 3 may not do (layout.h:
 * REQUEST_*), or for a hypercall, the guest's only `out`. An exception of the kernel that is no request ends the
 * guest.
 *
 * The processes' registers are not kept: the user loop can be entered anew after any event (user.c).
 *
 * In shadow mode there is no ring 0: the VMM interprets these instructions, and what they do to address spaces is its
 * to do (docs/guest-abi.md). Nothing here differs.
 *
 * Interrupts, where there are any, reach only processes: the kernel runs with IF clear. They have a stack of their own
 * (IST1), change no register, and leave a word each in the vCPU page; and they end the quantum, so that the loop stops
 * in front of its next operation and enters the kernel, which looks there. So a process may be interrupted anywhere.
 *
 * Software KVM emulates ring 0 at about 1 us an instruction, and knows few: mov, push, cmp, lea, jmp, out, invlpg,
 * iretq; invpcid is for guests with BOOT_PCID only. At most 60 of them (check_stub.sh counts).
 */
#include "workloads/guest/kvm/layout.h"

/* abi.h; entry.c asserts that these agree */
#define HYPERCALL_PORT 0x0b
#define STUB_GPA       0x210000
#define USER_TEXT_GPA  0x200000
#define KERNEL_IMAGE_GPA 0x100000
#define HC_PANIC       4

#define DATA(offset) stub_data + offset(%rip) /* guest.lds.S knows where these are */
#define VCPU(offset) stub_vcpu + offset(%rip)
#define LAPIC_EOI stub_lapic + 0xb0(%rip)

	.section .header, "a"
	.quad	IMAGE_MAGIC
	.quad	stub_offset, stub_nbytes, STUB_GPA, stub_room
	.quad	user_offset, user_nbytes, USER_TEXT_GPA, user_room
	.quad	kernel_offset, kernel_nbytes, KERNEL_IMAGE_GPA, kernel_room
	.quad	kernel_start, kernel_event_entry, user_start
	/* exceptions 0 to 31; 8, 10 to 14, 17 and 21 push an error code */
	.quad	stub_de, stub_other, stub_other, stub_bp
	.quad	stub_other, stub_other, stub_ud, stub_other
	.quad	stub_other_error, stub_other, stub_other_error, stub_other_error
	.quad	stub_other_error, stub_gp, stub_pf, stub_other
	.quad	stub_other, stub_other_error, stub_other, stub_other
	.quad	stub_other, stub_other_error, stub_other, stub_other
	.rept	8
	.quad	stub_other
	.endr
	.quad	stub_timer, stub_disk, stub_balloon

	.section .stub, "ax"
	.globl	stub_first, stub_last
stub_first:
stub_pf:
	mov	%cr2, %rax
	mov	%rax, DATA(STUB_CR2)
	movl	$14, DATA(STUB_VECTOR)
	jmp	forward
stub_de:
	push	$0
	movl	$0, DATA(STUB_VECTOR)
	jmp	forward
stub_ud:
	push	$0
	movl	$6, DATA(STUB_VECTOR)
	jmp	forward
stub_other:
	push	$0
stub_other_error:
	movl	$0xff, DATA(STUB_VECTOR)
	jmp	forward
stub_bp:
	cmpl	$0, DATA(STUB_IN_KERNEL)
	jne	request
	push	$0
	movl	$3, DATA(STUB_VECTOR)
	jmp	enter_kernel
stub_gp:
	movl	$13, DATA(STUB_VECTOR)
forward:
	cmpl	$0, DATA(STUB_IN_KERNEL)
	jne	fatal
enter_kernel:
	movl	$1, DATA(STUB_IN_KERNEL)
	mov	DATA(STUB_KERNEL_CR3), %rdx
	lea	DATA(STUB_KERNEL_FRAME), %rsp
load_cr3:
	mov	%rdx, %cr3
	iretq

request:
	cmp	$REQUEST_RESUME, %eax
	jne	not_resume
	movl	$0, DATA(STUB_IN_KERNEL)
	lea	DATA(STUB_USER_FRAME), %rsp
	jmp	load_cr3
not_resume:
	cmp	$REQUEST_CR3, %eax
	je	load_cr3
	cmp	$REQUEST_INVLPG, %eax
	je	invalidate
	cmp	$REQUEST_INVPCID, %eax
	je	invalidate_space
hypercall:
	out	%eax, $HYPERCALL_PORT
	iretq
invalidate:
	invlpg	(%rdx)
	iretq
invalidate_space:
	invpcid	DATA(STUB_SPACE), %rdx
	iretq
fatal:
	mov	$HC_PANIC, %eax
	jmp	hypercall

stub_disk:
	movl	$1, VCPU(VCPU_LINE_DISK)
	jmp	interrupt
stub_balloon:
	movl	$1, VCPU(VCPU_LINE_BALLOON)
	jmp	interrupt
stub_timer:
	movl	$1, VCPU(VCPU_TICK)
interrupt:
	movq	$0, VCPU(VCPU_QUANTUM_END)
	movl	$0, LAPIC_EOI
	iretq
stub_last:

	.section .note.GNU-stack, "", @progbits
