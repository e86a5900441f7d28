/* SPDX-License-Identifier: MIT */
/* patch.c - see patch.h */
#include "mm/patch.h"

#include <errno.h>
#include <glib.h>
#include <zstd.h>

#include "mm/err.h"
#include "mm/types.h"

_Static_assert(ZSTD_COMPRESSBOUND(PAGE_SIZE) <= PATCH_MAX, "a patch fits");

struct patcher {
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
};

struct patcher *patcher_new(void)
{
	struct patcher *p = g_new0(struct patcher, 1);

	p->c = ZSTD_createCCtx();
	p->d = ZSTD_createDCtx();
	g_assert(p->c && p->d);
	/* What is the same for all patches need not be written into each. */
	ZSTD_CCtx_setParameter(p->c, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(p->c, ZSTD_c_contentSizeFlag, 0);
	ZSTD_CCtx_setParameter(p->c, ZSTD_c_checksumFlag, 0);
	return p;
}

void patcher_free(struct patcher *p)
{
	ZSTD_freeCCtx(p->c);
	ZSTD_freeDCtx(p->d);
	g_free(p);
}

unsigned patch_make(struct patcher *p, const void *reference, const void *page, void *patch)
{
	size_t n;

	ZSTD_CCtx_refPrefix(p->c, reference, PAGE_SIZE);
	n = ZSTD_compress2(p->c, patch, PATCH_MAX, page, PAGE_SIZE);
	g_assert(!ZSTD_isError(n));
	return (unsigned)n;
}

int patch_apply(struct patcher *p, const void *reference, const void *patch, unsigned nbytes, void *page)
{
	ZSTD_DCtx_refPrefix(p->d, reference, PAGE_SIZE);
	return ZSTD_decompressDCtx(p->d, page, PAGE_SIZE, patch, nbytes) == PAGE_SIZE ? 0 : ERR(-EINVAL);
}
