/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_free.c - real guests in the free schedule: a thread each, interrupted by their timers and devices
 *
 * Whatever interrupts a process, it performs each of its operations once: what guests hold at the end is what they hold
 * in the simulator's lockstep. One guest's end is not another's.
 */
#include <check.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "tests/lib/kvm_text.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/kvm.h"

#define FREE	 "[experiment]\nschedule = free\nseed = 5\n"
#define LOCKSTEP "[experiment]\nschedule = lockstep\nseed = 5\n"
#define VM(n, more) "[vm a]\ncount = " n "\nmemory = 24 MiB\nworkload = w\n" more

static struct text_run t;

static void run_on(struct text_run *r, const struct backend *machine, const char *text)
{
	must_run_text(r, machine, text);
	for (unsigned i = 0; i < r->run->vms->len; i++)
		ck_assert_msg(!run_text_vm(r, i)->failure, "%s", run_text_vm(r, i)->failure);
}

static void teardown(void)
{
	run_text_free(&t);
}

/* @text in both schedules: the same accesses, system calls and memory. */
static void compare_to_lockstep(const char *text)
{
	g_autofree char *free_text = g_strconcat(FREE, text, NULL), *lockstep = g_strconcat(LOCKSTEP, text, NULL);
	struct text_run sim;

	run_on(&sim, &backend_sim, lockstep);
	run_on(&t, &backend_kvm, free_text);
	for (unsigned i = 0; i < sim.run->vms->len; i++) {
		const struct run_vm *a = run_text_vm(&sim, i), *b = run_text_vm(&t, i);

		ck_assert_uint_eq(a->counters.operations, b->counters.operations);
		ck_assert_uint_eq(a->counters.reads, b->counters.reads);
		ck_assert_uint_eq(a->counters.writes, b->counters.writes);
		ck_assert_uint_eq(a->counters.guest_exits, b->counters.guest_exits);
		ck_assert_uint_eq(a->counters.guest_mmaps, b->counters.guest_mmaps);
		ck_assert_uint_eq(a->counters.guest_forks, b->counters.guest_forks);
		ck_assert(b->has_digest);
		ck_assert_uint_eq(a->digest, b->digest);
	}
	run_text_free(&sim);
}

static const char *const same[] = {
	VM("2", "") ONE_PHASE("2", "pattern = uniform\nsize = 1 MiB\noperations = 60000\nwrites = 40%\n"),
	VM("8", "") ONE_PHASE("2", "pattern = zipf\nsize = 512 KiB\noperations = 20000\nwrites = 40%\n"),
	/* memory that comes and goes, think time */
	VM("2", "") ONE_PHASE("2", "pattern = mmap\nsize = 1 MiB\noperations = 1000\nthink-time = 200 us\n"
				  "think-every = 500\n"),
	/* files: what two processes write to one page they write in some order, so each has its own */
	VM("2", "disk = 8 MiB\n")
	ONE_PHASE("1", "pattern = zipf\nbacking = file\nsize = 2 MiB\noperations = 8000\nwrites = 30%\n"),
	/* the guest's own swap */
	VM("1", "guest-swap = 32 MiB\n") ONE_PHASE("1", "pattern = sequential\nstep = 4 KiB\nsize = 16 MiB\n"
							"operations = 4300\nwrites = 60%\n"),
	VM("2", "balloon-target = 4 MiB\nballoon-until = 20 ms\nballoon-period = 40 ms\n")
	ONE_PHASE("1", "pattern = uniform\nsize = 2 MiB\noperations = 200000\nwrites = 50%\n"),
};

static const char *const shadow[] = {
	VM("2", "paging = shadow\n")
	ONE_PHASE("2", "pattern = uniform\nsize = 256 KiB\noperations = 60000\nwrites = 40%\n"),
	VM("3", "paging = shadow\n")
	ONE_PHASE("1", "pattern = mmap\nsize = 256 KiB\noperations = 200\nthink-time = 200 us\nthink-every = 50\n"),
	VM("2", "paging = shadow\ndisk = 4 MiB\nballoon-target = 1 MiB\n")
	ONE_PHASE("1", "pattern = zipf\nbacking = file\nsize = 512 KiB\noperations = 3000\nwrites = 30%\n"),
};

START_TEST(as_in_lockstep)
{
	compare_to_lockstep(same[_i]);
}
END_TEST

START_TEST(as_in_lockstep_shadow)
{
	compare_to_lockstep(shadow[_i]);
}
END_TEST

/* What if it is interrupted all the time? Each operation is still performed once. */
START_TEST(interrupted_all_the_time)
{
	compare_to_lockstep("tick = 100 us\n" VM("2", "") ONE_PHASE("3", "pattern = uniform\nsize = 512 KiB\n"
									"operations = 300000\nwrites = 50%\n"));
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_gt(run_text_vm(&t, i)->counters.quanta, 100);
}
END_TEST

START_TEST(devices_do_something)
{
	run_on(&t, &backend_kvm,
	       FREE "sample-interval = 10 ms\n"
	       VM("2", "disk = 8 MiB\nballoon-target = 4 MiB\n")
	       "[balloon]\nstats-interval = 10 ms\n"
	       ONE_PHASE("2", "pattern = zipf\nbacking = file\nsize = 1 MiB\noperations = 6000\nwrites = 30%\n"
			     "think-time = 5 ms\nthink-every = 500\n"));
	for (unsigned i = 0; i < 2; i++) {
		const struct counters *c = &run_text_vm(&t, i)->counters;

		ck_assert_uint_gt(c->blk_reads, 0);
		ck_assert_uint_eq(c->blk_errors, 0);
		ck_assert_uint_eq(c->balloon_errors, 0);
		ck_assert_uint_eq(c->balloon_actual, 1024);
		ck_assert_uint_gt(c->balloon_guest_free, 0);
		ck_assert_uint_gt(c->exits_halt, 0);
	}
	ck_assert_uint_gt(t.run->samples->len, 3 * 3);
}
END_TEST

/* What if it should not go on for ever? Time is real then. */
START_TEST(duration)
{
	struct run_vm *late;

	run_on(&t, &backend_kvm,
	       FREE "duration = 300 ms\nwarm-up = 50 ms\n" VM("1", "")
	       "[vm late]\nmemory = 24 MiB\nstart = 10 s\nworkload = w\n"
	       ONE_PHASE("2", "pattern = uniform\nsize = 1 MiB\nduration = 1 s\nwrites = 10%\n"));
	ck_assert_uint_ge(t.run->end_ns, 300000000);
	ck_assert(!t.run->interrupted);
	ck_assert_uint_gt(run_text_vm(&t, 0)->counters.operations, 0);
	ck_assert(run_text_vm(&t, 0)->has_digest);
	late = run_text_vm(&t, 1);
	ck_assert_uint_eq(late->counters.operations, 0);
}
END_TEST

/* What if a phase has so much time, and its processes sleep? Both are told by the guest's clock. */
START_TEST(guest_clock)
{
	run_on(&t, &backend_kvm,
	       FREE VM("1", "") ONE_PHASE("1", "pattern = uniform\nsize = 64 KiB\nduration = 200 ms\n"
					      "think-time = 10 ms\nthink-every = 100\n"));
	ck_assert_uint_ge(t.run->end_ns, 190000000);
	ck_assert_uint_ge(run_text_vm(&t, 0)->counters.ns_idle, 10000000);
	ck_assert_uint_ge(run_text_vm(&t, 0)->counters.operations, 100);
	/* 20 sleeps at most: no time passes twice. */
	ck_assert_uint_le(run_text_vm(&t, 0)->counters.operations, 30 * 101);
}
END_TEST

static void stop(int sig)
{
	(void)sig;
	run_stop = 1;
}

/* What if the user has had enough? */
START_TEST(interrupted)
{
	struct itimerval soon = { .it_value.tv_usec = 300000 };

	signal(SIGALRM, stop);
	setitimer(ITIMER_REAL, &soon, NULL);
	run_on(&t, &backend_kvm,
	       FREE VM("3", "") ONE_PHASE("2", "pattern = uniform\nsize = 1 MiB\noperations = 1000000000000\n"));
	ck_assert(t.run->interrupted);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_gt(run_text_vm(&t, i)->counters.operations, 0);
		ck_assert(run_text_vm(&t, i)->has_digest);
	}
}
END_TEST

/* What if one of them loops for ever, in a process or in its kernel with interrupts off? It fails alone. */
START_TEST(one_hangs)
{
	static const uint8_t loop[] = { 0xeb, 0xfe };
	const char *text = FREE VM("3", "") ONE_PHASE("1", "pattern = uniform\nsize = 1 MiB\noperations = 5000\n");
	const struct image_header *h = kvm_image_header();
	struct kvm_machine m;

	must_make(&t, &m, text);
	for (unsigned i = 0; i < m.nvms; i++)
		m.vms[i]->life.patience_ns = 800000000;
	for (unsigned i = 0; i < m.nvms; i++)
		ck_assert(kvm_boot_run(m.vms[i], NULL));
	if (_i)
		memcpy(kvm_arena(m.vms[1], KERNEL_IMAGE_GPA + (h->event - KERNEL_VA)), loop, sizeof(loop));
	else
		memcpy(kvm_arena(m.vms[1], USER_TEXT_GPA + (h->process - USER_TEXT_VA)), loop, sizeof(loop));
	ck_assert(kvm_loop(&m, NULL));
	kvm_machine_destroy(&m);
	for (unsigned i = 0; i < 3; i++) {
		const struct run_vm *vm = run_text_vm(&t, i);

		ck_assert_int_eq(vm->failure != NULL, i == 1);
		ck_assert_int_eq(vm->has_digest, i != 1);
		if (i != 1)
			ck_assert_uint_eq(vm->counters.accesses, 5000);
		else
			ck_assert_msg(strstr(vm->failure, "given up"), "%s", vm->failure);
	}
}
END_TEST

/* What if the host takes and merges memory and a policy decides, while they run? */
START_TEST(host_at_work)
{
	static const char host[] = "[host]\nmemory = 34 MiB\n[swap]\nsize = 64 MiB\n[dedup]\nalgorithm = ksm\n"
				   "sleep = 1 ms\n[policy]\nname = proportional\ninterval = 10 ms\n";
	static const char work[] = ONE_PHASE("2", "pattern = uniform\nsize = 1 MiB\noperations = 3000\nwrites = 30%\n"
						 "contents = text:50\n");
	g_autofree char *text = g_strconcat(host, _i ? VM("2", "paging = shadow\n") : VM("2", ""), work, NULL);

	compare_to_lockstep(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm, free schedule");
	TCase *c = tcase_create("free"), *host = tcase_create("host"), *shadowed = tcase_create("shadow");

	if (!kvm_or_skip())
		return 0;
	if (suite_scaled(2) == 1) {
		printf("SKIP: the free schedule is real time, and emulated exits leave guests none\n");
		return 0;
	}
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, as_in_lockstep, 0, G_N_ELEMENTS(same));
	tcase_add_test(c, interrupted_all_the_time);
	tcase_add_test(c, devices_do_something);
	tcase_add_test(c, duration);
	tcase_add_test(c, guest_clock);
	tcase_add_test(c, interrupted);
	tcase_add_loop_test(c, one_hangs, 0, 2);
	suite_add_tcase(s, c);
	tcase_add_checked_fixture(host, NULL, teardown);
	tcase_set_timeout(host, 120);
	tcase_add_loop_test(host, host_at_work, 0, 2);
	suite_add_tcase(s, host);
	tcase_add_checked_fixture(shadowed, NULL, teardown);
	tcase_set_timeout(shadowed, 120);
	tcase_add_loop_test(shadowed, as_in_lockstep_shadow, 0, G_N_ELEMENTS(shadow));
	suite_add_tcase(s, shadowed);
	return suite_run(s);
}
