/* SPDX-License-Identifier: MIT */
/* fake_paging.c - see fake_paging.h */
#include "tests/lib/fake_paging.h"

#include <glib.h>

static struct fake_paging *fake(struct paging *p)
{
	return (struct fake_paging *)p;
}

static void fake_map(struct paging *p, gfn_t gfn, const struct gmem_page *page)
{
	struct fake_paging *fp = fake(p);

	g_assert(page->hfn != HFN_NONE && page->access && gfn + LEVEL_PAGES(page->level) <= fp->npages);
	fp->maps++;
	for (uint64_t i = 0; i < LEVEL_PAGES(page->level); i++)
		fp->map[gfn + i] = (struct fake_mapping){ .hfn = page->hfn + i, .access = page->access };
}

static void fake_unmap(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct fake_paging *fp = fake(p);

	g_assert(gfn + npages <= fp->npages);
	fp->unmaps++;
	for (uint64_t i = 0; i < npages; i++)
		fp->map[gfn + i] = (struct fake_mapping){ .hfn = HFN_NONE };
}

static void fake_wrprotect(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct fake_paging *fp = fake(p);

	g_assert(gfn + npages <= fp->npages);
	fp->wrprotects++;
	for (uint64_t i = 0; i < npages; i++)
		fp->map[gfn + i].access &= ~ACC_W;
}

static bool fake_log_dirty(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct fake_paging *fp = fake(p);

	g_assert(gfn + npages <= fp->npages);
	fp->log_dirties++;
	for (uint64_t i = 0; fp->pml && i < npages; i++)
		fp->map[gfn + i].dirty = false;
	return fp->pml;
}

static bool fake_test_clear_young(struct paging *p, gfn_t gfn)
{
	struct fake_paging *fp = fake(p);
	bool young = fp->map[gfn].access && fp->map[gfn].accessed;

	fp->youngs++;
	fp->map[gfn] = (struct fake_mapping){ .hfn = HFN_NONE };
	return young;
}

static void fake_collapse(struct paging *p, gfn_t gfn, unsigned level)
{
	struct fake_paging *fp = fake(p);
	struct gmem_page page;

	fp->collapses++;
	g_assert(gmem_lookup(fp->gmem, gfn, &page) == 0 && page.level >= level && page.access);
}

static const struct paging_ops fake_ops = {
	.name = "fake",
	.map = fake_map,
	.unmap = fake_unmap,
	.wrprotect = fake_wrprotect,
	.log_dirty = fake_log_dirty,
	.test_clear_young = fake_test_clear_young,
	.collapse = fake_collapse,
};

struct fake_paging *fake_paging_new(struct gmem *g)
{
	struct fake_paging *fp = g_new0(struct fake_paging, 1);

	fp->base.ops = &fake_ops;
	fp->gmem = g;
	fp->npages = gmem_config(g)->npages;
	fp->map = g_new0(struct fake_mapping, fp->npages);
	gmem_set_paging(g, &fp->base);
	return fp;
}

void fake_paging_free(struct fake_paging *fp)
{
	gmem_set_paging(fp->gmem, NULL);
	g_free(fp->map);
	g_free(fp);
}

int fake_paging_access(struct fake_paging *fp, gfn_t gfn, unsigned access, bool *faulted)
{
	struct gmem_page page;
	struct fake_mapping *m;
	int err;

	*faulted = gfn >= fp->npages || !(fp->map[gfn].access & access);
	if (*faulted) {
		err = gmem_fault(fp->gmem, gfn, access, FAULT_CPU, &page);
		if (err)
			return err;
		g_assert((page.access & access) == access && page.hfn != HFN_NONE);
		fp->map[gfn] = (struct fake_mapping){ .hfn = page.hfn, .access = page.access };
	}
	m = &fp->map[gfn];
	m->accessed = true;
	if (access & ACC_W && !m->dirty) {
		m->dirty = true;
		if (fp->pml)
			gmem_dirty_log_mark(fp->gmem, gfn);
	}
	return 0;
}

void fake_paging_check(const struct fake_paging *fp)
{
	for (gfn_t gfn = 0; gfn < fp->npages; gfn++) {
		const struct fake_mapping *m = &fp->map[gfn];
		struct gmem_page page;

		if (!m->access)
			continue;
		g_assert(gmem_lookup(fp->gmem, gfn, &page) == 0);
		g_assert(page.hfn == m->hfn && !(m->access & ~page.access));
	}
}
