/* SPDX-License-Identifier: MIT */
/* test_kernel.c - the guest kernel, event by event */
#include <check.h>
#include <string.h>

#include "tests/lib/fake_hal.h"
#include "tests/lib/suite.h"
#include "workloads/pattern.h"

#define MIB	  (1024 * 1024ull)
#define PAGES(mib) ((mib)*MIB / PAGE_SIZE)
#define BASE	  PROGRAM_BASE
#define RW	  (PROT_R | PROT_W)

static struct hal *guest(uint64_t mib, uint32_t nprocesses)
{
	struct hal *h = fake_new(&(struct fake_config){ .npages = PAGES(mib), .nprocesses = nprocesses });

	ck_assert_ptr_nonnull(h->kernel);
	return h;
}

static void map(struct hal *h, uint64_t va, uint64_t npages, unsigned prot, unsigned level)
{
	fake_op(h, OP_MMAP, va, OP_MAP(npages, prot, level));
}

static uint64_t word(struct hal *h, uint64_t va)
{
	uint64_t value = 0xdead;

	ck_assert(fake_read(h, va, &value));
	return value;
}

/* What if a guest boots with 4 or 5 levels and memory that is no multiple of anything? */
START_TEST(boots)
{
	static const uint64_t npages[] = { PAGES(16),	    PAGES(64),	 PAGES(64) + 77,
					   PAGES(1500) + 1, PAGES(4096), PAGES(5000) };
	struct hal *h = fake_new(&(struct fake_config){
		.npages = npages[_i / 2], .levels = 4 + _i % 2, .nprocesses = 3, .flags = _i % 2 ? BOOT_PCID : 0 });
	struct kernel *k = h->kernel;
	struct boot_info *b = hal_arena(h, BOOT_INFO_GPA);

	ck_assert_ptr_nonnull(k);
	fake_check(h);
	ck_assert_uint_eq(k->nlive, 3);
	ck_assert_uint_eq(k->counts.pages_free, npages[_i / 2] - b->arena_end / PAGE_SIZE);
	for (uint64_t gfn = 0; gfn < npages[_i / 2]; gfn += 509) {
		uint64_t e;
		unsigned level;
		uint8_t *p = fake_peek(h, &(struct process){ .root = kernel_root(k) },
				       KERNEL_DIRECT_MAP + gfn * PAGE_SIZE, &e, &level);

		ck_assert_ptr_eq(p, h->mem + gfn * PAGE_SIZE);
		ck_assert((e & (PTE_P | PTE_W | PTE_U)) == (PTE_P | PTE_W | PTE_U));
		ck_assert(!(e & PTE_NX) == (gfn < HEAP_MIN_GPA / PAGE_SIZE));
		ck_assert_uint_eq(level, gfn / 512 < npages[_i / 2] / 512 ? 2 : 1);
	}
	fake_free(h);
}
END_TEST

/* What if a process touches fresh memory, and ends? */
START_TEST(demand_zero_and_exit)
{
	struct hal *h = guest(64, 1);
	struct kernel *k = h->kernel;
	uint64_t free_pages = k->counts.pages_free;

	map(h, BASE, 100, RW, 1);
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_uint_eq(word(h, BASE + i * 4096), 0);
		ck_assert(fake_write(h, BASE + i * 4096 + 8, i));
	}
	for (unsigned i = 0; i < 100; i++)
		ck_assert_uint_eq(word(h, BASE + i * 4096 + 8), i);
	fake_check(h);
	ck_assert_uint_eq(k->counts.faults, 100);
	ck_assert_uint_eq(k->counts.faults_demand, 100);
	ck_assert_uint_eq(k->counts.pages_free, free_pages - 100);
	fake_op(h, OP_EXIT, 0, 0);
	fake_check(h);
	ck_assert(kernel_done(k));
	ck_assert_uint_eq(k->counts.pages_free, free_pages);
	fake_free(h);
}
END_TEST

/* What if a parent and its children write pages they share? */
START_TEST(fork_isolates)
{
	struct hal *h = fake_new(&(struct fake_config){
		.npages = PAGES(64), .nprocesses = 1, .levels = 4 + _i % 2, .flags = _i / 2 ? BOOT_PCID : 0 });
	struct kernel *k = h->kernel;
	uint64_t free_pages = k->counts.pages_free, free_heap = k->heap.nfree;

	map(h, BASE, 40, RW, 1);
	for (unsigned i = 0; i < 40; i++)
		ck_assert(fake_write(h, BASE + i * 4096, 100 + i));
	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_FORK, 0, 0);
	fake_check(h);
	ck_assert_uint_eq(k->counts.pages_free, free_pages - 40);
	ck_assert_uint_eq(k->counts.forks, 2);
	for (unsigned turn = 0; turn < 3; turn++) {
		uint32_t pid = kernel_current(k)->pid;

		ck_assert_uint_eq(pid, turn + 1);
		for (unsigned i = 0; i < 40; i++) {
			ck_assert_uint_eq(word(h, BASE + i * 4096), 100 + i);
			if (i % 3 == turn)
				ck_assert(fake_write(h, BASE + i * 4096, pid * 1000 + i));
		}
		fake_op(h, OP_YIELD, 0, 0);
		fake_check(h);
	}
	ck_assert_uint_eq(k->counts.faults_cow, 40);
	ck_assert_uint_eq(k->counts.pages_free, free_pages - 80);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 40; i++)
			ck_assert_uint_eq(word(h, BASE + i * 4096), i % 3 == turn ? (turn + 1) * 1000 + i : 100 + i);
		fake_op(h, OP_EXIT, 0, 0);
		fake_check(h);
	}
	ck_assert(kernel_done(k));
	ck_assert_uint_eq(k->counts.exits, 3);
	ck_assert_uint_eq(k->counts.pages_free, free_pages);
	/* Root, run-time with its branch, and one page of mappings kept. */
	ck_assert_uint_eq(k->heap.nfree, free_heap + 5 + _i % 2 - 1);
	fake_free(h);
}
END_TEST

/* What if the last owner of a page that was shared writes it? It must not be copied. */
START_TEST(last_owner_keeps)
{
	struct hal *h = guest(64, 1);
	uint64_t e, f;

	map(h, BASE, 1, RW, 1);
	fake_write(h, BASE, 1);
	fake_peek(h, kernel_current(h->kernel), BASE, &e, NULL);
	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_YIELD, 0, 0);
	fake_op(h, OP_EXIT, 0, 0);
	fake_write(h, BASE, 2);
	fake_peek(h, kernel_current(h->kernel), BASE, &f, NULL);
	ck_assert_uint_eq(pte_gfn(e), pte_gfn(f));
	ck_assert_uint_eq(h->copied, 0);
	ck_assert_uint_eq(h->kernel->counts.faults_cow, 1);
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if a 2 MiB page is shared, and written with and without a free block to copy it to? */
START_TEST(fork_large)
{
	struct hal *h = guest(24, 1);
	struct kernel *k = h->kernel;
	bool scarce = _i;
	unsigned level;

	map(h, BASE, 512 * 3, RW, 2);
	for (unsigned i = 0; i < 3; i++)
		fake_write(h, BASE + i * LEVEL_SIZE(2) + 8 * 4096, 50 + i);
	fake_peek(h, kernel_current(k), BASE, NULL, &level);
	ck_assert_uint_eq(level, 2);
	ck_assert_uint_eq(k->counts.faults_demand, 3);
	if (scarce) { /* one page of each block that is left */
		map(h, BASE + (1ull << 30), 5000, RW, 1);
		for (unsigned i = 0; k->counts.pages_free > 600; i++)
			fake_write(h, BASE + (1ull << 30) + i * 4096, 1);
		fake_op(h, OP_FORK, 0, 0);
		fake_write(h, BASE + (1ull << 30), 1);
		while (k->counts.pages_free > 400)
			ck_assert(page_alloc(k, 1));
	} else {
		fake_op(h, OP_FORK, 0, 0);
	}
	ck_assert(fake_write(h, BASE + LEVEL_SIZE(2) + 8 * 4096, 77));
	fake_peek(h, kernel_current(k), BASE + LEVEL_SIZE(2), NULL, &level);
	ck_assert_uint_eq(level, scarce ? 1 : 2);
	ck_assert_uint_eq(h->copied, scarce ? 2 : 512);
	ck_assert_uint_eq(word(h, BASE + LEVEL_SIZE(2) + 8 * 4096), 77);
	ck_assert_uint_eq(word(h, BASE + 8 * 4096), 50);
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert_uint_eq(word(h, BASE + LEVEL_SIZE(2) + 8 * 4096), 51);
	ck_assert(fake_write(h, BASE + LEVEL_SIZE(2) + 9 * 4096, 78));
	if (!scarce)
		fake_check(h);
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert_uint_eq(word(h, BASE + LEVEL_SIZE(2) + 9 * 4096), 0);
	ck_assert_uint_eq(k->counts.oom_kills, 0);
	fake_free(h);
}
END_TEST

/* What if a process uses 1 GiB pages: touches, cuts a hole into one, forks, writes? */
START_TEST(giant_pages)
{
	struct hal *h = guest(4096, 1);
	struct kernel *k = h->kernel;
	uint64_t giant = LEVEL_SIZE(3), free_pages = k->counts.pages_free, pages = LEVEL_PAGES(3);
	unsigned level;

	map(h, BASE, 2 * pages, RW, 3);
	ck_assert(fake_write(h, BASE + 12345 * 4096, 5));
	fake_peek(h, kernel_current(k), BASE, NULL, &level);
	ck_assert_uint_eq(level, 3);
	ck_assert_uint_eq(k->counts.pages_free, free_pages - pages);
	fake_op(h, OP_FORK, 0, 0);
	ck_assert(fake_write(h, BASE + 12345 * 4096, 6)); /* copies all of it */
	ck_assert_uint_eq(h->copied, pages);
	ck_assert_uint_eq(k->counts.pages_free, free_pages - 2 * pages);
	fake_op(h, OP_MUNMAP, BASE + 3 * 4096, OP_MAP(1, 0, 0));
	ck_assert_uint_eq(k->counts.pages_free, free_pages - 2 * pages + 1);
	fake_peek(h, kernel_current(k), BASE, NULL, &level);
	ck_assert_uint_eq(level, 1);
	fake_peek(h, kernel_current(k), BASE + LEVEL_SIZE(2), NULL, &level);
	ck_assert_uint_eq(level, 2);
	fake_check(h);
	ck_assert_uint_eq(word(h, BASE + 12345 * 4096), 6);
	ck_assert(fake_write(h, BASE + giant, 7)); /* the other one: a whole giant is left, or 2 MiB pages */
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert_uint_eq(word(h, BASE + 12345 * 4096), 5);
	ck_assert_uint_eq(word(h, BASE + giant), 0);
	fake_check(h);
	fake_op(h, OP_EXIT, 0, 0);
	fake_op(h, OP_EXIT, 0, 0);
	ck_assert_uint_eq(k->counts.pages_free, free_pages);
	ck_assert(page_alloc(k, 3) && page_alloc(k, 3) && page_alloc(k, 3));
	fake_free(h);
}
END_TEST

/* What if a mapping that wants large pages is too small, crooked, or has a table in the way? */
START_TEST(falls_back)
{
	struct hal *h = guest(64, 1);
	const struct process *p = kernel_current(h->kernel);
	unsigned level;

	map(h, BASE + 4096, 1023, RW, 3);
	fake_write(h, BASE + 4096, 1);
	fake_peek(h, p, BASE + 4096, NULL, &level);
	ck_assert_uint_eq(level, 1);
	fake_write(h, BASE + LEVEL_SIZE(2), 1);
	fake_peek(h, p, BASE + LEVEL_SIZE(2), NULL, &level);
	ck_assert_uint_eq(level, 2);
	map(h, BASE, 1024, RW, 2); /* replaces all of it: nothing is in the way any more */
	fake_write(h, BASE + 4096, 1);
	fake_peek(h, p, BASE, NULL, &level);
	ck_assert_uint_eq(level, 2);
	fake_op(h, OP_MUNMAP, BASE, OP_MAP(1, 0, 0));
	map(h, BASE, 1, RW, 2); /* joins the mapping, but its table stays */
	fake_write(h, BASE, 1);
	fake_peek(h, p, BASE, NULL, &level);
	ck_assert_uint_eq(level, 1);
	fake_check(h);
	ck_assert_uint_eq(h->kernel->nvmas, 1);
	fake_free(h);
}
END_TEST

/* What if mappings are replaced, cut and joined? */
START_TEST(mmap_and_munmap)
{
	struct hal *h = guest(64, 1);
	struct kernel *k = h->kernel;
	uint64_t free_pages = k->counts.pages_free;

	map(h, BASE, 100, RW, 1);
	map(h, BASE + 100 * 4096, 100, RW, 1);
	ck_assert_uint_eq(k->nvmas, 1);
	for (unsigned i = 0; i < 200; i++)
		fake_write(h, BASE + i * 4096, i + 1);
	fake_op(h, OP_MUNMAP, BASE + 50 * 4096, OP_MAP(10, 0, 0));
	ck_assert_uint_eq(k->nvmas, 2);
	map(h, BASE + 150 * 4096, 10, RW, 1);
	ck_assert_uint_eq(k->nvmas, 2);
	fake_check(h);
	ck_assert_uint_eq(word(h, BASE + 49 * 4096), 50);
	ck_assert_uint_eq(word(h, BASE + 60 * 4096), 61);
	ck_assert_uint_eq(word(h, BASE + 155 * 4096), 0);
	fake_op(h, OP_MUNMAP, BASE - 4096, OP_MAP(300, 0, 0)); /* holes do not matter */
	fake_check(h);
	ck_assert_uint_eq(k->nvmas, 0);
	ck_assert_uint_eq(k->counts.pages_free, free_pages);
	ck_assert_uint_eq(k->counts.mmaps, 3);
	ck_assert_uint_eq(k->counts.munmaps, 2);
	ck_assert(!fake_read(h, BASE, NULL));
	ck_assert_uint_eq(k->counts.faults_segv, 1);
	ck_assert(kernel_done(k));
	fake_free(h);
}
END_TEST

/* What if protections change under contents? */
START_TEST(mprotect)
{
	struct hal *h = guest(64, 3);
	struct kernel *k = h->kernel;
	unsigned level = 1 + _i;
	uint64_t e;

	map(h, BASE, 1024, RW, level);
	for (unsigned i = 0; i < 3; i++)
		fake_write(h, BASE + i * 4096, i + 1);
	fake_op(h, OP_MPROTECT, BASE + 4096, OP_MAP(1, 0, 0)); /* none */
	fake_op(h, OP_MPROTECT, BASE + 8192, OP_MAP(1, PROT_R | PROT_X, 0));
	fake_check(h);
	ck_assert_uint_eq(k->nvmas, 4);
	fake_peek(h, kernel_current(k), BASE + 4096, &e, NULL);
	ck_assert((e & (PTE_P | PTE_NONE)) == PTE_NONE);
	ck_assert(fake_fetch(h, BASE + 8192));
	ck_assert_uint_eq(word(h, BASE + 8192), 3);
	fake_op(h, OP_MPROTECT, BASE, OP_MAP(3, RW, 0));
	fake_check(h);
	ck_assert_uint_eq(k->nvmas, 1);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(word(h, BASE + i * 4096), i + 1);
	ck_assert_uint_eq(k->counts.faults_cow, 0);

	fake_op(h, OP_FORK, 0, 0); /* a shared page must not become writable by mprotect */
	fake_op(h, OP_MPROTECT, BASE, OP_MAP(3, PROT_R, 0));
	fake_op(h, OP_MPROTECT, BASE, OP_MAP(3, RW, 0));
	fake_check(h);
	fake_write(h, BASE, 9);
	ck_assert_uint_eq(k->counts.faults_cow, 1);
	ck_assert_uint_eq(k->counts.mprotects, 5);

	fake_op(h, OP_MPROTECT, BASE, OP_MAP(1, PROT_R, 0));
	ck_assert(!fake_write(h, BASE, 10));
	map(h, BASE, 1, PROT_R | PROT_W, 1);
	ck_assert(!fake_fetch(h, BASE));
	map(h, BASE, 1, 0, 1);
	ck_assert(!fake_read(h, BASE, NULL));
	ck_assert_uint_eq(k->counts.faults_segv, 3);
	ck_assert_uint_eq(word(h, BASE), 1); /* the child is left */
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if a process asks for what no process may have? It ends; others do not notice. */
START_TEST(bad_calls)
{
	static const struct {
		unsigned kind;
		uint64_t va, arg;
	} bad[] = {
		{ OP_MMAP, BASE + 8, OP_MAP(1, RW, 1) },
		{ OP_MMAP, BASE, OP_MAP(0, RW, 1) },
		{ OP_MMAP, RUNTIME_VA, OP_MAP(1, RW, 1) },
		{ OP_MMAP, RUNTIME_VA - 4096, OP_MAP(2, RW, 1) },
		{ OP_MMAP, COMMON_VA, OP_MAP(1, RW, 1) },
		{ OP_MMAP, (1ull << 47), OP_MAP(1, RW, 1) },
		{ OP_MMAP, (1ull << 47) - 4096, OP_MAP(2, RW, 1) },
		{ OP_MMAP, 4096, OP_MAP((1ull << 40) - 1, RW, 1) },
		{ OP_MUNMAP, RUNTIME_VA, OP_MAP(1, 0, 0) },
		{ OP_MPROTECT, COMMON_VA, OP_MAP(1, RW, 0) },
		{ OP_FILL, BASE, 77 },
		{ OP_KINDS, 0, 0 },
		{ 63, 0, 0 },
	};
	struct hal *h = guest(64, 2);

	map(h, (1ull << 47) - 4096, 1, RW, 1);
	ck_assert(fake_write(h, (1ull << 47) - 4096, 1));
	ck_assert_ptr_nonnull(fake_process(h, 1));
	fake_op(h, bad[_i].kind, bad[_i].va, bad[_i].arg);
	ck_assert_ptr_null(fake_process(h, 1));
	ck_assert_ptr_nonnull(fake_process(h, 2));
	ck_assert_uint_eq(h->kernel->counts.exits, 1);
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if the VMM lets a fault through that was none, or a reserved bit? */
START_TEST(odd_faults)
{
	struct hal *h = guest(64, 1);

	map(h, BASE, 1, RW, 1);
	fake_write(h, BASE, 1);
	fake_fault(h, BASE, PF_P | PF_W | PF_U);
	ck_assert_uint_eq(h->kernel->counts.faults_spurious, 1);
	fake_fault(h, BASE, PF_P | PF_RSVD | PF_U);
	ck_assert_uint_eq(h->kernel->counts.faults_segv, 1);
	ck_assert(kernel_done(h->kernel));
	fake_free(h);
}
END_TEST

/* What if pages get contents, alone and shared? */
START_TEST(fills)
{
	uint64_t base = PATTERN_BASE(PATTERN_TEXT, 5), expect[512];
	struct hal *h = guest(64, 1);
	const struct process *p = kernel_current(h->kernel);

	map(h, BASE, 1024, RW, 1 + _i);
	fake_write(h, BASE + 5 * 4096, 99);
	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_FILL, BASE + 5 * 4096, base);
	fake_op(h, OP_FILL, BASE + 700 * 4096, base);
	pattern_fill((struct pattern){ base, 99 }, expect);
	ck_assert(!memcmp(fake_peek(h, p, BASE + 5 * 4096, NULL, NULL), expect, 4096));
	expect[0] = 0;
	ck_assert(!memcmp(fake_peek(h, p, BASE + 700 * 4096, NULL, NULL), expect, 4096));
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert_uint_eq(word(h, BASE + 5 * 4096), 99);
	ck_assert_uint_eq(word(h, BASE + 5 * 4096 + 8), 0);
	ck_assert_uint_eq(h->kernel->counts.faults_cow, 0); /* system calls are no faults */
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if few and many pages go at once: page by page, or all of the address space? */
START_TEST(flushes)
{
	struct hal *h = guest(64, 1);

	map(h, BASE, 200, RW, 1);
	for (unsigned i = 0; i < 200; i++)
		fake_write(h, BASE + i * 4096, 1);
	ck_assert_uint_eq(h->invlpgs + h->flushes, 0);
	fake_op(h, OP_MUNMAP, BASE, OP_MAP(20, 0, 0));
	ck_assert_uint_eq(h->invlpgs, 20);
	ck_assert_uint_eq(h->flushes, 0);
	fake_op(h, OP_MUNMAP, BASE, OP_MAP(100, 0, 0));
	ck_assert_uint_eq(h->invlpgs, 20);
	ck_assert_uint_eq(h->flushes, 1);
	fake_free(h);
}
END_TEST

/* What does a process find at the places that every process has? */
START_TEST(runtime_and_common)
{
	struct hal *h = guest(64, 2);
	struct kernel *k = h->kernel;
	const struct process *p = kernel_current(k);
	uint64_t e;

	ck_assert_ptr_eq(fake_peek(h, p, RUNTIME_VA, &e, NULL), (uint8_t *)kernel_runtime(k, p));
	ck_assert((e & (PTE_P | PTE_U | PTE_W | PTE_NX)) == (PTE_P | PTE_U | PTE_W | PTE_NX));
	ck_assert_ptr_eq(fake_peek(h, p, COMMON_VA + COMMON_PAGE_SCRIPT * 4096, &e, NULL), h->mem + SCRIPT_GPA);
	ck_assert((e & (PTE_P | PTE_U | PTE_W | PTE_NX)) == (PTE_P | PTE_U | PTE_NX));
	ck_assert_ptr_eq(fake_peek(h, p, COMMON_VA + COMMON_PAGE_TEXT * 4096, &e, NULL), h->mem + USER_TEXT_GPA);
	ck_assert((e & (PTE_P | PTE_U | PTE_W | PTE_NX)) == (PTE_P | PTE_U));
	ck_assert_ptr_null(fake_peek(h, p, KERNEL_DIRECT_MAP, NULL, NULL));
	fake_op(h, OP_EXIT, 0, 0); /* the common table outlives it */
	p = kernel_current(k);
	ck_assert_ptr_eq(fake_peek(h, p, COMMON_VA + COMMON_PAGE_TEXT * 4096, NULL, NULL), h->mem + USER_TEXT_GPA);
	ck_assert_ptr_nonnull(fake_peek(h, &(struct process){ .root = k->root }, COMMON_VA, NULL, NULL));
	fake_free(h);
}
END_TEST

/* What if memory runs out? The largest process ends, be it another or the one that asked. */
START_TEST(oom)
{
	struct hal *h = guest(16, 3);
	struct kernel *k = h->kernel;
	uint64_t all = k->counts.pages_free, n = 0;

	map(h, BASE, all * 2, RW, 1);
	for (uint64_t i = 0; i < all * 2 / 3; i++)
		ck_assert(fake_write(h, BASE + i * 4096, i));
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert_uint_eq(kernel_current(k)->pid, 2);
	map(h, BASE, all * 2, RW, 1);
	for (; fake_write(h, BASE + n * 4096, n); n++)
		ck_assert_int_eq(fake_process(h, 1) != NULL, n < all - all * 2 / 3);
	ck_assert_uint_eq(n, all);
	ck_assert_uint_eq(k->counts.oom_kills, 2);
	ck_assert_uint_eq(k->counts.exits, 2);
	ck_assert_uint_eq(kernel_current(k)->pid, 3);
	ck_assert_uint_eq(k->counts.pages_free, all);
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if the one that must go has few, large pages, and its translations are still about? */
START_TEST(oom_large)
{
	struct hal *h = fake_new(&(struct fake_config){
		.npages = PAGES(16), .nprocesses = 2, .flags = _i ? BOOT_PCID : 0 });
	struct kernel *k = h->kernel;
	uint64_t all = k->counts.pages_free;

	map(h, BASE, 512 * 3, RW, 2);
	for (unsigned i = 0; i < 3; i++)
		fake_write(h, BASE + i * LEVEL_SIZE(2), 1);
	fake_op(h, OP_YIELD, 0, 0);
	map(h, BASE, all, RW, 1);
	while (k->counts.pages_free > 3) /* not by touching: the TLB is to remember */
		ck_assert(page_alloc(k, 1));
	for (uint64_t i = 0; i <= 3; i++)
		ck_assert(fake_write(h, BASE + i * 4096, i));
	ck_assert_ptr_null(fake_process(h, 1));
	ck_assert_uint_eq(k->counts.pages_free, 512 * 3 - 1);
	fake_free(h);
}
END_TEST

/* What if all that is left of a table is a page that nobody may touch, and that goes? */
START_TEST(untouchable_table)
{
	struct hal *h = guest(64, 1);

	map(h, BASE, 1024, RW, 1);
	fake_write(h, BASE, 1);
	fake_op(h, OP_MPROTECT, BASE, OP_MAP(1, 0, 0));
	fake_speculate(h, BASE + 4096);
	fake_op(h, OP_MUNMAP, BASE, OP_MAP(1, 0, 0));
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if the arena is too small: to boot, for tables, for forks? Processes pay, the kernel lives. */
START_TEST(small_arena)
{
	struct hal *h;
	uint64_t booted = 0;

	for (uint64_t end = HEAP_MIN_GPA; end <= HEAP_MIN_GPA + 10 * MIB; end += LEVEL_SIZE(2)) {
		h = fake_new(&(struct fake_config){ .npages = PAGES(4096), .arena_end = end, .nprocesses = 2 });
		booted = h->kernel && !booted ? end : booted;
		ck_assert(!booted || h->kernel);
		fake_free(h);
	}
	ck_assert_uint_gt(booted, HEAP_MIN_GPA);
	h = fake_new(&(struct fake_config){
		.npages = PAGES(4096), .arena_end = booted + LEVEL_SIZE(2), .nprocesses = 2 });

	struct kernel *k = h->kernel;
	bool child = false;

	for (uint64_t i = 0; !k->counts.oom_kills; i++) {
		map(h, BASE + i * LEVEL_SIZE(3), 1, RW, 1);
		fake_write(h, BASE + i * LEVEL_SIZE(3), 1);
	}
	fake_check(h);
	ck_assert_uint_eq(k->counts.exits, 1);
	while (k->counts.oom_kills < 2) {
		for (uint64_t i = 0; i < 20; i++) {
			map(h, BASE + i * LEVEL_SIZE(3), 1, RW, 1);
			fake_write(h, BASE + i * LEVEL_SIZE(3), 1);
		}
		fake_op(h, OP_FORK, 0, 0);
		child |= k->nlive > 1;
	}
	fake_check(h);
	ck_assert(child && k->nlive > 1);
	while (!kernel_done(k))
		fake_op(h, OP_EXIT, 0, 0);
	ck_assert_uint_eq(k->counts.pages_free, PAGES(4096) - booted / PAGE_SIZE - 512);
	fake_free(h);
}
END_TEST

/* What does an arena of the advised size cost? */
START_TEST(arena_size)
{
	ck_assert_uint_le(kernel_arena_pages(PAGES(64), 4), PAGES(8));
	ck_assert_uint_le(kernel_arena_pages(PAGES(4096), 4), PAGES(4096) / 64);
	for (uint64_t mib = 16; mib <= 1 << 20; mib *= 4) {
		ck_assert_uint_eq(kernel_arena_pages(PAGES(mib), 250) % 512, 0);
		ck_assert_uint_ge(kernel_arena_pages(PAGES(mib), 250), kernel_arena_pages(PAGES(mib), 1));
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guest kernel");
	TCase *tc = tcase_create("kernel");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, boots, 0, 12);
	tcase_add_test(tc, demand_zero_and_exit);
	tcase_add_loop_test(tc, fork_isolates, 0, 4);
	tcase_add_test(tc, last_owner_keeps);
	tcase_add_loop_test(tc, fork_large, 0, 2);
	tcase_add_test(tc, giant_pages);
	tcase_add_test(tc, falls_back);
	tcase_add_test(tc, mmap_and_munmap);
	tcase_add_loop_test(tc, mprotect, 0, 2);
	tcase_add_loop_test(tc, bad_calls, 0, 13);
	tcase_add_test(tc, odd_faults);
	tcase_add_loop_test(tc, fills, 0, 2);
	tcase_add_test(tc, flushes);
	tcase_add_test(tc, runtime_and_common);
	tcase_add_test(tc, oom);
	tcase_add_loop_test(tc, oom_large, 0, 2);
	tcase_add_test(tc, untouchable_table);
	tcase_add_test(tc, small_arena);
	tcase_add_test(tc, arena_size);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
