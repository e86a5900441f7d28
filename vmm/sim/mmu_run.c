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
 * counted in registers and accounted per batch. If many of a block's operations missed, those of the next prepare what
 * later ones will need (ahead.h).
 *
 * Invariant: counters, cycles, results, TLB contents, A/D bits, log and contents are those of a loop over mmu_access()
 * (tests/model/test_mmu_run.c).
 */
#include "vmm/sim/mmu_int.h"

static const unsigned access_of[] = {
	[OP_READ] = ACC_R | ACC_U, [OP_WRITE] = ACC_R | ACC_W | ACC_U, [OP_EXEC] = ACC_X | ACC_U
};

#define ALWAYS static inline __attribute__((always_inline))

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

/* So many hits one after the other are the beginning of a row. */
#define MANY_HITS 4

/* A block is looked at ahead if this many operations of the last one missed. */
#define AHEAD_MISSES (MMU_BUDGET_OPS / 4)

struct batch {
	struct sim_mmu *m;
	const struct mmu_context *x;
	bool simple;	   /* a four-way TLB, flat costs, one node */
	bool only_4k;	   /* nothing but the space's own 4K entries can map its addresses */
	const struct op *end; /* of the operations */
	uint64_t limit;	   /* canonical addresses of user level lie below */
	uint64_t done;	   /* operations */
	uint64_t missed;   /* of them, those that run_miss() did: the others hit the first level of TLB */
	uint64_t tally;	   /* writes and fetches among all done */
	uint64_t missed_writes;
	uint64_t l2_hits, misses; /* counted here, not by mmu_access() */
	uint64_t work; /* cycles of data; in a simple batch they follow from the counts above */
	uint64_t walk; /* cycles of translation */
};

static inline uint64_t batch_writes(const struct batch *b)
{
	return (uint32_t)b->tally;
}


static inline void count_latency(const struct batch *b, uint64_t cycles, uint64_t n)
{
	if (b->x->latency)
		b->x->latency[cycles < MMU_LATENCY_BINS ? cycles : MMU_LATENCY_BINS - 1] += n;
}

/*
 * Fetch what operations after @op will need: the guest's leaf entry, then the second stage's and the set of the
 * second-level TLB, then where a store goes. (Always inlined: as a function of its own it has no effect that GCC would
 * see, and is dropped.)
 */
ALWAYS void look_ahead(const struct batch *b, const struct op *op)
{
	const struct ahead *a = &b->m->ahead;
	const uint8_t *bytes = b->x->bytes, *row;

	if (op + AHEAD_FAR < b->end)
		__builtin_prefetch(ahead_entry(a->stage1, bytes, op[AHEAD_FAR].va_kind));
	if (op + AHEAD_NEAR >= b->end)
		return;
	op += AHEAD_NEAR;
	row = assoc_row(b->m->tlb.l2[1], op->va_kind >> PAGE_SHIFT);
	__builtin_prefetch(row);
	__builtin_prefetch(row + 64);
	if (b->x->walk == MMU_2D)
		__builtin_prefetch(ahead_entry(a->stage2, bytes, *ahead_entry(a->stage1, bytes, op->va_kind)));
	op -= AHEAD_NEAR - AHEAD_STORE;
	if (OP_KIND(op) == OP_WRITE && b->x->content) {
		uint64_t e = *ahead_entry(a->stage1, bytes, op->va_kind);

		if (b->x->walk == MMU_2D)
			e = *ahead_entry(a->stage2, bytes, e);
		__builtin_prefetch(&b->x->content[((e & PTE_ADDR) + b->x->bias) >> PAGE_SHIFT], 1);
	}
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
ALWAYS void complete_entry(struct batch *b, const struct op *op, uint64_t val, unsigned level, uint64_t walk,
			   bool simple)
{
	hpa_t hpa = (val & PTE_ADDR) + (level == 1 ? 0 : OP_VA(op) & (LEVEL_SIZE(level) - 1) & PAGE_MASK);
	bool remote = val & TLB_REMOTE, write = OP_KIND(op) == OP_WRITE;
	uint64_t cycles = b->m->p.flat_data_cycles;

	if (simple) {
		cycles <<= write;
	} else {
		cycles = mmu_data_cycles(b->m, b->x, hpa | (OP_VA(op) & ~PAGE_MASK), remote);
		if (write)
			cycles += mmu_data_cycles(b->m, b->x, hpa, remote);
		b->work += cycles;
	}
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

/* An operation that takes the plain model from its start. False: it faulted. */
static bool run_plain(struct batch *b, const struct op *op, struct mmu_result *r)
{
	mmu_access(b->m, b->x, OP_VA(op), access_of[OP_KIND(op)], r);
	return complete_result(b, op, r);
}

/* One whose 4K page an entry maps that does not let it pass: from there on. */
static __attribute__((noinline)) bool run_again(struct batch *b, const struct op *op, uint64_t val, unsigned level,
						uint64_t walk, bool walked, struct mmu_result *r)
{
	struct translation t = { .found = true, .level = level, .val = val };

	if (!walked)
		*r = (struct mmu_result){ .gva = OP_VA(op), .walk_cycles = walk };
	mmu_translate(b->m, b->x, OP_VA(op), access_of[OP_KIND(op)], &t, r);
	return complete_result(b, op, r);
}

/*
 * One whose 4K page is not in @row of the first-level TLB, its set there, while only entries of that size matter: the
 * second level, by @key, or a walk settles it. False: it faulted.
 */
ALWAYS bool run_miss(struct batch *b, const struct op *op, uint8_t *row, uint64_t key, struct mmu_result *r,
		     bool simple)
{
	struct sim_mmu *m = b->m;
	struct assoc *l2 = m->tlb.l2[1], *l1 = m->tlb.l1[1];
	unsigned kind = OP_KIND(op), level = 1;
	uint64_t val, walk = m->p.l2_tlb_cycles;
	struct slot s = { 0 };

	if (__builtin_expect(l2->ways, 1))
		s = row_find(assoc_row(l2, op->va_kind >> PAGE_SHIFT), l2->stride, key);
	if (s.row) {
		assoc_touch(l2, s);
		val = *slot_val(s);
		row_insert(l1, row, simple ? 4 : l1->stride, 1, key, val);
		b->l2_hits++;
	} else {
		b->misses++;
		r->gva = OP_VA(op);
		r->walk_cycles = walk;
		r->refs = 0;
		val = walk_stage1(m, b->x, OP_VA(op), access_of[kind] & ~ACC_W, r);
		walk = r->walk_cycles;
		if (__builtin_expect(!val, 0)) {
			r->cycles = walk;
			return false;
		}
		level = r->level;
		if (__builtin_expect(level > 1 || (val & TLB_GLOBAL), 0))
			b->only_4k = false;
	}
	if (__builtin_expect(~val & needs[kind], 0))
		return run_again(b, op, val, level, walk, !s.row, r);
	complete_entry(b, op, val, level, walk, simple);
	return true;
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
	uint8_t *rows = l1->rows;
	uint32_t clock = b->m->clock, mask = l1->set_mask;
	struct pattern *content = b->x->content, nowhere;
	uint64_t tag = (uint64_t)1 << KEY_LEVEL_SHIFT | b->m->ids.own, tally = 0;
	bool found = false;

	for (; i < n; i++) {
		uint64_t page = ops[i].va_kind >> PAGE_SHIFT, v;
		uint8_t *row = rows + ((uint64_t)((uint32_t)page & mask) << ASSOC_ROW4);
		unsigned kind = OP_KIND(&ops[i]);
		struct slot s = row_find(row, 4, page << KEY_PAGE_SHIFT | tag);

		if (!s.row)
			break;
		v = *slot_val(s);
		if (__builtin_expect(~(unsigned)v & needs[kind], 0)) {
			found = true;
			break;
		}
		*slot_stamp(s) = ++clock;

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
		struct slot s = assoc_find(l1, page, assoc_key(page, 1, b->m->ids.own));

		if (!s.row)
			break;
		v = *slot_val(s);
		if (~(unsigned)v & needs[OP_KIND(&ops[i])])
			return (struct stop){ i, true };
		assoc_touch(l1, s);
		complete_entry(b, &ops[i], v, 1, 0, b->simple);
	}
	return (struct stop){ i, false };
}

/* A hit does all there is to an access, at flat costs. */
ALWAYS uint64_t hit(const struct op *op, struct slot s, uint64_t val, uint32_t now, struct pattern *content)
{
	unsigned kind = OP_KIND(op);
	struct pattern nowhere, *to = kind == OP_WRITE && content ? &content[(val & PTE_ADDR) >> PAGE_SHIFT] : &nowhere;

	*slot_stamp(s) = now;
	to->stamp = op->arg;
	return tallies[kind];
}

/*
 * Operations from @i to @n while most miss the first-level TLB; a row of hits ended at @i, which is one that
 * misses, or @found there without the rights it needs. *ok: false if the one it stopped at faulted or is no access.
 */
ALWAYS uint32_t run_misses(struct batch *b, const struct op *ops, uint32_t i, uint32_t n, bool found, bool *ok,
			   struct mmu_result *r, bool simple)
{
	struct assoc *l1 = b->m->tlb.l1[1];
	uint32_t first = i, hits = 0, row_hits = 0, stride = simple ? 4 : l1->stride;
	uint64_t tally = b->tally, hit_tally = 0;

	for (; i < n; i++) {
		uint64_t page = ops[i].va_kind >> PAGE_SHIFT, key = assoc_key(page, 1, b->m->ids.own);
		uint8_t *row = simple ? assoc_row4(l1, page) : assoc_row(l1, page);
		struct slot s = { 0 };

		if (b->m->ahead.on)
			look_ahead(b, &ops[i]);
		if (i > first)
			s = row_find(row, stride, key);
		if (s.row) {
			if (!simple || row_hits == MANY_HITS || (~*slot_val(s) & needs[OP_KIND(&ops[i])]))
				break;
			row_hits++;
			hits++;
			hit_tally += hit(&ops[i], s, *slot_val(s), ++b->m->clock, b->x->content);
			continue;
		}
		if (__builtin_expect(OP_KIND(&ops[i]) > OP_EXEC, 0))
			*ok = false;
		else if (__builtin_expect(found || !b->only_4k || OP_VA(&ops[i]) >= b->limit, 0))
			*ok = run_plain(b, &ops[i], r);
		else
			*ok = run_miss(b, &ops[i], row, key, r, simple);
		if (__builtin_expect(!*ok, 0))
			break;
		found = false;
		row_hits = 0;
	}
	b->missed += i - first - hits;
	b->missed_writes += (uint32_t)(b->tally - tally);
	b->tally += hit_tally;
	return i;
}

/* Up to @n operations, at most MMU_BUDGET_OPS. Returns how many were done. Hits come in rows, and so do misses. */
static uint32_t run_block(struct batch *b, const struct op *ops, uint32_t n, struct mmu_result *r)
{
	uint64_t missed = b->missed;
	uint32_t i = 0;
	bool ok = true;

	while (ok && i < n) {
		struct stop s = b->simple ? run_hits(b, ops, i, n) : run_hits_any(b, ops, i, n);

		i = s.at;
		if (i < n)
			i = b->simple ? run_misses(b, ops, i, n, s.found, &ok, r, true) :
					run_misses(b, ops, i, n, s.found, &ok, r, false);
	}
	mmu_settle(b->m, b->x->c);
	b->done += i;
	b->m->ahead.on = b->missed - missed >= AHEAD_MISSES;
	return i;
}

/* Cycles of useful work up to now. With flat costs on this node all loads take the same; a store is two references. */
static uint64_t batch_work(const struct batch *b)
{
	const struct sim_profile *p = &b->m->p;
	uint64_t data = b->simple ? (b->done + batch_writes(b)) * p->flat_data_cycles : b->work;

	return b->done * p->op_cycles + data;
}

static void account(const struct batch *b, uint64_t *work, uint64_t *walk)
{
	const struct sim_profile *p = &b->m->p;
	struct counters *c = b->x->c;
	uint64_t fetches = b->tally / TALLY_FETCH, stores = batch_writes(b) - b->missed_writes;

	*work += batch_work(b);
	*walk += b->walk;
	c->accesses += b->done;
	c->reads += b->done - batch_writes(b) - fetches;
	c->writes += batch_writes(b);
	c->fetches += fetches;
	c->tlb_l1_hits += b->done - b->missed;
	c->tlb_l2_hits += b->l2_hits;
	c->tlb_misses += b->misses;
	if (!b->simple)
		return;
	/* The latencies of hits; misses counted their own. */
	count_latency(b, p->op_cycles + p->flat_data_cycles, b->done - b->missed - stores);
	count_latency(b, p->op_cycles + 2ull * p->flat_data_cycles, stores);
}

uint32_t mmu_run(struct sim_mmu *m, const struct mmu_context *x, const struct op *ops, uint32_t n, uint64_t budget,
		 uint64_t *work, uint64_t *walk, struct mmu_result *r)
{
	struct batch b = { .m = m, .x = x, .end = ops + n, .limit = 1ull << (x->levels == 5 ? 56 : 47) };
	struct assoc *l1 = m->tlb.l1[1];
	uint32_t done = 0;

	walk_prepare(m, x);
	b.simple = l1->stride == 4 && !m->cache_model && !mmu_numa(x);
	b.only_4k = only_4k(&m->tlb);
	*r = (struct mmu_result){ .outcome = MMU_OK };
	while (done < n && !(budget && batch_work(&b) + b.walk >= budget)) {
		uint32_t block = n - done < MMU_BUDGET_OPS ? n - done : MMU_BUDGET_OPS, k;

		mmu_wind(m);
		k = run_block(&b, ops + done, block, r);
		done += k;
		if (k < block)
			break;
	}
	account(&b, work, walk);
	return done;
}
