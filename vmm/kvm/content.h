/* SPDX-License-Identifier: MIT */
/*
 * content.h - what pages contain, on the real machine: bytes
 *
 * The half of machine_ops that needs to know no more of a frame than where its 4096 bytes are: kvm_machine.bytes()
 * says so, each paging mode in its own way. A mode's table of hooks takes these in with KVM_CONTENT_OPS.
 */
#ifndef OVERBOOK_KVM_CONTENT_H
#define OVERBOOK_KVM_CONTENT_H

#include "mm/machine.h"
#include "vmm/vmm.h"

struct kvm_machine;

/* The store behind save() and load(), if [swap] asks for one. FALSE: kvm_content_destroy() all the same. */
gboolean kvm_content_init(struct kvm_machine *m, GError **error);
void kvm_content_destroy(struct kvm_machine *m);

int kvm_content_compare(struct machine *m, hfn_t a, hfn_t b);
uint64_t kvm_content_checksum(struct machine *m, hfn_t hfn);
uint64_t kvm_content_block_checksum(struct machine *m, hfn_t hfn, unsigned offset);
int kvm_content_read(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, void *buf, unsigned len);
int kvm_content_write(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, const void *buf,
		      unsigned len);
int kvm_content_save(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device);
int kvm_content_load(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device);
int kvm_content_write_back(struct machine *m, uint64_t slot);
void kvm_content_drop(struct machine *m, uint64_t slot);
int kvm_content_peek(struct machine *m, uint64_t slot, void *page);
int kvm_content_save_patch(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, hfn_t reference, uint64_t slot);
unsigned kvm_content_patched_size(struct machine *m, hfn_t hfn, hfn_t reference);
unsigned kvm_content_compressed_size(struct machine *m, hfn_t hfn);
void kvm_content_swap_io(struct machine *m, bool write, uint64_t slot, uint64_t npages);
void kvm_content_charge(struct machine *m, unsigned vm, enum charge_kind kind, uint64_t n);
uint64_t kvm_content_now(struct machine *m);

#define KVM_CONTENT_OPS                                                                                                \
	.compare = kvm_content_compare, .checksum = kvm_content_checksum,                                              \
	.block_checksum = kvm_content_block_checksum, .read = kvm_content_read, .write = kvm_content_write,            \
	.save = kvm_content_save, .load = kvm_content_load, .write_back = kvm_content_write_back,                      \
	.drop = kvm_content_drop, .peek = kvm_content_peek, .save_patch = kvm_content_save_patch,                      \
	.patched_size = kvm_content_patched_size, .compressed_size = kvm_content_compressed_size,                      \
	.swap_io = kvm_content_swap_io, .charge = kvm_content_charge, .now = kvm_content_now

#endif
