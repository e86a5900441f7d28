/* SPDX-License-Identifier: MIT */
/* swap_world.c - see swap_world.h */
#include "tests/lib/swap_world.h"

#include <check.h>
#include <glib.h>

struct swap_world *swap_world_new(const struct swap_config *cfg, uint64_t nframes)
{
	struct swap_world *w = g_new0(struct swap_world, 1);

	w->fr = frames_new(nframes, 1);
	w->fm = fake_machine_new(nframes);
	ck_assert_uint_eq(frames_total(w->fr), nframes);
	w->swap = swap_new(cfg, w->fr, &w->fm->base);
	ck_assert(w->swap);
	return w;
}

void swap_world_add(struct swap_world *w, unsigned vm, uint64_t npages, unsigned level)
{
	const struct gmem_config gc = { .vm = vm, .npages = npages, .level = level };
	unsigned i = w->nvms++;

	ck_assert_uint_lt(i, SWAP_WORLD_VMS);
	w->g[i] = gmem_new(&gc, w->fr, &w->fm->base, &w->c[i], NULL);
	ck_assert(w->g[i]);
	ck_assert_int_eq(swap_attach(w->swap, w->g[i]), 0);
}

void swap_world_free(struct swap_world *w)
{
	ck_assert_int_eq(swap_verify(w->swap), 0);
	if (w->p) {
		fake_paging_check(w->p);
		fake_paging_free(w->p);
	}
	for (unsigned i = 0; i < w->nvms; i++)
		gmem_free(w->g[i]);
	swap_free(w->swap);
	ck_assert_uint_eq(frames_used(w->fr), 0);
	frames_free(w->fr);
	fake_machine_free(w->fm);
	g_free(w);
}
