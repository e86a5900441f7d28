/* SPDX-License-Identifier: MIT */
/* test_kvm.c - real guests boot, run, end, fail and stop as they should; tests/twin compares what they count */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

#define EXPERIMENT "[experiment]\nmachine = kvm\nschedule = lockstep\nquantum = 500\n"
#define VM	   "[vm a]\nmemory = 32 MiB\nworkload = w\n"

static struct text_run t;

static void teardown(void)
{
	run_text_free(&t);
}

/* What if nothing goes wrong? Every page the processes touched was faulted in once, by guest and host alike. */
START_TEST(boots)
{
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT VM ONE_PHASE("2", "pattern = sequential\nsize = 256 KiB\noperations = 70000\n"));

	struct run_vm *vm = run_text_vm(&t, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->counters.guest_exits, 2);
	ck_assert_uint_eq(vm->counters.guest_mmaps, 2);
	ck_assert_uint_eq(vm->counters.accesses, 140000);
	ck_assert_uint_eq(vm->counters.operations, 140004);
	ck_assert_uint_eq(vm->counters.quanta, 280);
	ck_assert_uint_eq(vm->counters.guest_faults_demand, 2 * 64);
	ck_assert_uint_eq(vm->counters.guest_faults, 2 * 64);
	ck_assert(vm->has_digest);
}
END_TEST

START_TEST(populated_is_counted)
{
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT VM ONE_PHASE("3", "pattern = uniform\nsize = 1 MiB\noperations = 3000\n"));

	struct counters *c = &run_text_vm(&t, 0)->counters;

	ck_assert_uint_gt(c->faults_absent, 600);
	ck_assert_uint_eq(c->faults_absent, c->guest_faults_demand);
	ck_assert_uint_eq(c->faults_absent, c->exits_ept_violation);
	ck_assert_uint_eq(c->faults_absent + c->faults_prefetch, c->pages_resident);
}
END_TEST

/* What if a process forks? Its children share its pages until somebody writes. */
START_TEST(forks)
{
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT VM
		      "[workload w]\nphases = warm, p, c\n"
		      "[phase warm]\npattern = sequential\nsize = 64 KiB\nregion = r\noperations = 8192\n"
		      "[phase p]\npattern = fork\nregion = r\nsize = 64 KiB\noperations = 40\nforks = c\n"
		      "[phase c]\npattern = sequential\nchild = yes\nregion = r\nsize = 64 KiB\noperations = 8192\n"
		      "writes = 100%\n");

	struct run_vm *vm = run_text_vm(&t, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_gt(vm->counters.guest_forks, 0);
	ck_assert_uint_ge(vm->counters.guest_faults_cow, 16 * vm->counters.guest_forks);
	ck_assert_uint_eq(vm->counters.guest_exits, vm->counters.guest_forks + 1);
}
END_TEST

/* What if several guests share a host? They take turns and know nothing of each other. */
START_TEST(several)
{
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT "[vm a]\ncount = 3\nmemory = 32 MiB\nworkload = w\n"
		      ONE_PHASE("1", "pattern = uniform\nsize = 512 KiB\noperations = 5000\n"));
	for (unsigned i = 0; i < 3; i++) {
		struct run_vm *vm = run_text_vm(&t, i);

		ck_assert_msg(!vm->failure, "%s", vm->failure);
		ck_assert_uint_eq(vm->counters.accesses, 5000);
		ck_assert_uint_ne(vm->digest, run_text_vm(&t, (i + 1) % 3)->digest);
	}
	ck_assert_uint_eq(t.run->host.accesses, 15000);
}
END_TEST

/* What if every process sleeps? Virtual time passes, real time hardly. */
START_TEST(sleeps)
{
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT VM
		      ONE_PHASE("1", "pattern = sequential\nsize = 64 KiB\noperations = 100\nthink-time = 1 s\n"
				    "think-every = 10\n"));
	ck_assert_uint_ge(run_text_vm(&t, 0)->counters.exits_halt, 9);
}
END_TEST

/* What if the modelled host is too small? That is a guest's failure, not ours, and nobody waits for ever. */
START_TEST(host_is_full)
{
	must_run_text(&t, &backend_kvm,
		      "[host]\nmemory = 16 MiB\n" EXPERIMENT VM
		      ONE_PHASE("1", "pattern = sequential\nsize = 16 MiB\noperations = 3000000\n"));

	struct run_vm *vm = run_text_vm(&t, 0);

	ck_assert_ptr_nonnull(vm->failure);
	ck_assert_ptr_nonnull(strstr(vm->failure, "no memory left"));
	ck_assert(!vm->has_digest);
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
	/* A guest that is emulated takes two seconds to begin. */
	bool emulated = suite_scaled(2) < 2;
	struct itimerval soon = { .it_value.tv_sec = emulated ? 5 : 0, .it_value.tv_usec = 300000 };

	signal(SIGALRM, stop);
	setitimer(ITIMER_REAL, &soon, NULL);
	must_run_text(&t, &backend_kvm,
		      EXPERIMENT VM ONE_PHASE("1", "pattern = uniform\nsize = 1 MiB\noperations = 1000000000000\n"));
	ck_assert(t.run->interrupted);
	ck_assert_uint_gt(run_text_vm(&t, 0)->counters.operations, 0);
	ck_assert(run_text_vm(&t, 0)->has_digest);
}
END_TEST

static const struct {
	const char *text;
	const char *key, *value;
} refused[] = {
	{ EXPERIMENT VM "levels = 5\n" ONE_PHASE("1", "pattern = uniform\noperations = 1\n"), "levels", "5" },
	{ EXPERIMENT VM "dirty-log = pml\n" ONE_PHASE("1", "pattern = uniform\noperations = 1\n"), "dirty-log", "pml" },
};

START_TEST(refuses)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!run_text(&t, &backend_kvm, refused[_i].text, &error));
	ck_assert_msg(g_error_matches(error, VMM_ERROR, VMM_USAGE), "%s", error->message);
	ck_assert_msg(strstr(error->message, refused[_i].key) && strstr(error->message, refused[_i].value), "%s",
		      error->message);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm");
	TCase *c = tcase_create("kvm");

	if (!kvm_or_skip())
		return 0;
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, boots);
	tcase_add_test(c, populated_is_counted);
	tcase_add_test(c, forks);
	tcase_add_test(c, several);
	tcase_add_test(c, sleeps);
	tcase_add_test(c, host_is_full);
	tcase_add_test(c, interrupted);
	tcase_add_loop_test(c, refuses, 0, G_N_ELEMENTS(refused));
	suite_add_tcase(s, c);
	return suite_run(s);
}
