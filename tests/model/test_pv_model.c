/* SPDX-License-Identifier: MIT */
/*
 * test_pv_model.c - what if a pv guest is hostile, and gmem changes under it?
 *
 * A model keeps what the guest wrote and applies the rules of pv.c naively. Random hypercalls, sensible and not, must
 * be accepted and refused alike; reads must give back what was written with the processor's A/D bits; an access must
 * end as the guest's own tables say; and the processor must never reach a frame that is not the guest's, nor write a
 * table, although this guest never flushes its TLB unless by chance.
 */
#include <string.h>

#include "tests/lib/direct.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define ARENA 512u
#define NTABLES 24u /* pages [16, 40) of the arena are the ones that become tables */
#define FIRST 16u
#define USED 3u /* indices in use at every level, so that trees form */

#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define FLAGS (P | W | U | A | D)

struct table {
	unsigned level;
	uint64_t view[512];
};

struct model {
	struct direct *d;
	struct rng rng;
	struct table t[NTABLES];
	bool logging;
	hfn_t foreign; /* a frame of the host's */
	gva_t recent[4]; /* accesses that succeeded: come back to them, to find stale caches */
	unsigned accepted, refused, reached, faulted, hits;
};

static uint64_t pick(struct model *m, uint64_t n)
{
	return rng_below(&m->rng, n);
}

static struct table *model_table(struct model *m, gfn_t gfn)
{
	return gfn >= FIRST && gfn < FIRST + NTABLES && m->t[gfn - FIRST].level ? &m->t[gfn - FIRST] : NULL;
}

static unsigned model_refs(const struct model *m, gfn_t gfn)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NTABLES; i++)
		for (unsigned j = 0; m->t[i].level > 1 && j < 512; j++)
			n += m->t[i].view[j] & P && !(m->t[i].view[j] & PS) &&
			     (m->t[i].view[j] & PTE_ADDR) >> 12 == gfn;
	return n;
}

static bool model_valid(struct model *m, uint64_t v, unsigned level)
{
	gfn_t gfn = (v & PTE_ADDR) >> 12;
	const struct table *t;

	if (!(v & P))
		return true;
	if (level > 1 && !(v & PS)) {
		t = model_table(m, gfn);
		return t && t->level == level - 1;
	}
	if (level == 1)
		return gfn < m->d->cfg.npages;
	if (level > 3 || (gfn & ~1ull) & ((1u << 9 * (level - 1)) - 1))
		return false;
	return (gfn & ~1ull) < m->d->cfg.npages;
}

/* A value for a table of @level; mostly one that makes sense. */
static uint64_t model_value(struct model *m, unsigned level)
{
	uint64_t flags = rng_u64(&m->rng) & (W | U | A | D), gfn;

	if (pick(m, 10) == 0)
		return pick(m, 2) ? 0 : rng_u64(&m->rng) & ~P;
	flags |= pick(m, 4) ? P | W | U : P;
	if (pick(m, 20) == 0)
		return rng_u64(&m->rng) & (PTE_ADDR | 0xfff);
	if (level <= 1) {
		gfn = pick(m, 3) ? pick(m, 64) : pick(m, m->d->cfg.npages + 2);
		return gfn << 12 | flags;
	}
	if (pick(m, 4) || level > 3) {
		unsigned levels = m->d->cfg.levels, good = level - 2 + levels * (unsigned)pick(m, NTABLES / levels);

		return (FIRST + (pick(m, 8) ? good : pick(m, NTABLES))) << 12 | flags;
	}
	gfn = pick(m, m->d->cfg.npages / 512 + 1) * 512 & ~((1ull << 9 * (level - 1)) - 1);
	return gfn << 12 | PS | flags | (pick(m, 3) ? 0 : 1 << 12);
}

static void model_update(struct model *m)
{
	unsigned i = (unsigned)pick(m, NTABLES), index = (unsigned)pick(m, USED);
	struct table *t = &m->t[i];
	unsigned level = pick(m, 30) ? t->level : (unsigned)pick(m, 6);
	uint64_t v = model_value(m, level);
	gpa_t entry = (FIRST + i) * 4096ull + index * 8;
	struct pv_entry u = { .gpa = pick(m, 50) ? entry : entry + 1 + pick(m, 1ull << 40), .value = v,
			       .level = level };
	bool want = u.gpa == entry && t->level && level == t->level && model_valid(m, v, level);

	if (u.gpa != entry && !(u.gpa & 7) && model_table(m, u.gpa >> 12))
		return; /* by chance another table's entry */
	must_eq(pv_update(m->d->paging, &u, 1) == 0, want);
	if (want)
		t->view[index] = v;
	m->accepted += want;
	m->refused += !want;
}

static void model_pin(struct model *m)
{
	unsigned i = (unsigned)pick(m, NTABLES), levels = m->d->cfg.levels;
	unsigned level = pick(m, 10) ? i % levels + 1 : (unsigned)pick(m, 7);
	uint64_t *bytes = (uint64_t *)(gmem_arena(m->d->gmem) + (FIRST + i) * 4096), seed[512] = { 0 };
	bool good = !m->t[i].level && level >= 1 && level <= levels;

	if (!m->t[i].level) {
		for (unsigned j = 0; j < USED && !pick(m, 3); j++)
			seed[j] = model_value(m, level);
		memcpy(bytes, seed, sizeof(seed));
		for (unsigned j = 0; good && j < 512; j++)
			good = model_valid(m, seed[j], level);
	}
	must_eq(pv_table_new(m->d->paging, (FIRST + i) * 4096ull, level) == 0, good);
	if (!good)
		return;
	m->t[i].level = level;
	memcpy(m->t[i].view, seed, sizeof(seed));
}

static void model_unpin(struct model *m)
{
	unsigned i = (unsigned)pick(m, NTABLES);
	unsigned level = pick(m, 10) ? m->t[i].level : (unsigned)pick(m, 6);
	gpa_t gpa = (FIRST + i) * 4096ull;
	bool good = level && m->t[i].level == level && !model_refs(m, FIRST + i) && m->d->regs.cr3 != gpa;

	must_eq(pv_table_free(m->d->paging, gpa, level) == 0, good);
	if (!good)
		return;
	m->t[i].level = 0;
	for (unsigned j = 0; j < 512; j++)
		must(!((uint64_t *)(gmem_arena(m->d->gmem) + gpa))[j]);
}

static void model_load(struct model *m)
{
	unsigned i = (unsigned)pick(m, NTABLES);

	if (m->t[i].level == m->d->cfg.levels)
		direct_load(m->d, (FIRST + i) * 4096ull);
}

static void model_read(struct model *m)
{
	unsigned i = (unsigned)pick(m, NTABLES), index = (unsigned)pick(m, USED);
	gpa_t gpa = (FIRST + i) * 4096ull;
	uint64_t view[512];

	must_eq(pv_peek(m->d->paging, gpa, view) == 0, m->t[i].level != 0);
	if (m->t[i].level) {
		must_eq(pv_read(m->d->paging, gpa + index * 8), m->t[i].view[index]);
		must(!memcmp(view, m->t[i].view, sizeof(view)));
	}
}

/* A stale translation may lead to what the guest once mapped, but only to its own memory, and never writes a table. */
static void model_check_stale(struct model *m, hfn_t hfn, unsigned access)
{
	gfn_t gfn = gmem_gfn_of(m->d->gmem, hfn);

	must(gfn != GFN_NONE);
	must(access != ACC_W || !model_table(m, gfn));
}

/* A hostile guest stores entries for a frame that is not its own, should the processor still take this for a table. */
static void model_attack(struct model *m, hfn_t hfn)
{
	uint64_t *bytes = (uint64_t *)(frames_bytes(m->d->frames) + hfn * 4096);

	for (unsigned i = 0; gmem_gfn_of(m->d->gmem, hfn) < ARENA && i < USED; i++)
		bytes[i] = m->foreign << 12 | FLAGS;
}

/* The guest's own walk: true if it allows the access; the entries on the way, or the error code. */
static bool model_walk(struct model *m, gva_t gva, unsigned access, uint64_t **path, unsigned *level, unsigned *error)
{
	gfn_t gfn = m->d->regs.cr3 >> 12;
	uint64_t rights = W | U;

	*error = 4 | (access == ACC_W ? 2 : 0);
	for (*level = m->d->cfg.levels;; --*level) {
		uint64_t *e = &model_table(m, gfn)->view[gva >> (12 + 9 * (*level - 1)) & 511];

		path[*level] = e;
		if (!(*e & P))
			return false;
		rights &= *e;
		if (*level == 1 || *e & PS)
			break;
		gfn = (*e & PTE_ADDR) >> 12;
	}
	*error |= 1;
	return rights & U && (access != ACC_W || rights & W);
}

static gva_t model_gva(struct model *m)
{
	gva_t gva = pick(m, USED) << 12 | pick(m, USED) << 21 | pick(m, USED) << 30 | pick(m, USED) << 39;

	if (pick(m, 3))
		return m->recent[pick(m, G_N_ELEMENTS(m->recent))];
	return m->d->cfg.levels == 5 ? gva | pick(m, USED) << 48 : gva;
}

static void model_access(struct model *m)
{
	unsigned access = pick(m, 2) ? ACC_W : ACC_R, level, error = 0, want, top = m->d->cfg.levels;
	gva_t gva = model_gva(m);
	uint64_t *path[6], mask;
	struct gmem_page page;
	bool allowed;
	hfn_t hfn = 0;
	gfn_t gfn;
	int err = 0;

	if (!model_table(m, m->d->regs.cr3 >> 12))
		return;
	allowed = model_walk(m, gva, access, path, &level, &want);
	mask = (1ull << 9 * (level - 1)) - 1;
	gfn = ((*path[level] & PTE_ADDR) >> 12 & ~mask) | (gva >> 12 & mask);
	switch (direct_access(m->d, gva, access, &hfn, &error, &err)) {
	case DIRECT_HIT:
		model_check_stale(m, hfn, access);
		if (access == ACC_W)
			model_attack(m, hfn);
		m->hits++;
		return;
	case DIRECT_FAULT:
		must(!allowed || (access == ACC_W && model_table(m, gfn)));
		must_eq(error, want);
		m->faulted++;
		return;
	case DIRECT_FAIL:
		must(allowed && (gfn >= m->d->cfg.npages ? err == -EFAULT : err == -ENOMEM));
		return;
	case DIRECT_OK:
		must(allowed);
		must(access != ACC_W || !model_table(m, gfn));
		must(!gmem_lookup(m->d->gmem, gfn, &page));
		must_eq(page.hfn, hfn);
		for (unsigned l = level; l <= top; l++)
			*path[l] |= A;
		if (access == ACC_W) {
			*path[level] |= D;
			model_attack(m, hfn);
		}
		m->recent[m->reached++ % G_N_ELEMENTS(m->recent)] = gva;
	}
}

static void model_host(struct model *m)
{
	gfn_t gfn = pick(m, 3) ? pick(m, 128) + ARENA : pick(m, m->d->cfg.npages);
	uint64_t map[64];

	switch (pick(m, 8)) {
	case 0:
	case 1:
		gmem_release(m->d->gmem, gfn);
		break;
	case 2:
		gmem_move(m->d->gmem, gfn, (unsigned)pick(m, 2));
		break;
	case 3:
		gmem_test_clear_young(m->d->gmem, gfn);
		break;
	case 4:
		gmem_split(m->d->gmem, gfn);
		break;
	case 5:
		gmem_collapse(m->d->gmem, gfn, 2);
		break;
	case 6:
		if (m->logging)
			gmem_dirty_log_collect(m->d->gmem, map);
		break;
	default:
		if (m->logging)
			gmem_dirty_log_stop(m->d->gmem);
		else
			must(!gmem_dirty_log_start(m->d->gmem));
		m->logging = !m->logging;
	}
}

static void model_run(const struct direct_config *cfg, uint64_t seed, unsigned steps)
{
	struct model *m = g_new0(struct model, 1);

	m->d = direct_new(cfg);
	rng_seed(&m->rng, seed);
	must(!frames_alloc(m->d->frames, 1, 0, false, FRAME_OWNER(FRAME_TABLE, 9, 0), &m->foreign));
	for (unsigned i = 0; i < steps; i++) {
		uint64_t what = pick(m, 100);

		if (what < 30)
			model_update(m);
		else if (what < 37)
			model_pin(m);
		else if (what < 39)
			model_unpin(m);
		else if (what < 42)
			model_load(m);
		else if (what < 48)
			model_read(m);
		else if (what < 51)
			direct_invlpg(m->d, pick(m, USED) << 12);
		else if (what < 88)
			model_access(m);
		else
			model_host(m);
		if (i % 4 == 0)
			must(!m->d->paging->ops->verify(m->d->paging));
	}
	must(m->accepted > 100 && m->refused > 20 && m->reached > 20 && m->faulted > 20 && m->hits > 20);
	must(m->d->c.pv_rewrites > 0 && m->d->c.pv_rejected > 0);
	frames_release(m->d->frames, m->foreign, 1);
	direct_free(m->d);
	g_free(m);
}

/* {host pages, guest pages, arena pages, backing level, largest leaf, levels} */
static const struct direct_config configs[] = {
	{ 8192, 2048 + 300, ARENA, 1, 1, 4 },
	{ 8192, 2048 + 300, ARENA, 2, 2, 4 },
	{ 8192, 2048 + 300, ARENA, 2, 3, 5 },
	{ 8192, 2048 + 300, ARENA, 1, 2, 4 },
	{ 1200, 2048 + 300, ARENA, 2, 2, 4 },
	{ 8192, 2048 + 300, ARENA, 2, 1, 5 },
};

START_TEST(hostile_guest)
{
	for (uint64_t seed = 0; seed < 2; seed++)
		model_run(&configs[_i], seed * 100 + (uint64_t)_i, 8000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pv model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, hostile_guest, 0, G_N_ELEMENTS(configs));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
