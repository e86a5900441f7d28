/* SPDX-License-Identifier: MIT */
/*
 * frame.h - the host's physical memory: frames by hfn, who holds each, and their bytes
 *
 * One struct frames is one host memory of npages frames in nnodes equal NUMA nodes. An hfn is a token: the
 * machine decides what it stands for. Frames that hold *real bytes* (tables built by the VMM, a guest's arena)
 * have them at frames_bytes(); the region is reserved address space, so a frame never written costs nothing.
 *
 * Sizes: struct frame is 16 bytes and lives in lazily backed memory, so that a host of a terabyte can be
 * described before a page of it is touched.
 *
 * Errors: -ENOMEM when the modelled memory is exhausted (a result, not a bug).
 */
#ifndef OVERBOOK_MM_FRAME_H
#define OVERBOOK_MM_FRAME_H

#include "mm/types.h"

/* Who holds a frame. One holder inline; FRAME_MANY: the rmap's chain knows (shared frames). */
enum frame_kind {
	FRAME_FREE = 0,
	FRAME_GUEST, /* one page of one guest: vm, gfn */
	FRAME_TABLE, /* a table the VMM built for vm */
	FRAME_ARENA, /* a guest's arena, or all of a linear guest */
	FRAME_SHARED, /* merged: refs holders, listed by dedup */
};

struct frame {
	uint64_t owner; /* kind in bits 63:60, vm in 59:44, gfn in 43:0 */
	uint32_t refs;
	uint8_t node;
	uint8_t order_free; /* head of a free block of 4^.. see frame.c; 0 unless free */
	uint16_t flags;
};

#define FRAME_OWNER(kind, vm, gfn) (((uint64_t)(kind) << 60) | ((uint64_t)(vm) << 44) | (gfn))
#define FRAME_KIND(f)  ((enum frame_kind)((f)->owner >> 60))
#define FRAME_VM(f)    ((unsigned)((f)->owner >> 44) & 0xffff)
#define FRAME_GFN(f)   ((f)->owner & ((1ull << 44) - 1))

struct frames;

/* A host of npages frames in nnodes nodes; NULL and errno when address space for it cannot be reserved. */
struct frames *frames_new(uint64_t npages, unsigned nnodes);
void frames_free(struct frames *fr);

/*
 * Take 1, 512 or 262,144 frames (level 1, 2, 3) that are contiguous and aligned, from @node or, if it has none
 * and @strict is false, from the nearest by number. Returns the first hfn through @hfn, or -ENOMEM.
 */
int frames_alloc(struct frames *fr, unsigned level, unsigned node, bool strict, uint64_t owner, hfn_t *hfn);

/* Take any number of contiguous frames (arenas, linear guests), aligned to 512; never given back singly. */
int frames_reserve(struct frames *fr, uint64_t npages, uint64_t owner, hfn_t *hfn);

/* Give back what alloc took, whole or page by page; the bytes behind it read as zero afterwards. */
void frames_release(struct frames *fr, hfn_t hfn, unsigned level);

struct frame *frames_get(struct frames *fr, hfn_t hfn); /* hfn < frames_total() */
uint64_t frames_total(const struct frames *fr);
uint64_t frames_used(const struct frames *fr);
uint64_t frames_used_on(const struct frames *fr, unsigned node);
unsigned frames_nodes(const struct frames *fr);

/* The real bytes behind host-physical address 0; frame h has its 4096 at +h * 4096. Valid for the host's life. */
uint8_t *frames_bytes(struct frames *fr);

#endif
