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
 * A VM may have a limit, as a cgroup's memory.high: the frame for a fault beyond it comes from the VM itself, and
 * balance() takes what is too much, a batch each time. It bends where nothing of the VM can go.
 *
 * Merged pages (mm/gmem_share.c) are in no pool, and go only when nothing else can, or when there is little else; see
 * swap_merged.c. Pages of the zero frame never go: all of them together would give one frame.
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
#include "mm/swap_impl.h"

/* A page that compresses to more is not worth the processor's time: zsmalloc stores such pages whole. */
#define WORTH_BYTES (PAGE_SIZE * 3 / 4)
/* So many victims in a row that cannot go, and an eviction ahead of need gives up. */
#define GIVE_UP 64
/* Most pages that go at once because their VM is beyond its limit. */
#define LIMIT_BATCH 64
/* So many merged pages for each that is not, and they are victims like others. */
#define MERGED_RATIO 4

static struct swap *to_swap(struct reclaimer *r)
{
	return (struct swap *)r;
}

/* The compressed page in @slot is no longer there. */
static void leave_tier(struct swap *s, uint64_t slot)
{
	struct gmem *g = swap_gmem(s, s->owner[slot]);

	swap_patch_gone(s, g, slot);
	gmem_counters(g)->compressed_size -= s->tier.nbytes[slot];
	swap_tier_remove(&s->tier, slot);
}

static void free_slot(struct swap *s, uint64_t slot)
{
	s->machine->ops->drop(s->machine, slot);
	if (s->shadow[slot]) /* do not touch what was never used */
		s->shadow[slot] = 0;
	if (swap_tier_has(&s->tier, slot))
		leave_tier(s, slot);
	s->owner[slot] = 0;
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
	unsigned vm = gmem_config(g)->vm;

	(void)gfn;
	s->nmerged += (uint64_t)(to == PAGE_SHARED) - (from == PAGE_SHARED);
	if (from == PAGE_RESIDENT && to == PAGE_RESIDENT) {
		struct swap_pool *pool = swap_whom_pool(&s->whom, swap_whom_vm(&s->whom, vm));

		pool->policy->rename(pool, (uint32_t)from_ref, (uint32_t)to_ref);
		s->clean[to_ref] = s->clean[from_ref];
		s->clean[from_ref] = 0;
		return;
	}
	if (from == PAGE_RESIDENT) {
		swap_whom_remove(&s->whom, vm, from_ref);
		if (s->clean[from_ref])
			swap_forget(r, from_ref);
	} else if (to == PAGE_RESIDENT) {
		swap_whom_add(&s->whom, vm, to_ref, s->refault);
		s->refault = 0;
	} else if ((from == PAGE_SWAPPED || from == PAGE_COMPRESSED) && to != PAGE_SWAPPED) {
		free_slot(s, from_ref);
	}
}

void swap_write_out(struct swap *s)
{
	if (s->n)
		s->machine->ops->swap_io(s->machine, true, s->first, s->n);
	s->n = 0;
}

static void queue_write(struct swap *s, uint64_t slot)
{
	if (s->n && s->first + s->n != slot)
		swap_write_out(s);
	if (!s->n)
		s->first = slot;
	s->n++;
}

/* One page of the tier goes to the device, and its slot with it. False: it cannot. */
static bool write_back(struct swap *s, uint64_t slot)
{
	struct gmem *g = swap_gmem(s, s->owner[slot]);
	struct counters *c = gmem_counters(g);

	if (gmem_write_back(g, OWNER_GFN(s->owner[slot]))) {
		c->swap_failures++;
		return false;
	}
	s->machine->ops->charge(s->machine, gmem_config(g)->vm, CHARGE_DECOMPRESS, 1);
	leave_tier(s, slot);
	c->swap_writebacks++;
	queue_write(s, slot);
	return true;
}

bool swap_tier_fits(const struct swap *s, unsigned nbytes)
{
	uint64_t growth = swap_tier_growth(&s->tier, nbytes);

	return s->tier.want + growth <= s->cfg.pool_frames && growth <= swap_nfree(s) + 1;
}

/* A full tier writes its oldest pages to the device, a tenth of it at once, if it is told to. */
static bool tier_has_room(struct swap *s, unsigned nbytes)
{
	struct swap_tier *t = &s->tier;
	uint64_t limit = s->cfg.pool_frames, aim = limit - limit / 10;

	if (t->want + swap_tier_growth(t, nbytes) > limit && s->cfg.writeback)
		while (t->count && (t->want > aim || t->want + swap_tier_growth(t, nbytes) > limit) &&
		       write_back(s, swap_tier_oldest(t)))
			;
	return swap_tier_fits(s, nbytes);
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
	if (!tier_has_room(s, nbytes)) {
		c->swap_pool_full++;
		return 0;
	}
	return nbytes;
}

int swap_put_in_tier(struct swap *s, struct gmem *g, uint64_t slot, unsigned nbytes)
{
	struct counters *c = gmem_counters(g);

	c->swap_compressed++;
	c->compressed_bytes += nbytes;
	c->compressed_size += nbytes;
	return swap_tier_add(&s->tier, slot, nbytes);
}

int swap_evict_dirty(struct swap *s, struct gmem *g, gfn_t gfn, hfn_t hfn)
{
	struct counters *c = gmem_counters(g);
	uint64_t slot, owner = FRAME_OWNER(FRAME_GUEST, gmem_config(g)->vm, gfn);
	int err = swap_slots_take(&s->slots, &slot);
	unsigned nbytes;

	if (err)
		return ERR(err);
	/* The tier grows by what the page's frame gives back: a merged frame stays until its last page has gone. */
	nbytes = frames_get(s->frames, hfn)->refs == 1 ? fit_in_tier(s, g, hfn) : 0;
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
	return swap_put_in_tier(s, g, slot, nbytes);
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

/* What the policy has to say of a page that went, until it comes back. One that is on its guest's disk has no slot. */
static void remember(struct swap *s, struct gmem *g, gfn_t gfn, uint32_t shadow)
{
	struct gmem_page page;

	gmem_lookup(g, gfn, &page);
	if (page.state == PAGE_SWAPPED || page.state == PAGE_COMPRESSED)
		s->shadow[gmem_slot(g, gfn)] = shadow;
}

/* @pool is not empty. */
static int evict_one(struct swap *s, struct swap_pool *pool)
{
	uint32_t hfn = pool->policy->victim(pool);
	uint64_t owner = frames_owner(s->frames, hfn);
	struct gmem *g = swap_gmem(s, owner);
	gfn_t gfn = OWNER_GFN(owner);
	int err;

	if (s->base.sharer && s->base.sharer->share(s->base.sharer, g, gfn)) {
		s->evictions++;
		gmem_counters(g)->swap_shared++;
		return 0;
	}
	err = gmem_evict_to_disk(g, gfn);
	if (err)
		err = s->clean[hfn] ? evict_clean(s, g, gfn, hfn) : swap_evict_dirty(s, g, gfn, hfn);
	if (err) {
		gmem_counters(g)->swap_failures++;
		pool->policy->spare(pool, hfn);
		return err;
	}
	if (pool->policy->evicted)
		remember(s, g, gfn, pool->policy->evicted(pool));
	s->evictions++;
	gmem_counters(g)->swap_outs++;
	return 0;
}

/* Can any page go? Only clean ones when the device is full; of those that the mapper could drop there is no count. */
static bool has_victims(const struct swap *s)
{
	return s->whom.count && (s->slots.nused < s->slots.nslots || s->ncached || s->base.mapper);
}

/* Who is beyond its limit gives first, unless that has failed @failed times. */
static struct swap_pool *next_pool(struct swap *s, uint64_t failed)
{
	struct swap_vm *over = failed < GIVE_UP ? swap_whom_over(&s->whom) : NULL;

	return over ? swap_whom_pool(&s->whom, over) : swap_whom_next(&s->whom);
}

/* Evict until @want frames are free, or @patience victims in a row could not go. */
static int evict_until(struct swap *s, uint64_t want, uint64_t patience)
{
	uint64_t failed = 0;

	/* What nobody needs goes first. */
	if (swap_nfree(s) < want)
		gmem_drop_hinted(s->frames, want - swap_nfree(s));
	while (swap_nfree(s) < want && failed < patience && has_victims(s))
		failed = evict_one(s, next_pool(s, failed)) ? failed + 1 : 0;
	swap_write_out(s);
	return swap_nfree(s) < want ? -ENOMEM : 0;
}

/* Evict @n pages of @vm alone, as many as can go; true if they went. */
static bool evict_from(struct swap *s, struct swap_vm *vm, uint64_t n)
{
	struct swap_pool *pool = swap_whom_pool(&s->whom, vm);
	struct counters *c = gmem_counters(vm->g);
	unsigned failed = 0;

	while (n && failed < GIVE_UP && pool->count && has_victims(s)) {
		uint64_t before = c->swap_outs; /* it may have merged instead */

		if (evict_one(s, pool)) {
			failed++;
			continue;
		}
		failed = 0;
		n--;
		c->swap_outs_limit += c->swap_outs - before;
	}
	swap_write_out(s);
	return !n;
}

static bool swap_admit(struct reclaimer *r, struct gmem *g, uint64_t npages)
{
	struct swap *s = to_swap(r);
	struct swap_vm *vm = swap_whom_vm(&s->whom, gmem_config(g)->vm);

	if (vm->limit == UINT64_MAX || vm->resident + npages <= vm->limit)
		return true;
	/* A large block would push out what it has; a single page must be had. */
	return npages == 1 && evict_from(s, vm, MIN(vm->resident + 1 - vm->limit, LIMIT_BATCH));
}

/*
 * Are there so few pages with frames of their own that they would be driven out again and again by the merged ones,
 * which nobody asks for?
 */
static bool mostly_merged(const struct swap *s)
{
	return s->nmerged > MERGED_RATIO * s->whom.count;
}

static int swap_supply(struct reclaimer *r, uint64_t npages)
{
	struct swap *s = to_swap(r);

	if (!mostly_merged(s) && !evict_until(s, npages, s->whom.count + GIVE_UP))
		return 0;
	/* Looking for merged pages costs the same for one as for many. */
	swap_evict_merged(s, MAX(npages, s->cfg.high));
	return evict_until(s, npages, s->whom.count + GIVE_UP);
}

static bool swap_supply_own(struct reclaimer *r, struct gmem *g)
{
	struct swap *s = to_swap(r);

	return evict_from(s, swap_whom_vm(&s->whom, gmem_config(g)->vm), 1);
}

static void swap_balance(struct reclaimer *r)
{
	struct swap *s = to_swap(r);
	struct swap_vm *over = swap_whom_over(&s->whom);

	if (over)
		evict_from(s, over, MIN(over->resident - over->limit, LIMIT_BATCH));
	if (swap_nfree(s) >= s->cfg.low)
		return;
	if (mostly_merged(s))
		swap_evict_merged(s, s->cfg.high);
	evict_until(s, s->cfg.high, GIVE_UP);
}

static bool swap_fetch(struct reclaimer *r, struct gmem *g, enum page_state state, uint64_t slot, hfn_t hfn, bool write)
{
	struct swap *s = to_swap(r);

	if (swap_is_patch(s, slot))
		gmem_counters(g)->patch_faults++;
	s->refault = s->shadow[slot];
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

	return swap_slots_used(&s->slots, slot) && !swap_tier_has(&s->tier, slot) &&
	       !gmem_lookup(swap_gmem(s, s->owner[slot]), OWNER_GFN(s->owner[slot]), &page) &&
	       page.state == PAGE_SWAPPED;
}

/* May its VM have a page more, and the one that it is waiting for, without another having to go? */
static bool has_room(const struct swap *s, uint64_t owner)
{
	const struct swap_vm *vm = swap_whom_vm(&s->whom, OWNER_VM(owner));

	return vm->limit == UINT64_MAX || vm->resident + 2 <= vm->limit;
}

static void swap_read(struct reclaimer *r, uint64_t slot)
{
	struct swap *s = to_swap(r);
	uint64_t group = 1ull << s->cfg.cluster, first = slot & ~(group - 1), keep = s->cfg.low / 2, last = slot;
	uint64_t end = MIN(first + group, s->slots.nslots), begin = slot;

	for (uint64_t i = first; i < end; i++) {
		if (i == slot || swap_nfree(s) <= keep || !only_on_device(s, i) || !has_room(s, s->owner[i]) ||
		    gmem_swap_ahead(swap_gmem(s, s->owner[i]), OWNER_GFN(s->owner[i])))
			continue;
		begin = MIN(begin, i);
		last = MAX(last, i);
	}
	s->machine->ops->swap_io(s->machine, false, begin, last - begin + 1);
}

static bool swap_room(struct reclaimer *r, struct gmem *g)
{
	struct swap *s = to_swap(r);

	return swap_nfree(s) > s->cfg.low / 2 && has_room(s, FRAME_OWNER(FRAME_GUEST, gmem_config(g)->vm, 0));
}

static const struct reclaimer_ops swap_ops = {
	.name = "swap",
	.admit = swap_admit,
	.supply = swap_supply,
	.supply_own = swap_supply_own,
	.balance = swap_balance,
	.changed = swap_changed,
	.fetch = swap_fetch,
	.read = swap_read,
	.room = swap_room,
	.forget = swap_forget,
};

static bool swap_young(void *ctx, hfn_t hfn)
{
	struct swap *s = ctx;
	uint64_t owner = frames_owner(s->frames, hfn);

	return gmem_test_clear_young(swap_gmem(s, owner), OWNER_GFN(owner));
}

static uint32_t swap_next_use(void *ctx, hfn_t hfn)
{
	struct swap *s = ctx;
	uint64_t owner = frames_owner(s->frames, hfn);

	return swap_future_next(s->cfg.future, OWNER_VM(owner), OWNER_GFN(owner));
}

bool swap_used(struct swap *s, unsigned vm, gfn_t gfn)
{
	struct swap_vm *v = swap_whom_vm(&s->whom, vm);
	struct swap_pool *pool = v ? swap_whom_pool(&s->whom, v) : NULL;
	struct gmem_page page;

	/* The arena is nobody's to take. */
	if (!v || gfn < gmem_config(v->g)->arena_pages)
		return true;
	if (!swap_future_note(s->cfg.future, vm, gfn))
		return false;
	if (pool->policy->used && !gmem_lookup(v->g, gfn, &page) && page.state == PAGE_RESIDENT)
		pool->policy->used(pool, (uint32_t)page.hfn);
	return true;
}

struct swap *swap_new(const struct swap_config *cfg, struct frames *fr, struct machine *m)
{
	struct swap *s = g_new0(struct swap, 1);

	g_assert(!cfg->policy->offline || cfg->future);
	g_assert(cfg->nslots && cfg->nslots < UINT32_MAX && cfg->low <= cfg->high);
	s->base.ops = &swap_ops;
	s->base.reserve = cfg->high;
	s->base.cluster = cfg->cluster;
	s->base.mapper = cfg->mapper;
	s->base.preventer = cfg->preventer;
	s->cfg = *cfg;
	s->frames = fr;
	s->machine = m;
	swap_patches_init(s);
	s->owner = lazy_new(cfg->nslots * sizeof(*s->owner));
	s->shadow = lazy_new(cfg->nslots * sizeof(*s->shadow));
	s->clean = lazy_new(frames_total(fr) * sizeof(*s->clean));
	swap_slots_init(&s->slots, cfg->nslots);
	if (swap_whom_init(&s->whom, cfg->policy, frames_total(fr), cfg->seed, cfg->order) ||
	    swap_tier_init(&s->tier, cfg->nslots, fr) || !s->owner || !s->shadow || !s->clean) {
		swap_free(s);
		errno = ENOMEM;
		return NULL;
	}
	s->whom.common.young = swap_young;
	s->whom.common.next_use = cfg->future ? swap_next_use : NULL;
	s->whom.common.ctx = s;
	return s;
}

void swap_free(struct swap *s)
{
	swap_tier_destroy(&s->tier);
	swap_patches_free(s);
	lazy_free(s->owner, s->cfg.nslots * sizeof(*s->owner));
	lazy_free(s->shadow, s->cfg.nslots * sizeof(*s->shadow));
	lazy_free(s->clean, frames_total(s->frames) * sizeof(*s->clean));
	swap_slots_destroy(&s->slots);
	swap_whom_destroy(&s->whom);
	g_free(s);
}

int swap_attach(struct swap *s, struct gmem *g)
{
	int err = swap_whom_attach(&s->whom, g);

	if (!err)
		gmem_set_reclaimer(g, &s->base);
	return err;
}

int swap_set_limit(struct swap *s, unsigned vm, uint64_t npages)
{
	struct swap_vm *v = swap_whom_vm(&s->whom, vm);

	return v ? swap_whom_limit(&s->whom, v, npages) : ERR(-ENOENT);
}

uint64_t swap_limit(const struct swap *s, unsigned vm)
{
	const struct swap_vm *v = swap_whom_vm(&s->whom, vm);

	return v ? v->limit : UINT64_MAX;
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
	return s->tier.held->len;
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
		t->bytes += s->tier.nbytes[slot];
		if ((page.state == PAGE_COMPRESSED) != swap_tier_has(&s->tier, slot))
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
	uint64_t pooled = 0;

	for (unsigned vm = 0; vm < s->whom.vms->len; vm++) {
		const struct swap_vm *v = swap_whom_vm(&s->whom, vm);
		uint64_t before = t.resident;

		for (gfn_t gfn = v ? gmem_config(v->g)->arena_pages : 0; v && !why && gfn < gmem_config(v->g)->npages;
		     gfn++)
			why = verify_page(s, v->g, gfn, &t);
		if (v && !why && (t.resident - before != v->resident || (v->own && v->pool.count != v->resident)))
			why = "a VM's pool is not its resident pages";
		pooled += v && v->own ? v->pool.count : 0;
	}
	if (!why && (t.resident != s->whom.count || s->whom.common.count + pooled != t.resident))
		why = "the pools are not the resident pages";
	if (!why && (t.cached != s->ncached || t.cached + t.swapped != s->slots.nused))
		why = "slots leaked";
	if (!why && (t.bytes != s->tier.bytes || s->tier.held->len != s->tier.want ||
		     s->tier.want * PAGE_SIZE < t.bytes || s->tier.want > MAX(s->cfg.pool_frames, 0)))
		why = "the compressed tier's size is wrong";
	if (!why)
		why = swap_patch_verify(s);
	if (!why)
		return 0;
	g_warning("swap: %s", why);
	return -EUCLEAN;
}
