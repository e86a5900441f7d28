/* SPDX-License-Identifier: MIT */
/*
 * emulate.c - a small processor: one instruction at a time
 *
 * Problem. In shadow mode two kinds of the guest's instructions cannot be left to the processor: all of its ring 0,
 * which has no ring 0 to run in, and stores to traced page tables, which the VMM must see (and to devices' registers).
 *
 * Idea. Both are integer code; so one executor for both, of the instructions that such code is made of. Zydis decodes;
 * what an instruction does is a group: moves, arithmetic, read-modify-write, string stores, jumps, stack, privileged.
 * Memory and everything privileged goes through hooks.
 *
 * Rules: an instruction that faults changes nothing (memory is written last but for registers and flags); a repeated
 * string instruction is one iteration, and rip stays, as on a processor that is interrupted after each; flags that the
 * manual leaves undefined are as before or clear.
 *
 * Invariants (tests/unit/test_emulate.c): registers, flags and memory are what the processor at hand makes of the same
 * instruction.
 *
 * Source: Intel SDM vol. 2.
 */
#include "vmm/kvm/emulate.h"

#include <stdio.h>
#include <string.h>

#include "vmm/kvm/step.h"

static uint64_t flag(bool on, uint64_t bit)
{
	return on ? bit : 0;
}

/* Flags that follow from the result alone. */
static uint64_t result_flags(uint64_t r, unsigned nbytes)
{
	return flag(!r, RFLAGS_ZF) | flag(r >> (8 * nbytes - 1) & 1, RFLAGS_SF) |
	       flag(!__builtin_parity(r & 0xff), RFLAGS_PF);
}

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t add(uint64_t a, uint64_t b, uint64_t carry, unsigned nbytes, uint64_t *flags)
{
	uint64_t mask = step_mask_of(nbytes), sign = 1ull << (8 * nbytes - 1);
	uint64_t r = (a + b + carry) & mask;

	*flags = result_flags(r, nbytes) | flag(r < a || (carry && r == a), RFLAGS_CF) |
		 flag((a ^ r) & (b ^ r) & sign, RFLAGS_OF) | ((a ^ b ^ r) & RFLAGS_AF);
	return r;
}

static uint64_t subtract(uint64_t a, uint64_t b, uint64_t borrow, unsigned nbytes, uint64_t *flags)
{
	uint64_t mask = step_mask_of(nbytes), sign = 1ull << (8 * nbytes - 1);
	uint64_t r = (a - b - borrow) & mask;

	*flags = result_flags(r, nbytes) | flag(a < b || (borrow && a == b), RFLAGS_CF) |
		 flag((a ^ b) & (a ^ r) & sign, RFLAGS_OF) | ((a ^ b ^ r) & RFLAGS_AF);
	return r;
}

static uint64_t logic(uint64_t r, unsigned nbytes, uint64_t *flags)
{
	*flags = result_flags(r, nbytes);
	return r;
}

static void set_flags(struct emu *e, uint64_t flags, uint64_t which)
{
	e->rflags = (e->rflags & ~which) | (flags & which);
}

/* Two operands, and the first becomes the result (but for cmp and test). False: it is no such instruction. */
static bool compute(const struct step *s, uint64_t a, uint64_t b, unsigned nbytes, uint64_t *r, uint64_t *flags)
{
	uint64_t carry = s->e->rflags & RFLAGS_CF;

	switch (s->in.mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
		*r = add(a, b, 0, nbytes, flags);
		return true;
	case ZYDIS_MNEMONIC_ADC:
		*r = add(a, b, carry, nbytes, flags);
		return true;
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_CMP:
		*r = subtract(a, b, 0, nbytes, flags);
		return true;
	case ZYDIS_MNEMONIC_SBB:
		*r = subtract(a, b, carry, nbytes, flags);
		return true;
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_TEST:
		*r = logic(a & b, nbytes, flags);
		return true;
	case ZYDIS_MNEMONIC_OR:
		*r = logic(a | b, nbytes, flags);
		return true;
	case ZYDIS_MNEMONIC_XOR:
		*r = logic(a ^ b, nbytes, flags);
		return true;
	default:
		return false;
	}
}

static void do_arithmetic(struct step *s)
{
	const ZydisDecodedOperand *to = &s->in.op[0];
	bool keeps = s->in.mnemonic == ZYDIS_MNEMONIC_CMP || s->in.mnemonic == ZYDIS_MNEMONIC_TEST;
	unsigned nbytes = to->size / 8;
	uint64_t a, b, r, flags;

	if (!step_get(s, &s->in.op[1], &b, ACC_R) || !step_get(s, to, &a, keeps ? ACC_R : ACC_W))
		return;
	if (!compute(s, a, b & step_mask_of(nbytes), nbytes, &r, &flags)) {
		step_unknown(s);
		return;
	}
	if (keeps || step_put(s, to, r))
		set_flags(s->e, flags, STATUS_FLAGS);
}

static void do_unary(struct step *s)
{
	const ZydisDecodedOperand *to = &s->in.op[0];
	unsigned nbytes = to->size / 8;
	uint64_t a, r, flags = 0, which = STATUS_FLAGS & ~RFLAGS_CF;

	if (!step_get(s, to, &a, ACC_W))
		return;
	switch (s->in.mnemonic) {
	case ZYDIS_MNEMONIC_INC:
		r = add(a, 1, 0, nbytes, &flags);
		break;
	case ZYDIS_MNEMONIC_DEC:
		r = subtract(a, 1, 0, nbytes, &flags);
		break;
	case ZYDIS_MNEMONIC_NEG:
		r = subtract(0, a, 0, nbytes, &flags);
		which = STATUS_FLAGS;
		break;
	default:
		r = ~a & step_mask_of(nbytes);
		which = 0;
	}
	if (step_put(s, to, r))
		set_flags(s->e, flags, which);
}

static void do_move(struct step *s)
{
	const ZydisDecodedOperand *from = &s->in.op[1];
	unsigned nbytes = from->size / 8;
	uint64_t value;

	if (!step_get(s, from, &value, ACC_R))
		return;
	if (s->in.mnemonic == ZYDIS_MNEMONIC_MOVSX || s->in.mnemonic == ZYDIS_MNEMONIC_MOVSXD)
		value |= value >> (8 * nbytes - 1) & 1 ? ~step_mask_of(nbytes) : 0;
	step_put(s, &s->in.op[0], value);
}

/* xchg, xadd, cmpxchg: memory first, which may fault, then registers. */
static void do_exchange(struct step *s)
{
	const ZydisDecodedOperand *to = &s->in.op[0], *with = &s->in.op[1];
	unsigned nbytes = to->size / 8;
	uint64_t a, b, flags, acc = s->e->gpr[EMU_RAX] & step_mask_of(nbytes);

	/* In memory or not, xchg's operands may come in either order. */
	if (s->in.mnemonic == ZYDIS_MNEMONIC_XCHG && with->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		to = with;
		with = &s->in.op[0];
	}
	if (!step_get(s, with, &b, ACC_R) || !step_get(s, to, &a, ACC_W))
		return;
	switch (s->in.mnemonic) {
	case ZYDIS_MNEMONIC_XCHG:
		if (step_put(s, to, b))
			step_put(s, with, a);
		return;
	case ZYDIS_MNEMONIC_XADD:
		b = add(a, b, 0, nbytes, &flags);
		/* The destination is written last: both may be one register. */
		if (to->type == ZYDIS_OPERAND_TYPE_MEMORY ? step_put(s, to, b) && step_put(s, with, a) :
							    step_put(s, with, a) && step_put(s, to, b))
			set_flags(s->e, flags, STATUS_FLAGS);
		return;
	default:
		subtract(acc, a, 0, nbytes, &flags);
		if (step_put(s, to, flags & RFLAGS_ZF ? b : a)) {
			if (!(flags & RFLAGS_ZF))
				step_set_register(s, nbytes == 8   ? ZYDIS_REGISTER_RAX
						: nbytes == 4 ? ZYDIS_REGISTER_EAX
						: nbytes == 2 ? ZYDIS_REGISTER_AX
							      : ZYDIS_REGISTER_AL,
					     nbytes, a);
			set_flags(s->e, flags, STATUS_FLAGS);
		}
	}
}

/* bt, bts, btr, btc. A bit number in a register may lie outside of an operand in memory. */
static void do_bit(struct step *s)
{
	const ZydisDecodedOperand *to = &s->in.op[0];
	bool keeps = s->in.mnemonic == ZYDIS_MNEMONIC_BT, memory = to->type == ZYDIS_OPERAND_TYPE_MEMORY;
	unsigned bits = to->size, shift;
	uint64_t bit, value, gva = 0;

	if (!step_get(s, &s->in.op[1], &bit, ACC_R) || (memory && !step_address_of(s, to, &gva)))
		return;
	shift = bit & (bits - 1);
	if (memory && s->in.op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		int64_t wide = (int64_t)(bit << (64 - bits)) >> (64 - bits);

		gva += (uint64_t)((wide - (int64_t)shift) / 8);
	}
	if (memory ? !step_read_memory(s, gva, &value, bits / 8, keeps ? ACC_R : ACC_W) :
		     !step_get(s, to, &value, ACC_R))
		return;

	uint64_t flags = flag(value >> shift & 1, RFLAGS_CF);

	if (s->in.mnemonic == ZYDIS_MNEMONIC_BTS)
		value |= 1ull << shift;
	else if (s->in.mnemonic == ZYDIS_MNEMONIC_BTR)
		value &= ~(1ull << shift);
	else
		value ^= 1ull << shift;
	if (keeps || (memory ? step_write_memory(s, gva, value, bits / 8) : step_put(s, to, value)))
		set_flags(s->e, flags, RFLAGS_CF);
}

/* One iteration of stos or movs. */
static void do_string(struct step *s, bool copy, unsigned nbytes)
{
	struct emu *e = s->e;
	uint64_t step = e->rflags & RFLAGS_DF ? -(uint64_t)nbytes : nbytes, value = e->gpr[EMU_RAX];
	bool rep = s->in.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);

	if (s->in.address_width != 64 || (copy && s->in.op[1].mem.segment != ZYDIS_REGISTER_DS)) {
		step_unknown(s);
		return;
	}
	if (rep && !e->gpr[EMU_RCX])
		return;
	if ((copy && !step_read_memory(s, e->gpr[EMU_RSI], &value, nbytes, ACC_R)) ||
	    !step_write_memory(s, e->gpr[EMU_RDI], value, nbytes))
		return;
	e->gpr[EMU_RDI] += step;
	e->gpr[EMU_RSI] += copy ? step : 0;
	if (rep && --e->gpr[EMU_RCX])
		s->next = e->rip;
}

static bool push(struct step *s, uint64_t value)
{
	if (!step_write_memory(s, s->e->gpr[EMU_RSP] - 8, value, 8))
		return false;
	s->e->gpr[EMU_RSP] -= 8;
	return true;
}

static void do_push(struct step *s)
{
	uint64_t value;

	if (s->in.operand_width != 64)
		step_unknown(s);
	else if (step_get(s, &s->in.op[0], &value, ACC_R))
		push(s, value);
}

static void do_pop(struct step *s)
{
	uint64_t value, rsp = s->e->gpr[EMU_RSP];

	if (s->in.operand_width != 64) {
		step_unknown(s);
		return;
	}
	if (!step_read_memory(s, rsp, &value, 8, ACC_R))
		return;
	/* An address with rsp in it is that after the pop. */
	s->e->gpr[EMU_RSP] = rsp + 8;
	if (!step_put(s, &s->in.op[0], value))
		s->e->gpr[EMU_RSP] = rsp;
}

static bool jump_target(struct step *s, uint64_t *to)
{
	const ZydisDecodedOperand *op = &s->in.op[0];

	if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		*to = s->next + (uint64_t)op->imm.value.s;
		return op->imm.is_relative || step_unknown(s);
	}
	return step_get(s, op, to, ACC_R);
}

static void do_call(struct step *s)
{
	uint64_t to;

	if (jump_target(s, &to) && push(s, s->next))
		s->next = to;
}

static void do_return(struct step *s)
{
	uint64_t to;

	if (s->in.op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		step_unknown(s);
		return;
	}
	if (!step_read_memory(s, s->e->gpr[EMU_RSP], &to, 8, ACC_R))
		return;
	s->e->gpr[EMU_RSP] += 8;
	s->next = to;
}

/* Conditions in the order of the manual's table of encodings; the odd one is its neighbour's opposite. */
#define CONDITIONS(prefix)                                                                                             \
	{                                                                                                              \
		ZYDIS_MNEMONIC_##prefix##O, ZYDIS_MNEMONIC_##prefix##NO, ZYDIS_MNEMONIC_##prefix##B,                   \
			ZYDIS_MNEMONIC_##prefix##NB, ZYDIS_MNEMONIC_##prefix##Z, ZYDIS_MNEMONIC_##prefix##NZ,          \
			ZYDIS_MNEMONIC_##prefix##BE, ZYDIS_MNEMONIC_##prefix##NBE, ZYDIS_MNEMONIC_##prefix##S,         \
			ZYDIS_MNEMONIC_##prefix##NS, ZYDIS_MNEMONIC_##prefix##P, ZYDIS_MNEMONIC_##prefix##NP,          \
			ZYDIS_MNEMONIC_##prefix##L, ZYDIS_MNEMONIC_##prefix##NL, ZYDIS_MNEMONIC_##prefix##LE,          \
			ZYDIS_MNEMONIC_##prefix##NLE                                                                   \
	}

enum { FAMILY_JUMP, FAMILY_SET, FAMILY_MOVE, FAMILIES };

static bool condition_holds(uint64_t f, unsigned condition)
{
	bool less = !(f & RFLAGS_SF) != !(f & RFLAGS_OF), holds;

	switch (condition / 2) {
	case 0:
		holds = f & RFLAGS_OF;
		break;
	case 1:
		holds = f & RFLAGS_CF;
		break;
	case 2:
		holds = f & RFLAGS_ZF;
		break;
	case 3:
		holds = f & (RFLAGS_CF | RFLAGS_ZF);
		break;
	case 4:
		holds = f & RFLAGS_SF;
		break;
	case 5:
		holds = f & RFLAGS_PF;
		break;
	case 6:
		holds = less;
		break;
	default:
		holds = less || (f & RFLAGS_ZF);
	}
	return holds != (condition & 1);
}

static void do_conditional(struct step *s)
{
	static const ZydisMnemonic family[FAMILIES][16] = {
		[FAMILY_JUMP] = CONDITIONS(J), [FAMILY_SET] = CONDITIONS(SET), [FAMILY_MOVE] = CONDITIONS(CMOV)
	};
	const ZydisDecodedOperand *op = s->in.op;
	unsigned i = 0;
	uint64_t value;
	bool holds;

	while (i < FAMILIES * 16 && family[i / 16][i % 16] != s->in.mnemonic)
		i++;
	if (i == FAMILIES * 16) {
		step_unknown(s);
		return;
	}
	holds = condition_holds(s->e->rflags, i % 16);
	if (i / 16 == FAMILY_JUMP) {
		if (jump_target(s, &value) && holds)
			s->next = value;
	} else if (i / 16 == FAMILY_SET) {
		step_put(s, &op[0], holds);
	} else if (step_get(s, &op[1], &value, ACC_R) && (holds || step_get(s, &op[0], &value, ACC_R))) {
		step_put(s, &op[0], value);
	}
}

/* mov to and from cr2 and cr3. */
static void do_control(struct step *s)
{
	const ZydisDecodedOperand *to = &s->in.op[0], *from = &s->in.op[1];
	struct emu *e = s->e;
	uint64_t value;

	if (from->reg.value == ZYDIS_REGISTER_CR2)
		step_set_register(s, to->reg.value, 8, e->cr2);
	else if (from->reg.value == ZYDIS_REGISTER_CR3)
		step_set_register(s, to->reg.value, 8, e->cr3);
	else if (!step_get_register(s, from->reg.value, 8, &value))
		return;
	else if (to->reg.value == ZYDIS_REGISTER_CR2)
		e->cr2 = value;
	else if (to->reg.value != ZYDIS_REGISTER_CR3)
		step_unknown(s);
	else if (step_passed(s, e->ops->load_cr3(e, value)))
		e->cr3 = value & ~CR3_NOFLUSH;
}

static bool is_canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

static void do_iretq(struct step *s)
{
	struct emu *e = s->e;
	uint64_t frame[5]; /* rip, cs, rflags, rsp, ss */

	for (unsigned i = 0; i < 5; i++)
		if (!step_read_memory(s, e->gpr[EMU_RSP] + 8 * i, &frame[i], 8, ACC_R))
			return;
	if ((frame[1] & 0xffff) != e->user_cs || (frame[4] & 0xffff) != e->user_ss) {
		step_general_protection(s, (unsigned)(frame[1] & 0xfffc));
		return;
	}
	if (!is_canonical(frame[0])) {
		step_general_protection(s, 0);
		return;
	}
	s->next = frame[0];
	e->gpr[EMU_RSP] = frame[3];
	e->rflags = (frame[2] & RFLAGS_USER) | RFLAGS_ONE;
	e->cpl = 3;
}

/* in and out: what comes of it is the caller's business. */
static void do_port(struct step *s, bool out)
{
	const ZydisDecodedOperand *port = &s->in.op[out ? 0 : 1], *with = &s->in.op[out ? 1 : 0];
	struct emu *e = s->e;
	uint64_t value = 0;

	if (port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		e->port = port->imm.value.u & 0xff;
	else
		e->port = e->gpr[EMU_RDX] & 0xffff;
	if (out && !step_get(s, with, &value, ACC_R))
		return;
	e->value = (uint32_t)value;
	e->port_bytes = with->size / 8;
	s->result = out ? EMU_OUT : EMU_IN;
}

static void do_invpcid(struct step *s)
{
	uint64_t type, gva, descriptor[2];

	if (step_get(s, &s->in.op[0], &type, ACC_R) && step_address_of(s, &s->in.op[1], &gva) &&
	    step_passed(s, s->e->ops->read(s->e, gva, descriptor, sizeof(descriptor), ACC_R)))
		step_passed(s, s->e->ops->invpcid(s->e, type, descriptor[0], descriptor[1]));
}

/* What only ring 0 may do. False: it is nothing of the kind. */
static bool privileged(struct step *s)
{
	uint64_t gva;

	switch (s->in.mnemonic) {
	case ZYDIS_MNEMONIC_IRETQ:
		do_iretq(s);
		return true;
	case ZYDIS_MNEMONIC_OUT:
		do_port(s, true);
		return true;
	case ZYDIS_MNEMONIC_IN:
		do_port(s, false);
		return true;
	case ZYDIS_MNEMONIC_INVLPG:
		if (step_address_of(s, &s->in.op[0], &gva))
			step_passed(s, s->e->ops->invlpg(s->e, gva));
		return true;
	case ZYDIS_MNEMONIC_INVPCID:
		do_invpcid(s);
		return true;
	case ZYDIS_MNEMONIC_HLT:
		s->result = EMU_HALT;
		return true;
	case ZYDIS_MNEMONIC_MOV:
		if (s->in.op[0].type != ZYDIS_OPERAND_TYPE_REGISTER || s->in.op[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
			return false;
		if (ZydisRegisterGetClass(s->in.op[0].reg.value) != ZYDIS_REGCLASS_CONTROL &&
		    ZydisRegisterGetClass(s->in.op[1].reg.value) != ZYDIS_REGCLASS_CONTROL)
			return false;
		do_control(s);
		return true;
	default:
		return false;
	}
}

static void do_lea(struct step *s)
{
	uint64_t value;

	if (step_address_of(s, &s->in.op[1], &value))
		step_put(s, &s->in.op[0], value);
}

static void do_stos(struct step *s)
{
	do_string(s, false, s->in.op[0].size / 8);
}

/* One of them has a vector instruction of the same name. */
static void do_movs(struct step *s)
{
	if (s->in.op[0].type == ZYDIS_OPERAND_TYPE_MEMORY && s->in.op[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
		do_string(s, true, s->in.op[0].size / 8);
	else
		step_unknown(s);
}

static void do_jump(struct step *s)
{
	uint64_t to;

	if (jump_target(s, &to))
		s->next = to;
}

static void do_nothing(struct step *s)
{
	(void)s;
}

static void do_ordinary(struct step *s)
{
#define DOES(name, what) { ZYDIS_MNEMONIC_##name, what }
	static const struct {
		ZydisMnemonic mnemonic;
		void (*carry_out)(struct step *s);
	} known[] = {
		DOES(MOV, do_move), DOES(MOVNTI, do_move), DOES(MOVZX, do_move), DOES(MOVSX, do_move),
		DOES(MOVSXD, do_move), DOES(LEA, do_lea),
		DOES(ADD, do_arithmetic), DOES(ADC, do_arithmetic), DOES(SUB, do_arithmetic), DOES(SBB, do_arithmetic),
		DOES(AND, do_arithmetic), DOES(OR, do_arithmetic), DOES(XOR, do_arithmetic), DOES(CMP, do_arithmetic),
		DOES(TEST, do_arithmetic),
		DOES(INC, do_unary), DOES(DEC, do_unary), DOES(NEG, do_unary), DOES(NOT, do_unary),
		DOES(XCHG, do_exchange), DOES(XADD, do_exchange), DOES(CMPXCHG, do_exchange),
		DOES(BT, do_bit), DOES(BTS, do_bit), DOES(BTR, do_bit), DOES(BTC, do_bit),
		DOES(STOSB, do_stos), DOES(STOSW, do_stos), DOES(STOSD, do_stos), DOES(STOSQ, do_stos),
		DOES(MOVSB, do_movs), DOES(MOVSW, do_movs), DOES(MOVSD, do_movs), DOES(MOVSQ, do_movs),
		DOES(PUSH, do_push), DOES(POP, do_pop), DOES(JMP, do_jump), DOES(CALL, do_call), DOES(RET, do_return),
		DOES(NOP, do_nothing),
	};
#undef DOES

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].mnemonic == s->in.mnemonic) {
			known[i].carry_out(s);
			return;
		}
	do_conditional(s);
}

/* The bytes at rip; those of the next page only if the instruction needs them. */
static bool fetch(struct step *s)
{
	struct emu *e = s->e;
	unsigned here = PAGE_SIZE - (e->rip & (PAGE_SIZE - 1)), n = here < INSN_MAX ? here : INSN_MAX;
	uint8_t bytes[INSN_MAX];

	snprintf(e->name, sizeof(e->name), "(bad)");
	if (!step_passed(s, e->ops->read(e, e->rip, bytes, n, ACC_X | step_user(e))))
		return false;
	if (!insn_decode(&s->in, bytes, n)) {
		if (n == INSN_MAX)
			return step_unknown(s);
		if (!step_passed(s, e->ops->read(e, e->rip + n, bytes + n, INSN_MAX - n, ACC_X | step_user(e))))
			return false;
		if (!insn_decode(&s->in, bytes, INSN_MAX))
			return step_unknown(s);
	}
	snprintf(e->name, sizeof(e->name), "%s", ZydisMnemonicGetString(s->in.mnemonic));
	s->next = e->rip + s->in.length;
	return true;
}

enum emu_result emulate_one(struct emu *e)
{
	struct step s = { .e = e, .result = EMU_DONE };

	if (!fetch(&s))
		return s.result;
	if (e->cpl != 0 || !privileged(&s))
		do_ordinary(&s);
	if (s.result == EMU_DONE || s.result == EMU_OUT || s.result == EMU_IN || s.result == EMU_HALT)
		e->rip = s.next;
	return s.result;
}
