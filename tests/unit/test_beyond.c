/* SPDX-License-Identifier: MIT */
/* Patches and compression on few pages, where everything can be said in advance. */
#include <check.h>
#include <glib.h>

#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

enum { PAGES = 2048, HOST = 4096 };

static const char *const algorithms[] = { "ksm", "hash", "oracle" };

static const struct swap_config sc = { .nslots = 4096, .policy = &swap_fifo, .pool_frames = 64 };

static struct merge *new(const char *algorithm, bool patch, bool compress, unsigned cold)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	merge_swap(m, &sc);
	m->cfg.swap = m->swap;
	m->cfg.patch = patch;
	m->cfg.compress = compress;
	m->cfg.potential = true;
	m->cfg.cold_passes = cold;
	merge_start(m, algorithm);
	return m;
}

static void scan(struct merge *m, unsigned n)
{
	while (n--)
		dedup_scan(m->d, 100000);
	merge_report(m);
}

static void check_page(struct merge *m, unsigned vm, gfn_t gfn, uint64_t a, uint64_t b)
{
	uint64_t x, y;

	merge_peek(m, vm, gfn, &x, &y);
	must(x == a && y == b);
}

/*
 * What if ten pages differ in a word each, and nobody touches them? One is the reference, the others are patches of it;
 * when the reference is written its frame stays for them, and goes with the last.
 */
START_TEST(test_patch)
{
	struct merge *m = new(algorithms[_i], true, false, 2);
	gfn_t reference = GFN_NONE;

	for (unsigned i = 0; i < 10; i++)
		must(merge_store(m, i % 2, 600 + i, 5, 100 + i) == 0);
	scan(m, 2);
	must_eq(m->sum.patches, 0); /* touched, or not looked at twice */
	scan(m, 6);
	must_eq(m->sum.patches, 9);
	must_eq(m->sum.pages_patched, 9);
	must_eq(m->sum.pages_compressed, 9);
	must_eq(m->sum.pages_shared, 1);
	must_eq(m->sum.frames_reference, 0);
	must(m->sum.patch_size > 0 && m->sum.patch_size < 9 * 100);
	must_eq(frames_used(m->fr), 512 + 1 + 1);
	for (unsigned i = 0; i < 10; i++) {
		check_page(m, i % 2, 600 + i, 5, 100 + i);
		if (merge_state(m, i % 2, 600 + i) == PAGE_SHARED)
			reference = 600 + i;
	}
	must(reference != GFN_NONE);
	must(merge_store(m, reference % 2, reference, 1, 2) == 0);
	merge_report(m);
	must_eq(m->sum.frames_reference, 1);
	for (unsigned i = 0; i < 10; i++)
		if (600 + i != reference)
			check_page(m, i % 2, 600 + i, 5, 100 + i);
	for (unsigned i = 0; i < 10; i++)
		if (600 + i != reference)
			must(merge_store(m, i % 2, 600 + i, i, i) == 0);
	merge_report(m);
	must_eq(m->sum.patch_faults, 9);
	must_eq(m->sum.faults_compressed, 9);
	must_eq(m->sum.pages_patched + m->sum.patch_size + m->sum.frames_reference, 0);
	must_eq(frames_used(m->fr), 512 + 10);
	merge_free(m);
}
END_TEST

/* What if equal pages turn up when one has become a reference? They merge with it. */
START_TEST(test_adopt)
{
	struct merge *m = new(algorithms[_i], true, false, 1);

	for (unsigned i = 0; i < 3; i++)
		must(merge_store(m, i % 2, 600 + i, 5, 100 + i) == 0);
	scan(m, 6);
	must_eq(m->sum.patches, 2);
	for (unsigned i = 0; i < 3; i++)
		must(merge_store(m, 1, 700 + i, 5, 100 + i) == 0);
	scan(m, 3);
	must_eq(m->sum.pages_shared, 1);
	must_eq(m->sum.pages_sharing, 1);
	merge_free(m);
}
END_TEST

/* What if pages are touched all the time? They stay. */
START_TEST(test_hot)
{
	struct merge *m = new(algorithms[_i], true, true, 2);
	bool faulted;

	for (unsigned i = 0; i < 10; i++)
		must(merge_store(m, i % 2, 600 + i, 5, 100 + i) == 0);
	for (unsigned pass = 0; pass < 10; pass++) {
		for (unsigned i = 0; i < 10; i++)
			must(fake_paging_access(m->p[i % 2], 600 + i, ACC_R, &faulted) == 0);
		scan(m, 1);
	}
	must_eq(m->sum.pages_compressed, 0);
	must_eq(m->sum.pages_resident, 10);
	merge_free(m);
}
END_TEST

/* What if they are like nothing else? They are compressed; and what there was to save is told before. */
START_TEST(test_compress)
{
	struct merge *m = new(algorithms[_i], false, true, 1);
	uint64_t was;

	for (unsigned i = 0; i < 10; i++)
		must(merge_store(m, i % 2, 600 + i, 5, 100 + i) == 0);
	scan(m, _i == 0 ? 2 : 1); /* not cold yet */
	was = m->sum.potential_compress;
	must_eq(was, 10 * (4096 - 24)); /* two words, and eight bytes */
	must(m->sum.potential_patch > 8 * 3900 && m->sum.potential_patch < 10 * 4096);
	scan(m, 4);
	must_eq(m->sum.patches, 0);
	must_eq(m->sum.pages_compressed, 10);
	must_eq(m->sum.compressed_size, 240);
	must_eq(m->sum.potential_compress, 0);
	for (unsigned i = 0; i < 10; i++)
		check_page(m, i % 2, 600 + i, 5, 100 + i);
	merge_free(m);
}
END_TEST

/* What if the tier is full? Nothing is turned into a reference in vain. */
START_TEST(test_full)
{
	const struct swap_config none = { .nslots = 4096, .policy = &swap_fifo, .pool_frames = 0 };
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	merge_swap(m, &none);
	m->cfg.swap = m->swap;
	m->cfg.patch = m->cfg.compress = true;
	m->cfg.cold_passes = 1;
	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 10; i++)
		must(merge_store(m, i % 2, 600 + i, 5, 100 + i) == 0);
	scan(m, 8);
	must_eq(m->sum.pages_shared + m->sum.pages_compressed, 0);
	must_eq(m->sum.pages_unshared, 10);
	merge_free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("beyond");
	TCase *t = tcase_create("beyond");

	tcase_add_loop_test(t, test_patch, 0, 3);
	tcase_add_loop_test(t, test_adopt, 0, 3);
	tcase_add_loop_test(t, test_hot, 0, 3);
	tcase_add_loop_test(t, test_compress, 0, 3);
	tcase_add_loop_test(t, test_full, 0, 3);
	suite_add_tcase(s, t);
	return suite_run(s);
}
