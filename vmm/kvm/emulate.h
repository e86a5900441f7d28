/* SPDX-License-Identifier: MIT */
/*
 * emulate.h - a small processor: instructions that a guest cannot be left to execute
 *
 * emulate_one() carries out one instruction of 64-bit code on the registers of struct emu, through the hooks of whoever
 * asks for memory and everything privileged. It does what the manual says of the instruction, or nothing at all.
 * Knows no KVM: tests/unit/test_emulate.c holds it against the processor at hand.
 */
#ifndef OVERBOOK_KVM_EMULATE_H
#define OVERBOOK_KVM_EMULATE_H

#include <stdbool.h>
#include <stdint.h>

enum { EMU_RAX, EMU_RCX, EMU_RDX, EMU_RBX, EMU_RSP, EMU_RBP, EMU_RSI, EMU_RDI, EMU_GPRS = 16 }; /* r8 is 8 */

enum emu_result {
	EMU_DONE,    /* carried out: rip is behind it, or at the same string instruction if that is not over */
	EMU_FAULT,   /* not carried out: exception emu.vector, emu.error, emu.cr2 for a page fault; nothing changed */
	EMU_UNKNOWN, /* not carried out: emu.name is all that is known of it */
	EMU_OUT,     /* carried out: emu.port, port_bytes and value */
	EMU_IN,	     /* to be carried out: emu.port, port_bytes; rip is behind it */
	EMU_HALT,    /* carried out */
	EMU_FAILED,  /* a hook said so */
};

/* What hooks return: 0; 1: a page fault, with emu.error and emu.cr2 set; anything else: EMU_FAILED. */
struct emu;
struct emu_ops {
	/* @access is ACC_R, ACC_W or ACC_X, and ACC_U at CPL 3; @len 1 to 16; may cross pages. */
	int (*read)(struct emu *e, uint64_t gva, void *buf, unsigned len, unsigned access);
	int (*write)(struct emu *e, uint64_t gva, const void *buf, unsigned len, unsigned access);
	/* The rest at CPL 0 only. */
	int (*load_cr3)(struct emu *e, uint64_t value);
	int (*invlpg)(struct emu *e, uint64_t gva);
	int (*invpcid)(struct emu *e, uint64_t type, uint64_t pcid, uint64_t gva);
};

struct emu {
	uint64_t gpr[EMU_GPRS], rip, rflags;
	uint64_t cr2, cr3, fs_base, gs_base;
	unsigned cpl;
	uint16_t user_cs, user_ss; /* the selectors that iretq may go to CPL 3 with */

	unsigned vector, error;
	uint16_t port;
	unsigned port_bytes;
	uint32_t value;
	char name[24];

	const struct emu_ops *ops;
};

enum emu_result emulate_one(struct emu *e);

#define RFLAGS_CF (1ull << 0)
#define RFLAGS_ONE (1ull << 1)
#define RFLAGS_PF (1ull << 2)
#define RFLAGS_AF (1ull << 4)
#define RFLAGS_ZF (1ull << 6)
#define RFLAGS_SF (1ull << 7)
#define RFLAGS_TF (1ull << 8)
#define RFLAGS_IF (1ull << 9)
#define RFLAGS_DF (1ull << 10)
#define RFLAGS_OF (1ull << 11)
#define RFLAGS_NT (1ull << 14)
#define RFLAGS_RF (1ull << 16)
/* What CPL 3 may have set. IF is nobody's: real interrupts are the VMM's, the guest's are delivered when it says so. */
#define RFLAGS_USER                                                                                                    \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | RFLAGS_DF | RFLAGS_OF | 1ull << 18 |  \
	 1ull << 21)

#endif
