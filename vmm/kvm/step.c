/* SPDX-License-Identifier: MIT */
/* step.c - see step.h: registers, memory, and the addresses that operands name */
#include "vmm/kvm/step.h"

bool step_passed(struct step *s, int ret)
{
	if (ret == 0)
		return true;
	s->result = ret == 1 ? EMU_FAULT : EMU_FAILED;
	s->e->vector = 14;
	return false;
}

bool step_unknown(struct step *s)
{
	s->result = EMU_UNKNOWN;
	return false;
}

bool step_general_protection(struct step *s, unsigned error)
{
	s->result = EMU_FAULT;
	s->e->vector = 13;
	s->e->error = error;
	return false;
}

bool step_read_memory(struct step *s, uint64_t gva, uint64_t *value, unsigned nbytes, unsigned access)
{
	*value = 0;
	return step_passed(s, s->e->ops->read(s->e, gva, value, nbytes, access | step_user(s->e)));
}

bool step_write_memory(struct step *s, uint64_t gva, uint64_t value, unsigned nbytes)
{
	return step_passed(s, s->e->ops->write(s->e, gva, &value, nbytes, ACC_W | step_user(s->e)));
}

/* Which of gpr[] a register is part of, -1: none; *high: it is ah, ch, dh or bh. */
static int register_index(ZydisRegister r, bool *high)
{
	int id = ZydisRegisterGetId(r);

	*high = false;
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		*high = id >= 4 && id < 8;
		return id < 4 ? id : id - 4; /* four of them, the same four high, then spl on */
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return id;
	default:
		return -1;
	}
}

bool step_get_register(struct step *s, ZydisRegister r, unsigned nbytes, uint64_t *value)
{
	bool high;
	int i = register_index(r, &high);

	if (i < 0)
		return step_unknown(s);
	*value = (s->e->gpr[i] >> (high ? 8 : 0)) & step_mask_of(nbytes);
	return true;
}

bool step_set_register(struct step *s, ZydisRegister r, unsigned nbytes, uint64_t value)
{
	uint64_t mask = step_mask_of(nbytes);
	bool high;
	int i = register_index(r, &high);

	if (i < 0)
		return step_unknown(s);
	if (nbytes == 4)
		s->e->gpr[i] = value & mask; /* the upper half is cleared */
	else if (high)
		s->e->gpr[i] = (s->e->gpr[i] & ~0xff00ull) | (value & 0xff) << 8;
	else
		s->e->gpr[i] = (s->e->gpr[i] & ~mask) | (value & mask);
	return true;
}

bool step_address_of(struct step *s, const ZydisDecodedOperand *op, uint64_t *gva)
{
	uint64_t base = 0, index = 0;

	if (op->mem.base == ZYDIS_REGISTER_RIP)
		base = s->next;
	else if (op->mem.base != ZYDIS_REGISTER_NONE && !step_get_register(s, op->mem.base, 8, &base))
		return false;
	if (op->mem.index != ZYDIS_REGISTER_NONE && !step_get_register(s, op->mem.index, 8, &index))
		return false;
	*gva = base + index * op->mem.scale + (uint64_t)op->mem.disp.value;
	if (s->in.address_width == 32)
		*gva &= UINT32_MAX;
	if (op->mem.segment == ZYDIS_REGISTER_FS)
		*gva += s->e->fs_base;
	else if (op->mem.segment == ZYDIS_REGISTER_GS)
		*gva += s->e->gs_base;
	return true;
}

bool step_get(struct step *s, const ZydisDecodedOperand *op, uint64_t *value, unsigned access)
{
	unsigned nbytes = op->size / 8;
	uint64_t gva;

	if (!nbytes || nbytes > 8)
		return step_unknown(s);
	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return step_get_register(s, op->reg.value, nbytes, value);
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*value = (uint64_t)op->imm.value.s;
		return true;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return step_address_of(s, op, &gva) && step_read_memory(s, gva, value, nbytes, access);
	default:
		return step_unknown(s);
	}
}

bool step_put(struct step *s, const ZydisDecodedOperand *op, uint64_t value)
{
	unsigned nbytes = op->size / 8;
	uint64_t gva;

	if (!nbytes || nbytes > 8)
		return step_unknown(s);
	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
		return step_set_register(s, op->reg.value, nbytes, value);
	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return step_unknown(s);
	return step_address_of(s, op, &gva) && step_write_memory(s, gva, value, nbytes);
}
