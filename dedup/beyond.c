/* SPDX-License-Identifier: MIT */
/*
 * beyond.c - beyond merging: patches and compression for pages that no other equals
 *
 * Problem. Most pages of a host are equal to no other, yet many are nearly so: the same library with another
 * relocation, the same buffer with another time in it. And many that are like nothing else compress well. Both ways
 * to keep them small cost time whenever they are touched, so they are for pages that are not.
 *
 * Idea, the Difference Engine's. A cursor of its own goes round the pages that the merging algorithm has looked at and
 * could not merge. It asks whether each was touched since it came by last (test_clear_young); one that was not for
 * `cold_passes` rounds is cold. To find a page like it, two blocks of 64 bytes at fixed places are hashed, and each is
 * looked up in an index of its own, which names the last page that had such a block there: HashSimilarityDetector(2,1)
 * with one candidate. If a patch against the better of the two takes half a page or less, that page's frame becomes a
 * merged one, so that it stays as it is, and the cold page becomes a patch in the compressed tier (mm/swap_patch.c).
 * Else it is compressed, if it shrinks to three quarters.
 *
 * With `potential` both sizes are measured for every page that does not merge, cold or not, at no cost to anybody: what
 * there would be to save.
 *
 * The places of the blocks are drawn from the seed, but not among the first 64 bytes: those hold what makes each of our
 * synthetic pages differ (workloads/pattern.h), which real pages have not.
 *
 * Differences to the paper: merging, patching and compression are three looks at different times there too, but with a
 * clock of four states; here cold is a count. Its references are whole pages that may themselves be patched against
 * nothing; so are ours.
 *
 * Structures: two hash tables from a block's hash to the page that had it, named by vm and gfn; what is stale in them
 * goes at the end of each round. Two sizes for each page in lazily backed memory, if potential is measured.
 *
 * Invariants (tests/model/test_patch_model.c): no content is lost; a reference stays while patches refer to it; frames
 * in use are those of pages, of the tier, and of references that no page maps.
 *
 * Source: Gupta, Lee, Vrable, Savage, Snoeren, Varghese, Voelker, Vahdat, Difference Engine: Harnessing Memory
 * Redundancy in Virtual Machines, OSDI 2008, sections 3 and 4.
 */
#include "dedup/beyond.h"

#include <errno.h>

#include "mm/lazy.h"
#include "workloads/rng.h"

#define BLOCKS 2u
/* A patch that takes more than half a page is none. */
#define PATCH_WORTH (PAGE_SIZE / 2)
/* As swap.c: a page that compresses to more is not worth the time. */
#define COMPRESS_WORTH (PAGE_SIZE * 3 / 4)
#define COLD_MAX       127

/* Bytes when last measured; 0: not measured, or it would not pay. */
struct sizes {
	uint16_t patch, compress;
};

struct beyond {
	struct dedup *d;
	unsigned offset[BLOCKS];
	GHashTable *index[BLOCKS]; /* hash of a block: the page that has it, packed */
	struct sizes **sizes;	   /* [vm][gfn]; NULL without potential */
	unsigned vm;		   /* where the cursor is */
	gfn_t gfn;
};

/* Not 0, which a table takes for nothing. */
static gpointer pack(const struct dedup_page *p)
{
	return GSIZE_TO_POINTER((uint64_t)(p->vm + 1) << 44 | p->gfn);
}

static void unpack(struct dedup *d, gpointer name, struct dedup_page *p)
{
	uint64_t n = GPOINTER_TO_SIZE(name);

	dedup_look(d, (unsigned)(n >> 44) - 1, n & ((1ull << 44) - 1), p);
}

static uint64_t sizes_bytes(const struct dedup *d, unsigned vm)
{
	return gmem_config(d->cfg.vms[vm])->npages * sizeof(struct sizes);
}

struct beyond *beyond_new(struct dedup *d)
{
	const struct dedup_config *c = &d->cfg;
	const struct machine_ops *ops = c->machine->ops;
	struct beyond *b;
	bool ok = true;

	errno = 0;
	if (!(c->patch || c->compress || c->potential) || !ops->patched_size || !ops->compressed_size)
		return NULL;
	g_assert(c->cold_passes >= 1 && c->cold_passes <= COLD_MAX);
	b = g_new0(struct beyond, 1);
	b->d = d;
	for (unsigned k = 0; k < BLOCKS; k++) {
		uint64_t draw = rng_mix(c->seed ^ rng_mix(k + 77));

		/* The first from the lower half of the page, the second from the upper. */
		b->offset[k] = MACHINE_BLOCK * (k ? 32 + (unsigned)(draw % 32) : 1 + (unsigned)(draw % 31));
		b->index[k] = g_hash_table_new(g_direct_hash, g_direct_equal);
	}
	if (c->potential)
		b->sizes = g_new0(struct sizes *, c->nvms);
	for (unsigned vm = 0; b->sizes && vm < c->nvms; vm++) {
		b->sizes[vm] = lazy_new(sizes_bytes(d, vm));
		ok = ok && b->sizes[vm];
	}
	if (ok)
		return b;
	beyond_free(b);
	errno = ENOMEM;
	return NULL;
}

void beyond_free(struct beyond *b)
{
	if (!b)
		return;
	for (unsigned k = 0; k < BLOCKS; k++)
		g_hash_table_unref(b->index[k]);
	for (unsigned vm = 0; b->sizes && vm < b->d->cfg.nvms; vm++)
		lazy_free(b->sizes[vm], sizes_bytes(b->d, vm));
	g_free(b->sizes);
	g_free(b);
}

void beyond_forget(struct beyond *b, unsigned vm, gfn_t gfn)
{
	if (b->sizes)
		b->sizes[vm][gfn] = (struct sizes){ 0, 0 };
}

/* Not merged when last looked at, and likely to stay as it is. */
static bool left_over(const struct dedup_page *p)
{
	enum dedup_reason why = p->item->reason;

	return p->page.state == PAGE_RESIDENT &&
	       (why == REASON_UNIQUE || why == REASON_LIMIT || why == REASON_NODE || why == REASON_REFUSED);
}

static gpointer block_hash(const struct beyond *b, const struct dedup_page *p, unsigned k)
{
	struct machine *m = b->d->cfg.machine;

	return GSIZE_TO_POINTER(m->ops->block_checksum(m, p->page.hfn, b->offset[k]));
}

/*
 * The page that the smallest patch of @p is against, and that patch's size; 0: there is none worth it. The index
 * names pages that may have changed since: measuring tells what they are worth.
 */
static unsigned best_patch(struct beyond *b, const struct dedup_page *p, const gpointer *hash, struct dedup_page *best)
{
	struct machine *m = b->d->cfg.machine;
	unsigned least = 0;

	for (unsigned k = 0; k < BLOCKS; k++) {
		gpointer name = g_hash_table_lookup(b->index[k], hash[k]);
		struct dedup_page other;
		unsigned n;

		if (!name || name == pack(p))
			continue;
		unpack(b->d, name, &other);
		if (other.page.state != PAGE_SHARED && !(left_over(&other) && dedup_candidate(b->d, &other)))
			continue;
		if (dedup_domain(b->d, other.page.hfn) != dedup_domain(b->d, p->page.hfn))
			continue;
		n = m->ops->patched_size(m, p->page.hfn, other.page.hfn);
		if (n <= PATCH_WORTH && (!least || n < least)) {
			least = n;
			*best = other;
		}
	}
	return least;
}

static void charge(struct beyond *b, unsigned vm, enum charge_kind kind)
{
	b->d->cfg.machine->ops->charge(b->d->cfg.machine, vm, kind, 1);
}

/* True if the page has become a patch. */
static bool patch(struct beyond *b, struct dedup_page *p, const gpointer *hash)
{
	struct dedup_page reference;
	unsigned n = best_patch(b, p, hash, &reference);

	if (!n || !swap_can_store(b->d->cfg.swap, p->g, p->gfn, n))
		return false;
	charge(b, p->vm, CHARGE_COMPRESS);
	if (reference.page.state == PAGE_RESIDENT && !dedup_merge_alone(b->d, &reference))
		return false;
	if (dedup_refs(b->d, reference.page.hfn) >= b->d->cfg.max_page_sharing)
		return false;
	return !swap_store(b->d->cfg.swap, p->g, p->gfn, n, reference.page.hfn);
}

static bool compress(struct beyond *b, struct dedup_page *p)
{
	struct machine *m = b->d->cfg.machine;
	unsigned n = m->ops->compressed_size(m, p->page.hfn);

	charge(b, p->vm, CHARGE_COMPRESS);
	return n <= COMPRESS_WORTH && swap_can_store(b->d->cfg.swap, p->g, p->gfn, n) &&
	       !swap_store(b->d->cfg.swap, p->g, p->gfn, n, HFN_NONE);
}

static void measure(struct beyond *b, const struct dedup_page *p, const gpointer *hash)
{
	struct machine *m = b->d->cfg.machine;
	unsigned n = m->ops->compressed_size(m, p->page.hfn);
	struct dedup_page reference;

	b->sizes[p->vm][p->gfn] = (struct sizes){
		.patch = (uint16_t)best_patch(b, p, hash, &reference),
		.compress = n <= COMPRESS_WORTH ? (uint16_t)n : 0,
	};
}

static bool is_cold(struct beyond *b, struct dedup_page *p)
{
	if (gmem_test_clear_young(p->g, p->gfn))
		p->item->cold = 0;
	else if (p->item->cold < COLD_MAX)
		p->item->cold++;
	return p->item->cold >= b->d->cfg.cold_passes;
}

static void look(struct beyond *b, struct dedup_page *p)
{
	const struct dedup_config *c = &b->d->cfg;
	gpointer hash[BLOCKS];

	if (p->page.state != PAGE_SHARED && (!left_over(p) || !dedup_candidate(b->d, p)))
		return;
	for (unsigned k = 0; k < BLOCKS; k++)
		hash[k] = block_hash(b, p, k);
	if (p->page.state == PAGE_RESIDENT) {
		if (b->sizes)
			measure(b, p, hash);
		if (c->swap && (c->patch || c->compress) && is_cold(b, p) &&
		    ((c->patch && patch(b, p, hash)) || (c->compress && compress(b, p))))
			return;
	}
	for (unsigned k = 0; k < BLOCKS; k++)
		g_hash_table_insert(b->index[k], hash[k], pack(p));
}

static gboolean stale(gpointer key, gpointer value, gpointer data)
{
	struct beyond *b = data;
	struct dedup_page p;

	(void)key;
	unpack(b->d, value, &p);
	return p.page.state != PAGE_SHARED && !left_over(&p);
}

/* The next page of the round; false: it is over, and another has begun. */
static bool next_page(struct beyond *b, struct dedup_page *p)
{
	for (; b->vm < b->d->cfg.nvms; b->vm++, b->gfn = 0) {
		gfn_t gfn = gmem_next_mapped(b->d->cfg.vms[b->vm], b->gfn);

		if (gfn == GFN_NONE)
			continue;
		b->gfn = gfn + 1;
		dedup_look(b->d, b->vm, gfn, p);
		return true;
	}
	for (unsigned k = 0; k < BLOCKS; k++)
		g_hash_table_foreach_remove(b->index[k], stale, b);
	b->vm = 0;
	b->gfn = 0;
	return false;
}

void beyond_scan(struct beyond *b, uint64_t npages)
{
	struct dedup_page p;

	while (npages-- && next_page(b, &p))
		look(b, &p);
}

void beyond_report(const struct beyond *b, const struct dedup_page *p)
{
	struct counters *c = gmem_counters(p->g);
	const struct sizes *s;

	if (!b->sizes || !left_over(p))
		return;
	s = &b->sizes[p->vm][p->gfn];
	c->potential_patch += s->patch ? PAGE_SIZE - s->patch : 0;
	c->potential_compress += s->compress ? PAGE_SIZE - s->compress : 0;
	if (s->patch && (!s->compress || s->patch < s->compress))
		c->potential_both += PAGE_SIZE - s->patch;
	else if (s->compress)
		c->potential_both += PAGE_SIZE - s->compress;
}
