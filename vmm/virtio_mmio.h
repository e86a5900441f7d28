/* SPDX-License-Identifier: MIT */
/*
 * virtio_mmio.h - the MMIO transport, version 2: a virtio device's registers
 *
 * For whoever traps a guest's accesses. The driver may read and write anything, anywhere, in any width.
 */
#ifndef OVERBOOK_VMM_VIRTIO_MMIO_H
#define OVERBOOK_VMM_VIRTIO_MMIO_H

#include "mm/virtqueue.h"

struct virtio_mmio {
	struct virtio_device *device;
	uint32_t device_sel, driver_sel, queue_sel;
	uint64_t driver_features; /* as written; they count from FEATURES_OK on */
};

void virtio_mmio_init(struct virtio_mmio *m, struct virtio_device *d);

/* An access of @len bytes (1, 2, 4 or 8) at @offset of the registers. What is not there reads as zero. */
uint64_t virtio_mmio_read(struct virtio_mmio *m, uint64_t offset, unsigned len);
void virtio_mmio_write(struct virtio_mmio *m, uint64_t offset, uint64_t value, unsigned len);

#endif
