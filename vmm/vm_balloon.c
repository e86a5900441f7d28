/* SPDX-License-Identifier: MIT */
/*
 * vm_balloon.c - a VM's balloon
 *
 * The registers lie where no memory is; the guest's accesses to them exit, and the machine brings them here. The device
 * serves a notification before the guest goes on. Its interrupt is one flag, delivered when the machine next looks: in
 * lockstep at the end of a quantum, or when the guest is idle.
 *
 * What the host wants is a pulse: nothing, from balloon-from on balloon-target, from balloon-until on nothing again;
 * with balloon-period this repeats.
 */
#include "vmm/vm_balloon.h"

#include "balloon/device.h"
#include "vmm/virtio_mmio.h"

struct vm_balloon {
	const struct conf_vm *vm;
	const struct conf_balloon *conf;
	struct balloon_device *device;
	struct virtio_mmio mmio;
	uint64_t next_change, next_stats, next_hints; /* ns */
	bool interrupt;
};

struct balloon_info vm_balloon_info(const struct experiment *e, const struct conf_vm *vm, gpa_t registers)
{
	if (!experiment_has_balloon(e, vm))
		return (struct balloon_info){ .registers = 0 };
	return (struct balloon_info){
		.registers = registers,
		.rate = e->balloon.rate,
		.interval_ns = e->balloon.interval_ns,
		.behaviour = (uint64_t)vm->balloon_behaviour,
		.refuses = (vm->reporting ? 0 : VIRTIO_BALLOON_F_REPORTING) |
			   (vm->free_page_hint ? 0 : VIRTIO_BALLOON_F_FREE_PAGE_HINT),
		.fixed_queues = (uint64_t)e->balloon.queues,
		.free_order = e->balloon.free_order,
		.report_delay_ns = e->balloon.report_delay_ns,
	};
}

static void raise_interrupt(void *ctx)
{
	((struct vm_balloon *)ctx)->interrupt = true;
}

struct vm_balloon *vm_balloon_new(const struct experiment *e, const struct conf_vm *vm, struct gmem *g)
{
	const struct balloon_config cfg = {
		.must_tell = e->balloon.must_tell,
		.deflate_on_oom = e->balloon.deflate_on_oom,
		.free_page_hint = e->balloon.free_page_hint,
		.reporting = e->balloon.reporting,
		.poison = e->balloon.page_poison,
		.keep_poisoned = e->balloon.poisoned,
		.fixed_queues = e->balloon.queues,
		.max_pages = balloon_limit(e, vm) / PAGE_SIZE,
	};
	struct vm_balloon *b;
	struct virtio_device *d;

	if (!experiment_has_balloon(e, vm))
		return NULL;
	b = g_new0(struct vm_balloon, 1);
	b->vm = vm;
	b->conf = &e->balloon;
	b->device = balloon_new(g, &cfg);
	b->next_stats = e->balloon.stats_ns;
	b->next_hints = e->balloon.free_page_hint && vm->free_page_hint ? e->balloon.hint_ns : UINT64_MAX;
	d = balloon_virtio(b->device);
	d->interrupt = raise_interrupt;
	d->ctx = b;
	virtio_mmio_init(&b->mmio, d);
	return b;
}

void vm_balloon_free(struct vm_balloon *b)
{
	if (b)
		balloon_free(b->device);
	g_free(b);
}

struct balloon_device *vm_balloon_device(const struct vm_balloon *b)
{
	return b ? b->device : NULL;
}

uint64_t vm_balloon_read(struct vm_balloon *b, uint64_t offset, unsigned len)
{
	return virtio_mmio_read(&b->mmio, offset, len);
}

void vm_balloon_write(struct vm_balloon *b, uint64_t offset, uint64_t value, unsigned len)
{
	virtio_mmio_write(&b->mmio, offset, value, len);
}

uint64_t vm_balloon_wanted(const struct conf_vm *vm, uint64_t now, uint64_t *next)
{
	uint64_t start = vm->balloon_from_ns, length = vm->balloon_until_ns - start;

	if (now < start) {
		*next = start;
		return 0;
	}
	*next = UINT64_MAX;
	if (!vm->balloon_until_ns)
		return vm->balloon_target / PAGE_SIZE;
	if (vm->balloon_period_ns)
		start += (now - start) / vm->balloon_period_ns * vm->balloon_period_ns;
	if (now - start < length) {
		*next = start + length;
		return vm->balloon_target / PAGE_SIZE;
	}
	if (vm->balloon_period_ns)
		*next = start + vm->balloon_period_ns;
	return 0;
}

bool vm_balloon_tick(struct vm_balloon *b, uint64_t now)
{
	bool interrupt;

	/* Else it is a policy that asks. */
	if (b->vm->balloon_target && now >= b->next_change)
		balloon_set_target(b->device, vm_balloon_wanted(b->vm, now, &b->next_change));
	if (b->conf->stats_ns && now >= b->next_stats) {
		balloon_poll_stats(b->device);
		b->next_stats = now + b->conf->stats_ns;
	}
	if (now >= b->next_hints) {
		balloon_ask_hints(b->device);
		b->next_hints = now + b->conf->hint_ns;
	}
	interrupt = b->interrupt;
	b->interrupt = false;
	return interrupt;
}

uint64_t vm_balloon_next(const struct vm_balloon *b, uint64_t now)
{
	uint64_t next;

	if (!b->vm->balloon_target)
		return b->next_hints;
	vm_balloon_wanted(b->vm, now, &next);
	return MIN(next, b->next_hints);
}
