/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <glib.h>

#include "mm/rmap.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

static void append(hpa_t entry, void *ctx)
{
	g_array_append_val((GArray *)ctx, entry);
}

static void check_order(struct rmap *r, gfn_t gfn, const GArray *naive)
{
	GArray *seen = g_array_new(FALSE, FALSE, sizeof(hpa_t));

	must_eq(rmap_count(r, gfn), naive->len);
	rmap_for_each(r, gfn, append, seen);
	must_eq(seen->len, naive->len);
	for (guint i = 0; i < naive->len; i++)
		must_eq(g_array_index(seen, hpa_t, i), g_array_index(naive, hpa_t, i));
	g_array_unref(seen);
}

/* What if a page has no entry, one, two, and one again? */
START_TEST(test_few)
{
	struct rmap *r = rmap_new(10);
	GArray *a = g_array_new(FALSE, FALSE, sizeof(hpa_t));
	hpa_t e[] = { 0x2008, 0x1000 };

	check_order(r, 9, a);
	ck_assert(!rmap_remove(r, 9, e[0]));
	rmap_add(r, 9, e[0]);
	ck_assert(!rmap_remove(r, 9, e[1]));
	rmap_add(r, 9, e[1]);
	g_array_append_vals(a, e, 2);
	check_order(r, 9, a);
	ck_assert(!rmap_remove(r, 9, 0x3000));
	ck_assert(rmap_remove(r, 9, e[0]));
	g_array_remove_index(a, 0);
	check_order(r, 9, a);
	ck_assert(rmap_remove(r, 9, e[1]));
	ck_assert(!rmap_remove(r, 9, e[1]));
	ck_assert_uint_eq(rmap_count(r, 9), 0);
	ck_assert_uint_eq(rmap_count(r, 8), 0);
	g_array_unref(a);
	rmap_free(r);
}
END_TEST

struct remover {
	struct rmap *r;
	gfn_t gfn;
	unsigned visited, modulus;
};

static void remove_some(hpa_t entry, void *ctx)
{
	struct remover *m = ctx;

	must_eq(entry, 8 * (m->visited + 1));
	if (m->visited++ % m->modulus == 0)
		must(rmap_remove(m->r, m->gfn, entry));
}

/* What if the callback removes entries during a visit: some, or all? Each is visited once, in order. */
START_TEST(test_remove_in_visit)
{
	struct rmap *r = rmap_new(2);

	for (unsigned n = 1; n < 40; n++) {
		for (unsigned modulus = 1; modulus < 4; modulus++) {
			struct remover m = { .r = r, .gfn = 1, .modulus = modulus };

			for (unsigned i = 0; i < n; i++)
				rmap_add(r, 1, 8 * (i + 1));
			rmap_for_each(r, 1, remove_some, &m);
			must_eq(m.visited, n);
			must_eq(rmap_count(r, 1), n - (n + modulus - 1) / modulus);
			for (unsigned i = 0; i < n; i++)
				must(rmap_remove(r, 1, 8 * (i + 1)) == (i % modulus != 0));
		}
	}
	rmap_free(r);
}
END_TEST

/* What if entries come and go at random? A naive list for each page always agrees, in order. */
START_TEST(test_random)
{
	enum { PAGES = 20 };
	struct rmap *r = rmap_new(PAGES);
	GArray *naive[PAGES];
	struct rng rng;
	hpa_t next = 8;

	rng_seed(&rng, 1);
	for (unsigned i = 0; i < PAGES; i++)
		naive[i] = g_array_new(FALSE, FALSE, sizeof(hpa_t));
	for (unsigned i = 0; i < 50000; i++) {
		gfn_t gfn = rng_below(&rng, PAGES);
		GArray *a = naive[gfn];

		if (rng_below(&rng, 100) < (i / 5000 % 2 ? 60 : 40)) {
			rmap_add(r, gfn, next);
			g_array_append_val(a, next);
			next += 8;
		} else if (a->len) {
			guint at = (guint)rng_below(&rng, a->len);

			must(rmap_remove(r, gfn, g_array_index(a, hpa_t, at)));
			g_array_remove_index(a, at);
		}
		if (i % 50 == 0)
			check_order(r, gfn, a);
	}
	for (unsigned i = 0; i < PAGES; i++) {
		check_order(r, i, naive[i]);
		g_array_unref(naive[i]);
	}
	rmap_free(r); /* with chains in it: the sanitizer sees whether they are freed */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rmap");
	TCase *t = tcase_create("rmap");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_few);
	tcase_add_test(t, test_remove_in_visit);
	tcase_add_test(t, test_random);
	suite_add_tcase(s, t);
	return suite_run(s);
}
