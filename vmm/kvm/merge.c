/* SPDX-License-Identifier: MIT */
/*
 * merge.c - several guests' pages show one page of memory
 *
 * Problem: in ept mode the kernel makes the processor's tables from the mappings of this process, so pages that are to
 * be one must be one page of one file, mapped several times. Each such mapping can cut the one it lies in into three,
 * and a process may have only so many (vm.max_map_count).
 *
 * Idea: one more memfd holds the merged pages of all VMs, frame h at offset h * 4096, where its bytes are copied when
 * the frame becomes a merged one. A page that maps it has its place in the guest's memory mapped to that offset, still
 * shared and still registered with userfaultfd, but only ever shown write-protected (memory.c): the first write is a
 * fault, and nothing that the guest does can reach the other sharers. When the page leaves the merged frame, only bytes
 * are copied; its place is mapped back when the guest next touches it. Pages that never are (evicted, ballooned) are
 * mapped back when mappings run short.
 *
 * A change of a mapping is three system calls: mmap without any rights, register, mprotect. A vCPU that runs meanwhile
 * and touches just that page finds neither the old nor the new, and KVM_RUN ends with EFAULT: it waits for the lock
 * and tries again (kvm_merge_disturbed). Anything else would let it write to the merged page unseen for a moment.
 *
 * Structures: for each page above the arena the merged frame that its place shows. Two neighbours are one mapping if
 * both show their own pages, or neighbouring merged frames; used counts the places where that is not so, which is what
 * mappings merging has cost. It is kept below most: [host] mappings, or what the limit leaves when merging begins, less
 * a reserve for threads, libraries and the allocator.
 *
 * Invariants (tests/guest/test_kvm_memory.c): used is the number of mappings that /proc/self/maps shows beyond one for
 * each VM (budget); a merged page never changes while a page maps it (cow); a refusal changes nothing (budget).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/err.h"
#include "mm/lazy.h"
#include "vmm/kvm/kvm.h"

#define RESERVE 1024 /* mappings left to everybody else */

static uint64_t memory_pages(const struct kvm_vm *vm)
{
	return vm->npages - vm->arena_pages;
}

void kvm_merge_init(struct kvm_machine *m)
{
	m->merge = (struct kvm_merge){ .fd = -1 };
}

void kvm_merge_destroy(struct kvm_machine *m)
{
	if (m->merge.bytes)
		munmap(m->merge.bytes, frames_total(m->frames) * PAGE_SIZE);
	if (m->merge.fd >= 0)
		close(m->merge.fd);
	kvm_merge_init(m);
}

int kvm_merge_attach(struct kvm_vm *vm)
{
	g_assert(frames_total(vm->m->frames) < UINT32_MAX);
	vm->shown = lazy_new(memory_pages(vm) * sizeof(*vm->shown));
	return vm->shown ? 0 : ERR(-ENOMEM);
}

void kvm_merge_detach(struct kvm_vm *vm)
{
	lazy_free(vm->shown, memory_pages(vm) * sizeof(*vm->shown));
	vm->shown = NULL;
}

static uint64_t read_limit(void)
{
	unsigned long long limit = 65530;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");

	if (f && fscanf(f, "%llu", &limit) != 1)
		limit = 65530;
	if (f)
		fclose(f);
	return limit;
}

/* Mappings that this process has now. */
static uint64_t count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	uint64_t n = 0;
	int c;

	while (f && (c = getc_unlocked(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

int kvm_merge_open(struct kvm_machine *m)
{
	struct kvm_merge *g = &m->merge;
	uint64_t size = frames_total(m->frames) * PAGE_SIZE, limit, taken;
	void *p;

	if (g->bytes)
		return 0;
	limit = read_limit();
	taken = count_mappings() + RESERVE;
	if (g->fd < 0)
		g->fd = memfd_create("overbook-merged", MFD_CLOEXEC);
	if (g->fd < 0 || ftruncate(g->fd, (off_t)size))
		return ERR(-errno);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, g->fd, 0);
	if (p == MAP_FAILED)
		return ERR(-errno);
	g->bytes = p;
	g->most = m->run->e->host.mappings;
	if (!g->most)
		g->most = limit > taken ? limit - taken : 0;
	return 0;
}

bool kvm_merge_is_own(const struct kvm_vm *vm, gfn_t gfn)
{
	return !vm->shown[gfn - vm->arena_pages];
}

/* Does a mapping end before page @i of the VM's memory? */
static unsigned ends(const struct kvm_vm *vm, uint64_t i)
{
	if (i == 0 || i == memory_pages(vm))
		return 0;
	return vm->shown[i] != (vm->shown[i - 1] ? vm->shown[i - 1] + 1 : 0);
}

/* Page @i shows @what from now on, as far as mappings are counted. */
static void account(struct kvm_vm *vm, uint64_t i, uint32_t what)
{
	struct kvm_merge *g = &vm->m->merge;

	g->used -= ends(vm, i) + ends(vm, i + 1);
	g->npages -= vm->shown[i] != 0;
	vm->shown[i] = what;
	g->npages += what != 0;
	g->used += ends(vm, i) + ends(vm, i + 1);
}

static int map(struct kvm_vm *vm, gfn_t gfn, hfn_t hfn)
{
	uint8_t *at = kvm_memory_at(vm, gfn);
	uint64_t offset = hfn == HFN_NONE ? (gfn - vm->arena_pages) * PAGE_SIZE : hfn * PAGE_SIZE;
	int fd = hfn == HFN_NONE ? vm->memfd : vm->m->merge.fd, err;

	if (mmap(at, PAGE_SIZE, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset) == MAP_FAILED)
		return ERR(-errno);
	err = kvm_uffd_register(vm->m, at, PAGE_SIZE);
	if (!err && mprotect(at, PAGE_SIZE, PROT_READ | PROT_WRITE))
		err = -errno;
	return err;
}

int kvm_merge_show(struct kvm_vm *vm, gfn_t gfn, hfn_t hfn)
{
	uint64_t i = gfn - vm->arena_pages;
	uint32_t what = hfn == HFN_NONE ? 0 : (uint32_t)hfn + 1;
	int err;

	if (vm->shown[i] == what)
		return 0;
	vm->m->merge.changes++;
	err = map(vm, gfn, hfn);
	if (err)
		return err;
	account(vm, i, what);
	return 0;
}

/* Map back what left its merged frame and was not touched since. */
static void tidy(struct kvm_machine *m)
{
	uint64_t merged = 0;

	for (unsigned v = 0; v < m->nvms; v++)
		if (m->vms[v])
			merged += m->vms[v]->counters.pages_merged + m->vms[v]->counters.ksm_zero_pages;
	for (unsigned v = 0; v < m->nvms && m->merge.npages > merged; v++) {
		struct kvm_vm *vm = m->vms[v];
		struct gmem_page page;

		for (uint64_t i = 0; vm && vm->shown && i < memory_pages(vm); i++)
			if (vm->shown[i] && !gmem_lookup(vm->gmem, vm->arena_pages + i, &page) &&
			    page.state != PAGE_SHARED && page.state != PAGE_ZERO)
				kvm_merge_show(vm, vm->arena_pages + i, HFN_NONE);
	}
}

int kvm_merge_share(struct kvm_vm *vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	struct kvm_merge *g = &vm->m->merge;
	const uint8_t *own = vm->alias + (gfn - vm->arena_pages) * PAGE_SIZE;
	int err = kvm_merge_open(vm->m);

	if (err)
		return err;
	if (g->used + 2 > g->most)
		tidy(vm->m);
	if (g->used + 2 > g->most)
		return -ENOSPC;
	err = kvm_merge_show(vm, gfn, to);
	if (err)
		return ERR(err == -ENOMEM ? -ENOSPC : err);
	if (from == to)
		memcpy(g->bytes + to * PAGE_SIZE, own, PAGE_SIZE);
	kvm_memory_drop(vm, gfn, 1);
	return 0;
}

bool kvm_merge_disturbed(struct kvm_vm *vm)
{
	bool disturbed;

	g_mutex_lock(&vm->m->lock);
	disturbed = vm->seen_changes != vm->m->merge.changes;
	vm->seen_changes = vm->m->merge.changes;
	g_mutex_unlock(&vm->m->lock);
	return disturbed;
}
