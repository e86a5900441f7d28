/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/resource.h>

#include "mm/frame.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define GUEST(vm, gfn) FRAME_OWNER(FRAME_GUEST, vm, gfn)
#define TABLE(vm) FRAME_OWNER(FRAME_TABLE, vm, 0)
#define ARENA(vm) FRAME_OWNER(FRAME_ARENA, vm, 0)

static hfn_t must_alloc(struct frames *fr, unsigned level, unsigned node, uint64_t owner)
{
	hfn_t hfn = HFN_NONE;

	must(frames_alloc(fr, level, node, false, owner, &hfn) == 0);
	must_eq(hfn % LEVEL_PAGES(level), 0);
	return hfn;
}

/* What if blocks of each size are taken and given back? Owners, alignment and counts are right. */
START_TEST(test_sizes)
{
	struct frames *fr = frames_new(3 * LEVEL_PAGES(3), 1);
	hfn_t one = must_alloc(fr, 1, 0, GUEST(7, 99)), big = must_alloc(fr, 2, 0, GUEST(7, 512));
	hfn_t huge = must_alloc(fr, 3, 0, GUEST(8, 0));

	ck_assert_uint_eq(sizeof(struct frame), 16);
	ck_assert_uint_eq(frames_total(fr), 3 * LEVEL_PAGES(3));
	ck_assert_uint_eq(frames_used(fr), 1 + 512 + 262144);
	ck_assert_uint_eq(FRAME_KIND(frames_get(fr, one)), FRAME_GUEST);
	ck_assert_uint_eq(FRAME_VM(frames_get(fr, one)), 7);
	ck_assert_uint_eq(FRAME_GFN(frames_get(fr, one)), 99);
	ck_assert_uint_eq(FRAME_GFN(frames_get(fr, big + 511)), 512 + 511);
	ck_assert_uint_eq(FRAME_GFN(frames_get(fr, huge + 262143)), 262143);
	ck_assert_uint_eq(frames_get(fr, huge)->refs, 1);
	frames_release(fr, one, 1);
	frames_release(fr, big, 2);
	frames_release(fr, huge, 3);
	ck_assert_uint_eq(frames_used(fr), 0);
	ck_assert_uint_eq(frames_owner(fr, huge), 0);
	ck_assert_uint_eq(must_alloc(fr, 1, 0, GUEST(1, 1)), one);
	frames_free(fr);
}
END_TEST

/* What if memory that was cut into 4 KiB frames is all freed? It serves large blocks again. */
START_TEST(test_coalesce)
{
	struct frames *fr = frames_new(LEVEL_PAGES(3), 1);
	hfn_t hfn;

	for (uint64_t i = 0; i < LEVEL_PAGES(3); i++)
		must_alloc(fr, 1, 0, GUEST(1, i));
	ck_assert_int_eq(frames_alloc(fr, 1, 0, false, GUEST(1, 0), &hfn), -ENOMEM);
	for (uint64_t i = 0; i < 512; i++)
		frames_release(fr, 1024 + (i * 37) % 512, 1);
	ck_assert_uint_eq(must_alloc(fr, 2, 0, GUEST(2, 0)), 1024);
	ck_assert_int_eq(frames_alloc(fr, 2, 0, false, GUEST(2, 0), &hfn), -ENOMEM);
	for (uint64_t i = 0; i < LEVEL_PAGES(3); i++)
		frames_release(fr, i, 1);
	ck_assert_uint_eq(must_alloc(fr, 3, 0, GUEST(2, 0)), 0);
	frames_free(fr);
}
END_TEST

/* What if a large block is given back page by page? Each page is at once of use; the whole coalesces. */
START_TEST(test_split_release)
{
	struct frames *fr = frames_new(1024, 1);
	hfn_t a = must_alloc(fr, 2, 0, GUEST(1, 0)), b = must_alloc(fr, 2, 0, GUEST(1, 512)), hfn;

	frames_release(fr, a + 100, 1);
	ck_assert_uint_eq(must_alloc(fr, 1, 0, GUEST(3, 3)), a + 100);
	ck_assert_int_eq(frames_alloc(fr, 1, 0, false, GUEST(3, 4), &hfn), -ENOMEM);
	for (unsigned i = 0; i < 512; i++)
		frames_release(fr, a + i, 1);
	ck_assert_uint_eq(must_alloc(fr, 2, 0, GUEST(4, 0)), a);
	frames_release(fr, b, 2);
	ck_assert_uint_eq(frames_used(fr), 512);
	frames_free(fr);
}
END_TEST

/* What if tables and guest pages alternate? Tables stay together, so that 2 MiB blocks remain for guests. */
START_TEST(test_tables_dense)
{
	struct frames *fr = frames_new(8 * 512, 1);
	hfn_t first = must_alloc(fr, 1, 0, TABLE(1));

	for (unsigned i = 0; i < 300; i++) {
		ck_assert_uint_ne(must_alloc(fr, 1, 0, GUEST(1, i)) / 512, first / 512);
		ck_assert_uint_eq(must_alloc(fr, 1, 0, TABLE(1)) / 512, first / 512);
	}
	/* When nothing else is left, either kind takes from the other's blocks. */
	for (unsigned i = 0; i < 8 * 512 - 601; i++)
		must_alloc(fr, 1, 0, i < 3000 ? GUEST(1, i) : TABLE(1));
	ck_assert_uint_eq(frames_used(fr), 8 * 512);
	frames_free(fr);
}
END_TEST

/* What if a frame that held bytes is given back? The next holder reads zeros. */
START_TEST(test_bytes)
{
	struct frames *fr = frames_new(8 * 512, 1);
	hfn_t t = must_alloc(fr, 1, 0, TABLE(1)), run;
	uint8_t *bytes = frames_bytes(fr);

	memset(bytes + t * PAGE_SIZE, 0xaa, PAGE_SIZE);
	frames_release(fr, t, 1);
	ck_assert_uint_eq(must_alloc(fr, 1, 0, TABLE(2)), t);
	ck_assert_uint_eq(bytes[t * PAGE_SIZE + 17], 0);
	ck_assert_int_eq(frames_reserve(fr, 700, 0, ARENA(3), &run), 0);
	memset(bytes + run * PAGE_SIZE, 0xbb, 700 * PAGE_SIZE);
	frames_unreserve(fr, run);
	for (unsigned i = 0; i < 700; i++)
		ck_assert_uint_eq(bytes[(run + i) * PAGE_SIZE + i], 0);
	ck_assert_uint_eq(frames_used(fr), 1);
	t = must_alloc(fr, 2, 0, TABLE(1));
	bytes[t * PAGE_SIZE + 5000] = 1;
	frames_release(fr, t, 2);
	ck_assert_uint_eq(bytes[t * PAGE_SIZE + 5000], 0);
	frames_free(fr);
}
END_TEST

/* What if a node is full? A strict request fails, another goes to the nearest. */
START_TEST(test_nodes)
{
	struct frames *fr = frames_new(4 * 1024, 4);
	hfn_t hfn;

	for (unsigned i = 0; i < 1024; i++) {
		ck_assert_int_eq(frames_alloc(fr, 1, 2, true, GUEST(1, i), &hfn), 0);
		ck_assert_uint_eq(frames_node(fr, hfn), 2);
	}
	ck_assert_uint_eq(frames_used_on(fr, 2), 1024);
	ck_assert_int_eq(frames_alloc(fr, 1, 2, true, GUEST(1, 0), &hfn), -ENOMEM);
	ck_assert_uint_eq(frames_node(fr, must_alloc(fr, 1, 2, GUEST(1, 0))), 1);
	ck_assert_uint_eq(frames_node(fr, must_alloc(fr, 2, 2, GUEST(1, 0))), 1);
	ck_assert_uint_eq(frames_node(fr, must_alloc(fr, 2, 2, GUEST(1, 0))), 3);
	ck_assert_uint_eq(frames_used_on(fr, 1), 513);
	ck_assert_uint_eq(frames_nodes(fr), 4);
	frames_free(fr);
	ck_assert(!frames_new(0, 1) && errno == EINVAL);
	ck_assert(!frames_new(100, 0) && errno == EINVAL);
}
END_TEST

/* What if a node ends within a gigabyte? No node has that one whole; each has its half in smaller blocks. */
START_TEST(test_straddle)
{
	struct frames *fr = frames_new(5 * LEVEL_PAGES(3), 2);
	hfn_t hfn;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 4; i++)
			ck_assert_uint_eq(must_alloc(fr, 3, 0, GUEST(1, 0)), (i < 2 ? i : i + 1) * LEVEL_PAGES(3));
		ck_assert_int_eq(frames_alloc(fr, 3, 0, false, GUEST(1, 0), &hfn), -ENOMEM);
		for (unsigned i = 0; i < 512; i++) {
			ck_assert_int_eq(frames_alloc(fr, 2, i / 256, true, GUEST(1, 0), &hfn), 0);
			ck_assert_uint_eq(hfn, 2 * LEVEL_PAGES(3) + i * 512);
		}
		ck_assert_int_eq(frames_alloc(fr, 1, 1, false, GUEST(1, 0), &hfn), -ENOMEM);
		ck_assert_uint_eq(frames_used_on(fr, 0), frames_used_on(fr, 1));
		for (hfn = 0; hfn < frames_total(fr); hfn += 512)
			frames_release(fr, hfn, 2);
		ck_assert_uint_eq(frames_used(fr), 0);
	}
	frames_free(fr);
}
END_TEST

/* What if a run is longer than a node, of odd length, or longer than what is free? */
START_TEST(test_runs)
{
	struct frames *fr = frames_new(1000 + 3 * 512, 2);
	hfn_t run, other, hfn;

	ck_assert_int_eq(frames_reserve(fr, 2000, 1, ARENA(5), &run), 0);
	ck_assert_uint_eq(run % 512, 0);
	ck_assert_uint_eq(frames_used(fr), 2000);
	ck_assert_uint_eq(frames_owner(fr, run + 1999), ARENA(5) + 1999);
	ck_assert_uint_eq(frames_owner(fr, run + 2000), 0);
	ck_assert_int_eq(frames_reserve(fr, 537, 0, ARENA(6), &other), -ENOMEM);
	for (unsigned i = 0; i < 536; i++)
		ck_assert(must_alloc(fr, 1, i & 1, GUEST(1, i)) - run >= 2000);
	ck_assert_int_eq(frames_alloc(fr, 1, 0, false, GUEST(1, 0), &hfn), -ENOMEM);
	frames_unreserve(fr, run);
	ck_assert_uint_eq(frames_used(fr), 536);
	ck_assert_int_eq(frames_reserve(fr, 1536, 0, ARENA(6), &other), 0);
	frames_unreserve(fr, other);
	frames_free(fr);
}
END_TEST

/* What if a run is a gigabyte or more? It is aligned for 1 GiB leaves where that is to be had. */
START_TEST(test_run_alignment)
{
	struct frames *fr = frames_new(3 * LEVEL_PAGES(3), 1);
	hfn_t one = must_alloc(fr, 1, 0, GUEST(0, 0)), run, next;

	ck_assert_int_eq(frames_reserve(fr, LEVEL_PAGES(3) + 5, 0, ARENA(1), &run), 0);
	ck_assert_uint_eq(run, LEVEL_PAGES(3));
	ck_assert_int_eq(frames_reserve(fr, LEVEL_PAGES(3), 0, ARENA(2), &next), -ENOMEM);
	frames_unreserve(fr, run);
	ck_assert_int_eq(frames_reserve(fr, 3 * LEVEL_PAGES(3) - 512, 0, ARENA(2), &next), 0);
	ck_assert_uint_eq(next, 512);
	ck_assert_uint_eq(one, 0);
	frames_free(fr);
}
END_TEST

/* What if tables have frames of their own? They take none of the others, on any node, and the others none of theirs. */
START_TEST(test_tables_apart)
{
	const struct frames_config cfg = { .npages = 1000, .nnodes = 2, .ntables = 600 };
	struct frames *fr = frames_create(&cfg);
	hfn_t hfn, table[1024];

	ck_assert_uint_eq(frames_total(fr), 1000);
	for (unsigned i = 0; i < 1024; i++) {
		table[i] = must_alloc(fr, 1, i % 2, TABLE(i % 7));
		must(table[i] >= 1000);
		must_eq(frames_owner(fr, table[i]), TABLE(i % 7));
	}
	ck_assert_int_eq(frames_alloc(fr, 1, 0, false, TABLE(1), &hfn), -ENOMEM);
	ck_assert_uint_eq(frames_used(fr), 0);
	for (unsigned i = 0; i < 1000; i++)
		must(must_alloc(fr, 1, i % 2, GUEST(1, i)) < 1000);
	ck_assert_int_eq(frames_alloc(fr, 1, 1, false, GUEST(1, 1), &hfn), -ENOMEM);
	ck_assert_uint_eq(frames_used(fr), 1000);
	frames_bytes(fr)[table[5] * PAGE_SIZE] = 9;
	frames_release(fr, table[5], 1);
	ck_assert_uint_eq(must_alloc(fr, 1, 0, TABLE(3)), table[5]);
	ck_assert_uint_eq(frames_bytes(fr)[table[5] * PAGE_SIZE], 0);
	ck_assert_int_eq(frames_reserve(fr, 512, 0, ARENA(2), &hfn), -ENOMEM);
	frames_free(fr);
}
END_TEST

/* What if the host has a terabyte? Making it and taking a few frames touches next to nothing. */
START_TEST(test_terabyte)
{
	struct rusage before, after;
	struct frames *fr;
	hfn_t run;

	getrusage(RUSAGE_SELF, &before);
	fr = frames_new(1ull << 28, 8);
	ck_assert_ptr_nonnull(fr);
	for (unsigned n = 0; n < 8; n++) {
		hfn_t hfn = must_alloc(fr, 1, n, TABLE(1));

		ck_assert_uint_eq(frames_node(fr, hfn), n);
		frames_bytes(fr)[hfn * PAGE_SIZE] = 1;
		ck_assert_int_eq(frames_reserve(fr, 1 << 20, n, ARENA(n), &run), 0);
		ck_assert_uint_eq(frames_node(fr, run), n);
	}
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_minflt - before.ru_minflt, 2000);
	frames_free(fr);
}
END_TEST

struct held {
	hfn_t hfn;
	unsigned level; /* 0: a run */
	uint64_t npages, owner;
};

static void take(struct frames *fr, struct rng *rng, GArray *held, uint64_t *naive)
{
	struct held h = { .level = (unsigned)rng_below(rng, 12) };
	unsigned node = (unsigned)rng_below(rng, frames_nodes(fr));
	int err;

	h.owner = FRAME_OWNER(h.level ? FRAME_GUEST : FRAME_ARENA, held->len % 50, rng_below(rng, 1 << 20) * 512);
	h.npages = rng_below(rng, 1500) + 1;
	if (h.level) {
		h.level = h.level == 11 ? 2 : 1;
		h.npages = LEVEL_PAGES(h.level);
		err = frames_alloc(fr, h.level, node, rng_below(rng, 2), h.owner, &h.hfn);
	} else {
		err = frames_reserve(fr, h.npages, node, h.owner, &h.hfn);
	}
	if (err) {
		must(err == -ENOMEM);
		return;
	}
	for (uint64_t i = 0; i < h.npages; i++) {
		must_eq(naive[h.hfn + i], 0);
		naive[h.hfn + i] = h.owner + i;
	}
	g_array_append_val(held, h);
}

static void give(struct frames *fr, struct rng *rng, GArray *held, uint64_t *naive)
{
	guint at = (guint)rng_below(rng, held->len);
	struct held h = g_array_index(held, struct held, at);

	g_array_remove_index_fast(held, at);
	if (!h.level)
		frames_unreserve(fr, h.hfn);
	else if (h.level == 2 && rng_below(rng, 2))
		for (unsigned i = 0; i < 512; i++)
			frames_release(fr, h.hfn + i, 1);
	else
		frames_release(fr, h.hfn, h.level);
	memset(naive + h.hfn, 0, h.npages * sizeof(*naive));
}

/* What if any sequence of takes and gives happens? The naive array of owners always agrees. */
START_TEST(test_random)
{
	enum { NPAGES = 40 * 512 + 77 };
	struct frames *fr = frames_new(NPAGES, 1 + (unsigned)_i);
	uint64_t *naive = g_new0(uint64_t, NPAGES), used = 0;
	GArray *held = g_array_new(FALSE, FALSE, sizeof(struct held));
	struct rng rng;

	rng_seed(&rng, (uint64_t)_i);
	for (unsigned i = 0; i < 40000; i++) {
		/* Waves of filling and draining. */
		if (held->len && rng_below(&rng, 100) < (i / 4000 % 2 ? 70 : 40))
			give(fr, &rng, held, naive);
		else
			take(fr, &rng, held, naive);
		if (i % 4000)
			continue;
		used = 0;
		for (hfn_t h = 0; h < NPAGES; h++) {
			must_eq(frames_owner(fr, h), naive[h]);
			used += naive[h] != 0;
		}
		must_eq(frames_used(fr), used);
	}
	while (held->len)
		give(fr, &rng, held, naive);
	must_eq(frames_used(fr), 0);
	hfn_t all;
	ck_assert_int_eq(frames_reserve(fr, NPAGES, 0, ARENA(1), &all), 0);
	g_array_unref(held);
	g_free(naive);
	frames_free(fr);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_sizes);
	tcase_add_test(t, test_coalesce);
	tcase_add_test(t, test_split_release);
	tcase_add_test(t, test_tables_dense);
	tcase_add_test(t, test_bytes);
	tcase_add_test(t, test_nodes);
	tcase_add_test(t, test_straddle);
	tcase_add_test(t, test_runs);
	tcase_add_test(t, test_run_alignment);
	tcase_add_test(t, test_tables_apart);
	tcase_add_test(t, test_terabyte);
	tcase_add_loop_test(t, test_random, 0, 4);
	suite_add_tcase(s, t);
	return suite_run(s);
}
