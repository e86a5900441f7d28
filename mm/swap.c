/* SPDX-License-Identifier: MIT */
/*
 * swap.c - swapping by the host
 *
 * Problem: guests were promised more memory than there is. When frames run out, pages must go to a device that is a
 * thousand times slower, and come back when they are touched; the guests know nothing of it.
 *
 * Idea. Eviction runs ahead of need: when fewer than `low` frames are free, a batch goes until `high` are, so that a
 * fault finds a frame, and what goes together lies together on the device and is written with one command. supply() is
 * the last resort. A victim goes one of three ways:
 *
 *	clean		the device still has its bytes (gmem_swap.c): nothing is written
 *	compressed	if there is a tier, it has room, and the page shrinks to three quarters or less
 *	device		otherwise
 *
 * Compressed pages have slots too, as in Linux' zswap, so a slot is a page's name in swap wherever its bytes are. The
 * tier takes host frames, as many as its bytes fill. A page that comes back from the device keeps its slot as the copy
 * of a clean page while less than half of the device is used. A read brings in the other pages of its aligned group of
 * 2^cluster slots, as far as frames are free for them.
 *
 * Structures: the owner (vm, gfn) of each slot; the slot + 1 of each frame whose page is clean; the compressed size of
 * each slot. All lazily backed.
 *
 * Invariants (swap_verify(), called by tests/model/test_swap_model.c): the pool holds each resident page of every guest
 * once; a slot is used if and only if one page is in it or has its copy there; the tier's bytes are the sum of its
 * pages'.
 *
 * Source: Linux mm/vmscan.c (watermarks), mm/swap_state.c (readahead, vm.page-cluster), mm/zswap.c.
 */
#define G_LOG_DOMAIN "mm"
#include "mm/swap.h"

#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/lazy.h"
#include "mm/swap_slots.h"

/* A page that compresses to more is not worth the processor's time: zsmalloc stores such pages whole. */
#define WORTH_BYTES (PAGE_SIZE * 3 / 4)
/* So many victims in a row that cannot go, and an eviction ahead of need gives up. */
#define GIVE_UP 64

struct swap {
	struct reclaimer base; /* first */
	struct swap_config cfg;
	struct frames *frames;
	struct machine *machine;
	struct swap_pool pool;
	struct swap_slots slots;
	GPtrArray *gmems;   /* by vm; NULL where none is attached */
	uint64_t *owner;    /* [nslots] FRAME_OWNER() of the page in it */
	uint16_t *nbytes;   /* [nslots] of a compressed page; 0: on the device */
	uint32_t *clean;    /* [frames] slot + 1 of the page's copy, or 0 */
	uint64_t ncached;   /* of those that are not 0 */
	uint64_t tier_bytes;
	GArray *tier;	    /* hfn_t: the frames of the tier */
	uint64_t evictions;
	uint64_t first, n;  /* slots written, not yet sent to the device */
};

static struct swap *to_swap(struct reclaimer *r)
{
	return (struct swap *)r;
}

static uint64_t nfree(const struct swap *s)
{
	return frames_total(s->frames) - frames_used(s->frames);
}

static struct gmem *gmem_of(const struct swap *s, uint64_t owner)
{
	return g_ptr_array_index(s->gmems, OWNER_VM(owner));
}

/* The tier shrinks as its bytes do; it grows by a page's worth after that page's frame has gone back. */
static int resize_tier(struct swap *s)
{
	uint64_t want = (s->tier_bytes + PAGE_SIZE - 1) / PAGE_SIZE;

	while (s->tier->len > want) {
		frames_release(s->frames, g_array_index(s->tier, hfn_t, s->tier->len - 1), 1);
		g_array_set_size(s->tier, s->tier->len - 1);
	}
	while (s->tier->len < want) {
		hfn_t hfn;

		if (frames_alloc(s->frames, 1, 0, false, FRAME_OWNER(FRAME_TIER, 0, 0), &hfn))
			return ERR(-ENOMEM);
		g_array_append_val(s->tier, hfn);
	}
	return 0;
}

static void free_slot(struct swap *s, uint64_t slot)
{
	s->machine->ops->drop(s->machine, slot);
	s->owner[slot] = 0;
	if (s->nbytes[slot]) {
		s->tier_bytes -= s->nbytes[slot];
		s->nbytes[slot] = 0;
		resize_tier(s);
	}
	swap_slots_give(&s->slots, slot);
}

static void swap_forget(struct reclaimer *r, hfn_t hfn)
{
	struct swap *s = to_swap(r);

	free_slot(s, s->clean[hfn] - 1);
	s->clean[hfn] = 0;
	s->ncached--;
}

static void swap_changed(struct reclaimer *r, struct gmem *g, gfn_t gfn, enum page_state from, uint64_t from_ref,
			 enum page_state to, uint64_t to_ref)
{
	struct swap *s = to_swap(r);

	(void)g;
	(void)gfn;
	if (from == PAGE_RESIDENT && to == PAGE_RESIDENT) {
		s->pool.policy->rename(&s->pool, (uint32_t)from_ref, (uint32_t)to_ref);
		s->clean[to_ref] = s->clean[from_ref];
		s->clean[from_ref] = 0;
		return;
	}
	if (from == PAGE_RESIDENT) {
		swap_pool_remove(&s->pool, from_ref);
		if (s->clean[from_ref])
			swap_forget(r, from_ref);
	} else if (to == PAGE_RESIDENT) {
		swap_pool_add(&s->pool, to_ref);
	} else if (from == PAGE_SWAPPED || from == PAGE_COMPRESSED) {
		free_slot(s, from_ref);
	}
}

/* Send what lies together to the device. */
static void write_out(struct swap *s)
{
	if (s->n)
		s->machine->ops->swap_io(s->machine, true, s->first, s->n);
	s->n = 0;
}

static void queue_write(struct swap *s, uint64_t slot)
{
	if (s->n && s->first + s->n != slot)
		write_out(s);
	if (!s->n)
		s->first = slot;
	s->n++;
}

/* The size of the page in the tier, or 0: to the device. */
static unsigned fit_in_tier(struct swap *s, struct gmem *g, hfn_t hfn)
{
	struct counters *c = gmem_counters(g);
	unsigned nbytes;

	if (!s->cfg.pool_frames)
		return 0;
	nbytes = s->machine->ops->compressed_size(s->machine, hfn);
	s->machine->ops->charge(s->machine, gmem_config(g)->vm, CHARGE_COMPRESS, 1);
	if (nbytes > WORTH_BYTES) {
		c->swap_incompressible++;
		return 0;
	}
	if (s->tier_bytes + nbytes > s->cfg.pool_frames * PAGE_SIZE) {
		c->swap_pool_full++;
		return 0;
	}
	return nbytes;
}

static int evict_dirty(struct swap *s, struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	struct counters *c = gmem_counters(g);
	uint64_t slot, owner = FRAME_OWNER(FRAME_GUEST, gmem_config(g)->vm, gfn);
	int err = swap_slots_take(&s->slots, &slot);
	unsigned nbytes;

	if (err)
		return ERR(err);
	nbytes = fit_in_tier(s, g, hfn);
	err = gmem_evict(g, gfn, nbytes ? PAGE_COMPRESSED : PAGE_SWAPPED, slot);
	if (err) {
		swap_slots_give(&s->slots, slot);
		return err;
	}
	s->owner[slot] = owner;
	if (!nbytes) {
		c->swap_writes++;
		queue_write(s, slot);
		return 0;
	}
	s->nbytes[slot] = (uint16_t)nbytes;
	s->tier_bytes += nbytes;
	c->swap_compressed++;
	c->compressed_bytes += nbytes;
	return resize_tier(s); /* a frame has just come back: cannot fail */
}

static int evict_clean(struct swap *s, struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	uint64_t slot = s->clean[hfn] - 1;
	int err;

	s->clean[hfn] = 0; /* the page takes its slot along */
	err = gmem_evict(g, gfn, PAGE_SWAPPED, slot);
	if (err) {
		s->clean[hfn] = (uint32_t)slot + 1;
		return err;
	}
	s->ncached--;
	gmem_counters(g)->swap_clean_drops++;
	return 0;
}

static int evict_one(struct swap *s)
{
	struct gmem *g;
	uint64_t owner;
	uint32_t hfn;
	int err;

	if (!s->pool.count)
		return -ENOMEM;
	hfn = s->pool.policy->victim(&s->pool);
	owner = frames_owner(s->frames, hfn);
	g = gmem_of(s, owner);
	err = s->clean[hfn] ? evict_clean(s, g, OWNER_GFN(owner), hfn) : evict_dirty(s, g, OWNER_GFN(owner), hfn);
	if (err) {
		gmem_counters(g)->swap_failures++;
		s->pool.policy->spare(&s->pool, hfn);
		return err;
	}
	s->evictions++;
	gmem_counters(g)->swap_outs++;
	return 0;
}

/* Evict until @want frames are free, or @patience victims in a row could not go. */
static int evict_until(struct swap *s, uint64_t want, uint64_t patience)
{
	uint64_t failed = 0;

	while (nfree(s) < want && failed < patience) {
		/* Only clean pages can go when the device is full. */
		if (!s->pool.count || (s->slots.nused == s->slots.nslots && !s->ncached))
			break;
		failed = evict_one(s) ? failed + 1 : 0;
	}
	write_out(s);
	return nfree(s) < want ? -ENOMEM : 0;
}

static int swap_supply(struct reclaimer *r, uint64_t npages)
{
	struct swap *s = to_swap(r);

	return evict_until(s, npages, s->pool.count);
}

static void swap_balance(struct reclaimer *r)
{
	struct swap *s = to_swap(r);

	if (nfree(s) < s->cfg.low)
		evict_until(s, s->cfg.high, GIVE_UP);
}

static bool swap_fetch(struct reclaimer *r, struct gmem *g, enum page_state state, uint64_t slot, hfn_t hfn, bool write)
{
	struct swap *s = to_swap(r);

	if (state == PAGE_COMPRESSED)
		s->machine->ops->charge(s->machine, gmem_config(g)->vm, CHARGE_DECOMPRESS, 1);
	if (state == PAGE_COMPRESSED || write || s->slots.nused * 2 > s->slots.nslots) {
		free_slot(s, slot);
		return false;
	}
	s->clean[hfn] = (uint32_t)slot + 1;
	s->ncached++;
	return true;
}

/* Is there a page on the device in @slot, and not in memory too? */
static bool only_on_device(const struct swap *s, uint64_t slot)
{
	struct gmem_page page;

	return swap_slots_used(&s->slots, slot) && !s->nbytes[slot] &&
	       !gmem_lookup(gmem_of(s, s->owner[slot]), OWNER_GFN(s->owner[slot]), &page) && page.state == PAGE_SWAPPED;
}

static void swap_read(struct reclaimer *r, uint64_t slot)
{
	struct swap *s = to_swap(r);
	uint64_t group = 1ull << s->cfg.cluster, first = slot & ~(group - 1), keep = s->cfg.low / 2, last = slot;
	uint64_t end = MIN(first + group, s->slots.nslots), begin = slot;

	for (uint64_t i = first; i < end; i++) {
		if (i == slot || nfree(s) <= keep || !only_on_device(s, i) ||
		    gmem_swap_ahead(gmem_of(s, s->owner[i]), OWNER_GFN(s->owner[i])))
			continue;
		begin = MIN(begin, i);
		last = MAX(last, i);
	}
	s->machine->ops->swap_io(s->machine, false, begin, last - begin + 1);
}

static const struct reclaimer_ops swap_ops = {
	.name = "swap",
	.supply = swap_supply,
	.balance = swap_balance,
	.changed = swap_changed,
	.fetch = swap_fetch,
	.read = swap_read,
	.forget = swap_forget,
};

static bool swap_young(void *ctx, hfn_t hfn)
{
	struct swap *s = ctx;
	uint64_t owner = frames_owner(s->frames, hfn);

	return gmem_test_clear_young(gmem_of(s, owner), OWNER_GFN(owner));
}

struct swap *swap_new(const struct swap_config *cfg, struct frames *fr, struct machine *m)
{
	struct swap *s = g_new0(struct swap, 1);

	g_assert(cfg->nslots && cfg->nslots < UINT32_MAX && cfg->low <= cfg->high);
	s->base.ops = &swap_ops;
	s->base.reserve = cfg->high;
	s->cfg = *cfg;
	s->frames = fr;
	s->machine = m;
	s->gmems = g_ptr_array_new();
	s->tier = g_array_new(FALSE, FALSE, sizeof(hfn_t));
	s->owner = lazy_new(cfg->nslots * sizeof(*s->owner));
	s->nbytes = lazy_new(cfg->nslots * sizeof(*s->nbytes));
	s->clean = lazy_new(frames_total(fr) * sizeof(*s->clean));
	swap_slots_init(&s->slots, cfg->nslots);
	if (!s->owner || !s->nbytes || !s->clean ||
	    swap_pool_init(&s->pool, cfg->policy, frames_total(fr), cfg->seed)) {
		swap_free(s);
		errno = ENOMEM;
		return NULL;
	}
	s->pool.young = swap_young;
	s->pool.ctx = s;
	return s;
}

void swap_free(struct swap *s)
{
	s->tier_bytes = 0;
	resize_tier(s);
	g_array_unref(s->tier);
	g_ptr_array_unref(s->gmems);
	lazy_free(s->owner, s->cfg.nslots * sizeof(*s->owner));
	lazy_free(s->nbytes, s->cfg.nslots * sizeof(*s->nbytes));
	lazy_free(s->clean, frames_total(s->frames) * sizeof(*s->clean));
	swap_slots_destroy(&s->slots);
	swap_pool_destroy(&s->pool);
	g_free(s);
}

void swap_attach(struct swap *s, struct gmem *g)
{
	unsigned vm = gmem_config(g)->vm;

	if (s->gmems->len <= vm)
		g_ptr_array_set_size(s->gmems, (gint)vm + 1);
	g_ptr_array_index(s->gmems, vm) = g;
	gmem_set_reclaimer(g, &s->base);
}

struct reclaimer *swap_reclaimer(struct swap *s)
{
	return &s->base;
}

uint64_t swap_evictions(const struct swap *s)
{
	return s->evictions;
}

uint64_t swap_pool_used(const struct swap *s)
{
	return s->tier->len;
}

struct tally {
	uint64_t resident, swapped, cached, bytes;
};

static const char *verify_page(const struct swap *s, struct gmem *g, gfn_t gfn, struct tally *t)
{
	uint64_t slot = 0, owner = FRAME_OWNER(FRAME_GUEST, gmem_config(g)->vm, gfn);
	struct gmem_page page;

	gmem_lookup(g, gfn, &page);
	if (page.state == PAGE_RESIDENT) {
		t->resident++;
		if (!s->clean[page.hfn])
			return NULL;
		t->cached++;
		slot = s->clean[page.hfn] - 1;
		if (page.access & ACC_W)
			return "a page with a copy in swap may be written";
	} else if (page.state == PAGE_SWAPPED || page.state == PAGE_COMPRESSED) {
		t->swapped++;
		slot = gmem_slot(g, gfn);
		t->bytes += s->nbytes[slot];
		if ((page.state == PAGE_COMPRESSED) != (s->nbytes[slot] != 0))
			return "a page is not in the tier its state says";
	} else {
		return NULL;
	}
	return swap_slots_used(&s->slots, slot) && s->owner[slot] == owner ? NULL : "a slot is not its page's";
}

int swap_verify(struct swap *s)
{
	struct tally t = { 0 };
	const char *why = NULL;

	for (unsigned vm = 0; vm < s->gmems->len; vm++) {
		struct gmem *g = g_ptr_array_index(s->gmems, vm);

		for (gfn_t gfn = g ? gmem_config(g)->arena_pages : 0; g && !why && gfn < gmem_config(g)->npages; gfn++)
			why = verify_page(s, g, gfn, &t);
	}
	if (!why && t.resident != s->pool.count)
		why = "the pool is not the resident pages";
	if (!why && (t.cached != s->ncached || t.cached + t.swapped != s->slots.nused))
		why = "slots leaked";
	if (!why && (t.bytes != s->tier_bytes || s->tier->len != (t.bytes + PAGE_SIZE - 1) / PAGE_SIZE))
		why = "the compressed tier's size is wrong";
	if (!why)
		return 0;
	g_warning("swap: %s", why);
	return -EUCLEAN;
}
