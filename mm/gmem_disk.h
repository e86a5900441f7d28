/* SPDX-License-Identifier: MIT */
/*
 * gmem_disk.h - which guest pages hold what is on the guest's own disk too, and what that is worth to the host
 *
 * For a disk device (vmm/virtio_blk.c), which moves whole pages through here, and for whoever knows that a page will
 * be overwritten whole. See gmem_disk.c.
 */
#ifndef OVERBOOK_MM_GMEM_DISK_H
#define OVERBOOK_MM_GMEM_DISK_H

#include "mm/gmem.h"

/* The guest's disk, as the host sees it: pages by number, first those of files. */
struct gmem_backing {
	uint64_t file_pages, npages; /* npages: with the guest's swap */
	/* What page @block holds now. */
	void (*content)(void *ctx, uint64_t block, struct page_content *out);
	/* The host reads pages from the disk for a guest page that is touched; the vCPU now running waits. */
	void (*read)(void *ctx, uint64_t block, uint64_t npages);
	void *ctx;
};

/* Before the disk moves any page. -ENOMEM: address space. Nothing for a linear guest. */
int gmem_set_backing(struct gmem *g, const struct gmem_backing *backing);

/* A whole page from disk page @block to @gfn: gmem_write_page() of @in, what is on @block. */
int gmem_page_from_disk(struct gmem *g, gfn_t gfn, uint64_t block, const struct page_content *in);
/*
 * A whole page from @gfn to disk page @block: gmem_read_page(), and no other page is equal to @block from now on; the
 * caller writes *@out there before anybody looks.
 */
int gmem_page_to_disk(struct gmem *g, gfn_t gfn, uint64_t block, struct page_content *out);
/*
 * Disk pages [block, block + npages) are about to change in another way. An error: some page that exists nowhere else
 * could not be brought in, and they may not.
 */
int gmem_disk_changes(struct gmem *g, uint64_t block, uint64_t npages);

/*
 * All of the page will be written, by the vCPU now running (FAULT_CPU) or by DMA, before anybody reads it: what it
 * holds in swap need not be read.
 */
void gmem_overwrite(struct gmem *g, gfn_t gfn, enum fault_source src);

/* The disk page that @gfn was last read from or written to, as far as is known; UINT64_MAX: none. */
uint64_t gmem_disk_block(const struct gmem *g, gfn_t gfn);

#endif
