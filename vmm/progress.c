/* SPDX-License-Identifier: MIT */
/* progress.c - the progress bar */
#include <stdio.h>
#include <unistd.h>

#include "vmm/progress.h"

#define WIDTH 32

void progress_begin(struct progress *p, gboolean quiet, unsigned nruns)
{
	p->on = !quiet && isatty(STDERR_FILENO);
	p->start_us = g_get_monotonic_time();
	p->drawn_us = 0;
	p->nruns = nruns;
}

void progress_draw(struct progress *p, double done, unsigned finished, uint64_t operations)
{
	gint64 now = g_get_monotonic_time();
	char bar[WIDTH + 1];

	if (!p->on || now - p->drawn_us < 100000)
		return;
	p->drawn_us = now;
	done = CLAMP(done, 0.0, 1.0);
	for (int i = 0; i < WIDTH; i++)
		bar[i] = i < (int)(done * WIDTH) ? '#' : '.';
	bar[WIDTH] = '\0';

	double elapsed = (double)(now - p->start_us) / G_USEC_PER_SEC;

	fprintf(stderr, "\r\033[K[%s] %3.0f%%  run %u of %u", bar, done * 100, MIN(finished + 1, p->nruns), p->nruns);
	fprintf(stderr, "  %.1f M operations/s", (double)operations / 1e6 / elapsed);
	if (done > 0.005)
		fprintf(stderr, "  %.0f s left", elapsed / done - elapsed);
	fflush(stderr);
}

void progress_clear(struct progress *p)
{
	if (p->on)
		fprintf(stderr, "\r\033[K");
}
