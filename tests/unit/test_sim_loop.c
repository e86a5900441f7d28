/* SPDX-License-Identifier: MIT */
/* test_sim_loop.c - the free schedule: where time goes, who runs where, and when samples are due */
#include <check.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "vmm/sim/sim.h"

#define GUEST                                                                                                          \
	"[workload w]\nphases = p\n[phase p]\npattern = uniform\nsize = 4 MiB\noperations = 40000\nwrites = 30%\n"

static struct text_run sim_run(const char *text)
{
	struct text_run t;
	GError *error = NULL;

	ck_assert_msg(run_text(&t, &backend_sim, text, &error), "%s", error ? error->message : "");
	return t;
}

static uint64_t buckets(const struct counters *c)
{
	return c->ns_work + c->ns_walk + c->ns_guest_kernel + c->ns_exit_page_fault + c->ns_exit_traced_write +
	       c->ns_exit_cr_write + c->ns_exit_invlpg + c->ns_exit_ept + c->ns_exit_hypercall + c->ns_exit_other +
	       c->ns_host_memory;
}

/* What if there are more VMs than CPUs, some asleep? Every nanosecond until the end is spent somewhere, once. */
START_TEST(test_time_adds_up)
{
	struct text_run t = sim_run("[experiment]\nduration = 5 ms\nsample-interval = 700 us\n"
				    "[host]\ncpus = 2\nmemory = 1 GiB\npage-size = 2M\n"
				    "[vm a]\ncount = 2\nmemory = 64 MiB\nworkload = w\ndirty-log = wrprotect\n"
				    "dirty-interval = 300 us\n[vm b]\nmemory = 64 MiB\npaging = shadow\nworkload = w\n"
				    "[vm c]\nmemory = 64 MiB\nworkload = s\n[workload w]\nphases = p\n[phase p]\n"
				    "pattern = uniform\nsize = 4 MiB\nwrites = 30%\n[workload s]\nphases = s\n"
				    "[phase s]\npattern = uniform\nsize = 4 MiB\nthink-every = 10\n"
				    "think-time = 3 ms\n");

	for (guint n = 0; n < t.run->samples->len; n++) {
		const struct run_sample *s = &g_array_index(t.run->samples, struct run_sample, n);
		uint64_t nvms = s->vm == RUN_HOST ? 4 : 1, sum = s->counters.ns_total + s->counters.ns_idle;
		/* Counting begins when the guests have booted. */
		uint64_t passed = s->time_ns - g_array_index(t.run->samples, struct run_sample, 0).time_ns;

		ck_assert_uint_eq(s->counters.ns_total, buckets(&s->counters));
		/* A CPU may have gone on over the end of its turn, by one operation; that may give a page of 2 MiB. */
		ck_assert_msg(sum + nvms * 250000 > nvms * passed && sum < nvms * (passed + 250000),
			      "sample %u of VM %d: %lu accounted for, %lu passed", n, (int)s->vm, sum, passed);
	}
	run_text_free(&t);
}
END_TEST

/* What if the sample interval is much shorter than the timeslice? There is a row for every interval all the same. */
START_TEST(test_samples_inside_slices)
{
	struct text_run t = sim_run("[experiment]\nduration = 5 ms\nsample-interval = 100 us\n[host]\n"
				    "memory = 256 MiB\ntimeslice = 1 s\n[vm a]\nmemory = 64 MiB\n"
				    "workload = w\n[workload w]\nphases = p\n"
				    "[phase p]\npattern = uniform\nsize = 4 MiB\n");
	unsigned rows = 0;

	for (guint n = 0; n < t.run->samples->len; n++) {
		const struct run_sample *s = &g_array_index(t.run->samples, struct run_sample, n);

		if (s->vm != RUN_HOST)
			continue;
		ck_assert_uint_lt(s->time_ns - 100000 * MIN(rows, 50), 20000);
		rows++;
	}
	ck_assert_uint_ge(rows, 50);
	ck_assert_uint_le(t.run->end_ns, 5020000);
	run_text_free(&t);
}
END_TEST

/* What if a run is looked at more often? What it measures does not change. */
START_TEST(test_looking_changes_nothing)
{
	static const char *const text = "\n[host]\nmemory = 512 MiB\ntimeslice = 200 us\n"
					"[vm a]\ncount = 2\nmemory = 64 MiB\nworkload = w\n"
					"[vm b]\nmemory = 64 MiB\npaging = shadow\nworkload = w\n" GUEST;
	g_autofree char *rare = g_strconcat("[experiment]\nsample-interval = 1 s", text, NULL);
	g_autofree char *often = g_strconcat("[experiment]\nsample-interval = 7 us", text, NULL);
	struct text_run a = sim_run(rare), b = sim_run(often);

	ck_assert_uint_eq(a.run->end_ns, b.run->end_ns);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(run_text_vm(&a, i)->digest, run_text_vm(&b, i)->digest);
		for (const struct counter_info *c = counter_table; c->name; c++)
			ck_assert_msg(counter_get(&run_text_vm(&a, i)->counters, c) ==
				      counter_get(&run_text_vm(&b, i)->counters, c), "%s", c->name);
	}
	run_text_free(&a);
	run_text_free(&b);
}
END_TEST

/* What if there are more CPUs than VMs? Nobody moves without a reason, and nobody waits. */
START_TEST(test_affinity)
{
	struct text_run t = sim_run("[host]\ncpus = 4\nmemory = 512 MiB\ntimeslice = 50 us\n[vm a]\ncount = 2\n"
				    "memory = 64 MiB\nworkload = w\n" GUEST);

	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(run_text_vm(&t, i)->counters.tlb_flush_vm, 0);
		ck_assert_uint_eq(run_text_vm(&t, i)->counters.ns_idle, 0);
	}
	run_text_free(&t);
}
END_TEST

/* What if three VMs share two CPUs? Each gets two thirds of one. */
START_TEST(test_fairness)
{
	struct text_run t = sim_run("[experiment]\nduration = 12 ms\n[host]\ncpus = 2\nmemory = 512 MiB\n"
				    "timeslice = 100 us\n[vm a]\ncount = 3\nmemory = 64 MiB\nworkload = w\n"
				    "[workload w]\nphases = p\n"
				    "[phase p]\npattern = uniform\nsize = 4 MiB\n");

	for (unsigned i = 0; i < 3; i++) {
		uint64_t ns = run_text_vm(&t, i)->counters.ns_total;

		ck_assert_msg(ns > 7700000 && ns < 8300000, "VM %u ran for %lu ns", i, ns);
	}
	run_text_free(&t);
}
END_TEST

/* What if a shadow guest switches write protection off? Traces are read-only entries: the processor keeps it on. */
START_TEST(test_shadow_registers)
{
	struct text_run t;
	struct sim s = { 0 };
	struct sim_vcpu *v;

	ck_assert(load_text(&t, "[host]\nmemory = 256 MiB\n[vm a]\npaging = shadow\nmemory = 64 MiB\nworkload = w\n"
				GUEST, NULL));
	s.run = t.run;
	ck_assert_int_eq(sim_init(&s, NULL), 0);
	s.vms = g_new0(struct sim_vm *, 1);
	s.nvms = 1;
	ck_assert_ptr_nonnull(sim_vm_new(&s, run_text_vm(&t, 0), 0, NULL));
	v = &s.vms[0]->vcpu[0];
	v->regs.cr0 &= ~CR0_WP;
	v->regs.efer &= ~EFER_NX;
	sim_refresh_root(v);
	ck_assert_uint_eq(v->ctx.regs->cr0 & CR0_WP, CR0_WP);
	ck_assert_uint_eq(v->ctx.regs->efer & EFER_NX, EFER_NX);
	ck_assert_uint_eq(v->ctx.regs->cr3, v->regs.cr3);
	sim_destroy(&s);
	run_text_free(&t);
}
END_TEST

#define SWAPPING                                                                                                       \
	"[vm s]\nmemory = 64 MiB\nswap-limit = 2 MiB\nworkload = s\n[workload s]\nphases = s\n[phase s]\n"             \
	"pattern = uniform\nsize = 8 MiB\noperations = 4000\nwrites = 0%\n"

/* What if a vCPU waits for the host's swap, and another wants the CPU? That one has it meanwhile. */
START_TEST(test_waiting_gives_the_cpu_up)
{
	static const char *const host = "[host]\nmemory = 512 MiB\ntimeslice = 50 us\n"
					"[swap]\nsize = 64 MiB\ndevice = nvme\npage-cluster = 0\n";
	static const char *const busy = "[vm a]\nmemory = 64 MiB\nworkload = w\n[workload w]\nphases = p\n[phase p]\n"
					"pattern = uniform\nsize = 4 MiB\noperations = 8000000\nwrites = 30%\n";
	g_autofree char *one = g_strconcat(host, SWAPPING, NULL), *other = g_strconcat(host, busy, NULL);
	g_autofree char *two = g_strconcat(host, SWAPPING, busy, NULL);
	struct text_run a = sim_run(one), b = sim_run(other), both = sim_run(two);
	const struct counters *s = &run_text_vm(&both, 0)->counters, *w = &run_text_vm(&both, 1)->counters;
	const struct counters *h = &both.run->host;

	/* Nearly all of the first VM's time is waiting: with both, the run lasts hardly longer than the second. */
	ck_assert_uint_gt(s->ns_swap * 10, s->ns_total * 8);
	ck_assert_uint_gt(s->swap_ins, 1000);
	ck_assert_uint_lt(both.run->end_ns, b.run->end_ns + a.run->end_ns / 2);
	ck_assert_uint_ge(both.run->end_ns, w->ns_total);
	ck_assert_uint_eq(w->ns_swap, 0);
	/* Whose time is whose: of the VM that ended last it adds up, and waiting is not idleness. */
	ck_assert_uint_lt(w->ns_idle + w->ns_total, both.run->end_ns + 100000);
	ck_assert_uint_gt(w->ns_idle + w->ns_total + 20000000, both.run->end_ns);
	/* Alone, whoever waits stops the host; with another, hardly ever. */
	ck_assert_uint_le(h->ns_stall_some, s->ns_swap + s->ns_swap / 100);
	ck_assert_uint_gt(h->ns_stall_some * 10, s->ns_swap * 8);
	ck_assert_uint_lt(h->ns_stall_full * 5, h->ns_stall_some);
	ck_assert_uint_gt(a.run->host.ns_stall_full * 10, a.run->host.ns_stall_some * 9);
	ck_assert_uint_eq(b.run->host.ns_stall_some, 0);
	ck_assert_uint_eq(run_text_vm(&both, 0)->digest, run_text_vm(&a, 0)->digest);
	run_text_free(&a);
	run_text_free(&b);
	run_text_free(&both);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sim-loop");
	TCase *tc = tcase_create("sim-loop");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_time_adds_up);
	tcase_add_test(tc, test_samples_inside_slices);
	tcase_add_test(tc, test_looking_changes_nothing);
	tcase_add_test(tc, test_affinity);
	tcase_add_test(tc, test_fairness);
	tcase_add_test(tc, test_shadow_registers);
	tcase_add_test(tc, test_waiting_gives_the_cpu_up);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
