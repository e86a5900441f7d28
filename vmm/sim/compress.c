/* SPDX-License-Identifier: MIT */
/*
 * compress.c - the sizes of compressed pages, remembered
 *
 * Problem: a run compresses the same pages again and again.
 *
 * Idea: sizes of patterns are remembered in a table of 65,536 entries, the last one of each.
 *
 * Invariant (tests/unit/test_compress.c): the answer does not depend on what was asked before.
 */
#include "vmm/sim/compress.h"

#include <glib.h>

#include "workloads/rng.h"
#include "workloads/x86.h"

#define MEMO_ENTRIES 65536u

struct memo {
	struct pattern content;
	unsigned nbytes; /* 0: empty */
};

struct compress {
	const struct compressor *kind;
	void *ctx;
	struct memo memo[MEMO_ENTRIES];
};

struct compress *compress_new(const struct compressor *kind)
{
	struct compress *c = g_new0(struct compress, 1);

	c->kind = kind;
	c->ctx = compressor_open(kind);
	return c;
}

void compress_free(struct compress *c)
{
	if (c)
		compressor_close(c->kind, c->ctx);
	g_free(c);
}

static unsigned size(struct compress *c, struct pattern p, const uint64_t *page)
{
	char out[COMPRESSED_MAX];

	return c->kind->size ? c->kind->size(p) : c->kind->pack(c->ctx, page, out);
}

unsigned compress_pattern(struct compress *c, struct pattern p)
{
	struct memo *memo = &c->memo[(rng_mix(p.base) ^ rng_mix(~p.stamp)) % MEMO_ENTRIES];
	uint64_t page[PAGE_SIZE / 8];

	if (!memo->nbytes || memo->content.base != p.base || memo->content.stamp != p.stamp) {
		pattern_fill(p, page);
		*memo = (struct memo){ p, size(c, p, page) };
	}
	return memo->nbytes;
}

unsigned compress_bytes(struct compress *c, const uint64_t *page)
{
	return size(c, (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), page[0] }, page);
}

const struct compressor *compress_kind(const struct compress *c)
{
	return c->kind;
}
