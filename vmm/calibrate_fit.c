/* SPDX-License-Identifier: MIT */
/*
 * calibrate_fit.c - costs that only a whole guest shows, from runs of it on both machines
 *
 * Problem: what a guest kernel's page fault costs, or an operation of a generator, is not a loop one can write down: it
 * is the lab's own guest on this KVM, exits, stub and memory manager included.
 *
 * Idea: let small experiments run on both machines. Each is run twice, differing in one number, so that what it begins
 * with drops out, and what is left is so many *events* more of one kind. A field of the profile is then set such that
 * the simulator takes as much longer as the processor did:
 *
 *	field += (longer on kvm - longer on sim) / events / ns a cycle
 *
 * The simulator's time is linear in each cost, so one step is exact; and each experiment of the table below depends on
 * fields that stand before it, so one pass is enough. A cost cannot be negative: it becomes 0 then, and what is too
 * much stays too much. Of several rounds the fastest of each run counts: others on the host only ever add to a time.
 * For the same reason a run's time is its CPU time, vCPUs, fault thread and memory manager together, not the wall's.
 *
 * Invariant (tests/cli/check_calibrate.sh): a profile with the fitted fields loads.
 */
#include "vmm/calibrate_fit.h"

#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIT_HEAD                                                                                               \
	"[experiment]\nschedule = lockstep\nsample-interval = 0\ndigest = no\n"                                \
	"[host]\nmemory = 512 MiB\n[vm fit]\nmemory = 128 MiB\nworkload = fit\n[workload fit]\nphases = fit\n"

#define FIT_WARM   "[phase fit]\npattern = zipf\nsize = 2 MiB\nwrites = 30%\noperations = 200000\n"
#define FIT_SWITCH "processes = 2\n[phase fit]\npattern = switch\nsize = 256 KiB\naccesses = 1\noperations = 1\n"
#define FIT_CHURN  "[phase fit]\npattern = mmap\nsize = 1 MiB\narea = 64 KiB\noperations = 1\n"
#define FIT_TOUCH  "[phase fit]\npattern = sequential\nstep = 4 KiB\nwrites = 100%\nsize = 24 MiB\noperations = 1\n"
#define OPERATIONS(n) "phase fit.operations=" n

/* In order: each may use what those before it have found out. */
static const struct fit {
	const char *field, *event; /* a cost of the profile, and the counter of what costs it */
	const char *paging, *text; /* the rest of FIT_HEAD */
	const char *few, *many;	   /* overrides */
} fits[] = {
	{ "op_cycles", "operations", "ept", FIT_WARM, OPERATIONS("200000"), OPERATIONS("1200000") },
	{ "handle_hypercall", "quanta", "ept", FIT_WARM, "experiment.quantum=1000", "experiment.quantum=100" },
	{ "syscall_cycles", "guest_switches", "ept", FIT_SWITCH, OPERATIONS("2000"), OPERATIONS("8000") },
	{ "exception_cycles", "guest_faults", "ept", FIT_CHURN, OPERATIONS("2000"), OPERATIONS("14000") },
	{ "handle_ept", "exits_ept_violation", "ept", FIT_TOUCH, OPERATIONS("1000"), OPERATIONS("5000") },
	{ "handle_cr", "exits_cr_write", "shadow", FIT_SWITCH, OPERATIONS("2000"), OPERATIONS("8000") },
	{ "handle_page_fault", "exits_page_fault", "shadow", FIT_TOUCH, OPERATIONS("1000"), OPERATIONS("5000") },
	{ "handle_invlpg", "exits_invlpg", "shadow", FIT_CHURN, OPERATIONS("2000"), OPERATIONS("14000") },
};

static GPtrArray *overrides(const char *const *set, GError **error)
{
	GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);

	for (; *set; set++) {
		struct override *o = override_parse(*set, error);

		if (!o) {
			g_ptr_array_unref(all);
			return NULL;
		}
		g_ptr_array_add(all, o);
	}
	return all;
}

static gboolean add_up(const struct run *r, struct fit_run *out, GError **error)
{
	*out = (struct fit_run){ 0 };
	for (guint i = 0; i < r->vms->len; i++) {
		const struct run_vm *vm = g_ptr_array_index(r->vms, i);

		if (vm->failure) {
			g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\": %s", vm->name, vm->failure);
			return FALSE;
		}
		counters_add(&out->sum, &vm->counters);
	}
	out->ns = (double)out->sum.ns_total;
	return TRUE;
}

/* Of all threads, the time of guests included. */
static double process_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

gboolean fit_run(const struct backend *machine, const char *path, const char *const *set, struct fit_run *out,
		 GError **error)
{
	g_autoptr(GPtrArray) all = overrides(set, error);
	struct experiment *e = all ? experiment_load(path, all, error) : NULL;
	struct run *r = e ? run_new(e, e->experiment.seed) : NULL;
	double begin = process_cpu_ns();
	gboolean ok = r && machine->run(r, error) && add_up(r, out, error);

	if (ok && machine != &backend_sim)
		out->ns = process_cpu_ns() - begin;
	if (ok && r->interrupted) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "interrupted");
		ok = FALSE;
	}
	run_free(r);
	if (e)
		experiment_free(e);
	return ok;
}

static uint64_t count(const struct fit_run *r, const char *name)
{
	const struct counter_info *c = counter_table;

	while (c->name && strcmp(c->name, name))
		c++;
	g_assert(c->name);
	return counter_get(&r->sum, c);
}

struct pair {
	struct fit_run few, many;
};

static gboolean run_pair(const struct backend *machine, const struct fit *f, const char *path, const char *profile,
			 struct pair *out, GError **error)
{
	g_autofree char *paging = g_strdup_printf("vm.paging=%s", f->paging);
	g_autofree char *use = g_strdup_printf("host.profile=%s", profile);
	const char *few[] = { paging, use, f->few, NULL }, *many[] = { paging, use, f->many, NULL };

	return fit_run(machine, path, few, &out->few, error) && fit_run(machine, path, many, &out->many, error);
}

static char *no_comment(const char *field, void *ctx)
{
	(void)field;
	(void)ctx;
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Where the field must be so that the simulator takes @longer_ns more, too. */
static double solve(const struct sim_profile *p, const struct fit *f, const struct pair *sim, double longer_ns)
{
	g_autofree char *now = profile_get(p, f->field);
	double events = (double)(count(&sim->many, f->event) - count(&sim->few, f->event));
	double sim_ns = sim->many.ns - sim->few.ns;
	double cycles = g_ascii_strtod(now, NULL) + (longer_ns - sim_ns) / events * p->mhz / 1000;

	return CLAMP(cycles, 0, 1e9);
}

static gboolean fit_one(const struct calibration *c, struct sim_profile *p, const struct fit *f, const char *path,
			const char *profile, struct fitted *out, GError **error)
{
	const unsigned rounds = MIN(c->rounds, 3);
	double longer[CALIBRATE_ROUNDS], few = INFINITY, many = INFINITY;
	struct pair sim, kvm;

	for (unsigned r = 0; r < rounds; r++) {
		if (!run_pair(&backend_kvm, f, path, profile, &kvm, error))
			return FALSE;
		longer[r] = kvm.many.ns - kvm.few.ns;
		few = MIN(few, kvm.few.ns);
		many = MIN(many, kvm.many.ns);
	}
	if (!run_pair(&backend_sim, f, path, profile, &sim, error))
		return FALSE;
	qsort(longer, rounds, sizeof(*longer), by_value);
	out->kvm_ns = many - few;
	out->events = (double)(count(&sim.many, f->event) - count(&sim.few, f->event));
	if (out->events <= 0) {
		out->why = g_strdup("the experiment has no such event");
		return TRUE;
	}
	out->low = solve(p, f, &sim, longer[rounds / 4]);
	out->high = solve(p, f, &sim, longer[rounds - 1 - rounds / 4]);

	g_autofree char *value = g_strdup_printf("%.0f", solve(p, f, &sim, out->kvm_ns));

	return profile_set(p, f->field, value, error);
}

static gboolean fit_in(const struct calibration *c, struct sim_profile *p, const char *base, const char *dir,
		       GArray *all, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "fit.ini", NULL);
	g_autofree char *profile = g_build_filename(dir, "profile.ini", NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(fits) && !run_stop; i++) {
		g_autofree char *text = g_strconcat(FIT_HEAD, fits[i].text, NULL);
		struct fitted out = { .field = fits[i].field, .event = fits[i].event };
		GError *why = NULL;

		if (!g_file_set_contents(path, text, -1, error) ||
		    !profile_write(p, base, profile, no_comment, NULL, error))
			return FALSE;
		/* One that this machine refuses, or a guest that fails, leaves the others. */
		if (!fit_one(c, p, &fits[i], path, profile, &out, &why)) {
			out.why = g_strdup(why->message);
			g_error_free(why);
		}
		g_array_append_val(all, out);
	}
	g_unlink(path);
	g_unlink(profile);
	return TRUE;
}

static void fitted_clear(gpointer p)
{
	g_free(((struct fitted *)p)->why);
}

GArray *calibrate_fit(const struct calibration *c, struct sim_profile *p, const char *base, GError **error)
{
	g_autofree char *dir = g_dir_make_tmp("overbook-fit-XXXXXX", error);
	GArray *all = g_array_new(FALSE, TRUE, sizeof(struct fitted));
	gboolean ok;

	g_array_set_clear_func(all, fitted_clear);
	ok = dir && fit_in(c, p, base, dir, all, error);
	if (dir)
		g_rmdir(dir);
	if (ok)
		return all;
	g_array_unref(all);
	return NULL;
}
