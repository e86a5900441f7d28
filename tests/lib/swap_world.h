/* SPDX-License-Identifier: MIT */
/* swap_world.h - a small host with swap and a few VMs, for tests of mm/swap */
#ifndef OVERBOOK_TESTS_SWAP_WORLD_H
#define OVERBOOK_TESTS_SWAP_WORLD_H

#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"

#define SWAP_WORLD_VMS 3

struct swap_world {
	struct frames *fr;
	struct fake_machine *fm;
	struct swap *swap;
	struct gmem *g[SWAP_WORLD_VMS];
	struct counters c[SWAP_WORLD_VMS];
	unsigned nvms;
	struct fake_paging *p; /* of the first VM; NULL: gmem sees every access. The test makes it, if it wants one. */
};

struct swap_world *swap_world_new(const struct swap_config *cfg, uint64_t nframes);
/* One more VM, with number @vm. */
void swap_world_add(struct swap_world *w, unsigned vm, uint64_t npages, unsigned level);
/* All of it, after a look at what it left. */
void swap_world_free(struct swap_world *w);

#endif
