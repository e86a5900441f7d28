/* SPDX-License-Identifier: MIT */
/*
 * replace.h - page replacement: which page goes when a new one must come
 *
 * A policy keeps at most nframes of nids pages resident. Pages are dense ids, 0 to nids - 1: whoever knows pages by
 * address or by (vm, gfn) numbers them first, and a policy is then a few arrays. An access to a page that is not
 * resident is a miss and brings it in at once (demand paging, one page at a time), at the cost of a victim when all
 * frames are taken.
 *
 * To add a policy: one file mm/replace_NAME.c that defines its const struct replace_ops, one line below and one in
 * replace.c; the tests in tests/unit/test_replace.c and tests/model/test_mrc.c then cover it, the second after a naive
 * twin is written there.
 */
#ifndef OVERBOOK_MM_REPLACE_H
#define OVERBOOK_MM_REPLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLACE_NONE UINT32_MAX

/* What a policy is made for. The last three are for policies that know the future; others ignore them. */
struct replace_args {
	uint32_t nframes; /* at least 1 */
	uint32_t nids;	  /* at most 2^32 - 2 */
	uint64_t seed;	  /* for policies that draw lots */
	/* The requests that will be made, in order, and for each the position of the next one to the same page. */
	const uint32_t *trace, *next_use; /* next_use[i] is REPLACE_NONE where there is none; see replace_next_use() */
	size_t n;			  /* at most 2^32 - 1 */
};

struct replace_ops {
	const char *name;
	const char *summary; /* one sentence, for `overbook list` */
	bool offline;	     /* needs trace and next_use, and those very requests in that order */

	/* Memory is nothing but modelled state: never fails (GLib aborts when the host is out of memory). */
	void *(*create)(const struct replace_args *args);
	void (*destroy)(void *policy);
	/*
	 * One access. True: a hit. False: a miss, the page is resident now, and *victim is the page that went, or
	 * REPLACE_NONE while there were free frames. Constant time, amortised.
	 */
	bool (*access)(void *policy, uint32_t id, uint32_t *victim);
	/* The same for n accesses in a row, a few nanoseconds each; returns the number of misses. */
	uint64_t (*replay)(void *policy, const uint32_t *ids, size_t n);
};

extern const struct replace_ops replace_lru, replace_clock, replace_clock0, replace_fifo, replace_random, replace_opt;
extern const struct replace_ops *const replace_policies[]; /* NULL-ended */

/* The policy of that name, or NULL. */
const struct replace_ops *replace_find(const char *name);

/* For each request the position of the next to the same page. g_free() it. @n at most 2^32 - 1, ids below @nids. */
uint32_t *replace_next_use(const uint32_t *ids, size_t n, uint32_t nids);

#endif
