/* SPDX-License-Identifier: MIT */
/* experiment_check.c - what no key can say alone: that names exist, that sizes add up, that choices fit together */
#include <string.h>

#include "dedup/dedup.h"
#include "mm/estimate.h"
#include "mm/swap_pool.h"
#include "vmm/conf.h"
#include "vmm/figure.h"
#include "vmm/sim/profile.h"
#include "vmm/trace.h"
#include "vmm/vmm.h"

#define MIB (1ull << 20)

/* FILE: [section] key = value: message. Returns FALSE. */
static gboolean fault(const struct experiment *e, GError **error, enum conf_section kind, const void *section,
		      const char *key, const char *format, ...) G_GNUC_PRINTF(6, 7);
static gboolean fault(const struct experiment *e, GError **error, enum conf_section kind, const void *section,
		      const char *key, const char *format, ...)
{
	const struct conf_section_info *info = &conf_sections[kind];
	g_autofree char *value = NULL;
	struct conf_key k;
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	if (conf_find_key(kind, section, key, &k))
		value = conf_format(&k, CONF_FIELD(section, &k));
	g_set_error(error, EXPERIMENT_ERROR, 0, "%s: [%s%s%s] %s = %s: %s", e->path, info->name, info->named ? " " : "",
		    info->named ? *(char *const *)section : "", key, value ? value : "", text);
	return FALSE;
}

/* " did you mean ...? There are a, b" of the names of a list of sections; g_free. */
static char *choose_from(const GPtrArray *list, const char *name)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (guint i = 0; i < list->len; i++)
		g_ptr_array_add(names, *(char **)g_ptr_array_index(list, i));
	g_ptr_array_add(names, NULL);
	near = conf_nearest(name, (const char *const *)names->pdata);
	g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);

	return g_strdup_printf("%s%s%sallowed: %s", near ? "did you mean \"" : "", near ? near : "", near ? "\"? " : "",
			       *all ? all : "(there is none)");
}

static const struct workload_ops *generator_of(const struct conf_phase *ph)
{
	return ph->pattern == PHASE_TRACE ? NULL : workload_generators[ph->pattern];
}

static bool has_flag(const struct conf_phase *ph, uint32_t flag)
{
	return ph->pattern != PHASE_TRACE && (generator_of(ph)->flags & flag);
}

static gboolean is_counter(const char *name)
{
	for (const struct counter_info *c = counter_table; c->name; c++)
		if (!strcmp(c->name, name))
			return TRUE;
	return FALSE;
}

static gboolean check_metric(const struct experiment *e, GError **error)
{
	const char *metric = e->experiment.metric;
	g_auto(GStrv) part = g_strsplit(metric, "/", -1);
	guint n = g_strv_length(part);

	if (n == 1 && is_counter(g_strstrip(part[0])))
		return TRUE;
	if (n == 2 && is_counter(g_strstrip(part[0])) && is_counter(g_strstrip(part[1])))
		return TRUE;
	return fault(e, error, SECTION_EXPERIMENT, &e->experiment, "metric",
		     "expected a counter, or one counter / another; see overbook list counters");
}

/* Each figure asked for is one there is. */
static gboolean check_figures(const struct experiment *e, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	for (const struct figure *f = figure_table; f->name; f++)
		g_ptr_array_add(names, (gpointer)f->name);
	g_ptr_array_add(names, NULL);
	for (char **name = e->experiment.figures; name && *name; name++) {
		const char *const *known = (const char *const *)names->pdata;

		if (g_strv_contains(known, *name))
			continue;

		g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);
		const char *near = conf_nearest(*name, known);

		return fault(e, error, SECTION_EXPERIMENT, &e->experiment, "figures",
			     "there is no figure \"%s\"%s%s%s allowed are %s", *name, near ? "; did you mean \"" : ";",
			     near ? near : "", near ? "\"?" : "", all);
	}
	return TRUE;
}

static gboolean check_experiment(const struct experiment *e, GError **error)
{
	if (!check_metric(e, error) || !check_figures(e, error))
		return FALSE;
	const struct conf_experiment *x = &e->experiment;

	if (x->duration_ns && x->warmup_ns >= x->duration_ns)
		return fault(e, error, SECTION_EXPERIMENT, x, "warm-up", "it must be shorter than the duration");
	if (e->host.memory % (2 * MIB * e->host.nodes))
		return fault(e, error, SECTION_HOST, &e->host, "memory",
			     "it must be a multiple of 2 MiB for each node");

	g_autofree char *why = NULL;
	g_autofree uint8_t *distances = experiment_distances(&e->host, &why);

	if (!distances)
		return fault(e, error, SECTION_HOST, &e->host, "distances", "%s", why);
	return TRUE;
}

/* AMD's processors do not log dirtied pages. */
static gboolean check_logging(const struct experiment *e, const struct sim_profile *p, GError **error)
{
	for (guint i = 0; i < e->vms->len && !strcmp(p->vendor, "amd"); i++) {
		const struct conf_vm *vm = g_ptr_array_index(e->vms, i);

		if (vm->dirty_log == DIRTY_PML)
			return fault(e, error, SECTION_VM, vm, "dirty-log",
				     "%s has no page-modification log; none and wrprotect are allowed", p->name);
	}
	return TRUE;
}

/* Fewer frames than this kept free and a fault might find none for its tables. */
#define SWAP_MIN_LOW 64

/* One process, of which nothing depends on time? */
static bool is_timeless(const struct experiment *e, const struct conf_vm *vm)
{
	const struct conf_workload *w = experiment_workload(e, vm->workload);

	if (vm->count > 1 || !w || w->processes > 1 || e->experiment.duration_ns || vm->balloon_target)
		return false;
	for (char **name = w->phases; *name; name++) {
		const struct conf_phase *ph = experiment_phase(e, *name);

		if (ph && (ph->think_ns || ph->duration_ns || *ph->forks))
			return false;
	}
	return true;
}

/* The optimum learns the future from a first run: the second must access the same pages in the same order. */
static gboolean check_optimum(const struct experiment *e, GError **error)
{
	if (!swap_policies[e->swap.policy]->offline)
		return TRUE;
	if (e->experiment.machine == 1)
		return fault(e, error, SECTION_SWAP, &e->swap, "policy",
			     "a processor does not tell what it uses, so that nobody knows the future; on machine = "
			     "kvm every other policy is allowed");
	for (guint i = 0; i < e->vms->len; i++)
		if (((const struct conf_vm *)g_ptr_array_index(e->vms, i))->disk ||
		    ((const struct conf_vm *)g_ptr_array_index(e->vms, i))->guest_swap)
			return fault(e, error, SECTION_SWAP, &e->swap, "policy",
				     "what disks move is not in the future that it learns: no VM may have a [vm] disk");
	if (e->experiment.schedule == SCHEDULE_LOCKSTEP)
		return TRUE;
	if (e->vms->len == 1 && is_timeless(e, g_ptr_array_index(e->vms, 0)))
		return TRUE;
	return fault(e, error, SECTION_SWAP, &e->swap, "policy",
		     "the order of accesses must not depend on time: it needs [experiment] schedule = lockstep, or one "
		     "VM with one process that neither sleeps, nor forks, nor is timed, and no balloon");
}

static gboolean check_young(const struct experiment *e, GError **error)
{
	if (e->host.young == YOUNG_REFAULT)
		return TRUE;
	if (e->experiment.schedule == SCHEDULE_LOCKSTEP || e->experiment.machine == 1)
		return fault(e, error, SECTION_HOST, &e->host, "young",
			     "schedule = lockstep and machine = kvm need refault, which every machine can do");
	return TRUE;
}

static gboolean check_swap(const struct experiment *e, GError **error)
{
	const struct conf_swap *w = &e->swap;
	uint64_t low = e->host.memory / 4096 * w->low_ppm / 1000000;

	if (!w->size)
		return TRUE;
	if (w->size % 4096)
		return fault(e, error, SECTION_SWAP, w, "size", "it must be a multiple of 4 KiB");
	if (w->preventer && e->experiment.machine == 1)
		return fault(e, error, SECTION_SWAP, w, "preventer",
			     "only machine = sim sees that a page is about to be overwritten whole; allowed is no");
	if (w->low_ppm > w->high_ppm)
		return fault(e, error, SECTION_SWAP, w, "low-watermark", "it must not exceed high-watermark");
	if (low < SWAP_MIN_LOW)
		return fault(e, error, SECTION_SWAP, w, "low-watermark",
			     "it must be at least 64 frames, 256 KiB, of the host's memory");
	if (w->pool % 4096)
		return fault(e, error, SECTION_SWAP, w, "compressed-pool", "it must be a multiple of 4 KiB");
	if (w->pool > e->host.memory / 2)
		return fault(e, error, SECTION_SWAP, w, "compressed-pool",
			     "it must not exceed half of the host's memory");
	return check_optimum(e, error);
}

/* The profile, and each override of one of its fields. */
static gboolean check_costs(const struct experiment *e, GError **error)
{
	g_autoptr(GError) why = NULL;
	struct sim_profile *p = profile_load(e->host.profile, &why);

	if (!p)
		return fault(e, error, SECTION_HOST, &e->host, "profile", "%s", why->message);
	for (guint i = 0; i < e->costs->len && !why; i++) {
		const struct conf_cost *c = g_ptr_array_index(e->costs, i);

		profile_set(p, c->field, c->value, &why);
	}
	if (!why && !check_logging(e, p, error)) {
		profile_free(p);
		return FALSE;
	}
	profile_free(p);
	if (why)
		g_set_error(error, EXPERIMENT_ERROR, 0,
			    "%s: [costs] %s; see `overbook list costs`", e->path,
			    why->message);
	return !why;
}

static gboolean check_vm_limit(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	if (!vm->swap_limit)
		return TRUE;
	if (vm->swap_limit % 4096)
		return fault(e, error, SECTION_VM, vm, "swap-limit", "it must be a multiple of 4 KiB");
	if (!e->swap.size)
		return fault(e, error, SECTION_VM, vm, "swap-limit",
			     "the host has no swap; allowed is 0, or a [swap] size");
	if (vm->paging == MODE_NATIVE)
		return fault(e, error, SECTION_VM, vm, "swap-limit",
			     "a VM with paging = native is not swapped; allowed is 0, or another mode");
	return TRUE;
}

static gboolean check_vm_memory(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	g_autofree char *why = NULL;
	const char *key;

	if (vm->memory % (2 * MIB))
		return fault(e, error, SECTION_VM, vm, "memory", "it must be a multiple of 2 MiB");
	if (vm->arena % (2 * MIB))
		return fault(e, error, SECTION_VM, vm, "arena", "it must be a multiple of 2 MiB");
	if (vm->arena && (vm->arena < 6 * MIB || vm->arena >= vm->memory))
		return fault(e, error, SECTION_VM, vm, "arena",
			     "it must be at least 6 MiB and less than the VM's memory");
	if (vm->shadow_limit && vm->shadow_limit < 16)
		return fault(e, error, SECTION_VM, vm, "shadow-limit", "it must be 0 (no bound) or at least 16");
	if (!experiment_check_nodes(e, vm, &key, &why))
		return fault(e, error, SECTION_VM, vm, key, "%s", why);
	return TRUE;
}

uint64_t balloon_limit(const struct experiment *e, const struct conf_vm *vm)
{
	return (uint64_t)((unsigned __int128)vm->memory * e->balloon.limit_ppm / 1000000) & ~(uint64_t)(PAGE_SIZE - 1);
}

static gboolean check_balloon(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	uint64_t length = vm->balloon_until_ns - vm->balloon_from_ns;

	if (!vm->balloon_target)
		return TRUE;
	if (vm->paging == MODE_NATIVE)
		return fault(e, error, SECTION_VM, vm, "balloon-target",
			     "native memory cannot be given up; 0 is allowed");
	if (vm->balloon_target % PAGE_SIZE)
		return fault(e, error, SECTION_VM, vm, "balloon-target", "it must be a multiple of 4 KiB");
	if (vm->balloon_target > balloon_limit(e, vm))
		return fault(e, error, SECTION_VM, vm, "balloon-target",
			     "[balloon] limit allows %" G_GUINT64_FORMAT " KiB of this VM's memory",
			     (guint64)(balloon_limit(e, vm) / 1024));
	if (vm->balloon_until_ns && vm->balloon_until_ns <= vm->balloon_from_ns)
		return fault(e, error, SECTION_VM, vm, "balloon-until", "it must be later than balloon-from, or 0");
	if (vm->balloon_period_ns && (!vm->balloon_until_ns || vm->balloon_period_ns <= length))
		return fault(e, error, SECTION_VM, vm, "balloon-period",
			     "it must be longer than from balloon-from to balloon-until");
	return TRUE;
}

static gboolean check_disk(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	if (!vm->disk && !vm->guest_swap)
		return TRUE;
	if (vm->disk % PAGE_SIZE)
		return fault(e, error, SECTION_VM, vm, "disk", "it must be a multiple of 4 KiB");
	if (vm->guest_swap % PAGE_SIZE)
		return fault(e, error, SECTION_VM, vm, "guest-swap", "it must be a multiple of 4 KiB");
	return TRUE;
}

/* Do the files that its workload maps lie on its disk? */
static gboolean check_files(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	const struct conf_workload *w = experiment_workload(e, vm->workload);

	for (char **name = w->phases; *name; name++) {
		const struct conf_phase *ph = experiment_phase(e, *name);

		if (ph->backing == BACKING_FILE && (ph->offset > vm->disk || ph->size > vm->disk - ph->offset))
			return fault(e, error, SECTION_VM, vm, "disk",
				     "[phase %s] maps its files up to %" G_GUINT64_FORMAT " KiB", ph->name,
				     (guint64)((ph->offset + ph->size) / 1024));
	}
	return TRUE;
}

bool experiment_has_policy(const struct experiment *e)
{
	return e->policy.name || *e->policy.module;
}

bool experiment_has_balloon(const struct experiment *e, const struct conf_vm *vm)
{
	bool use = experiment_has_policy(e) || e->balloon.reporting || e->balloon.free_page_hint;

	return vm->balloon_target || (vm->balloon && use && vm->paging != MODE_NATIVE);
}

/* What a policy may do with it. */
static gboolean check_claim(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	if (vm->min > vm->memory)
		return fault(e, error, SECTION_VM, vm, "min", "it must not exceed the VM's memory");
	if (vm->max > vm->memory)
		return fault(e, error, SECTION_VM, vm, "max", "it must not exceed the VM's memory; 0 means all of it");
	if (vm->max && vm->min > vm->max)
		return fault(e, error, SECTION_VM, vm, "min", "it must not exceed max");
	if (vm->balloon_target && experiment_has_policy(e))
		return fault(e, error, SECTION_VM, vm, "balloon-target",
			     "with a [policy] it is the policy that asks; 0 is allowed");
	return TRUE;
}

static gboolean check_policy(const struct experiment *e, GError **error)
{
	if (e->policy.name && *e->policy.module)
		return fault(e, error, SECTION_POLICY, &e->policy, "name",
			     "module brings a policy of its own; only none is allowed");
	return TRUE;
}

static gboolean check_vm(const struct experiment *e, const struct conf_vm *vm, GError **error)
{
	if (!check_vm_memory(e, vm, error) || !check_vm_limit(e, vm, error) || !check_balloon(e, vm, error) ||
	    !check_disk(e, vm, error) || !check_claim(e, vm, error))
		return FALSE;
	if (!strcmp(vm->name, "host"))
		return fault(e, error, SECTION_VM, vm, "workload",
			     "\"host\" names the host in results; another name is allowed");
	if (vm->dirty_log == 2 && (vm->paging != MODE_EPT || !vm->ept_ad))
		return fault(e, error, SECTION_VM, vm, "dirty-log",
			     "the processor logs only with paging = ept and ept-ad = yes");
	if (vm->dirty_log && vm->paging == MODE_NATIVE)
		return fault(e, error, SECTION_VM, vm, "dirty-log", "native memory cannot be logged; none is allowed");
	if (e->experiment.machine == 1 && (vm->paging == MODE_NATIVE || vm->paging == MODE_PV))
		return fault(e, error, SECTION_VM, vm, "paging", "on machine = kvm only ept and shadow are allowed");
	if (!experiment_workload(e, vm->workload)) {
		g_autofree char *all = choose_from(e->workloads, vm->workload);

		return fault(e, error, SECTION_VM, vm, "workload", "there is no such [workload]; %s", all);
	}
	return TRUE;
}

/* Where merging is asked for, can it be? */
/* The host's kernel knows nothing of ours, and no simulated host has one. */
static gboolean check_dedup_kernel(const struct experiment *e, GError **error)
{
	const struct conf_dedup *d = &e->dedup;

	if (backends[e->experiment.machine] != &backend_kvm)
		return fault(e, error, SECTION_DEDUP, d, "algorithm",
			     "the host's kernel merges real guests only: machine = kvm is required; allowed here are "
			     "none, ksm, hash and oracle");
	if (e->host.backing != HOST_ANONYMOUS)
		return fault(e, error, SECTION_DEDUP, d, "algorithm",
			     "the kernel merges private memory only: [host] backing = anonymous is required");
	if (d->patch || d->compress || d->potential)
		return fault(e, error, SECTION_DEDUP, d, d->patch ? "patch" : d->compress ? "compress" : "potential",
			     "the kernel's merging has nothing of the kind; allowed is no");
	return TRUE;
}

static gboolean check_dedup(const struct experiment *e, GError **error)
{
	const struct conf_dedup *d = &e->dedup;

	if (d->unmerge && !d->stop_ns)
		return fault(e, error, SECTION_DEDUP, d, "unmerge", "it happens at the time stop, which is not given");
	if (d->advisor_min_cpu_ppm > d->advisor_max_cpu_ppm)
		return fault(e, error, SECTION_DEDUP, d, "advisor-min-cpu", "it must not exceed advisor-max-cpu");
	if (d->advisor_min_pages > d->advisor_max_pages)
		return fault(e, error, SECTION_DEDUP, d, "advisor-min-pages-to-scan",
			     "it must not exceed advisor-max-pages-to-scan");
	if ((d->patch || d->compress) && (!e->swap.size || !e->swap.pool))
		return fault(e, error, SECTION_DEDUP, d, d->patch ? "patch" : "compress",
			     "it keeps pages in the compressed tier: [swap] size and compressed-pool are required");
	if (!d->algorithm)
		return TRUE;
	if (dedup_algorithms[d->algorithm - 1]->by_host && !check_dedup_kernel(e, error))
		return FALSE;
	for (guint i = 0; i < e->vms->len; i++) {
		const struct conf_vm *vm = g_ptr_array_index(e->vms, i);

		if (vm->paging == MODE_NATIVE)
			return fault(e, error, SECTION_VM, vm, "paging",
				     "native memory cannot be merged; allowed are shadow, ept and pv, "
				     "or [dedup] algorithm = none");
	}
	return TRUE;
}

static gboolean check_method(const struct experiment *e, const char *key, const char *name, GError **error)
{
	const char *names[16] = { NULL };

	for (unsigned i = 0; estimator_table[i]; i++)
		names[i] = estimator_table[i]->name;
	if (g_strv_contains(names, name))
		return TRUE;

	const char *near = conf_nearest(name, names);
	g_autofree char *all = g_strjoinv(", ", (char **)names);

	return fault(e, error, SECTION_ESTIMATE, &e->estimate, key, "there is no method \"%s\"%s%s%s; allowed are %s",
		     name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", all);
}

static gboolean check_estimate(const struct experiment *e, GError **error)
{
	const struct conf_estimate *c = &e->estimate;

	for (unsigned i = 0; conf_estimates(c) && c->methods[i]; i++) {
		if (!check_method(e, "methods", c->methods[i], error))
			return FALSE;
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(c->methods[i], c->methods[j]))
				return fault(e, error, SECTION_ESTIMATE, c, "methods", "%s is there twice",
					     c->methods[i]);
	}
	if (*c->active && !g_strv_contains((const char *const *)c->methods, c->active))
		return fault(e, error, SECTION_ESTIMATE, c, "active", "it must be one of methods, or empty");
	if (!conf_estimates(c) && !c->truth)
		return TRUE;
	if (e->experiment.machine == 1 && c->truth)
		return fault(e, error, SECTION_ESTIMATE, c, "truth", "only machine = sim sees every access");
	for (guint i = 0; i < e->vms->len; i++) {
		const struct conf_vm *vm = g_ptr_array_index(e->vms, i);

		if (vm->paging == MODE_NATIVE)
			return fault(e, error, SECTION_VM, vm, "paging",
				     "what is touched of native memory cannot be seen; allowed are shadow, ept and pv, "
				     "or [estimate] without methods and truth");
	}
	return TRUE;
}

static gboolean no_vm(const struct experiment *e, GError **error)
{
	g_set_error(error, EXPERIMENT_ERROR, 0, "%s: there is no [vm NAME]; at least one VM is needed", e->path);
	return FALSE;
}

static gboolean check_vms(const struct experiment *e, GError **error)
{
	g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	uint64_t nvms = 0, native = 0;

	for (guint i = 0; i < e->vms->len; i++) {
		const struct conf_vm *vm = g_ptr_array_index(e->vms, i);

		if (!check_vm(e, vm, error))
			return FALSE;
		nvms += vm->count;
		native += vm->paging == MODE_NATIVE ? vm->memory * vm->count : 0;
		if (nvms > 4096)
			return fault(e, error, SECTION_VM, vm, "count", "more than 4096 VMs in all");
		if (native > e->host.memory)
			return fault(e, error, SECTION_VM, vm, "memory",
				     "native memory is taken at the start, and %" G_GUINT64_FORMAT
				     " MiB in all exceed the host's %" G_GUINT64_FORMAT " MiB",
				     (guint64)(native / MIB), (guint64)(e->host.memory / MIB));
		for (uint64_t n = 0; n < vm->count; n++) {
			char *name = vm->count == 1 ? g_strdup(vm->name)
						    : g_strdup_printf("%s-%" G_GUINT64_FORMAT, vm->name, n);

			if (!g_hash_table_add(names, name))
				return fault(e, error, SECTION_VM, vm, "count", "two VMs are named %s", name);
		}
	}
	return nvms ? TRUE : no_vm(e, error);
}

static gboolean check_params(const struct experiment *e, const struct conf_phase *ph, GError **error)
{
	const struct workload_param *p = conf_params(ph->pattern);

	for (unsigned i = 0; p && p[i].name; i++)
		if (p[i].unit == PARAM_SIZE && ph->param[i] % 8)
			return fault(e, error, SECTION_PHASE, ph, p[i].name, "it must be a multiple of 8 bytes");
	return TRUE;
}

static gboolean check_trace(const struct experiment *e, const struct conf_phase *ph, GError **error)
{
	if (ph->pattern != PHASE_TRACE && *ph->trace)
		return fault(e, error, SECTION_PHASE, ph, "trace", "only pattern = trace replays one");
	if (ph->pattern != PHASE_TRACE && ph->loops != 1)
		return fault(e, error, SECTION_PHASE, ph, "loops", "only pattern = trace has loops");
	if (ph->pattern == PHASE_TRACE && !*ph->trace)
		return fault(e, error, SECTION_PHASE, ph, "trace", "pattern = trace needs the name of a trace file");
	if (ph->pattern != PHASE_TRACE)
		return TRUE;

	g_autoptr(GError) why = NULL;
	struct trace_reader *r = trace_open(ph->trace, &why);

	if (!r)
		return fault(e, error, SECTION_PHASE, ph, "trace", "%s", why->message);
	trace_close(r);
	return TRUE;
}

static gboolean check_backing(const struct experiment *e, const struct conf_phase *ph, GError **error)
{
	if (ph->offset && ph->backing != BACKING_FILE)
		return fault(e, error, SECTION_PHASE, ph, "offset", "only backing = file has one; 0 is allowed");
	if (ph->backing != BACKING_FILE)
		return TRUE;
	if (ph->pattern == PHASE_TRACE || has_flag(ph, WORKLOAD_MAPS))
		return fault(e, error, SECTION_PHASE, ph, "backing",
			     "this pattern maps its memory itself; only anonymous is allowed");
	if (ph->leaf_level != 1)
		return fault(e, error, SECTION_PHASE, ph, "page-size", "files are mapped by 4K pages");
	if (ph->offset % PAGE_SIZE)
		return fault(e, error, SECTION_PHASE, ph, "offset", "it must be a multiple of 4 KiB");
	return TRUE;
}

static gboolean check_phase(const struct experiment *e, const struct conf_phase *ph, GError **error)
{
	bool filled = strcmp(ph->contents, "zero") != 0;

	if (ph->size % LEVEL_SIZE(ph->leaf_level))
		return fault(e, error, SECTION_PHASE, ph, "size", "it must be a multiple of the page-size");
	if (ph->pattern != PHASE_TRACE && !ph->operations && !ph->duration_ns && !e->experiment.duration_ns)
		return fault(e, error, SECTION_PHASE, ph, "operations",
			     "it never ends: operations, duration or the experiment's duration must be given");
	if (has_flag(ph, WORKLOAD_MAPS) && filled)
		return fault(e, error, SECTION_PHASE, ph, "contents",
			     "pattern = %s maps its memory itself; only zero is allowed", generator_of(ph)->name);
	if (has_flag(ph, WORKLOAD_FILLS) && !filled)
		return fault(e, error, SECTION_PHASE, ph, "contents",
			     "pattern = %s writes contents: text, pointer, code, random or near",
			     generator_of(ph)->name);
	if (ph->pattern == PHASE_TRACE && filled)
		return fault(e, error, SECTION_PHASE, ph, "contents",
			     "a trace has regions of its own; only zero is allowed");
	if (!has_flag(ph, WORKLOAD_FORKS) && *ph->forks)
		return fault(e, error, SECTION_PHASE, ph, "forks", "this pattern does not fork; pattern = fork does");
	return check_backing(e, ph, error) && check_trace(e, ph, error) && check_params(e, ph, error);
}

static const char *region_of(const struct conf_phase *ph)
{
	return *ph->region ? ph->region : ph->name;
}

/* Phases that share a region must agree on how it is mapped. */
static gboolean check_sharing(const struct experiment *e, const struct conf_phase *a, const struct conf_phase *b,
			      GError **error)
{
	if (a == b && (a->pattern == PHASE_TRACE || has_flag(a, WORKLOAD_MAPS)))
		return fault(e, error, SECTION_PHASE, a, "pattern",
			     "a workload may list a phase of this pattern only once");
	if (a == b || a->pattern == PHASE_TRACE || b->pattern == PHASE_TRACE || strcmp(region_of(a), region_of(b)))
		return TRUE;
	if (has_flag(a, WORKLOAD_MAPS) || has_flag(b, WORKLOAD_MAPS))
		return fault(e, error, SECTION_PHASE, a, "region",
			     "[phase %s] uses it too, but pattern = mmap needs one of its own", b->name);
	if (a->leaf_level != b->leaf_level)
		return fault(e, error, SECTION_PHASE, a, "page-size", "[phase %s] maps the same region with another",
			     b->name);
	if (a->backing != b->backing)
		return fault(e, error, SECTION_PHASE, a, "backing", "[phase %s] has the same region with another",
			     b->name);
	if (a->offset != b->offset)
		return fault(e, error, SECTION_PHASE, a, "offset", "[phase %s] has the same region at another",
			     b->name);
	return TRUE;
}

/* Forks name a child's phase of the same workload; a child's phase is forked by some phase. */
static gboolean check_forks(const struct experiment *e, const struct conf_workload *w, const struct conf_phase *ph,
			    GError **error)
{
	const struct conf_phase *child = has_flag(ph, WORKLOAD_FORKS) ? experiment_phase(e, ph->forks) : NULL;
	bool forked = false;

	if (has_flag(ph, WORKLOAD_FORKS) &&
	    (!child || !child->child || !g_strv_contains((const char *const *)w->phases, ph->forks)))
		return fault(e, error, SECTION_PHASE, ph, "forks",
			     "it must name a phase of [workload %s] that has child = yes", w->name);
	for (char **name = w->phases; *name; name++)
		forked = forked || !strcmp(experiment_phase(e, *name)->forks, ph->name);
	if (ph->child && !forked)
		return fault(e, error, SECTION_PHASE, ph, "child", "no phase of [workload %s] forks it", w->name);
	return TRUE;
}

static gboolean check_workload(const struct experiment *e, const struct conf_workload *w, GError **error)
{
	for (char **name = w->phases; *name; name++)
		if (!experiment_phase(e, *name)) {
			g_autofree char *all = choose_from(e->phases, *name);

			return fault(e, error, SECTION_WORKLOAD, w, "phases", "there is no [phase %s]; %s", *name, all);
		}
	for (char **name = w->phases; *name; name++) {
		const struct conf_phase *ph = experiment_phase(e, *name);

		if (!check_forks(e, w, ph, error))
			return FALSE;
		for (char **other = name + 1; *other; other++)
			if (!check_sharing(e, ph, experiment_phase(e, *other), error))
				return FALSE;
	}
	if (experiment_phase(e, w->phases[0])->child)
		return fault(e, error, SECTION_WORKLOAD, w, "phases", "the first phase must not be a child's");
	return TRUE;
}

gboolean experiment_check(const struct experiment *e, GError **error)
{
	if (!check_experiment(e, error) || !check_costs(e, error) || !check_vms(e, error) ||
	    !check_young(e, error) || !check_swap(e, error) || !check_dedup(e, error) || !check_policy(e, error) ||
	    !check_estimate(e, error))
		return FALSE;
	for (guint i = 0; i < e->phases->len; i++)
		if (!check_phase(e, g_ptr_array_index(e->phases, i), error))
			return FALSE;
	for (guint i = 0; i < e->workloads->len; i++)
		if (!check_workload(e, g_ptr_array_index(e->workloads, i), error))
			return FALSE;
	for (guint i = 0; i < e->vms->len; i++)
		if (!check_files(e, g_ptr_array_index(e->vms, i), error))
			return FALSE;
	return TRUE;
}
