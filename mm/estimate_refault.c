/* SPDX-License-Identifier: MIT */
/*
 * estimate_refault.c - the working set by refault distance
 *
 * Problem: a guest whose memory the host has taken faults pages back. How much more memory would have spared it those
 * faults? No page need be unmapped to know: the faults happen anyway.
 *
 * Idea: a clock counts the evictions of the VM's pages. An evicted page keeps its reading (a shadow entry); when the
 * page is touched again, the reading has advanced by its *refault distance*: with so many more frames it would have
 * been there still. The working set is then what is resident and the distance that nine of ten refaults of the window
 * did not exceed, at most all pages in swap. Without a refault what is resident is enough; how much of that is used
 * this method cannot see, so it is an upper bound then.
 *
 * A page read ahead of its touch refaults when it is touched.
 *
 * Structures: one reading for each page, lazily backed: memory is touched for pages that were evicted at least once.
 *
 * Invariants (tests/unit/test_estimate.c): a page that cycles through a memory n too small for its loop has distances
 * that add up with what is resident to the loop.
 *
 * Source: Linux mm/workingset.c (Johannes Weiner, 2013).
 */
#include <glib.h>

#include "mm/estimate.h"
#include "mm/events.h"
#include "mm/lazy.h"

#define SPARED_PERCENT 90u

struct refault {
	struct estimator base;
	struct gmem *g;
	uint64_t npages;
	uint32_t clock;	  /* evictions, plus 1: no reading is 0 */
	uint32_t *shadow; /* by gfn: the clock when it was evicted; 0: it was not, or has come back */
	GArray *distances; /* of the refaults of this window, uint32_t */
	uint64_t missing;  /* what was found at the end of the last window */
};

static struct estimator *refault_create(const struct estimator_args *args)
{
	struct refault *x = g_new0(struct refault, 1);

	x->g = args->g;
	x->npages = args->npages;
	x->clock = 1;
	x->distances = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	x->shadow = lazy_new(args->npages * sizeof(*x->shadow));
	if (x->shadow)
		return &x->base;
	g_array_unref(x->distances);
	g_free(x);
	return NULL;
}

static void refault_destroy(struct estimator *base)
{
	struct refault *x = (struct refault *)base;

	g_array_unref(x->distances);
	lazy_free(x->shadow, x->npages * sizeof(*x->shadow));
	g_free(x);
}

static void refault_event(struct estimator *base, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause)
{
	struct refault *x = (struct refault *)base;
	uint32_t distance;

	(void)from;
	if (cause == EVENT_EVICT) {
		x->shadow[gfn] = x->clock;
		if (++x->clock == 0)
			x->clock = 1;
		return;
	}
	if (!x->shadow[gfn] || cause == EVENT_READAHEAD)
		return;
	if (estimate_is_touch(cause) && to == PAGE_RESIDENT) {
		distance = x->clock - x->shadow[gfn];
		g_array_append_val(x->distances, distance);
	}
	x->shadow[gfn] = 0;
}

static gint by_size(gconstpointer a, gconstpointer b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void refault_step(struct estimator *base, unsigned step, bool ends)
{
	struct refault *x = (struct refault *)base;
	const struct counters *c = gmem_counters(x->g);
	uint64_t held = c->pages_resident + c->pages_merged + c->ksm_zero_pages;
	uint64_t out = c->pages_swapped + c->pages_compressed;
	guint n = x->distances->len;

	(void)step;
	if (ends) {
		g_array_sort(x->distances, by_size);
		x->missing = n ? g_array_index(x->distances, uint32_t, (n - 1) * SPARED_PERCENT / 100) : 0;
		g_array_set_size(x->distances, 0);
	}
	base->pages = held + MIN(x->missing, out);
}

const struct estimator_ops estimator_refault = {
	.name = "refault",
	.summary = "What is resident, and what more would have spared 90% of the refaults from swap (Linux).",
	.gauge = offsetof(struct counters, wss_refault),
	.error = offsetof(struct counters, wss_refault_error),
	.over = offsetof(struct counters, wss_refault_over),
	.create = refault_create,
	.destroy = refault_destroy,
	.step = refault_step,
	.event = refault_event,
};
