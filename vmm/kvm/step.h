/* SPDX-License-Identifier: MIT */
/* step.h - the instruction that emulate.c is at, and its operands (step.c) */
#ifndef OVERBOOK_KVM_STEP_H
#define OVERBOOK_KVM_STEP_H

#include "mm/types.h"
#include "vmm/kvm/decode.h"
#include "vmm/kvm/emulate.h"

struct step {
	struct emu *e;
	struct insn in;
	uint64_t next; /* address of the next instruction */
	enum emu_result result;
};

static inline uint64_t step_mask_of(unsigned nbytes)
{
	return nbytes >= 8 ? ~0ull : (1ull << (8 * nbytes)) - 1;
}

static inline unsigned step_user(const struct emu *e)
{
	return e->cpl == 3 ? ACC_U : 0;
}

/* All that return bool: false, and s->result says why the instruction ends here. */
bool step_passed(struct step *s, int ret); /* what a hook returned */
bool step_unknown(struct step *s);
bool step_general_protection(struct step *s, unsigned error);
bool step_read_memory(struct step *s, uint64_t gva, uint64_t *value, unsigned nbytes, unsigned access);
bool step_write_memory(struct step *s, uint64_t gva, uint64_t value, unsigned nbytes);
bool step_get_register(struct step *s, ZydisRegister r, unsigned nbytes, uint64_t *value);
bool step_set_register(struct step *s, ZydisRegister r, unsigned nbytes, uint64_t value);
/* Where an operand in memory is. */
bool step_address_of(struct step *s, const ZydisDecodedOperand *op, uint64_t *gva);
/* The value of an operand; @access is that of an operand in memory: ACC_W if it will be written, too. */
bool step_get(struct step *s, const ZydisDecodedOperand *op, uint64_t *value, unsigned access);
bool step_put(struct step *s, const ZydisDecodedOperand *op, uint64_t value);

#endif
