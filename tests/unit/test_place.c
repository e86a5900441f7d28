/* SPDX-License-Identifier: MIT */
/* test_place.c - which node a page's frame is taken from, and what the gauges of nodes say */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "mm/gmem.h"
#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define NODES  4
#define HOST   8192 /* 2,048 frames a node */
#define NPAGES 4096
#define ARENA  512

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct counters c;
static struct machine_ops ops; /* the fake machine's, and a processor's node */
static unsigned cpu_node;

static unsigned node(struct machine *m, unsigned other)
{
	(void)m;
	return cpu_node == UINT32_MAX ? other : cpu_node;
}

static void setup_host(enum placement placement, unsigned preferred, uint64_t nodes, unsigned level)
{
	const struct gmem_config cfg = {
		.vm = 2, .npages = NPAGES, .arena_pages = ARENA, .level = level,
		.node = preferred, .placement = placement, .nodes = nodes,
	};

	c = (struct counters){ 0 };
	fr = frames_new(HOST, NODES);
	fm = fake_machine_new(HOST);
	ops = *fm->base.ops;
	ops.node = node;
	fm->base.ops = &ops;
	cpu_node = UINT32_MAX;
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
	gmem_free(g);
	ck_assert_uint_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}

/* The node that the page at @gfn got, or -1. */
static int touch(gfn_t gfn)
{
	struct gmem_page page;

	return gmem_fault(g, gfn, ACC_W, FAULT_CPU, &page) ? -1 : (int)frames_node(fr, page.hfn);
}

/* Take all but @left frames of a node. */
static void fill_node(unsigned n, uint64_t left)
{
	hfn_t hfn;

	while (fr->node_pages - frames_used_on(fr, n) > left)
		ck_assert_int_eq(frames_alloc(fr, 1, n, true, FRAME_OWNER(FRAME_TIER, 0, 0), &hfn), 0);
}

static void empty_nodes(void)
{
	for (hfn_t hfn = 0; hfn < HOST; hfn++)
		if (OWNER_KIND(frames_owner(fr, hfn)) == FRAME_TIER)
			frames_release(fr, hfn, 1);
}

/* The gauges, recounted. */
static void check_gauges(void)
{
	uint64_t count[NODES] = { 0 };
	struct gmem_page page;

	for (gfn_t gfn = ARENA; gfn < NPAGES; gfn++)
		if (!gmem_lookup(g, gfn, &page) && page.state == PAGE_RESIDENT)
			count[frames_node(fr, page.hfn)]++;
	must_eq(c.pages_node0, count[0]);
	must_eq(c.pages_node1, count[1]);
	must_eq(c.pages_node2, count[2]);
	must_eq(c.pages_node3, count[3]);
	must_eq(c.pages_resident, count[0] + count[1] + count[2] + count[3]);
}

/* What if a VM prefers a node, and it is full? The next nearest by number, or by distance where that is known. */
START_TEST(preferred)
{
	static const uint8_t ring[NODES * NODES] = {
		10, 16, 28, 22, 16, 10, 22, 28, 28, 22, 10, 16, 22, 28, 16, 10,
	};

	setup_host(PLACE_PREFERRED, 1, 0, 1);
	if (_i)
		frames_set_distances(fr, ring);
	ck_assert_uint_eq(frames_distance(fr, 1, 3), _i ? 28 : NODE_REMOTE);
	ck_assert_int_eq(touch(600), 1);
	fill_node(1, 0);
	ck_assert_int_eq(touch(601), 0);
	fill_node(0, 0);
	ck_assert_int_eq(touch(602), 2);
	fill_node(2, 0);
	ck_assert_int_eq(touch(603), 3);
	fill_node(3, 0);
	ck_assert_int_eq(touch(604), -1);
	check_gauges();
	empty_nodes();
	teardown();
}
END_TEST

/* What if distances put a node of a high number next? */
START_TEST(nearest_first)
{
	static const uint8_t far[NODES * NODES] = {
		10, 30, 20, 11, 30, 10, 12, 12, 20, 12, 10, 40, 11, 12, 40, 10,
	};
	static const unsigned order[NODES][NODES] = { { 0, 3, 2, 1 }, { 1, 2, 3, 0 }, { 2, 1, 0, 3 }, { 3, 0, 1, 2 } };

	setup_host(PLACE_PREFERRED, 0, 0, 1);
	frames_set_distances(fr, far);
	for (unsigned n = 0; n < NODES; n++)
		for (unsigned i = 0; i < NODES; i++)
			ck_assert_uint_eq(frames_nearest(fr, n, i), order[n][i]);
	teardown();
}
END_TEST

/* What if a VM is bound to nodes, and they are full? It gets nothing, though others have room. */
START_TEST(bind)
{
	setup_host(PLACE_BIND, 0, 1 << 1 | 1 << 3, 1);
	cpu_node = 3;
	ck_assert_int_eq(touch(600), 3);
	cpu_node = 0;
	ck_assert_int_eq(touch(601), 1);
	fill_node(1, 0);
	ck_assert_int_eq(touch(602), 3);
	fill_node(3, 0);
	ck_assert_int_eq(touch(603), -1);
	check_gauges();
	empty_nodes();
	teardown();
}
END_TEST

/* The same on a host that swaps: a page of its own goes, nobody else's. */
START_TEST(bind_swaps)
{
	const struct swap_config cfg = { .nslots = 64, .policy = swap_policies[0], .low = 2, .high = 4 };
	struct swap *swap;

	setup_host(PLACE_BIND, 0, 1 << 2, 1);
	swap = swap_new(&cfg, fr, &fm->base);
	swap_attach(swap, g);
	fill_node(2, 3);
	for (gfn_t gfn = 600; gfn < 620; gfn++)
		ck_assert_int_eq(touch(gfn), 2);
	ck_assert_uint_eq(c.pages_resident, 3);
	ck_assert_uint_eq(c.pages_swapped, 17);
	check_gauges();
	empty_nodes();
	gmem_free(g);
	swap_free(swap);
	frames_free(fr);
	fake_machine_free(fm);
}
END_TEST

/* What if pages are interleaved, some nodes left out? In turn, in units of the backing. */
START_TEST(interleave)
{
	setup_host(PLACE_INTERLEAVE, 0, 0, 1);
	for (gfn_t gfn = 600; gfn < 620; gfn++)
		ck_assert_int_eq(touch(gfn), (int)(gfn % 4));
	fill_node(2, 0);
	ck_assert_int_eq(touch(702), 1);
	check_gauges();
	empty_nodes();
	teardown();
	setup_host(PLACE_INTERLEAVE, 0, 1 << 0 | 1 << 3, 2);
	for (gfn_t gfn = 512; gfn < 512 * 7; gfn += 512)
		ck_assert_int_eq(touch(gfn + 7), gfn / 512 % 2 ? 3 : 0);
	ck_assert_uint_eq(c.pages_resident, 6 * 512);
	check_gauges();
	teardown();
}
END_TEST

/* What if pages go where they are touched first? By whom, for a device or the VMM: on the VM's own node. */
START_TEST(local)
{
	uint64_t value = 1;

	setup_host(PLACE_LOCAL, 2, 0, 1);
	for (cpu_node = 0; cpu_node < NODES; cpu_node++)
		ck_assert_int_eq(touch(600 + cpu_node), (int)cpu_node);
	cpu_node = UINT32_MAX;
	ck_assert_int_eq(gmem_write(g, 700 * PAGE_SIZE, &value, 8), 0);
	ck_assert_int_eq(touch(700), 2);
	cpu_node = 0;
	ck_assert_int_eq(touch(700), 2);
	ck_assert_uint_eq(gmem_node_for(g, 701, 1), 0);
	check_gauges();
	teardown();
}
END_TEST

/* What if pages are touched, moved, given up and split at random? The gauges are what a recount says. */
START_TEST(accounts)
{
	struct rng rng;

	rng_seed(&rng, 70 + (uint64_t)_i);
	setup_host((enum placement)(_i % 4), 1, _i & 4 ? 0 : 7, 1 + (unsigned)_i / 4);
	for (unsigned i = 0; i < 20000; i++) {
		gfn_t gfn = ARENA + rng_below(&rng, NPAGES - ARENA);

		cpu_node = (unsigned)rng_below(&rng, NODES);
		switch (rng_below(&rng, 8)) {
		case 0:
			gmem_move(g, gfn, cpu_node);
			break;
		case 1:
			gmem_release(g, gfn);
			break;
		case 2:
			gmem_balloon(g, gfn);
			break;
		case 3:
			gmem_deflate(g, gfn);
			break;
		case 4:
			gmem_collapse(g, gfn, 2);
			break;
		case 5:
			gmem_share_zero(g, gfn);
			break;
		default:
			touch(gfn);
			break;
		}
		if (i % 1000 == 0)
			check_gauges();
	}
	check_gauges();
	teardown();
}
END_TEST

/* What if a VM has one contiguous run over two nodes? */
START_TEST(linear)
{
	const struct gmem_config cfg = { .npages = 3072, .arena_pages = 512, .level = 1, .node = 1, .linear = true };

	c = (struct counters){ 0 };
	fr = frames_new(HOST, NODES);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	ck_assert_uint_eq(c.pages_node1, 2048 - 512);
	ck_assert_uint_eq(c.pages_node2, 1024);
	ck_assert_uint_eq(c.pages_resident, 2560);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("placement");
	TCase *tc = tcase_create("place");

	tcase_add_loop_test(tc, preferred, 0, 2);
	tcase_add_test(tc, nearest_first);
	tcase_add_test(tc, bind);
	tcase_add_test(tc, bind_swaps);
	tcase_add_test(tc, interleave);
	tcase_add_test(tc, local);
	tcase_add_loop_test(tc, accounts, 0, 8);
	tcase_add_test(tc, linear);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
