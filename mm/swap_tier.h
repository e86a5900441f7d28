/* SPDX-License-Identifier: MIT */
/* swap_tier.h - compressed pages in host frames: size classes, and who is oldest; see swap_tier.c */
#ifndef OVERBOOK_MM_SWAP_TIER_H
#define OVERBOOK_MM_SWAP_TIER_H

#include <glib.h>

#include "mm/frame.h"

/* Classes of sizes, 16 bytes apart, from 32 on. */
#define TIER_CLASSES 255u
/* Most frames that one group of objects may take together. */
#define TIER_CHAIN 8u

struct swap_tier {
	struct frames *frames;
	uint64_t nslots;
	uint16_t *nbytes;	/* [nslots]; 0: not in the tier */
	uint32_t *next, *prev;	/* ring of slots through sentinel nslots; next of that is the oldest */
	uint64_t count, bytes;	/* objects, and what the compressor made of them */
	uint64_t want;		/* frames for all groups */
	uint64_t class_count[TIER_CLASSES];
	uint8_t class_of[TIER_CLASSES];	   /* classes with like groups are one, the largest of them */
	uint8_t class_chain[TIER_CLASSES]; /* frames of a group */
	GArray *held;		/* hfn_t, `want` of them */
};

/* 0, or -ENOMEM: swap_tier_destroy() in any case. */
int swap_tier_init(struct swap_tier *t, uint64_t nslots, struct frames *fr);
void swap_tier_destroy(struct swap_tier *t);

/* Frames that the tier needs more if an object of @nbytes comes. */
uint64_t swap_tier_growth(const struct swap_tier *t, unsigned nbytes);
/* An object comes under the name of its @slot. -ENOMEM: there are no frames; it is not there then. */
int swap_tier_add(struct swap_tier *t, uint64_t slot, unsigned nbytes);
void swap_tier_remove(struct swap_tier *t, uint64_t slot);

static inline bool swap_tier_has(const struct swap_tier *t, uint64_t slot)
{
	return t->nbytes[slot] != 0;
}

/* The slot that has been there longest; nslots: none. */
static inline uint64_t swap_tier_oldest(const struct swap_tier *t)
{
	return t->next[t->nslots];
}

#endif
