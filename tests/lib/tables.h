/* SPDX-License-Identifier: MIT */
/*
 * tables.h - page tables for tests of the simulated MMU: a small host memory and entries put by hand
 *
 * Nothing of mm/ is used: what these tests check must not depend on what builds tables elsewhere.
 */
#ifndef OVERBOOK_TESTS_TABLES_H
#define OVERBOOK_TESTS_TABLES_H

#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/sim/mmu.h"
#include "workloads/rng.h"

#define EPT_R	  1ull
#define EPT_W	  2ull
#define EPT_X	  4ull
#define EPT_RWX	  7ull
#define EPT_WB	  (6ull << 3)
#define EPT_PS	  (1ull << 7)
#define EPT_A	  (1ull << 8)
#define EPT_D	  (1ull << 9)

/* Host memory: bytes that are backed when written; frames handed out one after the other. */
struct host {
	uint8_t *bytes;
	uint64_t npages, next;
};

static inline void host_init(struct host *h, uint64_t npages)
{
	h->bytes = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	if (h->bytes == MAP_FAILED)
		abort();
	madvise(h->bytes, npages * PAGE_SIZE, MADV_HUGEPAGE);
	h->npages = npages;
	h->next = 1;
}

static inline void host_free(struct host *h)
{
	munmap(h->bytes, h->npages * PAGE_SIZE);
}

static inline uint64_t *host_entry(const struct host *h, uint64_t table, uint64_t addr, unsigned level)
{
	return (uint64_t *)(h->bytes + table) + PT_INDEX(addr, level);
}

static inline uint64_t host_page(struct host *h)
{
	if (h->next >= h->npages)
		abort();
	return h->next++ * PAGE_SIZE;
}

/* Map @addr at @level to @to in the tree at @root; tables are pages of the same host, linked with @link bits. */
static inline uint64_t *host_map(struct host *h, uint64_t root, unsigned levels, uint64_t addr, unsigned level,
				 uint64_t to, uint64_t leaf, uint64_t link)
{
	uint64_t table = root, *e;

	for (unsigned l = levels;; l--) {
		e = host_entry(h, table, addr, l);
		if (l == level)
			break;
		if (!*e)
			*e = host_page(h) | link;
		table = *e & PTE_ADDR;
	}
	*e = to | leaf | (level > 1 ? PTE_PS : 0); /* EPT's large bit is the same one */
	return e;
}

/* A CPU in 64-bit mode with everything on that the guest kernel uses. */
static inline struct guest_regs test_regs(void)
{
	return (struct guest_regs){
		.cr0 = CR0_PE | CR0_WP | CR0_PG,
		.cr4 = CR4_PAE | CR4_PGE,
		.efer = EFER_LME | EFER_LMA | EFER_NX,
		.cpl = 3,
	};
}

#endif
