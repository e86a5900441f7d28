/* SPDX-License-Identifier: MIT */
/*
 * host_swap.c - when a host swaps: from [swap] to a reclaimer, and who asks it to work
 *
 * In lockstep nobody but a guest's own fault does: machines differ in their other exits, and in the tables they need,
 * which are therefore not made of frames that guests could have (host_frames()).
 */
#include <errno.h>

#include "mm/err.h"
#include "vmm/host.h"

#define DEAD_CREDIT 32768u /* slots for each sample: 128 MiB of swap are gone over for every one */

int host_swap_init(struct host *h)
{
	const struct conf_swap *c = &h->run->e->swap;
	uint64_t npages = h->run->e->host.memory / PAGE_SIZE;
	struct swap_config cfg = {
		.nslots = c->size / PAGE_SIZE,
		.policy = swap_policies[c->policy],
		.order = (enum swap_order)c->order,
		.seed = h->run->seed, /* as that of `trace mrc --seed` */
		.future = h->future,
		.low = npages * c->low_ppm / 1000000,
		.high = npages * c->high_ppm / 1000000,
		.cluster = (unsigned)c->page_cluster,
		.pool_frames = c->pool / PAGE_SIZE,
		.mapper = c->mapper,
		.preventer = c->preventer,
		.writeback = c->writeback,
	};

	if (!c->size)
		return 0;
	/* The optimum's first run. */
	if (cfg.policy->offline && !swap_future_known(h->future))
		cfg.policy = &swap_fifo;
	h->nslots = cfg.nslots;
	h->swap = swap_new(&cfg, h->frames, h->machine);
	if (!h->swap)
		return ERR(-ENOMEM);
	swap_reclaimer(h->swap)->at_faults = h->run->e->experiment.schedule == SCHEDULE_LOCKSTEP;
	return 0;
}

int host_swap_attach(struct host *h, unsigned vm)
{
	const struct host_vm *v = &h->vm[vm];
	int err;

	if (!h->swap || gmem_config(v->gmem)->linear)
		return 0;
	err = swap_attach(h->swap, v->gmem);
	if (!err && v->conf->swap_limit)
		err = swap_set_limit(h->swap, vm, v->conf->swap_limit / PAGE_SIZE);
	return err;
}

/* Without swap: so many frames are kept free for tables, as long as there are hinted pages to take. */
#define TABLE_RESERVE 64u

static void balance(struct host *h)
{
	swap_reclaimer(h->swap)->ops->balance(swap_reclaimer(h->swap));
}

void host_balance(struct host *h)
{
	uint64_t nfree = frames_total(h->frames) - frames_used(h->frames);

	if (h->run->e->experiment.schedule == SCHEDULE_LOCKSTEP)
		return;
	if (h->swap)
		balance(h);
	else if (nfree < TABLE_RESERVE)
		gmem_drop_hinted(h->frames, TABLE_RESERVE - nfree);
}

void host_evict(struct host *h)
{
	uint64_t before;

	while (h->swap) {
		before = host_evictions(h);
		balance(h);
		if (host_evictions(h) == before)
			return;
	}
}

uint64_t host_evictions(const struct host *h)
{
	return h->swap ? swap_evictions(h->swap) : 0;
}

static bool page_free(void *ctx, unsigned vm, gfn_t gfn)
{
	const struct host *h = ctx;

	return h->ops->page_free(h->ctx, vm, gfn);
}

void host_swap_report(struct host *h, bool final)
{
	if (!h->swap)
		return;
	h->dead_credit += DEAD_CREDIT;
	if (!final && h->dead_credit < h->nslots)
		return;
	h->dead_credit = 0;
	swap_count_dead(h->swap, page_free, h);
}
