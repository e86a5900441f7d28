/* SPDX-License-Identifier: MIT */
/*
 * virtqueue.h - the device's side of a split virtqueue in guest memory, and what every virtio device has
 *
 * Everything in the rings was written by a guest: indices, addresses, lengths and flags may be anything, and may
 * change between two looks. All of it is read through gmem, once, and checked. What is malformed breaks the queue:
 * nothing more is taken from it until the driver resets the device.
 */
#ifndef OVERBOOK_MM_VIRTQUEUE_H
#define OVERBOOK_MM_VIRTQUEUE_H

#include "mm/gmem.h"
#include "workloads/guest/virtio.h"

#define VIRTQUEUE_MAX 256 /* entries */

struct virtqueue {
	struct gmem *gmem;
	uint16_t num;		/* entries, as the driver chose; VIRTQUEUE_MAX after reset */
	bool ready, broken;
	gpa_t desc, avail, used; /* as the driver says; may lie anywhere */
	uint16_t next_avail, next_used;
};

struct virtqueue_buffer {
	gpa_t gpa;
	uint32_t len;
};

/* One chain of descriptors: what the device may read, then what it may write. All of it lies within guest memory. */
struct virtqueue_chain {
	uint16_t head;
	unsigned nread, nwrite; /* buffer[0, nread), buffer[nread, nread + nwrite) */
	uint64_t read_len, write_len;
	struct virtqueue_buffer buffer[VIRTQUEUE_MAX];
};

void virtqueue_reset(struct virtqueue *q);
/* The driver says that it is ready. -EINVAL if its rings cannot be: no power of two, misaligned, outside memory. */
int virtqueue_start(struct virtqueue *q);
/* The next chain: 1, or 0 if there is none. An error (-EINVAL, -EFAULT, or gmem's) breaks the queue. */
int virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *c);
/* Copy up to @len of what the device may read, from @offset on; the bytes copied, or an error. */
int virtqueue_read(struct virtqueue *q, const struct virtqueue_chain *c, uint64_t offset, void *buf, uint32_t len);
/* The chain that began at @head is done, @len bytes written. *@interrupt: the driver wants to know. */
int virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t len, bool *interrupt);

/* A device, whatever its transport. */
#define VIRTIO_QUEUES 5

struct virtio_device;

struct virtio_ops {
	uint32_t id; /* VIRTIO_ID_* */
	unsigned nqueues, config_size;
	/* Config space, within config_size; the driver may write anything anywhere. */
	uint8_t (*config_read)(struct virtio_device *d, unsigned offset);
	void (*config_write)(struct virtio_device *d, unsigned offset, uint8_t value);
	/* Queue number @queue has something new. The device is DRIVER_OK and the queue ready. */
	void (*notify)(struct virtio_device *d, unsigned queue);
	void (*reset)(struct virtio_device *d);
	/* The driver is ready: features are final. */
	void (*started)(struct virtio_device *d);
	/* The driver did something that the specification forbids. */
	void (*violated)(struct virtio_device *d);
};

struct virtio_device {
	const struct virtio_ops *ops;
	uint64_t offered, features; /* features: what the driver accepted */
	uint32_t status, interrupt_status, generation;
	struct virtqueue queue[VIRTIO_QUEUES];
	void (*interrupt)(void *ctx); /* the transport's: interrupt_status changed */
	void *ctx;
};

/* Raise VIRTIO_INT_* bits. */
void virtio_interrupt(struct virtio_device *d, uint32_t bits);
/* Config space changed: a new generation, and an interrupt if the driver runs. */
void virtio_config_changed(struct virtio_device *d);
/* The driver broke the rules beyond repair: nothing is served until it resets the device. */
void virtio_needs_reset(struct virtio_device *d);
void virtio_reset(struct virtio_device *d);
bool virtio_running(const struct virtio_device *d);

#endif
