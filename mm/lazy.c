/* SPDX-License-Identifier: MIT */
/* lazy.c - large arrays that cost nothing until they are written; see lazy.h */
#include "mm/lazy.h"

#include <glib.h>
#include <sys/mman.h>

#define HUGE_PAGE (2ull << 20)

static uint8_t *map_aligned(uint64_t nbytes)
{
	uint64_t slack = nbytes >= HUGE_PAGE ? HUGE_PAGE : 0, head;
	uint8_t *p = mmap(NULL, nbytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			  0);

	if (p == MAP_FAILED)
		return NULL;
	if (!slack)
		return p;
	head = -(uintptr_t)p & (HUGE_PAGE - 1);
	nbytes = (nbytes + 4095) & ~4095ull;
	if (head)
		munmap(p, head);
	if (slack > head)
		munmap(p + head + nbytes, slack - head);
	return p + head;
}

void *lazy_new(uint64_t nbytes)
{
	uint8_t *p = map_aligned(nbytes);

	/* Advice only: a kernel without huge pages refuses it, and is merely slower. */
	if (p && nbytes >= HUGE_PAGE)
		(void)madvise(p, (nbytes + 4095) & ~4095ull, MADV_HUGEPAGE);
	return p;
}

void *lazy_new_shared(uint64_t nbytes, int memfd)
{
	/* What is mapped must begin at the file's first byte: reserve aligned addresses, then map over them. */
	uint8_t *at = map_aligned(nbytes);

	if (!at)
		return NULL;
	if (mmap(at, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memfd, 0) == MAP_FAILED) {
		munmap(at, nbytes);
		return NULL;
	}
	return at;
}

void lazy_free(void *p, uint64_t nbytes)
{
	if (p)
		munmap(p, nbytes);
}

void lazy_clear(void *p, uint64_t nbytes)
{
	int err = madvise(p, nbytes, MADV_DONTNEED);

	g_assert(err == 0);
}
