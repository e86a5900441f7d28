/* SPDX-License-Identifier: MIT */
/*
 * gmem_block.c - the backing of guest pages: move one, split a block, collapse pages into a block
 *
 * Problem: large leaves make walks short, but a large block cannot lose one page to a balloon, nor move one to
 * another node. So blocks must break up without losing anything, and come together again.
 *
 * Idea: splitting is bookkeeping: a block of 512 contiguous frames is already 512 frames, and the frame map
 * (frame.c) takes them back one by one. Collapsing gathers the pages of an aligned block into a fresh contiguous
 * run, page by page, each move complete in itself; if the frames already lie right, as after a split, nothing moves
 * (khugepaged always copies). Either way the paging mode is told, and decides about its leaves.
 *
 * Invariants: those of gmem.c. A collapse that fails midway leaves every page resident in a frame of its own.
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"

/* Write the size of the backing of every block in the aligned block of @level around @gfn. */
static void set_levels(struct gmem *g, gfn_t gfn, unsigned level, unsigned to)
{
	uint64_t first = block_start(gfn, level) / LEVEL_PAGES(2);

	for (uint64_t b = 0; b < LEVEL_PAGES(level) / LEVEL_PAGES(2); b++)
		g->block[first + b].level = (uint16_t)to;
}

static void log_block(struct gmem *g, gfn_t gfn, unsigned level, enum event_cause cause)
{
	gfn_t start = block_start(gfn, level);

	for (uint64_t i = 0; g->events && i < LEVEL_PAGES(level); i++)
		gmem_log_event(g, start + i, cause);
}

/* One step down: 1 GiB to 512 of 2 MiB, or 2 MiB to 512 of 4 KiB. */
static void lower(struct gmem *g, gfn_t gfn)
{
	unsigned level = g->block[gfn / LEVEL_PAGES(2)].level;

	set_levels(g, gfn, level, level - 1);
	g->c->host_splits++;
	log_block(g, gfn, level, EVENT_SPLIT);
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

/* Contents and metadata of a page that is unmapped go to frame @to; its old frame goes back. */
static int change_frame(struct gmem *g, gfn_t gfn, hfn_t to, enum event_cause cause)
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
	err = change_frame(g, gfn, to, EVENT_MOVE);
	if (err)
		frames_release(g->frames, to, 1);
	gmem_tell_mapped(g, gfn, 1);
	return err;
}

static bool all_resident(const struct gmem *g, gfn_t start, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (word_state(g->page[start + i]) != PAGE_RESIDENT || g->page[start + i] & WORD_CACHED)
			return false;
	return true;
}

static bool contiguous(const struct gmem *g, gfn_t start, uint64_t n)
{
	hfn_t first = g->page[start] >> WORD_HFN;

	for (uint64_t i = 0; i < n; i++)
		if (g->page[start + i] >> WORD_HFN != first + i)
			return false;
	return !(first & (n - 1));
}

/* Move every page of the block into one fresh run. */
static int gather(struct gmem *g, gfn_t start, unsigned level)
{
	uint64_t n = LEVEL_PAGES(level);
	hfn_t run;
	int err = frames_alloc(g->frames, level, g->cfg.node, false, FRAME_OWNER(FRAME_GUEST, g->cfg.vm, start), &run);

	if (err)
		return ERR(err);
	gmem_unmap(g, start, n);
	set_levels(g, start, level, 1);
	for (uint64_t i = 0; i < n; i++) {
		err = change_frame(g, start + i, run + i, EVENT_COLLAPSE);
		if (!err)
			continue;
		for (; i < n; i++)
			frames_release(g->frames, run + i, 1);
	}
	return err;
}

int gmem_collapse(struct gmem *g, gfn_t gfn, unsigned level)
{
	gfn_t start = block_start(gfn, level);
	uint64_t n = LEVEL_PAGES(level);
	struct gmem_page page;
	bool moved;
	int err;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (level < 2 || level > 3)
		return ERR(-EINVAL);
	if (start < g->run_pages)
		return ERR(-EBUSY);
	if (start + n > g->cfg.npages || !all_resident(g, start, n))
		return -EAGAIN;
	if (g->block[start / LEVEL_PAGES(2)].level >= level)
		return 0;
	moved = !contiguous(g, start, n);
	if (moved) {
		err = gather(g, start, level);
		if (err)
			return err;
	}
	set_levels(g, start, level, level);
	g->c->host_collapses++;
	if (!moved)
		log_block(g, start, level, EVENT_COLLAPSE);
	gmem_lookup(g, start, &page);
	if (g->paging && g->paging->ops->collapse && page.level >= level)
		g->paging->ops->collapse(g->paging, start, level);
	if (moved)
		gmem_tell_mapped(g, start, level);
	return 0;
}
