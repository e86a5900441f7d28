/* SPDX-License-Identifier: MIT */
/* test_disk_image.c - a sparse disk against plain bytes */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "mm/gmem.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/disk_image.h"
#include "workloads/rng.h"

#define FILES 200u
#define SWAP  56u
#define ALL   (FILES + SWAP)

static struct disk_image *disk(uint64_t content, uint64_t key)
{
	const struct disk_image_config cfg = { FILES, SWAP, content, key };
	struct disk_image *d = disk_image_new(&cfg);

	must(d != NULL);
	must_eq(disk_image_pages(d), ALL);
	return d;
}

static struct page_content page_of(const struct disk_image *d, uint64_t page)
{
	struct page_content c;

	disk_image_read(d, page, &c);
	return c;
}

static void bytes_of(const struct disk_image *d, uint64_t page, uint8_t *bytes)
{
	struct page_content c = page_of(d, page);

	page_content_bytes(&c, bytes);
}

START_TEST(initial)
{
	struct disk_image *own = disk(PATTERN_BASE(PATTERN_TEXT, 0), 7), *same = disk(PATTERN_BASE(PATTERN_TEXT, 0), 7);
	struct disk_image *other = disk(PATTERN_BASE(PATTERN_TEXT, 0), 8);
	struct disk_image *few = disk(PATTERN_BASE(PATTERN_TEXT, 10), 7);
	struct disk_image *near = disk(PATTERN_BASE(PATTERN_NEAR, 0), 7), *none = disk(0, 7);

	for (uint64_t i = 0; i < ALL; i++) {
		bool file = i < FILES;

		must_eq(page_of(own, i).pattern.base, page_of(same, i).pattern.base);
		must(!file || page_of(own, i).pattern.base != page_of(other, i).pattern.base);
		must(!file || page_of(own, i).pattern.base != page_of(own, (i + 1) % FILES).pattern.base);
		must_eq(page_of(few, i).pattern.base, file ? PATTERN_BASE(PATTERN_TEXT, i % 10 + 1) : 0);
		must_eq(PATTERN_FAMILY(page_of(near, i).pattern.base), file ? PATTERN_NEAR : PATTERN_ZERO);
		must_eq(page_of(none, i).pattern.base, 0);
		must_eq(page_of(own, i).pattern.stamp, 0);
	}
	must(disk_image_next_written(own, 0) == UINT64_MAX);
	disk_image_free(own);
	disk_image_free(same);
	disk_image_free(other);
	disk_image_free(few);
	disk_image_free(near);
	disk_image_free(none);
}
END_TEST

/* What if a page becomes bytes and a pattern in turn, and what it was at first in the end? */
START_TEST(written)
{
	struct disk_image *d = disk(PATTERN_BASE(PATTERN_CODE, 0), 1);
	struct page_content first = page_of(d, 65), c = { .pattern = { PATTERN_BASE(PATTERN_TEXT, 5), 77 } };
	uint8_t before[PAGE_SIZE], after[PAGE_SIZE];

	bytes_of(d, 65, before);
	must(disk_image_is_initial(d, 65, &first));
	disk_image_write(d, 65, &c);
	must_eq(page_of(d, 65).pattern.stamp, 77);
	must(!disk_image_is_initial(d, 65, &c));
	must_eq(disk_image_next_written(d, 0), 65);
	must_eq(disk_image_next_written(d, 65), 65);
	must_eq(disk_image_next_written(d, 66), UINT64_MAX);
	disk_image_write_bytes(d, 65 * PAGE_SIZE + 100, "abc", 3);
	bytes_of(d, 65, after);
	must(!memcmp(after + 100, "abc", 3));
	must_eq(PATTERN_FAMILY(page_of(d, 65).pattern.base), PATTERN_BYTES);
	disk_image_write(d, 65, &c);
	must_eq(PATTERN_FAMILY(page_of(d, 65).pattern.base), PATTERN_TEXT);
	disk_image_write_bytes(d, 65 * PAGE_SIZE, before, PAGE_SIZE);
	c = page_of(d, 65);
	must_eq(PATTERN_FAMILY(c.pattern.base), PATTERN_BYTES);
	must(disk_image_is_initial(d, 65, &c));
	disk_image_zero(d, 65 * PAGE_SIZE, PAGE_SIZE);
	must_eq(page_of(d, 65).pattern.base, 0);
	disk_image_free(d);
}
END_TEST

static void random_write(struct disk_image *d, uint8_t *plain, struct rng *rng)
{
	uint64_t offset = rng_below(rng, ALL * PAGE_SIZE), len = rng_below(rng, 3 * PAGE_SIZE);
	uint64_t page = offset / PAGE_SIZE;
	struct page_content c = { .pattern = { PATTERN_BASE(PATTERN_TEXT, rng_below(rng, 9)), rng_below(rng, 5) } };
	uint8_t buf[3 * PAGE_SIZE];

	len = MIN(len, ALL * PAGE_SIZE - offset);
	memset(buf, (int)rng_below(rng, 256), sizeof(buf));
	switch (rng_below(rng, 3)) {
	case 0:
		disk_image_write(d, page, &c);
		page_content_bytes(&c, plain + page * PAGE_SIZE);
		break;
	case 1:
		disk_image_write_bytes(d, offset, buf, len);
		memcpy(plain + offset, buf, len);
		break;
	default:
		disk_image_zero(d, offset, len);
		memset(plain + offset, 0, len);
		break;
	}
}

START_TEST(random_writes)
{
	struct disk_image *d = disk(PATTERN_BASE(PATTERN_POINTER, 0), 3);
	g_autofree uint8_t *plain = g_malloc(ALL * PAGE_SIZE), *back = g_malloc(ALL * PAGE_SIZE);
	struct rng rng;

	rng_seed(&rng, 5);
	disk_image_read_bytes(d, 0, plain, ALL * PAGE_SIZE);
	for (unsigned i = 0; i < 2000; i++) {
		random_write(d, plain, &rng);
		if (i % 200 == 0) {
			disk_image_read_bytes(d, 0, back, ALL * PAGE_SIZE);
			must(!memcmp(plain, back, ALL * PAGE_SIZE));
		}
	}
	for (unsigned i = 0; i < 200; i++) {
		uint64_t offset = rng_below(&rng, ALL * PAGE_SIZE), len = rng_below(&rng, ALL * PAGE_SIZE - offset + 1);

		disk_image_read_bytes(d, offset, back, len);
		must(!memcmp(plain + offset, back, len));
	}
	disk_image_free(d);
}
END_TEST

/* A disk of 16 TiB must cost nothing. */
START_TEST(huge)
{
	const struct disk_image_config cfg = { 1ull << 32, 0, PATTERN_BASE(PATTERN_TEXT, 0), 1 };
	struct page_content c = { .pattern = { PATTERN_BASE(PATTERN_RANDOM, 1), 0 } };
	struct disk_image *d = disk_image_new(&cfg);

	must(d != NULL);
	disk_image_write(d, (1ull << 32) - 1, &c);
	must_eq(disk_image_next_written(d, (1ull << 32) - 100000), (1ull << 32) - 1);
	must_eq(page_of(d, (1ull << 32) - 1).pattern.base, c.pattern.base);
	disk_image_free(d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("disk_image");
	TCase *tc = tcase_create("image");

	tcase_add_test(tc, initial);
	tcase_add_test(tc, written);
	tcase_add_test(tc, random_writes);
	tcase_add_test(tc, huge);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
