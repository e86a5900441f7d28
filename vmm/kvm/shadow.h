/* SPDX-License-Identifier: MIT */
/*
 * shadow.h - paging = shadow on the real machine: trap and emulate
 *
 * The guest, all of it at CPL 3, walks the tables that shadow/ builds; exceptions arrive in a stub of the VMM
 * (shadow_stub.S; not the guest's own), which tells the VMM by `out`. The VMM fills tables, carries out what traps,
 * plays the guest's ring 0 (an interpreter, emulate.c), and lets the guest go on.
 *
 *	frames.c	guests' pages are frames of one machine memory
 *	shadow_own.c	the VMM's own pages in every guest: stub, descriptor tables, stack; the vCPU's registers
 *	shadow_exit.c	exceptions: page faults, stores to carry out, what goes on to the guest
 *	shadow_ring0.c	the guest's ring 0
 *	shadow_flush.c	entries that the processor must forget
 *
 * KVM-physical addresses: frame h of the host is at h << 12 in every VM (slot 0); above the host's memory are the
 * VMM's own pages of the VM, and tables that show the stub all of the host's memory.
 */
#ifndef OVERBOOK_KVM_SHADOW_H
#define OVERBOOK_KVM_SHADOW_H

/* Where the VMM's own pages are in the guest's address space: a slot of the root that no guest gets. */
#define OWN_SLOT 255
#define OWN_VA	 0x7f8000000000

/* Pages from OWN_VA on. */
#define OWN_PDPT   0
#define OWN_PD	   1
#define OWN_PT	   2
#define OWN_STUB   3
#define OWN_TABLES 4 /* GDT, TSS, IDT: offsets as in the guest's (layout.h) */
#define OWN_STACK  5
#define OWN_WORK   6
#define OWN_PAGES  7

/* What the stub has to do before it goes back: byte offsets into the work page. */
#define WORK_TODO 0 /* 32 bits; 0: nothing */
#define WORK_CR3  8
#define WORK_LIST 16 /* addresses of entries to be written again as they are; 0 ends it */
#define WORK_MAX  256

#define STUB_PORT  0xc0 /* + vector */
#define GATE_BYTES 16	/* bytes of code for each vector */

#ifndef __ASSEMBLER__

#include "shadow/shadow.h"
#include "vmm/kvm/emulate.h"
#include "vmm/kvm/kvm.h"

/* What the stub's stack holds while the guest is outside, at the end of its page. */
struct stub_frame {
	uint64_t error, rip, cs, rflags, rsp, ss;
};

struct kvm_shadow {
	struct kvm_vm *vm;
	uint8_t *own;	  /* OWN_PAGES pages */
	hpa_t own_gpa;	  /* KVM-physical */
	hpa_t root;	  /* what CR3 holds */
	gpa_t *spaces;	  /* [PCID]: the root last loaded */
	bool parked;	  /* the vCPU stands in the stub, behind its `out`, and goes back by iretq */
	bool inside;	  /* it may be running: what is to be flushed is flushed at once (m->lock) */
	bool reflected;	  /* the guest's ring 0 was entered for a page fault, and has not loaded CR3 since */
	struct emu cpu;	  /* the guest's registers as it knows them, while !inside */
	uint64_t given_up_rip; /* the last instruction whose trace was lifted for want of emulation */
	unsigned lifted;       /* and how often in a row */

	bool flush_all;	       /* everything must be forgotten before the guest goes on, or, */
	struct machine_entry *entry; /* one by one, these */
	unsigned nentries, most;
};

/* frames.c */
extern const struct machine_ops kvm_frames_ops;
uint8_t *kvm_frames_bytes(struct kvm_machine *m, hfn_t hfn);

/* shadow_own.c */
extern const uint8_t kvm_shadow_stub[], kvm_shadow_stub_end[];
gboolean kvm_shadow_create(struct kvm_vm *vm, GError **error); /* before its paging mode */
void kvm_shadow_destroy(struct kvm_vm *vm);
gboolean kvm_shadow_vcpu(struct kvm_vm *vm, GError **error); /* slots and registers */
uint64_t kvm_shadow_entry(const struct kvm_vm *vm); /* for every root's slot OWN_SLOT */
/* What all VMs of a run share. */
gboolean kvm_shadow_start(struct kvm_machine *m, GError **error);
void kvm_shadow_stop(struct kvm_machine *m);

static inline struct stub_frame *kvm_shadow_frame(const struct kvm_vm *vm)
{
	return (struct stub_frame *)(vm->shadow->own + (OWN_STACK + 1) * PAGE_SIZE) - 1;
}

/* shadow_exit.c; what kvm_vcpu_run() asks: both return a hypercall, 0 after a failure, -1: go on */
int64_t kvm_shadow_enter(struct kvm_vm *vm);
int64_t kvm_shadow_exit(struct kvm_vm *vm, unsigned vector);

/* shadow_ring0.c; lock held */
/* The guest's own exception, as a processor at cpu.cpl would deliver it. */
void kvm_shadow_deliver(struct kvm_vm *vm, unsigned vector, uint64_t error);
/* Until the guest is at CPL 3 (-1), calls (> 0), or has failed (0). */
/* One instruction of the guest; a fault of it (EMU_FAULT) has been delivered. */
enum emu_result kvm_shadow_emulate(struct kvm_vm *vm);
int64_t kvm_shadow_ring0(struct kvm_vm *vm);
/* Carry out one instruction of the guest's: the hooks reach its memory as shadow/ wants it. */
extern const struct emu_ops kvm_shadow_emu_ops;

/* shadow_flush.c; lock held */
void kvm_shadow_weakened(struct machine *m, unsigned vm, const struct machine_entry *e);
void kvm_shadow_flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n);
/* The guest is about to go on from the stub on @root: the stub is told what to do first. */
void kvm_shadow_settle(struct kvm_vm *vm, hpa_t root);

#endif
#endif
