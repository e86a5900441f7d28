/* SPDX-License-Identifier: MIT */
/*
 * estimate.c - when working sets are estimated, and who pays for it
 *
 * As page merging (scan.c): between quanta, the entries removed billed to the host (ns_estimate), in the free schedule
 * on the CPU that is furthest behind. What it costs the guests, a fault for each page that comes back, is billed to
 * them as any fault is.
 */
#define G_LOG_DOMAIN "sim"
#include <errno.h>

#include "mm/estimate.h"
#include "vmm/sim/truth.h"

static uint64_t truth_of(void *ctx, unsigned vm)
{
	struct sim *s = ctx;

	return s->vms[vm]->done ? UINT64_MAX : truth_take(s->vms[vm]->truth);
}

static gboolean no_room(GError **error)
{
	g_set_error(error, VMM_ERROR, VMM_LACKS,
		    "no address space for estimating working sets: raise the limit (ulimit -v)");
	return FALSE;
}

static gboolean make_truth(struct sim *s, GError **error)
{
	for (unsigned i = 0; i < s->nvms; i++) {
		const struct gmem_config *g = gmem_config(s->vms[i]->gmem);

		s->vms[i]->truth = truth_new(g->arena_pages, g->npages);
		if (!s->vms[i]->truth)
			return no_room(error);
	}
	return TRUE;
}

gboolean sim_estimate_init(struct sim *s, GError **error)
{
	const struct conf_estimate *c = &s->run->e->estimate;
	struct estimate_config cfg = {
		.nvms = s->nvms,
		.window_ns = c->window_ns,
		.sample_pages = c->sample_pages,
		.sampling_ppm = c->sampling_ppm,
		.seed = rng_mix(s->run->seed ^ 0x777373),
		.truth = c->truth ? truth_of : NULL,
		.ctx = s,
	};
	g_autofree struct gmem **vms = g_new0(struct gmem *, s->nvms);

	if (!conf_estimates(c) && !c->truth)
		return TRUE;
	for (unsigned i = 0; conf_estimates(c) && c->methods[i]; i++) {
		cfg.methods[i] = estimator_find(c->methods[i]);
		if (!g_strcmp0(c->methods[i], c->active))
			cfg.active = i;
	}
	for (unsigned i = 0; i < s->nvms; i++)
		vms[i] = s->vms[i]->gmem;
	cfg.vms = vms;
	if (c->truth && !make_truth(s, error))
		return FALSE;
	s->estimate = estimate_new(&cfg);
	return s->estimate || no_room(error);
}

uint64_t sim_estimate(struct sim *s, uint64_t now_ns)
{
	uint64_t before = s->estimate_cycles;

	if (!s->estimate || now_ns < estimate_due(s->estimate))
		return 0;
	s->estimating = true;
	estimate_tick(s->estimate, now_ns);
	sim_refresh_roots(s);
	s->estimating = false;
	s->host.ns_estimate = sim_cycles_to_ns(s, s->estimate_cycles);
	return s->estimate_cycles - before;
}

uint64_t sim_estimate_due(const struct sim *s)
{
	return s->estimate ? estimate_due(s->estimate) : UINT64_MAX;
}

static void put_curve(struct sim *s, unsigned vm, unsigned method)
{
	uint32_t ppm[ESTIMATE_POINTS];
	uint64_t most;

	if (!estimate_curve(s->estimate, vm, method, &most, ppm))
		return;
	if (!s->run->curves)
		s->run->curves = g_string_new("vm,pages,miss_ppm\n");
	for (uint64_t i = 0; i < ESTIMATE_POINTS; i++)
		g_string_append_printf(s->run->curves, "%s,%" G_GUINT64_FORMAT ",%u\n", s->vms[vm]->out->name,
				       most * i / (ESTIMATE_POINTS - 1), ppm[i]);
}

void sim_estimate_finish(struct sim *s)
{
	const struct conf_estimate *c = &s->run->e->estimate;

	for (unsigned vm = 0; s->estimate && vm < s->nvms; vm++)
		for (unsigned i = 0; conf_estimates(c) && c->methods[i]; i++)
			put_curve(s, vm, i);
}

void sim_estimate_destroy(struct sim *s)
{
	if (s->estimate)
		estimate_free(s->estimate);
	s->estimate = NULL;
}
