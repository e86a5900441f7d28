/* SPDX-License-Identifier: MIT */
/*
 * merge.h - some VMs on one fake host, and a scanner over them
 *
 * A page's contents are two words, @a at word 3 and @b at word 400, the rest zeros; so a page of zeros is 0, 0.
 */
#ifndef OVERBOOK_TESTS_MERGE_H
#define OVERBOOK_TESTS_MERGE_H

#include "dedup/dedup.h"
#include "mm/swap.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"

#define MERGE_VMS 4

struct merge {
	struct frames *fr;
	struct fake_machine *fm;
	unsigned nvms;
	struct gmem *g[MERGE_VMS];
	struct fake_paging *p[MERGE_VMS];
	struct counters c[MERGE_VMS], host, sum; /* sum: host and VMs, by merge_report() */
	struct dedup_config cfg;		 /* may be changed before merge_start() */
	struct dedup *d;
	struct swap *swap;			 /* NULL: none */
};

/* VMs of @npages, no arena but the last one's of 512 pages; no scanner yet. */
struct merge *merge_new(unsigned nvms, uint64_t npages, unsigned level, uint64_t host);
/* The same on a host of @nnodes, VM i preferring node i modulo that. */
struct merge *merge_new_on(unsigned nvms, uint64_t npages, unsigned level, uint64_t host, unsigned nnodes);
/* The host swaps; before the first page has a frame. */
void merge_swap(struct merge *m, const struct swap_config *cfg);
void merge_start(struct merge *m, const char *algorithm);
/* Asserts that no frame leaked. */
void merge_free(struct merge *m);

/* A vCPU stores; 0 or -errno. */
int merge_store(struct merge *m, unsigned vm, gfn_t gfn, uint64_t a, uint64_t b);
/* What the page contains, whatever its state. */
void merge_peek(struct merge *m, unsigned vm, gfn_t gfn, uint64_t *a, uint64_t *b);
enum page_state merge_state(struct merge *m, unsigned vm, gfn_t gfn);

/* Scan until @n passes that begin after now are over. */
void merge_passes(struct merge *m, unsigned n);
void merge_report(struct merge *m);

#endif
