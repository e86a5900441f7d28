/* SPDX-License-Identifier: MIT */
/*
 * virtio_mmio.c - registers of a virtio device
 *
 * Problem: a driver sets a device up by writes to registers in an order that the specification gives; a hostile one
 * writes what it likes, when it likes.
 *
 * Idea: each register is one case. What is out of order is not done and counted (virtio_ops.violated): queues can be
 * changed only while they are not ready, features only before FEATURES_OK, status bits are only added but for the reset
 * by 0, and a queue is served only while the device runs. Registers are 32 bits wide; config space takes bytes.
 *
 * Source: VIRTIO 1.2, sections 2.1, 3.1 and 4.2.2. Invariants: tests/unit/test_balloon.c,
 * tests/fuzz/test_virtio_fuzz.c.
 */
#include "vmm/virtio_mmio.h"

#define VENDOR 0x4b424f56u /* "VOBK" */

void virtio_mmio_init(struct virtio_mmio *m, struct virtio_device *d)
{
	*m = (struct virtio_mmio){ .device = d };
}

/* The selected queue, or NULL. */
static struct virtqueue *selected(const struct virtio_mmio *m)
{
	return m->queue_sel < m->device->ops->nqueues ? &m->device->queue[m->queue_sel] : NULL;
}

static uint32_t half(uint64_t value, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(value >> 32 * sel);
}

static uint32_t read_register(const struct virtio_mmio *m, uint64_t offset)
{
	const struct virtio_device *d = m->device;
	const struct virtqueue *q = selected(m);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC:
		return VIRTIO_MMIO_MAGIC_VALUE;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return d->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half(d->offered, m->device_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? VIRTQUEUE_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q && q->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return d->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return d->status;
	case VIRTIO_MMIO_SHM_LEN:
	case VIRTIO_MMIO_SHM_LEN + 4:
	case VIRTIO_MMIO_SHM_BASE:
	case VIRTIO_MMIO_SHM_BASE + 4:
		return UINT32_MAX; /* there is no shared memory */
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return d->generation;
	default:
		return 0;
	}
}

uint64_t virtio_mmio_read(struct virtio_mmio *m, uint64_t offset, unsigned len)
{
	const struct virtio_ops *ops = m->device->ops;
	uint64_t value = 0, at = offset - VIRTIO_MMIO_CONFIG;

	if (offset < VIRTIO_MMIO_CONFIG)
		return len == 4 && offset % 4 == 0 ? read_register(m, offset) : 0;
	for (unsigned i = 0; i < len && i < 8; i++)
		if (at + i < ops->config_size)
			value |= (uint64_t)ops->config_read(m->device, (unsigned)(at + i)) << 8 * i;
	return value;
}

static void write_status(struct virtio_mmio *m, uint32_t value)
{
	struct virtio_device *d = m->device;
	uint32_t before = d->status;

	if (!value) {
		virtio_reset(d);
		virtio_mmio_init(m, d);
		return;
	}
	/* The driver cannot take back what it said, nor say that it needs a reset. */
	d->status |= value & (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK |
			      VIRTIO_FAILED);
	if (d->status & ~before & VIRTIO_FEATURES_OK) {
		if (m->driver_features & ~d->offered || !(m->driver_features & VIRTIO_F_VERSION_1)) {
			d->status &= ~(VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
			d->ops->violated(d);
		} else {
			d->features = m->driver_features;
		}
	}
	if (!(d->status & ~before & VIRTIO_DRIVER_OK))
		return;
	if (d->status & VIRTIO_FEATURES_OK) {
		d->ops->started(d);
	} else {
		d->status &= ~VIRTIO_DRIVER_OK;
		d->ops->violated(d);
	}
}

static void write_features(struct virtio_mmio *m, uint32_t value)
{
	unsigned shift = 32 * m->driver_sel;

	if (m->device->status & VIRTIO_FEATURES_OK || m->driver_sel > 1)
		m->device->ops->violated(m->device);
	else
		m->driver_features = (m->driver_features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void set_address(gpa_t *address, uint64_t offset, uint32_t value)
{
	if (offset % 8)
		*address = (*address & 0xffffffffull) | (uint64_t)value << 32;
	else
		*address = (*address & ~0xffffffffull) | value;
}

static void write_queue(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	struct virtio_device *d = m->device;
	struct virtqueue *q = selected(m);

	if (q && offset == VIRTIO_MMIO_QUEUE_READY && value != 1) {
		virtqueue_reset(q);
		return;
	}
	if (!q || q->ready) {
		d->ops->violated(d);
		return;
	}
	switch (offset & ~7ull) {
	case VIRTIO_MMIO_QUEUE_NUM & ~7ull: /* 0x038, 0x03c is none */
		q->num = value <= VIRTQUEUE_MAX ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC:
		set_address(&q->desc, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_DRIVER:
		set_address(&q->avail, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_DEVICE:
		set_address(&q->used, offset, value);
		break;
	default:
		if (virtqueue_start(q))
			d->ops->violated(d);
		break;
	}
}

static void write_notify(struct virtio_mmio *m, uint32_t queue)
{
	struct virtio_device *d = m->device;

	if (queue < d->ops->nqueues && d->queue[queue].ready && virtio_running(d))
		d->ops->notify(d, queue);
	else
		d->ops->violated(d);
}

static void write_register(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	struct virtio_device *d = m->device;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_features(m, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_READY:
	case VIRTIO_MMIO_QUEUE_DESC:
	case VIRTIO_MMIO_QUEUE_DESC + 4:
	case VIRTIO_MMIO_QUEUE_DRIVER:
	case VIRTIO_MMIO_QUEUE_DRIVER + 4:
	case VIRTIO_MMIO_QUEUE_DEVICE:
	case VIRTIO_MMIO_QUEUE_DEVICE + 4:
		write_queue(m, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		write_notify(m, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		d->interrupt_status &= ~value;
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(m, value);
		break;
	default:
		d->ops->violated(d);
		break;
	}
}

void virtio_mmio_write(struct virtio_mmio *m, uint64_t offset, uint64_t value, unsigned len)
{
	const struct virtio_ops *ops = m->device->ops;

	if (offset < VIRTIO_MMIO_CONFIG) {
		if (len == 4 && offset % 4 == 0)
			write_register(m, offset, (uint32_t)value);
		else
			ops->violated(m->device);
		return;
	}
	for (unsigned i = 0; i < len && i < 8; i++) {
		if (offset + i - VIRTIO_MMIO_CONFIG < ops->config_size)
			ops->config_write(m->device, (unsigned)(offset + i - VIRTIO_MMIO_CONFIG),
					  (uint8_t)(value >> 8 * i));
		else
			ops->violated(m->device);
	}
}
