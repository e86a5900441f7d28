/* SPDX-License-Identifier: MIT */
/*
 * mmu_run.c - a batch of accesses, fast
 *
 * Problem. Nearly all accesses of most programs hit the first-level TLB, and calling the plain model for each costs ten
 * times what the look-up does. The rest wait for table entries in the host's own memory.
 *
 * Idea. Blocks of MMU_BUDGET_OPS operations. A load, store or fetch whose 4K page is in the first-level TLB with every
 * right it needs is done here, in a few instructions and without a branch on what it is; anything else takes the
 * plain model's code, entered as late as possible. What a hit counts and costs is the same for all of a kind, so it is
 * counted in registers and accounted per batch. While many of a block's operations missed, the next block is looked at
 * ahead (ahead.h).
 *
 * Invariant: counters, cycles, results, TLB contents, A/D bits, log and contents are those of a loop over mmu_access()
 * (tests/model/test_mmu_run.c).
 */
#include "vmm/sim/mmu_int.h"

static const unsigned access_of[] = {
	[OP_READ] = ACC_R | ACC_U, [OP_WRITE] = ACC_R | ACC_W | ACC_U, [OP_EXEC] = ACC_X | ACC_U
};

/* What an entry needs to satisfy an operation at user level without a walk: a byte each for read, write, fetch. */
#define NEED_READ  (TLB_U | TLB_LOAD)
#define NEED_WRITE (TLB_U | TLB_LOAD | TLB_W | TLB_STORE)
#define NEED_EXEC  (TLB_U | TLB_X | TLB_FETCH)
#define NEEDS	   (NEED_READ << 8 * OP_READ | NEED_WRITE << 8 * OP_WRITE | NEED_EXEC << 8 * OP_EXEC)

_Static_assert(NEED_WRITE < 256 && OP_EXEC < 4, "needs fit a byte");

/* A block is looked at ahead if this many operations of the last one missed. */
#define AHEAD_MISSES (MMU_BUDGET_OPS / 4)

struct batch {
	struct sim_mmu *m;
	const struct mmu_context *x;
	uint64_t reads, writes, fetches; /* operations done */
	uint64_t l1_hits, l2_hits, misses; /* counted here, not by mmu_access() */
	uint64_t loads, stores;		 /* of the hits: those with flat costs on this node; a load may be a fetch */
	uint64_t work, walk;		 /* cycles known so far: all but what counts above will give */
};

static inline void count_latency(const struct batch *b, uint64_t cycles, uint64_t n)
{
	if (b->x->latency)
		b->x->latency[cycles < MMU_LATENCY_BINS ? cycles : MMU_LATENCY_BINS - 1] += n;
}

/*
 * Fetch what the block after the next will need of the guest's leaf entries, and the next one of the second stage's.
 * (Always inlined: as a function of its own it has no effect that GCC would see, and is dropped.)
 */
static inline __attribute__((always_inline)) void look_ahead(const struct batch *b, const struct op *ops, uint32_t n)
{
	struct ahead *a = &b->m->ahead;
	const uint8_t *bytes = b->x->bytes;

	for (uint32_t i = 0; i < MMU_BUDGET_OPS && i + AHEAD_FAR < n; i++)
		__builtin_prefetch(ahead_entry(a->stage1, bytes, OP_VA(&ops[i + AHEAD_FAR])));
	if (b->x->walk == MMU_1D)
		return;
	for (uint32_t i = 0; i < MMU_BUDGET_OPS && i + AHEAD_NEAR < n; i++) {
		const uint64_t *e = ahead_entry(a->stage1, bytes, OP_VA(&ops[i + AHEAD_NEAR]));

		__builtin_prefetch(ahead_entry(a->stage2, bytes, *e & PTE_ADDR));
	}
}

/* An operation is done, translated to @hpa at @cycles (op_cycles not included). */
static inline void complete(struct batch *b, const struct op *op, hpa_t hpa, uint64_t cycles)
{
	unsigned kind = OP_KIND(op);

	count_latency(b, cycles + b->m->p.op_cycles, 1);
	if (kind == OP_WRITE && b->x->content)
		b->x->content[hpa >> PAGE_SHIFT].stamp = op->arg;
	b->reads += kind == OP_READ;
	b->writes += kind == OP_WRITE;
	b->fetches += kind == OP_EXEC;
}

/* An entry with @val of page size @level serves the operation; finding it took @walk cycles. */
static inline void complete_entry(struct batch *b, const struct op *op, uint64_t val, unsigned level, uint64_t walk)
{
	hpa_t hpa = (val & PTE_ADDR) + (OP_VA(op) & (LEVEL_SIZE(level) - 1));
	bool remote = val & TLB_REMOTE;
	uint64_t cycles = mmu_data_cycles(b->m, b->x, hpa, remote);

	if (OP_KIND(op) == OP_WRITE)
		cycles += mmu_data_cycles(b->m, b->x, hpa & PAGE_MASK, remote);
	b->work += cycles;
	b->walk += walk;
	complete(b, op, hpa, walk + cycles);
}

/* mmu_access() or its second part did the operation, or found a fault. */
static inline bool complete_result(struct batch *b, const struct op *op, const struct mmu_result *r)
{
	if (r->outcome != MMU_OK)
		return false;
	b->walk += r->walk_cycles;
	b->work += r->cycles - r->walk_cycles;
	complete(b, op, r->hpa, r->cycles);
	return true;
}

/* Could an entry of another size, or a global one, map what the 4K entries of the space do not? */
static inline bool only_4k(const struct tlb *t)
{
	return !t->globals && !(t->l1[2]->seen[2] | t->l1[3]->seen[3] | t->l2[2]->seen[2] | t->l2[3]->seen[3]);
}

/*
 * An operation whose 4K page is not in the first-level TLB (or, @found, not with the rights it needs). What is common
 * is done here: the second level, or a walk, settles it. The rest is mmu_access()'s. False: it faulted.
 */
static bool run_miss(struct batch *b, const struct op *op, bool found, struct mmu_result *r)
{
	struct sim_mmu *m = b->m;
	unsigned kind = OP_KIND(op), need = NEEDS >> 8 * kind & 255, first = kind == OP_EXEC ? ACC_X : ACC_R;
	gva_t va = OP_VA(op);
	struct translation t = { .level = 1 };
	struct tlb_hit hit;

	if (found || !only_4k(&m->tlb) || !mmu_canonical(va, b->x->levels)) {
		mmu_access(m, b->x, va, access_of[kind], r);
		return complete_result(b, op, r);
	}
	*r = (struct mmu_result){ .gva = va, .walk_cycles = m->p.l2_tlb_cycles };
	t.found = tlb_probe(m->tlb.l2[1], va, 1, b->m->ids.own, &hit);
	if (t.found) {
		assoc_touch(hit.a, hit.slot);
		tlb_promote(&m->tlb, va, &hit);
		t.val = hit.a->val[hit.slot];
		b->l2_hits++;
	} else {
		b->misses++;
		t.found = walk_stage1(m, b->x, va, first | ACC_U, &t.val, &t.level, r);
		if (!t.found) {
			r->cycles = r->walk_cycles;
			return false;
		}
	}
	if ((t.val & need) == need) {
		complete_entry(b, op, t.val, t.level, r->walk_cycles);
		return true;
	}
	mmu_translate(m, b->x, va, access_of[kind], &t, r);
	return complete_result(b, op, r);
}

/*
 * Operations from @i on that hit, up to @n; returns the first that does not (or is no access), and whether its page was
 * there. @simple: a four-way TLB, flat costs, one node.
 */
static inline __attribute__((always_inline)) uint32_t run_hits(struct batch *b, const struct op *ops, uint32_t i,
							       uint32_t n, bool simple, bool *found)
{
	struct assoc *l1 = b->m->tlb.l1[1];
	const uint64_t *key = l1->key, *val = l1->val;
	uint32_t *stamp = l1->stamp, clock = l1->clock, mask = l1->set_mask, first = i;
	struct pattern *content = b->x->content, nowhere;
	uint64_t tag = (uint64_t)1 << KEY_LEVEL_SHIFT | b->m->ids.own, writes = 0, fetches = 0;

	*found = false;
	for (; i < n; i++) {
		unsigned kind = OP_KIND(&ops[i]);
		uint64_t va = OP_VA(&ops[i]), page = va >> PAGE_SHIFT, want = page << KEY_PAGE_SHIFT | tag, v;
		uint32_t slot;

		if (simple) {
			uint32_t set = ((uint32_t)page & mask) * 4;
			unsigned hit = assoc_match4(key + set, _mm_set1_epi64x((long long)want));

			if (__builtin_expect(!hit, 0))
				break;
			slot = set + (uint32_t)__builtin_ctz(hit);
		} else {
			int32_t at = assoc_find(l1, assoc_set(l1, page), want);

			if (at < 0)
				break;
			slot = (uint32_t)at;
		}
		v = val[slot];
		unsigned need = NEEDS >> 8 * (kind & 3) & 255;

		/* A kind beyond OP_EXEC has no needs to speak of: it ends the batch. */
		if (__builtin_expect((v & need) != need || kind > OP_EXEC, 0)) {
			*found = true;
			break;
		}
		stamp[slot] = ++clock;
		if (!simple) {
			complete_entry(b, &ops[i], v, 1, 0);
			continue;
		}
		struct pattern *to = kind == OP_WRITE && content ? &content[(v & PTE_ADDR) >> PAGE_SHIFT] : &nowhere;

		to->stamp = ops[i].arg;
		writes += kind & 1;
		fetches += kind >> 1;
	}
	l1->clock = clock;
	b->l1_hits += i - first;
	if (simple) {
		b->writes += writes;
		b->fetches += fetches;
		b->reads += i - first - writes - fetches;
		b->loads += i - first - writes;
		b->stores += writes;
	}
	return i;
}

/* Up to @n operations, at most MMU_BUDGET_OPS. Returns how many were done. */
static uint32_t run_block(struct batch *b, const struct op *ops, uint32_t n, bool simple, struct mmu_result *r)
{
	uint32_t i = 0, misses = 0;
	bool found;

	for (;; i++, misses++) {
		i = simple ? run_hits(b, ops, i, n, true, &found) : run_hits(b, ops, i, n, false, &found);
		if (i == n || OP_KIND(&ops[i]) > OP_EXEC || !run_miss(b, &ops[i], found, r))
			break;
	}
	b->m->ahead.on = misses >= AHEAD_MISSES;
	return i;
}

/* Cycles of useful work up to now. */
static uint64_t batch_work(const struct batch *b)
{
	const struct sim_profile *p = &b->m->p;

	return b->work + (b->reads + b->writes + b->fetches) * p->op_cycles +
	       (b->loads + 2 * b->stores) * p->flat_data_cycles;
}

static void account(const struct batch *b, uint64_t *work, uint64_t *walk)
{
	struct counters *c = b->x->c;

	*work += batch_work(b);
	*walk += b->walk;
	c->accesses += b->reads + b->writes + b->fetches;
	c->reads += b->reads;
	c->writes += b->writes;
	c->fetches += b->fetches;
	c->tlb_l1_hits += b->l1_hits;
	c->tlb_l2_hits += b->l2_hits;
	c->tlb_misses += b->misses;
	/* Hits with flat costs all took the same. A store is two references: its load and itself. */
	count_latency(b, b->m->p.op_cycles + b->m->p.flat_data_cycles, b->loads);
	count_latency(b, b->m->p.op_cycles + 2ull * b->m->p.flat_data_cycles, b->stores);
}

uint32_t mmu_run(struct sim_mmu *m, const struct mmu_context *x, const struct op *ops, uint32_t n, uint64_t budget,
		 uint64_t *work, uint64_t *walk, struct mmu_result *r)
{
	struct batch b = { .m = m, .x = x };
	struct assoc *l1 = m->tlb.l1[1];
	bool simple = l1->stride == 4 && !m->cache_model && !mmu_numa(m, x);
	uint32_t done = 0;

	mmu_enter(m, x);
	r->outcome = MMU_OK;
	while (done < n && !(budget && batch_work(&b) + b.walk >= budget)) {
		uint32_t block = n - done < MMU_BUDGET_OPS ? n - done : MMU_BUDGET_OPS, k;

		/* No tick of a block may be the last: an operation takes at most three. */
		if (l1->clock > ASSOC_LAST_TICK - 8 * MMU_BUDGET_OPS)
			assoc_renumber(l1);
		if (m->ahead.on)
			look_ahead(&b, ops + done, n - done);
		k = run_block(&b, ops + done, block, simple, r);
		done += k;
		if (k < block)
			break;
	}
	account(&b, work, walk);
	return done;
}
