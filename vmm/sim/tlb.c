/* SPDX-License-Identifier: MIT */
/* tlb.c - the TLBs of one CPU: set-up and the ways entries leave it (tlb.h has the look-ups) */
#include "vmm/sim/tlb.h"

#include <glib.h>

void tlb_init(struct tlb *t, const struct sim_profile *p, uint32_t *clock)
{
	const struct geometry g[G_N_ELEMENTS(t->array)] = { p->l1_4k, p->l1_2m, p->l1_1g, p->l2, p->l2_1g, { 0 } };
	struct assoc *a = t->array;

	for (size_t i = 0; i < G_N_ELEMENTS(t->array); i++)
		assoc_init(&a[i], p->l1_unified && (i == 1 || i == 2) ? (struct geometry){ 0 } : g[i], false,
			   clock);
	t->l1[1] = &a[0];
	t->l1[2] = p->l1_unified ? &a[0] : &a[1];
	t->l1[3] = p->l1_unified ? &a[0] : &a[2];
	t->l2[1] = &a[3];
	t->l2[2] = p->l2_shared_2m ? &a[3] : &a[5];
	t->l2[3] = &a[4];
	t->globals = false;
}

void tlb_free(struct tlb *t)
{
	for (size_t i = 0; i < G_N_ELEMENTS(t->array); i++)
		assoc_free(&t->array[i]);
}

void tlb_drop(struct tlb *t, gva_t gva, const struct space_ids *ids)
{
	for (unsigned level = 1; level <= 3; level++) {
		struct assoc *arrays[] = { t->l1[level], t->l2[level] };
		struct tlb_hit hit;

		for (size_t i = 0; i < G_N_ELEMENTS(arrays); i++) {
			if (!assoc_seen(arrays[i], level))
				continue;
			if (tlb_probe(arrays[i], gva, level, ids->own, &hit))
				slot_drop(hit.slot);
			if (t->globals && tlb_probe(arrays[i], gva, level, ids->global, &hit))
				slot_drop(hit.slot);
		}
	}
}

static void drop_address(struct assoc *a, uint64_t page, unsigned level, bool (*match)(unsigned, void *), void *ctx)
{
	struct slot s = { assoc_row(a, page), 0, a->stride };
	uint64_t want = assoc_key(page, level, 0);

	for (; s.way < a->ways; s.way++) {
		uint64_t key = *slot_key(s);

		if (key && (key & ~KEY_SPACE_MASK) == want && match(key & KEY_SPACE_MASK, ctx))
			slot_drop(s);
	}
}

void tlb_drop_address(struct tlb *t, gva_t gva, bool (*match)(unsigned space, void *ctx), void *ctx)
{
	for (unsigned level = 1; level <= 3; level++) {
		uint64_t page = assoc_page(gva, level);

		drop_address(t->l1[level], page, level, match, ctx);
		drop_address(t->l2[level], page, level, match, ctx);
	}
}

void tlb_drop_spaces(struct tlb *t, bool (*match)(unsigned space, void *ctx), void *ctx)
{
	for (size_t i = 0; i < G_N_ELEMENTS(t->array); i++)
		assoc_drop_spaces(&t->array[i], match, ctx);
}
