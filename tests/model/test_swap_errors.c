/* SPDX-License-Identifier: MIT */
/*
 * Devices that fail, and hosts that run out of everything: the run goes on, who ends says why, and the others compute
 * what they would have on a host with memory for all.
 */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

enum { VMS = 4 };

static const char experiment[] =
	"[experiment]\nschedule = %s\nsample-interval = 0\nseed = %d\n"
	"[host]\ncpus = 2\nmemory = %s\n"
	"[swap]\nlow-watermark = 3%%\nhigh-watermark = 5%%\n%s\n"
	"[vm a]\ncount = 2\nmemory = 48 MiB\npaging = %s\nworkload = w\n"
	"[vm b]\ncount = 2\nmemory = 48 MiB\npaging = %s\nworkload = f\n"
	"[workload w]\nphases = load, use\n"
	"[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 12 MiB\noperations = 3000\n"
	"writes = 80%%\ncontents = text\n"
	"[phase use]\npattern = zipf\nregion = r\nsize = 12 MiB\noperations = 3000\n"
	"[workload f]\nphases = start, storm, child\n"
	"[phase start]\npattern = sequential\nstep = 4 KiB\nregion = s\nsize = 8 MiB\noperations = 2048\n"
	"writes = 100%%\ncontents = random\n"
	"[phase storm]\npattern = fork\nforks = child\ntouches = 200\nwait-every = 2\nregion = s\nsize = 8 MiB\n"
	"operations = 500\nwrites = 50%%\n"
	"[phase child]\npattern = uniform\nchild = yes\nregion = s\nsize = 8 MiB\noperations = 200\nwrites = 40%%\n";

static const char *const worlds[][2] = { { "lockstep", "ept" }, { "lockstep", "shadow" }, { "free", "ept" },
					 { "free", "pv" } };

static void run(struct text_run *t, const char *const *world, int seed, const char *memory, const char *swap)
{
	g_autofree char *text = g_strdup_printf(experiment, world[0], seed, memory, swap, world[1], world[1]);
	GError *error = NULL;

	if (!run_text(t, &backend_sim, text, &error))
		ck_abort_msg("%s", error->message);
}

static struct counters sum(const struct text_run *t)
{
	struct counters c = { 0 };

	for (unsigned i = 0; i < VMS; i++)
		counters_add(&c, &run_text_vm(t, i)->counters);
	return c;
}

/* Who did not fail has the digest of the large host; who did has one of @why ('|' between). Returns how many failed. */
static unsigned compare(const struct text_run *t, const struct text_run *large, const char *why)
{
	g_auto(GStrv) words = g_strsplit(why, "|", -1);
	unsigned failed = 0;

	for (unsigned i = 0; i < VMS; i++) {
		const struct run_vm *a = run_text_vm(t, i), *b = run_text_vm(large, i);
		bool named = false;

		if (!a->failure) {
			must(a->has_digest && a->digest == b->digest);
			must_eq(a->counters.accesses, b->counters.accesses);
			continue;
		}
		for (char **w = words; *w; w++)
			named = named || strstr(a->failure, *w);
		if (!named)
			ck_abort_msg("%s: %s", a->name, a->failure);
		/* Its memory has gone to the others. */
		must_eq(a->counters.pages_resident + a->counters.pages_swapped + a->counters.pages_compressed, 0);
		must(!a->has_digest);
		failed++;
	}
	return failed;
}

#define SWAP "size = 256 MiB\n"

/* What if the device fails to write a page now and then, or always? It stays in memory; nothing is lost. */
START_TEST(failed_writes_lose_nothing)
{
	struct text_run t, large;

	run(&large, worlds[_i], 1, "256 MiB", "");
	run(&t, worlds[_i], 1, "44 MiB", SWAP "write-error-rate = 30%");
	must_eq(compare(&t, &large, "-"), 0);
	must(sum(&t).swap_write_errors > 100 && sum(&t).swap_writes > 1000);
	must_eq(sum(&t).swap_read_errors, 0);
	run_text_free(&t);
	/* A compressed tier takes what the device does not. */
	run(&t, worlds[_i], 1, "52 MiB", SWAP "write-error-rate = 100%\ncompressed-pool = 20 MiB");
	compare(&t, &large, "no memory left");
	must(sum(&t).swap_writes == 0 && sum(&t).swap_compressed > 100);
	run_text_free(&t);
	run_text_free(&large);
}
END_TEST

/* What if it fails to read? The VM that needed the page ends and says so; the others go on. */
START_TEST(failed_reads_end_who_needs_them)
{
	struct text_run t, large;
	unsigned failed = 0;

	run(&large, worlds[_i], 1, "256 MiB", "");
	run(&t, worlds[_i], 1, "44 MiB", SWAP "read-error-rate = 0.1%");
	failed = compare(&t, &large, "machine check");
	must(failed > 0 && sum(&t).swap_read_errors >= failed);
	run_text_free(&t);
	run(&t, worlds[_i], 1, "44 MiB", SWAP "read-error-rate = 100%\npage-cluster = 0");
	failed = compare(&t, &large, "machine check");
	must(failed > 0 && sum(&t).swap_read_errors == failed && sum(&t).swap_ins == sum(&t).faults_compressed);
	run_text_free(&t);
	run_text_free(&large);
}
END_TEST

/* What if it breaks in the middle of the run? Those end that need what is there; who is left has the memory. */
START_TEST(device_breaks)
{
	struct text_run t, large;

	run(&large, worlds[_i], 1, "256 MiB", "");
	run(&t, worlds[_i], 1, "44 MiB", SWAP "fails-at = 300 us");
	must(compare(&t, &large, "machine check|no memory left") > 0);
	must(sum(&t).swap_read_errors > 0 || sum(&t).swap_write_errors > 0);
	run_text_free(&t);
	run_text_free(&large);
}
END_TEST

/* What if the device fills? Who cannot go on ends, out of memory; the others get what it had. */
START_TEST(device_fills)
{
	struct text_run t, large;
	unsigned failed;

	run(&large, worlds[_i], 1, "256 MiB", "");
	run(&t, worlds[_i], 1, "44 MiB", "size = 2 MiB");
	failed = compare(&t, &large, "no memory left|no host memory");
	must(failed > 0 && failed < VMS);
	run_text_free(&t);
	run(&t, worlds[_i], 1, "44 MiB", "size = 0");
	failed = compare(&t, &large, "no memory left|no host memory");
	must(failed > 0 && failed < VMS);
	run_text_free(&t);
	run_text_free(&large);
}
END_TEST

/* What if everything fails now and then, and latencies vary? The same seed gives the same run. */
START_TEST(misfortune_is_reproducible)
{
	static const char *const swap = SWAP "latency = spread\ndevice = ssd\nread-error-rate = 0.05%\n"
					     "write-error-rate = 5%\ncompressed-pool = 4 MiB\nwriteback = yes";
	struct text_run t[2];

	for (int i = 0; i < 2; i++)
		run(&t[i], worlds[_i], 3, "44 MiB", swap);
	for (unsigned i = 0; i < VMS; i++) {
		const struct run_vm *a = run_text_vm(&t[0], i), *b = run_text_vm(&t[1], i);

		must(!g_strcmp0(a->failure, b->failure));
		must(!memcmp(&a->counters, &b->counters, sizeof(a->counters)));
	}
	run_text_free(&t[0]);
	run_text_free(&t[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap errors");
	TCase *t = tcase_create("swap errors");
	const int n = G_N_ELEMENTS(worlds);

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, failed_writes_lose_nothing, 0, n);
	tcase_add_loop_test(t, failed_reads_end_who_needs_them, 0, n);
	tcase_add_loop_test(t, device_breaks, 0, n);
	tcase_add_loop_test(t, device_fills, 0, n);
	tcase_add_loop_test(t, misfortune_is_reproducible, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
