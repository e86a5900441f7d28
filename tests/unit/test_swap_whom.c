/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/swap_world.h"

enum { HOST = 4096, PAGES = 3000, VMS = 3 };

static struct swap_world *world_new(enum swap_order order, unsigned level, uint64_t nslots)
{
	const struct swap_config cfg = { .nslots = nslots, .policy = &swap_fifo, .order = order };
	struct swap_world *w = swap_world_new(&cfg, HOST);

	for (unsigned i = 0; i < VMS; i++)
		swap_world_add(w, 2 * i, PAGES, level);
	return w;
}

static void touch(struct swap_world *w, unsigned vm, gfn_t first, uint64_t n)
{
	struct gmem_page page;

	for (gfn_t gfn = first; gfn < first + n; gfn++)
		must(gmem_fault(w->g[vm], gfn, ACC_W, FAULT_CPU, &page) == 0);
}

static void balance(struct swap_world *w)
{
	swap_reclaimer(w->swap)->ops->balance(swap_reclaimer(w->swap));
}

/* What if a VM holds more than its new limit? It shrinks to it, a batch at a time, and nobody else does. */
START_TEST(limit_is_reached_by_and_by)
{
	struct swap_world *w = world_new(SWAP_FROM_HOST, 1, 2 * HOST);

	touch(w, 0, 0, 1000);
	touch(w, 1, 0, 1000);
	ck_assert_uint_eq(swap_limit(w->swap, 2), UINT64_MAX);
	ck_assert_int_eq(swap_set_limit(w->swap, 2, 700), 0);
	ck_assert_uint_eq(swap_limit(w->swap, 2), 700);
	ck_assert_int_eq(swap_verify(w->swap), 0);
	balance(w);
	ck_assert_uint_eq(w->c[1].swap_outs_limit, 64);
	for (unsigned i = 0; i < 10; i++)
		balance(w);
	ck_assert_uint_eq(w->c[1].pages_resident, 700);
	ck_assert_uint_eq(w->c[1].swap_outs, 300);
	ck_assert_uint_eq(w->c[1].swap_outs_limit, 300);
	ck_assert_uint_eq(w->c[0].swap_outs, 0);
	ck_assert_int_eq(swap_set_limit(w->swap, 1, 5), -ENOENT);
	ck_assert_int_eq(swap_set_limit(w->swap, 99, 5), -ENOENT);
	swap_world_free(w);
}
END_TEST

/* What if a VM at its limit touches more? Each page costs it one of its own, though the host has plenty. */
START_TEST(beyond_the_limit_own_pages_go)
{
	struct swap_world *w = world_new(SWAP_FROM_HOST, 1, 2 * HOST);

	ck_assert_int_eq(swap_set_limit(w->swap, 0, 50), 0);
	touch(w, 1, 0, 500);
	touch(w, 0, 0, 200);
	ck_assert_uint_eq(w->c[0].pages_resident, 50);
	ck_assert_uint_eq(w->c[0].swap_outs_limit, 150);
	ck_assert_uint_eq(w->c[1].swap_outs, 0);
	/* The oldest went; what is still there is what was touched last. */
	touch(w, 0, 150, 50);
	ck_assert_uint_eq(w->c[0].swap_ins, 0);
	touch(w, 0, 0, 1);
	ck_assert_uint_eq(w->c[0].swap_ins, 1);
	/* No limit any more: it grows. */
	ck_assert_int_eq(swap_set_limit(w->swap, 0, UINT64_MAX), 0);
	touch(w, 0, 0, 200);
	ck_assert_uint_eq(w->c[0].pages_resident, 200);
	swap_world_free(w);
}
END_TEST

/* What if large backing would go beyond the limit? Single pages then. */
START_TEST(large_blocks_keep_to_the_limit)
{
	struct swap_world *w = world_new(SWAP_FROM_HOST, 2, 2 * HOST);

	ck_assert_int_eq(swap_set_limit(w->swap, 0, 700), 0);
	touch(w, 0, 0, 1);
	ck_assert_uint_eq(w->c[0].pages_resident, 512);
	touch(w, 0, 512, 1);
	ck_assert_uint_eq(w->c[0].pages_resident, 513);
	touch(w, 0, 0, 1500);
	ck_assert_uint_eq(w->c[0].pages_resident, 700);
	swap_world_free(w);
}
END_TEST

/* What if the device has no room for the VM's pages, or fails? The limit bends; nobody does. */
START_TEST(limit_bends_when_nothing_can_go)
{
	struct swap_world *w = world_new(SWAP_FROM_HOST, 1, 100);

	ck_assert_int_eq(swap_set_limit(w->swap, 0, 50), 0);
	touch(w, 0, 0, 300);
	ck_assert_uint_eq(w->c[0].pages_swapped, 100);
	ck_assert_uint_eq(w->c[0].pages_resident, 200);
	ck_assert_int_eq(gmem_release(w->g[0], 0), 0);
	w->fm->fail_save_in = 1;
	touch(w, 0, 300, 1);
	ck_assert_uint_eq(w->c[0].swap_failures, 1);
	ck_assert_uint_eq(w->c[0].pages_swapped, 100);
	swap_world_free(w);
}
END_TEST

/* What if frames run out? Each order takes them where it says. */
START_TEST(orders_take_from_whom_they_say)
{
	struct swap_world *w = world_new((enum swap_order)_i, 1, 2 * HOST);
	static const uint64_t size[VMS] = { 2000, 1000, 1000 };

	for (unsigned i = 0; i < VMS; i++)
		touch(w, i, 0, size[i]);
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST - 4000 + 400), 0);
	switch (_i) {
	case SWAP_FROM_HOST: /* fifo: the first VM's are the oldest */
		ck_assert_uint_eq(w->c[0].swap_outs, 400);
		break;
	case SWAP_FROM_PROPORTIONAL:
		ck_assert_int_le(ABS((int64_t)w->c[0].swap_outs - 200), 3);
		ck_assert_int_le(ABS((int64_t)w->c[1].swap_outs - 100), 3);
		ck_assert_int_le(ABS((int64_t)w->c[2].swap_outs - 100), 3);
		break;
	default:
		ck_assert_uint_eq(w->c[0].swap_outs, 400);
		ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST - 2000), 0);
		for (unsigned i = 0; i < VMS; i++)
			ck_assert_int_le(ABS((int64_t)w->c[i].pages_resident - 667), 1);
	}
	swap_world_free(w);
}
END_TEST

/* What if frames run out while one VM is beyond its limit? It pays alone, down to it. */
START_TEST(who_is_over_pays_first)
{
	struct swap_world *w = world_new((enum swap_order)_i, 1, 2 * HOST);

	for (unsigned i = 0; i < VMS; i++)
		touch(w, i, 0, 1000);
	ck_assert_int_eq(swap_set_limit(w->swap, 4, 800), 0);
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST - 3000 + 150), 0);
	ck_assert_uint_eq(w->c[2].swap_outs, 150);
	ck_assert_int_eq(swap_reclaimer(w->swap)->ops->supply(swap_reclaimer(w->swap), HOST - 3000 + 400), 0);
	ck_assert_uint_ge(w->c[2].swap_outs, 200);
	ck_assert_uint_eq(w->c[0].swap_outs + w->c[1].swap_outs + w->c[2].swap_outs, 400);
	ck_assert_uint_gt(w->c[0].swap_outs + w->c[1].swap_outs, 0);
	swap_world_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap whom");
	TCase *t = tcase_create("swap whom");

	tcase_add_test(t, limit_is_reached_by_and_by);
	tcase_add_test(t, beyond_the_limit_own_pages_go);
	tcase_add_test(t, large_blocks_keep_to_the_limit);
	tcase_add_test(t, limit_bends_when_nothing_can_go);
	tcase_add_loop_test(t, orders_take_from_whom_they_say, 0, 3);
	tcase_add_loop_test(t, who_is_over_pays_first, 0, 3);
	suite_add_tcase(s, t);
	return suite_run(s);
}
