/* SPDX-License-Identifier: MIT */
/*
 * memory.h - the memory of VMs in ept mode
 *
 * Every function that takes a VM or a machine is called with the machine's lock held, unless stated.
 *
 *	memory.c   where a page's bytes are; in the guest's reach and out of it
 *	merge.c	   merged pages: which mapping shows which file
 *	anonymous.c another kind of memory: private, for the kernel to merge and swap
 *	faults.c   the userfaultfd, and the thread that answers it
 */
#ifndef OVERBOOK_KVM_MEMORY_H
#define OVERBOOK_KVM_MEMORY_H

#include <glib.h>

#include "mm/machine.h"

struct kvm_machine;
struct kvm_vm;

/* Merged pages of a machine (merge.c). */
struct kvm_merge {
	int fd;		  /* the file of merged pages, frame h at h * 4096; -1: none yet */
	uint8_t *bytes;	  /* all of it */
	uint64_t npages;  /* guests' pages whose mapping shows a merged one */
	uint64_t used;	  /* mappings taken, beyond what VMs without merged pages need */
	uint64_t most;	  /* that may be */
	uint64_t changes; /* of mappings so far */
};

/* memory.c */
extern const struct machine_ops kvm_machine_ops;
int kvm_memory_map(struct kvm_vm *vm); /* after gmem exists; 0 or -errno */
void kvm_memory_unmap(struct kvm_vm *vm);
bool kvm_memory_has(const struct kvm_vm *vm, uint64_t address);
/* Where a page above the arena is for the guest. */
uint8_t *kvm_memory_at(const struct kvm_vm *vm, gfn_t gfn);
/*
 * The guest may use the page, which ept/'s table maps, as the table says; a few pages behind it that are mapped alike
 * are put in its reach with it. Waiting vCPUs are not woken. 0 or -errno.
 */
int kvm_memory_show(struct kvm_vm *vm, gfn_t gfn);
/* A page, whatever its contents, so that a vCPU that waits for it comes out of the kernel: the guest is done for. */
void kvm_memory_release_vcpu(struct kvm_vm *vm, gfn_t gfn);
/* The bytes of pages above the arena are lost; they read as zero. */
void kvm_memory_drop(struct kvm_vm *vm, gfn_t gfn, uint64_t npages);
/* Nobody reaches the pages without a fault from now on. */
void kvm_memory_hide(struct kvm_vm *vm, gfn_t gfn, uint64_t npages);

/* anonymous.c: the same for [host] backing = anonymous */
int kvm_anonymous_map(struct kvm_vm *vm);
void kvm_anonymous_unmap(struct kvm_vm *vm);
int kvm_anonymous_populate(struct kvm_vm *vm, gfn_t gfn, uint64_t npages);
void kvm_anonymous_drop(struct kvm_vm *vm, gfn_t gfn, uint64_t npages);

/* merge.c */
void kvm_merge_init(struct kvm_machine *m);
void kvm_merge_destroy(struct kvm_machine *m);
int kvm_merge_open(struct kvm_machine *m); /* the file is there; 0 or -errno */
int kvm_merge_attach(struct kvm_vm *vm); /* 0 or -ENOMEM */
void kvm_merge_detach(struct kvm_vm *vm);
/* The guest's page shows merged frame @hfn, or its own page again (HFN_NONE); hidden in both cases. */
int kvm_merge_show(struct kvm_vm *vm, gfn_t gfn, hfn_t hfn);
bool kvm_merge_is_own(const struct kvm_vm *vm, gfn_t gfn);
/* -ENOMEM, -ENOSPC: see machine_ops.share. */
int kvm_merge_share(struct kvm_vm *vm, gfn_t gfn, hfn_t from, hfn_t to);
/*
 * Lock not held: KVM_RUN ended with EFAULT. True if a mapping changed since the VM last asked: the guest may have met
 * it half done, and is to be entered again.
 */
bool kvm_merge_disturbed(struct kvm_vm *vm);

/* faults.c */
/* A userfaultfd that serves faults of kernel code (KVM's), or -1 with errno. No lock. */
int kvm_uffd_open(void);
int kvm_uffd_register(struct kvm_machine *m, void *at, uint64_t nbytes); /* 0 or -errno */
gboolean kvm_faults_start(struct kvm_machine *m, GError **error);	  /* no lock */
void kvm_faults_stop(struct kvm_machine *m);				  /* no lock */

#endif
