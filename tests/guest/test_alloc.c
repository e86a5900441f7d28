/* SPDX-License-Identifier: MIT */
/* test_alloc.c - the guest's page allocator against a count of mappings for each page */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/fake_hal.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

struct leaf {
	uint64_t gfn;
	unsigned level;
};

struct model {
	struct hal *h;
	struct kernel *k;
	struct rng rng;
	uint16_t *maps;	   /* [gfn] leaves that map it */
	struct leaf *leaf; /* all leaves there are */
	uint32_t n, room;
	uint64_t free;
};

static struct model model_new(uint64_t npages, uint64_t seed)
{
	struct model m = { .h = fake_new(&(struct fake_config){ .npages = npages }) };

	m.k = m.h->kernel;
	m.maps = g_new0(uint16_t, npages);
	m.room = 1 << 16;
	m.leaf = g_new0(struct leaf, m.room);
	m.free = m.k->counts.pages_free;
	rng_seed(&m.rng, seed);
	return m;
}

static void model_free(struct model *m)
{
	fake_free(m->h);
	g_free(m->maps);
	g_free(m->leaf);
}

static void leaf_add(struct model *m, uint64_t gfn, unsigned level)
{
	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++)
		m->free -= !m->maps[gfn + i]++;
	g_assert(m->n < m->room);
	m->leaf[m->n++] = (struct leaf){ gfn, level };
}

static void leaf_drop(struct model *m, uint32_t i)
{
	struct leaf l = m->leaf[i];

	for (uint64_t j = 0; j < LEVEL_PAGES(l.level); j++)
		m->free += !--m->maps[l.gfn + j];
	m->leaf[i] = m->leaf[--m->n];
}

/* Is there a free aligned block? Only asked when the kernel says there is none. */
static bool room_for(const struct model *m, unsigned level)
{
	uint64_t end = m->k->alloc.end_gfn, start = m->k->alloc.first_gfn, size = LEVEL_PAGES(level);

	for (uint64_t gfn = (start + size - 1) / size * size; gfn + size <= end; gfn += size) {
		uint64_t i = 0;

		while (i < size && !m->maps[gfn + i])
			i++;
		if (i == size)
			return true;
	}
	return false;
}

static void step_alloc(struct model *m, unsigned level)
{
	uint64_t gfn = page_alloc(m->k, level), used = 0;

	if (!gfn) {
		ck_assert(!room_for(m, level));
		return;
	}
	ck_assert(gfn % LEVEL_PAGES(level) == 0 && gfn >= m->k->alloc.first_gfn);
	ck_assert(gfn + LEVEL_PAGES(level) <= m->k->alloc.end_gfn);
	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++)
		used += m->maps[gfn + i];
	ck_assert_uint_eq(used, 0);
	page_get(m->k, gfn, level);
	leaf_add(m, gfn, level);
}

static void step_exclusive(struct model *m, uint32_t i)
{
	struct leaf l = m->leaf[i];
	bool alone = true;

	for (uint64_t j = 0; j < LEVEL_PAGES(l.level); j++)
		alone &= m->maps[l.gfn + j] == 1;
	ck_assert_int_eq(page_exclusive(m->k, l.gfn, l.level), alone);
}

static void step_split(struct model *m, uint32_t i)
{
	struct leaf l = m->leaf[i];
	uint64_t part = LEVEL_PAGES(l.level - 1);

	if (m->n + PT_ENTRIES > m->room)
		return;
	page_split(m->k, l.gfn, l.level);
	m->leaf[i].level--;
	for (unsigned j = 1; j < PT_ENTRIES; j++)
		m->leaf[m->n++] = (struct leaf){ l.gfn + j * part, l.level - 1 };
}

static void step(struct model *m, unsigned top)
{
	uint32_t i = m->n ? rng_below(&m->rng, m->n) : 0;

	switch (rng_below(&m->rng, 16)) {
	case 0 ... 4:
		step_alloc(m, 1);
		break;
	case 5:
	case 6:
		step_alloc(m, 1 + rng_below(&m->rng, top));
		break;
	case 7 ... 8:
		if (m->n && m->n < m->room - PT_ENTRIES && m->maps[m->leaf[i].gfn] < 200) {
			page_get(m->k, m->leaf[i].gfn, m->leaf[i].level);
			leaf_add(m, m->leaf[i].gfn, m->leaf[i].level);
		}
		break;
	case 9:
		if (m->n && m->leaf[i].level > 1)
			step_split(m, i);
		break;
	case 10:
		if (m->n)
			step_exclusive(m, i);
		break;
	default:
		for (unsigned j = rng_below(&m->rng, 12); j && m->n; j--) {
			i = rng_below(&m->rng, m->n);
			page_put(m->k, m->leaf[i].gfn, m->leaf[i].level);
			leaf_drop(m, i);
		}
		break;
	}
	g_assert_cmpuint(m->k->counts.pages_free, ==, m->free);
}

/* Every list is as it was after boot: as large units as memory allows. */
static void check_coalesced(struct model *m, uint32_t ngiants, uint32_t nblocks)
{
	struct kernel *k = m->k;
	uint32_t giants = 0, blocks = 0;
	uint64_t gfn;

	for (uint32_t n = k->alloc.whole; n != NO_BLOCK; n = k->alloc.level[3][n].next)
		giants++;
	ck_assert_uint_eq(giants, ngiants);
	while ((gfn = page_alloc(k, 2)))
		blocks++;
	ck_assert_uint_eq(blocks, nblocks);
}

/* What if pages of all sizes are taken, shared, split and given back at random? */
START_TEST(random_units)
{
	static const uint64_t npages[] = { 16384, 16384 + 77, 2600 * 256 + 3 };
	unsigned top = _i < 2 ? 2 : 3;
	struct model m = model_new(npages[_i], 11 + _i);
	uint64_t first = m.k->alloc.first_gfn, all = m.free;
	uint64_t nblocks = npages[_i] / 512 - first / 512;
	uint64_t ngiants = npages[_i] / 262144 > 0 ? npages[_i] / 262144 - 1 : 0;

	for (unsigned i = 0; i < (top == 2 ? 60000 : 1500); i++)
		step(&m, top);
	for (uint64_t gfn = first; gfn < npages[_i]; gfn++)
		g_assert(kernel_page_free(m.k, gfn) == !m.maps[gfn]);
	ck_assert(!kernel_page_free(m.k, first - 1) && !kernel_page_free(m.k, npages[_i]));
	while (m.n) {
		page_put(m.k, m.leaf[m.n - 1].gfn, m.leaf[m.n - 1].level);
		leaf_drop(&m, m.n - 1);
	}
	ck_assert_uint_eq(m.k->counts.pages_free, all);
	check_coalesced(&m, (uint32_t)ngiants, (uint32_t)nblocks);
	model_free(&m);
}
END_TEST

/* What if all of memory is taken in 4 KiB pages, and given back? */
START_TEST(exhausts)
{
	struct model m = model_new(16384 + 77, 1);
	uint64_t n = m.free, *gfn = g_new(uint64_t, n);

	for (uint64_t i = 0; i < n; i++) {
		gfn[i] = page_alloc(m.k, 1);
		g_assert(gfn[i] && !m.maps[gfn[i]]++);
		page_get(m.k, gfn[i], 1);
	}
	for (unsigned level = 1; level <= 3; level++)
		ck_assert_uint_eq(page_alloc(m.k, level), 0);
	for (uint64_t i = 0; i < n; i++)
		page_put(m.k, gfn[i * 7919 % n], 1);
	ck_assert_uint_eq(m.k->counts.pages_free, n);
	check_coalesced(&m, 0, (uint32_t)(n / 512));
	g_free(gfn);
	model_free(&m);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guest allocator");
	TCase *tc = tcase_create("alloc");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, random_units, 0, 3);
	tcase_add_test(tc, exhausts);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
