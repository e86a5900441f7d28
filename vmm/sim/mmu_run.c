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

#define KINDS 128 /* of operations, as far as seven bits tell */
#define NEVER (1u << 11) /* a flag that no entry has: operations that are no accesses need it */

_Static_assert(OP_READ == 0 && OP_WRITE == 1 && OP_EXEC == 2, "accesses come first");
_Static_assert(KEY_PAGE_SHIFT == PAGE_SHIFT + 7 && OP_VA_MASK == KEY_ADDR_MASK, "in a key, a page loses the kind");
_Static_assert((TLB_FLAGS & NEVER) && TLB_REMOTE < NEVER, "entries leave that flag alone");

/* What an entry needs to satisfy an operation at user level without a walk. */
static const uint16_t needs[KINDS] = {
	[OP_READ] = TLB_U | TLB_LOAD,
	[OP_WRITE] = TLB_U | TLB_LOAD | TLB_W | TLB_STORE,
	[OP_EXEC] = TLB_U | TLB_X | TLB_FETCH,
	[OP_EXEC + 1 ... KINDS - 1] = NEVER,
};

/* Two counts in one word, for a loop that is short of registers. */
#define TALLY_WRITE 1ull
#define TALLY_FETCH (1ull << 32)
static const uint64_t tallies[] = { [OP_READ] = 0, [OP_WRITE] = TALLY_WRITE, [OP_EXEC] = TALLY_FETCH };

/* A block is looked at ahead if this many operations of the last one missed. */
#define AHEAD_MISSES (MMU_BUDGET_OPS / 4)

struct batch {
	struct sim_mmu *m;
	const struct mmu_context *x;
	bool simple;	   /* a four-way TLB, flat costs, one node */
	bool only_4k;	   /* nothing but the space's own 4K entries can map its addresses */
	uint64_t limit;	   /* canonical addresses of user level lie below */
	uint64_t done;	   /* operations */
	uint64_t missed;   /* of them, those that run_miss() did: the others hit the first level of TLB */
	uint64_t tally;	   /* writes and fetches among all done */
	uint64_t missed_writes;
	uint64_t l2_hits, misses; /* counted here, not by mmu_access() */
	uint64_t work, walk; /* cycles known so far: all but what counts above will give */
};

static inline uint64_t batch_writes(const struct batch *b)
{
	return (uint32_t)b->tally;
}

/* Hits with flat costs on this node all take the same, by kind; a load may be a fetch. */
static inline uint64_t batch_stores(const struct batch *b)
{
	return b->simple ? batch_writes(b) - b->missed_writes : 0;
}

static inline uint64_t batch_loads(const struct batch *b)
{
	return b->simple ? b->done - b->missed - batch_stores(b) : 0;
}

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

	const struct op *far = ops + (n < AHEAD_FAR ? n : AHEAD_FAR), *near = ops + (n < AHEAD_NEAR ? n : AHEAD_NEAR);
	const struct op *end = ops + (n < AHEAD_FAR + MMU_BUDGET_OPS ? n : AHEAD_FAR + MMU_BUDGET_OPS);

	for (const struct op *op = far; op < end; op++)
		__builtin_prefetch(ahead_entry(a->stage1, bytes, op->va_kind));
	if (b->x->walk == MMU_1D)
		return;
	for (const struct op *op = near; op < far; op++)
		__builtin_prefetch(ahead_entry(a->stage2, bytes, *ahead_entry(a->stage1, bytes, op->va_kind)));
}

/* An operation is done, translated to @hpa at @cycles (op_cycles not included). */
static inline void complete(struct batch *b, const struct op *op, hpa_t hpa, uint64_t cycles)
{
	unsigned kind = OP_KIND(op);

	count_latency(b, cycles + b->m->p.op_cycles, 1);
	if (kind == OP_WRITE && b->x->content)
		b->x->content[hpa >> PAGE_SHIFT].stamp = op->arg;
	b->tally += tallies[kind];
}

/* An entry with @val of page size @level serves the operation; finding it took @walk cycles. */
static inline void complete_entry(struct batch *b, const struct op *op, uint64_t val, unsigned level, uint64_t walk)
{
	hpa_t hpa = (val & PTE_ADDR) + (level == 1 ? 0 : OP_VA(op) & (LEVEL_SIZE(level) - 1) & PAGE_MASK);
	bool remote = val & TLB_REMOTE, write = OP_KIND(op) == OP_WRITE;
	uint64_t cycles = b->m->p.flat_data_cycles;

	if (!b->simple)
		cycles = mmu_data_cycles(b->m, b->x, hpa | (OP_VA(op) & ~PAGE_MASK), remote);
	if (write)
		cycles += b->simple ? cycles : mmu_data_cycles(b->m, b->x, hpa, remote);
	b->work += cycles;
	b->walk += walk;
	complete(b, op, hpa, walk + cycles);
}

/* Could an entry of another size, or a global one, map what the 4K entries of the space do not? */
static inline bool only_4k(const struct tlb *t)
{
	return !t->globals && !((t->l1[2]->seen | t->l2[2]->seen) & 1u << 2) &&
	       !((t->l1[3]->seen | t->l2[3]->seen) & 1u << 3);
}

/* The plain model's end of an operation: mmu_access() or its second part did it, or found a fault. */
static bool complete_result(struct batch *b, const struct op *op, const struct mmu_result *r)
{
	b->only_4k = only_4k(&b->m->tlb);
	if (r->outcome != MMU_OK)
		return false;
	b->walk += r->walk_cycles;
	b->work += r->cycles - r->walk_cycles;
	complete(b, op, r->hpa, r->cycles);
	return true;
}

/*
 * An operation whose 4K page is not in the first-level TLB (or, @found, not with the rights it needs). What is common
 * is done here: the second level, or a walk, settles it. The rest is mmu_access()'s. False: it faulted.
 */
static bool run_miss(struct batch *b, const struct op *op, bool found, struct mmu_result *r)
{
	struct sim_mmu *m = b->m;
	unsigned kind = OP_KIND(op);
	gva_t va = OP_VA(op);
	uint64_t walk = m->p.l2_tlb_cycles;
	struct translation t = { .level = 1 };
	struct tlb_hit hit;
	bool walked;

	if (__builtin_expect(found || !b->only_4k || va >= b->limit, 0)) {
		mmu_access(m, b->x, va, access_of[kind], r);
		return complete_result(b, op, r);
	}
	t.found = tlb_probe(m->tlb.l2[1], va, 1, m->ids.own, &hit);
	walked = !t.found;
	if (t.found) {
		assoc_touch(hit.a, hit.slot);
		tlb_promote(&m->tlb, va, &hit);
		t.val = hit.a->val[hit.slot];
		b->l2_hits++;
	} else {
		b->misses++;
		*r = (struct mmu_result){ .gva = va, .walk_cycles = walk };
		t.found = walk_stage1(m, b->x, va, access_of[kind] & ~ACC_W, &t.val, &t.level, r);
		walk = r->walk_cycles;
		if (!t.found) {
			r->cycles = walk;
			return false;
		}
		b->only_4k = t.level == 1 && !(t.val & TLB_GLOBAL);
	}
	if (__builtin_expect(!(~t.val & needs[kind]), 1)) {
		complete_entry(b, op, t.val, t.level, walk);
		return true;
	}
	if (!walked)
		*r = (struct mmu_result){ .gva = va, .walk_cycles = walk };
	mmu_translate(m, b->x, va, access_of[kind], &t, r);
	return complete_result(b, op, r);
}

/* Where a row of hits ended: after the last, or at one that does not; @found: its page is in the TLB nevertheless. */
struct stop {
	uint32_t at;
	bool found;
};

/*
 * Operations from @i to @n as long as they hit a four-way TLB, with flat costs on one node. A function of its own, so
 * that all the loop needs is in registers.
 */
static __attribute__((noinline)) struct stop run_hits(struct batch *b, const struct op *ops, uint32_t i, uint32_t n)
{
	struct assoc *l1 = b->m->tlb.l1[1];
	const uint64_t *key = l1->key, *val = l1->val;
	uint32_t *stamp = l1->stamp, clock = b->m->clock, mask = l1->set_mask;
	struct pattern *content = b->x->content, nowhere;
	uint64_t tag = (uint64_t)1 << KEY_LEVEL_SHIFT | b->m->ids.own, tally = 0;
	bool found = false;

	for (; i < n; i++) {
		uint64_t page = ops[i].va_kind >> PAGE_SHIFT, v;
		uint32_t set = ((uint32_t)page & mask) * 4, slot;
		unsigned kind = OP_KIND(&ops[i]);
		unsigned hit = assoc_match4(key + set, _mm_set1_epi64x((long long)(page << KEY_PAGE_SHIFT | tag)));

		if (!hit)
			break;
		slot = set + (uint32_t)__builtin_ctz(hit);
		v = val[slot];
		if (__builtin_expect(~(unsigned)v & needs[kind], 0)) {
			found = true;
			break;
		}
		stamp[slot] = ++clock;

		struct pattern *to = kind == OP_WRITE && content ? &content[(v & PTE_ADDR) >> PAGE_SHIFT] : &nowhere;

		to->stamp = ops[i].arg;
		tally += tallies[kind];
	}
	b->m->clock = clock;
	b->tally += tally;
	return (struct stop){ i, found };
}

/* The same with any TLB and any costs. */
static struct stop run_hits_any(struct batch *b, const struct op *ops, uint32_t i, uint32_t n)
{
	struct assoc *l1 = b->m->tlb.l1[1];

	for (; i < n; i++) {
		uint64_t page = assoc_page(OP_VA(&ops[i]), 1), v;
		int32_t slot = assoc_find(l1, assoc_set(l1, page), assoc_key(page, 1, b->m->ids.own));

		if (slot < 0)
			break;
		v = l1->val[slot];
		if (~(unsigned)v & needs[OP_KIND(&ops[i])])
			return (struct stop){ i, true };
		assoc_touch(l1, (uint32_t)slot);
		complete_entry(b, &ops[i], v, 1, 0);
	}
	return (struct stop){ i, false };
}

/* Is the 4K page of an operation in the first-level TLB, whatever its rights? */
static inline bool is_hit(const struct batch *b, const struct op *op)
{
	const struct assoc *l1 = b->m->tlb.l1[1];
	uint64_t page = op->va_kind >> PAGE_SHIFT;

	return assoc_find(l1, assoc_set(l1, page), assoc_key(page, 1, b->m->ids.own)) >= 0;
}

/*
 * Up to @n operations, at most MMU_BUDGET_OPS. Returns how many were done. Misses come in rows too: after one, the next
 * operation is looked at before run_hits() begins anew.
 */
static uint32_t run_block(struct batch *b, const struct op *ops, uint32_t n, struct mmu_result *r)
{
	uint32_t misses = 0, i = 0;
	bool ok = true;

	while (ok && i < n) {
		struct stop s = b->simple ? run_hits(b, ops, i, n) : run_hits_any(b, ops, i, n);

		for (i = s.at; i < n && (i == s.at || !is_hit(b, &ops[i])); i++, misses++) {
			unsigned kind = OP_KIND(&ops[i]);

			ok = kind <= OP_EXEC && run_miss(b, &ops[i], i == s.at && s.found, r);
			if (!ok)
				break;
			b->missed_writes += kind == OP_WRITE;
		}
	}
	b->missed += misses;
	b->done += i;
	b->m->ahead.on = misses >= AHEAD_MISSES;
	return i;
}

/* Cycles of useful work up to now. */
static uint64_t batch_work(const struct batch *b)
{
	const struct sim_profile *p = &b->m->p;

	return b->work + b->done * p->op_cycles + (batch_loads(b) + 2 * batch_stores(b)) * p->flat_data_cycles;
}

static void account(const struct batch *b, uint64_t *work, uint64_t *walk)
{
	const struct sim_profile *p = &b->m->p;
	struct counters *c = b->x->c;
	uint64_t fetches = b->tally / TALLY_FETCH;

	*work += batch_work(b);
	*walk += b->walk;
	c->accesses += b->done;
	c->reads += b->done - batch_writes(b) - fetches;
	c->writes += batch_writes(b);
	c->fetches += fetches;
	c->tlb_l1_hits += b->done - b->missed;
	c->tlb_l2_hits += b->l2_hits;
	c->tlb_misses += b->misses;
	/* A store is two references: its load and itself. */
	count_latency(b, p->op_cycles + p->flat_data_cycles, batch_loads(b));
	count_latency(b, p->op_cycles + 2ull * p->flat_data_cycles, batch_stores(b));
}

uint32_t mmu_run(struct sim_mmu *m, const struct mmu_context *x, const struct op *ops, uint32_t n, uint64_t budget,
		 uint64_t *work, uint64_t *walk, struct mmu_result *r)
{
	struct batch b = { .m = m, .x = x, .limit = 1ull << (x->levels == 5 ? 56 : 47) };
	struct assoc *l1 = m->tlb.l1[1];
	uint32_t done = 0;

	walk_prepare(m, x);
	b.simple = l1->stride == 4 && !m->cache_model && !mmu_numa(m, x);
	b.only_4k = only_4k(&m->tlb);
	r->outcome = MMU_OK;
	while (done < n && !(budget && batch_work(&b) + b.walk >= budget)) {
		uint32_t block = n - done < MMU_BUDGET_OPS ? n - done : MMU_BUDGET_OPS, k;

		mmu_wind(m);
		if (m->ahead.on)
			look_ahead(&b, ops + done, n - done);
		k = run_block(&b, ops + done, block, r);
		done += k;
		if (k < block)
			break;
	}
	account(&b, work, walk);
	return done;
}
