/* SPDX-License-Identifier: MIT */
/*
 * gmem_log.c - which pages were written (dirty log), which were touched (young pages)
 *
 * Problem: live migration asks which pages changed since it last asked, working-set estimation which were touched.
 * Asking must not slow a guest that is not being asked.
 *
 * Idea: the dirty log is a bitmap that exists only while it is on. A page whose bit is clear may not be mapped
 * writable, so its first write faults and sets the bit; collecting clears bits and arms their pages again. A processor
 * with a page-modification log (PML) needs no write-protection: the paging mode's log_dirty() says so, pages stay
 * writable, and what the processor logged arrives through gmem_dirty_log_mark(). While the log is on, leaves
 * are 4 KiB: a large one would log too much.
 *
 * The arena is not logged: the VMM and the guest's kernel write it through plain pointers, nothing could be known of
 * them all; whoever moves a guest copies its arena whole, last.
 *
 * Young pages are described in gmem.c.
 *
 * Invariants (tests/model/test_gmem_model.c): a bit set in a collected bitmap means that contents changed since it was
 * last collected, or since the log began; every write through gmem_fault(), gmem_write() or a mark, and every release
 * (the page then reads as zero), sets its bit once.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, KVM_GET_DIRTY_LOG; Intel SDM vol. 3C, section 28.3.6 (PML).
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"

bool gmem_mark_dirty(struct gmem *g, gfn_t gfn)
{
	uint64_t bit = 1ull << (gfn % 64);

	if (g->dirty[gfn / 64] & bit)
		return false;
	g->dirty[gfn / 64] |= bit;
	g->c->dirty_log_writes++;
	gmem_log_event(g, gfn, EVENT_DIRTY);
	return true;
}

/* The next write to these pages is to be noticed. */
static void arm(struct gmem *g, gfn_t gfn, uint64_t npages)
{
	if (!g->paging)
		return;
	if (g->log_by_cpu)
		g->paging->ops->log_dirty(g->paging, gfn, npages);
	else
		g->paging->ops->wrprotect(g->paging, gfn, npages);
}

int gmem_dirty_log_start(struct gmem *g)
{
	gfn_t first = g->cfg.arena_pages;

	if (g->cfg.linear)
		return ERR(-EOPNOTSUPP);
	if (g->dirty)
		return ERR(-EBUSY);
	g->dirty = g_new0(uint64_t, (g->cfg.npages + 63) / 64);
	g->log_by_cpu = false;
	if (first == g->cfg.npages)
		return 0;
	if (g->paging && g->paging->ops->log_dirty)
		g->log_by_cpu = g->paging->ops->log_dirty(g->paging, first, g->cfg.npages - first);
	if (!g->log_by_cpu)
		arm(g, first, g->cfg.npages - first);
	return 0;
}

void gmem_dirty_log_stop(struct gmem *g)
{
	g_free(g->dirty);
	g->dirty = NULL;
}

/* Arm the pages whose bits are set, neighbours together. */
static void arm_set(struct gmem *g, const uint64_t *bitmap)
{
	uint64_t npages = g->cfg.npages;
	gfn_t gfn = 0;

	while (gfn < npages) {
		gfn_t end;

		if (!(bitmap[gfn / 64] >> (gfn % 64))) {
			gfn = (gfn / 64 + 1) * 64;
			continue;
		}
		gfn += (unsigned)__builtin_ctzll(bitmap[gfn / 64] >> (gfn % 64));
		for (end = gfn; end < npages && bitmap[end / 64] >> (end % 64) & 1;)
			end++;
		arm(g, gfn, end - gfn);
		gfn = end;
	}
}

uint64_t gmem_dirty_log_collect(struct gmem *g, uint64_t *bitmap)
{
	uint64_t n = 0;

	g_assert(g->dirty);
	for (uint64_t i = 0; i < (g->cfg.npages + 63) / 64; i++) {
		bitmap[i] = g->dirty[i];
		n += (unsigned)__builtin_popcountll(bitmap[i]);
		if (bitmap[i])
			g->dirty[i] = 0;
	}
	/* Bits first: from the moment it is armed, a write must set its bit again. */
	arm_set(g, bitmap);
	return n;
}

void gmem_dirty_log_mark(struct gmem *g, gfn_t gfn)
{
	if (g->dirty && gfn >= g->run_pages && gfn < g->cfg.npages)
		gmem_mark_dirty(g, gfn);
}

bool gmem_dirty_logging(const struct gmem *g)
{
	return g->dirty != NULL;
}

/* What mappings know of a touch; @idle: WORD_IDLE if there is none any more, so that the next touch faults. */
static bool ask_paging(struct gmem *g, gfn_t gfn, uint64_t *idle)
{
	const struct paging_ops *ops = g->paging ? g->paging->ops : NULL;
	int seen = ops && g->young_by_bit && ops->clear_accessed ? ops->clear_accessed(g->paging, gfn) : -1;

	*idle = seen < 0 ? WORD_IDLE : 0;
	return seen < 0 ? ops && ops->test_clear_young(g->paging, gfn) : seen > 0;
}

/*
 * Was the page touched since anybody asked last? Unmaps it. The flag @told is that of the asker, @owed is set for the
 * other one, 0: there is none.
 */
static bool look(struct gmem *g, gfn_t gfn, uint64_t told, uint64_t owed)
{
	uint64_t word, idle;
	bool young, before;

	if (gfn >= g->cfg.npages || gfn < g->run_pages)
		return false;
	word = g->page[gfn];
	if (!word_mapped(word))
		return false;
	before = word & told;
	if (word & WORD_IDLE) {
		g->page[gfn] &= ~told;
		return before;
	}
	young = (word & WORD_TOUCHED) != 0;
	/* No short cut: the page must be unmapped, or its bit cleared, whatever is known. */
	young |= ask_paging(g, gfn, &idle);
	word = (word & ~(WORD_TOUCHED | told)) | idle;
	gmem_set(g, gfn, young ? word | owed : word, EVENT_IDLE);
	return young || before;
}

void gmem_young_by_bit(struct gmem *g)
{
	g->young_by_bit = true;
}

bool gmem_is_young_by_bit(const struct gmem *g)
{
	return g->young_by_bit;
}

bool gmem_test_clear_young(struct gmem *g, gfn_t gfn)
{
	return look(g, gfn, WORD_OWED, g->observed ? WORD_SPARED : 0);
}

bool gmem_observe_young(struct gmem *g, gfn_t gfn)
{
	g->observed = true;
	return look(g, gfn, WORD_SPARED, WORD_OWED);
}
