/* SPDX-License-Identifier: MIT */
/*
 * test_mmu.c - the simulated MMU against a naive walker
 *
 * The reference below is written from the manuals' tables (Intel SDM vol. 3A, tables 4-14 to 4-20 and section 4.6;
 * vol. 3C, tables 28-1 to 28-8; AMD APM vol. 2, 5.4 and 15.25), shares no code with vmm/sim, and knows no
 * TLB, no caches and no order but the manual's. Tables are random graphs of random entries: any table may stand at
 * any level. Each round changes some entries and the CPU's state, flushes, and does a few accesses, the first of
 * them cold; the reference works on a copy of memory. Compared: outcome, error code, violated address, host address,
 * page-modification log, each entry on the way, and now and then all of memory.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/tables.h"

#define CASES 1200000

/* Pages of host memory: guest tables, then second-stage tables. Entries used: 0 to 127 and 511. */
#define GUEST_FIRST 64
#define POOL	    64
#define HOST_FIRST  128
#define NPAGES	    192
#define SPACE_PAGES (1u << 18) /* a large leaf at 0 covers 1 GiB */

struct ref {
	uint8_t *bytes;
	const struct mmu_context *x;
	unsigned npml;
	gpa_t pml[600];
	enum mmu_outcome outcome;
	uint32_t error;
	gpa_t gpa;
	bool table_access;
	hpa_t hpa;
};

struct want {
	bool write, exec, user;
};

static uint64_t *word(const struct ref *f, uint64_t hpa)
{
	return (uint64_t *)(f->bytes + hpa);
}

static bool any(uint64_t e, int high, int low)
{
	for (int b = low; b <= high; b++)
		if (e >> b & 1)
			return true;
	return false;
}

/* ---- second stage ---- */

static bool ref_violation(struct ref *f, enum mmu_outcome o, bool present, bool reserved, gpa_t gpa, struct want want,
			  bool table)
{
	f->outcome = o;
	f->error = (present ? 1 : 0) | (want.write ? 2 : 0) | (f->x->npt ? 4 : 0) | (reserved ? 8 : 0) |
		   (want.exec ? 16 : 0);
	f->gpa = gpa;
	f->table_access = table;
	return false;
}

static bool ref_ept_misconfigured(const struct ref *f, uint64_t e, unsigned level)
{
	bool leaf = level == 1 || ((level == 2 || level == 3) && (e >> 7 & 1));
	unsigned type = e >> 3 & 7;

	if ((e & 3) == 2)
		return true;
	if (any(e, 51, (int)f->x->maxphyaddr))
		return true;
	if (leaf && (type == 2 || type == 3 || type == 7))
		return true;
	switch (level) {
	case 5:
	case 4:
		return any(e, 7, 3);
	case 3:
		return leaf ? any(e, 29, 12) : any(e, 6, 3);
	case 2:
		return leaf ? any(e, 20, 12) : any(e, 6, 3);
	}
	return false;
}

static bool ref_npt_reserved(const struct ref *f, uint64_t e, unsigned level)
{
	if (any(e, 51, (int)f->x->maxphyaddr))
		return true;
	if (level >= 4)
		return e >> 7 & 1;
	if (level == 3 && (e >> 7 & 1))
		return any(e, 29, 13);
	if (level == 2 && (e >> 7 & 1))
		return any(e, 20, 13);
	return false;
}

static bool ref_second(struct ref *f, gpa_t gpa, struct want want, bool table, hpa_t *hpa, bool *writable)
{
	const struct mmu_context *x = f->x;
	bool npt = x->npt, r = true, w = true, xx = true;
	uint64_t at = x->root, *path[6] = { 0 };
	unsigned level;

	if (any(gpa, 63, x->host_levels == 4 ? 48 : 57))
		return ref_violation(f, MMU_VIOLATION, false, false, gpa, want, table);
	for (level = x->host_levels;; level--) {
		uint64_t e = *(path[level] = word(f, at + (gpa >> (12 + 9 * (level - 1)) & 511) * 8));

		if (npt ? !(e & 1) : !(e & 7))
			return ref_violation(f, MMU_VIOLATION, false, false, gpa, want, table);
		if (npt ? ref_npt_reserved(f, e, level) : ref_ept_misconfigured(f, e, level))
			return ref_violation(f, MMU_MISCONFIG, true, true, gpa, want, table);
		if (npt) {
			bool user = e >> 2 & 1; /* all accesses are user ones */

			r = r && user;
			w = w && user && (e >> 1 & 1);
			xx = xx && user && !(e >> 63);
		} else {
			r = r && (e & 1);
			w = w && (e >> 1 & 1);
			xx = xx && (e >> 2 & 1);
		}
		at = e & 0x000ffffffffff000ull;
		if (level == 1 || (level <= 3 && (e >> 7 & 1)))
			break;
	}
	if (want.write ? !w : want.exec ? !xx : !r)
		return ref_violation(f, MMU_VIOLATION, true, false, gpa, want, table);
	if (npt || x->ad_bits) {
		unsigned abit = npt ? 5 : 8, dbit = npt ? 6 : 9;

		if (want.write && !(*path[level] >> dbit & 1) && x->pml && !npt) {
			if (f->npml == 512)
				return ref_violation(f, MMU_PML_FULL, true, false, gpa, want, table);
			f->pml[f->npml++] = gpa & ~0xfffull;
		}
		for (unsigned l = x->host_levels; l >= level; l--)
			*path[l] |= 1ull << abit;
		if (want.write)
			*path[level] |= 1ull << dbit;
	}
	uint64_t size = 1ull << (12 + 9 * (level - 1));

	*hpa = (at & ~(size - 1)) | (gpa & (size - 1));
	*writable = w;
	return true;
}

/* ---- first stage ---- */

static bool ref_page_fault(struct ref *f, bool present, bool reserved, struct want want)
{
	bool nx = f->x->regs->efer >> 11 & 1, smep = f->x->regs->cr4 >> 20 & 1;

	f->outcome = MMU_PAGE_FAULT;
	f->error = (present ? 1 : 0) | (want.write ? 2 : 0) | (want.user ? 4 : 0) | (reserved ? 8 : 0) |
		   (want.exec && (nx || smep) ? 16 : 0);
	return false;
}

static bool ref_reserved(const struct ref *f, uint64_t e, unsigned level)
{
	if (any(e, 51, (int)f->x->maxphyaddr))
		return true;
	if ((e >> 63) && !(f->x->regs->efer >> 11 & 1))
		return true;
	if (level >= 4)
		return e >> 7 & 1;
	if (level == 3 && (e >> 7 & 1))
		return any(e, 29, 13);
	if (level == 2 && (e >> 7 & 1))
		return any(e, 20, 13);
	return false;
}

/* Section 4.6.1, sentence by sentence. */
static bool ref_permitted(const struct ref *f, bool u, bool w, bool nx, struct want want)
{
	const struct guest_regs *r = f->x->regs;
	bool wp = r->cr0 >> 16 & 1, smep = r->cr4 >> 20 & 1, smap = r->cr4 >> 21 & 1, ac = r->rflags >> 18 & 1;

	if (!want.user) {
		if (want.exec) {
			if (u && smep)
				return false;
			return !nx;
		}
		if (u && smap && !ac)
			return false;
		if (want.write && wp)
			return w;
		return true;
	}
	if (!u)
		return false;
	if (want.exec)
		return !nx;
	if (want.write)
		return w;
	return true;
}

static bool ref_locate(struct ref *f, uint64_t addr, struct want want, bool table, hpa_t *hpa)
{
	if (f->x->limit && addr >= f->x->limit) {
		f->outcome = MMU_VIOLATION;
		f->error = want.write && !table ? 2 : 0;
		f->gpa = addr;
		f->table_access = table;
		return false;
	}
	*hpa = addr + f->x->bias;
	return true;
}

static bool ref_access(struct ref *f, gva_t gva, struct want want)
{
	const struct mmu_context *x = f->x;
	bool two = x->walk == MMU_2D, u = true, w = true, nx = false;
	struct want walker = { .write = x->npt || x->ad_bits };
	uint64_t at = two || x->bias ? x->regs->cr3 & 0x000ffffffffff000ull : x->root;
	uint64_t *path[6], needed[6];
	gpa_t where[6];
	bool writable[6];
	unsigned level;

	for (level = x->levels;; level--) {
		uint64_t entry = at + (gva >> (12 + 9 * (level - 1)) & 511) * 8;
		hpa_t hpa;

		writable[level] = true;
		if (!two && !ref_locate(f, at, want, true, &hpa))
			return false;
		if (two && !ref_second(f, entry, walker, true, &hpa, &writable[level]))
			return false;
		path[level] = word(f, two ? hpa : hpa + (entry - at));
		where[level] = entry;
		uint64_t e = *path[level];

		if (!(e & 1))
			return ref_page_fault(f, false, false, want);
		if (ref_reserved(f, e, level))
			return ref_page_fault(f, true, true, want);
		w = w && (e >> 1 & 1);
		u = u && (e >> 2 & 1);
		nx = nx || e >> 63;
		at = e & 0x000ffffffffff000ull;
		if (level == 1 || (level <= 3 && (e >> 7 & 1)))
			break;
	}
	if (!ref_permitted(f, u, w, nx, want))
		return ref_page_fault(f, true, false, want);
	for (unsigned l = x->levels; l >= level; l--) {
		needed[l] = *path[l] | 1ull << 5 | (l == level && want.write ? 1ull << 6 : 0);
		if (needed[l] != *path[l] && !writable[l])
			return ref_violation(f, MMU_VIOLATION, true, false, where[l], (struct want){ .write = true },
					     true);
	}
	uint64_t size = 1ull << (12 + 9 * (level - 1)), addr = (at & ~(size - 1)) | (gva & (size - 1));
	bool ignored;

	if (two ? !ref_second(f, addr, want, false, &f->hpa, &ignored) : !ref_locate(f, addr, want, false, &f->hpa))
		return false;
	for (unsigned l = x->levels; l >= level; l--)
		*path[l] |= needed[l]; /* or: a table may be its own parent */
	return true;
}

/* ---- random tables ---- */

struct world {
	struct host mine, theirs;
	struct rng rng;
	struct guest_regs regs;
	struct counters c;
	struct pml pml;
	struct mmu_context x;
	struct ref ref;
	struct sim_mmu *mmu;
	uint64_t outcomes[5], kinds[64];
};

static bool chance(struct world *w, unsigned percent)
{
	return rng_below(&w->rng, 100) < percent;
}

/* A high bit of an address: sometimes beyond MAXPHYADDR or what four levels translate. Bit 45: index 64, see below. */
static uint64_t stray_bits(struct world *w)
{
	return chance(w, 2) ? 1ull << (46 + rng_below(&w->rng, 6)) : 0;
}

static uint64_t random_guest_entry(struct world *w)
{
	uint64_t e = chance(w, 97) ? PTE_P : 0;

	e |= (chance(w, 92) ? PTE_W : 0) | (chance(w, 88) ? PTE_U : 0) | (chance(w, 5) ? PTE_NX : 0) |
	     (chance(w, 60) ? PTE_A : 0) | (chance(w, 50) ? PTE_D : 0) | (chance(w, 20) ? PTE_G : 0);
	e |= rng_u64(&w->rng) & (PTE_PWT | PTE_PCD | 7ull << 9 | 0x7ffull << 52);
	if (chance(w, 10)) {
		uint64_t align = chance(w, 80) ? 1ull << 30 : chance(w, 50) ? 1ull << 21 : 1ull << 13;

		/* 1D without a limit dereferences what it finds: stay within memory. */
		e |= PTE_PS | (rng_below(&w->rng, w->x.walk == MMU_2D ? 8 : 1) << 30) |
		     (chance(w, 20) ? align >> 1 : 0) | (chance(w, 30) ? 1ull << 12 : 0);
	} else {
		e |= ((w->x.bias ? 0 : GUEST_FIRST) + rng_below(&w->rng, POOL)) << 12;
		if (w->x.walk == MMU_2D)
			e |= rng_below(&w->rng, 2) << 21 | rng_below(&w->rng, 2) << 30 | rng_below(&w->rng, 2) << 39;
	}
	if (w->x.walk == MMU_2D)
		e |= stray_bits(w);
	else if (chance(w, 1))
		e |= 1ull << (w->x.maxphyaddr + rng_below(&w->rng, 52 - w->x.maxphyaddr));
	return e;
}

/*
 * Guest tables lie at guest-physical pages 64 to 127 of any 2 MiB, so entries with these indices map guest pages and
 * the others point to tables: the walker never takes one of the VMM's tables for one of the guest's.
 */
static uint64_t random_host_entry(struct world *w, unsigned index)
{
	bool large = chance(w, 5);
	uint64_t pool = index < GUEST_FIRST || index == 511 ? HOST_FIRST : GUEST_FIRST;
	uint64_t e = large ? 0 : (pool + rng_below(&w->rng, POOL)) << 12;

	if (large && chance(w, 5))
		e |= 1ull << (12 + rng_below(&w->rng, 18));
	if (chance(w, 1))
		e |= 1ull << (w->x.maxphyaddr + rng_below(&w->rng, 52 - w->x.maxphyaddr));
	e |= (large ? PTE_PS : 0) | (rng_u64(&w->rng) & (7ull << 53));
	if (w->x.npt)
		return e | (chance(w, 99) ? PTE_P : 0) | (chance(w, 96) ? PTE_W : 0) | (chance(w, 98) ? PTE_U : 0) |
		       (chance(w, 4) ? PTE_NX : 0) | (chance(w, 50) ? PTE_A : 0) | (chance(w, 50) ? PTE_D : 0);
	e |= (chance(w, 99) ? EPT_R : 0) | (chance(w, 96) ? EPT_W : 0) | (chance(w, 96) ? EPT_X : 0) |
	     (chance(w, 50) ? EPT_A : 0) | (chance(w, 50) ? EPT_D : 0);
	if (large)
		e |= chance(w, 95) ? EPT_WB : rng_below(&w->rng, 8) << 3;
	else if (chance(w, 1))
		e |= rng_below(&w->rng, 8) << 3;
	return e;
}

static void poke(struct world *w, unsigned page, unsigned index)
{
	uint64_t e = page < HOST_FIRST ? random_guest_entry(w) : random_host_entry(w, index);

	*((uint64_t *)(w->mine.bytes + page * PAGE_SIZE) + index) = e;
	*((uint64_t *)(w->theirs.bytes + page * PAGE_SIZE) + index) = e;
}

static unsigned random_index(struct world *w)
{
	static const unsigned top[] = { 0, 1, 2, 511 };

	return chance(w, 50) ? top[rng_below(&w->rng, 4)] : GUEST_FIRST + (unsigned)rng_below(&w->rng, POOL);
}

static void fill_tables(struct world *w)
{
	for (unsigned page = GUEST_FIRST; page < NPAGES; page++)
		for (unsigned i = 0; i < PT_ENTRIES; i++)
			if (i < 128 || i == 511)
				poke(w, page, i);
}

static void random_cpu(struct world *w)
{
	w->regs.cr0 = CR0_PE | CR0_PG | (chance(w, 70) ? CR0_WP : 0);
	w->regs.cr4 = CR4_PAE | (chance(w, 70) ? CR4_PGE : 0) | (chance(w, 40) ? CR4_SMEP : 0) |
		      (chance(w, 40) ? CR4_SMAP : 0);
	w->regs.rflags = chance(w, 40) ? RFLAGS_AC : 0;
}

/* A new kind of machine: what a flush alone does not allow to change. */
static void random_machine(struct world *w)
{
	struct mmu_context *x = &w->x;

	*x = (struct mmu_context){
		.walk = chance(w, 60) ? MMU_2D : MMU_1D,
		.regs = &w->regs,
		.levels = 4 + (unsigned)rng_below(&w->rng, 2),
		.host_levels = 4 + (unsigned)rng_below(&w->rng, 2),
		.npt = chance(w, 33),
		.ad_bits = chance(w, 60),
		.use_pcid = chance(w, 50),
		.vpid = 1 + (unsigned)rng_below(&w->rng, 3),
		.maxphyaddr = 40 + (unsigned)rng_below(&w->rng, 12),
		.c = &w->c,
		.bytes = w->mine.bytes,
	};
	if (x->ad_bits && !x->npt && chance(w, 50))
		x->pml = &w->pml;
	if (x->walk == MMU_1D && chance(w, 50)) {
		x->bias = GUEST_FIRST * PAGE_SIZE;
		x->limit = (POOL - 8) * PAGE_SIZE;
	}
	fill_tables(w);
}

static void random_round(struct world *w)
{
	struct mmu_context *x = &w->x;
	uint64_t root = (GUEST_FIRST + rng_below(&w->rng, POOL)) * PAGE_SIZE;

	for (unsigned i = 0; i < 6; i++)
		poke(w, GUEST_FIRST + (unsigned)rng_below(&w->rng, NPAGES - GUEST_FIRST), random_index(w));
	random_cpu(w);
	w->regs.efer = EFER_LME | EFER_LMA | (chance(w, 80) ? EFER_NX : 0);
	w->regs.cr3 = root | rng_below(&w->rng, 4);
	if (x->bias) /* guest-physical, as the entries are */
		w->regs.cr3 -= chance(w, 98) ? GUEST_FIRST * PAGE_SIZE : 0;
	x->root = x->walk == MMU_2D ? (HOST_FIRST + rng_below(&w->rng, POOL)) * PAGE_SIZE : root;
	if (x->pml)
		w->pml.n = w->ref.npml = chance(w, 80) ? 0 : 505 + (unsigned)rng_below(&w->rng, 8);
	mmu_flush_vm(w->mmu, x->vpid, &w->c);
}

static gva_t random_gva(struct world *w)
{
	static const unsigned top[] = { 0, 1, 2, 511 };
	gva_t gva = rng_below(&w->rng, PAGE_SIZE);

	for (unsigned l = 1; l <= w->x.levels; l++)
		gva |= (uint64_t)top[rng_below(&w->rng, 4)] << LEVEL_SHIFT(l);
	unsigned unused = 64 - 12 - 9 * w->x.levels;

	gva = (uint64_t)((int64_t)(gva << unused) >> unused);
	return chance(w, 1) ? gva ^ 1ull << (63 - rng_below(&w->rng, unused)) : gva;
}

static void ref_run(struct world *w, gva_t gva, unsigned access)
{
	struct ref *f = &w->ref;
	unsigned bits = 12 + 9 * w->x.levels;
	bool low = gva >> (bits - 1) == 0, high = gva >> (bits - 1) == ~0ull >> (bits - 1);

	f->bytes = w->theirs.bytes;
	f->x = &w->x;
	f->outcome = MMU_OK;
	f->error = 0;
	f->gpa = 0;
	f->table_access = false;
	if (!low && !high) {
		f->outcome = MMU_PAGE_FAULT;
		return;
	}
	for (unsigned half = ACC_R; half <= ACC_X; half <<= 1) {
		struct want want = { .write = half == ACC_W, .exec = half == ACC_X, .user = access & ACC_U };

		if ((access & half) && !ref_access(f, gva, want))
			return;
	}
}

static void compare(struct world *w, const struct mmu_result *r)
{
	const struct ref *f = &w->ref;

	must_eq(r->outcome, f->outcome);
	must_eq(r->error, f->error);
	w->outcomes[r->outcome]++;
	w->kinds[r->error & 31]++;
	if (r->outcome == MMU_OK)
		must_eq(r->hpa, f->hpa);
	else if (r->outcome != MMU_PAGE_FAULT) {
		must_eq(r->gpa, f->gpa);
		must_eq(r->table_access, f->table_access);
	}
	if (w->x.pml) {
		must_eq(w->pml.n, f->npml);
		must(!w->pml.n || w->pml.gpa[w->pml.n - 1] == f->pml[w->pml.n - 1]);
	}
}

static void compare_memory(struct world *w)
{
	must(!memcmp(w->mine.bytes + GUEST_FIRST * PAGE_SIZE, w->theirs.bytes + GUEST_FIRST * PAGE_SIZE,
		     (NPAGES - GUEST_FIRST) * PAGE_SIZE));
}

static struct sim_mmu *small_mmu(bool cache_model)
{
	static const char *const size[][2] = {
		{ "l1_4k", "8/2" }, { "l1_2m", "4/2" }, { "l1_1g", "2/2" }, { "l2", "16/4" }, { "l2_shared_2m", "1" },
		{ "pwc2", "4/2" },  { "pwc3", "4/4" },	{ "pwc4", "2/2" },  { "npwc2", "4/2" }, { "npwc3", "3/3" },
		{ "npwc4", "2/2" }, { "npwc5", "1/1" }, { "ntlb", "8/2" },
	};
	struct sim_profile *p = profile_load("bare", NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(size); i++)
		must(profile_set(p, size[i][0], size[i][1], NULL));
	struct sim_mmu *m = mmu_new(p, cache_model);

	profile_free(p);
	return m;
}

static void world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	host_init(&w->mine, SPACE_PAGES);
	host_init(&w->theirs, SPACE_PAGES);
	rng_seed(&w->rng, seed);
	w->mmu = small_mmu(seed & 1);
}

static void world_free(struct world *w)
{
	mmu_free(w->mmu);
	host_free(&w->mine);
	host_free(&w->theirs);
}

static void one_case(struct world *w)
{
	static const unsigned kinds[] = { ACC_R, ACC_W, ACC_X, ACC_R | ACC_W };
	unsigned access = kinds[rng_below(&w->rng, 4)] | (chance(w, 60) ? ACC_U : 0);
	gva_t gva = random_gva(w);
	struct mmu_result r;

	ref_run(w, gva, access);
	mmu_access(w->mmu, &w->x, gva, access, &r);
	compare(w, &r);
}

START_TEST(what_if_tables_and_cpu_are_random)
{
	struct world w;

	world_init(&w, 100 + (uint64_t)_i);
	for (unsigned n = 0; n < CASES / 2; n++) {
		if (n % 24000 == 0)
			random_machine(&w);
		if (n % 6 == 0)
			random_round(&w);
		else if (n % 6 == 3)
			random_cpu(&w);
		one_case(&w);
		if (n % 6 == 5 && n % 900 < 6)
			compare_memory(&w);
	}
	compare_memory(&w);
	if (getenv("SHOW_OUTCOMES")) {
		for (unsigned i = 0; i < 5; i++)
			printf("outcome %u: %lu\n", i, (unsigned long)w.outcomes[i]);
		for (unsigned i = 0; i < 32; i++)
			printf("error %2u: %lu\n", i, (unsigned long)w.kinds[i]);
	}
	/* The cases must not all be of one sort. */
	must(w.outcomes[MMU_OK] > CASES / 20);
	must(w.outcomes[MMU_PAGE_FAULT] > CASES / 20);
	must(w.outcomes[MMU_VIOLATION] > CASES / 50);
	must(w.outcomes[MMU_MISCONFIG] > CASES / 100);
	must(w.outcomes[MMU_PML_FULL] > 50);
	world_free(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mmu");
	TCase *tc = tcase_create("against a naive walker");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, what_if_tables_and_cpu_are_random, 0, 2);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
