/* SPDX-License-Identifier: MIT */
/*
 * replace_lru.c - least recently used
 *
 * Problem: evict the page whose last use is longest ago, exactly, at a few nanoseconds an access.
 *
 * Idea: all resident pages on one list in order of last use. A hit moves its page to the front; the victim is at the
 * back.
 *
 * Structures: one array with a {prev, next} pair of 32-bit ids for each page, so that a link is 8 bytes and a page's
 * two links share a cache line. Index nids is the list's head: its next is the most recent page, its prev the least
 * recent. A page that is not resident has next == REPLACE_NONE.
 *
 * Invariants (tests/unit/test_replace.c, replace_never_overfills; tests/model/test_mrc.c, lru_is_stack_distance):
 *  - the ids reached from the head by next are the resident ones, each once, nframes at most;
 *  - an access hits if and only if its stack distance, the number of distinct pages since the last access to it and
 *    with it, is at most nframes (Mattson, Gecsei, Slutz, Traiger: Evaluation techniques for storage hierarchies,
 *    1970). So more memory never means more misses.
 */
#include "mm/replace.h"

#include <glib.h>

struct link {
	uint32_t prev, next;
};

struct lru {
	uint32_t nfree;
	uint32_t head; /* index of the list's head, nids */
	struct link link[];
};

static void *lru_create(const struct replace_args *args)
{
	struct lru *l = g_malloc(sizeof(*l) + ((size_t)args->nids + 1) * sizeof(l->link[0]));

	l->nfree = args->nframes;
	l->head = args->nids;
	for (uint32_t id = 0; id < args->nids; id++)
		l->link[id].next = REPLACE_NONE;
	l->link[l->head].prev = l->link[l->head].next = l->head;
	return l;
}

static inline void unlink_id(struct link *link, uint32_t id)
{
	link[link[id].prev].next = link[id].next;
	link[link[id].next].prev = link[id].prev;
}

static inline void push_front(struct link *link, uint32_t head, uint32_t id)
{
	uint32_t first = link[head].next;

	link[id].prev = head;
	link[id].next = first;
	link[first].prev = id;
	link[head].next = id;
}

static uint32_t evict(struct lru *l)
{
	uint32_t victim = l->link[l->head].prev;

	unlink_id(l->link, victim);
	l->link[victim].next = REPLACE_NONE;
	return victim;
}

static inline bool lru_step(struct lru *l, uint32_t id, uint32_t *victim)
{
	bool hit = l->link[id].next != REPLACE_NONE;

	if (l->link[l->head].next == id)
		return true;
	if (hit)
		unlink_id(l->link, id);
	else if (l->nfree) {
		l->nfree--;
		*victim = REPLACE_NONE;
	} else {
		*victim = evict(l);
	}
	push_front(l->link, l->head, id);
	return hit;
}

static bool lru_access(void *policy, uint32_t id, uint32_t *victim)
{
	return lru_step(policy, id, victim);
}

static uint64_t lru_replay(void *policy, const uint32_t *ids, size_t n)
{
	uint64_t misses = 0;
	uint32_t victim;

	for (size_t i = 0; i < n; i++)
		misses += !lru_step(policy, ids[i], &victim);
	return misses;
}

const struct replace_ops replace_lru = {
	.name = "lru",
	.summary = "evicts the least recently used page; exact",
	.create = lru_create,
	.destroy = g_free,
	.access = lru_access,
	.replay = lru_replay,
};
