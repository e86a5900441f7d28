/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - which table entries map a guest page
 *
 * Problem: before gmem moves, shares or takes a page, every shadow entry that maps it must go. A page of a forked
 * process may be mapped a thousand times, most pages once; and there are as many heads as the guest has pages.
 *
 * Idea: a head is one word. Entries are 8 bytes long, so an entry's address leaves its low bits free:
 *
 *	0		nothing
 *	entry | 1	exactly one entry, inline
 *	pointer		a chain: an array of entries in order of insertion
 *
 * (as KVM's pte_list, arch/x86/kvm/mmu/mmu.c, whose chains are lists of small arrays). Removal keeps the order, so a
 * visit never depends on addresses; a chain that is down to one entry becomes inline again.
 *
 * Invariants (held by tests/unit/test_rmap.c against a naive list):
 *  - a chain holds at least two entries, no entry twice;
 *  - every chain is in `chains` at its `index`, so that freeing need not scan the heads of an untouched guest.
 */
#include "mm/rmap.h"

#include <glib.h>
#include <string.h>

#include "mm/lazy.h"

#define INLINE 1ull

struct chain {
	unsigned n, cap;
	unsigned index; /* in rmap.chains */
	hpa_t entry[];
};

struct rmap {
	uint64_t npages;
	uint64_t *head;
	GPtrArray *chains;
};

struct rmap *rmap_new(uint64_t npages)
{
	uint64_t *head = lazy_new(npages * sizeof(*head));
	struct rmap *r;

	if (!head)
		return NULL;
	r = g_new0(struct rmap, 1);
	r->npages = npages;
	r->head = head;
	r->chains = g_ptr_array_new_with_free_func(g_free);
	return r;
}

void rmap_free(struct rmap *r)
{
	g_ptr_array_unref(r->chains);
	lazy_free(r->head, r->npages * sizeof(uint64_t));
	g_free(r);
}

static struct chain *chain_of(uint64_t head)
{
	return head && !(head & INLINE) ? (struct chain *)(uintptr_t)head : NULL;
}

static struct chain *chain_new(struct rmap *r, uint64_t *head)
{
	struct chain *c = g_malloc(sizeof(*c) + 6 * sizeof(hpa_t));

	*c = (struct chain){ .n = 1, .cap = 6, .index = r->chains->len };
	c->entry[0] = *head & ~INLINE;
	g_ptr_array_add(r->chains, c);
	*head = (uintptr_t)c;
	return c;
}

static struct chain *chain_grow(struct rmap *r, uint64_t *head, struct chain *c)
{
	c->cap *= 2;
	c = g_realloc(c, sizeof(*c) + c->cap * sizeof(hpa_t));
	r->chains->pdata[c->index] = c;
	*head = (uintptr_t)c;
	return c;
}

static void chain_to_inline(struct rmap *r, uint64_t *head, struct chain *c)
{
	unsigned index = c->index;

	*head = c->entry[0] | INLINE;
	g_ptr_array_remove_index_fast(r->chains, index); /* frees it, and moves the last to its place */
	if (index < r->chains->len)
		((struct chain *)r->chains->pdata[index])->index = index;
}

void rmap_add(struct rmap *r, gfn_t gfn, hpa_t entry)
{
	uint64_t *head = &r->head[gfn];
	struct chain *c;

	g_assert(gfn < r->npages && entry && !(entry & 7));
	if (!*head) {
		*head = entry | INLINE;
		return;
	}
	c = chain_of(*head);
	if (!c)
		c = chain_new(r, head);
	if (c->n == c->cap)
		c = chain_grow(r, head, c);
	c->entry[c->n++] = entry;
}

bool rmap_remove(struct rmap *r, gfn_t gfn, hpa_t entry)
{
	uint64_t *head = &r->head[gfn];
	struct chain *c = chain_of(*head);
	unsigned i;

	g_assert(gfn < r->npages);
	if (!c) {
		if (*head != (entry | INLINE))
			return false;
		*head = 0;
		return true;
	}
	/* What came last tends to go first: a forked child's entries, for one. */
	for (i = c->n; i && c->entry[i - 1] != entry; i--)
		;
	if (!i)
		return false;
	memmove(&c->entry[i - 1], &c->entry[i], (c->n - i) * sizeof(hpa_t));
	if (--c->n == 1)
		chain_to_inline(r, head, c);
	return true;
}

unsigned rmap_count(const struct rmap *r, gfn_t gfn)
{
	const struct chain *c = chain_of(r->head[gfn]);

	g_assert(gfn < r->npages);
	return c ? c->n : r->head[gfn] != 0;
}

void rmap_for_each(struct rmap *r, gfn_t gfn, void (*fn)(hpa_t entry, void *ctx), void *ctx)
{
	unsigned i = 0;

	g_assert(gfn < r->npages);
	/* The callback may remove its entry, and with it the chain: look anew each time. */
	for (;;) {
		struct chain *c = chain_of(r->head[gfn]);
		unsigned n = rmap_count(r, gfn);
		hpa_t entry;

		if (i >= n)
			return;
		entry = c ? c->entry[i] : r->head[gfn] & ~INLINE;
		fn(entry, ctx);
		if (rmap_count(r, gfn) == n)
			i++;
	}
}
