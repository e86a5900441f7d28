/* SPDX-License-Identifier: MIT */
/*
 * experiment_script.c - the script that a workload's phases make
 *
 * Regions are laid out from PROGRAM_BASE in the order in which phases name them, each aligned to 1 GiB (so that any
 * page size can map it) with at least 1 GiB between them; phases that name the same region share it. Two phases with
 * the same generator, region size and parameters share one table.
 */
#include <string.h>

#include "vmm/conf.h"

#define GIB_PAGES (1ull << 18)

static const char *region_of(const struct conf_phase *ph)
{
	return *ph->region ? ph->region : ph->name;
}

static uint32_t phase_index(const struct conf_workload *w, const char *name)
{
	for (uint32_t i = 0; w->phases[i]; i++)
		if (!strcmp(w->phases[i], name))
			return i;
	return 0;
}

/* First page of phase @i's region: that of the phase that named it before, else behind all others. */
static uint64_t place_region(const struct experiment *e, const struct conf_workload *w, uint32_t i, uint64_t *next)
{
	const struct conf_phase *ph = experiment_phase(e, w->phases[i]);
	uint64_t at = *next, most = 0;

	for (uint32_t j = 0; w->phases[j]; j++) {
		const struct conf_phase *other = experiment_phase(e, w->phases[j]);

		if (!strcmp(region_of(other), region_of(ph)))
			most = MAX(most, other->size / 4096);
	}
	*next += (most + GIB_PAGES - 1) / GIB_PAGES * GIB_PAGES + GIB_PAGES;
	return at;
}

static void fill_phase(const struct experiment *e, const struct conf_workload *w, const struct conf_phase *ph,
		       struct phase *out)
{
	const struct workload_ops *ops = ph->pattern == PHASE_TRACE ? NULL : workload_generators[ph->pattern];
	uint32_t flags = ops ? ops->flags : WORKLOAD_MAPS;

	out->generator = ops ? (uint32_t)ph->pattern : PHASE_TRACE_GENERATOR;
	out->flags = (flags & WORKLOAD_MAPS ? 0 : PHASE_MAPS) | (ph->child ? PHASE_CHILD : 0) |
		     (flags & WORKLOAD_FORKS ? PHASE_WAITS : 0);
	out->npages = ph->size / 4096;
	out->noperations = ph->operations;
	out->duration_ns = ph->duration_ns;
	out->think_ns = ph->think_ns;
	out->think_every = ph->think_every;
	out->write_ppm = (uint32_t)ph->write_ppm;
	out->leaf_level = ph->leaf_level;
	out->flags |= ph->backing == BACKING_FILE ? PHASE_FILE : 0;
	out->offset = ph->offset / 4096;
	out->content = conf_contents_base(ph->contents);
	out->flags |= out->content && !(flags & WORKLOAD_FILLS) ? PHASE_FILLS : 0;
	out->stamps = ph->stamps;
	memcpy(out->param, ph->param, sizeof(out->param));
	if (flags & WORKLOAD_FORKS)
		out->fork_phase = phase_index(w, ph->forks);
	for (guint i = 0; !ops && i < e->phases->len; i++)
		if (g_ptr_array_index(e->phases, i) == ph) {
			out->param[0] = i;
			out->param[1] = ph->loops;
		}
}

/* What generators precompute. False: it does not fit. */
static bool fill_table(struct script *s, uint32_t i, uint32_t *used)
{
	struct phase *ph = &s->phase[i];
	const struct workload_ops *ops =
		ph->generator == PHASE_TRACE_GENERATOR ? NULL : workload_generators[ph->generator];
	uint32_t nwords = SCRIPT_TABLE - *used, room = nwords;

	if (!ops || !ops->prepare)
		return true;
	for (uint32_t j = 0; j < i; j++) {
		const struct phase *other = &s->phase[j];

		if (other->generator == ph->generator && other->npages == ph->npages &&
		    !memcmp(other->param, ph->param, sizeof(ph->param))) {
			ph->table = other->table;
			ph->table_words = other->table_words;
			return true;
		}
	}
	ops->prepare(ph, s->table + *used, &nwords);
	ph->table = *used;
	ph->table_words = nwords;
	*used += nwords;
	return nwords <= room;
}

struct script *experiment_script(const struct experiment *e, const struct conf_workload *w, unsigned vm, GError **error)
{
	g_autofree struct script *s = g_new0(struct script, 1);
	uint64_t next = 0;
	uint32_t used = 0;

	s->seed = rng_mix(e->experiment.seed ^ rng_mix(vm));
	s->nprocesses = (uint32_t)w->processes;
	s->nphases = g_strv_length(w->phases);
	for (uint32_t i = 0; i < s->nphases; i++) {
		const struct conf_phase *ph = experiment_phase(e, w->phases[i]);
		uint32_t first = 0;

		fill_phase(e, w, ph, &s->phase[i]);
		while (strcmp(region_of(experiment_phase(e, w->phases[first])), region_of(ph)))
			first++;
		s->phase[i].region = first < i ? s->phase[first].region : place_region(e, w, i, &next);
		if (!fill_table(s, i, &used)) {
			g_set_error(error, EXPERIMENT_ERROR, 0,
				    "%s: [workload %s]: its phases need tables of more than %u words; use fewer or "
				    "smaller zipf regions",
				    e->path, w->name, SCRIPT_TABLE);
			return NULL;
		}
	}
	return g_steal_pointer(&s);
}

uint64_t vm_disk_content(const struct conf_vm *vm)
{
	return conf_contents_base(vm->disk_contents);
}
