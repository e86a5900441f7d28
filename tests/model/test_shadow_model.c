/* SPDX-License-Identifier: MIT */
/*
 * test_shadow_model.c - a hostile guest on shadow paging, against the architecture
 *
 * A pool of pages serves as tables of every level at once, in any shape: loops, tables as data, data as tables.
 * The guest edits entries through its own mappings, so stores are traced, set free or refused as the shadow has it; it
 * loads CR3, executes INVLPG, changes modes on two vCPUs; gmem takes, moves and protects pages in between. The
 * processor of tests/lib/shadowed.c walks the shadow tables. Each access must end as a walk of the guest's tables ends,
 * with one liberty: an entry of level 1 may be one that memory held since this vCPU last flushed (PCID, address).
 * Accessed and dirty bits may change only on the path of the access. After each step all invariants are checked
 * (verify).
 */
#include <glib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/shadowed.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define ARENA	   512u
#define NPAGES	   2048u
#define MAXPHYADDR 40u
#define STEPS	   14000u
#define NPOOL	   12u
#define NINDEX	   4u
#define NPCIDS	   3u
#define NADDRS	   1024u /* NINDEX ^ 5 */
#define NPAST	   64u

static const gfn_t pool[NPOOL] = { 1, 2, 3, 4, 5, 6, 7, 8, 1100, 1101, 0x30, 0x31 };
/* What each page of the pool is mostly used as, in guests of 4 and of 5 levels. */
static const unsigned usual[2][NPOOL] = { { 4, 4, 3, 3, 2, 2, 1, 1, 1, 2, 1, 1 },
					  { 5, 5, 4, 3, 2, 2, 1, 1, 1, 2, 1, 1 } };
static const unsigned indexes[NINDEX] = { 0, 2, 3, 511 };
static const gfn_t data[] = { 0x30, 0x31, 600, 601, 1030, 1100, 2040, 3, 1 };

struct past {
	uint64_t value, until;
};

struct model {
	struct shadowed *v;
	struct rng r;
	uint64_t now;
	bool pcid, strict;
	gva_t direct; /* where the kernel sees gpa 0 */
	gva_t recent[16];
	struct past past[NPOOL][NINDEX][NPAST];
	uint64_t flushed[SHADOWED_VCPUS][NPCIDS];
	uint64_t invlpg[SHADOWED_VCPUS][NPCIDS][NADDRS];
	uint64_t ended[4]; /* accesses by verdict */
	uint64_t stale;	   /* of them, only explained by an old entry */
};

static gpa_t entry_gpa(unsigned p, unsigned i)
{
	return (pool[p] << 12) + indexes[i] * 8;
}

static bool find_entry(gpa_t gpa, unsigned *p, unsigned *i)
{
	for (*p = 0; *p < NPOOL; ++*p)
		for (*i = 0; *i < NINDEX; ++*i)
			if (entry_gpa(*p, *i) == gpa)
				return true;
	return false;
}

static unsigned address_id(const struct model *m, gva_t gva)
{
	unsigned id = 0;

	for (unsigned level = m->v->cfg.levels; level; level--) {
		unsigned i = 0, idx = gva >> (12 + 9 * (level - 1)) & 511;

		while (i < NINDEX - 1 && indexes[i] != idx)
			i++;
		id = id * NINDEX + i;
	}
	return id;
}

static gva_t random_gva(struct model *m)
{
	gva_t gva = 0;

	if (rng_below(&m->r, 6))
		return m->recent[rng_below(&m->r, 16)];
	for (unsigned level = m->v->cfg.levels; level; level--)
		gva = gva << 9 | indexes[rng_below(&m->r, NINDEX)];
	gva <<= 12;
	if (gva >> (11 + 9 * m->v->cfg.levels))
		gva |= ~0ull << (12 + 9 * m->v->cfg.levels);
	return m->recent[rng_below(&m->r, 16)] = gva;
}

static uint64_t random_flags(struct model *m)
{
	uint64_t x = rng_u64(&m->r);

	return (x & 15 ? PTE_P : 0) | (x & 0xf0 ? PTE_W : 0) | (x & 0xf00 ? PTE_U : 0) | (x & 0xf000 ? 0 : PTE_NX) |
	       (x & 0x10000 ? PTE_A : 0) | (x & 0x20000 ? PTE_D : 0) | (x & 0x40000 ? PTE_SW1 : 0);
}

/* A value for an entry of pool page @p: mostly what its usual level wants, sometimes anything. */
static uint64_t random_value(struct model *m, unsigned p)
{
	const unsigned *level = usual[m->v->cfg.levels - 4];
	uint64_t e = random_flags(m), kind = rng_below(&m->r, 100);
	unsigned to = rng_below(&m->r, NPOOL);

	if (kind < 8)
		return 0;
	if (kind < 80 && level[p] > 1) {
		while (level[to] != level[p] - 1)
			to = rng_below(&m->r, NPOOL);
		return e | pool[to] << 12;
	}
	if (kind < 88)
		return e | data[rng_below(&m->r, G_N_ELEMENTS(data))] << 12;
	if (kind < 95)
		return e | PTE_PS | rng_below(&m->r, 4) << 21;
	if (kind < 97)
		return e | pool[to] << 12;
	return e | (kind < 98 ? (uint64_t)NPAGES << 12 : kind < 99 ? 1ull << 45 : PTE_PS);
}

/* One entry on a walk: may it be used, and what does it add? */
static bool entry_bad(const struct guest_regs *r, uint64_t e, unsigned level)
{
	return (e & 0x000fff0000000000ull) || (e >> 63 && !(r->efer >> 11 & 1)) || (level >= 4 && (e & 128)) ||
	       (level == 2 && (e & 128) && (e & 0x1fe000)) || (level == 3 && (e & 128) && (e & 0x3fffe000));
}

struct path {
	int end; /* 0: leads to a page; 1: the guest's fault; -1: out of memory */
	uint32_t error;
	gpa_t gpa;
	unsigned leaf; /* level */
	gpa_t at[6];   /* entries by level, down to where it ended */
	uint64_t value[6];
	bool all_u, all_w, nx; /* above the leaf's own */
	bool full_u, full_w, full_nx;
};

static bool refused(const struct guest_regs *r, unsigned access, bool u, bool w, bool nx)
{
	bool wp = r->cr0 >> 16 & 1, smep = r->cr4 >> 20 & 1, smap = r->cr4 >> 21 & 1, ac = r->rflags >> 18 & 1;

	if (access & ACC_U)
		return !u || ((access & ACC_W) && !w) || ((access & ACC_X) && nx);
	if (access & ACC_X)
		return nx || (u && smep);
	return (u && smap && !ac) || ((access & ACC_W) && !w && wp);
}

/* The walk of what memory holds now; changes nothing. */
static void naive(struct model *m, unsigned vcpu, gva_t gva, unsigned access, struct path *p)
{
	const struct guest_regs *r = &m->v->regs[vcpu];
	uint64_t table = r->cr3 & 0x000ffffffffff000ull, e;
	bool fetch = (access & ACC_X) && ((r->efer >> 11 & 1) || (r->cr4 >> 20 & 1));
	unsigned level = m->v->cfg.levels, shift;

	*p = (struct path){ .error = (access & ACC_W ? 2 : 0) | (access & ACC_U ? 4 : 0) | (fetch ? 16 : 0) };
	p->all_u = p->all_w = true;
	if (!(r->cr0 & CR0_PG)) {
		p->gpa = gva;
		p->end = gva >> 12 < NPAGES ? 0 : -1;
		p->leaf = 6;
		return;
	}
	for (;; level--) {
		shift = 12 + 9 * (level - 1);
		p->end = -1;
		if (table >= (uint64_t)NPAGES << 12)
			return;
		p->at[level] = table + (gva >> shift & 511) * 8;
		p->value[level] = e = shadowed_peek(m->v, p->at[level]);
		p->end = 1;
		p->leaf = level;
		if (!(e & 1))
			return;
		if (entry_bad(r, e, level)) {
			p->error |= 9;
			return;
		}
		p->full_u = p->all_u && (e & 4);
		p->full_w = p->all_w && (e & 2);
		p->full_nx = p->nx || e >> 63;
		if (level == 1 || (level <= 3 && (e & 128)))
			break;
		p->all_u = p->full_u, p->all_w = p->full_w, p->nx = p->full_nx;
		table = e & 0x000ffffffffff000ull;
	}
	p->gpa = (e & 0x000ffffffffff000ull & ~((1ull << shift) - 1)) | (gva & ((1ull << shift) - 1));
	if (refused(r, access, p->full_u, p->full_w, p->full_nx)) {
		p->error |= 1;
		return;
	}
	p->end = p->gpa >> 12 < NPAGES ? 0 : -1;
}

/* Could an entry of level 1 with @value have let this access through to @gfn? Above it, memory speaks. */
static bool explains(struct model *m, unsigned vcpu, unsigned access, const struct path *p, uint64_t value, gfn_t gfn)
{
	const struct guest_regs *r = &m->v->regs[vcpu];

	return (value & PTE_P) && (value & PTE_A) && (!(access & ACC_W) || (value & PTE_D)) &&
	       !entry_bad(r, value, 1) && (value & 0x000ffffffffff000ull) >> 12 == gfn &&
	       !refused(r, access, p->all_u && (value & 4), p->all_w && (value & 2), p->nx || value >> 63);
}

static bool explained_by_past(struct model *m, unsigned vcpu, gva_t gva, unsigned access, const struct path *p,
			      gfn_t gfn)
{
	unsigned pcid = m->pcid ? m->v->regs[vcpu].cr3 & 3 : 0, pi, ii;
	uint64_t since = MAX(m->flushed[vcpu][pcid], m->invlpg[vcpu][pcid][address_id(m, gva)]);

	if (m->strict || p->leaf != 1 || !find_entry(p->at[1], &pi, &ii))
		return false;
	for (unsigned i = 0; i < NPAST; i++) {
		const struct past *old = &m->past[pi][ii][i];

		if (old->until > since && explains(m, vcpu, access, p, old->value, gfn))
			return true;
	}
	return false;
}

/* A processor lets an access through: does the guest's table, or its recent past, allow that? */
static void check_done(struct model *m, unsigned vcpu, gva_t gva, unsigned access, struct shadowed_result *res)
{
	gfn_t gfn = gmem_gfn_of(m->v->gmem, res->hpa >> 12);
	struct path p;
	bool now;

	naive(m, vcpu, gva, access, &p);
	now = p.end == 0 && p.gpa >> 12 == gfn;
	for (unsigned level = m->v->cfg.levels; now && level >= p.leaf; level--)
		now = (p.value[level] & PTE_A) && (level > p.leaf || !(access & ACC_W) || (p.value[level] & PTE_D));
	if (now)
		return;
	must(explained_by_past(m, vcpu, gva, access, &p, gfn));
	m->stale++;
}

static void snapshot(struct model *m, uint64_t (*values)[NINDEX])
{
	for (unsigned p = 0; p < NPOOL; p++)
		for (unsigned i = 0; i < NINDEX; i++)
			values[p][i] = shadowed_peek(m->v, entry_gpa(p, i));
}

/* Only A, and D of the leaf of a write, may have changed, and only on the path. */
static void check_bits(struct model *m, uint64_t (*before)[NINDEX], const struct path *path, unsigned access)
{
	uint64_t after[NPOOL][NINDEX];

	snapshot(m, after);
	for (unsigned p = 0; p < NPOOL; p++)
		for (unsigned i = 0; i < NINDEX; i++) {
			uint64_t may = 0, changed = before[p][i] ^ after[p][i];

			for (unsigned level = path->leaf; changed && level <= m->v->cfg.levels; level++)
				if (path->at[level] == entry_gpa(p, i))
					may |= PTE_A | (level == path->leaf && (access & ACC_W) ? PTE_D : 0);
			must(!(changed & ~may) && !(changed & before[p][i]));
			must(!changed || path->end != 1);
		}
}

/* The guest stores to @gpa, which may be an entry of the pool. */
static void write_entry(struct model *m, gpa_t gpa, bool emulate, unsigned vcpu)
{
	unsigned p, i;
	bool known = find_entry(gpa, &p, &i);
	uint64_t value = random_value(m, known ? p : 0);

	if (known) {
		memmove(&m->past[p][i][1], &m->past[p][i][0], (NPAST - 1) * sizeof(m->past[p][i][0]));
		m->past[p][i][0] = (struct past){ shadowed_peek(m->v, gpa), m->now };
	}
	if (emulate)
		must_eq(-m->v->paging->ops->guest_write(m->v->paging, vcpu, gpa, &value, 8), 0);
	else
		shadowed_poke(m->v, gpa, value);
}

/* One access; a write stores a random entry. */
static void access_memory(struct model *m, unsigned vcpu, gva_t gva, unsigned access)
{
	uint64_t before[NPOOL][NINDEX];
	struct shadowed_result res;
	struct path p;

	snapshot(m, before);
	naive(m, vcpu, gva, access, &p);
	res = shadowed_access(m->v, vcpu, gva, access);
	m->ended[res.verdict]++;
	check_bits(m, before, &p, access);
	switch (res.verdict) {
	case PAGING_RETRY:
		check_done(m, vcpu, gva, access, &res);
		if (access & ACC_W)
			write_entry(m, (gmem_gfn_of(m->v->gmem, res.hpa >> 12) << 12) | (gva & 0xfff), false, vcpu);
		break;
	case PAGING_INJECT:
		must_eq(p.end, 1);
		must_eq(res.error, p.error);
		break;
	case PAGING_EMULATE:
		must((access & ACC_W) && p.end == 0);
		must_eq(res.gpa, p.gpa);
		write_entry(m, res.gpa, true, vcpu);
		break;
	case PAGING_FAIL:
		must_eq(-res.err, EFAULT);
		must(p.end < 0);
		break;
	}
}

static void random_access(struct model *m, unsigned vcpu)
{
	static const unsigned kinds[] = { ACC_R, ACC_W, ACC_X };
	unsigned access = kinds[rng_below(&m->r, 3)] | (rng_below(&m->r, 3) ? ACC_U : 0);
	gva_t gva = random_gva(m);

	if (!(m->v->regs[vcpu].cr0 & CR0_PG))
		gva = rng_below(&m->r, NPAGES + 1) << 12 | 3 << 3;
	else
		gva |= indexes[rng_below(&m->r, NINDEX)] * 8;
	access_memory(m, vcpu, gva, access);
}

/* The kernel edits a table through its direct map. */
static void edit(struct model *m, unsigned vcpu)
{
	/* Half of it in the arena's leaf tables, where the shadow may lag. */
	unsigned p = rng_below(&m->r, 2) ? 6 + rng_below(&m->r, 2) : rng_below(&m->r, NPOOL);
	gpa_t gpa = entry_gpa(p, rng_below(&m->r, NINDEX));

	access_memory(m, vcpu, (m->v->regs[vcpu].cr0 & CR0_PG ? m->direct : 0) + gpa, ACC_W);
}

static void flush_event(struct model *m, unsigned vcpu)
{
	const struct paging_ops *ops = m->v->paging->ops;
	struct guest_regs *regs = &m->v->regs[vcpu];
	unsigned pcid = m->pcid ? rng_below(&m->r, NPCIDS) : 0;
	gva_t gva;

	if (rng_below(&m->r, 2)) {
		gva = random_gva(m);
		pcid = m->pcid ? regs->cr3 & 3 : 0;
		m->invlpg[vcpu][pcid][address_id(m, gva)] = m->now;
		ops->guest_event(m->v->paging, vcpu, GUEST_INVLPG, gva);
		return;
	}
	regs->cr3 = pool[rng_below(&m->r, rng_below(&m->r, 8) ? 2 : 4)] << 12 | pcid;
	if (m->pcid && rng_below(&m->r, 2)) {
		ops->guest_event(m->v->paging, vcpu, GUEST_CR3, regs->cr3 | CR3_NOFLUSH);
		return;
	}
	m->flushed[vcpu][pcid] = m->now;
	ops->guest_event(m->v->paging, vcpu, GUEST_CR3, regs->cr3);
}

static void mode_event(struct model *m, unsigned vcpu)
{
	struct guest_regs *regs = &m->v->regs[vcpu];
	uint64_t x = rng_u64(&m->r);

	regs->rflags = x & 1 ? RFLAGS_AC : 0;
	if (x & 14)
		return;
	regs->cr0 = CR0_PE | (x & 0xf0 ? CR0_PG : 0) | (x & 0x100 ? CR0_WP : 0);
	regs->cr4 = CR4_PAE | (m->pcid ? CR4_PCIDE : 0) | (x & 0x200 ? CR4_SMEP : 0) |
		    (x & 0x400 && x & 0x100 ? CR4_SMAP : 0); /* not without WP: shadow.c says why */
	regs->efer = EFER_LME | EFER_LMA | (x & 0x1800 ? EFER_NX : 0);
	for (unsigned i = 0; i < NPCIDS; i++)
		m->flushed[vcpu][i] = m->now;
	m->v->paging->ops->guest_event(m->v->paging, vcpu, GUEST_MODE, 0);
}

static void change_backing(struct model *m)
{
	struct gmem *g = m->v->gmem;
	gfn_t gfn = rng_below(&m->r, 2) ? data[rng_below(&m->r, G_N_ELEMENTS(data))] : rng_below(&m->r, NPAGES);
	uint64_t bitmap[NPAGES / 64];

	switch (rng_below(&m->r, 10)) {
	case 0:
		gmem_release(g, gfn);
		break;
	case 1:
	case 2:
		gmem_move(g, gfn, 0);
		break;
	case 3:
		gmem_collapse(g, gfn, 2);
		break;
	case 4:
		gmem_split(g, gfn);
		break;
	case 5:
		if (gmem_dirty_logging(g))
			gmem_dirty_log_stop(g);
		else if (!rng_below(&m->r, 4))
			gmem_dirty_log_start(g);
		break;
	case 6:
		if (gmem_dirty_logging(g))
			gmem_dirty_log_collect(g, bitmap);
		break;
	default:
		gmem_test_clear_young(g, gfn);
	}
}

static void step(struct model *m)
{
	unsigned vcpu = rng_below(&m->r, SHADOWED_VCPUS), kind = rng_below(&m->r, 100);

	m->now++;
	if (kind < 60)
		random_access(m, vcpu);
	else if (kind < 84)
		edit(m, vcpu);
	else if (kind < 92)
		flush_event(m, vcpu);
	else if (kind < 94)
		mode_event(m, vcpu);
	else
		change_backing(m);
	must(shadowed_check(m->v));
}

/* The kernel's direct map: entry 1 of whatever is a root, 2 MiB pages, fixed. */
static void build(struct model *m)
{
	struct shadowed *v = m->v;
	uint64_t flags = PTE_P | PTE_W | PTE_A;
	gfn_t top = v->cfg.levels == 5 ? 22 : 20;

	m->direct = 1ull << (12 + 9 * (v->cfg.levels - 1));
	shadowed_poke(v, 22 << 12, 20 << 12 | flags);
	shadowed_poke(v, 20 << 12, 21 << 12 | flags);
	for (unsigned i = 0; i < NPAGES / 512; i++)
		shadowed_poke(v, (21 << 12) + i * 8, (uint64_t)i << 21 | flags | PTE_PS | PTE_D);
	for (unsigned p = 0; p < NPOOL; p++) {
		if (pool[p] < ARENA)
			shadowed_poke(v, (pool[p] << 12) + 8, top << 12 | flags);
		for (unsigned i = 0; i < NINDEX; i++)
			shadowed_poke(v, entry_gpa(p, i), random_value(m, p));
	}
}

static void run(uint64_t seed, const struct shadowed_config *cfg, bool pcid)
{
	struct model *m = g_new0(struct model, 1);
	const struct counters *c;

	rng_seed(&m->r, seed);
	m->v = shadowed_new(cfg);
	m->pcid = pcid;
	m->strict = !cfg->unsync;
	m->now = 1;
	c = &m->v->c;
	build(m);
	for (unsigned i = 0; i < SHADOWED_VCPUS; i++) {
		m->v->regs[i].cr3 = pool[i] << 12;
		m->v->regs[i].cr4 |= pcid ? CR4_PCIDE : 0;
	}
	for (unsigned i = 0; i < STEPS; i++)
		step(m);
	if (g_getenv("VERBOSE"))
		g_printerr("retry %lu inject %lu emulate %lu fail %lu stale %lu; fills %lu unsyncs %lu resyncs %lu "
			   "floods %lu evictions %lu splinters %lu\n",
			   m->ended[0], m->ended[1], m->ended[2], m->ended[3], m->stale, c->shadow_fills,
			   c->shadow_unsyncs, c->shadow_resyncs, c->shadow_floods, c->shadow_evictions,
			   c->shadow_splinters);
	must(m->ended[PAGING_RETRY] > STEPS / 20 && m->ended[PAGING_INJECT] > STEPS / 20);
	must(m->ended[PAGING_EMULATE] > 100 && m->ended[PAGING_FAIL] > 10);
	must(c->shadow_fills > 1000 && c->shadow_pages_found > 100 && c->shadow_splinters > 10);
	must(!cfg->limit || c->shadow_evictions > 10);
	must(!cfg->flood || c->shadow_floods > 5);
	must(!cfg->unsync || (c->shadow_unsyncs > 50 && c->shadow_resyncs > 10 && m->stale > 0));
	shadowed_free(m->v);
	g_free(m);
}

START_TEST(guests)
{
	struct shadowed_config cfg = { .host_pages = 8192,
				       .npages = NPAGES,
				       .arena_pages = ARENA,
				       .level = 1 + _i % 2,
				       .max_leaf = 1 + _i % 3,
				       .levels = _i == 3 ? 5 : 4,
				       .maxphyaddr = MAXPHYADDR,
				       .unsync = _i != 4,
				       .limit = _i % 2	  ? 16
						: _i == 6 ? 0
							  : 40,
				       .flood = _i == 2 ? 0 : 3 };
	const char *seed = g_getenv("SEED");

	run(seed ? g_ascii_strtoull(seed, NULL, 0) + _i : 1000 + (uint64_t)_i, &cfg, _i % 4 >= 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shadow_model");
	TCase *tc = tcase_create("guests");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, guests, 0, 8);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
