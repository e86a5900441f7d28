/* SPDX-License-Identifier: MIT */
/*
 * swap_patch.c - pages put into the compressed tier ahead of need, as patches or compressed
 *
 * Problem. A page that is cold, and like another but not equal to it, needs only its difference in memory. But what it
 * differs from must then stay as it is for as long as the patch does.
 *
 * Idea. A patch is a compressed page whose bytes need a second frame to be read. It takes a slot and room in the tier
 * as others do (swap.c), and comes back by the same fault. The frame it refers to is a merged one, so that nobody
 * writes it; each patch counts in its refs like a page that maps it. Who chooses pages and references is dedup/.
 *
 * Structures: the reference of each slot that holds a patch; the number of patches of each reference. Both are small:
 * hash tables, never gone over in their own order but to free them.
 *
 * Invariants (swap_patch_verify(), called by tests/model/test_patch_model.c): a frame with patches is merged and has at
 * least as many refs; the gauges are the sums over slots; what comes back is what went (there the machine really keeps
 * patches).
 *
 * Source: Gupta et al., Difference Engine, OSDI 2008, section 3.
 */
#include <errno.h>

#include "mm/err.h"
#include "mm/swap_impl.h"

static gpointer key_of(uint64_t n)
{
	return GSIZE_TO_POINTER(n);
}

void swap_patches_init(struct swap *s)
{
	s->reference = g_hash_table_new(g_direct_hash, g_direct_equal);
	s->npatches = g_hash_table_new(g_direct_hash, g_direct_equal);
}

/* The guests are gone, and with them whoever mapped a reference. */
void swap_patches_free(struct swap *s)
{
	GHashTableIter it;
	gpointer hfn, n;

	g_hash_table_iter_init(&it, s->npatches);
	while (g_hash_table_iter_next(&it, &hfn, &n)) {
		struct frame *f = frames_get(s->frames, GPOINTER_TO_SIZE(hfn));

		f->refs -= (uint32_t)GPOINTER_TO_SIZE(n);
		if (!f->refs)
			frames_release(s->frames, GPOINTER_TO_SIZE(hfn), 1);
	}
	g_hash_table_unref(s->npatches);
	g_hash_table_unref(s->reference);
}

static uint64_t patches_of(const struct swap *s, hfn_t hfn)
{
	return GPOINTER_TO_SIZE(g_hash_table_lookup(s->npatches, key_of(hfn)));
}

static void hold(struct swap *s, struct gmem *g, uint64_t slot, unsigned nbytes, hfn_t reference)
{
	struct counters *c = gmem_counters(g);

	gmem_share_hold(g, reference);
	g_hash_table_insert(s->reference, key_of(slot), key_of(reference));
	g_hash_table_insert(s->npatches, key_of(reference), key_of(patches_of(s, reference) + 1));
	c->patches++;
	c->pages_patched++;
	c->patch_size += nbytes;
}

bool swap_is_patch(const struct swap *s, uint64_t slot)
{
	return g_hash_table_contains(s->reference, key_of(slot));
}

void swap_patch_gone(struct swap *s, struct gmem *g, uint64_t slot)
{
	hfn_t reference;
	uint64_t n;

	if (!swap_is_patch(s, slot))
		return;
	reference = GPOINTER_TO_SIZE(g_hash_table_lookup(s->reference, key_of(slot)));
	n = patches_of(s, reference) - 1;
	g_hash_table_remove(s->reference, key_of(slot));
	if (n)
		g_hash_table_insert(s->npatches, key_of(reference), key_of(n));
	else
		g_hash_table_remove(s->npatches, key_of(reference));
	gmem_counters(g)->pages_patched--;
	gmem_counters(g)->patch_size -= s->tier.nbytes[slot];
	gmem_share_put(g, reference);
}

bool swap_can_store(const struct swap *s, const struct gmem *g, gfn_t gfn, unsigned nbytes)
{
	struct gmem_page page;

	return !gmem_lookup(g, gfn, &page) && page.state == PAGE_RESIDENT && !s->clean[page.hfn] &&
	       swap_tier_fits(s, nbytes) && s->slots.nused < s->slots.nslots;
}

int swap_store(struct swap *s, struct gmem *g, gfn_t gfn, unsigned nbytes, hfn_t reference)
{
	struct counters *c = gmem_counters(g);
	struct gmem_page page;
	uint64_t slot;
	int err;

	if (gmem_lookup(g, gfn, &page) || page.state != PAGE_RESIDENT || s->clean[page.hfn])
		return ERR(-EBUSY);
	if (!swap_can_store(s, g, gfn, nbytes) || swap_slots_take(&s->slots, &slot))
		return ERR(-ENOSPC);
	err = reference == HFN_NONE ? gmem_evict(g, gfn, PAGE_COMPRESSED, slot) :
				      gmem_evict_patch(g, gfn, slot, reference);
	if (err) {
		swap_slots_give(&s->slots, slot);
		return err;
	}
	s->owner[slot] = FRAME_OWNER(FRAME_GUEST, gmem_config(g)->vm, gfn);
	if (reference != HFN_NONE)
		hold(s, g, slot, nbytes, reference);
	s->evictions++;
	c->swap_outs++;
	return swap_put_in_tier(s, g, slot, nbytes);
}

uint64_t swap_references(const struct swap *s)
{
	uint64_t alone = 0;
	GHashTableIter it;
	gpointer hfn, n;

	g_hash_table_iter_init(&it, s->npatches);
	while (g_hash_table_iter_next(&it, &hfn, &n))
		alone += frames_get(s->frames, GPOINTER_TO_SIZE(hfn))->refs == GPOINTER_TO_SIZE(n);
	return alone;
}

const char *swap_patch_verify(const struct swap *s)
{
	uint64_t total = 0;
	GHashTableIter it;
	gpointer hfn, n;

	g_hash_table_iter_init(&it, s->npatches);
	while (g_hash_table_iter_next(&it, &hfn, &n)) {
		const struct frame *f = frames_get(s->frames, GPOINTER_TO_SIZE(hfn));

		if (FRAME_KIND(f) != FRAME_SHARED || f->refs < GPOINTER_TO_SIZE(n))
			return "a patch's reference may be written";
		total += GPOINTER_TO_SIZE(n);
	}
	if (total != g_hash_table_size(s->reference))
		return "patches and references disagree";
	g_hash_table_iter_init(&it, s->reference);
	while (g_hash_table_iter_next(&it, &hfn, &n))
		if (!s->tier.nbytes[GPOINTER_TO_SIZE(hfn)] || !swap_slots_used(&s->slots, GPOINTER_TO_SIZE(hfn)))
			return "a patch has no place in the tier";
	return NULL;
}
