/* SPDX-License-Identifier: MIT */
/*
 * bench_dedup.c - what a scanner costs the machine it runs on, per page
 *
 * Prints CSV rows name,value,unit. Two guests of 256 MiB on a machine that keeps real bytes: half of the pages are
 * equal between them, a tenth are zeros, the rest unique, as random bytes. The algorithm converges (hash in one pass,
 * ksm in two, the oracle in one call), then goes over all of it again, when nothing is left to merge; both per page of
 * memory. Comparing and hashing are what the KVM machine will do, page tables are a fake's.
 */
#include <stdio.h>
#include <time.h>

#include "tests/lib/merge.h"
#include "workloads/rng.h"

enum { PAGES = 65536, ARENA = 512 };

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Equal numbers, equal bytes. */
static void fill(struct merge *m, unsigned vm, gfn_t gfn, uint64_t number)
{
	uint64_t *page;
	struct rng rng;

	if (merge_store(m, vm, gfn, 0, 0) || !number)
		return;
	page = (uint64_t *)fake_machine_page(m->fm, m->p[vm]->map[gfn].hfn);
	rng_seed(&rng, number);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = rng_u64(&rng);
}

static void pass(struct merge *m)
{
	for (uint64_t end = m->host.full_scans + 1; m->host.full_scans < end;)
		m->d->ops->scan(m->d, 1000000);
}

static void bench(const char *algorithm, unsigned passes)
{
	struct merge *m = merge_new(2, PAGES, 1, 2 * PAGES + ARENA);
	uint64_t npages = 0;
	double start, converged;

	m->cfg.use_zero_pages = true;
	merge_start(m, algorithm);
	for (unsigned vm = 0; vm < 2; vm++)
		for (gfn_t gfn = ARENA; gfn < PAGES; gfn++, npages++)
			fill(m, vm, gfn, gfn % 10 == 0 ? 0 : gfn % 10 < 6 ? gfn : (uint64_t)(vm + 1) << 32 | gfn);
	start = now_s();
	for (unsigned i = 0; i < passes; i++)
		pass(m);
	converged = now_s();
	pass(m);
	printf("scan-%s-converge,%.2f,us/page\n", algorithm, (converged - start) * 1e6 / (double)npages);
	printf("scan-%s-again,%.2f,us/page\n", algorithm, (now_s() - converged) * 1e6 / (double)npages);
	merge_free(m);
}

int main(void)
{
	printf("name,value,unit\n");
	bench("ksm", 2);
	bench("hash", 1);
	bench("oracle", 1);
	return 0;
}
