/* SPDX-License-Identifier: MIT */
/*
 * Patching and compression against a naive model: VMs that write, read, lose and move pages at random while a scanner
 * merges what is equal and keeps what is cold as patches or compressed, on a host that now and then runs out of frames
 * and whose device fails. The fake machine keeps patches as such and makes pages again from their references' bytes, so
 * a reference that changes or goes too early loses contents.
 *
 * The model knows what each page contains. After each step frames in use are recounted from gauges; now and then
 * everything: contents, patches, references.
 */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { VMS = 3, PAGES = 512 + 300, FIRST = 512, ARENA = 512 };

struct page {
	uint64_t a, b;
};

struct world {
	struct merge *m;
	struct rng rng;
	struct page page[VMS][PAGES];
};

static void do_store(struct world *w, unsigned vm, gfn_t gfn)
{
	uint64_t a = rng_below(&w->rng, 12), b = rng_below(&w->rng, 4);

	if (merge_store(w->m, vm, gfn, a, b) == 0)
		w->page[vm][gfn] = (struct page){ a, b };
}

static void do_dma(struct world *w, unsigned vm, gfn_t gfn)
{
	uint64_t a;

	if (gmem_read(w->m->g[vm], (gfn << PAGE_SHIFT) + 3 * 8, &a, 8) == 0)
		must_eq(a, w->page[vm][gfn].a);
}

static void do_release(struct world *w, unsigned vm, gfn_t gfn)
{
	must(gmem_release(w->m->g[vm], gfn) == 0);
	w->page[vm][gfn] = (struct page){ 0, 0 };
}

static void do_young(struct world *w, unsigned vm, gfn_t gfn)
{
	gmem_test_clear_young(w->m->g[vm], gfn);
}

static void do_fail(struct world *w, unsigned vm, gfn_t gfn)
{
	(void)vm, (void)gfn;
	*(rng_below(&w->rng, 2) ? &w->m->fm->fail_save_in : &w->m->fm->fail_load_in) = 1 + rng_below(&w->rng, 20);
}

static void do_scan(struct world *w, unsigned vm, gfn_t gfn)
{
	(void)vm, (void)gfn;
	dedup_scan(w->m->d, rng_below(&w->rng, 10) ? rng_below(&w->rng, 100) : 3000);
}

static void do_unmerge(struct world *w, unsigned vm, gfn_t gfn)
{
	(void)vm, (void)gfn;
	if (rng_below(&w->rng, 10) == 0)
		dedup_unmerge(w->m->d);
}

static void check_frames(struct world *w)
{
	const struct counters *c = &w->m->sum;

	merge_report(w->m);
	must_eq(frames_used(w->m->fr),
		ARENA + c->frames_backing + swap_pool_used(w->m->swap) + swap_references(w->m->swap));
	must_eq(c->frames_reference, swap_references(w->m->swap));
	must_eq(c->pages_merged, c->pages_shared + c->pages_sharing);
	must(c->pages_patched <= c->pages_compressed && c->patch_size <= c->compressed_size);
	must(swap_pool_used(w->m->swap) >= (c->compressed_size + PAGE_SIZE - 1) / PAGE_SIZE);
}

static void check_all(struct world *w)
{
	for (unsigned vm = 0; vm < VMS; vm++) {
		for (gfn_t gfn = FIRST; gfn < PAGES; gfn++) {
			uint64_t a, b;

			merge_peek(w->m, vm, gfn, &a, &b);
			must(a == w->page[vm][gfn].a && b == w->page[vm][gfn].b);
		}
		fake_paging_check(w->m->p[vm]);
	}
	must(swap_verify(w->m->swap) == 0);
	check_frames(w);
}

static struct world *world_new(int i)
{
	static const char *const algorithms[] = { "ksm", "hash", "oracle" };
	uint64_t host = ARENA + (i % 4 == 3 ? 512 : 1024);
	const struct swap_config sc = {
		.nslots = 4096, .policy = i % 2 ? &swap_fifo : &swap_clock, .low = 16, .high = 32, .cluster = 2,
		.pool_frames = i % 5 == 4 ? 3 : 100, .writeback = i & 2,
	};
	struct world *w = g_new0(struct world, 1);

	w->m = merge_new(VMS, PAGES, i % 4 == 2 ? 2 : 1, host);
	merge_swap(w->m, &sc);
	w->m->cfg.swap = w->m->swap;
	w->m->cfg.patch = i % 3 != 1;
	w->m->cfg.compress = i % 3 > 0;
	w->m->cfg.potential = i % 2;
	w->m->cfg.cold_passes = 1 + (unsigned)i % 3;
	w->m->cfg.use_zero_pages = i & 4;
	w->m->cfg.max_page_sharing = i & 8 ? 6 : 1u << 30;
	w->m->cfg.seed = (uint64_t)i;
	rng_seed(&w->rng, (uint64_t)i);
	merge_start(w->m, algorithms[i / 2 % 3]);
	swap_reclaimer(w->m->swap)->sharer = dedup_sharer(w->m->d);
	return w;
}

/* What if anything happens, in any order? */
START_TEST(test_random)
{
	static const struct {
		unsigned weight;
		void (*op)(struct world *w, unsigned vm, gfn_t gfn);
	} ops[] = {
		{ 30, do_store }, { 20, do_dma }, { 10, do_release }, { 5, do_young },
		{ 3, do_fail },	  { 30, do_scan }, { 2, do_unmerge },
	};
	struct world *w = world_new(_i);
	struct counters *c = &w->m->sum;

	for (unsigned step = 0; step < 2100; step++) {
		unsigned i = 0, vm = (unsigned)rng_below(&w->rng, VMS);
		uint64_t pick = rng_below(&w->rng, 100);

		for (; pick >= ops[i].weight; i++)
			pick -= ops[i].weight;
		ops[i].op(w, vm, FIRST + rng_below(&w->rng, PAGES - FIRST));
		swap_reclaimer(w->m->swap)->ops->balance(swap_reclaimer(w->m->swap));
		if (step % 20 == 0)
			check_frames(w);
		if (step % 300 == 299)
			check_all(w);
	}
	must((c->patches > 20) == w->m->cfg.patch);
	must(!w->m->cfg.patch || c->patch_faults > 5);
	must(c->swap_compressed > 20);
	merge_free(w->m);
	g_free(w);
}
END_TEST

static const char text[] = "[experiment]\nschedule = lockstep\nduration = 3 ms\nsample-interval = 1 ms\nseed = %d\n"
			   "[host]\nmemory = 256 MiB\n"
			   "[dedup]\nalgorithm = %s\npages-to-scan = 900\nsleep = 100 us\npatch = yes\ncompress = %s\n"
			   "potential = yes\ncold-passes = 1\n"
			   "[swap]\nsize = 64 MiB\ncompressed-pool = 16 MiB\n"
			   "[vm ept]\nmemory = 24 MiB\npaging = ept\nworkload = w\n"
			   "[vm shadow]\nmemory = 24 MiB\npaging = shadow\nworkload = w\n"
			   "[vm pv]\nmemory = 24 MiB\npaging = pv\nworkload = w\n"
			   "[workload w]\nprocesses = 2\nphases = fill, mix, child\n"
			   "[phase fill]\npattern = zipf\nsize = 2 MiB\nregion = r\noperations = 9000\nwrites = 15%%\n"
			   "contents = %s:300\nstamps = 3\n"
			   "[phase mix]\npattern = mix\nsize = 1 MiB\noperations = 20000\nforks = child\n"
			   "[phase child]\npattern = uniform\nregion = r\nsize = 2 MiB\nchild = yes\noperations = 200\n"
			   "writes = 50%%\n";

/* What if whole guests' pages are patched and compressed while they run? Their memory ends as without. */
START_TEST(test_digest)
{
	static const char *const algorithms[] = { "none", "ksm", "hash" };
	uint64_t want[3] = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		g_autofree char *ini = g_strdup_printf(text, _i, algorithms[i], _i ? "yes" : "no",
						       _i ? "text" : "near");
		struct text_run t;
		GError *error = NULL;
		const struct counters *c;

		ck_assert_msg(run_text(&t, &backend_sim, ini, &error), "%s", error ? error->message : "");
		c = &t.run->host;
		for (unsigned vm = 0; vm < 3; vm++) {
			ck_assert_msg(!run_text_vm(&t, vm)->failure, "%s", run_text_vm(&t, vm)->failure);
			if (!i)
				want[vm] = run_text_vm(&t, vm)->digest;
			ck_assert_uint_eq(run_text_vm(&t, vm)->digest, want[vm]);
		}
		ck_assert_uint_eq(c->patches > 20, i > 0);
		ck_assert_uint_eq(c->faults_compressed > 5, i > 0);
		ck_assert_uint_eq(c->potential_both > 0, i > 0);
		ck_assert_uint_eq(c->swap_compressed > c->patches, i > 0 && _i);
		run_text_free(&t);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("patch model");
	TCase *t = tcase_create("patch model");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_random, 0, 20);
	tcase_add_loop_test(t, test_digest, 0, 2);
	suite_add_tcase(s, t);
	return suite_run(s);
}
