/* SPDX-License-Identifier: MIT */
/* lazy.c - large arrays that cost nothing until they are written; see lazy.h */
#include "mm/lazy.h"

#include <glib.h>
#include <sys/mman.h>

#define HUGE_PAGE (2ull << 20)

void *lazy_new(uint64_t nbytes)
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
	/* Advice only: a kernel without huge pages refuses it, and is merely slower. */
	(void)madvise(p + head, nbytes, MADV_HUGEPAGE);
	return p + head;
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
