/* SPDX-License-Identifier: MIT */
/*
 * kvm.h - the real machine: KVM guests in this process
 *
 * Private to vmm/kvm. One struct kvm_machine is one run. Each VM has two memory slots: its arena, whose bytes are
 * those of the memory manager's frames (so page tables and the process table are read in place), prefaulted and
 * locked; and above it one memfd mapped twice: where the guest sees it, registered with userfaultfd, and as an
 * *alias* through which the VMM reads and writes without ever faulting on the guest's side.
 *
 * Threads: the caller runs the vCPUs, one after the other (lockstep), or each has a thread (free.c); another answers
 * userfaultfd. Whoever calls the memory manager, or reads what it counts, holds `lock`.
 *
 *	backend.c	what this host must offer, what of an experiment is supported, the run's frame
 *	loop.c		VMs in turn, hypercalls, end of a run; together.c: on one processor
 *	free.c		the free schedule: a thread a VM; irq.c: what interrupts a guest in it
 *	vm.c		one VM: memory, paging, script; boot.c: what is in its arena before the first instruction
 *	vcpu.c		registers, KVM_RUN, ticks; life.c: guests that get nowhere
 *	traces.c	processes that replay traces
 *	mmio.c		devices
 *	host.c		what the host does beside its guests; stats.c: what KVM itself counts
 *
 *	memory.h	ept mode: memory of a VM, faults.c its userfaultfd, merge.c merged pages, anonymous.c, ksm.h and
 *			store_kernel.c memory that the kernel merges and swaps
 *	shadow.h	shadow mode: ring 0 that is only believed, and tables that the processor walks; frames.c its
 *			memory, emulate.h and decode.h instructions
 *	content.h	bytes of pages, in both; store.h: of those that are swapped out
 *
 *	features.c	which KVM this is (overbook doctor); tiny.c: a guest of a few instructions, to ask
 *	calibrate*.c	what exits, faults and swap-ins cost (overbook calibrate)
 */
#ifndef OVERBOOK_KVM_KVM_H
#define OVERBOOK_KVM_KVM_H

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "mm/frame.h"
#include "mm/gmem.h"
#include "mm/machine.h"
#include "mm/paging.h"
#include "vmm/kvm/memory.h"
#include "vmm/host.h"
#include "vmm/sampler.h"
#include "vmm/vm_balloon.h"
#include "vmm/vm_disk.h"
#include "vmm/trace_feed.h"
#include "vmm/vmm.h"
#include "workloads/guest/abi.h"
#include "workloads/guest/kvm/layout.h"

struct kvm_machine;
struct kvm_shadow;
struct kvm_stats;
struct store;

/* When a guest last got anywhere (life.c), in ns of its own time in KVM_RUN. */
struct kvm_life {
	uint64_t operations;  /* the most ever seen of those that can be true */
	uint64_t work, signs; /* as it was looked at last */
	uint64_t work_ns, sign_ns;
	uint64_t yielded; /* operations at the end of its last quantum */
	uint64_t most;	  /* operations that it may claim */
	uint64_t patience_ns; /* how long it may get nowhere */
};
#define KVM_LINES 2 /* interrupts of devices */
#define KVM_WATCH_SIGNAL SIGRTMIN

struct kvm_vm {
	struct kvm_machine *m;
	unsigned id;
	struct run_vm *out;
	const struct conf_vm *conf;
	struct script *script;
	struct trace_feed *feed;
	struct counters counters; /* live */
	struct gmem *gmem;
	struct paging *paging;
	struct vm_balloon *balloon; /* NULL: none */
	struct vm_disk *disk;	    /* NULL: none */
	struct boot_info boot;	    /* as it was told; what the guest makes of its copy is its own business */
	struct guest_regs regs; /* as the guest boots; ept: the processor has the live ones; shadow: these are live */
	const struct guest_regs *regs_of[1]; /* of each vCPU */
	gfn_t arena_pages, npages;

	struct kvm_shadow *shadow; /* NULL: paging = ept */

	int memfd;
	uint8_t *memory, *alias; /* of gfn arena_pages; NULL: not mapped */
	uint32_t *shown;	 /* [npages - arena_pages]: 1 + the merged frame mapped there, 0: its own page */
	uint64_t seen_changes;	 /* of merge.changes */

	int fd, vcpu_fd;
	struct kvm_run *kvm_run;
	size_t kvm_run_size;
	struct kvm_life life;
	uint64_t idle_ns; /* time that passed without an operation; lockstep: virtual, and the guest has a copy */
	/* Written by its thread, read by any. */
	_Atomic uint64_t run_ns;  /* time its thread ran it: in KVM_RUN, or dealing with exits, ... */
	_Atomic uint64_t exit_ns; /* ... the latter of these */
	uint64_t fault_ns; /* in KVM_RUN, but waiting for a fault to be dealt with */
	struct kvm_stats *stats[2]; /* of the VM, of its vCPU; NULL: this KVM has none */
	bool done;

	/* Free schedule (free.c, irq.c) */
	GThread *thread;
	pthread_t self;	  /* while running */
	bool running;	  /* its thread may be in KVM_RUN */
	timer_t watch;
	bool has_watch;
	GCond wake;	  /* something it may sleep for has come */
	unsigned raised;  /* lines, since it last slept */
	uint64_t next_tick; /* shadow mode */
	int irq_fd[KVM_LINES]; /* irqfds; -1: none */
	int notify_fd;	  /* ioeventfd of the disk; -1: none */
};

/* Which processors this run may use; in lockstep its threads are bound to one of them (together.c). */
struct kvm_together {
	cpu_set_t allowed;
	bool can;
	uint64_t since_ns; /* when that one was chosen */
};

struct kvm_machine {
	struct machine machine; /* first: the memory manager's view */
	struct run *run;
	struct frames *frames;
	struct kvm_vm **vms;
	unsigned nvms;
	uint64_t now_ns; /* lockstep: virtual time; free: when the host's work last looked */
	bool free;	 /* schedule = free */
	uint64_t start_ns; /* free: real time of the run's beginning */
	unsigned nrunning; /* VMs whose threads go on */
	GCond changed;	 /* one fewer */
	atomic_bool ending, devices_over;
	GThread *device_thread;
	int device_poll, device_fd; /* epoll; eventfd that makes it look */
	struct host host;
	struct sampler sampler;
	uint64_t job_began, job_ns[HOST_JOBS]; /* real time */

	bool shadow;	 /* every VM runs with paging = shadow (shadow.h); else every one with ept */
	uint64_t *shadow_direct;

	uint8_t *(*bytes)(struct kvm_machine *m, hfn_t hfn); /* of a frame, as the paging mode keeps them */
	struct store *store;  /* NULL: no swap */
	struct kvm_merge merge;
	bool anonymous;	      /* [host] backing: see anonymous.c */
	struct kvm_ksm *ksm;  /* [dedup] algorithm = kernel; NULL: another */
	bool no_continue_wp;  /* the kernel has no UFFDIO_CONTINUE_MODE_WP */
	bool misplaced;	      /* it was said that a NUMA node is not there */

	int kvm_fd;
	int uffd;
	int stop_fd; /* eventfd: the fault thread ends when it is written */
	GMutex lock;
	GThread *fault_thread;
	_Atomic pid_t fault_tid; /* 0: not there yet */
	struct kvm_together together;

	timer_t watch; /* ticks interrupt KVM_RUN */
	bool has_watch;
};

/* together.c; tick: between quanta */
void kvm_together_begin(struct kvm_machine *m);
void kvm_together_tick(struct kvm_machine *m);
void kvm_together_end(struct kvm_machine *m);

/* The linked guest (image.S), header first. */
extern const uint8_t kvm_guest_image[];

/* backend.c */
/* All VMs of @r in front of their first instruction, or FALSE and @error; kvm_machine_destroy() in either case. */
gboolean kvm_machine_init(struct kvm_machine *m, struct run *r, GError **error);
void kvm_machine_destroy(struct kvm_machine *m);
/* The first reason why the guest cannot go on is kept; the VM is done. Lock held or no guest running. */
void kvm_vm_fail(struct kvm_vm *vm, const char *format, ...) G_GNUC_PRINTF(2, 3);
void kvm_vm_fail_as(struct kvm_vm *vm, enum failure kind, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Real time, ns. */
static inline uint64_t kvm_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
/* Lock held, and no handler has begun: nobody holds a page or a table. */
static inline void kvm_count_exit(struct kvm_vm *vm, uint64_t *by_cause)
{
	vm->counters.exits++;
	(*by_cause)++;
	host_balance(&vm->m->host);
}

/* vm.c */
struct kvm_vm *kvm_vm_new(struct kvm_machine *m, struct run_vm *out, unsigned id, GError **error);
void kvm_vm_free(struct kvm_vm *vm);
/* Where gpa of the arena is in this process. */
static inline void *kvm_arena(const struct kvm_vm *vm, gpa_t gpa)
{
	return gmem_arena(vm->gmem) + gpa;
}
static inline struct vcpu_page *kvm_vcpu_page(const struct kvm_vm *vm)
{
	return kvm_arena(vm, VCPU_GPA);
}

/* boot.c */
/* What the guest is told; vm->script is there. */
struct boot_info kvm_boot_info(const struct kvm_vm *vm);
/* Image, tables, boot_info and script into the arena. */
void kvm_boot_write(struct kvm_vm *vm);
const struct image_header *kvm_image_header(void);

/* vcpu.c */
gboolean kvm_vcpu_create(struct kvm_vm *vm, GError **error); /* a VM in KVM, its slots, a vCPU ready for kernel_start */
void kvm_vcpu_destroy(struct kvm_vm *vm);
/* The calling thread is interrupted ten times a second. */
gboolean kvm_watch_start(timer_t *watch, GError **error);
void kvm_watch_stop(timer_t *watch);
/* Lock held: have the VM's thread look whether it still may run. */
void kvm_vcpu_kick(struct kvm_vm *vm);
/* A vCPU that waits in the kernel for memory does not go back into the guest. Lock held. */
void kvm_vcpu_halt(struct kvm_vm *vm);

/* life.c */
void kvm_life_begin(struct kvm_vm *vm);
/* Operations performed, as far as the guest can be believed: never fewer than before. */
uint64_t kvm_life_operations(struct kvm_vm *vm);
/* The guest says that its quantum is over. */
void kvm_life_yielded(struct kvm_vm *vm);
/* Why the guest, after @run_ns in KVM_RUN, is to be given up; NULL: it lives. Lock held. */
const char *kvm_life_look(struct kvm_vm *vm, uint64_t run_ns);

/* vcpu.c */
/* Run until the next hypercall and return it; 0 when the guest failed or is to be left because of run_stop. */
uint32_t kvm_vcpu_run(struct kvm_vm *vm);

/* mmio.c: all with the lock held */
/* What stands in the way, or NULL. */
const char *kvm_devices_new(struct kvm_vm *vm);
/* An access of the guest at @gpa, where no memory is. False: nor is there a device. */
bool kvm_mmio(struct kvm_vm *vm, gpa_t gpa, bool write, void *data, unsigned len);
/* Lines (IRQ_*) that devices raise now. */
unsigned kvm_devices_look(struct kvm_vm *vm);
/* When that may next be any; UINT64_MAX: not by itself. */
uint64_t kvm_devices_next(struct kvm_vm *vm);

/* irq.c: interrupts in the free schedule; 0, or -1 and errno */
int kvm_irq_create(struct kvm_vm *vm); /* before there is a vCPU */
void kvm_irq_base(const struct kvm_vm *vm, struct kvm_sregs *s);
int kvm_irq_connect(struct kvm_vm *vm);
void kvm_irq_disconnect(struct kvm_vm *vm);
/* The guest's timer; 0: off. The vCPU does not run. */
int kvm_irq_timer(struct kvm_vm *vm, uint64_t period_ns);
/* The same in shadow mode, by whoever calls this often enough: when the next is due, UINT64_MAX in ept mode. */
uint64_t kvm_irq_tick(struct kvm_vm *vm, uint64_t now);
/* Raise lines (IRQ_*). Lock held. */
void kvm_irq_raise(struct kvm_vm *vm, unsigned which);

/* free.c */
void kvm_free_run(struct kvm_machine *m);
/* Devices may have something to do. */
void kvm_free_poke(struct kvm_machine *m);
/* Sleeps while the VM may not run; false: it may. */
bool kvm_free_blocked(struct kvm_vm *vm);

/* stats.c: what KVM itself counts, from kvm_stats_begin() to kvm_stats_write() */
void kvm_stats_begin(struct kvm_vm *vm);
void kvm_stats_write(struct kvm_machine *m);
void kvm_stats_end(struct kvm_vm *vm);

/* host.c */
extern const struct host_ops kvm_host_ops;

/* traces.c: HC_REFILL */
void kvm_trace_refill(struct kvm_vm *vm);

/* loop.c */
/* What time the guest believes it is, ns. */
uint64_t kvm_guest_now(struct kvm_vm *vm);
/* Lock held: the VM's counters are brought up to date. */
void kvm_vm_refresh(struct kvm_vm *vm);
/* Let the guest kernel come up; what it counts by then is no part of the results, as in the simulator. */
gboolean kvm_boot_run(struct kvm_vm *vm, GError **error);
gboolean kvm_loop(struct kvm_machine *m, GError **error);
/* Has the run's end come? How far is it? */
bool kvm_loop_over(const struct kvm_machine *m);
void kvm_loop_progress(struct kvm_machine *m);
/* A hypercall with which the guest ends. */
void kvm_loop_last_call(struct kvm_vm *vm, uint32_t call);

#endif
