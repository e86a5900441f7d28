/* SPDX-License-Identifier: MIT */
/* crimes.c - see crimes.h */
#include "tests/lib/crimes.h"

#include <stddef.h>

#include "workloads/guest/abi.h"
#include "workloads/guest/kvm/layout.h"

const char crime_kills_process[] = "its processes die", crime_ends_somehow[] = "it ends somehow";

/*
 * Addresses as crimes spell them: abi.h, layout.h. DM: all guest-physical memory, as the kernel sees it. 0x20000 to
 * 0x40000 of it is used by nobody.
 */
_Static_assert(KERNEL_DIRECT_MAP == 0x8000000000 && VCPU_VA == 0x7000383000 && STUB_DATA_GPA == 0x212000 &&
		       STUB_KERNEL_CR3 == 0x18 && TABLES_GPA == 0x211000 && STUB_GPA == 0x210000 &&
		       EXPORT_GPA == 0x2000 && SCRIPT_VA == 0x7000200000 && USER_TEXT_VA == 0x7000300000 &&
		       STUB_VA == 0x7000380000 && STUB_DATA_VA == 0x7000382000 && RUNTIME_VA == 0x7000000000 &&
		       offsetof(struct vcpu_page, wake_ns) == 48 && offsetof(struct vcpu_page, refill) == 56 &&
		       offsetof(struct vcpu_page, counts) == 64 && offsetof(struct guest_export, process) == 152,
	       "the crimes below spell these out");
#define DM     "0x8000000000"
#define VCPU   "0x7000383000"
#define BEYOND "0x2000000000" /* 128 GiB: no memory, no device */
#define DEVICE "0xc000000000" /* the balloon's registers; the disk's are in the next page */
#define XORSHIFT                                                                                                       \
	"mov %r15, %rax; shl $13, %rax; xor %rax, %r15; mov %r15, %rax; shr $7, %rax; xor %rax, %r15;"                 \
	"mov %r15, %rax; shl $17, %rax; xor %rax, %r15\n"
/* rdx: the kernel's root, in the direct map; its entry 64, at 0x200, is free and translates 1 << 45. */
#define ROOT "movabs $" DM "+0x212018, %rdx; mov (%rdx), %rdx; movabs $" DM ", %rcx; add %rcx, %rdx\n"
#define CALL(n) "mov $" #n ", %eax; int3\n"
/* The stub is these two bytes, over and over. */
#define STUB_OF(bytes)                                                                                                 \
	"movabs $" DM "+0x210000, %rdi; mov $2048, %ecx; mov $" #bytes ", %eax; rep stosw\n"                           \
	"movabs $" VCPU ", %rsi; mov $0x70, %edx; mov $0x7fffffff, %ecx; int3; jmp .\n"

#define CODE(name, text)                                                                                               \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");                          \
	extern const uint8_t name[], name##_end[]

/* A process */
CODE(loops, "jmp .");
CODE(outs, "out %al, $0x0b");
CODE(loads_cr3, "mov %rax, %cr3");
CODE(halts, "hlt");
CODE(undefined, "ud2");
CODE(reads_kernel, "movabs " DM "+0x100000, %rax");
CODE(reads_stub_data, "movabs 0x7000382000, %rax");
CODE(writes_stub, "movabs %rax, 0x7000380000");
CODE(writes_script, "movabs %rax, 0x7000200000");
CODE(writes_loop, "movabs %rax, 0x7000300000");
CODE(claims, "movabs $" VCPU ", %rbx; 1: incq (%rbx); jmp 1b");
CODE(claims_all, "movabs $" VCPU ", %rbx; movq $-1, (%rbx); jmp .");
CODE(takes_back, "movabs $" VCPU ", %rbx; movq $0, (%rbx); jmp .");
CODE(bad_runtime, "movabs $0x7000000000, %rdi; mov $512, %ecx; mov $-1, %rax; rep stosq; int3");
CODE(bad_stack, "xor %esp, %esp; int3; jmp .");

/* The kernel, left alone */
CODE(reads_nothing, "movabs 0x1000, %rax");
CODE(makes_up_call, "mov $0x99, %eax; int3");
CODE(yields, "1:" CALL(1) "jmp 1b");
CODE(boots_again, "1:" CALL(7) "jmp 1b");
CODE(asks_for_ever, "1:" CALL(9) "jmp 1b");
CODE(idles_into_past, "movabs $" VCPU ", %rbx; movq $0, 48(%rbx); 1:" CALL(2) "jmp 1b");
CODE(idles_a_little, "movabs $" VCPU ", %rbx; 1: imul $100, (%rbx), %rcx; add 8(%rbx), %rcx; inc %rcx;"
		     "mov %rcx, 48(%rbx);" CALL(2) "jmp 1b");
CODE(idles_for_centuries, "movabs $" VCPU ", %rbx; mov $1, %ecx; 1: shl $1, %rcx; or $1, %rcx; mov %rcx, 48(%rbx);"
			  CALL(2) "jmp 1b");
CODE(sleeps, "movabs $" VCPU ", %rbx; movq $-1, 48(%rbx);" CALL(2) "jmp .");
CODE(refills_anywhere, "movabs $" VCPU ", %rbx; movq $0x20000, 56(%rbx);" CALL(10) "jmp .");
CODE(refills_nowhere, "movabs $" VCPU ", %rbx; movq $-4096, 56(%rbx);" CALL(10) "jmp .");
CODE(bad_counts, "movabs $" VCPU ", %rbx; movq $-8, 64(%rbx); movq $-1, 72(%rbx); 1:" CALL(1) "jmp 1b");
CODE(panics_badly, "movabs $" DM "+0x2000, %rbx; movq $1, 8(%rbx); movq $0x20000, 16(%rbx);"
		   "movabs $" DM "+0x20000, %rdi; mov $512, %ecx; movabs $0xfffefdfc22270a3c, %rax; rep stosq;"
		   CALL(4));
CODE(bad_export, "movabs $" DM "+0x2000, %rdi; mov $512, %ecx; movabs $0x0101010101010101, %rax; rep stosq;"
		 CALL(3));
CODE(cyclic_export, "movabs $" DM "+0x20000, %rdi; mov $512, %ecx; mov $0x20007, %eax; rep stosq;"
		    "movabs $" DM "+0x2098, %rdi; mov $250, %ecx; movabs $0x100000001, %rax;"
		    "1: mov %rax, (%rdi); movq $0x20000, 8(%rdi); add $32, %rdi; dec %ecx; jnz 1b;" CALL(3));
CODE(touches_all, "1: movabs $" DM "+0x1000000, %rbx; mov $512, %ecx; 2: add %rcx, (%rbx); add $4096, %rbx; dec %ecx;"
		  "jnz 2b; jmp 1b");

/* Page tables */
CODE(table_beyond, ROOT "movabs $" BEYOND "+7, %rax; mov %rax, 0x200(%rdx); movabs 0x200000000000, %rax");
#define LEAF(entry)                                                                                                    \
	ROOT "movabs $" DM "+0x20000, %rbx; movq $0x21007, (%rbx); movabs $" entry ", %rax; mov %rax, 0x1000(%rbx);"   \
	"movq $0x20007, 0x200(%rdx); movabs 0x200000000000, %rax"
CODE(leaf_beyond, LEAF(BEYOND "+0x87"));
CODE(leaf_reserved, LEAF("0x6087"));
CODE(table_is_itself, ROOT "mov %rdx, %rax; sub %rcx, %rax; or $7, %rax; mov %rax, 0x200(%rdx);"
			   "movabs $0x201008040000, %rbx; 1: addq $4096, (%rbx); jmp 1b");
CODE(common_gone, ROOT "mov $512, %ecx; xor %eax, %eax; mov %rdx, %rdi; rep stosq; 1: int3; jmp 1b");
CODE(cr3_beyond, "movabs $" BEYOND ", %rdx;" CALL(0x101) "jmp .");
CODE(cr3_empty, "mov $0x20000, %edx;" CALL(0x101) "jmp .");
CODE(cr3_reserved, "mov $-1, %rdx;" CALL(0x101) "jmp .");
CODE(resumes_nobody, "mov $0x20000, %edx;" CALL(0x100) "jmp .");

/* Ring 0, by writing what it executes and uses */
CODE(no_idt, "movabs $" DM "+0x211200, %rdi; mov $64, %ecx; xor %eax, %eax; rep stosq; ud2");
CODE(no_gdt, "movabs $" DM "+0x211000, %rdi; mov $6, %ecx; xor %eax, %eax; rep stosq; ud2");
CODE(no_stack, "movabs $" DM "+0x211104, %rdi; mov $-8, %rax; mov %rax, (%rdi); 1: int3; jmp 1b");
CODE(no_frame, "movabs $" DM "+0x212028, %rdi; mov $10, %ecx; mov $-1, %rax; rep stosq;" CALL(0x100) "jmp .");
CODE(ring0_loops, STUB_OF(0xfeeb));
CODE(ring0_halts, STUB_OF(0xf4f4));
CODE(ring0_outs, STUB_OF(0x70e6));
CODE(ring0_ins, STUB_OF(0x70e4));
CODE(ring0_outs_much, STUB_OF(0x6ff3));
CODE(ring0_undefined, STUB_OF(0x0b0f));
CODE(ring0_wrmsr, STUB_OF(0x300f));
CODE(ring0_cpuid, STUB_OF(0xa20f));
CODE(ring0_invd, STUB_OF(0x080f));
CODE(ring0_bytes, STUB_OF(0x25ff));

/* Devices */
CODE(no_device, "movabs $" DEVICE "+0x5000, %rbx; mov (%rbx), %eax");
CODE(registers, "movabs $1, %r15; movabs $" DEVICE ", %rbx; mov $400, %ebp\n"
		"1:" XORSHIFT "mov %r15d, %ecx; and $0x11ff, %ecx; bt $20, %r15; jc 4f; mov %r15, %rdx; shr $32, %rdx;"
		"bt $21, %r15; jc 2f; and $0x1ffc, %ecx; bt $22, %r15; jc 3f; and $31, %edx; 3: mov %edx, (%rbx,%rcx);"
		"jmp 5f; 2: mov %dl, (%rbx,%rcx); jmp 5f; 4: mov (%rbx,%rcx), %rax; 5: dec %ebp; jnz 1b\n" CALL(3));
/*
 * Rings: queue 0 of each device in turn is set up at 0x30000 and filled with garbage; buffers lie anywhere below 128
 * MiB, so some in the guest's memory; then it is notified.
 */
#define REGISTER(at, value) "movl $" #value ", " #at "(%rbx)\n"
CODE(rings, "movabs $1, %r15; movabs $" DEVICE ", %rbx; mov $40, %ebp\n"
	    "1: xor $0x1000, %rbx\n"
	    REGISTER(0x70, 0) REGISTER(0x70, 3) REGISTER(0x24, 1) REGISTER(0x20, 1) REGISTER(0x24, 0)
	    XORSHIFT "mov %r15d, 0x20(%rbx)\n"
	    REGISTER(0x70, 11) REGISTER(0x30, 0) REGISTER(0x38, 64) REGISTER(0x80, 0x30000)
	    REGISTER(0x90, 0x31000) REGISTER(0xa0, 0x32000) REGISTER(0x44, 1) REGISTER(0x70, 15)
	    "movabs $" DM "+0x30000, %rdi; mov $256, %ecx\n"
	    "2:" XORSHIFT "mov %r15, %rax; and $0x7ffffff, %rax; mov %rax, (%rdi); mov %r15, %rax; shr $30, %rax;"
	    "movabs $0x0003f00070001fff, %rdx; and %rdx, %rax; mov %rax, 8(%rdi); add $16, %rdi; dec %ecx; jnz 2b\n"
	    "mov $512, %ecx; 3:" XORSHIFT "mov %r15d, %eax; and $0x3f003f, %eax; mov %eax, (%rdi); add $4, %rdi;"
	    "dec %ecx; jnz 3b\n"
	    "movabs $" DM "+0x31000, %rdi; movl $0x200000, (%rdi)\n"
	    REGISTER(0x50, 0)
	    "dec %ebp; jnz 1b\n" CALL(3));

/*
 * Chaos: random stores all over the arena's first 8 MiB (image, stub, tables, rings, what the VMM reads), random
 * requests and hypercalls with random operands, random accesses to devices.
 */
CODE(chaos, "movabs $1, %r15; movabs $" DEVICE ", %rbx; movabs $" DM ", %rsi\n"
	    "1:" XORSHIFT "mov %r15d, %ecx; and $7, %ecx; jz 4f; cmp $1, %ecx; je 3f; cmp $2, %ecx; je 2f\n"
	    "mov %r15, %rcx; shr $20, %rcx; and $0x7ffff8, %ecx; mov %r15, %rdx; shr $44, %rdx; shl $12, %rdx;"
	    "or $7, %rdx; mov %rdx, (%rsi,%rcx); jmp 1b\n"
	    "2: mov %r15, %rcx; shr $20, %rcx; and $0x1ffc, %ecx; mov %ebp, (%rbx,%rcx); jmp 1b\n"
	    "3: mov %r15, %rax; shr $40, %rax; and $0x103, %eax; or $0x100, %eax; mov %r15, %rdx; shr $8, %rdx;"
	    "and $0xfff000, %edx; int3; jmp 1b\n"
	    "4: mov %r15, %rax; shr $40, %rax; and $3, %eax; cmp $3, %eax; je 1b; int3; jmp 1b\n");

static const uint8_t zeros[256 + 256], garbage[] = { 1, 2, 3, 0, 0, 0, 0, 0 };

#define CRIME(what, who, name, kind, failure)                                                                          \
	{ what, CRIME_##who, name, name##_end, FAILURE_##kind, failure, 0 }
#define SEEDED(what, name, seed)                                                                                       \
	{ what, CRIME_KERNEL, name, name##_end, FAILURE_OTHER, crime_ends_somehow, (seed)*0x9e3779b97f4a7c15ull }

const struct crime crimes[] = {
	CRIME("a process loops", PROCESS, loops, HANG, "given up"),
	CRIME("a process does out", PROCESS, outs, CRASH, "entry.c:"),
	CRIME("a process loads CR3", PROCESS, loads_cr3, CRASH, "entry.c:"),
	CRIME("a process halts", PROCESS, halts, CRASH, "entry.c:"),
	CRIME("a process invents an instruction", PROCESS, undefined, CRASH, "entry.c:"),
	CRIME("a process reads the kernel", PROCESS, reads_kernel, OTHER, crime_kills_process),
	CRIME("a process reads the stub's data", PROCESS, reads_stub_data, OTHER, crime_kills_process),
	CRIME("a process writes the stub", PROCESS, writes_stub, OTHER, crime_kills_process),
	CRIME("a process writes the script", PROCESS, writes_script, OTHER, crime_kills_process),
	CRIME("a process writes its loop", PROCESS, writes_loop, OTHER, crime_kills_process),
	CRIME("a process counts operations for ever", PROCESS, claims, HANG, "claims more operations"),
	CRIME("a process claims all operations there are", PROCESS, claims_all, HANG, "claims more operations"),
	CRIME("a process takes its operations back", PROCESS, takes_back, HANG, "given up"),
	CRIME("a process ruins its run-time", PROCESS, bad_runtime, OTHER, crime_ends_somehow),
	CRIME("a process has no stack", PROCESS, bad_stack, OTHER, crime_ends_somehow),
	CRIME("the kernel loops", KERNEL, loops, HANG, "given up"),
	CRIME("the kernel does out", KERNEL, outs, CRASH, "exception 13"),
	CRIME("the kernel halts", KERNEL, halts, CRASH, "exception 13"),
	CRIME("the kernel invents an instruction", KERNEL, undefined, CRASH, "exception 6"),
	CRIME("the kernel faults", KERNEL, reads_nothing, CRASH, "exception 14 (error 0x4, cr2 0x1000)"),
	CRIME("the kernel loads CR3 by itself", KERNEL, loads_cr3, CRASH, "exception 13"),
	CRIME("the kernel makes up a hypercall", KERNEL, makes_up_call, ACCESS, "unknown hypercall"),
	CRIME("the kernel yields for ever", KERNEL, yields, HANG, "given up"),
	CRIME("the kernel boots again", KERNEL, boots_again, ACCESS, "unknown hypercall"),
	CRIME("the kernel asks its devices for ever", KERNEL, asks_for_ever, HANG, "given up"),
	CRIME("the kernel idles into the past", KERNEL, idles_into_past, HANG, "given up"),
	CRIME("the kernel idles a nanosecond at a time", KERNEL, idles_a_little, HANG, "given up"),
	CRIME("the kernel idles for centuries", KERNEL, idles_for_centuries, HANG, "for ever"),
	CRIME("the kernel sleeps for ever", KERNEL, sleeps, HANG, "for ever"),
	CRIME("the kernel wants a trace where none is", KERNEL, refills_anywhere, ACCESS, "replays none"),
	CRIME("the kernel wants a trace beyond its memory", KERNEL, refills_nowhere, ACCESS, "no place"),
	CRIME("the kernel counts beyond its memory", KERNEL, bad_counts, HANG, "given up"),
	CRIME("the kernel panics in bad words", KERNEL, panics_badly, CRASH, "assertion failed"),
	CRIME("the kernel exports garbage", KERNEL, bad_export, ACCESS, "make no sense"),
	CRIME("the kernel exports tables that name themselves", KERNEL, cyclic_export, ACCESS, "make no sense"),
	CRIME("the kernel touches memory for ever", KERNEL, touches_all, HANG, "given up"),
	CRIME("a table beyond memory", KERNEL, table_beyond, OTHER, ""),
	CRIME("a page beyond memory", KERNEL, leaf_beyond, ACCESS, "beyond the guest's memory"),
	CRIME("a page with reserved bits", KERNEL, leaf_reserved, CRASH, "exception 14"),
	CRIME("a root that is its own entry", KERNEL, table_is_itself, OTHER, crime_ends_somehow),
	CRIME("a root without anything", KERNEL, common_gone, CRASH, "triple fault"),
	CRIME("CR3 beyond memory", KERNEL, cr3_beyond, OTHER, "triple fault|outside of its arena"),
	CRIME("CR3 of an empty page", KERNEL, cr3_empty, CRASH, "triple fault"),
	CRIME("CR3 with reserved bits", KERNEL, cr3_reserved, OTHER, ""),
	CRIME("a process without a root", KERNEL, resumes_nobody, CRASH, "triple fault"),
	{ "there never was an IDT", CRIME_IDT, zeros, zeros + sizeof(zeros), FAILURE_CRASH, "triple fault", 0 },
	{ "boot_info is garbage", CRIME_INFO, garbage, garbage + sizeof(garbage), FAILURE_CRASH, "entry.c:", 0 },
	CRIME("the IDT is gone", KERNEL, no_idt, CRASH, "triple fault"),
	CRIME("the GDT is gone", KERNEL, no_gdt, OTHER, ""),
	CRIME("ring 0 has no stack", KERNEL, no_stack, CRASH, "triple fault"),
	CRIME("ring 0 returns to nowhere", KERNEL, no_frame, OTHER, ""),
	CRIME("ring 0 loops, interrupts off", KERNEL, ring0_loops, HANG, "given up|does not come to an end"),
	CRIME("ring 0 halts", KERNEL, ring0_halts, OTHER, ""),
	CRIME("ring 0 does out to a port that is none", KERNEL, ring0_outs, OTHER, "port 0x70|out at"),
	CRIME("ring 0 does in", KERNEL, ring0_ins, OTHER, "port 0x70|in at"),
	CRIME("ring 0 does rep outs", KERNEL, ring0_outs_much, OTHER, ""),
	CRIME("ring 0 invents an instruction", KERNEL, ring0_undefined, OTHER, ""),
	CRIME("ring 0 writes an MSR", KERNEL, ring0_wrmsr, OTHER, ""),
	CRIME("ring 0 asks who it is", KERNEL, ring0_cpuid, OTHER, ""),
	CRIME("ring 0 drops its caches", KERNEL, ring0_invd, OTHER, ""),
	CRIME("ring 0 jumps into nowhere", KERNEL, ring0_bytes, OTHER, ""),
	CRIME("no device", KERNEL, no_device, OTHER, ""),
	SEEDED("random registers", registers, 1),
	SEEDED("random registers", registers, 2),
	SEEDED("random registers", registers, 3),
	SEEDED("random rings", rings, 1),
	SEEDED("random rings", rings, 2),
	SEEDED("random rings", rings, 3),
	SEEDED("chaos", chaos, 1),
	SEEDED("chaos", chaos, 2),
	SEEDED("chaos", chaos, 3),
	SEEDED("chaos", chaos, 4),
	SEEDED("chaos", chaos, 5),
	SEEDED("chaos", chaos, 6),
	SEEDED("chaos", chaos, 7),
	SEEDED("chaos", chaos, 8),
};
const unsigned ncrimes = G_N_ELEMENTS(crimes);
