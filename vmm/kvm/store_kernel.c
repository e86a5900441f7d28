/* SPDX-License-Identifier: MIT */
/*
 * store_kernel.c - swapped pages in the host's own swap ([swap] engine = kernel)
 *
 * Problem: the host's kernel swaps too, to zram or a disk of its own, with less work for a page than a process has with
 * files; experiments should be able to say which of the two they use.
 *
 * Idea: a region of private anonymous memory has a page for each slot. What is saved is copied there, and what lies
 * together is pushed out with one MADV_PAGEOUT when the memory manager announces it. A load reads the page, by which
 * the kernel brings it back; when the read is announced it is pushed out again, which costs no second write as long as
 * the kernel has it in swap. A dropped slot's page is given back, with its place in swap. Victims are the memory
 * manager's choice, as ever; where the bytes then are is the kernel's business, which mincore() tells: it may keep what
 * it has no room for.
 *
 * An I/O error of the host's swap ends this process (SIGBUS), as it would any other.
 *
 * Source: madvise(2), MADV_PAGEOUT (Linux 5.4); Linux mm/madvise.c.
 */
#define G_LOG_DOMAIN "kvm"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/err.h"
#include "vmm/kvm/store_impl.h"
#include "vmm/vmm.h"

struct store_kernel {
	uint64_t nslots;
	uint8_t *region;
	struct store_stats stats;
};

static uint8_t *slot_page(const struct store_kernel *k, uint64_t slot)
{
	return k->region + slot * PAGE_SIZE;
}

uint64_t kernel_swap_free(void)
{
	g_autofree char *text = NULL;
	const char *line;
	uint64_t kib = 0;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
		return 0;
	line = strstr(text, "SwapFree:");
	return line && sscanf(line, "SwapFree: %" SCNu64, &kib) == 1 ? kib << 10 : 0;
}

struct store_kernel *kernel_new(const struct store_config *cfg, GError **error)
{
	uint64_t nbytes = cfg->nslots * PAGE_SIZE, nfree = kernel_swap_free();
	struct store_kernel *k;
	void *at;

	if (nfree < nbytes) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "[swap] engine = kernel: this host has %" PRIu64
			    " MiB of swap free, [swap] size asks for %" PRIu64
			    " MiB. Make some (mkswap, swapon; or zram), or use engine = overbook",
			    nfree >> 20, nbytes >> 20);
		return NULL;
	}
	at = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED || (madvise(at, nbytes, MADV_PAGEOUT) && errno == EINVAL)) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "[swap] engine = kernel: %s",
			    at == MAP_FAILED ? g_strerror(errno) : "the kernel has no MADV_PAGEOUT (Linux 5.4)");
		return NULL;
	}
	madvise(at, nbytes, MADV_NOHUGEPAGE);
	k = g_new0(struct store_kernel, 1);
	k->nslots = cfg->nslots;
	k->region = at;
	return k;
}

void kernel_free(struct store_kernel *k)
{
	if (!k)
		return;
	munmap(k->region, k->nslots * PAGE_SIZE);
	g_free(k);
}

void *kernel_put(struct store_kernel *k, uint64_t slot)
{
	return slot_page(k, slot);
}

/* A read is told of when it is over: then its pages are in memory twice. */
void kernel_push(struct store_kernel *k, bool write, uint64_t first, uint64_t n)
{
	if (write) {
		k->stats.writes++;
		k->stats.pages_written += n;
	}
	if (madvise(slot_page(k, first), n * PAGE_SIZE, MADV_PAGEOUT))
		g_debug("MADV_PAGEOUT: %s", g_strerror(errno));
}

int kernel_get(struct store_kernel *k, uint64_t slot, void *page)
{
	memcpy(page, slot_page(k, slot), PAGE_SIZE);
	k->stats.reads++;
	k->stats.pages_read++;
	return 0;
}

void kernel_drop(struct store_kernel *k, uint64_t slot)
{
	madvise(slot_page(k, slot), PAGE_SIZE, MADV_DONTNEED);
}

void kernel_stats(const struct store_kernel *k, struct store_stats *out)
{
	unsigned char in[4096];

	*out = k->stats;
	for (uint64_t slot = 0; slot < k->nslots; slot += sizeof(in)) {
		uint64_t n = MIN(sizeof(in), k->nslots - slot);

		if (mincore(slot_page(k, slot), n * PAGE_SIZE, in))
			return;
		for (uint64_t i = 0; i < n; i++)
			out->kept += in[i] & 1;
	}
}
