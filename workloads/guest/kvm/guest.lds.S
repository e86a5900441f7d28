/* SPDX-License-Identifier: MIT */
/*
 * guest.lds.S - the guest image: header, stub, processes' loop, kernel
 *
 * Each part is linked where it runs (VMA) and packed one after the other in the file (LMA, from 0); the header tells
 * the VMM which is which (layout.h).
 */
#include "workloads/guest/kvm/layout.h"

stub_data = STUB_DATA_VA;
stub_vcpu = VCPU_VA;
stub_lapic = LAPIC_VA;
ENTRY(kernel_start)
/* Access rights are the guest's own page tables' business; these only keep ld from guessing writable code. */
PHDRS
{
	header PT_LOAD FLAGS(4);
	stub PT_LOAD FLAGS(5);
	user PT_LOAD FLAGS(5);
	kernel PT_LOAD FLAGS(5);
}
SECTIONS
{
	.header 0 : AT(0) { *(.header) } : header
	.stub STUB_VA : AT(LOADADDR(.header) + SIZEOF(.header)) { *(.stub) } : stub
	.user USER_TEXT_VA : AT(LOADADDR(.stub) + SIZEOF(.stub)) {
		*user.o(.text .text.* .rodata .rodata.* .data.rel.ro .data.rel.ro.*)
		. = ALIGN(16);
	} : user
	.kernel KERNEL_VA : AT(LOADADDR(.user) + SIZEOF(.user)) {
		*kernel.o(.text .text.* .rodata .rodata.* .data.rel.ro .data.rel.ro.* .data .data.*)
	} : kernel
	.bss : { *kernel.o(.bss .bss.* COMMON) } : kernel
	kernel_end = .;
	/* Nothing else: a process's loop has no data of its own. */
	.rest : { *(.data .data.* .bss .bss.* COMMON .got .got.*) }
	/DISCARD/ : { *(.comment .note.* .eh_frame* .gnu.*) }

	stub_offset = LOADADDR(.stub);
	stub_nbytes = SIZEOF(.stub);
	stub_room = 4096;
	user_offset = LOADADDR(.user);
	user_nbytes = SIZEOF(.user);
	user_room = 0x10000;
	kernel_offset = LOADADDR(.kernel);
	kernel_nbytes = SIZEOF(.kernel);
	kernel_room = kernel_end - KERNEL_VA;
}
ASSERT(SIZEOF(.rest) == 0, "the processes' loop must not have data")
ASSERT(stub_nbytes <= stub_room, "the stub is too large")
ASSERT(user_nbytes <= user_room, "the processes' loop is too large")
ASSERT(kernel_room <= 0x100000, "the kernel image is too large")
