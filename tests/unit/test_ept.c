/* SPDX-License-Identifier: MIT */
/* test_ept.c - second-stage paging: leaves, splits, misconfigurations, dirty logging, young pages */
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/stage2.h"
#include "tests/lib/suite.h"

#define ARENA 512u
#define MIB2  (2ull << 20)

static struct stage2 *boot(unsigned level, unsigned max_leaf, bool ad, bool pml)
{
	struct stage2_config cfg = { 16384, 4096, ARENA, level, max_leaf, 4, false, ad, pml };

	return stage2_new(&cfg);
}

static void touch(struct stage2 *s, gpa_t gpa, bool write)
{
	hfn_t hfn;

	must_eq(stage2_access(s, gpa, write, &hfn), 0);
}

static unsigned level_at(struct stage2 *s, gpa_t gpa)
{
	unsigned level;

	stage2_entry(s, gpa, &level);
	return level;
}

static void check_tables(struct stage2 *s)
{
	must(!s->paging->ops->verify(s->paging));
}

/* What if backing and leaf size differ? The smaller of the two is mapped. */
START_TEST(leaf_sizes)
{
	static const unsigned cases[][3] = { { 1, 1, 1 }, { 1, 2, 1 }, { 2, 1, 1 }, { 2, 2, 2 }, { 2, 3, 2 } };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct stage2 *s = boot(cases[i][0], cases[i][1], true, false);

		touch(s, 4 * MIB2 + 0x5000, true);
		must_eq(level_at(s, 4 * MIB2 + 0x5000), cases[i][2]);
		must_eq(s->c.ept_maps, 1);
		must_eq(s->c.faults_absent > 0, 1);
		check_tables(s);
		stage2_free(s);
	}
}
END_TEST

/* What if the guest goes beyond its memory, or the host has none left? */
START_TEST(failures)
{
	struct stage2_config tight = { ARENA + 4, 4096, ARENA, 1, 1, 4, false, true, false };
	struct stage2 *s = boot(1, 1, true, false);
	struct paging_fault f = { .gpa = 4096ull << 12, .second_stage = true };
	hfn_t hfn;
	int err;

	must_eq(s->paging->ops->fault(s->paging, &f, &err), PAGING_FAIL);
	must_eq(-err, EFAULT);
	f = (struct paging_fault){ .gva = 0x1000, .error = PF_U };
	must_eq(s->paging->ops->fault(s->paging, &f, &err), PAGING_INJECT);
	must_eq(-s->paging->ops->guest_write(s->paging, 0, 0, &f, 8), EINVAL);
	stage2_free(s);

	s = stage2_new(&tight);
	must_eq(-stage2_access(s, 8 * MIB2 - 4096, false, &hfn), ENOMEM);
	check_tables(s);
	stage2_free(s);
}
END_TEST

START_TEST(bad_configurations)
{
	struct stage2 *s = boot(1, 1, true, false);
	struct paging_config good = { .gmem = s->gmem, .nvcpus = 1, .guest_levels = 4, .host_levels = 4,
				      .maxphyaddr = 46, .max_leaf = 1 }, c;

	c = good, c.host_levels = 3;
	must(!ept_paging_ops.create(&c) && errno == EINVAL);
	c = good, c.max_leaf = 4;
	must(!ept_paging_ops.create(&c) && errno == EINVAL);
	c = good, c.pml = true;
	must(!ept_paging_ops.create(&c) && errno == EINVAL);
	c = good, c.pml = c.npt = c.ad_bits = true;
	must(!ept_paging_ops.create(&c) && errno == EINVAL);
	stage2_free(s);
}
END_TEST

/* What if one page of a mapped 2M block is taken back? The rest stays mapped, by 4K leaves. */
START_TEST(release_splits)
{
	struct stage2 *s = boot(2, 2, true, false);
	uint64_t tables;

	touch(s, 4 * MIB2, true);
	tables = s->paging->ops->table_frames(s->paging);
	must_eq(gmem_release(s->gmem, 4 * 512 + 9), 0);
	must_eq(s->c.ept_splits, 1);
	must_eq(s->c.ept_unmaps, 1);
	must_eq(s->paging->ops->table_frames(s->paging), tables + 1);
	must(!stage2_mapped(s, 4 * MIB2 + 9 * 4096, false));
	must(stage2_mapped(s, 4 * MIB2 + 8 * 4096, true) && stage2_mapped(s, 4 * MIB2 + 10 * 4096, true));
	check_tables(s);
	stage2_free(s);
}
END_TEST

/* What if the host has no frame for the table that a split needs? The whole leaf goes, and comes back by touch. */
START_TEST(split_without_memory)
{
	/* Arena, one 2M block, root and two tables; nothing else. */
	struct stage2_config cfg = { 2 * ARENA + 512, 4096, ARENA, 2, 2, 4, false, true, false };
	struct stage2 *s = stage2_new(&cfg);
	hfn_t taken;

	touch(s, 4 * MIB2, true);
	must_eq(level_at(s, 4 * MIB2), 2);
	while (!frames_alloc(s->frames, 1, 0, false, FRAME_OWNER(FRAME_TABLE, 9, 0), &taken))
		;
	s->paging->ops->wrprotect(s->paging, 4 * 512 + 3, 1);
	must_eq(s->c.ept_splits, 0);
	must(!stage2_mapped(s, 4 * MIB2, false));
	must(s->machine->flushes[FLUSH_GPA] > 0);
	check_tables(s);
	touch(s, 4 * MIB2, true);
	for (hfn_t h = 0; h < frames_total(s->frames); h++)
		if (FRAME_KIND(frames_get(s->frames, h)) == FRAME_TABLE && FRAME_VM(frames_get(s->frames, h)) == 9)
			frames_release(s->frames, h, 1);
	stage2_free(s);
}
END_TEST

/* What if an entry is corrupted? A leaf is dropped, a pointer mended, a lost table fatal. */
START_TEST(misconfigurations)
{
	struct stage2 *s = boot(1, 1, true, false);
	struct paging_fault f = { .gpa = 5 * MIB2, .second_stage = true, .misconfig = true };
	hpa_t root;
	uint64_t *e, *top;
	unsigned level;
	int err;

	touch(s, f.gpa, true);
	e = stage2_entry(s, f.gpa, &level);
	*e = (*e & ~1ull) | 2; /* writable, not readable */
	must_eq(s->paging->ops->fault(s->paging, &f, &err), PAGING_RETRY);
	must_eq(s->c.ept_repairs, 1);
	check_tables(s);

	must(!s->paging->ops->hw_root(s->paging, 0, &root));
	top = (uint64_t *)(frames_bytes(s->frames) + root);
	top[0] |= 1ull << 50; /* beyond the physical address width, and past the host's end */
	must_eq(s->paging->ops->fault(s->paging, &f, &err), PAGING_FAIL);
	must_eq(-err, EUCLEAN);
	top[0] &= ~(1ull << 50);
	top[0] |= 0x78; /* reserved in a pointer */
	must_eq(s->paging->ops->fault(s->paging, &f, &err), PAGING_RETRY);
	must_eq(s->c.ept_repairs, 2);
	check_tables(s);
	must_eq(s->paging->ops->fault(s->paging, &f, &err), PAGING_RETRY); /* nothing wrong any more */
	must_eq(s->c.ept_repairs, 2);
	stage2_free(s);
}
END_TEST

/* What if a page is tested for youth? It is unmapped, and its accessed bit or its being mapped decides. */
START_TEST(young)
{
	for (int ad = 0; ad < 2; ad++) {
		struct stage2 *s = boot(1, 1, ad, false);
		gfn_t gfn = 3000;

		must(!gmem_test_clear_young(s->gmem, gfn));
		touch(s, gfn << 12, false);
		must(gmem_test_clear_young(s->gmem, gfn));
		must(!stage2_mapped(s, gfn << 12, false));
		must(!gmem_test_clear_young(s->gmem, gfn));
		touch(s, gfn << 12, false);
		must_eq(s->c.faults_young, 1);
		must(gmem_test_clear_young(s->gmem, gfn));
		stage2_free(s);
	}
}
END_TEST

/* What if accessed bits are believed? The page stays mapped, no fault follows; without such bits all is as before. */
START_TEST(young_by_bit)
{
	for (int ad = 0; ad < 2; ad++) {
		struct stage2 *s = boot(2, 2, ad, false);
		gfn_t gfn = 3000;

		gmem_young_by_bit(s->gmem);
		must(!gmem_test_clear_young(s->gmem, gfn));
		for (unsigned i = 0; i < 3; i++) {
			touch(s, gfn << 12, i);
			must(gmem_test_clear_young(s->gmem, gfn));
			must(stage2_mapped(s, gfn << 12, false) == ad);
			must(!gmem_test_clear_young(s->gmem, gfn));
			check_tables(s);
		}
		must_eq(s->c.faults_young, ad ? 0 : 2);
		must_eq(level_at(s, gfn << 12), 1);
		stage2_free(s);
	}
}
END_TEST

/* What if the processor does not walk this table? It is asked instead, and keeps its bits as if it had been walked. */
START_TEST(asked)
{
	for (int ad = 0; ad < 2; ad++) {
		struct stage2 *s = boot(2, 2, ad, false);
		struct ept_leaf leaf;
		struct gmem_page page;
		unsigned level;
		gfn_t gfn = 3000;

		must(!ept_access(s->paging, gfn << 12, 0, &leaf));
		touch(s, gfn << 12, false);
		must(ept_access(s->paging, gfn << 12, ACC_R, &leaf) && leaf.access == ACC_RWX);
		must(!gmem_lookup(s->gmem, gfn, &page) && page.hfn == leaf.hfn);
		must(ept_access(s->paging, (gfn + 1) << 12, 0, &leaf) && leaf.hfn == page.hfn + 1);
		must(gmem_test_clear_young(s->gmem, gfn));
		must(!ept_access(s->paging, gfn << 12, ACC_R, &leaf));
		must(ept_access(s->paging, (gfn + 1) << 12, 0, &leaf));
		must_eq(leaf.accessed, true); /* a split keeps it */
		gmem_young_by_bit(s->gmem);
		must(gmem_test_clear_young(s->gmem, gfn + 1));
		must(ept_access(s->paging, (gfn + 1) << 12, 0, &leaf) == ad);
		must(!ad || !leaf.accessed);
		touch(s, (gfn + 1) << 12, true);
		*stage2_entry(s, (gfn + 1) << 12, &level) &= ~0x300ull;
		must(ept_access(s->paging, (gfn + 1) << 12, ACC_W, &leaf) && leaf.accessed);
		must_eq(*stage2_entry(s, (gfn + 1) << 12, &level) & 0x300, ad ? 0x300 : 0);
		must(!gmem_share_protect(s->gmem, gfn + 1));
		must(!ept_access(s->paging, (gfn + 1) << 12, ACC_W, &leaf));
		must(ept_access(s->paging, (gfn + 1) << 12, ACC_R, &leaf) && !(leaf.access & ACC_W));
		check_tables(s);
		stage2_free(s);
	}
}
END_TEST

/* What if small pages are gathered into a block? One large leaf replaces the table. */
START_TEST(collapse)
{
	struct stage2 *s = boot(2, 2, true, false);
	unsigned level;

	for (int move = 0; move < 2; move++) {
		touch(s, 3 * MIB2, true);
		must_eq(level_at(s, 3 * MIB2), 2);
		must_eq(gmem_split(s->gmem, 3 * 512), 0);
		if (move)
			must_eq(gmem_move(s->gmem, 3 * 512 + 7, 1), 0);
		for (unsigned i = 0; i < 512; i++)
			touch(s, 3 * MIB2 + i * 4096ull, true);
		must_eq(level_at(s, 3 * MIB2), 1);
		must_eq(gmem_collapse(s->gmem, 3 * 512, 2), 0);
		/* Accessed and dirty outlive the table they were in. */
		must(move || (*stage2_entry(s, 3 * MIB2, &level) & 0x300) == 0x300);
		must_eq(s->c.ept_collapses, 1); /* in place only the first time: moved pages come back by touch */
		check_tables(s);
		touch(s, 3 * MIB2 + 4096, true);
		must_eq(level_at(s, 3 * MIB2), 2);
		check_tables(s);
	}
	stage2_free(s);
}
END_TEST

/* What if the dirty log runs, by write-protection or by the processor? Both find the same pages. */
START_TEST(dirty_log)
{
	for (int pml = 0; pml < 2; pml++) {
		struct stage2 *s = boot(2, 2, true, pml);
		uint64_t map[64] = { 0 };

		touch(s, 2 * MIB2, true);
		touch(s, 3 * MIB2, true);
		stage2_drain(s);
		must_eq(gmem_dirty_log_start(s->gmem), 0);
		must(!pml == !stage2_mapped(s, 2 * MIB2, true));
		touch(s, 2 * MIB2 + 0x3000, true);
		touch(s, 2 * MIB2 + 0x3000, true);
		touch(s, 2 * MIB2 + 0x4000, false);
		touch(s, 6 * MIB2 + 0x1000, true); /* populated while the log is on */
		must_eq(level_at(s, 2 * MIB2 + 0x3000), 1);
		stage2_drain(s);
		must_eq(gmem_dirty_log_collect(s->gmem, map), 2);
		must_eq(map[(2 * 512 + 3) / 64], 1ull << 3);
		must_eq(map[(6 * 512 + 1) / 64], 1ull << 1);
		memset(map, 0, sizeof(map));
		touch(s, 2 * MIB2 + 0x3000, true); /* armed again */
		stage2_drain(s);
		must_eq(gmem_dirty_log_collect(s->gmem, map), 1);
		must_eq(s->c.dirty_log_writes, 3);
		check_tables(s);
		gmem_dirty_log_stop(s->gmem);
		touch(s, 2 * MIB2 + 0x5000, true);
		check_tables(s);
		stage2_free(s);
	}
}
END_TEST

/* What if the log names an address that is none of the guest's? Ignored. */
START_TEST(drain_beyond_end)
{
	struct stage2 *s = boot(1, 1, true, true);
	gpa_t gpa[] = { 1ull << 45, 4096ull << 12, UINT64_MAX };

	must_eq(gmem_dirty_log_start(s->gmem), 0);
	ept_pml_drain(s->paging, gpa, 3);
	must_eq(s->c.dirty_log_writes, 0);
	stage2_free(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ept");
	TCase *tc = tcase_create("ept");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, leaf_sizes);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, bad_configurations);
	tcase_add_test(tc, release_splits);
	tcase_add_test(tc, split_without_memory);
	tcase_add_test(tc, misconfigurations);
	tcase_add_test(tc, young);
	tcase_add_test(tc, young_by_bit);
	tcase_add_test(tc, asked);
	tcase_add_test(tc, collapse);
	tcase_add_test(tc, dirty_log);
	tcase_add_test(tc, drain_beyond_end);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
