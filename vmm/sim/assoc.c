/* SPDX-License-Identifier: MIT */
/* assoc.c - making, freeing and sweeping the arrays of assoc.h */
#include "vmm/sim/assoc.h"

#include <glib.h>
#include <stdlib.h>

/* A host cache line holds eight keys: sets of four never straddle two lines. */
static uint64_t *row_of_zeros(size_t n)
{
	uint64_t *p = aligned_alloc(64, (n * sizeof(*p) + 63) & ~(size_t)63);

	if (!p)
		g_error("out of memory");
	for (size_t i = 0; i < n; i++)
		p[i] = 0;
	return p;
}

void assoc_init(struct assoc *a, struct geometry g, bool aux)
{
	*a = (struct assoc){ .ways = g.entries ? g.ways : 0 };
	if (!a->ways)
		return;
	a->stride = (g.ways + 3) & ~3u;
	a->set_mask = g.entries / g.ways - 1;
	size_t n = (size_t)a->stride * (a->set_mask + 1);

	a->key = row_of_zeros(n);
	a->stamp = row_of_zeros(n);
	a->val = row_of_zeros(n);
	if (aux)
		a->aux = row_of_zeros(n);
}

void assoc_free(struct assoc *a)
{
	free(a->key);
	free(a->stamp);
	free(a->val);
	free(a->aux);
	*a = (struct assoc){ 0 };
}

void assoc_drop_spaces(struct assoc *a, bool (*match)(unsigned space, void *ctx), void *ctx)
{
	uint32_t n = a->ways ? a->stride * (a->set_mask + 1) : 0;

	if (!(a->count[0] | a->count[1] | a->count[2] | a->count[3]))
		return;
	/* Neighbours mostly belong to one space: ask once. */
	unsigned last = 0;
	bool doomed = false;

	for (uint32_t s = 0; s < n; s++) {
		unsigned space = (unsigned)(a->key[s] & KEY_SPACE_MASK);

		if (!space)
			continue;
		if (space != last)
			doomed = match(space, ctx);
		last = space;
		if (doomed)
			assoc_drop(a, s);
	}
}
