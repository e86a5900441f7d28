/* SPDX-License-Identifier: MIT */
/*
 * sguest.h - a small guest on shadow paging, for unit tests
 *
 * Two address spaces, ROOT and ROOT2. User memory of 16 pages (frames DATA...) at address 0 through PDPT, PD and PT;
 * ROOT2 shares the PDPT. In both the kernel sees guest memory at DIRECT, in 2 MiB pages. Every helper that acts
 * checks all invariants afterwards.
 */
#ifndef OVERBOOK_TESTS_SGUEST_H
#define OVERBOOK_TESTS_SGUEST_H

#include "tests/lib/must.h"
#include "tests/lib/shadowed.h"

#define ARENA  512u
#define NPAGES 4096u
#define DIRECT (1ull << 39)
#define DATA   1024u /* first frame of user pages, on a 2 MiB boundary */
#define MIB2   (2ull << 20)
#define USER   (PTE_P | PTE_W | PTE_U)
#define ROOT   (16ull << 12)
#define PDPT   (17ull << 12)
#define PD     (18ull << 12)
#define PT     (19ull << 12)
#define ROOT2  (22ull << 12)
#define PT2    (23ull << 12)
#define FREE   (32ull << 12) /* more tables, as tests need them */

extern const struct shadowed_config sguest_plain; /* 4 KiB backing, all in sync, no limit */

struct shadowed *sguest_boot_with(const struct shadowed_config *cfg);
struct shadowed *sguest_boot(bool unsync);
/* Check a last time, and free. */
void sguest_done(struct shadowed *v);

/* An access of vCPU 0 that must succeed: the guest frame it reached, and how many faults it took (NULL: never mind). */
gfn_t sguest_touch(struct shadowed *v, gva_t gva, unsigned access, unsigned *faults);
unsigned sguest_faults(struct shadowed *v, gva_t gva, unsigned access);
/* The level of the shadow leaf it used. */
unsigned sguest_level(struct shadowed *v, gva_t gva, unsigned access);

/* The guest kernel stores to one of its entries; who carried it out. */
enum paging_verdict sguest_store(struct shadowed *v, gpa_t gpa, uint64_t value);

/* A CR3 load, INVLPG or change of mode. */
void sguest_event(struct shadowed *v, enum guest_event ev, uint64_t arg);

/* Do the tables let it through now? Raises no fault. */
bool sguest_mapped(struct shadowed *v, gva_t gva, unsigned access);

#endif
