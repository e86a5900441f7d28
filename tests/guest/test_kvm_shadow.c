/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_shadow.c - real guests whose tables the VMM builds
 *
 * They compute what the simulator's guests compute, however small the cache of tables is; their tables are in order at
 * the end; and whatever they do, the VMM's own pages in their address space are as the VMM left them.
 */
#include <check.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kvm_text.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/shadow.h"

#define EXPERIMENT "[experiment]\nschedule = lockstep\nquantum = 500\n"
#define VM	   "[vm a]\nmemory = 32 MiB\npaging = shadow\nworkload = w\n"

static struct text_run t;
static struct kvm_machine m;

static void teardown(void)
{
	run_text_free(&t);
}

/* What if nothing goes wrong? */
START_TEST(boots)
{
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT VM ONE_PHASE("2", "pattern = sequential\nsize = 256 KiB\noperations = 7000\n"));

	struct run_vm *vm = run_text_vm(&t, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->counters.accesses, 14000);
	ck_assert_uint_eq(vm->counters.guest_faults_demand, 2 * 64);
	ck_assert_uint_eq(vm->counters.faults_absent, 2 * 64);
	ck_assert_uint_ge(vm->counters.exits_page_fault, 2 * 2 * 64);
	ck_assert_uint_eq(vm->counters.exits_ept_violation, 0);
	ck_assert_uint_gt(vm->counters.shadow_traced_writes, 0);
	ck_assert_uint_eq(vm->counters.shadow_undecoded, 0);
	ck_assert(vm->has_digest);
}
END_TEST

/* What if modes are mixed? Memory is laid out for one. */
START_TEST(refuses_a_mix)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!run_text(&t, &backend_kvm,
			    EXPERIMENT VM "[vm b]\nmemory = 32 MiB\nworkload = w\n"
			    ONE_PHASE("1", "pattern = uniform\noperations = 1\n"),
			    &error));
	ck_assert_msg(g_error_matches(error, VMM_ERROR, VMM_USAGE), "%s", error->message);
	ck_assert_msg(strstr(error->message, "paging = ept") && strstr(error->message, "shadow"), "%s", error->message);
}
END_TEST

/* The VMM's code and descriptor tables, which the guest's processor uses. */
static void check_own(struct kvm_vm *vm)
{
	struct kvm_vm fresh = { .m = &m, .out = vm->out };

	ck_assert(kvm_shadow_create(&fresh, NULL));
	for (unsigned page = OWN_STUB; page <= OWN_TABLES; page++)
		ck_assert_msg(!memcmp(vm->shadow->own + page * PAGE_SIZE, fresh.shadow->own + page * PAGE_SIZE,
				      PAGE_SIZE),
			      "page %u of the VMM's own was changed", page);
	kvm_shadow_destroy(&fresh);
}

/* Frames without an owner are holes in the machine's memory, which read as zero. */
static void check_free_frames(void)
{
	static const uint8_t zeros[PAGE_SIZE];
	uint8_t page[PAGE_SIZE];
	unsigned nfree = 0;

	for (hfn_t hfn = 0; hfn < frames_total(m.frames); hfn += 3) {
		if (frames_owner(m.frames, hfn))
			continue;
		nfree++;
		ck_assert_int_eq(pread(m.frames->memfd, page, PAGE_SIZE, (off_t)(hfn * PAGE_SIZE)), PAGE_SIZE);
		ck_assert_msg(!memcmp(page, zeros, PAGE_SIZE), "free frame %lu is not empty", hfn);
	}
	ck_assert_uint_gt(nfree, 0);
}

static void check_all(void)
{
	for (unsigned i = 0; i < m.nvms; i++) {
		ck_assert_int_eq(-m.vms[i]->paging->ops->verify(m.vms[i]->paging), 0);
		check_own(m.vms[i]);
	}
	check_free_frames();
}

#define HOST "[host]\nmemory = 96 MiB\n"
#define STORM                                                                                                          \
	"workload = w\n[workload w]\nprocesses = 2\nphases = i, f, c, m\n"                                             \
	"[phase i]\npattern = uniform\nregion = r\nsize = 256 KiB\noperations = 700\nwrites = 60%\n" \
	"[phase f]\npattern = fork\nregion = r\nsize = 256 KiB\noperations = 30\nforks = c\n"                          \
	"[phase c]\npattern = uniform\nchild = yes\nregion = r\nsize = 256 KiB\noperations = 150\nwrites = 50%\n"      \
	"[phase m]\npattern = mmap\nsize = 1 MiB\noperations = 800\n"
#define TABLES "[vm a]\ncount = 2\nmemory = 32 MiB\npaging = shadow\n"

/* Ways to keep tables: what must be forgotten when differs in each. */
static const char *const ways[] = {
	"", "pcid = no\n", "unsync = no\n", "unsync = no\nflood-limit = 1\n", "shadow-limit = 16\n",
	"shadow-limit = 16\nunsync = no\npcid = no\n", "shadow-limit = 24\nflood-limit = 2\n",
};

/* What if tables come and go? Every stale entry would show in what the guests compute. */
START_TEST(computes_the_same)
{
	g_autofree char *text = g_strconcat(EXPERIMENT HOST TABLES, ways[_i], STORM, NULL);
	struct text_run sim;

	must_run_text(&sim, &backend_sim, text);
	must_make(&t, &m, text);
	must_run_guests(&m);
	for (unsigned i = 0; i < m.nvms; i++) {
		const struct run_vm *a = run_text_vm(&sim, i), *b = run_text_vm(&t, i);

		ck_assert_msg(!b->failure, "%s", b->failure);
		ck_assert_uint_eq(a->digest, b->digest);
		ck_assert_uint_eq(a->counters.guest_faults, b->counters.guest_faults);
		ck_assert_uint_eq(a->counters.faults_absent, b->counters.faults_absent);
		ck_assert(!strstr(ways[_i], "limit = 16") || b->counters.shadow_evictions > 0);
	}
	check_all();
	kvm_machine_destroy(&m);
	run_text_free(&sim);
}
END_TEST

/* What if the host has large pages? */
START_TEST(large_pages)
{
	must_make(&t, &m, EXPERIMENT "[host]\nmemory = 256 MiB\npage-size = 2M\n" TABLES STORM);
	must_run_guests(&m);
	ck_assert_msg(!run_text_vm(&t, 0)->failure, "%s", run_text_vm(&t, 0)->failure);
	check_all();
	kvm_machine_destroy(&m);
}
END_TEST

#define CODE(name, text)                                                                                               \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");                          \
	extern const uint8_t name[], name##_end[]
#define OWN(page) "0x7f8000000000 + " #page " * 4096"
/* rdx: the kernel's root as the kernel sees it. */
#define ROOT "movabs $0x8000212018, %rdx; mov (%rdx), %rdx; btr $63, %rdx; movabs $0x8000000000, %rcx; add %rcx, %rdx\n"
#define DONE "mov $3, %eax; int3; jmp .\n"

CODE(reads_stub, "movabs $" OWN(3) ", %rbx; mov (%rbx), %rax");
CODE(writes_stub, "movabs $" OWN(3) ", %rbx; mov %rax, (%rbx)");
CODE(writes_tables, "movabs $" OWN(4) ", %rbx; mov %rax, 0x200(%rbx)");
CODE(writes_stack, "movabs $" OWN(5) " + 0xff8, %rsp; push %rax");
CODE(reads_host, "movabs $0x7f8040000000, %rbx; mov (%rbx), %rax");
CODE(jumps_to_stub, "movabs $" OWN(3) ", %rbx; jmp *%rbx");
CODE(writes_gdt, "sub $16, %rsp; sgdt (%rsp); mov 2(%rsp), %rbx; mov %rax, (%rbx)");
/* Slot 255 leads to a table of its own, which maps it all: nobody looks. */
CODE(maps_slot, ROOT "movabs $0x8000020000, %rbx; movq $0x87, (%rbx); movq $0x20007, 0x7f8(%rdx)\n"
		     "movabs $0x7f8000000000, %rbx; mov (%rbx), %rax");
/* The same, and it is let be: the slot's entry goes back to nothing, and the guest ends as it wants. */
CODE(plays_with_slot, ROOT "mov $200, %esi; 1: movq $0x20007, 0x7f8(%rdx); movq $0, 0x7f8(%rdx); dec %esi; jnz 1b\n"
			   "mov %cs, %eax;" DONE);
/* A store that no decoder here knows, to a table in use: the page is let go, and the store takes effect. */
CODE(vector_store, ROOT "movabs $0x8000021000, %rbx; movq $0x22007, (%rbx); movq $0x21007, 0x208(%rdx)\n"
			"movabs $0x8000022000, %rbx; movq $0x87, (%rbx); mov $0x87, %eax; movq %rax, %xmm0\n"
			"movabs $0x208000000000, %rcx; xor %esi, %esi\n"
			"1: mov (%rcx), %rax; movq %xmm0, (%rbx); inc %esi; cmp $3, %esi; jne 1b;" DONE);
/* The same to the root that it stands on: that is a table in use whatever is done. */
CODE(vector_to_root, ROOT "mov $0x20007, %eax; movq %rax, %xmm0; movq %xmm0, 0x208(%rdx)");
CODE(rep_store, ROOT "lea 0x210(%rdx), %rdi; mov $0x20007, %eax; mov $50, %ecx; rep stosq\n"
		     "lea 0x210(%rdx), %rdi; xor %eax, %eax; mov $50, %ecx; rep stosq;" DONE);

#define CRIME(what, place, code, failure) { what, place, code, code##_end, failure }
enum { PROCESS, KERNEL };
static const struct {
	const char *what;
	int place;
	const uint8_t *code, *end;
	const char *failure; /* NULL: only its processes die; "": it ends by itself */
} crimes[] = {
	CRIME("a process reads the stub", PROCESS, reads_stub, NULL),
	CRIME("a process writes the stub", PROCESS, writes_stub, NULL),
	CRIME("a process writes the descriptor tables", PROCESS, writes_tables, NULL),
	CRIME("a process uses the VMM's stack", PROCESS, writes_stack, NULL),
	CRIME("a process reads the host's memory", PROCESS, reads_host, NULL),
	CRIME("a process jumps into the stub", PROCESS, jumps_to_stub, NULL),
	CRIME("a process writes to the GDT that it finds", PROCESS, writes_gdt, NULL),
	CRIME("the kernel writes the stub", KERNEL, writes_stub, "exception 14 (error 0x6"),
	CRIME("the kernel reads the host's memory", KERNEL, reads_host, "exception 14 (error 0x4"),
	CRIME("the kernel jumps into the stub", KERNEL, jumps_to_stub, "exception 14 (error 0x14"),
	CRIME("the kernel maps the VMM's slot", KERNEL, maps_slot, "exception 14 (error 0x4"),
	CRIME("the kernel plays with the VMM's slot", KERNEL, plays_with_slot, ""),
	CRIME("the kernel stores tables as vectors", KERNEL, vector_store, ""),
	CRIME("the kernel stores to its root as vectors", KERNEL, vector_to_root, "cannot carry out"),
	CRIME("the kernel fills tables with strings", KERNEL, rep_store, ""),
};

static void commit(struct kvm_vm *vm, unsigned i)
{
	const struct image_header *h = kvm_image_header();
	gpa_t at = crimes[i].place == PROCESS ? USER_TEXT_GPA + (h->process - USER_TEXT_VA) : 0x40000;

	memcpy(kvm_arena(vm, at), crimes[i].code, (size_t)(crimes[i].end - crimes[i].code));
	if (crimes[i].place == KERNEL) {
		uint8_t *entry = kvm_arena(vm, KERNEL_IMAGE_GPA + (h->event - KERNEL_VA));
		int32_t distance = (int32_t)(KERNEL_DIRECT_MAP + at - (h->event + 5));

		entry[0] = 0xe9;
		memcpy(entry + 1, &distance, sizeof(distance));
	}
}

/* What if a guest wants the VMM's pages, or those of its neighbour? */
START_TEST(crime)
{
	const struct run_vm *good, *bad;
	struct text_run sim;
	const char *text = EXPERIMENT HOST TABLES "workload = w\n"
			   ONE_PHASE("2", "pattern = uniform\nsize = 256 KiB\noperations = 500\n");

	must_run_text(&sim, &backend_sim, text);
	must_make(&t, &m, text);
	commit(m.vms[1], (unsigned)_i);
	must_run_guests(&m);
	good = run_text_vm(&t, 0);
	bad = run_text_vm(&t, 1);
	ck_assert_msg(!good->failure, "%s", good->failure);
	ck_assert_uint_eq(good->digest, run_text_vm(&sim, 0)->digest);
	if (crimes[_i].failure && crimes[_i].failure[0]) {
		ck_assert_msg(bad->failure && strstr(bad->failure, crimes[_i].failure), "%s: %s", crimes[_i].what,
			      bad->failure ? bad->failure : "it went unnoticed");
	} else {
		ck_assert_msg(!bad->failure, "%s: %s", crimes[_i].what, bad->failure);
		ck_assert_uint_eq(bad->counters.accesses, 0);
	}
	if (!crimes[_i].failure)
		ck_assert_uint_eq(bad->counters.guest_faults_segv, 2);
	if (crimes[_i].code == vector_store)
		ck_assert_uint_gt(bad->counters.shadow_undecoded, 0);
	check_all();
	kvm_machine_destroy(&m);
	run_text_free(&sim);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm shadow");
	TCase *c = tcase_create("shadow");

	if (!kvm_or_skip())
		return 0;
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, boots);
	tcase_add_test(c, refuses_a_mix);
	tcase_add_loop_test(c, computes_the_same, 0, G_N_ELEMENTS(ways));
	tcase_add_test(c, large_pages);
	tcase_add_loop_test(c, crime, 0, G_N_ELEMENTS(crimes));
	suite_add_tcase(s, c);
	return suite_run(s);
}
