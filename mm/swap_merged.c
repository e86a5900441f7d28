/* SPDX-License-Identifier: MIT */
/*
 * swap_merged.c - when merged pages go to swap
 *
 * Problem. Evicting one page that maps a merged frame frees nothing: the frame goes with its last page. To get one
 * frame the host has to evict all pages that map it, each to a slot of its own, and reads as many back later. So merged
 * pages are bad victims; but a host whose memory is full of them must not fail while swap has room.
 *
 * Idea. swap.c turns to them when nothing else can go, or when they are most of what there is. Nothing lists the pages
 * of a merged frame (mm/gmem_share.c), so one sweep over all guests' pages gathers them all; since it costs the same
 * for one frame as for many, it serves a batch. Frames with fewest pages go first, and of those none that was touched
 * since the last sweep, unless there are no others.
 *
 * Linux differs: a KSM page is on the LRU lists like any other, is found with its mappers through a reverse map
 * (rmap_walk_ksm), and its mappers share one swap slot. Here they do not: what comes back from swap is not merged.
 *
 * Structures: an array with an entry for each page that maps a merged frame, sorted by (pages of the frame, hfn); it
 * lives as long as the sweep.
 *
 * Invariants (tests/model/test_swap_model.c, tests/unit/test_swap_merged.c): a frame whose pages have all gone is free;
 * one of whose pages some could not go is as it was but for those that have gone; contents of no page change.
 *
 * Source: Linux mm/ksm.c, mm/rmap.c (try_to_unmap); Waldspurger, OSDI 2002, section 4.
 */
#include <errno.h>

#include "mm/err.h"
#include "mm/swap_impl.h"

struct mapping {
	uint32_t refs; /* of the frame */
	uint32_t hfn;  /* GONE: its pages have gone, or could not */
	uint64_t owner; /* FRAME_OWNER() of the page */
};

#define GONE UINT32_MAX

static gint by_cost(gconstpointer a, gconstpointer b)
{
	const struct mapping *x = a, *y = b;

	if (x->refs != y->refs)
		return x->refs < y->refs ? -1 : 1;
	if (x->hfn != y->hfn)
		return x->hfn < y->hfn ? -1 : 1;
	return (x->owner > y->owner) - (x->owner < y->owner);
}

static void gather(const struct swap *s, struct gmem *g, GArray *all)
{
	unsigned vm = gmem_config(g)->vm;
	struct gmem_page page;

	for (gfn_t gfn = gmem_next_mapped(g, 0); gfn != GFN_NONE; gfn = gmem_next_mapped(g, gfn + 1)) {
		struct mapping m;

		gmem_lookup(g, gfn, &page);
		if (page.state != PAGE_SHARED)
			continue;
		m.refs = frames_get(s->frames, page.hfn)->refs;
		m.hfn = (uint32_t)page.hfn;
		m.owner = FRAME_OWNER(FRAME_GUEST, vm, gfn);
		g_array_append_val(all, m);
	}
}

/* Was any of the frame's pages touched since the last sweep? Asks all of them, so that each is asked alike. */
static bool touched(const struct swap *s, const struct mapping *m, guint n)
{
	bool young = false;

	for (guint i = 0; i < n; i++)
		young |= gmem_test_clear_young(swap_gmem(s, m[i].owner), OWNER_GFN(m[i].owner));
	return young;
}

/* The frame's pages go, as many as can. */
static void evict_frame(struct swap *s, struct mapping *m, guint n)
{
	for (guint i = 0; i < n; i++) {
		struct gmem *g = swap_gmem(s, m[i].owner);
		struct counters *c = gmem_counters(g);

		if (swap_evict_dirty(s, g, OWNER_GFN(m[i].owner), m[i].hfn)) {
			c->swap_failures++;
			break;
		}
		s->evictions++;
		c->swap_outs++;
		c->swap_outs_merged++;
	}
	m->hfn = GONE;
}

/* The pages of the frame that begin at entry @i; its refs unless a VM maps it that is nobody's to take from. */
static guint npages(const GArray *all, guint i)
{
	const struct mapping *m = &g_array_index(all, struct mapping, i);
	guint n = 1;

	while (i + n < all->len && n < m->refs && (m[n].hfn == m->hfn || m->hfn == GONE))
		n++;
	return n;
}

int swap_evict_merged(struct swap *s, uint64_t want)
{
	g_autoptr(GArray) all = NULL;

	if (!s->nmerged || s->slots.nused == s->slots.nslots)
		return ERR(-ENOMEM);
	all = g_array_sized_new(FALSE, FALSE, sizeof(struct mapping), (guint)s->nmerged);
	for (unsigned i = 0; i < s->whom.vms->len; i++)
		if (swap_whom_vm(&s->whom, i))
			gather(s, swap_whom_vm(&s->whom, i)->g, all);
	g_array_sort(all, by_cost);
	for (int round = 0; round < 2; round++) {
		for (guint i = 0, n; i < all->len && swap_nfree(s) < want; i += n) {
			struct mapping *m = &g_array_index(all, struct mapping, i);

			n = npages(all, i);
			if (m->hfn != GONE && n == m->refs && n <= s->slots.nslots - s->slots.nused &&
			    (round == 1 || !touched(s, m, n)))
				evict_frame(s, m, n);
		}
	}
	swap_write_out(s);
	return swap_nfree(s) < want ? ERR(-ENOMEM) : 0;
}
