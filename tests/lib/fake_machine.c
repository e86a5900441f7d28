/* SPDX-License-Identifier: MIT */
/* fake_machine.c - see fake_machine.h */
#include "tests/lib/fake_machine.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "mm/patch.h"

static struct fake_machine *fake(struct machine *m)
{
	return (struct fake_machine *)m;
}

/* True when a failure that was asked for is due. */
static bool due(uint64_t *in)
{
	return *in && --*in == 0;
}

static int fake_populate(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn;
	g_assert(hfn + npages <= fm->npages);
	if (due(&fm->fail_populate_in))
		return -EIO;
	if (npages >= LEVEL_PAGES(2))
		g_assert(madvise(fake_machine_page(fm, hfn), npages * PAGE_SIZE, MADV_DONTNEED) == 0);
	else
		memset(fake_machine_page(fm, hfn), 0, npages * PAGE_SIZE);
	fm->populated += npages;
	return 0;
}

static void fake_release(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages)
{
	(void)vm, (void)gfn, (void)hfn;
	fake(m)->released += npages;
}

static int fake_move(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn;
	g_assert(from < fm->npages && to < fm->npages && from != to);
	if (due(&fm->fail_move_in))
		return -EIO;
	memcpy(fake_machine_page(fm, to), fake_machine_page(fm, from), PAGE_SIZE);
	fm->moved++;
	return 0;
}

static int fake_share(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn;
	g_assert(from < fm->npages && to < fm->npages);
	g_assert(!memcmp(fake_machine_page(fm, from), fake_machine_page(fm, to), PAGE_SIZE));
	if (fm->no_share || due(&fm->fail_share_in))
		return -ENOSPC;
	fm->shared++;
	return 0;
}

static int fake_unshare(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn;
	g_assert(from < fm->npages && to < fm->npages && from != to);
	if (due(&fm->fail_unshare_in))
		return -EIO;
	memcpy(fake_machine_page(fm, to), fake_machine_page(fm, from), PAGE_SIZE);
	fm->unshared++;
	return 0;
}

static const uint8_t zeros[PAGE_SIZE];

static const uint8_t *content(struct machine *m, hfn_t hfn)
{
	return hfn == HFN_NONE ? zeros : fake_machine_page(fake(m), hfn);
}

static int fake_compare(struct machine *m, hfn_t a, hfn_t b)
{
	return memcmp(content(m, a), content(m, b), PAGE_SIZE);
}

static uint64_t fake_checksum(struct machine *m, hfn_t hfn)
{
	return XXH3_64bits(content(m, hfn), PAGE_SIZE) & fake(m)->checksum_mask;
}

static uint64_t fake_block_checksum(struct machine *m, hfn_t hfn, unsigned offset)
{
	return XXH3_64bits(content(m, hfn) + offset, MACHINE_BLOCK) & fake(m)->checksum_mask;
}

static int fake_read(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, void *buf, unsigned len)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn;
	g_assert(hfn < fm->npages && offset + len <= PAGE_SIZE);
	memcpy(buf, fake_machine_page(fm, hfn) + offset, len);
	fm->reads++;
	return 0;
}

static int fake_write(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, const void *buf,
		      unsigned len)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn;
	g_assert(hfn < fm->npages && offset + len <= PAGE_SIZE);
	memcpy(fake_machine_page(fm, hfn) + offset, buf, len);
	fm->writes++;
	return 0;
}

static int fake_save(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn, (void)device;
	if (due(&fm->fail_save_in))
		return -EIO;
	g_assert(!g_hash_table_contains(fm->slots, GSIZE_TO_POINTER(slot)));
	g_hash_table_insert(fm->slots, GSIZE_TO_POINTER(slot), g_memdup2(fake_machine_page(fm, hfn), PAGE_SIZE));
	fm->saved++;
	return 0;
}

struct fake_patch {
	hfn_t reference;
	unsigned nbytes;
	uint8_t bytes[PATCH_MAX];
};

static int fake_save_patch(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, hfn_t reference, uint64_t slot)
{
	struct fake_machine *fm = fake(m);
	struct fake_patch *p;

	(void)vm, (void)gfn;
	if (due(&fm->fail_save_in))
		return -EIO;
	g_assert(!g_hash_table_contains(fm->slots, GSIZE_TO_POINTER(slot)));
	p = g_new0(struct fake_patch, 1);
	p->reference = reference;
	p->nbytes = patch_make(fm->patcher, fake_machine_page(fm, reference), fake_machine_page(fm, hfn), p->bytes);
	g_assert(g_hash_table_insert(fm->patches, GSIZE_TO_POINTER(slot), p));
	return 0;
}

static unsigned fake_patched_size(struct machine *m, hfn_t hfn, hfn_t reference)
{
	struct fake_machine *fm = fake(m);
	uint8_t patch[PATCH_MAX];

	return patch_make(fm->patcher, fake_machine_page(fm, reference), fake_machine_page(fm, hfn), patch);
}

static int fake_peek(struct machine *m, uint64_t slot, void *page)
{
	const void *bytes = g_hash_table_lookup(fake(m)->slots, GSIZE_TO_POINTER(slot));
	const struct fake_patch *p = g_hash_table_lookup(fake(m)->patches, GSIZE_TO_POINTER(slot));

	if (p)
		return patch_apply(fake(m)->patcher, fake_machine_page(fake(m), p->reference), p->bytes, p->nbytes,
				   page);
	g_assert(bytes);
	memcpy(page, bytes, PAGE_SIZE);
	return 0;
}

static int fake_load(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device)
{
	struct fake_machine *fm = fake(m);

	(void)vm, (void)gfn, (void)device;
	if (due(&fm->fail_load_in))
		return -EIO;
	fm->loaded++;
	return fake_peek(m, slot, fake_machine_page(fm, hfn));
}

/* What was a patch becomes a whole page. */
static int fake_write_back(struct machine *m, uint64_t slot)
{
	uint8_t page[PAGE_SIZE];

	if (due(&fake(m)->fail_save_in))
		return -EIO;
	fake_peek(m, slot, page);
	g_hash_table_remove(fake(m)->patches, GSIZE_TO_POINTER(slot));
	g_hash_table_insert(fake(m)->slots, GSIZE_TO_POINTER(slot), g_memdup2(page, PAGE_SIZE));
	return 0;
}

static void fake_drop(struct machine *m, uint64_t slot)
{
	g_assert(g_hash_table_remove(fake(m)->slots, GSIZE_TO_POINTER(slot)) !=
		 g_hash_table_remove(fake(m)->patches, GSIZE_TO_POINTER(slot)));
	fake(m)->dropped++;
}

static unsigned fake_compressed_size(struct machine *m, hfn_t hfn)
{
	const uint64_t *word = (const uint64_t *)fake_machine_page(fake(m), hfn);
	unsigned n = 8;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		n += word[i] ? 8 : 0;
	return n;
}

static void fake_swap_io(struct machine *m, bool write, uint64_t slot, uint64_t npages)
{
	struct fake_machine *fm = fake(m);

	(void)slot;
	*(write ? &fm->io_writes : &fm->io_reads) += 1;
	fm->io_pages += npages;
}

static void fake_flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n)
{
	(void)vm, (void)start, (void)n;
	fake(m)->flushes[kind]++;
}

static void fake_charge(struct machine *m, unsigned vm, enum charge_kind kind, uint64_t n)
{
	(void)vm;
	fake(m)->charged[kind] += n;
}

static uint64_t fake_now(struct machine *m)
{
	return fake(m)->now_ns;
}

static const struct machine_ops fake_ops = {
	.name = "fake",
	.populate = fake_populate,
	.release = fake_release,
	.move = fake_move,
	.share = fake_share,
	.unshare = fake_unshare,
	.compare = fake_compare,
	.checksum = fake_checksum,
	.block_checksum = fake_block_checksum,
	.read = fake_read,
	.write = fake_write,
	.save = fake_save,
	.save_patch = fake_save_patch,
	.patched_size = fake_patched_size,
	.load = fake_load,
	.write_back = fake_write_back,
	.drop = fake_drop,
	.peek = fake_peek,
	.compressed_size = fake_compressed_size,
	.swap_io = fake_swap_io,
	.flush = fake_flush,
	.charge = fake_charge,
	.now = fake_now,
};

struct fake_machine *fake_machine_new(uint64_t npages)
{
	struct fake_machine *fm = g_new0(struct fake_machine, 1);

	fm->base.ops = &fake_ops;
	fm->npages = npages;
	fm->checksum_mask = UINT64_MAX;
	fm->patcher = patcher_new();
	fm->patches = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	fm->slots = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	fm->bytes = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	g_assert(fm->bytes != MAP_FAILED);
	return fm;
}

void fake_machine_free(struct fake_machine *fm)
{
	g_hash_table_unref(fm->slots);
	g_hash_table_unref(fm->patches);
	patcher_free(fm->patcher);
	munmap(fm->bytes, fm->npages * PAGE_SIZE);
	g_free(fm);
}
