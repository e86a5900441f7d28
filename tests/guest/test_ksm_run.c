/* SPDX-License-Identifier: MIT */
/* Runs with private memory: the same digest and counts as on the simulator, and the kernel merges while they go on. */
#include <stdio.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "vmm/host_settings.h"

#define GUESTS                                                                                                \
	"[experiment]\nmachine = %s\nschedule = lockstep\nsample-interval = 0\n"                             \
	"[host]\nmemory = 128 MiB\n%s[vm a]\ncount = 2\nmemory = 16 MiB\nworkload = w\n"                     \
	"[workload w]\nphases = texts, work\n"                                                                \
	"[phase texts]\npattern = sequential\nstep = 4 KiB\nsize = 1 MiB\noperations = 256\nwrites = 0%%\n"   \
	"contents = text:256\n[phase work]\npattern = zipf\nsize = 512 KiB\noperations = 20000\nwrites = 50%%\n"

#define KERNEL "backing = anonymous\n[dedup]\nalgorithm = kernel\npages-to-scan = 3000\nsleep = 1 ms\nsmart-scan = no\n"

static void same(const struct run *a, const struct run *b)
{
	for (unsigned i = 0; i < a->vms->len; i++) {
		const struct run_vm *x = g_ptr_array_index(a->vms, i), *y = g_ptr_array_index(b->vms, i);

		ck_assert_msg(!x->failure && !y->failure, "%s %s", x->failure, y->failure);
		ck_assert(x->has_digest && y->has_digest);
		ck_assert_uint_eq(x->digest, y->digest);
		ck_assert_uint_eq(x->counters.guest_faults, y->counters.guest_faults);
		ck_assert_uint_eq(x->counters.faults_absent, y->counters.faults_absent);
		ck_assert_uint_eq(x->counters.exits_ept_violation, y->counters.exits_ept_violation);
		ck_assert_uint_eq(x->counters.pages_resident, y->counters.pages_resident);
	}
}

static void compare(const char *section, struct text_run *kvm)
{
	g_autofree char *plain = g_strdup_printf(GUESTS, "sim", ""), *text = g_strdup_printf(GUESTS, "kvm", section);
	struct text_run sim;
	GError *error = NULL;

	ck_assert_msg(run_text(&sim, &backend_sim, plain, &error), "%s", error ? error->message : "?");
	ck_assert_msg(run_text(kvm, &backend_kvm, text, &error), "%s", error ? error->message : "?");
	same(sim.run, kvm->run);
	run_text_free(&sim);
}

START_TEST(what_if_memory_is_private)
{
	struct text_run kvm;

	compare("backing = anonymous\n", &kvm);
	run_text_free(&kvm);
}
END_TEST

START_TEST(what_if_the_kernel_merges)
{
	g_autofree char *before = host_settings_read(host_place(), "/sys/kernel/mm/ksm/pages_to_scan"), *after = NULL;
	struct text_run kvm;

	compare(KERNEL, &kvm);
	ck_assert_uint_eq(kvm.run->host.pages_to_scan, 3000);
	run_text_free(&kvm);
	after = host_settings_read(host_place(), "/sys/kernel/mm/ksm/pages_to_scan");
	ck_assert_str_eq(before, after);
}
END_TEST

/* The claim ends with the run: or the next experiment of a [vary] would be refused. */
START_TEST(what_if_it_is_stopped_and_begun_again)
{
	struct text_run kvm;

	for (int i = 0; i < 2; i++) {
		compare(KERNEL "stop = 1 ms\nunmerge = yes\n", &kvm);
		ck_assert_uint_eq(kvm.run->host.pages_merged, 0);
		run_text_free(&kvm);
	}
}
END_TEST

static gboolean kernel_merges(void)
{
	g_autofree char *text = g_strdup_printf(GUESTS, "kvm", KERNEL);
	struct text_run r;
	GError *error = NULL;
	gboolean ok = run_text(&r, &backend_kvm, text, &error);

	if (!ok)
		printf("SKIP: %s\n", error->message);
	g_clear_error(&error);
	run_text_free(&r);
	return ok;
}

int main(void)
{
	Suite *s = suite_create("ksm_run");
	TCase *tc = tcase_create("ksm_run");

	if (!kvm_or_skip())
		return 0;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_if_memory_is_private);
	if (kernel_merges()) {
		tcase_add_test(tc, what_if_the_kernel_merges);
		tcase_add_test(tc, what_if_it_is_stopped_and_begun_again);
	}
	suite_add_tcase(s, tc);
	return suite_run(s);
}
