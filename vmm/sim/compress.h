/* SPDX-License-Identifier: MIT */
/* compress.h - the sizes of compressed pages, remembered; see compress.c */
#ifndef OVERBOOK_SIM_COMPRESS_H
#define OVERBOOK_SIM_COMPRESS_H

#include <stdint.h>

#include "vmm/compressor.h"

struct compress;

struct compress *compress_new(const struct compressor *c);
void compress_free(struct compress *c);
/* Of a page made from @p, which is not of family BYTES: remembered. */
unsigned compress_pattern(struct compress *c, struct pattern p);
unsigned compress_bytes(struct compress *c, const uint64_t *page);
const struct compressor *compress_kind(const struct compress *c);

#endif
