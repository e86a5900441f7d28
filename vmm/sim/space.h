/* SPDX-License-Identifier: MIT */
/*
 * space.h - short numbers for address spaces
 *
 * A tag is (VPID, PCID): 28 bits. A key of assoc.h has 17 to spare, and few of the 2^28 spaces exist at a time, so
 * each is given a number when it first runs. Two more of each VPID stand for its global pages and for its
 * guest-physical addresses. Numbers begin at 1 and are never taken back; should they run out, the CPU is flushed
 * completely and numbering starts anew (rare enough to be invisible, and as legal as any flush).
 */
#ifndef OVERBOOK_SIM_SPACE_H
#define OVERBOOK_SIM_SPACE_H

#include <glib.h>
#include <stdint.h>

#define SPACE_GLOBAL 0x1000u /* beside the 4,096 PCIDs */
#define SPACE_GUEST  0x1001u

struct spaces {
	GHashTable *ids; /* tag to number */
	GArray *tags;	 /* number to tag; [0] unused */
};

void spaces_init(struct spaces *s);
void spaces_free(struct spaces *s);
void spaces_reset(struct spaces *s);

/* The number of (vpid, pcid), given now if it is new; 0 if there are no more. */
unsigned space_id(struct spaces *s, unsigned vpid, unsigned pcid);

static inline unsigned space_vpid(const struct spaces *s, unsigned id)
{
	return g_array_index(s->tags, uint32_t, id) >> 13;
}

static inline unsigned space_pcid(const struct spaces *s, unsigned id)
{
	return g_array_index(s->tags, uint32_t, id) & 0x1fff;
}

#endif
