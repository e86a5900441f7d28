/* SPDX-License-Identifier: MIT */
/*
 * gmem_free.c - pages that the guest says are free, and still may use at any time
 *
 * Problem: a guest's free pages hold frames, or slots in swap, for contents that nobody will ever read. The balloon
 * takes them away for good; here the guest only says so, keeps the page, and writes to it without asking.
 *
 * Idea: two strengths of saying it.
 *
 *	reported	(VIRTIO_BALLOON_F_REPORTING) the page is released at once: ABSENT, the next touch is a fault
 *	hinted		(VIRTIO_BALLOON_F_FREE_PAGE_HINT) nothing is taken until frames are short; then hinted pages go
 *			before any page goes to swap, without being written anywhere
 *
 * A hint holds until the page is touched. To see that, a hinted page is unmapped (flag IDLE, as for test_clear_young)
 * and has flag HINTED; whatever touches it clears both, and the contents stay. What a hinted page had in swap is
 * dropped at once.
 *
 * A guest that fills its free pages with a value and looks for it later (VIRTIO_BALLOON_F_PAGE_POISON) must find it
 * again: such pages get flag POISON when they become ABSENT, and whoever populates them writes the value.
 *
 * Structures: a list per host of 2 MiB blocks that have hinted pages, oldest first, each at most once (flag listed of
 * the block, its count of hinted pages), so that it is bounded by memory and not by what a guest sends.
 *
 * Invariants (tests/unit/test_gmem_free.c): a HINTED page is RESIDENT and no mapping covers it; a page that was touched
 * after its hint keeps its contents; POISON is a flag of ABSENT and HINTED pages only.
 *
 * Source: VIRTIO 1.2, 5.5.6.7 and 5.5.6.8; QEMU hw/virtio/virtio-balloon.c for what hosts do with it.
 */
#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"

struct hinted_block {
	struct gmem *gmem;
	uint64_t block;
};

/* Of a host, while any block is listed; entries before @head are done with. */
struct hinted {
	GArray *blocks; /* of struct hinted_block */
	guint head;
};

void gmem_set_poison(struct gmem *g, uint32_t value)
{
	g->poison = (uint64_t)value << 32 | value;
}

int gmem_fill_poison(struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	uint64_t page[PAGE_SIZE / 8];

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = g->poison;
	g->c->balloon_poison_restored++;
	return g->machine->ops->write(g->machine, g->cfg.vm, gfn, hfn, 0, page, PAGE_SIZE);
}

static void list_block(struct gmem *g, uint64_t block)
{
	const struct hinted_block entry = { g, block };

	if (g->block[block].listed)
		return;
	if (!g->frames->hinted) {
		g->frames->hinted = g_new0(struct hinted, 1);
		g->frames->hinted->blocks = g_array_new(FALSE, FALSE, sizeof(entry));
	}
	g_array_append_val(g->frames->hinted->blocks, entry);
	g->block[block].listed = 1;
}

/* Entries before head go; so does the list with the last of them. */
static void trim(struct frames *fr)
{
	struct hinted *h = fr->hinted;

	if (h->head < h->blocks->len) {
		if (h->head > h->blocks->len / 2) {
			g_array_remove_range(h->blocks, 0, h->head);
			h->head = 0;
		}
		return;
	}
	g_array_unref(h->blocks);
	g_free(h);
	fr->hinted = NULL;
}

void gmem_forget_hints(struct gmem *g)
{
	struct hinted *h = g->frames->hinted;
	guint n = 0;

	if (!h)
		return;
	for (guint i = h->head; i < h->blocks->len; i++) {
		struct hinted_block entry = g_array_index(h->blocks, struct hinted_block, i);

		if (entry.gmem != g)
			g_array_index(h->blocks, struct hinted_block, n++) = entry;
	}
	g_array_set_size(h->blocks, n);
	h->head = 0;
	trim(g->frames);
}

/* Its contents, wherever they are, go; true if there was anything. */
static bool discard(struct gmem *g, gfn_t gfn, bool poison, enum event_cause cause)
{
	bool had = word_state(g->page[gfn]) != PAGE_ABSENT;

	if (had && gmem_release(g, gfn))
		return false;
	gmem_set(g, gfn, WORD(PAGE_ABSENT, 0) | (poison && g->poison ? WORD_POISON : 0), cause);
	return had;
}

uint64_t gmem_drop_hinted(struct frames *fr, uint64_t npages)
{
	uint64_t dropped = 0;

	while (fr->hinted && dropped < npages) {
		struct hinted_block e = g_array_index(fr->hinted->blocks, struct hinted_block, fr->hinted->head);
		gfn_t gfn = e.block * LEVEL_PAGES(2), end = MIN(gfn + LEVEL_PAGES(2), e.gmem->cfg.npages);

		for (; e.gmem->block[e.block].hinted && gfn < end && dropped < npages; gfn++) {
			if (!(e.gmem->page[gfn] & WORD_HINTED))
				continue;
			discard(e.gmem, gfn, e.gmem->page[gfn] & WORD_POISON, EVENT_HINT);
			e.gmem->c->balloon_hints_dropped++;
			dropped++;
		}
		if (e.gmem->block[e.block].hinted)
			break;
		e.gmem->block[e.block].listed = 0;
		fr->hinted->head++;
		trim(fr);
	}
	return dropped;
}

/* Call @part for what each 2 MiB block with present pages has of the range. */
static int by_block(struct gmem *g, gfn_t gfn, uint64_t npages, bool poison,
		    void (*part)(struct gmem *g, gfn_t gfn, gfn_t end, bool poison))
{
	if (gfn >= g->cfg.npages || npages > g->cfg.npages - gfn)
		return ERR(-EFAULT);
	if (gfn < g->run_pages)
		return ERR(-EBUSY);
	for (gfn_t end = gfn + npages, next; gfn < end; gfn = next) {
		next = MIN(end, block_start(gfn, 2) + LEVEL_PAGES(2));
		if (g->block[gfn / LEVEL_PAGES(2)].present)
			part(g, gfn, next, poison);
	}
	return 0;
}

/* One page of a block that is unmapped. */
static void hint(struct gmem *g, gfn_t gfn, bool poison)
{
	uint64_t word = g->page[gfn];

	if (word_away(word)) {
		discard(g, gfn, poison, EVENT_HINT);
		g->c->balloon_hints_dropped++;
	} else if (word_state(word) == PAGE_RESIDENT && !(word & WORD_HINTED)) {
		word &= ~(WORD_TOUCHED | WORD_AHEAD | WORD_POISON);
		gmem_set(g, gfn, word | WORD_IDLE | WORD_HINTED | (poison && g->poison ? WORD_POISON : 0), EVENT_HINT);
	}
}

static void hint_part(struct gmem *g, gfn_t gfn, gfn_t end, bool poison)
{
	gmem_unmap(g, gfn, end - gfn);
	for (gfn_t i = gfn; i < end; i++)
		hint(g, i, poison);
	if (g->block[gfn / LEVEL_PAGES(2)].hinted)
		list_block(g, gfn / LEVEL_PAGES(2));
}

int gmem_hint(struct gmem *g, gfn_t gfn, uint64_t npages, bool poison)
{
	return by_block(g, gfn, npages, poison, hint_part);
}

/* A whole large backing goes at once, and is not split for it. True if that was so. */
static bool release_block(struct gmem *g, gfn_t gfn, bool poison)
{
	uint64_t n = LEVEL_PAGES(2), flags = poison && g->poison ? WORD_POISON : 0;
	hfn_t hfn = g->page[gfn] >> WORD_HFN;

	if (g->block[gfn / n].level == 3)
		gmem_split(g, gfn);
	if (g->block[gfn / n].level != 2)
		return false;
	gmem_unmap(g, gfn, n);
	g->machine->ops->release(g->machine, g->cfg.vm, gfn, hfn, n);
	gmem_set_level(g, gfn / n, 1);
	for (uint64_t i = 0; i < n; i++) {
		gmem_set(g, gfn + i, WORD(PAGE_ABSENT, 0) | flags, EVENT_REPORT);
		if (g->dirty)
			gmem_mark_dirty(g, gfn + i);
	}
	frames_release(g->frames, hfn, 2);
	g->c->pages_released += n;
	gmem_charge(g, CHARGE_RELEASE, n);
	return true;
}

static void report_part(struct gmem *g, gfn_t gfn, gfn_t end, bool poison)
{
	if (end - gfn == LEVEL_PAGES(2) && release_block(g, gfn, poison)) {
		g->c->balloon_reported_released += LEVEL_PAGES(2);
		return;
	}
	for (gfn_t i = gfn; i < end; i++)
		if (word_state(g->page[i]) != PAGE_ABSENT && word_state(g->page[i]) != PAGE_BALLOONED)
			g->c->balloon_reported_released += discard(g, i, poison, EVENT_REPORT);
}

int gmem_report(struct gmem *g, gfn_t gfn, uint64_t npages, bool poison)
{
	return by_block(g, gfn, npages, poison, report_part);
}
