/* SPDX-License-Identifier: MIT */
/*
 * pv.h - paging mode pv: direct paging with hypercalls
 *
 * The processor walks the guest's own tables, so these hold host frames; the guest changes them only through the
 * hypercalls below, which speak of guest frames on either side. They are what the simulator's HAL calls for a
 * pv guest. Addresses are guest-physical, values are entries as the guest sees them.
 *
 * CR3 loads and INVLPG are hypercalls too: the machine does the TLB's part on the guest's behalf and reports them with
 * paging_ops.guest_event, as it would in shadow mode; hw_root refuses (-EINVAL) a CR3 that is no pinned root.
 *
 * A refusal is counted (pv_rejected) and changes nothing. The machine counts and prices the hypercalls themselves.
 */
#ifndef OVERBOOK_SIM_PV_H
#define OVERBOOK_SIM_PV_H

#include "mm/paging.h"

extern const struct paging_ops pv_paging_ops;

struct pv_entry {
	gpa_t gpa;	/* of the 8 bytes, in a pinned table page */
	uint64_t value; /* what the guest wants to read there */
	unsigned level; /* of the table page, as the guest believes */
};

/* One hypercall: apply @n updates in order. -EINVAL: one was refused; those before it stand, the rest is not read. */
int pv_update(struct paging *p, const struct pv_entry *e, uint32_t n);

/*
 * What the guest finds in an entry: what it last wrote, and the accessed and dirty bits the processor has added. No
 * hypercall: a pv guest reads its tables itself and translates. 0, and counted, outside tables.
 */
uint64_t pv_read(struct paging *p, gpa_t gpa);

/* The same for all 512 entries of the table at @gpa, for digests: counts and changes nothing. -EINVAL: no table. */
int pv_peek(const struct paging *p, gpa_t gpa, uint64_t *entries);

/*
 * The page at @gpa becomes a table of @level (the guest's root level: a root). The guest has zeroed it, or filled it
 * with entries, which are validated like updates. It has no writable mapping of the page from here on.
 * -EINVAL (not an arena page, bad level, bad entry), -EBUSY (a table already).
 */
int pv_table_new(struct paging *p, gpa_t gpa, unsigned level);

/* It is memory again, and reads as zero. -EINVAL (not such a table), -EBUSY (an entry or a CR3 refers to it). */
int pv_table_free(struct paging *p, gpa_t gpa, unsigned level);

#endif
