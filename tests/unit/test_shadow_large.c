/* SPDX-License-Identifier: MIT */
/* test_shadow_large.c - shadow paging of large guest pages, and splintering */
#include <glib.h>

#include "tests/lib/sguest.h"
#include "tests/lib/suite.h"

/* What if the guest uses 2 MiB pages? Large if the host can and no table lies there, else splintered. */
START_TEST(large_pages)
{
	static const unsigned cases[][3] = { { 1, 3, 1 }, { 2, 1, 1 }, { 2, 2, 2 }, { 2, 3, 2 } };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct shadowed_config cfg = sguest_plain;
		struct shadowed *v;

		cfg.level = cases[i][0];
		cfg.max_leaf = cases[i][1];
		v = sguest_boot_with(&cfg);
		shadowed_poke(v, PD + 16, DATA * 4096ull | USER | PTE_PS);
		must_eq(sguest_level(v, 2 * MIB2 + 0x5000, ACC_R | ACC_U), cases[i][2]);
		must_eq(sguest_touch(v, 2 * MIB2 + 0x5000, ACC_R | ACC_U, NULL), DATA + 5);
		must_eq(v->c.shadow_splinters, cases[i][2] == 1);
		/* D of the large page: one fault, whatever the size. */
		must_eq(sguest_faults(v, 2 * MIB2 + 0x5000, ACC_W | ACC_U), 1);
		must_eq(sguest_faults(v, 2 * MIB2 + 0x5000, ACC_W | ACC_U), 0);
		must(shadowed_peek(v, PD + 16) & PTE_D);
		/* The guest drops it: nothing stays. */
		sguest_store(v, PD + 16, 0);
		must(!sguest_mapped(v, 2 * MIB2 + 0x5000, ACC_R | ACC_U));
		sguest_done(v);
	}
}
END_TEST

/* What if a 1 GiB guest page lies on 2 MiB backing? Large leaves of the host's size, two levels apart. */
START_TEST(gigabyte)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;

	cfg.level = 2;
	v = sguest_boot_with(&cfg);
	shadowed_poke(v, PDPT + 8, USER | PTE_PS);
	must_eq(sguest_level(v, (1ull << 30) + DATA * 4096ull, ACC_W | ACC_U), 2);
	must_eq(sguest_level(v, (1ull << 30) + PT, ACC_R | ACC_U), 1); /* tables there */
	must_eq(sguest_touch(v, (1ull << 30) + PT, ACC_R | ACC_U, NULL), PT >> 12);
	must_eq(sguest_store(v, PDPT + 8, 0), PAGING_EMULATE);
	must(!sguest_mapped(v, (1ull << 30) + DATA * 4096ull, ACC_R | ACC_U));
	sguest_done(v);
}
END_TEST

/* What if the kernel's direct map covers tables with 2 MiB pages? Only the tables are read-only. */
START_TEST(direct_map)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;
	gpa_t far = (DATA + 3) * 4096ull;

	cfg.level = 2;
	v = sguest_boot_with(&cfg);
	must_eq(sguest_level(v, DIRECT + DATA * 4096ull, ACC_W), 2);
	must_eq(sguest_level(v, DIRECT + 0x40000, ACC_W), 1); /* its own tables are in that block */
	must_eq(sguest_faults(v, DIRECT + 0x40008, ACC_W), 0);
	/* A page of the large block becomes a table: the block is splintered, the table traced. */
	sguest_store(v, PD + 24, far | USER);
	sguest_store(v, far, (DATA + 1) * 4096ull | USER);
	must_eq(sguest_touch(v, 3 * MIB2, ACC_R | ACC_U, NULL), DATA + 1);
	must_eq(sguest_level(v, DIRECT + far - 4096, ACC_W), 1);
	must_eq(sguest_store(v, far, (DATA + 2) * 4096ull | USER), PAGING_EMULATE);
	must_eq(sguest_touch(v, 3 * MIB2, ACC_R | ACC_U, NULL), DATA + 2);
	/* It is data again: after a flood of writes the block may be large again. */
	for (unsigned i = 0; i < 3; i++)
		must_eq(sguest_store(v, far + 64, i), PAGING_EMULATE);
	must_eq(sguest_store(v, far + 64, 3), PAGING_RETRY);
	must_eq(v->c.shadow_floods, 1);
	must_eq(sguest_level(v, DIRECT + far + 4096, ACC_W), 2);
	sguest_done(v);
}
END_TEST

/* What if the host splits or gathers a block under a guest's large page? */
START_TEST(split_and_collapse)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;

	cfg.level = 2;
	v = sguest_boot_with(&cfg);
	shadowed_poke(v, PD + 16, DATA * 4096ull | USER | PTE_PS);
	must_eq(sguest_level(v, 2 * MIB2, ACC_W | ACC_U), 2);
	must_eq(-gmem_split(v->gmem, DATA), 0);
	must_eq(sguest_level(v, 2 * MIB2, ACC_W | ACC_U), 1);
	must_eq(sguest_level(v, 2 * MIB2 + 0x3000, ACC_W | ACC_U), 1);
	must_eq(-gmem_collapse(v->gmem, DATA, 2), 0);
	must_eq(sguest_level(v, 2 * MIB2 + 0x3000, ACC_W | ACC_U), 2);
	/* One page of it is taken: the leaf goes, its neighbours come back small. */
	must_eq(-gmem_release(v->gmem, DATA + 4), 0);
	must(!sguest_mapped(v, 2 * MIB2, ACC_R | ACC_U));
	must_eq(sguest_level(v, 2 * MIB2, ACC_W | ACC_U), 1);
	must_eq(sguest_touch(v, 2 * MIB2 + 0x4000, ACC_W | ACC_U, NULL), DATA + 4);
	sguest_done(v);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shadow_large");
	TCase *tc = tcase_create("large");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, large_pages);
	tcase_add_test(tc, gigabyte);
	tcase_add_test(tc, direct_map);
	tcase_add_test(tc, split_and_collapse);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
