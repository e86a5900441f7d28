/* SPDX-License-Identifier: MIT */
/*
 * shadow_stub.S - what of the VMM runs in ring 0 of a shadow-mode guest
 *
 * Every exception of the guest, which is always at CPL 3, lands in the entry of its vector, which tells the VMM by
 * `out` to a port of its own. The VMM edits the frame on this stack and the guest's registers, and may leave work:
 * entries of the tables that it changed, to be written once more as they are, since a KVM that shadows these tables in
 * turn notices only the guest's own stores; then a root. Then back to the guest.
 *
 * Copied to OWN_STUB in every VM (shadow_own.c), so it must not depend on where it is. Software KVM emulates each of
 * these instructions at about 1 us: none too many, and none unusual.
 */
#include "vmm/kvm/shadow.h"

#define WORK(offset) base + (OWN_WORK - OWN_STUB) * 4096 + offset(%rip)

	.section .rodata
	.balign	16
	.globl	kvm_shadow_stub, kvm_shadow_stub_end
kvm_shadow_stub:
base:
	vector = 0
	.rept	32
	.balign	GATE_BYTES
	/* 8, 10 to 14, 17 and 21 push an error code */
	.if ((1 << vector) & 0x227d00) == 0
	push	$0
	.endif
	out	%al, $(STUB_PORT + vector)
	jmp	resume
	vector = vector + 1
	.endr
	.balign	GATE_BYTES
resume:
	cmpl	$0, WORK(WORK_TODO)
	jne	work
back:
	add	$8, %rsp
	iretq
work:
	push	%rax
	push	%rcx
	lea	WORK(WORK_LIST), %rcx
next:
	mov	(%rcx), %rax
	cmp	$0, %rax
	je	load
	orq	$0, (%rax)
	add	$8, %rcx
	jmp	next
load:
	mov	WORK(WORK_CR3), %rax
	mov	%rax, %cr3
	movl	$0, WORK(WORK_TODO)
	pop	%rcx
	pop	%rax
	jmp	back
kvm_shadow_stub_end:

	.section .note.GNU-stack, "", @progbits
