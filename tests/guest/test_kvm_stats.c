/* SPDX-License-Identifier: MIT */
/* test_kvm_stats.c - what KVM itself counted agrees with what overbook counted, and is in the run */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

#define TEXT(schedule)                                                                                                 \
	"[experiment]\nschedule = " schedule "\nquantum = 500\n[vm a]\ncount = 2\nmemory = 32 MiB\nworkload = w\n"     \
	"[workload w]\nphases = p\n[phase p]\npattern = sequential\nstep = 4 KiB\nsize = 4 MiB\noperations = 3072\n"

static struct text_run t;

static void teardown(void)
{
	run_text_free(&t);
}

/* The value in the line that begins so; UINT64_MAX: there is none. */
static uint64_t stat_of(const char *begin)
{
	g_autofree char *key = g_strdup_printf("\n%s,", begin);
	const char *line = strstr(t.run->kvm_stats->str, key);

	return line ? strtoull(strchr(line + strlen(key), ',') + 1, NULL, 10) : UINT64_MAX;
}

START_TEST(agree)
{
	must_run_text(&t, &backend_kvm, TEXT("lockstep"));
	if (!t.run->kvm_stats) {
		printf("SKIP: this KVM has no statistics of its own\n");
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct counters *c = &run_text_vm(&t, i)->counters;
		g_autofree char *exits = g_strdup_printf("a-%u,vcpu,exits", i);
		g_autofree char *io = g_strdup_printf("a-%u,vcpu,io_exits", i);
		g_autofree char *fixed = g_strdup_printf("a-%u,vcpu,pf_fixed", i);

		ck_assert_uint_ne(stat_of(exits), UINT64_MAX);
		ck_assert_uint_gt(stat_of(exits), 0);
		/* Each page of the guest was mapped by KVM once at least, each hypercall left the guest. */
		ck_assert_uint_ge(stat_of(fixed), c->faults_absent);
		if (stat_of(io)) /* a software KVM that emulates ring 0 counts no port accesses */
			ck_assert_uint_ge(stat_of(io), c->exits_hypercall);
		ck_assert_uint_gt(c->ns_total, 0);
		ck_assert_uint_gt(c->ns_exit_ept, 0);
		ck_assert_uint_eq(c->ns_total, c->ns_work + c->ns_exit_ept + c->ns_exit_other);
	}
}
END_TEST

/* What if it is interrupted? That is counted, too; and every line is well formed. */
START_TEST(interrupts)
{
	g_auto(GStrv) lines = NULL;

	must_run_text(&t, &backend_kvm, TEXT("free"));
	if (!t.run->kvm_stats)
		return;
	lines = g_strsplit(t.run->kvm_stats->str, "\n", -1);
	ck_assert_str_eq(lines[0], "vm,of,name,unit,value");
	for (unsigned i = 1; *lines[i]; i++) {
		g_auto(GStrv) f = g_strsplit(lines[i], ",", -1);

		ck_assert_uint_eq(g_strv_length(f), 5);
		ck_assert(g_str_has_prefix(f[0], "a-") && *f[2] && *f[3]);
	}
	ck_assert_uint_gt(stat_of("a-0,vcpu,irq_injections"), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm statistics");
	TCase *c = tcase_create("stats");

	if (!kvm_or_skip())
		return 0;
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, agree);
	tcase_add_test(c, interrupts);
	suite_add_tcase(s, c);
	return suite_run(s);
}
