/* SPDX-License-Identifier: MIT */
/*
 * virtio.h - what virtio devices and drivers say to each other: rings, registers, and the balloon's own fields
 *
 * Layouts and numbers of the virtio specification 1.2 (OASIS, 2022): split virtqueues (2.7), MMIO transport (4.2.2),
 * block device (5.2), memory balloon (5.5). Freestanding: the guest's drivers include it, and so do the devices.
 */
#ifndef OVERBOOK_GUEST_VIRTIO_H
#define OVERBOOK_GUEST_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

/* A split virtqueue: three rings in guest memory, little-endian. */
#define VRING_DESC_NEXT	    1u
#define VRING_DESC_WRITE    2u /* the device writes it */
#define VRING_DESC_INDIRECT 4u
#define VRING_NO_INTERRUPT  1u /* vring_avail.flags */

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vring_avail {
	uint16_t flags, idx;
	uint16_t ring[];
};

struct vring_used_elem {
	uint32_t id, len;
};

struct vring_used {
	uint16_t flags, idx;
	struct vring_used_elem ring[];
};

/* Device status */
#define VIRTIO_ACKNOWLEDGE 1u
#define VIRTIO_DRIVER	   2u
#define VIRTIO_DRIVER_OK   4u
#define VIRTIO_FEATURES_OK 8u
#define VIRTIO_NEEDS_RESET 64u
#define VIRTIO_FAILED	   128u

#define VIRTIO_F_VERSION_1 (1ull << 32)

/* Registers of the MMIO transport, version 2 */
enum virtio_mmio_register {
	VIRTIO_MMIO_MAGIC = 0x000,
	VIRTIO_MMIO_VERSION = 0x004,
	VIRTIO_MMIO_DEVICE_ID = 0x008,
	VIRTIO_MMIO_VENDOR_ID = 0x00c,
	VIRTIO_MMIO_DEVICE_FEATURES = 0x010,
	VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014,
	VIRTIO_MMIO_DRIVER_FEATURES = 0x020,
	VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024,
	VIRTIO_MMIO_QUEUE_SEL = 0x030,
	VIRTIO_MMIO_QUEUE_NUM_MAX = 0x034,
	VIRTIO_MMIO_QUEUE_NUM = 0x038,
	VIRTIO_MMIO_QUEUE_READY = 0x044,
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x050,
	VIRTIO_MMIO_INTERRUPT_STATUS = 0x060,
	VIRTIO_MMIO_INTERRUPT_ACK = 0x064,
	VIRTIO_MMIO_STATUS = 0x070,
	VIRTIO_MMIO_QUEUE_DESC = 0x080, /* low half; the high one follows */
	VIRTIO_MMIO_QUEUE_DRIVER = 0x090,
	VIRTIO_MMIO_QUEUE_DEVICE = 0x0a0,
	VIRTIO_MMIO_SHM_LEN = 0x0b0,
	VIRTIO_MMIO_SHM_BASE = 0x0b8,
	VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc,
	VIRTIO_MMIO_CONFIG = 0x100,
	VIRTIO_MMIO_SIZE = 0x200,
};

#define VIRTIO_MMIO_MAGIC_VALUE 0x74726976u /* "virt" */

/* Interrupt status */
#define VIRTIO_INT_USED	  1u
#define VIRTIO_INT_CONFIG 2u

/* The balloon */
#define VIRTIO_ID_BALLOON 5u

#define VIRTIO_BALLOON_F_MUST_TELL_HOST (1ull << 0)
#define VIRTIO_BALLOON_F_STATS_VQ	(1ull << 1)
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM (1ull << 2)
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT (1ull << 3)
#define VIRTIO_BALLOON_F_PAGE_POISON	(1ull << 4)
#define VIRTIO_BALLOON_F_REPORTING	(1ull << 5)

enum virtio_balloon_queue {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_FREE_PAGE,
	BALLOON_REPORTING,
	BALLOON_QUEUES
};

/*
 * The number of a queue. The specification fixes it (@fixed). Linux numbers the queues of negotiated features without
 * gaps, and QEMU those of offered ones: they agree with each other, and without FREE_PAGE_HINT not with the
 * specification, for page reporting is queue 3 then.
 */
static inline unsigned virtio_balloon_queue(uint64_t features, unsigned queue, bool fixed)
{
	unsigned n = queue;

	if (!fixed && queue > BALLOON_STATS && !(features & VIRTIO_BALLOON_F_STATS_VQ))
		n--;
	if (!fixed && queue > BALLOON_FREE_PAGE && !(features & VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		n--;
	return n;
}

/* Is the queue there at all? */
static inline bool virtio_balloon_has_queue(uint64_t features, unsigned queue)
{
	const uint64_t needs[BALLOON_QUEUES] = {
		[BALLOON_STATS] = VIRTIO_BALLOON_F_STATS_VQ,
		[BALLOON_FREE_PAGE] = VIRTIO_BALLOON_F_FREE_PAGE_HINT,
		[BALLOON_REPORTING] = VIRTIO_BALLOON_F_REPORTING,
	};

	return queue < BALLOON_QUEUES && !(needs[queue] & ~features);
}

/* Config space: 32-bit fields */
#define VIRTIO_BALLOON_NUM_PAGES  0u  /* what the host wants */
#define VIRTIO_BALLOON_ACTUAL	  4u  /* what the driver says it has */
#define VIRTIO_BALLOON_CMD_ID	  8u  /* which hints the host wants: an id, or one of the two below */
#define VIRTIO_BALLOON_POISON_VAL 12u /* what the driver says is in free pages */
#define VIRTIO_BALLOON_CONFIG	  16u /* bytes */

#define VIRTIO_BALLOON_CMD_STOP 0u /* no more hints */
#define VIRTIO_BALLOON_CMD_DONE 1u /* no more hints, and the pages hinted may be used again */

enum virtio_balloon_tag {
	BALLOON_S_SWAP_IN,
	BALLOON_S_SWAP_OUT,
	BALLOON_S_MAJFLT,
	BALLOON_S_MINFLT,
	BALLOON_S_MEMFREE,
	BALLOON_S_MEMTOT,
	BALLOON_S_AVAIL,
	BALLOON_S_CACHES,
	BALLOON_S_HTLB_PGALLOC,
	BALLOON_S_HTLB_PGFAIL,
	/* Not in 1.2: Linux 6.12 */
	BALLOON_S_OOM_KILL,
	BALLOON_S_ALLOC_STALL,
	BALLOON_S_ASYNC_SCAN,
	BALLOON_S_DIRECT_SCAN,
	BALLOON_S_ASYNC_RECLAIM,
	BALLOON_S_DIRECT_RECLAIM,
	BALLOON_S_TAGS,
};

struct virtio_balloon_stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

/* The block device: one queue of requests: a header, data, and a byte for the status */
#define VIRTIO_ID_BLOCK 2u

#define VIRTIO_BLK_F_SEG_MAX	  (1ull << 2)
#define VIRTIO_BLK_F_BLK_SIZE	  (1ull << 6)
#define VIRTIO_BLK_F_FLUSH	  (1ull << 9)
#define VIRTIO_BLK_F_DISCARD	  (1ull << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (1ull << 14)

#define VIRTIO_BLK_SECTOR 512u

enum virtio_blk_type {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
};

struct virtio_blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* What DISCARD and WRITE_ZEROES carry, one or several of them. */
struct virtio_blk_range {
	uint64_t sector;
	uint32_t num_sectors, flags;
};

#define VIRTIO_BLK_UNMAP 1u /* virtio_blk_range.flags, of WRITE_ZEROES */
#define VIRTIO_BLK_ID	 20u /* bytes of an identity */

enum virtio_blk_status { VIRTIO_BLK_OK, VIRTIO_BLK_IOERR, VIRTIO_BLK_UNSUPP };

struct virtio_blk_config {
	uint64_t capacity; /* sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};

_Static_assert(sizeof(struct virtio_blk_config) == 64, "fields as in the specification, up to secure erase");

#endif
