/* SPDX-License-Identifier: MIT */
/*
 * gmem_share.c - pages that map a merged frame or the zero frame
 *
 * Problem: equal pages of several VMs need one frame, none of them may notice, and each must be able to leave at any
 * write.
 *
 * Idea: a merged frame has kind FRAME_SHARED and counts in refs the pages that map it; nothing lists them, for whoever
 * needs a list (dedup/) walks the pages. A page of state SHARED or ZERO has no right to be written, so that the first
 * write arrives in gmem_fault(), which calls gmem_share_break(): a new frame, contents copied, one reference less. The
 * last reference takes the frame with it. It is not kept for the last sharer as its own: KSM copies too, and a frame
 * that is still in a stable tree must not become writable. The zero frame is one more merged frame, made when first
 * needed.
 *
 * Order: as gmem.c says. A frame whose last page leaves is announced to frames->watch before its contents go.
 *
 * Invariants (tests/model/test_dedup_model.c, tests/unit/test_gmem_share.c): refs of a merged frame is the number of
 * pages that map it; contents of a page never change by sharing or breaking; frames in use are those of the pages.
 *
 * Source: Waldspurger, Memory Resource Management in VMware ESX Server, OSDI 2002, section 4; Linux mm/ksm.c.
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"

static hfn_t hfn_of(const struct gmem *g, gfn_t gfn)
{
	return g->page[gfn] >> WORD_HFN;
}

static uint64_t flags_of(const struct gmem *g, gfn_t gfn)
{
	return g->page[gfn] & (WORD_IDLE | WORD_TOUCHED);
}

static int refuse(const struct gmem *g, gfn_t gfn)
{
	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages || word_state(g->page[gfn]) != PAGE_RESIDENT)
		return ERR(-EBUSY);
	return 0;
}

int gmem_share_protect(struct gmem *g, gfn_t gfn)
{
	int err = refuse(g, gfn);

	if (!err && g->paging)
		g->paging->ops->wrprotect(g->paging, gfn, 1);
	return err;
}

/* The page, unmapped, shows what is in merged frame @to; if the machine refuses, all is as before. */
static int hand_over(struct gmem *g, gfn_t gfn, hfn_t to)
{
	int err;

	gmem_unmap(g, gfn, 1);
	err = g->machine->ops->share(g->machine, g->cfg.vm, gfn, hfn_of(g, gfn), to);
	if (err) {
		gmem_tell_mapped(g, gfn, 1);
		return ERR(err);
	}
	gmem_shatter(g, gfn);
	return 0;
}

int gmem_share_begin(struct gmem *g, gfn_t gfn, hfn_t *hfn)
{
	int err = refuse(g, gfn);

	if (err)
		return err;
	*hfn = hfn_of(g, gfn);
	err = hand_over(g, gfn, *hfn);
	if (err)
		return err;
	frames_get(g->frames, *hfn)->owner = FRAME_OWNER(FRAME_SHARED, 0, 0);
	gmem_set(g, gfn, WORD(PAGE_SHARED, *hfn) | flags_of(g, gfn), EVENT_MERGE);
	gmem_charge(g, CHARGE_MERGE, 1);
	gmem_tell_mapped(g, gfn, 1);
	return 0;
}

/* The page, RESIDENT and equal in contents, maps @to from now on. */
static int remap(struct gmem *g, gfn_t gfn, enum page_state state, hfn_t to)
{
	hfn_t from = hfn_of(g, gfn);
	int err = hand_over(g, gfn, to);

	if (err)
		return err;
	frames_get(g->frames, to)->refs++;
	gmem_set(g, gfn, WORD(state, to) | flags_of(g, gfn), EVENT_MERGE);
	frames_release(g->frames, from, 1);
	gmem_charge(g, CHARGE_MERGE, 1);
	gmem_tell_mapped(g, gfn, 1);
	return 0;
}

int gmem_share(struct gmem *g, gfn_t gfn, hfn_t stable)
{
	int err = refuse(g, gfn);

	if (err)
		return err;
	if (stable >= frames_total(g->frames) || FRAME_KIND(frames_get(g->frames, stable)) != FRAME_SHARED ||
	    stable == g->frames->zero)
		return ERR(-EINVAL);
	return remap(g, gfn, PAGE_SHARED, stable);
}

/* The zero frame, with no reference yet if it is new. */
static int zero_frame(struct gmem *g)
{
	struct frames *fr = g->frames;
	hfn_t hfn;
	int err;

	if (fr->zero != HFN_NONE)
		return 0;
	err = frames_alloc(fr, 1, g->cfg.node, false, FRAME_OWNER(FRAME_SHARED, 0, 0), &hfn);
	if (err)
		return ERR(err);
	err = g->machine->ops->populate(g->machine, g->cfg.vm, GFN_NONE, hfn, 1);
	if (err) {
		frames_release(fr, hfn, 1);
		return err;
	}
	frames_get(fr, hfn)->refs = 0;
	fr->zero = hfn;
	return 0;
}

int gmem_share_zero(struct gmem *g, gfn_t gfn)
{
	int err = refuse(g, gfn);

	if (!err)
		err = zero_frame(g);
	if (err)
		return err;
	err = remap(g, gfn, PAGE_ZERO, g->frames->zero);
	if (err && !frames_get(g->frames, g->frames->zero)->refs) {
		hfn_t hfn = g->frames->zero;

		g->frames->zero = HFN_NONE;
		g->machine->ops->release(g->machine, g->cfg.vm, GFN_NONE, hfn, 1);
		frames_release(g->frames, hfn, 1);
	}
	return err;
}

void gmem_share_drop(struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	struct frames *fr = g->frames;

	if (--frames_get(fr, hfn)->refs)
		return;
	if (hfn == fr->zero)
		fr->zero = HFN_NONE;
	else if (fr->watch)
		fr->watch->gone(fr->watch, hfn);
	g->machine->ops->release(g->machine, g->cfg.vm, gfn, hfn, 1);
	frames_release(fr, hfn, 1);
}

void gmem_share_hold(struct gmem *g, hfn_t hfn)
{
	g_assert(FRAME_KIND(frames_get(g->frames, hfn)) == FRAME_SHARED);
	frames_get(g->frames, hfn)->refs++;
}

void gmem_share_put(struct gmem *g, hfn_t hfn)
{
	gmem_share_drop(g, GFN_NONE, hfn);
}

int gmem_share_break(struct gmem *g, gfn_t gfn)
{
	hfn_t from = hfn_of(g, gfn), to;
	int err = gmem_frame_for(g, gfn, &to);

	if (err)
		return err;
	/* The frame may have been had by evicting merged pages, this among them. */
	if (word_swapped(g->page[gfn])) {
		frames_release(g->frames, to, 1);
		return -EAGAIN;
	}
	gmem_unmap(g, gfn, 1);
	err = g->machine->ops->unshare(g->machine, g->cfg.vm, gfn, from, to);
	if (err) {
		frames_release(g->frames, to, 1);
		gmem_tell_mapped(g, gfn, 1);
		return err;
	}
	gmem_set(g, gfn, WORD(PAGE_RESIDENT, to) | flags_of(g, gfn), EVENT_UNSHARE);
	gmem_share_drop(g, gfn, from);
	gmem_charge(g, CHARGE_MOVE, 1);
	return 0;
}

int gmem_unshare(struct gmem *g, gfn_t gfn)
{
	int err;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages || !word_mapped(g->page[gfn]) || word_state(g->page[gfn]) == PAGE_RESIDENT)
		return 0;
	err = gmem_share_break(g, gfn);
	if (!err)
		gmem_tell_mapped(g, gfn, 1);
	return err == -EAGAIN ? 0 : err;
}

gfn_t gmem_next_mapped(const struct gmem *g, gfn_t gfn)
{
	gfn = MAX(gfn, g->run_pages);
	while (gfn < g->cfg.npages) {
		if (!g->block[gfn / LEVEL_PAGES(2)].present)
			gfn = block_start(gfn, 2) + LEVEL_PAGES(2);
		else if (word_mapped(g->page[gfn]))
			return gfn;
		else
			gfn++;
	}
	return GFN_NONE;
}

bool gmem_is_mapped(const struct gmem *g, gfn_t gfn)
{
	return gfn >= g->run_pages && gfn < g->cfg.npages && word_mapped(g->page[gfn]);
}

bool gmem_is_large(const struct gmem *g, gfn_t gfn)
{
	return g->block[gfn / LEVEL_PAGES(2)].level > 1;
}
