/* SPDX-License-Identifier: MIT */
/*
 * swap_future.h - in which order pages will be used, learned in one run for the next
 *
 * The optimum needs the future. A first run notes every use of a page; the second, of the same experiment, notes the
 * same and asks when a page's next use is. Uses of one page in a row are one. See swap_future.c.
 */
#ifndef OVERBOOK_MM_SWAP_FUTURE_H
#define OVERBOOK_MM_SWAP_FUTURE_H

#include <stdbool.h>

#include "mm/types.h"

struct swap_future;

struct swap_future *swap_future_new(void);
void swap_future_free(struct swap_future *f);

/* The page is used. False: the second run differs from the first, here or before; nothing is known any more. */
bool swap_future_note(struct swap_future *f, unsigned vm, gfn_t gfn);
/* The first run is over, the second begins. -E2BIG: it was too long. */
int swap_future_begin(struct swap_future *f);
bool swap_future_known(const struct swap_future *f); /* has the second begun? */

/* When it is used next, in uses of pages since the beginning; SWAP_NEVER: no more. */
uint32_t swap_future_next(const struct swap_future *f, unsigned vm, gfn_t gfn);

#endif
