/* SPDX-License-Identifier: MIT */
/*
 * paging.h - what a paging mode is
 *
 * A paging mode builds the tables that the processor walks for one VM. Three callers: the machine, when the
 * processor could not complete an access or executed something that traps; gmem, when a page's backing changes;
 * the loop, for housekeeping. Modes: shadow/, ept/, and the simulator's own native and pv (vmm/sim).
 */
#ifndef OVERBOOK_MM_PAGING_H
#define OVERBOOK_MM_PAGING_H

#include "mm/counters.h"
#include "mm/gmem.h"
#include "mm/types.h"

/* The registers of one vCPU that paging depends on, as the guest believes them to be. */
struct guest_regs {
	uint64_t cr3;
	uint32_t cr0, cr4, efer;
	uint32_t rflags;
	unsigned cpl;
};

/* Why the processor stopped. */
struct paging_fault {
	unsigned vcpu;
	unsigned error; /* PF_* of the access that failed, as the hardware reported it */
	gva_t gva;
	gpa_t gpa;	/* second-stage faults only: the guest-physical address that would not translate */
	bool second_stage;
	bool table_access; /* second-stage: the address belongs to the guest's own walk, not to its data */
	bool misconfig;	   /* second-stage: an entry was malformed */
};

enum paging_verdict {
	PAGING_RETRY,	/* the tables are right now: let the processor try again */
	PAGING_INJECT,	/* the guest's own fault: deliver #PF with fault->error (rewritten for the guest) */
	PAGING_EMULATE, /* a write to traced table page fault->gpa: the machine decodes it and calls guest_write */
	PAGING_FAIL,	/* the guest cannot go on (memory beyond its end, host out of memory): errno in *err */
};

enum guest_event {
	GUEST_CR3,    /* arg: the new value, PCID and no-flush bit included */
	GUEST_INVLPG, /* arg: linear address */
	GUEST_MODE,   /* CR0, CR4 or EFER changed in a bit that matters to paging */
};

struct paging;

struct paging_config {
	struct gmem *gmem;
	unsigned nvcpus;
	const struct guest_regs *const *regs; /* [vcpu], read-only and live: owned by the machine */
	unsigned guest_levels;	  /* 4 or 5 */
	unsigned host_levels;	  /* ept: 4 or 5 */
	unsigned maxphyaddr;	  /* bits */
	unsigned max_leaf;	  /* 1 to 3: the largest leaf the VMM uses in its own tables */
	bool npt;		  /* ept: AMD's format and rules */
	bool ad_bits;		  /* ept: EPT accessed/dirty bits on (references to guest tables count as writes) */
	bool pml;		  /* ept: the processor logs dirtied pages (needs ad_bits) */
	bool unsync;		  /* shadow: let leaf table pages go out of sync */
	uint64_t reserved_entry;  /* shadow: every root has it in slot reserved_slot: there the machine keeps what */
	unsigned reserved_slot;	  /* is its own; the guest has nothing there. 0: no slot is reserved */
	uint64_t shadow_limit;	  /* shadow: most table pages, at least 16; 0: no bound */
	unsigned flood_limit;	  /* shadow: unused writes until a shadow page is zapped, 3 as KVM */
};

struct paging_ops {
	const char *name;    /* as in `paging = shadow` */
	const char *summary; /* one sentence, for `overbook list modes` */

	/* NULL with errno on failure. */
	struct paging *(*create)(const struct paging_config *cfg);
	void (*destroy)(struct paging *p);

	/*
	 * The machine, when an access could not be completed. Resolves it, or says whose fault it is. May rewrite
	 * f->error (what to inject) and f->gpa (what to emulate).
	 */
	enum paging_verdict (*fault)(struct paging *p, struct paging_fault *f, int *err);

	/* The machine, for PAGING_EMULATE: the guest stores @len bytes (1 to 8) at @gpa of a traced page. */
	int (*guest_write)(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len);

	/* The machine, when a vCPU executed something architectural that this mode intercepts. */
	void (*guest_event)(struct paging *p, unsigned vcpu, enum guest_event ev, uint64_t arg);

	/*
	 * The machine, at entry: the table the processor must walk. ept: the second-stage root; else the stage-1
	 * root for this vCPU's registers (made on demand). -ENOMEM possible.
	 */
	int (*hw_root)(struct paging *p, unsigned vcpu, hpa_t *root);

	/* gmem: the pages now have frames and may be mapped ahead of a touch (optional, may be NULL). */
	void (*map)(struct paging *p, gfn_t gfn, const struct gmem_page *page);

	/* gmem, *before* frames change or go: remove every entry that maps them, and flush. */
	void (*unmap)(struct paging *p, gfn_t gfn, uint64_t npages);

	/* gmem: the pages may still be read, no longer written; split larger leaves over them; flush. */
	void (*wrprotect)(struct paging *p, gfn_t gfn, uint64_t npages);

	/*
	 * gmem, when the dirty log arms pages (optional): if the processor logs writes by itself (PML), clear the dirty
	 * bits of what is mapped, flush, and return true. False: gmem write-protects instead. The answer never
	 * changes in the life of a VM.
	 */
	bool (*log_dirty)(struct paging *p, gfn_t gfn, uint64_t npages);

	/*
	 * gmem: was the page touched since the last call? Unmaps it everywhere and flushes, so that the next
	 * touch faults; true if any entry mapped it with its accessed bit set.
	 */
	bool (*test_clear_young)(struct paging *p, gfn_t gfn);

	/*
	 * gmem, if gmem_young_by_bit(): the same by the accessed bit alone, without unmapping. 0 or 1; -1: there is no
	 * such bit here, and test_clear_young() has to do. May be NULL.
	 */
	int (*clear_accessed)(struct paging *p, gfn_t gfn);

	/* gmem: a block became contiguous: tables below one large leaf may be replaced by it (optional). */
	void (*collapse)(struct paging *p, gfn_t gfn, unsigned level);

	/* Anyone: host frames this VM's tables take now. */
	uint64_t (*table_frames)(const struct paging *p);

	/* Tests: check every invariant of the tables against gmem; 0, or -EUCLEAN after a warning that says what. */
	int (*verify)(struct paging *p);
};

struct paging {
	const struct paging_ops *ops;
};

#endif
