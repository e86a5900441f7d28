/* SPDX-License-Identifier: MIT */
/*
 * dedup.h - merging equal pages: what an algorithm is, and what all of them share
 *
 * A scanner looks at guests' pages and lets those with equal contents map one frame (mm/gmem.h: gmem_share). How it
 * finds equal pages is the algorithm's; going over memory, merging, and saying what came of it are dedup.c's.
 * The machine's loop calls dedup_scan() between quanta: no vCPU runs meanwhile.
 *
 * For each page of each VM there is a struct dedup_item of 16 bytes in lazily backed memory. A page that is not merged
 * has a reason there, so that "why is nothing merging?" has an answer; dedup_report() turns them into gauges.
 */
#ifndef OVERBOOK_DEDUP_DEDUP_H
#define OVERBOOK_DEDUP_DEDUP_H

#include <glib.h>

#include "mm/gmem.h"
#include "mm/reclaim.h"
#include "mm/swap.h"

#define DEDUP_RMAP_ITEM 64 /* bytes that the kernel keeps for each page it has looked at */

/* Why a page with a frame of its own is not merged. */
enum dedup_reason {
	REASON_UNSCANNED = 0, /* never looked at since it got its frame */
	REASON_UNIQUE,
	REASON_VOLATILE, /* its contents differ from those of the last look, or there was none */
	REASON_HUGE,	 /* part of a large backing, and split_huge is off */
	REASON_LIMIT,	 /* equal frames exist, all with max_page_sharing pages */
	REASON_NODE,	 /* equal pages exist, all on other NUMA nodes, and merge_across_nodes is off */
	REASON_REFUSED,	 /* equal pages exist, but the machine can let no more pages map merged frames */
	DEDUP_REASONS,
};

struct dedup_item {
	uint64_t checksum; /* when last scanned */
	uint32_t hfn_low;  /* of the frame that reason and checksum belong to: it has another if it was merged since */
	uint8_t reason;
	uint8_t age;	   /* passes it has been looked at without being merged */
	uint8_t skips;	   /* smart scan: passes it may still be skipped */
	uint8_t seen : 1;  /* checksum is valid */
	uint8_t cold : 7;  /* beyond.c: looks since it was last touched */
};

struct dedup_config {
	struct machine *machine;
	struct frames *frames;
	struct gmem *const *vms; /* by number, borrowed; all there for its life */
	unsigned nvms;
	struct counters *host;	 /* what belongs to no VM */
	bool smart_scan, use_zero_pages, split_huge, merge_across_nodes;
	uint64_t max_page_sharing; /* at least 2 */
	uint64_t prune_ns;	   /* frames that are gone stay in their chain for so long; 0: not at all */
	uint64_t seed;
	/* beyond.c */
	struct swap *swap;	 /* whose compressed tier patches and compressed pages go to; NULL: none do */
	bool patch, compress;	 /* pages that do not merge, when they are cold */
	bool potential;		 /* measure what that would save, or would have saved */
	unsigned cold_passes;	 /* looks without a touch in between until a page is cold, 1 to 127 */
};

struct dedup;
struct dedup_page;

struct dedup_ops {
	const char *name;    /* as in `algorithm = ksm` */
	const char *summary; /* one sentence, for `overbook list dedup` */
	bool by_host;	     /* not we but the machine's own host merges (vmm/host_scan.c): there are no hooks */

	/* NULL with errno: ENOMEM. */
	struct dedup *(*create)(const struct dedup_config *cfg);
	/*
	 * The loop, every sleep interval: look at up to @npages pages and merge what can be. Ends early at the end of
	 * a pass.
	 */
	void (*scan)(struct dedup *d, uint64_t npages);
	/*
	 * The page, a candidate, is about to go to swap: merge it if an equal one is known, else leave all as it is.
	 * NULL: this algorithm has no quick answer.
	 */
	bool (*try_share)(struct dedup *d, struct dedup_page *p);
	/* Frame @hfn has become a merged one for another reason: equal pages may merge with it. NULL: it will see. */
	void (*adopt)(struct dedup *d, hfn_t hfn);
	/* Forgets all, merges nothing more; what is merged stays so. */
	void (*destroy)(struct dedup *d);
};

extern const struct dedup_ops *const dedup_algorithms[]; /* NULL-ended: ksm, hash, oracle, kernel */

/* What an algorithm begins with; embedded first in its own struct. */
struct dedup {
	const struct dedup_ops *ops;
	struct page_sharer sharer;
	bool unmerging;
	struct dedup_config cfg;
	struct dedup_item **item; /* [vm][gfn] */
	struct beyond *beyond;	  /* NULL: nothing beyond merging is asked for */
	uint64_t *seen;		  /* dedup_report(): by hfn */
	uint64_t epoch;
	GHashTable *nodes;	  /* while dedup_report() runs */
};

/*
 * Shared by all.
 *
 * The loop, every sleep interval: the algorithm's scan, and as many pages looked at for what lies beyond merging.
 */
void dedup_scan(struct dedup *d, uint64_t npages);
void dedup_report(struct dedup *d); /* bring the gauges of the VMs' and of the host's counters up to date */
/*
 * For a reclaimer to ask before it swaps a page out (its sharer), if the algorithm knows how; else NULL. Lives as long
 * as @d.
 */
struct page_sharer *dedup_sharer(struct dedup *d);
/* Every merged page gets a frame of its own again, while there are frames: -ENOMEM says that there were too few. */
int dedup_unmerge(struct dedup *d);

/* For algorithms: */
bool dedup_init(struct dedup *d, const struct dedup_ops *ops, const struct dedup_config *cfg);
void dedup_fini(struct dedup *d);

struct dedup_page {
	struct gmem *g;
	struct dedup_item *item;
	struct gmem_page page;
	gfn_t gfn;
	unsigned vm;
	bool refused; /* the machine would not merge it (REASON_REFUSED) */
};

/* The page with its present state; its item is made new if it got another frame since it was looked at. */
void dedup_look(struct dedup *d, unsigned vm, gfn_t gfn, struct dedup_page *p);
/* A candidate: RESIDENT, and not part of a large backing that must stay whole (then it has its reason). */
bool dedup_candidate(struct dedup *d, struct dedup_page *p);
/* It is not merged because of @reason, unless the machine refused. */
static inline void dedup_blame(struct dedup_page *p, enum dedup_reason reason)
{
	p->item->reason = p->refused ? REASON_REFUSED : reason;
}
/* Contents, charged. */
uint64_t dedup_checksum(struct dedup *d, const struct dedup_page *p);
int dedup_compare(struct dedup *d, hfn_t a, hfn_t b);
/* Protect, compare again, merge. False: not equal after all, or no memory. */
bool dedup_merge_zero(struct dedup *d, struct dedup_page *p);
bool dedup_merge_into(struct dedup *d, struct dedup_page *p, hfn_t stable);
/* Merge two pages that are not merged yet; the frame of @a becomes @stable. False: @stable may be its frame anew. */
bool dedup_merge_pair(struct dedup *d, struct dedup_page *a, struct dedup_page *b, hfn_t *stable);
/* A candidate's frame becomes a merged one with this page alone, and the algorithm knows it. False: it was none. */
bool dedup_merge_alone(struct dedup *d, struct dedup_page *p);
uint64_t dedup_refs(const struct dedup *d, hfn_t stable);
/*
 * Pages merge only within a domain: a NUMA node, or the host if merge_across_nodes is on. The domain of a frame, how
 * many there are, and a key that only equal checksums of one domain have in common, as far as 64 bits go.
 */
unsigned dedup_domain(const struct dedup *d, hfn_t hfn);
unsigned dedup_domains(const struct dedup *d);
uint64_t dedup_key(const struct dedup *d, uint64_t checksum, unsigned domain);

#endif
