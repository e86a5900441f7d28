/* SPDX-License-Identifier: MIT */
/*
 * ept.h - second-stage paging: guest-physical to host-physical tables that the processor walks by itself
 *
 * Intel's EPT (4 or 5 levels) and AMD's NPT. The machine asks for the mode through ept_paging_ops; beyond that it
 * needs to know only how to hand over the processor's page-modification log.
 */
#ifndef OVERBOOK_EPT_EPT_H
#define OVERBOOK_EPT_EPT_H

#include "mm/paging.h"

extern const struct paging_ops ept_paging_ops;

/* What the table says of one guest page. */
struct ept_leaf {
	hfn_t hfn;	 /* of the page itself */
	unsigned access; /* ACC_* */
	bool accessed;	 /* touched since the bit was cleared, or no such bits are kept */
};

/*
 * A machine whose processor does not walk this table (KVM builds its own): would an access to @gpa be allowed? If so,
 * accessed and dirty bits are set as the processor would. @access 0 only looks: true if there is a leaf.
 */
bool ept_access(struct paging *p, gpa_t gpa, unsigned access, struct ept_leaf *leaf);

/*
 * The machine, when the page-modification log is full, and before the dirty log is started or collected: the
 * processor logged @n guest-physical addresses. They enter gmem's dirty log, or are dropped while that is off, and
 * where they name the arena or lie beyond the guest's end.
 */
void ept_pml_drain(struct paging *p, const gpa_t *gpa, uint32_t n);

#endif
