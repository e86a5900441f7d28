/* SPDX-License-Identifier: MIT */
/* fake_disk.c - see fake_disk.h */
#include "tests/lib/fake_disk.h"

#include <string.h>
#include <sys/mman.h>

static uint64_t disk_pages(const struct fake_disk *d)
{
	return d->info.file_pages + d->info.swap_pages;
}

bool fake_disk_submit(struct kernel *k, bool write, uint64_t disk_page, uint64_t gfn, uint32_t npages, uint64_t cookie)
{
	struct fake_disk *d = k->hal->disk;

	g_assert(npages && npages <= BLOCK_MAX_PAGES && disk_page + npages <= disk_pages(d));
	g_assert(gfn >= k->alloc.first_gfn && gfn + npages <= k->alloc.end_gfn && !k->hal->nqueued);
	if (d->nrequests == FAKE_REQUESTS)
		return false;
	for (unsigned i = 0; i < d->nrequests; i++) {
		struct fake_request *r = &d->request[i];

		g_assert(r->gfn + r->npages <= gfn || gfn + npages <= r->gfn); /* a page is under way once */
	}
	d->request[d->nrequests++] = (struct fake_request){ write, disk_page, gfn, cookie, npages };
	*(write ? &d->writes : &d->reads) += 1;
	return true;
}

/* The request is over: move the bytes, if it did not fail. */
static bool transfer(struct hal *h, const struct fake_request *r)
{
	struct fake_disk *d = h->disk;
	uint8_t *disk = d->bytes + r->page * PAGE_SIZE, *memory = h->mem + r->gfn * PAGE_SIZE;
	size_t nbytes = (size_t)r->npages * PAGE_SIZE;

	if (rng_below(&d->rng, 1000000) < d->failure_ppm) {
		d->failures++;
		return false;
	}
	if (r->write)
		memcpy(disk, memory, nbytes);
	else
		memcpy(memory, disk, nbytes);
	return true;
}

void fake_disk_interrupt(struct kernel *k)
{
	struct fake_disk *d = k->hal->disk;

	for (; d && d->due && d->nrequests; d->due--) {
		unsigned i = (unsigned)rng_below(&d->rng, d->nrequests);
		struct fake_request r = d->request[i];

		d->request[i] = d->request[--d->nrequests];
		block_done(k, r.cookie, transfer(k->hal, &r));
	}
}

static uint8_t *find(struct hal *h, uint64_t word, uint64_t disk_page)
{
	uint64_t gfn = word & CACHE_LOADING ? 0 : word_gfn(word);

	return gfn ? h->mem + gfn * PAGE_SIZE : h->disk->bytes + disk_page * PAGE_SIZE;
}

/* Is the page the one of its word, and is what its flags say so? */
static void check_cached(struct hal *h, uint64_t gfn, const struct fake_census *c)
{
	struct kernel *k = h->kernel;
	const struct lru_page *g = lru_page(k, gfn);

	g_assert_cmphex(word_gfn(*cache_word(k, gfn)), ==, gfn);
	g_assert(!!(*cache_word(k, gfn) & CACHE_LOADING) == !!(g->flags & PG_LOADING));
	if (g->flags & PG_FILE)
		g_assert(!c->file[gfn] || c->file[gfn] == (g->key >> PAGE_SHIFT) + 1);
	else
		g_assert_cmpuint(g->slot, <, k->mem.swap_pages);
}

/* A page on list @list. */
static void check_page(struct hal *h, uint64_t gfn, unsigned list, const struct fake_census *c)
{
	const struct lru_page *g = lru_page(h->kernel, gfn);
	bool cached = g->flags & PG_CACHED;

	g_assert(g->list == list && (list >= LRU_INACTIVE_FILE) == !!(g->flags & PG_FILE));
	g_assert(c->maps[gfn] || c->cached[gfn]);
	g_assert(cached == c->cached[gfn]);
	if (cached)
		check_cached(h, gfn, c);
	else
		g_assert(!(g->flags & (PG_LOADING | PG_WRITING | PG_RECLAIM)) && !c->file[gfn]);
	if (c->file[gfn])
		g_assert(cached && (g->flags & PG_FILE));
	if (c->writer[gfn] && cached)
		g_assert_cmpuint(h->kernel->mem.slot[g->slot].refs, ==, 0);
}

static uint64_t check_list(struct hal *h, unsigned list, const struct fake_census *c)
{
	struct kernel *k = h->kernel;
	const struct lru *l = &k->mem.list[list];
	uint32_t before = NO_PAGE;
	uint64_t n = 0;

	for (uint32_t at = l->head; at != NO_PAGE; at = k->mem.page[at].next) {
		g_assert(k->mem.page[at].prev == before);
		check_page(h, k->alloc.first_gfn + at, list, c);
		n += k->mem.page[at].flags & PG_LARGE ? LEVEL_PAGES(2) : 1;
		before = at;
	}
	g_assert(before == l->tail);
	g_assert_cmpuint(n, ==, l->npages);
	g_assert_cmpuint(n, ==, k->counts.pages_list[list]);
	return n;
}

static void check_slots(struct kernel *k, const struct fake_census *c)
{
	const struct memory *m = &k->mem;
	uint64_t used = 0, in_cluster = 0;

	for (uint64_t i = 0; i < m->swap_pages; i++) {
		uint64_t gfn = word_gfn(m->slot[i].word);

		g_assert_cmpuint(m->slot[i].refs, ==, c->refs[i]);
		if (gfn)
			g_assert((lru_page(k, gfn)->flags & (PG_CACHED | PG_FILE)) == PG_CACHED &&
				 lru_page(k, gfn)->slot == i);
		g_assert(m->slot[i].refs || !m->slot[i].word || gfn);
		in_cluster += m->slot[i].refs || m->slot[i].word;
		if (i % SWAP_CLUSTER == SWAP_CLUSTER - 1 || i == m->swap_pages - 1) {
			g_assert_cmpuint(m->cluster[i / SWAP_CLUSTER], ==, in_cluster);
			used += in_cluster;
			in_cluster = 0;
		}
	}
	g_assert_cmpuint(used + m->swap_free, ==, m->swap_pages);
}

static void check(struct hal *h, const struct fake_census *c)
{
	struct kernel *k = h->kernel;
	uint64_t listed = 0, used = 0, under_way = 0;

	for (unsigned i = 0; i < LRU_LISTS; i++)
		listed += check_list(h, i, c);
	for (uint64_t gfn = k->alloc.first_gfn; gfn < k->alloc.end_gfn; gfn++)
		used += c->maps[gfn] || c->cached[gfn];
	g_assert_cmpuint(listed, ==, used);
	check_slots(k, c);
	for (uint64_t i = 0; i < k->mem.file_pages; i++) {
		uint64_t gfn = word_gfn(k->mem.index[i]);

		if (gfn)
			g_assert((lru_page(k, gfn)->flags & (PG_CACHED | PG_FILE)) == (PG_CACHED | PG_FILE) &&
				 lru_page(k, gfn)->key >> PAGE_SHIFT == i);
	}
	for (unsigned i = 0; i < h->disk->nrequests; i++)
		under_way += h->disk->request[i].npages;
	g_assert_cmpuint(under_way, ==, k->mem.nloading + k->mem.nwriting);
	g_assert(under_way || k->mem.blocked_head == NO_PROCESS);
}

struct fake_disk *fake_disk_new(uint64_t file_pages, uint64_t swap_pages, uint64_t seed)
{
	struct fake_disk *d = g_new0(struct fake_disk, 1);

	d->info = (struct disk_info){ .registers = 1, .file_pages = file_pages, .swap_pages = swap_pages };
	d->bytes = mmap(NULL, (disk_pages(d) + 1) * PAGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g_assert(d->bytes != MAP_FAILED);
	for (uint64_t i = 0; i < file_pages; i++)
		*(uint64_t *)(d->bytes + i * PAGE_SIZE) = i + 1;
	rng_seed(&d->rng, seed);
	d->check = check;
	d->find = find;
	return d;
}

void fake_disk_free(struct fake_disk *d)
{
	munmap(d->bytes, (disk_pages(d) + 1) * PAGE_SIZE);
	g_free(d);
}

bool fake_disk_run(struct hal *h, unsigned n)
{
	struct fake_disk *d = h->disk;

	if (!d->nrequests)
		return false;
	d->due = n < d->nrequests ? n : d->nrequests;
	fake_interrupt(h);
	return true;
}
