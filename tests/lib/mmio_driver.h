/* SPDX-License-Identifier: MIT */
/* mmio_driver.h - what every driver does to a virtio-mmio device, for tests that are one */
#ifndef OVERBOOK_TESTS_MMIO_DRIVER_H
#define OVERBOOK_TESTS_MMIO_DRIVER_H

#include "mm/gmem.h"
#include "mm/virtqueue.h"
#include "vmm/virtio_mmio.h"

#define MMIO_NUM   16	/* entries of a queue */
#define MMIO_READY (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK)

/* Where queue @n has its rings, in the arena: descriptors; available ring at + 0x400, used ring at + 0x800. */
#define MMIO_QUEUE(n) (0x10000ull + (n) * 0x1000)

static inline void mmio_put(struct virtio_mmio *m, uint64_t reg, uint32_t value)
{
	virtio_mmio_write(m, reg, value, 4);
}

static inline uint32_t mmio_get(struct virtio_mmio *m, uint64_t reg)
{
	return (uint32_t)virtio_mmio_read(m, reg, 4);
}

/* Reset, acknowledge, accept @features; then queues are set up, and mmio_start() begins. */
void mmio_negotiate(struct virtio_mmio *m, uint64_t features);
void mmio_set_queue(struct virtio_mmio *m, unsigned queue, uint32_t num, gpa_t rings);
void mmio_start(struct virtio_mmio *m);

static inline struct vring_desc *mmio_desc(const struct gmem *g, unsigned queue)
{
	return (struct vring_desc *)(gmem_arena(g) + MMIO_QUEUE(queue));
}

static inline struct vring_avail *mmio_avail(const struct gmem *g, unsigned queue)
{
	return (struct vring_avail *)(gmem_arena(g) + MMIO_QUEUE(queue) + 0x400);
}

static inline struct vring_used *mmio_used(const struct gmem *g, unsigned queue)
{
	return (struct vring_used *)(gmem_arena(g) + MMIO_QUEUE(queue) + 0x800);
}

/* The chain that begins with descriptor @head is the device's. Returns how often the used ring moved at once. */
unsigned mmio_send_head(struct virtio_mmio *m, const struct gmem *g, unsigned queue, uint16_t head);
/* A chain of one buffer. */
unsigned mmio_send(struct virtio_mmio *m, const struct gmem *g, unsigned queue, struct vring_desc buffer);

#endif
