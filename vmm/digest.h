/* SPDX-License-Identifier: MIT */
/*
 * digest.h - one number for all that a guest's processes own
 *
 * XXH3-64 over, for each live process by pid, (va, protection, the 4096 bytes) of each 4 KiB page it maps, in
 * order of va. Computed by the VMM from the process table in the arena and the guest's own page tables, through an alias: it changes no
 * page's state. Equal digests mean: no paging mode, machine or policy changed what the guest computed.
 */
#ifndef OVERBOOK_VMM_DIGEST_H
#define OVERBOOK_VMM_DIGEST_H

#include <stdint.h>

#include "mm/gmem.h"

/* Translate an entry's frame: pv tables hold host frames; NULL: they are gfns. */
typedef gfn_t (*digest_frame_fn)(const struct gmem *g, uint64_t frame);

/* 0 and *digest; -EINVAL if the guest's tables or its process table make no sense. */
int digest_vm(const struct gmem *g, unsigned levels, digest_frame_fn frame, uint64_t *digest);

#endif
