/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>

#include "mm/pt.h"
#include "tests/lib/suite.h"

#define HOST_PAGES 8192

static const struct pt_format *const formats[] = { &pt_format_x86, &pt_format_ept, &pt_format_npt };

struct tree {
	struct frames *fr;
	struct pt pt;
};

static struct tree tree_new(unsigned format, unsigned levels)
{
	struct tree t = { .fr = frames_new(HOST_PAGES, 1) };

	ck_assert_int_eq(pt_init(&t.pt, formats[format], t.fr, levels, 3, 0), 0);
	return t;
}

static void tree_free(struct tree *t)
{
	ck_assert_uint_eq(frames_used(t->fr), t->pt.ntables);
	pt_destroy(&t->pt);
	ck_assert_uint_eq(t->pt.ntables, 0);
	ck_assert_uint_eq(frames_used(t->fr), 0);
	frames_free(t->fr);
}

/* What if a page of each size is mapped? A walk ends at its leaf, which says what was asked for. */
START_TEST(test_map)
{
	for (unsigned levels = 4; levels <= 5; levels++) {
		struct tree t = tree_new((unsigned)_i, levels);

		for (unsigned level = 1; level <= 3; level++) {
			uint64_t addr = LEVEL_SIZE(level) * 3 + LEVEL_SIZE(4) * level, old = 1;
			struct pt_slot s;

			ck_assert_int_eq(pt_map(&t.pt, addr, level, LEVEL_SIZE(level) * 5, ACC_RWX, &old), 0);
			ck_assert_uint_eq(old, 0);
			s = pt_walk(&t.pt, addr + 0x123, 1);
			ck_assert_uint_eq(s.level, level);
			ck_assert(pt_present(t.pt.fmt, *s.entry) && pt_is_leaf(t.pt.fmt, *s.entry, level));
			ck_assert_uint_eq(pt_addr(t.pt.fmt, *s.entry, level, true), LEVEL_SIZE(level) * 5);
			ck_assert_uint_eq(t.pt.fmt->access(*s.entry) & ACC_RWX, ACC_RWX);
			ck_assert_int_eq(pt_map(&t.pt, addr, level, 0, ACC_R, &old), 0);
			ck_assert_uint_eq(old, t.pt.fmt->leaf(LEVEL_SIZE(level) * 5, level, ACC_RWX));
			ck_assert_uint_eq(t.pt.fmt->access(*s.entry) & ACC_RWX, ACC_R);
		}
		/* Three paths share the root, and the second level where there are five. */
		ck_assert_uint_eq(t.pt.ntables, 1 + (levels == 5) + 3 + 2 + 1);
		ck_assert_uint_eq(FRAME_KIND(frames_get(t.fr, t.pt.root >> 12)), FRAME_TABLE);
		ck_assert_uint_eq(FRAME_VM(frames_get(t.fr, t.pt.root >> 12)), 3);
		tree_free(&t);
	}
}
END_TEST

/* What if a large leaf is split? Every page still translates as before, accessed and dirty bits included. */
START_TEST(test_split)
{
	struct tree t = tree_new((unsigned)_i, 4);
	const struct pt_format *f = t.pt.fmt;
	struct pt_slot s;

	ck_assert_int_eq(pt_split(&t.pt, 0), -ENOENT);
	ck_assert_int_eq(pt_map(&t.pt, LEVEL_SIZE(3), 3, 2 * LEVEL_SIZE(3), ACC_R | ACC_X, NULL), 0);
	*pt_walk(&t.pt, LEVEL_SIZE(3), 1).entry |= f->accessed | f->dirty;
	ck_assert_int_eq(pt_split(&t.pt, LEVEL_SIZE(3) + 5 * LEVEL_SIZE(2)), 0);
	ck_assert_int_eq(pt_split(&t.pt, LEVEL_SIZE(3) + 5 * LEVEL_SIZE(2)), 0);
	for (unsigned i = 0; i < 1024; i++) {
		uint64_t off = i < 512 ? i * LEVEL_SIZE(2) : 5 * LEVEL_SIZE(2) + (i - 512) * LEVEL_SIZE(1);

		s = pt_walk(&t.pt, LEVEL_SIZE(3) + off, 1);
		ck_assert_uint_eq(s.level, off / LEVEL_SIZE(2) == 5 ? 1 : 2);
		ck_assert_uint_eq(*s.entry,
				  f->leaf(2 * LEVEL_SIZE(3) + off, s.level, ACC_R | ACC_X) | f->accessed | f->dirty);
	}
	ck_assert_int_eq(pt_split(&t.pt, LEVEL_SIZE(3) + 5 * LEVEL_SIZE(2)), -ENOENT);
	tree_free(&t);
}
END_TEST

/* What if a large leaf is mapped over a table? The tables below are freed; nothing else changes. */
START_TEST(test_collapse)
{
	struct tree t = tree_new((unsigned)_i, 4);
	uint64_t old = 1;

	for (unsigned i = 0; i < 600; i++)
		ck_assert_int_eq(pt_map(&t.pt, i * 4096, 1, i * 4096, ACC_RWX, NULL), 0);
	ck_assert_uint_eq(t.pt.ntables, 5);
	ck_assert_int_eq(pt_map(&t.pt, 0, 2, 0, ACC_RWX, &old), 0);
	ck_assert_uint_eq(old, 0);
	ck_assert_uint_eq(t.pt.ntables, 4);
	ck_assert_uint_eq(pt_walk(&t.pt, 511 * 4096, 1).level, 2);
	ck_assert_uint_eq(pt_walk(&t.pt, 599 * 4096, 1).level, 1);
	ck_assert_int_eq(pt_map(&t.pt, 0, 3, 0, ACC_RWX, NULL), 0);
	ck_assert_uint_eq(t.pt.ntables, 2);
	tree_free(&t);
}
END_TEST

/* What if a range cuts large leaves at both ends? Only what is inside goes; empty tables go with it. */
START_TEST(test_unmap)
{
	struct tree t = tree_new((unsigned)_i, 5);

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pt_map(&t.pt, i * LEVEL_SIZE(2), 2, i * LEVEL_SIZE(2), ACC_RWX, NULL), 0);
	ck_assert_int_eq(pt_unmap(&t.pt, 511 * 4096, LEVEL_SIZE(2) + 2 * 4096), 1 + 1 + 1);
	ck_assert(pt_present(t.pt.fmt, *pt_walk(&t.pt, 510 * 4096, 1).entry));
	ck_assert(!pt_present(t.pt.fmt, *pt_walk(&t.pt, 511 * 4096, 1).entry));
	ck_assert(!pt_present(t.pt.fmt, *pt_walk(&t.pt, 1024 * 4096, 1).entry));
	ck_assert(pt_present(t.pt.fmt, *pt_walk(&t.pt, 1025 * 4096, 1).entry));
	ck_assert_int_eq(pt_unmap(&t.pt, 0, LEVEL_SIZE(6)), 511 + 511);
	ck_assert_uint_eq(t.pt.ntables, 1);
	ck_assert_int_eq(pt_unmap(&t.pt, 0, LEVEL_SIZE(6)), 0);
	tree_free(&t);
}
END_TEST

/* What if no frame is left for a table? -ENOMEM, and every translation stands. */
START_TEST(test_nomem)
{
	struct tree t = tree_new((unsigned)_i, 4);
	hfn_t hfn;

	ck_assert_int_eq(pt_map(&t.pt, 0, 3, 0, ACC_RWX, NULL), 0);
	while (!frames_alloc(t.fr, 1, 0, false, FRAME_OWNER(FRAME_GUEST, 9, 0), &hfn))
		;
	ck_assert_int_eq(pt_map(&t.pt, LEVEL_SIZE(4), 1, 0, ACC_RWX, NULL), -ENOMEM);
	ck_assert_int_eq(pt_map(&t.pt, 4096, 1, 0, ACC_RWX, NULL), -ENOMEM);
	ck_assert_int_eq(pt_unmap(&t.pt, 4096, 4096), -ENOMEM);
	ck_assert_int_eq(pt_split(&t.pt, 4096), -ENOMEM);
	ck_assert_uint_eq(pt_walk(&t.pt, 4096, 1).level, 3);
	ck_assert_int_eq(pt_unmap(&t.pt, 0, LEVEL_SIZE(3)), 1);
	ck_assert_uint_eq(t.pt.ntables, 1);
	pt_destroy(&t.pt);
	frames_free(t.fr);
}
END_TEST

static int collect(struct pt *pt, uint64_t addr, unsigned level, uint64_t *entry, void *ctx)
{
	uint64_t *sum = ctx;

	ck_assert_uint_gt(addr + 1, sum[0]);
	sum[0] = addr;
	sum[1] += LEVEL_PAGES(level);
	*entry |= pt->fmt->accessed;
	return sum[1] > 1000 ? 77 : 0;
}

/* What if a visit covers canonical high addresses, is cut short, or writes to entries? */
START_TEST(test_for_each)
{
	struct tree t = tree_new((unsigned)_i, 4);
	uint64_t high = 0xffff800000000000ull, sum[2] = { 0 };

	ck_assert_int_eq(pt_map(&t.pt, high, 2, 0, ACC_RWX, NULL), 0);
	ck_assert_int_eq(pt_map(&t.pt, high + LEVEL_SIZE(2), 1, 0, ACC_RWX, NULL), 0);
	ck_assert_int_eq(pt_map(&t.pt, high + LEVEL_SIZE(3), 2, 0, ACC_RWX, NULL), 0);
	ck_assert_int_eq(pt_for_each(&t.pt, high + 4096, LEVEL_SIZE(2), collect, sum), 0);
	ck_assert_uint_eq(sum[0], high + LEVEL_SIZE(2));
	ck_assert_uint_eq(sum[1], 513);
	sum[0] = sum[1] = 0;
	ck_assert_int_eq(pt_for_each(&t.pt, high, LEVEL_SIZE(4) * 256, collect, sum), 77);
	ck_assert(*pt_walk(&t.pt, high, 1).entry & t.pt.fmt->accessed);
	tree_free(&t);
}
END_TEST

/* What do entries look like, bit for bit? Written down from the manuals. */
START_TEST(test_bits)
{
	const hpa_t big = 0xabc40000000ull;

	ck_assert_uint_eq(pt_format_x86.leaf(0x5000, 1, ACC_R), 0x8000000000005001ull);
	ck_assert_uint_eq(pt_format_x86.leaf(0x5000, 1, ACC_RWX | ACC_U), 0x5007);
	ck_assert_uint_eq(pt_format_x86.leaf(big, 3, ACC_R | ACC_W | ACC_X), big | 0x83);
	ck_assert_uint_eq(pt_format_x86.table(0x7000), 0x7007);
	ck_assert_uint_eq(pt_format_npt.leaf(0x5000, 1, ACC_R | ACC_X), 0x5005);
	ck_assert_uint_eq(pt_format_npt.leaf(big, 2, ACC_RWX), big | 0x87);
	ck_assert_uint_eq(pt_format_ept.leaf(0x5000, 1, ACC_R), 0x5031);
	ck_assert_uint_eq(pt_format_ept.leaf(big, 2, ACC_RWX), big | 0xb7);
	ck_assert_uint_eq(pt_format_ept.table(0x7000), 0x7007);
	for (unsigned access = 0; access < 16; access++) {
		ck_assert_uint_eq(pt_format_x86.access(pt_format_x86.leaf(0, 1, access)), access | ACC_R);
		ck_assert_uint_eq(pt_format_npt.access(pt_format_npt.leaf(0, 1, access)), access | ACC_R | ACC_U);
		ck_assert_uint_eq(pt_format_ept.access(pt_format_ept.leaf(0, 1, access)),
				  access | ACC_U | (access & ACC_W ? ACC_R : 0));
	}
}
END_TEST

/* What must be zero? Written down from the manuals, for 46 bits of physical address. */
START_TEST(test_reserved)
{
	const uint64_t high = 0x000fc00000000000ull, nx = 1ull << 63;

	ck_assert_uint_eq(pt_format_x86.reserved(1, true, 46, true, true), high);
	ck_assert_uint_eq(pt_format_x86.reserved(1, true, 46, false, true), high | nx);
	ck_assert_uint_eq(pt_format_x86.reserved(2, true, 46, true, true), high | 0x1fe000);
	ck_assert_uint_eq(pt_format_x86.reserved(3, true, 46, true, true), high | 0x3fffe000);
	ck_assert_uint_eq(pt_format_x86.reserved(2, false, 46, true, true), high);
	ck_assert_uint_eq(pt_format_x86.reserved(3, false, 46, true, false), high | 0x80);
	ck_assert_uint_eq(pt_format_x86.reserved(4, false, 52, true, true), 0x80);
	ck_assert_uint_eq(pt_format_npt.reserved(4, false, 46, true, true), high | 0x180);
	ck_assert_uint_eq(pt_format_npt.reserved(3, false, 46, true, true), high | 0x100);
	ck_assert_uint_eq(pt_format_npt.reserved(2, false, 46, true, true), high);
	ck_assert_uint_eq(pt_format_ept.reserved(1, true, 46, false, true), high);
	ck_assert_uint_eq(pt_format_ept.reserved(2, true, 46, false, true), high | 0x1ff000);
	ck_assert_uint_eq(pt_format_ept.reserved(3, true, 46, false, true), high | 0x3ffff000);
	ck_assert_uint_eq(pt_format_ept.reserved(3, false, 46, false, true), high | 0x78);
	ck_assert_uint_eq(pt_format_ept.reserved(5, false, 46, false, true), high | 0xf8);
	ck_assert(pt_ept_misconfigured(0x5032, true) && pt_ept_misconfigured(0x5036, true));
	ck_assert(!pt_ept_misconfigured(0x5034, true) && !pt_ept_misconfigured(0x7007, false));
	ck_assert(pt_ept_misconfigured(0x5011, true) && pt_ept_misconfigured(0x5039, true));
	ck_assert(pt_ept_misconfigured(0x7006, false));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pt");
	TCase *t = tcase_create("pt");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_map, 0, 3);
	tcase_add_loop_test(t, test_split, 0, 3);
	tcase_add_loop_test(t, test_collapse, 0, 3);
	tcase_add_loop_test(t, test_unmap, 0, 3);
	tcase_add_loop_test(t, test_nomem, 0, 3);
	tcase_add_loop_test(t, test_for_each, 0, 3);
	tcase_add_test(t, test_bits);
	tcase_add_test(t, test_reserved);
	suite_add_tcase(s, t);
	return suite_run(s);
}
