/* SPDX-License-Identifier: MIT */
/*
 * swapping against memory without end
 *
 * gmem and swap alone: several VMs on a host with a third of the frames they use, random accesses, DMA,
 * releases, moves, young tests, collapses, dirty logs, merges, device errors, limits that come and go. The model is
 * what each page should contain. Every access sees that, every thousandth step everything is compared and swap_verify()
 * recounts pool, slots and tier.
 * (Whole runs: tests/model/test_swap_runs.c.)
 */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { VMS = 3, PAGES = 1500, HOST = 1536, STEPS = 25000 };

struct vm {
	struct gmem *g;
	struct fake_paging *p;
	struct counters c;
	uint64_t value[PAGES];
};

struct world {
	struct frames *fr;
	struct fake_machine *fm;
	struct swap *swap;
	struct swap_future *future;
	struct rng rng;
	struct vm vm[VMS];
	uint64_t refused;
	struct shared_watch watch;
	uint64_t merges, gone;
};

static const struct swap_config configs[] = {
	{ .nslots = 4000, .policy = &swap_fifo, .low = 40, .high = 90, .cluster = 3 },
	{ .nslots = 4000, .policy = &swap_random, .seed = 4, .low = 40, .high = 90, .cluster = 2, .pool_frames = 100 },
	{ .nslots = 4000, .policy = &swap_clock, .low = 40, .high = 60, .cluster = 0, .pool_frames = 30 },
	{ .nslots = 4000, .policy = &swap_clock, .low = 40, .high = 60, .cluster = 3, .pool_frames = 9,
	  .writeback = true },
	{ .nslots = 1500, .policy = &swap_clock, .low = 0, .high = 0, .cluster = 4 },
	{ .nslots = 900, .policy = &swap_random, .seed = 8, .low = 10, .high = 300, .cluster = 3 },
	{ .nslots = 4000, .policy = &swap_clock, .low = 20, .high = 60, .cluster = 3, .order = SWAP_FROM_PROPORTIONAL },
	{ .nslots = 4000, .policy = &swap_lru, .low = 20, .high = 60, .cluster = 3, .pool_frames = 40 },
	{ .nslots = 3000, .policy = &swap_mglru, .low = 20, .high = 90, .order = SWAP_FROM_PROPORTIONAL },
	{ .nslots = 2000, .policy = &swap_opt, .low = 20, .high = 90, .cluster = 2 },
	{ .nslots = 2000, .policy = &swap_random, .seed = 2, .low = 20, .high = 60, .order = SWAP_FROM_LARGEST },
};

static void frame_gone(struct shared_watch *watch, hfn_t hfn)
{
	struct world *w = (struct world *)((char *)watch - offsetof(struct world, watch));

	must(FRAME_KIND(frames_get(w->fr, hfn)) == FRAME_SHARED);
	w->gone++;
}

static void world_setup(struct world *w, const struct swap_config *config, uint64_t seed)
{
	struct swap_config cfg = *config;

	/* Nothing is known of the future: all are needed never. */
	w->future = swap_future_new();
	must(swap_future_begin(w->future) == 0);
	cfg.future = w->future;
	rng_seed(&w->rng, seed);
	w->fr = frames_new(HOST, 1);
	w->watch.gone = frame_gone;
	w->fr->watch = &w->watch;
	w->fm = fake_machine_new(HOST);
	w->swap = swap_new(&cfg, w->fr, &w->fm->base);
	must(w->swap != NULL);
	for (unsigned i = 0; i < VMS; i++) {
		const struct gmem_config gc = {
			.vm = i * 5, .npages = PAGES, .arena_pages = i == 1 ? 512 : 0, .level = 1 + i % 2,
		};

		w->vm[i].g = gmem_new(&gc, w->fr, &w->fm->base, &w->vm[i].c, NULL);
		must(w->vm[i].g != NULL);
		swap_attach(w->swap, w->vm[i].g);
		w->vm[i].p = fake_paging_new(w->vm[i].g);
	}
}

static void world_teardown(struct world *w)
{
	for (unsigned i = 0; i < VMS; i++) {
		fake_paging_free(w->vm[i].p);
		gmem_free(w->vm[i].g);
	}
	swap_free(w->swap);
	swap_future_free(w->future);
	must_eq(frames_used(w->fr), 0);
	frames_free(w->fr);
	fake_machine_free(w->fm);
}

static gfn_t pick(struct world *w)
{
	return rng_below(&w->rng, 4) ? rng_below(&w->rng, 300) + 500 : rng_below(&w->rng, PAGES);
}

/* True when the operation took place; a failed one must have changed nothing. */
static bool went(struct world *w, int err)
{
	must(err == 0 || err == -ENOMEM || err == -EIO);
	w->refused += err != 0;
	return err == 0;
}

static void access_page(struct world *w, struct vm *v, gfn_t gfn, bool write)
{
	uint64_t value = rng_u64(&w->rng);
	struct gmem_page page;
	bool faulted;

	if (!went(w, fake_paging_access(v->p, gfn, write ? ACC_W : ACC_R, &faulted)))
		return;
	must(gmem_lookup(v->g, gfn, &page) == 0);
	must(page.state == PAGE_RESIDENT || (!write && (page.state == PAGE_SHARED || page.state == PAGE_ZERO)));
	if (gfn < gmem_config(v->g)->arena_pages)
		return;
	uint64_t *word = (uint64_t *)fake_machine_page(w->fm, page.hfn) + 5;

	must_eq(*word, v->value[gfn]);
	if (write)
		*word = v->value[gfn] = value;
}

static void dma(struct world *w, struct vm *v, gfn_t gfn, bool write)
{
	uint64_t value = rng_u64(&w->rng), addr = gfn * PAGE_SIZE + 40;

	if (write && went(w, gmem_write(v->g, addr, &value, sizeof(value))))
		v->value[gfn] = value;
	else if (!write && went(w, gmem_read(v->g, addr, &value, sizeof(value))))
		must_eq(value, v->value[gfn]);
}

/* Make a page hard to compress; its word 5 stays what it is. */
static void scribble(struct world *w, struct vm *v, gfn_t gfn)
{
	uint64_t page[PAGE_SIZE / 8];

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = rng_u64(&w->rng) | 1;
	page[5] = v->value[gfn];
	must(gmem_write(v->g, gfn * PAGE_SIZE + 40, &v->value[gfn], 8) ||
	     !gmem_write(v->g, gfn * PAGE_SIZE, page, sizeof(page)));
}

/* The page has the contents that @value stands for, all of it. */
static bool fill(struct world *w, struct vm *v, gfn_t gfn, uint64_t value)
{
	uint64_t page[PAGE_SIZE / 8] = { [5] = value };

	if (!went(w, gmem_write(v->g, gfn * PAGE_SIZE, page, sizeof(page))))
		return false;
	v->value[gfn] = value;
	return true;
}

static enum page_state state_of(const struct vm *v, gfn_t gfn)
{
	struct gmem_page page;

	must(gmem_lookup(v->g, gfn, &page) == 0);
	return page.state;
}

/* The page gets contents, and merges into @stable if that has them; else its frame becomes @stable. 0: zero frame. */
static void merge_page(struct world *w, struct vm *v, gfn_t gfn, uint64_t value, hfn_t *stable)
{
	if (gfn < gmem_config(v->g)->arena_pages || !fill(w, v, gfn, value) || state_of(v, gfn) != PAGE_RESIDENT)
		return;
	must(gmem_share_protect(v->g, gfn) == 0);
	w->merges++;
	if (!value)
		went(w, gmem_share_zero(v->g, gfn));
	else if (*stable == HFN_NONE || FRAME_KIND(frames_get(w->fr, *stable)) != FRAME_SHARED ||
		 *((uint64_t *)fake_machine_page(w->fm, *stable) + 5) != value)
		must(gmem_share_begin(v->g, gfn, stable) == 0);
	else
		must(gmem_share(v->g, gfn, *stable) == 0);
}

static void merge(struct world *w)
{
	uint64_t n = 1 + rng_below(&w->rng, 4), value = n == 1 ? 0 : rng_u64(&w->rng);
	hfn_t stable = HFN_NONE;

	for (uint64_t i = 0; i < n; i++)
		merge_page(w, &w->vm[rng_below(&w->rng, VMS)], pick(w), value, &stable);
}

/* Much of what the guests have is merged, across them. */
static void merge_storm(struct world *w)
{
	for (gfn_t gfn = 600; gfn < PAGES; gfn++) {
		hfn_t stable = HFN_NONE;

		for (unsigned i = 0; i < VMS; i++)
			merge_page(w, &w->vm[i], gfn, gfn, &stable);
	}
}

static void step(struct world *w)
{
	const struct collapse_limits limits = { 511, 512, 512 };
	struct vm *v = &w->vm[rng_below(&w->rng, VMS)];
	gfn_t gfn = pick(w);
	bool in_arena = gfn < gmem_config(v->g)->arena_pages;

	switch (rng_below(&w->rng, 100)) {
	case 0 ... 59:
		access_page(w, v, gfn, rng_below(&w->rng, 3) == 0);
		break;
	case 60 ... 69:
		dma(w, v, gfn, rng_below(&w->rng, 2));
		break;
	case 70 ... 74:
		if (!in_arena)
			scribble(w, v, gfn);
		break;
	case 75 ... 76:
		merge(w);
		break;
	case 77:
		if (!in_arena)
			went(w, gmem_unshare(v->g, gfn));
		break;
	case 78 ... 79:
		if (!in_arena) {
			must(gmem_release(v->g, gfn) == 0);
			v->value[gfn] = 0;
		}
		break;
	case 80 ... 84:
		gmem_move(v->g, gfn, 0);
		break;
	case 85 ... 89:
		gmem_test_clear_young(v->g, gfn);
		break;
	case 90:
		gmem_collapse_within(v->g, gfn, 2, &limits);
		break;
	case 91:
		if (!gmem_dirty_logging(v->g))
			must(gmem_dirty_log_start(v->g) == 0);
		else
			gmem_dirty_log_stop(v->g);
		break;
	case 92:
		*(rng_below(&w->rng, 2) ? &w->fm->fail_save_in : &w->fm->fail_load_in) = 1 + rng_below(&w->rng, 20);
		break;
	case 93:
		if (rng_below(&w->rng, 10) == 0)
			must(swap_set_limit(w->swap, gmem_config(v->g)->vm,
					    rng_below(&w->rng, 2) ? UINT64_MAX : rng_below(&w->rng, 900)) == 0);
		break;
	case 94:
		if (rng_below(&w->rng, 50) == 0)
			merge_storm(w);
		break;
	default:
		swap_reclaimer(w->swap)->ops->balance(swap_reclaimer(w->swap));
	}
}

/* Frames that pages share. */
static uint64_t merged_frames(struct world *w)
{
	uint64_t n = 0;

	for (hfn_t hfn = 0; hfn < HOST; hfn++)
		n += FRAME_KIND(frames_get(w->fr, hfn)) == FRAME_SHARED && frames_get(w->fr, hfn)->refs;
	return n;
}

static void compare(struct world *w)
{
	uint64_t page[PAGE_SIZE / 8];
	struct counters sum = { 0 };

	must(swap_verify(w->swap) == 0);
	for (unsigned i = 0; i < VMS; i++) {
		struct vm *v = &w->vm[i];

		fake_paging_check(v->p);
		counters_add(&sum, &v->c);
		for (gfn_t gfn = gmem_config(v->g)->arena_pages; gfn < PAGES; gfn++) {
			must(gmem_peek(v->g, gfn, page) == 0);
			must_eq(page[5], v->value[gfn]);
		}
	}
	must_eq(sum.swap_outs, sum.swap_writes + sum.swap_clean_drops + sum.swap_compressed);
	must_eq(sum.swap_outs, swap_evictions(w->swap));
	must_eq(frames_used(w->fr), sum.pages_resident + 512 + swap_pool_used(w->swap) + merged_frames(w));
	must(sum.swap_readahead_hits <= sum.swap_readahead);
}

START_TEST(contents_survive)
{
	const struct swap_config *cfg = &configs[_i % (int)G_N_ELEMENTS(configs)];
	struct world *w = g_new0(struct world, 1);
	struct counters sum = { 0 };

	world_setup(w, cfg, (uint64_t)_i + 1);
	for (unsigned i = 1; i <= STEPS; i++) {
		step(w);
		if (i % 1000 == 0)
			compare(w);
	}
	for (unsigned i = 0; i < VMS; i++)
		counters_add(&sum, &w->vm[i].c);
	/* It did happen. */
	must(sum.swap_ins > 1000 && sum.swap_outs > 1000 && sum.swap_failures > 0);
	must(w->merges > 1000 && w->gone > 0);
	must(sum.swap_outs_limit > 0);
	must(sum.swap_outs_merged > 0 || cfg->nslots < 2000);
	must((sum.swap_writebacks > 0) == cfg->writeback);
	must((sum.swap_compressed > 0) == (cfg->pool_frames > 0));
	must((sum.swap_readahead_hits > 0) == (cfg->cluster > 0));
	world_teardown(w);
	g_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap model");
	TCase *t = tcase_create("swap model");

	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, contents_survive, 0, 2 * G_N_ELEMENTS(configs));
	suite_add_tcase(s, t);
	return suite_run(s);
}
