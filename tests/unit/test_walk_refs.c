/* SPDX-License-Identifier: MIT */
/*
 * test_walk_refs.c - how many table entries a walk reads
 *
 * The figures of the literature, and the closed form they come from: each guest level read costs one translation
 * of its table and one reference, and the data costs one more translation.
 */
#include <check.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/tables.h"

static struct host host;
static struct sim_mmu *mmu;
static struct counters counters;
static struct guest_regs regs;

static void setup(void)
{
	host_init(&host, 1 << 20); /* 4 GiB of addresses, few of them used */
	regs = test_regs();
	memset(&counters, 0, sizeof(counters));
	mmu = NULL;
}

static void teardown(void)
{
	mmu_free(mmu);
	host_free(&host);
}

static void use_profile(const char *name, bool cache_model)
{
	struct sim_profile *p = profile_load(name, NULL);

	ck_assert_ptr_nonnull(p);
	mmu = mmu_new(p, cache_model);
	profile_free(p);
}

static struct mmu_context context_1d(unsigned levels)
{
	return (struct mmu_context){
		.walk = MMU_1D,
		.regs = &regs,
		.levels = levels,
		.vpid = 1,
		.maxphyaddr = 46,
		.c = &counters,
		.bytes = host.bytes,
	};
}

#define GVA 0x7f1234567000ull

/*
 * Guest tables at gpas 1 GiB apart, so that with large host pages each is in one of its own; guest-physical memory
 * backed at host address = gpa mod 1 GiB: what a large leaf maps is never read by a walk beyond the tables.
 */
static uint32_t refs_2d(unsigned n, unsigned m, unsigned gpage, const unsigned *hpage, unsigned hdata, bool npt)
{
	struct mmu_context x = context_1d(n);
	struct mmu_result r;
	uint64_t link = npt ? PTE_P | PTE_W | PTE_U : EPT_RWX, leaf = npt ? link : EPT_RWX | EPT_WB;
	gpa_t data = 9ull << 30;

	host.next = 1;
	memset(host.bytes, 0, 64 * PAGE_SIZE);
	x.root = host_page(&host);
	x.walk = MMU_2D;
	x.host_levels = m;
	x.npt = npt;
	/* The guest's table for level l: page l of a GiB of its own; its contents at host page l of GiB 1. */
	for (unsigned l = n; l >= gpage; l--) {
		gpa_t gpa = (uint64_t)l << 30;
		hpa_t base = 1ull << 30;
		uint64_t to = l == gpage ? data : (gpa_t)(l - 1) << 30;

		to += l == gpage ? 0 : (l - 1) * PAGE_SIZE;
		gpa += l * PAGE_SIZE;
		host_map(&host, x.root, m, gpa, hpage[l], (base + l * PAGE_SIZE) & ~(LEVEL_SIZE(hpage[l]) - 1), leaf,
			 link);
		memset(host.bytes + base + l * PAGE_SIZE, 0, PAGE_SIZE);
		*host_entry(&host, base + l * PAGE_SIZE, GVA, l) =
			to | PTE_P | PTE_W | PTE_U | (l == gpage && l > 1 ? PTE_PS : 0);
	}
	gpa_t gpa = data + (GVA & (LEVEL_SIZE(gpage) - 1));
	host_map(&host, x.root, m, gpa, hdata, (2ull << 30) & ~(LEVEL_SIZE(hdata) - 1), leaf, link);
	regs.cr3 = ((uint64_t)n << 30) + n * PAGE_SIZE;

	mmu_flush_vm(mmu, 1, &counters);
	mmu_access(mmu, &x, GVA, ACC_R | ACC_U, &r);
	ck_assert_int_eq(r.outcome, MMU_OK);
	return r.refs;
}

static uint32_t refs_same(unsigned n, unsigned m, unsigned gpage, unsigned hpage)
{
	unsigned all[] = { hpage, hpage, hpage, hpage, hpage, hpage };

	return refs_2d(n, m, gpage, all, hpage, false);
}

static uint32_t refs_1d(unsigned n, unsigned gpage)
{
	struct mmu_context x = context_1d(n);
	struct mmu_result r;

	host.next = 1;
	memset(host.bytes, 0, 64 * PAGE_SIZE);
	x.root = host_page(&host);
	host_map(&host, x.root, n, GVA, gpage, 1ull << 30, PTE_P | PTE_U, PTE_P | PTE_U);
	mmu_flush_vm(mmu, 1, &counters);
	mmu_access(mmu, &x, GVA, ACC_R | ACC_U, &r);
	ck_assert_int_eq(r.outcome, MMU_OK);
	return r.refs;
}

START_TEST(what_if_the_literature_counts)
{
	use_profile("bare", false);
	ck_assert_uint_eq(refs_1d(4, 1), 4); /* native, and shadow: the hardware walks one table */
	ck_assert_uint_eq(refs_1d(5, 1), 5);
	ck_assert_uint_eq(refs_same(4, 4, 1, 1), 24);
	ck_assert_uint_eq(refs_same(5, 5, 1, 1), 35);
	ck_assert_uint_eq(refs_same(5, 4, 1, 1), 29);
	ck_assert_uint_eq(refs_same(4, 4, 1, 2), 19);
	ck_assert_uint_eq(refs_same(4, 4, 2, 2), 15);
	ck_assert_uint_eq(refs_same(4, 4, 3, 3), 8);
}
END_TEST

START_TEST(what_if_any_pair_of_levels_and_pages)
{
	use_profile("bare", _i & 1);
	for (unsigned n = 4; n <= 5; n++)
		for (unsigned g = 1; g <= 3; g++) {
			ck_assert_uint_eq(refs_1d(n, g), n - g + 1);
			for (unsigned m = 4; m <= 5; m++)
				for (unsigned h = 1; h <= 3; h++) {
					unsigned walk = m - h + 1;

					ck_assert_uint_eq(refs_same(n, m, g, h), (n - g + 1) * (walk + 1) + walk);
				}
		}
}
END_TEST

START_TEST(what_if_backing_is_mixed)
{
	struct rng rng;

	use_profile("bare", false);
	rng_seed(&rng, 7);
	for (int i = 0; i < 500; i++) {
		unsigned n = 4 + (unsigned)rng_below(&rng, 2), m = 4 + (unsigned)rng_below(&rng, 2);
		unsigned g = 1 + (unsigned)rng_below(&rng, 3), hdata = 1 + (unsigned)rng_below(&rng, 3);
		unsigned hpage[6], want = 0;

		for (unsigned l = 1; l <= 5; l++)
			hpage[l] = 1 + (unsigned)rng_below(&rng, 3);
		for (unsigned l = n; l >= g; l--)
			want += m - hpage[l] + 1 + 1;
		want += m - hdata + 1;
		ck_assert_uint_eq(refs_2d(n, m, g, hpage, hdata, _i), want);
	}
}
END_TEST

START_TEST(what_if_the_caches_are_warm)
{
	struct mmu_context x = context_1d(4);
	struct mmu_result r;

	use_profile("skylake-sp", false);
	x.root = host_page(&host);
	for (unsigned i = 0; i < 3; i++)
		host_map(&host, x.root, 4, GVA + i * PAGE_SIZE, 1, 1ull << 30, PTE_P | PTE_U, PTE_P | PTE_U);
	mmu_access(mmu, &x, GVA, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 4);
	mmu_access(mmu, &x, GVA, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 0);
	mmu_access(mmu, &x, GVA + PAGE_SIZE, ACC_R | ACC_U, &r); /* the PDE is cached: one reference */
	ck_assert_uint_eq(r.refs, 1);
	mmu_invlpg(mmu, &x, GVA + 2 * PAGE_SIZE);		      /* drops all page-walk caches of the PCID */
	mmu_access(mmu, &x, GVA + 2 * PAGE_SIZE, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 4);
	ck_assert_uint_eq(counters.walk_refs, 9);
	ck_assert_uint_eq(counters.walk_refs_guest, 9);
	ck_assert_uint_eq(counters.walks, 3);
	ck_assert_uint_eq(counters.pwc_hits, 1);
	ck_assert_uint_eq(counters.tlb_l1_hits, 1);
	ck_assert_uint_eq(counters.tlb_misses, 3);
	ck_assert_uint_eq(r.walk_cycles, 9 + 10 + 4 * 20 + 60); /* the leaf's accessed bit was clear */
	ck_assert_uint_eq(r.cycles, r.walk_cycles + 5);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("walk_refs");
	TCase *tc = tcase_create("refs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_if_the_literature_counts);
	tcase_add_loop_test(tc, what_if_any_pair_of_levels_and_pages, 0, 2);
	tcase_add_loop_test(tc, what_if_backing_is_mixed, 0, 2);
	tcase_add_test(tc, what_if_the_caches_are_warm);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
