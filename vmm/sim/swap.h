/* SPDX-License-Identifier: MIT */
/*
 * swap.h - the simulated machine's part in swapping: contents of slots, sizes of compressed pages, time of the device
 */
#ifndef OVERBOOK_SIM_SWAP_H
#define OVERBOOK_SIM_SWAP_H

#include "mm/swap.h"
#include "vmm/disk_model.h"
#include "vmm/sim/sim.h"

struct sim_swap {
	struct disk disk;
	struct pattern *content; /* by slot, lazily backed */
	uint64_t nslots;
	GHashTable *bytes;	 /* slot -> 4096 bytes, of those that are no pattern */
};

/* As the experiment's [swap] says; nothing if its size is 0. -ENOMEM. */
int sim_swap_init(struct sim *s);
void sim_swap_destroy(struct sim *s);

/* machine_ops */
int sim_save(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device);
int sim_load(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device);
int sim_write_back(struct machine *m, uint64_t slot);
void sim_drop(struct machine *m, uint64_t slot);
int sim_peek(struct machine *m, uint64_t slot, void *page);
unsigned sim_compressed_size(struct machine *m, hfn_t hfn);
void sim_swap_io(struct machine *m, bool write, uint64_t slot, uint64_t npages);

/* patch.c */
int sim_save_patch(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, hfn_t reference, uint64_t slot);
unsigned sim_patched_size(struct machine *m, hfn_t hfn, hfn_t reference);
void sim_patch_destroy(struct sim *s);

#endif
