/* SPDX-License-Identifier: MIT */
/* collapse.c - see collapse.h */
#include "mm/collapse.h"

#include <glib.h>

uint64_t collapse_scan(struct collapser *c)
{
	const struct gmem_config *g = gmem_config(c->gmem);
	uint64_t total = (g->npages - g->arena_pages) / LEVEL_PAGES(2), done = 0;

	if (g->linear)
		return 0;
	for (uint64_t i = 0; i < MIN(c->nblocks, total); i++) {
		if (c->at < g->arena_pages || c->at + LEVEL_PAGES(2) > g->npages)
			c->at = g->arena_pages;
		if (!gmem_is_large(c->gmem, c->at))
			done += !gmem_collapse_within(c->gmem, c->at, 2, &c->limits);
		c->at += LEVEL_PAGES(2);
	}
	return done;
}
