/* SPDX-License-Identifier: MIT */
/*
 * test_modes.c - what if a paging mode changed what the guest computes?
 *
 * In lockstep the digest and the guest kernel's counts are the same in every paging mode, whatever processor, page
 * sizes, levels and bounds the VMM works with. Held for random programs (pattern `mix`) under random configurations,
 * and for the shipped experiments.
 */
#include <check.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "vmm/vmm.h"
#include "workloads/rng.h"

static struct run *run_file(const char *path, const char *const *sets)
{
	g_autoptr(GPtrArray) overrides = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);
	GError *error = NULL;

	for (unsigned i = 0; sets[i]; i++) {
		struct override *o = override_parse(sets[i], &error);

		ck_assert_msg(o != NULL, "%s: %s", sets[i], error ? error->message : "");
		g_ptr_array_add(overrides, o);
	}
	struct experiment *e = experiment_load(path, overrides, &error);

	ck_assert_msg(e != NULL, "%s", error ? error->message : "");

	struct run *r = run_new(e, e->experiment.seed);

	ck_assert_msg(backend_sim.run(r, &error), "%s", error ? error->message : "");
	return r;
}

static void run_done(struct run *r)
{
	struct experiment *e = (struct experiment *)r->e;

	run_free(r);
	experiment_free(e);
}

#define SAME(counter)                                                                                                  \
	ck_assert_msg(a->counters.counter == b->counters.counter, "%s: VM %s: " #counter " %lu in native, %lu in %s",  \
		      what, a->name, a->counters.counter, b->counters.counter, mode)

static void compare(const struct run *native, const struct run *other, const char *mode, const char *what)
{
	for (guint i = 0; i < native->vms->len; i++) {
		const struct run_vm *a = g_ptr_array_index(native->vms, i), *b = g_ptr_array_index(other->vms, i);

		ck_assert_msg(!a->failure, "%s: native: %s", what, a->failure);
		ck_assert_msg(!b->failure, "%s: %s: %s", what, mode, b->failure);
		SAME(operations);
		SAME(guest_faults);
		SAME(guest_faults_demand);
		SAME(guest_faults_cow);
		SAME(guest_forks);
		SAME(guest_exits);
		SAME(guest_switches);
		SAME(guest_mmaps);
		SAME(guest_munmaps);
		SAME(guest_mprotects);
		SAME(guest_pages_free);
		ck_assert(a->has_digest && b->has_digest);
		ck_assert_msg(a->digest == b->digest, "%s: VM %s: digest %016lx in native, %016lx in %s", what, a->name,
			      a->digest, b->digest, mode);
	}
}

static const char *const modes[] = { "vm.paging=shadow", "vm.paging=ept", "vm.paging=pv" };

static void all_modes(const char *path, const char *const *sets, const char *what)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new();

	for (unsigned i = 0; sets[i]; i++)
		g_ptr_array_add(all, (gpointer)sets[i]);
	g_ptr_array_add(all, "experiment.schedule=lockstep");
	g_ptr_array_add(all, "vm.paging=native");
	g_ptr_array_add(all, "vm.dirty-log=none"); /* native memory cannot be logged */
	g_ptr_array_add(all, NULL);

	struct run *native = run_file(path, (const char *const *)all->pdata);

	g_ptr_array_set_size(all, (gint)all->len - 2);
	g_ptr_array_add(all, NULL);
	for (unsigned m = 0; m < G_N_ELEMENTS(modes); m++) {
		all->pdata[all->len - 2] = (gpointer)modes[m];

		struct run *other = run_file(path, (const char *const *)all->pdata);

		compare(native, other, modes[m] + 10, what);
		run_done(other);
	}
	run_done(native);
}

static const char *pick(struct rng *r, const char *a, const char *b, const char *c)
{
	const char *of[] = { a, b, c };

	return of[rng_below(r, c ? 3 : 2)];
}

/* A random program under a random configuration. */
static char *random_experiment(uint64_t seed)
{
	const char *page_size;
	struct rng r;

	rng_seed(&r, seed);
	page_size = pick(&r, "4K", "2M", NULL);
	return g_strdup_printf(
		"[experiment]\nseed = %lu\nschedule = lockstep\nquantum = %s\n"
		"[host]\ncpus = 1\nmemory = 512 MiB\npage-size = %s\nprofile = %s\n"
		"[vm a]\ncount = %s\nmemory = 64 MiB\nlevels = %s\nhost-levels = %s\nmax-leaf = %s\npcid = %s\n"
		"unsync = %s\nshadow-limit = %s\nflood-limit = %s\nept-ad = %s\ndirty-log = %s\n"
		"dirty-interval = 50 us\n"
		"collapse = %s\nworkload = w\n"
		"[workload w]\nprocesses = %s\nphases = warm, mix, child\n"
		"[phase warm]\npattern = uniform\nregion = shared\nsize = %s\npage-size = %s\noperations = 500\n"
		"writes = 50%%\n"
		"[phase mix]\npattern = mix\nsize = %s\noperations = %s\nwrites = 40%%\nforks = child\ncalls = %s\n"
		"[phase child]\npattern = uniform\nregion = shared\nsize = %s\npage-size = %s\nchild = yes\n"
		"operations = 40\n"
		"writes = 60%%\n",
		seed, pick(&r, "100", "1000", "37"), pick(&r, "4K", "2M", NULL), pick(&r, "icelake-sp", "zen3", NULL),
		pick(&r, "1", "2", NULL), pick(&r, "4", "5", NULL), pick(&r, "4", "5", NULL),
		pick(&r, "4K", "2M", "1G"), pick(&r, "yes", "no", NULL), pick(&r, "yes", "no", NULL),
		pick(&r, "16", "64", "0"), pick(&r, "3", "1", "10"), pick(&r, "yes", "no", NULL),
		pick(&r, "none", "wrprotect", NULL), pick(&r, "0", "100 us", NULL), pick(&r, "1", "2", "3"), "4 MiB",
		page_size, pick(&r, "256 KiB", "2 MiB", "64 KiB"), pick(&r, "1500", "4000", NULL),
		pick(&r, "5%", "20%", "50%"), "4 MiB", page_size);
}

START_TEST(what_if_a_random_program_runs_in_each_mode)
{
	uint64_t seed = 1 + (uint64_t)_i;
	g_autofree char *text = random_experiment(seed), *path = NULL;
	g_autofree char *what = g_strdup_printf("seed %lu", seed);
	const char *none[] = { NULL };
	int fd = g_file_open_tmp("overbook-XXXXXX.ini", &path, NULL);

	ck_assert(fd >= 0);
	close(fd);
	ck_assert(g_file_set_contents(path, text, -1, NULL));
	all_modes(path, none, what);
	g_unlink(path);
}
END_TEST

/* Shipped experiments, shortened where they would run for long. What they vary is varied here. */
static const struct {
	const char *path, *set[5];
} shipped[] = {
	{ "workloads/hello.ini", { NULL } },
	{ "workloads/walk-references.ini", { "experiment.digest=yes", "vm.levels=5", "vm.host-levels=4", NULL } },
	{ "workloads/paging-modes.ini",
	  { "experiment.warm-up=0", "experiment.duration=15 ms", "phase sort-wait.think-time=0", NULL } },
};

START_TEST(what_if_a_shipped_experiment_runs_in_each_mode)
{
	all_modes(shipped[_i].path, shipped[_i].set, shipped[_i].path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("modes");
	TCase *t = tcase_create("digest");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, what_if_a_random_program_runs_in_each_mode, 0, 24);
	tcase_add_loop_test(t, what_if_a_shipped_experiment_runs_in_each_mode, 0, G_N_ELEMENTS(shipped));
	suite_add_tcase(s, t);
	return suite_run(s);
}
