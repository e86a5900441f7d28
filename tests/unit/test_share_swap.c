/* SPDX-License-Identifier: MIT */
/* Pages that are shared on their way to swap. */
#include <check.h>
#include <glib.h>

#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

enum { PAGES = 2048, HOST = 1024 }; /* 512 frames are an arena */

static const struct swap_config cfg = { .nslots = 4096, .policy = &swap_fifo };

static struct merge *new(const char *algorithm, bool zero)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	merge_swap(m, &cfg);
	m->cfg.use_zero_pages = zero;
	merge_start(m, algorithm);
	swap_reclaimer(m->swap)->sharer = dedup_sharer(m->d);
	return m;
}

static void check_contents(struct merge *m, uint64_t n, uint64_t different)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t a, b;

		merge_peek(m, i % 2, 600 + i, &a, &b);
		must(a == i % different && b == 1);
	}
}

/*
 * What if a host fills up with pages of which each is like a dozen others, a hundred that the scanner has merged? None
 * goes to swap.
 */
START_TEST(test_merged)
{
	struct merge *m = new("hash", false);

	for (uint64_t i = 0; i < 200; i++)
		must(merge_store(m, i % 2, 600 + i, i % 100, 1) == 0);
	merge_passes(m, 1);
	for (uint64_t i = 200; i < 1200; i++)
		must(merge_store(m, i % 2, 600 + i, i % 100, 1) == 0);
	merge_report(m);
	must_eq(m->sum.swap_shared, 1000 - 412); /* 100 frames are shared, 412 are left for the others */
	must_eq(m->sum.swap_outs, 0);
	must_eq(m->sum.pages_shared, 100);
	check_contents(m, 1200, 100);
	merge_free(m);
}
END_TEST

/* What if it knows them as hints only? The first victim that is like one is merged with it, as long as it is there. */
START_TEST(test_hints)
{
	struct merge *m = new("hash", false);

	for (uint64_t i = 0; i < 400; i++)
		must(merge_store(m, i % 2, 600 + i, i, 1) == 0);
	merge_passes(m, 1);
	for (uint64_t i = 0; i < 200; i++) /* the oldest are like the youngest, but were not looked at since */
		must(merge_store(m, i % 2, 600 + i, 200 + i, 1) == 0);
	for (uint64_t i = 400; i < 712; i++)
		must(merge_store(m, i % 2, 600 + i, 1000 + i, 1) == 0);
	merge_report(m);
	must_eq(m->sum.swap_shared, 200);
	must_eq(m->sum.pages_shared, 200);
	must_eq(m->sum.saved_self, 200);
	must_eq(m->sum.swap_outs, 0);
	merge_free(m);
}
END_TEST

/* What if all are unique, or stale hints? They go, each looked up once. */
START_TEST(test_unique)
{
	struct merge *m = new("hash", false);

	for (uint64_t i = 0; i < 400; i++)
		must(merge_store(m, i % 2, 600 + i, i % 10, 1) == 0);
	m->d->ops->scan(m->d, 5);
	for (uint64_t i = 0; i < 400; i++)
		must(merge_store(m, i % 2, 600 + i, i, 1) == 0); /* no hint is true any more */
	for (uint64_t i = 400; i < 1200; i++)
		must(merge_store(m, i % 2, 600 + i, i, 1) == 0);
	merge_report(m);
	must_eq(m->sum.swap_shared, 0);
	must(m->sum.swap_outs >= 1200 - 512);
	must(m->fm->charged[CHARGE_CHECKSUM] >= m->sum.swap_outs);
	check_contents(m, 1200, 1200);
	merge_free(m);
}
END_TEST

/* What if they are zeros that nobody has looked at? The zero frame takes them, while there is one or a frame for it. */
START_TEST(test_zero)
{
	struct merge *m = new("hash", true);

	must(merge_store(m, 0, 600, 0, 0) == 0);
	merge_passes(m, 1);
	must_eq(m->c[0].ksm_zero_pages, 1);
	for (uint64_t i = 1; i < 1200; i++)
		must(merge_store(m, i % 2, 600 + i, 0, 0) == 0);
	merge_report(m);
	must_eq(m->sum.swap_outs, 0);
	must(m->sum.swap_shared >= 1200 - 512);
	merge_free(m);
}
END_TEST

/* Who knows no quick answer is not asked; and while sharing is undone nothing is shared to make room for it. */
START_TEST(test_others)
{
	struct merge *m = new("ksm", false);

	must(!dedup_sharer(m->d));
	merge_free(m);
	m = new("hash", false);
	for (uint64_t i = 0; i < 1000; i++)
		must(merge_store(m, i % 2, 600 + i, i % 10, 1) == 0 && (m->d->ops->scan(m->d, 100), true));
	merge_passes(m, 2);
	must(m->c[0].pages_merged + m->c[1].pages_merged > 900);
	must(dedup_unmerge(m->d) == 0);
	merge_report(m);
	must_eq(m->sum.pages_merged, 0);
	must(m->sum.swap_outs > 0);
	check_contents(m, 1000, 10);
	merge_free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("share before swap");
	TCase *t = tcase_create("share before swap");

	tcase_add_test(t, test_merged);
	tcase_add_test(t, test_hints);
	tcase_add_test(t, test_unique);
	tcase_add_test(t, test_zero);
	tcase_add_test(t, test_others);
	suite_add_tcase(s, t);
	return suite_run(s);
}
