/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - which entries map a page, and what is to be done to all of them
 *
 * Problem: to reclaim a page every entry that maps it has to be found, without a list of them for each page.
 *
 * Idea: there is no mremap(), so all that map an anonymous page have it at the address at which it came to be, and they
 * descend from one process: fork alone shares. A page of a file is mapped where mappings of the file say. So the page
 * keeps one word, that address or its place in the file, with the slot of a process that mapped it: most pages have one
 * mapping, found by one descent. If that does not account for all mappings that the page counts (or a larger leaf may
 * map it too), the processes of the same family, or of all, are tried one by one: at most 250 descents.
 *
 * An entry of a larger leaf counts as mapping each of its pages; to unmap one it is split first.
 *
 * Changed entries are invalidated together at the end of a batch (struct gather): before that, nothing that was found
 * unmapped may be freed or written to disk.
 *
 * Invariant (tests/guest/test_reclaim.c): after rmap_unmap() no entry maps the page; those that did name its slot.
 *
 * Source: Linux mm/rmap.c, whose anon_vma tree this does without.
 */
#include <stddef.h>

#include "workloads/guest/internal.h"

/* An entry that maps the page. */
struct place {
	struct process *p;
	uint64_t va, gpa, entry;
	unsigned level;
};

struct rmap {
	struct kernel *k;
	uint64_t gfn;
	struct gather *gather;
	uint32_t left; /* mappings still to be found; UINT32_MAX: who knows */
	unsigned n;    /* the callback's own */
	/* False: give up. */
	bool (*visit)(struct rmap *r, struct place *at);
};

void gather_add(struct kernel *k, struct gather *g, const struct process *p, uint64_t va)
{
	uint32_t slot = process_slot(k, p);

	if (slot != k->interrupted) {
		g->other[slot / 64] |= 1ull << slot % 64;
		return;
	}
	if (g->n < GATHER_PAGES)
		g->va[g->n] = va;
	g->n++;
}

/* Let all take effect. */
void gather_end(struct kernel *k, struct gather *g)
{
	hal_pte_flush(k->hal);
	if (g->n > GATHER_PAGES) {
		hal_flush_space(k->hal, k->process[k->interrupted].root, k->process[k->interrupted].pcid);
	} else {
		for (unsigned i = 0; i < g->n; i++)
			hal_invlpg(k->hal, g->va[i]);
	}
	g->n = 0;
	for (uint32_t i = 0; i < EXPORT_PROCESSES; i++)
		if (g->other[i / 64] >> i % 64 & 1)
			hal_flush_space(k->hal, k->process[i].root, k->process[i].pcid);
	for (unsigned i = 0; i < sizeof(g->other) / sizeof(g->other[0]); i++)
		g->other[i] = 0;
}

static bool place_find(struct kernel *k, struct process *p, uint64_t va, uint64_t gfn, struct place *at)
{
	struct walk w = { p->root, k->levels };

	*at = (struct place){ .p = p, .va = va };
	at->gpa = table_find(k, &w, va, &at->entry);
	at->level = w.level;
	return at->entry && !pte_is_swap(at->entry) &&
	       pte_gfn(at->entry) + (va >> PAGE_SHIFT) % LEVEL_PAGES(w.level) == gfn;
}

/* Is @p among those that map it? If so the visit is made. False: give up. */
static bool try_process(struct rmap *r, struct process *p, bool *found)
{
	struct kernel *k = r->k;
	const struct lru_page *g = lru_page(k, r->gfn);
	struct place at;

	*found = false;
	if (p->state == PROCESS_FREE)
		return true;
	if (!(g->flags & PG_FILE)) {
		*found = place_find(k, p, g->key & PAGE_MASK, r->gfn, &at);
		return !*found || r->visit(r, &at);
	}
	for (uint64_t gpa = p->vmas, i = g->key >> PAGE_SHIFT; gpa && r->left; gpa = vma_at(k, gpa)->next) {
		const struct vma *m = vma_at(k, gpa);

		if (!m->file || i < m->offset || i - m->offset >= m->npages)
			continue;
		if (!place_find(k, p, m->va + ((i - m->offset) << PAGE_SHIFT), r->gfn, &at))
			continue;
		*found = true;
		if (!r->visit(r, &at))
			return false;
	}
	return true;
}

/* False: a visit gave up. */
static bool rmap_walk(struct rmap *r)
{
	struct kernel *k = r->k;
	struct lru_page *g = lru_page(k, r->gfn);
	uint32_t hint = g->key & ~PAGE_MASK, family = 0;
	bool found, known = false;

	if (hint < EXPORT_PROCESSES) {
		if (!try_process(r, &k->process[hint], &known))
			return false;
		if (known && !(g->flags & PG_FILE))
			family = k->process[hint].family;
	}
	for (uint32_t i = 0; i < EXPORT_PROCESSES && r->left; i++) {
		struct process *p = &k->process[i];

		if (i == hint || (family && p->family != family))
			continue;
		if (!try_process(r, p, &found))
			return false;
		if (!found)
			continue;
		if (!known)
			g->key = (g->key & PAGE_MASK) | i;
		known = true;
		if (!(g->flags & PG_FILE))
			family = p->family;
	}
	return true;
}

static uint32_t mappings(struct kernel *k, uint64_t gfn)
{
	const struct lru_page *g = lru_page(k, gfn);

	if ((g->flags & PG_LARGE) || page_held_above(k, gfn))
		return UINT32_MAX;
	return page_refs(k, gfn) - !!(g->flags & PG_CACHED);
}

static void one_less(struct rmap *r)
{
	if (r->left != UINT32_MAX)
		r->left--;
}

static bool visit_referenced(struct rmap *r, struct place *at)
{
	one_less(r);
	if (!(at->entry & PTE_A))
		return true;
	r->n++;
	table_set(r->k, at->gpa, at->level, at->entry, at->entry & ~PTE_A);
	gather_add(r->k, r->gather, at->p, at->va);
	return true;
}

/* In how many entries is the accessed bit set? It is cleared. */
unsigned rmap_referenced(struct kernel *k, uint64_t gfn, struct gather *g)
{
	struct rmap r = { .k = k, .gfn = gfn, .gather = g, .left = mappings(k, gfn), .visit = visit_referenced };

	if (r.left)
		rmap_walk(&r);
	if (r.n)
		hal_pte_flush(k->hal); /* the search for another page may come to the same entries */
	return r.n;
}

/* Let it be mapped by entries of level 1 in this process. False: no heap for a table. */
static bool split_place(struct rmap *r, struct place *at)
{
	struct kernel *k = r->k;

	while (at->level > 1) {
		if (!table_split(k, at->gpa, at->entry, at->level))
			return false;
		gather_add(k, r->gather, at->p, at->va);
		hal_pte_flush(k->hal);
		guest_assert(k->hal, place_find(k, at->p, at->va, r->gfn, at));
	}
	return true;
}

static uint64_t drop_file_leaf(struct visit *v, uint64_t va, unsigned level, uint64_t entry)
{
	(void)va, (void)level;
	if (entry & PTE_D)
		lru_page(v->k, pte_gfn(entry))->flags |= PG_DIRTY;
	return 0;
}

static bool visit_unmap_file(struct rmap *r, struct place *at)
{
	struct visit v = {
		.k = r->k, .p = at->p, .start = at->va, .end = at->va + PAGE_SIZE, .leaf = drop_file_leaf
	};

	table_visit_later(&v);
	for (unsigned i = 0; i < v.flush.n && i < FLUSH_PAGES; i++)
		gather_add(r->k, r->gather, at->p, v.flush.va[i]);
	page_put(r->k, r->gfn, 1);
	at->p->npages--;
	one_less(r);
	return true;
}

static bool visit_unmap(struct rmap *r, struct place *at)
{
	struct kernel *k = r->k;
	struct lru_page *g = lru_page(k, r->gfn);

	if (!split_place(r, at))
		return false;
	if (at->entry & PTE_D)
		g->flags |= PG_DIRTY;
	table_set(k, at->gpa, 1, at->entry,
		  (at->entry & (PTE_W | PTE_U | PTE_NX | PTE_NONE)) | PTE_SWAP | ((uint64_t)g->slot << PAGE_SHIFT));
	if (at->entry & PTE_P)
		gather_add(k, r->gather, at->p, at->va);
	swap_get(k, g->slot);
	page_put(k, r->gfn, 1);
	one_less(r);
	return true;
}

/* Remove the cached page from every process. False: some still map it. */
bool rmap_unmap(struct kernel *k, uint64_t gfn, struct gather *g)
{
	bool file = lru_page(k, gfn)->flags & PG_FILE;
	struct rmap r = {
		.k = k, .gfn = gfn, .gather = g, .left = mappings(k, gfn),
		.visit = file ? visit_unmap_file : visit_unmap,
	};

	bool done = !r.left || (rmap_walk(&r) && page_refs(k, gfn) == 1 && !page_held_above(k, gfn));

	hal_pte_flush(k->hal);
	return done;
}

static bool visit_split(struct rmap *r, struct place *at)
{
	if (!split_place(r, at))
		return false;
	r->n++;
	r->left = 0;
	return true;
}

/* Let the pages of a large unit be pages of their own on the lists. False: no heap for a table. */
bool rmap_split(struct kernel *k, uint64_t gfn, struct gather *g)
{
	struct rmap r = { .k = k, .gfn = gfn, .gather = g, .left = UINT32_MAX, .visit = visit_split };

	return rmap_walk(&r) && r.n;
}
