/* SPDX-License-Identifier: MIT */
/*
 * gmem_disk.c - guest pages and the blocks of the guest's disk that equal them
 *
 * Problem: a host that swaps without asking its guests does not know that most of what it evicts lies on the guest's
 * own disk already, or is garbage that the guest will overwrite. VSwapper named what comes of it, and each has a
 * counter here:
 *
 *	silent writes		a page equal to its disk block is written to swap (swap_silent_writes)
 *	stale reads		a page is read from swap so that a disk read may overwrite it (swap_stale_reads)
 *	false reads		the same for a page that the guest zeroes or copies over (swap_false_reads)
 *	decayed sequentiality	neighbours in a file are apart in swap: one more read (swap_decayed)
 *	false page anonymity	a page of a file takes a place in swap instead of being dropped
 *				(swap_false_anonymous)
 *	double paging		the guest writes to its own swap what the host must read from its first
 *				(swap_double_paging)
 *
 * Idea. The disk device tells which page it read from or wrote to which block: an association, kept until the page
 * loses its contents, the block changes, or another one takes its place. A guest's stores do not break it, as nobody
 * sees them; so whoever counts compares contents (machine_ops.take). That costs the model nothing, and changes nothing
 * of what it models.
 *
 * The remedies do. With reclaimer.mapper an associated page is not writable: its first store faults and breaks the
 * association (flag DISK), so a page that has the flag is clean without looking, and is dropped instead of swapped
 * (state DROPPED). A touch reads it from the disk's image, with its neighbours in the file. Before a block changes,
 * pages dropped onto it are brought in. With reclaimer.preventer a page in swap that is about to be overwritten whole
 * (gmem_overwrite) forgets what it held; a disk read does that with the mapper too, as mapping a block replaces a page.
 *
 * Structures: the block + 1 of each associated gfn, lazily backed; from each block, a list of its gfns, linked both
 * ways by gfn + 1, the last to come first.
 *
 * Invariants (tests/unit/test_gmem_disk.c, tests/model/test_blk_model.c):
 *  - a page with flag DISK, or DROPPED, is associated, and its contents are those of its block;
 *  - no mapping of such a page is writable;
 *  - with the mapper, an associated page has the flag or is DROPPED.
 *
 * Source: Amit, Tsafrir, Schuster, VSwapper: A Memory Swapper for Virtualized Environments, ASPLOS 2014.
 */
#include "mm/gmem_disk.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"
#include "mm/lazy.h"
#include "mm/reclaim.h"

/* Pages of a file that one read would bring in if they lay together: 2^3, as vm.page-cluster has it. */
#define NEIGHBOURS 8

struct gmem_disk {
	struct gmem_backing backing;
	uint64_t *block;	/* [gfn] block + 1, 0: not associated */
	uint32_t *next, *prev;	/* [gfn] gfn + 1 in the block's list, 0: end */
	GHashTable *first;	/* block -> gfn + 1 */
	uint64_t last_read;	/* block of the page that came back from swap last, UINT64_MAX: none */
};

int gmem_set_backing(struct gmem *g, const struct gmem_backing *backing)
{
	uint64_t n = g->cfg.npages;
	struct gmem_disk *d;

	if (g->cfg.linear)
		return 0;
	g_assert(!g->disk && n < UINT32_MAX);
	d = g_new0(struct gmem_disk, 1);
	g->disk = d;
	d->backing = *backing;
	d->first = g_hash_table_new(g_direct_hash, g_direct_equal);
	d->last_read = UINT64_MAX;
	d->block = lazy_new(n * sizeof(*d->block));
	d->next = lazy_new(n * sizeof(*d->next));
	d->prev = lazy_new(n * sizeof(*d->prev));
	return d->block && d->next && d->prev ? 0 : ERR(-ENOMEM);
}

void gmem_disk_free(struct gmem *g)
{
	struct gmem_disk *d = g->disk;
	uint64_t n = g->cfg.npages;

	if (!d)
		return;
	lazy_free(d->block, n * sizeof(*d->block));
	lazy_free(d->next, n * sizeof(*d->next));
	lazy_free(d->prev, n * sizeof(*d->prev));
	g_hash_table_unref(d->first);
	g_free(d);
}

static bool mapper(const struct gmem *g)
{
	return g->reclaim && g->reclaim->mapper;
}

static gpointer key_of(uint64_t block)
{
	return GSIZE_TO_POINTER(block);
}

/* gfn + 1 of the first page associated with @block, 0: none */
static uint32_t first_of(const struct gmem_disk *d, uint64_t block)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(d->first, key_of(block)));
}

static void set_first(struct gmem_disk *d, uint64_t block, uint32_t first)
{
	if (first)
		g_hash_table_insert(d->first, key_of(block), GUINT_TO_POINTER(first));
	else
		g_hash_table_remove(d->first, key_of(block));
}

uint64_t gmem_disk_block(const struct gmem *g, gfn_t gfn)
{
	return g->disk && gfn < g->cfg.npages && g->disk->block[gfn] ? g->disk->block[gfn] - 1 : UINT64_MAX;
}

void gmem_disk_forget(struct gmem *g, gfn_t gfn)
{
	struct gmem_disk *d = g->disk;
	uint32_t next = d->next[gfn], prev = d->prev[gfn];

	g->page[gfn] &= ~WORD_DISK;
	if (!d->block[gfn])
		return;
	if (prev)
		d->next[prev - 1] = next;
	else
		set_first(d, d->block[gfn] - 1, next);
	if (next)
		d->prev[next - 1] = prev;
	d->block[gfn] = 0;
	d->next[gfn] = d->prev[gfn] = 0;
}

static void link_page(struct gmem_disk *d, gfn_t gfn, uint64_t block)
{
	uint32_t next = first_of(d, block);

	d->block[gfn] = block + 1;
	d->next[gfn] = next;
	if (next)
		d->prev[next - 1] = (uint32_t)gfn + 1;
	set_first(d, block, (uint32_t)gfn + 1);
}

/* From now on a store to the page faults. */
static void protect(struct gmem *g, gfn_t gfn)
{
	bool large = g->block[gfn / LEVEL_PAGES(2)].level > 1;

	if (large) {
		gmem_unmap(g, gfn, 1);
		gmem_shatter(g, gfn);
	} else if (g->paging) {
		g->paging->ops->wrprotect(g->paging, gfn, 1);
	}
	g->page[gfn] |= WORD_DISK;
	if (large)
		gmem_tell_mapped(g, gfn, 1);
}

/* @gfn and @block hold the same from now on. */
static void associate(struct gmem *g, gfn_t gfn, uint64_t block)
{
	gmem_disk_forget(g, gfn);
	if (word_state(g->page[gfn]) != PAGE_RESIDENT)
		return;
	link_page(g->disk, gfn, block);
	if (mapper(g))
		protect(g, gfn);
}

static bool watched(const struct gmem *g, gfn_t gfn)
{
	return g->disk && gfn >= g->run_pages && gfn < g->cfg.npages;
}

int gmem_page_from_disk(struct gmem *g, gfn_t gfn, uint64_t block, const struct page_content *in)
{
	int err;

	gmem_overwrite(g, gfn, FAULT_DMA);
	err = gmem_write_page(g, gfn, in);
	if (!err && watched(g, gfn))
		associate(g, gfn, block);
	return err;
}

int gmem_page_to_disk(struct gmem *g, gfn_t gfn, uint64_t block, struct page_content *out)
{
	int err;

	if (watched(g, gfn) && word_swapped(g->page[gfn]) && block >= g->disk->backing.file_pages)
		g->c->swap_double_paging++;
	err = gmem_read_page(g, gfn, out);
	if (!err)
		err = gmem_disk_changes(g, block, 1);
	if (!err && watched(g, gfn))
		associate(g, gfn, block);
	return err;
}

int gmem_disk_changes(struct gmem *g, uint64_t block, uint64_t npages)
{
	struct gmem_page page;
	uint32_t first;

	for (uint64_t end = block + npages; g->disk && block < end; block++) {
		while ((first = first_of(g->disk, block))) {
			gfn_t gfn = first - 1;
			int err = 0;

			/* A store to it would bring it in and let it go. */
			if (word_state(g->page[gfn]) == PAGE_DROPPED)
				err = gmem_fault(g, gfn, ACC_W, FAULT_DMA, &page);
			if (err)
				return err;
			gmem_disk_forget(g, gfn);
		}
	}
	return 0;
}

void gmem_overwrite(struct gmem *g, gfn_t gfn, enum fault_source src)
{
	bool prevent = g->reclaim && (g->reclaim->preventer || (g->reclaim->mapper && src == FAULT_DMA));
	enum page_state state;

	if (gfn < g->run_pages || gfn >= g->cfg.npages)
		return;
	state = word_state(g->page[gfn]);
	if (!word_away(g->page[gfn]))
		return;
	if (prevent) {
		gmem_set(g, gfn, WORD(PAGE_ABSENT, 0), EVENT_OVERWRITE);
		g->c->swap_prevented++;
		/* The preventer emulates the stores into a buffer, and lets that take the page's place. */
		if (src == FAULT_CPU)
			gmem_charge(g, CHARGE_MOVE, 1);
	} else if (state == PAGE_SWAPPED) {
		g->c->swap_stale_reads += src == FAULT_DMA;
		g->c->swap_false_reads += src != FAULT_DMA;
	}
}

static void block_content(const struct gmem *g, gfn_t gfn, struct page_content *out)
{
	g->disk->backing.content(g->disk->backing.ctx, g->disk->block[gfn] - 1, out);
}

/* Does frame @hfn of @gfn hold what is on its block? */
static bool equals_block(struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	const struct machine_ops *ops = g->machine->ops;
	uint64_t a[PAGE_SIZE / 8], b[PAGE_SIZE / 8];
	struct page_content page, block;

	if (!g->disk || !g->disk->block[gfn])
		return false;
	block_content(g, gfn, &block);
	if (ops->take) {
		ops->take(g->machine, g->cfg.vm, gfn, hfn, &page);
		if (PATTERN_FAMILY(page.pattern.base) != PATTERN_BYTES &&
		    PATTERN_FAMILY(block.pattern.base) != PATTERN_BYTES)
			return page.pattern.base == block.pattern.base && page.pattern.stamp == block.pattern.stamp;
		page_content_bytes(&page, a);
	} else if (ops->read(g->machine, g->cfg.vm, gfn, hfn, 0, a, PAGE_SIZE)) {
		return false;
	}
	page_content_bytes(&block, b);
	return !memcmp(a, b, PAGE_SIZE);
}

void gmem_disk_count_evict(struct gmem *g, gfn_t gfn, hfn_t hfn, bool written)
{
	if (!equals_block(g, gfn, hfn))
		return;
	g->c->swap_false_anonymous++;
	g->c->swap_silent_writes += written;
}

void gmem_disk_count_read(struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	struct gmem_disk *d = g->disk;
	uint64_t block;

	if (!equals_block(g, gfn, hfn))
		return;
	block = d->block[gfn] - 1;
	g->c->swap_decayed += block != d->last_read && block / NEIGHBOURS == d->last_read / NEIGHBOURS;
	d->last_read = block;
}

int gmem_evict_to_disk(struct gmem *g, gfn_t gfn)
{
	hfn_t hfn;

	if (!watched(g, gfn) || !(g->page[gfn] & WORD_DISK))
		return -EBUSY;
	hfn = g->page[gfn] >> WORD_HFN;
	gmem_unmap(g, gfn, 1);
	gmem_shatter(g, gfn);
	g->machine->ops->release(g->machine, g->cfg.vm, gfn, hfn, 1);
	gmem_set(g, gfn, WORD(PAGE_DROPPED, g->disk->block[gfn] - 1), EVENT_EVICT);
	frames_release(g->frames, hfn, 1);
	g->c->swap_mapper_drops++;
	gmem_charge(g, CHARGE_RELEASE, 1);
	return 0;
}

void gmem_disk_peek(const struct gmem *g, gfn_t gfn, void *page)
{
	struct page_content content;

	block_content(g, gfn, &content);
	page_content_bytes(&content, page);
}

/* Frame @hfn gets what is on the block of DROPPED page @gfn, which is resident from then on. */
static int bring_in(struct gmem *g, gfn_t gfn, hfn_t hfn, uint64_t flags, enum event_cause cause)
{
	const struct machine_ops *ops = g->machine->ops;
	struct page_content content;
	uint8_t bytes[PAGE_SIZE];
	int err = 0;

	block_content(g, gfn, &content);
	if (ops->put) {
		ops->put(g->machine, g->cfg.vm, gfn, hfn, &content);
	} else {
		page_content_bytes(&content, bytes);
		err = ops->write(g->machine, g->cfg.vm, gfn, hfn, 0, bytes, PAGE_SIZE);
	}
	if (err)
		return err;
	gmem_set(g, gfn, WORD(PAGE_RESIDENT, hfn) | WORD_DISK | flags, cause);
	g->c->swap_mapper_reads++;
	gmem_charge(g, CHARGE_POPULATE, 1);
	return 0;
}

/* The first page dropped onto @block comes in too, ahead of its touch. */
static bool bring_ahead(struct gmem *g, uint64_t block)
{
	struct gmem_disk *d = g->disk;
	uint32_t at = first_of(d, block);
	hfn_t hfn;

	while (at && word_state(g->page[at - 1]) != PAGE_DROPPED)
		at = d->next[at - 1];
	if (!at || !g->reclaim->ops->room(g->reclaim, g))
		return false;
	if (frames_alloc(g->frames, 1, g->cfg.node, false, FRAME_OWNER(FRAME_GUEST, g->cfg.vm, at - 1), &hfn))
		return false;
	if (bring_in(g, at - 1, hfn, WORD_IDLE | WORD_AHEAD, EVENT_READAHEAD)) {
		frames_release(g->frames, hfn, 1);
		return false;
	}
	g->c->swap_readahead++;
	return true;
}

int gmem_disk_in(struct gmem *g, gfn_t gfn, enum fault_source src)
{
	struct gmem_disk *d = g->disk;
	uint64_t block = d->block[gfn] - 1, group = 1ull << g->reclaim->cluster;
	uint64_t begin = block, last = block, end = MIN((block & ~(group - 1)) + group, d->backing.npages);
	hfn_t hfn;
	int err = gmem_frame_for(g, gfn, &hfn);

	if (err)
		return err;
	err = bring_in(g, gfn, hfn, 0, EVENT_SWAP_IN);
	if (err) {
		frames_release(g->frames, hfn, 1);
		return ERR(err);
	}
	for (uint64_t b = block & ~(group - 1); b < end; b++) {
		if (b == block || !bring_ahead(g, b))
			continue;
		begin = MIN(begin, b);
		last = MAX(last, b);
	}
	d->backing.read(d->backing.ctx, begin, last - begin + 1);
	g->c->faults_prefetch += src == FAULT_PREFETCH;
	g->c->faults_dma += src == FAULT_DMA;
	g->c->faults_dropped += src == FAULT_CPU;
	if (src != FAULT_CPU)
		gmem_tell_mapped(g, gfn, 1);
	return 0;
}
