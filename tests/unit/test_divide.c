/* SPDX-License-Identifier: MIT */
/* Dividing memory: the paper's formula on small numbers, bounds and sums on any, and revoking page by page. */
#include <check.h>
#include <glib.h>

#include "tests/lib/suite.h"
#include "vmm/policy/divide.h"
#include "workloads/rng.h"

#define PPM POLICY_PPM

/* What does an idle page cost? k = 1 / (1 - tax): Waldspurger 2002, section 5.1. */
START_TEST(idle_price)
{
	static const struct {
		uint64_t tax, k;
	} rows[] = { { 0, PPM }, { 500000, 2 * PPM }, { 750000, 4 * PPM }, { 900000, 10 * PPM } };

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		ck_assert_uint_eq(divide_idle_price(rows[i].tax), rows[i].k);
}
END_TEST

/* rho = S / (P * (f + k * (1 - f))) */
START_TEST(rho_of_the_paper)
{
	static const struct {
		uint64_t shares, pages, active, tax, rho;
	} rows[] = {
		{ 1000, 100, PPM, 750000, 10 * PPM },	   /* all in use: S / P */
		{ 1000, 100, 0, 750000, 2500000 },	   /* all idle: a quarter */
		{ 1000, 100, 500000, 750000, 4 * PPM },	   /* 0.5 + 4 * 0.5 = 2.5 */
		{ 1000, 100, 0, 0, 10 * PPM },		   /* no tax: idle or not */
		{ 3000, 100, 500000, 500000, 20 * PPM },   /* 0.5 + 2 * 0.5 = 1.5 */
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct policy_vm vm = { .shares = rows[i].shares,
					.resident = rows[i].pages,
					.active_ppm = rows[i].active };

		ck_assert_uint_eq(divide_rho(&vm, rows[i].tax), rows[i].rho);
	}
}
END_TEST

struct row {
	const char *what;
	uint64_t total, tax;
	struct {
		uint64_t shares, active, min, max, grant;
	} vm[3];
};

#define ALL 9000 /* in use */

static const struct row rows[] = {
	{ "no tax: equal shares, equal parts", 10000, 0, { { 1000, 0, 0, 9000, 5000 }, { 1000, ALL, 0, 9000, 5000 } } },
	{ "75%: the idle one pays four times",
	  10000,
	  750000,
	  { { 1000, 0, 0, 9000, 2000 }, { 1000, ALL, 0, 9000, 8000 } } },
	/* Of 4,000 half is in use: it costs 2,000 + 4 * 2,000 = 10,000, as much as 10,000 in use. */
	{ "half in use", 14000, 750000, { { 1000, 2000, 0, 14000, 4000 }, { 1000, 14000, 0, 14000, 10000 } } },
	{ "shares three to one", 8000, 750000, { { 3000, ALL, 0, 8000, 6000 }, { 1000, ALL, 0, 8000, 2000 } } },
	{ "a minimum is kept", 10000, 750000, { { 1000, 0, 3000, 9000, 3000 }, { 1000, ALL, 0, 9000, 7000 } } },
	{ "a maximum is, too", 10000, 750000, { { 1000, 0, 0, 9000, 4000 }, { 1000, ALL, 0, 6000, 6000 } } },
	{ "enough for all", 20000, 750000, { { 1000, 0, 0, 9000, 9000 }, { 1000, ALL, 0, 9000, 9000 } } },
	{ "minima beyond what there is", 5000, 0, { { 1, 0, 4000, 9000, 4000 }, { 1, 0, 4000, 9000, 4000 } } },
	{ "a page that does not divide", 10001, 0, { { 1, ALL, 0, 9000, 5001 }, { 1, ALL, 0, 9000, 5000 } } },
	{ "three of them",
	  7000,
	  750000,
	  { { 1000, ALL, 0, 9000, 4000 }, { 1000, 0, 0, 9000, 1000 }, { 2000, 0, 0, 9000, 2000 } } },
	/* What is in use is not taxed: 1,000 of one, 3,000 of the other fit, and 2,000 more cost each the same. */
	{ "both above what they use",
	  6000,
	  750000,
	  { { 1000, 1000, 0, 9000, 2250 }, { 1000, 3000, 0, 9000, 3750 } } },
};

START_TEST(by_hand)
{
	const struct row *r = &rows[_i];
	struct claim claim[3] = { 0 };
	uint32_t n = 0;

	for (; n < 3 && r->vm[n].shares; n++)
		claim[n] = (struct claim){ .shares = r->vm[n].shares,
					   .active = r->vm[n].active,
					   .min = r->vm[n].min,
					   .max = r->vm[n].max };
	divide(claim, n, r->total, divide_idle_price(r->tax));
	for (uint32_t i = 0; i < n; i++)
		ck_assert_msg(claim[i].grant == r->vm[i].grant, "%s: VM %u gets %" G_GUINT64_FORMAT, r->what, i,
			      (guint64)claim[i].grant);
}
END_TEST

static void random_claims(struct rng *g, struct claim *claim, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t max = rng_below(g, 3000);

		claim[i] = (struct claim){
			.shares = 1 + rng_below(g, 5000),
			.active = rng_below(g, max + 1),
			.max = max,
			.min = rng_below(g, max + 1),
		};
		if (rng_below(g, 10) == 0)
			claim[i].shares = 0;
	}
}

/* What if the claims are any? Bounds hold and the sum is exact. */
START_TEST(bounds_and_sum)
{
	struct rng g;

	rng_seed(&g, 11);
	for (unsigned round = 0; round < 2000; round++) {
		uint32_t n = 1 + (uint32_t)rng_below(&g, 12);
		uint64_t total = rng_below(&g, 20000), least = 0, most = 0, sum = 0;
		struct claim claim[12];

		random_claims(&g, claim, n);
		divide(claim, n, total, 4 * PPM);
		for (uint32_t i = 0; i < n; i++) {
			least += claim[i].min;
			most += claim[i].max;
			sum += claim[i].grant;
			ck_assert_uint_ge(claim[i].grant, claim[i].min);
			ck_assert_uint_le(claim[i].grant, claim[i].max);
		}
		ck_assert_uint_eq(sum, CLAMP(total, least, most));
	}
}
END_TEST

/* P * (f + k * (1 - f)) at k = 4 */
static uint64_t price(const struct claim *c, uint64_t held)
{
	return held <= c->active ? held : c->active + 4 * (held - c->active);
}

/* What if pages are taken one by one from whoever pays least for each page? It ends where divide() does. */
START_TEST(is_the_end_of_revoking)
{
	struct rng g;

	rng_seed(&g, 12);
	for (unsigned round = 0; round < 50; round++) {
		uint32_t n = 2 + (uint32_t)rng_below(&g, 5);
		struct claim claim[8];
		uint64_t held[8], sum = 0, total;

		random_claims(&g, claim, n);
		for (uint32_t i = 0; i < n; i++)
			sum += held[i] = claim[i].max;
		total = rng_below(&g, sum + 1);
		while (sum > total) {
			uint32_t victim = n;

			for (uint32_t i = 0; i < n; i++)
				if (held[i] > claim[i].min &&
				    (victim == n || claim[i].shares * price(&claim[victim], held[victim]) <
							    claim[victim].shares * price(&claim[i], held[i])))
					victim = i;
			if (victim == n)
				break;
			held[victim]--;
			sum--;
		}
		divide(claim, n, total, 4 * PPM);
		for (uint32_t i = 0; i < n; i++)
			if (claim[i].shares)
				ck_assert_int_le(ABS((int64_t)held[i] - (int64_t)claim[i].grant), 4);
	}
}
END_TEST

/* What if nobody is at a bound? All pay the same rho, the paper's, to a page. */
START_TEST(equal_rho)
{
	struct claim claim[] = {
		{ .shares = 1000, .active = 3000, .max = 1 << 20 },
		{ .shares = 2500, .active = 100, .max = 1 << 20 },
		{ .shares = 700, .active = 1 << 20, .max = 1 << 20 },
	};

	uint64_t rho[3];

	divide(claim, 3, 100000, 4 * PPM);
	for (unsigned i = 0; i < 3; i++) {
		struct policy_vm vm = { .shares = claim[i].shares, .resident = claim[i].grant };

		vm.active_ppm = MIN(claim[i].active * PPM / claim[i].grant, PPM);
		rho[i] = divide_rho(&vm, 750000);
		ck_assert_int_le(ABS((int64_t)rho[i] - (int64_t)rho[0]), rho[0] / 1000);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("divide");
	TCase *tc = tcase_create("divide");

	tcase_add_test(tc, idle_price);
	tcase_add_test(tc, rho_of_the_paper);
	tcase_add_loop_test(tc, by_hand, 0, G_N_ELEMENTS(rows));
	tcase_add_test(tc, bounds_and_sum);
	tcase_add_test(tc, is_the_end_of_revoking);
	tcase_add_test(tc, equal_rho);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
