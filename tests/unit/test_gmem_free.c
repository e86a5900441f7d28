/* SPDX-License-Identifier: MIT */
/* test_gmem_free.c - pages that the guest says are free: reported, hinted, poisoned */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/suite.h"

#define HOST   8192
#define NPAGES 4096
#define ARENA  512
#define VALUE  0x1122334455667788ull

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct fake_paging *paging;
static struct counters c;

static void setup_host(unsigned level, uint64_t host)
{
	const struct gmem_config cfg = { .vm = 3, .npages = NPAGES, .arena_pages = ARENA, .level = level };

	c = (struct counters){ 0 };
	fr = frames_new(host, 1);
	fm = fake_machine_new(host);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	ck_assert_ptr_nonnull(g);
	paging = fake_paging_new(g);
}

static void setup(void)
{
	setup_host(1, HOST);
}

static void setup_large(void)
{
	setup_host(2, HOST);
}

/* Frames for the arena and 32 pages. */
static void setup_tight(void)
{
	setup_host(1, ARENA + 32);
}

static void teardown(void)
{
	fake_paging_check(paging);
	fake_paging_free(paging);
	gmem_free(g);
	ck_assert_uint_eq(frames_used(fr), 0);
	ck_assert_ptr_null(fr->hinted);
	frames_free(fr);
	fake_machine_free(fm);
}

static void touch(gfn_t gfn)
{
	bool faulted;

	ck_assert_int_eq(fake_paging_access(paging, gfn, ACC_W, &faulted), 0);
}

static void store(gfn_t gfn)
{
	const uint64_t value = VALUE ^ gfn;

	touch(gfn);
	ck_assert_int_eq(gmem_write(g, gfn * PAGE_SIZE + 16, &value, 8), 0);
}

static uint64_t load(gfn_t gfn)
{
	uint64_t value;

	touch(gfn);
	ck_assert_int_eq(gmem_read(g, gfn * PAGE_SIZE + 16, &value, 8), 0);
	return value;
}

static enum page_state state(gfn_t gfn)
{
	struct gmem_page page;

	ck_assert_int_eq(gmem_lookup(g, gfn, &page), 0);
	return page.state;
}

/* What if pages are reported, some in use, absent or in the balloon? What had a frame has none, and is zeros. */
START_TEST(report)
{
	for (gfn_t gfn = 600; gfn < 610; gfn++)
		store(gfn);
	ck_assert_int_eq(gmem_balloon(g, 605), 0);
	ck_assert_int_eq(gmem_report(g, 595, 20, true), 0);
	ck_assert_uint_eq(c.balloon_reported_released, 9);
	ck_assert_uint_eq(frames_used(fr), ARENA);
	ck_assert_int_eq(state(600), PAGE_ABSENT);
	ck_assert_int_eq(state(605), PAGE_BALLOONED);
	ck_assert_uint_eq(c.faults_absent, 10);
	ck_assert_uint_eq(load(600), 0);
	ck_assert_uint_eq(c.faults_absent, 11);
	ck_assert_uint_eq(c.balloon_poison_restored, 0);
}
END_TEST

/* What if a range is none? Nothing happens. */
START_TEST(refused)
{
	store(600);
	ck_assert_int_eq(gmem_report(g, ARENA - 1, 200, false), -EBUSY);
	ck_assert_int_eq(gmem_report(g, 600, NPAGES, false), -EFAULT);
	ck_assert_int_eq(gmem_report(g, 600, UINT64_MAX, false), -EFAULT);
	ck_assert_int_eq(gmem_hint(g, 0, 1, false), -EBUSY);
	ck_assert_int_eq(gmem_hint(g, NPAGES, 1, false), -EFAULT);
	ck_assert_uint_eq(load(600), VALUE ^ 600);
	ck_assert_uint_eq(c.pages_hinted, 0);
}
END_TEST

/* What if a large backing is reported whole, and in part? It goes as it is; a part splits it. */
START_TEST(report_large)
{
	store(512);
	store(1024);
	ck_assert_uint_eq(c.pages_resident, 1024);
	ck_assert_int_eq(gmem_report(g, 512, 512, false), 0);
	ck_assert_uint_eq(c.host_splits, 0);
	ck_assert_uint_eq(c.pages_resident, 512);
	ck_assert_int_eq(gmem_report(g, 1030, 3, false), 0);
	ck_assert_uint_eq(c.host_splits, 1);
	ck_assert_uint_eq(c.pages_resident, 509);
	ck_assert_uint_eq(frames_used(fr), ARENA + 509);
	ck_assert_uint_eq(load(1024), VALUE ^ 1024);
	store(512);
	ck_assert_uint_eq(c.pages_resident, 509 + 512);
}
END_TEST

/* What if a hinted page is used again? The hint is void, the contents are there. */
START_TEST(hint_revoked)
{
	for (gfn_t gfn = 600; gfn < 610; gfn++)
		store(gfn);
	ck_assert_int_eq(gmem_hint(g, 600, 10, false), 0);
	ck_assert_int_eq(gmem_hint(g, 600, 10, false), 0);
	ck_assert_uint_eq(c.pages_hinted, 10);
	ck_assert_uint_eq(load(603), VALUE ^ 603);
	ck_assert_uint_eq(c.balloon_hints_revoked, 1);
	ck_assert_uint_eq(c.faults_young, 0);
	ck_assert_uint_eq(c.pages_hinted, 9);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 100), 9);
	ck_assert_uint_eq(c.balloon_hints_dropped, 9);
	ck_assert_uint_eq(load(603), VALUE ^ 603);
	ck_assert_uint_eq(load(604), 0);
	ck_assert_uint_eq(frames_used(fr), ARENA + 2);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 100), 0);
}
END_TEST

/* What if a page is hinted and used again and again? The host's list does not grow, and is in order. */
START_TEST(hints_in_order)
{
	for (gfn_t gfn = 600; gfn < 3000; gfn += 300)
		store(gfn);
	for (unsigned i = 0; i < 1000; i++) {
		for (gfn_t gfn = 600; gfn < 3000; gfn += 300) {
			ck_assert_int_eq(gmem_hint(g, gfn, 1, false), 0);
			touch(gfn);
		}
	}
	ck_assert_uint_eq(c.pages_hinted, 0);
	ck_assert_int_eq(gmem_hint(g, 2700, 1, false), 0);
	ck_assert_int_eq(gmem_hint(g, 600, 1, false), 0);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 1), 1);
	ck_assert_int_eq(state(600), PAGE_ABSENT);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 1), 1);
	ck_assert_int_eq(state(2700), PAGE_ABSENT);
	ck_assert_ptr_null(fr->hinted);
}
END_TEST

/* What if frames run out? Hinted pages go, one for each that is needed; without any, that is the end. */
START_TEST(pressure)
{
	struct gmem_page page;

	for (gfn_t gfn = 600; gfn < 632; gfn++)
		store(gfn);
	ck_assert_int_eq(gmem_fault(g, 700, ACC_W, FAULT_CPU, &page), -ENOMEM);
	ck_assert_int_eq(gmem_hint(g, 600, 4, false), 0);
	store(700);
	store(701);
	ck_assert_uint_eq(c.balloon_hints_dropped, 2);
	ck_assert_uint_eq(c.pages_hinted, 2);
	ck_assert_uint_eq(load(603), VALUE ^ 603);
	ck_assert_uint_eq(load(600), 0);
	ck_assert_int_eq(gmem_fault(g, 702, ACC_W, FAULT_CPU, &page), -ENOMEM);
}
END_TEST

/* What if free pages hold a poison value? What was taken comes back with it, and only that. */
START_TEST(poison)
{
	uint64_t page[512];

	gmem_set_poison(g, 0xaaaaaaaa);
	for (gfn_t gfn = 600; gfn < 606; gfn++)
		store(gfn);
	ck_assert_int_eq(gmem_report(g, 600, 2, true), 0);
	ck_assert_int_eq(gmem_hint(g, 602, 2, true), 0);
	ck_assert_int_eq(gmem_peek(g, 600, page), 0);
	ck_assert_uint_eq(page[511], 0xaaaaaaaaaaaaaaaa);
	ck_assert_uint_eq(load(600), 0xaaaaaaaaaaaaaaaa);
	ck_assert_uint_eq(load(602), VALUE ^ 602);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 10), 1);
	ck_assert_uint_eq(load(603), 0xaaaaaaaaaaaaaaaa);
	ck_assert_uint_eq(load(610), 0);
	ck_assert_uint_eq(c.balloon_poison_restored, 2);
	ck_assert_int_eq(gmem_balloon(g, 601), 0);
	ck_assert_int_eq(gmem_deflate(g, 601), 0);
	ck_assert_uint_eq(load(601), 0);
}
END_TEST

/* What if a block with poisoned pages comes back as one large backing? */
START_TEST(poison_large)
{
	gmem_set_poison(g, 0x55555555);
	store(512);
	ck_assert_int_eq(gmem_report(g, 512, 512, true), 0);
	ck_assert_uint_eq(load(700), 0x5555555555555555);
	ck_assert_uint_eq(c.balloon_poison_restored, 512);
	ck_assert_int_eq(gmem_hint(g, 512, 512, true), 0);
	ck_assert_uint_eq(c.pages_hinted, 512);
	ck_assert_uint_eq(gmem_drop_hinted(fr, 512), 512);
	ck_assert_uint_eq(c.pages_resident, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem, free pages");
	TCase *tc = tcase_create("small"), *large = tcase_create("large"), *tight = tcase_create("tight");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, report);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, hint_revoked);
	tcase_add_test(tc, hints_in_order);
	tcase_add_test(tc, poison);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(large, setup_large, teardown);
	tcase_add_test(large, report_large);
	tcase_add_test(large, poison_large);
	suite_add_tcase(s, large);
	tcase_add_checked_fixture(tight, setup_tight, teardown);
	tcase_add_test(tight, pressure);
	suite_add_tcase(s, tight);
	return suite_run(s);
}
