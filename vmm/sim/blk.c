/* SPDX-License-Identifier: MIT */
/*
 * blk.c - a simulated VM's disk
 *
 * The device (vmm/virtio_blk.c) begins requests when the driver notifies; the model of [vm] disk-device says when each
 * is done, and it is ended then: in the free schedule as soon as the vCPU runs at or after that time, which ends turns
 * for it; in lockstep at the end of the VM's quantum, or when it has nothing else to do. Equal times end in the order
 * of their beginnings.
 *
 * A flush is done when everything begun before it is.
 */
#include "vmm/sim/blk.h"

#include <errno.h>

#include "mm/err.h"
#include "vmm/sim/disk.h"
#include "vmm/sim/sim.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_mmio.h"

struct pending {
	uint64_t done; /* ns */
	unsigned id;
};

struct sim_blk {
	struct sim_vm *vm;
	struct disk_image *image;
	struct virtio_blk *device;
	struct virtio_mmio mmio;
	struct disk disk;
	struct counters *c;
	GArray *pending; /* of struct pending, by time */
	uint64_t now;	 /* ns, while the guest writes a register */
	bool interrupt;
};

struct disk_info sim_blk_info(const struct conf_vm *vm)
{
	if (!vm->disk && !vm->guest_swap)
		return (struct disk_info){ .registers = 0 };
	return (struct disk_info){ SIM_BLK_GPA, vm->disk / PAGE_SIZE, vm->guest_swap / PAGE_SIZE };
}

static void raise_interrupt(void *ctx)
{
	((struct sim_blk *)ctx)->interrupt = true;
}

static uint64_t last_done(const struct sim_blk *b)
{
	return b->pending->len ? g_array_index(b->pending, struct pending, b->pending->len - 1).done : b->now;
}

static void begin(void *ctx, unsigned id, bool write, uint64_t first, uint64_t npages)
{
	struct sim_blk *b = ctx;
	struct pending p = { .id = id };
	guint at = b->pending->len;

	p.done = npages ? disk_submit(&b->disk, b->now, write, first, npages).done : MAX(last_done(b), b->now);
	b->c->blk_ns += p.done - b->now;
	while (at && g_array_index(b->pending, struct pending, at - 1).done > p.done)
		at--;
	g_array_insert_val(b->pending, at, p);
}

/* As for what comes from the host's swap (swap.c). */
static void read_image(void *ctx, uint64_t first, uint64_t npages)
{
	struct sim_blk *b = ctx;
	struct sim_vcpu *v = b->vm->sim->running;
	uint64_t now = b->disk.alone || !v ? 0 : sim_cycles_to_ns(b->vm->sim, sim_clock(v));
	struct disk_times t = disk_submit(&b->disk, now, false, first, npages);

	if (v)
		sim_wait(v, sim_ns_to_cycles(b->vm->sim, t.done - now));
}

static void cancel(void *ctx)
{
	g_array_set_size(((struct sim_blk *)ctx)->pending, 0);
}

int sim_blk_init(struct sim_vm *vm)
{
	const struct conf_vm *c = vm->conf;
	const struct disk_image_config cfg = {
		.file_pages = c->disk / PAGE_SIZE,
		.swap_pages = c->guest_swap / PAGE_SIZE,
		.content = vm_disk_content(c),
		.key = rng_mix(vm->script->seed ^ rng_mix(c->disk)),
	};
	struct sim_blk *b;
	struct virtio_blk_host host = { .begin = begin, .read = read_image, .cancel = cancel };
	struct virtio_device *d;

	if (!cfg.file_pages && !cfg.swap_pages)
		return 0;
	b = g_new0(struct sim_blk, 1);
	vm->blk = b;
	b->vm = vm;
	b->c = &vm->counters;
	b->pending = g_array_new(FALSE, FALSE, sizeof(struct pending));
	disk_init(&b->disk, disk_profiles[c->disk_device],
		  vm->sim->run->e->experiment.schedule == SCHEDULE_LOCKSTEP);
	b->image = disk_image_new(&cfg);
	if (!b->image)
		return ERR(-ENOMEM);
	host.ctx = b;
	b->device = virtio_blk_new(vm->gmem, b->image, &host, vm->out->name);
	if (!b->device)
		return ERR(-ENOMEM);
	d = virtio_blk_virtio(b->device);
	d->interrupt = raise_interrupt;
	d->ctx = b;
	virtio_mmio_init(&b->mmio, d);
	return 0;
}

void sim_blk_free(struct sim_blk *b)
{
	if (!b)
		return;
	virtio_blk_free(b->device);
	disk_image_free(b->image);
	disk_destroy(&b->disk);
	g_array_unref(b->pending);
	g_free(b);
}

uint32_t sim_blk_read(struct sim_blk *b, uint64_t gpa)
{
	return (uint32_t)virtio_mmio_read(&b->mmio, gpa - SIM_BLK_GPA, 4);
}

void sim_blk_write(struct sim_blk *b, uint64_t gpa, uint32_t value, uint64_t now)
{
	b->now = now;
	virtio_mmio_write(&b->mmio, gpa - SIM_BLK_GPA, value, 4);
}

bool sim_blk_tick(struct sim_blk *b, uint64_t now)
{
	bool interrupt;

	while (sim_blk_next(b) <= now) {
		unsigned id = g_array_index(b->pending, struct pending, 0).id;

		g_array_remove_index(b->pending, 0);
		virtio_blk_end(b->device, id);
	}
	interrupt = b->interrupt;
	b->interrupt = false;
	return interrupt;
}

uint64_t sim_blk_next(const struct sim_blk *b)
{
	return b->pending->len ? g_array_index(b->pending, struct pending, 0).done : UINT64_MAX;
}

const struct disk_image *sim_blk_image(const struct sim_blk *b)
{
	return b->image;
}
