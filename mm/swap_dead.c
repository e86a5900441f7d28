/* SPDX-License-Identifier: MIT */
/*
 * swap_dead.c - pages in swap that nobody will ever want
 *
 * A host does not hear that a guest has freed a page, so its contents stay in their slot until the guest uses the page
 * again and overwrites them. Here somebody who can see into the guest says which pages are free.
 */
#include "mm/swap_impl.h"

void swap_count_dead(struct swap *s, bool (*is_free)(void *ctx, unsigned vm, gfn_t gfn), void *ctx)
{
	struct gmem_page page;

	for (unsigned vm = 0; vm < s->whom.vms->len; vm++)
		if (swap_whom_vm(&s->whom, vm))
			gmem_counters(swap_whom_vm(&s->whom, vm)->g)->swap_dead = 0;
	for (uint64_t slot = 0, left = s->slots.nused; left; slot++) {
		struct gmem *g;

		if (!swap_slots_used(&s->slots, slot))
			continue;
		left--;
		g = swap_gmem(s, s->owner[slot]);
		/* Not if the slot is the copy of a page in memory. */
		if (gmem_lookup(g, OWNER_GFN(s->owner[slot]), &page) || page.hfn != HFN_NONE)
			continue;
		gmem_counters(g)->swap_dead += is_free(ctx, OWNER_VM(s->owner[slot]), OWNER_GFN(s->owner[slot]));
	}
}
