/* SPDX-License-Identifier: MIT */
/*
 * swap_pool.c - victim selection: fifo, random, clock
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

static uint32_t sentinel(const struct swap_pool *p)
{
	return (uint32_t)p->nframes;
}

static void ring_create(struct swap_pool *p)
{
	p->next[sentinel(p)] = p->prev[sentinel(p)] = sentinel(p);
}

/* As the youngest. */
static void ring_add(struct swap_pool *p, uint32_t hfn)
{
	uint32_t s = sentinel(p), last = p->prev[s];

	p->next[last] = hfn;
	p->prev[hfn] = last;
	p->next[hfn] = s;
	p->prev[s] = hfn;
}

static void ring_remove(struct swap_pool *p, uint32_t hfn)
{
	p->next[p->prev[hfn]] = p->next[hfn];
	p->prev[p->next[hfn]] = p->prev[hfn];
}

static void ring_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	uint32_t before = p->prev[from], after = p->next[from];

	p->prev[to] = before;
	p->next[to] = after;
	p->next[before] = to;
	p->prev[after] = to;
}

static void ring_spare(struct swap_pool *p, uint32_t hfn)
{
	ring_remove(p, hfn);
	ring_add(p, hfn);
}

static uint32_t fifo_victim(struct swap_pool *p)
{
	return p->next[sentinel(p)];
}

/* Nobody touches a page while this runs, so the second lap finds one at the latest. */
static uint32_t clock_victim(struct swap_pool *p)
{
	uint32_t hfn = p->next[sentinel(p)];

	for (uint64_t i = 0; i < p->count && p->young(p->ctx, hfn); i++) {
		ring_spare(p, hfn);
		hfn = p->next[sentinel(p)];
	}
	return hfn;
}

static void random_create(struct swap_pool *p)
{
	(void)p;
}

static void random_add(struct swap_pool *p, uint32_t hfn)
{
	uint32_t place = p->nholes ? p->hole[--p->nholes] : (uint32_t)p->nplaces++;

	p->table[place] = hfn;
	p->place[hfn] = place;
}

static void random_remove(struct swap_pool *p, uint32_t hfn)
{
	p->table[p->place[hfn]] = sentinel(p);
	p->hole[p->nholes++] = p->place[hfn];
}

static void random_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	p->place[to] = p->place[from];
	p->table[p->place[to]] = to;
}

/* Draw until it is not a hole; when most are, close them first. */
static uint32_t random_victim(struct swap_pool *p)
{
	uint32_t hfn;

	if (p->nholes > p->nplaces / 2) {
		uint64_t n = 0;

		for (uint64_t i = 0; i < p->nplaces; i++)
			if (p->table[i] != sentinel(p)) {
				p->table[n] = p->table[i];
				p->place[p->table[n]] = (uint32_t)n;
				n++;
			}
		p->nplaces = n;
		p->nholes = 0;
	}
	do
		hfn = p->table[rng_below(&p->rng, p->nplaces)];
	while (hfn == sentinel(p));
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
	.remove = ring_remove,
	.rename = ring_rename,
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
	.remove = ring_remove,
	.rename = ring_rename,
	.victim = clock_victim,
	.spare = ring_spare,
};

const struct swap_policy *const swap_policies[] = { &swap_fifo, &swap_random, &swap_clock, NULL };

int swap_pool_init(struct swap_pool *p, const struct swap_policy *policy, uint64_t nframes, uint64_t seed)
{
	uint64_t nbytes = (nframes + 1) * sizeof(uint32_t);

	g_assert(nframes < UINT32_MAX);
	*p = (struct swap_pool){ .policy = policy, .nframes = nframes };
	p->next = lazy_new(nbytes);
	p->prev = lazy_new(nbytes);
	p->table = lazy_new(nbytes);
	p->place = lazy_new(nbytes);
	p->hole = lazy_new(nbytes);
	rng_seed(&p->rng, seed);
	if (!p->next || !p->prev || !p->table || !p->place || !p->hole) {
		swap_pool_destroy(p);
		return -ENOMEM;
	}
	policy->create(p);
	return 0;
}

void swap_pool_destroy(struct swap_pool *p)
{
	uint64_t nbytes = (p->nframes + 1) * sizeof(uint32_t);

	lazy_free(p->next, nbytes);
	lazy_free(p->prev, nbytes);
	lazy_free(p->table, nbytes);
	lazy_free(p->place, nbytes);
	lazy_free(p->hole, nbytes);
}

void swap_pool_add(struct swap_pool *p, hfn_t hfn)
{
	p->policy->add(p, (uint32_t)hfn);
	p->count++;
}

void swap_pool_remove(struct swap_pool *p, hfn_t hfn)
{
	p->policy->remove(p, (uint32_t)hfn);
	p->count--;
}
