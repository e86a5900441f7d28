/* SPDX-License-Identifier: MIT */
/*
 * reuse.c - reuse distances of a stream of touches
 *
 * Problem: how many distinct items lie between two touches of the same one, when the stream has no end and items become
 * known as they come. (vmm/trace_mrc.c answers it for a trace that is known whole.)
 *
 * Idea: each touch has a position; the item's mark moves to it. The distance is the number of marks from its old
 * position on, and a Fenwick tree over positions counts marks in log n steps. Positions run out at the end of the tree:
 * then the marks are packed to its front, in order, and the tree is made twice as large as they need.
 *
 * Structures: item -> position, position -> item, the tree. Positions begin at 1; 0 means none.
 *
 * Invariants (tests/unit/test_estimate.c, distances_are_those_of_a_list): every item touched has exactly one mark, at
 * its last position; distances are those of a list in LRU order.
 *
 * Source: Bennett and Kruskal, LRU stack processing, 1975; Fenwick, A new data structure for cumulative frequency
 * tables, 1994.
 */
#include "mm/reuse.h"

#include <glib.h>
#include <string.h>

#define ROOM_MIN 64u

struct reuse {
	GArray *last;	/* item -> uint32_t position */
	uint32_t *item; /* [position], of those that have a mark */
	uint32_t *tree; /* [position]: marks in the (p & -p) positions that end at p */
	uint32_t room, now, nmarks;
};

static void mark(struct reuse *r, uint32_t at, uint32_t by)
{
	for (; at <= r->room; at += at & -at)
		r->tree[at] += by;
}

static uint32_t marks_up_to(const struct reuse *r, uint32_t at)
{
	uint32_t sum = 0;

	for (; at; at &= at - 1)
		sum += r->tree[at];
	return sum;
}

static uint32_t *position(struct reuse *r, uint32_t item)
{
	return &g_array_index(r->last, uint32_t, item);
}

/* Make room for at least one more position. */
static void pack(struct reuse *r)
{
	uint32_t room = MAX(ROOM_MIN, 2 * r->nmarks), to = 0;
	uint32_t *item = g_new0(uint32_t, (gsize)room + 1);

	for (uint32_t from = 1; from <= r->now; from++) {
		if (*position(r, r->item[from]) != from)
			continue;
		item[++to] = r->item[from];
		*position(r, item[to]) = to;
	}
	g_free(r->item);
	g_free(r->tree);
	r->item = item;
	r->tree = g_new0(uint32_t, (gsize)room + 1);
	r->room = room;
	r->now = to;
	for (uint32_t at = 1; at <= to; at++)
		mark(r, at, 1);
}

struct reuse *reuse_new(void)
{
	struct reuse *r = g_new0(struct reuse, 1);

	r->last = g_array_new(FALSE, TRUE, sizeof(uint32_t));
	return r;
}

void reuse_free(struct reuse *r)
{
	g_array_unref(r->last);
	g_free(r->item);
	g_free(r->tree);
	g_free(r);
}

uint32_t reuse_touch(struct reuse *r, uint32_t item)
{
	uint32_t distance = 0, at;

	if (item >= r->last->len)
		g_array_set_size(r->last, item + 1);
	at = *position(r, item);
	if (at) {
		distance = r->nmarks - marks_up_to(r, at - 1);
		mark(r, at, (uint32_t)-1);
		*position(r, item) = 0;
		r->nmarks--;
	}
	if (r->now == r->room)
		pack(r);
	r->now++;
	r->nmarks++;
	r->item[r->now] = item;
	*position(r, item) = r->now;
	mark(r, r->now, 1);
	return distance;
}
