/* SPDX-License-Identifier: MIT */
/*
 * events.h - the event log: every state change of every page, on request
 *
 * A zstd stream of a 16-byte header and fixed 32-byte little-endian records (events.c draws both), so that
 * `overbook page DIR VM GFN` can tell one page's history and a notebook can read the rest.
 */
#ifndef OVERBOOK_MM_EVENTS_H
#define OVERBOOK_MM_EVENTS_H

#include <stdio.h>

#include "mm/types.h"

enum event_cause {
	EVENT_FAULT, /* a vCPU touched it */
	EVENT_DMA,
	EVENT_PREFETCH,
	EVENT_RELEASE,
	EVENT_MOVE,
	EVENT_COLLAPSE,
	EVENT_SPLIT,
	EVENT_YOUNG, /* first touch after EVENT_IDLE */
	EVENT_DIRTY,
	EVENT_IDLE, /* test_clear_young unmapped it */
	EVENT_BALLOON,
	EVENT_DEFLATE,
	EVENT_MERGE, /* equal to another, or to zero */
	EVENT_UNSHARE, /* a write broke the sharing, or dedup undid it */
	EVENT_EVICT,	 /* its frame was taken, its contents went to swap */
	EVENT_SWAP_IN,	 /* a touch brought it back */
	EVENT_READAHEAD, /* read in with a neighbour */
	EVENT_HINT,	 /* the guest said that it is free; absent: frames were short and it was dropped */
	EVENT_REPORT,	 /* the guest reported it as free */
	EVENT_OVERWRITE, /* what was in swap of it is not wanted: it is about to be overwritten */
	EVENT_CAUSES,
};

struct event {
	uint64_t time_ns;
	uint64_t gfn;
	uint64_t hfn; /* after the event, HFN_NONE if none */
	uint16_t vm;
	uint8_t from, to; /* enum page_state */
	uint8_t cause;	  /* enum event_cause */
	uint8_t level;	  /* of the backing */
	uint16_t zero;
};

struct events;

/* Begin a log at @path; NULL and errno. */
struct events *events_open(const char *path);
/* A NULL log swallows events, so callers need not ask. */
void events_add(struct events *ev, const struct event *e);
/* Flush and close; 0 or -EIO if anything was lost. */
int events_close(struct events *ev);

/*
 * Read a log, in order. The callback's non-zero ends it and is returned. -ENOENT and other errors of opening, -EIO,
 * -EINVAL (not a log, or cut short).
 */
int events_read(const char *path, int (*fn)(const struct event *e, void *ctx), void *ctx);

const char *event_cause_name(unsigned cause);

#endif
