/* SPDX-License-Identifier: MIT */
/*
 * frame.c - which host frames are free, in blocks of 4 KiB, 2 MiB and 1 GiB
 *
 * Problem: a host of a terabyte has 2^28 frames. Describing it must cost nothing until frames are taken, a frame
 * must be found in nanoseconds, and frames freed one by one must become large blocks again, or large pages would
 * only ever be had on a fresh host.
 *
 * Idea: two levels of bitmaps with the fan-out of the page tables themselves. A *block* is 512 frames, a *giga* is
 * 512 blocks. Each has 512 bits, set where the child is not free, and their count. All-zero means all free, so the
 * arrays are anonymous memory that is backed when first written: no set-up loop. Lowest number first, at either
 * level, keeps what is used together and high gigas whole (the aim of Linux's buddy allocator, with less state).
 *
 *	giga.used  1 1 0 0 ...	bit set: block carved into frames, or taken whole
 *	block.used 1 0 1 1 ...	bit set: frame taken (or beyond the end of the host)
 *
 * A carved block that has free frames is on a list of its node; one list for tables of the VMM, one for the rest, so
 * that long-lived tables lie together (Linux: migrate types) and their bytes stay dense. Nodes split the blocks
 * evenly. A *run* (arena, linear guest) is found by scanning for free blocks: rare, and cheap by the bit.
 *
 * Invariants (held by tests/unit/test_frame.c, and against a naive model in test_frame.c:random):
 *  - a frame is handed to one holder at a time; blocks are aligned to their size;
 *  - a block's bit in its giga is clear exactly when the block has no used frame;
 *  - frames_used() is the number of frames in hands;
 *  - bytes behind a frame just allocated read as zero if released frames were zeroed by frames_release(): kinds
 *    TABLE and ARENA are; other kinds have their contents elsewhere and must not write here.
 */
#include "mm/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/lazy.h"

#define FANOUT 512u
#define WORDS  (FANOUT / 64)
#define GIGA_PAGES LEVEL_PAGES(3)

enum class { CLASS_GUEST, CLASS_TABLE, CLASSES };

struct region {
	uint64_t used[WORDS];
	uint32_t prev, next; /* blocks: neighbours on the list, number + 1 */
	uint16_t nused;
	uint8_t class;	     /* blocks: which list */
};

struct node {
	uint64_t first, end; /* blocks [first, end) */
	uint64_t hint;	     /* no giga below it has a free block of this node */
	uint64_t used;	     /* frames */
	uint32_t head[CLASSES];
};

struct run {
	hfn_t hfn;
	uint64_t npages, owner;
};

struct frame_map {
	struct region *block, *giga;
	uint64_t nblocks; /* complete or not */
	struct node *node;
	GArray *runs; /* of struct run, by hfn */
};

static bool region_test(const struct region *r, unsigned i)
{
	return r->used[i / 64] >> (i % 64) & 1;
}

static void region_set(struct region *r, unsigned i)
{
	g_assert(!region_test(r, i));
	r->used[i / 64] |= 1ull << (i % 64);
	r->nused++;
}

static void region_clear(struct region *r, unsigned i)
{
	g_assert(region_test(r, i)); /* else: freed twice */
	r->used[i / 64] &= ~(1ull << (i % 64));
	r->nused--;
}

static void region_set_all(struct region *r)
{
	g_assert(r->nused == 0);
	memset(r->used, 0xff, sizeof(r->used));
	r->nused = FANOUT;
}

static void region_clear_all(struct region *r)
{
	g_assert(r->nused == FANOUT);
	memset(r->used, 0, sizeof(r->used));
	r->nused = 0;
}

/* The lowest free child in [lo, hi), or -1. */
static int region_first_free(const struct region *r, unsigned lo, unsigned hi)
{
	for (unsigned w = lo / 64; w * 64 < hi; w++) {
		uint64_t free = ~r->used[w];

		if (w == lo / 64)
			free &= ~0ull << (lo % 64);
		if (free) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(free);

			return i < hi ? (int)i : -1;
		}
	}
	return -1;
}

static struct node *node_of_block(struct frames *fr, uint64_t block)
{
	hfn_t hfn = block * FANOUT;

	return &fr->map->node[hfn >= fr->first_table ? fr->nnodes : frames_node(fr, hfn)];
}

static void block_list(struct frames *fr, uint64_t b)
{
	struct frame_map *map = fr->map;
	struct region *r = &map->block[b];
	uint32_t *head = &node_of_block(fr, b)->head[r->class];

	r->prev = 0;
	r->next = *head;
	if (*head)
		map->block[*head - 1].prev = (uint32_t)b + 1;
	*head = (uint32_t)b + 1;
}

static void block_unlist(struct frames *fr, uint64_t b)
{
	struct frame_map *map = fr->map;
	struct region *r = &map->block[b];

	if (r->prev)
		map->block[r->prev - 1].next = r->next;
	else
		node_of_block(fr, b)->head[r->class] = r->next;
	if (r->next)
		map->block[r->next - 1].prev = r->prev;
	r->prev = r->next = 0;
}

/* Begin to hand out the frames of a free block. */
static void block_carve(struct frames *fr, uint64_t b, enum class class)
{
	region_set(&fr->map->giga[b / FANOUT], b % FANOUT);
	fr->map->block[b].class = class;
	block_list(fr, b);
}

/* The block is free as a whole again. */
static void block_return(struct frames *fr, uint64_t b)
{
	struct node *node = node_of_block(fr, b);

	region_clear(&fr->map->giga[b / FANOUT], b % FANOUT);
	if (node->hint > b / FANOUT)
		node->hint = b / FANOUT;
}

/* Frames [lo, hi) of a carved block: take, and give back. */
static void block_take_frames(struct frames *fr, uint64_t b, unsigned lo, unsigned hi)
{
	struct region *r = &fr->map->block[b];

	for (unsigned i = lo; i < hi; i++)
		region_set(r, i);
	if (r->nused == FANOUT)
		block_unlist(fr, b);
}

static void block_give_frames(struct frames *fr, uint64_t b, unsigned lo, unsigned hi)
{
	struct region *r = &fr->map->block[b];

	if (r->nused == FANOUT)
		block_list(fr, b);
	for (unsigned i = lo; i < hi; i++)
		region_clear(r, i);
	if (r->nused == 0) {
		block_unlist(fr, b);
		block_return(fr, b);
	}
}

/* The host need not end at a multiple of 2 MiB or 1 GiB: what is beyond its end is marked used. */
static void map_mark_end(struct frames *fr)
{
	struct frame_map *map = fr->map;
	unsigned tail = fr->npages % FANOUT;

	for (uint64_t b = map->nblocks; b < fr->first_table / FANOUT; b++)
		region_set(&map->giga[b / FANOUT], b % FANOUT);
	for (uint64_t b = fr->end / FANOUT; b % FANOUT; b++)
		region_set(&map->giga[b / FANOUT], b % FANOUT);
	if (tail) {
		block_carve(fr, map->nblocks - 1, CLASS_GUEST);
		block_take_frames(fr, map->nblocks - 1, tail, FANOUT);
	}
}

static uint64_t map_ngigas(const struct frames *fr)
{
	return (fr->end + GIGA_PAGES - 1) / GIGA_PAGES;
}

static struct frame_map *map_new(struct frames *fr)
{
	struct frame_map *map = g_new0(struct frame_map, 1);

	map->nblocks = (fr->npages + FANOUT - 1) / FANOUT;
	map->node = g_new0(struct node, fr->nnodes + 1);
	map->runs = g_array_new(FALSE, FALSE, sizeof(struct run));
	map->block = lazy_new(fr->end / FANOUT * sizeof(struct region));
	map->giga = lazy_new(map_ngigas(fr) * sizeof(struct region));
	for (unsigned n = 0; n < fr->nnodes; n++) {
		struct node *node = &map->node[n];

		node->first = MIN(n * (fr->node_pages / FANOUT), map->nblocks);
		node->end = MIN((n + 1) * (fr->node_pages / FANOUT), map->nblocks);
		node->hint = node->first / FANOUT;
	}
	map->node[fr->nnodes] = (struct node){
		.first = fr->first_table / FANOUT,
		.end = fr->end / FANOUT,
		.hint = fr->first_table / FANOUT / FANOUT,
	};
	return map;
}

/* Is @a nearer to @node than @b? Of those equally far, the neighbour by number, then the lower one. */
static bool nearer(const struct frames *fr, unsigned node, unsigned a, unsigned b)
{
	unsigned da = frames_distance(fr, node, a), db = frames_distance(fr, node, b);
	unsigned na = a > node ? a - node : node - a, nb = b > node ? b - node : node - b;

	return da != db ? da < db : na != nb ? na < nb : a < b;
}

static void sort_nodes(struct frames *fr)
{
	for (unsigned n = 0; n < fr->nnodes; n++) {
		uint8_t *order = &fr->nearest[n * fr->nnodes];

		for (unsigned i = 0; i < fr->nnodes; i++) {
			unsigned at = i;

			for (; at && nearer(fr, n, i, order[at - 1]); at--)
				order[at] = order[at - 1];
			order[at] = (uint8_t)i;
		}
	}
}

void frames_set_distances(struct frames *fr, const uint8_t *distance)
{
	memcpy(fr->distance, distance, (size_t)fr->nnodes * fr->nnodes);
	sort_nodes(fr);
}

static void default_distances(struct frames *fr)
{
	size_t n = (size_t)fr->nnodes * fr->nnodes;

	fr->distance = g_malloc(n);
	fr->nearest = g_malloc(n);
	memset(fr->distance, NODE_REMOTE, n);
	for (unsigned i = 0; i < fr->nnodes; i++)
		fr->distance[i * fr->nnodes + i] = NODE_LOCAL;
	sort_nodes(fr);
}

/* Shared memory, so that whoever maps the file a second time sees the same frames. */
static uint8_t *shared_bytes(struct frames *fr)
{
	fr->memfd = memfd_create("overbook-host", MFD_CLOEXEC);
	if (fr->memfd < 0 || ftruncate(fr->memfd, (off_t)(fr->end * PAGE_SIZE)))
		return NULL;
	return lazy_new_shared(fr->end * PAGE_SIZE, fr->memfd);
}

static uint64_t round_up(uint64_t npages)
{
	return (npages + FANOUT - 1) / FANOUT * FANOUT;
}

struct frames *frames_create(const struct frames_config *cfg)
{
	uint64_t npages = cfg->npages;
	unsigned nnodes = cfg->nnodes;
	struct frames *fr;

	if (!npages || !nnodes || nnodes > UINT8_MAX || npages > 1ull << 40) {
		errno = EINVAL;
		return NULL;
	}
	fr = g_new0(struct frames, 1);
	fr->npages = npages;
	fr->nnodes = nnodes;
	fr->zero = HFN_NONE;
	fr->memfd = -1;
	default_distances(fr);
	fr->node_pages = round_up((npages + nnodes - 1) / nnodes);
	fr->first_table = round_up(npages);
	fr->end = fr->first_table + round_up(cfg->ntables);
	fr->frame = lazy_new(fr->end * sizeof(struct frame));
	fr->bytes = cfg->shared ? shared_bytes(fr) : lazy_new(fr->end * PAGE_SIZE);
	fr->map = map_new(fr);
	if (!fr->frame || !fr->bytes || !fr->map->block || !fr->map->giga) {
		frames_free(fr);
		errno = ENOMEM;
		return NULL;
	}
	map_mark_end(fr);
	return fr;
}

struct frames *frames_new(uint64_t npages, unsigned nnodes)
{
	const struct frames_config cfg = { .npages = npages, .nnodes = nnodes };

	return frames_create(&cfg);
}

void frames_free(struct frames *fr)
{
	struct frame_map *map = fr->map;

	lazy_free(map->block, fr->end / FANOUT * sizeof(struct region));
	lazy_free(map->giga, map_ngigas(fr) * sizeof(struct region));
	g_array_unref(map->runs);
	g_free(map->node);
	g_free(map);
	g_free(fr->distance);
	g_free(fr->nearest);
	lazy_free(fr->frame, fr->end * sizeof(struct frame));
	lazy_free(fr->bytes, fr->end * PAGE_SIZE);
	if (fr->memfd >= 0)
		close(fr->memfd);
	g_free(fr);
}

/* The lowest free block of a node, or -1. */
static int64_t node_find_block(struct frames *fr, struct node *node)
{
	for (uint64_t g = node->hint; g * FANOUT < node->end; g++) {
		uint64_t first = MAX(g * FANOUT, node->first), end = MIN((g + 1) * FANOUT, node->end);
		int i = region_first_free(&fr->map->giga[g], first - g * FANOUT, end - g * FANOUT);

		if (i >= 0) {
			node->hint = g;
			return (int64_t)(g * FANOUT) + i;
		}
		node->hint = g + 1;
	}
	return -1;
}

static int64_t node_alloc_frame(struct frames *fr, struct node *node, enum class class)
{
	int64_t b;
	int i;

	if (!node->head[class]) {
		b = node_find_block(fr, node);
		if (b >= 0)
			block_carve(fr, (uint64_t)b, class);
		else
			class = !class;
	}
	if (!node->head[class])
		return -1;
	b = node->head[class] - 1;
	i = region_first_free(&fr->map->block[b], 0, FANOUT);
	block_take_frames(fr, (uint64_t)b, (unsigned)i, (unsigned)i + 1);
	return b * FANOUT + i;
}

static int64_t node_alloc_block(struct frames *fr, struct node *node)
{
	int64_t b = node_find_block(fr, node);

	if (b < 0)
		return -1;
	region_set(&fr->map->giga[b / FANOUT], b % FANOUT);
	region_set_all(&fr->map->block[b]);
	return b * FANOUT;
}

static int64_t node_alloc_giga(struct frames *fr, struct node *node)
{
	struct frame_map *map = fr->map;

	for (uint64_t g = (node->first + FANOUT - 1) / FANOUT; (g + 1) * FANOUT <= node->end; g++) {
		if (map->giga[g].nused)
			continue;
		region_set_all(&map->giga[g]);
		for (unsigned i = 0; i < FANOUT; i++)
			region_set_all(&map->block[g * FANOUT + i]);
		return (int64_t)(g * GIGA_PAGES);
	}
	return -1;
}

static int64_t node_alloc(struct frames *fr, unsigned n, unsigned level, enum class class)
{
	struct node *node = &fr->map->node[n];
	int64_t hfn;

	if (level == 1)
		hfn = node_alloc_frame(fr, node, class);
	else if (level == 2)
		hfn = node_alloc_block(fr, node);
	else
		hfn = node_alloc_giga(fr, node);
	if (hfn >= 0)
		node->used += LEVEL_PAGES(level);
	return hfn;
}

int frames_alloc(struct frames *fr, unsigned level, unsigned node, bool strict, uint64_t owner, hfn_t *hfn)
{
	enum class class = OWNER_KIND(owner) == FRAME_TABLE ? CLASS_TABLE : CLASS_GUEST;
	bool counts_gfn = OWNER_KIND(owner) == FRAME_GUEST;
	int64_t got;

	g_assert(level >= 1 && level <= 3 && node < fr->nnodes);
	if (class == CLASS_TABLE && fr->end > fr->first_table) {
		node = fr->nnodes;
		strict = true;
	}
	got = node_alloc(fr, node, level, class);
	for (unsigned i = 1; got < 0 && !strict && i < fr->nnodes; i++)
		got = node_alloc(fr, frames_nearest(fr, node, i), level, class);
	if (got < 0)
		return -ENOMEM;
	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++) {
		fr->frame[(uint64_t)got + i].owner = owner + (counts_gfn ? i : 0);
		fr->frame[(uint64_t)got + i].refs = 1;
	}
	*hfn = (hfn_t)got;
	return 0;
}

/* Disown a frame; true if it held bytes here. */
static bool frame_disown(struct frame *f)
{
	enum frame_kind kind = FRAME_KIND(f);

	f->owner = 0;
	f->refs = 0;
	return kind == FRAME_TABLE || kind == FRAME_ARENA;
}

void frames_drop_bytes(struct frames *fr, hfn_t hfn, uint64_t npages)
{
	if (fr->memfd < 0)
		lazy_clear(fr->bytes + hfn * PAGE_SIZE, npages * PAGE_SIZE);
	else if (fallocate(fr->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(hfn * PAGE_SIZE),
			   (off_t)(npages * PAGE_SIZE)))
		g_error("cannot give memory back: %s", g_strerror(errno));
}

static void release_block(struct frames *fr, uint64_t b)
{
	bool bytes = false;

	for (unsigned i = 0; i < FANOUT; i++)
		bytes |= frame_disown(&fr->frame[b * FANOUT + i]);
	if (bytes)
		frames_drop_bytes(fr, b * FANOUT, FANOUT);
	region_clear_all(&fr->map->block[b]);
	block_return(fr, b);
}

void frames_release(struct frames *fr, hfn_t hfn, unsigned level)
{
	uint64_t npages = LEVEL_PAGES(level);

	g_assert(hfn % npages == 0 && hfn + npages <= fr->end);
	node_of_block(fr, hfn / FANOUT)->used -= npages;
	if (level == 1) {
		if (frame_disown(&fr->frame[hfn]))
			memset(fr->bytes + hfn * PAGE_SIZE, 0, PAGE_SIZE);
		block_give_frames(fr, hfn / FANOUT, hfn % FANOUT, hfn % FANOUT + 1);
		return;
	}
	for (uint64_t b = hfn / FANOUT; b < (hfn + npages) / FANOUT; b++)
		release_block(fr, b);
}

static bool block_is_free(const struct frame_map *map, uint64_t b)
{
	return !region_test(&map->giga[b / FANOUT], b % FANOUT);
}

/* How many blocks from @b on suit a run of @npages; the last may be one whose low frames are free. */
static uint64_t run_suits(const struct frame_map *map, uint64_t b, uint64_t npages)
{
	uint64_t full = npages / FANOUT, n = 0;
	unsigned rest = npages % FANOUT;

	while (n < full && block_is_free(map, b + n))
		n++;
	if (n == full && rest) {
		const struct region *r = &map->block[b + n];

		for (unsigned i = 0; i < rest; i++)
			if (region_test(r, i))
				return n;
		n++;
	}
	return n;
}

/* First fit: the first block of a run of @npages that begins in [from, to), or -1. */
static int64_t run_find(struct frames *fr, uint64_t npages, uint64_t from, uint64_t to, uint64_t align)
{
	uint64_t nblocks = (npages + FANOUT - 1) / FANOUT;

	for (uint64_t b = (from + align - 1) / align * align; b < to && b + nblocks <= fr->map->nblocks;) {
		uint64_t n = run_suits(fr->map, b, npages);

		if (n == nblocks)
			return (int64_t)b;
		b = (b + n + align) / align * align;
	}
	return -1;
}

/* Count the frames of [hfn, hfn + npages) in or out, node by node. */
static void run_account(struct frames *fr, hfn_t hfn, uint64_t npages, bool in)
{
	for (uint64_t end = hfn + npages; hfn < end;) {
		unsigned node = frames_node(fr, hfn);
		uint64_t n = MIN(end, (node + 1) * fr->node_pages) - hfn;

		fr->map->node[node].used += in ? n : -n;
		hfn += n;
	}
}

static void run_take(struct frames *fr, const struct run *run)
{
	uint64_t b = run->hfn / FANOUT, full = run->npages / FANOUT;
	unsigned rest = run->npages % FANOUT;

	for (uint64_t end = b + full; b < end; b++) {
		region_set(&fr->map->giga[b / FANOUT], b % FANOUT);
		region_set_all(&fr->map->block[b]);
	}
	if (rest) {
		if (block_is_free(fr->map, b))
			block_carve(fr, b, CLASS_GUEST);
		block_take_frames(fr, b, 0, rest);
	}
	run_account(fr, run->hfn, run->npages, true);
}

/* Where in the sorted array a run that begins at @hfn is, or belongs. */
static guint run_position(const struct frame_map *map, hfn_t hfn)
{
	guint lo = 0, hi = map->runs->len;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;

		if (g_array_index(map->runs, struct run, mid).hfn < hfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int frames_reserve(struct frames *fr, uint64_t npages, unsigned node, uint64_t owner, hfn_t *hfn)
{
	struct run run = { .npages = npages, .owner = owner };
	int64_t b = -1;

	g_assert(npages && node < fr->nnodes);
	for (uint64_t align = npages >= GIGA_PAGES ? FANOUT : 1; b < 0; align = 1) {
		uint64_t from = fr->map->node[node].first;

		b = run_find(fr, npages, from, fr->map->nblocks, align);
		if (b < 0)
			b = run_find(fr, npages, 0, from, align);
		if (align == 1)
			break;
	}
	if (b < 0)
		return -ENOMEM;
	*hfn = run.hfn = (hfn_t)b * FANOUT;
	run_take(fr, &run);
	g_array_insert_val(fr->map->runs, run_position(fr->map, run.hfn), run);
	return 0;
}

void frames_unreserve(struct frames *fr, hfn_t hfn)
{
	guint pos = run_position(fr->map, hfn);
	struct run run;

	g_assert(pos < fr->map->runs->len);
	run = g_array_index(fr->map->runs, struct run, pos);
	g_assert(run.hfn == hfn);
	g_array_remove_index(fr->map->runs, pos);
	frames_drop_bytes(fr, run.hfn, run.npages);
	run_account(fr, run.hfn, run.npages, false);
	for (uint64_t b = run.hfn / FANOUT; b < (run.hfn + run.npages) / FANOUT; b++) {
		region_clear_all(&fr->map->block[b]);
		block_return(fr, b);
	}
	if (run.npages % FANOUT)
		block_give_frames(fr, (run.hfn + run.npages) / FANOUT, 0, run.npages % FANOUT);
}

uint64_t frames_owner(const struct frames *fr, hfn_t hfn)
{
	const struct run *run;
	guint pos;

	if (hfn >= fr->end)
		return 0;
	if (fr->frame[hfn].owner)
		return fr->frame[hfn].owner;
	pos = run_position(fr->map, hfn + 1);
	if (!pos)
		return 0;
	run = &g_array_index(fr->map->runs, struct run, pos - 1);
	return hfn - run->hfn < run->npages ? run->owner + (hfn - run->hfn) : 0;
}

uint64_t frames_used_on(const struct frames *fr, unsigned node)
{
	return fr->map->node[node].used;
}

uint64_t frames_used(const struct frames *fr)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < fr->nnodes; n++)
		sum += frames_used_on(fr, n);
	return sum;
}
