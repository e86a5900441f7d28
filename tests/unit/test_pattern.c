/* SPDX-License-Identifier: MIT */
/* Page contents: the same bytes for ever, distinct for distinct patterns, and as compressible as their family says. */
#include <check.h>
#include <glib.h>
#include <xxhash.h>
#include <zstd.h>

#include "tests/lib/suite.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"

#define WORDS 512

static uint64_t page_hash(struct pattern p)
{
	uint64_t page[WORDS];

	pattern_fill(p, page);
	return XXH3_64bits(page, sizeof(page));
}

START_TEST(names)
{
	ck_assert_str_eq(pattern_family_name(PATTERN_ZERO), "zero");
	for (unsigned f = 0; f < PATTERN_FAMILIES; f++)
		ck_assert_ptr_nonnull(pattern_family_name(f));
	ck_assert_ptr_null(pattern_family_name(PATTERN_FAMILIES));
	ck_assert_ptr_null(pattern_family_name(PATTERN_BYTES));
}
END_TEST

START_TEST(zero)
{
	static const uint64_t zeros[WORDS];
	uint64_t page[WORDS];

	pattern_fill((struct pattern){ 0, 0 }, page);
	ck_assert_mem_eq(page, zeros, sizeof(page));
	pattern_fill((struct pattern){ 0, 7 }, page);
	ck_assert_uint_eq(page[0], 7);
	ck_assert_mem_eq(page + 1, zeros + 1, sizeof(page) - 8);
}
END_TEST

/* What if the bytes of a pattern changed? Every recorded digest would be worthless. */
START_TEST(pinned)
{
	static const struct {
		struct pattern p;
		uint64_t hash;
	} pin[] = {
		{ { 0x0000000000000000ull, 0 }, 0x93d76fe148c689baull },
		{ { 0x0100000000000001ull, 0 }, 0x1f7593e5db34a0cdull },
		{ { 0x01000000075bcd15ull, 42 }, 0xe7cdc64e0930de6bull },
		{ { 0x0200000000000001ull, 0 }, 0x6c41890f9a39d229ull },
		{ { 0x020000000000004dull, 9 }, 0x4e7e5e531e5fef0bull },
		{ { 0x0300000000000001ull, 0 }, 0x2519e5cab5f14b7full },
		{ { 0x03ffffffffffffffull, 5 }, 0x2354647c7181efc5ull },
		{ { 0x0400000000000001ull, 0 }, 0xa0c871def3b9661full },
		{ { 0x0500000000000120ull, 0 }, 0x14d7d2fa450e19fdull },
		{ { 0x05000000000007ffull, 1 }, 0x790c0c8bcd4a6f83ull },
		{ { 0xfe00000000000003ull, 0 }, 0x827e6581430519eeull },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(pin); i++)
		ck_assert_msg(page_hash(pin[i].p) == pin[i].hash, "pattern %zu is now 0x%" G_GINT64_MODIFIER "x", i,
			      page_hash(pin[i].p));
}
END_TEST

START_TEST(words_make_page)
{
	struct rng rng;
	uint64_t page[WORDS];

	rng_seed(&rng, 5);
	for (int i = 0; i < 200; i++) {
		unsigned family = i % 8 == 7 ? PATTERN_IMAGE : (unsigned)i % 8;
		struct pattern p = { PATTERN_BASE(family, rng_u64(&rng)), rng_u64(&rng) };

		pattern_fill(p, page);
		for (unsigned w = 0; w < WORDS; w++)
			if (pattern_word(p, w) != page[w])
				ck_abort_msg("base %" G_GINT64_MODIFIER "x, word %u", p.base, w);
	}
}
END_TEST

/* What if two patterns had equal bytes? Pages would merge that must not. All pairs of many close ones are compared by
 * hash. */
START_TEST(distinct)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	static const uint64_t stamps[] = { 0, 1, UINT64_MAX };

	for (unsigned family = 0; family <= PATTERN_BYTES; family += family == 8 ? 0xf6 : 1)
		for (uint64_t number = 0; number < 1200; number++)
			for (size_t s = 0; s < G_N_ELEMENTS(stamps); s++) {
				uint64_t n = number < 600 ? number : number << 40;
				struct pattern p = { PATTERN_BASE(family, n), stamps[s] };
				gint64 hash = (gint64)page_hash(p);

				if (number == 600)
					continue; /* 600 << 40 is distinct, but 0 << 40 is not made twice */
				if (!g_hash_table_add(seen, g_memdup2(&hash, sizeof(hash))))
					ck_abort_msg("family %u number %" G_GINT64_MODIFIER "u", family, n);
			}
}
END_TEST

START_TEST(near)
{
	uint64_t text[WORDS], page[WORDS];

	for (unsigned n = 0; n < 256; n++)
		for (uint64_t x = 0; x < 20; x++) {
			unsigned differ = 0;

			pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, x), 3 }, text);
			pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_NEAR, x << 8 | n), 3 }, page);
			for (unsigned w = 0; w < WORDS; w++)
				differ += text[w] != page[w];
			ck_assert_uint_eq(differ, n ? n : 1);
		}
}
END_TEST

/* Ratios under zstd -1, averaged over pages, within a band of what pattern.h says (versions of zstd differ a little).
 */
START_TEST(ratios)
{
	static const struct {
		unsigned family;
		double low, high;
	} band[] = { { PATTERN_ZERO, 100, 500 },
		    { PATTERN_TEXT, 2.8, 4.2 },
		    { PATTERN_POINTER, 3.3, 5 },
		    { PATTERN_CODE, 1.6, 2.4 },
		    { PATTERN_RANDOM, 0.9, 1.01 } };

	for (size_t i = 0; i < G_N_ELEMENTS(band); i++) {
		size_t total = 0;
		double ratio;

		for (uint64_t n = 0; n < 100; n++) {
			char page[4096], out[8192];

			pattern_fill((struct pattern){ PATTERN_BASE(band[i].family, band[i].family ? n : 0), 1 }, page);
			total += ZSTD_compress(out, sizeof(out), page, sizeof(page), 1);
		}
		ratio = 100 * 4096.0 / (double)total;
		ck_assert_msg(ratio > band[i].low && ratio < band[i].high, "%s: %.2f",
			      pattern_family_name(band[i].family), ratio);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pattern");
	TCase *tc = tcase_create("pattern");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, names);
	tcase_add_test(tc, zero);
	tcase_add_test(tc, pinned);
	tcase_add_test(tc, words_make_page);
	tcase_add_test(tc, distinct);
	tcase_add_test(tc, near);
	tcase_add_test(tc, ratios);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
