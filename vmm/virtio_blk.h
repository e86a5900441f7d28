/* SPDX-License-Identifier: MIT */
/*
 * virtio_blk.h - the virtio block device: requests for a disk image, from a guest that is not believed
 *
 * Offered: FLUSH, DISCARD, WRITE_ZEROES, SEG_MAX, BLK_SIZE. Time belongs to the host: the device says what it begins,
 * and is told when that is done.
 */
#ifndef OVERBOOK_VMM_VIRTIO_BLK_H
#define OVERBOOK_VMM_VIRTIO_BLK_H

#include "mm/gmem_disk.h"
#include "mm/virtqueue.h"
#include "vmm/disk_image.h"

#define VIRTIO_BLK_MOST_BYTES (32u << 20) /* of one request */

struct virtio_blk;

struct virtio_blk_host {
	/*
	 * The device has begun request @id (below VIRTQUEUE_MAX) on pages [first, first + npages) of the image, a
	 * flush if there are none; virtio_blk_end() is due when it is over, and not before this returns.
	 */
	void (*begin)(void *ctx, unsigned id, bool write, uint64_t first, uint64_t npages);
	/*
	 * The host reads pages of the image for a guest page that is touched, of its own will and not by a request: the
	 * vCPU now running waits for it.
	 */
	void (*read)(void *ctx, uint64_t first, uint64_t npages);
	/* The driver reset the device: nothing that was begun will be ended. */
	void (*cancel)(void *ctx);
	void *ctx;
};

/*
 * NULL and ENOMEM when there is no address space. All is borrowed; what is counted goes to @g's counters, and the
 * device is the backing of its pages (gmem_disk.h). @identity: what GET_ID tells, cut at 20 bytes.
 */
struct virtio_blk *virtio_blk_new(struct gmem *g, struct disk_image *image, const struct virtio_blk_host *host,
				  const char *identity);
/* Nobody touches @g's pages any more. */
void virtio_blk_free(struct virtio_blk *b);

/* What a transport talks to. */
struct virtio_device *virtio_blk_virtio(struct virtio_blk *b);

/* Request @id is over: what it read goes to the guest, which is told. */
void virtio_blk_end(struct virtio_blk *b, unsigned id);

#endif
