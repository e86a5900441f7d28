/* SPDX-License-Identifier: MIT */
/*
 * driver.c - the guest's virtio-balloon driver
 *
 * Problem: give the host pages that the guest can spare, as fast as allowed and not faster, take them back when the
 * host lets go or the guest runs out of memory; and, for the laboratory, misbehave on request.
 *
 * Idea: pages come from the kernel's allocator like anybody's, which may reclaim for them, and are remembered on a
 * stack of heap pages, 1022 to a page. Work is done when the kernel looks (an interrupt, the end of a quantum, waking
 * up): up to `rate` pages, then nothing until an interval has passed. One buffer of 256 page numbers is under way at a
 * time: the device serves a notification before the notifying store returns.
 *
 * Out of memory: 256 pages go back (as Linux does) before any process dies, and no page is given again until the
 * host changes its target.
 *
 * Behaviours: `good`; `slow`, at a 64th of the rate; `silent`, which never answers after it set the device up;
 * `hostile`, which mixes good work with malformed rings, pages that it cannot give and stores to registers, and resets
 * the device when that is what it takes. A hostile driver lies about pages that no process uses: it wants the host to
 * fail, not its own guest. A reckless one (`reckless`) does what it should, but says of all pages that they are free:
 * its guest loses what its processes wrote, and nobody else does.
 *
 * Invariants (tests/guest/test_balloon.c): a page on the stack is mapped by no process; what went in comes out;
 * contents of processes' pages are those of a run without a balloon.
 *
 * driver_free.c: free pages, reported and hinted.
 *
 * Source: VIRTIO 1.2, sections 3.1 and 5.5; Linux drivers/virtio/virtio_balloon.c for sizes and the order of things.
 */
#include "balloon/driver.h"

#include "workloads/guest/balloon.h"

#define OOM_PAGES 256u
#define SLOWNESS  64u

void balloon_put32(struct kernel *k, uint32_t reg, uint32_t value)
{
	hal_mmio_write(k->hal, k->info->balloon.registers + reg, value);
}

uint32_t balloon_get32(struct kernel *k, uint32_t reg)
{
	return hal_mmio_read(k->hal, k->info->balloon.registers + reg);
}

void *balloon_queue_at(struct kernel *k, unsigned queue, uint64_t offset)
{
	return hal_arena(k->hal, k->balloon->queue[queue] + offset);
}

void balloon_notify(struct kernel *k, unsigned queue)
{
	unsigned n = virtio_balloon_queue(k->balloon->features, queue, k->info->balloon.fixed_queues);

	balloon_put32(k, VIRTIO_MMIO_QUEUE_NOTIFY, n);
}

bool balloon_served(struct kernel *k, unsigned queue)
{
	struct vring_used *used = balloon_queue_at(k, queue, BALLOON_USED);

	return __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == k->balloon->sent[queue];
}

void balloon_make_available(struct kernel *k, unsigned queue, uint16_t by)
{
	struct balloon_driver *b = k->balloon;
	struct vring_avail *avail = balloon_queue_at(k, queue, BALLOON_AVAIL);

	avail->ring[b->sent[queue] % BALLOON_QUEUE_SIZE] = 0;
	b->sent[queue] = (uint16_t)(b->sent[queue] + by);
	__atomic_store_n(&avail->idx, b->sent[queue], __ATOMIC_RELEASE);
	balloon_notify(k, queue);
}

/* Send @len bytes of the queue's buffer. */
void balloon_send(struct kernel *k, unsigned queue, uint32_t len)
{
	struct vring_desc *desc = balloon_queue_at(k, queue, 0);

	desc[0] = (struct vring_desc){ .addr = k->balloon->queue[queue] + BALLOON_BUFFER, .len = len };
	balloon_make_available(k, queue, 1);
}

static void send_stats(struct kernel *k)
{
	const struct kernel_counts *c = &k->counts;
	const uint64_t stat[BALLOON_S_TAGS] = {
		[BALLOON_S_SWAP_IN] = c->swap_ins << PAGE_SHIFT,
		[BALLOON_S_SWAP_OUT] = c->swap_outs << PAGE_SHIFT,
		[BALLOON_S_MAJFLT] = c->faults_major,
		[BALLOON_S_MINFLT] = c->faults_demand + c->faults_cow + c->faults_minor,
		[BALLOON_S_MEMFREE] = c->pages_free << PAGE_SHIFT,
		[BALLOON_S_MEMTOT] = (k->alloc.end_gfn - k->alloc.first_gfn) << PAGE_SHIFT,
		[BALLOON_S_AVAIL] = memory_available(k) << PAGE_SHIFT,
		[BALLOON_S_CACHES] = c->pages_cache << PAGE_SHIFT,
	};
	struct virtio_balloon_stat *to = balloon_queue_at(k, BALLOON_STATS, BALLOON_BUFFER);

	for (uint16_t i = 0; i < BALLOON_S_TAGS; i++)
		to[i] = (struct virtio_balloon_stat){ i, stat[i] };
	balloon_send(k, BALLOON_STATS, sizeof(*to) * BALLOON_S_TAGS);
}

/* The stack. False: the heap has no page to spare. */
static bool push(struct kernel *k, uint32_t gfn)
{
	struct balloon_driver *b = k->balloon;
	struct balloon_chunk *c;

	if (!b->chunk || b->nchunk == BALLOON_CHUNK) {
		bool spare = k->heap.free[HEAP_BALLOON] != UINT32_MAX ||
			     k->heap.end - k->heap.bump > BALLOON_HEAP_RESERVE * PAGE_SIZE;
		uint64_t gpa = spare ? heap_alloc(k, HEAP_BALLOON) : 0;

		if (!gpa)
			return false;
		c = hal_arena(k->hal, gpa);
		c->below = b->chunk;
		b->chunk = gpa;
		b->nchunk = 0;
	}
	c = hal_arena(k->hal, b->chunk);
	c->gfn[b->nchunk++] = gfn;
	b->npages++;
	return true;
}

static uint32_t pop(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	struct balloon_chunk *c = hal_arena(k->hal, b->chunk);
	uint32_t gfn = c->gfn[--b->nchunk];

	b->npages--;
	if (!b->nchunk) {
		uint64_t below = c->below;

		heap_free(k, b->chunk, HEAP_BALLOON);
		b->chunk = below;
		b->nchunk = below ? BALLOON_CHUNK : 0;
	}
	return gfn;
}

/* A page for the balloon, or 0: the guest can spare none. */
static uint32_t spare(struct kernel *k)
{
	uint64_t gfn = page_give_up(k);

	if (!gfn)
		return 0;
	page_get(k, gfn, 1);
	if (push(k, (uint32_t)gfn))
		return (uint32_t)gfn;
	page_put(k, gfn, 1);
	return 0;
}

/* Up to @n pages into the balloon; how many. */
static uint32_t inflate(struct kernel *k, uint32_t n)
{
	uint32_t *pfn = balloon_queue_at(k, BALLOON_INFLATE, BALLOON_BUFFER), done = 0;

	n = n < BALLOON_PFNS ? n : BALLOON_PFNS;
	while (done < n && (pfn[done] = spare(k)))
		done++;
	if (done)
		balloon_send(k, BALLOON_INFLATE, done * 4);
	return done;
}

static void put_all(struct kernel *k, const uint32_t *pfn, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		page_put(k, pfn[i], 1);
}

static uint32_t deflate(struct kernel *k, uint32_t n)
{
	struct balloon_driver *b = k->balloon;
	uint32_t *pfn = balloon_queue_at(k, BALLOON_DEFLATE, BALLOON_BUFFER), done = 0;

	n = n < BALLOON_PFNS ? n : BALLOON_PFNS;
	for (; done < n && b->npages; done++)
		pfn[done] = pop(k);
	if (!done)
		return 0;
	if (!(b->features & VIRTIO_BALLOON_F_MUST_TELL_HOST))
		put_all(k, pfn, done);
	balloon_send(k, BALLOON_DEFLATE, done * 4);
	if (b->features & VIRTIO_BALLOON_F_MUST_TELL_HOST)
		put_all(k, pfn, done);
	return done;
}

static bool negotiate(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	const uint64_t known = VIRTIO_F_VERSION_1 | VIRTIO_BALLOON_F_MUST_TELL_HOST | VIRTIO_BALLOON_F_STATS_VQ |
			       VIRTIO_BALLOON_F_DEFLATE_ON_OOM | VIRTIO_BALLOON_F_FREE_PAGE_HINT |
			       VIRTIO_BALLOON_F_PAGE_POISON | VIRTIO_BALLOON_F_REPORTING;
	uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;

	balloon_put32(k, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	b->features = 0;
	for (uint32_t i = 0; i < 2; i++) {
		balloon_put32(k, VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		b->features |= (uint64_t)balloon_get32(k, VIRTIO_MMIO_DEVICE_FEATURES) << 32 * i;
	}
	b->features &= known & ~k->info->balloon.refuses;
	/* A host that does not know of poison must not take poisoned pages; one that does need not know of none. */
	if (k->info->poison == POISON_NONE)
		b->features &= ~VIRTIO_BALLOON_F_PAGE_POISON;
	else if (!(b->features & VIRTIO_BALLOON_F_PAGE_POISON))
		b->features &= ~(VIRTIO_BALLOON_F_REPORTING | VIRTIO_BALLOON_F_FREE_PAGE_HINT);
	for (uint32_t i = 0; i < 2; i++) {
		balloon_put32(k, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		balloon_put32(k, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(b->features >> 32 * i));
	}
	balloon_put32(k, VIRTIO_MMIO_STATUS, status);
	return balloon_get32(k, VIRTIO_MMIO_STATUS) == status;
}

static bool queue_start(struct kernel *k, uint32_t queue)
{
	uint64_t gpa = k->balloon->queue[queue];

	if (!gpa)
		gpa = k->balloon->queue[queue] = heap_alloc(k, HEAP_BALLOON);
	if (!gpa)
		return false;
	bytes_zero(hal_arena(k->hal, gpa), PAGE_SIZE);
	k->balloon->sent[queue] = 0;
	balloon_put32(k, VIRTIO_MMIO_QUEUE_SEL,
		      virtio_balloon_queue(k->balloon->features, queue, k->info->balloon.fixed_queues));
	if (balloon_get32(k, VIRTIO_MMIO_QUEUE_NUM_MAX) < BALLOON_QUEUE_SIZE)
		return false;
	balloon_put32(k, VIRTIO_MMIO_QUEUE_NUM, BALLOON_QUEUE_SIZE);
	balloon_put32(k, VIRTIO_MMIO_QUEUE_DESC, (uint32_t)gpa);
	balloon_put32(k, VIRTIO_MMIO_QUEUE_DESC + 4, (uint32_t)(gpa >> 32));
	balloon_put32(k, VIRTIO_MMIO_QUEUE_DRIVER, (uint32_t)(gpa + BALLOON_AVAIL));
	balloon_put32(k, VIRTIO_MMIO_QUEUE_DRIVER + 4, (uint32_t)((gpa + BALLOON_AVAIL) >> 32));
	balloon_put32(k, VIRTIO_MMIO_QUEUE_DEVICE, (uint32_t)(gpa + BALLOON_USED));
	balloon_put32(k, VIRTIO_MMIO_QUEUE_DEVICE + 4, (uint32_t)((gpa + BALLOON_USED) >> 32));
	balloon_put32(k, VIRTIO_MMIO_QUEUE_READY, 1);
	return balloon_get32(k, VIRTIO_MMIO_QUEUE_READY) == 1;
}

/* The host asks for something else than before. */
static void new_target(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	uint32_t target = balloon_get32(k, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_NUM_PAGES);

	if (target != b->target)
		b->held = false;
	b->target = target;
	b->pending = true;
}

/* Set the device up, whatever state it is in. */
static void set_up(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;

	balloon_put32(k, VIRTIO_MMIO_STATUS, 0);
	/* Nothing is in the balloon of a device that was reset. */
	while (b->npages)
		page_put(k, pop(k), 1);
	b->running = negotiate(k);
	for (uint32_t i = 0; i < BALLOON_QUEUES && b->running; i++)
		b->running = !virtio_balloon_has_queue(b->features, i) || queue_start(k, i);
	if (!b->running) {
		balloon_put32(k, VIRTIO_MMIO_STATUS, VIRTIO_FAILED);
		return;
	}
	if (b->features & VIRTIO_BALLOON_F_PAGE_POISON)
		balloon_put32(k, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_POISON_VAL,
			      (uint32_t)POISON_WORD(k->info->poison));
	balloon_put32(k, VIRTIO_MMIO_STATUS,
		      VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	if (b->features & VIRTIO_BALLOON_F_STATS_VQ)
		send_stats(k);
	balloon_free_start(k);
	new_target(k);
}

void balloon_start(struct kernel *k)
{
	uint64_t gpa;

	if (!k->info->balloon.registers || balloon_get32(k, VIRTIO_MMIO_MAGIC) != VIRTIO_MMIO_MAGIC_VALUE ||
	    balloon_get32(k, VIRTIO_MMIO_VERSION) != 2 ||
	    balloon_get32(k, VIRTIO_MMIO_DEVICE_ID) != VIRTIO_ID_BALLOON ||
	    k->heap.end - k->heap.bump <= (BALLOON_HEAP_RESERVE + BALLOON_QUEUES + 1) * PAGE_SIZE)
		return;
	gpa = heap_alloc(k, HEAP_BALLOON);
	k->balloon = hal_arena(k->hal, gpa);
	bytes_zero(k->balloon, sizeof(*k->balloon));
	for (unsigned i = 0; i <= BALLOON_STATS; i++)
		k->balloon->queue[i] = heap_alloc(k, HEAP_BALLOON);
	rng_seed(&k->balloon->rng, k->script->seed);
	set_up(k);
}

/* An array of page numbers of which none is right: beyond memory, the kernel's, given before. */
static void send_lies(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	unsigned queue = rng_below(&b->rng, 2) ? BALLOON_INFLATE : BALLOON_DEFLATE;
	uint32_t *pfn = balloon_queue_at(k, queue, BALLOON_BUFFER), n = 1 + (uint32_t)rng_below(&b->rng, BALLOON_PFNS);
	struct balloon_chunk *top = b->chunk ? hal_arena(k->hal, b->chunk) : (struct balloon_chunk *)0;

	for (uint32_t i = 0; i < n; i++) {
		pfn[i] = (uint32_t)rng_below(&b->rng, k->alloc.first_gfn);
		if (rng_below(&b->rng, 2))
			pfn[i] = (uint32_t)(k->alloc.end_gfn + rng_below(&b->rng, UINT32_MAX - k->alloc.end_gfn));
		else if (top && queue == BALLOON_INFLATE)
			pfn[i] = top->gfn[rng_below(&b->rng, b->nchunk)];
	}
	balloon_send(k, queue, n * 4);
}

static bool has_free(const struct balloon_driver *b)
{
	return b->features & (VIRTIO_BALLOON_F_FREE_PAGE_HINT | VIRTIO_BALLOON_F_REPORTING);
}

/* A chain that is none. */
static void send_malformed(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	unsigned queue = (unsigned)rng_below(&b->rng, has_free(b) ? BALLOON_QUEUES : BALLOON_STATS + 1);
	struct vring_desc *desc = balloon_queue_at(k, queue, 0);

	if (!virtio_balloon_has_queue(b->features, queue))
		return;
	desc[0] = (struct vring_desc){ .addr = b->queue[queue] + BALLOON_BUFFER, .len = 4 };
	switch (rng_below(&b->rng, 6)) {
	case 0:
		desc[0].addr = rng_u64(&b->rng);
		break;
	case 1:
		desc[0].len = (uint32_t)rng_u64(&b->rng) | 1;
		break;
	case 2:
		desc[0].flags = VRING_DESC_NEXT; /* a loop */
		break;
	case 3:
		desc[0].flags = VRING_DESC_NEXT;
		desc[0].next = (uint16_t)(BALLOON_QUEUE_SIZE + rng_below(&b->rng, 1000));
		break;
	case 4:
		desc[0].flags = VRING_DESC_INDIRECT;
		break;
	default:
		balloon_make_available(k, queue, BALLOON_QUEUE_SIZE + 1);
		return;
	}
	balloon_make_available(k, queue, 1);
}

static void store_anything(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	static const uint32_t reg[] = {
		VIRTIO_MMIO_QUEUE_NUM,	VIRTIO_MMIO_QUEUE_DESC, VIRTIO_MMIO_QUEUE_DEVICE, VIRTIO_MMIO_QUEUE_NOTIFY,
		VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_ACTUAL,
		VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_CONFIG,
	};

	balloon_put32(k, VIRTIO_MMIO_QUEUE_SEL, (uint32_t)rng_below(&b->rng, 5));
	balloon_put32(k, reg[rng_below(&b->rng, sizeof(reg) / sizeof(reg[0]))], (uint32_t)rng_u64(&b->rng) | 4);
}

static void misbehave(struct kernel *k)
{
	switch (rng_below(&k->balloon->rng, 6)) {
	case 0:
		send_malformed(k);
		break;
	case 1:
		store_anything(k);
		break;
	case 2:
		send_lies(k);
		break;
	case 3:
		if (has_free(k->balloon))
			balloon_free_lie(k);
		break;
	default:
		break;
	}
	if (balloon_get32(k, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET)
		set_up(k);
}

void balloon_interrupt(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	uint32_t why;

	if (!b || !b->running || k->info->balloon.behaviour == BALLOON_SILENT)
		return;
	why = balloon_get32(k, VIRTIO_MMIO_INTERRUPT_STATUS);
	balloon_put32(k, VIRTIO_MMIO_INTERRUPT_ACK, why);
	if (why & VIRTIO_INT_CONFIG) {
		if (balloon_get32(k, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET)
			set_up(k);
		else
			new_target(k);
		if (b->running)
			balloon_free_config(k);
	}
	if (b->running && why & VIRTIO_INT_USED && b->features & VIRTIO_BALLOON_F_STATS_VQ &&
	    balloon_served(k, BALLOON_STATS))
		send_stats(k);
	balloon_tick(k);
}

/* Towards the target, by at most @n pages. */
static void approach(struct kernel *k, uint64_t n)
{
	struct balloon_driver *b = k->balloon;
	uint32_t before = b->npages;

	while (n && b->running && b->npages != b->target) {
		uint32_t most = n < BALLOON_PFNS ? (uint32_t)n : BALLOON_PFNS, done;

		if (b->npages < b->target)
			done = b->held ? 0 : inflate(k, most < b->target - b->npages ? most : b->target - b->npages);
		else
			done = deflate(k, most < b->npages - b->target ? most : b->npages - b->target);
		if (!done)
			break;
		n -= done;
	}
	if (b->npages != before)
		balloon_put32(k, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_ACTUAL, b->npages);
}

static uint64_t rate_of(const struct balloon_info *info)
{
	if (info->behaviour != BALLOON_SLOW)
		return info->rate;
	return info->rate > SLOWNESS ? info->rate / SLOWNESS : 1;
}

void balloon_tick(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	const struct balloon_info *info = &k->info->balloon;
	uint64_t now;

	if (!b || !b->running || info->behaviour == BALLOON_SILENT)
		return;
	balloon_free_tick(k, rate_of(info));
	if (!b->pending)
		return;
	now = hal_now(k->hal);
	if (now < b->next_ns)
		return;
	b->next_ns = now + info->interval_ns;
	approach(k, rate_of(info));
	if (info->behaviour == BALLOON_HOSTILE)
		misbehave(k);
	/* Where the guest has nothing to spare now, it may have later. */
	b->pending = info->behaviour == BALLOON_HOSTILE || b->npages > b->target ||
		     (b->npages < b->target && !b->held);
}

uint64_t balloon_wake_time(const struct kernel *k)
{
	const struct balloon_driver *b = k->balloon;
	uint64_t next, free;

	if (!b || !b->running || k->info->balloon.behaviour == BALLOON_SILENT)
		return UINT64_MAX;
	next = b->pending ? b->next_ns : UINT64_MAX;
	free = balloon_free_wake(k);
	return next < free ? next : free;
}

bool balloon_oom(struct kernel *k)
{
	struct balloon_driver *b = k->balloon;
	uint32_t done;

	if (!b || !b->running || !(b->features & VIRTIO_BALLOON_F_DEFLATE_ON_OOM))
		return false;
	done = deflate(k, OOM_PAGES);
	if (!done)
		return false;
	b->held = true;
	k->counts.balloon_oom_deflates += done;
	balloon_put32(k, VIRTIO_MMIO_CONFIG + VIRTIO_BALLOON_ACTUAL, b->npages);
	return true;
}
