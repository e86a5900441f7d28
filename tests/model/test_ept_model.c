/* SPDX-License-Identifier: MIT */
/*
 * test_ept_model.c - what if gmem changes under a running guest?
 *
 * Random accesses and random changes of state; after each step the tables must agree with gmem (verify, and the
 * processor of tests/lib/stage2.c), an access must reach the frame gmem names even through a stale TLB, and the
 * dirty log and young bits must say what the model saw.
 */
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/stage2.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { UNTOUCHED, TOUCHED, FORGOTTEN };

struct model {
	struct stage2 *s;
	struct rng rng;
	uint8_t *dirty;	   /* [npages]: written since its dirty bit was last collected */
	uint8_t *touched;  /* [npages]: since it was given or last found young: no, yes, or nobody can know */
	bool logging;
};

static gfn_t model_gfn(struct model *m)
{
	return rng_below(&m->rng, m->s->cfg.npages);
}

static void model_access(struct model *m)
{
	gfn_t gfn = model_gfn(m);
	bool write = rng_below(&m->rng, 2);
	struct gmem_page page;
	hfn_t hfn;
	int err = stage2_access(m->s, gfn << 12 | 0x7f8, write, &hfn);

	if (err) {
		must(err == -ENOMEM);
		return;
	}
	must(!gmem_lookup(m->s->gmem, gfn, &page));
	must_eq(hfn, page.hfn);
	must(!write || page.access & ACC_W);
	m->touched[gfn] = TOUCHED;
	if (write && m->logging && gfn >= m->s->cfg.arena_pages)
		m->dirty[gfn] = 1;
}

static void model_collect(struct model *m)
{
	uint64_t npages = m->s->cfg.npages, words = (npages + 63) / 64, *map = g_new0(uint64_t, words), n = 0;
	uint64_t told;

	stage2_drain(m->s);
	told = gmem_dirty_log_collect(m->s->gmem, map);
	for (gfn_t gfn = 0; gfn < npages; gfn++) {
		bool bit = map[gfn / 64] >> (gfn % 64) & 1;

		n += bit;
		must(bit || !m->dirty[gfn]);
		must(!bit || m->dirty[gfn]);
	}
	must_eq(told, n);
	memset(m->dirty, 0, npages);
	g_free(map);
}

static void model_log(struct model *m)
{
	if (!m->logging) {
		stage2_drain(m->s);
		must(!gmem_dirty_log_start(m->s->gmem));
		m->logging = true;
		memset(m->dirty, 0, m->s->cfg.npages);
	} else if (rng_below(&m->rng, 3)) {
		model_collect(m);
	} else {
		model_collect(m);
		gmem_dirty_log_stop(m->s->gmem);
		m->logging = false;
	}
}

static void model_young(struct model *m)
{
	gfn_t gfn = model_gfn(m);
	bool young = gmem_test_clear_young(m->s->gmem, gfn);

	if (gfn < m->s->cfg.arena_pages)
		return;
	must(young || m->touched[gfn] != TOUCHED);
	/* Blocks share their accessed bit; single pages do not. */
	must(!young || m->touched[gfn] || m->s->cfg.level > 1);
	m->touched[gfn] = 0;
	must(!stage2_mapped(m->s, gfn << 12, false));
}

/* Leaves over these pages went: an accessed bit that was set without a fault, in a large one, is lost. */
static void model_forget(struct model *m, gfn_t gfn, uint64_t n)
{
	for (gfn &= ~(n - 1); n-- && gfn < m->s->cfg.npages; gfn++)
		if (m->touched[gfn] && m->s->cfg.level > 1)
			m->touched[gfn] = FORGOTTEN;
}

static void model_change(struct model *m)
{
	gfn_t gfn = model_gfn(m);
	struct gmem_page page;
	uint8_t byte = 1;
	bool resident;

	switch (rng_below(&m->rng, 5)) {
	case 0:
		resident = !gmem_lookup(m->s->gmem, gfn, &page) && page.state == PAGE_RESIDENT;
		if (!gmem_release(m->s->gmem, gfn)) {
			m->touched[gfn] = UNTOUCHED;
			m->dirty[gfn] |= m->logging && resident; /* it reads as zero now */
		}
		break;
	case 1:
		if (!gmem_move(m->s->gmem, gfn, (unsigned)rng_below(&m->rng, 2)))
			model_forget(m, gfn, 1);
		break;
	case 2:
		if (!gmem_split(m->s->gmem, gfn))
			model_forget(m, gfn, LEVEL_PAGES(m->s->cfg.level));
		break;
	case 3:
		if (m->s->cfg.npages < 100000 && !gmem_collapse(m->s->gmem, gfn, 2))
			model_forget(m, gfn, 512);
		break;
	case 4:
		if (gmem_write(m->s->gmem, gfn << 12, &byte, 1) || gfn < m->s->cfg.arena_pages)
			break;
		m->touched[gfn] = TOUCHED;
		if (m->logging)
			m->dirty[gfn] = 1;
		break;
	}
}

static void model_run(const struct stage2_config *cfg, uint64_t seed, unsigned steps, unsigned verify_every)
{
	struct model m = { .s = stage2_new(cfg) };

	rng_seed(&m.rng, seed);
	m.dirty = g_new0(uint8_t, cfg->npages);
	m.touched = g_new0(uint8_t, cfg->npages);
	for (unsigned i = 0; i < steps; i++) {
		uint64_t what = rng_below(&m.rng, 100);

		if (what < 60)
			model_access(&m);
		else if (what < 85)
			model_change(&m);
		else if (what < 98)
			model_young(&m);
		else
			model_log(&m);
		if (i % verify_every == 0)
			must(!m.s->paging->ops->verify(m.s->paging));
	}
	must(!m.s->paging->ops->verify(m.s->paging));
	must(m.s->c.ept_maps && m.s->c.ept_unmaps);
	g_free(m.dirty);
	g_free(m.touched);
	stage2_free(m.s);
}

/* {host pages, guest pages, arena pages, backing level, largest leaf, levels, npt, ad, pml} */
static const struct stage2_config small[] = {
	{ 8192, 2048 + 300, 512, 1, 1, 4, false, true, false },
	{ 8192, 2048 + 300, 512, 2, 2, 4, false, true, false },
	{ 8192, 2048 + 300, 512, 2, 2, 5, false, true, true },
	{ 8192, 2048 + 300, 512, 1, 2, 4, false, false, false },
	{ 8192, 2048 + 300, 512, 2, 1, 5, false, false, false },
	{ 8192, 2048 + 300, 512, 2, 3, 4, true, false, false },
	{ 1800, 2048 + 300, 512, 2, 2, 4, false, true, false },
	{ 1300, 2048 + 300, 512, 1, 3, 4, false, true, true },
};

START_TEST(random_changes)
{
	for (uint64_t seed = 0; seed < 2; seed++)
		model_run(&small[_i], seed * 100 + (uint64_t)_i, 2500, 1);
}
END_TEST

START_TEST(gigabyte_leaves)
{
	static const struct stage2_config big = { 5 << 18, 2 << 18, 512, 3, 3, 4, false, true, false };
	static const struct stage2_config big_pml = { 5 << 18, 2 << 18, 512, 3, 3, 5, false, true, true };

	model_run(_i ? &big_pml : &big, 7, 600, 200);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ept model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, random_changes, 0, G_N_ELEMENTS(small));
	tcase_add_loop_test(tc, gigabyte_leaves, 0, 2);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
