/* SPDX-License-Identifier: MIT */
/*
 * trace_feed.h - recorded traces as the operations of simulated processes
 *
 * Each process that replays a trace has a reader of its own, named by a word of its program's cursor. Trace number n is
 * that of the experiment's n-th [phase]. What goes wrong while reading is kept, not fatal: trace_feed_error().
 */
#ifndef OVERBOOK_VMM_TRACE_FEED_H
#define OVERBOOK_VMM_TRACE_FEED_H

#include "vmm/experiment.h"

struct trace_feed;

struct trace_feed *trace_feed_new(const struct experiment *e);
void trace_feed_free(struct trace_feed *f);

/* The trace hook of struct program_world (workloads/workload.h); @feed is the ctx. The cursor may be a guest's. */
uint32_t trace_feed_next(void *feed, uint32_t trace, uint64_t *cursor, struct op *out, uint32_t max);

/* What the first bad trace said, or NULL. */
const char *trace_feed_error(const struct trace_feed *f);

#endif
