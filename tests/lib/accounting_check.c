/* SPDX-License-Identifier: MIT */
/* accounting_check.c - the model against the real thing: what changed, and everything */
#include "tests/lib/accounting_impl.h"
#include "tests/lib/must.h"

static bool has_frame(enum page_state s)
{
	return s == PAGE_RESIDENT || s == PAGE_SHARED || s == PAGE_ZERO;
}

/* A frame's side of a page that has one. */
static void check_frame(struct world *w, const struct guest *v, gfn_t gfn, const struct gmem_page *page)
{
	const struct frame *f = frames_get(w->fr, page->hfn);

	must(page->hfn < HOST);
	if (page->state == PAGE_RESIDENT) {
		must_eq(f->owner, FRAME_OWNER(FRAME_GUEST, v->id, gfn));
		must_eq(w->users[page->hfn], 1);
		must(gmem_gfn_of(v->g, page->hfn) == gfn);
	} else {
		must(FRAME_KIND(f) == FRAME_SHARED);
		must((page->state == PAGE_ZERO) == (w->fr->zero == page->hfn));
	}
	must_eq(f->refs, w->users[page->hfn]);
}

static void check_page(struct world *w, struct guest *v, gfn_t gfn)
{
	uint64_t bytes[PAGE_SIZE / 8];
	struct gmem_page page;
	bool writable;
	hfn_t hfn;

	must(gmem_lookup(v->g, gfn, &page) == 0);
	must_eq(page.state, v->state[gfn]);
	must_eq(page.hfn, v->hfn[gfn]);
	if (has_frame(page.state))
		check_frame(w, v, gfn, &page);
	if (guest_mapped(v, gfn, &hfn, &writable)) {
		must_eq(hfn, page.hfn);
		must(page.access && (!writable || page.access & ACC_W));
	}
	if (page.state == PAGE_SWAPPED || page.state == PAGE_COMPRESSED) {
		must(gmem_slot(v->g, gfn) < w->cfg->nslots);
		must(g_hash_table_contains(w->fm->slots, GSIZE_TO_POINTER(gmem_slot(v->g, gfn))));
	}
	must(gmem_peek(v->g, gfn, bytes) == 0);
	must_eq(bytes[5], v->value[gfn]);
	must_eq(bytes[300], page_word(v->value[gfn], 300));
}

/* What is counted, against what was seen. */
static void check_counters(const struct guest *v)
{
	const struct tally *t = &v->tally;
	const struct counters *c = &v->c;

	must_eq(c->pages_resident, t->state[PAGE_RESIDENT]);
	must_eq(c->pages_merged, t->state[PAGE_SHARED]);
	must_eq(c->ksm_zero_pages, t->state[PAGE_ZERO]);
	must_eq(c->balloon_actual, t->state[PAGE_BALLOONED]);
	must_eq(c->pages_swapped, t->state[PAGE_SWAPPED]);
	must_eq(c->pages_compressed, t->state[PAGE_COMPRESSED]);
	must_eq(c->faults_absent, t->cause[EVENT_FAULT]);
	must_eq(c->swap_outs, t->cause[EVENT_EVICT]);
	must_eq(c->swap_ins, t->cause[EVENT_SWAP_IN]);
	must_eq(c->swap_readahead, t->cause[EVENT_READAHEAD]);
	must_eq(c->faults_young + c->swap_readahead_hits + c->balloon_hints_revoked, t->cause[EVENT_YOUNG]);
	must_eq(c->balloon_inflated, t->to[PAGE_BALLOONED]);
	must_eq(c->swap_outs, t->to[PAGE_SWAPPED] + t->to[PAGE_COMPRESSED]);
	must_eq(c->swap_outs, c->swap_writes + c->swap_clean_drops + c->swap_compressed);
}

/* Take over the page's frame: which one it is, the model cannot know before. */
static void learn_frame(struct world *w, struct guest *v, gfn_t gfn)
{
	struct gmem_page page;

	must(gmem_lookup(v->g, gfn, &page) == 0);
	if (v->hfn[gfn] != HFN_NONE)
		w->users[v->hfn[gfn]]--;
	v->hfn[gfn] = page.hfn;
	if (page.hfn != HFN_NONE)
		w->users[page.hfn]++;
}

void check_changed(struct world *w)
{
	bool touched[VMS] = { false };

	for (guint i = 0; i < w->changed->len; i++) {
		const struct page_id *id = &g_array_index(w->changed, struct page_id, i);

		learn_frame(w, &w->vm[id->vm], id->gfn);
	}
	for (guint i = 0; i < w->changed->len; i++) {
		const struct page_id *id = &g_array_index(w->changed, struct page_id, i);
		struct guest *v = &w->vm[id->vm];

		check_page(w, v, id->gfn);
		v->queued[id->gfn] = false;
		touched[id->vm] = true;
	}
	for (unsigned i = 0; i < VMS; i++)
		if (touched[i])
			check_counters(&w->vm[i]);
	g_array_set_size(w->changed, 0);
}

/* Every frame, by who says that it is whose. */
static void check_frames(struct world *w)
{
	uint64_t n[FRAME_TIER + 1] = { 0 }, tables = w->hog->len, resident = 0;

	for (hfn_t hfn = 0; hfn < HOST; hfn++) {
		enum frame_kind kind = OWNER_KIND(frames_owner(w->fr, hfn));

		n[kind]++;
		must(w->users[hfn] ? kind == FRAME_GUEST || kind == FRAME_SHARED :
				     kind != FRAME_GUEST && kind != FRAME_SHARED);
	}
	for (unsigned i = 0; i < VMS; i++) {
		tables += w->vm[i].p->ops->table_frames ? w->vm[i].p->ops->table_frames(w->vm[i].p) : 0;
		resident += w->vm[i].tally.state[PAGE_RESIDENT];
	}
	must_eq(n[FRAME_GUEST], resident);
	must_eq(n[FRAME_ARENA], VMS * ARENA);
	must_eq(n[FRAME_TABLE], tables);
	must_eq(n[FRAME_TIER], swap_pool_used(w->swap));
	must_eq(n[FRAME_FREE], HOST - frames_used(w->fr));
}

void check_everything(struct world *w)
{
	uint64_t evicted = 0;

	for (unsigned i = 0; i < VMS; i++) {
		struct guest *v = &w->vm[i];

		for (gfn_t gfn = ARENA; gfn < PAGES; gfn++)
			check_page(w, v, gfn);
		check_counters(v);
		evicted += v->c.swap_outs;
		if (v->flat)
			fake_paging_check(v->flat);
		else
			must(v->p->ops->verify(v->p) == 0);
	}
	must_eq(evicted, swap_evictions(w->swap));
	check_frames(w);
	must(swap_verify(w->swap) == 0);
}
