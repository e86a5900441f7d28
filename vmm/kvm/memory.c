/* SPDX-License-Identifier: MIT */
/*
 * memory.c - where a real guest's bytes live, and what of them is in its reach
 *
 * Problem: gmem decides which page exists and ept/ which is mapped, with what rights; the table that the processor
 * walks is KVM's, which knows only addresses of this process. The guest must reach a page if and only if ept/'s table
 * says so, and each touch of another must come to ept/ as a violation, exactly once, whoever touches: a process, the
 * guest kernel, the processor walking.
 *
 * Idea: memory above the arena is a memfd, a page at its own offset for life, so hfns are accounting only. The guest
 * sees it through a mapping registered with userfaultfd; the VMM through another, the *alias*, which is not, so that
 * it never waits for the fault thread. Three things are done to the guest's mapping, all for the paging mode:
 *
 *	hide	MADV_DONTNEED: the page table entry goes, here and, by the kernel's MMU notifiers, in KVM's tables; the
 *		bytes stay in the file. This is what flush() means here: whoever weakens ept/'s table flushes, and
 *		what was weakened is taken out of reach as a whole, be it for reading.
 *	show	UFFDIO_CONTINUE (the file has the page) or UFFDIO_ZEROPAGE (it does not), write-protected if the table
 *		does not let the guest write. Done by the fault thread alone.
 *	drop	a hole is punched: the bytes are gone, the next show finds zeros.
 *
 * So what is in reach is never more than the table allows, and may be less. A fault that the table allows is put right
 * here without asking anybody, and counted apart (kvm_refaults): the memory manager's counts are the simulator's. To
 * save such faults, pages behind the one touched that the table maps alike are shown with it; only if they count as
 * accessed already, for the guest will then touch them unseen.
 *
 * What makes eviction lose no write: gmem unmaps (hide) before contents are moved, all under the machine's lock; a
 * guest that touches the page meanwhile waits for the lock in the fault thread.
 *
 * Merged pages are shown by other means: merge.c.
 *
 * Invariants (tests/guest/test_kvm_memory.c): the file holds no page that gmem says has no frame (released); a hidden
 * page that is touched keeps its bytes (hot_page); no word is ever lost (integrity); the arena never faults, because
 * it is populated and locked before the first instruction.
 */
#include "vmm/kvm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <numa.h>
#include <numaif.h>
#include <sys/ioctl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ept/ept.h"
#include "mm/err.h"
#include "vmm/kvm/content.h"
#include "vmm/kvm/kvm.h"

#ifndef UFFDIO_CONTINUE_MODE_WP /* Linux 6.4 */
#define UFFDIO_CONTINUE_MODE_WP ((uint64_t)1 << 1)
#endif

#define SHOW_MOST 16 /* pages shown at once */

static struct kvm_machine *to_kvm(struct machine *m)
{
	return (struct kvm_machine *)m;
}

static size_t offset_of(const struct kvm_vm *vm, gfn_t gfn)
{
	return (size_t)(gfn - vm->arena_pages) * PAGE_SIZE;
}

uint8_t *kvm_memory_at(const struct kvm_vm *vm, gfn_t gfn)
{
	return vm->memory + offset_of(vm, gfn);
}

bool kvm_memory_has(const struct kvm_vm *vm, uint64_t address)
{
	return vm->memory && address >= (uintptr_t)vm->memory &&
	       address - (uintptr_t)vm->memory < (vm->npages - vm->arena_pages) * PAGE_SIZE;
}

/* The VMM's view of a frame, which never faults on the guest's side. */
static uint8_t *ept_bytes(struct kvm_machine *m, hfn_t hfn)
{
	uint64_t owner = frames_owner(m->frames, hfn);
	const struct kvm_vm *vm;

	switch (OWNER_KIND(owner)) {
	case FRAME_GUEST:
		vm = m->vms[OWNER_VM(owner)];
		return vm->alias + offset_of(vm, OWNER_GFN(owner));
	case FRAME_SHARED:
		return m->merge.bytes + hfn * PAGE_SIZE;
	default:
		return frames_bytes(m->frames) + hfn * PAGE_SIZE;
	}
}

/* The file has no bytes of a page that is not resident, so a new one reads as zero. */
static int populate(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct kvm_machine *m = to_kvm(machine);

	if (m->anonymous)
		return kvm_anonymous_populate(m->vms[vm_id], gfn, npages);
	/* The zero frame is a merged one. */
	return FRAME_KIND(frames_get(m->frames, hfn)) == FRAME_SHARED ? kvm_merge_open(m) : 0;
}

static void punch(int fd, off_t at, uint64_t npages)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)(npages * PAGE_SIZE)))
		g_error("cannot take guest memory back: %s", g_strerror(errno));
}

void kvm_memory_drop(struct kvm_vm *vm, gfn_t gfn, uint64_t npages)
{
	if (gfn >= vm->arena_pages && vm->m->anonymous)
		kvm_anonymous_drop(vm, gfn, npages);
	else if (gfn >= vm->arena_pages && vm->memory)
		punch(vm->memfd, (off_t)offset_of(vm, gfn), npages);
}

static void release(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct kvm_machine *m = to_kvm(machine);

	if (FRAME_KIND(frames_get(m->frames, hfn)) == FRAME_SHARED)
		punch(m->merge.fd, (off_t)(hfn * PAGE_SIZE), 1);
	else
		kvm_memory_drop(m->vms[vm_id], gfn, npages);
}

/* Contents are at the guest page's own offset whatever its frame. */
static int move(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t from, hfn_t to)
{
	(void)machine, (void)vm_id, (void)gfn, (void)from, (void)to;
	return 0;
}

static int share(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t from, hfn_t to)
{
	return kvm_merge_share(to_kvm(machine)->vms[vm_id], gfn, from, to);
}

/* The guest's mapping shows the merged page until the guest next touches it. */
static int leave(struct machine *machine, unsigned vm_id, gfn_t gfn, hfn_t from, hfn_t to)
{
	struct kvm_machine *m = to_kvm(machine);

	(void)vm_id, (void)gfn;
	memcpy(ept_bytes(m, to), ept_bytes(m, from), PAGE_SIZE);
	return 0;
}

void kvm_memory_hide(struct kvm_vm *vm, gfn_t gfn, uint64_t npages)
{
	gfn_t end = MIN(gfn + npages, vm->npages);

	gfn = MAX(gfn, vm->arena_pages);
	if (gfn >= end || !vm->memory || vm->m->anonymous)
		return;
	if (madvise(kvm_memory_at(vm, gfn), (end - gfn) * PAGE_SIZE, MADV_DONTNEED))
		g_error("cannot hide guest memory: %s", g_strerror(errno));
}

static void flush(struct machine *machine, unsigned vm_id, enum flush_kind kind, uint64_t start, uint64_t n)
{
	struct kvm_vm *vm = to_kvm(machine)->vms[vm_id];

	/* Linear addresses are the guest's own business: it owns its tables. */
	if (kind == FLUSH_GPA)
		kvm_memory_hide(vm, start, n);
	else if (kind == FLUSH_VM)
		kvm_memory_hide(vm, 0, vm->npages);
}

const struct machine_ops kvm_machine_ops = {
	.name = "kvm",
	.populate = populate,
	.release = release,
	.move = move,
	.share = share,
	.unshare = leave,
	.flush = flush,
	KVM_CONTENT_OPS,
};

static int write_protect(struct kvm_vm *vm, gfn_t gfn, uint64_t npages, bool on)
{
	struct uffdio_writeprotect w = {
		.range = { (uintptr_t)kvm_memory_at(vm, gfn), npages * PAGE_SIZE },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : UFFDIO_WRITEPROTECT_MODE_DONTWAKE,
	};

	return ioctl(vm->m->uffd, UFFDIO_WRITEPROTECT, &w) ? ERR(-errno) : 0;
}

/* Pages that the file has: how many are in reach now; -EEXIST: the first was already, -EFAULT: the file has it not. */
static int64_t show_present(struct kvm_vm *vm, gfn_t gfn, uint64_t npages, bool writable)
{
	struct uffdio_continue c = {
		.range = { (uintptr_t)kvm_memory_at(vm, gfn), npages * PAGE_SIZE },
		.mode = UFFDIO_CONTINUE_MODE_DONTWAKE,
	};
	bool at_once = !writable && !vm->m->no_continue_wp;

	if (at_once)
		c.mode |= UFFDIO_CONTINUE_MODE_WP;
	while (ioctl(vm->m->uffd, UFFDIO_CONTINUE, &c)) {
		if (errno == EINVAL && at_once) {
			vm->m->no_continue_wp = true;
			return show_present(vm, gfn, npages, writable);
		}
		if (errno == EAGAIN && c.mapped > 0)
			break;
		if (errno != EAGAIN)
			return -errno;
	}
	/* An older kernel: nobody but the vCPU that waits for this page could have written it meanwhile. */
	if (!writable && !at_once) {
		int err = write_protect(vm, gfn, (uint64_t)c.mapped / PAGE_SIZE, true);

		if (err)
			return err;
	}
	return c.mapped / PAGE_SIZE;
}

/* Pages that the file has not: it gets zeros. As above; -EEXIST: it has the first. */
static int64_t show_zeros(struct kvm_vm *vm, gfn_t gfn, uint64_t npages)
{
	struct uffdio_zeropage z = {
		.range = { (uintptr_t)kvm_memory_at(vm, gfn), npages * PAGE_SIZE },
		.mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
	};

	while (ioctl(vm->m->uffd, UFFDIO_ZEROPAGE, &z)) {
		if (errno == EAGAIN && z.zeropage > 0)
			break;
		if (errno != EAGAIN)
			return -errno;
	}
	return z.zeropage / PAGE_SIZE;
}

/* The file shall have the page, if only as zeros: a read is enough. */
static void instantiate(struct kvm_vm *vm, hfn_t hfn)
{
	(void)*(volatile uint8_t *)ept_bytes(vm->m, hfn);
}

/* How many pages from @gfn on, this one included, the table maps as it does this, so that they may be shown with it. */
static uint64_t alike(struct kvm_vm *vm, gfn_t gfn, const struct ept_leaf *leaf)
{
	gfn_t end = MIN((gfn | (SHOW_MOST - 1)) + 1, vm->npages);
	struct ept_leaf other;
	gfn_t at = gfn + 1;

	while (at < end && kvm_merge_is_own(vm, at) && ept_access(vm->paging, at << PAGE_SHIFT, 0, &other) &&
	       other.accessed && other.access == leaf->access &&
	       FRAME_KIND(frames_get(vm->m->frames, other.hfn)) == FRAME_GUEST)
		at++;
	return at - gfn;
}

int kvm_memory_show(struct kvm_vm *vm, gfn_t gfn)
{
	bool merged, writable;
	struct ept_leaf leaf;
	uint64_t npages;
	int64_t n;
	int err;

	if (!ept_access(vm->paging, gfn << PAGE_SHIFT, 0, &leaf))
		return ERR(-EFAULT);
	if (vm->m->anonymous)
		return 0;
	merged = FRAME_KIND(frames_get(vm->m->frames, leaf.hfn)) == FRAME_SHARED;
	err = kvm_merge_show(vm, gfn, merged ? leaf.hfn : HFN_NONE);
	if (err)
		return err;
	writable = leaf.access & ACC_W && !merged;
	npages = merged ? 1 : alike(vm, gfn, &leaf);
	n = show_present(vm, gfn, npages, writable);
	/* The kernel need not have joined neighbouring mappings that it could join. */
	if (n == -ENOENT && npages > 1)
		n = show_present(vm, gfn, npages = 1, writable);
	if (n == -EFAULT && writable)
		n = show_zeros(vm, gfn, npages);
	if (n == -EFAULT) {
		instantiate(vm, leaf.hfn);
		n = show_present(vm, gfn, 1, writable);
	}
	/* It was in reach: with fewer rights than now, or another vCPU was quicker. */
	if (n == -EEXIST)
		return writable ? write_protect(vm, gfn, 1, false) : 0;
	return n < 0 ? ERR((int)n) : 0;
}

void kvm_memory_release_vcpu(struct kvm_vm *vm, gfn_t gfn)
{
	bool anonymous = vm->m->anonymous;
	int err = anonymous ? kvm_anonymous_populate(vm, gfn, 1) : kvm_merge_show(vm, gfn, HFN_NONE);
	int64_t n = err || anonymous ? err : show_present(vm, gfn, 1, true);

	if (n == -EFAULT)
		n = show_zeros(vm, gfn, 1);
	if (n == -EEXIST)
		n = write_protect(vm, gfn, 1, false);
	if (n < 0)
		g_error("cannot release a vCPU from a fault: %s", g_strerror((int)-n));
}

static void *map(struct kvm_vm *vm, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->memfd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * The file's pages are wanted on the VM's node: said through the alias, for the policy is the file's, and mappings of
 * the guest's side that differ in theirs would not merge again. Where this host has no such node, the kernel places
 * them.
 */
static void place(struct kvm_vm *vm, size_t size)
{
	unsigned long node = vm->conf->node, mask[64 / sizeof(long)] = { 0 };
	bool there = node < sizeof(mask) * 8 && numa_available() >= 0 &&
		     numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node);

	if (there) {
		mask[node / (sizeof(long) * 8)] = 1ul << (node % (sizeof(long) * 8));
		there = !mbind(vm->alias, size, MPOL_PREFERRED, mask, sizeof(mask) * 8, 0);
	}
	if (!there && vm->m->run->e->host.nodes > 1 && !vm->m->misplaced) {
		vm->m->misplaced = true;
		g_message("%s: this host has no node %lu: the kernel places its memory", vm->out->name, node);
	}
}

int kvm_memory_map(struct kvm_vm *vm)
{
	size_t arena = (size_t)vm->arena_pages * PAGE_SIZE, size = (size_t)(vm->npages - vm->arena_pages) * PAGE_SIZE;
	int err;

	if (madvise(gmem_arena(vm->gmem), arena, MADV_POPULATE_WRITE))
		return ERR(-errno);
	/* Best effort: without the privilege, a host under pressure may swap it, which only costs time. */
	if (mlock(gmem_arena(vm->gmem), arena))
		g_debug("%s: arena not locked: %s", vm->out->name, g_strerror(errno));
	vm->m->bytes = ept_bytes;
	if (vm->m->anonymous)
		return kvm_anonymous_map(vm);
	vm->memfd = memfd_create("overbook-guest", MFD_CLOEXEC);
	if (vm->memfd < 0 || ftruncate(vm->memfd, (off_t)size))
		return ERR(-errno);
	vm->memory = map(vm, size);
	vm->alias = map(vm, size);
	if (!vm->memory || !vm->alias)
		return ERR(-ENOMEM);
	place(vm, size);
	err = kvm_merge_attach(vm);
	return err ? err : kvm_uffd_register(vm->m, vm->memory, size);
}

void kvm_memory_unmap(struct kvm_vm *vm)
{
	size_t size = (size_t)(vm->npages - vm->arena_pages) * PAGE_SIZE;

	if (vm->m->anonymous)
		kvm_anonymous_unmap(vm);
	if (vm->alias)
		munmap(vm->alias, size);
	if (vm->memory)
		munmap(vm->memory, size);
	vm->memory = vm->alias = NULL;
	kvm_merge_detach(vm);
	if (vm->memfd >= 0)
		close(vm->memfd);
	vm->memfd = -1;
	if (vm->gmem)
		munlock(gmem_arena(vm->gmem), (size_t)vm->arena_pages * PAGE_SIZE);
}
