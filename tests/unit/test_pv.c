/* SPDX-License-Identifier: MIT */
/* test_pv.c - direct paging: types, translation, laziness, splinters, rights; and native's few rules */

#include "tests/lib/direct.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "vmm/sim/native.h"

#define ARENA 512u
#define ROOT  0x10000ull
#define PDPT  0x11000ull
#define PD    0x12000ull
#define PT    0x13000ull
#define RWU   (PTE_P | PTE_W | PTE_U)
#define MIB2  (2ull << 20)

/* A guest with one table a level: gva 0 to 2 MiB through PT, the rest of the first GiB through PD. */
static struct direct *boot(unsigned level, unsigned max_leaf)
{
	struct direct_config cfg = { 16384, 4096, ARENA, level, max_leaf, 4 };
	struct direct *d = direct_new(&cfg);

	must_eq(pv_table_new(d->paging, PT, 1), 0);
	must_eq(pv_table_new(d->paging, PD, 2), 0);
	must_eq(pv_table_new(d->paging, PDPT, 3), 0);
	must_eq(pv_table_new(d->paging, ROOT, 4), 0);
	must(direct_set(d, ROOT, 0, PDPT | RWU, 4));
	must(direct_set(d, PDPT, 0, PD | RWU, 3));
	must(direct_set(d, PD, 0, PT | RWU, 2));
	direct_load(d, ROOT);
	return d;
}

static void check_tables(struct direct *d)
{
	must(!d->paging->ops->verify(d->paging));
}

/* The guest page that an access reaches, or GFN_NONE for the guest's own fault. */
static gfn_t reach(struct direct *d, gva_t gva, unsigned access, unsigned *error)
{
	hfn_t hfn;
	int err = 0;

	switch (direct_access(d, gva, access, &hfn, error, &err)) {
	case DIRECT_OK:
	case DIRECT_HIT:
		return gmem_gfn_of(d->gmem, hfn);
	case DIRECT_FAULT:
		return GFN_NONE;
	default:
		ck_abort_msg("gva %llx: errno %d", (unsigned long long)gva, -err);
	}
	return GFN_NONE;
}

/* What if a leaf names a page the host has not given? It is filled by the first touch, and reads back as written. */
START_TEST(lazy_leaf)
{
	struct direct *d = boot(1, 1);
	unsigned error = 0;

	must(direct_set(d, PT, 5, 1000ull << 12 | RWU | PTE_SW1, 1));
	must_eq(d->c.faults_absent, 0);
	must_eq(direct_get(d, PT, 5), 1000ull << 12 | RWU | PTE_SW1);
	must_eq(reach(d, 0x5000, ACC_R, &error), 1000);
	must_eq(d->c.faults_absent, 1);
	must_eq(direct_get(d, PT, 5), 1000ull << 12 | RWU | PTE_SW1 | PTE_A);
	must_eq(reach(d, 0x5000, ACC_W, &error), 1000);
	must_eq(direct_get(d, PT, 5), 1000ull << 12 | RWU | PTE_SW1 | PTE_A | PTE_D);
	must_eq(direct_get(d, PD, 0), PT | RWU | PTE_A);
	/* Mapped a second time it is installed at once: no fault of any kind. */
	must(direct_set(d, PT, 6, 1000ull << 12 | RWU, 1));
	must_eq(reach(d, 0x6000, ACC_W, &error), 1000);
	must_eq(d->c.faults_absent + d->c.faults_spurious, 1);
	check_tables(d);
	direct_free(d);
}
END_TEST

/* What if gmem takes or moves a page? Its entries are found, and what the processor had noted is not lost. */
START_TEST(host_takes_page)
{
	struct direct *d = boot(1, 1);
	unsigned error = 0;

	must(direct_set(d, PT, 5, 1000ull << 12 | RWU, 1));
	must(direct_set(d, PT, 6, 1000ull << 12 | RWU, 1));
	must_eq(reach(d, 0x5000, ACC_W, &error), 1000);
	must_eq(reach(d, 0x6000, ACC_R, &error), 1000);
	must_eq(gmem_move(d->gmem, 1000, 1), 0);
	must_eq(d->c.pv_rewrites, 2);
	must_eq(direct_get(d, PT, 5), 1000ull << 12 | RWU | PTE_A | PTE_D);
	must_eq(reach(d, 0x5000, ACC_W, &error), 1000);
	must_eq(gmem_release(d->gmem, 1000), 0);
	check_tables(d);
	must_eq(reach(d, 0x6000, ACC_R, &error), 1000);
	must_eq(d->c.faults_absent, 2);
	must(gmem_test_clear_young(d->gmem, 1000));
	must(!gmem_test_clear_young(d->gmem, 1000));
	must_eq(reach(d, 0x6000, ACC_R, &error), 1000);
	must_eq(d->c.faults_young, 1);
	check_tables(d);
	direct_free(d);
}
END_TEST

/* What if the guest removes an entry, does not flush, and the host takes the page? The TLB must not keep it. */
START_TEST(unflushed_removal)
{
	struct direct *d = boot(1, 1);
	unsigned error = 0;

	must(direct_set(d, PT, 5, 1000ull << 12 | RWU, 1));
	must_eq(reach(d, 0x5000, ACC_W, &error), 1000);
	must(direct_set(d, PT, 5, 0, 1));
	must_eq(reach(d, 0x5000, ACC_W, &error), 1000); /* the guest's own doing */
	must_eq(gmem_release(d->gmem, 1000), 0);
	must_eq(reach(d, 0x5000, ACC_W, &error), GFN_NONE);
	must_eq(error, PF_W | PF_U);
	direct_free(d);
}
END_TEST

/* What if a page is removed from the guest's tables, becomes a table, and the TLB still knows it as writable memory? */
START_TEST(cached_page_becomes_table)
{
	struct direct *d = boot(1, 1);
	unsigned error = 0;

	must(direct_set(d, PT, 5, 0x20000 | RWU, 1));
	must_eq(reach(d, 0x5000, ACC_W, &error), 0x20);
	must(direct_set(d, PT, 5, 0, 1));
	must_eq(reach(d, 0x5000, ACC_W, &error), 0x20);
	must_eq(pv_table_new(d->paging, 0x20000, 1), 0);
	must_eq(reach(d, 0x5000, ACC_W, &error), GFN_NONE);
	direct_free(d);
}
END_TEST

/* What if a table is freed, its like in a walk cache, and then written as memory, or made a table of another level? */
START_TEST(cached_table_changes_type)
{
	for (int pin = 0; pin < 2; pin++) {
		struct direct *d = boot(1, 1);
		uint64_t flushes;
		unsigned error = 0;

		must_eq(pv_table_new(d->paging, 0x20000, 1), 0);
		must(direct_set(d, PD, 3, 0x20000 | RWU, 2));
		must(direct_set(d, 0x20000, 0, 1000ull << 12 | RWU, 1));
		must_eq(reach(d, 3 * MIB2, ACC_W, &error), 1000);
		must(direct_set(d, PT, 5, 0x20000 | RWU, 1));
		must_eq(reach(d, 0x5000, ACC_R, &error), 0x20);
		must(direct_set(d, PD, 3, 0, 2));
		must_eq(pv_table_free(d->paging, 0x20000, 1), 0);
		flushes = d->machine->flushes[FLUSH_VM];
		if (pin)
			must_eq(pv_table_new(d->paging, 0x20000, 2), 0);
		else
			must_eq(reach(d, 0x5000, ACC_W, &error), 0x20);
		must_eq(d->machine->flushes[FLUSH_VM], flushes + 1);
		check_tables(d);
		direct_free(d);
	}
}
END_TEST

/* What if a large leaf has no large backing? The guest reads it back whole; the processor finds a splinter. */
START_TEST(splinters)
{
	struct direct *d = boot(2, 2);
	uint64_t leaf = 3 * MIB2 | RWU | PTE_PS | PTE_G | PTE_NX;
	unsigned error = 0;

	must_eq(gmem_write(d->gmem, 3 * MIB2, &leaf, 8), 0);
	must_eq(gmem_split(d->gmem, 3 * 512), 0);
	must_eq(gmem_move(d->gmem, 3 * 512 + 8, 1), 0);
	must_eq(gmem_release(d->gmem, 3 * 512 + 7), 0);
	must(direct_set(d, PD, 1, leaf, 2));
	must_eq(d->paging->ops->table_frames(d->paging), 0);
	must_eq(reach(d, MIB2 + 7 * 4096, ACC_R, &error), 3 * 512 + 7);
	must_eq(reach(d, MIB2 + 9 * 4096, ACC_W, &error), 3 * 512 + 9);
	must_eq(d->paging->ops->table_frames(d->paging), 1);
	must_eq(d->c.faults_absent, 1);
	must_eq(direct_get(d, PD, 1), leaf | PTE_A | PTE_D);
	check_tables(d);
	for (unsigned i = 0; i < 512; i++)
		reach(d, MIB2 + i * 4096ull, ACC_R, &error);
	must_eq(gmem_collapse(d->gmem, 3 * 512, 2), 0);
	check_tables(d);
	must_eq(reach(d, MIB2 + 9 * 4096, ACC_W, &error), 3 * 512 + 9);
	must_eq(d->paging->ops->table_frames(d->paging), 0); /* one leaf now */
	check_tables(d);
	must_eq(gmem_release(d->gmem, 3 * 512 + 9), 0);
	must_eq(reach(d, MIB2 + 8 * 4096, ACC_W, &error), 3 * 512 + 8);
	must_eq(d->paging->ops->table_frames(d->paging), 1);
	must(direct_set(d, PD, 1, 0, 2));
	must_eq(d->paging->ops->table_frames(d->paging), 0);
	direct_free(d);
}
END_TEST

START_TEST(large_leaf)
{
	struct direct *d = boot(2, 2);
	unsigned error = 0;

	must(direct_set(d, PD, 1, 3 * MIB2 | RWU | PTE_PS, 2));
	must_eq(reach(d, MIB2 + 7 * 4096, ACC_W, &error), 3 * 512 + 7);
	must_eq(d->paging->ops->table_frames(d->paging), 0);
	must_eq(reach(d, MIB2 + 8 * 4096, ACC_W, &error), 3 * 512 + 8);
	must_eq(d->c.pv_rewrites, 0);
	check_tables(d);
	direct_free(d);
}
END_TEST

/* What if a 1 GiB leaf loses one page? 511 leaves of 2 MiB and 511 of 4 KiB, as they are touched. */
START_TEST(gigabyte_leaf)
{
	struct direct_config cfg = { 4 << 18, 2 << 18, ARENA, 3, 3, 4 };
	struct direct *d = direct_new(&cfg);
	uint64_t leaf = 1ull << 30 | RWU | PTE_PS;
	gva_t gva = 0;
	unsigned error = 0;

	must_eq(pv_table_new(d->paging, PDPT, 3), 0);
	must_eq(pv_table_new(d->paging, ROOT, 4), 0);
	must(direct_set(d, ROOT, 0, PDPT | RWU, 4) && direct_set(d, PDPT, 0, leaf, 3));
	direct_load(d, ROOT);
	must_eq(reach(d, gva + 0x12345678, ACC_W, &error), (1ull << 18) + 0x12345);
	must_eq(reach(d, gva + 0x3fffffff, ACC_R, &error), (1ull << 19) - 1);
	must_eq(d->paging->ops->table_frames(d->paging), 0);
	check_tables(d);
	must_eq(gmem_release(d->gmem, (1 << 18) + 5), 0);
	must_eq(reach(d, gva + 4096, ACC_W, &error), (1 << 18) + 1);
	must_eq(reach(d, gva + MIB2, ACC_W, &error), (1 << 18) + 512);
	must_eq(d->paging->ops->table_frames(d->paging), 2);
	must_eq(direct_get(d, PDPT, 0), leaf | PTE_A | PTE_D);
	check_tables(d);
	must(direct_set(d, PDPT, 0, 0, 3));
	must_eq(d->paging->ops->table_frames(d->paging), 0);
	direct_free(d);
}
END_TEST

/* What if the guest maps its tables writable, as a direct map does? Everything around them is, they are not. */
START_TEST(tables_are_read_only)
{
	struct direct *d = boot(2, 2);
	unsigned error = 0;

	must(direct_set(d, PD, 1, 0 | RWU | PTE_PS, 2)); /* the arena */
	must_eq(reach(d, MIB2 + 0x40000, ACC_W, &error), 0x40);
	must_eq(reach(d, MIB2 + PT, ACC_R, &error), PT >> 12);
	must_eq(reach(d, MIB2 + PT, ACC_W, &error), GFN_NONE);
	must_eq(error, PF_P | PF_W | PF_U);
	must_eq(d->c.pv_rejected, 1);
	/* A page becomes a table while it is mapped writable and cached; and memory again. */
	must_eq(pv_table_new(d->paging, 0x40000, 1), 0);
	must_eq(reach(d, MIB2 + 0x40000, ACC_W, &error), GFN_NONE);
	must_eq(pv_table_free(d->paging, 0x40000, 1), 0);
	must_eq(reach(d, MIB2 + 0x40000, ACC_W, &error), 0x40);
	must_eq(direct_get(d, PD, 1), (uint64_t)(RWU | PTE_PS | PTE_A | PTE_D));
	check_tables(d);
	direct_free(d);
}
END_TEST

/* What if an update is nonsense? Refused, counted, and nothing after it in the batch is done. */
START_TEST(refusals)
{
	struct direct *d = boot(1, 1);
	struct pv_entry u[] = {
		{ PT + 8, 1000ull << 12 | RWU, 1 },
		{ PT + 16, 4096ull << 12 | RWU, 1 },
		{ PT + 24, 1001ull << 12 | RWU, 1 },
	};
	uint64_t view[512];

	must_eq(-pv_update(d->paging, u, 3), EINVAL);
	must_eq(direct_get(d, PT, 1), u[0].value);
	must_eq(direct_get(d, PT, 3), 0);
	must_eq(d->c.pv_rejected, 1);
	must_eq(d->c.pv_updates, 3 + 1);
	must(!direct_set(d, PT, 1, 0, 2));	    /* not of that level */
	must(!direct_set(d, 0x20000, 1, 0, 1));	    /* no table */
	must(!direct_set(d, ROOT, 1, PD | RWU, 4)); /* two levels down */
	must(!direct_set(d, PD, 1, 0x20000 | RWU, 2));
	must(!direct_set(d, PD, 1, 0x20000 | RWU | PTE_PS, 2));
	must(!direct_set(d, ROOT, 1, RWU | PTE_PS, 4));
	must(!direct_set(d, PD, 1, (uint64_t)ARENA << 12 | RWU, 2));
	must(!direct_set(d, PD, 1, MIB2 / 2 | RWU | PTE_PS, 2));
	must_eq(d->c.pv_rejected, 1 + 8);
	must(!pv_read(d->paging, 0x20000) && !pv_read(d->paging, PT + 12) && !pv_read(d->paging, ARENA << 12));
	must_eq(d->c.pv_rejected, 1 + 8 + 3);
	must_eq(-pv_peek(d->paging, 0x20000, view), EINVAL);
	must(!pv_peek(d->paging, PT, view) && view[1] == u[0].value && !view[2]);
	must_eq(-pv_table_new(d->paging, PT, 1), EBUSY);
	must_eq(-pv_table_new(d->paging, 0x20008, 1), EINVAL);
	must_eq(-pv_table_new(d->paging, 0x20000, 0), EINVAL);
	must_eq(-pv_table_new(d->paging, 0x20000, 5), EINVAL);
	must_eq(-pv_table_new(d->paging, ARENA << 12, 1), EINVAL);
	must_eq(-pv_table_free(d->paging, PT, 1), EBUSY);
	must_eq(-pv_table_free(d->paging, ROOT, 4), EBUSY);
	must_eq(-pv_table_free(d->paging, PT, 2), EINVAL);
	must_eq(-pv_table_free(d->paging, 0x20000, 0), EINVAL);
	check_tables(d);
	direct_free(d);
}
END_TEST

/* What if a page with contents becomes a table? Translated if all is well, untouched if not. */
START_TEST(pin_contents)
{
	struct direct *d = boot(1, 1);
	uint64_t *bytes = (uint64_t *)(gmem_arena(d->gmem) + 0x20000);
	unsigned error = 0;

	bytes[4] = 1000ull << 12 | RWU;
	bytes[5] = 5000ull << 12 | RWU; /* beyond the end */
	must_eq(-pv_table_new(d->paging, 0x20000, 1), EINVAL);
	must_eq(bytes[4], 1000ull << 12 | RWU);
	check_tables(d);
	bytes[5] = 0;
	must_eq(pv_table_new(d->paging, 0x20000, 1), 0);
	must(direct_set(d, PD, 2, 0x20000 | RWU, 2));
	must_eq(reach(d, 2 * MIB2 + 0x4000, ACC_R, &error), 1000);
	check_tables(d);
	must(direct_set(d, PD, 2, 0, 2));
	must_eq(pv_table_free(d->paging, 0x20000, 1), 0);
	must_eq(bytes[4], 0); /* no host frame shows */
	direct_free(d);
}
END_TEST

struct rights_case {
	uint64_t upper, leaf;
	unsigned error, cr0, cr4, efer, rflags, want; /* want: 0 allowed, else the injected error */
};

/* What if the guest's own tables forbid it? The error code is the one bare hardware would give. */
START_TEST(guest_rights)
{
	static const struct rights_case cases[] = {
		{ RWU, PTE_P | PTE_U, PF_U | PF_W, CR0_WP, 0, 0, 0, PF_P | PF_U | PF_W },
		{ RWU, PTE_P | PTE_U, PF_W, CR0_WP, 0, 0, 0, PF_P | PF_W },
		{ RWU, PTE_P | PTE_U, PF_W, 0, 0, 0, 0, 0 },
		{ PTE_P | PTE_W, RWU, PF_U, CR0_WP, 0, 0, 0, PF_P | PF_U },
		{ PTE_P | PTE_U, RWU, PF_U | PF_W, CR0_WP, 0, 0, 0, PF_P | PF_U | PF_W },
		{ RWU, RWU | PTE_NX, PF_U | PF_I, 0, 0, EFER_NX, 0, PF_P | PF_U | PF_I },
		{ RWU | PTE_NX, RWU, PF_U | PF_I, 0, 0, EFER_NX, 0, PF_P | PF_U | PF_I },
		{ RWU, RWU, PF_I, 0, CR4_SMEP, EFER_NX, 0, PF_P | PF_I },
		{ RWU, RWU, PF_I, 0, 0, EFER_NX, 0, 0 },
		{ RWU, RWU, 0, 0, CR4_SMAP, 0, 0, PF_P },
		{ RWU, RWU, 0, 0, CR4_SMAP, 0, RFLAGS_AC, 0 },
		{ RWU, PTE_W, PF_U | PF_P, 0, 0, 0, 0, PF_U },
		{ RWU, RWU, PF_U | PF_RSVD | PF_P, 0, 0, 0, 0, PF_U | PF_RSVD | PF_P },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct rights_case *c = &cases[i];
		struct direct *d = boot(1, 1);
		struct paging_fault f = { .gva = 0x5123, .error = c->error };
		enum paging_verdict verdict;
		int err;

		must(direct_set(d, PD, 0, PT | c->upper, 2));
		must(direct_set(d, PT, 5, 1000ull << 12 | c->leaf, 1));
		d->regs.cr0 = c->cr0;
		d->regs.cr4 = c->cr4;
		d->regs.efer = c->efer;
		d->regs.rflags = c->rflags;
		verdict = d->paging->ops->fault(d->paging, &f, &err);
		if (verdict != (c->want ? PAGING_INJECT : PAGING_RETRY) || (c->want && f.error != c->want))
			ck_abort_msg("case %u: verdict %d, error %x", i, verdict, f.error);
		direct_free(d);
	}
}
END_TEST

/* What if CR3 is no root, or an address is not canonical? */
START_TEST(bad_root)
{
	struct direct *d = boot(1, 1);
	struct paging_fault f = { .gva = 1ull << 47, .error = 0 };
	hpa_t root;
	int err;

	must_eq(d->paging->ops->fault(d->paging, &f, &err), PAGING_INJECT);
	direct_load(d, PD);
	must_eq(d->c.pv_rejected, 1);
	must_eq(-d->paging->ops->hw_root(d->paging, 0, &root), EINVAL);
	f.gva = 0;
	must_eq(d->paging->ops->fault(d->paging, &f, &err), PAGING_FAIL);
	direct_free(d);
}
END_TEST

/* What if nothing is virtualized? The root is the guest's, and every fault its own. */
START_TEST(native)
{
	struct frames *fr = frames_new(8192, 1);
	struct fake_machine *fm = fake_machine_new(8192);
	struct gmem_config gc = { .npages = 2048, .arena_pages = 512, .level = 1, .linear = true };
	struct guest_regs regs = { .cr3 = 0x3000 | 5 };
	const struct guest_regs *vcpu[] = { &regs };
	struct counters c = { 0 };
	struct gmem *g = gmem_new(&gc, fr, &fm->base, &c, NULL);
	struct paging_config cfg = { .gmem = g, .nvcpus = 1, .regs = vcpu, .guest_levels = 4, .max_leaf = 1 };
	struct paging_fault f = { .error = PF_U };
	struct gmem_page page;
	struct paging *p;
	hpa_t root;
	int err;

	p = native_paging_ops.create(&cfg);
	must(p && !p->ops->verify(p) && !p->ops->table_frames(p));
	must(!gmem_lookup(g, 3, &page) && !p->ops->hw_root(p, 0, &root));
	must_eq(root, page.hfn << 12);
	must_eq(native_bias(p) + 3 * 4096, root);
	must_eq(p->ops->fault(p, &f, &err), PAGING_INJECT);
	must_eq(-p->ops->guest_write(p, 0, 0, &f, 8), EINVAL);
	p->ops->destroy(p);
	gmem_free(g);
	gc.linear = false;
	cfg.gmem = g = gmem_new(&gc, fr, &fm->base, &c, NULL);
	must(!native_paging_ops.create(&cfg) && errno == EINVAL);
	gmem_free(g);
	frames_free(fr);
	fake_machine_free(fm);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pv");
	TCase *tc = tcase_create("pv");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, lazy_leaf);
	tcase_add_test(tc, host_takes_page);
	tcase_add_test(tc, unflushed_removal);
	tcase_add_test(tc, cached_page_becomes_table);
	tcase_add_test(tc, cached_table_changes_type);
	tcase_add_test(tc, splinters);
	tcase_add_test(tc, large_leaf);
	tcase_add_test(tc, gigabyte_leaf);
	tcase_add_test(tc, tables_are_read_only);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, pin_contents);
	tcase_add_test(tc, guest_rights);
	tcase_add_test(tc, bad_root);
	tcase_add_test(tc, native);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
