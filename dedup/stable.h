/* SPDX-License-Identifier: MIT */
/*
 * stable.h - merged frames by their contents, and the chains that max_page_sharing makes of them
 *
 * A struct stable is one content: its merged frames are equal, and each has at most max_page_sharing pages (KSM calls
 * one with several a chain of dups). The set hears of every frame whose last page leaves it (frames->watch), so it
 * never offers a frame that is no longer merged. The kernel finds out only when it goes over a chain, every
 * stable_node_chains_prune_millisecs; until then such a dup takes up metadata and is counted, and so it is here.
 */
#ifndef OVERBOOK_DEDUP_STABLE_H
#define OVERBOOK_DEDUP_STABLE_H

#include <glib.h>

#include "dedup/dedup.h"

struct stable {
	hfn_t hfn;	 /* one of them: what stands for the contents */
	uint64_t tag;	 /* the algorithm's */
	unsigned domain; /* of all of them */
	GArray *frames;	 /* of hfn_t */
	unsigned stale;	 /* frames that are gone and not yet pruned */
	uint64_t pruned; /* ns: when that was done last */
};

struct stable_set {
	struct shared_watch watch; /* first */
	struct dedup *d;
	GHashTable *by_hfn; /* hfn: struct stable */
	/* The last frame of @s is about to go; @s still stands for its contents. It is freed afterwards. */
	void (*empty)(struct dedup *d, struct stable *s);
};

void stable_init(struct stable_set *set, struct dedup *d, void (*empty)(struct dedup *d, struct stable *s));
void stable_fini(struct stable_set *set);

/* Add merged frame @hfn to @s, or to a new one if that is NULL; returns it. */
struct stable *stable_add(struct stable_set *set, struct stable *s, hfn_t hfn, uint64_t tag);
/* The frame with the most pages that may have another, or HFN_NONE. Prunes the chain, if it is time. */
hfn_t stable_pick(struct stable_set *set, struct stable *s);

#endif
