/* SPDX-License-Identifier: MIT */
/*
 * compress.c - what a page's bytes compress to
 *
 * Problem: how much a compressed tier saves depends on contents, so sizes have to be real; but a run compresses the
 * same pages again and again, and results that golden files hold must not depend on a library's version.
 *
 * Idea: a page's size is what zstd (level 1) or lz4 (its default) makes of its 4096 bytes. Sizes of patterns are
 * remembered in a table of 65,536 entries, the last one of each. `table` knows the sizes of families by heart.
 *
 * Invariant (tests/unit/test_compress.c): the answer does not depend on what was asked before.
 */
#include "vmm/sim/compress.h"

#include <glib.h>
#include <lz4.h>
#include <zstd.h>

#include "workloads/rng.h"
#include "workloads/x86.h"

#define MEMO_ENTRIES 65536u
#define ZSTD_LEVEL   1

struct memo {
	struct pattern content;
	unsigned nbytes; /* 0: empty */
};

struct compress {
	const struct compressor *kind;
	void *ctx;
	struct memo memo[MEMO_ENTRIES];
};

static void *zstd_open(void)
{
	return ZSTD_createCCtx();
}

static void zstd_close(void *ctx)
{
	ZSTD_freeCCtx(ctx);
}

static unsigned zstd_size(void *ctx, struct pattern pattern, const uint64_t *page)
{
	char out[ZSTD_COMPRESSBOUND(PAGE_SIZE)];
	size_t n = ZSTD_compressCCtx(ctx, out, sizeof(out), page, PAGE_SIZE, ZSTD_LEVEL);

	(void)pattern;
	g_assert(!ZSTD_isError(n));
	return (unsigned)n;
}

static unsigned lz4_size(void *ctx, struct pattern pattern, const uint64_t *page)
{
	char out[LZ4_COMPRESSBOUND(PAGE_SIZE)];
	int n = LZ4_compress_default((const char *)page, out, PAGE_SIZE, sizeof(out));

	(void)ctx, (void)pattern;
	g_assert(n > 0);
	return (unsigned)n;
}

/* Means of 500 pages of each family under zstd 1.5.4, level 1. What is no pattern: a page half of which is random. */
static unsigned table_size(void *ctx, struct pattern pattern, const uint64_t *page)
{
	static const uint16_t sizes[PATTERN_FAMILIES] = {
		[PATTERN_ZERO] = 21,   [PATTERN_TEXT] = 1172,	[PATTERN_POINTER] = 1021,
		[PATTERN_CODE] = 2107, [PATTERN_RANDOM] = 4106, [PATTERN_NEAR] = 2127,
	};
	unsigned family = PATTERN_FAMILY(pattern.base);

	(void)ctx, (void)page;
	return family < PATTERN_FAMILIES ? sizes[family] : family == PATTERN_POISON ? 21 : 2080;
}

static const struct compressor zstd = {
	.name = "zstd",
	.summary = "Zstandard at level 1",
	.size = zstd_size,
	.open = zstd_open,
	.close = zstd_close,
};

static const struct compressor lz4 = {
	.name = "lz4",
	.summary = "LZ4: larger than zstd, several times as fast",
	.fast = true,
	.size = lz4_size,
};

static const struct compressor table = {
	.name = "table",
	.summary = "a size for each family of contents, whatever the versions of the libraries",
	.size = table_size,
};

const struct compressor *const compressors[] = { &zstd, &lz4, &table, NULL };

struct compress *compress_new(const struct compressor *kind)
{
	struct compress *c = g_new0(struct compress, 1);

	c->kind = kind;
	c->ctx = kind->open ? kind->open() : NULL;
	return c;
}

void compress_free(struct compress *c)
{
	if (c && c->kind->close)
		c->kind->close(c->ctx);
	g_free(c);
}

unsigned compress_pattern(struct compress *c, struct pattern p)
{
	struct memo *memo = &c->memo[(rng_mix(p.base) ^ rng_mix(~p.stamp)) % MEMO_ENTRIES];
	uint64_t page[PAGE_SIZE / 8];

	if (!memo->nbytes || memo->content.base != p.base || memo->content.stamp != p.stamp) {
		pattern_fill(p, page);
		*memo = (struct memo){ p, c->kind->size(c->ctx, p, page) };
	}
	return memo->nbytes;
}

unsigned compress_bytes(struct compress *c, const uint64_t *page)
{
	return c->kind->size(c->ctx, (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), page[0] }, page);
}

const struct compressor *compress_kind(const struct compress *c)
{
	return c->kind;
}
