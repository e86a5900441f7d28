/* SPDX-License-Identifier: MIT */
/*
 * policy_view.c - what a policy sees: gathered from counters, guest memory, balloons and swap
 *
 * Nothing here changes anything, but for the machine bringing counters up to date.
 */
#include <string.h>

#include "vmm/policy_impl.h"
#include "workloads/guest/virtio.h"

/* In lockstep time does not depend on what a device costs, so a swap-in counts as this much of waiting. */
#define LOCKSTEP_STALL_NS 100000u
/* Decisions in a row at which a balloon had not come any nearer to its target: there is nothing to be had of it. */
#define SILENT 3u

static uint64_t stat(const struct balloon_device *b, unsigned tag)
{
	uint64_t value;

	return b && balloon_stat(b, tag, &value) ? value : 0;
}

static void read_counts(const struct policy_run *p, unsigned vm, struct policy_counts *out)
{
	const struct counters *c = gmem_counters(p->vm[vm].parts.gmem);
	const struct balloon_device *b = p->vm[vm].parts.balloon;
	uint64_t host_ns;
	bool lockstep = p->cfg.run->e->experiment.schedule == SCHEDULE_LOCKSTEP;

	*out = (struct policy_counts){
		.operations = c->operations,
		.first_touches = c->faults_absent,
		.swap_ins = c->faults_swapped + c->faults_compressed + c->faults_dropped,
		.swap_outs = c->swap_outs,
		.guest_swap_ins = stat(b, BALLOON_S_SWAP_IN) / POLICY_PAGE,
		.guest_swap_outs = stat(b, BALLOON_S_SWAP_OUT) / POLICY_PAGE,
		.guest_major_faults = stat(b, BALLOON_S_MAJFLT),
	};
	out->refaults = out->swap_ins + c->guest_refaults_anon + c->guest_refaults_file;
	/* One vCPU a guest: when it waits for the host, all of the guest does. */
	host_ns = lockstep ? out->swap_ins * LOCKSTEP_STALL_NS : c->ns_swap;
	out->stall_some_ns = host_ns + c->guest_ns_stall_some;
	out->stall_full_ns = host_ns + c->guest_ns_stall_full;
}

/* What has been added since; a driver that begins again counts from 0. */
static void subtract(const struct policy_counts *now, const struct policy_counts *before, struct policy_counts *out)
{
	const uint64_t *a = (const uint64_t *)now, *b = (const uint64_t *)before;
	uint64_t *c = (uint64_t *)out;

	_Static_assert(sizeof(struct policy_counts) % sizeof(uint64_t) == 0, "nothing but numbers");
	for (size_t i = 0; i < sizeof(*now) / sizeof(*a); i++)
		c[i] = a[i] - MIN(a[i], b[i]);
}

static void read_stats(struct policy_vm *v, const struct balloon_device *b)
{
	uint64_t ignored;

	v->has_stats = balloon_stat(b, BALLOON_S_MEMFREE, &ignored);
	v->guest_free = stat(b, BALLOON_S_MEMFREE) / POLICY_PAGE;
	v->guest_available = stat(b, BALLOON_S_AVAIL) / POLICY_PAGE;
	v->guest_caches = stat(b, BALLOON_S_CACHES) / POLICY_PAGE;
}

/* Has it moved towards what it was asked for? */
static void watch_balloon(struct guest *g, struct policy_vm *v)
{
	bool more = g->target > g->actual && v->balloon_actual > g->actual;
	bool less = g->target < g->actual && v->balloon_actual < g->actual;

	if (more || less || g->target == g->actual || v->balloon_actual == v->balloon_target)
		g->silent = 0;
	else if (!v->blocked)
		g->silent++;
	g->actual = v->balloon_actual;
	g->target = v->balloon_target;
	v->responding = g->silent < SILENT;
}

/* The arena is in use whatever is estimated, which is what lies outside it. */
static void read_active(const struct policy_run *p, unsigned i, struct policy_vm *v)
{
	uint64_t outside = v->resident - v->pinned, active;

	if (!p->cfg.estimate || !estimate_known(p->cfg.estimate))
		return;
	active = v->pinned + MIN(estimate_active_pages(p->cfg.estimate, i), outside);
	v->has_active = true;
	v->active_ppm = active * POLICY_PPM / MAX(v->resident, 1);
}

static void read_vm(struct policy_run *p, unsigned i)
{
	struct guest *g = &p->vm[i];
	struct policy_vm *v = &p->seen[i];
	const struct gmem_config *cfg = gmem_config(g->parts.gmem);
	const struct counters *c = gmem_counters(g->parts.gmem);
	const struct run_vm *out = g_ptr_array_index(p->cfg.run->vms, i);
	struct policy_counts before = v->total;

	p->cfg.machine->refresh(p->cfg.ctx, i);
	*v = (struct policy_vm){
		.name = out->name,
		.shares = out->conf->shares,
		.memory = cfg->npages,
		.pinned = cfg->linear ? cfg->npages : cfg->arena_pages,
		.min = out->conf->min / POLICY_PAGE,
		.max = (out->conf->max ? out->conf->max : out->conf->memory) / POLICY_PAGE,
		.merged = c->pages_merged + c->ksm_zero_pages,
		.swapped = c->pages_swapped + c->pages_dropped,
		.compressed = c->pages_compressed,
		.limit = g->limit,
		.blocked = g->blocked,
		.active_ppm = POLICY_PPM,
	};
	v->resident = cfg->linear ? cfg->npages : cfg->arena_pages + c->pages_resident;
	read_active(p, i, v);
	p->cfg.machine->state(p->cfg.ctx, i, v);
	read_counts(p, i, &v->total);
	subtract(&v->total, &before, &v->since);
	if (!g->parts.balloon)
		return;
	v->has_balloon = true;
	v->balloon_limit = balloon_limit(p->cfg.run->e, out->conf) / POLICY_PAGE;
	v->balloon_target = c->balloon_target;
	v->balloon_actual = c->balloon_actual;
	read_stats(v, g->parts.balloon);
	watch_balloon(g, v);
}

static void read_host(struct policy_run *p, uint64_t now)
{
	const struct conf_swap *w = &p->cfg.run->e->swap;
	struct policy_host *h = &p->host;
	uint64_t used = frames_used(p->cfg.frames), guests = 0, merged = 0;

	*h = (struct policy_host){
		.time_ns = now,
		.interval_ns = p->decisions ? now - h->time_ns : 0,
		.frames = frames_total(p->cfg.frames),
		.free = frames_total(p->cfg.frames) - used,
		.swap = w->size / POLICY_PAGE,
		.pool = w->size ? w->pool / POLICY_PAGE : 0,
		.pool_used = p->cfg.swap ? swap_pool_used(p->cfg.swap) : 0,
	};
	for (unsigned i = 0; i < p->nvms; i++) {
		guests += p->seen[i].resident;
		merged += p->seen[i].merged;
		h->swap_used += p->seen[i].swapped;
	}
	/* Merged pages have frames too, but nobody's: what is used beyond the guests' own is theirs or the host's. */
	h->overhead = used - MIN(used, guests);
	if (merged) {
		uint64_t frames = p->cfg.host->pages_shared;

		for (unsigned i = 0; i < p->nvms; i++)
			frames += gmem_counters(p->vm[i].parts.gmem)->pages_shared;
		frames = MIN(frames, h->overhead);
		h->overhead -= frames;
		h->saved = merged - MIN(merged, frames);
	}
	p->cfg.machine->scanner(p->cfg.ctx, &h->pages_to_scan, &h->sleep_ns);
}

void policy_view_read(struct policy_run *p, uint64_t now)
{
	for (unsigned i = 0; i < p->nvms; i++)
		read_vm(p, i);
	read_host(p, now);
}
