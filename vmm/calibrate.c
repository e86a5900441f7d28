/* SPDX-License-Identifier: MIT */
/* calibrate.c - measurements by name, and what is kept of their rounds */
#include "vmm/calibrate.h"

#include <stdlib.h>
#include <time.h>

static const char *const names[MEASURES] = {
	[M_CYCLE] = "one cycle of the core",
	[M_LOAD_L1] = "load, in L1",
	[M_LOAD_L2] = "load, in L2",
	[M_LOAD_L3] = "load, in L3",
	[M_LOAD_MEMORY] = "load, from memory",
	[M_TLB_L2] = "second TLB, on top of a load",
	[M_WALK] = "page walk, on top of a load",
	[M_READ] = "4 KiB read in order",
	[M_WRITE] = "4 KiB written in order",
	[M_ZERO] = "page zeroed",
	[M_COPY] = "page copied",
	[M_FILL] = "page filled with a pattern",
	[M_HASH] = "XXH3 of a cold page",
	[M_COMPARE] = "two equal cold pages compared",
	[M_LZ4_OUT] = "page compressed, lz4",
	[M_LZ4_IN] = "page decompressed, lz4",
	[M_ZSTD_OUT] = "page compressed, zstd",
	[M_ZSTD_IN] = "page decompressed, zstd",
	[M_TOUCH] = "first touch of a page",
	[M_DROP] = "page given back",
	[M_EXIT] = "exit from CPL 3 and back",
	[M_EXIT_KERNEL] = "exit from ring 0 and back",
	[M_EXCEPTION] = "exception within the guest",
	[M_KVM_FAULT] = "KVM fault, page present",
	[M_VIOLATION] = "second-stage violation, userfaultfd",
	[M_COW] = "copy-on-write break",
	[M_SHADOW_FAULT] = "shadow fault, handled by the VMM",
	[M_TIER_LZ4] = "swap-in from the tier, lz4",
	[M_TIER_ZSTD] = "swap-in from the tier, zstd",
	[M_FILE] = "swap-in from a file, random",
	[M_FILE_NEXT] = "swap-in from a file, in order",
};

const char *measure_name(enum measure m)
{
	return names[m];
}

static double read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double calibrate_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double calibrate_cpu(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void measured_set(struct calibration *c, enum measure m, double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	c->m[m].ns = values[n / 2];
	c->m[m].low = values[n / 4];
	c->m[m].high = values[n - 1 - n / 4];
	c->m[m].rounds = n;
}

void measured_lacks(struct calibration *c, enum measure m, const char *why)
{
	c->m[m].rounds = 0;
	g_free(c->m[m].why);
	c->m[m].why = g_strdup(why);
}

void calibrate_clear(struct calibration *c)
{
	for (unsigned m = 0; m < MEASURES; m++)
		g_clear_pointer(&c->m[m].why, g_free);
}
