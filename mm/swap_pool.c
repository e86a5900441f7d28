/* SPDX-License-Identifier: MIT */
/*
 * swap_pool.c - victim selection: fifo, random, clock; what all policies share
 *
 * Problem: a page must go, now, and it should be one that is not wanted soon. A host does not see its guests'
 * accesses, only what it asks for: whether a page was touched since it last asked, at the price of unmapping it.
 *
 * Idea: fifo asks nothing and takes the page that has been resident longest. random draws lots, as VMware ESX does,
 * which no guest's own replacement can work against by accident. clock gives the oldest page a second chance if it was
 * touched: the ring turns instead of the hand.
 *
 * Structures: fifo and clock keep frames on a doubly linked ring of 8 bytes a frame. random keeps a dense table with a
 * place for each frame; a new page takes the place that the last victim left, so that the same seed gives the same
 * victims as mm/replace_random.c.
 *
 * Invariants (tests/unit/test_swap.c): the pool holds exactly the resident pages that may go; on one stream, evicting
 * one page at a time, each policy misses as often as its namesake in mm/replace.
 *
 * Source: Corbato, A paging experiment with the Multics system, 1968 (clock); Waldspurger, Memory resource management
 * in VMware ESX server, OSDI 2002, section 3.1 (random, because guests page too).
 */
#include "mm/swap_pool.h"

#include <errno.h>
#include <glib.h>

#include "mm/lazy.h"

void swap_ring_create(struct swap_pool *p, unsigned k)
{
	uint32_t s = p->sentinel + k;

	p->links->next[s] = p->links->prev[s] = s;
}

void swap_ring_add(struct swap_pool *p, unsigned k, uint32_t hfn)
{
	uint32_t s = p->sentinel + k, last = p->links->prev[s];

	p->links->next[last] = hfn;
	p->links->prev[hfn] = last;
	p->links->next[hfn] = s;
	p->links->prev[s] = hfn;
}

void swap_ring_remove(struct swap_pool *p, uint32_t hfn)
{
	p->links->next[p->links->prev[hfn]] = p->links->next[hfn];
	p->links->prev[p->links->next[hfn]] = p->links->prev[hfn];
}

void swap_ring_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	uint32_t before = p->links->prev[from], after = p->links->next[from];

	p->links->prev[to] = before;
	p->links->next[to] = after;
	p->links->next[before] = to;
	p->links->prev[after] = to;
}

static int ring_create(struct swap_pool *p)
{
	swap_ring_create(p, 0);
	return 0;
}

static void ring_add(struct swap_pool *p, uint32_t hfn, uint32_t shadow)
{
	(void)shadow;
	swap_ring_add(p, 0, hfn);
}

static void ring_spare(struct swap_pool *p, uint32_t hfn)
{
	swap_ring_remove(p, hfn);
	swap_ring_add(p, 0, hfn);
}

static uint32_t fifo_victim(struct swap_pool *p)
{
	return swap_ring_oldest(p, 0);
}

/* Nobody touches a page while this runs, so the second lap finds one at the latest. */
static uint32_t clock_victim(struct swap_pool *p)
{
	uint32_t hfn = swap_ring_oldest(p, 0);

	for (uint64_t i = 0; i < p->count && p->young(p->ctx, hfn); i++) {
		ring_spare(p, hfn);
		hfn = swap_ring_oldest(p, 0);
	}
	return hfn;
}

static int random_create(struct swap_pool *p)
{
	p->table = lazy_new(p->links->nframes * sizeof(uint32_t));
	p->hole = lazy_new(p->links->nframes * sizeof(uint32_t));
	return p->table && p->hole ? 0 : -ENOMEM;
}

static void random_add(struct swap_pool *p, uint32_t hfn, uint32_t shadow)
{
	uint32_t place = p->nholes ? p->hole[--p->nholes] : (uint32_t)p->nplaces++;

	(void)shadow;
	p->table[place] = hfn;
	p->links->place[hfn] = place;
}

static void random_remove(struct swap_pool *p, uint32_t hfn)
{
	p->table[p->links->place[hfn]] = p->sentinel;
	p->hole[p->nholes++] = p->links->place[hfn];
}

static void random_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	p->links->place[to] = p->links->place[from];
	p->table[p->links->place[to]] = to;
}

/* Draw until it is not a hole; when most are, close them first. */
static uint32_t random_victim(struct swap_pool *p)
{
	uint32_t hfn;

	if (p->nholes > p->nplaces / 2) {
		uint64_t n = 0;

		for (uint64_t i = 0; i < p->nplaces; i++)
			if (p->table[i] != p->sentinel) {
				p->table[n] = p->table[i];
				p->links->place[p->table[n]] = (uint32_t)n;
				n++;
			}
		p->nplaces = n;
		p->nholes = 0;
	}
	do
		hfn = p->table[rng_below(&p->rng, p->nplaces)];
	while (hfn == p->sentinel);
	return hfn;
}

static void random_spare(struct swap_pool *p, uint32_t hfn)
{
	(void)p;
	(void)hfn;
}

const struct swap_policy swap_fifo = {
	.name = "fifo",
	.summary = "takes the page that has been resident longest",
	.create = ring_create,
	.add = ring_add,
	.remove = swap_ring_remove,
	.rename = swap_ring_rename,
	.victim = fifo_victim,
	.spare = ring_spare,
};

const struct swap_policy swap_random = {
	.name = "random",
	.summary = "takes a page drawn at random from the seed, as VMware ESX does",
	.create = random_create,
	.add = random_add,
	.remove = random_remove,
	.rename = random_rename,
	.victim = random_victim,
	.spare = random_spare,
};

const struct swap_policy swap_clock = {
	.name = "clock",
	.summary = "takes the oldest page that was not touched since it was last looked at",
	.create = ring_create,
	.add = ring_add,
	.remove = swap_ring_remove,
	.rename = swap_ring_rename,
	.victim = clock_victim,
	.spare = ring_spare,
};

const struct swap_policy *const swap_policies[] = {
	&swap_fifo, &swap_random, &swap_clock, &swap_lru, &swap_mglru, &swap_opt, NULL
};

int swap_links_init(struct swap_links *l, uint64_t nframes)
{
	uint64_t nbytes = (nframes + SWAP_POOLS * SWAP_RINGS) * sizeof(uint32_t);

	g_assert(nframes + SWAP_POOLS * SWAP_RINGS < UINT32_MAX);
	*l = (struct swap_links){ .nframes = nframes };
	l->next = lazy_new(nbytes);
	l->prev = lazy_new(nbytes);
	l->place = lazy_new(nframes * sizeof(uint32_t));
	l->key = lazy_new(nframes * sizeof(uint32_t));
	return l->next && l->prev && l->place && l->key ? 0 : -ENOMEM;
}

void swap_links_destroy(struct swap_links *l)
{
	uint64_t nbytes = (l->nframes + SWAP_POOLS * SWAP_RINGS) * sizeof(uint32_t);

	lazy_free(l->next, nbytes);
	lazy_free(l->prev, nbytes);
	lazy_free(l->place, l->nframes * sizeof(uint32_t));
	lazy_free(l->key, l->nframes * sizeof(uint32_t));
}

int swap_pool_init(struct swap_pool *p, const struct swap_policy *policy, const struct swap_links *links,
		   unsigned number, uint64_t seed)
{
	g_assert(number < SWAP_POOLS);
	*p = (struct swap_pool){ .policy = policy, .links = links };
	p->sentinel = (uint32_t)links->nframes + number * SWAP_RINGS;
	rng_seed(&p->rng, seed);
	return policy->create(p);
}

void swap_pool_destroy(struct swap_pool *p)
{
	uint64_t nbytes = p->links ? p->links->nframes * sizeof(uint32_t) : 0;

	lazy_free(p->table, nbytes);
	lazy_free(p->hole, nbytes);
}

void swap_pool_add(struct swap_pool *p, hfn_t hfn, uint32_t shadow)
{
	p->policy->add(p, (uint32_t)hfn, shadow);
	p->count++;
}

void swap_pool_remove(struct swap_pool *p, hfn_t hfn)
{
	p->policy->remove(p, (uint32_t)hfn);
	p->count--;
}
