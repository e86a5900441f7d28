/* SPDX-License-Identifier: MIT */
/*
 * digest.c - the guest's processes, hashed
 *
 * Walks each live process's tables as the guest wrote them, in order of pid, and feeds (va, protection, bytes) of
 * each 4 KiB page to one streaming XXH3. Large leaves count page by page, so the digest does not depend on
 * the size of the leaves either. Pages of the arena (the run-time that every process maps) are the guest's machinery,
 * not its data, and are left out.
 *
 * Of the disk's files only the pages that do not hold what they held at first are hashed, by number and bytes, so that
 * a large disk costs what was written to it, and writing a page back as it was changes nothing.
 *
 * A page that the guest swapped out is hashed where it is: in its swap cache, or on its disk. Pages of files belong to
 * the disk, not to who maps them; where the page cache has one, that is newer than what the disk has.
 *
 * The guest is not believed: its swap slots and cache words are looked at within the arena only, a table outside its
 * memory, a leaf outside it, or more live processes than slots is -EINVAL, and so is a walk that meets more pages and
 * tables than there can be (a table may name itself).
 */
#include "vmm/digest.h"

#include <stdlib.h>
#include <xxhash.h>

#include "mm/err.h"
#include "workloads/guest/abi.h"

/* Tables lie in the arena, each in one process's tree but for those of what every process maps. */
#define SHARED_TABLES 8

struct digest {
	const struct gmem *g;
	digest_table_fn read;
	void *ctx;
	XXH3_state_t *hash;
	uint64_t budget, tables; /* pages and tables still allowed: a hostile tree may share both without end */
	const struct disk_image *disk; /* NULL: none */
	const uint64_t *file_word;     /* [file_pages] of the disk, in the arena; NULL: the guest keeps none */
	const struct swap_slot *slot;  /* [swap_pages] */
};

/* What is hashed for a page of a process. */
struct page_record {
	uint64_t va, prot;
	uint64_t words[512];
};

static int digest_page(struct digest *d, gva_t va, unsigned prot, gfn_t gfn)
{
	struct page_record record = { .va = va, .prot = prot };

	if (gfn < gmem_config(d->g)->arena_pages)
		return 0;
	if (!d->budget--)
		return ERR(-EINVAL);

	int err = gmem_peek(d->g, gfn, record.words);

	if (err)
		return ERR(-EINVAL);
	XXH3_64bits_update(d->hash, &record, sizeof(record));
	return 0;
}

/* The frame that a cache word names, 0 if the page is only on the disk. */
static gfn_t cached_gfn(uint64_t word)
{
	return word & (CACHE_SHADOW | CACHE_LOADING) ? 0 : word;
}

/* A page in the guest's swap. */
static int digest_swapped(struct digest *d, gva_t va, unsigned prot, uint64_t slot)
{
	struct page_record record = { .va = va, .prot = prot };
	const struct disk_image_config *cfg = d->disk ? disk_image_config(d->disk) : NULL;
	struct page_content content;
	gfn_t gfn;

	if (!d->slot || slot >= cfg->swap_pages || !d->budget--)
		return ERR(-EINVAL);
	gfn = cached_gfn(d->slot[slot].word);
	if (gfn) {
		if (gmem_peek(d->g, gfn, record.words))
			return ERR(-EINVAL);
	} else {
		disk_image_read(d->disk, cfg->file_pages + slot, &content);
		page_content_bytes(&content, record.words);
	}
	XXH3_64bits_update(d->hash, &record, sizeof(record));
	return 0;
}

static int digest_leaf(struct digest *d, uint64_t entry, unsigned level, gva_t va, unsigned prot)
{
	gfn_t first = (entry & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) >> PAGE_SHIFT;

	for (uint64_t n = 0; n < LEVEL_PAGES(level); n++) {
		int err = digest_page(d, va + n * PAGE_SIZE, prot, first + n);

		if (err)
			return err;
	}
	return 0;
}

static int read_table(struct digest *d, gfn_t table, uint64_t *entries)
{
	if (!d->tables--)
		return ERR(-EINVAL);
	if (d->read ? d->read(d->ctx, table << PAGE_SHIFT, entries) : gmem_peek(d->g, table, entries))
		return ERR(-EINVAL);
	return 0;
}

static int digest_table(struct digest *d, gfn_t table, unsigned level, gva_t va, unsigned allowed)
{
	uint64_t entries[PT_ENTRIES];
	int err = read_table(d, table, entries);

	for (unsigned i = 0; i < PT_ENTRIES && !err; i++) {
		uint64_t e = entries[i];
		gva_t at = va + i * LEVEL_SIZE(level);
		unsigned prot = allowed & ((e & PTE_W ? PROT_W : 0) | (e & PTE_NX ? 0 : PROT_X) | PROT_R);
		bool leaf = level == 1 || (level <= 3 && (e & PTE_PS));

		if (!e)
			continue;
		if (level == 1 && (e & PTE_FILE))
			continue;
		/* The stub's and the local APIC's are no process's. */
		if (leaf && (e & PTE_P) && !(e & PTE_U))
			continue;
		if (level == 1 && (e & (PTE_P | PTE_SWAP)) == PTE_SWAP)
			err = digest_swapped(d, at, e & PTE_NONE ? 0 : prot, (e & PTE_ADDR) >> PAGE_SHIFT);
		else if (!(e & PTE_P))
			err = leaf && (e & PTE_NONE) ? digest_leaf(d, e, level, at, 0) : 0;
		else if (leaf)
			err = digest_leaf(d, e, level, at, prot);
		else
			err = digest_table(d, (e & PTE_ADDR) >> PAGE_SHIFT, level - 1, at, prot);
	}
	return err;
}

static int by_pid(const void *a, const void *b)
{
	const struct export_process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* The page as the guest sees it: in its page cache if it has it there. False: it is as it was at first. */
static int file_page(struct digest *d, uint64_t page, bool *changed, uint64_t *words)
{
	gfn_t gfn = d->file_word ? cached_gfn(d->file_word[page]) : 0;
	struct page_content content = { .pattern = { PATTERN_BASE(PATTERN_BYTES, 0), 0 } };

	if (gfn) {
		if (!d->budget-- || gmem_peek(d->g, gfn, content.words))
			return ERR(-EINVAL);
		content.pattern.stamp = content.words[0];
	} else {
		disk_image_read(d->disk, page, &content);
	}
	*changed = !disk_image_is_initial(d->disk, page, &content);
	if (*changed)
		page_content_bytes(&content, words);
	return 0;
}

static int digest_disk(struct digest *d)
{
	uint64_t end = disk_image_config(d->disk)->file_pages, written = 0;

	XXH3_64bits_update(d->hash, &end, sizeof(end));
	for (uint64_t page = 0; page < end; page++) {
		struct {
			uint64_t page;
			uint64_t words[512];
		} record = { .page = page };
		bool changed = false;

		if (written < page || !page)
			written = disk_image_next_written(d->disk, page);
		if (page != written && !(d->file_word && cached_gfn(d->file_word[page])))
			continue;
		if (file_page(d, page, &changed, record.words))
			return ERR(-EINVAL);
		if (changed)
			XXH3_64bits_update(d->hash, &record, sizeof(record));
	}
	return 0;
}

/* [gpa, gpa + nbytes) of the arena, or NULL if it is not all there. */
static const void *arena_part(const struct gmem *g, gpa_t gpa, uint64_t nbytes)
{
	uint64_t end = gmem_config(g)->arena_pages * PAGE_SIZE;

	return gpa && gpa % 8 == 0 && gpa < end && nbytes <= end - gpa ? gmem_arena(g) + gpa : NULL;
}

int digest_vm(const struct gmem *g, unsigned levels, digest_table_fn read, void *ctx, const struct disk_image *disk,
	      uint64_t *digest)
{
	const struct guest_export *export = (const void *)(gmem_arena(g) + EXPORT_GPA);
	struct export_process live[EXPORT_PROCESSES];
	struct digest d = { .g = g, .read = read, .ctx = ctx, .hash = XXH3_createState(),
			    .budget = 8 * gmem_config(g)->npages + 65536,
			    .tables = gmem_config(g)->arena_pages + SHARED_TABLES * EXPORT_PROCESSES,
			    .disk = disk };
	unsigned n = 0;
	int err = 0;

	for (unsigned i = 0; i < EXPORT_PROCESSES; i++)
		if (export->process[i].state != PROCESS_FREE)
			live[n++] = export->process[i];
	qsort(live, n, sizeof(*live), by_pid);

	if (disk) {
		const struct disk_image_config *cfg = disk_image_config(disk);

		d.budget += cfg->file_pages + cfg->swap_pages;
		d.file_word = arena_part(g, export->file_words, cfg->file_pages * sizeof(uint64_t));
		d.slot = arena_part(g, export->swap_slots, cfg->swap_pages * sizeof(struct swap_slot));
	}
	XXH3_64bits_reset(d.hash);
	for (unsigned i = 0; i < n && !err; i++) {
		XXH3_64bits_update(d.hash, &live[i].pid, sizeof(live[i].pid));
		err = digest_table(&d, live[i].root >> PAGE_SHIFT, levels, 0, PROT_R | PROT_W | PROT_X);
	}
	if (disk && !err)
		err = digest_disk(&d);
	*digest = XXH3_64bits_digest(d.hash);
	XXH3_freeState(d.hash);
	return err;
}
