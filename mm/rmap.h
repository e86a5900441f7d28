/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - from a guest frame to the table entries that map it
 *
 * Shadow and pv paging have to find every entry that maps a guest page before it moves. Most pages are mapped by
 * exactly one entry, so a head is one 64-bit word: empty, one entry inline, or a pointer to a chain
 * (compare KVM's pte_list). An entry is named by the host-physical address of its 8 bytes.
 * Heads live in a lazily backed array, 8 bytes a guest page, only in VMs whose mode asks for it.
 */
#ifndef OVERBOOK_MM_RMAP_H
#define OVERBOOK_MM_RMAP_H

#include "mm/types.h"

struct rmap;

struct rmap *rmap_new(uint64_t npages); /* NULL: no address space */
void rmap_free(struct rmap *r);

/* -ENOMEM never (aborts as GLib does). Adding an entry twice is our own bug. */
void rmap_add(struct rmap *r, gfn_t gfn, hpa_t entry);
/* False if it was not there. */
bool rmap_remove(struct rmap *r, gfn_t gfn, hpa_t entry);
unsigned rmap_count(const struct rmap *r, gfn_t gfn);

/*
 * Visit the entries of a page in order of insertion (never of addresses); the callback may remove the entry it is
 * given.
 */
void rmap_for_each(struct rmap *r, gfn_t gfn, void (*fn)(hpa_t entry, void *ctx), void *ctx);

#endif
