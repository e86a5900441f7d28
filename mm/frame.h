/* SPDX-License-Identifier: MIT */
/*
 * frame.h - the host's physical memory: frames by hfn, who holds each, and their bytes
 *
 * One struct frames is one host memory of npages frames in nnodes NUMA nodes of equal size (rounded up to 2 MiB). An
 * hfn is a token: the machine decides what it stands for. Frames that hold *real bytes* (tables built by the VMM, a
 * guest's arena) have them at frames_bytes(); the region is reserved address space, so a frame never written costs
 * nothing.
 *
 * Sizes: struct frame is 16 bytes and lives in lazily backed memory, so that a host of a terabyte can be
 * described before a page of it is touched.
 *
 * Errors: -ENOMEM when the modelled memory is exhausted (a result, not a bug).
 */
#ifndef OVERBOOK_MM_FRAME_H
#define OVERBOOK_MM_FRAME_H

#include "mm/types.h"

/* Who holds a frame. One holder inline; FRAME_SHARED: the sharers are listed elsewhere. */
enum frame_kind {
	FRAME_FREE = 0,
	FRAME_GUEST, /* one page of one guest: vm, gfn */
	FRAME_TABLE, /* a table the VMM built for vm */
	FRAME_ARENA, /* a guest's arena, or all of a linear guest */
	FRAME_SHARED, /* merged, or the zero frame: refs pages map it */
	FRAME_TIER,   /* compressed pages (swap.c) */
};

struct frame {
	uint64_t owner; /* kind in bits 63:60, vm in 59:44, gfn in 43:0; 0 in a run: ask frames_owner() */
	uint32_t refs;	/* 1, or the number of sharers; 0 when free */
};

#define FRAME_OWNER(kind, vm, gfn) (((uint64_t)(kind) << 60) | ((uint64_t)(vm) << 44) | (gfn))
#define OWNER_KIND(owner) ((enum frame_kind)((owner) >> 60))
#define OWNER_VM(owner)	  ((unsigned)((owner) >> 44) & 0xffff)
#define OWNER_GFN(owner)  ((owner) & ((1ull << 44) - 1))
#define FRAME_KIND(f)	  OWNER_KIND((f)->owner)
#define FRAME_VM(f)	  OWNER_VM((f)->owner)
#define FRAME_GFN(f)	  OWNER_GFN((f)->owner)

struct frame_map;
struct hinted;

/* Whoever keeps lists of merged frames: told before the last page leaves one, while its contents are still there. */
struct shared_watch {
	void (*gone)(struct shared_watch *w, hfn_t hfn);
};

/* Read through the functions below; the layout is public only so that they cost nothing. */
struct frames {
	uint8_t *bytes;
	struct frame *frame;
	uint64_t npages, node_pages;
	uint64_t first_table, end; /* hfns [first_table, end) are for tables alone; none if they are equal */
	unsigned nnodes;
	uint8_t *distance, *nearest; /* [from * nnodes + to]: distances; from * nnodes: nodes, nearest first */
	struct frame_map *map; /* what is free: frame.c */
	hfn_t zero;	       /* the zero frame, HFN_NONE while nobody maps it (mm/gmem_share.c) */
	struct shared_watch *watch; /* NULL: nobody */
	struct hinted *hinted;	    /* pages that guests say are free (mm/gmem_free.c), NULL: none */
	int memfd;		    /* the file that bytes is a shared mapping of, -1: none */
};

struct frames_config {
	uint64_t npages;
	unsigned nnodes;
	/*
	 * Tables (FRAME_TABLE) take their frames from so many others, which no total and no count of used frames has:
	 * how many frames guests find free does not depend on what tables the machine needs. 0: from the same.
	 */
	uint64_t ntables;
	/* Every frame has bytes, in a file of memory that frames_bytes() is a shared mapping of: h at h * 4096. */
	bool shared;
};

/* NULL and errno when address space for it cannot be reserved. */
struct frames *frames_create(const struct frames_config *cfg);
/* A host of npages frames in nnodes nodes, tables among the others. */
struct frames *frames_new(uint64_t npages, unsigned nnodes);
void frames_free(struct frames *fr);

/*
 * Take 1, 512 or 262,144 frames (level 1, 2, 3) that are contiguous and aligned, from @node or, if it has none
 * and @strict is false, from the nearest that has. Returns the first hfn through @hfn, or -ENOMEM. Owners are set:
 * of kind FRAME_GUEST, frame i of a block gets gfn + i.
 */
int frames_alloc(struct frames *fr, unsigned level, unsigned node, bool strict, uint64_t owner, hfn_t *hfn);

/*
 * Take any number of contiguous frames (arenas, linear guests), aligned to 2 MiB, and to 1 GiB if that long and to be
 * had; first looked for from @node on. Nothing is written per frame. Given back whole, by frames_unreserve().
 */
int frames_reserve(struct frames *fr, uint64_t npages, unsigned node, uint64_t owner, hfn_t *hfn);
void frames_unreserve(struct frames *fr, hfn_t hfn);

/* Give back what alloc took, whole or in smaller blocks; the bytes behind it read as zero afterwards. */
void frames_release(struct frames *fr, hfn_t hfn, unsigned level);

static inline struct frame *frames_get(struct frames *fr, hfn_t hfn) /* hfn < frames_total(), or a table's */
{
	return &fr->frame[hfn];
}

/* Does the host have it, for whatever? */
static inline bool frames_exist(const struct frames *fr, hfn_t hfn)
{
	return hfn < fr->npages || (hfn >= fr->first_table && hfn < fr->end);
}

/* Who holds @hfn, runs included (their gfn counts from the one given); 0 if it is free or does not exist. */
uint64_t frames_owner(const struct frames *fr, hfn_t hfn);

static inline unsigned frames_node(const struct frames *fr, hfn_t hfn)
{
	return fr->nnodes == 1 || hfn >= fr->first_table ? 0 : (unsigned)(hfn / fr->node_pages);
}

/*
 * How far nodes are, as ACPI's SLIT and `numactl --hardware` say it: 10 is local, 20 twice the latency. Until it is
 * set, 20 everywhere, and neighbours by number count as nearer. Not to be changed once frames are in use.
 */
#define NODE_LOCAL 10
#define NODE_REMOTE 20
void frames_set_distances(struct frames *fr, const uint8_t *distance);

static inline unsigned frames_distance(const struct frames *fr, unsigned from, unsigned to)
{
	return fr->distance[from * fr->nnodes + to];
}

/* The @i-th nearest node of @node; 0: itself. */
static inline unsigned frames_nearest(const struct frames *fr, unsigned node, unsigned i)
{
	return fr->nearest[node * fr->nnodes + i];
}

static inline uint64_t frames_total(const struct frames *fr)
{
	return fr->npages;
}

static inline unsigned frames_nodes(const struct frames *fr)
{
	return fr->nnodes;
}

uint64_t frames_used(const struct frames *fr);
uint64_t frames_used_on(const struct frames *fr, unsigned node);

/* The real bytes behind host-physical address 0; frame h has its 4096 at +h * 4096. Valid for the host's life. */
static inline uint8_t *frames_bytes(const struct frames *fr)
{
	return fr->bytes;
}

/* The bytes of [hfn, hfn + npages) are lost, and cost nothing until they are written: they read as zero. */
void frames_drop_bytes(struct frames *fr, hfn_t hfn, uint64_t npages);

#endif
