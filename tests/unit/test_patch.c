/* SPDX-License-Identifier: MIT */
/* Pages as differences: what is made is made again, and similar pages make small patches. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "mm/patch.h"
#include "mm/types.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"

static unsigned round_trip(struct patcher *p, const void *reference, const void *page)
{
	uint8_t patch[PATCH_MAX], again[PAGE_SIZE];
	unsigned n = patch_make(p, reference, page, patch);

	must(n <= PATCH_MAX);
	must(patch_apply(p, reference, patch, n, again) == 0);
	must(!memcmp(again, page, PAGE_SIZE));
	return n;
}

/* What if pages are of any two patterns, in any order? */
START_TEST(test_any)
{
	struct patcher *p = patcher_new();
	uint64_t a[512], b[512];
	struct rng rng;

	rng_seed(&rng, 1);
	for (unsigned i = 0; i < 500; i++) {
		unsigned x = (unsigned)rng_below(&rng, PATTERN_FAMILIES);
		unsigned y = (unsigned)rng_below(&rng, PATTERN_FAMILIES);

		pattern_fill((struct pattern){ x ? PATTERN_BASE(x, rng_below(&rng, 50)) : 0, rng_below(&rng, 3) }, a);
		pattern_fill((struct pattern){ y ? PATTERN_BASE(y, rng_below(&rng, 50)) : 0, rng_below(&rng, 3) }, b);
		round_trip(p, a, b);
	}
	patcher_free(p);
}
END_TEST

/* How large is the patch of a page that differs in n of 512 words? Nothing like the page. */
START_TEST(test_small)
{
	struct patcher *p = patcher_new();
	uint64_t a[512], b[512];

	pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, 7), 1 }, a);
	memcpy(b, a, sizeof(a)); /* zstd does not look for a page in itself */
	must(round_trip(p, a, b) < 40);
	for (unsigned n = 1; n <= 32; n++) {
		pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_NEAR, 7 << 8 | n), 1 }, b);
		must(round_trip(p, a, b) < 50 + 16 * n);
	}
	patcher_free(p);
}
END_TEST

/* What if a patch is damaged, or is for another page? It is refused, or makes a page; nothing breaks. */
START_TEST(test_damaged)
{
	uint8_t patch[PATCH_MAX], page[PAGE_SIZE];
	struct patcher *p = patcher_new();
	uint64_t a[512], b[512], other[512];
	unsigned n;

	pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, 7), 1 }, a);
	pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_NEAR, 7 << 8 | 9), 1 }, b);
	n = patch_make(p, a, b, patch);
	must(patch_apply(p, a, patch, n - 1, page) == -EINVAL);
	must(patch_apply(p, a, patch, 0, page) == -EINVAL);
	for (unsigned i = 0; i < n; i++) {
		patch[i] ^= 0x55;
		patch_apply(p, a, patch, n, page);
		patch[i] ^= 0x55;
	}
	pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, 8), 1 }, other);
	must(patch_apply(p, other, patch, n, page) == 0 && memcmp(page, b, PAGE_SIZE));
	must(patch_apply(p, a, patch, n, page) == 0 && !memcmp(page, b, PAGE_SIZE));
	patcher_free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("patch");
	TCase *t = tcase_create("patch");

	tcase_add_test(t, test_any);
	tcase_add_test(t, test_small);
	tcase_add_test(t, test_damaged);
	suite_add_tcase(s, t);
	return suite_run(s);
}
