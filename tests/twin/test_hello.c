/* SPDX-License-Identifier: MIT */
/*
 * test_hello.c - the simulator against the processor
 *
 * The twin rule (docs/twin.md) for ept in lockstep: the same experiment on both machines ends with the same
 * digest, and with the same counts of everything that guest kernel and memory manager count.
 */
#include <check.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

/* Counters that do not depend on what a machine has in its TLBs or how long it took. */
static const char *const twin_counters[] = {
	"accesses", "reads", "writes", "operations", "quanta",
	"guest_faults", "guest_faults_demand", "guest_faults_cow", "guest_faults_segv", "guest_faults_spurious",
	"guest_forks", "guest_exits", "guest_switches", "guest_mmaps", "guest_munmaps", "guest_mprotects",
	"guest_pte_writes", "guest_oom_kills", "guest_pages_free",
	"faults_absent", "faults_prefetch", "faults_dma", "pages_resident", "pages_released", "exits_halt",
	"exits", "exits_ept_violation", "exits_hypercall", "ept_maps", "table_frames", "faults_spurious",
};

static void compare_counters(const struct run_vm *sim, const struct run_vm *kvm, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct counter_info *c = counter_table;

		while (c->name && strcmp(c->name, names[i]))
			c++;
		ck_assert_ptr_nonnull(c->name);
		ck_assert_msg(counter_get(&sim->counters, c) == counter_get(&kvm->counters, c),
			      "%s: %s is %" G_GUINT64_FORMAT " on sim, %" G_GUINT64_FORMAT " on kvm", sim->name,
			      c->name, counter_get(&sim->counters, c), counter_get(&kvm->counters, c));
	}
}

static void compare(const struct run_vm *sim, const struct run_vm *kvm)
{
	ck_assert_msg(!sim->failure, "sim: %s", sim->failure);
	ck_assert_msg(!kvm->failure, "kvm: %s", kvm->failure);
	compare_counters(sim, kvm, twin_counters, G_N_ELEMENTS(twin_counters));
	ck_assert(sim->has_digest && kvm->has_digest);
	ck_assert_uint_eq(sim->digest, kvm->digest);
}

static void twins(gboolean (*run)(struct text_run *, const struct backend *, const char *, GError **), const char *what)
{
	struct text_run sim, kvm;
	GError *error = NULL;

	ck_assert_msg(run(&sim, &backend_sim, what, &error), "sim: %s", error ? error->message : "?");
	ck_assert_msg(run(&kvm, &backend_kvm, what, &error), "kvm: %s", error ? error->message : "?");
	ck_assert_uint_eq(sim.run->vms->len, kvm.run->vms->len);
	ck_assert_uint_eq(sim.run->end_ns, kvm.run->end_ns);
	for (unsigned i = 0; i < sim.run->vms->len; i++)
		compare(run_text_vm(&sim, i), run_text_vm(&kvm, i));
	run_text_free(&sim);
	run_text_free(&kvm);
}

START_TEST(hello)
{
	twins(run_file, "workloads/hello.ini");
}
END_TEST

#define EXPERIMENT "[experiment]\nschedule = lockstep\nquantum = 300\nseed = 7\n"

static const char *const small[] = {
	/* several VMs, processes, patterns; large pages in the guest */
	EXPERIMENT "[vm a]\ncount = 2\nmemory = 64 MiB\nworkload = w\n[workload w]\nprocesses = 3\nphases = u, s, z\n"
		   "[phase u]\npattern = uniform\nsize = 1 MiB\noperations = 2000\n"
		   "[phase s]\npattern = sequential\nsize = 2 MiB\npage-size = 2M\noperations = 500\n"
		   "[phase z]\npattern = zipf\nregion = u\nsize = 1 MiB\noperations = 2000\nwrites = 80%\n",
	/* copy-on-write */
	EXPERIMENT "[vm a]\nmemory = 64 MiB\nworkload = w\n[workload w]\nprocesses = 2\nphases = i, f, c\n"
		   "[phase i]\npattern = uniform\nregion = r\nsize = 128 KiB\noperations = 700\n"
		   "contents = text\n"
		   "[phase f]\npattern = fork\nregion = r\nsize = 128 KiB\noperations = 30\nforks = c\n"
		   "[phase c]\npattern = uniform\nchild = yes\nregion = r\nsize = 128 KiB\noperations = 150\n"
		   "writes = 50%\n",
	/* mappings that come and go, contents, sleeps */
	EXPERIMENT "[vm a]\nmemory = 64 MiB\nworkload = w\n[workload w]\nprocesses = 2\nphases = m, c, t\n"
		   "[phase m]\npattern = mmap\nsize = 1 MiB\noperations = 800\n"
		   "[phase c]\npattern = content\nsize = 256 KiB\noperations = 300\ncontents = pointer:7\n"
		   "[phase t]\npattern = chase\nsize = 256 KiB\noperations = 2000\nthink-time = 33 us\n"
		   "think-every = 70\n",
	/* large pages in the host */
	EXPERIMENT "[host]\npage-size = 2M\n[vm a]\nmemory = 64 MiB\nworkload = w\n[workload w]\nphases = u\n"
		   "[phase u]\npattern = uniform\nsize = 8 MiB\noperations = 3000\n",
	/* a guest that runs out of memory and kills */
	EXPERIMENT "[vm a]\nmemory = 16 MiB\nworkload = w\n[workload w]\nprocesses = 3\nphases = s\n"
		   "[phase s]\npattern = sequential\nstep = 4 KiB\nsize = 4 MiB\noperations = 1500\n",
};

START_TEST(small_ones)
{
	twins(run_text, small[_i]);
}
END_TEST

static const char *pick(struct rng *r, const char *a, const char *b, const char *c)
{
	const char *of[] = { a, b, c };

	return of[rng_below(r, 3)];
}

/* What if processes do anything at all? */
START_TEST(random_ones)
{
	struct rng r;
	const char *large;
	char *text;

	rng_seed(&r, 100 + (uint64_t)_i);
	large = pick(&r, "4K", "2M", "4K");
	text = g_strdup_printf("[experiment]\nschedule = lockstep\nquantum = %s\nseed = %d\n"
			       "[host]\nmemory = 256 MiB\npage-size = %s\n"
			       "[vm a]\ncount = %s\nmemory = %s\nworkload = w\n"
			       "[workload w]\nprocesses = %s\nphases = warm, mix, child\n"
			       "[phase warm]\npattern = uniform\nregion = r\nsize = 4 MiB\npage-size = %s\n"
			       "operations = 99\n"
			       "[phase mix]\npattern = mix\nsize = %s\noperations = %s\nforks = child\ncalls = %s\n"
			       "[phase child]\npattern = uniform\nchild = yes\nregion = r\nsize = 4 MiB\n"
			       "page-size = %s\noperations = 40\nwrites = 60%%\n",
			       pick(&r, "100", "1000", "37"), _i + 1, pick(&r, "4K", "4K", "2M"),
			       pick(&r, "1", "1", "2"), pick(&r, "32 MiB", "64 MiB", "128 MiB"),
			       pick(&r, "1", "2", "3"), large,
			       pick(&r, "64 KiB", "256 KiB", "2 MiB"), pick(&r, "300", "700", "1500"),
			       pick(&r, "5%", "20%", "40%"), large);
	twins(run_text, text);
	g_free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("twin");
	TCase *c = tcase_create("sim and kvm");

	if (!kvm_or_skip())
		return 0;
	tcase_set_timeout(c, 120);
	tcase_add_test(c, hello);
	tcase_add_loop_test(c, small_ones, 0, G_N_ELEMENTS(small));
	tcase_add_loop_test(c, random_ones, 0, 5);
	suite_add_tcase(s, c);
	return suite_run(s);
}
