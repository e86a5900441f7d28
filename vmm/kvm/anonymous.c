/* SPDX-License-Identifier: MIT */
/*
 * anonymous.c - guest memory that the kernel may merge and swap: [host] backing = anonymous
 *
 * Problem: the kernel merges (KSM) and swaps private memory only, and private memory has one mapping: there is no alias
 * through which the VMM could look while the guest's view is taken away, and taking it away loses the bytes.
 *
 * Idea: so nothing is hidden. A page is there from populate() on, for guest and VMM alike, until it is dropped; only
 * its absence is a fault, and the first touch of each page is all that is seen, as everywhere. What needs more, our own
 * merging, swapping, estimates, dirty logs and large pages, is refused with this backing (backend.c). In exchange what
 * the kernel does to the page, merging it or writing it to its own swap, needs nobody here.
 *
 * The VMM reads and writes in the guest's mapping, so it must never touch a page that is absent: it would wait for the
 * fault thread, or for itself. populate() comes before anybody may touch a page, and puts it there at once.
 *
 * Invariant (tests/guest/test_ksm_run.c): a run ends with the counts and the digest that memfds give.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "mm/err.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/memory.h"

static size_t bytes_above_arena(const struct kvm_vm *vm)
{
	return (size_t)(vm->npages - vm->arena_pages) * PAGE_SIZE;
}

int kvm_anonymous_map(struct kvm_vm *vm)
{
	size_t size = bytes_above_arena(vm);
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	uint8_t *at = mmap(NULL, size + PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return ERR(-errno);
	/* Or two VMs that are neighbours would be one mapping, and /proc/self/smaps could not tell them apart. */
	mprotect(at + size, PAGE_SIZE, PROT_NONE);
	madvise(at, size, MADV_NOHUGEPAGE);
	vm->memory = vm->alias = at;
	r.range.start = (uintptr_t)at;
	r.range.len = size;
	return ioctl(vm->m->uffd, UFFDIO_REGISTER, &r) ? ERR(-errno) : 0;
}

void kvm_anonymous_unmap(struct kvm_vm *vm)
{
	if (vm->memory)
		munmap(vm->memory, bytes_above_arena(vm) + PAGE_SIZE);
	vm->memory = vm->alias = NULL;
}

int kvm_anonymous_populate(struct kvm_vm *vm, gfn_t gfn, uint64_t npages)
{
	gfn_t end = MIN(gfn + npages, vm->npages);

	for (gfn = MAX(gfn, vm->arena_pages); gfn < end;) {
		struct uffdio_zeropage z = {
			.range = { (uintptr_t)kvm_memory_at(vm, gfn), (end - gfn) * PAGE_SIZE },
			.mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
		};
		int err = ioctl(vm->m->uffd, UFFDIO_ZEROPAGE, &z) ? errno : 0;

		if (z.zeropage > 0)
			gfn += (uint64_t)z.zeropage / PAGE_SIZE;
		else if (err == EEXIST) /* given up on, and yet its guest came to an end */
			gfn++;
		else if (err && err != EAGAIN)
			return ERR(-err);
	}
	return 0;
}

void kvm_anonymous_drop(struct kvm_vm *vm, gfn_t gfn, uint64_t npages)
{
	if (vm->memory && madvise(kvm_memory_at(vm, gfn), npages * PAGE_SIZE, MADV_DONTNEED))
		g_error("cannot take guest memory back: %s", g_strerror(errno));
}
