/* SPDX-License-Identifier: MIT */
/* features.h - which KVM this is, and what of the kernel the real machine uses; for `overbook doctor` */
#ifndef OVERBOOK_KVM_FEATURES_H
#define OVERBOOK_KVM_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

enum kvm_kind {
	KIND_UNKNOWN,  /* hardware, by the time of ring-0 code, but which is not visible */
	KIND_VMX_EPT,
	KIND_VMX_SHADOW, /* kvm_intel with ept=0, or a processor without */
	KIND_SVM_NPT,
	KIND_SVM_SHADOW,
	KIND_SOFTWARE, /* ring 0 of a guest is emulated, KVM shadows its tables */
};

struct kvm_features {
	int err;	    /* of opening /dev/kvm; 0: the rest is valid */
	enum kvm_kind kind;
	char module[32];    /* "kvm_amd"; "": not visible */
	bool nested;	    /* this host is a guest itself */
	double ring0_ns;    /* of a simple instruction at CPL 0; negative: could not be measured */
	double exit_ns;	    /* from CPL 3 to this process and back; negative: could not be measured */
	double fault_ns;    /* of the first touch of a page that this process has; negative: could not be measured */
	bool sync_regs, split_irqchip, irqfd, ioeventfd, msi, stats_fd, readonly_slots, dirty_ring;
	int vcpus, slots;   /* most of a VM */
};

/* Takes a few milliseconds; runs a guest of two instructions. */
void kvm_features_ask(struct kvm_features *f);

struct fault_features {
	int err; /* of opening a userfaultfd that serves the kernel's own faults; 0: the rest is valid */
	bool missing, wp, minor, move, poison, wp_async, wp_unpopulated;
	bool pagemap_scan;
};

void fault_features_ask(struct fault_features *f);

#endif
