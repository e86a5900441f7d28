/* SPDX-License-Identifier: MIT */
/*
 * test_free.c - real guests that run all at once end with the bytes that the simulator's have
 *
 * What processes of these experiments do depends on no clock. So whatever is swapped, merged and broken up while they
 * run, each on a thread of its own, and however that falls out: the digest is that of the simulator, in lockstep.
 * With SOAK set all of them are tried.
 */
#include <check.h>
#include <stdio.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

static const char *const experiments[] = { "swap", "share", "tier", "cow" };

static void run(struct text_run *t, const struct backend *machine, const char *name, const char *set)
{
	g_autofree char *path = g_strdup_printf("tests/twin/%s.ini", name);
	GError *error = NULL;

	ck_assert_msg(run_file_with(t, machine, path, set, &error), "%s on %s: %s", name, machine->name,
		      error ? error->message : "?");
}

/* What if nobody waits for anybody? */
START_TEST(digests)
{
	struct text_run sim, kvm;

	run(&sim, &backend_sim, experiments[_i], "experiment.schedule=lockstep");
	run(&kvm, &backend_kvm, experiments[_i], "experiment.schedule=free");
	for (unsigned i = 0; i < sim.run->vms->len; i++) {
		const struct run_vm *a = run_text_vm(&sim, i), *b = run_text_vm(&kvm, i);

		ck_assert_msg(!b->failure, "%s: %s: %s", experiments[_i], b->name, b->failure);
		ck_assert(a->has_digest && b->has_digest);
		ck_assert_msg(a->digest == b->digest, "%s: %s ends with other bytes", experiments[_i], b->name);
	}
	ck_assert_uint_gt(kvm.run->host.swap_ins + kvm.run->host.merges, 0);
	run_text_free(&sim);
	run_text_free(&kvm);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("free schedule");
	TCase *c = tcase_create("kvm");

	if (!kvm_or_skip())
		return 0;
	if (suite_scaled(2) == 1) {
		printf("SKIP: the free schedule is real time, and emulated exits leave guests none\n");
		return 0;
	}
	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, digests, 0, getenv("SOAK") ? (int)G_N_ELEMENTS(experiments) : 2);
	suite_add_tcase(s, c);
	return suite_run(s);
}
