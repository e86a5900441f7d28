/* SPDX-License-Identifier: MIT */
/*
 * swap_lru.c - victim selection: two lists, and refault distance
 *
 * Problem: one list cannot tell a page that is used again and again from one that was used once, and a stream of the
 * latter drives out the former. And a page that comes back soon after it went shows that it should have stayed.
 *
 * Idea, as Linux has it for anonymous memory. A new page enters the inactive list. When it reaches the old end and was
 * touched, it stays there once more; touched a second time, it is activated. Victims are taken from the inactive list
 * alone; when that is small compared with the active one, the oldest active pages are deactivated, touched or not. An
 * evicted page leaves the time of its eviction behind (its shadow), counted in evictions and activations. If it comes
 * back after fewer of them than there are active pages, then it would still be here had they not been: it is activated
 * at once, to compete with them.
 *
 * Differs from Linux: readahead does not count against anybody; a page is looked at when it is about to go, one at a
 * time and not in batches of 32; there is no file memory, so nothing balances between the two kinds; each VM has lists
 * only if it has a pool of its own.
 *
 * Structures: rings INACTIVE and ACTIVE; key[hfn] is the ring, and whether it was touched on its last lap.
 *
 * Invariants (tests/model/test_swap_model.c; tests/unit/test_swap_policies.c): each page is on the ring that its key
 * says, nring counts them; victim() asks each page at most twice.
 *
 * Source: Linux mm/vmscan.c (folio_check_references, inactive_is_low, shrink_active_list), mm/workingset.c
 * (workingset_refault); Johannes Weiner's comment there.
 */
#include "mm/swap_pool.h"

#define INACTIVE 0u
#define ACTIVE	 1u
#define RING	 1u /* key: which ring */
#define SEEN	 2u /* key: touched on its last lap, inactive */

static uint32_t *key_of(const struct swap_pool *p, uint32_t hfn)
{
	return &p->links->key[hfn];
}

static int lru_create(struct swap_pool *p)
{
	swap_ring_create(p, INACTIVE);
	swap_ring_create(p, ACTIVE);
	return 0;
}

static void put(struct swap_pool *p, uint32_t hfn, uint32_t key)
{
	*key_of(p, hfn) = key;
	swap_ring_add(p, key & RING, hfn);
	p->nring[key & RING]++;
}

static void lru_remove(struct swap_pool *p, uint32_t hfn)
{
	swap_ring_remove(p, hfn);
	p->nring[*key_of(p, hfn) & RING]--;
}

static void move(struct swap_pool *p, uint32_t hfn, uint32_t key)
{
	lru_remove(p, hfn);
	put(p, hfn, key);
}

static void lru_add(struct swap_pool *p, uint32_t hfn, uint32_t shadow)
{
	bool soon = shadow && p->age - (shadow - 1) <= p->nring[ACTIVE];

	put(p, hfn, soon ? ACTIVE : INACTIVE);
	p->age += soon;
}

static void lru_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	swap_ring_rename(p, from, to);
	*key_of(p, to) = *key_of(p, from);
}

/* The largest n with n * n <= x. */
static uint64_t root(uint64_t x)
{
	uint64_t n = 0;

	while ((n + 1) * (n + 1) <= x)
		n++;
	return n;
}

/* Of more memory a smaller part is enough to see what is used twice: 1 : 1 below 1 GiB, 1 : 3 at one, 1 : 10 at ten. */
static bool inactive_is_low(const struct swap_pool *p)
{
	uint64_t gib = (p->nring[INACTIVE] + p->nring[ACTIVE]) >> (30 - PAGE_SHIFT);
	uint64_t ratio = gib ? root(10 * gib) : 1;

	return p->nring[INACTIVE] * ratio < p->nring[ACTIVE];
}

/* Nobody touches a page while this runs: after each has been asked twice, none is young. */
static uint32_t lru_victim(struct swap_pool *p)
{
	for (;;) {
		uint32_t hfn;

		while (p->nring[ACTIVE] && (inactive_is_low(p) || !p->nring[INACTIVE])) {
			hfn = swap_ring_oldest(p, ACTIVE);
			p->young(p->ctx, hfn); /* it has to be touched anew */
			move(p, hfn, INACTIVE);
		}
		hfn = swap_ring_oldest(p, INACTIVE);
		if (!p->young(p->ctx, hfn))
			return hfn;
		if (*key_of(p, hfn) & SEEN) {
			move(p, hfn, ACTIVE);
			p->age++;
		} else {
			move(p, hfn, INACTIVE | SEEN);
		}
	}
}

static void lru_spare(struct swap_pool *p, uint32_t hfn)
{
	move(p, hfn, *key_of(p, hfn));
}

static uint32_t lru_evicted(struct swap_pool *p)
{
	/* A shadow is the age before, plus one; 0 is none. */
	p->age++;
	return p->age ? p->age : 1;
}

const struct swap_policy swap_lru = {
	.name = "lru",
	.summary = "two lists, active and inactive, and refault distance, as Linux without MGLRU",
	.create = lru_create,
	.add = lru_add,
	.remove = lru_remove,
	.rename = lru_rename,
	.victim = lru_victim,
	.spare = lru_spare,
	.evicted = lru_evicted,
};
