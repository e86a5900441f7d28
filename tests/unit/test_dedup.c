/* SPDX-License-Identifier: MIT */
/* The merging algorithms on few pages, where everything can be said in advance. */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { PAGES = 2048, HOST = 12288 };

static const char *const algorithms[] = { "ksm", "hash", "oracle" };

/* What if three VMs have equal pages, and one of them twice? One frame; self and inter told apart. */
START_TEST(test_equal)
{
	struct merge *m = merge_new(3, PAGES, 1, HOST);

	merge_start(m, algorithms[_i]);
	for (unsigned vm = 0; vm < 3; vm++)
		must(merge_store(m, vm, 600 + vm, 7, 8) == 0);
	must(merge_store(m, 1, 900, 7, 8) == 0);
	must(merge_store(m, 1, 901, 7, 9) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.pages_shared, 1);
	must_eq(m->sum.pages_sharing, 3);
	must_eq(m->sum.saved_inter, 2);
	must_eq(m->sum.saved_self, 1);
	must_eq(m->sum.saved_zero, 0);
	must_eq(m->sum.pages_unshared, 1);
	must_eq(m->sum.merges, 4);
	must_eq(m->sum.pages_backed, 5);
	must_eq(m->sum.frames_backing, 2);
	must_eq(frames_used(m->fr), 512 + 2);
	merge_free(m);
}
END_TEST

/* What if one of them is written? It alone changes, and can merge again. */
START_TEST(test_break)
{
	struct merge *m = merge_new(3, PAGES, 1, HOST);
	uint64_t a, b;

	merge_start(m, algorithms[_i]);
	for (unsigned vm = 0; vm < 3; vm++)
		must(merge_store(m, vm, 600, 7, 8) == 0);
	merge_passes(m, 2);
	must(merge_state(m, 1, 600) == PAGE_SHARED);
	must(merge_store(m, 1, 600, 1, 8) == 0);
	must_eq(m->c[1].faults_write_shared, 1);
	must(merge_state(m, 1, 600) == PAGE_RESIDENT && merge_state(m, 2, 600) == PAGE_SHARED);
	for (unsigned vm = 0; vm < 3; vm++) {
		merge_peek(m, vm, 600, &a, &b);
		must(a == (vm == 1 ? 1 : 7) && b == 8);
	}
	merge_report(m);
	must_eq(m->sum.pages_unscanned, 1);
	must(merge_store(m, 1, 600, 7, 8) == 0);
	merge_passes(m, 2);
	must(merge_state(m, 1, 600) == PAGE_SHARED);
	/* The last one takes the frame with it: nothing stale is left to merge with. */
	for (unsigned vm = 0; vm < 3; vm++)
		must(merge_store(m, vm, 600, 10 + vm, 8) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.pages_shared + m->sum.pages_sharing, 0);
	must_eq(m->sum.pages_unshared, 3);
	merge_free(m);
}
END_TEST

/* What if the machine can map only so many merged pages? The others say so, and merge once there is room. */
START_TEST(test_no_mappings)
{
	for (unsigned nth = 1; nth <= 4; nth++) {
		struct merge *m = merge_new(2, PAGES, 1, HOST);
		uint64_t a, b;

		merge_start(m, algorithms[_i]);
		for (unsigned i = 0; i < 4; i++)
			must(merge_store(m, i % 2, 600 + i, 7, 8) == 0);
		m->fm->fail_share_in = nth;
		merge_passes(m, nth == 1 ? 1 : 2);
		merge_report(m);
		must_eq(m->sum.pages_backed, m->sum.pages_merged + m->sum.pages_unshared + m->sum.pages_volatile +
						     m->sum.pages_refused + m->sum.pages_unscanned);
		must(m->sum.pages_merged != 1);
		merge_passes(m, 3);
		merge_report(m);
		must_eq(m->sum.pages_merged, 4);
		must_eq(m->sum.merges, 4);
		must_eq(m->sum.pages_refused, 0);
		must_eq(frames_used(m->fr), 512 + 1);
		for (unsigned i = 0; i < 4; i++) {
			merge_peek(m, i % 2, 600 + i, &a, &b);
			must(a == 7 && b == 8);
		}
		merge_free(m);
	}
}
END_TEST

/* What if it never can? Nothing merges, and every page says why. */
START_TEST(test_never_mapped)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	m->fm->no_share = true;
	m->cfg.use_zero_pages = true;
	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 4; i++)
		must(merge_store(m, i % 2, 600 + i, 7 * (i < 2), 8 * (i < 2)) == 0);
	merge_passes(m, 3);
	merge_report(m);
	must_eq(m->sum.pages_merged + m->sum.ksm_zero_pages, 0);
	must_eq(m->sum.pages_refused, 4);
	must_eq(frames_used(m->fr), 512 + 4);
	merge_free(m);
}
END_TEST

/*
 * What if pages are zeros? With use_zero_pages they map the zero frame, without they merge as any; both are
 * saved_zero.
 */
START_TEST(test_zero)
{
	bool zero = _i & 1;
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	m->cfg.use_zero_pages = zero;
	merge_start(m, algorithms[_i / 2]);
	for (unsigned i = 0; i < 10; i++)
		must(merge_store(m, i % 2, 700 + i, 0, 0) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.ksm_zero_pages, zero ? 10 : 0);
	must_eq(m->sum.pages_shared, zero ? 0 : 1);
	must_eq(m->sum.saved_zero, 9);
	must_eq(m->sum.saved_self + m->sum.saved_inter, 0);
	must_eq(m->sum.frames_backing, 1);
	must_eq(frames_used(m->fr), 512 + 1);
	for (unsigned i = 0; i < 10; i++)
		must(merge_store(m, i % 2, 700 + i, i + 1, 0) == 0);
	must_eq(m->c[0].faults_write_shared + m->c[1].faults_write_shared, 10);
	must_eq(frames_used(m->fr), 512 + 10);
	must(m->fr->zero == HFN_NONE);
	merge_free(m);
}
END_TEST

/* What if more pages are equal than may share? A chain of frames, and one page too many says so. */
START_TEST(test_chain)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	m->cfg.max_page_sharing = 4;
	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 13; i++)
		must(merge_store(m, i % 2, 700 + i, 5, 5) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.pages_shared, 3);
	must_eq(m->sum.pages_sharing, 9);
	must_eq(m->sum.pages_limited, 1);
	must_eq(m->sum.frames_backing, 4);
	if (_i < 2) {
		must_eq(m->host.stable_node_chains, 1);
		must_eq(m->host.stable_node_dups, 3);
	}
	must(dedup_unmerge(m->d) == 0);
	must_eq(m->host.stable_node_chains + m->host.stable_node_dups, 0);
	merge_free(m);
}
END_TEST

/*
 * What if sharing is undone? Every page has its frame again, its contents, and no fault was counted; unless the host
 * is full.
 */
START_TEST(test_unmerge)
{
	struct merge *m = merge_new(2, PAGES, 1, 1024);
	uint64_t a, b;

	m->cfg.use_zero_pages = true;
	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 300; i++)
		must(merge_store(m, i % 2, 600 + i, i % 3, i % 5) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.frames_backing, 15);
	for (unsigned i = 0; i < 300; i++)
		must(merge_store(m, i % 2, 1000 + i, 100 + i, 0) == 0);
	must(dedup_unmerge(m->d) == -ENOMEM);
	for (unsigned i = 0; i < 300; i++)
		must(gmem_release(m->g[i % 2], 1000 + i) == 0);
	must(dedup_unmerge(m->d) == 0);
	merge_report(m);
	must_eq(m->sum.pages_merged + m->sum.ksm_zero_pages, 0);
	must_eq(m->sum.frames_backing, 300);
	must_eq(m->sum.faults_write_shared, 0);
	for (unsigned i = 0; i < 300; i++) {
		merge_peek(m, i % 2, 600 + i, &a, &b);
		must(a == i % 3 && b == i % 5);
	}
	merge_free(m);
}
END_TEST

/* What if host pages are large? They are split to merge, or stay whole with a reason. */
START_TEST(test_huge)
{
	bool split = _i & 1;
	struct merge *m = merge_new(2, PAGES, 2, HOST);

	m->cfg.split_huge = split;
	merge_start(m, algorithms[_i / 2]);
	must(merge_store(m, 0, 700, 1, 2) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.pages_huge, split ? 0 : 512);
	must_eq(m->sum.saved_zero, split ? 510 : 0);
	must_eq(m->c[0].host_splits, split);
	merge_free(m);
}
END_TEST

/* What if a page changes before every look? KSM never takes it up, whatever else has its contents. */
START_TEST(test_volatile)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	merge_start(m, "ksm");
	for (unsigned i = 0; i < 20; i++) {
		must(merge_store(m, 0, 600, i, 1) == 0 && merge_store(m, 1, 600, i, 1) == 0);
		m->d->ops->scan(m->d, 1000);
	}
	merge_report(m);
	must_eq(m->sum.merges, 0);
	must_eq(m->sum.pages_volatile, 2);
	must_eq(m->host.full_scans, 20);
	must_eq(m->sum.pages_scanned, 40);
	merge_free(m);
}
END_TEST

/* What if equal pages lie on different NUMA nodes? They merge, or each node merges its own and the rest says why. */
START_TEST(test_nodes)
{
	bool across = _i & 1;
	struct merge *m = merge_new_on(2, PAGES, 1, HOST, 2);

	m->cfg.merge_across_nodes = across;
	merge_start(m, algorithms[_i / 2]);
	must(merge_store(m, 0, 600, 7, 8) == 0 && merge_store(m, 1, 600, 7, 8) == 0); /* one on each node */
	for (unsigned i = 0; i < 3; i++)
		must(merge_store(m, i == 2, 700 + i, 1, 1) == 0); /* two on node 0, one on node 1 */
	must(merge_store(m, 0, 800, 2, 2) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.pages_shared, across ? 2 : 1);
	must_eq(m->sum.pages_sharing, across ? 3 : 1);
	must_eq(m->sum.pages_other_node, across ? 0 : 3);
	must_eq(m->sum.pages_unshared, 1);
	/* One that comes to its like merges with it. */
	if (!across) {
		must(gmem_move(m->g[1], 600, 0) == 0);
		merge_passes(m, 2);
		merge_report(m);
		must_eq(m->sum.pages_shared, 2);
		must_eq(m->sum.pages_other_node, 1);
	}
	must(merge_store(m, 0, 700, 9, 1) == 0 && merge_store(m, 0, 701, 9, 2) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.pages_other_node, 0);
	must_eq(m->sum.pages_unshared, across ? 3 : 4); /* the merged frame stays with its last page */
	merge_free(m);
}
END_TEST

/* What if frames of a chain go? They stay in it until it is used and it is time to prune; ksm and hash. */
START_TEST(test_prune)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	m->cfg.max_page_sharing = 4;
	m->cfg.prune_ns = 1000;
	m->fm->now_ns = 5;
	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 12; i++)
		must(merge_store(m, i % 2, 700 + i, 5, 5) == 0);
	merge_passes(m, 2);
	must_eq(m->host.stable_node_chains, 1);
	must_eq(m->host.stable_node_dups, 3);
	for (unsigned i = 0; i < 12; i++)
		if (i != 3)
			must(gmem_release(m->g[i % 2], 700 + i) == 0);
	must_eq(m->host.stable_node_dups, 3);
	m->fm->now_ns = 900;
	must(merge_store(m, 0, 900, 5, 5) == 0);
	merge_passes(m, 2);
	must_eq(m->host.stable_node_dups, 3);
	m->fm->now_ns = 2000;
	must(merge_store(m, 0, 901, 5, 5) == 0);
	merge_passes(m, 2);
	must_eq(m->host.stable_node_chains + m->host.stable_node_dups, 0);
	merge_report(m);
	must_eq(m->sum.pages_shared, 1);
	must_eq(m->sum.pages_sharing, 2);
	merge_free(m);
}
END_TEST

/* Is merging worth its memory? 300 pages in 15 frames against 320 items of 64 bytes; 20 unique pages are not. */
START_TEST(test_profit)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);

	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 20; i++)
		must(merge_store(m, i % 2, 600 + i, i, 1) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.ksm_rmap_items, 20);
	must_eq(m->sum.general_profit, 0);
	for (unsigned i = 0; i < 300; i++)
		must(merge_store(m, i % 2, 700 + i, i % 15, 2) == 0);
	merge_passes(m, 2);
	merge_report(m);
	must_eq(m->sum.ksm_rmap_items, 320);
	must_eq(m->sum.general_profit, 285 * 4096 - 320 * 64);
	merge_free(m);
}
END_TEST

/*
 * What if a page is unique for long? Smart scan looks at passes 0 to 3, then after pauses of 1, 2, 2, 4, ... as the
 * kernel.
 */
START_TEST(test_smart)
{
	struct merge *m = merge_new(1, PAGES, 1, HOST);

	m->cfg.smart_scan = true;
	merge_start(m, "ksm");
	must(merge_store(m, 0, 600, 1, 1) == 0);
	for (unsigned i = 0; i < 100; i++)
		m->d->ops->scan(m->d, 1000);
	/* Ages 0, 1, 2 are looked at; then 3 looks and skips 1; 5: 2; 8: 4; 13: 8; 22, 31, ... */
	must_eq(m->c[0].pages_scanned, 16);
	must_eq(m->c[0].pages_scanned + m->c[0].pages_skipped, m->host.full_scans);
	merge_free(m);
}
END_TEST

/* What if the budget is small? A pass of hash visits each page once, in an order that the seed alone decides. */
START_TEST(test_order)
{
	uint64_t first[2];

	for (unsigned run = 0; run < 2; run++) {
		struct merge *m = merge_new(2, PAGES, 1, HOST);

		m->cfg.seed = (uint64_t)_i;
		merge_start(m, "hash");
		for (unsigned i = 0; i < 200; i++)
			must(merge_store(m, i % 2, 700 + i, i, 1) == 0);
		for (first[run] = 0; m->c[0].pages_scanned + m->c[1].pages_scanned < 200;) {
			uint64_t before = m->c[1].pages_scanned;

			m->d->ops->scan(m->d, 1);
			first[run] = first[run] * 31 + (m->c[1].pages_scanned - before);
		}
		must_eq(m->host.full_scans, 0);
		merge_report(m);
		must_eq(m->sum.pages_unshared, 200); /* none was left out */
		must_eq(m->sum.pages_unscanned, 0);
		merge_free(m);
	}
	must_eq(first[0], first[1]);
}
END_TEST

/* What if checksums say nothing? Contents decide: nothing unequal is ever merged. */
START_TEST(test_collisions)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);
	uint64_t a, b;

	m->fm->checksum_mask = 1;
	m->cfg.use_zero_pages = true;
	merge_start(m, algorithms[_i]);
	for (unsigned i = 0; i < 400; i++)
		must(merge_store(m, i % 2, 600 + i, i % 40, i % 2) == 0);
	merge_passes(m, 3);
	for (unsigned i = 0; i < 400; i++) {
		merge_peek(m, i % 2, 600 + i, &a, &b);
		must(a == i % 40 && b == i % 2);
	}
	merge_report(m);
	if (_i != 1) /* a table with one entry a checksum misses some */
		must_eq(m->sum.frames_backing, 40);
	merge_free(m);
}
END_TEST

/* VMs that write while their pages are compared, as real ones do: where they may without a fault. */
enum { RESTLESS = 24, VALUES = 30 };
static struct restless {
	struct merge *m;
	struct rng rng;
	const struct machine_ops *ops;
	bool rests;
	uint64_t a[2][RESTLESS]; /* what each page contains */
} restless;

static int restless_compare(struct machine *machine, hfn_t x, hfn_t y)
{
	struct restless *r = &restless;
	unsigned vm = (unsigned)rng_below(&r->rng, 2), i = (unsigned)rng_below(&r->rng, RESTLESS);
	const struct fake_mapping *map = &r->m->p[vm]->map[600 + i];

	if (!r->rests && map->access & ACC_W && !rng_below(&r->rng, 4)) {
		r->a[vm][i] = rng_below(&r->rng, VALUES);
		((uint64_t *)fake_machine_page(r->m->fm, map->hfn))[3] = r->a[vm][i];
	}
	return r->ops->compare(machine, x, y);
}

static void check_restless(bool merged)
{
	unsigned n[VALUES] = { 0 };
	uint64_t a, b;

	for (unsigned k = 0; k < 2 * RESTLESS; k++) {
		merge_peek(restless.m, k % 2, 600 + k / 2, &a, &b);
		must(a == restless.a[k % 2][k / 2] && b == 1);
		n[a]++;
	}
	for (unsigned k = 0; merged && k < 2 * RESTLESS; k++)
		must(n[restless.a[k % 2][k / 2]] == 1 || merge_state(restless.m, k % 2, 600 + k / 2) == PAGE_SHARED);
}

/* What if a page changes between any two comparisons? Nothing is lost, and when all rest the equal ones merge. */
START_TEST(test_restless)
{
	struct restless *r = &restless;
	struct machine_ops ops;

	*r = (struct restless){ .m = merge_new(2, PAGES, 1, HOST) };
	r->ops = r->m->fm->base.ops;
	ops = *r->ops;
	ops.compare = restless_compare;
	r->m->fm->base.ops = &ops;
	rng_seed(&r->rng, 9);
	merge_start(r->m, algorithms[_i]);
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned k = 0; k < 2 * RESTLESS; k++) {
			uint64_t *content = &r->a[k % 2][k / 2];

			if (!round || !rng_below(&r->rng, 8))
				*content = rng_below(&r->rng, VALUES);
			else if (merge_state(r->m, k % 2, 600 + k / 2) != PAGE_RESIDENT)
				continue;
			must(!merge_store(r->m, k % 2, 600 + k / 2, *content, 1));
		}
		r->m->d->ops->scan(r->m->d, PAGES);
		check_restless(false);
	}
	must(r->m->c[0].merges > 0);
	r->rests = true;
	merge_passes(r->m, 3);
	check_restless(true);
	r->m->fm->base.ops = r->ops;
	merge_free(r->m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dedup");
	TCase *t = tcase_create("dedup");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_equal, 0, 3);
	tcase_add_loop_test(t, test_break, 0, 3);
	tcase_add_loop_test(t, test_zero, 0, 6);
	tcase_add_loop_test(t, test_chain, 0, 3);
	tcase_add_loop_test(t, test_unmerge, 0, 3);
	tcase_add_loop_test(t, test_huge, 0, 6);
	tcase_add_loop_test(t, test_nodes, 0, 6);
	tcase_add_loop_test(t, test_prune, 0, 2);
	tcase_add_loop_test(t, test_profit, 0, 3);
	tcase_add_loop_test(t, test_no_mappings, 0, 3);
	tcase_add_loop_test(t, test_never_mapped, 0, 3);
	tcase_add_test(t, test_volatile);
	tcase_add_test(t, test_smart);
	tcase_add_loop_test(t, test_order, 0, 5);
	tcase_add_loop_test(t, test_collisions, 0, 3);
	tcase_add_loop_test(t, test_restless, 0, 3);
	suite_add_tcase(s, t);
	return suite_run(s);
}
