/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the simulated machine: host CPUs, virtual machines, and the time they take
 *
 * Private to vmm/sim. A struct sim is one machine for one run. A *vCPU* holds what the guest believes (registers) and
 * where its time went; a host *CPU* holds the translation hardware and a clock.
 *
 *	loop.c		puts vCPUs on CPUs
 *	guest.c		makes a VM and runs one of its vCPUs for a turn
 *	exits.c		what the VMM does when the hardware stops
 *	host.c		what the host does beside: who is billed for it
 *	hal.c		the world as the guest's kernel sees it
 *	machine.c	the world as the memory manager sees it
 *	mmu.h		the translation hardware itself; it knows nothing of this file
 *
 * Time is whole cycles of the profile's core. Each cycle lands in exactly one bucket of the vCPU that was running; the
 * ns_ counters are those buckets in nanoseconds.
 */
#ifndef OVERBOOK_SIM_SIM_H
#define OVERBOOK_SIM_SIM_H

#include <setjmp.h>

#include "mm/frame.h"
#include "mm/gmem.h"
#include "mm/machine.h"
#include "mm/paging.h"
#include "vmm/sampler.h"
#include "vmm/host.h"
#include "vmm/sim/compress.h"
#include "vmm/sim/mmu.h"
#include "vmm/sim/profile.h"
#include "vmm/sim/pv.h"
#include "vmm/trace_feed.h"
#include "vmm/vm_balloon.h"
#include "vmm/vm_disk.h"
#include "vmm/vmm.h"
#include "workloads/guest/kernel.h"

/* Where a vCPU's cycles go. One ns_ counter each, in this order (sim_buckets[] in machine.c). */
enum bucket {
	BUCKET_WORK,
	BUCKET_WALK,
	BUCKET_KERNEL,
	BUCKET_PAGE_FAULT,
	BUCKET_TRACED_WRITE,
	BUCKET_CR_WRITE,
	BUCKET_INVLPG,
	BUCKET_EPT,
	BUCKET_HYPERCALL,
	BUCKET_OTHER,
	BUCKET_HOST_MEMORY,
	BUCKET_SWAP,
	BUCKETS,
};

/* Why a vCPU left the guest. */
enum exit_cause {
	EXIT_PAGE_FAULT,
	EXIT_TRACED_WRITE,
	EXIT_CR_WRITE,
	EXIT_INVLPG,
	EXIT_EPT_VIOLATION,
	EXIT_EPT_MISCONFIG,
	EXIT_PML_FULL,
	EXIT_HYPERCALL,
	EXIT_IO,
	EXIT_HALT,
	EXIT_INTERRUPT,
	EXIT_CAUSES,
};

struct sim;
struct sim_vm;

struct sim_cpu {
	struct sim_mmu *mmu;
	uint64_t clock; /* cycles since the run began */
	struct sim_vcpu *current; /* free schedule: whose slice is not over yet */
	uint64_t slice_end;
	unsigned node;
};

/* An access that is not complete yet. Many processes may have one: each waits for the guest's disk in it. */
#define SIM_FAULTS 256u
struct sim_fault {
	uint64_t start; /* clock when it was first tried */
	uint32_t pid;	/* 0: none */
};

struct sim_vcpu {
	struct sim_vm *vm;
	unsigned id;
	struct guest_regs regs; /* as the guest believes; change CR3 with sim_set_cr3() */
	struct guest_regs hw;	/* as the processor has them; differs from regs in shadow mode */
	struct mmu_context ctx;
	struct pml pml;
	struct sim_cpu *cpu;   /* where it runs or last ran; NULL before its first turn */
	uint64_t user_cr3;     /* of the process last resumed */
	uint64_t cycles[BUCKETS];
	enum bucket bucket;    /* where charge() puts the memory manager's time: the exit being handled */
	uint64_t waiting;      /* free schedule: cycles for which it waits for a device of the host, from now on */
	uint64_t ready_at;     /* free schedule: cycle from which it may run */
	uint64_t off_at;       /* free schedule: cycle at which it last left a CPU, and what it waited for had come */
	uint64_t stalled_at;   /* free schedule: cycle at which it last left a CPU */
	uint64_t idle_cycles;  /* slept or waited for a CPU, up to its last turn */
	uint64_t until_quantum; /* lockstep: operations left of the current quantum */
	uint64_t next_tick;    /* free: clock of the guest's next timer interrupt */
	uint64_t switches;     /* of the guest kernel that have been paid for */
	uint32_t *resumed;     /* shadow: by arena page, whose run-time there has been touched: a pid */
	uint64_t *latency;     /* accesses by cycles, MMU_LATENCY_BINS; emptied into the VM's histogram */
	struct sim_fault faults[SIM_FAULTS]; /* by pid: accesses that have faulted and are to be tried again */
	bool booting;	       /* the kernel has no tables yet: its accesses go to the arena directly */
	jmp_buf panic;	       /* where hal_panic() lands */
	struct pv_entry batch[64]; /* pv: table updates not yet sent */
	unsigned nbatch;
};

struct sim_vm {
	struct sim *sim;
	unsigned id;
	struct run_vm *out;
	const struct conf_vm *conf;
	struct counters counters; /* live; what the memory manager counts too */
	struct gmem *gmem;
	struct paging *paging;
	struct script *script;
	struct trace_feed *feed;
	struct kernel *kernel;
	struct vm_balloon *balloon; /* NULL: none */
	struct sim_truth *truth; /* NULL: nobody asks */
	struct vm_disk *disk;	     /* NULL: none */
	uint64_t operations;
	uint64_t idle_ns;    /* lockstep: virtual time that passed without operations */
	bool done;
	const struct guest_regs **regs; /* [vcpu], for the paging mode */
	unsigned nvcpus;
	struct sim_vcpu vcpu[1]; /* nvcpus of them */
};

struct sim {
	struct machine machine; /* first: the memory manager's view */
	struct run *run;
	struct sim_profile *profile;
	struct frames *frames;
	struct pattern *content; /* by hfn, lazily backed */
	uint64_t ncontent;
	struct sim_cpu *cpus;
	unsigned ncpus;
	bool pinned; /* some VM may not run on every CPU */
	struct sim_vm **vms;
	unsigned nvms;
	struct sim_vcpu *running; /* whom charge() bills; NULL: nobody */
	uint64_t now_ns;	  /* lockstep: virtual time */
	struct sampler sampler;
	struct host host;	  /* what is done beside the guests */
	unsigned job;		  /* whom charge() bills: a host_job, or HOST_JOBS: the vCPU */
	uint64_t job_cycles[HOST_JOBS], job_began; /* their time */
	struct sim_swap *swap;	  /* NULL: the host has no swap */
	struct sim_patch *patch;  /* NULL: nobody has asked for a patch yet */
	uint64_t pressure_at, stall_some, stall_full; /* cycles: until when waiting is counted, and how much */
	struct compress *compress; /* sizes of compressed pages */
	struct swap_future *future; /* NULL: nobody asks for it; see future.h. Borrowed. */
};

/* May @vm run on that CPU? */
static inline bool sim_may_run(const struct sim_vm *vm, const struct sim_cpu *cpu)
{
	return !vm->conf->cpu_nodes || vm->conf->cpu_nodes >> cpu->node & 1;
}

/* How far the nodes are from that CPU; NULL on a host of one. */
static inline const uint8_t *sim_distances(const struct sim *s, const struct sim_cpu *cpu)
{
	return frames_nodes(s->frames) == 1 ? NULL : &s->frames->distance[cpu->node * s->frames->nnodes];
}

/* machine.c */
int sim_init(struct sim *s, GError **error);
void sim_destroy(struct sim *s);
uint64_t sim_cycles_to_ns(const struct sim *s, uint64_t cycles);
uint64_t sim_ns_to_cycles(const struct sim *s, uint64_t ns);
/* Bill the vCPU and move its CPU's clock. */
void sim_spend(struct sim_vcpu *v, enum bucket bucket, uint64_t cycles);
/*
 * The vCPU waits for a device of the host. With the free schedule it gives its CPU up, as soon as the access that waits
 * is complete; in lockstep it waits there and then.
 */
void sim_wait(struct sim_vcpu *v, uint64_t cycles);
/* When what the vCPU waits for will have come. */
uint64_t sim_clock(const struct sim_vcpu *v);
/* Bring the ns_ counters, the kernel's counts and the gauges of @vm up to date. */
void sim_vm_refresh(struct sim_vm *vm);
/* Is every word of the page in @hfn @word? */
bool sim_all_words(struct sim *s, hfn_t hfn, uint64_t word);
/* The 4096 bytes of a frame with a guest's page; HFN_NONE: zeros. */
void sim_page_bytes(struct sim *s, hfn_t hfn, uint64_t *page);
/* The page in frame @to becomes equal to the one in @from. */
void sim_copy_content(struct sim *s, hfn_t to, hfn_t from);

/* exits.c */
enum sim_verdict {
	SIM_RETRY,   /* try the access again */
	SIM_INJECT,  /* the guest's own page fault: gva and error of the result */
	SIM_EMULATE, /* a store to a traced table: sim_emulate_store() performs it */
	SIM_FAILED,  /* the VM is done for; sim_vm_fail() has said why */
};
/* The hardware stopped with @r; rewrites r->error and r->gpa where the VMM knows better. */
enum sim_verdict sim_handle(struct sim_vcpu *v, struct mmu_result *r);
int sim_emulate_store(struct sim_vcpu *v, const struct mmu_result *r, uint64_t value);
void sim_exit(struct sim_vcpu *v, enum exit_cause cause);
/* CR3 is loaded, by the guest's stub if @exits, else by the VMM on the way out of an exit. */
void sim_load_cr3(struct sim_vcpu *v, uint64_t cr3, bool exits);
/* INVPCID of one address (GUEST_INVLPG) or of everything (GUEST_CR3) in the address space that CR3 @space names. */
void sim_invalidate(struct sim_vcpu *v, uint64_t space, enum guest_event event, uint64_t arg);
/* The guest's CR3 is @cr3; tables and TLB are the caller's business. */
void sim_set_cr3(struct sim_vcpu *v, uint64_t cr3);
/* Ask the paging mode again for the root that the processor walks, and with which registers. */
void sim_refresh_root(struct sim_vcpu *v);
/* Hand the page-modification log to ept and empty it. */
void sim_drain_pml(struct sim_vcpu *v);
/* The guest cannot go on; why is kept for the report. The first reason wins. */
void sim_vm_fail(struct sim_vm *vm, const char *format, ...) G_GNUC_PRINTF(2, 3);
void sim_vm_fail_as(struct sim_vm *vm, enum failure kind, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* hal.c: the world of the guest's kernel is its vCPU */
static inline struct hal *sim_hal(struct sim_vcpu *v)
{
	return (struct hal *)v;
}

/* guest.c */
struct sim_vm *sim_vm_new(struct sim *s, struct run_vm *out, unsigned id, GError **error);
void sim_vm_free(struct sim_vm *vm);
/*
 * Run the vCPU until its quantum ends, @budget cycles are spent (0: no limit), it has nothing to run, or it is
 * done. True if it could go on at once; false: it sleeps until ready_at, or vm->done.
 */
bool sim_vcpu_run(struct sim_vcpu *v, uint64_t budget);


/* host.c */
extern const struct host_ops sim_host_ops; /* ctx: the struct sim */
gboolean sim_truth_init(struct sim *s, GError **error);
/* What the host has to do at @now_ns, in cycles. */
uint64_t sim_host_work(struct sim *s, uint64_t now_ns);

/* loop.c */
gboolean sim_loop(struct sim *s, GError **error);

#endif
