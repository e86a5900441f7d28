/* SPDX-License-Identifier: MIT */
/*
 * test_lru.c - the guest kernel's memory, rule by rule: readahead, watermarks, second chance, refaults, swap cache
 *
 * Each test has one process, a disk whose requests end when the test says so, and little memory.
 */
#include <check.h>

#include "tests/lib/fake_block.h"
#include "tests/lib/suite.h"

#define BASE	  PROGRAM_BASE
#define PAGES(n)  ((n) * (uint64_t)PAGE_SIZE)
#define AT(i)	  (BASE + PAGES(i))
#define FILE_SIZE 4096

static struct hal *h;
static struct kernel *k;

static void begin(uint64_t npages, uint64_t swap_pages, uint64_t swappiness, uint32_t nprocesses)
{
	h = fake_new(&(struct fake_config){ .npages = 2048 + npages,
					    .arena_end = PAGES(2048),
					    .nprocesses = nprocesses,
					    .swappiness = swappiness,
					    .disk = fake_disk_new(FILE_SIZE, swap_pages, 7) });
	k = h->kernel;
	ck_assert_ptr_nonnull(k);
}

static void end(void)
{
	fake_check(h);
	fake_disk_free(h->disk);
	fake_free(h);
}

static void finish_requests(void)
{
	while (fake_disk_run(h, FAKE_REQUESTS))
		;
}

static void map_file(uint64_t npages, uint64_t offset)
{
	fake_op(h, OP_MMAP_FILE, BASE, OP_MAP_FILE(npages, PROT_R | PROT_W, offset));
}

static void map_anon(uint64_t npages, unsigned level)
{
	fake_op(h, OP_MMAP, BASE, OP_MAP(npages, PROT_R | PROT_W, level));
}

/* The one process touches the page, however long it has to wait for it; the word there. */
static uint64_t touch(uint64_t i, bool write)
{
	uint64_t value = 0;

	for (;;) {
		if (kernel_current(k) && (write ? fake_write(h, AT(i), i + 1000) : fake_read(h, AT(i), &value)))
			return value;
		h->now += 100;
		ck_assert_msg(fake_disk_run(h, 1), "it waits for nothing, or was killed");
	}
}

/* What if a file is read from its beginning on? Windows of 4, 8, 16, 32, each read before the one before is used up. */
START_TEST(reads_ahead)
{
	static const uint64_t reads[] = { 4, 12, 28, 60, 92, 124 }; /* pages in all after so many requests */

	begin(2000, 0, 60, 1);
	map_file(1000, 100);
	for (uint64_t i = 0; i < 90; i++)
		ck_assert_uint_eq(touch(i, false), 100 + i + 1);
	finish_requests();
	ck_assert_uint_eq(k->counts.file_reads, reads[5]);
	ck_assert_uint_eq(h->disk->reads, 6);
	ck_assert_uint_le(k->counts.faults_major, 2);
	ck_assert_uint_eq(k->counts.faults_major + k->counts.faults_minor, 90);
	end();
}
END_TEST

/* What if it is read here and there? One page each. */
START_TEST(reads_one)
{
	begin(2000, 0, 60, 1);
	map_file(1000, 0);
	for (uint64_t i = 0; i < 20; i++)
		ck_assert_uint_eq(touch(900 - i * 37, false), 900 - i * 37 + 1);
	ck_assert_uint_eq(k->counts.file_reads, 20);
	ck_assert_uint_eq(k->counts.faults_major, 20);
	end();
}
END_TEST

/* What if two processes want one page that is being read? It is read once, and both go on. */
START_TEST(waits_together)
{
	uint64_t value = 0;

	begin(2000, 0, 60, 2);
	map_file(100, 0);
	fake_op(h, OP_YIELD, 0, 0);
	map_file(100, 0);
	ck_assert(!fake_read(h, AT(50), NULL));
	ck_assert(!fake_read(h, AT(50), NULL));
	ck_assert_ptr_null(kernel_current(k));
	ck_assert_uint_eq(h->disk->reads, 1);
	h->now += 5000;
	ck_assert(fake_disk_run(h, 1));
	ck_assert(fake_read(h, AT(50), &value) && value == 51);
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert(fake_read(h, AT(50), &value) && value == 51);
	ck_assert_uint_eq(k->counts.faults, 2);
	ck_assert_uint_eq(k->counts.faults_major, 1);
	ck_assert_uint_eq(k->counts.faults_minor, 1);
	ck_assert_uint_eq(k->counts.io_wait_ns, 10000);
	ck_assert_uint_eq(k->counts.stall_some_ns, 0); /* a first read is no lack of memory */
	end();
}
END_TEST

/* What if memory fills? Free pages stay above min, and around low and high. */
START_TEST(watermarks)
{
	uint64_t least = UINT64_MAX;

	begin(2000, 8000, 60, 1);
	ck_assert_uint_eq(k->mem.min, 89); /* sqrt(8000 KiB * 16) / 4 */
	ck_assert_uint_eq(k->mem.low, 111);
	ck_assert_uint_eq(k->mem.high, 133);
	map_anon(6000, 1);
	for (uint64_t i = 0; i < 6000; i++) {
		touch(i, true);
		least = MIN(least, k->counts.pages_free);
		if (i % 8 == 0)
			finish_requests();
	}
	ck_assert_uint_ge(least, k->mem.min - 1);
	ck_assert_uint_le(k->counts.pages_free, k->mem.high + 64);
	ck_assert_uint_ge(k->counts.swap_outs, 4000);
	ck_assert_uint_eq(k->counts.oom_kills, 0);
	for (uint64_t i = 0; i < 6000; i++)
		ck_assert_uint_eq(touch(i, false), i + 1000);
	end();
}
END_TEST

/* Read pages [first, end) of the file once, and every @every of them the @nhot first pages. */
static void read_with_hot(uint64_t first, uint64_t last, uint64_t nhot, uint64_t every)
{
	for (uint64_t i = first; i < last; i++) {
		ck_assert_uint_eq(touch(i, false), i + 1);
		for (uint64_t j = 0; j < nhot && i % every == 0; j++)
			ck_assert_uint_eq(touch(j, false), j + 1);
	}
}

/* What if pages are used again and again while others are read once? They become active, and stay. */
START_TEST(second_chance)
{
	uint64_t refaults;

	begin(800, 0, 60, 1);
	map_file(4000, 0);
	read_with_hot(100, 3200, 20, 100);
	refaults = k->counts.refaults_file;
	ck_assert_uint_ge(k->counts.pages_list[LRU_ACTIVE_FILE], 20);
	read_with_hot(3200, 4000, 20, 100);
	ck_assert_uint_gt(k->counts.stolen, 2000);
	ck_assert_uint_eq(k->counts.refaults_file, refaults);
	end();
}
END_TEST

/* What if the active pages are not used any more, and others do not fit besides? These push them out, and stay. */
START_TEST(refaults)
{
	uint64_t refaults = 0;

	begin(2000, 0, 60, 1);
	map_file(4000, 0);
	read_with_hot(700, 2500, 600, 300);
	ck_assert_uint_ge(k->counts.pages_list[LRU_ACTIVE_FILE], 500);
	for (unsigned round = 0; round < 8; round++) {
		refaults = k->counts.refaults_file;
		read_with_hot(2500, 4000, 0, 1);
	}
	ck_assert_uint_gt(k->counts.activates_file, 0);
	ck_assert_uint_gt(refaults, 100);
	ck_assert_uint_eq(k->counts.refaults_file, refaults);
	end();
}
END_TEST

/* What if a page comes back from swap and is not written? It goes again without a write. */
START_TEST(clean_again)
{
	uint64_t outs;

	begin(2000, 8000, 60, 1);
	map_anon(3000, 1);
	for (uint64_t i = 0; i < 3000; i++)
		touch(i, true);
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t i = 0; i < 3000; i++)
			ck_assert_uint_eq(touch(i, false), i + 1000);
	finish_requests();
	outs = k->counts.swap_outs;
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t i = 0; i < 3000; i++)
			ck_assert_uint_eq(touch(i, false), i + 1000);
	ck_assert_uint_eq(k->counts.swap_outs, outs);
	ck_assert_uint_gt(k->counts.stall_full_ns, 0);
	ck_assert_uint_eq(k->counts.stall_full_ns, k->counts.stall_some_ns);
	end();
}
END_TEST

/* What if a page whose copy in swap is old is shared by fork, and its writer gets one of its own? */
START_TEST(forked_dirty)
{
	begin(1000, 8000, 60, 1);
	map_anon(3000, 1);
	for (uint64_t i = 0; i < 3000; i++)
		touch(i, true);
	for (uint64_t i = 0; i < 100; i++)
		ck_assert_uint_eq(touch(i, false), i + 1000); /* back from swap, whose slots stay */
	for (uint64_t i = 0; i < 100; i++)
		ck_assert(fake_write(h, AT(i), i + 5000));
	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_YIELD, 0, 0);
	fake_op(h, OP_SLEEP, 0, 1ull << 40); /* the child */
	for (uint64_t i = 0; i < 3000; i++)
		touch(i, true);
	fake_op(h, OP_EXIT, 0, 0);
	finish_requests();
	h->now += 2ull << 40;
	fake_wake(h);
	ck_assert_uint_eq(kernel_current(k)->pid, 2);
	for (uint64_t i = 0; i < 3000; i++)
		ck_assert_uint_eq(touch(i, false), i + (i < 100 ? 5000 : 1000));
	end();
}
END_TEST

/* What if memory is in 2 MiB pages? They are split, and their parts go. */
START_TEST(splits)
{
	begin(3 * 512, 8000, 60, 1);
	map_anon(4 * 512, 2);
	for (uint64_t i = 0; i < 4 * 512; i++) {
		touch(i, true);
		if (i == 600)
			fake_check(h);
	}
	ck_assert_uint_gt(k->counts.swap_outs, 300);
	for (uint64_t i = 0; i < 4 * 512; i++)
		ck_assert_uint_eq(touch(i, false), i + 1000);
	end();
}
END_TEST

/* What if swappiness is 0, or 200? Then the cache gives way alone, or hardly at all. */
START_TEST(swappiness)
{
	uint64_t outs[2];

	for (unsigned n = 0; n < 2; n++) {
		begin(2000, 8000, n * 200, 1);
		map_anon(800, 1);
		fake_op(h, OP_MMAP_FILE, AT(1000), OP_MAP_FILE(1600, PROT_R, 0));
		for (uint64_t i = 0; i < 800; i++)
			touch(i, true);
		for (unsigned round = 0; round < 4; round++)
			for (uint64_t i = 1000; i < 2600; i++)
				touch(i, false);
		outs[n] = k->counts.swap_outs;
		end();
	}
	ck_assert_uint_eq(outs[0], 0);
	ck_assert_uint_gt(outs[1], 100);
}
END_TEST

/* What if dirty pages of a file go? They are written, and read back as they were; clean ones are not. */
START_TEST(writes_back)
{
	begin(1500, 0, 60, 1);
	map_file(3000, 0);
	for (uint64_t i = 0; i < 3000; i++)
		touch(i, i % 10 == 0);
	finish_requests();
	ck_assert_uint_ge(k->counts.writebacks, 100);
	ck_assert_uint_le(k->counts.writebacks, 300);
	for (uint64_t i = 0; i < 3000; i++)
		ck_assert_uint_eq(touch(i, false), i % 10 ? i + 1 : i + 1000);
	end();
}
END_TEST

/* What if a mapping of files reaches beyond the disk, or there is no disk? Whoever asks for it ends. */
START_TEST(bad_files)
{
	begin(1000, 0, 60, 2);
	fake_op(h, OP_MMAP_FILE, BASE, OP_MAP_FILE(10, PROT_R, FILE_SIZE - 9));
	ck_assert_uint_eq(k->nlive, 1);
	map_file(10, FILE_SIZE - 10);
	ck_assert_uint_eq(touch(9, false), FILE_SIZE);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guest kernel, memory");
	TCase *tc = tcase_create("memory");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, reads_ahead);
	tcase_add_test(tc, reads_one);
	tcase_add_test(tc, waits_together);
	tcase_add_test(tc, watermarks);
	tcase_add_test(tc, second_chance);
	tcase_add_test(tc, refaults);
	tcase_add_test(tc, clean_again);
	tcase_add_test(tc, forked_dirty);
	tcase_add_test(tc, splits);
	tcase_add_test(tc, swappiness);
	tcase_add_test(tc, writes_back);
	tcase_add_test(tc, bad_files);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
