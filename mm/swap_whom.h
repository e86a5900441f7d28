/* SPDX-License-Identifier: MIT */
/* swap_whom.h - from which VM the next page is taken; see swap_whom.c */
#ifndef OVERBOOK_MM_SWAP_WHOM_H
#define OVERBOOK_MM_SWAP_WHOM_H

#include <glib.h>

#include "mm/gmem.h"
#include "mm/swap_pool.h"

enum swap_order {
	SWAP_FROM_HOST,		/* one pool: whose page it is plays no part */
	SWAP_FROM_PROPORTIONAL, /* VMs in turn, as often as they have pages */
	SWAP_FROM_LARGEST,	/* the VM that has most */
};

struct swap_vm {
	struct gmem *g;
	struct swap_pool pool; /* of its own pages, if `own` */
	bool own;
	uint64_t resident;     /* its pages, in whichever pool */
	uint64_t limit;	       /* UINT64_MAX: none */
	int64_t credit;	       /* proportional: what it is behind with */
};

struct swap_whom {
	enum swap_order order;
	uint64_t seed;
	struct swap_links links;
	struct swap_pool common; /* of all VMs without one of their own; young() and ctx are those of all pools */
	int64_t credit;
	GPtrArray *vms;		 /* struct swap_vm by vm; NULL where none is attached */
	uint64_t count;		 /* pages in all pools */
	unsigned nown, nlimited;
};

/* 0, or -ENOMEM: swap_whom_destroy() in any case. */
int swap_whom_init(struct swap_whom *w, const struct swap_policy *policy, uint64_t nframes, uint64_t seed,
		   enum swap_order order);
void swap_whom_destroy(struct swap_whom *w);
/* -ENOMEM. */
int swap_whom_attach(struct swap_whom *w, struct gmem *g);
/* NULL if it is not attached. */
struct swap_vm *swap_whom_vm(const struct swap_whom *w, unsigned vm);
struct swap_pool *swap_whom_pool(struct swap_whom *w, struct swap_vm *vm);

void swap_whom_add(struct swap_whom *w, unsigned vm, hfn_t hfn, uint32_t shadow);
void swap_whom_remove(struct swap_whom *w, unsigned vm, hfn_t hfn);

/* Whatever the limit, so many pages are left to a VM: an instruction of it may need several at once. */
#define SWAP_LEAST 16u
/* -ENOMEM: nothing has changed. */
int swap_whom_limit(struct swap_whom *w, struct swap_vm *vm, uint64_t npages);
/* The VM that is furthest beyond its limit; NULL: none is. */
struct swap_vm *swap_whom_over(const struct swap_whom *w);
/* The pool whose turn it is; NULL: all are empty. */
struct swap_pool *swap_whom_next(struct swap_whom *w);

#endif
