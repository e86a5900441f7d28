/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/suite.h"

#define HOST 8192

static struct frames *fr;
static struct fake_machine *fm;
static struct gmem *g;
static struct fake_paging *paging;
static struct counters c;

static void setup_level(unsigned level)
{
	const struct gmem_config cfg = { .vm = 3, .npages = 2048, .arena_pages = 512, .level = level };

	c = (struct counters){ 0 };
	fr = frames_new(HOST, 1);
	fm = fake_machine_new(HOST);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	ck_assert_ptr_nonnull(g);
	paging = fake_paging_new(g);
}

static void setup(void)
{
	setup_level(1);
}

static void teardown(void)
{
	fake_paging_check(paging);
	fake_paging_free(paging);
	gmem_free(g);
	ck_assert_uint_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}

static void touch(gfn_t gfn)
{
	bool faulted;

	ck_assert_int_eq(fake_paging_access(paging, gfn, ACC_W, &faulted), 0);
}

static enum page_state state(gfn_t gfn)
{
	struct gmem_page page;

	ck_assert_int_eq(gmem_lookup(g, gfn, &page), 0);
	ck_assert(page.state == PAGE_RESIDENT ? page.hfn != HFN_NONE : page.hfn == HFN_NONE && page.access == 0);
	return page.state;
}

/* What if a page is given up and taken back? Its frame goes at once; later it is a new page of zeros. */
START_TEST(gives_and_takes)
{
	const uint64_t value = 77;
	uint64_t seen = 1;

	touch(600);
	ck_assert_int_eq(gmem_write(g, 600 * 4096, &value, 8), 0);
	ck_assert_uint_eq(frames_used(fr), 513);
	ck_assert_int_eq(gmem_balloon(g, 600), 0);
	ck_assert_uint_eq(frames_used(fr), 512);
	ck_assert_int_eq(state(600), PAGE_BALLOONED);
	ck_assert_int_eq(gmem_balloon(g, 601), 0); /* was never touched */
	ck_assert_uint_eq(c.balloon_actual, 2);
	ck_assert_uint_eq(c.balloon_inflated, 2);
	ck_assert_uint_eq(c.pages_released, 1);
	ck_assert_int_eq(gmem_balloon(g, 600), -EALREADY);
	ck_assert_int_eq(gmem_balloon(g, 511), -EBUSY);
	ck_assert_int_eq(gmem_balloon(g, 2048), -EFAULT);
	ck_assert_int_eq(gmem_deflate(g, 602), -EALREADY);
	ck_assert_int_eq(gmem_deflate(g, 2), -EALREADY);
	ck_assert_int_eq(gmem_deflate(g, UINT64_MAX), -EFAULT);
	ck_assert_int_eq(gmem_deflate(g, 600), 0);
	ck_assert_int_eq(state(600), PAGE_ABSENT);
	ck_assert_int_eq(gmem_read(g, 600 * 4096, &seen, 8), 0);
	ck_assert_uint_eq(seen, 0);
	gmem_deflate_all(g);
	ck_assert_int_eq(state(601), PAGE_ABSENT);
	ck_assert_uint_eq(c.balloon_actual, 0);
	ck_assert_uint_eq(c.balloon_deflated, 2);
}
END_TEST

/* What if somebody touches such a page? A vCPU deflates it, unless it had to tell; a device never may. */
START_TEST(touches)
{
	struct gmem_page page;
	char byte = 1;

	for (gfn_t gfn = 700; gfn < 704; gfn++)
		ck_assert_int_eq(gmem_balloon(g, gfn), 0);
	touch(700);
	ck_assert_int_eq(state(700), PAGE_RESIDENT);
	ck_assert_uint_eq(c.balloon_touches, 1);
	ck_assert_uint_eq(c.balloon_deflated, 1);
	ck_assert_int_eq(gmem_write(g, 701 * 4096, &byte, 1), -EPERM);
	ck_assert_int_eq(gmem_fault(g, 701, ACC_R, FAULT_PREFETCH, &page), -EPERM);
	ck_assert_uint_eq(c.balloon_touches, 2);
	gmem_balloon_strict(g, true);
	ck_assert_int_eq(gmem_fault(g, 701, ACC_R, FAULT_CPU, &page), -EPERM);
	ck_assert_int_eq(state(701), PAGE_BALLOONED);
	ck_assert_uint_eq(c.balloon_actual, 3);
	ck_assert_uint_eq(c.balloon_touches, 3);
}
END_TEST

/* What if the page lies in a large block? The block breaks up; the others stay; it cannot be populated whole again. */
START_TEST(large_blocks)
{
	struct gmem_page page;

	teardown();
	setup_level(2);
	ck_assert_int_eq(gmem_fault(g, 1024, ACC_W, FAULT_CPU, &page), 0);
	ck_assert_uint_eq(page.level, 2);
	ck_assert_int_eq(gmem_balloon(g, 1100), 0);
	ck_assert_int_eq(state(1100), PAGE_BALLOONED);
	ck_assert_int_eq(state(1101), PAGE_RESIDENT);
	ck_assert_uint_eq(frames_used(fr), 512 + 511);
	ck_assert_uint_eq(c.host_splits, 1);
	ck_assert_int_eq(gmem_collapse(g, 1024, 2), -EAGAIN);
	ck_assert_int_eq(gmem_balloon(g, 1540), 0);
	ck_assert_int_eq(gmem_fault(g, 1536, ACC_W, FAULT_CPU, &page), 0);
	ck_assert_uint_eq(page.level, 1);
}
END_TEST

/* What if pages are being watched? A watched page may be given up; the log says that it changed. */
START_TEST(watched)
{
	uint64_t dirty[32];

	for (gfn_t gfn = 800; gfn < 803; gfn++)
		touch(gfn);
	gmem_test_clear_young(g, 800);
	ck_assert_int_eq(gmem_dirty_log_start(g), 0);
	ck_assert_int_eq(gmem_balloon(g, 800), 0);
	ck_assert_int_eq(gmem_balloon(g, 801), 0);
	ck_assert_uint_eq(gmem_dirty_log_collect(g, dirty), 2);
	ck_assert_int_eq(gmem_deflate(g, 800), 0);
	ck_assert(!gmem_test_clear_young(g, 800));
	touch(800);
	ck_assert_uint_eq(c.faults_young, 0);
	gmem_dirty_log_stop(g);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem, balloon");
	TCase *tc = tcase_create("balloon");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, gives_and_takes);
	tcase_add_test(tc, touches);
	tcase_add_test(tc, large_blocks);
	tcase_add_test(tc, watched);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
