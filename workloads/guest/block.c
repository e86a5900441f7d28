/* SPDX-License-Identifier: MIT */
/*
 * block.c - the guest's virtio-blk driver
 *
 * Problem: the kernel wants pages moved between its disk and its memory, many at once, and to hear when they are.
 *
 * Idea: one queue of 128 descriptors, three to a request (header, data, status), so 42 requests may be under way;
 * request i always has descriptors 3i to 3i + 2, whose fixed parts are written once. The data is one descriptor,
 * because frames are contiguous. A device that says that it needs a reset is set up again, and all that was under way
 * has failed.
 *
 * Structures: two pages of the heap: struct block_driver with headers and status bytes, and the rings.
 *
 * Invariant (tests/guest/test_block.c): of each request that was accepted block_done() tells once, whatever the device
 * does.
 *
 * Source: VIRTIO 1.2, sections 2.7, 3.1 and 5.2.
 */
#include "workloads/guest/block.h"

#include <stddef.h>

#include "workloads/guest/internal.h"
#include "workloads/guest/virtio.h"

#define QUEUE_SIZE 128u
#define REQUESTS   (QUEUE_SIZE / 3)
#define DESCS	   3u /* of a request */

/* Within the page of rings */
#define AT_DESC	 0u
#define AT_AVAIL 2048u
#define AT_USED	 2560u

_Static_assert(AT_AVAIL + 4 + 2 * QUEUE_SIZE <= AT_USED && AT_USED + 4 + 8 * QUEUE_SIZE <= PAGE_SIZE,
	       "the rings are one page");

struct block_driver {
	uint64_t gpa, rings;
	bool running;
	uint16_t sent, seen; /* avail.idx; used.idx as far as it was looked at */
	uint32_t nfree;
	uint8_t free[REQUESTS]; /* a stack */
	bool busy[REQUESTS];
	uint64_t cookie[REQUESTS];
	struct virtio_blk_header header[REQUESTS];
	uint8_t status[REQUESTS];
};

_Static_assert(sizeof(struct block_driver) <= PAGE_SIZE, "the driver is one page");

static void put32(struct kernel *k, uint32_t reg, uint32_t value)
{
	hal_mmio_write(k->hal, k->info->disk.registers + reg, value);
}

static uint32_t get32(struct kernel *k, uint32_t reg)
{
	return hal_mmio_read(k->hal, k->info->disk.registers + reg);
}

bool block_present(const struct kernel *k)
{
	return k->block && k->block->running;
}

uint64_t block_file_pages(const struct kernel *k)
{
	return block_present(k) ? k->info->disk.file_pages : 0;
}

uint64_t block_swap_pages(const struct kernel *k)
{
	return block_present(k) ? k->info->disk.swap_pages : 0;
}

static bool negotiate(struct kernel *k)
{
	uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;

	put32(k, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	put32(k, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put32(k, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	put32(k, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put32(k, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(VIRTIO_F_VERSION_1 >> 32));
	put32(k, VIRTIO_MMIO_STATUS, status);
	return get32(k, VIRTIO_MMIO_STATUS) == status;
}

static void put_address(struct kernel *k, uint32_t reg, uint64_t gpa)
{
	put32(k, reg, (uint32_t)gpa);
	put32(k, reg + 4, (uint32_t)(gpa >> 32));
}

/* Is the disk as large as boot_info says? */
static bool large_enough(struct kernel *k)
{
	const struct disk_info *d = &k->info->disk;
	uint64_t sectors = get32(k, VIRTIO_MMIO_CONFIG) | (uint64_t)get32(k, VIRTIO_MMIO_CONFIG + 4) << 32;

	return d->file_pages + d->swap_pages <= sectors / (PAGE_SIZE / VIRTIO_BLK_SECTOR);
}

/* What is the same in all of a request's lives. */
static void prepare_descriptors(struct kernel *k)
{
	struct block_driver *b = k->block;
	struct vring_desc *d = hal_arena(k->hal, b->rings + AT_DESC);

	bytes_zero(d, PAGE_SIZE);
	for (uint16_t i = 0; i < REQUESTS; i++, d += DESCS) {
		uint16_t first = (uint16_t)(i * DESCS);

		d[0] = (struct vring_desc){ b->gpa + offsetof(struct block_driver, header) + i * sizeof(b->header[0]),
					    sizeof(b->header[0]), VRING_DESC_NEXT, (uint16_t)(first + 1) };
		d[1].next = (uint16_t)(first + 2);
		d[2] = (struct vring_desc){ b->gpa + offsetof(struct block_driver, status) + i, sizeof(b->status[0]),
					    VRING_DESC_WRITE, 0 };
		b->free[i] = (uint8_t)i;
		b->busy[i] = false;
	}
	b->nfree = REQUESTS;
	b->sent = b->seen = 0;
}

static bool queue_start(struct kernel *k)
{
	uint64_t rings = k->block->rings;

	prepare_descriptors(k);
	put32(k, VIRTIO_MMIO_QUEUE_SEL, 0);
	if (get32(k, VIRTIO_MMIO_QUEUE_NUM_MAX) < QUEUE_SIZE)
		return false;
	put32(k, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
	put_address(k, VIRTIO_MMIO_QUEUE_DESC, rings + AT_DESC);
	put_address(k, VIRTIO_MMIO_QUEUE_DRIVER, rings + AT_AVAIL);
	put_address(k, VIRTIO_MMIO_QUEUE_DEVICE, rings + AT_USED);
	put32(k, VIRTIO_MMIO_QUEUE_READY, 1);
	return get32(k, VIRTIO_MMIO_QUEUE_READY) == 1;
}

static void set_up(struct kernel *k)
{
	put32(k, VIRTIO_MMIO_STATUS, 0);
	k->block->running = negotiate(k) && large_enough(k) && queue_start(k);
	put32(k, VIRTIO_MMIO_STATUS,
	      k->block->running ? VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK :
				  VIRTIO_FAILED);
}

void block_start(struct kernel *k)
{
	uint64_t gpa, rings;

	if (!k->info->disk.registers || get32(k, VIRTIO_MMIO_MAGIC) != VIRTIO_MMIO_MAGIC_VALUE ||
	    get32(k, VIRTIO_MMIO_VERSION) != 2 || get32(k, VIRTIO_MMIO_DEVICE_ID) != VIRTIO_ID_BLOCK)
		return;
	gpa = heap_alloc(k, HEAP_BLOCK);
	rings = heap_alloc(k, HEAP_BLOCK);
	if (!gpa || !rings)
		return;
	k->block = hal_arena(k->hal, gpa);
	bytes_zero(k->block, sizeof(*k->block));
	k->block->gpa = gpa;
	k->block->rings = rings;
	set_up(k);
}

bool block_submit(struct kernel *k, bool write, uint64_t disk_page, uint64_t gfn, uint32_t npages, uint64_t cookie)
{
	struct block_driver *b = k->block;
	struct vring_avail *avail;
	struct vring_desc *data;
	uint8_t i;

	guest_assert(k->hal, npages && npages <= BLOCK_MAX_PAGES);
	if (!block_present(k) || !b->nfree)
		return false;
	i = b->free[--b->nfree];
	b->busy[i] = true;
	b->cookie[i] = cookie;
	b->status[i] = UINT8_MAX;
	b->header[i] = (struct virtio_blk_header){ .type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
						   .sector = disk_page * (PAGE_SIZE / VIRTIO_BLK_SECTOR) };
	data = (struct vring_desc *)hal_arena(k->hal, b->rings + AT_DESC) + i * DESCS + 1;
	data->addr = gfn << PAGE_SHIFT;
	data->len = npages << PAGE_SHIFT;
	data->flags = VRING_DESC_NEXT | (write ? 0 : VRING_DESC_WRITE);
	avail = hal_arena(k->hal, b->rings + AT_AVAIL);
	avail->ring[b->sent++ % QUEUE_SIZE] = (uint16_t)(i * DESCS);
	__atomic_store_n(&avail->idx, b->sent, __ATOMIC_RELEASE);
	put32(k, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	return true;
}

static void finish(struct kernel *k, uint32_t i, bool ok)
{
	struct block_driver *b = k->block;

	b->busy[i] = false;
	b->free[b->nfree++] = (uint8_t)i;
	block_done(k, b->cookie[i], ok);
}

static void look_at_used(struct kernel *k)
{
	struct block_driver *b = k->block;
	struct vring_used *used = hal_arena(k->hal, b->rings + AT_USED);

	while (b->running && b->seen != __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE)) {
		uint32_t id = used->ring[b->seen++ % QUEUE_SIZE].id;

		if (id % DESCS == 0 && id / DESCS < REQUESTS && b->busy[id / DESCS])
			finish(k, id / DESCS, b->status[id / DESCS] == VIRTIO_BLK_OK);
	}
}

/* Set the device up anew; what was under way has failed. block_done() finds it running. */
static void recover(struct kernel *k)
{
	struct block_driver *b = k->block;
	uint64_t cookie[REQUESTS];
	uint32_t n = 0;

	for (uint32_t i = 0; i < REQUESTS; i++)
		if (b->busy[i])
			cookie[n++] = b->cookie[i];
	set_up(k);
	for (uint32_t i = 0; i < n; i++)
		block_done(k, cookie[i], false);
}

void block_interrupt(struct kernel *k)
{
	uint32_t why;

	if (!block_present(k))
		return;
	why = get32(k, VIRTIO_MMIO_INTERRUPT_STATUS);
	if (!why)
		return;
	put32(k, VIRTIO_MMIO_INTERRUPT_ACK, why);
	if (why & VIRTIO_INT_USED)
		look_at_used(k);
	if (why & VIRTIO_INT_CONFIG && get32(k, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET)
		recover(k);
}
