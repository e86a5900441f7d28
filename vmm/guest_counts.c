/* SPDX-License-Identifier: MIT */
/* guest_counts.c - see guest_counts.h */
#include "vmm/guest_counts.h"

#include "workloads/guest/memory.h"

void guest_counts(const struct kernel_counts *k, struct counters *c)
{
	c->guest_faults = k->faults;
	c->guest_faults_demand = k->faults_demand;
	c->guest_faults_cow = k->faults_cow;
	c->guest_faults_segv = k->faults_segv;
	c->guest_faults_spurious = k->faults_spurious;
	c->guest_faults_minor = k->faults_minor;
	c->guest_faults_major = k->faults_major;
	c->guest_forks = k->forks;
	c->guest_exits = k->exits;
	c->guest_switches = k->switches;
	c->guest_mmaps = k->mmaps;
	c->guest_munmaps = k->munmaps;
	c->guest_mprotects = k->mprotects;
	c->guest_pte_writes = k->pte_writes;
	c->guest_oom_kills = k->oom_kills;
	c->guest_pages_free = k->pages_free;
	c->guest_poison_errors = k->poison_errors;
	c->balloon_oom_deflates = k->balloon_oom_deflates;
	c->guest_swap_ins = k->swap_ins;
	c->guest_swap_outs = k->swap_outs;
	c->guest_file_reads = k->file_reads;
	c->guest_writebacks = k->writebacks;
	c->guest_refaults_anon = k->refaults_anon;
	c->guest_refaults_file = k->refaults_file;
	c->guest_activates_anon = k->activates_anon;
	c->guest_activates_file = k->activates_file;
	c->guest_scanned = k->scanned;
	c->guest_stolen = k->stolen;
	c->guest_direct_stalls = k->direct_stalls;
	c->guest_io_errors = k->io_errors;
	c->guest_ns_io = k->io_wait_ns;
	c->guest_ns_stall_some = k->stall_some_ns;
	c->guest_ns_stall_full = k->stall_full_ns;
	c->guest_pages_inactive_anon = k->pages_list[LRU_INACTIVE_ANON];
	c->guest_pages_active_anon = k->pages_list[LRU_ACTIVE_ANON];
	c->guest_pages_inactive_file = k->pages_list[LRU_INACTIVE_FILE];
	c->guest_pages_active_file = k->pages_list[LRU_ACTIVE_FILE];
	c->guest_pages_cache = k->pages_cache;
	c->guest_pages_swapped = k->pages_swapped;
}

/* "process 3 in [phase scan], which held 1,234 pages, at 12.345 ms" */
static void tell_one(const struct conf_workload *w, const struct export_oom *o, GString *out)
{
	const char *phase = w && o->phase < g_strv_length(w->phases) ? w->phases[o->phase] : NULL;

	g_string_append_printf(out, "%sprocess %u", out->len ? "; " : "", o->pid);
	if (phase)
		g_string_append_printf(out, " in [phase %s]", phase);
	g_string_append_printf(out, ", which held %" G_GUINT64_FORMAT " pages, at %" G_GUINT64_FORMAT ".%03u ms",
			       o->npages, o->now_ns / 1000000, (unsigned)(o->now_ns / 1000 % 1000));
}

char *guest_killed(const struct run *r, const struct conf_vm *vm, const struct guest_export *export)
{
	const struct conf_workload *w = experiment_workload(r->e, vm->workload);
	g_autoptr(GString) out = g_string_new(NULL);

	for (unsigned i = 0; i < EXPORT_OOMS && i < export->nooms; i++)
		tell_one(w, &export->oom[i], out);
	if (export->nooms > EXPORT_OOMS)
		g_string_append_printf(out, "; and %" G_GUINT64_FORMAT " more", export->nooms - EXPORT_OOMS);
	return out->len ? g_string_free(g_steal_pointer(&out), FALSE) : NULL;
}
