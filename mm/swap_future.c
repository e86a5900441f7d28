/* SPDX-License-Identifier: MIT */
/*
 * swap_future.c - in which order pages will be used
 *
 * Problem: next_use() of a page, at any time of a run of millions of accesses, in a few nanoseconds.
 *
 * Idea: pages get dense ids in the order of their first use. The first run is an array of ids; from it, backwards,
 * comes the position of the next use after each. In the second run each page knows its next use, which moves on when
 * it is noted.
 *
 * Structures: id[owner], uses[], next[] (as mm/replace.h has it), ahead[id].
 *
 * Invariants (tests/unit/test_swap_policies.c): at position i, ahead[x] is the least j >= i with uses[j] == x; a use
 * that is not the noted one is reported, not believed.
 */
#include "mm/swap_future.h"

#include <errno.h>
#include <glib.h>

#include "mm/err.h"
#include "mm/frame.h"
#include "mm/replace.h"
#include "mm/swap_pool.h"

struct swap_future {
	GHashTable *id;	 /* FRAME_OWNER() -> id + 1 */
	GArray *uses;	 /* uint32_t */
	uint32_t *next;	 /* [uses], from swap_future_begin() on */
	uint32_t *ahead; /* [ids] */
	uint64_t now;
	uint32_t last;	 /* id + 1 of the page noted last */
	bool known, wrong;
};

struct swap_future *swap_future_new(void)
{
	struct swap_future *f = g_new0(struct swap_future, 1);

	f->id = g_hash_table_new(g_direct_hash, g_direct_equal);
	f->uses = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	return f;
}

void swap_future_free(struct swap_future *f)
{
	if (!f)
		return;
	g_hash_table_unref(f->id);
	g_array_unref(f->uses);
	g_free(f->next);
	g_free(f->ahead);
	g_free(f);
}

static uint32_t id_of(const struct swap_future *f, unsigned vm, gfn_t gfn)
{
	gpointer key = GSIZE_TO_POINTER(FRAME_OWNER(FRAME_GUEST, vm, gfn));

	return GPOINTER_TO_UINT(g_hash_table_lookup(f->id, key));
}

static void record(struct swap_future *f, unsigned vm, gfn_t gfn)
{
	gpointer key = GSIZE_TO_POINTER(FRAME_OWNER(FRAME_GUEST, vm, gfn));
	uint32_t id = id_of(f, vm, gfn);

	if (!id) {
		id = g_hash_table_size(f->id) + 1;
		g_hash_table_insert(f->id, key, GUINT_TO_POINTER(id));
	}
	if (id == f->last)
		return;
	f->last = id--;
	if (f->uses->len < SWAP_NEVER - 1)
		g_array_append_val(f->uses, id);
	else
		f->wrong = true;
}

bool swap_future_note(struct swap_future *f, unsigned vm, gfn_t gfn)
{
	uint32_t id;

	if (!f->known) {
		record(f, vm, gfn);
		return true;
	}
	id = id_of(f, vm, gfn);
	if (f->wrong || (id && id == f->last))
		return !f->wrong;
	f->wrong = !id || f->now == f->uses->len || g_array_index(f->uses, uint32_t, f->now) != id - 1;
	if (f->wrong)
		return false;
	f->last = id;
	f->ahead[id - 1] = f->next[f->now++];
	return true;
}

int swap_future_begin(struct swap_future *f)
{
	uint32_t nids = g_hash_table_size(f->id);
	const uint32_t *uses = &g_array_index(f->uses, uint32_t, 0);

	if (f->wrong)
		return ERR(-E2BIG);
	f->next = replace_next_use(uses, f->uses->len, nids);
	f->ahead = g_new(uint32_t, nids + 1ull);
	for (uint64_t i = f->uses->len; i--;)
		f->ahead[uses[i]] = (uint32_t)i;
	f->last = 0;
	f->known = true;
	return 0;
}

bool swap_future_known(const struct swap_future *f)
{
	return f->known;
}

uint32_t swap_future_next(const struct swap_future *f, unsigned vm, gfn_t gfn)
{
	uint32_t id = f->known ? id_of(f, vm, gfn) : 0;

	return id && !f->wrong ? f->ahead[id - 1] : SWAP_NEVER;
}
