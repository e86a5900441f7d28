/* SPDX-License-Identifier: MIT */
/*
 * test_tlb.c - TLBs and page-walk caches against naive lists
 *
 * The model keeps each set as a list in order of use and knows the rules by heart: which access hits which level, how
 * many references a walk needs, what each instruction drops. Several VMs and PCIDs share one CPU; pages are
 * 4K, 2M and 1G, some global, some clean. After each access the counters must agree; every hit and miss is thereby
 * compared.
 */
#include <check.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/tables.h"

#define VMS   3
#define PCIDS 4
#define STEPS 400000

struct entry {
	unsigned level, vpid, pcid;
	uint64_t page;
	bool global, dirty;
};

#define MAX_WAYS 16
#define MAX_SETS 64

/* Each set: most recently used first. */
struct list {
	unsigned sets, ways;
	unsigned n[MAX_SETS];
	struct entry e[MAX_SETS][MAX_WAYS];
};

struct model {
	struct list l1[4], l2, l2_1g, pwc[6];
	bool unified;
	uint64_t l1_hits, l2_hits, misses, refs, pwc_hits, walks, dirtied;
};

static struct list list_of(unsigned entries, unsigned ways)
{
	return (struct list){ .sets = entries / ways, .ways = ways };
}

static bool matches(const struct entry *e, unsigned level, uint64_t page, unsigned vpid, unsigned pcid)
{
	return e->level == level && e->page == page && e->vpid == vpid && (e->global || e->pcid == pcid);
}

static void list_remove(struct list *l, unsigned set, unsigned at)
{
	for (l->n[set]--; at < l->n[set]; at++)
		l->e[set][at] = l->e[set][at + 1];
}

static void list_push(struct list *l, struct entry e)
{
	unsigned set = (unsigned)(e.page % l->sets);

	if (l->n[set] == l->ways)
		l->n[set]--;
	for (unsigned i = l->n[set]++; i; i--)
		l->e[set][i] = l->e[set][i - 1];
	l->e[set][0] = e;
}

/* Found: moved to the front and copied out. A private entry is preferred to a global one. */
static bool list_use(struct list *l, unsigned level, uint64_t page, unsigned vpid, unsigned pcid, struct entry *out)
{
	unsigned set = (unsigned)(page % (l->sets ? l->sets : 1));

	if (!l->sets)
		return false;
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < l->n[set]; i++)
			if (l->e[set][i].global == pass && matches(&l->e[set][i], level, page, vpid, pcid)) {
				*out = l->e[set][i];
				list_remove(l, set, i);
				list_push(l, *out);
				return true;
			}
	return false;
}

struct reach {
	unsigned vpid, pcid;
	bool every_pcid, globals, by_page;
	gva_t gva;
};

static void list_flush(struct list *l, struct reach r)
{
	for (unsigned s = 0; s < l->sets; s++)
		for (unsigned i = 0; i < l->n[s];) {
			const struct entry *e = &l->e[s][i];
			bool space = e->vpid == r.vpid && (r.every_pcid || (e->global ? r.globals : e->pcid == r.pcid));
			bool page = !r.by_page || e->page == (r.gva & ((1ull << 57) - 1)) >> LEVEL_SHIFT(e->level);

			if (space && page)
				list_remove(l, s, i);
			else
				i++;
		}
}

static void flush_tlb(struct model *m, struct reach r)
{
	for (unsigned level = 1; level <= 3; level++)
		list_flush(&m->l1[level], r);
	list_flush(&m->l2, r);
	list_flush(&m->l2_1g, r);
}

static void flush_pwc(struct model *m, struct reach r)
{
	r.by_page = false;
	for (unsigned level = 2; level <= 5; level++)
		list_flush(&m->pwc[level], r);
}

/* ---- the world: tables of each (vm, pcid), 4 or 5 levels ---- */

struct world {
	struct host host;
	struct rng rng;
	struct sim_mmu *mmu;
	struct guest_regs regs;
	struct mmu_context x;
	struct counters c;
	struct model m;
	hpa_t root[VMS][PCIDS];
	bool pcid_on[VMS];
	unsigned levels;
};

/* 64 pages of 4K in four regions, 16 of 2M, 6 of 1G. */
static gva_t random_gva(struct world *w)
{
	static const uint64_t base[] = { 0, 0x40000000, 0x8000000000, 0x7f0000000000 };
	uint64_t n = rng_below(&w->rng, 100);

	if (n < 60)
		return base[rng_below(&w->rng, 4)] + rng_below(&w->rng, 16) * 0x1000 + rng_below(&w->rng, 4096);
	if (n < 85)
		return 0x80000000 + rng_below(&w->rng, 16) * 0x200000 + rng_below(&w->rng, 0x200000);
	return 0x100000000 + rng_below(&w->rng, 6) * 0x40000000 + rng_below(&w->rng, 0x40000000);
}

static unsigned level_of(gva_t gva)
{
	if (gva >= 0x80000000 && gva < 0x80000000 + 16 * 0x200000)
		return 2;
	return gva >= 0x100000000 && gva < 0x100000000 + 6 * 0x40000000ull ? 3 : 1;
}

/* Every fifth page is global. */
static bool is_global(gva_t gva)
{
	return (gva >> LEVEL_SHIFT(level_of(gva))) % 5 == 0;
}

static void map_space(struct world *w, unsigned vm, unsigned pcid)
{
	static const uint64_t base[] = { 0, 0x40000000, 0x8000000000, 0x7f0000000000 };
	uint64_t bits = PTE_P | PTE_W | PTE_U | PTE_A, root = w->root[vm][pcid] = host_page(&w->host);

	for (unsigned r = 0; r < 4; r++)
		for (unsigned i = 0; i < 16; i++) {
			gva_t gva = base[r] + i * 0x1000;

			host_map(&w->host, root, w->levels, gva, 1, 0x5000000 + gva % 0x100000,
				 bits | (is_global(gva) ? PTE_G : 0) | (i % 3 ? PTE_D : 0), bits);
		}
	for (unsigned i = 0; i < 16; i++) {
		gva_t gva = 0x80000000 + i * 0x200000ull;

		host_map(&w->host, root, w->levels, gva, 2, 0x10000000 + i * 0x200000,
			 bits | PTE_D | (is_global(gva) ? PTE_G : 0), bits);
	}
	for (unsigned i = 0; i < 6; i++) {
		gva_t gva = 0x100000000 + i * 0x40000000ull;

		host_map(&w->host, root, w->levels, gva, 3, (uint64_t)i << 30,
			 bits | PTE_D | (is_global(gva) ? PTE_G : 0), bits);
	}
}

static void set(struct sim_profile *p, const char *field, unsigned entries, unsigned ways)
{
	char *value = entries ? g_strdup_printf("%u/%u", entries, ways) : g_strdup("0");

	must(profile_set(p, field, value, NULL));
	g_free(value);
}

/* Three geometries: Intel-like, unified first level, and hardly anything. */
static void world_init(struct world *w, int kind)
{
	struct sim_profile *p = profile_load("bare", NULL);
	struct model *m = &w->m;

	memset(w, 0, sizeof(*w));
	rng_seed(&w->rng, 1000 + (uint64_t)kind);
	w->levels = 4 + (unsigned)(kind & 1);
	m->unified = kind == 1;
	m->l1[1] = kind == 2 ? list_of(1, 1) : kind ? list_of(12, 12) : list_of(16, 4);
	m->l1[2] = kind == 0 ? list_of(8, 4) : kind == 2 ? list_of(2, 1) : list_of(0, 1);
	m->l1[3] = kind == 0 ? list_of(3, 3) : kind == 2 ? list_of(1, 1) : list_of(0, 1);
	m->l2 = kind == 2 ? list_of(0, 1) : list_of(24, 6);
	m->l2_1g = kind == 0 ? list_of(4, 2) : list_of(0, 1);
	m->pwc[2] = list_of(4, 2);
	m->pwc[3] = list_of(3, 3);
	m->pwc[4] = kind == 2 ? list_of(0, 1) : list_of(2, 2);
	m->pwc[5] = list_of(1, 1);
	set(p, "l1_4k", m->l1[1].sets * m->l1[1].ways, m->l1[1].ways);
	set(p, "l1_2m", m->l1[2].sets * m->l1[2].ways, m->l1[2].ways);
	set(p, "l1_1g", m->l1[3].sets * m->l1[3].ways, m->l1[3].ways);
	set(p, "l2", m->l2.sets * m->l2.ways, m->l2.ways);
	set(p, "l2_1g", m->l2_1g.sets * m->l2_1g.ways, m->l2_1g.ways);
	set(p, "pwc2", 4, 2);
	set(p, "pwc3", 3, 3);
	set(p, "pwc4", m->pwc[4].sets * m->pwc[4].ways, m->pwc[4].ways);
	set(p, "pwc5", 1, 1);
	must(profile_set(p, "l1_unified", m->unified ? "1" : "0", NULL));
	must(profile_set(p, "l2_shared_2m", "1", NULL));
	w->mmu = mmu_new(p, false);
	profile_free(p);
	host_init(&w->host, 1 << 16);
	w->regs = test_regs();
	for (unsigned vm = 0; vm < VMS; vm++) {
		w->pcid_on[vm] = vm != 1;
		for (unsigned pcid = 0; pcid < PCIDS; pcid++)
			map_space(w, vm, pcid);
	}
	w->x = (struct mmu_context){
		.regs = &w->regs, .levels = w->levels, .maxphyaddr = 46, .c = &w->c, .bytes = w->host.bytes,
	};
}

static void enter(struct world *w, unsigned vm, unsigned pcid)
{
	w->x.vpid = vm + 1;
	w->x.use_pcid = w->pcid_on[vm];
	w->x.root = w->root[vm][pcid];
	w->regs.cr3 = w->x.root | (w->pcid_on[vm] ? pcid : 0);
}

static unsigned current_pcid(const struct world *w)
{
	return w->x.use_pcid ? w->regs.cr3 & CR3_PCID : 0;
}

static struct list *l1_of(struct model *m, unsigned level)
{
	return &m->l1[m->unified ? 1 : level];
}

static struct list *l2_of(struct model *m, unsigned level)
{
	return level == 3 ? &m->l2_1g : &m->l2;
}

static bool model_look_up(struct world *w, gva_t gva, struct entry *e)
{
	struct model *m = &w->m;
	unsigned level = level_of(gva);
	uint64_t page = gva >> LEVEL_SHIFT(level);

	if (list_use(l1_of(m, level), level, page, w->x.vpid, current_pcid(w), e)) {
		m->l1_hits++;
		return true;
	}
	if (!list_use(l2_of(m, level), level, page, w->x.vpid, current_pcid(w), e)) {
		m->misses++;
		return false;
	}
	m->l2_hits++;
	list_push(l1_of(m, level), *e);
	return true;
}

static void model_walk(struct world *w, gva_t gva, bool write)
{
	struct model *m = &w->m;
	unsigned level = level_of(gva), top = w->levels;
	uint64_t *leaf = NULL, table = w->x.root;
	struct entry e;

	for (unsigned l = w->levels; l >= level; l--) {
		leaf = host_entry(&w->host, table, gva, l);
		table = *leaf & PTE_ADDR;
	}
	m->walks++;
	for (unsigned l = 2; l <= w->levels; l++) {
		/* List entries of the walk caches are all of "level" l, never global. */
		if (!list_use(&m->pwc[l], l, gva >> LEVEL_SHIFT(l), w->x.vpid, current_pcid(w), &e))
			continue;
		m->pwc_hits++;
		top = l - 1;
		break;
	}
	m->refs += top - level + 1;
	for (unsigned l = top; l > level; l--)
		if (m->pwc[l].sets)
			list_push(&m->pwc[l],
				  (struct entry){ l, w->x.vpid, current_pcid(w), gva >> LEVEL_SHIFT(l), false, false });
	m->dirtied += write && !(*leaf & PTE_D);
	e = (struct entry){ level, w->x.vpid, current_pcid(w), gva >> LEVEL_SHIFT(level), (*leaf & PTE_G) != 0,
			    write || (*leaf & PTE_D) };
	list_push(l1_of(m, level), e);
	if (l2_of(m, level)->sets)
		list_push(l2_of(m, level), e);
}

static void model_access(struct world *w, gva_t gva, unsigned access)
{
	struct reach here = { w->x.vpid, current_pcid(w), false, true, true, gva };
	struct entry e;

	if (!model_look_up(w, gva, &e)) {
		/* A load and a store are two halves: the load fills an entry that the store may find clean. */
		model_walk(w, gva, access == ACC_W);
		list_use(l1_of(&w->m, level_of(gva)), level_of(gva), gva >> LEVEL_SHIFT(level_of(gva)), w->x.vpid,
			 current_pcid(w), &e);
	}
	if ((access & ACC_W) && !e.dirty) {
		flush_tlb(&w->m, here);
		model_walk(w, gva, true);
	}
}

static void access_both(struct world *w)
{
	static const unsigned kinds[] = { ACC_R, ACC_W, ACC_X, ACC_R | ACC_W };
	unsigned access = kinds[rng_below(&w->rng, 4)];
	gva_t gva = random_gva(w);
	struct mmu_result r;

	model_access(w, gva, access); /* first: it reads the dirty bit that the walk will set */
	mmu_access(w->mmu, &w->x, gva, access | ACC_U, &r);
	must_eq(r.outcome, MMU_OK);
	must_eq(w->c.tlb_l1_hits, w->m.l1_hits);
	must_eq(w->c.tlb_l2_hits, w->m.l2_hits);
	must_eq(w->c.tlb_misses, w->m.misses);
	must_eq(w->c.walks, w->m.walks);
	must_eq(w->c.pwc_hits, w->m.pwc_hits);
	must_eq(w->c.walk_refs, w->m.refs);
	must_eq(w->c.ad_updates, w->m.dirtied);
}

static void clean_some(struct world *w)
{
	/* Software clears a dirty bit, and flushes as it must. */
	gva_t gva = random_gva(w);
	unsigned vm = w->x.vpid - 1, pcid = (unsigned)rng_below(&w->rng, PCIDS);
	uint64_t *e = NULL, table = w->root[vm][pcid];

	for (unsigned l = w->levels; l >= level_of(gva); l--) {
		e = host_entry(&w->host, table, gva, l);
		table = *e & PTE_ADDR;
	}
	*e &= ~PTE_D;
	mmu_flush_gva(w->mmu, vm + 1, gva, &w->c);
	flush_tlb(&w->m, (struct reach){ vm + 1, 0, true, true, true, gva });
	flush_pwc(&w->m, (struct reach){ .vpid = vm + 1, .every_pcid = true });
}

static void flush_both(struct world *w)
{
	unsigned pcid = (unsigned)rng_below(&w->rng, PCIDS), vm = (unsigned)rng_below(&w->rng, VMS);
	struct reach space = { w->x.vpid, current_pcid(w), false, false, false, 0 };
	struct reach all = { .vpid = vm + 1, .every_pcid = true };
	gva_t gva = random_gva(w);

	switch (rng_below(&w->rng, 6)) {
	case 0:
		mmu_invlpg(w->mmu, &w->x, gva);
		flush_tlb(&w->m, (struct reach){ w->x.vpid, current_pcid(w), false, true, true, gva });
		flush_pwc(&w->m, space);
		break;
	case 1: /* MOV CR3: with PCIDs on, perhaps without a flush */
		enter(w, vm, pcid);
		bool keep = w->x.use_pcid && rng_below(&w->rng, 2);
		mmu_load_cr3(w->mmu, &w->x, w->regs.cr3 | (keep ? CR3_NOFLUSH : 0));
		if (keep)
			break;
		space = (struct reach){ w->x.vpid, current_pcid(w), false, false, false, 0 };
		flush_tlb(&w->m, space);
		flush_pwc(&w->m, space);
		break;
	case 2:
		mmu_flush_space(w->mmu, &w->x, pcid);
		space.pcid = w->x.use_pcid ? pcid : 0;
		flush_tlb(&w->m, space);
		flush_pwc(&w->m, space);
		break;
	case 3:
		if (rng_below(&w->rng, 2))
			mmu_flush_vm(w->mmu, vm + 1, &w->c);
		else
			mmu_flush_gpa(w->mmu, vm + 1, 1, 1, &w->c);
		flush_tlb(&w->m, all);
		flush_pwc(&w->m, all);
		break;
	case 4:
		mmu_flush_gva(w->mmu, vm + 1, gva, &w->c);
		flush_tlb(&w->m, (struct reach){ vm + 1, 0, true, true, true, gva });
		flush_pwc(&w->m, all);
		break;
	case 5:
		clean_some(w);
		break;
	}
}

START_TEST(what_if_spaces_and_flushes_mix)
{
	struct world w;

	world_init(&w, _i);
	enter(&w, 0, 0);
	for (unsigned n = 0; n < STEPS; n++) {
		uint64_t what = rng_below(&w.rng, 400);

		if (what < 4)
			flush_both(&w);
		else if (what < 8 && w.x.use_pcid) /* another PCID without a flush; or another VM (a VM entry) */
			enter(&w, w.x.vpid - 1, (unsigned)rng_below(&w.rng, PCIDS));
		else if (what < 10)
			enter(&w, rng_below(&w.rng, 2) ? 0 : 2, (unsigned)rng_below(&w.rng, PCIDS));
		else
			access_both(&w);
	}
	must(w.m.l1_hits > STEPS / 100 && w.m.misses > STEPS / 100 && w.m.pwc_hits > STEPS / 100 && w.m.dirtied > 100);
	must(w.m.l2_hits > STEPS / 100 || _i == 2);
	mmu_free(w.mmu);
	host_free(&w.host);
}
END_TEST

/* What the second stage cached goes with INVEPT and stays with everything else. */
START_TEST(what_if_the_second_stage_is_flushed)
{
	struct sim_profile *p = profile_load("skylake-sp", NULL);
	struct sim_mmu *mmu = mmu_new(p, false);
	struct counters c = { 0 };
	struct guest_regs regs = test_regs();
	struct host h;
	struct mmu_result r;
	gva_t gva = 0x7000;

	host_init(&h, 1024);
	h.next = 512; /* below: the guest's memory, mapped page for page */
	hpa_t root = host_page(&h);

	for (gpa_t gpa = 0; gpa < 256 * PAGE_SIZE; gpa += PAGE_SIZE)
		host_map(&h, root, 4, gpa, 1, gpa, EPT_RWX | EPT_WB, EPT_RWX);
	for (unsigned l = 4; l >= 1; l--)
		*host_entry(&h, l * PAGE_SIZE, gva, l) = (l > 1 ? l - 1 : 9) * PAGE_SIZE | PTE_P | PTE_U;
	regs.cr3 = 4 * PAGE_SIZE;

	struct mmu_context x = { .walk = MMU_2D, .regs = &regs, .root = root, .levels = 4, .host_levels = 4, .vpid = 1,
				 .maxphyaddr = 46, .c = &c, .bytes = h.bytes };

	mmu_access(mmu, &x, gva, ACC_R | ACC_U, &r);
	/* The first walks in full, the other four find the last level's table: 4 + 4 * 1, and 4 of the guest. */
	ck_assert_uint_eq(r.refs, 12);
	ck_assert_uint_eq(c.ntlb_misses, 5);
	mmu_invlpg(mmu, &x, gva);
	mmu_access(mmu, &x, gva, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 4); /* nested TLB knows all five pages */
	ck_assert_uint_eq(c.ntlb_hits, 5);
	mmu_load_cr3(mmu, &x, regs.cr3);
	mmu_access(mmu, &x, gva, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 4);
	mmu_flush_gpa(mmu, 2, 9, 1, &c); /* another VM's */
	mmu_access(mmu, &x, gva, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 0);
	mmu_flush_gpa(mmu, 1, 9, 1, &c);
	mmu_access(mmu, &x, gva, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 12);
	mmu_flush_vm(mmu, 1, &c);
	mmu_access(mmu, &x, gva, ACC_R | ACC_U, &r);
	ck_assert_uint_eq(r.refs, 12);
	ck_assert_uint_eq(c.tlb_flush_vm, 3);
	ck_assert_uint_eq(c.tlb_flush_page, 1);
	ck_assert_uint_eq(c.tlb_flush_space, 1);
	mmu_free(mmu);
	profile_free(p);
	host_free(&h);
}
END_TEST

/* More address spaces than a key has numbers for: the CPU starts over, and translations stay right. */
START_TEST(what_if_spaces_run_out)
{
	struct world w;
	struct mmu_result r;

	world_init(&w, 0);
	enter(&w, 0, 0);
	w.x.use_pcid = true;
	for (unsigned n = 0; n < 140000; n++) {
		w.x.vpid = 1 + n / 4096;
		w.regs.cr3 = w.x.root | (n & 4095);
		mmu_access(w.mmu, &w.x, 0x1000, ACC_R | ACC_U, &r);
		must_eq(r.outcome, MMU_OK);
		must_eq(r.hpa, 0x5001000);
		must_eq(w.c.tlb_misses, n + 1);
	}
	mmu_free(w.mmu);
	host_free(&w.host);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tlb");
	TCase *tc = tcase_create("against naive lists");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, what_if_spaces_and_flushes_mix, 0, 3);
	tcase_add_test(tc, what_if_the_second_stage_is_flushed);
	tcase_add_test(tc, what_if_spaces_run_out);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
