/* SPDX-License-Identifier: MIT */
/* test_guest_walk.c - the VMM's walk of the guest's tables against one written from the manual */
#include <glib.h>

#include "shadow/internal.h"
#include "tests/lib/must.h"
#include "tests/lib/shadowed.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define ARENA	   512u
#define NPAGES	   1024u
#define MAXPHYADDR 40u

static struct shadowed *boot(unsigned levels)
{
	struct shadowed_config cfg = { .host_pages = 4096,
				       .npages = NPAGES,
				       .arena_pages = ARENA,
				       .level = 1,
				       .max_leaf = 1,
				       .levels = levels,
				       .maxphyaddr = MAXPHYADDR,
				       .flood = 3 };

	return shadowed_new(&cfg);
}

static int walk(struct shadowed *v, gva_t gva, unsigned access, struct guest_walk *w, uint32_t *error)
{
	return shadow_walk((struct shadow *)v->paging, &v->regs[0], gva, access, w, error);
}

/* Tables at gfn 1 (root), 2, ... one a level, all of whose entries at index 0 lead to the next. */
static void chain(struct shadowed *v, unsigned leaf, uint64_t flags, uint64_t last)
{
	unsigned level = v->cfg.levels;
	gfn_t gfn = 1;

	v->regs[0].cr3 = gfn << PAGE_SHIFT;
	for (; level > leaf; level--, gfn++)
		shadowed_poke(v, gfn << PAGE_SHIFT, (gfn + 1) << PAGE_SHIFT | flags);
	shadowed_poke(v, gfn << PAGE_SHIFT, last);
}

/* What if all is well? The address is composed and A and D are set, A only where it was not. */
START_TEST(plain)
{
	static const unsigned leaf[] = { 1, 2, 3 };
	struct guest_walk w;
	uint32_t error;

	for (unsigned levels = 4; levels <= 5; levels++)
		for (unsigned i = 0; i < 3; i++) {
			struct shadowed *v = boot(levels);
			gpa_t entry = (1 + levels - leaf[i]) << PAGE_SHIFT;

			chain(v, leaf[i], PTE_P | PTE_W | PTE_U, PTE_P | PTE_W | PTE_U | (leaf[i] > 1 ? PTE_PS : 0));
			must_eq(walk(v, 0x123, ACC_R | ACC_U, &w, &error), 0);
			must_eq(w.level, leaf[i]);
			must_eq(w.gpa, 0x123);
			must_eq(w.access, ACC_RWX | ACC_U);
			must_eq(shadowed_peek(v, entry) & (PTE_A | PTE_D), PTE_A);
			must_eq(v->c.shadow_ad_updates, levels - leaf[i] + 1);
			must_eq(walk(v, 0x123, ACC_W | ACC_U, &w, &error), 0);
			must_eq(shadowed_peek(v, entry) & (PTE_A | PTE_D), PTE_A | PTE_D);
			must_eq(shadowed_peek(v, 0x1000) & PTE_D, levels == leaf[i] ? PTE_D : 0);
			must_eq(v->c.shadow_ad_updates, levels - leaf[i] + 2);
			shadowed_free(v);
		}
}
END_TEST

/* What if tables or page lie where there is no memory, or the address is not canonical? */
START_TEST(nowhere)
{
	struct shadowed *v = boot(4);
	struct guest_walk w;
	uint32_t error;

	v->regs[0].cr3 = (uint64_t)NPAGES << PAGE_SHIFT;
	must_eq(-walk(v, 0, ACC_R, &w, &error), EFAULT);
	v->regs[0].cr3 = ~0ull;
	must_eq(-walk(v, 0, ACC_R, &w, &error), EFAULT);
	chain(v, 1, PTE_P | PTE_W | PTE_U, PTE_P);
	shadowed_poke(v, 0x2000, PTE_P | ((1ull << MAXPHYADDR) - PAGE_SIZE));
	must_eq(-walk(v, 0, ACC_R, &w, &error), EFAULT);
	must_eq(walk(v, 1ull << 47, ACC_W, &w, &error), 1);
	must_eq(error, PF_W);
	shadowed_free(v);
}
END_TEST

/* What if the tables are not in the arena? They are read through gmem, which populates them, and A and D get there. */
START_TEST(outside_arena)
{
	struct shadowed *v = boot(4);
	struct guest_walk w;
	uint32_t error;
	gfn_t far = ARENA + 7;

	chain(v, 1, PTE_P | PTE_W | PTE_U, PTE_P);
	shadowed_poke(v, 0x3000, far << PAGE_SHIFT | PTE_P | PTE_W | PTE_U);
	must_eq(walk(v, 0, ACC_R, &w, &error), 1);
	must_eq(error, 0);
	shadowed_poke(v, far << PAGE_SHIFT, 0x5000 | PTE_P | PTE_W | PTE_U);
	must_eq(walk(v, 0xfff, ACC_W, &w, &error), 0);
	must_eq(w.gpa, 0x5fff);
	must_eq(shadowed_peek(v, far << PAGE_SHIFT), 0x5000 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D);
	shadowed_free(v);
}
END_TEST

/* What if paging is off? */
START_TEST(paging_off)
{
	struct shadowed *v = boot(4);
	struct guest_walk w;
	uint32_t error;

	v->regs[0].cr0 = CR0_PE;
	must_eq(walk(v, 0x1234567, ACC_W, &w, &error), 0);
	must_eq(w.gpa, 0x1234567);
	must_eq(w.access, ACC_RWX | ACC_U);
	shadowed_free(v);
}
END_TEST

/*
 * The manual, bit by bit and in its own numbers (SDM vol. 3A, tables 4-15 to 4-20, section 4.6): returns 0 and *gpa, or
 * 1 and *error, or -1 if a table lies beyond memory. Sets A and D.
 */
static int naive(struct shadowed *v, gva_t gva, unsigned access, gpa_t *gpa, uint32_t *error)
{
	const struct guest_regs *r = &v->regs[0];
	bool user = access & ACC_U, write = access & ACC_W, fetch = access & ACC_X;
	bool nxe = r->efer >> 11 & 1, wp = r->cr0 >> 16 & 1, smep = r->cr4 >> 20 & 1, smap = r->cr4 >> 21 & 1;
	bool ac = r->rflags >> 18 & 1, all_u = true, all_w = true, any_nx = false, bad;
	uint64_t at[6], value[6], table = r->cr3 & 0x000ffffffffff000ull;
	int level = v->cfg.levels;

	*error = (write ? 2 : 0) | (user ? 4 : 0) | (fetch && (nxe || smep) ? 16 : 0);
	for (;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t e;
		bool leaf;

		if (table >= (uint64_t)NPAGES * 4096)
			return -1;
		at[level] = table + (gva >> shift & 511) * 8;
		value[level] = e = shadowed_peek(v, at[level]);
		if (!(e & 1))
			return 1;
		leaf = level == 1 || (e & 128);
		bad = (e >> 63 && !nxe) || (e & 0x000fff0000000000ull) || (level >= 4 && (e & 128));
		bad |= level == 2 && (e & 128) && (e & 0x1fe000);
		bad |= level == 3 && (e & 128) && (e & 0x3fffe000);
		if (bad) {
			*error |= 9;
			return 1;
		}
		all_w &= e >> 1 & 1;
		all_u &= e >> 2 & 1;
		any_nx |= e >> 63;
		if (leaf) {
			*gpa = (e & 0x000ffffffffff000ull & ~((1ull << shift) - 1)) | (gva & ((1ull << shift) - 1));
			break;
		}
		table = e & 0x000ffffffffff000ull;
	}
	if (user)
		bad = !all_u || (write && !all_w) || (fetch && any_nx);
	else if (fetch)
		bad = any_nx || (all_u && smep);
	else
		bad = (all_u && smap && !ac) || (write && !all_w && wp);
	if (bad) {
		*error |= 1;
		return 1;
	}
	for (int l = v->cfg.levels; l >= level; l--)
		shadowed_poke(v, at[l], value[l] | 32 | (write && l == level ? 64 : 0));
	return 0;
}

static uint64_t random_entry(struct rng *r, gfn_t next)
{
	uint64_t e = next << PAGE_SHIFT | PTE_P | PTE_W | PTE_U | PTE_A;
	unsigned flips = rng_below(r, 3);

	while (flips--) {
		static const uint8_t bit[] = { 0,  1,  2,  3,  5,  6,  7,  7,  8,  9,  12,
					       13, 20, 21, 29, 39, 40, 51, 52, 62, 63, 63 };

		e ^= 1ull << bit[rng_below(r, sizeof(bit))];
	}
	return e;
}

static void random_cpu(struct rng *r, struct guest_regs *regs)
{
	uint64_t x = rng_u64(r);

	regs->cr0 = CR0_PE | CR0_PG | (x & 1 ? CR0_WP : 0);
	regs->cr4 = CR4_PAE | (x & 2 ? CR4_SMEP : 0) | (x & 4 ? CR4_SMAP : 0);
	regs->efer = EFER_LME | EFER_LMA | (x & 8 ? EFER_NX : 0);
	regs->rflags = x & 16 ? RFLAGS_AC : 0;
}

/* What if anything at all is in the tables? Outcome, address, error code, A and D equal the manual's. */
START_TEST(random_tables)
{
	static const unsigned kinds[] = { ACC_R, ACC_W, ACC_X, ACC_R | ACC_U, ACC_W | ACC_U, ACC_X | ACC_U };
	unsigned levels = 4 + _i;
	struct shadowed *v = boot(levels);
	uint64_t ends[3] = { 0, 0, 0 };
	struct rng r;

	rng_seed(&r, 77 + _i);
	for (unsigned n = 0; n < 200000; n++) {
		uint64_t before[5], mine[5];
		unsigned access = kinds[rng_below(&r, G_N_ELEMENTS(kinds))];
		gva_t gva = rng_below(&r, 0x40000000);
		struct guest_walk w;
		uint32_t error = 0, want_error = 0;
		gpa_t at[5], gpa = 0;
		int got, want;

		random_cpu(&r, &v->regs[0]);
		v->regs[0].cr3 = 0x1000;
		for (unsigned i = 0; i < levels; i++) {
			at[i] = ((i + 1ull) << PAGE_SHIFT) + PT_INDEX(gva, levels - i) * 8;
			shadowed_poke(v, at[i], before[i] = random_entry(&r, i + 2));
		}
		got = walk(v, gva, access, &w, &error);
		for (unsigned i = 0; i < levels; i++) {
			mine[i] = shadowed_peek(v, at[i]);
			shadowed_poke(v, at[i], before[i]);
		}
		want = naive(v, gva, access, &gpa, &want_error);
		ends[want + 1]++;
		must_eq(got < 0 ? 2 : got, want < 0 ? 2 : want);
		if (want == 0)
			must_eq(w.gpa, gpa);
		if (want == 1)
			must_eq(error, want_error);
		for (unsigned i = 0; i < levels; i++)
			must_eq(mine[i], shadowed_peek(v, at[i]));
	}
	must(ends[0] > 1000 && ends[1] > 10000 && ends[2] > 10000);
	shadowed_free(v);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest_walk");
	TCase *tc = tcase_create("walk");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, plain);
	tcase_add_test(tc, nowhere);
	tcase_add_test(tc, outside_arena);
	tcase_add_test(tc, paging_off);
	tcase_add_loop_test(tc, random_tables, 0, 2);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
