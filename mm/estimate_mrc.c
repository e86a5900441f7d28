/* SPDX-License-Identifier: MIT */
/*
 * estimate_mrc.c - the working set by a miss-ratio curve, sampled
 *
 * Problem: how many faults would the guest have with more memory, or with less? A working set is one point of that
 * curve: the least memory in which (nearly) everything that is used again is still there.
 *
 * Idea: reuse distances give the whole curve at once (reuse.c), and a sample of the pages is enough: follow those whose
 * hashed number falls below a threshold, and distances among them, times the pages that have a frame for each one that
 * has and is followed, are distances among all (SHARDS, with the share that came out rather than the one asked for). A
 * touch is seen when the page is not mapped, so at each step the pages touched since the last one are taken from the
 * tables again; what is touched more often within a step is counted once, and costs nothing more.
 *
 * Distances are counted in a histogram that is quartered when a window ends, so that it forgets. The estimate is the
 * distance that all but one in a hundred of the reuses do not exceed. First touches count for nothing: no memory would
 * have spared them.
 *
 * Structures: a number for each followed page, in the order in which they were first seen; the pages to take from the
 * tables at the next step; the histogram, by distance among followed pages.
 *
 * Invariants (tests/unit/test_estimate.c): a loop over n pages, all followed, is estimated at n; the sum of the
 * histogram is the reuses seen, each quartered for every window since.
 *
 * Source: Waldspurger and others, Efficient MRC Construction with SHARDS, FAST 2015; Zhao and others, Low Cost Working
 * Set Size Tracking, ATC 2011 (reuse distances from page protection); Mattson and others, 1970.
 */
#include <glib.h>

#include "mm/estimate.h"
#include "mm/events.h"
#include "mm/reuse.h"
#include "workloads/rng.h"

#define MISS_PERCENT 1u /* of the reuses may be misses */
#define WEIGHT	     256u /* of a new reuse: it can be quartered four times */

struct mrc {
	struct estimator base;
	struct gmem *g;
	uint64_t seed, threshold; /* of hashed numbers, 64 bits */
	uint64_t held;	 /* pages followed that have a frame */
	GHashTable *ids; /* gfn + 1 -> id + 1 */
	GArray *pages;	 /* by id, of gfn_t */
	struct reuse *reuse;
	GArray *rearm;	   /* of gfn_t */
	GArray *histogram; /* by distance, of uint64_t weights */
};

static struct estimator *mrc_create(const struct estimator_args *args)
{
	struct mrc *x = g_new0(struct mrc, 1);

	x->seed = rng_mix(args->seed ^ 0x6d7263);
	x->g = args->g;
	x->threshold = (uint64_t)(((unsigned __int128)UINT64_MAX * args->sampling_ppm) / 1000000);
	x->ids = g_hash_table_new(g_direct_hash, g_direct_equal);
	x->pages = g_array_new(FALSE, FALSE, sizeof(gfn_t));
	x->reuse = reuse_new();
	x->rearm = g_array_new(FALSE, FALSE, sizeof(gfn_t));
	x->histogram = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	return &x->base;
}

static void mrc_destroy(struct estimator *base)
{
	struct mrc *x = (struct mrc *)base;

	g_hash_table_unref(x->ids);
	g_array_unref(x->pages);
	reuse_free(x->reuse);
	g_array_unref(x->rearm);
	g_array_unref(x->histogram);
	g_free(x);
}

static uint32_t id_of(struct mrc *x, gfn_t gfn)
{
	gpointer id = g_hash_table_lookup(x->ids, GSIZE_TO_POINTER(gfn + 1));

	if (!id) {
		id = GUINT_TO_POINTER(g_hash_table_size(x->ids) + 1);
		g_hash_table_insert(x->ids, GSIZE_TO_POINTER(gfn + 1), id);
		g_array_append_val(x->pages, gfn);
	}
	return GPOINTER_TO_UINT(id) - 1;
}

static void touch(struct mrc *x, uint32_t id)
{
	uint32_t distance = reuse_touch(x->reuse, id);

	if (!distance)
		return;
	if (distance >= x->histogram->len)
		g_array_set_size(x->histogram, distance + 1);
	g_array_index(x->histogram, uint64_t, distance) += WEIGHT;
}

static bool has_frame(enum page_state s)
{
	return s == PAGE_RESIDENT || s == PAGE_SHARED || s == PAGE_ZERO;
}

static void mrc_event(struct estimator *base, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause)
{
	struct mrc *x = (struct mrc *)base;

	if (rng_mix(gfn ^ x->seed) > x->threshold)
		return;
	x->held += (uint64_t)has_frame(to) - has_frame(from);
	if (!has_frame(to))
		return;
	g_array_append_val(x->rearm, gfn);
	if (estimate_is_touch(cause))
		touch(x, id_of(x, gfn));
}

static uint64_t held_by_all(const struct mrc *x)
{
	const struct counters *c = gmem_counters(x->g);

	return c->pages_resident + c->pages_merged + c->ksm_zero_pages;
}

/* A distance among pages followed as one among all. */
static uint64_t to_all(const struct mrc *x, uint64_t distance)
{
	return distance * held_by_all(x) / x->held;
}

/* The distance that all but a few reuses do not exceed, among all pages. */
static uint64_t knee(const struct mrc *x)
{
	const uint64_t *weight = (const uint64_t *)(const void *)x->histogram->data;
	uint64_t sum = 0, above = 0;
	guint d = x->histogram->len;

	for (guint i = 0; i < d; i++)
		sum += weight[i];
	if (!sum || !x->held)
		return 0;
	while (above + weight[d - 1] <= sum * MISS_PERCENT / 100)
		above += weight[--d];
	return to_all(x, d - 1);
}

static void mrc_step(struct estimator *base, unsigned step, bool ends)
{
	struct mrc *x = (struct mrc *)base;

	(void)step;
	for (guint i = 0; i < x->rearm->len; i++)
		estimator_young(base, g_array_index(x->rearm, gfn_t, i));
	g_array_set_size(x->rearm, 0);
	/* No fault tells of touches there: ask after each page followed, in the order in which they were first seen. */
	for (guint id = 0; gmem_is_young_by_bit(x->g) && id < x->pages->len; id++)
		if (estimator_young(base, g_array_index(x->pages, gfn_t, id)))
			touch(x, id);
	if (!ends)
		return;
	base->pages = knee(x);
	for (guint i = 0; i < x->histogram->len; i++)
		g_array_index(x->histogram, uint64_t, i) /= 4;
}

/* Up to the largest distance there is. */
static bool mrc_curve(const struct estimator *base, uint64_t *most, uint32_t *ppm)
{
	const struct mrc *x = (const struct mrc *)base;
	const uint64_t *weight = (const uint64_t *)(const void *)x->histogram->data;
	uint64_t sum = 0, hits = 0, last = 0;
	guint d = 0;

	for (guint i = 0; i < x->histogram->len; i++) {
		sum += weight[i];
		last = weight[i] ? i : last;
	}
	if (!sum || !x->held)
		return false;
	*most = to_all(x, last);
	for (uint64_t i = 0; i < ESTIMATE_POINTS; i++) {
		for (; d <= last * i / (ESTIMATE_POINTS - 1); d++)
			hits += weight[d];
		ppm[i] = (uint32_t)((unsigned __int128)(sum - hits) * 1000000 / sum);
	}
	return true;
}

const struct estimator_ops estimator_mrc = {
	.name = "mrc",
	.summary = "Some of the pages followed touch by touch: the memory in which 99% of their reuses hit (SHARDS).",
	.gauge = offsetof(struct counters, wss_mrc),
	.error = offsetof(struct counters, wss_mrc_error),
	.over = offsetof(struct counters, wss_mrc_over),
	.create = mrc_create,
	.destroy = mrc_destroy,
	.step = mrc_step,
	.event = mrc_event,
	.curve = mrc_curve,
};
