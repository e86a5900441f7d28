/* SPDX-License-Identifier: MIT */
/*
 * gmem_block.c - the backing of guest pages: move one, split a block
 *
 * Problem: large leaves make walks short, but a large block cannot lose one page to a balloon, nor move one to
 * another node. So blocks must break up without losing anything, and come together again.
 *
 * Idea: splitting is bookkeeping: a block of 512 contiguous frames is already 512 frames, and the frame map
 * (frame.c) takes them back one by one. The way back is gmem_collapse.c's. Either way the paging mode is told, and
 * decides about its leaves.
 *
 * Invariants: those of gmem.c; the gauge pages_large is 512 for each block of level 2 or 3 (tests/model/
 * test_gmem_model.c).
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"

void gmem_set_levels(struct gmem *g, gfn_t gfn, unsigned level, unsigned to)
{
	uint64_t first = block_start(gfn, level) / LEVEL_PAGES(2);

	for (uint64_t b = 0; b < LEVEL_PAGES(level) / LEVEL_PAGES(2); b++)
		gmem_set_level(g, first + b, to);
}

void gmem_log_block(struct gmem *g, gfn_t gfn, unsigned level, enum event_cause cause)
{
	gfn_t start = block_start(gfn, level);

	for (uint64_t i = 0; g->events && i < LEVEL_PAGES(level); i++)
		gmem_log_event(g, start + i, cause);
}

/* One step down: 1 GiB to 512 of 2 MiB, or 2 MiB to 512 of 4 KiB. */
static void lower(struct gmem *g, gfn_t gfn)
{
	unsigned level = g->block[gfn / LEVEL_PAGES(2)].level;

	gmem_set_levels(g, gfn, level, level - 1);
	g->c->host_splits++;
	gmem_log_block(g, gfn, level, EVENT_SPLIT);
}

void gmem_shatter(struct gmem *g, gfn_t gfn)
{
	while (g->block[gfn / LEVEL_PAGES(2)].level > 1)
		lower(g, gfn);
}

int gmem_split(struct gmem *g, gfn_t gfn)
{
	unsigned level;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages)
		return ERR(-EBUSY);
	level = g->block[gfn / LEVEL_PAGES(2)].level;
	if (level < 2)
		return ERR(-EAGAIN);
	gmem_unmap(g, block_start(gfn, level), LEVEL_PAGES(level));
	lower(g, gfn);
	return 0;
}

int gmem_change_frame(struct gmem *g, gfn_t gfn, hfn_t to, enum event_cause cause)
{
	uint64_t word = g->page[gfn];
	hfn_t from = word >> WORD_HFN;
	int err = g->machine->ops->move(g->machine, g->cfg.vm, gfn, from, to);

	if (err)
		return err;
	gmem_set(g, gfn, (word & ((1ull << WORD_HFN) - 1)) | to << WORD_HFN, cause);
	frames_release(g->frames, from, 1);
	g->c->pages_moved++;
	gmem_charge(g, CHARGE_MOVE, 1);
	return 0;
}

int gmem_move(struct gmem *g, gfn_t gfn, unsigned node)
{
	hfn_t to;
	int err;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages || word_state(g->page[gfn]) != PAGE_RESIDENT)
		return ERR(-EBUSY);
	err = frames_alloc(g->frames, 1, node, true, FRAME_OWNER(FRAME_GUEST, g->cfg.vm, gfn), &to);
	if (err)
		return ERR(err);
	gmem_unmap(g, gfn, 1);
	gmem_shatter(g, gfn);
	err = gmem_change_frame(g, gfn, to, EVENT_MOVE);
	if (err)
		frames_release(g->frames, to, 1);
	gmem_tell_mapped(g, gfn, 1);
	return err;
}
