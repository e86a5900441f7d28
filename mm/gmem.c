/* SPDX-License-Identifier: MIT */
/*
 * gmem.c - the state of every guest page, and faults on them
 *
 * Problem: balloon, dedup, swap, dirty logging and three paging modes all want to change what backs a guest page.
 * If each wrote its own metadata, a page could be swapped out and shared at once. And a guest of a terabyte must
 * cost nothing until it is touched, then a hundred nanoseconds and a few bytes a page.
 *
 * Idea: a page is one 64-bit word (gmem_impl.h): state, two flags, hfn. gmem_set() alone writes a new state or frame
 * into it. What concerns many pages at once is not in the word: the size of the backing is kept per 2 MiB block, as
 * are counts of present and of idle pages, so that "may this block be populated whole?" and "how large a leaf may map
 * this page?" are one load each. The words are anonymous memory, backed as they are written.
 *
 * The order of every change: (1) get what may fail (frames), (2) the paging mode unmaps, so that nobody can reach
 * the page any more, (3) the machine moves, clears or drops contents, (4) gmem_set(), (5) old frames go back.
 *
 * Young pages: test_clear_young() unmaps a page and sets IDLE; until it is touched no mapping may cover it, so its
 * block is mapped by smaller leaves and its own access is none. The first fault or DMA clears IDLE and sets TOUCHED,
 * which is how touches without an accessed bit are remembered.
 *
 * Invariants (held by tests/model/test_gmem_model.c against a naive model, and by tests/unit/test_gmem.c):
 *  - a SHARED or ZERO page's frame has kind SHARED and as many refs as pages map it (tests/model/test_dedup_model.c);
 *  - a RESIDENT page's frame has kind GUEST, this vm, this gfn; every such frame is some page's;
 *  - block and giga counts equal what a recount of their words gives;
 *  - a block of level 2 or 3 is wholly resident in one aligned, contiguous run;
 *  - counters change once per change of state of (vm, gfn); a fault that fails changes nothing;
 *  - contents follow the page: zero when first touched, then what was written, through moves and collapses.
 *
 * gmem_block.c: move, split. gmem_collapse.c: collapse. gmem_log.c: dirty log, young pages. gmem_balloon.c: pages given
 * up. gmem_share.c: merged pages. gmem_swap.c: out of memory and back. gmem_free.c: pages that the guest says are free.
 */
#include "mm/gmem.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "mm/err.h"
#include "mm/gmem_impl.h"
#include "mm/lazy.h"
#include "mm/reclaim.h"

const char *page_state_name(unsigned state)
{
	static const char *const names[PAGE_STATES] = {
		[PAGE_ABSENT] = "absent",	[PAGE_RESIDENT] = "resident", [PAGE_ZERO] = "zero",
		[PAGE_SHARED] = "shared",	[PAGE_BALLOONED] = "ballooned", [PAGE_SWAPPED] = "swapped",
		[PAGE_COMPRESSED] = "compressed", [PAGE_DROPPED] = "dropped",
	};

	return state < PAGE_STATES ? names[state] : "unknown";
}

static uint64_t nblocks(const struct gmem *g, unsigned level)
{
	return (g->cfg.npages + LEVEL_PAGES(level) - 1) / LEVEL_PAGES(level);
}

static void metadata_free(struct gmem *g)
{
	lazy_free(g->page, g->cfg.npages * sizeof(*g->page));
	lazy_free(g->block, nblocks(g, 2) * sizeof(*g->block));
	lazy_free(g->giga, nblocks(g, 3) * sizeof(*g->giga));
	g_free(g->dirty);
	gmem_disk_free(g);
	g_free(g);
}

struct gmem *gmem_new(const struct gmem_config *cfg, struct frames *fr, struct machine *m, struct counters *c,
		      struct events *ev)
{
	struct gmem *g = g_new0(struct gmem, 1);
	int err = -ENOMEM;

	g_assert(cfg->npages && cfg->arena_pages <= cfg->npages && cfg->arena_pages % LEVEL_PAGES(2) == 0);
	g_assert(cfg->level >= 1 && cfg->level <= 3 && cfg->vm <= UINT16_MAX && cfg->node < frames_nodes(fr));
	g->cfg = *cfg;
	g->frames = fr;
	g->machine = m;
	g->c = c;
	g->events = ev;
	g->page = lazy_new(cfg->npages * sizeof(*g->page));
	g->block = lazy_new(nblocks(g, 2) * sizeof(*g->block));
	g->giga = lazy_new(nblocks(g, 3) * sizeof(*g->giga));
	g->run_pages = cfg->linear ? cfg->npages : cfg->arena_pages;
	if (g->page && g->block && g->giga)
		err = 0;
	if (!err && g->run_pages)
		err = frames_reserve(fr, g->run_pages, cfg->node, FRAME_OWNER(FRAME_ARENA, cfg->vm, 0), &g->run);
	if (err) {
		metadata_free(g);
		errno = -ERR(err);
		return NULL;
	}
	c->pages_resident += g->run_pages - cfg->arena_pages;
	gmem_count_node(g, g->run + cfg->arena_pages, g->run_pages - cfg->arena_pages, 1);
	return g;
}

static void free_page(struct gmem *g, gfn_t gfn)
{
	hfn_t hfn = g->page[gfn] >> WORD_HFN;

	if (!word_mapped(g->page[gfn]) || --frames_get(g->frames, hfn)->refs)
		return;
	if (g->frames->zero == hfn)
		g->frames->zero = HFN_NONE;
	frames_release(g->frames, hfn, 1);
}

void gmem_free(struct gmem *g)
{
	gmem_forget_hints(g);
	for (uint64_t b = 0; b < nblocks(g, 2); b++) {
		gfn_t gfn = b * LEVEL_PAGES(2), end = MIN(gfn + LEVEL_PAGES(2), g->cfg.npages);

		if (g->block[b].level >= 2)
			frames_release(g->frames, g->page[gfn] >> WORD_HFN, 2);
		else if (g->block[b].present)
			for (; gfn < end; gfn++)
				free_page(g, gfn);
	}
	if (g->run_pages)
		frames_unreserve(g->frames, g->run);
	metadata_free(g);
}

void gmem_set_paging(struct gmem *g, struct paging *p)
{
	g->paging = p;
}

static void log_change(struct gmem *g, gfn_t gfn, enum page_state from, enum event_cause cause)
{
	uint64_t word = g->page[gfn];
	const struct event e = {
		.time_ns = g->machine->ops->now(g->machine),
		.gfn = gfn,
		.hfn = word_mapped(word) ? word >> WORD_HFN : HFN_NONE,
		.vm = (uint16_t)g->cfg.vm,
		.from = (uint8_t)from,
		.to = (uint8_t)word_state(word),
		.cause = (uint8_t)cause,
		.level = (uint8_t)MAX(g->block[gfn / LEVEL_PAGES(2)].level, 1),
	};

	events_add(g->events, &e);
}

void gmem_log_event(struct gmem *g, gfn_t gfn, enum event_cause cause)
{
	if (g->events)
		log_change(g, gfn, word_state(g->page[gfn]), cause);
}

/* Count a page in or out of its block and giga. */
static void count_present(struct gmem *g, gfn_t gfn, int by)
{
	g->block[gfn / LEVEL_PAGES(2)].present += by;
	g->giga[gfn / LEVEL_PAGES(3)].present += by;
}

static void count_hinted(struct gmem *g, gfn_t gfn, int by)
{
	struct gmem_block *b = &g->block[gfn / LEVEL_PAGES(2)];

	b->hinted = (b->hinted + (unsigned)by) & 0x3ff;
	g->c->pages_hinted += (uint64_t)(int64_t)by;
}

static void count_idle(struct gmem *g, gfn_t gfn, int by)
{
	g->block[gfn / LEVEL_PAGES(2)].idle += by;
	g->giga[gfn / LEVEL_PAGES(3)].idle += by;
}

void gmem_set(struct gmem *g, gfn_t gfn, uint64_t word, enum event_cause cause)
{
	uint64_t old = g->page[gfn];
	enum page_state from = word_state(old), to = word_state(word);

	g->page[gfn] = word;
	if (from != to) {
		count_present(g, gfn, (to != PAGE_ABSENT) - (from != PAGE_ABSENT));
		g->c->pages_resident += (uint64_t)(to == PAGE_RESIDENT) - (from == PAGE_RESIDENT);
		g->c->balloon_actual += (uint64_t)(to == PAGE_BALLOONED) - (from == PAGE_BALLOONED);
		g->c->pages_merged += (uint64_t)(to == PAGE_SHARED) - (from == PAGE_SHARED);
		g->c->ksm_zero_pages += (uint64_t)(to == PAGE_ZERO) - (from == PAGE_ZERO);
		g->c->pages_swapped += (uint64_t)(to == PAGE_SWAPPED) - (from == PAGE_SWAPPED);
		g->c->pages_compressed += (uint64_t)(to == PAGE_COMPRESSED) - (from == PAGE_COMPRESSED);
		g->c->pages_dropped += (uint64_t)(to == PAGE_DROPPED) - (from == PAGE_DROPPED);
	}
	if (g->disk && from != to && to != PAGE_RESIDENT && !word_away(word))
		gmem_disk_forget(g, gfn);
	if (from == PAGE_RESIDENT && (to != from || (old ^ word) >> WORD_HFN))
		gmem_count_node(g, old >> WORD_HFN, 1, -1);
	if (to == PAGE_RESIDENT && (to != from || (old ^ word) >> WORD_HFN))
		gmem_count_node(g, word >> WORD_HFN, 1, 1);
	if ((old ^ word) & WORD_IDLE)
		count_idle(g, gfn, word & WORD_IDLE ? 1 : -1);
	if ((old ^ word) & WORD_HINTED)
		count_hinted(g, gfn, word & WORD_HINTED ? 1 : -1);
	if (g->reclaim && (from != to || (old ^ word) >> WORD_HFN))
		g->reclaim->ops->changed(g->reclaim, g, gfn, from, old >> WORD_HFN, to, word >> WORD_HFN);
	if (g->watch && (from != to || cause == EVENT_YOUNG))
		g->watch->changed(g->watch, gfn, from, to, cause);
	if (g->events)
		log_change(g, gfn, from, cause);
}

void gmem_set_watch(struct gmem *g, struct gmem_watch *w)
{
	g->watch = w;
}

/* The largest leaf that may map a page of the run: its block must lie inside, and be aligned in the host too. */
static unsigned run_level(const struct gmem *g, gfn_t gfn)
{
	unsigned level = g->cfg.level;

	while (level > 1 && (block_start(gfn, level) + LEVEL_PAGES(level) > g->run_pages ||
			     g->run & (LEVEL_PAGES(level) - 1)))
		level--;
	return level;
}

/* The largest leaf that may map a page with a frame of its own. */
static unsigned map_level(const struct gmem *g, gfn_t gfn)
{
	const struct gmem_block *b = &g->block[gfn / LEVEL_PAGES(2)];

	if (g->dirty || b->level < 2 || b->idle)
		return 1;
	return b->level == 3 && g->giga[gfn / LEVEL_PAGES(3)].idle ? 2 : b->level;
}

static void describe(const struct gmem *g, gfn_t gfn, struct gmem_page *out)
{
	uint64_t word;

	*out = (struct gmem_page){ .state = PAGE_RESIDENT, .hfn = g->run + gfn, .access = ACC_RWX };
	if (gfn < g->run_pages) {
		out->level = run_level(g, gfn);
		return;
	}
	word = g->page[gfn];
	out->state = word_state(word);
	if (!word_mapped(word)) {
		*out = (struct gmem_page){ .state = out->state, .hfn = HFN_NONE, .level = 1 };
		return;
	}
	out->hfn = word >> WORD_HFN;
	out->level = map_level(g, gfn);
	if (word & WORD_IDLE)
		out->access = 0;
	else if (out->state != PAGE_RESIDENT)
		out->access &= ~ACC_W;
	else if (word & (WORD_CACHED | WORD_DISK) ||
		 (g->dirty && !g->log_by_cpu && !(g->dirty[gfn / 64] >> (gfn % 64) & 1)))
		out->access &= ~ACC_W;
}

int gmem_lookup(const struct gmem *g, gfn_t gfn, struct gmem_page *out)
{
	if (gfn >= g->cfg.npages)
		return -EFAULT;
	describe(g, gfn, out);
	return 0;
}

void gmem_tell_mapped(struct gmem *g, gfn_t gfn, unsigned level)
{
	struct gmem_page page;

	if (!g->paging || !g->paging->ops->map)
		return;
	for (gfn_t end = gfn + LEVEL_PAGES(level); gfn < end; gfn += LEVEL_PAGES(page.level)) {
		describe(g, gfn, &page);
		page.level = MIN(page.level, level);
		if (page.access)
			g->paging->ops->map(g->paging, gfn, &page);
	}
}

/* May the whole block of @level around an absent page be populated? */
static bool block_vacant(const struct gmem *g, gfn_t gfn, unsigned level)
{
	gfn_t start = block_start(gfn, level);

	if (start < g->cfg.arena_pages || start + LEVEL_PAGES(level) > g->cfg.npages)
		return false;
	return level == 2 ? !g->block[gfn / LEVEL_PAGES(2)].present : !g->giga[gfn / LEVEL_PAGES(3)].present;
}

/* Large backing must not eat what the reclaimer keeps free for tables. */
static bool spare(struct gmem *g, uint64_t npages)
{
	return !g->reclaim ||
	       (frames_total(g->frames) - frames_used(g->frames) >= npages + g->reclaim->reserve &&
		g->reclaim->ops->admit(g->reclaim, g, npages));
}

/* Frames for @gfn and, where possible, for the block around it. */
static int get_frames(struct gmem *g, gfn_t gfn, unsigned *level, hfn_t *hfn)
{
	for (*level = g->cfg.level; *level > 1; --*level)
		if (block_vacant(g, gfn, *level) && spare(g, LEVEL_PAGES(*level)) &&
		    !gmem_take_frames(g, gfn, *level, hfn))
			return 0;
	return gmem_frame_for(g, gfn, hfn);
}

static void count_populated(struct gmem *g, uint64_t npages, enum fault_source src)
{
	g->c->faults_prefetch += npages;
	if (src == FAULT_PREFETCH)
		return;
	g->c->faults_prefetch--;
	if (src == FAULT_CPU)
		g->c->faults_absent++;
	else
		g->c->faults_dma++;
}

/* ABSENT to RESIDENT, for one page or a block. */
static int populate(struct gmem *g, gfn_t gfn, enum fault_source src)
{
	static const enum event_cause causes[] = {
		[FAULT_CPU] = EVENT_FAULT, [FAULT_DMA] = EVENT_DMA, [FAULT_PREFETCH] = EVENT_PREFETCH,
	};
	unsigned level;
	uint64_t n;
	gfn_t start;
	hfn_t hfn;
	int err = get_frames(g, gfn, &level, &hfn);

	if (err)
		return err;
	n = LEVEL_PAGES(level);
	start = block_start(gfn, level);
	err = g->machine->ops->populate(g->machine, g->cfg.vm, start, hfn, n);
	for (uint64_t i = 0; i < n && !err; i++)
		if (g->page[start + i] & WORD_POISON)
			err = gmem_fill_poison(g, start + i, hfn + i);
	if (err) {
		frames_release(g->frames, hfn, level);
		return err;
	}
	if (level > 1)
		gmem_set_levels(g, start, level, level);
	for (uint64_t i = 0; i < n; i++)
		gmem_set(g, start + i, WORD(PAGE_RESIDENT, hfn + i),
			 start + i == gfn ? causes[src] : EVENT_PREFETCH);
	count_populated(g, n, src);
	gmem_charge(g, CHARGE_POPULATE, n);
	/* A vCPU's own fault maps what it finds; for the others somebody may map ahead. */
	if (src != FAULT_CPU)
		gmem_tell_mapped(g, start, level);
	return 0;
}

/* A touch of a resident page: true if it changed anything. */
static bool touch(struct gmem *g, gfn_t gfn, unsigned access, enum fault_source src)
{
	uint64_t word = g->page[gfn];
	bool changed = false;

	if (src == FAULT_PREFETCH)
		return false;
	if (word & WORD_IDLE) {
		if (word & WORD_HINTED)
			g->c->balloon_hints_revoked++;
		else if (word & WORD_AHEAD)
			g->c->swap_readahead_hits++;
		else
			g->c->faults_young++;
		word &= ~(WORD_IDLE | WORD_AHEAD | WORD_HINTED | WORD_POISON);
		gmem_set(g, gfn, word | WORD_TOUCHED, EVENT_YOUNG);
		changed = true;
	} else if (!(word & WORD_TOUCHED)) {
		g->page[gfn] |= WORD_TOUCHED;
	}
	if (word & WORD_CACHED && access & ACC_W) {
		gmem_uncache(g, gfn);
		changed = true;
	}
	if (word & WORD_DISK && access & ACC_W) {
		gmem_disk_forget(g, gfn);
		changed = true;
	}
	/* What the processor logs by itself it will log when it tries again. */
	if (g->dirty && access & ACC_W && !(g->log_by_cpu && src == FAULT_CPU))
		changed |= gmem_mark_dirty(g, gfn);
	return changed;
}

/* See that the page has a frame that @access may use; @changed if its state had to change. */
static int provide(struct gmem *g, gfn_t gfn, unsigned access, enum fault_source src, bool *changed)
{
	int err = 0;

	*changed = true;
	if (word_state(g->page[gfn]) == PAGE_BALLOONED)
		err = gmem_balloon_touch(g, gfn, src);
	if (err)
		return err;
	if (word_state(g->page[gfn]) == PAGE_ABSENT)
		return populate(g, gfn, src);
	if (word_mapped(g->page[gfn]) && word_state(g->page[gfn]) != PAGE_RESIDENT && access & ACC_W) {
		err = gmem_share_break(g, gfn);
		if (!err)
			g->c->faults_write_shared++;
		if (err != -EAGAIN)
			return err;
	}
	if (word_swapped(g->page[gfn]))
		return gmem_swap_in(g, gfn, access, src);
	if (word_state(g->page[gfn]) == PAGE_DROPPED)
		return gmem_disk_in(g, gfn, src);
	*changed = false;
	return word_mapped(g->page[gfn]) ? 0 : ERR(-EPERM);
}

int gmem_fault(struct gmem *g, gfn_t gfn, unsigned access, enum fault_source src, struct gmem_page *out)
{
	bool changed = false;
	int err;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages) {
		changed = gfn < g->cfg.arena_pages; /* outside the counts */
	} else {
		if (src == FAULT_CPU && g->reclaim && g->reclaim->at_faults && !word_mapped(g->page[gfn]))
			g->reclaim->ops->balance(g->reclaim);
		err = provide(g, gfn, access, src, &changed);
		if (err)
			return err;
		changed |= touch(g, gfn, access, src);
	}
	if (!changed && src == FAULT_CPU)
		g->c->faults_spurious++;
	describe(g, gfn, out);
	return 0;
}

int gmem_release(struct gmem *g, gfn_t gfn)
{
	bool resident;
	hfn_t hfn;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->run_pages)
		return ERR(-EBUSY);
	if (word_state(g->page[gfn]) == PAGE_ABSENT)
		return 0;
	if (word_away(g->page[gfn])) {
		gmem_set(g, gfn, WORD(PAGE_ABSENT, 0), EVENT_RELEASE);
		if (g->dirty)
			gmem_mark_dirty(g, gfn);
		return 0;
	}
	if (!word_mapped(g->page[gfn]))
		return ERR(-EPERM);
	gmem_unmap(g, gfn, 1);
	gmem_shatter(g, gfn);
	hfn = g->page[gfn] >> WORD_HFN;
	resident = word_state(g->page[gfn]) == PAGE_RESIDENT;
	if (resident)
		g->machine->ops->release(g->machine, g->cfg.vm, gfn, hfn, 1);
	gmem_set(g, gfn, WORD(PAGE_ABSENT, 0), EVENT_RELEASE);
	if (g->dirty)
		gmem_mark_dirty(g, gfn); /* it reads as zero from now on */
	if (resident)
		frames_release(g->frames, hfn, 1);
	else
		gmem_share_drop(g, gfn, hfn);
	g->c->pages_released++;
	gmem_charge(g, CHARGE_RELEASE, 1);
	return 0;
}

/* One page's share of a copy; exactly one of @in and @out is set. */
static int copy_page(struct gmem *g, gfn_t gfn, unsigned offset, void *out, const void *in, unsigned len)
{
	const struct machine_ops *ops = g->machine->ops;
	struct gmem_page page;
	int err;

	if (gfn < g->cfg.arena_pages) {
		uint8_t *bytes = gmem_arena(g) + gfn * PAGE_SIZE + offset;

		if (in)
			memcpy(bytes, in, len);
		else
			memcpy(out, bytes, len);
		return 0;
	}
	err = gmem_fault(g, gfn, in ? ACC_W : ACC_R, FAULT_DMA, &page);
	if (err)
		return err;
	return in ? ops->write(g->machine, g->cfg.vm, gfn, page.hfn, offset, in, len) :
		    ops->read(g->machine, g->cfg.vm, gfn, page.hfn, offset, out, len);
}

static int copy(struct gmem *g, gpa_t gpa, uint8_t *out, const uint8_t *in, size_t len)
{
	uint64_t size = g->cfg.npages << PAGE_SHIFT;
	int err = 0;

	g_assert(in || out);
	if (gpa > size || len > size - gpa)
		return ERR(-EFAULT);
	while (len && !err) {
		unsigned offset = gpa % PAGE_SIZE, n = (unsigned)MIN(len, PAGE_SIZE - offset);

		err = copy_page(g, gpa >> PAGE_SHIFT, offset, out, in, n);
		gpa += n;
		len -= n;
		if (in)
			in += n;
		else
			out += n;
	}
	return err;
}

int gmem_read(struct gmem *g, gpa_t gpa, void *buf, size_t len)
{
	return copy(g, gpa, buf, NULL, len);
}

int gmem_write(struct gmem *g, gpa_t gpa, const void *buf, size_t len)
{
	return copy(g, gpa, NULL, buf, len);
}

int gmem_peek(const struct gmem *g, gfn_t gfn, void *page)
{
	struct gmem_page p;

	if (gfn >= g->cfg.npages)
		return ERR(-EFAULT);
	if (gfn < g->cfg.arena_pages) {
		memcpy(page, gmem_arena(g) + gfn * PAGE_SIZE, PAGE_SIZE);
		return 0;
	}
	describe(g, gfn, &p);
	if (gfn >= g->run_pages && word_swapped(g->page[gfn]))
		return g->machine->ops->peek(g->machine, g->page[gfn] >> WORD_HFN, page);
	if (p.state == PAGE_DROPPED) {
		gmem_disk_peek(g, gfn, page);
		return 0;
	}
	if (p.hfn == HFN_NONE) {
		for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
			((uint64_t *)page)[i] = g->page[gfn] & WORD_POISON ? g->poison : 0;
		return 0;
	}
	return g->machine->ops->read(g->machine, g->cfg.vm, gfn, p.hfn, 0, page, PAGE_SIZE);
}

uint8_t *gmem_arena(const struct gmem *g)
{
	return frames_bytes(g->frames) + (g->run << PAGE_SHIFT);
}

const struct gmem_config *gmem_config(const struct gmem *g)
{
	return &g->cfg;
}

struct machine *gmem_machine(const struct gmem *g)
{
	return g->machine;
}

struct frames *gmem_frames(const struct gmem *g)
{
	return g->frames;
}

struct counters *gmem_counters(const struct gmem *g)
{
	return g->c;
}

gfn_t gmem_gfn_of(const struct gmem *g, hfn_t hfn)
{
	const struct frame *f;

	if (hfn - g->run < g->run_pages)
		return hfn - g->run;
	if (hfn >= frames_total(g->frames))
		return GFN_NONE;
	f = frames_get(g->frames, hfn);
	return FRAME_KIND(f) == FRAME_GUEST && FRAME_VM(f) == g->cfg.vm ? FRAME_GFN(f) : GFN_NONE;
}
