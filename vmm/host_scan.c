/* SPDX-License-Identifier: MIT */
/*
 * host_scan.c - when the page-merging scanner runs, and who pays for it
 *
 * It runs between quanta, [dedup] sleep after it ended last, over the pages of all VMs. What it costs, removing
 * mappings included, is the host's: ns_dedup, in no VM's ns_total. In lockstep time does not depend on costs: the
 * advisor, if there is one, sees the passes' time but not what they cost.
 *
 * With algorithm = kernel nothing is scanned here: the machine's host merges when it likes, and is only told to begin
 * and to stop, and asked what it has done.
 */
#include <errno.h>

#include "vmm/host.h"

gboolean host_scan_init(struct host *h, GError **error)
{
	const struct conf_dedup *c = &h->run->e->dedup;
	struct dedup_config cfg = {
		.machine = h->machine,
		.frames = h->frames,
		.vms = h->gmems,
		.nvms = h->nvms,
		.host = &h->counters,
		.smart_scan = c->smart_scan,
		.use_zero_pages = c->use_zero_pages,
		.split_huge = c->split_huge,
		.merge_across_nodes = c->merge_across_nodes,
		.prune_ns = c->prune_ns,
		.swap = h->swap,
		.patch = c->patch,
		.compress = c->compress,
		.potential = c->potential,
		.cold_passes = (unsigned)c->cold_passes,
		.max_page_sharing = c->max_page_sharing,
		.seed = h->run->seed,
	};
	const struct advisor_config advice = {
		.target_ns = c->advisor_target_ns,
		.min_cpu_ppm = c->advisor_min_cpu_ppm,
		.max_cpu_ppm = c->advisor_max_cpu_ppm,
		.min_pages = c->advisor_min_pages,
		.max_pages = c->advisor_max_pages,
	};

	if (!c->algorithm)
		return TRUE;
	if (dedup_algorithms[c->algorithm - 1]->by_host) {
		g_assert(h->ops->merge_begin); /* or the experiment was refused */
		h->merges_itself = h->ops->merge_begin(h->ctx, error);
		return h->merges_itself;
	}
	advisor_init(&h->advisor, &advice);
	h->dedup = dedup_algorithms[c->algorithm - 1]->create(&cfg);
	h->pages_to_scan = c->pages_to_scan;
	h->scan_sleep_ns = c->sleep_ns;
	h->next_scan = c->sleep_ns;
	if (h->dedup && h->swap && c->share_before_swap)
		swap_reclaimer(h->swap)->sharer = dedup_sharer(h->dedup);
	if (h->dedup)
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_LACKS, "no address space for the page-merging scanner: raise the limit "
		    "(ulimit -v)");
	return FALSE;
}

static uint64_t pages_to_scan(const struct host *h)
{
	return h->run->e->dedup.advisor ? h->advisor.pages : h->pages_to_scan;
}

static void scan(struct host *h, uint64_t now_ns)
{
	const struct conf_dedup *c = &h->run->e->dedup;

	if (!c->stop_ns || now_ns < c->stop_ns) {
		dedup_scan(h->dedup, pages_to_scan(h));
		return;
	}
	if (h->swap)
		swap_reclaimer(h->swap)->sharer = NULL;
	/* Too few frames to unmerge all: try again. */
	h->scan_over = !c->unmerge || dedup_unmerge(h->dedup) == 0;
}

bool host_scan(struct host *h, uint64_t now_ns)
{
	bool costs = h->run->e->experiment.schedule == SCHEDULE_FREE;
	uint64_t took_ns;

	if (now_ns < host_scan_due(h))
		return false;
	if (h->merges_itself) {
		h->ops->merge_stop(h->ctx, h->run->e->dedup.unmerge);
		h->scan_over = true;
		return true;
	}
	h->ops->job_begins(h->ctx, HOST_SCAN);
	scan(h, now_ns);
	if (h->ops->unmapped)
		h->ops->unmapped(h->ctx);
	took_ns = h->ops->job_ends(h->ctx, HOST_SCAN);
	if (costs)
		now_ns += took_ns;
	advisor_tick(&h->advisor, h->counters.full_scans, now_ns, costs ? h->ops->job_ns(h->ctx, HOST_SCAN) : 0);
	h->next_scan = now_ns + h->scan_sleep_ns; /* it sleeps after its work */
	return true;
}

uint64_t host_scan_due(const struct host *h)
{
	uint64_t stop_ns = h->run->e->dedup.stop_ns;

	if (h->scan_over)
		return UINT64_MAX;
	if (h->merges_itself)
		return stop_ns ? stop_ns : UINT64_MAX;
	return h->dedup ? h->next_scan : UINT64_MAX;
}

void host_scan_report(struct host *h)
{
	if (h->merges_itself)
		h->ops->merge_report(h->ctx, &h->counters);
	if (!h->dedup)
		return;
	dedup_report(h->dedup);
	h->counters.pages_to_scan = pages_to_scan(h);
	h->counters.ns_dedup = h->ops->job_ns(h->ctx, HOST_SCAN);
}
