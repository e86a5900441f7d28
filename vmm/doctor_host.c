/* SPDX-License-Identifier: MIT */
/* doctor_host.c - what real guests' memory depends on besides KVM: swap files, KSM, huge pages, nodes, limits */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <numa.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/doctor.h"

#define MAPS_WANTED 300000

static uint64_t number(const char *path)
{
	g_autofree char *text = doctor_line(path);

	return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static void say_io_uring(void)
{
	uint8_t params[256] = { 0 }; /* struct io_uring_params has 120 bytes */
	g_autofree char *disabled = doctor_line("/proc/sys/kernel/io_uring_disabled");
	int fd = (int)syscall(SYS_io_uring_setup, 4, params), err = errno;

	if (fd >= 0)
		close(fd);
	if (fd >= 0)
		doctor_say("ok", "io_uring", "asynchronous I/O to swap files");
	else
		doctor_say("note", "io_uring", "%s%s%s: swap files are read and written one page at a time%s",
			   g_strerror(err), disabled ? ", kernel.io_uring_disabled = " : "", disabled ? disabled : "",
			   disabled && *disabled != '0' ? "; sysctl kernel.io_uring_disabled=0" : "");
}

/* Whether files of @dir can be read and written past the page cache. */
static void say_direct(const char *dir)
{
	g_autofree char *name = g_strdup_printf("%s/.overbook-doctor-%d", dir, (int)getpid());
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600), err = errno;
	void *page = NULL;

	if (fd >= 0) {
		if (posix_memalign(&page, 4096, 4096))
			page = NULL;
		if (page)
			memset(page, 0, 4096);
		err = page && pwrite(fd, page, 4096, 0) == 4096 ? 0 : errno;
		free(page);
		close(fd);
	}
	g_unlink(name);
	if (fd >= 0 && !err)
		doctor_say("ok", "O_DIRECT", "%s takes swap files past the page cache", dir);
	else
		doctor_say("note", "O_DIRECT",
			   "%s: %s: a swap file there would be kept in the host's memory; use a file system that has "
			   "it (ext4, xfs, btrfs), no tmpfs", dir, g_strerror(err));
}

static void say_ksm(void)
{
	g_autofree char *run = doctor_line("/sys/kernel/mm/ksm/run");
	gboolean may = !g_access("/sys/kernel/mm/ksm/run", W_OK);

	if (!run)
		doctor_say("note", "KSM", "this kernel has none (CONFIG_KSM): [dedup] algorithm = kernel cannot run");
	else if (!may)
		doctor_say("note", "KSM", "run = %s; [dedup] algorithm = kernel needs root to set it", run);
	else if (*run == '1')
		doctor_say("note", "KSM", "run = 1: the kernel merges memory that asks for it; no guest's does");
	else
		doctor_say("ok", "KSM", "run = %s; [dedup] algorithm = kernel sets it and puts it back", run);
}

static void say_swap(void)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	g_autoptr(GString) all = g_string_new(NULL);
	gboolean zram = FALSE;

	if (g_file_get_contents("/proc/swaps", &text, NULL, NULL))
		lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 1; lines && lines[0] && lines[i]; i++) {
		lines[i][strcspn(lines[i], " \t")] = '\0';
		if (*lines[i])
			g_string_append_printf(all, "%s%s", all->len ? ", " : "", lines[i]);
		zram = zram || strstr(lines[i], "zram");
	}
	if (!all->len)
		doctor_say("note", "host swap", "none: the kernel cannot swap guests (our own swapping needs none)");
	else
		doctor_say("ok", "host swap", "%s%s", all->str, zram ? " (compressed memory)" : "");
}

static void say_huge_pages(void)
{
	g_autofree char *thp = doctor_line("/sys/kernel/mm/transparent_hugepage/enabled");
	uint64_t pool = number("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");

	if (thp)
		doctor_say("ok", "huge pages", "transparent: %s; %" G_GUINT64_FORMAT " of 2M set aside", thp, pool);
	else
		doctor_say("note", "huge pages", "none transparent; %" G_GUINT64_FORMAT " of 2M set aside", pool);
}

static void say_numa(void)
{
	if (numa_available() < 0)
		doctor_say("note", "NUMA",
			   "the kernel has none: real guests cannot be bound to nodes (the simulator models its own)");
	else
		doctor_say("ok", "NUMA", "%d node%s", numa_num_configured_nodes(),
			   numa_num_configured_nodes() == 1 ? "" : "s");
}

static void say_limits(void)
{
	uint64_t maps = number("/proc/sys/vm/max_map_count");
	struct rlimit lock = { 0 };

	if (maps >= MAPS_WANTED)
		doctor_say("ok", "max_map_count", "%" G_GUINT64_FORMAT " mappings a process", maps);
	else
		doctor_say("note", "max_map_count",
			   "%" G_GUINT64_FORMAT " mappings a process, and merging in paging = ept spends up to two a "
			   "page; for more: sysctl vm.max_map_count=%d", maps, MAPS_WANTED);
	getrlimit(RLIMIT_MEMLOCK, &lock);
	if (lock.rlim_cur == RLIM_INFINITY || geteuid() == 0)
		doctor_say("ok", "memlock", "guests' tables can be locked in memory");
	else
		doctor_say("note", "memlock",
			   "%" G_GUINT64_FORMAT " KiB: larger arenas are not locked, and may be swapped if the host "
			   "swaps; ulimit -l, or memlock in limits.conf", (uint64_t)lock.rlim_cur / 1024);
}

void doctor_host(void)
{
	say_numa();
	say_huge_pages();
	say_io_uring();
	say_direct(g_access("/var/tmp", W_OK) ? g_get_tmp_dir() : "/var/tmp");
	say_ksm();
	say_swap();
	say_limits();
}
