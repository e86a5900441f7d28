/* SPDX-License-Identifier: MIT */
/*
 * disk_image.c - sparse contents of a disk
 *
 * Problem: disks are larger than the memory that simulates them, and most of their pages are never written.
 *
 * Idea: what a page holds at first is computed from its number. A written page is a pattern in a lazily backed array,
 * marked in a bitmap; only a page that is no pattern has its bytes in a hash table. Reading part of a page makes its
 * bytes; writing part of one turns it into bytes.
 *
 * Invariants (tests/unit/test_disk_image.c against plain bytes):
 *  - the hash table has an entry for just the written pages of family PATTERN_BYTES;
 *  - next_written() goes over written pages in order of their number.
 */
#include "vmm/disk_image.h"

#include <glib.h>
#include <string.h>

#include "mm/gmem.h"
#include "mm/lazy.h"
#include "workloads/rng.h"

struct disk_image {
	struct disk_image_config cfg;
	uint64_t npages;
	uint64_t *written;	 /* one bit a page, lazily backed */
	struct pattern *content; /* of written pages, lazily backed */
	GHashTable *bytes;	 /* page -> its 4096 bytes */
};

static uint64_t bitmap_bytes(const struct disk_image *d)
{
	return (d->npages / 64 + 1) * sizeof(*d->written);
}

struct disk_image *disk_image_new(const struct disk_image_config *cfg)
{
	struct disk_image *d = g_new0(struct disk_image, 1);

	d->cfg = *cfg;
	d->npages = cfg->file_pages + cfg->swap_pages;
	d->bytes = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	d->written = lazy_new(bitmap_bytes(d));
	d->content = lazy_new(d->npages * sizeof(*d->content));
	if (d->written && d->content)
		return d;
	disk_image_free(d);
	return NULL;
}

void disk_image_free(struct disk_image *d)
{
	if (!d)
		return;
	lazy_free(d->written, bitmap_bytes(d));
	lazy_free(d->content, d->npages * sizeof(*d->content));
	g_hash_table_unref(d->bytes);
	g_free(d);
}

const struct disk_image_config *disk_image_config(const struct disk_image *d)
{
	return &d->cfg;
}

uint64_t disk_image_pages(const struct disk_image *d)
{
	return d->npages;
}

/* As the pages of a region are filled (workloads/program.c), so that files and memory may hold the same. */
static uint64_t initial_base(const struct disk_image *d, uint64_t page)
{
	unsigned family = PATTERN_FAMILY(d->cfg.content);
	uint64_t n = PATTERN_NUMBER(d->cfg.content), i = n ? page % n : page;

	if (page >= d->cfg.file_pages || family == PATTERN_ZERO)
		return 0;
	if (family == PATTERN_NEAR)
		return PATTERN_BASE(family, (n ? i / 32 : rng_mix(d->cfg.key + i / 32)) << 8 | (i % 32 + 1));
	return PATTERN_BASE(family, n ? i + 1 : rng_mix(d->cfg.key + i));
}

static bool is_written(const struct disk_image *d, uint64_t page)
{
	return d->written[page / 64] >> page % 64 & 1;
}

static bool is_bytes(const struct page_content *c)
{
	return PATTERN_FAMILY(c->pattern.base) == PATTERN_BYTES;
}

static gpointer key_of(uint64_t page)
{
	return GSIZE_TO_POINTER(page);
}

void disk_image_read(const struct disk_image *d, uint64_t page, struct page_content *out)
{
	g_assert(page < d->npages);
	if (!is_written(d, page)) {
		out->pattern = (struct pattern){ initial_base(d, page), 0 };
		return;
	}
	out->pattern = d->content[page];
	if (is_bytes(out))
		memcpy(out->words, g_hash_table_lookup(d->bytes, key_of(page)), PAGE_SIZE);
}

void disk_image_write(struct disk_image *d, uint64_t page, const struct page_content *in)
{
	g_assert(page < d->npages);
	if (is_bytes(in))
		g_hash_table_insert(d->bytes, key_of(page), g_memdup2(in->words, PAGE_SIZE));
	else if (is_written(d, page) && PATTERN_FAMILY(d->content[page].base) == PATTERN_BYTES)
		g_hash_table_remove(d->bytes, key_of(page));
	d->content[page] = in->pattern;
	d->written[page / 64] |= 1ull << page % 64;
}

void disk_image_read_bytes(const struct disk_image *d, uint64_t offset, void *buf, uint64_t len)
{
	struct page_content c;
	uint8_t page[PAGE_SIZE], *to = buf;

	while (len) {
		uint64_t at = offset % PAGE_SIZE, n = MIN(len, PAGE_SIZE - at);

		disk_image_read(d, offset / PAGE_SIZE, &c);
		page_content_bytes(&c, page);
		memcpy(to, page + at, n);
		to += n;
		offset += n;
		len -= n;
	}
}

/* @buf NULL: zeros. */
static void write_bytes(struct disk_image *d, uint64_t offset, const uint8_t *buf, uint64_t len)
{
	while (len) {
		uint64_t at = offset % PAGE_SIZE, n = MIN(len, PAGE_SIZE - at);
		struct page_content c = { .pattern = { 0, 0 } };
		uint8_t page[PAGE_SIZE];

		if (n < PAGE_SIZE || buf) {
			disk_image_read(d, offset / PAGE_SIZE, &c);
			page_content_bytes(&c, page);
			if (buf)
				memcpy(page + at, buf, n);
			else
				memset(page + at, 0, n);
			memcpy(c.words, page, PAGE_SIZE);
			c.pattern = (struct pattern){ PATTERN_BASE(PATTERN_BYTES, 0), c.words[0] };
		}
		disk_image_write(d, offset / PAGE_SIZE, &c);
		buf = buf ? buf + n : NULL;
		offset += n;
		len -= n;
	}
}

void disk_image_write_bytes(struct disk_image *d, uint64_t offset, const void *buf, uint64_t len)
{
	g_assert(buf || !len);
	if (len)
		write_bytes(d, offset, buf, len);
}

void disk_image_zero(struct disk_image *d, uint64_t offset, uint64_t len)
{
	write_bytes(d, offset, NULL, len);
}

uint64_t disk_image_next_written(const struct disk_image *d, uint64_t page)
{
	while (page < d->npages) {
		uint64_t word = d->written[page / 64] >> page % 64;

		if (word)
			return page + (uint64_t)__builtin_ctzll(word);
		page = (page / 64 + 1) * 64;
	}
	return UINT64_MAX;
}

bool disk_image_is_initial(const struct disk_image *d, uint64_t page, const struct page_content *c)
{
	const struct page_content first = { .pattern = { initial_base(d, page), 0 } };
	uint8_t a[PAGE_SIZE], b[PAGE_SIZE];

	if (!is_bytes(c))
		return c->pattern.base == first.pattern.base && c->pattern.stamp == 0;
	page_content_bytes(c, a);
	page_content_bytes(&first, b);
	return !memcmp(a, b, PAGE_SIZE);
}
