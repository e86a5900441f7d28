/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/sim/compress.h"
#include "workloads/rng.h"
#include "workloads/x86.h"

static struct pattern pattern(unsigned family, uint64_t number, uint64_t stamp)
{
	return (struct pattern){ family ? PATTERN_BASE(family, number) : 0, stamp };
}

/* What if the same pages are asked for again and again, others between? The same size, and that of their bytes. */
START_TEST(sizes_are_those_of_the_bytes)
{
	const struct compressor *kind = compressors[_i];
	struct compress *c = compress_new(kind);
	uint64_t page[PAGE_SIZE / 8];
	struct rng rng;

	rng_seed(&rng, 8);
	for (unsigned i = 0; i < 3000; i++) {
		/* NEAR's number has words in it, at least one. */
		unsigned family = (unsigned)rng_below(&rng, PATTERN_FAMILIES);
		struct pattern p = pattern(family, rng_below(&rng, 20) << 8 | 1, rng_below(&rng, 3));
		unsigned n = compress_pattern(c, p);

		pattern_fill(p, page);
		must(n > 0 && n == compress_pattern(c, p));
		if (strcmp(kind->name, "table"))
			must_eq(n, compress_bytes(c, page));
	}
	ck_assert_uint_lt(compress_pattern(c, pattern(PATTERN_ZERO, 0, 0)), 64);
	ck_assert_uint_gt(compress_pattern(c, pattern(PATTERN_RANDOM, 1, 1)), 4096);
	compress_free(c);
}
END_TEST

/* What if a table is compared with what it was made from? Within a tenth, whatever version of zstd this is. */
START_TEST(table_is_not_far_off)
{
	struct compress *zstd = compress_new(compressors[0]), *table = compress_new(compressors[2]);

	ck_assert_str_eq(compressors[0]->name, "zstd");
	ck_assert_str_eq(compressors[2]->name, "table");
	for (unsigned family = PATTERN_TEXT; family <= PATTERN_RANDOM; family++) {
		uint64_t a = 0, b = 0;

		for (unsigned i = 0; i < 200; i++) {
			a += compress_pattern(zstd, pattern(family, i + 1, i));
			b += compress_pattern(table, pattern(family, i + 1, i));
		}
		must(a < b + b / 10 && b < a + a / 10);
	}
	compress_free(zstd);
	compress_free(table);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("compress");
	TCase *t = tcase_create("compress");
	int n = 0;

	while (compressors[n])
		n++;
	tcase_add_loop_test(t, sizes_are_those_of_the_bytes, 0, n);
	tcase_add_test(t, table_is_not_far_off);
	suite_add_tcase(s, t);
	return suite_run(s);
}
