/* SPDX-License-Identifier: MIT */
/* sampler.c - warm-up, samples and sums: see sampler.h */
#include "vmm/sampler.h"

#include <string.h>

void sampler_init(struct sampler *s, struct run *run, void (*read)(void *ctx, unsigned vm, struct counters *out),
		  void *ctx)
{
	*s = (struct sampler){ .run = run, .read = read, .ctx = ctx };
	s->base = g_new0(struct counters, run->vms->len);
}

void sampler_destroy(struct sampler *s)
{
	g_free(s->base);
	s->base = NULL;
}

/* What was counted before the warm-up ended does not count; gauges are what they are. */
static void subtract(struct counters *c, const struct counters *base)
{
	for (const struct counter_info *i = counter_table; i->name; i++)
		if (!counter_is_gauge(i))
			*(uint64_t *)((char *)c + i->offset) -= counter_get(base, i);
}

static void read_since(struct sampler *s, unsigned vm, struct counters *out)
{
	s->read(s->ctx, vm, out);
	subtract(out, &s->base[vm]);
}

static void read_host(struct sampler *s, struct counters *out)
{
	*out = (struct counters){ 0 };
	if (s->read_host)
		s->read_host(s->ctx, out);
	subtract(out, &s->base_host);
}

static void end_warmup(struct sampler *s)
{
	read_host(s, &s->base_host);
	for (unsigned i = 0; i < s->run->vms->len; i++) {
		struct run_vm *vm = g_ptr_array_index(s->run->vms, i);

		s->read(s->ctx, i, &s->base[i]);
		*vm->latency = (struct hist){ 0 };
	}
	s->warm = true;
}

static void sample(struct sampler *s, uint64_t now)
{
	struct counters host;

	read_host(s, &host);
	for (unsigned i = 0; i < s->run->vms->len; i++) {
		struct counters c;

		read_since(s, i, &c);
		run_sample(s->run, now, i, &c);
		counters_add(&host, &c);
	}
	run_sample(s->run, now, RUN_HOST, &host);
}

void sampler_tick(struct sampler *s, uint64_t now)
{
	const struct conf_experiment *e = &s->run->e->experiment;

	if (!s->warm && now >= e->warmup_ns)
		end_warmup(s);
	if (s->warm && e->sample_ns && now >= s->next) {
		sample(s, now);
		s->next = now - now % e->sample_ns + e->sample_ns;
	}
}

uint64_t sampler_due(const struct sampler *s)
{
	const struct conf_experiment *e = &s->run->e->experiment;

	if (!s->warm)
		return e->warmup_ns;
	return e->sample_ns ? s->next : UINT64_MAX;
}

gboolean sampler_finish(struct sampler *s, uint64_t now, GError **error)
{
	if (!s->warm && now < s->run->e->experiment.warmup_ns) {
		g_set_error(error, VMM_ERROR, VMM_FAILED,
			    "%s at %" G_GUINT64_FORMAT " ns, before [experiment] warm-up was over",
			    s->run->interrupted ? "interrupted" : "the guests ended", now);
		return FALSE;
	}
	if (!s->warm)
		end_warmup(s);
	sample(s, now);
	read_host(s, &s->run->host);
	for (unsigned i = 0; i < s->run->vms->len; i++) {
		struct run_vm *vm = g_ptr_array_index(s->run->vms, i);

		read_since(s, i, &vm->counters);
		counters_add(&s->run->host, &vm->counters);
	}
	s->run->end_ns = now;
	return TRUE;
}
