/* SPDX-License-Identifier: MIT */
/*
 * gmem_balloon.c - pages that a guest gave up
 *
 * Problem: a page in the balloon has no frame and no contents, but differs from one never given: populating around a
 * fault must leave it alone, and whoever touches it breaks a promise.
 *
 * Idea: a state of its own. What backed the page goes as in gmem_release(); deflating makes it ABSENT, so that
 * the next touch finds a zeroed frame. A guest that need not tell the host before it uses such a page again
 * (VIRTIO_BALLOON_F_MUST_TELL_HOST not negotiated) deflates by touching.
 *
 * Invariants (tests/unit/test_gmem_balloon.c, tests/guest/test_balloon.c): a BALLOONED page has no frame; the gauge
 * balloon_actual is their number; a touch that is refused changes nothing.
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"

int gmem_balloon(struct gmem *g, gfn_t gfn)
{
	int err;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages)
		return ERR(-EBUSY);
	if (word_state(g->page[gfn]) == PAGE_BALLOONED)
		return ERR(-EALREADY);
	err = gmem_release(g, gfn);
	if (err)
		return err;
	gmem_set(g, gfn, WORD(PAGE_BALLOONED, 0), EVENT_BALLOON);
	g->c->balloon_inflated++;
	return 0;
}

int gmem_deflate(struct gmem *g, gfn_t gfn)
{
	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages || word_state(g->page[gfn]) != PAGE_BALLOONED)
		return ERR(-EALREADY);
	gmem_set(g, gfn, WORD(PAGE_ABSENT, 0), EVENT_DEFLATE);
	g->c->balloon_deflated++;
	return 0;
}

void gmem_deflate_all(struct gmem *g)
{
	for (gfn_t gfn = g->run_pages; g->c->balloon_actual && gfn < g->cfg.npages; gfn++) {
		if (!g->block[gfn / LEVEL_PAGES(2)].present)
			gfn |= LEVEL_PAGES(2) - 1;
		else if (word_state(g->page[gfn]) == PAGE_BALLOONED)
			gmem_deflate(g, gfn);
	}
}

void gmem_balloon_strict(struct gmem *g, bool strict)
{
	g->balloon_strict = strict;
}

int gmem_balloon_touch(struct gmem *g, gfn_t gfn, enum fault_source src)
{
	if (src == FAULT_PREFETCH)
		return ERR(-EPERM);
	g->c->balloon_touches++;
	if (src == FAULT_DMA || g->balloon_strict)
		return ERR(-EPERM);
	return gmem_deflate(g, gfn);
}
