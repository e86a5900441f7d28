/* SPDX-License-Identifier: MIT */
/*
 * driver_free.c - the guest's balloon driver: free pages, reported and hinted
 *
 * Problem: tell the host which pages are free, without keeping the guest from using them, without saying the same
 * twice, and without looking at all of memory whenever a page is freed.
 *
 * Idea. Free memory is looked at in aligned blocks of 2^free_order pages, as far as all of a block is free; a part of
 * memory at a time, so that no more than `rate` pages are sent in each interval.
 *
 *	reports	begin report_delay after the first page was freed since the last time. A bitmap remembers the blocks
 *		that the host knows of; the allocator clears a block's bit when it hands out a page of it.
 *	hints	begin when the host has put a new id into config space: the driver repeats it, sends all free blocks
 *		that it has not reported, and STOP. If the host takes the id back, it ends at once.
 *
 * Linux takes the pages from its allocator while the host looks at them. Here the device serves a notification before
 * the notifying store returns, and nobody runs meanwhile: pages stay where they are. So there is nothing to give back
 * when the host says DONE.
 *
 * Invariants (tests/guest/test_balloon_free.c): a page reported or hinted is on the free list at that time; contents
 * of processes' pages are those of a run without any of this.
 *
 * Source: VIRTIO 1.2, 5.5.6.7 and 5.5.6.8; Linux mm/page_reporting.c (delay, batches of 32, blocks of pageblock_order).
 */
#include "balloon/driver.h"

#include "workloads/guest/balloon.h"

#define BITS_PER_PAGE (PAGE_SIZE * 8u)

static uint64_t block_pages(const struct kernel *k)
{
	return 1ull << k->info->balloon.free_order;
}

/* The bit of the block of @gfn in the bitmap of known blocks: its word, and where in it. */
static uint64_t *known_word(struct kernel *k, uint64_t gfn, unsigned *bit)
{
	uint64_t n = (gfn - k->alloc.first_gfn) >> k->info->balloon.free_order;
	uint64_t *map = hal_arena(k->hal, k->balloon->known);

	*bit = n % 64;
	return &map[n / 64];
}

static bool is_known(struct kernel *k, uint64_t gfn)
{
	const uint64_t *word;
	unsigned bit;

	if (!k->balloon->known)
		return false;
	word = known_word(k, gfn, &bit);
	return *word >> bit & 1;
}

void balloon_taken(struct kernel *k, uint64_t gfn, uint64_t npages)
{
	uint64_t end = gfn + npages;
	unsigned bit;

	if (!k->balloon || !k->balloon->known)
		return;
	for (gfn &= ~(block_pages(k) - 1); gfn < end; gfn += block_pages(k)) {
		uint64_t *word = known_word(k, gfn, &bit);

		*word &= ~(1ull << bit);
	}
}

/* Pages of the heap for the bitmap, in a row. 0: the heap has none to spare. */
static uint64_t bitmap_new(struct kernel *k)
{
	uint64_t nblocks = ((k->alloc.end_gfn - k->alloc.first_gfn) >> k->info->balloon.free_order) + 1;
	uint64_t npages = (nblocks + BITS_PER_PAGE - 1) / BITS_PER_PAGE, first = 0;

	if (k->heap.free[HEAP_BALLOON] != UINT32_MAX ||
	    k->heap.end - k->heap.bump <= (npages + BALLOON_HEAP_RESERVE) * PAGE_SIZE)
		return 0;
	for (uint64_t i = 0; i < npages; i++) {
		uint64_t gpa = heap_alloc(k, HEAP_BALLOON);

		first = first ? first : gpa;
	}
	return first;
}

void balloon_free_start(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	uint64_t nblocks = ((k->alloc.end_gfn - k->alloc.first_gfn) >> k->info->balloon.free_order) + 1;

	b->hint = b->report = (struct balloon_scan){ .gfn = 0 };
	b->hint_id = 0;
	b->report_at = 0;
	if (!(b->features & VIRTIO_BALLOON_F_REPORTING))
		return;
	if (!b->known)
		b->known = bitmap_new(k);
	if (b->known)
		bytes_zero(hal_arena(k->hal, b->known), (nblocks + 63) / 64 * 8);
	/* All that is free at the beginning is news. */
	k->alloc.freed = true;
}

/* Is the block of @npages at page @i of 512 free? */
static bool block_free(const uint64_t map[8], unsigned i, uint64_t npages)
{
	if (npages < 64)
		return !(~map[i / 64] & ((1ull << npages) - 1) << i % 64);
	for (unsigned w = i / 64; w < (i + npages) / 64; w++)
		if (~map[w])
			return false;
	return true;
}

/* Is the block at @gfn free? A reckless driver takes all for free; @map is of the 2 MiB block *@loaded. */
static bool is_free(struct kernel *k, uint64_t gfn, uint64_t map[8], uint64_t *loaded)
{
	if (k->info->balloon.behaviour == BALLOON_RECKLESS)
		return true;
	if (*loaded != gfn / PT_ENTRIES)
		page_free_map(k, (uint32_t)(gfn / PT_ENTRIES), map);
	*loaded = gfn / PT_ENTRIES;
	return block_free(map, gfn % PT_ENTRIES, block_pages(k));
}

/* Up to @most free blocks that the host does not know of, from where @s stands; how many. */
static uint32_t collect(struct kernel *k, struct balloon_scan *s, uint32_t most, uint64_t *gfn)
{
	uint64_t step = block_pages(k), end = k->alloc.end_gfn, map[8], loaded = UINT64_MAX;
	uint32_t n = 0;

	while (n < most && s->gfn + step <= end) {
		if (!is_known(k, s->gfn) && is_free(k, s->gfn, map, &loaded))
			gfn[n++] = s->gfn;
		s->gfn += step;
	}
	if (s->gfn + step > end)
		s->gfn = 0;
	return n;
}

static struct vring_desc free_buffer(const struct kernel *k, uint64_t gfn)
{
	return (struct vring_desc){
		.addr = gfn << PAGE_SHIFT, .len = (uint32_t)(block_pages(k) << PAGE_SHIFT), .flags = VRING_DESC_WRITE
	};
}

/* All blocks in one chain, as Linux sends reports. */
static bool send_report(struct kernel *k, const uint64_t *gfn, uint32_t n)
{
	struct vring_desc *desc = balloon_queue_at(k, BALLOON_REPORTING, 0);
	unsigned bit;

	for (uint32_t i = 0; i < n; i++) {
		desc[i] = free_buffer(k, gfn[i]);
		desc[i].flags |= i + 1 < n ? VRING_DESC_NEXT : 0;
		desc[i].next = (uint16_t)(i + 1);
	}
	balloon_make_available(k, BALLOON_REPORTING, 1);
	if (!balloon_served(k, BALLOON_REPORTING))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *word = known_word(k, gfn[i], &bit);

		*word |= 1ull << bit;
	}
	return true;
}

/* Each block in a chain of its own, as Linux sends hints. */
static bool send_hints(struct kernel *k, const uint64_t *gfn, uint32_t n)
{
	struct vring_desc *desc = balloon_queue_at(k, BALLOON_FREE_PAGE, 0);
	struct vring_avail *avail = balloon_queue_at(k, BALLOON_FREE_PAGE, BALLOON_AVAIL);
	uint16_t *sent = &k->balloon->sent[BALLOON_FREE_PAGE];

	for (uint32_t i = 0; i < n; i++) {
		desc[i] = free_buffer(k, gfn[i]);
		avail->ring[*sent % BALLOON_QUEUE_SIZE] = (uint16_t)i;
		++*sent;
	}
	__atomic_store_n(&avail->idx, *sent, __ATOMIC_RELEASE);
	balloon_notify(k, BALLOON_FREE_PAGE);
	return balloon_served(k, BALLOON_FREE_PAGE);
}

static void send_command(struct kernel *k, uint32_t id)
{
	*(uint32_t *)balloon_queue_at(k, BALLOON_FREE_PAGE, BALLOON_BUFFER) = id;
	balloon_send(k, BALLOON_FREE_PAGE, sizeof(id));
}

/* Go on with a scan, if it is time: at most @rate pages, but one block at least. */
static void scan(struct kernel *k, struct balloon_scan *s, uint64_t rate, bool report)
{
	uint64_t now = hal_now(k->hal), blocks = rate / block_pages(k), gfn[BALLOON_FREE_BATCH];
	bool ok = true;

	if (!s->gfn || now < s->next_ns)
		return;
	poison_all(k); /* what is free holds its value before anybody hears of it */
	s->next_ns = now + k->info->balloon.interval_ns;
	for (blocks = blocks ? blocks : 1; ok && s->gfn && blocks;) {
		uint32_t n = collect(k, s, blocks < BALLOON_FREE_BATCH ? (uint32_t)blocks : BALLOON_FREE_BATCH, gfn);

		if (n)
			ok = report ? send_report(k, gfn, n) : send_hints(k, gfn, n);
		blocks -= n;
	}
	if (!ok)
		s->gfn = 0;
}

void balloon_free_config(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	uint32_t id;

	if (!(b->features & VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return;
	id = balloon_get32(k, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_CMD_ID);
	if (id == b->hint_id)
		return;
	if (id == VIRTIO_BALLOON_CMD_STOP || id == VIRTIO_BALLOON_CMD_DONE) {
		b->hint = (struct balloon_scan){ .gfn = 0 };
		b->hint_id = 0;
		return;
	}
	b->hint_id = id;
	b->hint.gfn = k->alloc.first_gfn;
	send_command(k, id);
}

static void tick_report(struct kernel *k, uint64_t rate)
{
	struct balloon_driver *b = k->balloon;

	if (!b->known)
		return;
	if (k->alloc.freed && !b->report_at)
		b->report_at = hal_now(k->hal) + k->info->balloon.report_delay_ns;
	if (b->report_at && !b->report.gfn && hal_now(k->hal) >= b->report_at) {
		k->alloc.freed = false;
		b->report_at = 0;
		b->report.gfn = k->alloc.first_gfn;
	}
	scan(k, &b->report, rate, true);
}

void balloon_free_tick(struct kernel *k, uint64_t rate)
{
	struct balloon_driver *b = k->balloon;

	tick_report(k, rate);
	if (!b->hint_id || !b->hint.gfn)
		return;
	scan(k, &b->hint, rate, false);
	if (!b->hint.gfn)
		send_command(k, VIRTIO_BALLOON_CMD_STOP);
}

uint64_t balloon_free_wake(const struct kernel *k)
{
	const struct balloon_driver *b = k->balloon;
	uint64_t report = UINT64_MAX, hint = b->hint_id && b->hint.gfn ? b->hint.next_ns : UINT64_MAX;

	if (b->known && b->report.gfn)
		report = b->report.next_ns;
	else if (b->known && (b->report_at || k->alloc.freed))
		report = b->report_at;
	return report < hint ? report : hint;
}

/* Pages that it cannot give: the kernel's own, beyond memory, none at all, parts of pages. */
static struct vring_desc lie(struct kernel *k)
{
	struct rng *rng = &k->balloon->rng;
	struct vring_desc d = {
		.addr = rng_below(rng, k->alloc.first_gfn) << PAGE_SHIFT,
		.len = (1 + (uint32_t)rng_below(rng, 600)) << PAGE_SHIFT,
		.flags = VRING_DESC_WRITE,
	};

	switch (rng_below(rng, 6)) {
	case 0:
		d.addr += 1 + rng_below(rng, PAGE_SIZE - 1);
		break;
	case 1:
		d.len = (uint32_t)rng_below(rng, PAGE_SIZE);
		break;
	case 2:
		d.addr = (k->alloc.end_gfn - 1 + rng_below(rng, 1000)) << PAGE_SHIFT;
		d.len = 2 << PAGE_SHIFT;
		break;
	case 3:
		d.flags = 0;
		break;
	default:
		break;
	}
	return d;
}

void balloon_free_lie(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	unsigned queue = rng_below(&b->rng, 2) ? BALLOON_REPORTING : BALLOON_FREE_PAGE;
	struct vring_desc *desc;

	if (!virtio_balloon_has_queue(b->features, queue))
		return;
	if (queue == BALLOON_FREE_PAGE && rng_below(&b->rng, 2)) {
		send_command(k, (uint32_t)rng_below(&b->rng, 3));
		return;
	}
	desc = balloon_queue_at(k, queue, 0);
	desc[0] = lie(k);
	balloon_make_available(k, queue, 1);
}
