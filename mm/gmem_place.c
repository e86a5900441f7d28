/* SPDX-License-Identifier: MIT */
/*
 * gmem_place.c - which NUMA node a guest page's frame is taken from
 *
 * Problem: on a host of several nodes a page is near some processors and far from others, and whoever first gets it a
 * frame decides for long. The choices are those that operators know from numactl.
 *
 * Idea: the four policies of Linux, by the names of libnuma:
 *
 *	preferred	the VM's node; if it is full, the nearest that is not
 *	bind		one of the VM's nodes, the one nearest to the processor that touches; never another
 *	interleave	the VM's nodes in turn, by gfn in units of the backing's size; if one is full, the nearest
 *	local		the node of the processor that touches first; if it is full, the nearest
 *
 * They hold wherever a page gets a frame: first touch, return from swap, end of sharing, collapse.
 *
 * Invariants (tests/unit/test_place.c): a bound VM has no frame elsewhere; pages_node* are the pages that a recount
 * finds on each node.
 *
 * Source: Linux Documentation/admin-guide/mm/numa_memory_policy.rst; numactl(8).
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"
#include "mm/reclaim.h"

static bool allowed(const struct gmem *g, unsigned node)
{
	return !g->cfg.nodes || g->cfg.nodes >> node & 1;
}

/* The node of the processor that touches; the VM's own where no processor does. */
static unsigned toucher(const struct gmem *g)
{
	const struct machine_ops *ops = g->machine->ops;

	return ops->node ? ops->node(g->machine, g->cfg.node) : g->cfg.node;
}

/* The @n-th of the allowed nodes. */
static unsigned nth_node(const struct gmem *g, uint64_t n)
{
	unsigned node = 0, nnodes = frames_nodes(g->frames), count = 0;

	for (unsigned i = 0; i < nnodes; i++)
		count += allowed(g, i);
	for (n %= count; n || !allowed(g, node); node++)
		n -= allowed(g, node);
	return node;
}

unsigned gmem_node_for(const struct gmem *g, gfn_t gfn, unsigned level)
{
	switch (g->cfg.placement) {
	case PLACE_INTERLEAVE:
		return nth_node(g, gfn / LEVEL_PAGES(level));
	case PLACE_BIND:
	case PLACE_LOCAL:
		return toucher(g);
	case PLACE_PREFERRED:
		break;
	}
	return g->cfg.node;
}

int gmem_take_frames(struct gmem *g, gfn_t gfn, unsigned level, hfn_t *hfn)
{
	uint64_t owner = FRAME_OWNER(FRAME_GUEST, g->cfg.vm, block_start(gfn, level));
	unsigned node;

	if (frames_nodes(g->frames) == 1)
		return frames_alloc(g->frames, level, 0, false, owner, hfn);
	node = gmem_node_for(g, gfn, level);
	if (g->cfg.placement != PLACE_BIND)
		return frames_alloc(g->frames, level, node, false, owner, hfn);
	for (unsigned i = 0; i < frames_nodes(g->frames); i++) {
		unsigned near = frames_nearest(g->frames, node, i);

		if (allowed(g, near) && !frames_alloc(g->frames, level, near, true, owner, hfn))
			return 0;
	}
	return -ENOMEM;
}

int gmem_frame_for(struct gmem *g, gfn_t gfn, hfn_t *hfn)
{
	int err;

	if (g->reclaim)
		g->reclaim->ops->admit(g->reclaim, g, 1);
	err = gmem_take_frames(g, gfn, 1, hfn);
	if (err && gmem_drop_hinted(g->frames, 1))
		err = gmem_take_frames(g, gfn, 1, hfn);
	if (err && g->reclaim && !g->reclaim->ops->supply(g->reclaim, 1))
		err = gmem_take_frames(g, gfn, 1, hfn);
	/* Frames are free where this VM may not have any: its own pages are all that helps. */
	if (err && g->reclaim && g->cfg.placement == PLACE_BIND && g->reclaim->ops->supply_own(g->reclaim, g))
		err = gmem_take_frames(g, gfn, 1, hfn);
	return err ? ERR(err) : 0;
}

void gmem_count_node(struct gmem *g, hfn_t hfn, uint64_t npages, int by)
{
	uint64_t *const gauge[] = { &g->c->pages_node0, &g->c->pages_node1, &g->c->pages_node2, &g->c->pages_node3 };

	/* A run may lie on several nodes. */
	for (uint64_t n; npages; npages -= n, hfn += n) {
		unsigned node = frames_node(g->frames, hfn);
		uint64_t left = frames_nodes(g->frames) == 1 ? npages : (node + 1) * g->frames->node_pages - hfn;

		n = MIN(npages, left);
		*gauge[MIN(node, G_N_ELEMENTS(gauge) - 1)] += by < 0 ? -n : n;
	}
}
