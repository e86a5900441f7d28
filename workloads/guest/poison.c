/* SPDX-License-Identifier: MIT */
/*
 * poison.c - free pages that hold a known value
 *
 * Problem: kernels that fear stale pointers and leaked data overwrite pages when they are freed, and some look for that
 * value again when they allocate. A host that gives such a page back as zeros makes that guest see corruption where
 * there is none.
 *
 * Idea: as Linux does it with init_on_free=1 (zeros) and page_poison=1 (bytes 0xaa): every page is written when it is
 * freed, and compared when it is handed out; what is not as it was is counted. Memory that was never used is free too:
 * with 0xaa all of it is written before the first page is handed out (zeros need not be: pages come zeroed).
 *
 * Invariant (tests/guest/test_balloon_free.c): between the two nobody but the host can have changed the page.
 */
#include "workloads/guest/internal.h"

/* Not at boot: until the kernel has a root, it reaches nothing but the arena. */
void poison_all(struct kernel *k)
{
	const struct allocator *a = &k->alloc;

	if (k->poisoned || k->info->poison == POISON_NONE)
		return;
	if (k->info->poison == POISON_AA)
		hal_poison_pages(k->hal, a->first_gfn, a->end_gfn - a->first_gfn, POISON_WORD(k->info->poison));
	k->poisoned = true;
}

void poison_free(struct kernel *k, uint64_t gfn, uint64_t npages)
{
	if (k->poisoned)
		hal_poison_pages(k->hal, gfn, npages, POISON_WORD(k->info->poison));
}

void poison_check(struct kernel *k, uint64_t gfn, uint64_t npages)
{
	if (k->poisoned && !hal_poisoned(k->hal, gfn, npages, POISON_WORD(k->info->poison)))
		k->counts.poison_errors++;
}
