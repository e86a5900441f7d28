/* SPDX-License-Identifier: MIT */
/* test_kernel.c - the guest kernel, event by event */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/fake_hal.h"

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
	static const uint64_t npages[] = { PAGES(16), PAGES(64), PAGES(64) + 77, PAGES(1500) + 1, PAGES(4096), PAGES(5000) };
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

static Suite *suite(void)
{
	Suite *s = suite_create("guest kernel");
	TCase *tc = tcase_create("kernel");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, boots, 0, 12);
	tcase_add_test(tc, demand_zero_and_exit);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(suite());

	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
