/* SPDX-License-Identifier: MIT */
/*
 * estimate_esx.c - the working set by random sampling, as VMware ESX does
 *
 * Problem: what share of its memory does a guest use, at a cost that does not grow with the memory?
 *
 * Idea: for each window n pages are chosen at random and taken from the tables. Those that come back were touched: t of
 * n, so about t/n of all memory was. One window is noisy (its standard deviation is sqrt(f(1-f)/n)), so shares are
 * averaged exponentially: a slow average for a stable estimate, a fast one that follows, and the fast one with what the
 * running window has shown so far, which sees growth within a window. The largest of the three is used: a guest that
 * begins to use memory is believed at once, one that stops is believed slowly.
 *
 * The paper gives no gains; here the slow average takes an eighth of each new share, the fast one half of it. It
 * samples 100 pages in 30 s.
 *
 * Invariants (tests/unit/test_estimate.c): n different pages, all outside the arena, are watched in each window; with n
 * as large as the memory the share is exact.
 *
 * Source: Waldspurger, Memory Resource Management in VMware ESX Server, OSDI 2002, section 5.3.
 */
#include <glib.h>

#include "mm/estimate.h"
#include "workloads/rng.h"

#define ONE	  1000000 /* shares, in ppm */
#define SLOW_GAIN 8
#define FAST_GAIN 2

struct esx {
	struct estimator base;
	struct rng rng;
	gfn_t first;
	uint64_t npages; /* outside the arena */
	uint64_t n;
	gfn_t *sample;
	GHashTable *chosen; /* while choosing */
	bool watching, known;
	int64_t slow, fast;
};

static struct estimator *esx_create(const struct estimator_args *args)
{
	struct esx *x = g_new0(struct esx, 1);

	rng_seed(&x->rng, rng_mix(args->seed) ^ 0x657378);
	x->first = args->first;
	x->npages = args->npages - args->first;
	x->n = MIN(args->sample_pages, x->npages);
	x->sample = g_new(gfn_t, x->n);
	x->chosen = g_hash_table_new(g_direct_hash, g_direct_equal);
	return &x->base;
}

static void esx_destroy(struct estimator *base)
{
	struct esx *x = (struct esx *)base;

	g_hash_table_unref(x->chosen);
	g_free(x->sample);
	g_free(x);
}

/* n different pages, by Floyd's method: one draw each. */
static void choose(struct esx *x)
{
	g_hash_table_remove_all(x->chosen);
	for (uint64_t i = 0; i < x->n; i++) {
		uint64_t most = x->npages - x->n + i, page = rng_below(&x->rng, most + 1);

		if (!g_hash_table_add(x->chosen, GSIZE_TO_POINTER(page))) {
			page = most;
			g_hash_table_add(x->chosen, GSIZE_TO_POINTER(page));
		}
		x->sample[i] = x->first + page;
		estimator_young(&x->base, x->sample[i]);
	}
	x->watching = true;
}

static int64_t share(const struct esx *x, uint64_t touched)
{
	return x->n ? (int64_t)(touched * ONE / x->n) : 0;
}

static void window_over(struct esx *x)
{
	uint64_t touched = 0;
	int64_t f;

	/* Only those that are unmapped still are asked for what the reclaimer saw: asking costs the others a fault. */
	for (uint64_t i = 0; x->watching && i < x->n; i++)
		touched += estimator_peek(&x->base, x->sample[i]) || estimator_young(&x->base, x->sample[i]);
	f = share(x, touched);
	if (x->watching) {
		x->slow = x->known ? x->slow + (f - x->slow) / SLOW_GAIN : f;
		x->fast = x->known ? x->fast + (f - x->fast) / FAST_GAIN : f;
		x->known = true;
	}
	choose(x);
}

static void esx_step(struct estimator *base, unsigned step, bool ends)
{
	struct esx *x = (struct esx *)base;
	uint64_t touched = 0;
	int64_t f;

	(void)step;
	if (ends)
		window_over(x);
	for (uint64_t i = 0; !ends && x->watching && i < x->n; i++)
		touched += estimator_peek(base, x->sample[i]);
	f = x->known ? x->fast + (share(x, touched) - x->fast) / FAST_GAIN : share(x, touched);
	f = MAX(MAX(x->slow, x->fast), ends ? 0 : f);
	base->pages = (uint64_t)f * x->npages / ONE;
}

const struct estimator_ops estimator_esx = {
	.name = "esx",
	.summary = "Random pages watched in each window; the largest of a slow, a fast and a running average (ESX).",
	.gauge = offsetof(struct counters, wss_esx),
	.error = offsetof(struct counters, wss_esx_error),
	.over = offsetof(struct counters, wss_esx_over),
	.create = esx_create,
	.destroy = esx_destroy,
	.step = esx_step,
};
