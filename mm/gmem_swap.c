/* SPDX-License-Identifier: MIT */
/*
 * gmem_swap.c - pages that give up their frame and get one back
 *
 * Problem: a page leaves memory and comes back, possibly often, possibly without having been written between. Its
 * contents must be in exactly one place that counts, and a page that is still as it was on the device should cost no
 * second write.
 *
 * Idea: the word of a page without a frame holds the number of its *slot* where the hfn was. A page that came back for
 * a read keeps its slot (flag CACHED) and may not be mapped writable: the first write faults, gives the slot back and
 * clears the flag. So an evicted page that still has the flag is clean, and is dropped. This is the swap cache, without
 * a dirty bit that three paging modes would have to agree on.
 *
 * A page read ahead of its touch is IDLE as well as AHEAD: unmapped, so its first touch is seen, as a hit of the
 * readahead and not as a young page.
 *
 * The order of changes is that of gmem.c: unmap, save, new state, frame back; what fails, fails before the state
 * changes.
 *
 * Invariants (tests/model/test_swap_model.c, test_swap_runs.c against unlimited memory, tests/unit/test_swap.c):
 *  - contents survive: save() before the frame goes, load() before the page may be reached;
 *  - a CACHED page is resident, and no mapping of it is writable;
 *  - who faults, how often and on what is counted once per change of state, as in gmem.c.
 *
 * Source: Linux mm/swap_state.c, mm/memory.c (do_swap_page) and mm/vmscan.c.
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"
#include "mm/reclaim.h"

void gmem_set_reclaimer(struct gmem *g, struct reclaimer *r)
{
	g->reclaim = r;
}

static int evict(struct gmem *g, gfn_t gfn, enum page_state to, uint64_t slot, hfn_t reference)
{
	const struct machine_ops *ops = g->machine->ops;
	enum page_state from;
	uint64_t word;
	hfn_t hfn;
	int err = 0;

	g_assert(to == PAGE_SWAPPED || to == PAGE_COMPRESSED);
	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	from = gfn < g->run_pages ? PAGE_ABSENT : word_state(g->page[gfn]);
	if (from != PAGE_RESIDENT && from != PAGE_SHARED)
		return ERR(-EBUSY);
	word = g->page[gfn];
	hfn = word >> WORD_HFN;
	gmem_unmap(g, gfn, 1);
	if (reference != HFN_NONE)
		err = ops->save_patch(g->machine, g->cfg.vm, gfn, hfn, reference, slot);
	else if (!(word & WORD_CACHED))
		err = ops->save(g->machine, g->cfg.vm, gfn, hfn, slot, to == PAGE_SWAPPED);
	if (err) {
		g->c->swap_write_errors++;
		gmem_tell_mapped(g, gfn, 1);
		return ERR(err);
	}
	gmem_shatter(g, gfn);
	if (from == PAGE_RESIDENT)
		gmem_disk_count_evict(g, gfn, hfn, to == PAGE_SWAPPED && !(word & WORD_CACHED));
	if (from == PAGE_RESIDENT)
		ops->release(g->machine, g->cfg.vm, gfn, hfn, 1);
	gmem_set(g, gfn, WORD(to, slot), EVENT_EVICT);
	if (from == PAGE_RESIDENT)
		frames_release(g->frames, hfn, 1);
	else
		gmem_share_drop(g, gfn, hfn);
	gmem_charge(g, CHARGE_RELEASE, 1);
	return 0;
}

int gmem_evict(struct gmem *g, gfn_t gfn, enum page_state to, uint64_t slot)
{
	return evict(g, gfn, to, slot, HFN_NONE);
}

int gmem_evict_patch(struct gmem *g, gfn_t gfn, uint64_t slot, hfn_t reference)
{
	return evict(g, gfn, PAGE_COMPRESSED, slot, reference);
}

int gmem_write_back(struct gmem *g, gfn_t gfn)
{
	uint64_t slot = g->page[gfn] >> WORD_HFN;
	int err;

	g_assert(word_state(g->page[gfn]) == PAGE_COMPRESSED);
	err = g->machine->ops->write_back(g->machine, slot);
	if (err) {
		g->c->swap_write_errors++;
		return ERR(err);
	}
	gmem_set(g, gfn, WORD(PAGE_SWAPPED, slot), EVENT_EVICT);
	return 0;
}

static void count_swap_in(struct gmem *g, enum page_state from, enum fault_source src)
{
	g->c->swap_ins++;
	if (src == FAULT_PREFETCH)
		g->c->faults_prefetch++;
	else if (src == FAULT_DMA)
		g->c->faults_dma++;
	else if (from == PAGE_SWAPPED)
		g->c->faults_swapped++;
	else
		g->c->faults_compressed++;
}

/* What is in @slot comes to @hfn; if it cannot, the frame goes back. */
static int load(struct gmem *g, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	int err = g->machine->ops->load(g->machine, g->cfg.vm, gfn, hfn, slot, device);

	if (!err)
		return 0;
	frames_release(g->frames, hfn, 1);
	g->c->swap_read_errors++;
	return ERR(err);
}

int gmem_swap_in(struct gmem *g, gfn_t gfn, unsigned access, enum fault_source src)
{
	enum page_state from = word_state(g->page[gfn]);
	uint64_t slot = g->page[gfn] >> WORD_HFN, flags = 0;
	hfn_t hfn;
	int err = gmem_frame_for(g, gfn, &hfn);

	if (err)
		return err;
	err = load(g, gfn, hfn, slot, from == PAGE_SWAPPED);
	if (err)
		return err;
	if (from == PAGE_SWAPPED) {
		gmem_disk_count_read(g, gfn, hfn);
		g->reclaim->ops->read(g->reclaim, slot);
	}
	if (g->reclaim->ops->fetch(g->reclaim, g, from, slot, hfn, access & ACC_W))
		flags = WORD_CACHED;
	gmem_set(g, gfn, WORD(PAGE_RESIDENT, hfn) | flags, EVENT_SWAP_IN);
	count_swap_in(g, from, src);
	gmem_charge(g, CHARGE_POPULATE, 1);
	if (src != FAULT_CPU)
		gmem_tell_mapped(g, gfn, 1);
	return 0;
}

int gmem_swap_ahead(struct gmem *g, gfn_t gfn)
{
	uint64_t slot = g->page[gfn] >> WORD_HFN, flags;
	hfn_t hfn;
	int err;

	if (word_state(g->page[gfn]) != PAGE_SWAPPED)
		return ERR(-EBUSY);
	err = gmem_take_frames(g, gfn, 1, &hfn);
	if (err)
		return err;
	err = load(g, gfn, hfn, slot, true);
	if (err)
		return err;
	flags = WORD_IDLE | WORD_AHEAD;
	if (g->reclaim->ops->fetch(g->reclaim, g, PAGE_SWAPPED, slot, hfn, false))
		flags |= WORD_CACHED;
	gmem_set(g, gfn, WORD(PAGE_RESIDENT, hfn) | flags, EVENT_READAHEAD);
	g->c->swap_readahead++;
	gmem_charge(g, CHARGE_POPULATE, 1);
	return 0;
}

void gmem_uncache(struct gmem *g, gfn_t gfn)
{
	g->reclaim->ops->forget(g->reclaim, g->page[gfn] >> WORD_HFN);
	g->page[gfn] &= ~WORD_CACHED;
}

uint64_t gmem_slot(const struct gmem *g, gfn_t gfn)
{
	g_assert(word_swapped(g->page[gfn]));
	return g->page[gfn] >> WORD_HFN;
}
