/* SPDX-License-Identifier: MIT */
/*
 * digest.h - one number for all that a guest's processes own
 *
 * XXH3-64 over, for each live process by pid, (va, protection, the 4096 bytes) of each 4 KiB page it maps, in
 * order of va; then the file range of the VM's disk, by how it differs from what was on it at first. Computed by the
 * VMM from the process table in the arena and the guest's own page tables, through an alias: it changes no page's
 * state. Equal digests mean: no paging mode, machine or policy changed what the guest computed.
 */
#ifndef OVERBOOK_VMM_DIGEST_H
#define OVERBOOK_VMM_DIGEST_H

#include <stdint.h>

#include "mm/gmem.h"
#include "vmm/disk_image.h"

/*
 * The 512 entries of the page table at guest-physical @gpa, as the guest sees them. NULL where tables hold what the
 * guest wrote; pv, whose tables hold host frames, has a translation.
 */
typedef int (*digest_table_fn)(void *ctx, gpa_t gpa, uint64_t *entries);

/* 0 and *digest; -EINVAL if the guest's tables or its process table make no sense. @disk: NULL if there is none. */
int digest_vm(const struct gmem *g, unsigned levels, digest_table_fn read, void *ctx, const struct disk_image *disk,
	      uint64_t *digest);

#endif
