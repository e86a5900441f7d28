/* SPDX-License-Identifier: MIT */
/*
 * device.c - the virtio-balloon device
 *
 * Problem: the host wants memory back from a guest that alone knows which pages it can spare; and what the guest says
 * may be wrong, late, or malice.
 *
 * Idea: the host writes a target into config space and interrupts; the driver sends arrays of 32-bit page numbers,
 * through the inflate queue pages that it gives up, through the deflate queue pages that it takes back. Each number is
 * checked by itself: beyond memory, in the arena, given twice, beyond the limit: counted in balloon_errors and not
 * done. What makes no sense as a whole (a malformed ring, an array that is none) makes the device need a reset.
 *
 * What a driver says it has (config field `actual`) is kept and believed by nobody; gmem knows the truth. With
 * MUST_TELL_HOST a page may not be touched before it was deflated. A reset empties the balloon: a driver that begins
 * again knows of no page in it.
 *
 * Statistics: the driver leaves a buffer on their queue; the device holds it until the host asks, returns it, and the
 * driver sends it back filled.
 *
 * Free pages. Through the reporting queue come buffers that the guest does not use now: their frames go at once, and
 * the buffers return. Hints are asked for: the host puts a new id into config space, the driver answers with that id,
 * buffers, and STOP; the device says DONE. Hints that belong to no id, or to an older one, are passed over. What a
 * buffer says must be whole pages outside the arena; each that is not is one error.
 *
 * With PAGE_POISON free pages hold a value that the guest will look for. If it is not 0, taken pages would come back
 * with zeros: so either nothing is taken (as in QEMU), or gmem writes the value when they come back.
 *
 * Invariants (tests/unit/test_balloon.c, tests/unit/test_balloon_free.c, tests/fuzz/test_virtio_fuzz.c): at most
 * max_pages are in the balloon; each notification costs time bounded by the sizes of queue and memory, whatever is in
 * it.
 *
 * Source: VIRTIO 1.2, section 5.5; Linux drivers/virtio/virtio_balloon.c for how drivers behave.
 */
#include "balloon/device.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* Linux sends 256 page numbers at a time; more than this is no array of a driver in its right mind. */
#define MOST_PFNS  4096
#define MOST_STATS 64

/* Ids of hints count up from here, as in QEMU. */
#define FIRST_CMD_ID 0x80000000u

enum hinting { HINTS_OFF, HINTS_ASKED, HINTS_ON };

struct balloon_device {
	struct virtio_device virtio; /* first */
	struct gmem *gmem;
	struct counters *c;
	uint64_t max_pages;
	uint32_t target, actual, cmd_id, poison_val; /* config space */
	bool keep_poisoned, fixed_queues;
	enum hinting hinting;
	uint32_t last_id;    /* of hints asked for; 0: none yet */
	uint64_t free_pages; /* that this notification may still say are free */
	bool holds_stats;	 /* the driver's buffer, until the host asks */
	uint16_t stats_head;
	bool has_stat[BALLOON_S_TAGS];
	uint64_t stat[BALLOON_S_TAGS];
	struct virtqueue_chain chain; /* the one being served */
};

static struct balloon_device *balloon(struct virtio_device *d)
{
	return (struct balloon_device *)d;
}

static uint8_t config_read(struct virtio_device *d, unsigned offset)
{
	const struct balloon_device *b = balloon(d);
	const uint32_t field[] = { b->target, b->actual, b->cmd_id, b->poison_val };

	return (uint8_t)(field[offset / 4] >> offset % 4 * 8);
}

static void config_write(struct virtio_device *d, unsigned offset, uint8_t value)
{
	struct balloon_device *b = balloon(d);
	bool poison = offset >= VIRTIO_BALLOON_POISON_VAL && d->features & VIRTIO_BALLOON_F_PAGE_POISON;
	uint32_t *field = poison ? &b->poison_val : &b->actual;
	unsigned shift = offset % 4 * 8;

	/* The other fields are the host's. */
	if (!poison && offset - VIRTIO_BALLOON_ACTUAL >= 4) {
		b->c->balloon_errors++;
		return;
	}
	*field = (*field & ~(0xffu << shift)) | (uint32_t)value << shift;
	if (poison)
		gmem_set_poison(b->gmem, b->poison_val);
}

static void violated(struct virtio_device *d)
{
	balloon(d)->c->balloon_errors++;
}

static void broken(struct balloon_device *b)
{
	b->c->balloon_errors++;
	virtio_needs_reset(&b->virtio);
}

static void take_pages(struct balloon_device *b, const uint32_t *pfn, unsigned n, bool inflate)
{
	for (unsigned i = 0; i < n; i++) {
		int err;

		if (inflate && b->c->balloon_actual >= b->max_pages)
			err = -ENOSPC;
		else
			err = inflate ? gmem_balloon(b->gmem, pfn[i]) : gmem_deflate(b->gmem, pfn[i]);
		/* Without MUST_TELL_HOST a touch may have come before. */
		if (!inflate && err == -EALREADY && !(b->virtio.features & VIRTIO_BALLOON_F_MUST_TELL_HOST))
			err = 0;
		b->c->balloon_errors += err != 0;
	}
}

/* One chain of page numbers; false: it is none. */
static bool serve_pages(struct balloon_device *b, struct virtqueue *q, bool inflate)
{
	const struct virtqueue_chain *c = &b->chain;
	uint32_t pfn[256];

	if (c->nwrite || !c->read_len || c->read_len % sizeof(*pfn) || c->read_len > MOST_PFNS * sizeof(*pfn))
		return false;
	for (uint64_t at = 0; at < c->read_len; at += sizeof(pfn)) {
		uint32_t len = (uint32_t)MIN(sizeof(pfn), c->read_len - at);

		if (virtqueue_read(q, c, at, pfn, len) != (int)len)
			return false;
		take_pages(b, pfn, len / sizeof(*pfn), inflate);
	}
	return true;
}

static void give_back(struct balloon_device *b, struct virtqueue *q, uint16_t head)
{
	bool interrupt;

	if (virtqueue_push(q, head, 0, &interrupt))
		broken(b);
	else if (interrupt)
		virtio_interrupt(&b->virtio, VIRTIO_INT_USED);
}

static bool serve_stats(struct balloon_device *b, struct virtqueue *q)
{
	const struct virtqueue_chain *c = &b->chain;
	struct virtio_balloon_stat s;

	if (c->nwrite || c->read_len % sizeof(s) || c->read_len > MOST_STATS * sizeof(s))
		return false;
	memset(b->has_stat, 0, sizeof(b->has_stat));
	for (uint64_t at = 0; at < c->read_len; at += sizeof(s)) {
		if (virtqueue_read(q, c, at, &s, sizeof(s)) != sizeof(s))
			return false;
		if (s.tag >= BALLOON_S_TAGS)
			continue; /* of a later specification */
		b->has_stat[s.tag] = true;
		b->stat[s.tag] = s.value;
	}
	b->c->balloon_reports++;
	if (b->has_stat[BALLOON_S_MEMFREE])
		b->c->balloon_guest_free = b->stat[BALLOON_S_MEMFREE] >> PAGE_SHIFT;
	/* Only one is ever needed. */
	if (b->holds_stats)
		give_back(b, q, b->stats_head);
	b->holds_stats = true;
	b->stats_head = c->head;
	return true;
}

/* Whether what the guest says is free may be taken. */
static bool may_take(struct balloon_device *b, uint64_t npages)
{
	if (!b->poison_val || !b->keep_poisoned)
		return true;
	b->c->balloon_poison_kept += npages;
	return false;
}

/* Buffers of free pages; false: no guest has so many. */
static bool serve_free(struct balloon_device *b, bool report)
{
	const struct virtqueue_chain *c = &b->chain;
	bool poison = b->poison_val;

	for (unsigned i = c->nread; i < c->nread + c->nwrite; i++) {
		gfn_t gfn = c->buffer[i].gpa >> PAGE_SHIFT;
		uint64_t n = c->buffer[i].len >> PAGE_SHIFT;
		int err = 0;

		if (n > b->free_pages)
			return false;
		b->free_pages -= n;
		if ((c->buffer[i].gpa | c->buffer[i].len) % PAGE_SIZE || !n)
			err = -EINVAL;
		else if (may_take(b, n))
			err = report ? gmem_report(b->gmem, gfn, n, poison) : gmem_hint(b->gmem, gfn, n, poison);
		b->c->balloon_errors += err != 0;
		if (err)
			continue;
		if (report)
			b->c->balloon_reported_pages += n;
		else
			b->c->balloon_hints += n;
	}
	return true;
}

static void end_hints(struct balloon_device *b, uint32_t why)
{
	b->hinting = HINTS_OFF;
	b->cmd_id = why;
	virtio_config_changed(&b->virtio);
}

/* The driver says which hints begin with this, or that it has no more. */
static bool serve_command(struct balloon_device *b, struct virtqueue *q)
{
	uint32_t id;

	if (b->chain.read_len != sizeof(id) || virtqueue_read(q, &b->chain, 0, &id, sizeof(id)) != sizeof(id))
		return false;
	if (id == b->cmd_id && b->hinting == HINTS_ASKED)
		b->hinting = HINTS_ON;
	else if (id == VIRTIO_BALLOON_CMD_STOP && b->hinting == HINTS_ON)
		end_hints(b, VIRTIO_BALLOON_CMD_DONE);
	return true;
}

static bool serve_hints(struct balloon_device *b, struct virtqueue *q)
{
	if (b->chain.nread && !serve_command(b, q))
		return false;
	return b->hinting != HINTS_ON || serve_free(b, false);
}

static bool serve(struct balloon_device *b, struct virtqueue *q, unsigned role)
{
	switch (role) {
	case BALLOON_STATS:
		return serve_stats(b, q);
	case BALLOON_FREE_PAGE:
		return serve_hints(b, q);
	case BALLOON_REPORTING:
		return !b->chain.nread && b->chain.nwrite && serve_free(b, true);
	default:
		return serve_pages(b, q, role == BALLOON_INFLATE);
	}
}

/* What queue number @queue is for; BALLOON_QUEUES: nothing. */
static unsigned role_of(const struct balloon_device *b, unsigned queue)
{
	unsigned role = 0;

	while (role < BALLOON_QUEUES &&
	       (!virtio_balloon_has_queue(b->virtio.features, role) ||
		virtio_balloon_queue(b->virtio.features, role, b->fixed_queues) != queue))
		role++;
	return role;
}

static void notify(struct virtio_device *d, unsigned queue)
{
	struct balloon_device *b = balloon(d);
	struct virtqueue *q = &d->queue[queue];
	unsigned role = role_of(b, queue);
	int got = 0;

	if (role == BALLOON_QUEUES) {
		violated(d);
		return;
	}
	b->free_pages = gmem_config(b->gmem)->npages;
	/* A driver on another CPU could go on adding: what one notification is worth is bounded. */
	for (unsigned i = 0; i < VIRTQUEUE_MAX && virtio_running(d); i++) {
		got = virtqueue_pop(q, &b->chain);
		if (got > 0 && !serve(b, q, role))
			got = -EINVAL;
		if (got <= 0)
			break;
		if (role != BALLOON_STATS)
			give_back(b, q, b->chain.head);
	}
	if (got < 0)
		broken(b);
}

static void reset(struct virtio_device *d)
{
	struct balloon_device *b = balloon(d);

	gmem_deflate_all(b->gmem);
	gmem_balloon_strict(b->gmem, false);
	gmem_set_poison(b->gmem, 0);
	b->actual = b->poison_val = 0;
	b->cmd_id = VIRTIO_BALLOON_CMD_STOP;
	b->hinting = HINTS_OFF;
	b->holds_stats = false;
}

static void started(struct virtio_device *d)
{
	gmem_balloon_strict(balloon(d)->gmem, d->features & VIRTIO_BALLOON_F_MUST_TELL_HOST);
}

static const struct virtio_ops balloon_ops = {
	.id = VIRTIO_ID_BALLOON,
	.nqueues = BALLOON_QUEUES,
	.config_size = VIRTIO_BALLOON_CONFIG,
	.config_read = config_read,
	.config_write = config_write,
	.notify = notify,
	.reset = reset,
	.started = started,
	.violated = violated,
};

struct balloon_device *balloon_new(struct gmem *g, const struct balloon_config *cfg)
{
	struct balloon_device *b = g_new0(struct balloon_device, 1);

	b->gmem = g;
	b->c = gmem_counters(g);
	b->max_pages = cfg->max_pages;
	b->keep_poisoned = cfg->keep_poisoned;
	b->fixed_queues = cfg->fixed_queues;
	b->virtio.ops = &balloon_ops;
	b->virtio.offered = VIRTIO_F_VERSION_1 | VIRTIO_BALLOON_F_STATS_VQ |
			    (cfg->must_tell ? VIRTIO_BALLOON_F_MUST_TELL_HOST : 0) |
			    (cfg->deflate_on_oom ? VIRTIO_BALLOON_F_DEFLATE_ON_OOM : 0) |
			    (cfg->free_page_hint ? VIRTIO_BALLOON_F_FREE_PAGE_HINT : 0) |
			    (cfg->poison ? VIRTIO_BALLOON_F_PAGE_POISON : 0) |
			    (cfg->reporting ? VIRTIO_BALLOON_F_REPORTING : 0);
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		b->virtio.queue[i].gmem = g;
	virtio_reset(&b->virtio);
	return b;
}

void balloon_free(struct balloon_device *b)
{
	g_free(b);
}

struct virtio_device *balloon_virtio(struct balloon_device *b)
{
	return &b->virtio;
}

void balloon_set_target(struct balloon_device *b, uint64_t npages)
{
	uint32_t target = (uint32_t)MIN(npages, MIN(b->max_pages, UINT32_MAX));

	b->c->balloon_target = target;
	if (target == b->target)
		return;
	b->target = target;
	virtio_config_changed(&b->virtio);
}

void balloon_poll_stats(struct balloon_device *b)
{
	if (!b->holds_stats || !virtio_running(&b->virtio))
		return;
	b->holds_stats = false;
	if (!b->virtio.queue[BALLOON_STATS].ready) /* it has this number however queues are numbered */
		return;
	give_back(b, &b->virtio.queue[BALLOON_STATS], b->stats_head);
}

void balloon_ask_hints(struct balloon_device *b)
{
	if (!virtio_running(&b->virtio) || !(b->virtio.features & VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return;
	b->last_id = b->last_id < FIRST_CMD_ID || b->last_id == UINT32_MAX ? FIRST_CMD_ID : b->last_id + 1;
	b->cmd_id = b->last_id;
	b->hinting = HINTS_ASKED;
	virtio_config_changed(&b->virtio);
}

void balloon_stop_hints(struct balloon_device *b)
{
	if (b->hinting != HINTS_OFF)
		end_hints(b, VIRTIO_BALLOON_CMD_STOP);
}

bool balloon_stat(const struct balloon_device *b, unsigned tag, uint64_t *value)
{
	if (tag >= BALLOON_S_TAGS || !b->has_stat[tag])
		return false;
	*value = b->stat[tag];
	return true;
}
