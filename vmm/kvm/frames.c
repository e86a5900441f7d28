/* SPDX-License-Identifier: MIT */
/*
 * frames.c - machine memory of shadow mode: a frame's bytes are at its number
 *
 * Idea. What the processor walks is the VMM's own, so a guest's page may be any frame: the whole host is one file of
 * memory (frames_new_shared()), frame h at offset h * 4096, mapped once here and shown whole to every VM. Merging,
 * moving and taking a page are then changes of table entries; a page's bytes move only where its frame does. A frame
 * without an owner holds no memory, and a new one reads as zero.
 *
 * Invariant: frames that nobody owns are holes in the file (tests/guest/test_kvm_shadow.c).
 */
#include <string.h>

#include "vmm/kvm/content.h"
#include "vmm/kvm/shadow.h"

static struct kvm_machine *to_kvm(struct machine *m)
{
	return (struct kvm_machine *)m;
}

static uint8_t *bytes(struct machine *m, hfn_t hfn)
{
	return kvm_frames_bytes(to_kvm(m), hfn);
}

static int populate(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	(void)m;
	(void)vm;
	(void)gfn;
	(void)hfn;
	(void)npages;
	return 0;
}

static void release(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	(void)vm;
	(void)gfn;
	frames_drop_bytes(to_kvm(m)->frames, hfn, npages);
}

static int move(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	memcpy(bytes(m, to), bytes(m, from), PAGE_SIZE);
	release(m, vm, gfn, from, 1);
	return 0;
}

static int share_page(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	if (from != to)
		release(m, vm, gfn, from, 1);
	return 0;
}

static int unshare_page(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	(void)vm;
	(void)gfn;
	memcpy(bytes(m, to), bytes(m, from), PAGE_SIZE);
	return 0;
}

uint8_t *kvm_frames_bytes(struct kvm_machine *m, hfn_t hfn)
{
	return frames_bytes(m->frames) + hfn * PAGE_SIZE;
}

const struct machine_ops kvm_frames_ops = {
	.name = "kvm",
	.populate = populate,
	.release = release,
	.move = move,
	.share = share_page,
	.unshare = unshare_page,
	.weakened = kvm_shadow_weakened,
	.flush = kvm_shadow_flush,
	KVM_CONTENT_OPS,
};
