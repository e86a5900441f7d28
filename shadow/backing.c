/* SPDX-License-Identifier: MIT */
/*
 * backing.c - gmem's side of shadow paging: a page's backing changes
 *
 * Problem. When gmem moves, shares, protects or takes a guest page, every shadow entry that maps it must follow
 * at once; the guest knows nothing of it. Entries may be anywhere: several processes and the kernel's
 * direct map show the same page.
 *
 * Idea. The rmap: for each leaf level an rmap keyed by block (gfn >> 9 * (level - 1)), since a large leaf maps a whole
 * block. To unmap is to visit the block's leaves of each level. A large leaf that is hit in part goes as a whole:
 * gmem now reports a smaller level for the block, so what is refilled is smaller.
 *
 * If a page that is taken holds a guest table, its shadow pages go as well: the table's contents may be lost.
 *
 * Invariants: after unmap() no entry maps the pages, after wrprotect() none lets them be written (verify.c compares
 * every leaf with gmem after each step of tests/model/test_shadow_model.c).
 */
#include "shadow/internal.h"

struct zap {
	struct shadow *s;
	bool young;
};

static void zap_leaf(hpa_t hpa, void *ctx)
{
	struct zap *z = ctx;
	struct shadow_page *sp = shadow_page_at(z->s, hpa);
	uint64_t old = shadow_entry_set(z->s, sp, (hpa & ~PAGE_MASK) / sizeof(uint64_t), 0, 0);

	z->young |= (old & PTE_A) != 0;
}

bool shadow_zap_leaves(struct shadow *s, gfn_t gfn, unsigned level)
{
	struct zap z = { .s = s };

	rmap_for_each(s->rmap[level], gfn / LEVEL_PAGES(level), zap_leaf, &z);
	return z.young;
}

/* Leaves of @level over any of the pages. */
static void zap_blocks(struct shadow *s, gfn_t gfn, uint64_t npages, unsigned level)
{
	gfn_t first = gfn & ~(LEVEL_PAGES(level) - 1);

	for (gfn_t at = first; at < gfn + npages; at += LEVEL_PAGES(level))
		shadow_zap_leaves(s, at, level);
}

void shadow_unmap(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct shadow *s = (struct shadow *)p;

	shadow_begin(s);
	for (unsigned level = 1; level <= 3; level++)
		zap_blocks(s, gfn, npages, level);
	for (gfn_t at = gfn; at < gfn + npages; at++)
		if (shadow_block_has_tables(s, at, 2))
			shadow_page_zap_table(s, at);
	shadow_end(s);
}

void shadow_wrprotect(struct paging *p, gfn_t gfn, uint64_t npages)
{
	struct shadow *s = (struct shadow *)p;

	shadow_begin(s);
	for (gfn_t at = gfn; at < gfn + npages; at++)
		shadow_write_protect(s, at);
	shadow_end(s);
}

bool shadow_test_clear_young(struct paging *p, gfn_t gfn)
{
	struct shadow *s = (struct shadow *)p;
	bool young = false;

	shadow_begin(s);
	for (unsigned level = 1; level <= 3; level++)
		young |= shadow_zap_leaves(s, gfn, level);
	shadow_end(s);
	return young;
}

/* The block is contiguous now: what splinters it goes, and the next touch maps it by one leaf. */
void shadow_collapse(struct paging *p, gfn_t gfn, unsigned level)
{
	struct shadow *s = (struct shadow *)p;
	struct shadow_page *sp, *next;

	if (level > s->cfg.max_leaf)
		return;
	shadow_begin(s);
	gfn &= ~(LEVEL_PAGES(level) - 1);
	if (!shadow_block_has_tables(s, gfn, level))
		for (sp = shadow_page_first(s, gfn); sp; sp = next) {
			next = sp->next;
			if (sp->role.direct && sp->role.level + 1u == level) {
				shadow_page_zap(s, sp);
				next = shadow_page_first(s, gfn);
			}
		}
	shadow_end(s);
}
