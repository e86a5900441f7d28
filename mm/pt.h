/* SPDX-License-Identifier: MIT */
/*
 * pt.h - the radix engine: one walker for every table format
 *
 * x86-64 (4 and 5 levels), EPT (4 and 5) and AMD's NPT differ in what the bits of an entry mean, not in the shape of
 * the tree. A *format* is a set of small functions and masks; the engine maps, unmaps, splits, collapses and iterates
 * through it. Tables are frames with real bytes (mm/frame.h); this engine builds tables for the VMM. The processor's
 * own walk is simulated elsewhere (vmm/sim) and shares only the format.
 */
#ifndef OVERBOOK_MM_PT_H
#define OVERBOOK_MM_PT_H

#include "mm/frame.h"
#include "mm/types.h"

/* What an entry says, decoded. */
struct pt_format {
	const char *name; /* "x86-64", "ept", "npt" */
	uint64_t present; /* an entry is present iff any of these bits is set */
	uint64_t write, user, accessed, dirty, large, global; /* a single bit each, 0 where the format has none */
	uint64_t addr;	  /* address field of an entry at the largest MAXPHYADDR */
	unsigned max_leaf; /* 3 */

	/* A leaf at @level for @hpa with ACC_* rights; a pointer to the next table. Accessed and dirty bits clear. */
	uint64_t (*leaf)(hpa_t hpa, unsigned level, unsigned access);
	uint64_t (*table)(hpa_t hpa);
	/* ACC_* that the entry itself grants (a walk takes the intersection over levels). */
	unsigned (*access)(uint64_t entry);
	/* Bits that must be zero in a present entry at @level, a leaf or not, given the processor. */
	uint64_t (*reserved)(unsigned level, bool leaf, unsigned maxphyaddr, bool nx, bool gbpages);
};

extern const struct pt_format pt_format_x86, pt_format_ept, pt_format_npt;

/*
 * An EPT entry can be wrong beyond its reserved bits: writable but not readable, or a leaf of a memory type that
 * does not exist. Either is an EPT misconfiguration, as a reserved bit is.
 */
bool pt_ept_misconfigured(uint64_t entry, bool leaf);

static inline bool pt_present(const struct pt_format *f, uint64_t e)
{
	return (e & f->present) != 0;
}

/* True if a present entry at @level maps memory rather than a table. */
static inline bool pt_is_leaf(const struct pt_format *f, uint64_t e, unsigned level)
{
	return level == 1 || (e & f->large) != 0;
}

/* The address in an entry: of the next table, or of the page (low bits of a large leaf masked off). */
static inline hpa_t pt_addr(const struct pt_format *f, uint64_t e, unsigned level, bool leaf)
{
	return e & f->addr & (leaf ? ~(LEVEL_SIZE(level) - 1) : ~0ull);
}

struct pt {
	const struct pt_format *fmt;
	struct frames *frames;
	unsigned levels; /* 4 or 5 */
	unsigned vm;	 /* owner of the frames */
	unsigned node;	 /* where they are preferred */
	hpa_t root;
	uint64_t ntables; /* frames in use, root included */
};

/* An empty tree. -ENOMEM. */
int pt_init(struct pt *pt, const struct pt_format *fmt, struct frames *fr, unsigned levels, unsigned vm, unsigned node);
/* Free every table; what the leaves map is not touched. */
void pt_destroy(struct pt *pt);

/* A walk's end: the lowest present-or-not entry reached. */
struct pt_slot {
	uint64_t *entry;
	unsigned level; /* of the entry */
};

/* Walk towards @addr; stop at a leaf, at a not-present entry, or at @level. */
struct pt_slot pt_walk(const struct pt *pt, uint64_t addr, unsigned level);

/*
 * Map @addr (aligned) at @level to @hpa with ACC_* rights, making tables on the way. A large leaf in the way is split;
 * a table in the way of a large leaf is freed, with all below it: that is how a subtree collapses. Returns the old
 * leaf entry through @old (of a larger leaf its part, 0 if there was none or a table; may be NULL). -ENOMEM: every
 * translation is as it was, but a split may have happened.
 */
int pt_map(struct pt *pt, uint64_t addr, unsigned level, hpa_t hpa, unsigned access, uint64_t *old);

/*
 * Remove the leaves that lie in [addr, addr + size), splitting those that stick out; empty tables are freed. Returns
 * leaves removed, or -ENOMEM if a split failed: then none is removed.
 */
int64_t pt_unmap(struct pt *pt, uint64_t addr, uint64_t size);

/* Replace the leaf over @addr by a table of leaves one level lower, rights and A/D kept. -ENOMEM, -ENOENT. */
int pt_split(struct pt *pt, uint64_t addr);

/*
 * Visit each present leaf that overlaps [addr, addr + size), in order; the callback may change the entry in place and
 * split the leaf it is given, no more. Non-zero ends the visit and is returned.
 */
typedef int (*pt_leaf_fn)(struct pt *pt, uint64_t addr, unsigned level, uint64_t *entry, void *ctx);
int pt_for_each(struct pt *pt, uint64_t addr, uint64_t size, pt_leaf_fn fn, void *ctx);

/* The table at host-physical @hpa. */
static inline uint64_t *pt_table(const struct frames *fr, hpa_t hpa)
{
	return (uint64_t *)(frames_bytes(fr) + (hpa & PAGE_MASK));
}

#endif
