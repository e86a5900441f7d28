/* SPDX-License-Identifier: MIT */
/*
 * hal.h - everything the guest kernel needs of the world it runs in
 *
 * The kernel (workloads/guest/) is one source for two worlds. In a simulated guest these functions are
 * vmm/sim/hal.c: each access is executed by the simulated MMU at the kernel's virtual address, so that traces,
 * violations and costs come about as on hardware. In a real guest they are a few instructions
 * (workloads/guest/kvm/). The kernel calls nothing else: no libc, no globals.
 *
 * The kernel is event-driven: the world calls kernel_*() (kernel.h), which returns when the event is dealt with;
 * then the world resumes the process that kernel_current() names.
 */
#ifndef OVERBOOK_GUEST_HAL_H
#define OVERBOOK_GUEST_HAL_H

#include <stdbool.h>
#include <stdint.h>

struct hal; /* the vCPU's world; opaque here */

/*
 * A pointer into the arena for the kernel's own data, valid for the guest's life. Data that only the kernel
 * reads (its structures, run-times) is accessed through it; page tables never are.
 */
void *hal_arena(struct hal *h, uint64_t gpa);

/*
 * One entry of a page table: a real access at the kernel's address, which a paging mode may trace. Values are
 * in terms of guest-physical frames in every mode (pv translates). Writes in pv mode are queued until hal_pte_flush():
 * the kernel never reads an entry that it wrote since, and flushes before it invalidates, frees a table or returns.
 */
uint64_t hal_pte_read(struct hal *h, uint64_t entry_gpa);
void hal_pte_write(struct hal *h, uint64_t entry_gpa, uint64_t value, unsigned level);
void hal_pte_flush(struct hal *h);

/*
 * The frame at @gpa, zeroed through hal_table_new(), becomes or stops being a page table of @level (its root
 * when level is that of boot_info). pv validates and pins; elsewhere new zeroes and free does nothing.
 * A table is not freed while an entry refers to it, CR3 holds it, or an entry in it is not 0.
 */
void hal_table_new(struct hal *h, uint64_t gpa, unsigned level);
void hal_table_free(struct hal *h, uint64_t gpa, unsigned level);

/* Process pages, by guest frame number: real stores and loads at kernel addresses, 4096 bytes each. */
void hal_zero_pages(struct hal *h, uint64_t gfn, uint64_t npages);
void hal_copy_pages(struct hal *h, uint64_t dst_gfn, uint64_t src_gfn, uint64_t npages);
/* Fill a page with pattern @base, word 0 kept. */
void hal_fill_page(struct hal *h, uint64_t gfn, uint64_t base);

/* Every word of the pages becomes @word; are they all @word? */
void hal_poison_pages(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word);
bool hal_poisoned(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word);

/* After an entry changed: INVLPG in the address space of the process that the event interrupted. */
void hal_invlpg(struct hal *h, uint64_t va);

/* Drop everything cached for the space of @root, tagged @pcid (it changed or died; need not be the interrupted one). */
void hal_flush_space(struct hal *h, uint64_t root, unsigned pcid);

/* Registers of devices: 32 bits at a guest-physical address that is no memory. */
uint32_t hal_mmio_read(struct hal *h, uint64_t gpa);
void hal_mmio_write(struct hal *h, uint64_t gpa, uint32_t value);

uint64_t hal_now(struct hal *h); /* ns; in lockstep operations * 100 */

/* An assertion of the guest failed: tell the host and never return. */
_Noreturn void hal_panic(struct hal *h, const char *file, unsigned line);

#define guest_assert(h, cond) ((cond) ? (void)0 : hal_panic(h, __FILE__, __LINE__))

#endif
