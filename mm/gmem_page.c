/* SPDX-License-Identifier: MIT */
/*
 * gmem_page.c - whole pages in and out of guest memory
 *
 * A disk moves pages, and most pages are patterns: where both ends know of patterns, sixteen bytes move instead of 4096
 * (machine_ops.take and put). The arena, and a machine that has bytes only, get bytes.
 *
 * Invariant (tests/unit/test_gmem.c): state, counts and bytes are as after gmem_read() and gmem_write() of the page.
 */
#include <string.h>

#include "mm/err.h"
#include "mm/gmem.h"

static bool is_bytes(const struct page_content *c)
{
	return PATTERN_FAMILY(c->pattern.base) == PATTERN_BYTES;
}

void page_content_bytes(const struct page_content *in, void *page)
{
	uint64_t words[PAGE_SIZE / 8];

	if (!is_bytes(in))
		pattern_fill(in->pattern, words);
	memcpy(page, is_bytes(in) ? in->words : words, PAGE_SIZE);
}

int gmem_read_page(struct gmem *g, gfn_t gfn, struct page_content *out)
{
	struct machine *m = gmem_machine(g);
	struct gmem_page page;
	int err;

	if (gfn >= gmem_config(g)->arena_pages && m->ops->take) {
		err = gmem_fault(g, gfn, ACC_R, FAULT_DMA, &page);
		if (!err)
			m->ops->take(m, gmem_config(g)->vm, gfn, page.hfn, out);
		return err;
	}
	if (gfn >= gmem_config(g)->npages)
		return ERR(-EFAULT);
	err = gmem_read(g, gfn << PAGE_SHIFT, out->words, PAGE_SIZE);
	out->pattern = (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), out->words[0] };
	return err;
}

int gmem_write_page(struct gmem *g, gfn_t gfn, const struct page_content *in)
{
	struct machine *m = gmem_machine(g);
	uint64_t words[PAGE_SIZE / 8];
	struct gmem_page page;
	int err;

	if (gfn >= gmem_config(g)->arena_pages && m->ops->put) {
		err = gmem_fault(g, gfn, ACC_W, FAULT_DMA, &page);
		if (!err)
			m->ops->put(m, gmem_config(g)->vm, gfn, page.hfn, in);
		return err;
	}
	if (gfn >= gmem_config(g)->npages)
		return ERR(-EFAULT);
	page_content_bytes(in, words);
	return gmem_write(g, gfn << PAGE_SHIFT, words, PAGE_SIZE);
}
