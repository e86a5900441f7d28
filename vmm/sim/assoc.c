/* SPDX-License-Identifier: MIT */
/* assoc.c - making, freeing and sweeping the arrays of assoc.h */
#include "vmm/sim/assoc.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

/* A host cache line holds eight keys: sets of four never straddle two lines. */
static void *zeros(size_t nbytes)
{
	void *p = aligned_alloc(64, (nbytes + 63) & ~(size_t)63);

	if (!p)
		g_error("out of memory");
	memset(p, 0, nbytes);
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

	a->key = zeros(n * sizeof(*a->key));
	a->val = zeros(n * sizeof(*a->val));
	a->stamp = zeros(n * sizeof(*a->stamp));
	if (aux)
		a->aux = zeros(n * sizeof(*a->aux));
	for (size_t s = 0; s < n; s++)
		if (s % a->stride >= a->ways)
			a->stamp[s] = ASSOC_PADDING;
}

void assoc_renumber(struct assoc *a)
{
	uint32_t *rank = g_new(uint32_t, a->ways);

	for (uint32_t set = 0; set <= a->set_mask * a->stride; set += a->stride) {
		uint32_t *stamp = a->stamp + set;

		for (uint32_t w = 0; w < a->ways; w++) {
			rank[w] = 0;
			for (uint32_t v = 0; v < a->ways; v++)
				rank[w] += stamp[w] && stamp[v] && stamp[v] <= stamp[w];
		}
		memcpy(stamp, rank, a->ways * sizeof(*stamp));
	}
	g_free(rank);
	a->clock = a->ways;
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

	if (!(a->seen[0] | a->seen[1] | a->seen[2] | a->seen[3]))
		return;
	memset(a->seen, 0, sizeof(a->seen));
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
		else
			a->seen[assoc_key_level(a->key[s])] = true;
	}
}
