/* SPDX-License-Identifier: MIT */
/*
 * test_devices.c - guests with devices and what the host does beside them: the simulator against the processor
 *
 * The twin rule (docs/twin.md) for ept in lockstep: all that is counted, but for what only a modelled processor has,
 * is the same; so are the digests, and so is the time.
 */
#include <check.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

/* Beginnings of names: what depends on a TLB, a cache or a clock, or on seeing each store of the guest. */
static const char *const own[] = { "tlb_", "walk", "pwc_", "ntlb_", "ad_updates", "cache_", "numa_", "ns_",
				   "swap_false_reads", "wss_truth" };

static bool comparable(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(own); i++)
		if (g_str_has_prefix(name, own[i]))
			return false;
	return true;
}

static unsigned compare_counters(const char *of, const struct counters *sim, const struct counters *kvm)
{
	unsigned differ = 0;

	for (const struct counter_info *c = counter_table; c->name; c++) {
		if (!comparable(c->name) || counter_get(sim, c) == counter_get(kvm, c))
			continue;
		g_printerr("%s: %s is %" G_GUINT64_FORMAT " on sim, %" G_GUINT64_FORMAT " on kvm\n", of, c->name,
			   counter_get(sim, c), counter_get(kvm, c));
		differ++;
	}
	return differ;
}

static void compare(const struct run_vm *sim, const struct run_vm *kvm)
{
	ck_assert_msg(!sim->failure, "sim: %s", sim->failure);
	ck_assert_msg(!kvm->failure, "kvm: %s", kvm->failure);
	ck_assert_msg(!compare_counters(sim->name, &sim->counters, &kvm->counters), "%s: counts differ",
		      sim->name);
	ck_assert(sim->has_digest && kvm->has_digest);
	ck_assert_uint_eq(sim->digest, kvm->digest);
}

static void twins(const char *text, struct text_run *kvm)
{
	struct text_run sim;
	GError *error = NULL;

	ck_assert_msg(run_text(&sim, &backend_sim, text, &error), "sim: %s", error ? error->message : "?");
	ck_assert_msg(run_text(kvm, &backend_kvm, text, &error), "kvm: %s", error ? error->message : "?");
	for (unsigned i = 0; i < sim.run->vms->len; i++)
		compare(run_text_vm(&sim, i), run_text_vm(kvm, i));
	ck_assert_uint_eq(sim.run->end_ns, kvm->run->end_ns);
	run_text_free(&sim);
}

#define LOCKSTEP "[experiment]\nschedule = lockstep\nquantum = 500\nseed = 3\n"
#define BUSY     "[workload w]\nprocesses = 2\nphases = a, b\n" \
		 "[phase a]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 4 MiB\noperations = 1024\n" \
		 "writes = 100%\n" \
		 "[phase b]\npattern = uniform\nregion = r\nsize = 4 MiB\noperations = 20000\nwrites = 30%\n"

static const struct {
	const char *what, *text;
	const char *counter; /* that must not be 0, lest nothing was tried */
} pairs[] = {
	{ "a balloon that swells and shrinks",
	  LOCKSTEP "[vm a]\ncount = 2\nmemory = 32 MiB\nballoon-target = 8 MiB\nballoon-from = 300 us\n"
		   "balloon-until = 2 ms\nballoon-period = 3 ms\nworkload = w\n[balloon]\ninterval = 100 us\n" BUSY,
	  "balloon_inflated" },
	{ "statistics, free pages reported and hinted",
	  LOCKSTEP "[vm a]\nmemory = 32 MiB\nballoon-target = 4 MiB\nworkload = w\n"
		   "[balloon]\nstats-interval = 500 us\nreporting = yes\nreporting-delay = 200 us\n"
		   "free-page-hint = yes\nhint-interval = 1 ms\n" BUSY,
	  "balloon_reports" },
	{ "a disk with files",
	  LOCKSTEP "[vm a]\nmemory = 32 MiB\ndisk = 16 MiB\nworkload = w\n"
		   "[workload w]\nphases = f\n[phase f]\npattern = zipf\nbacking = file\nsize = 8 MiB\n"
		   "operations = 20000\nwrites = 20%\n",
	  "blk_reads" },
	{ "a guest that swaps",
	  LOCKSTEP "[vm a]\nmemory = 24 MiB\nguest-swap = 64 MiB\ndisk-device = ssd\nworkload = w\n"
		   "[workload w]\nprocesses = 2\nphases = u\n[phase u]\npattern = uniform\nsize = 9 MiB\n"
		   "operations = 12000\nwrites = 50%\n",
	  "guest_swap_outs" },
	{ "sleepers, a disk and a balloon",
	  LOCKSTEP "[vm a]\nmemory = 32 MiB\ndisk = 8 MiB\nballoon-target = 2 MiB\nworkload = w\n"
		   "[workload w]\nprocesses = 3\nphases = f\n[phase f]\npattern = uniform\nbacking = file\n"
		   "size = 4 MiB\noperations = 3000\nthink-time = 150 us\nthink-every = 100\n",
	  "exits_halt" },
	{ "a policy that blows balloons up",
	  "[host]\nmemory = 72 MiB\n" LOCKSTEP
	  "[vm a]\ncount = 2\nmemory = 64 MiB\nballoon = yes\nworkload = w\n"
	  "[balloon]\ninterval = 100 us\n[policy]\nname = proportional\ninterval = 500 us\n"
	  "[workload w]\nprocesses = 2\nphases = a\n[phase a]\npattern = sequential\nstep = 4 KiB\nsize = 12 MiB\n"
	  "operations = 9000\nwrites = 50%\n",
	  "balloon_inflated" },
	{ "a guest that poisons what it frees, and one that starts late",
	  LOCKSTEP "[vm a]\nmemory = 24 MiB\npage-poison = aa\nreporting = no\nworkload = w\n"
		   "[vm b]\nmemory = 24 MiB\nstart = 1 ms\nworkload = w\n" BUSY,
	  "guest_exits" },
};

START_TEST(pair)
{
	struct text_run kvm;

	twins(pairs[_i].text, &kvm);
	for (const struct counter_info *c = counter_table; c->name; c++)
		if (!strcmp(c->name, pairs[_i].counter))
			ck_assert_msg(counter_get(&run_text_vm(&kvm, 0)->counters, c) > 0, "%s: nothing happened",
				      pairs[_i].what);
	run_text_free(&kvm);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("devices");
	TCase *c = tcase_create("sim and kvm");

	if (!kvm_or_skip())
		return 0;
	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, pair, 0, G_N_ELEMENTS(pairs));
	suite_add_tcase(s, c);
	return suite_run(s);
}
