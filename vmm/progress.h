/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a bar with rate and time left, on a terminal only
 *
 * One line on stderr, redrawn at most ten times a second. Elsewhere nothing is drawn: the caller prints a line per
 * finished run.
 */
#ifndef OVERBOOK_VMM_PROGRESS_H
#define OVERBOOK_VMM_PROGRESS_H

#include <glib.h>
#include <stdint.h>

struct progress {
	gboolean on; /* stderr is a terminal and -q was not given */
	gint64 start_us, drawn_us;
	unsigned nruns; /* in all */
};

void progress_begin(struct progress *p, gboolean quiet, unsigned nruns);
/* @done: of all runs together, in [0, 1]; @finished: runs that are over; @operations: executed so far. */
void progress_draw(struct progress *p, double done, unsigned finished, uint64_t operations);
/* Wipe the bar, so that a line can be printed. */
void progress_clear(struct progress *p);

#endif
