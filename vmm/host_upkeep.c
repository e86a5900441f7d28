/* SPDX-License-Identifier: MIT */
/* host_upkeep.c - what is done for a VM now and then: its dirty log, its large pages, and its end if it failed */
#include "vmm/host.h"

static bool logs(const struct host_vm *v)
{
	return v->conf->dirty_log != DIRTY_NONE;
}

static bool gathers(const struct host *h, const struct host_vm *v)
{
	return v->conf->collapse_ns && h->run->e->host.page_level >= 2 && !gmem_config(v->gmem)->linear;
}

static void collect_dirty(struct host *h, unsigned vm, uint64_t now)
{
	struct host_vm *v = &h->vm[vm];

	if (!v->dirty) {
		v->dirty = g_new0(uint64_t, gmem_config(v->gmem)->npages / 64 + 1);
		if (gmem_dirty_log_start(v->gmem))
			h->ops->fail(h->ctx, vm, "dirty logging: the host has no memory for smaller tables");
	} else {
		if (h->ops->drain)
			h->ops->drain(h->ctx, vm);
		gmem_dirty_log_collect(v->gmem, v->dirty);
	}
	v->next_dirty = now + v->conf->dirty_interval_ns;
}

static void collapse(struct host_vm *v, uint64_t now)
{
	const struct conf_vm *c = v->conf;

	v->collapser.gmem = v->gmem;
	v->collapser.nblocks = c->collapse_blocks;
	v->collapser.limits = (struct collapse_limits){ c->collapse_none, c->collapse_shared, c->collapse_swap };
	collapse_scan(&v->collapser);
	v->next_collapse = now + c->collapse_ns;
}

uint64_t host_upkeep_next(const struct host *h, unsigned vm)
{
	const struct host_vm *v = &h->vm[vm];
	uint64_t next = logs(v) ? v->next_dirty : UINT64_MAX;

	return gathers(h, v) ? MIN(next, v->next_collapse) : next;
}

bool host_upkeep_due(const struct host *h, unsigned vm, uint64_t now_ns)
{
	return !h->ops->done(h->ctx, vm) && now_ns >= host_upkeep_next(h, vm);
}

void host_upkeep(struct host *h, unsigned vm, uint64_t now_ns)
{
	struct host_vm *v = &h->vm[vm];

	if (logs(v) && now_ns >= v->next_dirty)
		collect_dirty(h, vm, now_ns);
	if (gathers(h, v) && now_ns >= v->next_collapse)
		collapse(v, now_ns);
}

void host_bury(struct host *h, unsigned vm)
{
	struct host_vm *v = &h->vm[vm];
	const struct gmem_config *g;

	if (!v->out->failure || v->buried)
		return;
	v->buried = true;
	g = gmem_config(v->gmem);
	for (gfn_t gfn = g->arena_pages; gfn < g->npages && !g->linear; gfn++)
		gmem_release(v->gmem, gfn);
}
