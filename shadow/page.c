/* SPDX-License-Identifier: MIT */
/*
 * page.c - the cache of shadow pages
 *
 * Problem. Building a shadow table costs a fault an entry, so tables must outlive the moment: a process that is
 * switched away comes back, two processes may share a table page. But a shadow page is right only for one guest table
 * *and* for one way of getting there, and host memory for tables must have a bound.
 *
 * Idea. Key each shadow page by (gfn, role) (internal.h). Nothing is freed because it became unreachable; a page leaves
 * the cache when its guest page turns out to be no table any more (flood, trace.c), when gmem takes that page away, or
 * as the least recently used once the limit is reached. A page used within the operation under way is never evicted;
 * the root a vCPU stands on goes last. Direct pages are the exception: they shadow no guest table and can be refilled
 * without reading the guest, so one goes with the last entry that points to it.
 *
 * Structures. by_gfn: a hash from gfn to a chain of all its shadow pages; lru; parents: an rmap by shadow page id
 * of the entries that link it. A frame's owner word carries the id, so that an entry's address leads back to its page.
 *
 * Invariants: every shadow page is in its chain, in the LRU and under its id once; its frame's owner names it; parents
 * are exactly the links (tests/model/test_shadow_model.c); eviction keeps the limit (tests/unit/test_shadow.c: limit).
 *
 * Source: kvm_mmu_find_shadow_page() and make_mmu_pages_available() in Linux arch/x86/kvm/mmu/mmu.c.
 */
#include "shadow/internal.h"

/* Pages evicted at a time, so that one flush serves several. */
#define SHADOW_EVICT_BATCH 8

struct shadow_page *shadow_page_first(const struct shadow *s, gfn_t gfn)
{
	return g_hash_table_lookup(s->by_gfn, GSIZE_TO_POINTER(gfn));
}

/* Used by the operation under way: youngest, not written in vain, not to be evicted now. */
void shadow_page_use(struct shadow *s, struct shadow_page *sp)
{
	sp->stamp = s->stamp;
	sp->writes = 0;
	g_queue_unlink(&s->lru, &sp->lru);
	g_queue_push_tail_link(&s->lru, &sp->lru);
}

void shadow_page_free(gpointer data)
{
	struct shadow_page *sp = data;

	g_free(sp->guest);
	g_free(sp);
}

static void chain_add(struct shadow *s, struct shadow_page *sp)
{
	sp->next = shadow_page_first(s, sp->gfn);
	g_hash_table_insert(s->by_gfn, GSIZE_TO_POINTER(sp->gfn), sp);
}

static void chain_remove(struct shadow *s, struct shadow_page *sp)
{
	struct shadow_page *prev = shadow_page_first(s, sp->gfn);

	if (prev == sp) {
		if (sp->next)
			g_hash_table_insert(s->by_gfn, GSIZE_TO_POINTER(sp->gfn), sp->next);
		else
			g_hash_table_remove(s->by_gfn, GSIZE_TO_POINTER(sp->gfn));
		return;
	}
	while (prev->next != sp)
		prev = prev->next;
	prev->next = sp->next;
}

static void drop_parent(hpa_t entry, void *ctx)
{
	struct shadow *s = ctx;
	struct shadow_page *parent = shadow_page_at(s, entry);

	shadow_entry_set(s, parent, (entry & ~PAGE_MASK) / sizeof(uint64_t), 0, 0);
}

/*
 * Tear a shadow page down: whoever points to it forgets it, whatever it maps leaves the rmap. The frame waits in
 * limbo for the flush, the struct for the end of the operation.
 */
void shadow_page_zap(struct shadow *s, struct shadow_page *sp)
{
	uint64_t *entries = shadow_entries(s, sp);

	if (sp->dead)
		return;
	sp->dead = true;
	rmap_for_each(s->parents, sp->id, drop_parent, s);
	for (unsigned i = 0; i < PT_ENTRIES && sp->used; i++)
		if (entries[i] && !shadow_entry_reserved(s, sp, i))
			shadow_entry_set(s, sp, i, 0, 0);
	s->flush.all |= sp->nroots != 0;
	for (unsigned v = 0; v < s->cfg.nvcpus && sp->nroots; v++)
		if (s->root[v] == sp)
			shadow_page_set_root(s, v, NULL);
	shadow_unsync_forget(s, sp);
	chain_remove(s, sp);
	if (!sp->role.direct)
		shadow_trace_remove(s, sp->gfn);
	g_queue_unlink(&s->lru, &sp->lru);
	s->pages->pdata[sp->id] = NULL;
	g_array_append_val(s->free_ids, sp->id);
	s->live--;
	g_array_append_val(s->limbo, sp->hfn);
	g_ptr_array_add(s->graves, sp);
	s->c->shadow_pages_zapped++;
	shadow_charge(s, CHARGE_TABLE_PAGE, 1);
}

void shadow_page_zap_table(struct shadow *s, gfn_t gfn)
{
	struct shadow_page *sp = shadow_page_first(s, gfn);

	while (sp) {
		if (sp->role.direct) {
			sp = sp->next;
		} else {
			shadow_page_zap(s, sp);
			sp = shadow_page_first(s, gfn);
		}
	}
}

void shadow_page_set_root(struct shadow *s, unsigned vcpu, struct shadow_page *sp)
{
	if (s->root[vcpu])
		s->root[vcpu]->nroots--;
	s->root[vcpu] = sp;
	if (sp)
		sp->nroots++;
}

/* Evict up to @n of the oldest pages that this operation does not use; roots in use only if @roots. */
static unsigned evict_some(struct shadow *s, unsigned n, bool roots)
{
	unsigned done = 0;
	GList *next;

	for (GList *l = s->lru.head; l && done < n; l = next) {
		struct shadow_page *sp = l->data, *after;

		next = l->next;
		if (sp->stamp == s->stamp || (sp->nroots && !roots))
			continue;
		after = next ? next->data : sp;
		shadow_page_zap(s, sp);
		s->c->shadow_evictions++;
		done++;
		/* A direct child may have gone with it. */
		if (after != sp && after->dead)
			next = s->lru.head;
	}
	return done;
}

static bool evict(struct shadow *s)
{
	unsigned done = evict_some(s, SHADOW_EVICT_BATCH, false);

	if (!done)
		done = evict_some(s, 1, true);
	if (done)
		shadow_flush_now(s);
	return done != 0;
}

static int page_frame(struct shadow *s, uint32_t id, hfn_t *hfn)
{
	uint64_t owner = FRAME_OWNER(FRAME_TABLE, s->vm, id);
	int ret;

	while (s->cfg.shadow_limit && s->live >= s->cfg.shadow_limit)
		if (!evict(s))
			return ERR(-ENOMEM);
	do
		ret = frames_alloc(s->frames, 1, s->node, false, owner, hfn);
	while (ret == -ENOMEM && evict(s));
	return ret;
}

static uint32_t page_id_take(struct shadow *s)
{
	uint32_t id;

	if (!s->free_ids->len) {
		g_ptr_array_add(s->pages, NULL);
		return s->pages->len - 1;
	}
	id = g_array_index(s->free_ids, uint32_t, s->free_ids->len - 1);
	g_array_set_size(s->free_ids, s->free_ids->len - 1);
	return id;
}

static int page_make(struct shadow *s, gfn_t gfn, union shadow_role role, struct shadow_page **out)
{
	uint32_t id = page_id_take(s);
	struct shadow_page *sp;
	hfn_t hfn;
	int ret = page_frame(s, id, &hfn);

	if (ret) {
		g_array_append_val(s->free_ids, id);
		return ret;
	}
	sp = g_new0(struct shadow_page, 1);
	sp->hfn = hfn;
	sp->gfn = gfn;
	sp->role = role;
	sp->id = id;
	sp->stamp = s->stamp;
	sp->lru.data = sp;
	sp->unsync_link.data = sp;
	s->pages->pdata[id] = sp;
	g_queue_push_tail_link(&s->lru, &sp->lru);
	s->live++;
	chain_add(s, sp);
	if (role.level == s->cfg.guest_levels)
		shadow_reserve_slot(s, hfn);
	if (!role.direct) {
		sp->guest = g_new0(uint64_t, PT_ENTRIES);
		shadow_trace_add(s, gfn);
	}
	s->c->shadow_pages_made++;
	shadow_charge(s, CHARGE_TABLE_PAGE, 1);
	*out = sp;
	return 0;
}

/* An upper table may not be out of sync: leaf uses of the same guest page catch up before it becomes one. */
static void sync_other_roles(struct shadow *s, gfn_t gfn)
{
	struct shadow_page *sp = shadow_page_first(s, gfn);

	while (sp) {
		if (sp->unsync) {
			shadow_resync_page(s, sp);
			sp = shadow_page_first(s, gfn);
		} else {
			sp = sp->next;
		}
	}
}

static struct shadow_page *page_find(struct shadow *s, gfn_t gfn, union shadow_role role)
{
	for (struct shadow_page *sp = shadow_page_first(s, gfn); sp; sp = sp->next)
		if (sp->role.word == role.word)
			return sp;
	return NULL;
}

/* A shadow page, and with it all below it, may be reached at several addresses. */
static void reached_at_many(struct shadow *s, struct shadow_page *sp)
{
	const uint64_t *entries = shadow_entries(s, sp);

	if (sp->gva_many)
		return;
	sp->gva_many = true;
	for (unsigned i = 0, left = sp->role.level > 1 ? sp->used : 0; left; i++) {
		struct shadow_page *child;

		if (shadow_entry_reserved(s, sp, i))
			continue;
		child = shadow_entry_child(s, sp, entries[i]);
		left -= (entries[i] & PTE_P) != 0;
		if (child)
			reached_at_many(s, child);
	}
}

/* @sp is about to be linked below @parent, or is there already, and translates @gva. */
void shadow_page_reach(struct shadow *s, struct shadow_page *sp, const struct shadow_page *parent, gva_t gva)
{
	gva_t base = gva & ~(LEVEL_SIZE(sp->role.level + 1) - 1);

	if (!sp->used && !rmap_count(s->parents, sp->id)) {
		sp->gva = base;
		sp->gva_many = parent->gva_many;
	} else if (sp->gva != base || parent->gva_many) {
		reached_at_many(s, sp);
	}
}

int shadow_page_get(struct shadow *s, gfn_t gfn, union shadow_role role, struct shadow_page **out)
{
	struct shadow_page *sp = page_find(s, gfn, role);

	if (sp && sp->unsync) {
		shadow_resync_page(s, sp);
		sp = page_find(s, gfn, role);
	}
	if (!sp) {
		if (!role.direct && role.level > 1)
			sync_other_roles(s, gfn);
		return page_make(s, gfn, role, out);
	}
	s->c->shadow_pages_found++;
	shadow_page_use(s, sp);
	*out = sp;
	return 0;
}
