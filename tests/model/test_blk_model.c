/* SPDX-License-Identifier: MIT */
/*
 * test_blk_model.c - a guest with a disk on a host that swaps, against arrays
 *
 * Random accesses, disk reads and writes of whole pages, changes of blocks from elsewhere, overwriting, balloon,
 * release, merging's write-protection and failing devices, with each combination of the remedies. Every page must hold
 * what it would with memory for all, and what gmem knows of blocks must be true.
 */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/gmem_disk.h"
#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define HOST   512u /* frames: the least there is */
#define PAGES  1400u
#define FILES  700u
#define BLOCKS 900u

/* All words of a page are base, but for the sixth. */
struct value {
	uint64_t base, word;
};

struct world {
	struct frames *fr;
	struct fake_machine *fm;
	struct swap *swap;
	struct gmem *g;
	struct fake_paging *p;
	struct counters c;
	struct rng rng;
	struct value mem[PAGES], disk[BLOCKS];
	uint64_t next;
};

static void fill(struct value v, struct page_content *out)
{
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		out->words[i] = v.base;
	out->words[5] = v.word;
	out->pattern = (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), v.base };
}

static void content(void *ctx, uint64_t block, struct page_content *out)
{
	fill(((struct world *)ctx)->disk[block], out);
}

static void host_read(void *ctx, uint64_t block, uint64_t npages)
{
	(void)ctx;
	must(npages && block + npages <= BLOCKS);
}

static struct world *world_new(unsigned n)
{
	const struct gmem_config gc = { .vm = 1, .npages = PAGES, .level = n & 4 ? 2 : 1 };
	struct swap_config cfg = { .nslots = n & 8 ? 700 : 4096, .policy = swap_policies[2], .low = 64, .high = 96,
				   .cluster = 3, .mapper = n & 1, .preventer = n & 2, .seed = n };
	struct world *w = g_new0(struct world, 1);
	const struct gmem_backing backing = { FILES, BLOCKS, content, host_read, w };

	rng_seed(&w->rng, 100 + n);
	w->fr = frames_new(HOST, 1);
	w->fm = fake_machine_new(HOST);
	w->g = gmem_new(&gc, w->fr, &w->fm->base, &w->c, NULL);
	w->swap = swap_new(&cfg, w->fr, &w->fm->base);
	must(!swap_attach(w->swap, w->g) && !gmem_set_backing(w->g, &backing));
	w->p = fake_paging_new(w->g);
	for (uint64_t i = 0; i < BLOCKS; i++)
		w->disk[i] = (struct value){ i + 1, i * 3 };
	return w;
}

static void world_free(struct world *w)
{
	fake_paging_free(w->p);
	gmem_free(w->g);
	swap_free(w->swap);
	must_eq(frames_used(w->fr), 0);
	frames_free(w->fr);
	fake_machine_free(w->fm);
	g_free(w);
}

static enum page_state state(const struct world *w, gfn_t gfn)
{
	struct gmem_page page;

	must(!gmem_lookup(w->g, gfn, &page));
	return page.state;
}

static bool same(struct value a, struct value b)
{
	return a.base == b.base && a.word == b.word;
}

static void check_page(const struct world *w, gfn_t gfn)
{
	uint64_t block = gmem_disk_block(w->g, gfn), words[PAGE_SIZE / 8];
	struct page_content want;
	struct gmem_page page;

	must(!gmem_lookup(w->g, gfn, &page));
	must(!gmem_peek(w->g, gfn, words));
	fill(w->mem[gfn], &want);
	must(!memcmp(words, want.words, PAGE_SIZE));
	if (page.state == PAGE_DROPPED || (block != UINT64_MAX && swap_reclaimer(w->swap)->mapper)) {
		must(block != UINT64_MAX && same(w->mem[gfn], w->disk[block]));
		must(!(page.access & ACC_W));
		must(page.state == PAGE_RESIDENT || page.state == PAGE_DROPPED);
	}
}

static void check_all(struct world *w)
{
	for (gfn_t gfn = 0; gfn < PAGES; gfn++)
		check_page(w, gfn);
	fake_paging_check(w->p);
	must(!swap_verify(w->swap));
}

/* What failed may have forgotten what was to be overwritten anyway. */
static void failed(struct world *w, gfn_t gfn, int err)
{
	must(err == -ENOMEM || err == -EIO || err == -EPERM);
	if (state(w, gfn) == PAGE_ABSENT || state(w, gfn) == PAGE_BALLOONED)
		w->mem[gfn] = (struct value){ 0, 0 };
}

static void from_disk(struct world *w, gfn_t gfn)
{
	uint64_t block = rng_below(&w->rng, BLOCKS);
	struct page_content in;
	int err;

	fill(w->disk[block], &in);
	err = gmem_page_from_disk(w->g, gfn, block, &in);
	if (err)
		failed(w, gfn, err);
	else
		w->mem[gfn] = w->disk[block];
}

static void to_disk(struct world *w, gfn_t gfn)
{
	uint64_t block = rng_below(&w->rng, BLOCKS);
	struct page_content out, want;
	int err = gmem_page_to_disk(w->g, gfn, block, &out);

	if (err) {
		failed(w, gfn, err);
		return;
	}
	fill(w->mem[gfn], &want);
	must(!memcmp(out.words, want.words, PAGE_SIZE));
	w->disk[block] = w->mem[gfn];
}

static void change_blocks(struct world *w)
{
	uint64_t block = rng_below(&w->rng, BLOCKS), n = 1 + rng_below(&w->rng, 4);

	n = MIN(n, BLOCKS - block);
	if (gmem_disk_changes(w->g, block, n))
		return;
	for (uint64_t i = 0; i < n; i++)
		w->disk[block + i].word = ++w->next;
}

static void store(struct world *w, gfn_t gfn, bool cpu)
{
	uint64_t value = ++w->next;
	struct gmem_page page;
	bool faulted;
	int err = cpu ? fake_paging_access(w->p, gfn, ACC_W, &faulted) :
			gmem_write(w->g, gfn * PAGE_SIZE + 40, &value, 8);

	if (err) {
		failed(w, gfn, err);
		return;
	}
	if (cpu) { /* through the mapping, without asking anybody */
		must(!gmem_lookup(w->g, gfn, &page) && page.hfn == w->p->map[gfn].hfn);
		memcpy(fake_machine_page(w->fm, page.hfn) + 40, &value, 8);
	}
	w->mem[gfn].word = value;
}

static void overwrite(struct world *w, gfn_t gfn)
{
	struct page_content in;
	struct value v = { ++w->next, w->next * 2 };
	int err;

	gmem_overwrite(w->g, gfn, FAULT_CPU);
	fill(v, &in);
	err = gmem_write_page(w->g, gfn, &in);
	if (err)
		failed(w, gfn, err);
	else
		w->mem[gfn] = v;
}

static void let_go(struct world *w, gfn_t gfn)
{
	hfn_t hfn;

	switch (rng_below(&w->rng, 5)) {
	case 0:
		if (!gmem_release(w->g, gfn))
			w->mem[gfn] = (struct value){ 0, 0 };
		break;
	case 1:
		if (!gmem_balloon(w->g, gfn))
			w->mem[gfn] = (struct value){ 0, 0 };
		break;
	case 2:
		gmem_test_clear_young(w->g, gfn);
		break;
	case 3:
		gmem_move(w->g, gfn, 0);
		break;
	default:
		if (state(w, gfn) == PAGE_RESIDENT && !gmem_share_protect(w->g, gfn))
			must(!gmem_share_begin(w->g, gfn, &hfn));
		break;
	}
}

static void step(struct world *w)
{
	gfn_t gfn = rng_below(&w->rng, rng_below(&w->rng, 3) ? PAGES : PAGES / 8);
	bool faulted;
	int err;

	switch (rng_below(&w->rng, 12)) {
	case 0 ... 2:
		from_disk(w, gfn);
		break;
	case 3:
		to_disk(w, gfn);
		break;
	case 4 ... 5:
		store(w, gfn, rng_below(&w->rng, 2));
		break;
	case 6 ... 8:
		err = fake_paging_access(w->p, gfn, ACC_R, &faulted);
		if (err)
			failed(w, gfn, err);
		break;
	case 9:
		overwrite(w, gfn);
		break;
	case 10:
		change_blocks(w);
		break;
	default:
		let_go(w, gfn);
		break;
	}
	if (!rng_below(&w->rng, 200))
		w->fm->fail_load_in = 1 + rng_below(&w->rng, 20);
	if (!rng_below(&w->rng, 200))
		w->fm->fail_save_in = 1 + rng_below(&w->rng, 20);
	swap_reclaimer(w->swap)->ops->balance(swap_reclaimer(w->swap));
}

START_TEST(as_arrays)
{
	struct world *w = world_new((unsigned)_i);
	bool mapper = _i & 1, preventer = _i & 2;

	for (unsigned i = 0; i < 12000; i++) {
		step(w);
		if (i % 400 == 0)
			check_all(w);
	}
	check_all(w);
	must(w->c.swap_ins > 500);
	must(mapper ? w->c.swap_mapper_drops > 500 && w->c.faults_dropped > 100 : !w->c.swap_mapper_drops);
	must((w->c.swap_prevented > 50) == (mapper || preventer));
	must((w->c.swap_stale_reads > 50) == (!mapper && !preventer));
	must((w->c.swap_false_reads > 50) == !preventer);
	must(w->c.swap_double_paging > 10);
	must(mapper ? !w->c.swap_silent_writes : w->c.swap_silent_writes > 50);
	world_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("disk model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, as_arrays, 0, 16);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
