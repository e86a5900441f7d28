/* SPDX-License-Identifier: MIT */
/* test_dcache.c - the data caches against naive lists, most recently used first */
#include <check.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/sim/dcache.h"
#include "workloads/rng.h"

/* Ways of every remainder by four; 64 sets each. */
static const struct cache_geometry shapes[][3] = {
	{ { 32, 8 }, { 64, 16 }, { 44, 11 } },
	{ { 4, 1 }, { 8, 2 }, { 12, 3 } },
	{ { 20, 5 }, { 24, 6 }, { 52, 13 } },
};

struct list {
	unsigned sets, ways, n[64];
	uint64_t line[64][16];
};

static bool list_touch(struct list *l, uint64_t line)
{
	uint64_t *set = l->line[line % l->sets];
	unsigned *n = &l->n[line % l->sets], at = 0;

	while (at < *n && set[at] != line)
		at++;
	bool found = at < *n;

	if (!found && *n < l->ways)
		at = (*n)++;
	else if (!found)
		at = l->ways - 1;
	memmove(set + 1, set, at * sizeof(*set));
	set[0] = line;
	return found;
}

START_TEST(what_if_lines_come_and_go)
{
	struct sim_profile *p = profile_load("bare", NULL);
	struct list lists[3];
	struct counters c = { 0 };
	struct dcache d;
	struct rng rng;
	uint64_t misses[3] = { 0 };

	p->l1d = shapes[_i][0];
	p->l2d = shapes[_i][1];
	p->l3d = shapes[_i][2];
	dcache_init(&d, p);
	memset(lists, 0, sizeof(lists));
	for (unsigned l = 0; l < 3; l++) {
		lists[l].sets = 64;
		lists[l].ways = shapes[_i][l].ways;
	}
	rng_seed(&rng, 11);
	for (unsigned n = 0; n < 400000; n++) {
		/* A hot part, a wide one, and the far end of a large host. */
		uint64_t hpa = rng_below(&rng, 2) ? rng_below(&rng, 1 << 14) : rng_below(&rng, 1 << 18);
		uint32_t want = p->mem_cycles;
		unsigned l;
		bool memory;

		hpa += rng_below(&rng, 8) ? 0 : 1ull << 43;
		for (l = 0; l < 3; l++) {
			if (list_touch(&lists[l], hpa >> 6))
				break;
			misses[l]++;
		}
		if (l < 3)
			want = l == 0 ? p->l1d_cycles : l == 1 ? p->l2d_cycles : p->l3d_cycles;
		must_eq(dcache_ref(&d, hpa, &c, &memory), want);
		must_eq(memory, l == 3);
	}
	must_eq(c.cache_l1_misses, misses[0]);
	must_eq(c.cache_l2_misses, misses[1]);
	must_eq(c.cache_l3_misses, misses[2]);
	must(misses[2] > 1000 && misses[2] < misses[0]);
	dcache_free(&d);
	profile_free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dcache");
	TCase *tc = tcase_create("dcache");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_if_lines_come_and_go, 0, 3);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
