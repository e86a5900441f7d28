/* SPDX-License-Identifier: MIT */
/*
 * host.h - what a host does beside running guests: swap, merge pages, estimate working sets, let a policy decide
 *
 * The same on every machine. A machine embeds one struct host, says through struct host_ops what only it knows, and
 * calls at the right times: in lockstep between rounds of quanta; else when the _due() functions say so. No vCPU runs
 * meanwhile, or the memory manager's lock is held.
 *
 *	host.c		beginning and end
 *	host_swap.c	when pages are evicted
 *	host_scan.c	when the page-merging scanner runs
 *	host_estimate.c	when working sets are estimated
 *	host_policy.c	the policy's hands
 *	host_upkeep.c	a VM's dirty log and large pages; the memory of a VM that failed
 */
#ifndef OVERBOOK_VMM_HOST_H
#define OVERBOOK_VMM_HOST_H

#include "dedup/advisor.h"
#include "dedup/dedup.h"
#include "mm/collapse.h"
#include "mm/estimate.h"
#include "mm/swap.h"
#include "vmm/policy_run.h"
#include "vmm/vm_balloon.h"
#include "vmm/vmm.h"

/* What is done beside the guests; time spent in a job is the host's, in no VM's ns_total. */
enum host_job { HOST_SCAN, HOST_ESTIMATE, HOST_JOBS };

/* What the machine knows. @ctx is its own, @vm the number of a VM. */
struct host_ops {
	/* A job begins: what charge() prices from now on is its; and it ends, which took so many ns. */
	void (*job_begins)(void *ctx, enum host_job job);
	uint64_t (*job_ends)(void *ctx, enum host_job job);
	/* Nanoseconds spent in @job since the beginning. */
	uint64_t (*job_ns)(void *ctx, enum host_job job);
	/* Pages were unmapped while no vCPU ran: roots may be others. NULL: they are asked for at every entry. */
	void (*unmapped)(void *ctx);
	/* Has the VM ended? */
	bool (*done)(void *ctx, unsigned vm);
	/* It cannot go on, and why. */
	void (*fail)(void *ctx, unsigned vm, const char *why);
	/* Does the guest say that it does not use the page? */
	bool (*page_free)(void *ctx, unsigned vm, gfn_t gfn);
	/* Before the dirty log is read: hand over what the processor has logged. NULL: it logs nothing. */
	void (*drain)(void *ctx, unsigned vm);
	/* As estimate_config.truth; NULL: the machine does not know. */
	uint64_t (*truth)(void *ctx, unsigned vm);
	/* Bring the VM's counters up to date. */
	void (*refresh)(void *ctx, unsigned vm);
	/*
	 * [dedup] algorithm = kernel. It shall merge as [dedup] says; FALSE: it cannot. It shall stop, or also undo
	 * what it did. Bring host counters up to date, and the gauges of VMs that it tells apart. All NULL: this
	 * machine has no such kernel.
	 */
	gboolean (*merge_begin)(void *ctx, GError **error);
	void (*merge_stop)(void *ctx, bool unmerge);
	void (*merge_report)(void *ctx, struct counters *host);
	/* The VM's balloon was asked for something: it shall look, even if it sleeps. */
	void (*wake)(void *ctx, unsigned vm);
};

struct host_vm {
	struct gmem *gmem;
	struct vm_balloon *balloon; /* NULL: none */
	const struct conf_vm *conf;
	struct run_vm *out;
	uint64_t blocked_until;	    /* ns: it does not run before: [vm] start, or a policy */
	bool waiting;		    /* to be admitted by the policy */
	bool buried;		    /* it failed, and its memory has gone to the others */
	uint64_t next_dirty, next_collapse; /* ns: next upkeep */
	uint64_t *dirty;	    /* bitmap for the dirty log */
	struct collapser collapser;
};

struct host {
	struct run *run;
	struct machine *machine;
	struct frames *frames;
	const struct host_ops *ops;
	void *ctx;
	uint64_t now_ns;	  /* of the last call that told it */
	struct host_vm *vm;
	struct gmem **gmems;	  /* [vm], for those who want them so */
	unsigned nvms;
	struct counters counters; /* what belongs to no VM */
	struct swap *swap;	  /* NULL: the host has no swap */
	struct swap_future *future; /* NULL: nobody asks for it. Borrowed. */
	uint64_t nslots, dead_credit; /* slots that may be looked at for dead pages */
	struct dedup *dedup;	  /* NULL: algorithm = none, or kernel */
	bool merges_itself;	  /* algorithm = kernel */
	bool scan_over;		  /* [dedup] stop has come */
	uint64_t next_scan;	  /* ns */
	struct advisor advisor;	  /* [dedup] advisor = scan-time */
	uint64_t pages_to_scan, scan_sleep_ns; /* as [dedup] says, or a policy since */
	struct estimate *estimate; /* NULL: no [estimate] */
	struct policy_run *policy; /* NULL: nobody decides */
};

/*
 * host.c. In this order: host_init(), before there are VMs; host_attach() for each VM, in order of their numbers, when
 * it has its gmem and no page outside the arena; host_begin(), when all are there; host_finish() at the end of the run,
 * before the last sample; host_stop(), before the VMs' gmem goes; host_destroy(), after it, before the frames.
 */
int host_init(struct host *h, struct run *run, struct machine *machine, struct frames *frames,
	      const struct host_ops *ops, void *ctx); /* -ENOMEM */
int host_attach(struct host *h, unsigned vm, struct gmem *g, struct vm_balloon *balloon); /* -ENOMEM */
gboolean host_begin(struct host *h, GError **error);
void host_finish(struct host *h);
void host_stop(struct host *h);
void host_destroy(struct host *h);
/* Bring the host's counters up to date, and those gauges of VMs that belong to what the host does. */
void host_report(struct host *h);

/* The frames of [host], before host_init(); NULL and errno. */
struct frames *host_frames(const struct run *run, bool shared);

/* host_swap.c */
int host_swap_init(struct host *h);
int host_swap_attach(struct host *h, unsigned vm);
/* Between two faults, in the free schedule: see that there are free frames. */
void host_balance(struct host *h);
/* Evict until all limits hold. */
void host_evict(struct host *h);
/* Changes whenever a page has been evicted. */
uint64_t host_evictions(const struct host *h);
/* Bring the gauge of dead pages up to date, if it is time for so much work, or @final. */
void host_swap_report(struct host *h, bool final);

/* host_scan.c, host_estimate.c: do what is due. True: there was something. The time of the next; UINT64_MAX: never. */
gboolean host_scan_init(struct host *h, GError **error);
bool host_scan(struct host *h, uint64_t now_ns);
uint64_t host_scan_due(const struct host *h);
void host_scan_report(struct host *h);
gboolean host_estimate_init(struct host *h, GError **error);
bool host_estimate(struct host *h, uint64_t now_ns);
uint64_t host_estimate_due(const struct host *h);
/* The run is over: write down what miss-ratio curves there are. */
void host_estimate_finish(struct host *h);

/* host_policy.c: as [policy] says; nothing if there is none. True: it decided. */
gboolean host_policy_init(struct host *h, GError **error);
bool host_decide(struct host *h, uint64_t now_ns);

/* host_upkeep.c */
bool host_upkeep_due(const struct host *h, unsigned vm, uint64_t now_ns);
/* When host_upkeep_due() is next true; UINT64_MAX: never. */
uint64_t host_upkeep_next(const struct host *h, unsigned vm);
void host_upkeep(struct host *h, unsigned vm, uint64_t now_ns);
/*
 * A VM that could not go on is no more: as when a host kills it, its memory and its swap go to the others. Called when
 * none of its code is on the stack; does nothing to one that is well.
 */
void host_bury(struct host *h, unsigned vm);

#endif
