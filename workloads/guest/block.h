/* SPDX-License-Identifier: MIT */
/*
 * block.h - the guest's disk, as its kernel uses it (block.c, a virtio-blk driver)
 *
 * A disk page is 4096 bytes. Requests are served in any order: who reads a page while it is being written may get
 * either. Freestanding. In a guest without a disk nothing happens.
 */
#ifndef OVERBOOK_GUEST_BLOCK_H
#define OVERBOOK_GUEST_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct kernel;

#define BLOCK_MAX_PAGES 256u /* of one request */

/* Is there a disk that works? */
bool block_present(const struct kernel *k);
/* Disk pages [0, file_pages) hold files, [file_pages, file_pages + swap_pages) are swap. */
uint64_t block_file_pages(const struct kernel *k);
uint64_t block_swap_pages(const struct kernel *k);

/*
 * Read or write @npages (1 to BLOCK_MAX_PAGES) contiguous disk pages from @disk_page on, to or from contiguous guest
 * frames from @gfn on. False: the ring is full, call again after a completion. True: block_done() will be called once,
 * not before this returns.
 */
bool block_submit(struct kernel *k, bool write, uint64_t disk_page, uint64_t gfn, uint32_t npages, uint64_t cookie);

/* The kernel's: the request is done, and was it (@ok) in full? May submit more. */
void block_done(struct kernel *k, uint64_t cookie, bool ok);

/* At boot: find the device that boot_info names and set it up. */
void block_start(struct kernel *k);
/* A device raised its interrupt: ends what is done. */
void block_interrupt(struct kernel *k);

#endif
