/* SPDX-License-Identifier: MIT */
/*
 * unsync.c - leaf tables that the guest writes freely until it must tell
 *
 * Problem. A fork or a large mmap writes hundreds of entries of one leaf table; a trap for each costs more than all
 * else in shadow paging. But the architecture does not ask for it: a processor's TLB may go on using an old entry until
 * INVLPG, a CR3 load or a change of mode.
 *
 * Idea. On the first write to a traced page whose shadow pages are all of level 1, lift the trace: mark them
 * out of sync and let the page be written. At the next architectural point compare the guest's entries with the ones
 * that the shadow entries were made from (sp->guest), mend, write-protect again. INVLPG looks at one entry of the pages
 * that may map the address; a CR3 load at all pages reachable from the new root; a change of mode at all. A page that
 * comes to be reached on a new path, itself or with a page above it, catches up, too: what it lags behind was visible
 * only along the old path. Upper levels are always traced, since one entry stands for much.
 *
 * The comparison comes after write protection and its flush, so that no store of another vCPU falls between.
 * Only tables in the arena, whose bytes are always at hand, may go out of sync; others stay traced.
 *
 * Which pages a root reaches: climb from each unsync page along its parents; they are few, and each shadow page is
 * visited once a search (seen, reaches).
 *
 * Invariants: an unsync page is of level 1 and on the list once; its entries grant no more than the guest's entry
 * did at some time since the last such point (the model in tests/model/test_shadow_model.c keeps that history).
 *
 * Source: mmu_try_to_unsync_pages(), kvm_mmu_sync_roots() in Linux arch/x86/kvm/mmu/mmu.c; Intel SDM vol. 3A 4.10.
 */
#include "shadow/internal.h"

/* Lift the trace of @gfn, if that is allowed. */
bool shadow_unsync_gfn(struct shadow *s, gfn_t gfn)
{
	if (!s->cfg.unsync || gfn >= s->arena_pages)
		return false;
	for (struct shadow_page *sp = shadow_page_first(s, gfn); sp; sp = sp->next)
		if (!sp->role.direct && sp->role.level > 1)
			return false;
	for (struct shadow_page *sp = shadow_page_first(s, gfn); sp; sp = sp->next) {
		if (sp->role.direct || sp->unsync)
			continue;
		sp->unsync = true;
		g_queue_push_tail_link(&s->unsync, &sp->unsync_link);
		s->c->shadow_unsyncs++;
	}
	return true;
}

void shadow_unsync_forget(struct shadow *s, struct shadow_page *sp)
{
	if (!sp->unsync)
		return;
	sp->unsync = false;
	g_queue_unlink(&s->unsync, &sp->unsync_link);
}

/* Compare one present entry with the guest's. */
static void sync_entry(struct shadow *s, struct shadow_page *sp, unsigned idx)
{
	const uint64_t *table = (const uint64_t *)(s->arena + sp->gfn * PAGE_SIZE);
	uint64_t now = __atomic_load_n(&table[idx], __ATOMIC_RELAXED);

	shadow_charge(s, CHARGE_GUEST_READ, 1);
	if (now != sp->guest[idx])
		shadow_entry_update(s, sp, idx, now);
}

/* Bring the pages on @todo, taken off the unsync list, into sync. */
static void sync_pages(struct shadow *s, GQueue *todo)
{
	GList *l;

	for (l = todo->head; l; l = l->next)
		shadow_write_protect(s, ((struct shadow_page *)l->data)->gfn);
	shadow_flush_now(s);
	while ((l = g_queue_pop_head_link(todo))) {
		struct shadow_page *sp = l->data;
		const uint64_t *entries = shadow_entries(s, sp);

		s->c->shadow_resyncs++;
		shadow_charge(s, CHARGE_TABLE_PAGE, 1);
		for (unsigned i = 0, left = sp->used; left; i++)
			if (entries[i] & PTE_P) {
				left--;
				sync_entry(s, sp, i);
			}
	}
}

static void take(struct shadow *s, struct shadow_page *sp, GQueue *todo)
{
	shadow_unsync_forget(s, sp);
	g_queue_push_tail_link(todo, &sp->unsync_link);
}

void shadow_resync_page(struct shadow *s, struct shadow_page *sp)
{
	GQueue todo = G_QUEUE_INIT;

	take(s, sp, &todo);
	sync_pages(s, &todo);
}

void shadow_resync_all(struct shadow *s)
{
	GQueue todo = G_QUEUE_INIT;

	while (s->unsync.head)
		take(s, s->unsync.head->data, &todo);
	sync_pages(s, &todo);
}

/*
 * INVLPG: what is cached for one address, under whatever root it was reached (an INVPCID for an address space that
 * is not current arrives here, too). The page stays unsync.
 */
void shadow_resync_gva(struct shadow *s, gva_t gva)
{
	unsigned idx = PT_INDEX(gva, 1);

	for (GList *l = s->unsync.head; l; l = l->next) {
		struct shadow_page *sp = l->data;

		if (!sp->gva_many && sp->gva != (gva & ~(LEVEL_SIZE(2) - 1)))
			continue;
		if (shadow_entries(s, sp)[idx] & PTE_P)
			sync_entry(s, sp, idx);
	}
}

/* A search upwards for one shadow page, or for every root made from one guest table. */
struct climb {
	struct shadow *s;
	const struct shadow_page *page;
	gfn_t root;
	bool found;
};

static bool reaches(struct climb *c, struct shadow_page *sp);

static void climb_parent(hpa_t entry, void *ctx)
{
	struct climb *c = ctx;

	if (!c->found)
		c->found = reaches(c, shadow_page_at(c->s, entry));
}

static bool reaches(struct climb *c, struct shadow_page *sp)
{
	struct climb above = *c;

	if (sp->seen == c->s->search)
		return sp->reaches;
	sp->seen = c->s->search;
	above.found = sp == c->page || (sp->role.level == c->s->cfg.guest_levels && sp->gfn == c->root);
	if (!above.found)
		rmap_for_each(c->s->parents, sp->id, climb_parent, &above);
	sp->reaches = above.found;
	return above.found;
}

static void resync_what_reaches(struct shadow *s, struct climb *c)
{
	GQueue todo = G_QUEUE_INIT;
	GList *next;

	s->search++;
	for (GList *l = s->unsync.head; l; l = next) {
		next = l->next;
		if (reaches(c, l->data))
			take(s, l->data, &todo);
	}
	sync_pages(s, &todo);
}

/* A CR3 load: all that the table @root reaches. */
void shadow_resync_space(struct shadow *s, gfn_t root)
{
	struct climb c = { .s = s, .root = root };

	resync_what_reaches(s, &c);
}

/* A shadow page that was made earlier is about to be reached on a new path: all below it. */
void shadow_resync_below(struct shadow *s, const struct shadow_page *sp)
{
	struct climb c = { .s = s, .page = sp, .root = GFN_NONE };

	if (s->unsync.head)
		resync_what_reaches(s, &c);
}
