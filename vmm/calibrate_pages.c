/* SPDX-License-Identifier: MIT */
/*
 * calibrate_pages.c - what a memory manager does with whole pages, timed: zeroing, copying, hashing, comparing,
 * compressing, getting one from the kernel and giving it back
 *
 * Cold pages are taken from a buffer much larger than the caches, in order of their addresses, as a scanner meets them.
 */
#include <lz4.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "vmm/calibrate.h"
#include "workloads/pattern.h"

#define PAGE	   4096u
#define TEXTS	   64u
#define ZSTD_LEVEL 1 /* as vmm/sim/compress.c and vmm/kvm/store_codec.c */
#define PACKED	   8192u

struct pages {
	uint8_t *cold; /* ncold pages: text; page 2 i + 1 equals page 2 i */
	uint32_t ncold;
	uint8_t *text;	 /* TEXTS pages, warm */
	uint8_t *packed; /* TEXTS times PACKED bytes */
	size_t size[TEXTS];
	ZSTD_CCtx *in;
	ZSTD_DCtx *out;
	volatile uint64_t sink;
};

typedef void (*work_fn)(struct pages *p, uint32_t i);

static void zero(struct pages *p, uint32_t i)
{
	memset(p->text + (i % TEXTS) * PAGE, 0, PAGE);
}

static void copy(struct pages *p, uint32_t i)
{
	memcpy(p->packed + (i % TEXTS) * PACKED, p->text + (i % TEXTS) * PAGE, PAGE);
}

static void fill(struct pages *p, uint32_t i)
{
	pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i), i }, p->text + (i % TEXTS) * PAGE);
}

static void hash(struct pages *p, uint32_t i)
{
	p->sink += XXH3_64bits(p->cold + (size_t)(i % p->ncold) * PAGE, PAGE);
}

static void compare(struct pages *p, uint32_t i)
{
	uint32_t pair = 2 * i % p->ncold;

	p->sink += memcmp(p->cold + (size_t)pair * PAGE, p->cold + (size_t)(pair + 1) * PAGE, PAGE) != 0;
}

static void lz4_out(struct pages *p, uint32_t i)
{
	uint32_t t = i % TEXTS;

	p->size[t] = (size_t)LZ4_compress_default((char *)p->text + t * PAGE, (char *)p->packed + t * PACKED, PAGE,
						  PACKED);
}

static void lz4_in(struct pages *p, uint32_t i)
{
	uint32_t t = i % TEXTS;

	LZ4_decompress_safe((char *)p->packed + t * PACKED, (char *)p->text + t * PAGE, (int)p->size[t], PAGE);
}

static void zstd_out(struct pages *p, uint32_t i)
{
	uint32_t t = i % TEXTS;

	p->size[t] = ZSTD_compressCCtx(p->in, p->packed + t * PACKED, PACKED, p->text + t * PAGE, PAGE, ZSTD_LEVEL);
}

static void zstd_in(struct pages *p, uint32_t i)
{
	uint32_t t = i % TEXTS;

	ZSTD_decompressDCtx(p->out, p->text + t * PAGE, PAGE, p->packed + t * PACKED, p->size[t]);
}

/* In this order: what compresses leaves what decompresses needs. */
static const struct {
	enum measure m;
	work_fn fn;
	uint32_t n; /* in a round */
} works[] = {
	{ M_ZERO, zero, 20000 },	 { M_FILL, fill, 2000 },	{ M_COPY, copy, 20000 },
	{ M_LZ4_OUT, lz4_out, 2000 },	 { M_LZ4_IN, lz4_in, 4000 },	{ M_ZSTD_OUT, zstd_out, 1000 },
	{ M_ZSTD_IN, zstd_in, 2000 },	 { M_HASH, hash, 8192 },	{ M_COMPARE, compare, 8192 },
};

static void make(struct pages *p, gboolean quick)
{
	p->ncold = quick ? 16384 : 32768;
	p->cold = g_malloc((size_t)p->ncold * PAGE);
	p->text = g_malloc(TEXTS * PAGE);
	p->packed = g_malloc(TEXTS * PACKED);
	p->in = ZSTD_createCCtx();
	p->out = ZSTD_createDCtx();
	/* One text, changed in its last word: filling must not take longer than measuring. */
	for (uint32_t i = 0; i < p->ncold; i++) {
		uint8_t *at = p->cold + (size_t)i * PAGE;
		uint64_t word = i / 2;

		if (i < 2 * TEXTS)
			pattern_fill((struct pattern){ PATTERN_BASE(PATTERN_TEXT, i / 2), 0 }, at);
		else
			memcpy(at, p->cold + (size_t)(i % (2 * TEXTS)) * PAGE, PAGE);
		memcpy(at + PAGE - sizeof(word), &word, sizeof(word));
	}
	for (uint32_t i = 0; i < TEXTS; i++)
		fill(p, i);
}

/* A page from the kernel and back: twice the median fault would hide that huge pages are cheaper. */
static void measure_kernel(struct calibration *c)
{
	enum { NPAGES = 2048, AT_ONCE = 64 };
	double touch[CALIBRATE_ROUNDS], drop[CALIBRATE_ROUNDS], begin;
	const size_t nbytes = (size_t)NPAGES * PAGE;
	uint8_t *at = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		measured_lacks(c, M_TOUCH, "no memory for it");
		measured_lacks(c, M_DROP, "no memory for it");
		return;
	}
	madvise(at, nbytes, MADV_NOHUGEPAGE);
	for (unsigned r = 0; r < c->rounds; r++) {
		begin = calibrate_cpu();
		for (size_t i = 0; i < NPAGES; i++)
			*(volatile uint8_t *)(at + i * PAGE) = 1;
		touch[r] = (calibrate_cpu() - begin) / NPAGES;
		begin = calibrate_cpu();
		for (size_t i = 0; i < NPAGES; i += AT_ONCE)
			madvise(at + i * PAGE, AT_ONCE * PAGE, MADV_DONTNEED);
		drop[r] = (calibrate_cpu() - begin) / NPAGES;
	}
	measured_set(c, M_TOUCH, touch, c->rounds);
	measured_set(c, M_DROP, drop, c->rounds);
	munmap(at, nbytes);
}

void calibrate_pages(struct calibration *c)
{
	double ns[CALIBRATE_ROUNDS];
	struct pages p = { 0 };

	make(&p, c->quick);
	for (unsigned w = 0; w < G_N_ELEMENTS(works); w++) {
		uint32_t n = c->quick ? works[w].n / 4 : works[w].n, at = 0;

		if (works[w].m == M_LZ4_OUT) /* zeroed meanwhile */
			for (uint32_t i = 0; i < TEXTS; i++)
				fill(&p, i);
		for (unsigned r = 0; r < c->rounds; r++) {
			double begin = calibrate_cpu();

			for (uint32_t i = 0; i < n; i++)
				works[w].fn(&p, at++);
			ns[r] = (calibrate_cpu() - begin) / n;
		}
		measured_set(c, works[w].m, ns, c->rounds);
	}
	measure_kernel(c);
	ZSTD_freeCCtx(p.in);
	ZSTD_freeDCtx(p.out);
	g_free(p.cold);
	g_free(p.text);
	g_free(p.packed);
}
