/* SPDX-License-Identifier: MIT */
/*
 * stage2.h - a processor of one VM with second-stage paging, for tests of ept/
 *
 * Host, fake machine, gmem and ept, and a processor written from the manuals' tables alone (it shares no bit
 * definition with mm/): it walks the tables, sets accessed and dirty bits, fills a page-modification log, and keeps
 * what it found in a TLB until told to flush. So a flush that is missing shows as an access through a stale entry.
 */
#ifndef OVERBOOK_TESTS_STAGE2_H
#define OVERBOOK_TESTS_STAGE2_H

#include <glib.h>

#include "ept/ept.h"
#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"

struct stage2_config {
	uint64_t host_pages, npages, arena_pages;
	unsigned level, max_leaf, levels;
	bool npt, ad_bits, pml;
};

struct stage2 {
	struct stage2_config cfg;
	struct frames *frames;
	struct fake_machine *machine;
	struct machine_ops ops;
	struct counters c;
	struct gmem *gmem;
	struct paging *paging;
	GHashTable *tlb; /* gfn -> hfn << 1 | writable */
	gpa_t pml[512];
	unsigned npml;
};

struct stage2 *stage2_new(const struct stage2_config *cfg);
void stage2_free(struct stage2 *s);

/* One access: 0 and the frame it reached, or the errno of PAGING_FAIL. */
int stage2_access(struct stage2 *s, gpa_t gpa, bool write, hfn_t *hfn);

/* The entry that ends the processor's walk of @gpa, and its level. */
uint64_t *stage2_entry(struct stage2 *s, gpa_t gpa, unsigned *level);

/* Is @gpa mapped now; with write access? Looks at the tables, not at the TLB. */
bool stage2_mapped(struct stage2 *s, gpa_t gpa, bool write);

void stage2_drain(struct stage2 *s);

#endif
