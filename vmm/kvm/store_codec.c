/* SPDX-License-Identifier: MIT */
/*
 * store_codec.c - compressors of the tier
 *
 * The same libraries at the same levels as the simulator's (its sizes decide which pages go to the tier, so they must
 * agree to the byte): zstd at level 1, lz4 as LZ4_compress_default makes it. `table` says a size for each family of
 * contents, which it recognises: word 1 of a page made from a pattern is its base. `none` stores pages whole.
 *
 * Invariants (tests/unit/test_store.c): a page packed and unpacked is the page; sizes are the simulator's.
 */
#include <lz4.h>
#include <string.h>
#include <zstd.h>

#include "mm/err.h"
#include "vmm/kvm/store_impl.h"
#include "workloads/pattern.h"

#define ZSTD_LEVEL 1

_Static_assert(CODEC_MAX >= ZSTD_COMPRESSBOUND(PAGE_SIZE), "room for any page");
_Static_assert(CODEC_MAX >= LZ4_COMPRESSBOUND(PAGE_SIZE), "room for any page");

enum codec_kind { CODEC_ZSTD, CODEC_LZ4, CODEC_TABLE, CODEC_NONE };

struct codec {
	enum codec_kind kind;
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

const char *const codec_names[] = { "zstd", "lz4", "table", "none", NULL };

struct codec *codec_new(const char *name)
{
	for (unsigned i = 0; codec_names[i]; i++) {
		struct codec *c;

		if (g_strcmp0(codec_names[i], name))
			continue;
		c = g_new0(struct codec, 1);
		c->kind = (enum codec_kind)i;
		if (c->kind == CODEC_ZSTD || c->kind == CODEC_TABLE) {
			c->pack = ZSTD_createCCtx();
			c->unpack = ZSTD_createDCtx();
		}
		return c;
	}
	return NULL;
}

void codec_free(struct codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->pack);
	ZSTD_freeDCtx(c->unpack);
	g_free(c);
}

unsigned codec_pack(struct codec *c, const void *page, void *out)
{
	size_t n = PAGE_SIZE;

	if (c->kind == CODEC_LZ4)
		n = (size_t)LZ4_compress_default(page, out, PAGE_SIZE, CODEC_MAX);
	else if (c->kind == CODEC_NONE)
		memcpy(out, page, PAGE_SIZE);
	else
		n = ZSTD_compressCCtx(c->pack, out, CODEC_MAX, page, PAGE_SIZE, ZSTD_LEVEL);
	g_assert(n && n <= CODEC_MAX);
	return (unsigned)n;
}

int codec_unpack(struct codec *c, const void *in, unsigned nbytes, void *page)
{
	bool ok = nbytes == PAGE_SIZE;

	if (c->kind == CODEC_LZ4)
		ok = LZ4_decompress_safe(in, page, (int)nbytes, PAGE_SIZE) == PAGE_SIZE;
	else if (c->kind != CODEC_NONE)
		ok = ZSTD_decompressDCtx(c->unpack, page, PAGE_SIZE, in, nbytes) == PAGE_SIZE;
	else if (ok)
		memcpy(page, in, PAGE_SIZE);
	return ok ? 0 : ERR(-EIO);
}

/* Means of 500 pages of each family under zstd 1.5.4, level 1; anything else: a page half of which is random. */
static unsigned table_size(const uint64_t *page)
{
	static const uint16_t sizes[PATTERN_FAMILIES] = {
		[PATTERN_ZERO] = 21,   [PATTERN_TEXT] = 1172,	[PATTERN_POINTER] = 1021,
		[PATTERN_CODE] = 2107, [PATTERN_RANDOM] = 4106, [PATTERN_NEAR] = 2127,
	};
	unsigned family = PATTERN_FAMILY(page[1]);
	uint64_t made[PAGE_SIZE / 8];

	if (family >= PATTERN_FAMILIES && family != PATTERN_POISON)
		return 2080;
	pattern_fill((struct pattern){ page[1], page[0] }, made);
	if (memcmp(made, page, PAGE_SIZE))
		return 2080;
	return family == PATTERN_POISON ? 21 : sizes[family];
}

unsigned codec_size(const struct codec *c, const void *page, unsigned nbytes)
{
	return c->kind == CODEC_TABLE ? table_size(page) : nbytes;
}
