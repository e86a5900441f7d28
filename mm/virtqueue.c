/* SPDX-License-Identifier: MIT */
/*
 * virtqueue.c - split virtqueues, seen by a device that believes nothing
 *
 * Problem: a guest hands the host chains of buffers through rings in its own memory. A hostile guest points them
 * beyond its memory, makes chains that never end, moves indices by any amount, and changes all of it meanwhile.
 *
 * Idea: every field is read through gmem exactly once into a local, checked, and used from there. A chain is at most as
 * long as its queue has entries, which ends loops. After the first thing that is malformed the queue is broken.
 *
 * Invariants (tests/unit/test_virtqueue.c, tests/fuzz/test_virtio_fuzz.c):
 *  - every buffer of a chain lies within guest memory, and readable ones come first;
 *  - a queue gives at most `num` chains for each move of avail.idx, whatever the guest writes;
 *  - nothing but the used ring is written.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 2.7.
 */
#include "mm/virtqueue.h"

#include <errno.h>
#include <glib.h>

#include "mm/err.h"

void virtqueue_reset(struct virtqueue *q)
{
	*q = (struct virtqueue){ .gmem = q->gmem, .num = VIRTQUEUE_MAX };
}

static bool within(const struct virtqueue *q, gpa_t gpa, uint64_t len)
{
	uint64_t size = gmem_config(q->gmem)->npages << PAGE_SHIFT;

	return gpa <= size && len <= size - gpa;
}

int virtqueue_start(struct virtqueue *q)
{
	unsigned n = q->num;

	if (!n || n > VIRTQUEUE_MAX || n & (n - 1))
		return ERR(-EINVAL);
	if (q->desc % 16 || q->avail % 2 || q->used % 4)
		return ERR(-EINVAL);
	if (!within(q, q->desc, n * sizeof(struct vring_desc)) ||
	    !within(q, q->avail, sizeof(struct vring_avail) + n * sizeof(uint16_t)) ||
	    !within(q, q->used, sizeof(struct vring_used) + n * sizeof(struct vring_used_elem)))
		return ERR(-EINVAL);
	q->ready = true;
	q->next_avail = q->next_used = 0;
	return 0;
}

static int read16(struct virtqueue *q, gpa_t gpa, uint16_t *value)
{
	return gmem_read(q->gmem, gpa, value, sizeof(*value));
}

/* The head of the next chain: 1; 0: there is none. */
static int next_head(struct virtqueue *q, uint16_t *head)
{
	uint16_t idx, slot = q->next_avail % q->num;
	int err = read16(q, q->avail + offsetof(struct vring_avail, idx), &idx);

	if (err)
		return err;
	if (idx == q->next_avail)
		return 0;
	if ((uint16_t)(idx - q->next_avail) > q->num)
		return ERR(-EINVAL);
	err = read16(q, q->avail + offsetof(struct vring_avail, ring) + slot * 2u, head);
	if (err)
		return err;
	return *head < q->num ? 1 : ERR(-EINVAL);
}

static int add_buffer(struct virtqueue *q, struct virtqueue_chain *c, const struct vring_desc *d)
{
	unsigned n = c->nread + c->nwrite;

	if (n == q->num || d->flags & VRING_DESC_INDIRECT || d->flags & ~7u)
		return ERR(-EINVAL);
	if (!within(q, d->addr, d->len))
		return ERR(-EFAULT);
	c->buffer[n] = (struct virtqueue_buffer){ d->addr, d->len };
	if (d->flags & VRING_DESC_WRITE) {
		c->nwrite++;
		c->write_len += d->len;
		return 0;
	}
	if (c->nwrite)
		return ERR(-EINVAL);
	c->nread++;
	c->read_len += d->len;
	return 0;
}

static int take(struct virtqueue *q, struct virtqueue_chain *c)
{
	struct vring_desc d;
	uint16_t i;
	int err = next_head(q, &i);

	if (err <= 0)
		return err;
	c->head = i;
	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	for (;;) {
		err = gmem_read(q->gmem, q->desc + i * sizeof(d), &d, sizeof(d));
		if (!err)
			err = add_buffer(q, c, &d);
		if (err)
			return err;
		if (!(d.flags & VRING_DESC_NEXT))
			break;
		if (d.next >= q->num)
			return ERR(-EINVAL);
		i = d.next;
	}
	q->next_avail++;
	return 1;
}

int virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *c)
{
	int err;

	if (!q->ready || q->broken)
		return 0;
	err = take(q, c);
	q->broken = err < 0;
	return err;
}

int virtqueue_read(struct virtqueue *q, const struct virtqueue_chain *c, uint64_t offset, void *buf, uint32_t len)
{
	uint8_t *to = buf;
	uint32_t done = 0;

	for (unsigned i = 0; i < c->nread && done < len; i++) {
		const struct virtqueue_buffer *b = &c->buffer[i];
		uint32_t n;
		int err;

		if (offset >= b->len) {
			offset -= b->len;
			continue;
		}
		n = (uint32_t)MIN(len - done, b->len - offset);
		err = gmem_read(q->gmem, b->gpa + offset, to + done, n);
		if (err)
			return err;
		done += n;
		offset = 0;
	}
	return (int)done;
}

int virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t len, bool *interrupt)
{
	const struct vring_used_elem e = { head, len };
	uint16_t slot = q->next_used % q->num, idx = (uint16_t)(q->next_used + 1), flags = 0;
	int err;

	*interrupt = false;
	if (!q->ready || q->broken)
		return ERR(-EINVAL);
	err = gmem_write(q->gmem, q->used + offsetof(struct vring_used, ring) + slot * sizeof(e), &e, sizeof(e));
	if (!err)
		err = gmem_write(q->gmem, q->used + offsetof(struct vring_used, idx), &idx, sizeof(idx));
	if (!err)
		err = read16(q, q->avail, &flags);
	q->broken = q->broken || err;
	q->next_used = idx;
	*interrupt = !err && !(flags & VRING_NO_INTERRUPT);
	return err;
}

void virtio_interrupt(struct virtio_device *d, uint32_t bits)
{
	d->interrupt_status |= bits;
	if (d->interrupt)
		d->interrupt(d->ctx);
}

void virtio_config_changed(struct virtio_device *d)
{
	d->generation++;
	if (virtio_running(d))
		virtio_interrupt(d, VIRTIO_INT_CONFIG);
}

void virtio_needs_reset(struct virtio_device *d)
{
	bool tell = d->status & VIRTIO_DRIVER_OK && !(d->status & VIRTIO_NEEDS_RESET);

	d->status |= VIRTIO_NEEDS_RESET;
	if (tell)
		virtio_interrupt(d, VIRTIO_INT_CONFIG);
}

void virtio_reset(struct virtio_device *d)
{
	d->features = 0;
	d->status = d->interrupt_status = 0;
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		virtqueue_reset(&d->queue[i]);
	d->ops->reset(d);
}

bool virtio_running(const struct virtio_device *d)
{
	return d->status & VIRTIO_DRIVER_OK && !(d->status & (VIRTIO_NEEDS_RESET | VIRTIO_FAILED));
}
