/* SPDX-License-Identifier: MIT */
/*
 * layout.h - where things are in a real guest: shared by stub, kernel glue, user loop, linker script and VMM
 *
 * The kernel is linked where its direct map shows its image. Stub, processes' loop and what they need are pages that
 * every root maps at COMMON_VA (abi.h; boot_info_layout() lists them):
 *
 *	page			at CPL 3	gpa
 *	0    script		read		SCRIPT_GPA
 *	256  processes' loop	execute		USER_TEXT_GPA
 *	384  stub		-		STUB_GPA
 *	385  GDT, TSS, IDT	-		TABLES_GPA
 *	386  stub data, stack	-		STUB_DATA_GPA
 *	387  vCPU page, stack	write		VCPU_GPA (two pages)
 *	389  local APIC		-		device_gpa() (with BOOT_INTERRUPTS)
 *
 * Included by assembler and by the linker script too, hence plain numbers; entry.c asserts that abi.h has the same.
 */
#ifndef OVERBOOK_GUEST_KVM_LAYOUT_H
#define OVERBOOK_GUEST_KVM_LAYOUT_H

#define KERNEL_VA      0x8000100000 /* KERNEL_DIRECT_MAP + KERNEL_IMAGE_GPA */
#define SCRIPT_VA      0x7000200000 /* COMMON_VA */
#define USER_TEXT_VA   0x7000300000
#define STUB_VA	       0x7000380000
#define TABLES_VA      0x7000381000
#define STUB_DATA_VA   0x7000382000
#define VCPU_VA	       0x7000383000
#define USER_STACK_VA  0x7000385000 /* top: the end of the second vCPU page; whichever process runs uses it (user.c) */

#define LAPIC_VA       0x7000385000

/* Below HEAP_MIN_GPA, beside what abi.h has. */
#define BOOT_ROOT_GPA  0x220000 /* the tables to boot on: root; PDPT, PD and PT of COMMON_VA; PDPT of the direct map, */
#define BOOT_PD_GPA    0x225000 /* one PD a gigabyte of arena, and two tables for devices */
#define STACK_TOP_GPA  0x400000 /* of the kernel's stack */

/* Selectors. Kernel and processes share the CPL-3 ones: which of the two runs is STUB_IN_KERNEL. */
#define SEL_STUB_CS 0x08
#define SEL_USER_SS 0x1b
#define SEL_USER_CS 0x23
#define SEL_TSS	    0x28

/* Offsets into the descriptor tables' page; the GDT is at 0. */
#define TSS_OFFSET 0x100
#define IDT_OFFSET 0x200

/* What interrupts a guest with BOOT_INTERRUPTS. */
#define VECTOR_TIMER   32
#define VECTOR_DISK    33
#define VECTOR_BALLOON 34

/* Stub data: byte offsets into its page. */
#define STUB_CR2	  0x00 /* of the last page fault */
#define STUB_VECTOR	  0x08 /* of the last exception */
#define STUB_IN_KERNEL	  0x10 /* 1 while the kernel runs, 0 while a process does */
#define STUB_KERNEL_CR3	  0x18
#define STUB_KERNEL_FRAME 0x28 /* what iretq pops to enter the kernel: rip, cs, rflags, rsp, ss */
#define STUB_USER_FRAME	  0x50 /* and to enter a process */
#define STUB_SPACE	  0x80 /* what invpcid is about: a PCID, and an address if it is about that one */
#define STUB_IRQ_STACK_TOP 0x800 /* TSS.IST1: of interrupts, which must not touch what an exception has left below */
#define STUB_STACK_TOP	  0x1000 /* TSS.RSP0: the processor pushes ss, rsp, rflags, cs, rip, error below */
#define STUB_ERROR	  0xfd0 /* hence the error code is here, */
#define STUB_RIP	  0xfd8 /* and the interrupted address here */

/*
 * What the kernel asks the stub for: int3 with the request in eax and its operand in rdx. Anything else in eax is a
 * hypercall (abi.h), whose operands are in the vCPU page.
 */
#define REQUEST_RESUME 0x100 /* rdx: root of the process to run */
#define REQUEST_CR3    0x101 /* rdx: root to run the kernel on */
#define REQUEST_INVLPG 0x102 /* rdx: linear address */
#define REQUEST_INVPCID 0x103 /* rdx: INVPCID_*, of what STUB_SPACE says; with BOOT_PCID only */

#define INVPCID_ADDRESS 0
#define INVPCID_SPACE	1

/* The vCPU page as the stub knows it: byte offsets. */
#define VCPU_QUANTUM_END  0x10
#define VCPU_TICK	  0x58
#define VCPU_LINE_DISK	  0x60
#define VCPU_LINE_BALLOON 0x68

/* Image header (stub.S) */
#define IMAGE_MAGIC 0x6b6f6f6272657631

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

#define IMAGE_VECTORS 35

/* A part of the image: @nbytes at @offset belong at @gpa, where there is room for @room. */
struct image_segment {
	uint64_t offset, nbytes, gpa, room;
};

enum { IMAGE_STUB, IMAGE_USER, IMAGE_KERNEL, IMAGE_SEGMENTS };

struct image_header {
	uint64_t magic;
	struct image_segment segment[IMAGE_SEGMENTS];
	uint64_t entry;		      /* where the kernel begins, at CPL 3 */
	uint64_t event;		      /* where the stub enters it */
	uint64_t process;	      /* where a process begins */
	uint64_t gate[IMAGE_VECTORS]; /* the stub's entry for each exception and interrupt */
};

/* The vCPU page: what process, kernel, stub and VMM tell one another without an exit. */
struct vcpu_page {
	uint64_t operations;  /* performed by all processes; lockstep: virtual time is 100 ns of each ... */
	uint64_t idle_ns;     /* ... plus this: time that passed without any (VMM) */
	uint64_t quantum_end; /* a process goes on while operations are fewer (kernel; 0 by interrupts) */
	uint64_t reads;	      /* accesses performed (process) */
	uint64_t writes;
	uint64_t fetches;
	uint64_t wake_ns;     /* operand of HC_IDLE (kernel) */
	uint64_t refill;      /* gpa of a struct runtime: operand of HC_REFILL (kernel) */
	uint64_t counts;      /* gpa of struct kernel_counts (kernel) */
	uint64_t quanta;
	uint64_t lines;	      /* IRQ_* that devices have raised: answer to HC_DEVICES and HC_IDLE (VMM) */
	uint64_t tick;	      /* what has interrupted since the kernel looked: 1 each (stub) */
	uint64_t line_disk;
	uint64_t line_balloon;
	uint64_t stop;	      /* free schedule: say HC_YIELD as soon as no event is being dealt with (VMM) */
	/* Free schedule: it is clock_ns + (tsc - clock_tsc) * clock_mult / 2^32 ns (VMM). 0: lockstep */
	uint64_t clock_mult, clock_tsc, clock_ns;
};

_Static_assert(offsetof(struct vcpu_page, quantum_end) == VCPU_QUANTUM_END &&
		       offsetof(struct vcpu_page, tick) == VCPU_TICK &&
		       offsetof(struct vcpu_page, line_disk) == VCPU_LINE_DISK &&
		       offsetof(struct vcpu_page, line_balloon) == VCPU_LINE_BALLOON,
	       "the stub's offsets");
#endif

#endif
