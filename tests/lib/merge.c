/* SPDX-License-Identifier: MIT */
/* merge.c - see merge.h */
#include "tests/lib/merge.h"

#include <glib.h>
#include <string.h>

struct merge *merge_new(unsigned nvms, uint64_t npages, unsigned level, uint64_t host)
{
	return merge_new_on(nvms, npages, level, host, 1);
}

struct merge *merge_new_on(unsigned nvms, uint64_t npages, unsigned level, uint64_t host, unsigned nnodes)
{
	struct merge *m = g_new0(struct merge, 1);

	m->nvms = nvms;
	m->fr = frames_new(host, nnodes);
	m->fm = fake_machine_new(host);
	for (unsigned i = 0; i < nvms; i++) {
		struct gmem_config cfg = { .vm = i, .npages = npages, .level = level, .node = i % nnodes };

		cfg.arena_pages = i == nvms - 1 ? 512 : 0;
		m->g[i] = gmem_new(&cfg, m->fr, &m->fm->base, &m->c[i], NULL);
		g_assert(m->g[i]);
		m->p[i] = fake_paging_new(m->g[i]);
	}
	m->cfg = (struct dedup_config){
		.machine = &m->fm->base, .frames = m->fr, .vms = m->g, .nvms = nvms, .host = &m->host,
		.split_huge = true, .merge_across_nodes = true, .max_page_sharing = 1u << 30, .seed = 1,
	};
	return m;
}

void merge_swap(struct merge *m, const struct swap_config *cfg)
{
	m->swap = swap_new(cfg, m->fr, &m->fm->base);
	g_assert(m->swap);
	for (unsigned i = 0; i < m->nvms; i++)
		g_assert(!swap_attach(m->swap, m->g[i]));
}

void merge_start(struct merge *m, const char *algorithm)
{
	for (int i = 0; dedup_algorithms[i]; i++)
		if (!strcmp(dedup_algorithms[i]->name, algorithm))
			m->d = dedup_algorithms[i]->create(&m->cfg);
	g_assert(m->d);
}

void merge_free(struct merge *m)
{
	g_assert(!m->swap || !swap_verify(m->swap));
	if (m->swap)
		swap_reclaimer(m->swap)->sharer = NULL;
	if (m->d)
		m->d->ops->destroy(m->d);
	for (unsigned i = 0; i < m->nvms; i++) {
		fake_paging_check(m->p[i]);
		gmem_dirty_log_stop(m->g[i]);
		fake_paging_free(m->p[i]);
		gmem_free(m->g[i]);
	}
	if (m->swap)
		swap_free(m->swap);
	g_assert(frames_used(m->fr) == 0 && m->fr->zero == HFN_NONE);
	fake_machine_free(m->fm);
	frames_free(m->fr);
	g_free(m);
}

int merge_store(struct merge *m, unsigned vm, gfn_t gfn, uint64_t a, uint64_t b)
{
	bool faulted;
	int err = fake_paging_access(m->p[vm], gfn, ACC_W, &faulted);
	uint64_t *page;

	if (err)
		return err;
	page = (uint64_t *)fake_machine_page(m->fm, m->p[vm]->map[gfn].hfn);
	page[3] = a;
	page[400] = b;
	return 0;
}

void merge_peek(struct merge *m, unsigned vm, gfn_t gfn, uint64_t *a, uint64_t *b)
{
	uint64_t page[512];

	g_assert(!gmem_peek(m->g[vm], gfn, page));
	*a = page[3];
	*b = page[400];
}

enum page_state merge_state(struct merge *m, unsigned vm, gfn_t gfn)
{
	struct gmem_page page;

	g_assert(!gmem_lookup(m->g[vm], gfn, &page));
	return page.state;
}

void merge_passes(struct merge *m, unsigned n)
{
	uint64_t end;

	for (end = m->host.full_scans + 1; m->host.full_scans < end;)
		m->d->ops->scan(m->d, 1000000);
	for (end = m->host.full_scans + n; m->host.full_scans < end;)
		m->d->ops->scan(m->d, 1000000);
}

void merge_report(struct merge *m)
{
	dedup_report(m->d);
	m->sum = m->host;
	for (unsigned i = 0; i < m->nvms; i++)
		counters_add(&m->sum, &m->c[i]);
}
