/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_hostile.c - guests that misbehave
 *
 * Each guest is the real one with a few bytes changed before its first instruction (crimes.h), beside one that is as it
 * should be. A process's crimes end the process or, where the kernel knows no mercy, the guest; a kernel's end the
 * guest. Nothing ends or hangs the run, or changes what the other guest computes.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/crimes.h"
#include "tests/lib/kvm_text.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/kvm.h"

/* Hostile VMs of a run: each commits another crime. Beside them is one good VM. */
#define GANG 8

#define VMS \
	"[vm good]\nmemory = 24 MiB\nworkload = w\n%s" \
	"[vm bad]\nmemory = 24 MiB\nworkload = w\ncount = 8\n%s" \
	"[workload w]\nprocesses = 2\nphases = p\n[phase p]\npattern = uniform\nsize = 256 KiB\noperations = 500\n"
#define BEGIN "[experiment]\nmachine = kvm\nschedule = lockstep\nquantum = 100\n"

#define SMALL_HOST \
	"[host]\nmemory = 76 MiB\n[swap]\nsize = 256 MiB\n" \
	"[dedup]\nalgorithm = ksm\nsleep = 20 us\npages-to-scan = 1000\n"
/* Without PCIDs, so that crimes find the kernel's root where they look for it. */
#define SHADOW "paging = shadow\npcid = no\n"
#define DEVICES "disk = 4 MiB\nballoon-target = 1 MiB\n"

static const struct {
	const char *what, *text, *devices;
} settings[] = {
	{ "alone", BEGIN VMS, "" },
	{ "with devices, swap and merging", BEGIN SMALL_HOST VMS, DEVICES },
	{ "in shadow mode, with devices", BEGIN VMS, SHADOW DEVICES },
	{ "in shadow mode, with devices, swap and merging", BEGIN SMALL_HOST VMS, DEVICES SHADOW },
};
static uint64_t good_digest[G_N_ELEMENTS(settings)]; /* of the good VM, among others as good */

static struct text_run t;
static struct kvm_machine m;

static void start(unsigned setting)
{
	const char *devices = settings[setting].devices;
	g_autofree char *text = g_strdup_printf(settings[setting].text, devices, devices);

	must_make(&t, &m, text);
}

static void stop(void)
{
	kvm_machine_destroy(&m);
	run_text_free(&t);
}

/* The kernel's crimes have a place of their own, which its entry jumps to: they are longer than that. */
#define CODE_GPA 0x40000ull

static void commit(struct kvm_vm *vm, const struct crime *crime)
{
	const struct image_header *h = kvm_image_header();
	const gpa_t at[] = {
		[CRIME_PROCESS] = USER_TEXT_GPA + (h->process - USER_TEXT_VA),
		[CRIME_KERNEL] = CODE_GPA,
		[CRIME_IDT] = TABLES_GPA + IDT_OFFSET,
		[CRIME_INFO] = BOOT_INFO_GPA,
	};
	uint8_t *code = kvm_arena(vm, at[crime->place]);

	memcpy(code, crime->code, (size_t)(crime->end - crime->code));
	if (crime->seed)
		memcpy(code + 2, &crime->seed, sizeof(crime->seed));
	if (crime->place == CRIME_KERNEL) {
		uint8_t *entry = kvm_arena(vm, KERNEL_IMAGE_GPA + (h->event - KERNEL_VA));
		int32_t distance = (int32_t)(KERNEL_DIRECT_MAP + CODE_GPA - (h->event + 5));

		entry[0] = 0xe9;
		memcpy(entry + 1, &distance, sizeof(distance));
	}
}

static void find_good_digests(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(settings); i++) {
		start(i);
		must_run_guests(&m);
		ck_assert(run_text_vm(&t, 0)->has_digest);
		good_digest[i] = run_text_vm(&t, 0)->digest;
		ck_assert(i % 2 == 0 || t.run->host.swap_outs > 0);
		stop();
	}
}

static bool says(const char *failure, const char *words)
{
	g_auto(GStrv) either = g_strsplit(words, "|", 2);

	return !*words || strstr(failure, either[0]) || (either[1] && strstr(failure, either[1]));
}

static void check_hostile(const struct crime *crime, const struct run_vm *vm)
{
	const struct counters *c = &vm->counters;
	uint64_t by_kind = c->guest_failures_crash + c->guest_failures_hang + c->guest_failures_access +
			   c->guest_failures_memory;

	ck_assert_msg(c->guest_failures == (vm->failure != NULL), "%s is not counted", crime->what);
	ck_assert(!vm->failure || g_utf8_validate(vm->failure, -1, NULL));
	if (crime->failure == crime_ends_somehow)
		return;
	if (crime->failure == crime_kills_process) {
		ck_assert_msg(!vm->failure, "%s: %s", crime->what, vm->failure);
		ck_assert_uint_eq(c->guest_faults_segv, 2);
		ck_assert_uint_eq(c->accesses, 0);
		return;
	}
	ck_assert_msg(vm->failure && says(vm->failure, crime->failure), "%s: %s", crime->what,
		      vm->failure ? vm->failure : "it went unnoticed");
	ck_assert_msg(by_kind == 1 && (crime->kind != FAILURE_CRASH || c->guest_failures_crash) &&
			      (crime->kind != FAILURE_HANG || c->guest_failures_hang) &&
			      (crime->kind != FAILURE_ACCESS || c->guest_failures_access),
		      "%s is counted as something else", crime->what);
	ck_assert(!vm->has_digest);
}

/* Where that is no surprise it need not take long; elsewhere a busy machine must not look like a hung guest. */
static bool may_hang(const struct crime *crime)
{
	return !*crime->failure || crime->failure == crime_ends_somehow ||
	       g_str_has_prefix(crime->failure, "given up");
}

/* What if VMs are hostile? They end, counted and with the reason; a good one computes what it always does. */
START_TEST(gang)
{
	const unsigned setting = (unsigned)_i % G_N_ELEMENTS(settings);
	const unsigned first = (unsigned)_i / G_N_ELEMENTS(settings) * GANG;
	const struct run_vm *good;

	start(setting);
	for (unsigned i = 0; i < GANG && first + i < ncrimes; i++) {
		if (may_hang(&crimes[first + i]))
			m.vms[1 + i]->life.patience_ns = 60000000;
		commit(m.vms[1 + i], &crimes[first + i]);
	}
	must_run_guests(&m);
	good = run_text_vm(&t, 0);
	ck_assert_msg(!good->failure, "%s: the good VM: %s", crimes[first].what, good->failure);
	ck_assert_msg(good->has_digest && good->digest == good_digest[setting], "%s ...: the good VM's digest differs",
		      crimes[first].what);
	for (unsigned i = 0; i < GANG && first + i < ncrimes; i++) {
		const struct run_vm *bad = run_text_vm(&t, 1 + i);

		if (getenv("SHOW_OUTCOMES"))
			printf("%s, %s: %s\n", settings[setting].what, crimes[first + i].what,
			       bad->failure ? bad->failure : "no failure");
		check_hostile(&crimes[first + i], bad);
	}
	stop();
}
END_TEST

/* What if a guest works, but slowly? As long as it performs an operation now and then it is let live. */
START_TEST(slow_is_not_dead)
{
	struct kvm_vm *vm;
	uint64_t now = 0;

	start(0);
	vm = m.vms[0];
	for (unsigned i = 0; i < 100; i++) {
		struct vcpu_page *v = kvm_vcpu_page(vm);

		v->operations++;
		now += vm->life.patience_ns;
		ck_assert_ptr_null(kvm_life_look(vm, now));
	}
	ck_assert_ptr_null(kvm_life_look(vm, now + vm->life.patience_ns));
	ck_assert_ptr_nonnull(kvm_life_look(vm, now + vm->life.patience_ns + 1));
	/* Faults are signs of life, but for so long only. */
	for (unsigned i = 0; i < 10; i++) {
		vm->counters.exits_ept_violation++;
		now += vm->life.patience_ns;
		ck_assert_ptr_null(kvm_life_look(vm, now));
	}
	vm->counters.exits_ept_violation++;
	ck_assert_ptr_nonnull(kvm_life_look(vm, now + 1));
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
	tcase_add_unchecked_fixture(c, find_good_digests, NULL);
	tcase_add_loop_test(c, gang, 0,
			    (int)(suite_scaled((ncrimes + GANG - 1) / GANG) * G_N_ELEMENTS(settings)));
	tcase_add_test(c, slow_is_not_dead);
	suite_add_tcase(s, c);
	return suite_run(s);
}
