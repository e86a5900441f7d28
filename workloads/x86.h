/* SPDX-License-Identifier: MIT */
/*
 * x86.h - the bits of the architecture that guest, memory manager and simulated MMU share
 *
 * Freestanding: only <stdint.h>. Source: Intel SDM vol. 3A, chapter 4 (paging) and section 2.5 (control
 * registers); AMD APM vol. 2, chapter 5. EPT's own bits live with the EPT format (mm/pt_ept.c).
 */
#ifndef OVERBOOK_WORKLOADS_X86_H
#define OVERBOOK_WORKLOADS_X86_H

#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096u
#define PAGE_MASK  (~(uint64_t)(PAGE_SIZE - 1))

/* Entries of every 4- and 5-level format on x86-64: 512 of 8 bytes, 9 address bits a level. */
#define PT_ENTRIES 512u
#define PT_BITS	   9u

/* Level 1 maps 4 KiB, 2 maps 2 MiB, 3 maps 1 GiB; a root is level 4 or 5. */
#define LEVEL_SHIFT(level) (PAGE_SHIFT + PT_BITS * ((level)-1))
#define LEVEL_PAGES(level) (1ull << (PT_BITS * ((level)-1)))
#define LEVEL_SIZE(level)  (1ull << LEVEL_SHIFT(level))
#define PT_INDEX(va, level) (((va) >> LEVEL_SHIFT(level)) & (PT_ENTRIES - 1))

/* Page-table entry bits, SDM table 4-14 ff. */
#define PTE_P	(1ull << 0)
#define PTE_W	(1ull << 1)
#define PTE_U	(1ull << 2)
#define PTE_PWT (1ull << 3)
#define PTE_PCD (1ull << 4)
#define PTE_A	(1ull << 5)
#define PTE_D	(1ull << 6)
#define PTE_PS	(1ull << 7) /* in an entry of level 2 or 3: a leaf; in level 1: PAT */
#define PTE_G	(1ull << 8)
#define PTE_SW1 (1ull << 9) /* three bits the processor ignores */
#define PTE_SW2 (1ull << 10)
#define PTE_SW3 (1ull << 11)
#define PTE_NX	(1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull /* bits 51:12; those above MAXPHYADDR are reserved */

/* Page-fault error code, SDM figure 4-12. */
#define PF_P	(1u << 0) /* 0: a not-present entry, 1: a protection violation */
#define PF_W	(1u << 1)
#define PF_U	(1u << 2)
#define PF_RSVD (1u << 3)
#define PF_I	(1u << 4) /* an instruction fetch (only reported with NX or SMEP on) */

#define CR0_PE (1u << 0)
#define CR0_WP (1u << 16)
#define CR0_PG (1u << 31)

#define CR4_PAE	  (1u << 5)
#define CR4_PGE	  (1u << 7)
#define CR4_LA57  (1u << 12)
#define CR4_PCIDE (1u << 17)
#define CR4_SMEP  (1u << 20)
#define CR4_SMAP  (1u << 21)

#define CR3_PCID    0xfffull
#define CR3_NOFLUSH (1ull << 63)

#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NX	 (1u << 11)

#define RFLAGS_AC (1u << 18)

#endif
