/* SPDX-License-Identifier: MIT */
/*
 * store_blobs.c - memory for compressed pages
 *
 * Problem: a compressed page is a few hundred bytes to four thousand, taken at every eviction and given back at every
 * swap-in. A general heap grows page by page, and a first touch of a page costs half as much as compressing one does.
 *
 * Idea: sizes in classes 64 bytes apart; each class takes spans of 32 KiB out of chunks of 2 MiB, which are huge pages
 * where the kernel has them. What is given back is the next to be taken of its class. Chunks are kept until the end.
 *
 * Invariant (tests/unit/test_store.c, random_operations): what is taken overlaps nothing that is.
 */
#include "mm/lazy.h"
#include "vmm/kvm/store_impl.h"

#define CHUNK (2u << 20)
#define SPAN  (32u << 10)
#define STEP  64u
#define CLASSES (COMPRESSED_MAX / STEP + 2)

struct blobs {
	GPtrArray *chunks;
	uint8_t *next, *end; /* of the newest chunk: not in a span yet */
	struct {
		void *free;	     /* each begins with the address of the next */
		uint8_t *next, *end; /* of the newest span */
	} class[CLASSES];
};

struct blobs *blobs_new(void)
{
	struct blobs *h = g_new0(struct blobs, 1);

	h->chunks = g_ptr_array_new();
	return h;
}

void blobs_free(struct blobs *h)
{
	for (unsigned i = 0; i < h->chunks->len; i++)
		lazy_free(g_ptr_array_index(h->chunks, i), CHUNK);
	g_ptr_array_unref(h->chunks);
	g_free(h);
}

static bool refill(struct blobs *h, unsigned class)
{
	if (h->next == h->end) {
		h->next = lazy_new(CHUNK);
		h->end = h->next ? h->next + CHUNK : NULL;
		if (!h->next)
			return false;
		g_ptr_array_add(h->chunks, h->next);
	}
	h->class[class].next = h->next;
	h->class[class].end = h->next += SPAN;
	return true;
}

void *blobs_take(struct blobs *h, unsigned nbytes)
{
	unsigned class = (nbytes + STEP - 1) / STEP;
	void *at = h->class[class].free;

	if (at) {
		h->class[class].free = *(void **)at;
		return at;
	}
	if (h->class[class].end - h->class[class].next < (ptrdiff_t)(class * STEP) && !refill(h, class))
		return NULL;
	at = h->class[class].next;
	h->class[class].next += class * STEP;
	return at;
}

void blobs_give(struct blobs *h, void *at, unsigned nbytes)
{
	unsigned class = (nbytes + STEP - 1) / STEP;

	*(void **)at = h->class[class].free;
	h->class[class].free = at;
}
