/* SPDX-License-Identifier: MIT */
/* dcache.c - making and freeing the data caches of dcache.h */
#include "vmm/sim/dcache.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

static void level_init(struct dcache_level *l, struct cache_geometry g, uint32_t cycles)
{
	uint32_t sets = g.kib * (1024u >> DCACHE_LINE_SHIFT) / g.ways;

	*l = (struct dcache_level){
		.ways = g.ways,
		.stride = (g.ways + 3) & ~3u,
		.set_mask = sets - 1,
		.set_bits = (uint32_t)__builtin_ctz(sets),
		.cycles = cycles,
	};
	size_t nbytes = (size_t)sets * l->stride * sizeof(*l->tag);

	l->tag = aligned_alloc(64, nbytes);
	if (!l->tag)
		g_error("out of memory");
	memset(l->tag, 0, nbytes);
}

void dcache_init(struct dcache *d, const struct sim_profile *p)
{
	level_init(&d->level[0], p->l1d, p->l1d_cycles);
	level_init(&d->level[1], p->l2d, p->l2d_cycles);
	level_init(&d->level[2], p->l3d, p->l3d_cycles);
	d->mem_cycles = p->mem_cycles;
}

void dcache_free(struct dcache *d)
{
	for (int i = 0; i < 3; i++)
		free(d->level[i].tag);
}
