/* SPDX-License-Identifier: MIT */
/*
 * swap_tier.c - compressed pages in host frames
 *
 * Problem: compressed pages have all sizes, frames have one. How much memory does a compressed tier take, honestly?
 *
 * Idea, as Linux' zsmalloc does it: sizes are rounded up to classes 16 bytes apart. Objects of a class are stored in
 * groups (zspages) of one to eight frames, as many as waste least at the end of the group; an object may lie across
 * frames. Classes whose groups have as many frames and as many objects are one. A group is given back when it is empty;
 * that objects move together in the fewest groups (zsmalloc's compaction) is taken for granted and costs nothing here.
 * Headers and handles are not counted. A ring keeps the objects in the order in which they came: what is used leaves
 * the tier, so the oldest is the least recently used.
 *
 * Invariants (tests/unit/test_swap_tier.c, tests/model/test_swap_model.c): `held` has as many frames as the groups of
 * all classes need, and no object is in no class; bytes <= frames * 4096.
 *
 * Source: Linux mm/zsmalloc.c (calculate_zspage_chain_size, can_merge), CONFIG_ZSMALLOC_CHAIN_SIZE = 8.
 */
#include "mm/swap_tier.h"

#include <errno.h>

#include "mm/err.h"
#include "mm/lazy.h"

#define LEAST 32u
#define STEP  16u

static unsigned class_size(unsigned class)
{
	return LEAST + STEP * class;
}

static unsigned best_chain(unsigned size)
{
	unsigned best = 1, least = UINT_MAX;

	if (!(size & (size - 1)))
		return 1;
	for (unsigned n = 1; n <= TIER_CHAIN; n++)
		if (n * PAGE_SIZE % size < least) {
			least = n * PAGE_SIZE % size;
			best = n;
		}
	return best;
}

/* Objects of a group. */
static uint64_t capacity(const struct swap_tier *t, unsigned class)
{
	return t->class_chain[class] * PAGE_SIZE / class_size(class);
}

int swap_tier_init(struct swap_tier *t, uint64_t nslots, struct frames *fr)
{
	*t = (struct swap_tier){ .frames = fr, .nslots = nslots };
	t->held = g_array_new(FALSE, FALSE, sizeof(hfn_t));
	for (unsigned c = TIER_CLASSES; c-- > 0;) {
		unsigned above = c + 1 < TIER_CLASSES ? t->class_of[c + 1] : c;

		t->class_chain[c] = (uint8_t)best_chain(class_size(c));
		t->class_of[c] = (uint8_t)c;
		if (t->class_chain[above] == t->class_chain[c] && capacity(t, above) == capacity(t, c))
			t->class_of[c] = (uint8_t)above;
	}
	t->nbytes = lazy_new(nslots * sizeof(*t->nbytes));
	t->next = lazy_new((nslots + 1) * sizeof(*t->next));
	t->prev = lazy_new((nslots + 1) * sizeof(*t->prev));
	if (!t->nbytes || !t->next || !t->prev)
		return ERR(-ENOMEM);
	t->next[nslots] = t->prev[nslots] = (uint32_t)nslots;
	return 0;
}

/* Hold as many frames as are wanted. */
static int resize(struct swap_tier *t)
{
	while (t->held->len > t->want) {
		frames_release(t->frames, g_array_index(t->held, hfn_t, t->held->len - 1), 1);
		g_array_set_size(t->held, t->held->len - 1);
	}
	while (t->held->len < t->want) {
		hfn_t hfn;

		if (frames_alloc(t->frames, 1, 0, false, FRAME_OWNER(FRAME_TIER, 0, 0), &hfn))
			return ERR(-ENOMEM);
		g_array_append_val(t->held, hfn);
	}
	return 0;
}

void swap_tier_destroy(struct swap_tier *t)
{
	t->want = 0;
	if (t->held) {
		resize(t);
		g_array_unref(t->held);
	}
	lazy_free(t->nbytes, t->nslots * sizeof(*t->nbytes));
	lazy_free(t->next, (t->nslots + 1) * sizeof(*t->next));
	lazy_free(t->prev, (t->nslots + 1) * sizeof(*t->prev));
}

static unsigned class_for(const struct swap_tier *t, unsigned nbytes)
{
	g_assert(nbytes && nbytes <= PAGE_SIZE);
	return t->class_of[(MAX(nbytes, LEAST) - LEAST + STEP - 1) / STEP];
}

uint64_t swap_tier_growth(const struct swap_tier *t, unsigned nbytes)
{
	unsigned class = class_for(t, nbytes);

	return t->class_count[class] % capacity(t, class) ? 0 : t->class_chain[class];
}

static void count(struct swap_tier *t, unsigned class, int by)
{
	uint64_t n = capacity(t, class), before = (t->class_count[class] + n - 1) / n;

	t->class_count[class] += by;
	t->want += ((t->class_count[class] + n - 1) / n - before) * t->class_chain[class];
}

int swap_tier_add(struct swap_tier *t, uint64_t slot, unsigned nbytes)
{
	unsigned class = class_for(t, nbytes);
	uint32_t sentinel = (uint32_t)t->nslots, last = t->prev[sentinel];
	int err;

	count(t, class, 1);
	err = resize(t);
	if (err) {
		count(t, class, -1);
		resize(t);
		return err;
	}
	t->nbytes[slot] = (uint16_t)nbytes;
	t->bytes += nbytes;
	t->count++;
	t->next[last] = (uint32_t)slot;
	t->prev[slot] = last;
	t->next[slot] = sentinel;
	t->prev[sentinel] = (uint32_t)slot;
	return 0;
}

void swap_tier_remove(struct swap_tier *t, uint64_t slot)
{
	count(t, class_for(t, t->nbytes[slot]), -1);
	t->bytes -= t->nbytes[slot];
	t->nbytes[slot] = 0;
	t->count--;
	t->next[t->prev[slot]] = t->next[slot];
	t->prev[t->next[slot]] = t->prev[slot];
	resize(t);
}
