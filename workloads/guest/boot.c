/* SPDX-License-Identifier: MIT */
/*
 * boot.c - how the guest kernel comes up, and the layout of its memory
 *
 * From heap_start upward lie struct kernel, the metadata of the heap and of the memory above the arena, that of a disk
 * if there is one (memory.c), then the heap itself. Only struct kernel is cleared; metadata is valid as far as it was
 * handed out, so booting costs the same for any size of memory but for the direct map (an entry for each 2 MiB).
 *
 * The kernel's root maps all memory at KERNEL_DIRECT_MAP for CPL 3, in 2 MiB pages (a rest in 4 KiB ones), executable
 * only below HEAP_MIN_GPA, where a real guest's image is; the registers of its devices likewise, which lie above all
 * memory (one 2 MiB page; not with pv, whose hypervisor maps nothing but memory); and the common table, as every root
 * does.
 */
#include <stddef.h>

#include "workloads/guest/balloon.h"
#include "workloads/guest/block.h"
#include "workloads/guest/internal.h"

void bytes_zero(void *p, uint64_t nbytes)
{
	uint8_t *b = p;

	while (nbytes--)
		*b++ = 0;
}

static uint64_t pages_of(uint64_t nbytes)
{
	return (nbytes + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

/* Tables of one process that maps little, with its run-time: root, two branches of three or four, one more region. */
#define PROCESS_PAGES 12

uint64_t kernel_arena_pages(uint64_t npages, uint32_t nprocesses)
{
	uint64_t nblocks = npages / LEVEL_PAGES(2) + 1, n = nprocesses + nblocks, pages = HEAP_MIN_GPA >> PAGE_SHIFT;

	if (n > EXPORT_PROCESSES)
		n = EXPORT_PROCESSES;
	pages += pages_of(sizeof(struct kernel)) + pages_of(alloc_metadata(npages)) + 2;
	pages += nblocks / PT_ENTRIES + npages / LEVEL_PAGES(4) + 6; /* direct map, common table */
	pages += nblocks + nblocks / 4;
	pages += n * PROCESS_PAGES;
	pages += pages_of(pages * sizeof(struct heap_page));
	return (pages + LEVEL_PAGES(2) - 1) / LEVEL_PAGES(2) * LEVEL_PAGES(2);
}

void boot_info_layout(struct boot_info *b, uint32_t nprocesses)
{
	const struct common_range ranges[COMMON_RANGES] = {
		{ SCRIPT_GPA, COMMON_PAGE_SCRIPT, (SCRIPT_END - SCRIPT_GPA) / PAGE_SIZE, 0, 0 },
		{ USER_TEXT_GPA, COMMON_PAGE_TEXT, USER_TEXT_PAGES, COMMON_X, 0 },
		{ STUB_GPA, COMMON_PAGE_STUB, 1, COMMON_SUPERVISOR | COMMON_X, 0 },
		{ TABLES_GPA, COMMON_PAGE_STUB + 1, 1, COMMON_SUPERVISOR | COMMON_W, 0 },
		{ STUB_DATA_GPA, COMMON_PAGE_STUB + 2, 1, COMMON_SUPERVISOR | COMMON_W, 0 },
		{ VCPU_GPA, COMMON_PAGE_STUB + 3, VCPU_PAGES, COMMON_W, 0 },
		{ device_gpa(b->npages, DEVICE_LAPIC), COMMON_PAGE_LAPIC, b->flags & BOOT_INTERRUPTS ? 1 : 0,
		  COMMON_SUPERVISOR | COMMON_W, 0 },
	};

	uint64_t disk = pages_of(memory_metadata(b, b->npages));

	b->magic = BOOT_MAGIC;
	b->heap_start = HEAP_MIN_GPA;
	disk = (disk + LEVEL_PAGES(2) - 1) / LEVEL_PAGES(2) * LEVEL_PAGES(2);
	if (!b->arena_end)
		b->arena_end = (kernel_arena_pages(b->npages, nprocesses) + disk) * PAGE_SIZE;
	for (unsigned i = 0; i < COMMON_RANGES; i++)
		b->common[i] = ranges[i];
}

static bool info_valid(const struct boot_info *b)
{
	return b->magic == BOOT_MAGIC && (b->levels == 4 || b->levels == 5) && b->heap_start % PAGE_SIZE == 0 &&
	       b->arena_end % LEVEL_SIZE(2) == 0 && b->heap_start < b->arena_end &&
	       b->arena_end / PAGE_SIZE <= b->npages && b->npages <= UINT32_MAX;
}

/* Where in [heap_start, arena_end) is what: gpas. */
struct layout {
	uint64_t heap, blocks, giants, pages, disk, start;
};

static struct layout layout_of(const struct boot_info *info)
{
	uint64_t first_gfn = info->arena_end >> PAGE_SHIFT, nblocks = info->npages / LEVEL_PAGES(2) + 1;
	uint64_t nheap = (info->arena_end - info->heap_start) >> PAGE_SHIFT;
	struct layout at;

	at.heap = info->heap_start + pages_of(sizeof(struct kernel)) * PAGE_SIZE;
	at.blocks = at.heap + nheap * sizeof(struct heap_page);
	at.giants = at.blocks + nblocks * sizeof(struct block);
	at.pages = at.giants + (info->npages / LEVEL_PAGES(3) + 1) * sizeof(struct block);
	at.disk = (at.pages + (info->npages - first_gfn) * sizeof(struct page) + 7) & ~7ull;
	at.start = pages_of(at.disk + memory_metadata(info, info->npages - first_gfn)) * PAGE_SIZE;
	return at;
}

bool kernel_arena_page_free(const void *arena, const struct boot_info *info, uint64_t gfn)
{
	const struct layout at = layout_of(info);
	uint8_t *bytes = (uint8_t *)arena;
	const struct allocator a = {
		.pages = (void *)(bytes + at.pages),
		.level = { NULL, NULL, (void *)(bytes + at.blocks), (void *)(bytes + at.giants) },
		.first_gfn = info->arena_end >> PAGE_SHIFT,
		.end_gfn = info->npages,
	};

	return at.start < info->arena_end && alloc_page_free(&a, gfn);
}

/* Lay out [heap_start, arena_end). NULL if it is too small. */
static struct kernel *lay_out(struct hal *h, const struct boot_info *info)
{
	const struct layout at = layout_of(info);
	struct kernel *k;

	if (at.start >= info->arena_end)
		return NULL;
	k = hal_arena(h, info->heap_start);
	bytes_zero(k, sizeof(*k));
	k->hal = h;
	k->info = info;
	k->script = hal_arena(h, SCRIPT_GPA);
	k->export = hal_arena(h, EXPORT_GPA);
	k->levels = info->levels;
	k->next_pid = 1;
	k->alloc = (struct allocator){
		.pages = hal_arena(h, at.pages), .first_gfn = info->arena_end >> PAGE_SHIFT, .end_gfn = info->npages
	};
	k->mem_gpa = at.disk;
	k->alloc.level[2] = hal_arena(h, at.blocks);
	k->alloc.level[3] = hal_arena(h, at.giants);
	k->heap = (struct heap){
		.start = at.start,
		.end = info->arena_end,
		.page = hal_arena(h, at.heap),
		.bump = at.start,
		.free = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
		.nfree = (info->arena_end - at.start) >> PAGE_SHIFT,
	};
	return k;
}

static enum result map_all_memory(struct kernel *k)
{
	uint64_t gfn = 0, end = k->info->npages;
	struct walk w = { k->root, k->levels };
	enum result r = DONE;

	while (gfn < end && !r) {
		unsigned level = end - gfn >= LEVEL_PAGES(2) ? 2 : 1;
		uint64_t va = KERNEL_DIRECT_MAP + (gfn << PAGE_SHIFT);
		unsigned prot = PROT_R | PROT_W | (gfn < HEAP_MIN_GPA >> PAGE_SHIFT ? PROT_X : 0);

		if (w.level != level || !PT_INDEX(va, level))
			w = (struct walk){ k->root, k->levels };
		r = table_map(k, &w, va, level, pte_make(gfn, level, prot, true));
		gfn += LEVEL_PAGES(level);
	}
	return r;
}

static enum result map_devices(struct kernel *k)
{
	const uint64_t registers[] = { k->info->balloon.registers, k->info->disk.registers };
	uint64_t mapped = 0;

	for (unsigned i = 0; i < 2 && !(k->info->flags & BOOT_PV); i++) {
		uint64_t gpa = registers[i] & ~(LEVEL_SIZE(2) - 1);
		struct walk w = { k->root, k->levels };

		if (!gpa || gpa == mapped)
			continue;
		mapped = gpa;
		if (table_map(k, &w, KERNEL_DIRECT_MAP + gpa, 2,
			      pte_make(gpa >> PAGE_SHIFT, 2, PROT_R | PROT_W, true)))
			return NO_MEMORY;
	}
	return DONE;
}

static enum result map_common(struct kernel *k)
{
	struct walk w = { k->root, k->levels };

	for (unsigned i = 0; i < COMMON_RANGES; i++) {
		const struct common_range *c = &k->info->common[i];
		unsigned prot = PROT_R | (c->flags & COMMON_W ? PROT_W : 0) | (c->flags & COMMON_X ? PROT_X : 0);

		for (uint32_t j = 0; j < c->npages; j++) {
			uint64_t entry = pte_make((c->gpa >> PAGE_SHIFT) + j, 1, prot, true);

			if (c->flags & COMMON_SUPERVISOR)
				entry &= ~PTE_U;
			if (table_map(k, &w, COMMON_VA + (uint64_t)(c->page + j) * PAGE_SIZE, 1, entry))
				return NO_MEMORY;
			k->common = w.table;
		}
	}
	return DONE;
}

static enum result start_processes(struct kernel *k)
{
	for (uint32_t i = 0; i < k->script->nprocesses; i++) {
		struct process *p = process_new(k, NULL);

		if (!p)
			return NO_MEMORY;
		program_start(&kernel_runtime(k, p)->program, k->script, p->pid, 0);
		p->keep = k->info->flags & BOOT_KEEP;
		process_start(k, p);
	}
	if (!k->nlive)
		k->export->done = 1;
	schedule_pick(k);
	return DONE;
}

struct kernel *kernel_boot(struct hal *h)
{
	const struct boot_info *info = hal_arena(h, BOOT_INFO_GPA);
	struct kernel *k = info_valid(info) ? lay_out(h, info) : NULL;

	if (!k)
		return NULL;
	bytes_zero(k->export, sizeof(*k->export));
	k->export->nslots = EXPORT_PROCESSES;
	alloc_init(k);
	schedule_init(k);
	k->root = table_new(k, k->levels);
	if (!k->root || map_all_memory(k) || map_devices(k) || map_common(k))
		return NULL;
	hal_pte_flush(h);
	block_start(k);
	if (block_present(k))
		memory_start(k);
	balloon_start(k);
	return start_processes(k) ? NULL : k;
}
