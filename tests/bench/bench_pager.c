/* SPDX-License-Identifier: MIT */
/*
 * bench_pager.c - swap-in of a plain process: our pager (tests/lib/pager.c) beside the kernel's zram
 *
 * 64 MiB of text-like pages (lz4 2:1) are pushed out and touched in random order, each touch timed: the pager serving
 * itself by SIGBUS, or by a thread, and the kernel with swap on zram (lz4, page-cluster 0). Then the same under
 * pressure: a quarter of the region's frames, every touch a write. The kernel's share of frames is a memory cgroup's.
 *
 * Limits: p50 at most 1.0 of zram's; p99 under pressure at most 50 us; evicting at most 6.5 us of processor a page.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/bench.h"
#include "tests/lib/pager.h"
#include "tests/lib/zram.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"
#include "workloads/x86.h"

enum { PAGES = 16384, FRAMES = PAGES / 4, TOUCHES = 40000, SLICE = 128 };

enum { P50, P99, MOST, EVICT, WAITS, ALONE, KERNEL, RESULTS = 2 * KERNEL };

struct job {
	enum pager_way way;
	bool kernel;
};

static void fill(uint8_t *memory)
{
	for (size_t i = 0; i < PAGES; i++)
		pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i), i }, memory + i * PAGE_SIZE);
}

static void results(struct series *s, double *out)
{
	out[P50] = series_quantile(s, 500);
	out[P99] = series_quantile(s, 990);
	out[MOST] = series_quantile(s, 1000);
}

static uint32_t *random_order(void)
{
	uint32_t *order = g_new(uint32_t, PAGES);
	struct rng rng;

	rng_seed(&rng, 7);
	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t k = (uint32_t)rng_below(&rng, i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	return order;
}

static void touch(uint8_t *memory, const uint32_t *order, unsigned n, struct series *s)
{
	for (uint32_t i = 0; i < n; i++) {
		volatile uint64_t *word = (uint64_t *)(memory + (size_t)order[i] * PAGE_SIZE);
		double t = bench_now_us();

		g_assert(*word == order[i]);
		series_add(s, bench_now_us() - t);
	}
}

/* Anywhere, every touch a write; those that faulted are those that took longer than any that did not. */
static void touch_much(uint8_t *memory, struct series *s)
{
	struct rng rng;

	rng_seed(&rng, 8);
	for (unsigned i = 0; i < TOUCHES; i++) {
		volatile uint64_t *word = (uint64_t *)(memory + rng_below(&rng, PAGES) * PAGE_SIZE);
		double t = bench_now_us(), took;

		++*word;
		took = bench_now_us() - t;
		if (i > TOUCHES / 4 && took > 2)
			series_add(s, took);
	}
}

static bool out_of_memory(const uint8_t *memory)
{
	unsigned char in[PAGES];
	unsigned n = 0;

	if (mincore((void *)memory, PAGES * (size_t)PAGE_SIZE, in))
		return false;
	for (unsigned i = 0; i < PAGES; i++)
		n += in[i] & 1;
	return n < PAGES / 100;
}

static uint8_t *plain_memory(void)
{
	size_t nbytes = PAGES * (size_t)PAGE_SIZE;
	uint8_t *memory = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	g_assert(memory != MAP_FAILED);
	madvise(memory, nbytes, MADV_NOHUGEPAGE);
	return memory;
}

static double page_out(uint8_t *memory)
{
	double start;

	fill(memory);
	start = bench_cpu_us();
	madvise(memory, PAGES * (size_t)PAGE_SIZE, MADV_PAGEOUT);
	return (bench_cpu_us() - start) / PAGES;
}

/* Of an eviction's time, what the library takes, in us a page. */
static double lz4_alone(void)
{
	uint64_t page[64][PAGE_SIZE / 8];
	char out[LZ4_COMPRESSBOUND(PAGE_SIZE)];
	double start;
	int n = 0;

	for (uint64_t i = 0; i < 64; i++)
		pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i), i }, page[i]);
	start = bench_cpu_us();
	for (unsigned i = 0; i < 2048; i++)
		n |= LZ4_compress_default((const char *)page[i % 64], out, PAGE_SIZE, sizeof(out));
	g_assert(n > 0);
	return (bench_cpu_us() - start) / 2048;
}

/* Each page once, in random order, ours and the kernel's by turns, so that both meet the same noise. */
static const char *swap_in(void *arg, double *out)
{
	const struct job *job = arg;
	const struct pager_config cfg = { .npages = PAGES, .nframes = PAGES, .way = job->way };
	uint8_t *kernel = job->kernel ? plain_memory() : NULL;
	struct pager *p = pager_new(&cfg);
	struct series ours = { 0 }, theirs = { 0 };
	uint32_t *order = random_order();
	double start;

	if (!p)
		return "no userfaultfd with UFFDIO_MOVE (Linux 6.8), or not root";
	if (kernel)
		out[KERNEL + EVICT] = page_out(kernel);
	if (kernel && !out_of_memory(kernel))
		return "MADV_PAGEOUT leaves the pages in memory";
	fill(pager_memory(p));
	start = bench_cpu_us();
	pager_evict_all(p);
	out[EVICT] = (bench_cpu_us() - start) / PAGES;
	out[ALONE] = lz4_alone();
	for (unsigned i = 0; i < PAGES; i += SLICE) {
		touch(pager_memory(p), order + i, SLICE, &ours);
		if (kernel)
			touch(kernel, order + i, SLICE, &theirs);
	}
	results(&ours, out);
	results(&theirs, out + KERNEL);
	pager_free(p);
	return NULL;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static const char cgroup[] = "/sys/fs/cgroup/memory/overbook-bench";

static const char *enter_cgroup(void)
{
	g_autofree char *limit = g_strdup_printf("%zu", (FRAMES + 1024) * (size_t)PAGE_SIZE);
	g_autofree char *pid = g_strdup_printf("%d", getpid());
	g_autofree char *key = g_build_filename(cgroup, "memory.limit_in_bytes", NULL);
	g_autofree char *procs = g_build_filename(cgroup, "cgroup.procs", NULL);

	g_mkdir(cgroup, 0755);
	return write_text(key, limit) && write_text(procs, pid) ? NULL : "no memory cgroup (v1)";
}

static const char *pressed(void *arg, double *out)
{
	const struct job *job = arg;
	const struct pager_config cfg = {
		.npages = PAGES, .nframes = FRAMES, .ahead = FRAMES / 16, .way = job->way
	};
	struct pager_stats st = { 0 };
	struct series s = { 0 };
	struct pager *p = NULL;
	const char *why = NULL;
	uint8_t *memory;

	if (job->kernel)
		why = enter_cgroup();
	if (why)
		return why;
	if (!job->kernel)
		p = pager_new(&cfg);
	if (!job->kernel && !p)
		return "no userfaultfd with UFFDIO_MOVE (Linux 6.8), or not root";
	memory = p ? pager_memory(p) : plain_memory();
	fill(memory);
	touch_much(memory, &s);
	results(&s, out);
	if (!p)
		return NULL;
	pager_stats(p, &st);
	out[WAITS] = (double)st.waits * 100 / (double)st.faults;
	pager_free(p);
	return NULL;
}

/* Both ways of the pager, and the kernel, by turns. */
struct contest {
	struct series in[2][RESULTS], ratio[2], pressed[3][RESULTS];
	bool zram, lacks_in[2], lacks_pressed[3];
};

static const char *const who[] = { "signal", "thread", "zram" };

static void keep(struct series *to, const double *out)
{
	for (unsigned r = 0; r < RESULTS; r++)
		series_add(&to[r], out[r]);
}

static void play_in(struct contest *c, unsigned i)
{
	struct job job = { .way = (enum pager_way)i, .kernel = c->zram };
	double out[RESULTS];
	const char *why;

	if (c->lacks_in[i])
		return;
	c->lacks_in[i] = !bench_child(swap_in, &job, out, RESULTS, &why);
	if (c->lacks_in[i]) {
		bench_skip(i ? "swap-in-thread" : "swap-in-signal", why);
		return;
	}
	keep(c->in[i], out);
	if (c->zram)
		series_add(&c->ratio[i], out[P50] / out[KERNEL + P50]);
}

static void play_pressed(struct contest *c, unsigned i)
{
	struct job job = { .way = (enum pager_way)i, .kernel = i == 2 };
	double out[RESULTS];
	const char *why;

	if (c->lacks_pressed[i] || (job.kernel && !c->zram))
		return;
	/* The kernel may kill the one that is under pressure: once more. */
	c->lacks_pressed[i] = !bench_child(pressed, &job, out, RESULTS, &why) &&
			      !bench_child(pressed, &job, out, RESULTS, &why);
	if (c->lacks_pressed[i])
		bench_skip(i == 2 ? "pressed-zram" : i ? "pressed-thread" : "pressed-signal", why);
	else
		keep(c->pressed[i], out);
}

static char *row_name(const char *what, unsigned i, const char *quantity)
{
	static char name[100];

	g_snprintf(name, sizeof(name), "%s-%s-%s", what, who[i], quantity);
	return name;
}

static void tell_in(struct contest *c)
{
	for (unsigned i = 0; i < 2; i++) {
		if (c->lacks_in[i])
			continue;
		bench_median(row_name("swap-in", i, "p50"), &c->in[i][P50], "us");
		bench_median(row_name("swap-in", i, "p99"), &c->in[i][P99], "us");
		if (!c->zram)
			continue;
		bench_median(row_name("swap-in-beside", i, "zram-p50"), &c->in[i][KERNEL + P50], "us");
		bench_median(row_name("swap-in-beside", i, "zram-p99"), &c->in[i][KERNEL + P99], "us");
	}
	if (c->ratio[0].n)
		bench_most("swap-in-signal-p50-by-zram", &c->ratio[0], "ratio", 1.0);
	if (c->ratio[1].n)
		bench_median("swap-in-thread-p50-by-zram", &c->ratio[1], "ratio");
	if (c->lacks_in[0])
		return;
	bench_most("swap-out-pager-cpu", &c->in[0][EVICT], "us/page", 6.5);
	bench_median("swap-out-lz4-alone", &c->in[0][ALONE], "us/page");
	if (c->zram)
		bench_median("swap-out-zram-cpu", &c->in[0][KERNEL + EVICT], "us/page");
}

static void tell_pressed(struct contest *c)
{
	for (unsigned i = 0; i < 3; i++) {
		struct series *s = c->pressed[i];

		if (!s[P50].n)
			continue;
		bench_median(row_name("pressed", i, "p50"), &s[P50], "us");
		if (i == 0)
			bench_most(row_name("pressed", i, "p99"), &s[P99], "us", 50);
		else
			bench_median(row_name("pressed", i, "p99"), &s[P99], "us");
		bench_median(row_name("pressed", i, "most"), &s[MOST], "us");
		if (i == 2)
			continue;
		bench_median(row_name("pressed", i, "waited"), &s[WAITS], "%");
	}
}

int main(void)
{
	struct contest c = { 0 };
	const char *why;
	struct zram *z;

	bench_header();
	z = zram_new(512ull << 20, 0, &why);
	c.zram = z != NULL;
	if (!z)
		bench_skip("zram", why);
	for (unsigned round = 0; round < bench_rounds(); round++) {
		for (unsigned i = 0; i < 2; i++)
			play_in(&c, i);
		for (unsigned i = 0; i < 3; i++)
			play_pressed(&c, i);
	}
	tell_in(&c);
	tell_pressed(&c);
	g_rmdir(cgroup);
	if (z)
		zram_free(z);
	return 0;
}
