/* SPDX-License-Identifier: MIT */
/* The scan-time advisor: figures worked out by hand, and a scanner that it leads. */
#include <check.h>

#include "dedup/advisor.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

#define S  1000000000ull
#define MS 1000000ull

static const struct advisor_config kernel = {
	.target_ns = 200 * S, .min_cpu_ppm = 100000, .max_cpu_ppm = 700000, .min_pages = 500, .max_pages = 30000,
};

/*
 * What does it say after a pass of 1,000 s that took 10% of a CPU? 500 pages, 5 times too slow, average 0.3: 750; 10%
 * are 500 pages and 70% are 3,500, so that stands. Then 400 s, at 20%: change 0.4, average 0.33; 750 x 2 x 0.33 =
 * 495, under the 500 of the least, and 10% are 375.
 */
START_TEST(test_by_hand)
{
	struct advisor a;

	advisor_init(&a, &kernel);
	must_eq(a.pages, 500);
	advisor_pass(&a, 1000 * S, 100 * S);
	must_eq(a.change, 300000);
	must_eq(a.pages, 750);
	advisor_pass(&a, 400 * S, 80 * S);
	must_eq(a.change, 330000);
	must_eq(a.pages, 500);
}
END_TEST

/* What if a CPU bound stands in the way? The pages at which the scanner takes just that. */
START_TEST(test_cpu)
{
	struct advisor a;

	advisor_init(&a, &kernel);
	a.pages = 2000;
	advisor_pass(&a, 4000 * S, 1600 * S); /* 40%: 70% are 3,500; wanted are 12,000 */
	must_eq(a.pages, 3500);
	advisor_init(&a, &kernel);
	a.pages = 20000;
	advisor_pass(&a, 20 * S, 1 * S); /* 5%: 10% are 40,000; the largest is 30,000 */
	must_eq(a.pages, 30000);
	advisor_init(&a, &kernel);
	a.pages = 20000;
	advisor_pass(&a, 20 * S, 0); /* unknown: no bound but the least */
	must_eq(a.pages, 600);
	advisor_pass(&a, 0, 0);
	must_eq(a.pages, 500);
}
END_TEST

/* Where a page costs 10 us and the scanner sleeps 20 ms, what does a pass over @total pages come to in the end? */
static uint64_t settled(uint64_t total, const struct advisor_config *cfg)
{
	uint64_t now = 0, cpu = 0, took = 0;
	struct advisor a;

	advisor_init(&a, cfg);
	for (uint64_t pass = 1; pass <= 100; pass++) {
		uint64_t began = now;

		for (uint64_t left = total; left;) {
			uint64_t n = left < a.pages ? left : a.pages;

			left -= n;
			cpu += n * 10000;
			now += n * 10000;
			advisor_tick(&a, left ? pass - 1 : pass, now, cpu);
			now += 20 * MS;
		}
		must(a.pages >= cfg->min_pages && a.pages <= cfg->max_pages);
		took = now - began;
	}
	return took;
}

/* What if it leads a scanner? A pass comes to take its target, unless a bound holds it off. */
START_TEST(test_settles)
{
	struct advisor_config cfg = kernel;
	uint64_t took = settled(4000000, &cfg); /* 40 s of work: 20% of a CPU */

	must(took > 190 * S && took < 210 * S);
	cfg.target_ns = 50 * S; /* that would be 80%; 70% are 57 s */
	took = settled(4000000, &cfg);
	must(took > 55 * S && took < 60 * S);
	cfg.min_pages = 100;
	cfg.target_ns = 1000 * S; /* and that 4%; 10% are 400 s */
	took = settled(4000000, &cfg);
	must(took > 380 * S && took < 420 * S);
	cfg = kernel;
	cfg.max_pages = 4000;
	cfg.target_ns = 50 * S; /* 1,000 times 60 ms */
	took = settled(4000000, &cfg);
	must(took > 59 * S && took < 61 * S);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("advisor");
	TCase *t = tcase_create("advisor");

	tcase_add_test(t, test_by_hand);
	tcase_add_test(t, test_cpu);
	tcase_add_test(t, test_settles);
	suite_add_tcase(s, t);
	return suite_run(s);
}
