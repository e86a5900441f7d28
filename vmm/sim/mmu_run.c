/* SPDX-License-Identifier: MIT */
/*
 * mmu_run.c - a batch of accesses, fast
 *
 * Problem. Nearly all accesses of most programs hit the first-level TLB, and calling the plain model for each costs ten
 * times what the look-up does. The rest wait for table entries in the host's own memory.
 *
 * Idea. Blocks of MMU_BUDGET_OPS operations. A load, store or fetch whose 4K page is in the first-level TLB with every
 * right it needs is done here, in a few instructions and without a branch on what it is; anything else goes to
 * mmu_access(). What a hit counts and costs is the same for all of a kind, so it is counted in registers and
 * accounted per batch. While many of a block's operations missed, the next block is looked at ahead (ahead.h).
 *
 * Invariant: counters, cycles, results, TLB contents, A/D bits, log and contents are those of a loop over mmu_access()
 * (tests/model/test_mmu_run.c).
 */
#include "vmm/sim/mmu_int.h"

static const unsigned access_of[] = { [OP_READ] = ACC_R | ACC_U, [OP_WRITE] = ACC_R | ACC_W | ACC_U, [OP_EXEC] = ACC_X | ACC_U };

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
	struct space_ids ids;
	uint64_t kinds[4]; /* operations done, by kind */
	uint64_t l1_hits;  /* done here */
	uint64_t hits[2], far[2]; /* of those with flat costs: loads and fetches, stores; how many left the node */
	uint64_t work, walk;   /* cycles known so far: all but what counts above will give */
};

static inline void count_latency(const struct batch *b, uint64_t cycles, uint64_t n)
{
	if (b->x->latency)
		b->x->latency[cycles < MMU_LATENCY_BINS ? cycles : MMU_LATENCY_BINS - 1] += n;
}

/* Prefetch for operation @far, and for @near, whose guest entry should have arrived. */
static inline void look_ahead(struct batch *b, const struct op *far, const struct op *near)
{
	struct ahead *a = &b->m->ahead;
	const uint8_t *bytes = b->x->bytes;

	if (far)
		__builtin_prefetch(ahead_entry(a->stage1, bytes, OP_VA(far)));
	if (near && b->x->walk == MMU_2D)
		__builtin_prefetch(ahead_entry(a->stage2, bytes, *ahead_entry(a->stage1, bytes, OP_VA(near)) & PTE_ADDR));
}

/* An operation that the fast path cannot do. False: it faulted. */
static bool run_slowly(struct batch *b, const struct op *op, struct mmu_result *r)
{
	mmu_access(b->m, b->x, OP_VA(op), access_of[OP_KIND(op)], r);
	if (r->outcome != MMU_OK)
		return false;
	b->walk += r->walk_cycles;
	b->work += r->cycles - r->walk_cycles;
	count_latency(b, r->cycles + b->m->p.op_cycles, 1);
	if (OP_KIND(op) == OP_WRITE && b->x->content)
		b->x->content[r->hpa >> PAGE_SHIFT].stamp = op->arg;
	return true;
}

/*
 * Up to @n operations, at most MMU_BUDGET_OPS. @ways4: the first-level TLB is four-way; @model: data caches are
 * modelled; @ahead: operations that may be looked at beyond the last. Returns how many were done.
 */
static inline __attribute__((always_inline)) uint32_t run_block(struct batch *b, const struct op *ops, uint32_t n, bool ways4,
								 bool model, uint32_t ahead, struct mmu_result *r)
{
	struct assoc *l1 = b->m->tlb.l1[1];
	const uint64_t *key = l1->key, *val = l1->val;
	uint32_t *stamp = l1->stamp, clock = l1->clock, mask = l1->set_mask, i;
	struct pattern *content = b->x->content, nowhere;
	uint64_t kinds[4] = { 0 }, tag = (uint64_t)1 << KEY_LEVEL_SHIFT | b->ids.own, writes = 0, far[2] = { 0 }, slow = 0;

	for (i = 0; i < n; i++) {
		unsigned kind = OP_KIND(&ops[i]);
		uint64_t va = OP_VA(&ops[i]), page = va >> PAGE_SHIFT, want = page << KEY_PAGE_SHIFT | tag, v;
		uint32_t slot;

		if (kind > OP_EXEC)
			break;
		if (ahead)
			look_ahead(b, i + AHEAD_FAR < n + ahead ? &ops[i + AHEAD_FAR] : NULL,
				   i + AHEAD_NEAR < n + ahead ? &ops[i + AHEAD_NEAR] : NULL);
		if (ways4) {
			uint32_t set = ((uint32_t)page & mask) * 4;
			unsigned hit = assoc_match4(key + set, _mm_set1_epi64x((long long)want));

			slot = set + (uint32_t)__builtin_ctz(hit | 16);
			v = hit ? val[slot] : 0;
		} else {
			int32_t found = assoc_find(l1, assoc_set(l1, page), want);

			slot = (uint32_t)found;
			v = found >= 0 ? val[slot] : 0;
		}
		unsigned need = NEEDS >> 8 * kind & 255;

		if (__builtin_expect((v & need) != need, 0)) {
			l1->clock = clock;
			if (!run_slowly(b, &ops[i], r))
				break;
			clock = l1->clock;
			kinds[kind]++;
			slow++;
			continue;
		}
		bool write = kind == OP_WRITE;
		struct pattern *to = write && content ? &content[(v & PTE_ADDR) >> PAGE_SHIFT] : &nowhere;

		stamp[slot] = ++clock;
		to->stamp = ops[i].arg;
		kinds[kind]++;
		if (model) {
			hpa_t hpa = (v & PTE_ADDR) + (va & (PAGE_SIZE - 1));
			uint64_t cycles = mmu_data_cycles(b->m, b->x, hpa, v & TLB_REMOTE);

			if (write)
				cycles += mmu_data_cycles(b->m, b->x, hpa & PAGE_MASK, v & TLB_REMOTE);
			b->work += cycles;
			count_latency(b, cycles + b->m->p.op_cycles, 1);
		} else {
			writes += write;
			far[write] += v & TLB_REMOTE ? 1 : 0;
		}
	}
	l1->clock = clock;
	for (unsigned k = 0; k <= OP_EXEC; k++)
		b->kinds[k] += kinds[k];
	uint64_t done = kinds[OP_READ] + kinds[OP_WRITE] + kinds[OP_EXEC];

	b->l1_hits += done - slow;
	if (!model) {
		b->hits[0] += done - slow - writes;
		b->hits[1] += writes;
		b->far[0] += far[0];
		b->far[1] += far[1];
	}
	b->m->ahead.on = slow >= AHEAD_MISSES;
	return i;
}

/* Cycles of useful work up to now. */
static uint64_t batch_work(const struct batch *b)
{
	const struct sim_profile *p = &b->m->p;

	return b->work + (b->kinds[OP_READ] + b->kinds[OP_WRITE] + b->kinds[OP_EXEC]) * p->op_cycles +
	       (b->hits[0] + 2 * b->hits[1]) * p->flat_data_cycles + (b->far[0] + 2 * b->far[1]) * p->remote_node_cycles;
}

/* With flat costs the hits of a kind all took the same. A store is two references: its load and itself. */
static void account_latency(const struct batch *b)
{
	const struct sim_profile *p = &b->m->p;

	for (unsigned store = 0; store < 2; store++) {
		uint64_t near = p->op_cycles + (1 + store) * (uint64_t)p->flat_data_cycles;

		count_latency(b, near, b->hits[store] - b->far[store]);
		count_latency(b, near + (1 + store) * (uint64_t)p->remote_node_cycles, b->far[store]);
	}
}

static void account(const struct batch *b, uint64_t *work, uint64_t *walk)
{
	struct counters *c = b->x->c;

	*work += batch_work(b);
	*walk += b->walk;
	c->accesses += b->kinds[OP_READ] + b->kinds[OP_WRITE] + b->kinds[OP_EXEC];
	c->reads += b->kinds[OP_READ];
	c->writes += b->kinds[OP_WRITE];
	c->fetches += b->kinds[OP_EXEC];
	c->tlb_l1_hits += b->l1_hits;
	account_latency(b);
}

uint32_t mmu_run(struct sim_mmu *m, const struct mmu_context *x, const struct op *ops, uint32_t n, uint64_t budget,
		 uint64_t *work, uint64_t *walk, struct mmu_result *r)
{
	struct batch b = { .m = m, .x = x, .ids = mmu_ids(m, x) };
	bool ways4 = m->tlb.l1[1]->stride == 4;
	uint32_t done = 0;

	r->outcome = MMU_OK;
	while (done < n && !(budget && batch_work(&b) + b.walk >= budget)) {
		uint32_t block = n - done < MMU_BUDGET_OPS ? n - done : MMU_BUDGET_OPS, k;
		uint32_t ahead = m->ahead.on ? n - done - block : 0;

		/* No tick of a block may be the last: an operation takes at most three. */
		if (m->tlb.l1[1]->clock > ASSOC_LAST_TICK - 8 * MMU_BUDGET_OPS)
			assoc_renumber(m->tlb.l1[1]);
		if (m->cache_model)
			k = ways4 ? run_block(&b, ops + done, block, true, true, ahead, r) :
				    run_block(&b, ops + done, block, false, true, ahead, r);
		else
			k = ways4 ? run_block(&b, ops + done, block, true, false, ahead, r) :
				    run_block(&b, ops + done, block, false, false, ahead, r);
		done += k;
		if (k < block)
			break;
	}
	account(&b, work, walk);
	return done;
}
