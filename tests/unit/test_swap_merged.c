/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/swap_world.h"

enum { HOST = 512, PAGES = 4096, VMS = 2 };

static struct swap_world *world_new(uint64_t nslots)
{
	const struct swap_config cfg = { .nslots = nslots, .policy = &swap_clock };
	struct swap_world *w = swap_world_new(&cfg, HOST);

	for (unsigned i = 0; i < VMS; i++)
		swap_world_add(w, i, PAGES, 1);
	return w;
}

static int store(struct swap_world *w, unsigned vm, gfn_t gfn, uint64_t value)
{
	return gmem_write(w->g[vm], gfn * PAGE_SIZE + 40, &value, sizeof(value));
}

static uint64_t look(struct swap_world *w, unsigned vm, gfn_t gfn)
{
	uint64_t page[PAGE_SIZE / 8];

	must(gmem_peek(w->g[vm], gfn, page) == 0);
	return page[5];
}

static enum page_state state(struct swap_world *w, unsigned vm, gfn_t gfn)
{
	struct gmem_page page;

	must(gmem_lookup(w->g[vm], gfn, &page) == 0);
	return page.state;
}

/* Pages @gfn of both VMs, and @more pages behind it of the first, map one frame. */
static void merge(struct swap_world *w, gfn_t gfn, unsigned more)
{
	hfn_t stable;

	must(store(w, 0, gfn, gfn) == 0 && store(w, 1, gfn, gfn) == 0);
	must(gmem_share_begin(w->g[0], gfn, &stable) == 0 && gmem_share(w->g[1], gfn, stable) == 0);
	for (unsigned i = 1; i <= more; i++)
		must(store(w, 0, gfn + i, gfn) == 0 && gmem_share(w->g[0], gfn + i, stable) == 0);
}

/* What if all of the host's memory is merged pages, and a guest wants more? It gets it, until swap is full. */
START_TEST(host_of_merged_frames_goes_on)
{
	struct swap_world *w = world_new(3000);
	gfn_t gfn;

	for (gfn = 0; gfn < HOST - 1; gfn++)
		merge(w, gfn, 0);
	ck_assert_uint_eq(frames_used(w->fr), HOST - 1);
	for (; store(w, 0, gfn, gfn) == 0; gfn++)
		;
	/* Every slot is taken: by the pages of merged frames two at a time, by others one. */
	ck_assert_uint_eq(w->c[0].pages_swapped + w->c[1].pages_swapped, 3000);
	ck_assert_uint_gt(w->c[0].swap_outs_merged, 100);
	ck_assert_uint_eq(w->c[0].swap_outs_merged, w->c[1].swap_outs_merged);
	for (gfn_t i = 0; i < gfn; i++)
		must_eq(look(w, 0, i), i);
	for (gfn_t i = 0; i < HOST - 1; i++)
		must_eq(look(w, 1, i), i);
	swap_world_free(w);
}
END_TEST

/* What if a merged page is written while no frame is free, and it is the one that goes to make room? It comes back. */
START_TEST(page_being_unshared_is_evicted)
{
	struct swap_world *w = world_new(3000);

	for (gfn_t gfn = 0; gfn < HOST; gfn++) {
		hfn_t hfn;

		must(store(w, 0, gfn, gfn) == 0 && gmem_share_begin(w->g[0], gfn, &hfn) == 0);
	}
	ck_assert_uint_eq(frames_used(w->fr), HOST);
	/* All are alike: the lowest frame goes first. */
	for (gfn_t gfn = 0; gfn < HOST; gfn++) {
		must(store(w, 0, gfn, gfn + 7) == 0);
		must_eq(look(w, 0, gfn), gfn + 7);
		must(state(w, 0, gfn) == PAGE_RESIDENT);
	}
	ck_assert_uint_gt(w->c[0].faults_dma, HOST);
	for (gfn_t gfn = 0; gfn < HOST; gfn++)
		must_eq(look(w, 0, gfn), gfn + 7);
	swap_world_free(w);
}
END_TEST

/* What if there are few other pages? Merged ones that were not touched go before them, those of few pages first. */
START_TEST(few_other_pages_are_spared)
{
	struct swap_world *w = world_new(3000);
	uint64_t merged = 0;

	for (gfn_t gfn = 0; gfn < 800; gfn += 4, merged++)
		merge(w, gfn, gfn % 8 ? 0 : 2);
	for (gfn_t gfn = 2000; merged + gfn - 2000 < HOST - 300; gfn++)
		must(store(w, 1, gfn, gfn) == 0);
	/* 200 frames of 2 or 4 pages, 12 others. Asked of all pages, these too: nobody touches them. */
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), 350), 0);
	ck_assert_uint_eq(w->c[1].swap_outs_merged, 50);
	ck_assert_uint_eq(w->c[0].swap_outs_merged, 50);
	for (gfn_t gfn = 0; gfn < 800; gfn += 8)
		must(state(w, 0, gfn) == PAGE_SHARED && state(w, 0, gfn + 2) == PAGE_SHARED);
	for (gfn_t gfn = 2000; gfn < 2012; gfn++)
		must(state(w, 1, gfn) == PAGE_RESIDENT);
	swap_world_free(w);
}
END_TEST

/* What if the device fails in the middle of a frame's pages? Those that went have gone, the others keep the frame. */
START_TEST(failing_device_leaves_the_rest)
{
	struct swap_world *w = world_new(3000);
	hfn_t stable;

	must(store(w, 0, 0, 5) == 0 && gmem_share_begin(w->g[0], 0, &stable) == 0);
	for (gfn_t gfn = 1; gfn < 6; gfn++)
		must(store(w, 0, gfn, 5) == 0 && gmem_share(w->g[0], gfn, stable) == 0);
	w->fm->fail_save_in = 4;
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST), -ENOMEM);
	ck_assert_uint_eq(w->c[0].swap_failures, 1);
	ck_assert_uint_eq(frames_get(w->fr, stable)->refs, 3);
	for (gfn_t gfn = 0; gfn < 6; gfn++) {
		must(state(w, 0, gfn) == (gfn < 3 ? PAGE_SWAPPED : PAGE_SHARED));
		must_eq(look(w, 0, gfn), 5);
	}
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST), 0);
	ck_assert_uint_eq(w->c[0].pages_swapped, 6);
	swap_world_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap merged");
	TCase *t = tcase_create("swap merged");

	tcase_add_test(t, host_of_merged_frames_goes_on);
	tcase_add_test(t, page_being_unshared_is_evicted);
	tcase_add_test(t, few_other_pages_are_spared);
	tcase_add_test(t, failing_device_leaves_the_rest);
	suite_add_tcase(s, t);
	return suite_run(s);
}
