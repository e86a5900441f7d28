/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - the simulated translation hardware of one host CPU
 *
 * TLBs, page-walk caches, nested TLB and data caches belong to the CPU; what it translates *for* is a struct
 * mmu_context: the registers of the running vCPU and the tables that its paging mode built. The hardware knows
 * nothing of guests' states: it reads table bytes in host memory, sets A/D bits, and either yields a
 * translation or stops with the fault that a processor would raise.
 *
 * mmu_access() is the plain model: one access, every rule spelled out. mmu_run() executes a batch with the
 * same results and counters, faster; tests run both on the same streams and compare everything.
 */
#ifndef OVERBOOK_SIM_MMU_H
#define OVERBOOK_SIM_MMU_H

#include "mm/counters.h"
#include "mm/paging.h"
#include "mm/types.h"
#include "vmm/sim/profile.h"
#include "workloads/op.h"
#include "workloads/pattern.h"

enum mmu_walk {
	MMU_1D,	    /* `root` is a stage-1 table in host memory: shadow, pv; native with its bias */
	MMU_2D,	    /* regs->cr3 is guest-physical; `root` is the second-stage table */
};

/* Counts of completed accesses by their cycles, op_cycles included; the last bin holds all that took longer. */
#define MMU_LATENCY_BINS 4096

/* A dirty-logging sink (PML): 512 gpas; the processor exits when it is full. */
struct pml {
	uint32_t n;
	gpa_t gpa[512];
};

struct mmu_context {
	enum mmu_walk walk;
	const struct guest_regs *regs;
	hpa_t root;	     /* from paging_ops.hw_root; not used with a bias */
	/*
	 * native: host address of guest-physical 0. With bias != 0 the walk starts at cr3, and bias is added to every
	 * address. An address at or beyond @limit (guest-physical bytes; 0: unchecked) is a MMU_VIOLATION.
	 */
	uint64_t bias, limit;
	unsigned levels;     /* of stage 1 */
	unsigned host_levels; /* of stage 2 */
	bool npt;	     /* stage 2 in AMD's format and rules */
	bool ad_bits;	     /* EPT: A/D enabled (accesses to guest tables count as writes) */
	bool use_pcid;
	unsigned vpid;	     /* tag of the VM; 0 is the host's own */
	unsigned maxphyaddr;
	struct pml *pml;     /* NULL: off */
	struct counters *c;  /* of the VM now running */
	uint64_t *latency;   /* MMU_LATENCY_BINS, filled by mmu_run(); NULL: not wanted */
	uint8_t *bytes;	     /* frames_bytes() */
	struct pattern *content; /* contents by hfn, where a store goes; NULL: stores are not recorded */
	struct frames *frames; /* for the node of a frame */
	unsigned node;	     /* of this CPU */
	const uint8_t *distance; /* of each node from it (frames_distance()); NULL: nodes do not matter */
};

enum mmu_outcome {
	MMU_OK = 0,
	MMU_PAGE_FAULT,	   /* stage 1; error code and CR2 as the architecture says */
	MMU_VIOLATION,	   /* stage 2: EPT violation or NPT fault */
	MMU_MISCONFIG,	   /* stage 2: malformed entry */
	MMU_PML_FULL,	   /* log full: nothing was written; drain and retry */
};

struct mmu_result {
	enum mmu_outcome outcome;
	uint32_t error; /* PF_* */
	gva_t gva;
	gpa_t gpa;	/* of the access that failed, on a violation; not known on MMU_OK, when a TLB hit needs none */
	bool table_access; /* the violation hit the guest's own walk */
	hpa_t hpa;	/* on MMU_OK */
	unsigned level; /* of the entry that a walk put into the TLB */
	uint32_t refs;	/* table references this access made */
	uint64_t cycles; /* this access cost: translation and, on MMU_OK, data; without op_cycles */
	uint64_t walk_cycles; /* of them: translation beyond the first-level TLB */
};

struct sim_mmu;

struct sim_mmu *mmu_new(const struct sim_profile *p, bool cache_model);
void mmu_free(struct sim_mmu *m);

/*
 * One access of @access (ACC_R, ACC_W or ACC_X, with ACC_U for user mode). ACC_R | ACC_W is what OP_WRITE does: a load
 * at @gva, then a store to word 0 of its page: one TLB lookup, but each half has its own rights, walks and faults.
 * Implements the architecture in full: canonical addresses (a non-canonical one is MMU_PAGE_FAULT with error 0 here:
 * the guest never makes one), CR0.WP, SMEP, SMAP with AC, NX, reserved bits, PS at each level, A/D updates, global
 * pages, PCID. Adds its cycles to nothing: the caller accounts result->cycles.
 */
void mmu_access(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, struct mmu_result *r);

/*
 * Execute ops[0..n) at user level until one faults, one is no access, or @budget cycles are spent (checked before
 * every MMU_BUDGET_OPS-th operation; 0: no limit). Returns how many were completed, adds their cycles of useful work
 * (data and op_cycles) to *work and those of translation to *walk. On a fault *r describes it (outcome != MMU_OK); the
 * faulting operation is not counted as completed, and what it cost is in r->cycles only. Otherwise r->outcome is MMU_OK
 * and the rest of *r is unspecified. Counts accesses, reads, writes and fetches of completed operations. Stores put the
 * op's stamp into the content of the target's frame.
 */
#define MMU_BUDGET_OPS 32
uint32_t mmu_run(struct sim_mmu *m, const struct mmu_context *x, const struct op *ops, uint32_t n, uint64_t budget,
		 uint64_t *work, uint64_t *walk, struct mmu_result *r);

/* The invalidating instructions, with the architecture's reach; counted in x->c. */
/* INVLPG: @gva in the current PCID and among the globals, and all that the page-walk caches hold of the PCID. */
void mmu_invlpg(struct sim_mmu *m, const struct mmu_context *x, gva_t gva);
/* MOV CR3, its PCID and no-flush bit; call it after the registers have changed. */
void mmu_load_cr3(struct sim_mmu *m, const struct mmu_context *x, uint64_t cr3);
void mmu_flush_space(struct sim_mmu *m, const struct mmu_context *x, unsigned pcid); /* INVPCID single context */
/* INVVPID, single context, and INVEPT for the VM's tables. */
void mmu_flush_vm(struct sim_mmu *m, unsigned vpid, struct counters *c);
void mmu_flush_gva(struct sim_mmu *m, unsigned vpid, gva_t gva, struct counters *c); /* one address, every PCID */
/* INVEPT on behalf of a change to guest frames: drops everything of that vpid that depends on stage 2. */
void mmu_flush_gpa(struct sim_mmu *m, unsigned vpid, gfn_t gfn, uint64_t n, struct counters *c);

/*
 * Bytes that the second-level TLB would translate if it were full of entries like those it holds of that VM; 0 if it
 * holds none. Sizes that it cannot hold count as the first level holds them.
 */
uint64_t mmu_reach(const struct sim_mmu *m, unsigned vpid);

#endif
