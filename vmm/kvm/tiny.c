/* SPDX-License-Identifier: MIT */
/*
 * tiny.c - a guest of a few instructions, to ask this KVM what things cost
 *
 * Tables map guest-virtual to the same guest-physical: the first 2 MiB (code, descriptors, stacks) and up to 1 GiB at
 * TINY_DATA by 2 MiB pages, and one 4 KiB page at FAULT_VA that tiny_fault() takes away. `out` at CPL 3 needs an open
 * I/O bitmap on software KVM and IOPL 3 on hardware: it has both. Every exception but the breakpoint and, for
 * tiny_fault(), the page fault ends in an exit at a port of its own.
 *
 * Sources: Intel SDM vol. 3A, chapters 3 to 7 (descriptors, paging, gates, TSS).
 */
#include "vmm/kvm/tiny.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/err.h"

enum {
	CODE = 0x1000,
	HANDLERS = 0x1800, /* 16 bytes a vector */
	PML4 = 0x2000,
	PDPT = 0x3000,
	PD_LOW = 0x4000,
	PD_DATA = 0x5000,
	PT_FAULT = 0x6000,
	GDT = 0x7000,
	IDT = 0x7800,
	TSS = 0x8000,
	STACK0 = 0xa000,
	STACK3 = 0xb000,
	FAULT_PAGE = 0xc000,
	MEM_SIZE = 2 << 20,
	VECTORS = 32,
	PORT_EXCEPTION = 0x20, /* + vector */
	SEL_CODE0 = 0x08,
	SEL_DATA0 = 0x10,
	SEL_DATA3 = 0x1b,
	SEL_CODE3 = 0x23,
	SEL_TSS = 0x28,
};
#define FAULT_VA (2ull << 20)
#define USER 7ull /* present, writable, user */
#define LARGE 0x80ull

/* name: the bytes of a few instructions, never executed here. */
#define BLOB(name, text)                                                                                    \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection");                 \
	extern const uint8_t name[] __attribute__((visibility("hidden")));                                  \
	extern const uint8_t name##_end[] __attribute__((visibility("hidden")))

BLOB(tiny_spin, "1: dec %r15\n jnz 1b\n out %al, $0x1f");
BLOB(tiny_out, "1: out %al, $0x10\n dec %r15\n jnz 1b\n out %al, $0x1f");
BLOB(tiny_read, "1: mov (%rbx), %rax\n add $4096, %rbx\n dec %r15\n jnz 1b\n out %al, $0x1f");
BLOB(tiny_write, "1: mov %rbx, (%rbx)\n add $4096, %rbx\n dec %r15\n jnz 1b\n out %al, $0x1f");
BLOB(tiny_breakpoint, "1: int3\n dec %r15\n jnz 1b\n out %al, $0x1f");
/* The page of entry rcx is at rbx. */
BLOB(tiny_walk, "1: mov (%rbx), %rax\n add $4096, %rbx\n inc %rcx\n dec %r15\n jnz 1b\n out %al, $0x1f");

static const struct {
	const uint8_t *begin, *end;
} codes[TINY_CODES] = {
	[TINY_SPIN] = { tiny_spin, tiny_spin_end },
	[TINY_OUT] = { tiny_out, tiny_out_end },
	[TINY_READ] = { tiny_read, tiny_read_end },
	[TINY_WRITE] = { tiny_write, tiny_write_end },
	[TINY_BREAKPOINT] = { tiny_breakpoint, tiny_breakpoint_end },
};

static uint64_t *at(const struct tiny *t, uint64_t gpa)
{
	return (uint64_t *)(t->mem + gpa);
}

static void write_tables(struct tiny *t)
{
	*at(t, PML4) = PDPT | USER;
	at(t, PDPT)[0] = PD_LOW | USER;
	at(t, PDPT)[1] = PD_DATA | USER;
	at(t, PD_LOW)[0] = LARGE | USER;
	at(t, PD_LOW)[1] = PT_FAULT | USER;
	for (uint64_t i = 0; i < 512; i++)
		at(t, PD_DATA)[i] = (TINY_DATA + (i << 21)) | LARGE | USER;
}

static void write_descriptors(struct tiny *t)
{
	uint64_t *gdt = at(t, GDT), *idt = at(t, IDT), rsp0 = STACK0;
	static const uint16_t bitmap = 0x68;

	gdt[SEL_CODE0 >> 3] = 0x00209b0000000000ull;
	gdt[SEL_DATA0 >> 3] = 0x0000930000000000ull;
	gdt[SEL_DATA3 >> 3] = 0x0000f30000000000ull;
	gdt[SEL_CODE3 >> 3] = 0x0020fb0000000000ull;
	gdt[SEL_TSS >> 3] = 0x00008900000000e9ull | (uint64_t)TSS << 16;
	memcpy(t->mem + TSS + 4, &rsp0, sizeof(rsp0));
	memcpy(t->mem + TSS + 0x66, &bitmap, sizeof(bitmap)); /* zeros follow: every port is open */
	t->mem[TSS + 0xe8] = 0xff;
	for (unsigned i = 0; i < VECTORS; i++) {
		uint64_t handler = HANDLERS + 16 * i;
		/* out %al, $port; or, for the breakpoint, iretq */
		uint8_t code[2] = { 0xe6, (uint8_t)(PORT_EXCEPTION + i) };
		static const uint8_t iretq[2] = { 0x48, 0xcf };

		memcpy(t->mem + handler, i == 3 ? iretq : code, 2);
		idt[2 * i] = (handler & 0xffff) | (uint64_t)SEL_CODE0 << 16 | (i == 3 ? 0xefull : 0x8full) << 40;
		idt[2 * i + 1] = 0;
	}
}

static int set_slot(struct tiny *t, unsigned slot, uint64_t gpa, void *hva, size_t nbytes)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = nbytes, .userspace_addr = (uintptr_t)hva
	};

	return ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &r) ? ERR(-errno) : 0;
}

static int set_cpuid(struct tiny *t)
{
	enum { MOST = 256 };
	g_autofree struct kvm_cpuid2 *cpuid = g_malloc0(sizeof(*cpuid) + MOST * sizeof(cpuid->entries[0]));

	cpuid->nent = MOST;
	if (ioctl(t->kvm, KVM_GET_SUPPORTED_CPUID, cpuid) || ioctl(t->vcpu, KVM_SET_CPUID2, cpuid))
		return ERR(-errno);
	return 0;
}

int tiny_open(struct tiny *t)
{
	int size;
	void *run;

	*t = (struct tiny){ .kvm = -1, .vm = -1, .vcpu = -1 };
	t->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->mem == MAP_FAILED)
		t->mem = NULL;
	t->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (!t->mem || t->kvm < 0)
		return ERR(-errno);
	do
		t->vm = ioctl(t->kvm, KVM_CREATE_VM, 0);
	while (t->vm < 0 && errno == EINTR);
	if (t->vm < 0 || set_slot(t, 0, 0, t->mem, MEM_SIZE))
		return ERR(-errno);
	t->vcpu = ioctl(t->vm, KVM_CREATE_VCPU, 0);
	size = ioctl(t->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (t->vcpu < 0 || size < 0)
		return ERR(-errno);
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu, 0);
	if (run == MAP_FAILED)
		return ERR(-errno);
	t->run = run;
	t->run_size = (size_t)size;
	write_tables(t);
	write_descriptors(t);
	return set_cpuid(t);
}

void tiny_close(struct tiny *t)
{
	if (t->run)
		munmap(t->run, t->run_size);
	if (t->vcpu >= 0)
		close(t->vcpu);
	if (t->vm >= 0)
		close(t->vm);
	if (t->kvm >= 0)
		close(t->kvm);
	if (t->mem)
		munmap(t->mem, MEM_SIZE);
	*t = (struct tiny){ .kvm = -1, .vm = -1, .vcpu = -1 };
}

int tiny_map(struct tiny *t, void *hva, size_t nbytes)
{
	return set_slot(t, 1, TINY_DATA, hva, nbytes);
}

static int start(struct tiny *t, unsigned cpl, uint64_t rbx, uint64_t r15)
{
	struct kvm_regs regs = {
		.rip = CODE, .rsp = cpl ? STACK3 : STACK0, .rbx = rbx, .r15 = r15, .rflags = 2 | (cpl ? 3u << 12 : 0)
	};
	struct kvm_segment code = { .limit = ~0u, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 }, data;
	struct kvm_sregs s;

	if (ioctl(t->vcpu, KVM_GET_SREGS, &s))
		return ERR(-errno);
	code.selector = cpl ? SEL_CODE3 : SEL_CODE0;
	code.dpl = (uint8_t)cpl;
	data = code;
	data.selector = cpl ? SEL_DATA3 : SEL_DATA0;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .base = TSS, .limit = 0xe9, .selector = SEL_TSS, .type = 11, .present = 1 };
	s.gdt.base = GDT;
	s.gdt.limit = SEL_TSS + 15;
	s.idt.base = IDT;
	s.idt.limit = VECTORS * 16 - 1;
	s.cr3 = PML4;
	s.cr4 = 0x220;	    /* PAE, OSFXSR */
	s.cr0 = 0x80010031; /* PG, WP, NE, ET, PE */
	s.efer = 0x500;	    /* LMA, LME */
	if (ioctl(t->vcpu, KVM_SET_SREGS, &s) || ioctl(t->vcpu, KVM_SET_REGS, &regs))
		return ERR(-errno);
	return 0;
}

/* The port of the next exit, or -errno. */
static int next_port(struct tiny *t)
{
	while (ioctl(t->vcpu, KVM_RUN, 0))
		if (errno != EINTR && errno != EAGAIN)
			return ERR(-errno);
	return t->run->exit_reason == KVM_EXIT_IO ? t->run->io.port : ERR(-EIO);
}

long tiny_run(struct tiny *t, enum tiny_code code, unsigned cpl, uint64_t rbx, uint64_t r15)
{
	long exits = 0;
	int port, err;

	memcpy(t->mem + CODE, codes[code].begin, (size_t)(codes[code].end - codes[code].begin));
	err = start(t, cpl, rbx, r15);
	if (err)
		return err;
	for (port = next_port(t); port == TINY_PORT; port = next_port(t))
		exits++;
	return port == TINY_DONE ? exits : port < 0 ? port : ERR(-EIO);
}

/* One fault: map the page, and go back behind the access without the handler's iretq. */
static void serve(struct tiny *t)
{
	struct kvm_sync_regs *sync = &t->run->s.regs;
	const uint64_t *frame = at(t, sync->regs.rsp & (MEM_SIZE - 8)); /* error, rip, cs, rflags, rsp, ss */
	struct kvm_segment code3 = sync->sregs.cs, data3 = sync->sregs.ss;

	at(t, PT_FAULT)[sync->regs.rcx] = FAULT_PAGE | USER;
	sync->regs.rip = frame[1];
	sync->regs.rsp = frame[4];
	sync->regs.rflags = frame[3];
	code3.selector = SEL_CODE3;
	data3.selector = SEL_DATA3;
	data3.type = 3;
	data3.present = data3.s = data3.g = 1;
	code3.dpl = data3.dpl = 3;
	sync->sregs.cs = code3;
	sync->sregs.ss = data3;
	t->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

long tiny_fault(struct tiny *t, uint64_t r15)
{
	int cap = ioctl(t->kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS), port, err;
	long faults = 0;

	if (cap < 0 || (cap & (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)) != (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS))
		return ERR(-ENOTSUP);
	memcpy(t->mem + CODE, tiny_walk, (size_t)(tiny_walk_end - tiny_walk));
	err = start(t, 3, FAULT_VA, r15);
	if (err)
		return err;
	t->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	for (port = next_port(t); port == PORT_EXCEPTION + 14; port = next_port(t)) {
		faults++;
		serve(t);
	}
	t->run->kvm_valid_regs = 0;
	return port == TINY_DONE ? faults : port < 0 ? port : ERR(-EIO);
}
