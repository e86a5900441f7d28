/* SPDX-License-Identifier: MIT */
/*
 * estimate.c - windows, and what estimators have in common
 *
 * Problem: several estimators look at the same guests at once, in one run, so that they can be compared on the same
 * accesses. But whether a page was touched can be asked only once: asking clears the answer.
 *
 * Idea: gmem answers to all estimators together, and apart from the reclaimer (gmem_observe_young). Here the answer is
 * kept for each of them in a bit of the page's byte, until it asks. Each is still charged with what it does, but
 * together they cost less than the sum, since a page unmapped for one is unmapped for all: costs are compared in runs
 * of one method each.
 *
 * Invariants (tests/unit/test_estimate.c): an estimator is told of each touch between two of its questions exactly
 * once, whoever else asks; a window has ESTIMATE_STEPS steps; error and over are sums over the windows scored.
 */
#include "mm/estimate.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/events.h"
#include "mm/lazy.h"

const struct estimator_ops *const estimator_table[] = {
	&estimator_esx, &estimator_idle, &estimator_refault, &estimator_mrc, NULL,
};

struct estimate_vm {
	struct gmem_watch watch; /* first: what gmem hands back */
	struct estimate *e;
	struct gmem *g;
	uint8_t *told;
	struct estimator *x[ESTIMATORS_MAX];
};

struct estimate {
	struct estimate_config cfg;
	unsigned nmethods;
	struct estimate_vm *vm;
	uint64_t nsteps; /* since the beginning */
};

const struct estimator_ops *estimator_find(const char *name)
{
	for (unsigned i = 0; estimator_table[i]; i++)
		if (!strcmp(estimator_table[i]->name, name))
			return estimator_table[i];
	return NULL;
}

bool estimate_is_touch(unsigned cause)
{
	return cause == EVENT_YOUNG || cause == EVENT_FAULT || cause == EVENT_DMA || cause == EVENT_SWAP_IN;
}

bool estimator_young(struct estimator *x, gfn_t gfn)
{
	bool young = gmem_observe_young(x->g, gfn);

	if (!x->told)
		return young;
	if (young)
		x->told[gfn] = x->all;
	if (!(x->told[gfn] & x->bit))
		return false;
	x->told[gfn] &= (uint8_t)~x->bit;
	return gmem_is_mapped(x->g, gfn);
}

bool estimator_peek(const struct estimator *x, gfn_t gfn)
{
	struct gmem_page page;

	if (gmem_lookup(x->g, gfn, &page) || !gmem_is_mapped(x->g, gfn))
		return false;
	/* Where accessed bits tell, a page stays mapped whether it is touched or not. */
	return (page.access && !gmem_is_young_by_bit(x->g)) || (x->told && x->told[gfn] & x->bit);
}

static void on_change(struct gmem_watch *w, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause)
{
	struct estimate_vm *vm = (struct estimate_vm *)w;

	for (unsigned i = 0; i < vm->e->nmethods; i++)
		if (vm->x[i]->ops->event)
			vm->x[i]->ops->event(vm->x[i], gfn, from, to, cause);
}

static bool start_vm(struct estimate *e, unsigned id)
{
	const struct gmem_config *g = gmem_config(e->cfg.vms[id]);
	struct estimate_vm *vm = &e->vm[id];

	vm->e = e;
	vm->g = e->cfg.vms[id];
	vm->watch.changed = on_change;
	if (e->nmethods > 1) {
		vm->told = lazy_new(g->npages);
		if (!vm->told)
			return false;
	}
	for (unsigned i = 0; i < e->nmethods; i++) {
		const struct estimator_args args = {
			.g = vm->g,
			.first = g->arena_pages,
			.npages = g->npages,
			.sample_pages = e->cfg.sample_pages,
			.sampling_ppm = e->cfg.sampling_ppm,
			.seed = e->cfg.seed ^ id,
		};

		vm->x[i] = e->cfg.methods[i]->create(&args);
		if (!vm->x[i])
			return false;
		vm->x[i]->ops = e->cfg.methods[i];
		vm->x[i]->g = vm->g;
		vm->x[i]->told = vm->told;
		vm->x[i]->bit = (uint8_t)(1u << i);
		vm->x[i]->all = (uint8_t)((1u << e->nmethods) - 1);
	}
	gmem_set_watch(vm->g, &vm->watch);
	return true;
}

struct estimate *estimate_new(const struct estimate_config *cfg)
{
	struct estimate *e = g_new0(struct estimate, 1);

	g_assert(cfg->window_ns >= ESTIMATE_STEPS);
	e->cfg = *cfg;
	while (cfg->methods[e->nmethods])
		e->nmethods++;
	e->vm = g_new0(struct estimate_vm, cfg->nvms);
	for (unsigned i = 0; i < cfg->nvms; i++)
		if (!start_vm(e, i)) {
			estimate_free(e);
			errno = ENOMEM;
			return NULL;
		}
	e->cfg.vms = NULL; /* the caller's */
	return e;
}

void estimate_free(struct estimate *e)
{
	for (unsigned n = 0; n < e->cfg.nvms; n++) {
		struct estimate_vm *vm = &e->vm[n];

		if (vm->g)
			gmem_set_watch(vm->g, NULL);
		for (unsigned i = 0; i < e->nmethods && vm->x[i]; i++)
			e->cfg.methods[i]->destroy(vm->x[i]);
		if (vm->told)
			lazy_free(vm->told, gmem_config(vm->g)->npages);
	}
	g_free(e->vm);
	g_free(e);
}

static uint64_t *counter_at(struct counters *c, size_t offset)
{
	return (uint64_t *)((char *)c + offset);
}

/* A window of one VM has ended, with @truth pages touched. */
static void score(struct estimate *e, struct estimate_vm *vm, uint64_t truth)
{
	struct counters *c = gmem_counters(vm->g);

	c->wss_truth = truth;
	if (e->nsteps / ESTIMATE_STEPS < 2)
		return;
	c->wss_windows++;
	c->wss_truth_sum += truth;
	for (unsigned i = 0; i < e->nmethods; i++) {
		uint64_t pages = vm->x[i]->pages, over = pages > truth ? pages - truth : 0;

		*counter_at(c, vm->x[i]->ops->error) += over ? over : truth - pages;
		*counter_at(c, vm->x[i]->ops->over) += over;
	}
}

static void step(struct estimate *e)
{
	unsigned at = (unsigned)(e->nsteps % ESTIMATE_STEPS);
	bool ends = at == ESTIMATE_STEPS - 1;

	e->nsteps++;
	for (unsigned n = 0; n < e->cfg.nvms; n++) {
		struct estimate_vm *vm = &e->vm[n];
		uint64_t truth = ends && e->cfg.truth ? e->cfg.truth(e->cfg.ctx, n) : UINT64_MAX;

		for (unsigned i = 0; i < e->nmethods; i++) {
			vm->x[i]->ops->step(vm->x[i], at, ends);
			*counter_at(gmem_counters(vm->g), vm->x[i]->ops->gauge) = vm->x[i]->pages;
		}
		if (truth != UINT64_MAX)
			score(e, vm, truth);
	}
}

/* From the number of windows and of steps, so that rounding adds up to nothing. */
uint64_t estimate_due(const struct estimate *e)
{
	uint64_t windows = (e->nsteps + 1) / ESTIMATE_STEPS, steps = (e->nsteps + 1) % ESTIMATE_STEPS;

	return windows * e->cfg.window_ns + e->cfg.window_ns * steps / ESTIMATE_STEPS;
}

void estimate_tick(struct estimate *e, uint64_t now_ns)
{
	while (estimate_due(e) <= now_ns)
		step(e);
}

bool estimate_known(const struct estimate *e)
{
	return e->nmethods && e->nsteps / ESTIMATE_STEPS >= 2;
}

uint64_t estimate_pages(const struct estimate *e, unsigned vm, unsigned method)
{
	return e->vm[vm].x[method]->pages;
}

bool estimate_curve(const struct estimate *e, unsigned vm, unsigned method, uint64_t *most,
		    uint32_t ppm[ESTIMATE_POINTS])
{
	const struct estimator *x = e->vm[vm].x[method];

	return x->ops->curve && x->ops->curve(x, most, ppm);
}

uint64_t estimate_active_pages(const struct estimate *e, unsigned vm)
{
	return e->nmethods ? estimate_pages(e, vm, e->cfg.active) : 0;
}
