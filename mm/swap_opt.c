/* SPDX-License-Identifier: MIT */
/*
 * swap_opt.c - victim selection: the offline optimum
 *
 * Problem: how few pages could any policy have brought back? Only who knows the future can tell.
 *
 * Idea: Belady's MIN, as mm/replace_opt.c, evicts the page whose next use is farthest ahead. There the pages are ids
 * and every access goes through the policy; here they are a host's frames, in several pools, and leave and come for
 * reasons of their own. So the pages are a heap, the one needed last on top, and a page that is used finds its new
 * place in it. Who knows the future is next_use() (mm/swap_future.h).
 *
 * Structures: table[0 .. count) is the heap, place[hfn] where a page is in it, key[hfn] its next use.
 *
 * Invariants (tests/unit/test_swap_policies.c: as few misses as mm/replace_opt.c, and no policy has fewer): no page's
 * next use is later than that of the page above it.
 *
 * Source: Belady, A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2), 1966.
 */
#include <errno.h>
#include <glib.h>

#include "mm/lazy.h"
#include "mm/swap_pool.h"

static uint32_t key_at(const struct swap_pool *p, uint64_t i)
{
	return p->links->key[p->table[i]];
}

static void put(struct swap_pool *p, uint64_t i, uint32_t hfn)
{
	p->table[i] = hfn;
	p->links->place[hfn] = (uint32_t)i;
}

/* The page at @i, whose key has changed, finds its place. */
static void settle(struct swap_pool *p, uint64_t i)
{
	uint32_t hfn = p->table[i], key = p->links->key[hfn];
	uint64_t n = p->nplaces;

	for (; i && key_at(p, (i - 1) / 2) < key; i = (i - 1) / 2)
		put(p, i, p->table[(i - 1) / 2]);
	for (uint64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
		if (child + 1 < n && key_at(p, child + 1) > key_at(p, child))
			child++;
		if (key_at(p, child) <= key)
			break;
		put(p, i, p->table[child]);
		i = child;
	}
	put(p, i, hfn);
}

static int opt_create(struct swap_pool *p)
{
	p->table = lazy_new(p->links->nframes * sizeof(uint32_t));
	return p->table ? 0 : -ENOMEM;
}

static void opt_used(struct swap_pool *p, uint32_t hfn)
{
	p->links->key[hfn] = p->next_use(p->ctx, hfn);
	settle(p, p->links->place[hfn]);
}

static void opt_add(struct swap_pool *p, uint32_t hfn, uint32_t shadow)
{
	(void)shadow;
	put(p, p->nplaces++, hfn);
	opt_used(p, hfn);
}

static void opt_remove(struct swap_pool *p, uint32_t hfn)
{
	uint32_t i = p->links->place[hfn], last = p->table[--p->nplaces];

	if (last == hfn)
		return;
	put(p, i, last);
	settle(p, i);
}

static void opt_rename(struct swap_pool *p, uint32_t from, uint32_t to)
{
	p->links->key[to] = p->links->key[from];
	put(p, p->links->place[from], to);
}

static uint32_t opt_victim(struct swap_pool *p)
{
	return p->table[0];
}

/* To the end of the line, until it is used or comes anew. */
static void opt_spare(struct swap_pool *p, uint32_t hfn)
{
	p->links->key[hfn] = 0;
	settle(p, p->links->place[hfn]);
}

const struct swap_policy swap_opt = {
	.name = "opt",
	.summary = "takes the page that is needed again last: the offline optimum, which a first run learns",
	.offline = true,
	.create = opt_create,
	.add = opt_add,
	.remove = opt_remove,
	.rename = opt_rename,
	.victim = opt_victim,
	.spare = opt_spare,
	.used = opt_used,
};
