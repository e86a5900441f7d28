/* SPDX-License-Identifier: MIT */
/*
 * verify.c - every invariant of the shadow tables, checked from scratch
 *
 * For tests: the model calls it after each step. It derives what each present entry may be from three sources that
 * the rest of shadow/ keeps in step (the guest's table in memory, gmem, the traces) and walks the indexes in both
 * directions: each entry must be in its index, and the indexes may hold nothing more. The list of
 * invariants is in shadow.c.
 */
#include <inttypes.h>
#include <string.h>

#include "shadow/internal.h"

struct verify {
	struct shadow *s;
	uint64_t npages, nlinks, nunsync, nroots;
	uint64_t nleaves[4];
	int ret;
};

static void complain(struct verify *v, const struct shadow_page *sp, unsigned idx, const char *what)
{
	g_warning("shadow page %u (gfn %#" PRIx64 " role %#x%s) entry %u %#" PRIx64 ": %s", sp->id, sp->gfn,
		  sp->role.word, sp->unsync ? " unsync" : "", idx, shadow_entries(v->s, sp)[idx], what);
	v->ret = -EUCLEAN;
}

struct find {
	hpa_t entry;
	unsigned n;
};

static void find_entry(hpa_t entry, void *ctx)
{
	struct find *f = ctx;

	f->n += entry == f->entry;
}

static bool in_rmap_once(struct rmap *r, uint64_t key, hpa_t entry)
{
	struct find f = { .entry = entry };

	rmap_for_each(r, key, find_entry, &f);
	return f.n == 1;
}

/* What a direct page below a large guest leaf must have been made for. */
static unsigned splinter_access(const struct shadow_page *sp, uint64_t guest)
{
	unsigned access = sp->role.access & pt_format_x86.access(guest);

	return guest & PTE_D ? access : access & ~ACC_W;
}

static void verify_link(struct verify *v, struct shadow_page *sp, unsigned idx, uint64_t entry, uint64_t guest)
{
	struct shadow *s = v->s;
	struct shadow_page *child = shadow_entry_child(s, sp, entry);
	unsigned level = sp->role.level, access;
	gfn_t gfn;

	v->nlinks++;
	if (!child || child->dead || child->hfn != (entry & PTE_ADDR) >> PAGE_SHIFT) {
		complain(v, sp, idx, "links no shadow page");
		return;
	}
	if (!in_rmap_once(s->parents, child->id, shadow_entry_hpa(sp, idx)))
		complain(v, sp, idx, "is not among its child's parents");
	if (child->role.level + 1u != level || child->role.wp != sp->role.wp || child->role.nx != sp->role.nx)
		complain(v, sp, idx, "links a page of another level or mode");
	if (sp->role.direct) {
		gfn = sp->gfn + idx * LEVEL_PAGES(level);
		access = sp->role.access;
	} else {
		gfn = (guest & PTE_ADDR) >> PAGE_SHIFT;
		access = sp->role.access & pt_format_x86.access(guest);
		if (guest & PTE_PS) {
			gfn &= ~(LEVEL_PAGES(level) - 1);
			access = splinter_access(sp, guest);
		}
	}
	if (child->role.direct != (sp->role.direct || (guest & PTE_PS)) || child->gfn != gfn)
		complain(v, sp, idx, "links a page of another guest table");
	if (child->role.access != access && (sp->role.wp || !child->role.direct))
		complain(v, sp, idx, "links a page with other rights");
}

static void verify_rights(struct verify *v, struct shadow_page *sp, unsigned idx, uint64_t entry, uint64_t guest)
{
	unsigned have = pt_format_x86.access(entry), may = sp->role.access;

	if (!sp->role.direct) {
		may &= pt_format_x86.access(guest);
		if ((have & ACC_W) && !(guest & PTE_D))
			complain(v, sp, idx, "is writable, but the guest's entry is not dirty");
	}
	if (have == may || have == (may & ~ACC_W))
		return;
	/* CR0.WP = 0: a supervisor's page, see fill.c. */
	if (!sp->role.wp && !sp->role.direct && !(have & ACC_U) && !(have & ~(may | ACC_W)))
		return;
	complain(v, sp, idx, "has other rights than the guest's");
}

static void verify_leaf(struct verify *v, struct shadow_page *sp, unsigned idx, uint64_t entry, uint64_t guest)
{
	struct shadow *s = v->s;
	unsigned level = sp->role.level;
	gfn_t gfn = shadow_leaf_gfn(sp, idx);
	struct gmem_page page;

	v->nleaves[level]++;
	verify_rights(v, sp, idx, entry, guest);
	if (level > s->cfg.max_leaf)
		complain(v, sp, idx, "is larger than allowed");
	if (gmem_lookup(s->gmem, gfn, &page) || page.hfn == HFN_NONE) {
		complain(v, sp, idx, "maps a page without a frame");
		return;
	}
	if (pt_addr(&pt_format_x86, entry, level, true) >> PAGE_SHIFT != page.hfn)
		complain(v, sp, idx, "maps another frame than gmem's");
	if (level > page.level)
		complain(v, sp, idx, "is larger than the backing");
	if ((entry & PTE_W) && !(page.access & ACC_W))
		complain(v, sp, idx, "is writable against gmem");
	if (level == 1 && (entry & PTE_W) && shadow_traced(s, gfn))
		complain(v, sp, idx, "makes a traced page writable");
	if (level > 1 && shadow_block_has_tables(s, gfn, level))
		complain(v, sp, idx, "is large over a guest table");
	if (!in_rmap_once(s->rmap[level], gfn / LEVEL_PAGES(level), shadow_entry_hpa(sp, idx)))
		complain(v, sp, idx, "is not in the rmap");
}

/* The guest's entry behind a present one: what it was made from, and if in sync what memory holds. */
static void verify_guest(struct verify *v, struct shadow_page *sp, unsigned idx, const uint64_t *table)
{
	uint64_t guest = sp->guest[idx], changed = guest ^ table[idx];

	if (!(guest & PTE_P) || !(guest & PTE_A))
		complain(v, sp, idx, "was made from a guest entry not present or not accessed");
	if (shadow_walk_reserved(guest, sp->role.level, v->s->cfg.maxphyaddr, sp->role.nx))
		complain(v, sp, idx, "was made from a guest entry with reserved bits");
	if (sp->unsync)
		return;
	if (changed & (PTE_P | PTE_W | PTE_U | PTE_NX | PTE_ADDR | PTE_A | (sp->role.level > 1 ? PTE_PS : 0)))
		complain(v, sp, idx, "is out of step with the guest's");
	if ((guest & PTE_D) && !(table[idx] & PTE_D))
		complain(v, sp, idx, "was made from a dirty entry that is clean now");
}

static bool eight_empty(const uint64_t *e)
{
	return !(e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]);
}

static void verify_page(struct verify *v, struct shadow_page *sp)
{
	struct shadow *s = v->s;
	const uint64_t *entries = shadow_entries(s, sp);
	uint64_t table[PT_ENTRIES];
	unsigned used = 0;

	if (sp->used && !sp->role.direct && gmem_peek(s->gmem, sp->gfn, table))
		complain(v, sp, 0, "shadows what cannot be read");
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t guest;

		if (i % 8 == 0 && eight_empty(entries + i)) {
			i += 7;
			continue;
		}
		if (!entries[i])
			continue;
		if (shadow_entry_reserved(s, sp, i)) {
			if (entries[i] != s->cfg.reserved_entry)
				complain(v, sp, i, "is the machine's, and was changed");
			continue;
		}
		guest = sp->role.direct ? 0 : sp->guest[i];
		used++;
		if (!(entries[i] & PTE_P) || !(entries[i] & PTE_A)) {
			complain(v, sp, i, "is neither empty nor well formed");
			continue;
		}
		if (!sp->role.direct)
			verify_guest(v, sp, i, table);
		if (pt_is_leaf(&pt_format_x86, entries[i], sp->role.level))
			verify_leaf(v, sp, i, entries[i], guest);
		else
			verify_link(v, sp, i, entries[i], guest);
	}
	if (used != sp->used)
		complain(v, sp, 0, "count of present entries is wrong");
	if (sp->unsync && (sp->role.direct || sp->role.level != 1 || sp->gfn >= s->arena_pages))
		complain(v, sp, 0, "may not be out of sync");
}

static bool in_chain_once(const struct shadow *s, const struct shadow_page *sp)
{
	unsigned n = 0, same = 0;

	for (const struct shadow_page *o = shadow_page_first(s, sp->gfn); o; o = o->next) {
		n += o == sp;
		same += o->role.word == sp->role.word;
	}
	return n == 1 && same == 1;
}

/* The indexes hold what the pages hold, and no more. */
static void verify_counts(struct verify *v, const uint64_t *nparents)
{
	struct shadow *s = v->s;
	bool bad = v->npages != s->live || v->npages != s->lru.length || v->nunsync != s->unsync.length ||
		   *nparents != v->nlinks || (s->cfg.shadow_limit && s->live > s->cfg.shadow_limit);

	for (unsigned level = 1; level <= 3; level++) {
		uint64_t n = 0;

		for (gfn_t gfn = 0; gfn < s->npages; gfn += LEVEL_PAGES(level))
			n += rmap_count(s->rmap[level], gfn / LEVEL_PAGES(level));
		bad |= n != v->nleaves[level];
	}
	for (unsigned i = 0; i < s->cfg.nvcpus; i++)
		v->nroots -= s->root[i] != NULL;
	bad |= v->nroots != 0 || s->depth || s->flush.all || s->flush.n || s->limbo->len;
	if (!bad)
		return;
	g_warning("shadow: pages %" PRIu64 " live %" PRIu64 " limit %" PRIu64 " links %" PRIu64 " parents %" PRIu64
		  ": an index differs from the pages",
		  v->npages, s->live, s->cfg.shadow_limit, v->nlinks, *nparents);
	v->ret = -EUCLEAN;
}

static void verify_tables(struct verify *v)
{
	struct shadow *s = v->s;

	for (unsigned level = 2; level <= 3; level++) {
		uint64_t nblocks = (s->npages + LEVEL_PAGES(level) - 1) / LEVEL_PAGES(level);
		uint32_t *n = g_new0(uint32_t, nblocks);

		for (GList *l = s->lru.head; l; l = l->next) {
			struct shadow_page *sp = l->data;

			n[sp->gfn / LEVEL_PAGES(level)] += !sp->role.direct;
		}
		if (memcmp(n, s->tables[level], nblocks * sizeof(*n))) {
			g_warning("shadow: guest tables by block of level %u are miscounted", level);
			v->ret = -EUCLEAN;
		}
		g_free(n);
	}
}

int shadow_verify(struct paging *p)
{
	struct shadow *s = (struct shadow *)p;
	struct verify v = { .s = s };
	uint64_t nparents = 0;

	for (unsigned id = 0; id < s->pages->len; id++) {
		struct shadow_page *sp = s->pages->pdata[id];

		if (!sp)
			continue;
		v.npages++;
		v.nunsync += sp->unsync;
		v.nroots += sp->nroots;
		nparents += rmap_count(s->parents, id);
		if (sp->id != id || sp->dead || shadow_page_at(s, sp->hfn << PAGE_SHIFT) != sp || !in_chain_once(s, sp))
			complain(&v, sp, 0, "is filed wrongly");
		verify_page(&v, sp);
	}
	verify_counts(&v, &nparents);
	verify_tables(&v);
	return v.ret;
}
