/* SPDX-License-Identifier: MIT */
/*
 * shadow.h - shadow paging: what a machine must know of it
 *
 * The VMM builds the tables that the processor walks. A machine that runs a VM in this mode
 *
 *  - enters the guest on paging_ops.hw_root(), asked again at every entry, with the registers of shadow_hw_regs();
 *  - calls fault() for each page fault, guest_write() when that says PAGING_EMULATE;
 *  - calls guest_event() for each CR3 load, INVLPG and change of CR0, CR4 or EFER, and *itself* does to the TLB what
 *    the instruction asks (shadow/ brings tables up to date and flushes for each entry that it weakens);
 *  - calls guest_event(GUEST_MODE, 0) for INVPCID, too: everything is brought up to date, whatever root it is under;
 *  - lets nobody else write a page that the guest uses as a table without going through fault() and guest_write().
 */
#ifndef OVERBOOK_SHADOW_SHADOW_H
#define OVERBOOK_SHADOW_SHADOW_H

#include "mm/paging.h"

extern const struct paging_ops shadow_paging_ops;

/*
 * The registers the processor must run with while the guest believes in @guest. Traces are read-only entries, so
 * CR0.WP is set whatever the guest thinks; NX is on because a page made writable for a CR0.WP=0 kernel must not
 * become executable. SMEP, SMAP and AC are the guest's, but mean nothing while it has paging off.
 */
static inline void shadow_hw_regs(const struct guest_regs *guest, struct guest_regs *hw)
{
	*hw = *guest;
	if (!(guest->cr0 & CR0_PG))
		hw->cr4 &= ~(CR4_SMEP | CR4_SMAP);
	hw->cr0 |= CR0_PE | CR0_PG | CR0_WP;
	hw->efer |= EFER_NX | EFER_LME | EFER_LMA;
}

/*
 * For a machine that carries out instructions of the guest itself, one access at a time, within a page.
 *
 * shadow_translate(): where @gva is for an access with the rights @access (ACC_U: of user mode), setting accessed and
 * dirty bits as a processor would. 0; 1: a page fault with *error is due; -errno: the guest's tables lie where no
 * memory is. shadow_store(): a store there, traced or not. shadow_lift_trace(): let the guest write the page by itself,
 * until it is next used as a table; for stores that cannot be carried out.
 */
int shadow_translate(struct paging *p, unsigned vcpu, gva_t gva, unsigned access, gpa_t *gpa, uint32_t *error);
int shadow_store(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len);
void shadow_lift_trace(struct paging *p, gpa_t gpa);

#endif
