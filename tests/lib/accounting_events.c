/* SPDX-License-Identifier: MIT */
/* accounting_events.c - what may happen in the world of accounting.h */
#include <errno.h>
#include <string.h>

#include "tests/lib/accounting_impl.h"
#include "tests/lib/must.h"

#define NUM	 16u /* entries of a queue */
#define QUEUE(n) (0x10000ull + (n) * 0x1000) /* descriptors; available ring at + 0x400, used ring at + 0x800 */
#define BUFFER	 0x40000ull

static uint64_t below(struct world *w, uint64_t n)
{
	return rng_below(&w->rng, n);
}

static struct guest *any_guest(struct world *w)
{
	return &w->vm[below(w, VMS)];
}

/* Half of the time one of a few, so that things happen to the same page. */
static gfn_t any_page(struct world *w)
{
	return ARENA + (below(w, 2) ? below(w, PAGES - ARENA) : 600 + below(w, 100));
}

/* Contents of a few kinds: often those of other pages, often hard to compress. */
static uint64_t any_value(struct world *w)
{
	switch (below(w, 4)) {
	case 0:
		return below(w, 12);
	case 1:
		return DENSE | below(w, 12);
	case 2:
		return rng_u64(&w->rng) | DENSE;
	default:
		return rng_u64(&w->rng) & ~DENSE;
	}
}

/* Did it take place? Else it must have been refused for a reason that there is. */
static bool went(struct world *w, const struct guest *v, gfn_t gfn, int err)
{
	if (!err)
		return true;
	must(err == -ENOMEM || err == -EIO || (err == -EPERM && v->state[gfn] == PAGE_BALLOONED));
	w->refused++;
	return false;
}

static void access_page(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);
	bool write = below(w, 3) == 0;
	struct gmem_page page;
	uint64_t *bytes;
	hfn_t hfn;

	if (!went(w, v, gfn, guest_access(v, gfn, write, &hfn)))
		return;
	must(gmem_lookup(v->g, gfn, &page) == 0);
	must_eq(hfn, page.hfn);
	must(page.access && (!write || page.access & ACC_W));
	bytes = (uint64_t *)fake_machine_page(w->fm, hfn);
	must_eq(bytes[5], v->value[gfn]);
	if (write) {
		v->value[gfn] = any_value(w);
		page_fill(bytes, v->value[gfn]);
	}
	world_queue(w, v->id, gfn);
}

static void dma(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);
	uint64_t value = any_value(w), gpa = gfn << PAGE_SHIFT, got, bytes[PAGE_SIZE / 8];

	world_queue(w, v->id, gfn);
	if (below(w, 2)) {
		page_fill(bytes, value);
		if (went(w, v, gfn, gmem_write(v->g, gpa, bytes, sizeof(bytes))))
			v->value[gfn] = value;
	} else if (went(w, v, gfn, gmem_read(v->g, gpa + 40, &got, 8))) {
		must_eq(got, v->value[gfn]);
	}
}

static void release(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);
	int err = gmem_release(v->g, gfn);

	must(err == 0 || (err == -EPERM && v->state[gfn] == PAGE_BALLOONED));
}

static void move(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);
	int err = gmem_move(v->g, gfn, 0);

	must(err == 0 || err == -ENOMEM || err == -EIO || (err == -EBUSY && v->state[gfn] != PAGE_RESIDENT));
	w->refused += err == -ENOMEM || err == -EIO;
	world_queue(w, v->id, gfn);
}

static void ask_young(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);

	if (below(w, 2))
		gmem_test_clear_young(v->g, gfn);
	else
		gmem_observe_young(v->g, gfn);
	world_queue(w, v->id, gfn);
}

static void unmerge(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);
	int err = gmem_unshare(v->g, gfn);

	must(err == 0 || err == -ENOMEM || err == -EIO);
	world_queue(w, v->id, gfn);
}

static void queue_block(struct world *w, const struct guest *v, gfn_t gfn)
{
	gfn &= ~511ull;
	for (unsigned i = 0; i < 512; i++)
		world_queue(w, v->id, gfn + i);
}

static void collapse(struct world *w)
{
	const struct collapse_limits limits = { 511, 512, 512 };
	struct guest *v = &w->vm[KIND_NPT];
	gfn_t gfn = any_page(w);
	int err = gmem_collapse_within(v->g, gfn, 2, &limits);

	must(err == 0 || err == -ENOMEM || err == -EAGAIN || err == -EIO);
	queue_block(w, v, gfn);
}

static void split(struct world *w)
{
	struct guest *v = &w->vm[KIND_NPT];
	gfn_t gfn = any_page(w);

	gmem_split(v->g, gfn);
	queue_block(w, v, gfn);
}

static void scan(struct world *w)
{
	w->dedup->ops->scan(w->dedup, 1 + below(w, 60));
}

static void put(struct guest *v, uint64_t reg, uint32_t value)
{
	virtio_mmio_write(&v->mmio, reg, value, 4);
}

void driver_start(struct guest *v)
{
	static const uint64_t features = VIRTIO_F_VERSION_1 | VIRTIO_BALLOON_F_MUST_TELL_HOST |
					 VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	const uint32_t ready = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;

	memset(gmem_arena(v->g) + QUEUE(0), 0, 5 * 0x1000);
	put(v, VIRTIO_MMIO_STATUS, 0);
	put(v, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		put(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		put(v, VIRTIO_MMIO_DRIVER_FEATURES,
		    (uint32_t)((features & balloon_virtio(v->balloon)->offered) >> 32 * i));
	}
	put(v, VIRTIO_MMIO_STATUS, ready);
	for (unsigned i = 0; i < 3; i++) {
		put(v, VIRTIO_MMIO_QUEUE_SEL, i);
		put(v, VIRTIO_MMIO_QUEUE_NUM, NUM);
		put(v, VIRTIO_MMIO_QUEUE_DESC, (uint32_t)QUEUE(i));
		put(v, VIRTIO_MMIO_QUEUE_DRIVER, (uint32_t)QUEUE(i) + 0x400);
		put(v, VIRTIO_MMIO_QUEUE_DEVICE, (uint32_t)QUEUE(i) + 0x800);
		put(v, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	put(v, VIRTIO_MMIO_STATUS, ready | VIRTIO_DRIVER_OK);
}

static void send(struct guest *v, unsigned queue, const struct vring_desc *d)
{
	struct vring_avail *avail = (struct vring_avail *)(gmem_arena(v->g) + QUEUE(queue) + 0x400);

	memcpy(gmem_arena(v->g) + QUEUE(queue), d, sizeof(*d));
	avail->ring[avail->idx % NUM] = 0;
	avail->idx++;
	put(v, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* The driver gives up pages, or takes them back; now and then one that it cannot. */
static void balloon(struct world *w, unsigned queue)
{
	struct guest *v = any_guest(w);
	uint32_t *pfn = (uint32_t *)(gmem_arena(v->g) + BUFFER), n = 1 + (uint32_t)below(w, 8);
	const struct vring_desc d = { .addr = BUFFER, .len = n * 4 };

	for (uint32_t i = 0; i < n; i++)
		pfn[i] = (uint32_t)(below(w, 50) ? any_page(w) : below(w, 2 * PAGES));
	send(v, queue, &d);
}

static void inflate(struct world *w)
{
	balloon(w, 0);
}

static void deflate(struct world *w)
{
	balloon(w, 1);
}

/* Rings of rubbish, registers at random, or a driver that starts anew. */
static void hostile(struct world *w)
{
	struct guest *v = any_guest(w);
	struct vring_desc d = { rng_u64(&w->rng), (uint32_t)rng_u64(&w->rng), (uint16_t)below(w, 8),
				(uint16_t)below(w, 32) };

	switch (below(w, 4)) {
	case 0:
		d.addr = BUFFER + below(w, 4096);
		d.len = (uint32_t)below(w, 100);
		/* fall through */
	case 1:
		send(v, (unsigned)below(w, 3), &d);
		break;
	case 2:
		put(v, below(w, 0x200) & ~3ull, (uint32_t)below(w, 1 << 16));
		break;
	default:
		driver_start(v);
	}
}

/* The guest says that pages are free: the host may take their contents, now or later. */
static void hint(struct world *w)
{
	struct guest *v = any_guest(w);
	gfn_t gfn = any_page(w);
	uint64_t n = 1 + below(w, 30);

	n = MIN(n, PAGES - gfn);
	for (uint64_t i = 0; i < n; i++) {
		v->hinted[gfn + i] = true;
		world_queue(w, v->id, gfn + i);
	}
	must((below(w, 3) ? gmem_hint : gmem_report)(v->g, gfn, n, false) == 0);
}

static void drop_hinted(struct world *w)
{
	gmem_drop_hinted(w->fr, 1 + below(w, 8));
}

static void balance(struct world *w)
{
	swap_reclaimer(w->swap)->ops->balance(swap_reclaimer(w->swap));
}

static void limit(struct world *w)
{
	must(swap_set_limit(w->swap, (unsigned)below(w, VMS), below(w, 2) ? UINT64_MAX : below(w, 800)) == 0);
}

static void dirty_log(struct world *w)
{
	struct guest *v = any_guest(w);
	uint64_t bitmap[PAGES / 64];

	if (!gmem_dirty_logging(v->g))
		must(gmem_dirty_log_start(v->g) == 0);
	else if (below(w, 3))
		gmem_dirty_log_collect(v->g, bitmap);
	else
		gmem_dirty_log_stop(v->g);
}

static void fail_soon(struct world *w)
{
	uint64_t *const in[] = { &w->fm->fail_populate_in, &w->fm->fail_move_in, &w->fm->fail_unshare_in,
				 &w->fm->fail_save_in, &w->fm->fail_load_in };

	*in[below(w, G_N_ELEMENTS(in))] = 1 + below(w, 10);
}

/* Somebody takes all frames that are free, and gives them back after some events. */
static void hog(struct world *w)
{
	hfn_t hfn;

	for (guint i = 0; i < w->hog->len; i++)
		frames_release(w->fr, g_array_index(w->hog, hfn_t, i), 1);
	g_array_set_size(w->hog, 0);
	if (w->hog_until) {
		w->hog_until = 0;
		return;
	}
	while (!frames_alloc(w->fr, 1, 0, false, FRAME_OWNER(FRAME_TABLE, 0xffff, 0), &hfn))
		g_array_append_val(w->hog, hfn);
	w->hog_until = w->event + 1 + below(w, 60);
}

static const struct {
	void (*happen)(struct world *w);
	unsigned weight;
	bool may_release;
} events[] = {
	{ access_page, 6000, false }, { dma, 800, false },	{ release, 300, true },	    { move, 300, false },
	{ ask_young, 600, false },    { unmerge, 50, false },	{ collapse, 5, false },	    { split, 20, false },
	{ scan, 400, false },	      { inflate, 150, true },	{ deflate, 200, false },    { hostile, 60, true },
	{ hint, 60, true },	      { drop_hinted, 20, false }, { balance, 300, false },  { limit, 2, false },
	{ dirty_log, 10, false },     { fail_soon, 100, false }, { hog, 3, false },
};

void any_event(struct world *w)
{
	unsigned sum = 0, at = 0;
	uint64_t draw;

	if (w->hog_until && w->event >= w->hog_until)
		hog(w);
	for (unsigned i = 0; i < G_N_ELEMENTS(events); i++)
		sum += events[i].weight;
	for (draw = below(w, sum); draw >= events[at].weight; at++)
		draw -= events[at].weight;
	w->may_release = events[at].may_release;
	events[at].happen(w);
}
