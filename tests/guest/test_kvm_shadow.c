/* SPDX-License-Identifier: MIT */
/* test_kvm_shadow.c - real guests whose tables the VMM builds: they run, and their tables are in order at every turn */
#include <check.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "vmm/kvm/shadow.h"

#define EXPERIMENT "[experiment]\nmachine = kvm\nschedule = lockstep\nquantum = 500\n"
#define VM	   "[vm a]\nmemory = 32 MiB\npaging = shadow\nworkload = w\n"
#define WORKLOAD(processes, phase) \
	"[workload w]\nprocesses = " processes "\nphases = p\n[phase p]\n" phase

static struct text_run t;
static GError *error;

static void run_ok(const char *text)
{
	gboolean ok = run_text(&t, &backend_kvm, text, &error);

	ck_assert_msg(ok, "%s", error ? error->message : "?");
}

static void teardown(void)
{
	run_text_free(&t);
	g_clear_error(&error);
	run_stop = 0;
}

/* What if nothing goes wrong? */
START_TEST(boots)
{
	run_ok(EXPERIMENT VM WORKLOAD("2", "pattern = sequential\nsize = 256 KiB\noperations = 7000\n"));

	struct run_vm *vm = run_text_vm(&t, 0);

	ck_assert_msg(!vm->failure, "%s", vm->failure);
	ck_assert_uint_eq(vm->counters.accesses, 14000);
	ck_assert_uint_eq(vm->counters.guest_faults_demand, 2 * 64);
	ck_assert_uint_eq(vm->counters.faults_absent, 2 * 64);
	ck_assert_uint_ge(vm->counters.exits_page_fault, 2 * 2 * 64);
	ck_assert_uint_eq(vm->counters.exits_ept_violation, 0);
	ck_assert_uint_gt(vm->counters.shadow_traced_writes, 0);
	ck_assert(vm->has_digest);
}
END_TEST

/* What if modes are mixed? Memory is laid out for one. */
START_TEST(refuses_a_mix)
{
	ck_assert(!run_text(&t, &backend_kvm,
			    EXPERIMENT VM "[vm b]\nmemory = 32 MiB\nworkload = w\n"
			    WORKLOAD("1", "pattern = uniform\noperations = 1\n"),
			    &error));
	ck_assert_msg(g_error_matches(error, VMM_ERROR, VMM_USAGE), "%s", error->message);
	ck_assert_msg(strstr(error->message, "paging = ept") && strstr(error->message, "shadow"), "%s", error->message);
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
	suite_add_tcase(s, c);
	return suite_run(s);
}
