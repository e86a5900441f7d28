/* SPDX-License-Identifier: MIT */
/*
 * trace.c - watching the guest's tables: write protection, traced writes, floods
 *
 * Problem. The shadow is a cache of the guest's tables, and a store to memory tells nobody.
 *
 * Idea. As long as a guest page has a shadow page that must be in sync, no shadow entry may let the guest write it. A
 * write then faults, fill.c finds the trace and asks the machine to decode the instruction, and guest_write() performs
 * the store and mends the entries made from those eight bytes in every shadow page of that gfn.
 *
 * A guest kernel reaches its tables through a direct map of 2 MiB pages. One large leaf cannot be read-only
 * for a single page, and read-only as a whole it would trap every store to its neighbours; so no large leaf may lie
 * over a block that holds a guest table with a shadow page (tables[level], KVM's disallow_lpage): such a block is
 * splintered.
 *
 * Flood. A page that was a table and is data now would trap for ever. If a traced page is written cfg.flood_limit
 * times without any of its shadow pages being used by a fault in between, it is taken for data: its shadow pages are
 * zapped, and the next write is free. If it is a table after all, it is shadowed again on use.
 *
 * Invariants: a traced page is writable through no shadow entry (verify.c in tests/model/test_shadow_model.c); a large
 * leaf never covers a shadowed table; tables[] equals the count of indirect shadow pages by block.
 *
 * Source: kvm_mmu_track_write(), account_shadowed(), detect_write_flooding() in Linux arch/x86/kvm/mmu/mmu.c (limit of
 * 3).
 */
#include "shadow/internal.h"

/* Must the guest be kept from writing this page? */
bool shadow_traced(const struct shadow *s, gfn_t gfn)
{
	for (const struct shadow_page *sp = shadow_page_first(s, gfn); sp; sp = sp->next)
		if (!sp->role.direct && !sp->unsync)
			return true;
	return false;
}

bool shadow_block_has_tables(const struct shadow *s, gfn_t gfn, unsigned level)
{
	return s->tables[level][gfn / LEVEL_PAGES(level)] != 0;
}

static void protect_leaf(hpa_t hpa, void *ctx)
{
	struct shadow *s = ctx;
	struct shadow_page *sp = shadow_page_at(s, hpa);
	unsigned idx = (hpa & ~PAGE_MASK) / sizeof(uint64_t);
	uint64_t entry = shadow_entries(s, sp)[idx];

	if (entry & PTE_W)
		shadow_entry_set(s, sp, idx, entry & ~PTE_W, sp->guest ? sp->guest[idx] : 0);
}

/* No entry lets @gfn be written any more; larger leaves over it go. */
void shadow_write_protect(struct shadow *s, gfn_t gfn)
{
	rmap_for_each(s->rmap[1], gfn, protect_leaf, s);
	shadow_zap_leaves(s, gfn, 2);
	shadow_zap_leaves(s, gfn, 3);
}

/* A shadow page of the guest table @gfn was made. */
void shadow_trace_add(struct shadow *s, gfn_t gfn)
{
	for (unsigned level = 2; level <= 3; level++)
		s->tables[level][gfn / LEVEL_PAGES(level)]++;
	shadow_write_protect(s, gfn);
}

void shadow_trace_remove(struct shadow *s, gfn_t gfn)
{
	for (unsigned level = 2; level <= 3; level++)
		s->tables[level][gfn / LEVEL_PAGES(level)]--;
}

/* The eight bytes at entry @idx of guest table @gfn were written. */
static void entry_written(struct shadow *s, gfn_t gfn, unsigned idx)
{
	struct shadow_page *sp;
	uint64_t now = 0;

	if (!shadow_page_first(s, gfn))
		return;
	if (shadow_guest_entry(s, gfn, idx, &now))
		now = 0;
	for (sp = shadow_page_first(s, gfn); sp; sp = sp->next)
		if (!sp->role.direct && (shadow_entries(s, sp)[idx] & PTE_P) && sp->guest[idx] != now &&
		    !shadow_entry_reserved(s, sp, idx))
			shadow_entry_update(s, sp, idx, now);
}

/* One more write to the shadow pages of @gfn that nobody has used since the last. */
static void count_flood(struct shadow *s, gfn_t gfn)
{
	struct shadow_page *sp = shadow_page_first(s, gfn);

	while (sp) {
		if (!sp->role.direct && !sp->unsync && s->cfg.flood_limit && ++sp->writes >= s->cfg.flood_limit) {
			s->c->shadow_floods++;
			shadow_page_zap(s, sp);
			sp = shadow_page_first(s, gfn);
		} else {
			sp = sp->next;
		}
	}
}

int shadow_guest_write(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len)
{
	struct shadow *s = (struct shadow *)p;
	int ret;

	(void)vcpu;
	shadow_begin(s);
	ret = gmem_write(s->gmem, gpa, data, len);
	if (ret == 0) {
		s->c->shadow_traced_writes++;
		for (gpa_t a = gpa & ~7ull; a < gpa + len; a += 8)
			entry_written(s, a >> PAGE_SHIFT, (a & ~PAGE_MASK) / 8);
		count_flood(s, gpa >> PAGE_SHIFT);
		if ((gpa ^ (gpa + len - 1)) & PAGE_MASK)
			count_flood(s, (gpa + len - 1) >> PAGE_SHIFT);
	}
	shadow_end(s);
	return ret;
}
