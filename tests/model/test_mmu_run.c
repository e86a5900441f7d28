/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_run.c - the batch against the plain model
 *
 * Two machines with equal memory run the same random stream: one through mmu_run(), the other through a loop over
 * mmu_access() that is spelled out here, and without the short ways that walks take. In between come invalidations,
 * changes of address space, pages taken away and given back, budgets that end in mid-batch. After each batch everything
 * must be equal: operations done, result, cycles, all counters, log, contents, and from time to time every byte of the
 * tables and every entry of every TLB and cache with its recency.
 */
#include <check.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/tables.h"
#include "vmm/sim/mmu_int.h"

#define NPAGES	1024u
#define DATA	2048u /* first data frame; tables below */
#define BATCHES 4000

struct side {
	struct host host;
	struct guest_regs regs;
	struct counters c;
	struct pml pml;
	struct mmu_context x;
	struct pattern content[DATA + NPAGES];
	struct sim_mmu *mmu;
	uint64_t work, walk;
	uint64_t latency[MMU_LATENCY_BINS];
	struct mmu_result r;
};

static struct {
	const char *profile;
	bool model, two, npt, ad, pml, pcid;
	bool only_4k; /* no large pages and no global ones: a path of its own */
	uint32_t clock; /* at first */
} variants[] = {
	{ "skylake-sp", false, false, false, false, false, false, false, 0 },
	{ "skylake-sp", true, true, false, true, true, true, false, 0 },
	{ "skylake-sp", false, true, false, true, true, true, false, ASSOC_LAST_TICK - 5000 },
	{ "icelake-sp", false, true, false, false, false, true, false, 0 },
	{ "zen3", false, true, true, true, false, true, false, ASSOC_LAST_TICK - 300 },
	{ "zen3", true, false, true, true, false, false, false, 0 },
	{ "bare", false, true, false, true, false, false, false, 0 },
	{ "skylake-sp", false, false, false, false, false, true, true, 0 },
	{ "skylake-sp", false, true, false, true, true, false, true, ASSOC_LAST_TICK - 9000 },
	{ "icelake-sp", true, true, false, false, false, true, true, 0 },
	{ "zen3", false, true, true, true, false, true, true, 0 },
};

static gva_t page_va(uint64_t page)
{
	/* Three regions, so that upper levels differ. */
	return (page % 3 + 1) * 0x4000000000ull + page * PAGE_SIZE;
}

static void build(struct side *s, int v)
{
	uint64_t user = PTE_P | PTE_W | PTE_U, link = variants[v].npt ? user : EPT_RWX;
	uint64_t leaf = variants[v].npt ? user : EPT_RWX | EPT_WB;

	host_init(&s->host, DATA + NPAGES);
	s->regs = test_regs();
	s->regs.cr3 = s->x.root = host_page(&s->host);
	for (uint64_t i = 0; i < NPAGES; i++)
		host_map(&s->host, s->regs.cr3, 4, page_va(i), 1, (DATA + i) * PAGE_SIZE,
			 user | (i % 7 == 0 && !variants[v].only_4k ? PTE_G : 0) | (i % 5 == 0 ? PTE_NX : 0), user);
	/* One large page of each size. */
	host_map(&s->host, s->regs.cr3, 4, 0x6000000000, 2, 0, user, user);
	host_map(&s->host, s->regs.cr3, 4, 0x7040000000, 3, 0, user, user);
	s->x = (struct mmu_context){
		.walk = variants[v].two ? MMU_2D : MMU_1D, .regs = &s->regs, .root = s->x.root,
		.levels = 4, .host_levels = 4, .vpid = 1, .maxphyaddr = 46,
		.npt = variants[v].npt, .ad_bits = variants[v].ad, .use_pcid = variants[v].pcid,
		.pml = variants[v].pml ? &s->pml : NULL, .c = &s->c,
		.bytes = s->host.bytes, .content = s->content, .latency = s->latency,
	};
	if (variants[v].two) {
		s->x.root = host_page(&s->host);
		for (uint64_t i = 0; i < DATA + NPAGES; i++)
			host_map(&s->host, s->x.root, 4, i * PAGE_SIZE, 1, i * PAGE_SIZE, leaf, link);
	}
	struct sim_profile *p = profile_load(variants[v].profile, NULL);

	s->mmu = mmu_new(p, variants[v].model);
	s->mmu->clock = variants[v].clock;
	profile_free(p);
}

/* The contract of mmu_run(), word for word. */
static uint32_t plain_run(struct side *s, const struct op *ops, uint32_t n, uint64_t budget)
{
	static const unsigned access[] = { ACC_R | ACC_U, ACC_R | ACC_W | ACC_U, ACC_X | ACC_U };
	uint64_t spent = 0;
	uint32_t i;

	s->r.outcome = MMU_OK;
	for (i = 0; i < n && OP_IS_ACCESS(&ops[i]); i++) {
		if (budget && i % MMU_BUDGET_OPS == 0 && spent >= budget)
			break;
		mmu_access(s->mmu, &s->x, OP_VA(&ops[i]), access[OP_KIND(&ops[i])], &s->r);
		if (s->r.outcome != MMU_OK)
			break;
		s->walk += s->r.walk_cycles;
		s->work += s->r.cycles - s->r.walk_cycles + s->mmu->p.op_cycles;
		uint64_t took = s->r.cycles + s->mmu->p.op_cycles;

		spent += took;
		s->latency[took < MMU_LATENCY_BINS ? took : MMU_LATENCY_BINS - 1]++;
		s->c.accesses++;
		s->c.reads += OP_KIND(&ops[i]) == OP_READ;
		s->c.writes += OP_KIND(&ops[i]) == OP_WRITE;
		s->c.fetches += OP_KIND(&ops[i]) == OP_EXEC;
		if (OP_KIND(&ops[i]) == OP_WRITE)
			s->content[s->r.hpa >> PAGE_SHIFT].stamp = ops[i].arg;
	}
	return i;
}

/* Same keys and values in the same slots, in the same order of use. */
static void same_assoc(const struct assoc *a, const struct assoc *b, bool aux)
{
	must_eq(a->stride, b->stride);
	for (uint32_t set = 0; a->ways && set <= a->set_mask; set++)
		for (uint32_t i = 0; i < a->ways; i++) {
			struct slot x = { assoc_row(a, set), i, a->stride }, y = { assoc_row(b, set), i, b->stride };

			must_eq(*slot_key(x), *slot_key(y));
			if (!*slot_key(x))
				continue;
			must_eq(*slot_val(x), *slot_val(y));
			must(!aux || *slot_aux(x) == *slot_aux(y));
			const uint32_t *stamp_x = slot_stamp(x) - i, *stamp_y = slot_stamp(y) - i;

			for (uint32_t j = 0; j < i; j++)
				must_eq(*slot_stamp(x) < stamp_x[j], *slot_stamp(y) < stamp_y[j]);
		}
}

static void same_inside(const struct side *a, const struct side *b)
{
	for (size_t i = 0; i < G_N_ELEMENTS(a->mmu->tlb.array); i++)
		same_assoc(&a->mmu->tlb.array[i], &b->mmu->tlb.array[i], false);
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		same_assoc(&a->mmu->pwc[level], &b->mmu->pwc[level], true);
		same_assoc(&a->mmu->npwc[level], &b->mmu->npwc[level], false);
	}
	same_assoc(&a->mmu->ntlb, &b->mmu->ntlb, false);
	for (unsigned l = 0; l < 3; l++) {
		const struct dcache_level *x = &a->mmu->cache.level[l], *y = &b->mmu->cache.level[l];

		must(!memcmp(x->tag, y->tag, (x->set_mask + 1) * x->stride * sizeof(*x->tag)));
	}
	must(!memcmp(a->host.bytes, b->host.bytes, DATA * PAGE_SIZE));
	must(!memcmp(a->latency, b->latency, sizeof(a->latency)));
	must(!memcmp(a->content, b->content, sizeof(a->content)));
}

static void same_outside(const struct side *a, const struct side *b)
{
	must_eq(a->work, b->work);
	must_eq(a->walk, b->walk);
	must_eq(a->r.outcome, b->r.outcome);
	for (const struct counter_info *ci = counter_table; ci->name; ci++)
		if (counter_get(&a->c, ci) != counter_get(&b->c, ci))
			ck_abort_msg("counter %s: %llu, not %llu", ci->name, (unsigned long long)counter_get(&a->c, ci),
				     (unsigned long long)counter_get(&b->c, ci));
	must_eq(a->pml.n, b->pml.n);
	must(!memcmp(a->pml.gpa, b->pml.gpa, a->pml.n * sizeof(a->pml.gpa[0])));
	if (a->r.outcome == MMU_OK)
		return;
	must_eq(a->r.error, b->r.error);
	must_eq(a->r.gva, b->r.gva);
	must_eq(a->r.gpa, b->r.gpa);
	must_eq(a->r.table_access, b->r.table_access);
	must_eq(a->r.refs, b->r.refs);
	must_eq(a->r.cycles, b->r.cycles);
}

/* Now a narrow stream, now a wide one; a few operations are no accesses, a few addresses lead nowhere. */
static void make_ops(struct rng *rng, bool only_4k, struct op *ops, uint32_t n)
{
	static const unsigned widths[] = { 1, 8, 40, 200, NPAGES };
	unsigned width = widths[rng_below(rng, 5)];
	unsigned write = (unsigned)rng_below(rng, 60), exec = (unsigned)rng_below(rng, 4);
	uint64_t base = rng_below(rng, NPAGES);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t page = (base + rng_below(rng, width)) % NPAGES;
		uint64_t what = rng_below(rng, 100), odd = rng_below(rng, 2000);
		unsigned kind = what < write ? OP_WRITE : what < write + exec ? OP_EXEC : OP_READ;
		gva_t va = page_va(page) + rng_below(rng, PAGE_SIZE);

		if (odd == 0)
			kind = OP_YIELD;
		else if (odd == 1)
			va = rng_u64(rng) & OP_VA_MASK;
		else if (odd < 40 && !only_4k)
			va = 0x6000000000 + rng_below(rng, 0x200000);
		else if (odd < 60 && !only_4k)
			va = 0x7040000000 + rng_below(rng, 0x800000);
		ops[i] = (struct op){ OP_MAKE(kind, va), rng_u64(rng) };
	}
}

/* A page's entry in the guest's table, or in the VMM's. */
static uint64_t *entry_of(struct side *s, uint64_t page, bool guest)
{
	uint64_t table = guest ? s->regs.cr3 & PTE_ADDR : s->x.root;
	uint64_t addr = guest ? page_va(page) : (DATA + page) * PAGE_SIZE;

	for (unsigned l = 4; l > 1; l--)
		table = *host_entry(&s->host, table, addr, l) & PTE_ADDR;
	return host_entry(&s->host, table, addr, 1);
}

/* What software does between batches, the same on both sides. */
static void disturb(struct side *s, struct rng rng)
{
	uint64_t page = rng_below(&rng, NPAGES), what = rng_below(&rng, 12);
	bool guest = s->x.walk == MMU_1D || rng_below(&rng, 2);
	uint64_t *e = entry_of(s, page, guest);

	switch (what) {
	case 0:
		mmu_invlpg(s->mmu, &s->x, page_va(page));
		break;
	case 1:
		s->regs.cr3 = (s->regs.cr3 & PTE_ADDR) | (s->x.use_pcid ? rng_below(&rng, 3) : 0);
		mmu_load_cr3(s->mmu, &s->x, s->regs.cr3 | (rng_below(&rng, 2) ? CR3_NOFLUSH : 0));
		break;
	case 2:
		mmu_flush_space(s->mmu, &s->x, (unsigned)rng_below(&rng, 3));
		break;
	case 3:
		mmu_flush_vm(s->mmu, 1 + (unsigned)rng_below(&rng, 2), &s->c);
		break;
	case 4:
		s->x.vpid = 1 + (unsigned)rng_below(&rng, 2);
		break;
	case 5:
	case 6: /* take away, or take the right to write */
		*e &= what == 5 ? ~7ull : ~2ull;
		if (guest)
			mmu_flush_gva(s->mmu, 1, page_va(page), &s->c), mmu_flush_gva(s->mmu, 2, page_va(page), &s->c);
		else
			mmu_flush_gpa(s->mmu, 1, DATA + page, 1, &s->c),
				mmu_flush_gpa(s->mmu, 2, DATA + page, 1, &s->c);
		break;
	default:
		break;
	}
}

/* The VMM or the guest's kernel mends what failed, or leaves it at that. */
static void mend(struct side *s, const struct op *op)
{
	if (s->r.outcome == MMU_PML_FULL)
		s->pml.n = 0;
	for (uint64_t page = 0; page < NPAGES; page++)
		if (page_va(page) == (OP_VA(op) & PAGE_MASK)) {
			*entry_of(s, page, true) |= PTE_P | PTE_W | PTE_U;
			*entry_of(s, page, true) &= ~PTE_NX;
			if (s->x.walk == MMU_2D)
				*entry_of(s, page, false) |= 7;
		}
}

START_TEST(what_if_the_batch_is_fast)
{
	struct side *a = g_new0(struct side, 1), *b = g_new0(struct side, 1);
	struct op ops[300];
	struct rng rng;
	uint64_t stopped = 0, done = 0;

	rng_seed(&rng, 5000 + (uint64_t)_i);
	build(a, _i);
	build(b, _i);
	b->mmu->plain = true;
	for (unsigned n = 0; n < BATCHES; n++) {
		uint32_t len = 1 + (uint32_t)rng_below(&rng, 300), at = 0;

		make_ops(&rng, variants[_i].only_4k, ops, len);
		disturb(a, rng);
		disturb(b, rng);
		rng_u64(&rng);
		while (at < len) {
			uint64_t budget = rng_below(&rng, 4) ? 0 : rng_below(&rng, 20000);
			uint32_t k = mmu_run(a->mmu, &a->x, ops + at, len - at, budget, &a->work, &a->walk, &a->r);

			must_eq(k, plain_run(b, ops + at, len - at, budget));
			same_outside(a, b);
			at += k;
			done += k;
			if (a->r.outcome != MMU_OK) {
				stopped++;
				mend(a, &ops[at]);
				mend(b, &ops[at]);
				at += rng_below(&rng, 3) == 0;
			} else if (at < len && !OP_IS_ACCESS(&ops[at])) {
				at++;
			}
		}
		if (n % 100 == 0)
			same_inside(a, b);
	}
	same_inside(a, b);
	must(done > BATCHES * 100 && stopped > 100);
	mmu_free(a->mmu);
	mmu_free(b->mmu);
	host_free(&a->host);
	host_free(&b->host);
	g_free(a);
	g_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mmu_run");
	TCase *tc = tcase_create("against the plain model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, what_if_the_batch_is_fast, 0, G_N_ELEMENTS(variants));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
