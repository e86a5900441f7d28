/* SPDX-License-Identifier: MIT */
/* zram.c - the kernel's swap to compressed memory, as a peer in benches; see zram.h */
#include "tests/lib/zram.h"

#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/host_settings.h"
#include "workloads/x86.h"

#define CONTROL "/sys/class/zram-control/"

struct zram {
	int id;
	char *device;
	struct host_settings *settings;
};

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool set(const struct zram *z, const char *key, const char *value)
{
	g_autofree char *path = g_strdup_printf("/sys/block/zram%d/%s", z->id, key);

	return put(path, value);
}

/* What mkswap writes: version 1, and the last page. */
static bool format(const char *device, uint64_t nbytes)
{
	uint32_t page[PAGE_SIZE / 4] = { 0 };
	int fd = open(device, O_WRONLY | O_CLOEXEC);
	bool ok;

	page[256] = 1;
	page[257] = (uint32_t)(nbytes / PAGE_SIZE - 1);
	memcpy((char *)page + PAGE_SIZE - 10, "SWAPSPACE2", 10);
	ok = fd >= 0 && write(fd, page, PAGE_SIZE) == PAGE_SIZE && !fsync(fd);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool turn_on(struct zram *z, uint64_t nbytes, unsigned page_cluster, const char **why)
{
	static char reason[300];
	g_autofree char *size = g_strdup_printf("%" PRIu64, nbytes), *cluster = g_strdup_printf("%u", page_cluster);
	g_autoptr(GError) error = NULL;

	*why = "zram has no lz4";
	if (!set(z, "comp_algorithm", "lz4"))
		return false;
	*why = "the zram device cannot be set up";
	if (!set(z, "disksize", size) || !format(z->device, nbytes))
		return false;
	z->settings = host_settings_new(NULL, "make bench");
	if (host_settings_set(z->settings, "/proc/sys/vm/page-cluster", cluster, &error) &&
	    host_settings_swap_on(z->settings, z->device, &error))
		return true;
	g_snprintf(reason, sizeof(reason), "%s", error->message);
	*why = reason;
	return false;
}

struct zram *zram_new(uint64_t nbytes, unsigned page_cluster, const char **why)
{
	g_autofree char *id = NULL;
	struct zram *z;

	*why = "no zram in this kernel, or not root";
	if (!g_file_get_contents(CONTROL "hot_add", &id, NULL, NULL))
		return NULL;
	z = g_new0(struct zram, 1);
	z->id = atoi(id);
	z->device = g_strdup_printf("/dev/zram%d", z->id);
	if (turn_on(z, nbytes, page_cluster, why))
		return z;
	zram_free(z);
	return NULL;
}

void zram_free(struct zram *z)
{
	g_autofree char *id = g_strdup_printf("%d", z->id);

	if (z->settings)
		host_settings_free(z->settings);
	set(z, "reset", "1");
	put(CONTROL "hot_remove", id);
	g_free(z->device);
	g_free(z);
}
