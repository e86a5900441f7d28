/* SPDX-License-Identifier: MIT */
/* beyond.h - what is to be saved of pages that do not merge: see beyond.c; called by dedup.c alone */
#ifndef OVERBOOK_DEDUP_BEYOND_H
#define OVERBOOK_DEDUP_BEYOND_H

#include "dedup/dedup.h"

struct beyond;

/* NULL: nothing is asked for, or (errno is ENOMEM) there is no address space. */
struct beyond *beyond_new(struct dedup *d);
void beyond_free(struct beyond *b);

/* Look at the next @npages pages that are in frames. */
void beyond_scan(struct beyond *b, uint64_t npages);
/* The page has another frame than when it was looked at. */
void beyond_forget(struct beyond *b, unsigned vm, gfn_t gfn);
/* Add what was measured of the page, RESIDENT and not merged, to its VM's gauges. */
void beyond_report(const struct beyond *b, const struct dedup_page *p);

#endif
