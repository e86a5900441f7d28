/* SPDX-License-Identifier: MIT */
/* swap_slots.h - which slots of a swap device are free, and which is the next to fill; see swap_slots.c */
#ifndef OVERBOOK_MM_SWAP_SLOTS_H
#define OVERBOOK_MM_SWAP_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#define SWAP_CLUSTER 256u

struct swap_slots {
	uint64_t nslots, nused;
	uint64_t next;	/* where the search goes on */
	uint64_t *used; /* one bit a slot */
	uint16_t *count; /* used slots of each cluster */
};

void swap_slots_init(struct swap_slots *s, uint64_t nslots);
void swap_slots_destroy(struct swap_slots *s);
/* -ENOSPC when all are taken. */
int swap_slots_take(struct swap_slots *s, uint64_t *slot);
void swap_slots_give(struct swap_slots *s, uint64_t slot);

static inline bool swap_slots_used(const struct swap_slots *s, uint64_t slot)
{
	return s->used[slot / 64] >> (slot % 64) & 1;
}

#endif
