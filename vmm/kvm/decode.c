/* SPDX-License-Identifier: MIT */
/* decode.c - see decode.h */
#include "vmm/kvm/decode.h"

#include <string.h>

/* A header of version 4 and later; ZYDIS_VERSION has a cast in it, which the preprocessor does not take. */
#if __has_include(<Zydis/Disassembler.h>)
#define STACK_WIDTH ZYDIS_STACK_WIDTH_64

static bool decode(const ZydisDecoder *d, const uint8_t *bytes, size_t nbytes, ZydisDecodedInstruction *i,
		   ZydisDecodedOperand *op)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, bytes, nbytes, i, op));
}
#else
#define STACK_WIDTH ZYDIS_ADDRESS_WIDTH_64

static bool decode(const ZydisDecoder *d, const uint8_t *bytes, size_t nbytes, ZydisDecodedInstruction *i,
		   ZydisDecodedOperand *op)
{
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeBuffer(d, bytes, nbytes, i)))
		return false;
	memcpy(op, i->operands, i->operand_count * sizeof(*op));
	return true;
}
#endif

bool insn_decode(struct insn *in, const uint8_t *bytes, size_t nbytes)
{
	ZydisDecodedInstruction i;
	ZydisDecoder d;

	if (!ZYAN_SUCCESS(ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, STACK_WIDTH)) ||
	    !decode(&d, bytes, nbytes, &i, in->op))
		return false;
	in->length = i.length;
	in->mnemonic = i.mnemonic;
	in->attributes = i.attributes;
	in->noperands = i.operand_count;
	in->operand_width = i.operand_width;
	in->address_width = i.address_width;
	return true;
}
