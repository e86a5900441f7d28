/* SPDX-License-Identifier: MIT */
/* test_gmem_disk.c - pages that are on the guest's disk too: the pathologies counted, the remedies at work */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "mm/gmem_disk.h"
#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

#define HOST   512u /* frames: the least there is */
#define PAGES  2048u
#define FILES  1024u
#define BLOCKS 1536u

struct world {
	struct frames *fr;
	struct fake_machine *fm;
	struct swap *swap;
	struct gmem *g;
	struct fake_paging *p;
	struct counters c;
	uint64_t disk[BLOCKS]; /* word 5 of each page; the others are its number */
	uint64_t reads, read_pages;
};

static struct world *w;

static void fill(uint64_t block, struct page_content *out)
{
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		out->words[i] = block + 1;
	out->words[5] = w->disk[block];
	out->pattern = (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), out->words[0] };
}

static void content(void *ctx, uint64_t block, struct page_content *out)
{
	must(ctx == w && block < BLOCKS);
	fill(block, out);
}

static void host_read(void *ctx, uint64_t block, uint64_t npages)
{
	must(ctx == w && block + npages <= BLOCKS && npages);
	w->reads++;
	w->read_pages += npages;
}

/* Does nothing but drop what a switch off needs to see dropped. */
static void begin(bool mapper, bool preventer)
{
	const struct gmem_config gc = { .vm = 3, .npages = PAGES, .level = 2 };
	const struct gmem_backing backing = { FILES, BLOCKS, content, host_read, NULL };
	struct swap_config cfg = { .nslots = 4096, .policy = swap_policies[0], .low = 64, .high = 96, .cluster = 3,
				   .mapper = mapper, .preventer = preventer };
	struct gmem_backing mine = backing;

	w = g_new0(struct world, 1);
	mine.ctx = w;
	for (uint64_t i = 0; i < BLOCKS; i++)
		w->disk[i] = i * 1000;
	w->fr = frames_new(HOST, 1);
	w->fm = fake_machine_new(HOST);
	w->g = gmem_new(&gc, w->fr, &w->fm->base, &w->c, NULL);
	w->swap = swap_new(&cfg, w->fr, &w->fm->base);
	must(!swap_attach(w->swap, w->g) && !gmem_set_backing(w->g, &mine));
	w->p = fake_paging_new(w->g);
}

static void end(void)
{
	must(!swap_verify(w->swap));
	fake_paging_check(w->p);
	fake_paging_free(w->p);
	gmem_free(w->g);
	swap_free(w->swap);
	must_eq(frames_used(w->fr), 0);
	frames_free(w->fr);
	fake_machine_free(w->fm);
	g_free(w);
}

/* The guest reads disk page @block into @gfn. */
static void read_disk(gfn_t gfn, uint64_t block)
{
	struct page_content in;

	fill(block, &in);
	must(!gmem_page_from_disk(w->g, gfn, block, &in));
}

static void write_disk(gfn_t gfn, uint64_t block)
{
	struct page_content out;

	must(!gmem_page_to_disk(w->g, gfn, block, &out));
	w->disk[block] = out.words[5];
}

static void touch(gfn_t gfn, unsigned access)
{
	struct gmem_page page;

	swap_reclaimer(w->swap)->ops->balance(swap_reclaimer(w->swap));
	must(!gmem_fault(w->g, gfn, access, FAULT_CPU, &page));
	must(page.state == PAGE_RESIDENT && page.access & access);
}

static void store(gfn_t gfn, uint64_t value)
{
	touch(gfn, ACC_W);
	must(!gmem_write(w->g, gfn * PAGE_SIZE + 40, &value, 8));
}

static enum page_state state(gfn_t gfn)
{
	struct gmem_page page;

	must(!gmem_lookup(w->g, gfn, &page));
	return page.state;
}

static uint64_t look(gfn_t gfn)
{
	uint64_t page[PAGE_SIZE / 8];

	must(!gmem_peek(w->g, gfn, page));
	return page[5];
}

/* Everything touched before goes: twice as many other pages as there are frames are touched. */
static void push_out(void)
{
	for (gfn_t gfn = PAGES - 2 * HOST; gfn < PAGES; gfn++)
		store(gfn, gfn);
}

START_TEST(pathologies)
{
	begin(false, false);
	for (gfn_t i = 0; i < 64; i++)
		read_disk(i, 64 - i); /* so that swap holds them in another order than the file */
	push_out();
	must_eq(w->c.swap_silent_writes, 64);
	must_eq(w->c.swap_false_anonymous, 64);
	must_eq(state(5), PAGE_SWAPPED);
	/* Into page 0, in swap, the guest reads something else; page 16 it zeroes. */
	read_disk(0, 200);
	must_eq(w->c.swap_stale_reads, 1);
	must_eq(look(0), 200000);
	gmem_overwrite(w->g, 16, FAULT_CPU);
	must_eq(w->c.swap_false_reads, 1);
	store(16, 7);
	must_eq(w->c.swap_false_reads, 1);
	must_eq(w->c.swap_stale_reads, 1);
	/* A page of its own in swap goes to the guest's swap. */
	store(100, 42);
	push_out();
	must_eq(state(100), PAGE_SWAPPED);
	write_disk(100, FILES + 3);
	must_eq(w->c.swap_double_paging, 1);
	must_eq(w->disk[FILES + 3], 42);
	/* To a file: not paged twice. */
	store(101, 43);
	push_out();
	write_disk(101, 3);
	must_eq(w->c.swap_double_paging, 1);
	must_eq(w->reads, 0);
	must_eq(w->c.swap_mapper_drops + w->c.swap_prevented + w->c.pages_dropped, 0);
	end();
}
END_TEST

/* Two files whose pages were read in turn: in swap, each page lies next to one of the other. */
START_TEST(decay)
{
	begin(false, false);
	for (gfn_t i = 0; i < 128; i++)
		read_disk(i, i % 2 * 256 + i / 2);
	push_out();
	for (gfn_t i = 0; i < 128; i += 2)
		touch(i, ACC_R);
	/* Half of each group of slots belongs to the other file: of eight neighbours, two reads. */
	must_eq(w->c.swap_decayed, 8);
	end();
	begin(false, false);
	for (gfn_t i = 0; i < 64; i++)
		read_disk(i, i);
	push_out();
	for (gfn_t i = 0; i < 64; i++)
		touch(i, ACC_R);
	must_eq(w->c.swap_decayed, 0);
	end();
}
END_TEST

START_TEST(mapped)
{
	begin(true, false);
	for (gfn_t i = 0; i < 64; i++)
		read_disk(i, i);
	push_out();
	must_eq(w->c.pages_dropped, 64);
	must_eq(w->c.swap_mapper_drops, 64);
	must_eq(w->c.swap_silent_writes + w->c.swap_false_anonymous, 0);
	must_eq(state(5), PAGE_DROPPED);
	must_eq(look(5), 5000);
	touch(5, ACC_R);
	must_eq(w->c.faults_dropped, 1);
	must_eq(w->reads, 1);
	must_eq(w->read_pages, 8);
	must_eq(w->c.swap_readahead, 7);
	must_eq(state(2), PAGE_RESIDENT);
	must_eq(look(2), 2000);
	/* A store breaks the association; then the page is like any other. */
	store(5, 55);
	must_eq(gmem_disk_block(w->g, 5), UINT64_MAX);
	must_eq(gmem_disk_block(w->g, 2), 2);
	push_out();
	must(state(5) != PAGE_DROPPED);
	must_eq(look(5), 55);
	must_eq(state(2), PAGE_DROPPED);
	/* A store to a dropped page brings it in. */
	store(2, 22);
	must_eq(look(2), 22);
	push_out();
	must(state(2) != PAGE_DROPPED); /* in swap, or brought back with a neighbour there */
	must_eq(look(2), 22);
	/* What is overwritten by another read of the disk is not read first. */
	read_disk(7, 300);
	must_eq(w->c.swap_prevented, 1);
	read_disk(5, 301);
	must_eq(w->c.swap_prevented, 2);
	must_eq(w->c.swap_stale_reads, 0);
	must_eq(look(5), 301000);
	end();
}
END_TEST

/* What if a block changes while pages lie on it? */
START_TEST(blocks_change)
{
	begin(true, false);
	read_disk(0, 10);
	read_disk(1, 10);
	read_disk(2, 10);
	read_disk(3, 21);
	push_out();
	must_eq(w->c.pages_dropped, 4);
	touch(1, ACC_R);
	store(200, 5);
	write_disk(200, 10);
	must_eq(look(0), 10000);
	must_eq(look(1), 10000);
	must_eq(look(2), 10000);
	must_eq(look(200), 5);
	must_eq(gmem_disk_block(w->g, 0), UINT64_MAX);
	must_eq(gmem_disk_block(w->g, 1), UINT64_MAX);
	must_eq(gmem_disk_block(w->g, 200), 10);
	must_eq(state(3), PAGE_DROPPED);
	must(!gmem_disk_changes(w->g, 19, 4));
	w->disk[21] = 1;
	must_eq(look(3), 21000);
	/* A page that is written to its own block while dropped onto it. */
	read_disk(4, 12);
	push_out();
	must_eq(state(4), PAGE_DROPPED);
	write_disk(4, 12);
	must_eq(w->disk[12], 12000);
	must_eq(gmem_disk_block(w->g, 4), 12);
	end();
}
END_TEST

/* Pages that go in other ways take their association along. */
START_TEST(other_ways)
{
	hfn_t hfn;

	begin(true, false);
	for (gfn_t i = 0; i < 8; i++)
		read_disk(i, i);
	push_out();
	must_eq(w->c.pages_dropped, 8);
	must(!gmem_release(w->g, 0));
	must(!gmem_balloon(w->g, 1));
	must_eq(look(0), 0);
	must_eq(w->c.pages_dropped, 6);
	must_eq(gmem_disk_block(w->g, 0), UINT64_MAX);
	must_eq(gmem_disk_block(w->g, 1), UINT64_MAX);
	touch(2, ACC_R);
	must(!gmem_move(w->g, 2, 0));
	must_eq(gmem_disk_block(w->g, 2), 2);
	must_eq(look(2), 2000);
	must(!gmem_share_begin(w->g, 3, &hfn)); /* resident since 2 was touched */
	must_eq(gmem_disk_block(w->g, 3), UINT64_MAX);
	must_eq(gmem_evict_to_disk(w->g, 3), -EBUSY);
	must(!gmem_evict_to_disk(w->g, 2));
	must_eq(look(2), 2000);
	end();
}
END_TEST

START_TEST(prevented)
{
	begin(false, true);
	for (gfn_t i = 0; i < 16; i++)
		store(i, i + 1);
	push_out();
	must_eq(state(3), PAGE_SWAPPED);
	gmem_overwrite(w->g, 3, FAULT_CPU);
	must_eq(state(3), PAGE_ABSENT);
	must_eq(w->c.swap_prevented, 1);
	read_disk(4, 20);
	must_eq(w->c.swap_prevented, 2);
	must_eq(look(4), 20000);
	must_eq(look(5), 6);
	must_eq(w->c.swap_stale_reads + w->c.swap_false_reads, 0);
	gmem_overwrite(w->g, 4, FAULT_CPU); /* in memory: nothing to forget */
	must_eq(look(4), 20000);
	gmem_overwrite(w->g, PAGES, FAULT_CPU);
	must_eq(w->c.swap_prevented, 2);
	end();
}
END_TEST

static bool odd(void *ctx, unsigned vm, gfn_t gfn)
{
	must(!ctx && vm == 3);
	return gfn < 100 && gfn % 2;
}

START_TEST(dead)
{
	begin(true, false);
	for (gfn_t i = 0; i < 20; i++)
		store(i, i);
	read_disk(21, 1);
	push_out();
	swap_count_dead(w->swap, odd, NULL);
	must_eq(w->c.swap_dead, 10);
	touch(3, ACC_R);
	must(!gmem_release(w->g, 5));
	swap_count_dead(w->swap, odd, NULL);
	/* The group of 3 came in too, eight pages of which four are odd; or less, if it is at the beginning. */
	must(w->c.swap_dead < 10);
	for (gfn_t i = 0; i < 20; i++)
		touch(i, ACC_R);
	swap_count_dead(w->swap, odd, NULL);
	must_eq(w->c.swap_dead, 0);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem_disk");
	TCase *tc = tcase_create("disk");

	tcase_add_test(tc, pathologies);
	tcase_add_test(tc, decay);
	tcase_add_test(tc, mapped);
	tcase_add_test(tc, blocks_change);
	tcase_add_test(tc, other_ways);
	tcase_add_test(tc, prevented);
	tcase_add_test(tc, dead);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
