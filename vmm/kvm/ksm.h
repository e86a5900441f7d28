/* SPDX-License-Identifier: MIT */
/*
 * ksm.h - the kernel merges guests' memory: [dedup] algorithm = kernel
 *
 * One struct kvm_ksm is one run's use of the kernel's KSM: it claims it for the run, sets its knobs as [dedup] says
 * (through vmm/host_settings.h, so that all is put back whatever happens), offers memory to it, and reads what came of
 * it.
 */
#ifndef OVERBOOK_KVM_KSM_H
#define OVERBOOK_KVM_KSM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/counters.h"
#include "vmm/experiment.h"

struct kvm_ksm;

/* KSM as @c says, running. NULL and VMM_LACKS: no root, no KSM, or another run has it (and which). */
struct kvm_ksm *kvm_ksm_new(const struct conf_dedup *c, GError **error);
/* Offer @nbytes at @at, which belong to VM @vm; 0 or -errno. */
int kvm_ksm_add(struct kvm_ksm *k, unsigned vm, void *at, size_t nbytes);
/*
 * What KSM did, into the scanner's counters of @c: of the whole host, as the kernel says; what counts events and
 * ksmd's time (ns_dedup) since kvm_ksm_new(); zero pages, rmap items and profit are this process's. Returns how many
 * pages of this process are merged. Kernels without /proc/PID/ksm_stat do not tell; then they are the host's.
 */
uint64_t kvm_ksm_read(const struct kvm_ksm *k, struct counters *c);
/*
 * Pages of each VM that are merged, into @pages[vm] for @nvms VMs, whose memory must be mappings of their own. False:
 * this kernel does not tell them apart (Linux 6.6 does).
 */
bool kvm_ksm_read_vms(const struct kvm_ksm *k, uint64_t *pages, unsigned nvms);
/* No more is merged; with @unmerge all that was offered is taken back, page by page. */
void kvm_ksm_stop(struct kvm_ksm *k, bool unmerge);
/* Everything is as before; NULL: nothing. */
void kvm_ksm_free(struct kvm_ksm *k);

#endif
