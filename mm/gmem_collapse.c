/* SPDX-License-Identifier: MIT */
/*
 * gmem_collapse.c - small pages become a large one
 *
 * Problem: blocks break up when a part of them is merged, swapped or given to a balloon, and long walks are the price.
 * When things have calmed down the block should be whole again, although by then a page of it may never have been
 * touched, another be merged, a third be in swap.
 *
 * Idea: the pages of an aligned block are gathered into a fresh contiguous run, one by one, each step complete in
 * itself: a resident page moves, a merged one gets its copy, an absent one is populated with what it would have been.
 * Those in swap are brought in first, while there is memory to spare. How many pages may be of which kind is the
 * caller's, for each costs memory that was saved. If the frames already lie right, as after a split, nothing moves
 * (khugepaged always copies). The paging mode is told, and decides about its leaves.
 *
 * Invariants: those of gmem.c. A collapse that fails midway leaves every page with its contents, each in a frame of its
 * own or as it was (tests/unit/test_gmem.c, tests/model/test_dedup_model.c, tests/unit/test_collapse.c).
 *
 * Source: Linux mm/khugepaged.c, Documentation/admin-guide/mm/transhuge.rst (max_ptes_none, _shared, _swap).
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"
#include "mm/reclaim.h"

/* What the block is made of. */
struct kinds {
	uint64_t absent, shared, swapped, cached, other;
};

static struct kinds classify(const struct gmem *g, gfn_t start, uint64_t n)
{
	struct kinds k = { 0 };

	for (uint64_t i = 0; i < n; i++) {
		uint64_t word = g->page[start + i];

		if (word_state(word) == PAGE_ABSENT)
			k.absent++;
		else if (word_swapped(word))
			k.swapped++;
		else if (!word_mapped(word))
			k.other++;
		else if (word_state(word) != PAGE_RESIDENT)
			k.shared++;
		else if (word & WORD_DISK)
			k.other++; /* khugepaged leaves pages of files alone, too */
		else if (word & WORD_CACHED)
			k.cached++;
	}
	return k;
}

/* Are there so few pages of each kind that the block may be gathered, and at least one that is there already? */
static bool acceptable(const struct kinds *k, uint64_t n, const struct collapse_limits *limits)
{
	static const struct collapse_limits none;
	const struct collapse_limits *l = limits ? limits : &none;

	return !k->other && k->absent <= l->absent && k->absent < n && k->shared <= l->shared &&
	       k->swapped <= l->swapped && (limits || !k->cached);
}

static bool contiguous(const struct gmem *g, gfn_t start, uint64_t n)
{
	hfn_t first = g->page[start] >> WORD_HFN;

	for (uint64_t i = 0; i < n; i++)
		if (g->page[start + i] >> WORD_HFN != first + i)
			return false;
	return !(first & (n - 1));
}

/* Has nobody touched anything in the block since somebody last asked? */
static bool unused(const struct gmem *g, gfn_t start)
{
	const struct gmem_block *b = &g->block[start / LEVEL_PAGES(2)];

	return b->idle >= b->present;
}

/* A page of a block that is unmapped goes to frame @to, and is resident there. */
static int settle(struct gmem *g, gfn_t gfn, hfn_t to)
{
	uint64_t word = g->page[gfn];
	hfn_t from = word >> WORD_HFN;
	int err;

	if (word_state(word) == PAGE_RESIDENT) {
		if (word & WORD_CACHED)
			gmem_uncache(g, gfn);
		return gmem_change_frame(g, gfn, to, EVENT_COLLAPSE);
	}
	if (word_state(word) == PAGE_ABSENT) {
		err = g->machine->ops->populate(g->machine, g->cfg.vm, gfn, to, 1);
		if (!err && word & WORD_POISON)
			err = gmem_fill_poison(g, gfn, to);
		if (err)
			return err;
		gmem_set(g, gfn, WORD(PAGE_RESIDENT, to), EVENT_COLLAPSE);
		g->c->collapse_filled++;
		gmem_charge(g, CHARGE_POPULATE, 1);
		return 0;
	}
	err = g->machine->ops->unshare(g->machine, g->cfg.vm, gfn, from, to);
	if (err)
		return err;
	gmem_set(g, gfn, WORD(PAGE_RESIDENT, to) | (word & (WORD_IDLE | WORD_TOUCHED)), EVENT_COLLAPSE);
	gmem_share_drop(g, gfn, from);
	g->c->collapse_unshared++;
	gmem_charge(g, CHARGE_MOVE, 1);
	return 0;
}

/* Every page of the block into one fresh run. */
static int gather(struct gmem *g, gfn_t start, unsigned level)
{
	uint64_t n = LEVEL_PAGES(level);
	hfn_t run;
	int err = gmem_take_frames(g, start, level, &run);

	if (err)
		return ERR(err);
	gmem_unmap(g, start, n);
	gmem_set_levels(g, start, level, 1);
	for (uint64_t i = 0; i < n; i++) {
		err = settle(g, start + i, run + i);
		if (!err)
			continue;
		for (; i < n; i++)
			frames_release(g->frames, run + i, 1);
	}
	return err;
}

/* Room for the run and what comes in from swap, and the reserve left alone. */
static bool roomy(struct gmem *g, uint64_t npages)
{
	return !g->reclaim || (frames_total(g->frames) - frames_used(g->frames) >= npages + g->reclaim->reserve &&
			       g->reclaim->ops->admit(g->reclaim, g, npages));
}

/* Bring in what is in swap. That may evict others, but not while there is room. */
static int bring_in(struct gmem *g, gfn_t start, uint64_t n)
{
	struct gmem_page page;

	for (uint64_t i = 0; i < n; i++) {
		int err = word_swapped(g->page[start + i]) ?
				  gmem_fault(g, start + i, ACC_R, FAULT_PREFETCH, &page) : 0;

		if (err)
			return err;
	}
	return 0;
}

int gmem_collapse_within(struct gmem *g, gfn_t gfn, unsigned level, const struct collapse_limits *limits)
{
	gfn_t start = block_start(gfn, level);
	uint64_t n = LEVEL_PAGES(level);
	struct gmem_page page;
	struct kinds kinds;
	bool moved;
	int err;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (level < 2 || level > 3)
		return ERR(-EINVAL);
	if (start < g->run_pages)
		return ERR(-EBUSY);
	if (start + n > g->cfg.npages)
		return -EAGAIN;
	if (g->block[start / LEVEL_PAGES(2)].level >= level)
		return 0;
	kinds = classify(g, start, n);
	if (!acceptable(&kinds, n, limits) || (limits && level == 2 && unused(g, start)))
		return -EAGAIN;
	if (kinds.swapped) {
		if (!roomy(g, n + kinds.swapped))
			return -ENOMEM;
		err = bring_in(g, start, n);
		if (err)
			return err;
		kinds = classify(g, start, n); /* others of the block may have gone meanwhile */
		if (kinds.swapped || !acceptable(&kinds, n, limits))
			return -EAGAIN;
	}
	moved = kinds.absent || kinds.shared || kinds.cached || !contiguous(g, start, n);
	if (moved) {
		if (limits && !roomy(g, n))
			return -ENOMEM;
		err = gather(g, start, level);
		if (err)
			return err;
	}
	gmem_set_levels(g, start, level, level);
	g->c->host_collapses++;
	if (!moved)
		gmem_log_block(g, start, level, EVENT_COLLAPSE);
	gmem_lookup(g, start, &page);
	if (g->paging && g->paging->ops->collapse && page.level >= level)
		g->paging->ops->collapse(g->paging, start, level);
	if (moved)
		gmem_tell_mapped(g, start, level);
	return 0;
}

int gmem_collapse(struct gmem *g, gfn_t gfn, unsigned level)
{
	return gmem_collapse_within(g, gfn, level, NULL);
}
