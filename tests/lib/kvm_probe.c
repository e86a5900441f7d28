/* SPDX-License-Identifier: MIT */
/*
 * kvm_probe.c - see kvm_probe.h
 *
 * Pages from PROBE_GPA on: stub (ring 0), the loop that performs the list (CPL 3), descriptor tables and ring-0 stack
 * (ring 0), stack and list (CPL 3), the three tables that map them. Software KVM emulates ring 0 one instruction at a
 * time and knows few: mov, pop, lea, test, out, invlpg, iretq.
 */
#include "tests/lib/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_STUB, PAGE_LOOP, PAGE_TABLES, PAGE_STACK0, PAGE_STACK, PAGE_LIST, PAGE_PDPT, PAGE_PD, PAGE_PT, PAGES };
_Static_assert((int)PAGES <= PROBE_PAGES, "they fit");
_Static_assert(sizeof(struct probe_access) == 64, "the loop's stride");
_Static_assert(PROBE_LIST * sizeof(struct probe_access) == 4096, "a page");

#define PAGE	  4096ull
#define VA(page)  ((uint64_t)PROBE_SLOT << 39 | (PROBE_GPA + (page)*PAGE))
#define GPA(page) (PROBE_GPA + (page)*PAGE)

#define TSS_AT	0x100
#define IDT_AT	0x200
#define VECTORS 32
#define SEL_CS0 0x08
#define SEL_SS3 0x1b
#define SEL_CS3 0x23
#define SEL_TSS 0x28

#define PORT_END   0x10
#define PORT_OTHER 0x11 /* an exception that nobody asked for */

#define DUMMY_SLOT 31
#define DUMMY_GPA  (1ull << 38)
#define PATIENCE_S 20

/*
 * The loop: r15 access at hand, r14 how many are left, r12 its stack. Offsets are those of struct probe_access. int3:
 * load the access's root and forget its address. ud2: the list is done.
 */
__asm__(".pushsection .rodata\n"
	".balign 4096\n"
	"probe_image:\n"
	"probe_stub_pf:\n"
	"	pop	%rax\n"
	"	mov	%rax, 56(%r15)\n"
	"	mov	%cr2, %rax\n"
	"	mov	%rax, 48(%r15)\n"
	"	mov	(%rsp), %rax\n"
	"	mov	%rax, 40(%r15)\n"
	"	mov	$2, %eax\n"
	"	mov	%rax, 32(%r15)\n"
	"	lea	probe_next(%rip), %rax\n"
	"	mov	%rax, (%rsp)\n"
	"	iretq\n"
	"probe_stub_bp:\n"
	"	mov	%r8, %cr3\n"
	"	invlpg	(%rbx)\n"
	"	iretq\n"
	"probe_stub_ud:\n"
	"	out	%al, $0x10\n"
	"probe_stub_other:\n"
	"	out	%al, $0x11\n"
	".balign 4096\n"
	"probe_loop:\n"
	"	mov	(%r15), %r8\n"
	"	mov	8(%r15), %rbx\n"
	"	mov	24(%r15), %rdx\n"
	"	xor	%eax, %eax\n"
	"	int3\n"
	"	cmpq	$1, 16(%r15)\n"
	"	ja	2f\n"
	"	je	1f\n"
	"probe_load:\n"
	"	mov	(%rbx), %rax\n"
	"	jmp	3f\n"
	"1:	mov	%rdx, (%rbx)\n"
	"	jmp	3f\n"
	"2:	call	*%rbx\n"
	"3:	mov	%rax, 40(%r15)\n"
	"	movq	$1, 32(%r15)\n"
	"probe_next:\n"
	"	mov	%r12, %rsp\n"
	"	add	$64, %r15\n"
	"	dec	%r14\n"
	"	jnz	probe_loop\n"
	"	ud2\n"
	"probe_image_end:\n"
	".popsection\n");
extern const uint8_t probe_image[], probe_image_end[], probe_stub_pf[], probe_stub_bp[], probe_stub_ud[],
	probe_stub_other[], probe_loop[];

struct kvm_probe {
	int kvm_fd, fd, vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	unsigned nslots;
	uint8_t *pages, *dummy;
	timer_t timer;
	unsigned maxphyaddr;
	bool gigabyte_pages, smep;
	char why[200];
};

static void check(int ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	abort();
}

static void set_slot(struct kvm_probe *p, unsigned slot, uint64_t gpa, uint64_t nbytes, void *at)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = nbytes, .userspace_addr = (uintptr_t)at
	};

	check(ioctl(p->fd, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
}

void probe_add_memory(struct kvm_probe *p, uint64_t gpa, uint64_t nbytes, void *at)
{
	set_slot(p, p->nslots++, gpa, nbytes, at);
}

/* Deleting a slot makes KVM forget all that it derived from the guest's tables. */
void probe_flush(struct kvm_probe *p)
{
	set_slot(p, DUMMY_SLOT, DUMMY_GPA, PAGE, p->dummy);
	set_slot(p, DUMMY_SLOT, DUMMY_GPA, 0, p->dummy);
}

static void set_cpuid(struct kvm_probe *p)
{
	unsigned n = 256;
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + n * sizeof(c->entries[0]));

	c->nent = n;
	check(ioctl(p->kvm_fd, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	p->maxphyaddr = 36;
	for (unsigned i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 0x80000008)
			p->maxphyaddr = e->eax & 0xff;
		else if (e->function == 0x80000001)
			p->gigabyte_pages = e->edx >> 26 & 1;
		else if (e->function == 7 && e->index == 0)
			p->smep = e->ebx >> 7 & 1;
	}
	check(ioctl(p->vcpu_fd, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
	free(c);
}

static void on_timer(int sig)
{
	(void)sig;
}

static void start_timer(struct kvm_probe *p)
{
	struct sigaction sa = { .sa_handler = on_timer };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	check(sigaction(SIGRTMIN, &sa, NULL), "sigaction");
	check(timer_create(CLOCK_MONOTONIC, &ev, &p->timer), "timer_create");
}

struct kvm_probe *probe_new(const char **why)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct kvm_probe *p;

	if (kvm < 0) {
		*why = errno == ENOENT ? "no /dev/kvm" : "/dev/kvm cannot be opened";
		return NULL;
	}
	p = calloc(1, sizeof(*p));
	p->kvm_fd = kvm;
	check(p->fd = ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(p->vcpu_fd = ioctl(p->fd, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	p->run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu_fd, 0);
	p->dummy = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->run == MAP_FAILED || p->dummy == MAP_FAILED)
		check(-1, "mmap");
	set_cpuid(p);
	start_timer(p);
	return p;
}

void probe_free(struct kvm_probe *p)
{
	timer_delete(p->timer);
	munmap(p->run, p->run_size);
	munmap(p->dummy, PAGE);
	close(p->vcpu_fd);
	close(p->fd);
	close(p->kvm_fd);
	free(p);
}

static void set_gate(uint8_t *idt, unsigned vector, const uint8_t *handler)
{
	uint64_t va = VA(PAGE_STUB) + (uint64_t)(handler - probe_image);
	uint64_t low = (va & 0xffff) | (uint64_t)SEL_CS0 << 16 | 0xefull << 40 | (va >> 16 & 0xffff) << 48;
	uint64_t high = va >> 32;

	memcpy(idt + 16ull * vector, &low, 8);
	memcpy(idt + 16ull * vector + 8, &high, 8);
}

static void write_descriptors(uint8_t *tables)
{
	const uint64_t tss = VA(PAGE_TABLES) + TSS_AT, rsp0 = VA(PAGE_STACK0) + PAGE;
	const uint64_t gdt[] = {
		0,
		0x00209b0000000000, /* ring-0 code, 64-bit */
		0x0000930000000000, /* ring-0 data */
		0x0000f30000000000, /* user data */
		0x0020fb0000000000, /* user code, 64-bit */
		0x0000890000000067 | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56,
		tss >> 32,
	};
	const uint16_t no_bitmap = 0x68;

	memcpy(tables, gdt, sizeof(gdt));
	memcpy(tables + TSS_AT + 4, &rsp0, 8);
	memcpy(tables + TSS_AT + 0x66, &no_bitmap, 2);
	for (unsigned i = 0; i < VECTORS; i++)
		set_gate(tables + IDT_AT, i,
			 i == 3	 ? probe_stub_bp :
			 i == 6	 ? probe_stub_ud :
			 i == 14 ? probe_stub_pf :
				   probe_stub_other);
}

uint64_t probe_slot_entry(void)
{
	return GPA(PAGE_PDPT) | PTE_P | PTE_W | PTE_U | PTE_A;
}

void probe_install(struct kvm_probe *p, void *at)
{
	static const uint64_t rights[PAGES] = {
		[PAGE_STUB] = PTE_P | PTE_W,	      [PAGE_LOOP] = PTE_P | PTE_U,
		[PAGE_TABLES] = PTE_P | PTE_W,	      [PAGE_STACK0] = PTE_P | PTE_W,
		[PAGE_STACK] = PTE_P | PTE_U | PTE_W, [PAGE_LIST] = PTE_P | PTE_U | PTE_W,
	};
	uint8_t *pages = p->pages = at;
	uint64_t *pt = (uint64_t *)(pages + PAGE_PT * PAGE) + (PROBE_GPA >> 12);

	memcpy(pages, probe_image, (size_t)(probe_image_end - probe_image));
	write_descriptors(pages + PAGE_TABLES * PAGE);
	*(uint64_t *)(pages + PAGE_PDPT * PAGE) = GPA(PAGE_PD) | PTE_P | PTE_W | PTE_U | PTE_A;
	*(uint64_t *)(pages + PAGE_PD * PAGE) = GPA(PAGE_PT) | PTE_P | PTE_W | PTE_U | PTE_A;
	for (unsigned i = 0; i < PAGES; i++)
		pt[i] = rights[i] ? GPA(i) | rights[i] | PTE_A | PTE_D : 0;
}

static void set_registers(struct kvm_probe *p, uint64_t root, unsigned n, uint32_t cr4, uint32_t efer)
{
	struct kvm_regs regs = {
		.rip = VA(PAGE_LOOP),
		.rsp = VA(PAGE_STACK) + PAGE,
		.r12 = VA(PAGE_STACK) + PAGE,
		.r14 = n,
		.r15 = VA(PAGE_LIST),
		.rflags = 2,
	};
	struct kvm_segment code = {
		.limit = ~0u, .selector = SEL_CS3, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = SEL_SS3, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1
	};
	struct kvm_sregs s;

	check(ioctl(p->vcpu_fd, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){
		.base = VA(PAGE_TABLES) + TSS_AT, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1
	};
	s.gdt.base = VA(PAGE_TABLES);
	s.gdt.limit = SEL_TSS + 15;
	s.idt.base = VA(PAGE_TABLES) + IDT_AT;
	s.idt.limit = VECTORS * 16 - 1;
	s.cr0 = CR0_PE | CR0_PG | CR0_WP | 1u << 4 | 1u << 5;
	s.cr3 = root;
	s.cr4 = cr4;
	s.efer = efer;
	check(ioctl(p->vcpu_fd, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	check(ioctl(p->vcpu_fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static const char *unexpected(struct kvm_probe *p, int err)
{
	struct kvm_regs r = { 0 };
	struct kvm_sregs s = { 0 };

	ioctl(p->vcpu_fd, KVM_GET_REGS, &r);
	ioctl(p->vcpu_fd, KVM_GET_SREGS, &s);
	snprintf(p->why, sizeof(p->why), "%s: exit %u (port 0x%x), rip 0x%llx, cr2 0x%llx, cr3 0x%llx, access %lld",
		 err ? strerror(err) : "the guest strayed", p->run->exit_reason, p->run->io.port, r.rip, s.cr2, s.cr3,
		 (long long)(r.r15 - VA(PAGE_LIST)) / 64);
	return p->why;
}

const char *probe_run(struct kvm_probe *p, struct probe_access *list, unsigned n, uint32_t cr4, uint32_t efer)
{
	const struct itimerspec patience = { .it_value.tv_sec = PATIENCE_S }, off = { .it_value.tv_sec = 0 };
	uint8_t *in_guest = p->pages + PAGE_LIST * PAGE;
	int err;

	memcpy(in_guest, list, n * sizeof(*list));
	set_registers(p, list->root, n, cr4, efer);
	timer_settime(p->timer, 0, &patience, NULL);
	err = ioctl(p->vcpu_fd, KVM_RUN, 0) ? errno : 0;
	timer_settime(p->timer, 0, &off, NULL);
	if (err || p->run->exit_reason != KVM_EXIT_IO || p->run->io.port != PORT_END)
		return unexpected(p, err);
	memcpy(list, in_guest, n * sizeof(*list));
	return NULL;
}

unsigned probe_maxphyaddr(const struct kvm_probe *p)
{
	return p->maxphyaddr;
}

bool probe_has_gigabyte_pages(const struct kvm_probe *p)
{
	return p->gigabyte_pages;
}

bool probe_has_smep(const struct kvm_probe *p)
{
	return p->smep;
}

static bool is_on(const char *parameter)
{
	FILE *f = fopen(parameter, "r");
	int c = f ? fgetc(f) : 'N';

	if (f)
		fclose(f);
	return c == 'Y' || c == '1';
}

bool probe_walks_in_software(void)
{
	return !is_on("/sys/module/kvm_intel/parameters/ept") && !is_on("/sys/module/kvm_amd/parameters/npt");
}
