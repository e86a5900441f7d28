/* SPDX-License-Identifier: MIT */
/* stable.c - see stable.h */
#include "dedup/stable.h"

static gpointer key_of(hfn_t hfn)
{
	return GSIZE_TO_POINTER(hfn);
}

/* Chains and their frames are counted as their number passes two. */
static void count(struct stable_set *set, guint from, guint to)
{
	struct counters *c = set->d->cfg.host;

	c->stable_node_chains += (uint64_t)(to >= 2) - (from >= 2);
	c->stable_node_dups += (uint64_t)(to >= 2 ? to : 0) - (from >= 2 ? from : 0);
}

static void stable_free(gpointer p)
{
	struct stable *s = p;

	g_array_unref(s->frames);
	g_free(s);
}

/* Frames of a chain that are no more go after a while; a content's only frame takes the content with it. */
static void remove_frame(struct stable_set *set, struct stable *s, hfn_t hfn)
{
	guint total = s->frames->len + s->stale;
	bool keep = set->d->cfg.prune_ns && s->frames->len > 1;

	for (guint i = 0; i < s->frames->len; i++)
		if (g_array_index(s->frames, hfn_t, i) == hfn)
			g_array_remove_index(s->frames, i--);
	if (keep)
		s->stale++;
	else
		count(set, total, s->frames->len ? total - 1 : 0);
}

static void prune(struct stable_set *set, struct stable *s)
{
	struct machine *m = set->d->cfg.machine;
	uint64_t now;

	if (!s->stale)
		return;
	now = m->ops->now(m);
	if (now < s->pruned + set->d->cfg.prune_ns)
		return;
	count(set, s->frames->len + s->stale, s->frames->len);
	s->stale = 0;
	s->pruned = now;
}

static void gone(struct shared_watch *w, hfn_t hfn)
{
	struct stable_set *set = (struct stable_set *)w;
	struct stable *s = g_hash_table_lookup(set->by_hfn, key_of(hfn));

	if (!s)
		return;
	if (s->frames->len == 1)
		set->empty(set->d, s);
	g_hash_table_remove(set->by_hfn, key_of(hfn));
	remove_frame(set, s, hfn);
	if (s->frames->len)
		s->hfn = g_array_index(s->frames, hfn_t, 0);
	else
		stable_free(s);
}

void stable_init(struct stable_set *set, struct dedup *d, void (*empty)(struct dedup *d, struct stable *s))
{
	*set = (struct stable_set){ .watch = { gone }, .d = d, .empty = empty };
	set->by_hfn = g_hash_table_new(g_direct_hash, g_direct_equal);
	d->cfg.frames->watch = &set->watch;
}

void stable_fini(struct stable_set *set)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(stable_free);
	GHashTableIter it;
	gpointer hfn, s;

	set->d->cfg.frames->watch = NULL;
	g_hash_table_iter_init(&it, set->by_hfn);
	while (g_hash_table_iter_next(&it, &hfn, &s))
		if (((struct stable *)s)->hfn == GPOINTER_TO_SIZE(hfn)) /* once for each */
			g_ptr_array_add(all, s);
	g_hash_table_unref(set->by_hfn);
}

struct stable *stable_add(struct stable_set *set, struct stable *s, hfn_t hfn, uint64_t tag)
{
	if (!s) {
		s = g_new0(struct stable, 1);
		s->hfn = hfn;
		s->tag = tag;
		s->domain = dedup_domain(set->d, hfn);
		s->frames = g_array_new(FALSE, FALSE, sizeof(hfn_t));
	}
	g_array_append_val(s->frames, hfn);
	count(set, s->frames->len + s->stale - 1, s->frames->len + s->stale);
	if (s->frames->len + s->stale == 2)
		s->pruned = set->d->cfg.machine->ops->now(set->d->cfg.machine);
	g_hash_table_insert(set->by_hfn, key_of(hfn), s);
	return s;
}

hfn_t stable_pick(struct stable_set *set, struct stable *s)
{
	uint64_t most = 0;
	hfn_t best = HFN_NONE;

	prune(set, s);
	for (guint i = 0; i < s->frames->len; i++) {
		hfn_t hfn = g_array_index(s->frames, hfn_t, i);
		uint64_t refs = dedup_refs(set->d, hfn);

		if (refs < set->d->cfg.max_page_sharing && refs > most) {
			most = refs;
			best = hfn;
		}
	}
	return best;
}
