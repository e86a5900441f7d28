/* SPDX-License-Identifier: MIT */
/*
 * compressor.h - what can compress swapped pages, on either machine
 *
 * The simulator asks for sizes only, the real machine keeps what pack() makes; both call the same code, so the same
 * pages go to the compressed tier on both.
 */
#ifndef OVERBOOK_VMM_COMPRESSOR_H
#define OVERBOOK_VMM_COMPRESSOR_H

#include <stdbool.h>

#include "workloads/pattern.h"

/* Room for whatever becomes of a page. */
#define COMPRESSED_MAX 4200u

struct compressor {
	const char *name, *summary;
	bool fast;	      /* charged at the profile's lz4_ prices */
	void *(*open)(void);  /* a ctx for the calls below; NULL: needs none */
	void (*close)(void *ctx);
	/* Compress the 4096 bytes at @page into @out, which has room for COMPRESSED_MAX. How many bytes. */
	unsigned (*pack)(void *ctx, const void *page, void *out);
	int (*unpack)(void *ctx, const void *in, unsigned nbytes, void *page); /* -EIO: no page becomes of them */
	/* What counts as the size of a page made from @pattern, or of family BYTES; NULL: as many as pack() made. */
	unsigned (*size)(struct pattern pattern);
};

extern const struct compressor *const compressors[]; /* NULL-ended: zstd, lz4, table, as conf_swap.compressor counts */
extern const struct compressor compressor_none; /* pages as they are; not among them */

/* Also "none"; NULL: there is none of this name. */
const struct compressor *compressor_find(const char *name);
void *compressor_open(const struct compressor *c);
void compressor_close(const struct compressor *c, void *ctx);

#endif
