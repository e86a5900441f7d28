/* SPDX-License-Identifier: MIT */
/* compress.h - what a page's bytes compress to; see compress.c */
#ifndef OVERBOOK_SIM_COMPRESS_H
#define OVERBOOK_SIM_COMPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/pattern.h"

struct compressor {
	const char *name, *summary;
	bool fast; /* charged at the profile's lz4_ prices */
	/* Bytes that 4096 at @page become; @pattern is what they were made from, or of family BYTES. */
	unsigned (*size)(void *ctx, struct pattern pattern, const uint64_t *page);
	void *(*open)(void); /* NULL: needs no ctx */
	void (*close)(void *ctx);
};

extern const struct compressor *const compressors[]; /* NULL-ended: zstd, lz4, table */

struct compress;

struct compress *compress_new(const struct compressor *c);
void compress_free(struct compress *c);
/* Of a page made from @p, which is not of family BYTES: remembered. */
unsigned compress_pattern(struct compress *c, struct pattern p);
unsigned compress_bytes(struct compress *c, const uint64_t *page);
const struct compressor *compress_kind(const struct compress *c);

#endif
