/* SPDX-License-Identifier: MIT */
/*
 * Merging against a naive model: VMs that write, read, lose, move and split pages at random while a scanner merges, on
 * one NUMA node or two, which merge each its own or all.
 *
 * The model knows what each page contains and nothing else. After each step the counters' relations hold; now and then
 * everything is recounted: contents, references of each merged frame, frames in use. Then the guests are
 * quiet for as long as the algorithm asks (oracle: one scan; hash: a pass; ksm: two), and all pairs of pages are
 * compared: what is mergeable is merged, all of it.
 *
 * With smart scan ksm may miss pages for long, for two equal ones that are looked at in different passes never meet in
 * the unstable tree. There the model goes over all pages itself, by the rules but with lists instead of trees, and both
 * must have merged and skipped the same pages.
 */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { VMS = 3, PAGES = 1024 + 60, HOST = 512 + 3 * PAGES, FIRST = 512 };

struct page {
	uint64_t a, b;
};

struct world {
	struct merge *m;
	struct rng rng;
	struct page page[VMS][PAGES];
	bool logging[VMS];
};

static gfn_t random_gfn(struct world *w)
{
	return FIRST + (rng_below(&w->rng, 3) ? rng_below(&w->rng, 120) : rng_below(&w->rng, PAGES - FIRST));
}

static void do_store(struct world *w, unsigned vm, gfn_t gfn)
{
	uint64_t a = rng_below(&w->rng, 6), b = rng_below(&w->rng, 3);

	if (merge_store(w->m, vm, gfn, a, b) == 0)
		w->page[vm][gfn] = (struct page){ a, b };
	else
		must_eq(frames_used(w->m->fr), HOST);
}

static void do_dma(struct world *w, unsigned vm, gfn_t gfn)
{
	uint64_t b = rng_below(&w->rng, 3);

	if (gmem_write(w->m->g[vm], (gfn << PAGE_SHIFT) + 400 * 8, &b, 8) == 0)
		w->page[vm][gfn].b = b;
	else
		must_eq(frames_used(w->m->fr), HOST);
}

static void do_load(struct world *w, unsigned vm, gfn_t gfn)
{
	const uint64_t *page;
	bool faulted;

	if (fake_paging_access(w->m->p[vm], gfn, ACC_R, &faulted)) {
		must_eq(frames_used(w->m->fr), HOST);
		return;
	}
	page = (const uint64_t *)fake_machine_page(w->m->fm, w->m->p[vm]->map[gfn].hfn);
	must(page[3] == w->page[vm][gfn].a && page[400] == w->page[vm][gfn].b);
}

static void do_release(struct world *w, unsigned vm, gfn_t gfn)
{
	must(gmem_release(w->m->g[vm], gfn) == 0);
	w->page[vm][gfn] = (struct page){ 0, 0 };
}

static void do_move(struct world *w, unsigned vm, gfn_t gfn)
{
	int err = gmem_move(w->m->g[vm], gfn, (unsigned)rng_below(&w->rng, frames_nodes(w->m->fr)));

	must(err == 0 || err == -EBUSY || err == -ENOMEM);
	must((err != -EBUSY) == (merge_state(w->m, vm, gfn) == PAGE_RESIDENT));
}

static void do_block(struct world *w, unsigned vm, gfn_t gfn)
{
	const struct collapse_limits limits = { 511, 128 * rng_below(&w->rng, 5), 0 };

	if (rng_below(&w->rng, 2))
		gmem_collapse_within(w->m->g[vm], gfn, 2, &limits);
	else
		gmem_split(w->m->g[vm], gfn);
}

static void do_young(struct world *w, unsigned vm, gfn_t gfn)
{
	bool faulted, mapped = merge_state(w->m, vm, gfn) != PAGE_ABSENT;
	struct gmem_page page;

	gmem_test_clear_young(w->m->g[vm], gfn);
	gmem_lookup(w->m->g[vm], gfn, &page);
	must_eq(page.access, 0);
	if (mapped && rng_below(&w->rng, 2)) {
		uint64_t young = w->m->c[vm].faults_young;

		must(fake_paging_access(w->m->p[vm], gfn, ACC_R, &faulted) == 0 && faulted);
		must_eq(w->m->c[vm].faults_young, young + 1);
	}
}

static void do_log(struct world *w, unsigned vm, gfn_t gfn)
{
	uint64_t bitmap[(PAGES + 63) / 64];

	if (!w->logging[vm]) {
		must(gmem_dirty_log_start(w->m->g[vm]) == 0);
	} else if (rng_below(&w->rng, 3) == 0) {
		gmem_dirty_log_stop(w->m->g[vm]);
	} else {
		gmem_dirty_log_collect(w->m->g[vm], bitmap);
		do_store(w, vm, gfn);
		gmem_dirty_log_collect(w->m->g[vm], bitmap);
		must(bitmap[gfn / 64] >> (gfn % 64) & 1 || frames_used(w->m->fr) == HOST);
		return;
	}
	w->logging[vm] = !w->logging[vm];
}

static void do_scan(struct world *w, unsigned vm, gfn_t gfn)
{
	(void)vm, (void)gfn;
	w->m->d->ops->scan(w->m->d, rng_below(&w->rng, 10) ? rng_below(&w->rng, 60) : 5000);
}

static void check_relations(struct merge *m)
{
	const struct counters *c = &m->sum;

	merge_report(m);
	must_eq(c->pages_merged, c->pages_shared + c->pages_sharing);
	must_eq(c->pages_backed, c->frames_backing + c->saved_zero + c->saved_self + c->saved_inter);
	must_eq(c->pages_backed, c->pages_merged + c->ksm_zero_pages + c->pages_unshared + c->pages_volatile +
					 c->pages_huge + c->pages_limited + c->pages_other_node + c->pages_refused +
					 c->pages_unscanned);
	/* The kernel's own: Documentation/admin-guide/mm/ksm.rst. */
	must(c->pages_sharing <= c->pages_shared * (m->cfg.max_page_sharing - 1));
	must_eq(c->general_profit + c->ksm_rmap_items * 64,
		MAX((c->pages_sharing + c->ksm_zero_pages) * PAGE_SIZE, c->ksm_rmap_items * 64));
	must(c->ksm_rmap_items >= c->pages_merged + c->pages_unshared + c->pages_limited + c->pages_other_node +
					  c->pages_refused);
	must(c->ksm_rmap_items <= c->pages_backed - c->pages_unscanned - c->ksm_zero_pages);
	if (m->cfg.split_huge)
		must_eq(c->pages_volatile, c->ksm_rmap_items - c->pages_shared - c->pages_sharing - c->pages_unshared -
						   c->pages_limited - c->pages_other_node);
	must_eq(c->pages_backed, c->pages_resident + c->pages_merged + c->ksm_zero_pages);
	must_eq(c->frames_backing + 512, frames_used(m->fr));
	must(c->stable_node_dups >= 2 * c->stable_node_chains);
	must(m->cfg.prune_ns || c->stable_node_dups <= c->pages_shared);
}

/* Contents and references, page by page. */
static void check_all(struct world *w)
{
	uint32_t refs[HOST] = { 0 };

	for (unsigned vm = 0; vm < VMS; vm++) {
		for (gfn_t gfn = FIRST; gfn < PAGES; gfn++) {
			struct gmem_page page;
			uint64_t a, b;

			merge_peek(w->m, vm, gfn, &a, &b);
			must(a == w->page[vm][gfn].a && b == w->page[vm][gfn].b);
			gmem_lookup(w->m->g[vm], gfn, &page);
			if (page.state == PAGE_SHARED || page.state == PAGE_ZERO) {
				must(!(page.access & ACC_W) && page.level == 1);
				must((page.hfn == w->m->fr->zero) == (page.state == PAGE_ZERO));
			}
			if (page.hfn != HFN_NONE)
				refs[page.hfn]++;
		}
		fake_paging_check(w->m->p[vm]);
	}
	for (hfn_t hfn = 0; hfn < HOST; hfn++) {
		const struct frame *f = frames_get(w->m->fr, hfn);

		if (!refs[hfn])
			continue;
		must_eq(f->refs, refs[hfn]);
		must(FRAME_KIND(f) == FRAME_SHARED || (refs[hfn] == 1 && FRAME_KIND(f) == FRAME_GUEST));
		must(hfn == w->m->fr->zero || refs[hfn] <= w->m->cfg.max_page_sharing);
	}
	check_relations(w->m);
}

static unsigned domain(const struct merge *m, hfn_t hfn)
{
	return m->cfg.merge_across_nodes ? 0 : frames_node(m->fr, hfn);
}

/* Is any pair of pages still to be merged? Those that only nodes keep apart are so many. */
static void check_exact(struct world *w)
{
	struct merge *m = w->m;
	uint64_t limit = m->cfg.max_page_sharing, apart = 0;

	for (unsigned i = 0; i < VMS * PAGES; i++) {
		unsigned vm = i / PAGES;
		gfn_t gfn = i % PAGES;
		struct page *p = &w->page[vm][gfn];
		struct gmem_page x, y;

		if (gfn < FIRST || (gmem_lookup(m->g[vm], gfn, &x), x.state != PAGE_RESIDENT) ||
		    (!m->cfg.split_huge && gmem_is_large(m->g[vm], gfn)))
			continue;
		bool elsewhere = false;

		must(!m->cfg.use_zero_pages || p->a || p->b);
		for (unsigned j = 0; j < VMS * PAGES; j++) {
			const struct page *q = &w->page[j / PAGES][j % PAGES];

			if (j == i || q->a != p->a || q->b != p->b || j % PAGES < FIRST)
				continue;
			gmem_lookup(m->g[j / PAGES], j % PAGES, &y);
			if (y.hfn != HFN_NONE && domain(m, y.hfn) != domain(m, x.hfn))
				elsewhere |= y.state != PAGE_ZERO;
			else if (y.state == PAGE_RESIDENT)
				must(!m->cfg.split_huge && gmem_is_large(m->g[j / PAGES], j % PAGES));
			else if (y.state == PAGE_SHARED)
				must(dedup_refs(m->d, y.hfn) >= limit);
		}
		apart += elsewhere;
	}
	if (m->cfg.split_huge && limit > VMS * PAGES)
		must_eq(m->sum.pages_other_node, apart);
}

/* A page as the model's ksm sees it. */
struct naive {
	struct dedup_item item;
	unsigned group; /* pages of one group map one frame; 0: on its own */
	bool live, zero, in_tree;
};

static hfn_t hfn_of(const struct world *w, unsigned i)
{
	struct gmem_page page;

	gmem_lookup(w->m->g[i / PAGES], i % PAGES, &page);
	return page.hfn;
}

static unsigned equal_group(struct world *w, struct naive *n, unsigned i, unsigned *groups)
{
	const struct page *p = &w->page[i / PAGES][i % PAGES];
	unsigned found = 0;

	for (unsigned j = 0; j < VMS * PAGES; j++) {
		const struct page *q = &w->page[j / PAGES][j % PAGES];

		if (i == j || !n[j].live || n[j].zero || q->a != p->a || q->b != p->b ||
		    domain(w->m, hfn_of(w, i)) != domain(w->m, hfn_of(w, j)))
			continue;
		if (n[j].group)
			return n[j].group;
		if (n[j].in_tree)
			found = j + 1;
	}
	return found ? n[found - 1].group = ++*groups : 0;
}

/* Looks at a page as smart scan does; true if it passes it over. */
static bool naive_look(struct world *w, struct naive *n, unsigned i, unsigned *groups)
{
	static const uint8_t pauses[] = { 1, 1, 1, 1, 2, 2, 4, 4, 4 };
	const struct page *p = &w->page[i / PAGES][i % PAGES];
	struct machine *m = &w->m->fm->base;
	struct dedup_item *item = &n[i].item;
	uint8_t age = item->age;
	uint64_t sum;

	item->age += age != UINT8_MAX;
	if (age >= 3 && item->skips) {
		item->skips--;
		return true;
	}
	if (age >= 3)
		item->skips = age < sizeof(pauses) ? pauses[age] : 8;
	sum = m->ops->checksum(m, hfn_of(w, i));
	if (!item->seen || item->checksum != sum) {
		item->seen = 1;
		item->checksum = sum;
		return false;
	}
	n[i].zero = w->m->cfg.use_zero_pages && !p->a && !p->b;
	if (!n[i].zero)
		n[i].group = equal_group(w, n, i, groups);
	n[i].in_tree = !n[i].zero && !n[i].group;
	return false;
}

static void naive_begin(struct world *w, struct naive *n)
{
	for (unsigned i = 0; i < VMS * PAGES; i++) {
		struct dedup_page p;

		if (i % PAGES < FIRST)
			continue;
		dedup_look(w->m->d, i / PAGES, i % PAGES, &p);
		n[i].item = *p.item;
		n[i].live = p.page.hfn != HFN_NONE && p.page.state != PAGE_ZERO;
		n[i].group = p.page.state == PAGE_SHARED ? (unsigned)p.page.hfn + 1 : 0;
	}
}

static void whole_passes(struct world *w, unsigned n)
{
	for (uint64_t end = w->m->host.full_scans + n; w->m->host.full_scans < end;)
		w->m->d->ops->scan(w->m->d, 1000000);
}

static void check_smart(struct world *w)
{
	struct naive *n = g_new0(struct naive, VMS * PAGES);
	unsigned groups = HOST, passes = 1 + (unsigned)rng_below(&w->rng, 12);
	uint64_t skipped;

	whole_passes(w, 1);
	merge_report(w->m);
	skipped = w->m->sum.pages_skipped;
	naive_begin(w, n);
	for (unsigned pass = 0; pass < passes; pass++) {
		for (unsigned i = 0; i < VMS * PAGES; i++)
			n[i].in_tree = false;
		for (unsigned i = 0; i < VMS * PAGES; i++)
			if (n[i].live && !n[i].zero && !n[i].group)
				skipped += naive_look(w, n, i, &groups);
	}
	whole_passes(w, passes);
	merge_report(w->m);
	must_eq(w->m->sum.pages_skipped, skipped);
	for (unsigned i = 0; i < VMS * PAGES; i++)
		if (n[i].live)
			must_eq(merge_state(w->m, i / PAGES, i % PAGES),
				n[i].zero ? PAGE_ZERO : n[i].group ? PAGE_SHARED : PAGE_RESIDENT);
	g_free(n);
}

static void quiet_passes(struct world *w, const char *algorithm)
{
	unsigned n = strcmp(algorithm, "ksm") ? 1 : 2;

	if (!strcmp(algorithm, "oracle"))
		w->m->d->ops->scan(w->m->d, 1);
	else
		merge_passes(w->m, n);
}

/*
 * Algorithm, zero pages, limit, huge pages, nodes: combinations of each algorithm's seeds. The last six: ksm with smart
 * scan.
 */
START_TEST(test_random)
{
	static const struct {
		unsigned weight;
		void (*op)(struct world *w, unsigned vm, gfn_t gfn);
	} ops[] = {
		{ 35, do_store }, { 10, do_dma },   { 15, do_load },  { 8, do_release }, { 5, do_move },
		{ 3, do_block },  { 6, do_young }, { 3, do_log },	{ 15, do_scan },
	};
	static const char *const algorithms[] = { "ksm", "hash", "oracle" };
	const bool smart = _i >= 24;
	const char *algorithm = algorithms[smart ? 0 : _i % 3];
	struct world *w = g_new0(struct world, 1);

	w->m = merge_new_on(VMS, PAGES, _i / 3 & 1 ? 2 : 1, HOST, _i % 4 == 1 ? 2 : 1);
	w->m->cfg.merge_across_nodes = _i & 8;
	w->m->cfg.smart_scan = smart;
	w->m->cfg.prune_ns = _i % 5 == 0 ? 1000 : 0;
	w->m->cfg.use_zero_pages = _i & 2;
	w->m->cfg.split_huge = smart || !(_i & 4);
	w->m->cfg.max_page_sharing = !smart && _i & 8 ? 5 : 1u << 30;
	rng_seed(&w->rng, (uint64_t)_i);
	merge_start(w->m, algorithm);
	for (unsigned step = 0; step < 3000; step++) {
		unsigned i = 0, vm = (unsigned)rng_below(&w->rng, VMS);
		uint64_t pick = rng_below(&w->rng, 100);

		for (; pick >= ops[i].weight; i++)
			pick -= ops[i].weight;
		ops[i].op(w, vm, random_gfn(w));
		if (step % 100 == 0)
			check_relations(w->m);
		if (step % 500 == 0)
			check_all(w);
		w->m->fm->now_ns += 10;
		if (step % 1000 == 999 && smart) {
			check_smart(w);
			check_all(w);
		} else if (step % 1000 == 999) {
			quiet_passes(w, algorithm);
			check_all(w);
			check_exact(w);
		}
	}
	must(w->m->sum.merges > 150 && w->m->sum.host_collapses > 0 && w->m->sum.faults_write_shared > 50);
	must(dedup_unmerge(w->m->d) == 0);
	check_all(w);
	must_eq(w->m->sum.pages_merged + w->m->sum.ksm_zero_pages, 0);
	merge_free(w->m);
	g_free(w);
}
END_TEST

static const char text[] = "[experiment]\nschedule = lockstep\nduration = 3 ms\nsample-interval = 1 ms\nseed = %d\n"
			   "[host]\nmemory = 256 MiB\npage-size = %s\n"
			   "[dedup]\nalgorithm = %s\npages-to-scan = 700\nsleep = 100 us\nuse-zero-pages = %s\n"
			   "max-page-sharing = %d\nstop = %d us\nunmerge = %s\n"
			   "[vm ept]\nmemory = 24 MiB\npaging = ept\nworkload = w\n"
			   "[vm shadow]\nmemory = 24 MiB\npaging = shadow\nworkload = w\n"
			   "[vm pv]\nmemory = 24 MiB\npaging = pv\nworkload = w\n"
			   "[workload w]\nprocesses = 2\nphases = fill, mix, child\n"
			   "[phase fill]\npattern = zipf\nsize = 2 MiB\nregion = r\noperations = 9000\nwrites = 15%%\n"
			   "contents = text:100\nstamps = 3\n"
			   "[phase mix]\npattern = mix\nsize = 1 MiB\noperations = 20000\nforks = child\n"
			   "[phase child]\npattern = uniform\nregion = r\nsize = 2 MiB\nchild = yes\noperations = 200\n"
			   "writes = 50%%\n";

/*
 * What if whole guests are merged while they run, fork and exit, in every mode? Their memory ends as without merging.
 */
START_TEST(test_digest)
{
	static const char *const algorithms[] = { "none", "ksm", "hash", "oracle" };
	uint64_t want[3] = { 0 };

	for (unsigned i = 0; i < 4; i++) {
		const char *unmerge = i && _i & 2 ? "yes" : "no", *zero = _i & 2 ? "yes" : "no";
		g_autofree char *ini = g_strdup_printf(text, _i, _i & 1 ? "2M" : "4K", algorithms[i], zero,
						       _i & 1 ? 3 : 256, *unmerge == 'y' ? 2000 : 0, unmerge);
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
			ck_assert(!i || run_text_vm(&t, vm)->counters.faults_write_shared > 0);
		}
		ck_assert((c->merges > 200) == (i > 0));
		ck_assert_uint_eq(c->ns_dedup > 0, i > 0);
		ck_assert_uint_eq(c->pages_merged, c->pages_shared + c->pages_sharing);
		ck_assert_uint_eq(c->pages_backed, c->frames_backing + c->saved_zero + c->saved_self + c->saved_inter);
		ck_assert(!i || (c->pages_merged > 0) == !(_i & 2));
		run_text_free(&t);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dedup model");
	TCase *t = tcase_create("dedup model");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_random, 0, 30);
	tcase_add_loop_test(t, test_digest, 0, 4);
	suite_add_tcase(s, t);
	return suite_run(s);
}
