/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/replace.h"
#include "mm/swap_slots.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/swap_world.h"
#include "workloads/rng.h"

#define HOST  512u /* frames: the least there is */
#define PAGES 2048u

static struct swap_world *world_new(struct swap_config cfg, bool paging)
{
	struct swap_world *w = swap_world_new(&cfg, HOST);

	swap_world_add(w, 3, PAGES, 1);
	if (paging)
		w->p = fake_paging_new(w->g[0]);
	return w;
}

static void put(struct swap_world *w, gfn_t gfn, uint64_t value)
{
	ck_assert_int_eq(gmem_write(w->g[0], gfn * PAGE_SIZE + 40, &value, sizeof(value)), 0);
}

static uint64_t look(struct swap_world *w, gfn_t gfn)
{
	uint64_t page[PAGE_SIZE / 8];

	ck_assert_int_eq(gmem_peek(w->g[0], gfn, page), 0);
	return page[5];
}

static struct gmem_page lookup(struct swap_world *w, gfn_t gfn)
{
	struct gmem_page page;

	ck_assert_int_eq(gmem_lookup(w->g[0], gfn, &page), 0);
	return page;
}

static struct gmem_page fault(struct swap_world *w, gfn_t gfn, unsigned access)
{
	struct gmem_page page;

	ck_assert_int_eq(gmem_fault(w->g[0], gfn, access, FAULT_CPU, &page), 0);
	ck_assert(page.state == PAGE_RESIDENT && page.access & access);
	return page;
}

/* What if slots are taken and given at random? Each has one holder; all can be had; a batch lies together. */
START_TEST(slots_match_a_set)
{
	const uint64_t n = 3 * SWAP_CLUSTER + 77;
	bool *held = g_new0(bool, n);
	struct swap_slots s;
	struct rng rng;
	uint64_t nheld = 0, slot, last;

	swap_slots_init(&s, n);
	rng_seed(&rng, 5);
	must(swap_slots_take(&s, &last) == 0 && last == 0);
	swap_slots_give(&s, 0);
	must(swap_slots_take(&s, &slot) == 0 && slot == 1); /* next fit: not the hole it left */
	swap_slots_give(&s, 1);
	for (unsigned i = 0; i < 200000; i++) {
		/* Long swings between empty and full. */
		if (rng_below(&rng, 100) < (i / 5000 % 2 ? 30 : 70)) {
			int err = swap_slots_take(&s, &slot);

			must(err == (nheld == n ? -ENOSPC : 0));
			if (err)
				continue;
			must(slot < n && !held[slot]);
			held[slot] = true;
			nheld++;
		} else if (nheld) {
			do
				slot = rng_below(&rng, n);
			while (!held[slot]);
			swap_slots_give(&s, slot);
			held[slot] = false;
			nheld--;
		}
		must_eq(s.nused, nheld);
	}
	for (slot = 0; slot < n; slot++)
		if (held[slot])
			swap_slots_give(&s, slot);
	must(swap_slots_take(&s, &last) == 0);
	for (unsigned i = 1; i < SWAP_CLUSTER / 2; i++, last = slot) {
		must(swap_slots_take(&s, &slot) == 0);
		must(slot == last + 1 || slot % SWAP_CLUSTER == 0);
	}
	swap_slots_destroy(&s);
	g_free(held);
}
END_TEST

static const struct {
	const char *victim, *replace;
} twins[] = { { "fifo", "fifo" }, { "random", "random" }, { "clock", "clock" } };

static const struct swap_policy *victim_policy(const char *name)
{
	for (int i = 0; swap_policies[i]; i++)
		if (!strcmp(swap_policies[i]->name, name))
			return swap_policies[i];
	ck_abort_msg("no policy %s", name);
}

/* A stream with hot pages, loops and noise. */
static uint32_t *stream_new(size_t n, uint64_t seed)
{
	uint32_t *ids = g_new(uint32_t, n);
	struct rng rng;

	rng_seed(&rng, seed);
	for (size_t i = 0; i < n; i++) {
		uint64_t kind = rng_below(&rng, 10);

		ids[i] = (uint32_t)(kind < 5 ? rng_below(&rng, 200) : kind < 8 ? i % 700 : rng_below(&rng, PAGES));
	}
	return ids;
}

/* What if one process' stream runs on a host with as many frames as trace mrc gives its policies? They miss alike. */
START_TEST(policies_miss_as_mrc_says)
{
	enum { N = 60000 };
	const uint64_t seed = 99;
	uint32_t *ids = stream_new(N, 17);
	struct swap_world *w = world_new((struct swap_config){ .nslots = 2 * PAGES,
							  .policy = victim_policy(twins[_i].victim),
							  .seed = seed }, false);
	const struct replace_ops *ops = replace_find(twins[_i].replace);
	const struct replace_args args = { .nframes = HOST, .nids = PAGES, .seed = seed };
	void *policy = ops->create(&args);
	struct gmem_page page;
	uint32_t victim;

	for (size_t i = 0; i < N; i++) {
		uint64_t before = w->c[0].faults_absent + w->c[0].faults_swapped;

		must(gmem_fault(w->g[0], ids[i], i % 3 ? ACC_R : ACC_W, FAULT_CPU, &page) == 0);
		must((w->c[0].faults_absent + w->c[0].faults_swapped == before) ==
		     ops->access(policy, ids[i], &victim));
	}
	ck_assert_uint_eq(w->c[0].swap_outs, w->c[0].faults_absent + w->c[0].faults_swapped - HOST);
	ck_assert_uint_gt(w->c[0].swap_clean_drops, 0);
	ck_assert_uint_eq(w->c[0].swap_outs, w->c[0].swap_writes + w->c[0].swap_clean_drops);
	ops->destroy(policy);
	g_free(ids);
	swap_world_free(w);
}
END_TEST

/* What if a page goes and comes back? Read: it stays clean, and goes again for nothing. Written: its slot goes. */
START_TEST(clean_pages_are_dropped)
{
	struct swap_world *w = world_new((struct swap_config){ .nslots = 4096, .policy = &swap_fifo }, true);
	uint64_t value;
	bool faulted;

	put(w, 0, 77);
	for (gfn_t gfn = 1; gfn <= HOST; gfn++)
		put(w, gfn, gfn);
	ck_assert(lookup(w, 0).state == PAGE_SWAPPED);
	ck_assert_uint_eq(look(w, 0), 77);
	ck_assert(lookup(w, 0).state == PAGE_SWAPPED);
	ck_assert_uint_eq(w->fm->saved, 1);

	/* Read: comes back read-only, its copy stays. */
	ck_assert_int_eq(fake_paging_access(w->p, 0, ACC_R, &faulted), 0);
	ck_assert(faulted && lookup(w, 0).state == PAGE_RESIDENT && !(lookup(w, 0).access & ACC_W));
	ck_assert_uint_eq(w->c[0].faults_swapped, 1);
	ck_assert_uint_eq(w->fm->dropped, 0);
	ck_assert_int_eq(gmem_move(w->g[0], 0, 0), -ENOMEM);
	/* A large leaf could not keep one of its pages read-only. */
	ck_assert_int_eq(fake_paging_access(w->p, 1, ACC_R, &faulted), 0);
	ck_assert_int_eq(gmem_release(w->g[0], HOST), 0);
	for (gfn_t gfn = 2; gfn < HOST; gfn++)
		ck_assert_int_eq(gmem_read(w->g[0], gfn * PAGE_SIZE, &value, sizeof(value)), 0);
	ck_assert(lookup(w, 0).state == PAGE_RESIDENT && lookup(w, 1).state == PAGE_RESIDENT);
	ck_assert_int_eq(gmem_collapse(w->g[0], 0, 2), -EAGAIN);
	for (gfn_t gfn = HOST + 1; lookup(w, 0).state == PAGE_RESIDENT; gfn++)
		put(w, gfn, gfn);
	ck_assert_uint_eq(w->c[0].swap_clean_drops, 1);
	ck_assert_uint_eq(w->c[0].swap_outs, w->fm->saved + 1);
	ck_assert_uint_eq(look(w, 0), 77);

	/* Read, then written: the first write faults once, and the copy is gone. */
	ck_assert_int_eq(fake_paging_access(w->p, 0, ACC_R, &faulted), 0);
	ck_assert_int_eq(fake_paging_access(w->p, 0, ACC_W, &faulted), 0);
	ck_assert(faulted && lookup(w, 0).access & ACC_W);
	ck_assert_uint_eq(w->fm->dropped, 1);
	ck_assert_int_eq(fake_paging_access(w->p, 0, ACC_W, &faulted), 0);
	ck_assert(!faulted);
	ck_assert_uint_eq(w->c[0].faults_spurious, 0);

	/* Released while swapped, or with a copy: no slot is left behind. */
	for (gfn_t gfn = 0; gfn < PAGES; gfn++)
		ck_assert_int_eq(gmem_release(w->g[0], gfn), 0);
	ck_assert_uint_eq(g_hash_table_size(w->fm->slots), 0);
	ck_assert_uint_eq(look(w, 0), 0);
	swap_world_free(w);
}
END_TEST

/*
 * What if neighbours in swap come back? One command brings the group; their first touches are hits, not faults in swap.
 */
START_TEST(readahead_brings_the_group)
{
	struct swap_world *w =
		world_new((struct swap_config){ .nslots = 4096, .policy = &swap_fifo, .cluster = 3 }, true);
	bool faulted;

	for (gfn_t gfn = 0; gfn < HOST + 16; gfn++)
		put(w, gfn, gfn + 1);
	for (gfn_t gfn = 100; gfn < 120; gfn++)
		ck_assert_int_eq(gmem_release(w->g[0], gfn), 0);
	ck_assert(lookup(w, 8).state == PAGE_SWAPPED && lookup(w, 15).state == PAGE_SWAPPED);
	ck_assert_int_eq(fake_paging_access(w->p, 10, ACC_R, &faulted), 0);
	ck_assert_uint_eq(w->fm->io_reads, 1);
	ck_assert_uint_eq(w->c[0].swap_readahead, 7);
	for (gfn_t gfn = 8; gfn < 16; gfn++) {
		ck_assert(lookup(w, gfn).state == PAGE_RESIDENT);
		ck_assert_uint_eq(look(w, gfn), gfn + 1);
		ck_assert(gfn == 10 || lookup(w, gfn).access == 0);
	}
	ck_assert(lookup(w, 7).state == PAGE_SWAPPED);
	ck_assert_int_eq(fake_paging_access(w->p, 11, ACC_W, &faulted), 0);
	ck_assert(faulted);
	ck_assert_uint_eq(w->c[0].swap_readahead_hits, 1);
	ck_assert_uint_eq(w->c[0].faults_young, 0);
	ck_assert_uint_eq(w->c[0].faults_swapped, 1);
	ck_assert_uint_eq(w->c[0].swap_ins, 1);
	swap_world_free(w);
}
END_TEST

/* What if frames run low? A batch goes at once, in slots that lie together, written with few commands. */
START_TEST(watermarks_evict_in_batches)
{
	struct swap_world *w =
		world_new((struct swap_config){ .nslots = 4096, .policy = &swap_fifo, .low = 32, .high = 96 }, true);
	struct reclaimer *r = swap_reclaimer(w->swap);

	for (gfn_t gfn = 0; gfn < HOST - 32; gfn++)
		put(w, gfn, gfn);
	r->ops->balance(r);
	ck_assert_uint_eq(w->c[0].swap_outs, 0);
	put(w, HOST, 1);
	r->ops->balance(r);
	ck_assert_uint_eq(w->c[0].swap_outs, 65);
	ck_assert_uint_eq(HOST - frames_used(w->fr), 96);
	ck_assert_uint_eq(w->fm->io_writes, 1);
	ck_assert_uint_eq(w->fm->io_pages, 65);
	r->ops->balance(r);
	ck_assert_uint_eq(w->c[0].swap_outs, 65);
	swap_world_free(w);
}
END_TEST

static void fill(struct swap_world *w, gfn_t gfn, unsigned words)
{
	uint64_t page[PAGE_SIZE / 8] = { 0 };

	for (unsigned i = 0; i < words; i++)
		page[i] = gfn + 1;
	ck_assert_int_eq(gmem_write(w->g[0], gfn * PAGE_SIZE, page, sizeof(page)), 0);
}

/* What if there is a compressed tier? It takes what shrinks, until it is full; its frames are the sum of its bytes. */
START_TEST(tier_takes_what_shrinks)
{
	struct swap_world *w =
		world_new((struct swap_config){ .nslots = 4096, .policy = &swap_fifo, .pool_frames = 4 }, true);
	uint64_t page[PAGE_SIZE / 8];

	/* The first eight shrink to a quarter, the next do not, then again. */
	for (gfn_t gfn = 0; gfn < HOST; gfn++)
		fill(w, gfn, gfn < 8 || gfn >= 16 ? 127 : 512);
	for (gfn_t gfn = HOST; gfn < HOST + 6; gfn++)
		fill(w, gfn, 127);
	ck_assert_uint_eq(w->c[0].pages_compressed, 8);
	ck_assert_uint_eq(w->c[0].compressed_bytes, 8 * 1024);
	ck_assert_uint_eq(swap_pool_used(w->swap), 2);
	ck_assert(lookup(w, 3).state == PAGE_COMPRESSED);
	ck_assert_uint_eq(look(w, 3), 4);
	for (gfn_t gfn = HOST + 6; gfn < HOST + 200; gfn++)
		fill(w, gfn, 127);
	ck_assert_uint_eq(w->c[0].swap_incompressible, 8);
	ck_assert_uint_eq(w->c[0].pages_compressed, 16);
	ck_assert_uint_eq(swap_pool_used(w->swap), 4);
	ck_assert_uint_gt(w->c[0].swap_pool_full, 0);
	ck_assert_uint_eq(w->c[0].swap_outs, w->c[0].swap_compressed + w->c[0].swap_writes);

	/* A touch decompresses; no slot stays; nothing is read. */
	uint64_t reads = w->fm->io_reads;

	fault(w, 3, ACC_R);
	ck_assert_uint_eq(w->c[0].faults_compressed, 1);
	ck_assert_uint_eq(w->fm->io_reads, reads);
	ck_assert_uint_eq(w->fm->charged[CHARGE_DECOMPRESS], 1);
	ck_assert(lookup(w, 3).access & ACC_W);
	ck_assert_int_eq(gmem_read(w->g[0], 3 * PAGE_SIZE, page, sizeof(page)), 0);
	ck_assert(page[0] == 4 && page[126] == 4 && page[127] == 0);
	swap_world_free(w);
}
END_TEST

/* What if the device is full, or fails? Clean pages still go; else the fault fails, and nothing is lost. */
START_TEST(full_and_failing_devices)
{
	struct swap_world *w = world_new((struct swap_config){ .nslots = 20, .policy = &swap_fifo }, true);
	struct gmem_page page;
	bool faulted;

	for (gfn_t gfn = 0; gfn < HOST; gfn++)
		put(w, gfn, gfn + 1);
	w->fm->fail_save_in = 1;
	put(w, HOST, HOST + 1); /* another victim goes instead */
	ck_assert_uint_eq(w->c[0].swap_failures, 1);
	ck_assert(lookup(w, 0).state == PAGE_RESIDENT && lookup(w, 1).state == PAGE_SWAPPED);
	for (gfn_t gfn = HOST + 1; gfn < HOST + 20; gfn++)
		put(w, gfn, gfn + 1);
	ck_assert_int_eq(gmem_fault(w->g[0], HOST + 20, ACC_R, FAULT_CPU, &page), -ENOMEM);
	ck_assert(lookup(w, HOST + 20).state == PAGE_ABSENT);
	ck_assert_int_eq(swap_verify(w->swap), 0);

	/* A read that fails leaves the page where it is. */
	ck_assert_int_eq(gmem_release(w->g[0], HOST), 0);
	w->fm->fail_load_in = 1;
	ck_assert_int_eq(gmem_fault(w->g[0], 1, ACC_R, FAULT_CPU, &page), -EIO);
	ck_assert(lookup(w, 1).state == PAGE_SWAPPED);
	ck_assert_int_eq(fake_paging_access(w->p, 1, ACC_R, &faulted), 0);
	ck_assert_uint_eq(look(w, 1), 2);
	for (gfn_t gfn = 0; gfn < HOST + 20; gfn++)
		if (gfn != HOST)
			ck_assert_uint_eq(look(w, gfn), gfn + 1);
	swap_world_free(w);
}
END_TEST

/* What if a guest has no reclaimer, or a page cannot go? As ever: out of memory; -EBUSY. */
START_TEST(what_cannot_go_stays)
{
	struct swap_world *w = world_new((struct swap_config){ .nslots = 20, .policy = &swap_clock }, true);

	ck_assert_int_eq(gmem_evict(w->g[0], 5, PAGE_SWAPPED, 0), -EBUSY);
	ck_assert_int_eq(gmem_evict(w->g[0], PAGES, PAGE_SWAPPED, 0), -EFAULT);
	ck_assert_int_eq(gmem_swap_ahead(w->g[0], 5), -EBUSY);
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST + 1), -ENOMEM);
	swap_world_free(w);
}
END_TEST

/* What if the tier is full and may write back? The oldest go to the device, in one command, and new ones come in. */
START_TEST(full_tier_writes_the_oldest_back)
{
	struct swap_world *w = world_new((struct swap_config){ .nslots = 4096, .policy = &swap_fifo, .pool_frames = 20,
							  .writeback = true }, true);

	for (gfn_t gfn = 0; gfn < HOST + 80; gfn++)
		fill(w, gfn, 127);
	/* Frames that the tier takes are frames that pages have to leave. */
	ck_assert_uint_eq(w->c[0].swap_compressed, w->c[0].swap_outs);
	ck_assert_uint_eq(w->c[0].swap_pool_full, 0);
	ck_assert_uint_le(swap_pool_used(w->swap), 20);
	ck_assert_uint_gt(w->c[0].swap_writebacks, 0);
	ck_assert_uint_eq(w->c[0].pages_swapped, w->c[0].swap_writebacks);
	ck_assert_uint_eq(w->c[0].pages_compressed, w->c[0].swap_outs - w->c[0].swap_writebacks);
	for (gfn_t gfn = 0; gfn < w->c[0].swap_outs; gfn++) {
		must(lookup(w, gfn).state == (gfn < w->c[0].swap_writebacks ? PAGE_SWAPPED : PAGE_COMPRESSED));
		must_eq(look(w, gfn), gfn + 1);
	}
	/* The device fails: what is there stays, and who comes goes to the device, which may work for it. */
	w->fm->fail_save_in = 1;
	for (gfn_t gfn = HOST + 80; !w->c[0].swap_pool_full && gfn < HOST + 400; gfn++)
		fill(w, gfn, 127);
	ck_assert_uint_eq(w->c[0].swap_write_errors, 1);
	for (gfn_t gfn = 0; gfn < HOST; gfn++)
		must_eq(look(w, gfn), gfn + 1);
	fault(w, 0, ACC_W);
	ck_assert_uint_eq(w->c[0].faults_swapped, 1);
	swap_world_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap");
	TCase *t = tcase_create("swap");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, slots_match_a_set);
	tcase_add_loop_test(t, policies_miss_as_mrc_says, 0, G_N_ELEMENTS(twins));
	tcase_add_test(t, clean_pages_are_dropped);
	tcase_add_test(t, readahead_brings_the_group);
	tcase_add_test(t, watermarks_evict_in_batches);
	tcase_add_test(t, tier_takes_what_shrinks);
	tcase_add_test(t, full_tier_writes_the_oldest_back);
	tcase_add_test(t, full_and_failing_devices);
	tcase_add_test(t, what_cannot_go_stays);
	suite_add_tcase(s, t);
	return suite_run(s);
}
