/* SPDX-License-Identifier: MIT */
/*
 * estimate.h - how much of its memory does a guest use?
 *
 * The *working set* of a VM is what it touched of its pages outside the arena in a window of time. Estimators guess its
 * size without seeing accesses: they take pages away from the tables now and then (gmem_observe_young) and see which
 * come back, or watch the faults that happen anyway. They work on every machine, and each pays for what it does: young
 * faults, entries removed, entries looked at.
 *
 * Windows follow one another; each is divided into ESTIMATE_STEPS steps, at which estimators work. Where the machine
 * knows the truth, each estimate is held against it when its window ends: wss_NAME_error is the sum of the differences
 * over windows, wss_NAME_over the part of it by which the estimate was too high. The first window is not scored.
 *
 * To add an estimator: one file mm/estimate_NAME.c with its const struct estimator_ops, three counters, one line in
 * estimator_table[].
 */
#ifndef OVERBOOK_MM_ESTIMATE_H
#define OVERBOOK_MM_ESTIMATE_H

#include "mm/gmem.h"

#define ESTIMATE_STEPS 16u
#define ESTIMATORS_MAX 8u

struct estimator;

struct estimate_config {
	struct gmem *const *vms;
	unsigned nvms;
	const struct estimator_ops *methods[ESTIMATORS_MAX + 1]; /* NULL-ended */
	unsigned active;	/* whose estimate policies use: index into methods */
	uint64_t window_ns;	/* at least ESTIMATE_STEPS ns */
	uint64_t sample_pages;	/* esx: pages watched in each window */
	uint64_t sampling_ppm;	/* mrc: share of all pages that is followed */
	uint64_t seed;
	/*
	 * Called when a window ends, for each VM: pages that it touched since the last call; UINT64_MAX: it has ended.
	 * NULL: the machine does not know.
	 */
	uint64_t (*truth)(void *ctx, unsigned vm);
	void *ctx;
};

struct estimate;

/* From now on it watches the VMs. NULL and ENOMEM: no address space. */
struct estimate *estimate_new(const struct estimate_config *cfg);
/* Before the VMs' gmem. */
void estimate_free(struct estimate *e);

/* When there is something to do. */
uint64_t estimate_due(const struct estimate *e);
/* Do what is due at @now_ns: between two turns of the vCPUs. Pages are unmapped: roots may change. */
void estimate_tick(struct estimate *e, uint64_t now_ns);

/* Has every method had a window to learn from? Before, estimates are worth nothing. */
bool estimate_known(const struct estimate *e);
/* Pages that @vm uses, after the method that policies go by; 0 if there is none. */
uint64_t estimate_active_pages(const struct estimate *e, unsigned vm);
/* The same after methods[@method]. */
uint64_t estimate_pages(const struct estimate *e, unsigned vm, unsigned method);

/*
 * A miss-ratio curve of @vm as methods[@method] knows it: point i of ESTIMATE_POINTS is for i / (ESTIMATE_POINTS - 1)
 * of *@most pages, and tells what share of the reuses of lately would miss in so much memory, in ppm. False: it knows
 * none.
 */
#define ESTIMATE_POINTS 33u
bool estimate_curve(const struct estimate *e, unsigned vm, unsigned method, uint64_t *most,
		    uint32_t ppm[ESTIMATE_POINTS]);

/* For estimators */

/* What one is given of one VM. Pages are [first, npages): the arena is not estimated. */
struct estimator_args {
	struct gmem *g;
	gfn_t first;
	uint64_t npages;
	uint64_t sample_pages, sampling_ppm, seed;
};

struct estimator_ops {
	const char *name, *summary;
	size_t gauge, error, over; /* its counters, offsets into struct counters */

	/* NULL: no address space. destroy() takes what create() returned. */
	struct estimator *(*create)(const struct estimator_args *args);
	void (*destroy)(struct estimator *x);
	/* At each step: work, and set x->pages. @ends: it is the last of its window. */
	void (*step)(struct estimator *x, unsigned step, bool ends);
	/* Something happened to a page, see struct gmem_watch; may not call gmem. NULL: it does not care. */
	void (*event)(struct estimator *x, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause);
	/* As estimate_curve(); NULL: it has none. */
	bool (*curve)(const struct estimator *x, uint64_t *most, uint32_t *ppm);
};

/* What each begins with. estimate.c fills in what follows pages. */
struct estimator {
	uint64_t pages; /* the estimate */
	const struct estimator_ops *ops;
	struct gmem *g;
	uint8_t *told;	   /* of the VM: by gfn, one bit a method; NULL: there is but one method */
	uint8_t bit, all; /* this one's, and everybody's */
};

extern const struct estimator_ops estimator_esx, estimator_idle, estimator_refault, estimator_mrc;
extern const struct estimator_ops *const estimator_table[]; /* NULL-ended */

/* The estimator of that name, or NULL. */
const struct estimator_ops *estimator_find(const char *name);

/*
 * Was the page touched since this estimator last asked? The next touch is noticed again. What the others asked in
 * between does not matter. False for a page without a frame.
 */
bool estimator_young(struct estimator *x, gfn_t gfn);
/*
 * The same without asking anew: nothing is unmapped, and the next question has the same answer. Where accessed bits
 * tell (gmem_young_by_bit) false may only mean that nobody has asked.
 */
bool estimator_peek(const struct estimator *x, gfn_t gfn);
/* Is this event a touch of the page? */
bool estimate_is_touch(unsigned cause);

#endif
