/* SPDX-License-Identifier: MIT */
/*
 * features.c - which KVM this is, and what of the kernel the real machine uses
 *
 * The kind is told by the module that serves /dev/kvm: kvm_intel and kvm_amd say whether they use a second stage of
 * translation, any other kvm_* is software. Whatever the name, a guest of two instructions is timed in ring 0: a
 * processor needs well under a nanosecond for each, an emulator a microsecond.
 */
#include "vmm/kvm/features.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/kvm/tiny.h"

#define EMULATED_NS 100 /* no processor is so slow, no emulator so fast */

/* Newer than the headers of the oldest kernel that this is built on; from its documentation. */
#define UFFD_WP_UNPOPULATED (1ull << 13)
#define UFFD_POISON	    (1ull << 14)
#define UFFD_WP_ASYNC	    (1ull << 15)
#define UFFD_MOVE	    (1ull << 16)

struct pagemap_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_NR _IOWR('f', 16, struct pagemap_scan)

/* The first character of a module's parameter, 0: there is none. */
static char parameter(const char *module, const char *name)
{
	g_autofree char *path = g_strdup_printf("/sys/module/%s/parameters/%s", module, name), *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? *text : 0;
}

static bool yes(char c)
{
	return c == 'Y' || c == 'y' || c == '1';
}

static void find_module(struct kvm_features *f)
{
	GDir *dir = g_dir_open("/sys/module", 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir)))
		if (g_str_has_prefix(name, "kvm_") && !*f->module)
			g_strlcpy(f->module, name, sizeof(f->module));
	if (dir)
		g_dir_close(dir);
}

static enum kvm_kind kind_of(const struct kvm_features *f)
{
	bool hardware = f->ring0_ns < EMULATED_NS; /* not measured: by the name alone */

	if (!strcmp(f->module, "kvm_intel") && hardware)
		return yes(parameter("kvm_intel", "ept")) ? KIND_VMX_EPT : KIND_VMX_SHADOW;
	if (!strcmp(f->module, "kvm_amd") && hardware)
		return yes(parameter("kvm_amd", "npt")) ? KIND_SVM_NPT : KIND_SVM_SHADOW;
	if (f->ring0_ns >= 0)
		return hardware ? KIND_UNKNOWN : KIND_SOFTWARE;
	return *f->module ? KIND_SOFTWARE : KIND_UNKNOWN;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The least of a few rounds, each for @n; negative: it does not run. */
static double least_ns(struct tiny *t, enum tiny_code code, unsigned cpl, uint64_t n)
{
	double best = -1;

	for (int round = 0; round < 4; round++) {
		double begin = now_ns(), took;

		if (tiny_run(t, code, cpl, 0, n) < 0)
			return -1;
		took = now_ns() - begin;
		if (best < 0 || took < best)
			best = took;
	}
	return best;
}

/* Guest's first touch of pages that the host has mapped. */
static double touch_ns(struct tiny *t)
{
	enum { NPAGES = 1024, NBYTES = NPAGES * 4096 };
	uint8_t *at = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double ns = -1, begin;

	if (at == MAP_FAILED)
		return -1;
	madvise(at, NBYTES, MADV_NOHUGEPAGE);
	memset(at, 1, NBYTES);
	if (!tiny_map(t, at, NBYTES)) {
		begin = now_ns();
		if (!tiny_run(t, TINY_READ, 3, TINY_DATA, NPAGES))
			ns = (now_ns() - begin) / NPAGES;
		tiny_map(t, at, 0);
	}
	munmap(at, NBYTES);
	return ns;
}

static void measure(struct kvm_features *f)
{
	enum { FEW = 10, MANY = 210, EXITS = 20 };
	struct tiny t;
	double few, many;

	if (!tiny_open(&t)) {
		few = least_ns(&t, TINY_SPIN, 0, FEW);
		many = least_ns(&t, TINY_SPIN, 0, MANY);
		if (few >= 0 && many >= 0)
			f->ring0_ns = MAX(many - few, 0) / (2 * (MANY - FEW));
		few = least_ns(&t, TINY_OUT, 3, 1);
		many = least_ns(&t, TINY_OUT, 3, 1 + EXITS);
		if (few >= 0 && many >= 0)
			f->exit_ns = MAX(many - few, 0) / EXITS;
		f->fault_ns = touch_ns(&t);
	}
	tiny_close(&t);
}

void kvm_features_ask(struct kvm_features *f)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	g_autofree char *cpuinfo = NULL;

	*f = (struct kvm_features){ .err = fd < 0 ? errno : 0, .ring0_ns = -1, .exit_ns = -1, .fault_ns = -1 };
	if (g_file_get_contents("/proc/cpuinfo", &cpuinfo, NULL, NULL))
		f->nested = strstr(cpuinfo, " hypervisor") != NULL;
	if (fd < 0)
		return;

	const struct {
		bool *there;
		int cap;
	} caps[] = {
		{ &f->sync_regs, KVM_CAP_SYNC_REGS },	  { &f->split_irqchip, KVM_CAP_SPLIT_IRQCHIP },
		{ &f->irqfd, KVM_CAP_IRQFD },		  { &f->ioeventfd, KVM_CAP_IOEVENTFD },
		{ &f->msi, KVM_CAP_SIGNAL_MSI },	  { &f->stats_fd, KVM_CAP_BINARY_STATS_FD },
		{ &f->readonly_slots, KVM_CAP_READONLY_MEM }, { &f->dirty_ring, KVM_CAP_DIRTY_LOG_RING },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(caps); i++)
		*caps[i].there = ioctl(fd, KVM_CHECK_EXTENSION, caps[i].cap) > 0;
	f->vcpus = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	f->slots = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	close(fd);
	find_module(f);
	measure(f);
	f->kind = kind_of(f);
}

/* A userfaultfd that has not agreed on anything yet. */
static int open_uffd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), dev, err;

	if (fd >= 0)
		return fd;
	err = errno;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		errno = err;
		return -1;
	}
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	err = errno;
	close(dev);
	errno = err;
	return fd;
}

static bool can_scan_pagemap(void)
{
	struct pagemap_scan arg = { .size = sizeof(arg) };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool can = fd >= 0 && ioctl(fd, PAGEMAP_SCAN_NR, &arg) >= 0;

	if (fd >= 0)
		close(fd);
	return can;
}

void fault_features_ask(struct fault_features *f)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = open_uffd();

	*f = (struct fault_features){ .pagemap_scan = can_scan_pagemap() };
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api)) {
		f->err = errno;
	} else {
		f->missing = api.features & UFFD_FEATURE_MISSING_SHMEM;
		f->minor = api.features & UFFD_FEATURE_MINOR_SHMEM;
		f->wp = (api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) &&
			(api.features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
		f->wp_unpopulated = api.features & UFFD_WP_UNPOPULATED;
		f->poison = api.features & UFFD_POISON;
		f->wp_async = api.features & UFFD_WP_ASYNC;
		f->move = api.features & UFFD_MOVE;
	}
	if (fd >= 0)
		close(fd);
}
