/* SPDX-License-Identifier: MIT */
/*
 * decode.h - one instruction of 64-bit code, by Zydis
 *
 * Its types are Zydis's own, which versions 3 and 4 have in common; only how a decoder is called differs (decode.c).
 */
#ifndef OVERBOOK_KVM_DECODE_H
#define OVERBOOK_KVM_DECODE_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_MAX 15 /* bytes */

struct insn {
	unsigned length;
	ZydisMnemonic mnemonic;
	uint64_t attributes; /* ZYDIS_ATTRIB_* */
	unsigned noperands;
	unsigned operand_width, address_width; /* bits */
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

/* False: @nbytes at @bytes are not the beginning of a whole instruction. */
bool insn_decode(struct insn *in, const uint8_t *bytes, size_t nbytes);

#endif
