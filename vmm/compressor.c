/* SPDX-License-Identifier: MIT */
/*
 * compressor.c - zstd, lz4, and a table of sizes
 *
 * Problem: how much a compressed tier saves depends on contents, so sizes have to be real; but results that golden
 * files hold must not depend on a library's version.
 *
 * Idea: a page's size is what zstd (level 1) or lz4 (its default) makes of its 4096 bytes. `table` knows the sizes of
 * families of contents by heart, and where bytes are kept it keeps what zstd makes of them.
 *
 * Invariants (tests/unit/test_compress.c, test_store.c): a page packed and unpacked is the page; the sizes that the
 * simulator and the real machine's store take are the same.
 */
#include "vmm/compressor.h"

#include <glib.h>
#include <lz4.h>
#include <string.h>
#include <zstd.h>

#include "mm/err.h"
#include "workloads/x86.h"

#define ZSTD_LEVEL 1

_Static_assert(COMPRESSED_MAX >= ZSTD_COMPRESSBOUND(PAGE_SIZE), "room for any page");
_Static_assert(COMPRESSED_MAX >= LZ4_COMPRESSBOUND(PAGE_SIZE), "room for any page");

struct zstd {
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

static void *zstd_open(void)
{
	struct zstd *z = g_new(struct zstd, 1);

	*z = (struct zstd){ ZSTD_createCCtx(), ZSTD_createDCtx() };
	return z;
}

static void zstd_close(void *ctx)
{
	struct zstd *z = ctx;

	ZSTD_freeCCtx(z->pack);
	ZSTD_freeDCtx(z->unpack);
	g_free(z);
}

static unsigned zstd_pack(void *ctx, const void *page, void *out)
{
	struct zstd *z = ctx;
	size_t n = ZSTD_compressCCtx(z->pack, out, COMPRESSED_MAX, page, PAGE_SIZE, ZSTD_LEVEL);

	g_assert(!ZSTD_isError(n));
	return (unsigned)n;
}

static int zstd_unpack(void *ctx, const void *in, unsigned nbytes, void *page)
{
	struct zstd *z = ctx;

	return ZSTD_decompressDCtx(z->unpack, page, PAGE_SIZE, in, nbytes) == PAGE_SIZE ? 0 : ERR(-EIO);
}

static unsigned lz4_pack(void *ctx, const void *page, void *out)
{
	int n = LZ4_compress_default(page, out, PAGE_SIZE, COMPRESSED_MAX);

	(void)ctx;
	g_assert(n > 0);
	return (unsigned)n;
}

static int lz4_unpack(void *ctx, const void *in, unsigned nbytes, void *page)
{
	(void)ctx;
	return LZ4_decompress_safe(in, page, (int)nbytes, PAGE_SIZE) == PAGE_SIZE ? 0 : ERR(-EIO);
}

/* Means of 500 pages of each family under zstd 1.5.4, level 1. What is no pattern: a page half of which is random. */
static unsigned table_size(struct pattern pattern)
{
	static const uint16_t sizes[PATTERN_FAMILIES] = {
		[PATTERN_ZERO] = 21,   [PATTERN_TEXT] = 1172,	[PATTERN_POINTER] = 1021,
		[PATTERN_CODE] = 2107, [PATTERN_RANDOM] = 4106, [PATTERN_NEAR] = 2127,
	};
	unsigned family = PATTERN_FAMILY(pattern.base);

	return family < PATTERN_FAMILIES ? sizes[family] : family == PATTERN_POISON ? 21 : 2080;
}

static unsigned none_pack(void *ctx, const void *page, void *out)
{
	(void)ctx;
	memcpy(out, page, PAGE_SIZE);
	return PAGE_SIZE;
}

static int none_unpack(void *ctx, const void *in, unsigned nbytes, void *page)
{
	(void)ctx;
	if (nbytes != PAGE_SIZE)
		return ERR(-EIO);
	memcpy(page, in, PAGE_SIZE);
	return 0;
}

static const struct compressor zstd = {
	.name = "zstd",
	.summary = "Zstandard at level 1",
	.open = zstd_open,
	.close = zstd_close,
	.pack = zstd_pack,
	.unpack = zstd_unpack,
};

static const struct compressor lz4 = {
	.name = "lz4",
	.summary = "LZ4: larger than zstd, several times as fast",
	.fast = true,
	.pack = lz4_pack,
	.unpack = lz4_unpack,
};

static const struct compressor table = {
	.name = "table",
	.summary = "a size for each family of contents, whatever the versions of the libraries",
	.open = zstd_open,
	.close = zstd_close,
	.pack = zstd_pack,
	.unpack = zstd_unpack,
	.size = table_size,
};

const struct compressor *const compressors[] = { &zstd, &lz4, &table, NULL };

const struct compressor compressor_none = {
	.name = "none",
	.summary = "pages as they are",
	.pack = none_pack,
	.unpack = none_unpack,
};

const struct compressor *compressor_find(const char *name)
{
	for (unsigned i = 0; compressors[i]; i++)
		if (!strcmp(compressors[i]->name, name))
			return compressors[i];
	return strcmp(compressor_none.name, name) ? NULL : &compressor_none;
}

void *compressor_open(const struct compressor *c)
{
	return c->open ? c->open() : NULL;
}

void compressor_close(const struct compressor *c, void *ctx)
{
	if (c->close)
		c->close(ctx);
}
