/* SPDX-License-Identifier: MIT */
/*
 * host_estimate.c - when working sets are estimated, and who pays for it
 *
 * As page merging (host_scan.c): between quanta, the entries removed billed to the host (ns_estimate). What it costs
 * the guests, a fault for each page that comes back, is billed to them as any fault is.
 */
#include <errno.h>

#include "vmm/host.h"

static uint64_t truth_of(void *ctx, unsigned vm)
{
	struct host *h = ctx;

	return h->ops->truth(h->ctx, vm);
}

gboolean host_estimate_init(struct host *h, GError **error)
{
	const struct conf_estimate *c = &h->run->e->estimate;
	struct estimate_config cfg = {
		.vms = h->gmems,
		.nvms = h->nvms,
		.window_ns = c->window_ns,
		.sample_pages = c->sample_pages,
		.sampling_ppm = c->sampling_ppm,
		.seed = rng_mix(h->run->seed ^ 0x777373),
		.truth = c->truth && h->ops->truth ? truth_of : NULL,
		.ctx = h,
	};

	if (!conf_estimates(c) && !c->truth)
		return TRUE;
	for (unsigned i = 0; conf_estimates(c) && c->methods[i]; i++) {
		cfg.methods[i] = estimator_find(c->methods[i]);
		if (!g_strcmp0(c->methods[i], c->active))
			cfg.active = i;
	}
	h->estimate = estimate_new(&cfg);
	if (!h->estimate)
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "no address space for estimating working sets: raise the limit (ulimit -v)");
	return h->estimate != NULL;
}

bool host_estimate(struct host *h, uint64_t now_ns)
{
	if (now_ns < host_estimate_due(h))
		return false;
	h->ops->job_begins(h->ctx, HOST_ESTIMATE);
	estimate_tick(h->estimate, now_ns);
	if (h->ops->unmapped)
		h->ops->unmapped(h->ctx);
	h->ops->job_ends(h->ctx, HOST_ESTIMATE);
	h->counters.ns_estimate = h->ops->job_ns(h->ctx, HOST_ESTIMATE);
	return true;
}

uint64_t host_estimate_due(const struct host *h)
{
	return h->estimate ? estimate_due(h->estimate) : UINT64_MAX;
}

static void put_curve(struct host *h, unsigned vm, unsigned method)
{
	uint32_t ppm[ESTIMATE_POINTS];
	uint64_t most;

	if (!estimate_curve(h->estimate, vm, method, &most, ppm))
		return;
	if (!h->run->curves)
		h->run->curves = g_string_new("vm,pages,miss_ppm\n");
	for (uint64_t i = 0; i < ESTIMATE_POINTS; i++)
		g_string_append_printf(h->run->curves, "%s,%" G_GUINT64_FORMAT ",%u\n", h->vm[vm].out->name,
				       most * i / (ESTIMATE_POINTS - 1), ppm[i]);
}

void host_estimate_finish(struct host *h)
{
	const struct conf_estimate *c = &h->run->e->estimate;

	for (unsigned vm = 0; h->estimate && vm < h->nvms; vm++)
		for (unsigned i = 0; conf_estimates(c) && c->methods[i]; i++)
			put_curve(h, vm, i);
}
