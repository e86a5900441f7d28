/* SPDX-License-Identifier: MIT */
/*
 * direct.h - a processor that walks a pv guest's tables, for tests of direct paging
 *
 * Host, fake machine, gmem and pv, and a one-stage walker written from SDM vol. 3A chapter 4 alone. What it finds
 * stays in a TLB and a page-walk cache, through CR3 loads, until the machine is told to flush, since a pv guest need
 * not flush what it removes.
 */
#ifndef OVERBOOK_TESTS_DIRECT_H
#define OVERBOOK_TESTS_DIRECT_H

#include <glib.h>

#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "vmm/sim/pv.h"

struct direct_config {
	uint64_t host_pages, npages, arena_pages;
	unsigned level, max_leaf, levels;
};

struct direct {
	struct direct_config cfg;
	struct frames *frames;
	struct fake_machine *machine;
	struct machine_ops ops;
	struct counters c;
	struct gmem *gmem;
	struct paging *paging;
	struct guest_regs regs;
	const struct guest_regs *vcpu[1];
	GHashTable *tlb; /* root and page of gva -> hfn << 3 | PTE_W | PTE_U */
	GHashTable *pwc; /* root and 2M of gva -> address of the table of level 1 | PTE_W | PTE_U */
};

enum direct_result { DIRECT_OK, DIRECT_HIT, DIRECT_FAULT, DIRECT_FAIL }; /* HIT: through a cache, perhaps stale */

struct direct *direct_new(const struct direct_config *cfg);
void direct_free(struct direct *d);

/* One user-mode access with ACC_R or ACC_W; the frame reached, or the error code the guest gets, or an errno. */
enum direct_result direct_access(struct direct *d, gva_t gva, unsigned access, hfn_t *hfn, unsigned *error, int *err);

/* Load CR3, as with a PCID for each root: nothing is flushed. */
void direct_load(struct direct *d, gpa_t root);
void direct_invlpg(struct direct *d, gva_t gva);

/* One update alone: was it accepted? */
bool direct_set(struct direct *d, gpa_t table, unsigned index, uint64_t value, unsigned level);
uint64_t direct_get(struct direct *d, gpa_t table, unsigned index);

#endif
