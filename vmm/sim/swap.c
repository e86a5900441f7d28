/* SPDX-License-Identifier: MIT */
/*
 * swap.c - the simulated machine's part in swapping
 *
 * Contents. A slot has a pattern, as a frame has (machine.c): 16 bytes a page, whatever the device's size. Pages of
 * real bytes, which are few, have a copy in a table.
 *
 * Compression. A page's size in the compressed tier is what a compressor really makes of its bytes (compress.c).
 *
 * Time. A read lets the running vCPU wait until the device is done, a write only until the device accepts it; both are
 * billed as ns_swap. Meanwhile its CPU runs others (loop.c). In lockstep, where CPUs' clocks are not comparable, each
 * command finds an idle device.
 */
#include "vmm/sim/swap.h"

#include <errno.h>
#include <string.h>

#include "mm/err.h"
#include "mm/lazy.h"

static struct sim *to_sim(struct machine *m)
{
	return (struct sim *)m;
}

static bool is_bytes(struct pattern p)
{
	return PATTERN_FAMILY(p.base) == PATTERN_BYTES;
}

static uint8_t *frame_bytes(struct sim *s, hfn_t hfn)
{
	return frames_bytes(s->frames) + hfn * PAGE_SIZE;
}

int sim_save(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	if (device && disk_fails(&s->swap->disk, m->ops->now(m), true))
		return ERR(-EIO);
	s->swap->content[slot] = s->content[hfn];
	if (is_bytes(s->content[hfn]))
		g_hash_table_insert(s->swap->bytes, GSIZE_TO_POINTER(slot), g_memdup2(frame_bytes(s, hfn), PAGE_SIZE));
	return 0;
}

int sim_load(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	struct sim *s = to_sim(m);

	(void)vm;
	(void)gfn;
	if (device && disk_fails(&s->swap->disk, m->ops->now(m), false))
		return ERR(-EIO);
	s->content[hfn] = s->swap->content[slot];
	if (is_bytes(s->content[hfn]))
		memcpy(frame_bytes(s, hfn), g_hash_table_lookup(s->swap->bytes, GSIZE_TO_POINTER(slot)), PAGE_SIZE);
	return 0;
}

int sim_write_back(struct machine *m, uint64_t slot)
{
	(void)slot;
	return disk_fails(&to_sim(m)->swap->disk, m->ops->now(m), true) ? ERR(-EIO) : 0;
}

void sim_drop(struct machine *m, uint64_t slot)
{
	struct sim_swap *w = to_sim(m)->swap;

	if (is_bytes(w->content[slot]))
		g_hash_table_remove(w->bytes, GSIZE_TO_POINTER(slot));
	w->content[slot] = (struct pattern){ 0, 0 };
}

static void fill(struct pattern p, const void *bytes, uint64_t *page)
{
	if (!is_bytes(p)) {
		pattern_fill(p, page);
		return;
	}
	memcpy(page, bytes, PAGE_SIZE);
	page[0] = p.stamp;
}

int sim_peek(struct machine *m, uint64_t slot, void *page)
{
	struct sim_swap *w = to_sim(m)->swap;
	uint64_t words[PAGE_SIZE / 8];

	fill(w->content[slot], g_hash_table_lookup(w->bytes, GSIZE_TO_POINTER(slot)), words);
	memcpy(page, words, PAGE_SIZE);
	return 0;
}

unsigned sim_compressed_size(struct machine *m, hfn_t hfn)
{
	struct sim *s = to_sim(m);
	struct pattern p = s->content[hfn];
	uint64_t page[PAGE_SIZE / 8];

	if (!is_bytes(p))
		return compress_pattern(s->compress, p);
	fill(p, frame_bytes(s, hfn), page);
	return compress_bytes(s->compress, page);
}

void sim_swap_io(struct machine *m, bool write, uint64_t slot, uint64_t npages)
{
	struct sim *s = to_sim(m);
	struct sim_vcpu *v = s->running;
	bool lockstep = s->run->e->experiment.schedule == SCHEDULE_LOCKSTEP;
	uint64_t now = lockstep ? 0 : v ? sim_cycles_to_ns(s, sim_clock(v)) : s->now_ns;
	struct disk_times t;

	t = disk_submit(&s->swap->disk, now, write, slot, npages);
	if (v)
		sim_wait(v, sim_ns_to_cycles(s, (write ? t.accepted : t.done) - now));
}

int sim_swap_init(struct sim *s)
{
	const struct conf_swap *c = &s->run->e->swap;
	const struct disk_faults faults = {
		.read_ppm = (uint32_t)c->read_error_ppm,
		.write_ppm = (uint32_t)c->write_error_ppm,
		.fails_at = c->fails_at_ns,
	};
	struct sim_swap *w;

	if (!c->size)
		return 0;
	w = g_new0(struct sim_swap, 1);
	s->swap = w;
	disk_init(&w->disk, disk_profiles[c->device], s->run->e->experiment.schedule == SCHEDULE_LOCKSTEP);
	if (c->latency == SWAP_LATENCY_SPREAD)
		disk_vary(&w->disk, rng_mix(s->run->seed + 1));
	disk_break(&w->disk, &faults, rng_mix(s->run->seed + 2));
	w->nslots = c->size / PAGE_SIZE;
	w->bytes = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	w->content = lazy_new(w->nslots * sizeof(*w->content));
	return w->content ? 0 : ERR(-ENOMEM);
}

void sim_swap_destroy(struct sim *s)
{
	struct sim_swap *w = s->swap;

	if (!w)
		return;
	disk_destroy(&w->disk);
	g_hash_table_unref(w->bytes);
	lazy_free(w->content, w->nslots * sizeof(*w->content));
	g_free(w);
}
