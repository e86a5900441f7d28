/* SPDX-License-Identifier: MIT */
/* Blocks that become large although a page of theirs is absent, merged or in swap; and whoever goes round for it. */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "mm/collapse.h"
#include "mm/swap.h"
#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

enum { PAGES = 2048, HOST = 6144 };

static const struct collapse_limits all = { 511, 512, 512 };

static int collapse(struct merge *m, gfn_t gfn, uint64_t absent, uint64_t shared, uint64_t swapped)
{
	const struct collapse_limits limits = { absent, shared, swapped };

	return gmem_collapse_within(m->g[0], gfn, 2, &limits);
}

static void check_page(struct merge *m, gfn_t gfn, uint64_t a, uint64_t b)
{
	uint64_t x, y;

	merge_peek(m, 0, gfn, &x, &y);
	must(x == a && y == b && merge_state(m, 0, gfn) == PAGE_RESIDENT);
}

/* What if most of a block was never touched? It is filled with zeros, if that is wanted. */
START_TEST(test_absent)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);
	struct gmem_page page;

	for (gfn_t i = 0; i < 512; i += 5)
		must(merge_store(m, 0, 512 + i, i, 9) == 0);
	must(collapse(m, 600, 408, 512, 512) == -EAGAIN);
	must(gmem_collapse(m->g[0], 600, 2) == -EAGAIN);
	must_eq(m->c[0].pages_large, 0);
	must(collapse(m, 600, 409, 0, 0) == 0);
	must_eq(m->c[0].pages_large, 512);
	must_eq(m->c[0].collapse_filled, 409);
	must_eq(m->c[0].pages_moved, 103);
	must_eq(m->c[0].host_collapses, 1);
	must_eq(frames_used(m->fr), 512 + 512);
	for (gfn_t i = 0; i < 512; i++)
		check_page(m, 512 + i, i % 5 ? 0 : i, i % 5 ? 0 : 9);
	gmem_lookup(m->g[0], 700, &page);
	must_eq(page.level, 2);
	must(collapse(m, 600, 0, 0, 0) == 0); /* it is */
	must(gmem_split(m->g[0], 600) == 0);
	must_eq(m->c[0].pages_large, 0);
	/* Nothing in it at all, or a page in the balloon: no. */
	must(gmem_collapse_within(m->g[0], 1024, 2, &all) == -EAGAIN);
	must(gmem_balloon(m->g[0], 700) == 0);
	must(gmem_collapse_within(m->g[0], 600, 2, &all) == -EAGAIN);
	merge_free(m);
}
END_TEST

/* What if pages of it are merged, or zeros? Each gets its copy; the others' frame stays. */
START_TEST(test_shared)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	m->cfg.use_zero_pages = true;
	merge_start(m, "ksm");
	for (gfn_t i = 0; i < 512; i++)
		must(merge_store(m, 0, 512 + i, i < 100 ? 7 : i < 110 ? 0 : i, i < 110 ? 0 : 3) == 0);
	merge_passes(m, 2);
	must_eq(m->c[0].pages_merged, 100);
	must_eq(m->c[0].ksm_zero_pages, 10);
	must(collapse(m, 600, 511, 109, 512) == -EAGAIN);
	m->fm->fail_unshare_in = 50;
	must(collapse(m, 600, 0, 110, 0) == -EIO);
	must_eq(m->c[0].pages_merged, 51);
	must_eq(m->c[0].pages_large, 0);
	must(collapse(m, 600, 0, 110, 0) == 0);
	must_eq(m->c[0].collapse_unshared, 110);
	must_eq(m->c[0].pages_merged + m->c[0].ksm_zero_pages, 0);
	must_eq(m->c[0].faults_write_shared, 0);
	must_eq(frames_used(m->fr), 512 + 512);
	for (gfn_t i = 0; i < 512; i++)
		check_page(m, 512 + i, i < 100 ? 7 : i < 110 ? 0 : i, i < 110 ? 0 : 3);
	merge_free(m);
}
END_TEST

/* What if the machine fails on the way? Every page has what it had. */
START_TEST(test_failure)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	for (gfn_t i = 0; i < 512; i += 2)
		must(merge_store(m, 0, 512 + i, i, 9) == 0);
	m->fm->fail_populate_in = 100;
	must(gmem_collapse_within(m->g[0], 600, 2, &all) == -EIO);
	must_eq(frames_used(m->fr), 512 + 256 + 99);
	for (gfn_t i = 0; i < 512; i += 2)
		check_page(m, 512 + i, i, 9);
	must(gmem_collapse_within(m->g[0], 600, 2, &all) == 0);
	for (gfn_t i = 0; i < 512; i++)
		check_page(m, 512 + i, i % 2 ? 0 : i, i % 2 ? 0 : 9);
	merge_free(m);
}
END_TEST

/* What if pages of it are in swap? They come in if frames are free, beyond what is kept for tables. */
START_TEST(test_swapped)
{
	const struct gmem_config gc = { .vm = 0, .npages = 4096, .level = 1 };
	const struct swap_config sc = { .nslots = 4096, .policy = &swap_fifo, .low = 64, .high = 128 };
	struct collapse_limits limits = { 0, 0, 511 };
	struct frames *fr = frames_new(2048, 1);
	struct fake_machine *fm = fake_machine_new(2048);
	struct counters c = { 0 };
	struct gmem *g = gmem_new(&gc, fr, &fm->base, &c, NULL);
	struct swap *s = swap_new(&sc, fr, &fm->base);
	uint64_t value;

	swap_attach(s, g);
	for (uint64_t i = 0; i < 2048 + 300; i++)
		must(gmem_write(g, i * PAGE_SIZE + 40, &i, 8) == 0);
	must_eq(c.pages_swapped, 300);
	must(gmem_collapse_within(g, 5, 2, &limits) == -ENOMEM);
	for (uint64_t i = 512; i < 2048 + 300; i++)
		must(gmem_release(g, i) == 0);
	limits.swapped = 299;
	must(gmem_collapse_within(g, 5, 2, &limits) == -EAGAIN);
	limits.swapped = 300;
	must(gmem_collapse_within(g, 5, 2, &limits) == 0);
	must_eq(c.pages_swapped, 0);
	must_eq(c.pages_large, 512);
	for (uint64_t i = 0; i < 512; i++) {
		must(gmem_read(g, i * PAGE_SIZE + 40, &value, 8) == 0);
		must_eq(value, i);
	}
	must(swap_verify(s) == 0);
	gmem_free(g);
	swap_free(s);
	must_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}
END_TEST

/* What if it goes on for a while? Each look begins where the last one ended; what nobody touches is left alone. */
START_TEST(test_scan)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);
	struct collapser c = { .gmem = m->g[0], .limits = all, .nblocks = 1 };

	for (gfn_t i = 0; i < PAGES; i += 512)
		must(merge_store(m, 0, i + 3, 1, i) == 0);
	gmem_test_clear_young(m->g[0], 512 + 3);
	must_eq(collapse_scan(&c), 1);
	must_eq(collapse_scan(&c), 0);
	must_eq(collapse_scan(&c), 1);
	must_eq(collapse_scan(&c), 1);
	must_eq(collapse_scan(&c), 0); /* round once; the first is large */
	must_eq(m->c[0].pages_large, 3 * 512);
	must(merge_store(m, 0, 512 + 3, 2, 2) == 0);
	must_eq(collapse_scan(&c), 1);
	c.nblocks = 100;
	must_eq(collapse_scan(&c), 0);
	must_eq(m->c[0].host_collapses, 4);
	c = (struct collapser){ .gmem = m->g[1], .limits = all, .nblocks = 100 };
	must(merge_store(m, 1, 600, 1, 1) == 0);
	must_eq(collapse_scan(&c), 1); /* not the arena */
	merge_free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("collapse");
	TCase *t = tcase_create("collapse");

	tcase_add_test(t, test_absent);
	tcase_add_test(t, test_shared);
	tcase_add_test(t, test_failure);
	tcase_add_test(t, test_swapped);
	tcase_add_test(t, test_scan);
	suite_add_tcase(s, t);
	return suite_run(s);
}
