/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/resource.h>

#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

#define HOST 8192

struct world {
	struct frames *fr;
	struct fake_machine *fm;
	struct gmem *g;
	struct fake_paging *p;
	struct counters c;
};

static struct world *world_new(uint64_t npages, uint64_t arena, unsigned level, uint64_t host)
{
	const struct gmem_config cfg = { .vm = 5, .npages = npages, .arena_pages = arena, .level = level };
	struct world *w = g_new0(struct world, 1);

	w->fr = frames_new(host, 1);
	w->fm = fake_machine_new(host);
	w->g = gmem_new(&cfg, w->fr, &w->fm->base, &w->c, NULL);
	ck_assert_ptr_nonnull(w->g);
	w->p = fake_paging_new(w->g);
	return w;
}

static void world_free(struct world *w)
{
	fake_paging_check(w->p);
	fake_paging_free(w->p);
	gmem_free(w->g);
	ck_assert_uint_eq(frames_used(w->fr), 0);
	frames_free(w->fr);
	fake_machine_free(w->fm);
	g_free(w);
}

static struct gmem_page fault(struct world *w, gfn_t gfn, unsigned access, enum fault_source src)
{
	struct gmem_page page;

	must(gmem_fault(w->g, gfn, access, src, &page) == 0);
	must(page.state == PAGE_RESIDENT);
	return page;
}

/* What if a page is touched, and touched again? One first touch, then spurious ones; the owner is right. */
START_TEST(test_touch)
{
	struct world *w = world_new(1000, 512, 1, HOST);
	struct gmem_page page;

	ck_assert_int_eq(gmem_lookup(w->g, 700, &page), 0);
	ck_assert(page.state == PAGE_ABSENT && page.hfn == HFN_NONE && page.access == 0);
	page = fault(w, 700, ACC_R, FAULT_CPU);
	ck_assert(page.level == 1 && page.access == ACC_RWX);
	ck_assert_uint_eq(frames_owner(w->fr, page.hfn), FRAME_OWNER(FRAME_GUEST, 5, 700));
	ck_assert_uint_eq(gmem_gfn_of(w->g, page.hfn), 700);
	ck_assert_uint_eq(fault(w, 700, ACC_W, FAULT_CPU).hfn, page.hfn);
	fault(w, 700, ACC_W, FAULT_DMA);
	fault(w, 701, ACC_R, FAULT_DMA);
	fault(w, 702, ACC_R, FAULT_PREFETCH);
	fault(w, 702, ACC_R, FAULT_PREFETCH);
	ck_assert_uint_eq(w->c.faults_absent, 1);
	ck_assert_uint_eq(w->c.faults_spurious, 1);
	ck_assert_uint_eq(w->c.faults_dma, 1);
	ck_assert_uint_eq(w->c.faults_prefetch, 1);
	ck_assert_uint_eq(w->c.pages_resident, 3);
	ck_assert_uint_eq(w->fm->populated, 3);
	ck_assert_uint_eq(w->fm->charged[CHARGE_POPULATE], 3);
	ck_assert_uint_eq(w->p->maps, 2);
	ck_assert_int_eq(gmem_fault(w->g, 1000, ACC_R, FAULT_CPU, &page), -EFAULT);
	ck_assert_int_eq(gmem_lookup(w->g, UINT64_MAX, &page), -EFAULT);
	ck_assert_uint_eq(gmem_gfn_of(w->g, HOST), GFN_NONE);
	ck_assert_uint_eq(gmem_gfn_of(w->g, HOST - 1), GFN_NONE);
	world_free(w);
}
END_TEST

/* What if the arena is used? It is there from the start, is never taken, and nothing is counted. */
START_TEST(test_arena)
{
	struct world *w = world_new(2048, 1024, 2, HOST);
	struct counters zero = { 0 };
	struct gmem_page page;
	char text[] = "across two pages", back[sizeof(text)], *bytes = g_malloc(PAGE_SIZE);

	ck_assert_uint_eq(frames_used(w->fr), 1024);
	page = fault(w, 1023, ACC_W, FAULT_CPU);
	ck_assert_uint_eq(page.level, 2);
	ck_assert_int_eq(gmem_write(w->g, 4096 * 3 - 5, text, sizeof(text)), 0);
	ck_assert_int_eq(gmem_read(w->g, 4096 * 3 - 5, back, sizeof(back)), 0);
	ck_assert_str_eq(text, back);
	ck_assert_str_eq((char *)gmem_arena(w->g) + 4096 * 3 - 5, text);
	ck_assert_int_eq(gmem_peek(w->g, 3, bytes), 0);
	ck_assert_str_eq(bytes, text + 5);
	ck_assert_int_eq(gmem_release(w->g, 0), -EBUSY);
	ck_assert_int_eq(gmem_move(w->g, 1023, 0), -EBUSY);
	ck_assert_int_eq(gmem_collapse(w->g, 600, 2), -EBUSY);
	ck_assert_int_eq(gmem_split(w->g, 600), -EBUSY);
	ck_assert(!gmem_test_clear_young(w->g, 0));
	ck_assert_uint_eq(gmem_gfn_of(w->g, page.hfn), 1023);
	ck_assert_mem_eq(&w->c, &zero, sizeof(zero));
	g_free(bytes);
	world_free(w);
}
END_TEST

/* What if the guest is linear? All of it is resident at once, in one run, and no metadata is touched. */
START_TEST(test_linear)
{
	const struct gmem_config cfg = { .vm = 1, .npages = 3 * LEVEL_PAGES(3), .arena_pages = 512, .level = 3,
					 .linear = true };
	struct frames *fr = frames_new(4 * LEVEL_PAGES(3), 1);
	struct fake_machine *fm = fake_machine_new(4 * LEVEL_PAGES(3));
	struct counters c = { 0 };
	struct rusage before, after;
	struct gmem_page page;
	struct gmem *g;

	getrusage(RUSAGE_SELF, &before);
	g = gmem_new(&cfg, fr, &fm->base, &c, NULL);
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_minflt - before.ru_minflt, 100);
	ck_assert_uint_eq(c.pages_resident, 3 * LEVEL_PAGES(3) - 512);
	ck_assert_int_eq(gmem_lookup(g, 2 * LEVEL_PAGES(3) + 77, &page), 0);
	ck_assert(page.state == PAGE_RESIDENT && page.level == 3 && page.access == ACC_RWX);
	ck_assert_uint_eq(gmem_gfn_of(g, page.hfn), 2 * LEVEL_PAGES(3) + 77);
	ck_assert_int_eq(gmem_dirty_log_start(g), -EOPNOTSUPP);
	ck_assert_int_eq(gmem_write(g, 1 << 30, "x", 2), 0);
	ck_assert_uint_eq(fm->writes, 1);
	gmem_free(g);
	ck_assert_uint_eq(frames_used(fr), 0);
	frames_free(fr);
	fake_machine_free(fm);
}
END_TEST

/* What if large backing is allowed? Whole absent blocks come at once; where that fails, the next smaller size. */
START_TEST(test_large)
{
	struct world *w = world_new(LEVEL_PAGES(3) * 2 + 600, 512, 3, LEVEL_PAGES(3) * 2);
	struct gmem_page page = fault(w, 512 * 7 + 3, ACC_R, FAULT_CPU);

	ck_assert_uint_eq(page.level, 2); /* the arena lies in the first gigabyte */
	ck_assert_uint_eq(page.hfn % 512, 3);
	ck_assert_uint_eq(w->c.faults_absent, 1);
	ck_assert_uint_eq(w->c.faults_prefetch, 511);
	page = fault(w, LEVEL_PAGES(3) + 5, ACC_R, FAULT_DMA);
	ck_assert_uint_eq(page.level, 3);
	ck_assert_uint_eq(w->c.faults_dma, 1);
	ck_assert_uint_eq(w->c.faults_prefetch, 511 + 262143);
	ck_assert_uint_eq(w->c.pages_resident, 512 + 262144);
	page = fault(w, 2 * LEVEL_PAGES(3) + 599, ACC_R, FAULT_CPU);
	ck_assert_uint_eq(page.level, 1); /* its block sticks out of the guest */
	ck_assert_uint_eq(fault(w, 2 * LEVEL_PAGES(3), ACC_R, FAULT_PREFETCH).level, 2);
	world_free(w);
	w = world_new(4096, 0, 2, 1024);
	fault(w, 0, ACC_R, FAULT_CPU);
	gmem_release(w->g, 5);
	fault(w, 512, ACC_R, FAULT_CPU);
	page = fault(w, 1024, ACC_R, FAULT_CPU); /* one frame is left */
	ck_assert_uint_eq(page.level, 1);
	ck_assert_int_eq(gmem_fault(w->g, 1025, ACC_R, FAULT_CPU, &page), -ENOMEM);
	ck_assert_uint_eq(w->c.pages_resident, 1024);
	world_free(w);
}
END_TEST

/* What if one page of a large block is taken back? The block splits, level by level, and the rest stays put. */
START_TEST(test_release)
{
	struct world *w = world_new(LEVEL_PAGES(3), 0, 3, LEVEL_PAGES(3) + 512);
	struct gmem_page page = fault(w, 0, ACC_R, FAULT_CPU), other;

	ck_assert_uint_eq(page.level, 3);
	ck_assert_int_eq(gmem_release(w->g, 1000), 0);
	ck_assert_int_eq(gmem_release(w->g, 1000), 0);
	ck_assert_uint_eq(w->c.host_splits, 2);
	ck_assert_uint_eq(w->c.pages_released, 1);
	ck_assert_uint_eq(w->c.pages_resident, LEVEL_PAGES(3) - 1);
	ck_assert_uint_eq(frames_used(w->fr), LEVEL_PAGES(3) - 1);
	ck_assert_uint_eq(w->fm->released, 1);
	gmem_lookup(w->g, 1000, &other);
	ck_assert_uint_eq(other.state, PAGE_ABSENT);
	gmem_lookup(w->g, 1001, &other);
	ck_assert(other.level == 1 && other.hfn == page.hfn + 1001);
	gmem_lookup(w->g, 511, &other);
	ck_assert(other.level == 2 && other.hfn == page.hfn + 511);
	ck_assert_uint_eq(gmem_gfn_of(w->g, page.hfn + 1000), GFN_NONE);
	ck_assert_int_eq(gmem_release(w->g, LEVEL_PAGES(3)), -EFAULT);
	world_free(w);
}
END_TEST

/* What if pages are collapsed, split and collapsed again? Contents follow; what lies right is not moved. */
START_TEST(test_collapse)
{
	struct world *w = world_new(2048, 0, 2, HOST);
	uint64_t value;
	struct gmem_page page;

	/* Every second page first, so that frames do not lie in order and no block was populated whole. */
	ck_assert_int_eq(gmem_collapse(w->g, 512, 2), -EAGAIN);
	for (gfn_t i = 0; i < 1024; i++) {
		value = i * 2;
		fault(w, i, ACC_R, FAULT_CPU);
		if (i == 0 || i == 512)
			gmem_move(w->g, i, 0); /* breaks the block */
		must(gmem_write(w->g, i * PAGE_SIZE + 8, &value, 8) == 0);
	}
	ck_assert_uint_eq(w->c.host_splits, 2);
	ck_assert_int_eq(gmem_collapse(w->g, 3, 4), -EINVAL);
	ck_assert_int_eq(gmem_collapse(w->g, 600, 2), 0);
	ck_assert_int_eq(gmem_collapse(w->g, 600, 2), 0);
	ck_assert_uint_eq(w->c.host_collapses, 1);
	ck_assert_uint_eq(w->c.pages_moved, 2 + 512);
	ck_assert_uint_eq(w->p->collapses, 1);
	gmem_lookup(w->g, 512, &page);
	ck_assert(page.level == 2 && page.hfn % 512 == 0);
	ck_assert_int_eq(gmem_split(w->g, 700), 0);
	ck_assert_int_eq(gmem_split(w->g, 700), -EAGAIN);
	ck_assert_int_eq(gmem_collapse(w->g, 512, 2), 0);
	ck_assert_uint_eq(w->c.pages_moved, 2 + 512);
	ck_assert_uint_eq(w->c.host_splits, 3);
	for (gfn_t i = 0; i < 1024; i++) {
		must(gmem_read(w->g, i * PAGE_SIZE + 8, &value, 8) == 0);
		must_eq(value, i * 2);
	}
	world_free(w);
}
END_TEST

/* What if a gigabyte is split and collapsed? It goes level by level, and as nothing moved, back in one step. */
START_TEST(test_gigabyte)
{
	struct world *w = world_new(LEVEL_PAGES(3) + 512, 512, 3, 2 * LEVEL_PAGES(3));
	struct gmem_page page;

	ck_assert_int_eq(gmem_collapse(w->g, LEVEL_PAGES(3), 3), -EAGAIN); /* sticks out of the guest */
	world_free(w);
	w = world_new(LEVEL_PAGES(3), 0, 3, LEVEL_PAGES(3));
	ck_assert_uint_eq(fault(w, 99, ACC_R, FAULT_CPU).level, 3);
	gmem_test_clear_young(w->g, 700);
	ck_assert_uint_eq(fault(w, 701, ACC_R, FAULT_CPU).level, 1);
	ck_assert_uint_eq(fault(w, 5000, ACC_R, FAULT_CPU).level, 2); /* the idle page is in another block */
	ck_assert_uint_eq(fault(w, 700, ACC_R, FAULT_CPU).level, 3);
	ck_assert_int_eq(gmem_split(w->g, 99), 0);
	gmem_lookup(w->g, 200000, &page);
	ck_assert_uint_eq(page.level, 2);
	ck_assert_int_eq(gmem_split(w->g, 99), 0);
	ck_assert_uint_eq(fault(w, 511, ACC_R, FAULT_CPU).level, 1);
	ck_assert_uint_eq(fault(w, 512, ACC_R, FAULT_CPU).level, 2);
	ck_assert_uint_eq(w->c.host_splits, 2);
	gmem_test_clear_young(w->g, 3);
	ck_assert_int_eq(gmem_collapse(w->g, 99, 3), 0);
	ck_assert_uint_eq(w->p->collapses, 0); /* not while a page in it must stay unmapped */
	fault(w, 3, ACC_R, FAULT_CPU);
	ck_assert_uint_eq(fault(w, 99, ACC_R, FAULT_CPU).level, 3);
	ck_assert_uint_eq(w->c.pages_moved, 0);
	ck_assert_uint_eq(w->c.host_collapses, 1);
	ck_assert_uint_eq(w->c.faults_young, 2);
	world_free(w);
}
END_TEST

/* What if the machine fails while a page or a block is on its way? Nothing is lost, nothing leaks. */
START_TEST(test_failures)
{
	struct world *w = world_new(1024, 0, 2, HOST);
	struct gmem_page page;
	uint64_t value = 42;

	w->fm->fail_populate_in = 1;
	ck_assert_int_eq(gmem_fault(w->g, 600, ACC_R, FAULT_CPU, &page), -EIO);
	ck_assert_uint_eq(frames_used(w->fr), 0);
	ck_assert_uint_eq(w->c.faults_absent + w->c.faults_prefetch, 0);
	fault(w, 0, ACC_R, FAULT_CPU);
	ck_assert_int_eq(gmem_move(w->g, 5, 0), 0);
	ck_assert_int_eq(gmem_write(w->g, 511 * PAGE_SIZE, &value, 8), 0);
	w->fm->fail_move_in = 1;
	ck_assert_int_eq(gmem_move(w->g, 5, 0), -EIO);
	w->fm->fail_move_in = 300;
	ck_assert_int_eq(gmem_collapse(w->g, 0, 2), -EIO);
	ck_assert_uint_eq(frames_used(w->fr), 512);
	for (gfn_t i = 0; i < 512; i++) {
		gmem_lookup(w->g, i, &page);
		must(page.state == PAGE_RESIDENT && page.level == 1 && gmem_gfn_of(w->g, page.hfn) == i);
	}
	value = 0;
	ck_assert_int_eq(gmem_read(w->g, 511 * PAGE_SIZE, &value, 8), 0);
	ck_assert_uint_eq(value, 42);
	ck_assert_int_eq(gmem_collapse(w->g, 0, 2), 0);
	world_free(w);
}
END_TEST

/* What if memory is read and written across pages, past the end, or was never touched? */
START_TEST(test_copy)
{
	struct world *w = world_new(8, 0, 1, HOST);
	uint8_t out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	ck_assert_int_eq(gmem_peek(w->g, 2, out), 0);
	ck_assert(out[0] == 0 && out[4095] == 0);
	ck_assert_uint_eq(w->c.pages_resident, 0);
	ck_assert_int_eq(gmem_write(w->g, PAGE_SIZE + 100, in, sizeof(in)), 0);
	ck_assert_int_eq(gmem_read(w->g, PAGE_SIZE + 100, out, sizeof(out)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert_int_eq(gmem_peek(w->g, 2, out), 0);
	ck_assert_mem_eq(out, in + PAGE_SIZE - 100, PAGE_SIZE);
	ck_assert_uint_eq(w->c.faults_dma, 4);
	ck_assert_int_eq(gmem_write(w->g, 7 * PAGE_SIZE + 1, in, PAGE_SIZE), -EFAULT);
	ck_assert_int_eq(gmem_read(w->g, UINT64_MAX - 4, out, 16), -EFAULT);
	ck_assert_int_eq(gmem_read(w->g, 8 * PAGE_SIZE, out, 0), 0);
	ck_assert_int_eq(gmem_peek(w->g, 8, out), -EFAULT);
	ck_assert_uint_eq(w->c.faults_dma, 4);
	world_free(w);
}
END_TEST

/* What if a page is watched for touches? A touch by vCPU or DMA is a young fault; a prefetch is none. */
START_TEST(test_young)
{
	struct world *w = world_new(1024, 0, 2, HOST);
	struct gmem_page page;
	bool faulted;

	ck_assert(!gmem_test_clear_young(w->g, 3));
	ck_assert_int_eq(fake_paging_access(w->p, 3, ACC_R, &faulted), 0);
	ck_assert(gmem_test_clear_young(w->g, 3));
	ck_assert(!gmem_test_clear_young(w->g, 3));
	gmem_lookup(w->g, 4, &page);
	ck_assert(page.level == 1 && page.access == ACC_RWX); /* a leaf over the block would hide the touch */
	gmem_lookup(w->g, 3, &page);
	ck_assert_uint_eq(page.access, 0);
	fault(w, 3, ACC_R, FAULT_PREFETCH);
	ck_assert_uint_eq(w->c.faults_young, 0);
	ck_assert_int_eq(fake_paging_access(w->p, 3, ACC_W, &faulted), 0);
	ck_assert(faulted);
	ck_assert_uint_eq(w->c.faults_young, 1);
	gmem_lookup(w->g, 3, &page);
	ck_assert_uint_eq(page.level, 2);
	ck_assert(gmem_test_clear_young(w->g, 3));
	ck_assert_int_eq(gmem_read(w->g, 3 * PAGE_SIZE, &page, 8), 0);
	ck_assert_uint_eq(w->c.faults_young, 2);
	ck_assert(gmem_test_clear_young(w->g, 3));
	ck_assert(!gmem_test_clear_young(w->g, 4)); /* came with the block, never touched */
	ck_assert(!gmem_test_clear_young(w->g, 1 << 30));
	ck_assert_int_eq(gmem_release(w->g, 3), 0);
	ck_assert_uint_eq(w->c.faults_spurious, 0);
	world_free(w);
}
END_TEST

/* What if writes are logged, by protection or by the processor? Each page once per round. */
START_TEST(test_dirty_log)
{
	struct world *w = world_new(2048 + 10, 512, 2, HOST);
	uint64_t bitmap[33];
	struct gmem_page page;
	bool faulted;

	w->p->pml = _i;
	ck_assert_int_eq(fake_paging_access(w->p, 600, ACC_W, &faulted), 0);
	ck_assert_int_eq(gmem_dirty_log_start(w->g), 0);
	ck_assert_int_eq(gmem_dirty_log_start(w->g), -EBUSY);
	ck_assert(gmem_dirty_logging(w->g));
	gmem_lookup(w->g, 600, &page);
	ck_assert(page.level == 1 && page.access == (_i ? ACC_RWX : ACC_R | ACC_X));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_int_eq(fake_paging_access(w->p, 600, ACC_R, &faulted), 0);
			ck_assert_int_eq(fake_paging_access(w->p, 600, ACC_W, &faulted), 0);
			ck_assert(faulted == (!_i && i == 0));
			ck_assert_int_eq(fake_paging_access(w->p, 601, ACC_R, &faulted), 0);
			ck_assert_int_eq(fake_paging_access(w->p, 2057, ACC_W, &faulted), 0);
			ck_assert_int_eq(gmem_write(w->g, 1000 * PAGE_SIZE, "x", 1), 0);
			ck_assert_int_eq(gmem_write(w->g, 0, "x", 1), 0);
		}
		memset(bitmap, 0xff, sizeof(bitmap));
		ck_assert_uint_eq(gmem_dirty_log_collect(w->g, bitmap), 3);
		for (gfn_t gfn = 0; gfn < 2058; gfn++)
			must_eq(bitmap[gfn / 64] >> (gfn % 64) & 1, gfn == 600 || gfn == 1000 || gfn == 2057);
		ck_assert_uint_eq(w->c.dirty_log_writes, 3 * (round + 1));
	}
	ck_assert_uint_eq(gmem_dirty_log_collect(w->g, bitmap), 0);
	gmem_dirty_log_mark(w->g, 1 << 20);
	gmem_dirty_log_mark(w->g, 3);
	ck_assert_uint_eq(w->c.dirty_log_writes, 9);
	gmem_dirty_log_stop(w->g);
	gmem_dirty_log_mark(w->g, 600);
	gmem_lookup(w->g, 600, &page);
	ck_assert(page.access == ACC_RWX && page.level == 2);
	world_free(w);
}
END_TEST

/* What if a guest of a terabyte touches three pages? It costs three pages, and so does its end. */
START_TEST(test_sparse)
{
	struct rusage before, after;
	struct world *w;

	getrusage(RUSAGE_SELF, &before);
	w = g_new0(struct world, 1);
	w->fr = frames_new(1ull << 28, 1);
	w->fm = fake_machine_new(1ull << 28);
	w->g = gmem_new(&(struct gmem_config){ .npages = 1ull << 28, .level = 1 }, w->fr, &w->fm->base, &w->c, NULL);
	fault(w, 0, ACC_R, FAULT_CPU);
	fault(w, 1ull << 27, ACC_R, FAULT_CPU);
	fault(w, (1ull << 28) - 1, ACC_R, FAULT_CPU);
	gmem_free(w->g);
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_minflt - before.ru_minflt, 2000);
	ck_assert_uint_eq(frames_used(w->fr), 0);
	frames_free(w->fr);
	fake_machine_free(w->fm);
	g_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem");
	TCase *t = tcase_create("gmem");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_touch);
	tcase_add_test(t, test_arena);
	tcase_add_test(t, test_linear);
	tcase_add_test(t, test_large);
	tcase_add_test(t, test_release);
	tcase_add_test(t, test_collapse);
	tcase_add_test(t, test_gigabyte);
	tcase_add_test(t, test_failures);
	tcase_add_test(t, test_copy);
	tcase_add_test(t, test_young);
	tcase_add_loop_test(t, test_dirty_log, 0, 2);
	tcase_add_test(t, test_sparse);
	suite_add_tcase(s, t);
	return suite_run(s);
}
