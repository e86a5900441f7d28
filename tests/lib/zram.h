/* SPDX-License-Identifier: MIT */
/*
 * zram.h - the kernel's swap to compressed memory, as a peer in benches
 *
 * A zram device of its own (lz4) becomes the host's swap, one page a read, through vmm/host_settings.h, which puts it
 * back even if this process is killed; the device itself is removed by zram_free(). Only who asks for it by
 * MADV_PAGEOUT or has a memory limit is swapped: the host has memory enough.
 */
#ifndef OVERBOOK_TESTS_ZRAM_H
#define OVERBOOK_TESTS_ZRAM_H

#include <stdint.h>

struct zram;

/* NULL and @why (static): what this host lacks. */
struct zram *zram_new(uint64_t nbytes, unsigned page_cluster, const char **why);
void zram_free(struct zram *z);

#endif
