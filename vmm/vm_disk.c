/* SPDX-License-Identifier: MIT */
/*
 * vm_disk.c - a VM's disk
 *
 * The device (vmm/virtio_blk.c) begins requests when the driver notifies; the model of [vm] disk-device says when each
 * is done, and the machine has it ended then: in the free schedule as soon as it can after that time, in lockstep at
 * the end of the VM's quantum, or when it has nothing else to do. Equal times end in the order
 * of their beginnings.
 *
 * A flush is done when everything begun before it is.
 */
#include "vmm/vm_disk.h"

#include <errno.h>

#include "mm/err.h"
#include "vmm/disk_model.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_mmio.h"

struct pending {
	uint64_t done; /* ns */
	unsigned id;
};

struct vm_disk {
	struct vm_disk_config cfg;
	struct disk_image *image;
	struct virtio_blk *device;
	struct virtio_mmio mmio;
	struct disk disk;
	struct counters *c;
	GArray *pending; /* of struct pending, by time */
	uint64_t now;	 /* ns, while the guest writes a register */
	bool interrupt;
};

struct disk_info vm_disk_info(const struct conf_vm *vm, gpa_t registers)
{
	if (!vm->disk && !vm->guest_swap)
		return (struct disk_info){ .registers = 0 };
	return (struct disk_info){ registers, vm->disk / PAGE_SIZE, vm->guest_swap / PAGE_SIZE };
}

static void raise_interrupt(void *ctx)
{
	((struct vm_disk *)ctx)->interrupt = true;
}

static uint64_t last_done(const struct vm_disk *b)
{
	return b->pending->len ? g_array_index(b->pending, struct pending, b->pending->len - 1).done : b->now;
}

static void begin(void *ctx, unsigned id, bool write, uint64_t first, uint64_t npages)
{
	struct vm_disk *b = ctx;
	struct pending p = { .id = id };
	guint at = b->pending->len;

	p.done = npages ? disk_submit(&b->disk, b->now, write, first, npages).done : MAX(last_done(b), b->now);
	b->c->blk_ns += p.done - b->now;
	while (at && g_array_index(b->pending, struct pending, at - 1).done > p.done)
		at--;
	g_array_insert_val(b->pending, at, p);
}

static void read_image(void *ctx, uint64_t first, uint64_t npages)
{
	struct vm_disk *b = ctx;
	uint64_t now = b->cfg.lockstep ? 0 : b->cfg.now(b->cfg.ctx);
	struct disk_times t = disk_submit(&b->disk, now, false, first, npages);

	if (b->cfg.wait)
		b->cfg.wait(b->cfg.ctx, t.done - now);
}

static void cancel(void *ctx)
{
	g_array_set_size(((struct vm_disk *)ctx)->pending, 0);
}

int vm_disk_new(const struct vm_disk_config *cfg, struct vm_disk **out)
{
	const struct conf_vm *c = cfg->conf;
	const struct disk_image_config image = {
		.file_pages = c->disk / PAGE_SIZE,
		.swap_pages = c->guest_swap / PAGE_SIZE,
		.content = vm_disk_content(c),
		.key = rng_mix(cfg->seed ^ rng_mix(c->disk)),
	};
	struct virtio_blk_host host = { .begin = begin, .read = read_image, .cancel = cancel };
	struct virtio_device *d;
	struct vm_disk *b;

	*out = NULL;
	if (!image.file_pages && !image.swap_pages)
		return 0;
	b = g_new0(struct vm_disk, 1);
	*out = b;
	b->cfg = *cfg;
	b->c = gmem_counters(cfg->gmem);
	b->pending = g_array_new(FALSE, FALSE, sizeof(struct pending));
	disk_init(&b->disk, disk_profiles[c->disk_device], cfg->lockstep);
	b->image = disk_image_new(&image);
	if (!b->image)
		return ERR(-ENOMEM);
	host.ctx = b;
	b->device = virtio_blk_new(cfg->gmem, b->image, &host, cfg->name);
	if (!b->device)
		return ERR(-ENOMEM);
	d = virtio_blk_virtio(b->device);
	d->interrupt = raise_interrupt;
	d->ctx = b;
	virtio_mmio_init(&b->mmio, d);
	return 0;
}

void vm_disk_free(struct vm_disk *b)
{
	if (!b)
		return;
	virtio_blk_free(b->device);
	disk_image_free(b->image);
	disk_destroy(&b->disk);
	g_array_unref(b->pending);
	g_free(b);
}

uint64_t vm_disk_read(struct vm_disk *b, uint64_t offset, unsigned len)
{
	return virtio_mmio_read(&b->mmio, offset, len);
}

void vm_disk_write(struct vm_disk *b, uint64_t offset, uint64_t value, unsigned len, uint64_t now)
{
	b->now = now;
	virtio_mmio_write(&b->mmio, offset, value, len);
}

bool vm_disk_tick(struct vm_disk *b, uint64_t now)
{
	bool interrupt;

	while (vm_disk_next(b) <= now) {
		unsigned id = g_array_index(b->pending, struct pending, 0).id;

		g_array_remove_index(b->pending, 0);
		virtio_blk_end(b->device, id);
	}
	interrupt = b->interrupt;
	b->interrupt = false;
	return interrupt;
}

uint64_t vm_disk_next(const struct vm_disk *b)
{
	return b->pending->len ? g_array_index(b->pending, struct pending, 0).done : UINT64_MAX;
}

const struct disk_image *vm_disk_image(const struct vm_disk *b)
{
	return b->image;
}
