/* SPDX-License-Identifier: MIT */
/*
 * policy.h - what a policy of memory overcommit sees, and what it may ask for
 *
 * A policy decides how much host memory each guest may have and by which means it gives up the rest. Every interval it
 * is shown a snapshot of host and guests and fills in a plan. It is a pure function: of the view, of its constants
 * ([policy] in the experiment file), and of a state of its own; it touches nothing else, so the same policy runs on
 * every machine and gives the same plan for the same view.
 *
 * This header is all that a policy needs and includes nothing of overbook: it is installed as <overbook/policy.h>. A
 * policy of your own is a shared object with one symbol,
 *
 *	const struct policy_ops overbook_policy = { .abi = POLICY_ABI, .name = "mine", ... };
 *
 * and is used with `overbook run --policy ./mine.so` or `[policy] module = ./mine.so`; docs/policy-example/ has one.
 *
 * Units: memory in pages of 4096 bytes, time in ns of the run, shares of a whole in parts per million (ppm). There is
 * no floating point here: results are to be the same everywhere.
 */
#ifndef OVERBOOK_VMM_POLICY_H
#define OVERBOOK_VMM_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Changes whenever a structure below does; a shared object built with another one is refused. */
#define POLICY_ABI 1u

#define POLICY_PAGE 4096u
#define POLICY_PPM  1000000u

#define POLICY_KEEP	UINT64_MAX	 /* in a plan: nothing is asked, it stays as it is */
#define POLICY_NO_LIMIT (UINT64_MAX - 1) /* in view and plan: no limit */

/* --- what a policy sees --- */

/* Events of one guest. */
struct policy_counts {
	uint64_t operations;	/* of its processes */
	uint64_t first_touches; /* pages that the host gave it */
	uint64_t swap_ins;	/* pages that came back from the host's swap because it touched them */
	uint64_t swap_outs;	/* pages that went there */
	uint64_t refaults;	/* swap_ins, and pages that came back from the guest's own swap or files */
	uint64_t stall_some_ns; /* time in which some of it waited for memory, by host or guest: PSI's `some` */
	uint64_t stall_full_ns; /* time in which all of it did */
	uint64_t guest_swap_ins, guest_swap_outs, guest_major_faults; /* as its balloon driver says */
};

struct policy_vm {
	const char *name;
	bool running;	    /* it runs; else it has ended, or waits to be started */
	bool waiting;	    /* it asks to be started: plan.admit */
	uint64_t shares;    /* [vm] shares */
	uint64_t memory;    /* guest-physical pages */
	uint64_t pinned;    /* of them: the guest kernel's own, never taken */
	uint64_t min, max;  /* [vm] min, max: host memory that it is guaranteed, and that it may have at most */
	/* Its balloon. */
	bool has_balloon;
	bool responding;    /* in the last decisions it moved towards its target, or was there */
	uint64_t balloon_limit, balloon_target, balloon_actual;
	/* Where its pages are: the rest is in the balloon or was never touched. */
	uint64_t resident;  /* in host frames of their own, the pinned ones included */
	uint64_t merged;    /* in frames that other pages share, or the zero frame */
	uint64_t swapped;   /* or dropped, because the guest's own disk holds them */
	uint64_t compressed;
	uint64_t limit;	    /* most of them that may be resident, or POLICY_NO_LIMIT */
	bool blocked;
	/* What its balloon driver reported last. */
	bool has_stats;
	uint64_t guest_free, guest_available, guest_caches;
	/* An estimate of what it uses, in ppm of resident; POLICY_PPM where has_active is false. */
	bool has_active;
	uint64_t active_ppm;
	struct policy_counts total, since; /* since the run began; since the last decision */
};

struct policy_host {
	uint64_t time_ns;     /* of this decision */
	uint64_t interval_ns; /* since the last one; 0 at the first */
	uint64_t frames, free;
	uint64_t overhead;    /* frames that hold no guest's page: tables, the compressed tier */
	uint64_t swap, swap_used; /* slots of the swap device; 0: there is none */
	uint64_t pool, pool_used; /* most frames of the compressed tier; in use */
	/* The scanner that merges equal pages; pages_to_scan is 0 if there is none. */
	uint64_t pages_to_scan, sleep_ns;
	uint64_t saved;	      /* frames saved by merging */
};

struct policy_view {
	struct policy_host host;
	uint32_t nvms;
	const struct policy_vm *vm;
	const uint64_t *constant; /* the policy's keys, in its order */
};

/* --- what it asks for --- */

#define POLICY_INPUTS 12

/* Why: the rule that decided, and the numbers it looked at. All strings must live as long as the policy. */
struct policy_rule {
	const char *name; /* NULL: none; letters, digits, '-' */
	uint32_t ninputs;
	struct {
		const char *name; /* letters, digits, '_' */
		uint64_t value;
	} input[POLICY_INPUTS];
};

/* As a policy gets it, every field says: nothing is asked. What makes no sense is clamped, and counted. */
struct policy_vm_plan {
	uint64_t balloon; /* pages that its balloon is to hold */
	uint64_t limit;	  /* most of its pages that may be resident; what is more goes to the host's swap */
	bool block;	  /* it does not run until the next decision */
	bool admit;	  /* it may start (only for one that waits); true unless the policy says no */
	struct policy_rule rule;
};

struct policy_plan {
	uint32_t nvms;
	struct policy_vm_plan *vm;
	uint64_t pages_to_scan, sleep_ns; /* of the merging scanner */
	struct policy_rule rule; /* for what concerns the host */
};

static inline void policy_because(struct policy_rule *r, const char *name)
{
	r->name = name;
	r->ninputs = 0;
}

static inline void policy_input(struct policy_rule *r, const char *name, uint64_t value)
{
	if (r->ninputs == POLICY_INPUTS)
		return;
	r->input[r->ninputs].name = name;
	r->input[r->ninputs++].value = value;
}

/* --- what it is --- */

enum policy_unit {
	POLICY_COUNT, /* a number */
	POLICY_SIZE,  /* bytes; "64 MiB" */
	POLICY_TIME,  /* ns; "20 ms" */
	POLICY_SHARE, /* ppm; "75%" */
};

/* A constant that [policy] may set. */
struct policy_key {
	const char *name; /* small letters, digits, '-'; NULL ends a table */
	enum policy_unit unit;
	uint64_t def, min, max;
	const char *sentence;
};

/*
 * What a rule means, for `overbook explain`: {name} stands for an input, {name:pages}, {name:ppm}, {name:ns} for one
 * with a unit; {vm} is the guest's name.
 */
struct policy_sentence {
	const char *rule; /* NULL ends a table */
	const char *text;
};

#define POLICY_KEYS 16

struct policy_ops {
	uint32_t abi;	     /* POLICY_ABI */
	const char *name;    /* small letters, digits, '-' */
	const char *summary; /* one sentence */
	const struct policy_key *keys;	       /* at most POLICY_KEYS; NULL: none */
	const struct policy_sentence *rules;   /* NULL: none */

	/* A state for a run with @nvms guests; both may be NULL if the policy has none. NULL with errno: cannot. */
	void *(*create)(uint32_t nvms);
	void (*destroy)(void *state);

	/*
	 * The machine, at time 0 and then every [policy] interval, between two quanta: no guest runs meanwhile. Fills
	 * in @plan, which says nothing so far. @view and @plan are valid until it returns.
	 */
	void (*decide)(void *state, const struct policy_view *view, struct policy_plan *plan);
};

#endif
