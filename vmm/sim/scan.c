/* SPDX-License-Identifier: MIT */
/*
 * scan.c - when the page-merging scanner runs, and who pays for it
 *
 * It runs between quanta, [dedup] sleep after it ended last, over the pages of all VMs. What charge() prices
 * meanwhile, removing mappings included, is the host's: ns_dedup, in no VM's ns_total. In the free schedule the CPU
 * that is furthest behind does the work, as a kernel thread would, and the vCPU that runs there next waits for it; in
 * lockstep time does not depend on costs: the advisor, if there is one, sees the passes' time but not what they cost.
 */
#define G_LOG_DOMAIN "sim"
#include <errno.h>

#include "vmm/sim/sim.h"
#include "vmm/sim/swap.h"

int sim_scan_init(struct sim *s, GError **error)
{
	const struct conf_dedup *c = &s->run->e->dedup;
	struct dedup_config cfg = {
		.machine = &s->machine,
		.frames = s->frames,
		.nvms = s->nvms,
		.host = &s->host,
		.smart_scan = c->smart_scan,
		.use_zero_pages = c->use_zero_pages,
		.split_huge = c->split_huge,
		.merge_across_nodes = c->merge_across_nodes,
		.prune_ns = c->prune_ns,
		.swap = s->swap ? s->swap->swap : NULL,
		.patch = c->patch,
		.compress = c->compress,
		.potential = c->potential,
		.cold_passes = (unsigned)c->cold_passes,
		.max_page_sharing = c->max_page_sharing,
		.seed = s->run->seed,
	};

	const struct advisor_config advice = {
		.target_ns = c->advisor_target_ns,
		.min_cpu_ppm = c->advisor_min_cpu_ppm,
		.max_cpu_ppm = c->advisor_max_cpu_ppm,
		.min_pages = c->advisor_min_pages,
		.max_pages = c->advisor_max_pages,
	};

	if (!c->algorithm)
		return 0;
	advisor_init(&s->advisor, &advice);
	s->gmems = g_new0(struct gmem *, s->nvms);
	for (unsigned i = 0; i < s->nvms; i++)
		s->gmems[i] = s->vms[i]->gmem;
	cfg.vms = s->gmems;
	s->dedup = dedup_algorithms[c->algorithm - 1]->create(&cfg);
	s->pages_to_scan = c->pages_to_scan;
	s->scan_sleep_ns = c->sleep_ns;
	s->next_scan = c->sleep_ns;
	if (s->dedup && s->swap && c->share_before_swap)
		swap_reclaimer(s->swap->swap)->sharer = dedup_sharer(s->dedup);
	if (s->dedup)
		return 0;
	g_set_error(error, VMM_ERROR, VMM_LACKS, "no address space for the page-merging scanner: raise the limit "
		    "(ulimit -v)");
	return -ENOMEM;
}

void sim_refresh_roots(struct sim *s)
{
	for (unsigned i = 0; i < s->nvms; i++)
		for (unsigned j = 0; j < s->vms[i]->nvcpus && !s->vms[i]->done; j++)
			sim_refresh_root(&s->vms[i]->vcpu[j]);
}

static uint64_t pages_to_scan(const struct sim *s)
{
	return s->run->e->dedup.advisor ? s->advisor.pages : s->pages_to_scan;
}

uint64_t sim_scan(struct sim *s, uint64_t now_ns)
{
	bool costs = s->run->e->experiment.schedule == SCHEDULE_FREE;
	const struct conf_dedup *c = &s->run->e->dedup;
	uint64_t before = s->dedup_cycles, took_ns;

	if (!s->dedup || s->scan_over || now_ns < s->next_scan)
		return 0;
	s->scanning = true;
	if (!c->stop_ns || now_ns < c->stop_ns) {
		dedup_scan(s->dedup, pages_to_scan(s));
	} else {
		if (s->swap)
			swap_reclaimer(s->swap->swap)->sharer = NULL;
		/* Too few frames to unmerge all: try again. */
		s->scan_over = !c->unmerge || dedup_unmerge(s->dedup) == 0;
	}
	sim_refresh_roots(s);
	s->scanning = false;
	took_ns = costs ? sim_cycles_to_ns(s, s->dedup_cycles - before) : 0;
	advisor_tick(&s->advisor, s->host.full_scans, now_ns + took_ns,
		     costs ? sim_cycles_to_ns(s, s->dedup_cycles) : 0);
	s->next_scan = now_ns + took_ns + s->scan_sleep_ns; /* it sleeps after its work */
	return s->dedup_cycles - before;
}

uint64_t sim_scan_due(const struct sim *s)
{
	return s->dedup && !s->scan_over ? s->next_scan : UINT64_MAX;
}

void sim_scan_report(struct sim *s)
{
	if (!s->dedup)
		return;
	dedup_report(s->dedup);
	s->host.pages_to_scan = pages_to_scan(s);
	s->host.ns_dedup = sim_cycles_to_ns(s, s->dedup_cycles);
}
