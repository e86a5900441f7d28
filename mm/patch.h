/* SPDX-License-Identifier: MIT */
/*
 * patch.h - one page as its difference to another
 *
 * zstd does it: the reference page is the prefix (ZSTD_CCtx_refPrefix) that the compressor may copy from, so a page
 * that differs in a few words becomes a few dozen bytes. The same frame of bytes and the same reference make the page
 * again.
 */
#ifndef OVERBOOK_MM_PATCH_H
#define OVERBOOK_MM_PATCH_H

#include <stddef.h>

/* Room for any patch: zstd's bound for a page. */
#define PATCH_MAX 4200

struct patcher;

struct patcher *patcher_new(void);
void patcher_free(struct patcher *p);

/* The bytes of @patch (PATCH_MAX) from which @reference makes @page; how many. */
unsigned patch_make(struct patcher *p, const void *reference, const void *page, void *patch);
/* The inverse. -EINVAL: no patch, or not for a page. */
int patch_apply(struct patcher *p, const void *reference, const void *patch, unsigned nbytes, void *page);

#endif
