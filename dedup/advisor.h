/* SPDX-License-Identifier: MIT */
/* advisor.h - how many pages the scanner should look at before it sleeps; see advisor.c */
#ifndef OVERBOOK_DEDUP_ADVISOR_H
#define OVERBOOK_DEDUP_ADVISOR_H

#include <stdbool.h>
#include <stdint.h>

struct advisor_config {
	uint64_t target_ns;		 /* that a pass over all memory should take */
	uint64_t min_cpu_ppm, max_cpu_ppm; /* of one CPU, over a pass */
	uint64_t min_pages, max_pages;	 /* bounds of the advice */
};

struct advisor {
	struct advisor_config cfg;
	uint64_t pages;	 /* the advice: pages to scan until the scanner sleeps */
	uint64_t change; /* ppm: moving average of how scan time changed from pass to pass */
	uint64_t last_ns; /* of the last pass; 0: there was none */
	uint64_t passes, began_ns, began_cpu_ns; /* when the present pass began, and what the scanner had used then */
};

void advisor_init(struct advisor *a, const struct advisor_config *cfg);

/* A pass took @scan_ns, of which the scanner ran @cpu_ns (0: not known, the bounds do not hold): new advice. */
void advisor_pass(struct advisor *a, uint64_t scan_ns, uint64_t cpu_ns);

/* After each scan: @passes are over since the beginning, it is @now_ns, the scanner has run @cpu_ns in all. */
void advisor_tick(struct advisor *a, uint64_t passes, uint64_t now_ns, uint64_t cpu_ns);

#endif
