/* SPDX-License-Identifier: MIT */
/*
 * estimate_idle.c - the working set by scanning all pages, with an age for each
 *
 * Problem: which pages have been idle, and for how long? A share (estimate_esx.c) says how many are in use; who wants
 * to take memory wants to know how many have not been used for how long.
 *
 * Idea: every page is looked at once in each window, a sixteenth of them at each step. One that was touched since then
 * has age 0, another grows older by a window, up to 255. Pages of age 0 are the working set. It costs a young fault for
 * every page in use in every window.
 *
 * The histogram of ages is told in five gauges, idle_age_0 to idle_age_8: pages of age 0, 1, 2 or 3, 4 to 7, 8 and
 * more. Only pages with a frame have an age.
 *
 * Invariants (tests/unit/test_estimate.c): the histogram is that of the ages; a page touched in each window has age 0,
 * one not touched for n whole windows at least n - 1.
 *
 * Source: Lespinasse, idle page tracking and working set estimation (kstaled), linux-mm 2011; Lagar-Cavilla and others,
 * Software-Defined Far Memory in Warehouse-Scale Computers, ASPLOS 2019 (ages of 8 bits, cold from 120 s on); Linux
 * Documentation/admin-guide/mm/idle_page_tracking.rst.
 */
#include <glib.h>

#include "mm/estimate.h"
#include "mm/lazy.h"

#define AGE_MAX 255u
#define BINS	5u

struct idle {
	struct estimator base;
	struct gmem *g;
	gfn_t first;
	uint64_t npages;	  /* of the VM */
	uint8_t *age;		  /* by gfn: 0 is none, else age + 1; so the oldest is AGE_MAX - 1 */
	uint64_t count[AGE_MAX]; /* pages by age */
};

static struct estimator *idle_create(const struct estimator_args *args)
{
	struct idle *x = g_new0(struct idle, 1);

	x->g = args->g;
	x->first = args->first;
	x->npages = args->npages;
	x->age = lazy_new(args->npages);
	if (x->age)
		return &x->base;
	g_free(x);
	return NULL;
}

static void idle_destroy(struct estimator *base)
{
	struct idle *x = (struct idle *)base;

	lazy_free(x->age, x->npages);
	g_free(x);
}

static void look(struct idle *x, gfn_t gfn)
{
	unsigned old = x->age[gfn], age = 0;

	if (gmem_is_mapped(x->g, gfn))
		age = estimator_young(&x->base, gfn) ? 1 : MIN(old + 1, AGE_MAX);
	if (age == old)
		return;
	if (old)
		x->count[old - 1]--;
	if (age)
		x->count[age - 1]++;
	x->age[gfn] = (uint8_t)age;
}

static void report(struct idle *x)
{
	struct counters *c = gmem_counters(x->g);
	uint64_t *const gauge[BINS] = {
		&c->idle_age_0, &c->idle_age_1, &c->idle_age_2, &c->idle_age_4, &c->idle_age_8,
	};
	uint64_t sum[BINS] = { 0 };

	for (unsigned age = 0; age < AGE_MAX; age++)
		sum[age >= 8 ? 4 : age >= 4 ? 3 : MIN(age, 2)] += x->count[age];
	for (unsigned i = 0; i < BINS; i++)
		*gauge[i] = sum[i];
}

static void idle_step(struct estimator *base, unsigned step, bool ends)
{
	struct idle *x = (struct idle *)base;
	uint64_t n = x->npages - x->first;
	gfn_t end = x->first + n * (step + 1) / ESTIMATE_STEPS;

	for (gfn_t gfn = x->first + n * step / ESTIMATE_STEPS; gfn < end; gfn++)
		look(x, gfn);
	base->pages = x->count[0];
	if (ends)
		report(x);
}

const struct estimator_ops estimator_idle = {
	.name = "idle",
	.summary = "Every page looked at once in each window, with its age: those of age 0 (kstaled).",
	.gauge = offsetof(struct counters, wss_idle),
	.error = offsetof(struct counters, wss_idle_error),
	.over = offsetof(struct counters, wss_idle_over),
	.create = idle_create,
	.destroy = idle_destroy,
	.step = idle_step,
};
