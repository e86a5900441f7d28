/* SPDX-License-Identifier: MIT */
/*
 * advisor.c - KSM's scan-time advisor
 *
 * Problem: nobody knows how many pages a scanner should look at before it sleeps. Few, and it takes an hour to find
 * what is equal; many, and it takes a CPU.
 *
 * Idea: whoever runs the host says how long a pass over all memory may take. After each pass the number of pages is
 * multiplied by how far its time was off: scan time / target. So that one odd pass does not throw it, the result is
 * multiplied by a moving average of (scan time / scan time before), in which the last pass counts 30%. The average
 * begins at zero, as the kernel's does, so the first advices are low. From pages and CPU time of the last pass comes
 * what a page costs, and so the numbers at which the scanner would take the least and the most of a CPU that it is
 * allowed; these bound the advice, and so do a least and a largest number.
 *
 * Differences to the kernel: it works with whole seconds and percents, this with nanoseconds and millionths; it uses
 * the least number only to begin with, this also as the bound that its documentation promises.
 *
 * Invariants (tests/unit/test_advisor.c): where a page's cost stays, the pass settles at its target or at a bound; the
 * advice is within its bounds always; figures worked out by hand.
 *
 * Source: Linux mm/ksm.c (scan_time_advisor, since 6.8), Documentation/admin-guide/mm/ksm.rst.
 */
#include "dedup/advisor.h"

#include <glib.h>

#define PPM	   1000000ull
#define LAST_COUNTS 300000ull /* ppm: weight of the last pass in the moving average */

static uint64_t scale(uint64_t x, uint64_t by, uint64_t over)
{
	unsigned __int128 y = (unsigned __int128)x * by / over;

	return y > UINT64_MAX ? UINT64_MAX : (uint64_t)y;
}

void advisor_init(struct advisor *a, const struct advisor_config *cfg)
{
	g_assert(cfg->target_ns && cfg->min_pages && cfg->min_pages <= cfg->max_pages);
	*a = (struct advisor){ .cfg = *cfg, .pages = cfg->min_pages };
}

void advisor_pass(struct advisor *a, uint64_t scan_ns, uint64_t cpu_ns)
{
	const struct advisor_config *c = &a->cfg;
	uint64_t last, share, pages, change;

	scan_ns = MAX(scan_ns, 1);
	last = a->last_ns ? a->last_ns : scan_ns;
	change = MAX(scale(PPM, scan_ns, last), 1);
	change = scale(a->change, PPM - LAST_COUNTS, PPM) + scale(change, LAST_COUNTS, PPM);
	pages = scale(scale(a->pages, scan_ns, c->target_ns), change, PPM);
	share = scale(PPM, cpu_ns, scan_ns);
	if (share) {
		pages = MIN(pages, scale(a->pages, c->max_cpu_ppm, share));
		pages = MAX(pages, scale(a->pages, c->min_cpu_ppm, share));
	}
	a->pages = CLAMP(pages, c->min_pages, c->max_pages);
	a->change = change;
	a->last_ns = scan_ns;
}

void advisor_tick(struct advisor *a, uint64_t passes, uint64_t now_ns, uint64_t cpu_ns)
{
	if (passes == a->passes)
		return;
	advisor_pass(a, now_ns - a->began_ns, cpu_ns - a->began_cpu_ns);
	a->passes = passes;
	a->began_ns = now_ns;
	a->began_cpu_ns = cpu_ns;
}
