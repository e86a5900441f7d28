/* SPDX-License-Identifier: MIT */
/* image.S - the linked guest, as bytes of this program; GUEST_IMAGE is its path (Makefile) */
	.section .rodata
	.balign	4096
	.globl	kvm_guest_image
kvm_guest_image:
	.incbin	GUEST_IMAGE
	.section .note.GNU-stack, "", @progbits
