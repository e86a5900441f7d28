/* SPDX-License-Identifier: MIT */
/*
 * test_emulate.c - the small processor of vmm/kvm/emulate.c against the one at hand
 *
 * Each instruction is executed twice on the same registers and memory: natively, in a page of this process, and by
 * emulate_one(). What only ring 0 may do has no native twin: its tests say what the manual says.
 */
#include <check.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/types.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/emulate.h"
#include "workloads/rng.h"

#define CODE_VA 0x10000000ull
#define DATA_VA 0x10010000ull /* two pages */
#define HOLE_VA 0x10012000ull /* nothing */

static uint8_t code[2 * PAGE_SIZE], data[2 * PAGE_SIZE];
static uint64_t loaded_cr3, invalidated;
static uint64_t invalidated_type;

static uint8_t *at(uint64_t gva)
{
	if (gva >= CODE_VA && gva < CODE_VA + sizeof(code))
		return code + (gva - CODE_VA);
	if (gva >= DATA_VA && gva < DATA_VA + sizeof(data))
		return data + (gva - DATA_VA);
	return NULL;
}

static int fault(struct emu *e, uint64_t gva, unsigned len, unsigned access)
{
	for (unsigned i = 0; i < len; i++)
		if (!at(gva + i)) {
			e->cr2 = gva + i;
			e->error = (access & ACC_W ? 2 : 0) | (access & ACC_U ? 4 : 0) | (access & ACC_X ? 16 : 0);
			return 1;
		}
	return 0;
}

static int do_read(struct emu *e, uint64_t gva, void *buf, unsigned len, unsigned access)
{
	if (fault(e, gva, len, access))
		return 1;
	memcpy(buf, at(gva), len);
	return 0;
}

static int do_write(struct emu *e, uint64_t gva, const void *buf, unsigned len, unsigned access)
{
	if (fault(e, gva, len, access))
		return 1;
	memcpy(at(gva), buf, len);
	return 0;
}

static int load_cr3(struct emu *e, uint64_t value)
{
	(void)e;
	loaded_cr3 = value;
	return 0;
}

static int invlpg(struct emu *e, uint64_t gva)
{
	(void)e;
	invalidated = gva;
	return 0;
}

static int invpcid(struct emu *e, uint64_t type, uint64_t pcid, uint64_t gva)
{
	(void)e;
	invalidated_type = type << 16 | pcid;
	invalidated = gva;
	return 0;
}

static const struct emu_ops ops = {
	.read = do_read, .write = do_write, .load_cr3 = load_cr3, .invlpg = invlpg, .invpcid = invpcid
};

/* Instructions as bytes, by the assembler. */
#define INSN(name, text)                                                                                               \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");                          \
	extern const uint8_t name[], name##_end[]

/* rdi: data; rax, rcx, rdx, rbx, r8 to r11: anything; rsp is left alone. */
#define ORDINARY(X) \
	X(mov_m_r, "mov %rax, 8(%rdi)") X(mov_m_r32, "mov %ecx, (%rdi)") X(mov_m_r8, "mov %ch, 3(%rdi)") \
	X(mov_m_i, "movq $-5, 16(%rdi)") X(mov_m_i16, "movw $0x1234, 2(%rdi)") \
	X(mov_r_m, "mov 5(%rdi), %r9") X(mov_r_m8, "mov 5(%rdi), %bh") \
	X(mov_sib, "mov %edx, 8(%rdi,%r10,8)") X(movabs, "movabs $0x123456789a, %r8") \
	X(movnti, "movnti %rdx, 24(%rdi)") X(movzx, "movzbl 1(%rdi), %eax") X(movzx_h, "movzbl %ah, %edx") \
	X(movsx, "movsbq 1(%rdi), %rax") X(movsxd, "movslq 4(%rdi), %rcx") X(movsx_w, "movswl %dx, %eax") \
	X(lea, "lea 0x40(%rdi,%rcx,4), %rdx") X(lea32, "lea 0x40(%rdi,%rcx,4), %edx") \
	X(add_m_r, "add %rax, (%rdi)") X(add_r_m8, "add (%rdi), %dl") X(adc, "adc %rcx, 8(%rdi)") \
	X(sub_m_i, "subl $77, 4(%rdi)") X(sbb, "sbb %dx, %cx") X(and_m, "lock andq $0x7f, (%rdi)") \
	X(or_m, "lock orq $2, (%rdi)") X(or_m8, "orb $1, 1(%rdi)") X(xor_r, "xor %eax, %ecx") \
	X(cmp_m, "cmpl $3, (%rdi)") X(cmp_r8, "cmp %ah, %bl") X(test_m, "testl $2, (%rdi)") \
	X(test_r, "test %rdx, %rdx") X(inc, "incq (%rdi)") X(dec, "decl 4(%rdi)") X(dec8, "dec %ah") \
	X(neg, "negw (%rdi)") X(not, "notq 8(%rdi)") X(xchg_m, "xchg %rax, (%rdi)") \
	X(xchg_r, "xchg %al, %dh") X(xadd, "lock xadd %rcx, (%rdi)") X(xadd_same, "xadd %rdx, %rdx") \
	X(cmpxchg, "lock cmpxchg %rdx, (%rdi)") X(cmpxchg_32, "cmpxchg %ecx, 4(%rdi)") \
	X(bt, "btq $5, (%rdi)") X(bts, "lock btsq $62, (%rdi)") X(btr_m, "btr %r11, 0x200(%rdi)") \
	X(btc_r, "btc %ecx, %eax") X(sets, "sets 7(%rdi)") X(setle, "setle %cl") \
	X(cmovb, "cmovb 8(%rdi), %rax") X(cmovnz, "cmovnz %ecx, %edx") X(cmovo, "cmovo %r8, %r9") \
	X(cmovnp, "cmovnp %r8, %r9") X(cmovl, "cmovl %r8, %r9") X(stosb, "stosb") X(stosq, "stosq") \
	X(stosd, "std; stosl; cld") X(nop, "nopl 8(%rax)") X(mov_rip, "lea 1f(%rip), %rax; 1:")

#define X(name, text) INSN(i_##name, text);
ORDINARY(X)
#undef X

static const struct {
	const char *text;
	const uint8_t *start, *end;
} ordinary[] = {
#define X(name, text) { text, i_##name, i_##name##_end },
	ORDINARY(X)
#undef X
};

/* rax, rcx, rdx, rbx, rdi, r8 to r11, flags. */
struct native {
	uint64_t rax, rcx, rdx, rbx, rdi, r8, r9, r10, r11, flags;
};

void emulate_native(struct native *n, void *target);
__asm__(".pushsection .text\n"
	"emulate_native: push %rbx; push %rbp; push %r12; push %r13; mov %rdi, %rbp; mov %rsi, %r12\n"
	"mov 8(%rbp), %rcx; mov 16(%rbp), %rdx; mov 24(%rbp), %rbx; mov 32(%rbp), %rdi; mov 40(%rbp), %r8;"
	"mov 48(%rbp), %r9; mov 56(%rbp), %r10; mov 64(%rbp), %r11; pushq 72(%rbp); popfq; mov 0(%rbp), %rax\n"
	"call *%r12\n"
	"mov %rax, 0(%rbp); pushfq; popq 72(%rbp); cld; mov %rcx, 8(%rbp); mov %rdx, 16(%rbp); mov %rbx, 24(%rbp);"
	"mov %rdi, 32(%rbp); mov %r8, 40(%rbp); mov %r9, 48(%rbp); mov %r10, 56(%rbp); mov %r11, 64(%rbp)\n"
	"pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
	".popsection\n");

static struct emu cpu_of(const struct native *n)
{
	struct emu e = { .rip = CODE_VA, .rflags = n->flags | RFLAGS_ONE, .cpl = 3, .ops = &ops };

	e.gpr[EMU_RAX] = n->rax, e.gpr[EMU_RCX] = n->rcx, e.gpr[EMU_RDX] = n->rdx, e.gpr[EMU_RBX] = n->rbx;
	e.gpr[EMU_RDI] = n->rdi, e.gpr[8] = n->r8, e.gpr[9] = n->r9, e.gpr[10] = n->r10, e.gpr[11] = n->r11;
	return e;
}

#define STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static void same(const struct emu *e, const struct native *n, const char *text)
{
	const uint64_t mine[] = { e->gpr[EMU_RAX], e->gpr[EMU_RCX], e->gpr[EMU_RDX], e->gpr[EMU_RBX], e->gpr[EMU_RDI],
				  e->gpr[8], e->gpr[9], e->gpr[10], e->gpr[11] };
	/* What and, or, xor, test and bit instructions leave of AF, and bit instructions of others, is undefined. */
	uint64_t undefined = strstr(text, "and") || strstr(text, "or") || strstr(text, "test") ? RFLAGS_AF :
			     !strncmp(text, "bt", 2) || strstr(text, "bts") ? STATUS & ~(RFLAGS_CF | RFLAGS_ZF) :
									      0;

	for (unsigned i = 0; i < G_N_ELEMENTS(mine); i++)
		ck_assert_msg(mine[i] == (&n->rax)[i], "%s: register %u is %#lx, not %#lx", text, i, mine[i],
			      (&n->rax)[i]);
	ck_assert_msg(!((e->rflags ^ n->flags) & STATUS & ~undefined), "%s: flags are %#lx, not %#lx", text, e->rflags,
		      n->flags);
}

static uint64_t odd_value(struct rng *r)
{
	static const uint64_t edges[] = { 0, 1, ~0ull, 0x80, 0x8000, 0x80000000, 1ull << 63, 0x7f, 0x7fffffff };

	return rng_below(r, 2) ? rng_u64(r) : edges[rng_below(r, G_N_ELEMENTS(edges))];
}

/* What if it is not what the processor does? Memory is where the process has it, so that addresses are the same. */
START_TEST(as_the_processor_does)
{
	uint8_t *page = mmap((void *)CODE_VA, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	uint8_t *real = mmap((void *)DATA_VA, sizeof(data), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	unsigned len = (unsigned)(ordinary[_i].end - ordinary[_i].start);
	struct rng r;

	ck_assert(page == (void *)CODE_VA && real == (void *)DATA_VA);
	rng_seed(&r, 40 + (uint64_t)_i);
	memcpy(page, ordinary[_i].start, len);
	memcpy(code, ordinary[_i].start, len);
	page[len] = 0xc3;
	for (unsigned i = 0; i < 300; i++) {
		struct native n = { .rax = odd_value(&r), .rcx = odd_value(&r), .rdx = odd_value(&r),
				    .rbx = odd_value(&r), .rdi = DATA_VA + 0x400, .r8 = odd_value(&r),
				    .r9 = odd_value(&r), .r10 = rng_below(&r, 64), .r11 = rng_below(&r, 4096),
				    .flags = (rng_u64(&r) & STATUS) | RFLAGS_ONE };
		struct emu e = cpu_of(&n);

		for (unsigned w = 0; w < 0x800 / 8; w++)
			((uint64_t *)real)[w] = odd_value(&r);
		if (rng_below(&r, 2))
			n.rax = e.gpr[EMU_RAX] = ((uint64_t *)real)[0x400 / 8]; /* cmpxchg succeeds */
		memcpy(data, real, sizeof(data));
		emulate_native(&n, page);
		while (e.rip != CODE_VA + len) {
			if (code[e.rip - CODE_VA] == 0xfd || code[e.rip - CODE_VA] == 0xfc) {
				e.rflags ^= RFLAGS_DF; /* std, cld: not for this processor */
				e.rip++;
			} else {
				ck_assert_msg(emulate_one(&e) == EMU_DONE, "%s: %s", ordinary[_i].text, e.name);
			}
		}
		same(&e, &n, ordinary[_i].text);
		ck_assert_msg(!memcmp(data, real, sizeof(data)), "%s: memory differs", ordinary[_i].text);
	}
}
END_TEST

static struct emu at_ring0(const uint8_t *start, const uint8_t *end)
{
	struct emu e = { .rip = CODE_VA, .rflags = RFLAGS_ONE, .ops = &ops, .user_cs = 0x23, .user_ss = 0x1b };

	memcpy(code, start, (size_t)(end - start));
	memset(data, 0, sizeof(data));
	e.gpr[EMU_RSP] = DATA_VA + 0x800;
	e.gpr[EMU_RDI] = DATA_VA;
	return e;
}

#define RING0(name) at_ring0(name, name##_end)

INSN(r_cr, "mov %cr2, %rax; mov %rax, %cr3; mov %cr3, %rcx");
INSN(r_invlpg, "invlpg 0x18(%rdx)");
INSN(r_invpcid, "invpcid (%rdi), %rdx");
INSN(r_out, "out %eax, $0x0b; out %al, %dx; in $0x70, %al; hlt");
INSN(r_iretq, "iretq");
INSN(r_push, "push $-2; push %rax; push 8(%rdi); pop 16(%rdi); pop %rcx; call 1f; nop; 1: ret");
INSN(r_jumps, "jmp 1f; ud2; 1: cmp %rax, %rax; jne 1b; je 2f; ud2; 2: jmp *%rdx");
INSN(r_lidt, "lidt (%rdi)");
INSN(r_sse, "movups %xmm0, (%rdi)");
INSN(r_rep, "rep stosq");
INSN(r_movs, "rep movsb");
INSN(r_store, "mov %rax, (%rdi)");
INSN(r_rmw, "add %rax, (%rdi)");
INSN(r_push_hole, "push %rax");

/* What if it is ring 0's business? */
START_TEST(control_registers)
{
	struct emu e = RING0(r_cr);

	e.cr2 = 0x8000000000001000;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_uint_eq(e.gpr[EMU_RAX], 0x8000000000001000);
	ck_assert_uint_eq(loaded_cr3, 0x8000000000001000);
	/* The bit that keeps what is cached is not a part of CR3. */
	ck_assert_uint_eq(e.gpr[EMU_RCX], 0x1000);
	e = RING0(r_cr);
	e.cpl = 3;
	ck_assert_int_eq(emulate_one(&e), EMU_UNKNOWN);
}
END_TEST

START_TEST(invalidations)
{
	struct emu e = RING0(r_invlpg);

	e.gpr[EMU_RDX] = 0x5000;
	ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_uint_eq(invalidated, 0x5018);
	e = RING0(r_invpcid);
	memcpy(data, (const uint64_t[]){ 7, 0x9000 }, 16);
	e.gpr[EMU_RDX] = 1;
	ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_uint_eq(invalidated_type, 1 << 16 | 7);
	ck_assert_uint_eq(invalidated, 0x9000);
}
END_TEST

START_TEST(ports_and_halt)
{
	struct emu e = RING0(r_out);

	e.gpr[EMU_RAX] = 0x1234567890;
	e.gpr[EMU_RDX] = 0x3f8;
	ck_assert_int_eq(emulate_one(&e), EMU_OUT);
	ck_assert(e.port == 0x0b && e.value == 0x34567890 && e.port_bytes == 4);
	ck_assert_int_eq(emulate_one(&e), EMU_OUT);
	ck_assert(e.port == 0x3f8 && e.value == 0x90 && e.port_bytes == 1);
	ck_assert_int_eq(emulate_one(&e), EMU_IN);
	ck_assert(e.port == 0x70);
	ck_assert_int_eq(emulate_one(&e), EMU_HALT);
	ck_assert_uint_eq(e.rip, CODE_VA + (uint64_t)(r_out_end - r_out));
}
END_TEST

static const struct {
	uint64_t frame[5];
	int vector, error; /* 0: it succeeds */
} returns[] = {
	{ { 0x400000, 0x23, 0x3247, 0x7000, 0x1b }, 0, 0 },
	{ { 0x400000, 0x08, 0x2, 0x7000, 0x10 }, 13, 0x08 },	 /* ring 0 has no way back to itself */
	{ { 0x400000, 0x33, 0x2, 0x7000, 0x1b }, 13, 0x30 },
	{ { 1ull << 47, 0x23, 0x2, 0x7000, 0x1b }, 13, 0 },	 /* not canonical */
};

START_TEST(iretq)
{
	struct emu e = RING0(r_iretq);

	memcpy(data + 0x800, returns[_i].frame, sizeof(returns[_i].frame));
	if (returns[_i].vector) {
		ck_assert_int_eq(emulate_one(&e), EMU_FAULT);
		ck_assert_int_eq(e.vector, returns[_i].vector);
		ck_assert_int_eq(e.error, returns[_i].error);
		ck_assert_uint_eq(e.cpl, 0);
		ck_assert_uint_eq(e.gpr[EMU_RSP], DATA_VA + 0x800);
		return;
	}
	ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_uint_eq(e.cpl, 3);
	ck_assert_uint_eq(e.rip, 0x400000);
	ck_assert_uint_eq(e.gpr[EMU_RSP], 0x7000);
	/* Neither IOPL nor IF: the guest may not have them. */
	ck_assert_uint_eq(e.rflags, 0x47);
}
END_TEST

START_TEST(stack_and_jumps)
{
	struct emu e = RING0(r_push);

	e.gpr[EMU_RAX] = 0x1111;
	((uint64_t *)data)[1] = 0x2222;
	for (unsigned i = 0; i < 7; i++)
		ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_uint_eq(((uint64_t *)data)[2], 0x2222);
	ck_assert_uint_eq(e.gpr[EMU_RCX], 0x1111);
	ck_assert_uint_eq(e.gpr[EMU_RSP], DATA_VA + 0x800 - 8);
	ck_assert_uint_eq(((uint64_t *)data)[0x800 / 8 - 1], -2ull);
	ck_assert_uint_eq(code[e.rip - CODE_VA], 0x90); /* the nop behind the call */

	e = RING0(r_jumps);
	e.gpr[EMU_RDX] = 0x1234;
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_uint_eq(e.rip, 0x1234);
}
END_TEST

/* What if it is not known? It says which, and has done nothing. */
START_TEST(unknown)
{
	struct emu e = RING0(r_lidt), before = e;

	ck_assert_int_eq(emulate_one(&e), EMU_UNKNOWN);
	ck_assert_str_eq(e.name, "lidt");
	ck_assert_uint_eq(e.rip, before.rip);
	e = RING0(r_sse);
	e.cpl = 3;
	ck_assert_int_eq(emulate_one(&e), EMU_UNKNOWN);
	ck_assert_str_eq(e.name, "movups");
	memset(code, 0xff, 16);
	e.rip = CODE_VA;
	ck_assert_int_eq(emulate_one(&e), EMU_UNKNOWN);
}
END_TEST

/* What if memory is not there? Then nothing has happened, and the fault is the right one. */
START_TEST(faults)
{
	static const struct {
		const uint8_t *start, *end;
		unsigned error;
	} cases[] = { { r_store, r_store_end, 6 }, { r_rmw, r_rmw_end, 6 }, { r_rep, r_rep_end, 6 } };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct emu e = at_ring0(cases[i].start, cases[i].end), before;

		e.cpl = 3;
		e.gpr[EMU_RDI] = HOLE_VA - 4;
		e.gpr[EMU_RCX] = 3;
		before = e;
		ck_assert_int_eq(emulate_one(&e), EMU_FAULT);
		ck_assert_uint_eq(e.vector, 14);
		ck_assert_uint_eq(e.error, cases[i].error);
		ck_assert_uint_eq(e.cr2, HOLE_VA);
		ck_assert(!memcmp(e.gpr, before.gpr, sizeof(e.gpr)));
		ck_assert(e.rip == before.rip && e.rflags == before.rflags);
	}

	struct emu e = RING0(r_push_hole);

	e.gpr[EMU_RSP] = HOLE_VA + 8;
	ck_assert_int_eq(emulate_one(&e), EMU_FAULT);
	ck_assert_uint_eq(e.error, 2);
	ck_assert_uint_eq(e.gpr[EMU_RSP], HOLE_VA + 8);
	e.rip = HOLE_VA;
	e.cpl = 3;
	ck_assert_int_eq(emulate_one(&e), EMU_FAULT);
	ck_assert_uint_eq(e.error, 4 | 16);
}
END_TEST

/* What if an instruction repeats? One iteration at a time, so that each store can be seen. */
START_TEST(repeats)
{
	struct emu e = RING0(r_rep);

	e.gpr[EMU_RAX] = 0x77;
	e.gpr[EMU_RCX] = 3;
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(emulate_one(&e), EMU_DONE);
		ck_assert_uint_eq(e.gpr[EMU_RCX], 3 - i);
		ck_assert_uint_eq(e.gpr[EMU_RDI], DATA_VA + 8 * i);
		ck_assert_uint_eq(e.rip, i < 3 ? CODE_VA : CODE_VA + (uint64_t)(r_rep_end - r_rep));
	}
	ck_assert_uint_eq(((uint64_t *)data)[2], 0x77);
	ck_assert_uint_eq(((uint64_t *)data)[3], 0);
	e.rip = CODE_VA;
	ck_assert_int_eq(emulate_one(&e), EMU_DONE); /* none left: nothing to do */
	ck_assert_uint_eq(((uint64_t *)data)[3], 0);

	e = RING0(r_movs);
	memcpy(data + 100, "guest", 6);
	e.gpr[EMU_RSI] = DATA_VA + 100;
	e.gpr[EMU_RCX] = 6;
	while (e.rip == CODE_VA)
		ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	ck_assert_str_eq((const char *)data, "guest");
}
END_TEST

/* What if an instruction lies across two pages, of which the second is not there? */
START_TEST(crosses_pages)
{
	struct emu e = RING0(r_store);

	memcpy(code + PAGE_SIZE - 1, r_store, 3);
	e.rip = CODE_VA + PAGE_SIZE - 1;
	ck_assert_int_eq(emulate_one(&e), EMU_DONE);
	memcpy(code + 2 * PAGE_SIZE - 1, r_store, 1);
	e.rip = CODE_VA + 2 * PAGE_SIZE - 1;
	e.cpl = 3;
	ck_assert_int_eq(emulate_one(&e), EMU_FAULT);
	ck_assert_uint_eq(e.cr2, CODE_VA + 2 * PAGE_SIZE);
	ck_assert_uint_eq(e.error, 4 | 16);
	/* The last byte of memory is enough for one that is so short. */
	code[2 * PAGE_SIZE - 1] = 0x90;
	ck_assert_int_eq(emulate_one(&e), EMU_DONE);
}
END_TEST

/* What if a guest executes anything? It ends somehow, and nothing of ours is touched. */
START_TEST(random_bytes)
{
	struct rng r;

	rng_seed(&r, 77);
	for (unsigned n = 0; n < 200000; n++) {
		struct emu e = { .rip = CODE_VA, .rflags = RFLAGS_ONE, .cpl = rng_below(&r, 2) ? 3 : 0, .ops = &ops,
				 .user_cs = 0x23, .user_ss = 0x1b };

		for (unsigned i = 0; i < 16; i += 8) {
			uint64_t w = rng_u64(&r);

			memcpy(code + i, &w, 8);
		}
		for (unsigned i = 0; i < EMU_GPRS; i++)
			e.gpr[i] = rng_below(&r, 3) ? DATA_VA + rng_below(&r, 0x2010) : rng_u64(&r);
		emulate_one(&e);
		ck_assert(e.name[0] && memchr(e.name, 0, sizeof(e.name)));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emulate");
	TCase *c = tcase_create("emulate");

	tcase_set_timeout(c, 30);
	tcase_add_loop_test(c, as_the_processor_does, 0, G_N_ELEMENTS(ordinary));
	tcase_add_test(c, control_registers);
	tcase_add_test(c, invalidations);
	tcase_add_test(c, ports_and_halt);
	tcase_add_loop_test(c, iretq, 0, G_N_ELEMENTS(returns));
	tcase_add_test(c, stack_and_jumps);
	tcase_add_test(c, unknown);
	tcase_add_test(c, faults);
	tcase_add_test(c, repeats);
	tcase_add_test(c, crosses_pages);
	tcase_add_test(c, random_bytes);
	suite_add_tcase(s, c);
	return suite_run(s);
}
