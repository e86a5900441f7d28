/* SPDX-License-Identifier: MIT */
/*
 * bench_store.c - the swap store of the real machine (vmm/kvm/store.h) beside plain direct I/O
 *
 * 128 MiB of text-like pages in a swap file in $TMPDIR or /var/tmp. Sequential swap-in as the memory manager does it
 * (page-cluster 3) beside reads of 1 MiB; random swap-in without readahead beside pread of 4 KiB in turn; eviction
 * to the file in batches of 64 and to the lz4 tier, in processor time. What lz4 takes depends on the bytes: it is asked
 * for text-like pages, and for pages half of which is random and the rest zeros, each beside the library alone. The
 * tier has held as many pages before, so its memory is not touched first. Limits: at least 100,000 pages a second, at
 * most 1.1 times a pread, at most 6.5 us a page.
 */
#include <fcntl.h>
#include <glib.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/bench.h"
#include "vmm/kvm/store.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"
#include "workloads/x86.h"

enum { PAGES = 32768, BATCH = 64, KINDS = 256, SAMPLES = 1500, CHUNK = 1 << 20 };

struct bench {
	uint8_t *page;	 /* [KINDS]: text-like */
	uint8_t *half;	 /* [KINDS]: half random */
	uint8_t *buffer; /* CHUNK, aligned */
	int raw;	 /* a file of the same size */
	struct rng rng;
	struct series in, raw_in, in_ratio, random, raw_random, random_ratio, out_file;
	struct tier {
		struct series out, alone;
	} text_tier, half_tier;
};

static struct store *must_store(const char *compressor, unsigned cluster)
{
	const struct store_config cfg = { .nslots = PAGES,
					  .compressor = compressor_find(compressor),
					  .cluster = cluster };
	g_autoptr(GError) error = NULL;
	struct store *s = store_new(&cfg, &error);

	if (!s) {
		bench_skip("store", error->message);
		exit(0);
	}
	return s;
}

static const uint8_t *kind(const uint8_t *pages, uint64_t i)
{
	return pages + i % KINDS * PAGE_SIZE;
}

static void evict_to_file(struct bench *b, struct store *s)
{
	double start = bench_cpu_us();

	for (uint64_t slot = 0; slot < PAGES; slot++) {
		int err = store_save(s, slot, kind(b->page, slot), true);

		g_assert(!err);
		if (slot % BATCH == BATCH - 1)
			store_io(s, true, slot + 1 - BATCH, BATCH);
	}
	store_flush(s);
	series_add(&b->out_file, (bench_cpu_us() - start) / PAGES);
}

static void sequential(struct bench *b, struct store *s)
{
	double start = bench_now_us(), ours, theirs;

	for (uint64_t slot = 0; slot < PAGES; slot++) {
		int err = store_load(s, slot, b->buffer, true);

		g_assert(!err && !memcmp(b->buffer, kind(b->page, slot), 64));
	}
	ours = PAGES * 1e6 / (bench_now_us() - start);
	start = bench_now_us();
	for (off_t at = 0; at < PAGES * (off_t)PAGE_SIZE; at += CHUNK)
		g_assert(pread(b->raw, b->buffer, CHUNK, at) == CHUNK);
	theirs = PAGES * 1e6 / (bench_now_us() - start);
	series_add(&b->in, ours);
	series_add(&b->raw_in, theirs);
	series_add(&b->in_ratio, ours / theirs);
}

static void at_random(struct bench *b, struct store *s)
{
	struct series ours = { 0 }, theirs = { 0 };

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t slot = rng_below(&b->rng, PAGES), other = rng_below(&b->rng, PAGES);
		double start = bench_now_us(), mid;
		int err = store_load(s, slot, b->buffer, true);

		mid = bench_now_us();
		g_assert(!err && pread(b->raw, b->buffer, PAGE_SIZE, (off_t)(other * PAGE_SIZE)) == PAGE_SIZE);
		series_add(&ours, mid - start);
		series_add(&theirs, bench_now_us() - mid);
	}
	series_add(&b->random, series_median(&ours));
	series_add(&b->raw_random, series_median(&theirs));
	series_add(&b->random_ratio, series_median(&ours) / series_median(&theirs));
	series_clear(&ours);
	series_clear(&theirs);
}

static double fill_tier(struct store *s, const uint8_t *pages)
{
	double start = bench_cpu_us();

	for (uint64_t slot = 0; slot < PAGES / 2; slot++) {
		const uint8_t *page = kind(pages, slot);
		unsigned size = store_compressed_size(s, page);
		int err = store_save(s, slot, page, false);

		g_assert(size && !err);
	}
	return (bench_cpu_us() - start) / (PAGES / 2);
}

static double lz4_alone(const uint8_t *pages)
{
	char out[LZ4_COMPRESSBOUND(PAGE_SIZE)];
	double start = bench_cpu_us();
	int n = 0;

	for (uint64_t i = 0; i < PAGES / 2; i++)
		n |= LZ4_compress_default((const char *)kind(pages, i), out, PAGE_SIZE, sizeof(out));
	g_assert(n > 0);
	return (bench_cpu_us() - start) / (PAGES / 2);
}

static void evict_to_tier(struct tier *t, const uint8_t *pages)
{
	struct store *s = must_store("lz4", 3);

	fill_tier(s, pages);
	for (uint64_t slot = 0; slot < PAGES / 2; slot++)
		store_drop(s, slot);
	series_add(&t->out, fill_tier(s, pages));
	series_add(&t->alone, lz4_alone(pages));
	store_free(s);
}

static int raw_file(struct bench *b)
{
	const char *dir = g_getenv("TMPDIR");
	int fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);

	if (fd < 0) {
		bench_skip("store", "no direct I/O to compare with in $TMPDIR or /var/tmp");
		exit(0);
	}
	memcpy(b->buffer, b->page, CHUNK);
	for (off_t at = 0; at < PAGES * (off_t)PAGE_SIZE; at += CHUNK)
		g_assert(pwrite(fd, b->buffer, CHUNK, at) == CHUNK);
	return fd;
}

int main(void)
{
	struct bench b = { 0 };
	struct store_stats st = { 0 };

	rng_seed(&b.rng, 5);
	b.page = g_malloc(KINDS * PAGE_SIZE);
	b.buffer = aligned_alloc(PAGE_SIZE, CHUNK);
	b.half = g_malloc0(KINDS * PAGE_SIZE);
	for (uint64_t i = 0; i < KINDS; i++) {
		pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i), i }, b.page + i * PAGE_SIZE);
		for (unsigned at = 0; at < PAGE_SIZE / 2; at += 8)
			*(uint64_t *)(b.half + i * PAGE_SIZE + at) = rng_u64(&b.rng);
	}
	bench_header();
	b.raw = raw_file(&b);
	for (unsigned round = 0; round < bench_rounds(); round++) {
		struct store *s = must_store("lz4", 3);

		evict_to_file(&b, s);
		sequential(&b, s);
		store_free(s);
		s = must_store("lz4", 0);
		evict_to_file(&b, s);
		at_random(&b, s);
		store_stats(s, &st);
		store_free(s);
		evict_to_tier(&b.text_tier, b.page);
		evict_to_tier(&b.half_tier, b.half);
	}
	bench_row("io-uring", st.ring, "bool");
	bench_row("direct", st.direct, "bool");
	bench_least("sequential-in", &b.in, "pages/s", 100000);
	bench_median("sequential-raw-1M", &b.raw_in, "pages/s");
	bench_median("sequential-by-raw", &b.in_ratio, "ratio");
	bench_median("random-in-p50", &b.random, "us");
	bench_median("random-raw-p50", &b.raw_random, "us");
	bench_most("random-by-raw", &b.random_ratio, "ratio", 1.1);
	bench_most("out-file-cpu", &b.out_file, "us/page", 6.5);
	bench_most("out-lz4-text-cpu", &b.text_tier.out, "us/page", 6.5);
	bench_median("lz4-alone-text-cpu", &b.text_tier.alone, "us/page");
	bench_most("out-lz4-half-cpu", &b.half_tier.out, "us/page", 6.5);
	bench_median("lz4-alone-half-cpu", &b.half_tier.alone, "us/page");
	return 0;
}
