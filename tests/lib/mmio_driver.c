/* SPDX-License-Identifier: MIT */
/* mmio_driver.c - see mmio_driver.h */
#include "tests/lib/mmio_driver.h"

void mmio_negotiate(struct virtio_mmio *m, uint64_t features)
{
	mmio_put(m, VIRTIO_MMIO_STATUS, 0);
	mmio_put(m, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		mmio_put(m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		mmio_put(m, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
	}
	mmio_put(m, VIRTIO_MMIO_STATUS, MMIO_READY);
}

void mmio_set_queue(struct virtio_mmio *m, unsigned queue, uint32_t num, gpa_t rings)
{
	mmio_put(m, VIRTIO_MMIO_QUEUE_SEL, queue);
	mmio_put(m, VIRTIO_MMIO_QUEUE_NUM, num);
	mmio_put(m, VIRTIO_MMIO_QUEUE_DESC, (uint32_t)rings);
	mmio_put(m, VIRTIO_MMIO_QUEUE_DRIVER, (uint32_t)rings + 0x400);
	mmio_put(m, VIRTIO_MMIO_QUEUE_DEVICE, (uint32_t)rings + 0x800);
	mmio_put(m, VIRTIO_MMIO_QUEUE_READY, 1);
}

void mmio_start(struct virtio_mmio *m)
{
	mmio_put(m, VIRTIO_MMIO_STATUS, MMIO_READY | VIRTIO_DRIVER_OK);
}

unsigned mmio_send_head(struct virtio_mmio *m, const struct gmem *g, unsigned queue, uint16_t head)
{
	struct vring_avail *avail = mmio_avail(g, queue);
	uint16_t before = mmio_used(g, queue)->idx;

	avail->ring[avail->idx % MMIO_NUM] = head;
	avail->idx++;
	mmio_put(m, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	return (uint16_t)(mmio_used(g, queue)->idx - before);
}

unsigned mmio_send(struct virtio_mmio *m, const struct gmem *g, unsigned queue, struct vring_desc buffer)
{
	*mmio_desc(g, queue) = buffer;
	return mmio_send_head(m, g, queue, 0);
}
