/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_hostile.c - guests that misbehave, and the stub's other half
 *
 * Each guest is the real one with a few bytes changed before its first instruction. A process's crimes end the process
 * or, where the kernel knows no mercy, the guest; a kernel's end the guest. Nothing ends or hangs the run.
 */
#include <check.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/kvm.h"

#define EXPERIMENT                                                                                                     \
	"[experiment]\nmachine = kvm\nschedule = lockstep\nquantum = 100\n[vm a]\nmemory = 32 MiB\nworkload = w\n"     \
	"[workload w]\nprocesses = 2\nphases = p\n[phase p]\npattern = uniform\nsize = 256 KiB\noperations = 500\n"

static struct text_run t;
static struct kvm_machine m;

static void start(void)
{
	GError *error = NULL;
	gboolean ok = load_text(&t, EXPERIMENT, &error) && kvm_machine_init(&m, t.run, &error);

	ck_assert_msg(ok, "%s", error ? error->message : "?");
}

static void stop(void)
{
	kvm_machine_destroy(&m);
	run_text_free(&t);
}

static gboolean run_all(void)
{
	GError *error = NULL;
	gboolean ok = kvm_boot_run(m.vms[0], &error) && kvm_loop(&m, &error);

	g_clear_error(&error);
	return ok;
}

enum place { PROCESS, KERNEL_EVENT, IDT, INFO };

static void *place(enum place p)
{
	const struct image_header *h = kvm_image_header();
	const gpa_t at[] = {
		[PROCESS] = USER_TEXT_GPA + (h->process - USER_TEXT_VA),
		[KERNEL_EVENT] = KERNEL_IMAGE_GPA + (h->event - KERNEL_VA),
		[IDT] = TABLES_GPA + IDT_OFFSET,
		[INFO] = BOOT_INFO_GPA,
	};

	return kvm_arena(m.vms[0], at[p]);
}

#define IMM64(va)                                                                                                      \
	(uint8_t)(va), (uint8_t)((va) >> 8), (uint8_t)((va) >> 16), (uint8_t)((va) >> 24),                             \
		(uint8_t)((uint64_t)(va) >> 32), (uint8_t)((uint64_t)(va) >> 40), 0, 0

static const struct {
	const char *what;
	enum place place;
	unsigned n;
	uint8_t bytes[512];
	const char *failure; /* NULL: only its processes die, of a fault */
} crimes[] = {
	{ "a process loops", PROCESS, 2, { 0xeb, 0xfe }, "given up" },
	{ "a process does out", PROCESS, 2, { 0xe6, 0x0b }, "entry.c:" },
	{ "a process loads CR3", PROCESS, 3, { 0x0f, 0x22, 0xd8 }, "entry.c:" },
	{ "a process halts", PROCESS, 1, { 0xf4 }, "entry.c:" },
	{ "a process invents an instruction", PROCESS, 2, { 0x0f, 0x0b }, "entry.c:" },
	{ "a process reads the kernel", PROCESS, 10, { 0x48, 0xa1, IMM64(KERNEL_VA) }, NULL },
	{ "a process reads the stub's data", PROCESS, 10, { 0x48, 0xa1, IMM64(STUB_DATA_VA) }, NULL },
	{ "a process writes the stub", PROCESS, 10, { 0x48, 0xa3, IMM64(STUB_VA) }, NULL },
	{ "a process writes the script", PROCESS, 10, { 0x48, 0xa3, IMM64(SCRIPT_VA) }, NULL },
	{ "a process writes its loop", PROCESS, 10, { 0x48, 0xa3, IMM64(USER_TEXT_VA) }, NULL },
	{ "the kernel loops", KERNEL_EVENT, 2, { 0xeb, 0xfe }, "given up" },
	{ "the kernel invents an instruction", KERNEL_EVENT, 2, { 0x0f, 0x0b }, "exception 6" },
	{ "the kernel faults", KERNEL_EVENT, 10, { 0x48, 0xa1, IMM64(0x1000ull) },
	  "exception 14 (error 0x4, cr2 0x1000)" },
	{ "the kernel loads CR3 by itself", KERNEL_EVENT, 3, { 0x0f, 0x22, 0xd8 }, "exception 13" },
	{ "the kernel makes up a hypercall", KERNEL_EVENT, 6, { 0xb8, 0x99, 0, 0, 0, 0xcc }, "unknown hypercall" },
	{ "there is no IDT", IDT, 512, { 0 }, "triple fault" },
	{ "boot_info is garbage", INFO, 8, { 1, 2, 3 }, "entry.c:" },
};

START_TEST(crime)
{
	struct run_vm *vm;

	start();
	m.patience_ns = 400000000;
	memcpy(place(crimes[_i].place), crimes[_i].bytes, crimes[_i].n);
	run_all();
	vm = run_text_vm(&t, 0);
	if (crimes[_i].failure) {
		ck_assert_msg(vm->failure && strstr(vm->failure, crimes[_i].failure), "%s: %s", crimes[_i].what,
			      vm->failure ? vm->failure : "it went unnoticed");
		ck_assert(!vm->has_digest);
	} else {
		ck_assert_msg(!vm->failure, "%s: %s", crimes[_i].what, vm->failure);
		ck_assert_uint_eq(vm->counters.guest_faults_segv, 2);
		ck_assert_uint_eq(vm->counters.accesses, 0);
	}
	stop();
}
END_TEST

/* The VMM's part of the simplest shadow mode: load what the guest wants to have loaded. */
static void load_cr3(struct kvm_vm *vm, bool *loaded)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	/* Some processors complete the `out` only on the next entry. */
	vm->kvm_run->immediate_exit = 1;
	ck_assert_int_eq(ioctl(vm->vcpu_fd, KVM_RUN, 0), -1);
	vm->kvm_run->immediate_exit = 0;
	ck_assert_int_eq(ioctl(vm->vcpu_fd, KVM_GET_REGS, &regs), 0);
	ck_assert_int_eq(ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs), 0);
	*loaded |= sregs.cr3 != regs.rdx;
	sregs.cr3 = regs.rdx;
	ck_assert_int_eq(ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs), 0);
}

/* What if the boot word says that the VMM changes address spaces? The same guest then lives on hypercalls alone. */
START_TEST(hosted_stub)
{
	struct kvm_vm *vm;
	unsigned calls[16] = { 0 };
	bool loaded = false;
	uint32_t call;

	start();
	vm = m.vms[0];
	((uint64_t *)kvm_arena(vm, STUB_DATA_GPA))[STUB_FLAGS / 8] = BOOT_SHADOW;
	while ((call = kvm_vcpu_run(vm)) != HC_DONE) {
		ck_assert_msg(call && call < G_N_ELEMENTS(calls), "%s", vm->out->failure);
		calls[call]++;
		if (call == HC_CR3 || call == HC_INVLPG)
			load_cr3(vm, &loaded);
	}
	ck_assert(loaded);
	ck_assert_uint_eq(calls[HC_BOOTED], 1);
	ck_assert_uint_eq(calls[HC_YIELD], 10);
	/* In and out: each quantum, each system call (map, exit), each page fault; and the kernel's root at boot. */
	ck_assert_uint_ge(calls[HC_CR3], 1 + 2 * (10 + 100));
	ck_assert_uint_eq(kvm_vcpu_page(vm)->reads + kvm_vcpu_page(vm)->writes, 1000);
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hostile guests");
	TCase *c = tcase_create("hostile");

	if (!kvm_or_skip())
		return 0;
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, crime, 0, G_N_ELEMENTS(crimes));
	tcase_add_test(c, hosted_stub);
	suite_add_tcase(s, c);
	return suite_run(s);
}
