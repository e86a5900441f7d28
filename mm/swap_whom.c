/* SPDX-License-Identifier: MIT */
/*
 * swap_whom.c - from which VM the next page is taken
 *
 * Problem: a victim policy says which of some pages goes. Whether one VM's pages compete with another's is a second
 * question, and a host that has promised each VM a share of its memory must be able to take from one VM alone.
 *
 * Idea: a page is in one pool, and a VM's pages are all in the same. By default that is one pool for the host, as if it
 * had one big process. A VM that was given a limit, or each VM if the order asks for it, has a pool of its own, as a
 * cgroup of Linux has LRU lists of its own. Who is over a limit gives first; else the order says whose turn it is:
 *
 *	host		the common pool; VMs that were given a limit take turns with it as in `proportional`
 *	proportional	each pool in turn, as often as it has pages (smooth weighted round robin)
 *	largest		the pool with most pages, the lowest VM among equals
 *
 * A VM's pages come to its own pool in the order of their gfns: what the policy had learned of them is lost, once.
 *
 * Invariants (tests/unit/test_swap_whom.c; swap_verify()): `count` is the sum of the pools', `resident` of a VM the
 * number of its pages that are in one; in any stretch of n turns of `proportional` with unchanging pools, each pool
 * has n * its share, give or take one for each pool.
 *
 * Source: Linux mm/memcontrol.c (memory.high) and mm/vmscan.c (shrink_node_memcgs); Waldspurger, Memory resource
 * management in VMware ESX server, OSDI 2002 (a target for each VM).
 */
#include "mm/swap_whom.h"

#include <errno.h>

#include "mm/err.h"

int swap_whom_init(struct swap_whom *w, const struct swap_policy *policy, uint64_t nframes, uint64_t seed,
		   enum swap_order order)
{
	*w = (struct swap_whom){ .order = order, .seed = seed };
	w->vms = g_ptr_array_new();
	if (swap_links_init(&w->links, nframes))
		return ERR(-ENOMEM);
	return swap_pool_init(&w->common, policy, &w->links, 0, seed);
}

void swap_whom_destroy(struct swap_whom *w)
{
	for (unsigned i = 0; w->vms && i < w->vms->len; i++) {
		struct swap_vm *vm = g_ptr_array_index(w->vms, i);

		if (vm && vm->own)
			swap_pool_destroy(&vm->pool);
		g_free(vm);
	}
	if (w->vms)
		g_ptr_array_unref(w->vms);
	swap_pool_destroy(&w->common);
	swap_links_destroy(&w->links);
}

struct swap_vm *swap_whom_vm(const struct swap_whom *w, unsigned vm)
{
	return vm < w->vms->len ? g_ptr_array_index(w->vms, vm) : NULL;
}

struct swap_pool *swap_whom_pool(struct swap_whom *w, struct swap_vm *vm)
{
	return vm->own ? &vm->pool : &w->common;
}

/* Give @vm a pool of its own, with all its pages in it. */
static int separate(struct swap_whom *w, struct swap_vm *vm)
{
	unsigned number = 1 + gmem_config(vm->g)->vm;
	int err = swap_pool_init(&vm->pool, w->common.policy, &w->links, number, w->seed + number - 1);
	struct gmem_page page;

	if (err) {
		swap_pool_destroy(&vm->pool);
		return ERR(err);
	}
	vm->pool.young = w->common.young;
	vm->pool.next_use = w->common.next_use;
	vm->pool.ctx = w->common.ctx;
	for (gfn_t gfn = gmem_next_mapped(vm->g, 0); gfn != GFN_NONE; gfn = gmem_next_mapped(vm->g, gfn + 1)) {
		gmem_lookup(vm->g, gfn, &page);
		if (page.state != PAGE_RESIDENT)
			continue;
		swap_pool_remove(&w->common, page.hfn);
		swap_pool_add(&vm->pool, page.hfn, 0);
	}
	vm->own = true;
	w->nown++;
	return 0;
}

int swap_whom_attach(struct swap_whom *w, struct gmem *g)
{
	unsigned number = gmem_config(g)->vm;
	struct swap_vm *vm = g_new0(struct swap_vm, 1);

	vm->g = g;
	vm->limit = UINT64_MAX;
	if (w->vms->len <= number)
		g_ptr_array_set_size(w->vms, (gint)number + 1);
	g_ptr_array_index(w->vms, number) = vm;
	return w->order == SWAP_FROM_HOST ? 0 : separate(w, vm);
}

void swap_whom_add(struct swap_whom *w, unsigned vm, hfn_t hfn, uint32_t shadow)
{
	struct swap_vm *v = swap_whom_vm(w, vm);

	swap_pool_add(swap_whom_pool(w, v), hfn, shadow);
	v->resident++;
	w->count++;
}

void swap_whom_remove(struct swap_whom *w, unsigned vm, hfn_t hfn)
{
	struct swap_vm *v = swap_whom_vm(w, vm);

	swap_pool_remove(swap_whom_pool(w, v), hfn);
	v->resident--;
	w->count--;
}

int swap_whom_limit(struct swap_whom *w, struct swap_vm *vm, uint64_t npages)
{
	int err = npages == UINT64_MAX || vm->own ? 0 : separate(w, vm);

	if (err)
		return err;
	w->nlimited += (unsigned)(npages != UINT64_MAX) - (vm->limit != UINT64_MAX);
	vm->limit = MAX(npages, SWAP_LEAST);
	return 0;
}

struct swap_vm *swap_whom_over(const struct swap_whom *w)
{
	struct swap_vm *most = NULL;

	for (unsigned i = 0; w->nlimited && i < w->vms->len; i++) {
		struct swap_vm *vm = g_ptr_array_index(w->vms, i);

		if (vm && vm->resident > vm->limit &&
		    (!most || vm->resident - vm->limit > most->resident - most->limit))
			most = vm;
	}
	return most;
}

/* One candidate for the turn: @best becomes it if it comes before. */
static void compete(const struct swap_whom *w, struct swap_pool *pool, int64_t *credit, struct swap_pool **best,
		    int64_t **best_credit)
{
	int64_t count = (int64_t)pool->count;

	*credit = !count ? 0 : w->order == SWAP_FROM_LARGEST ? count : *credit + count;
	if (count && (!*best || *credit > **best_credit)) {
		*best = pool;
		*best_credit = credit;
	}
}

struct swap_pool *swap_whom_next(struct swap_whom *w)
{
	struct swap_pool *best = NULL;
	int64_t *credit = NULL;

	if (!w->nown)
		return w->common.count ? &w->common : NULL;
	compete(w, &w->common, &w->credit, &best, &credit);
	for (unsigned i = 0; i < w->vms->len; i++) {
		struct swap_vm *vm = g_ptr_array_index(w->vms, i);

		if (vm && vm->own)
			compete(w, &vm->pool, &vm->credit, &best, &credit);
	}
	if (best)
		*credit -= (int64_t)w->count;
	return best;
}
