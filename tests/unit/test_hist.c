/* SPDX-License-Identifier: MIT */
/* test_hist.c - the histogram of latencies against sorted lists */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "vmm/hist.h"
#include "workloads/rng.h"

#define VALUES 2000

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The definition: the smallest value that at least ppm parts per million of the entries do not exceed. */
static uint64_t naive(uint64_t *v, unsigned n, uint32_t ppm)
{
	qsort(v, n, sizeof(*v), ascending);
	for (unsigned i = 0; i < n; i++)
		if ((uint64_t)(i + 1) * 1000000 >= (uint64_t)n * ppm)
			return v[i];
	return 0;
}

static const uint32_t points[] = { 0, 1, 100000, 500000, 900000, 990000, 999000, 999999, 1000000 };

START_TEST(what_if_values_are_random)
{
	static struct hist h;
	static uint64_t v[VALUES];
	struct rng rng;

	rng_seed(&rng, (uint64_t)_i);
	memset(&h, 0, sizeof(h));
	for (unsigned i = 0; i < VALUES; i++) {
		v[i] = rng_u64(&rng) >> (24 + rng_u64(&rng) % 40);
		hist_add(&h, v[i], 1);
	}
	for (unsigned i = 0; i < sizeof(points) / sizeof(*points); i++) {
		uint64_t want = naive(v, VALUES, points[i]), got = hist_percentile(&h, points[i]);

		ck_assert_msg(got <= want && want - got <= want / HIST_SUB, "ppm %u: %llu for %llu", points[i],
			      (unsigned long long)got, (unsigned long long)want);
		ck_assert(want >= 2 * HIST_SUB || got == want);
	}
}
END_TEST

START_TEST(what_if_it_is_empty)
{
	static struct hist h;

	memset(&h, 0, sizeof(h));
	ck_assert_uint_eq(hist_percentile(&h, 0), 0);
	ck_assert_uint_eq(hist_percentile(&h, 999000), 0);
}
END_TEST

START_TEST(what_if_values_lie_on_the_edges_of_buckets)
{
	static struct hist h;

	for (unsigned bit = 0; bit < 41; bit++) {
		uint64_t value = 1ull << bit;

		memset(&h, 0, sizeof(h));
		hist_add(&h, value, 3);
		ck_assert_uint_eq(hist_percentile(&h, 500000), value);
		memset(&h, 0, sizeof(h));
		hist_add(&h, value - 1, 1);
		ck_assert_uint_le(hist_percentile(&h, 500000), value - 1);
	}
}
END_TEST

START_TEST(what_if_a_value_is_beyond_the_last_bucket)
{
	static struct hist h;

	memset(&h, 0, sizeof(h));
	hist_add(&h, UINT64_MAX, 1);
	hist_add(&h, 7, 1);
	ck_assert_uint_eq(h.n, 2);
	ck_assert_uint_eq(hist_percentile(&h, 500000), 7);
	ck_assert_uint_ge(hist_percentile(&h, 1000000), 1ull << 40);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hist");
	TCase *tc = tcase_create("hist");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_if_values_are_random, 0, 30);
	tcase_add_test(tc, what_if_it_is_empty);
	tcase_add_test(tc, what_if_values_lie_on_the_edges_of_buckets);
	tcase_add_test(tc, what_if_a_value_is_beyond_the_last_bucket);
	suite_add_tcase(s, tc);

	return suite_run(s);
}
