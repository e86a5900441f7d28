/* SPDX-License-Identifier: MIT */
/*
 * swap_mglru.c - victim selection: generations
 *
 * Problem: two lists know two ages. Asking each page about to go whether it was touched asks those most often that are
 * touched most, and one at a time.
 *
 * Idea. Pages have one of up to four generations. A new page belongs to the youngest. When fewer than three are left,
 * or three of which the youngest has half of all pages or the oldest less than a quarter, all pages are asked at once
 * (aging): those touched since the last time join the youngest generation, and a new one is begun. Victims come from
 * the oldest generation; one found touched there joins the youngest instead. An oldest generation that has become empty
 * is forgotten.
 *
 * Differs from Linux mm/vmscan.c (lru_gen): no tiers, so refaults teach nothing; aging goes through the pool, not
 * through page tables, and asks every page (no Bloom filter of tables worth a look); it asks by test_clear_young(),
 * which unmaps, so here a touched page costs a fault in each generation, there a store by the processor; a young
 * victim's neighbours are not looked at; no minimum time to live of a generation.
 *
 * Structures: a ring for each generation, number mod 4; key[hfn] is the generation's number; pool->age that of the
 * youngest, pool->oldest that of the oldest.
 *
 * Invariants (tests/model/test_swap_model.c; tests/unit/test_swap_policies.c): each page is on the ring of its
 * generation, nring counts them; oldest <= generation <= age < oldest + 4.
 *
 * Source: Yu Zhao, Multi-Gen LRU Framework, Linux 6.1; Documentation/mm/multigen_lru.rst.
 */
#include "mm/swap_pool.h"

/* So many generations must be older than the youngest; Linux: MIN_NR_GENS. */
#define OLDER 2u

static uint32_t *gen_of(const struct swap_pool *p, uint32_t hfn)
{
	return &p->links->key[hfn];
}

static int mglru_create(struct swap_pool *p)
{
	for (unsigned k = 0; k < SWAP_RINGS; k++)
		swap_ring_create(p, k);
	p->oldest = 1;
	p->age = p->oldest + 1;
	return 0;
}

static void put(struct swap_pool *p, uint32_t hfn, uint32_t gen)
{
	*gen_of(p, hfn) = gen;
	swap_ring_add(p, gen % SWAP_RINGS, hfn);
	p->nring[gen % SWAP_RINGS]++;
}

static void mglru_add(struct swap_pool *p, uint32_t hfn, uint32_t shadow)
{
	(void)shadow;
	put(p, hfn, p->age);
}

static void mglru_remove(struct swap_pool *p, uint32_t hfn)
{
	swap_ring_remove(p, hfn);
	p->nring[*gen_of(p, hfn) % SWAP_RINGS]--;
}

static void mglru_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	swap_ring_rename(p, from, to);
	*gen_of(p, to) = *gen_of(p, from);
}

/* Ask the pages of one generation, each once. */
static void ask(struct swap_pool *p, uint32_t gen)
{
	for (uint64_t n = p->nring[gen % SWAP_RINGS]; n; n--) {
		uint32_t hfn = swap_ring_oldest(p, gen % SWAP_RINGS);
		bool young = p->young(p->ctx, hfn);

		mglru_remove(p, hfn);
		put(p, hfn, young ? p->age : gen);
	}
}

/* From the youngest on, so that nobody is asked twice. */
static void make_generation(struct swap_pool *p)
{
	for (uint32_t gen = p->age; gen >= p->oldest; gen--)
		ask(p, gen);
	p->age++;
}

/* Are there too few generations, or as few as there may be and most pages in the youngest? */
static bool should_age(const struct swap_pool *p)
{
	uint32_t older = p->age - p->oldest;
	uint64_t young = p->nring[p->age % SWAP_RINGS], old = p->nring[p->oldest % SWAP_RINGS];

	return older < OLDER || (older == OLDER && (young * OLDER > p->count || old * (OLDER + 2) < p->count));
}

static uint32_t mglru_victim(struct swap_pool *p)
{
	for (;;) {
		uint32_t hfn;

		while (!p->nring[p->oldest % SWAP_RINGS] && p->oldest < p->age)
			p->oldest++;
		if (should_age(p)) {
			make_generation(p);
			continue;
		}
		hfn = swap_ring_oldest(p, p->oldest % SWAP_RINGS);
		if (!p->young(p->ctx, hfn))
			return hfn;
		mglru_remove(p, hfn);
		put(p, hfn, p->age);
	}
}

static void mglru_spare(struct swap_pool *p, uint32_t hfn)
{
	uint32_t gen = *gen_of(p, hfn);

	mglru_remove(p, hfn);
	put(p, hfn, gen);
}

const struct swap_policy swap_mglru = {
	.name = "mglru",
	.summary = "up to four generations, aged by asking all pages at once, as Linux' MGLRU without tiers",
	.create = mglru_create,
	.add = mglru_add,
	.remove = mglru_remove,
	.rename = mglru_rename,
	.victim = mglru_victim,
	.spare = mglru_spare,
};
