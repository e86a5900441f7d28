/* SPDX-License-Identifier: MIT */
/*
 * calibrate_memory.c - the core's clock, and how far away memory is
 *
 * Latency is that of loads each of which needs the result of the one before: a chain through all lines of a buffer in
 * random order, so that no prefetcher helps. The size of the buffer says which cache holds it: half a cache's size, so
 * that it fits; for memory, several times the largest cache. Buffers are of huge pages where the host gives them, so
 * that the TLBs are not measured with it; those are measured on purpose by one line in each of many small pages.
 *
 * Source of the method: L. McVoy, C. Staelin: lmbench, USENIX 1996 (lat_mem_rd).
 */
#include <cpuid.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/calibrate.h"
#include "workloads/rng.h"

#define LINE	 64
#define SMALL	 4096u
#define HUGE_SIZE (2ul << 20)
#define MIB	 (1ul << 20)

/* Source: Intel SDM vol. 2A, CPUID leaf 4; AMD APM vol. 3, CPUID 8000_001D. Both have one format. */
static void read_caches(struct calibration *c)
{
	unsigned a, b, cx, d, leaf = 4, threads;

	if (__get_cpuid_count(0x8000001d, 0, &a, &b, &cx, &d) && (a & 31))
		leaf = 0x8000001d;
	for (unsigned i = 0; i < 8 && __get_cpuid_count(leaf, i, &a, &b, &cx, &d) && (a & 31); i++) {
		uint32_t ways = (b >> 22) + 1, line = (b & 4095) + 1, sets = cx + 1;
		uint32_t kib = (uint32_t)((uint64_t)ways * line * sets * (((b >> 12) & 1023) + 1) / 1024);

		threads = ((a >> 14) & 4095) + 1;
		if ((a & 31) == 2) /* instructions */
			continue;
		if ((a >> 5 & 7) == 1) {
			c->l1d_kib = kib;
			c->l1d_ways = ways;
		} else if ((a >> 5 & 7) == 2) {
			c->l2d_kib = kib;
			c->l2d_ways = ways;
		} else if ((a >> 5 & 7) == 3) {
			c->l3_all_kib = kib;
			c->l3d_kib = kib / MAX(threads / 2, 1); /* two threads a core */
			c->l3d_ways = ways;
		}
	}
}

static void measure_clock(struct calibration *c)
{
	const uint64_t n = c->quick ? 200000 : 2000000;
	double ns[CALIBRATE_ROUNDS];

	for (unsigned r = 0; r < c->rounds; r++) {
		uint64_t x = r;
		double begin = calibrate_cpu();

		for (uint64_t i = 0; i < n; i++)
			__asm__ volatile("add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
					 "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0"
					 : "+r"(x));
		ns[r] = (calibrate_cpu() - begin) / (double)(8 * n);
	}
	measured_set(c, M_CYCLE, ns, c->rounds);
}

/* @nbytes at a multiple of 2 MiB, every page touched; munmap() of *@base, *@whole. NULL: there is not so much. */
static uint8_t *buffer(size_t nbytes, int advice, void **base, size_t *whole)
{
	uint8_t *at;

	*whole = nbytes + HUGE_SIZE;
	*base = mmap(NULL, *whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (*base == MAP_FAILED)
		return NULL;
	at = (uint8_t *)(((uintptr_t)*base + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	madvise(at, nbytes, advice);
	memset(at, 1, nbytes);
	return at;
}

/* A random cycle through @n places; place i is at @at + offset(i). */
static void **link_places(uint8_t *at, uint32_t n, uint32_t stride, bool stagger)
{
	uint32_t *order = g_new(uint32_t, n);
	uint64_t state = 1;
	void **first;

#define PLACE(i) ((void **)(at + (size_t)(i) * stride + (stagger ? (i) % (SMALL / LINE) * LINE : 0)))
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		state = rng_mix(state + i);
		uint32_t j = (uint32_t)(state % (i + 1)), t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	for (uint32_t i = 0; i < n; i++)
		*PLACE(order[i]) = PLACE(order[(i + 1) % n]);
	first = PLACE(order[0]);
#undef PLACE
	g_free(order);
	return first;
}

/* ns a load, each round of at least @loads. */
static void chase(const struct calibration *c, void **p, uint64_t loads, double *ns)
{
	for (uint64_t i = 0; i < loads / 4; i++) /* warm */
		p = *p;
	for (unsigned r = 0; r < c->rounds; r++) {
		double begin = calibrate_cpu();

		for (uint64_t i = 0; i < loads; i++)
			p = *p;
		__asm__ volatile("" : : "r"(p));
		ns[r] = (calibrate_cpu() - begin) / (double)loads;
	}
}

static void measure_level(struct calibration *c, enum measure m, size_t nbytes, uint64_t loads)
{
	double ns[CALIBRATE_ROUNDS];
	void *base;
	size_t whole;
	uint8_t *at = nbytes ? buffer(nbytes, MADV_HUGEPAGE, &base, &whole) : NULL;

	if (!at) {
		measured_lacks(c, m, nbytes ? "no memory for it" : "CPUID does not tell how large caches are");
		return;
	}
	chase(c, link_places(at, (uint32_t)(nbytes / LINE), LINE, false), c->quick ? loads / 8 : loads, ns);
	measured_set(c, m, ns, c->rounds);
	munmap(base, whole);
}

/*
 * As many lines as there are pages, once in as many pages, once side by side: the caches see the same, the TLBs do not.
 */
static void measure_tlb(struct calibration *c, enum measure m, uint32_t npages)
{
	double far[CALIBRATE_ROUNDS], near[CALIBRATE_ROUNDS];
	void *base;
	size_t whole;
	uint8_t *at = buffer((size_t)npages * SMALL, MADV_NOHUGEPAGE, &base, &whole);
	uint64_t loads = c->quick ? 50000 : 400000;

	if (!at) {
		measured_lacks(c, m, "no memory for it");
		return;
	}
	chase(c, link_places(at, npages, SMALL, true), loads, far);
	chase(c, link_places(at, npages, LINE, false), loads, near);
	for (unsigned r = 0; r < c->rounds; r++)
		far[r] = MAX(far[r] - near[r], 0);
	measured_set(c, m, far, c->rounds);
	munmap(base, whole);
}

static void measure_bandwidth(struct calibration *c)
{
	double in[CALIBRATE_ROUNDS], out[CALIBRATE_ROUNDS], begin;
	const size_t nbytes = c->quick ? 32 * MIB : 128 * MIB;
	void *base;
	size_t whole;
	uint8_t *at = buffer(nbytes, MADV_HUGEPAGE, &base, &whole);

	for (unsigned r = 0; at && r < c->rounds; r++) {
		uint64_t sum = 0;

		begin = calibrate_cpu();
		for (size_t i = 0; i < nbytes; i += 64)
			for (size_t j = 0; j < 64; j += 8)
				sum += *(uint64_t *)(at + i + j);
		__asm__ volatile("" : : "r"(sum));
		in[r] = (calibrate_cpu() - begin) / (double)(nbytes / SMALL);
		begin = calibrate_cpu();
		memset(at, (int)r, nbytes);
		out[r] = (calibrate_cpu() - begin) / (double)(nbytes / SMALL);
	}
	if (!at) {
		measured_lacks(c, M_READ, "no memory for it");
		measured_lacks(c, M_WRITE, "no memory for it");
		return;
	}
	measured_set(c, M_READ, in, c->rounds);
	measured_set(c, M_WRITE, out, c->rounds);
	munmap(base, whole);
}

void calibrate_memory(struct calibration *c)
{
	enum { TLB_PAGES = 512, WALK_PAGES = 16384 }; /* within, and far beyond, what a second TLB holds */
	size_t largest;

	read_caches(c);
	largest = (size_t)MAX(c->l3_all_kib, 16384) * 1024;
	measure_clock(c);
	measure_level(c, M_LOAD_L1, (size_t)c->l1d_kib * 1024 / 2, 2000000);
	measure_level(c, M_LOAD_L2, (size_t)c->l2d_kib * 1024 / 2, 1000000);
	/* Not half of it: on a shared host others have most of it. */
	measure_level(c, M_LOAD_L3, (size_t)MIN(c->l3d_kib / 2, 3 * c->l2d_kib) * 1024, 500000);
	measure_level(c, M_LOAD_MEMORY, MIN(4 * largest, 256 * MIB), 200000);
	measure_tlb(c, M_TLB_L2, TLB_PAGES);
	measure_tlb(c, M_WALK, WALK_PAGES);
	measure_bandwidth(c);
}
