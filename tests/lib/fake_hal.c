/* SPDX-License-Identifier: MIT */
/* fake_hal.c - see fake_hal.h */
#include "tests/lib/fake_hal.h"
#include "tests/lib/fake_disk.h"

#include <string.h>
#include <sys/mman.h>

#include "workloads/pattern.h"

static uint64_t *entry_at(struct hal *h, uint64_t gpa)
{
	g_assert(gpa % 8 == 0 && gpa < h->npages * PAGE_SIZE);
	return (uint64_t *)(h->mem + gpa);
}

void *hal_arena(struct hal *h, uint64_t gpa)
{
	g_assert(gpa < h->npages * PAGE_SIZE);
	return h->mem + gpa;
}

uint64_t hal_pte_read(struct hal *h, uint64_t entry_gpa)
{
	for (unsigned i = 0; i < h->nqueued; i++)
		if (h->queued[i] == entry_gpa)
			g_error("entry 0x%" G_GINT64_MODIFIER "x read before it was flushed", entry_gpa);
	return *entry_at(h, entry_gpa);
}

void hal_pte_write(struct hal *h, uint64_t entry_gpa, uint64_t value, unsigned level)
{
	uint64_t *e = entry_at(h, entry_gpa), allowed = PTE_ADDR | PTE_NX | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D |
							PTE_PS | PTE_NONE | PTE_FILE | PTE_SWAP;

	g_assert(level >= 1 && level <= h->kernel->levels);
	g_assert(!(value & ~allowed));
	g_assert(!(value & (PTE_A | PTE_D) & ~*e) || !*e); /* set by the processor or inherited only */
	if (value & PTE_P)
		g_assert((value & PTE_ADDR) < h->npages * PAGE_SIZE);
	*e = value;
	if (h->nqueued == FAKE_QUEUE)
		h->nqueued = 0;
	h->queued[h->nqueued++] = entry_gpa;
}

void hal_pte_flush(struct hal *h)
{
	h->nqueued = 0;
}

void hal_table_new(struct hal *h, uint64_t gpa, unsigned level)
{
	g_assert(level >= 1 && level <= 5 && gpa % PAGE_SIZE == 0);
	memset(hal_arena(h, gpa), 0, PAGE_SIZE);
	h->tables_new++;
}

void hal_table_free(struct hal *h, uint64_t gpa, unsigned level)
{
	g_assert(level >= 1 && level <= 5 && !h->nqueued);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		g_assert(!*entry_at(h, gpa + i * 8));
	h->tables_free++;
}

static uint8_t *page(struct hal *h, uint64_t gfn, uint64_t npages)
{
	g_assert(gfn >= h->kernel->alloc.first_gfn && gfn + npages <= h->npages);
	return h->mem + gfn * PAGE_SIZE;
}

void hal_zero_pages(struct hal *h, uint64_t gfn, uint64_t npages)
{
	uint8_t *p = page(h, gfn, npages);

	h->zeroed += npages;
	if (npages == 1)
		memset(p, 0, PAGE_SIZE);
	else
		g_assert(madvise(p, npages * PAGE_SIZE, MADV_DONTNEED) == 0);
}

static bool page_zero(const uint8_t *p)
{
	return !p[0] && !memcmp(p, p + 1, PAGE_SIZE - 1);
}

void hal_copy_pages(struct hal *h, uint64_t dst_gfn, uint64_t src_gfn, uint64_t npages)
{
	uint8_t *dst = page(h, dst_gfn, npages), *src = page(h, src_gfn, npages);

	h->copied += npages;
	if (npages > 1)
		g_assert(madvise(dst, npages * PAGE_SIZE, MADV_DONTNEED) == 0);
	for (uint64_t i = 0; i < npages; i++, dst += PAGE_SIZE, src += PAGE_SIZE)
		if (npages == 1 || !page_zero(src))
			memcpy(dst, src, PAGE_SIZE);
}

void hal_fill_page(struct hal *h, uint64_t gfn, uint64_t base)
{
	uint64_t *p = (uint64_t *)page(h, gfn, 1);

	pattern_fill((struct pattern){ base, p[0] }, p);
	h->filled++;
}

void hal_poison_pages(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word)
{
	uint64_t *p = (uint64_t *)page(h, gfn, npages);

	for (uint64_t i = 0; i < npages * PAGE_SIZE / 8; i++)
		p[i] = word;
}

bool hal_poisoned(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word)
{
	const uint64_t *p = (uint64_t *)page(h, gfn, npages);
	uint64_t i = 0;

	while (i < npages * PAGE_SIZE / 8 && p[i] == word)
		i++;
	return i == npages * PAGE_SIZE / 8;
}

void hal_invlpg(struct hal *h, uint64_t va)
{
	g_assert(!h->nqueued);
	h->invlpgs++;
	for (unsigned i = 0; i < FAKE_TLB; i++) {
		struct fake_tlb *t = &h->tlb[i];

		if (t->entry && t->root == h->interrupted && va - t->va < LEVEL_SIZE(t->level))
			t->entry = 0;
	}
	for (unsigned i = 0; i < FAKE_PWC; i++) /* INVLPG drops all of the space's, whatever the address */
		if (h->pwc[i].root == h->interrupted)
			h->pwc[i].table = 0;
}

void hal_flush_space(struct hal *h, uint64_t root, unsigned pcid)
{
	g_assert(!h->nqueued && root % PAGE_SIZE == 0);
	h->flushes++;
	for (unsigned i = 0; i < FAKE_TLB; i++)
		if (h->tlb[i].pcid == pcid)
			h->tlb[i].entry = 0;
	for (unsigned i = 0; i < FAKE_PWC; i++)
		if (h->pwc[i].pcid == pcid)
			h->pwc[i].table = 0;
}

/* There are no devices. */
uint32_t hal_mmio_read(struct hal *h, uint64_t gpa)
{
	(void)h, (void)gpa;
	return 0;
}

void hal_mmio_write(struct hal *h, uint64_t gpa, uint32_t value)
{
	(void)h, (void)gpa, (void)value;
}

uint64_t hal_now(struct hal *h)
{
	return h->now;
}

void hal_panic(struct hal *h, const char *file, unsigned line)
{
	(void)h;
	g_error("guest kernel: assertion failed at %s:%u", file, line);
}

static void *new_memory(uint64_t npages)
{
	void *p = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	g_assert(p != MAP_FAILED);
	madvise(p, npages * PAGE_SIZE, MADV_NOHUGEPAGE);
	return p;
}

struct hal *fake_new(const struct fake_config *cfg)
{
	struct hal *h = g_new0(struct hal, 1);
	struct boot_info *b;
	struct script *s;

	h->npages = cfg->npages;
	h->mem = new_memory(cfg->npages);
	b = hal_arena(h, BOOT_INFO_GPA);
	*b = (struct boot_info){
		.npages = cfg->npages,
		.arena_end = cfg->arena_end,
		.levels = cfg->levels ? cfg->levels : 4,
		.flags = cfg->flags,
		.quantum = 1000,
		.timeslice = cfg->timeslice ? cfg->timeslice : 1,
		.swappiness = cfg->swappiness,
	};
	h->disk = cfg->disk;
	if (h->disk)
		b->disk = h->disk->info;
	boot_info_layout(b, cfg->nprocesses);
	/* What the kernel does not initialise must not matter. */
	memset(h->mem + b->heap_start, 0xa5, MIN(b->arena_end, cfg->npages * PAGE_SIZE) - b->heap_start);
	s = hal_arena(h, SCRIPT_GPA);
	s->nprocesses = cfg->nprocesses;
	h->kernel = hal_arena(h, b->heap_start); /* for the asserts above, while it boots */
	h->kernel->levels = b->levels;
	h->kernel = kernel_boot(h);
	g_assert(!h->kernel || !h->nqueued);
	return h;
}

void fake_free(struct hal *h)
{
	munmap(h->mem, h->npages * PAGE_SIZE);
	g_free(h);
}

/* Walk to the leaf for @va, whatever it allows; NULL if there is none. */
static uint64_t *walk(struct hal *h, uint64_t root, uint64_t va, unsigned *level, bool mark)
{
	uint64_t table = root;

	for (unsigned l = h->kernel->levels;; l--) {
		uint64_t *e = entry_at(h, table + PT_INDEX(va, l) * 8);

		if (!*e)
			return NULL;
		*level = l;
		if (pte_is_leaf(*e, l))
			return e;
		g_assert((*e & (PTE_P | PTE_W | PTE_U | PTE_NX)) == (PTE_P | PTE_W | PTE_U));
		if (mark)
			*e |= PTE_A;
		table = *e & PTE_ADDR;
	}
}

static bool allows(uint64_t entry, unsigned want)
{
	return (entry & PTE_P) && (entry & PTE_U) && (!(want & PROT_W) || (entry & PTE_W)) &&
	       (!(want & PROT_X) || !(entry & PTE_NX));
}

/* The level-1 table that the tables of @root have for @va, or 0. */
static uint64_t leaf_table(struct hal *h, uint64_t root, uint64_t va)
{
	uint64_t table = root;

	for (unsigned l = h->kernel->levels; l > 1; l--) {
		uint64_t e = *entry_at(h, table + PT_INDEX(va, l) * 8);

		if (!e || pte_is_leaf(e, l))
			return 0;
		table = e & PTE_ADDR;
	}
	return table;
}

static void pwc_check(struct hal *h)
{
	for (unsigned i = 0; i < FAKE_PWC; i++) {
		struct fake_pwc *c = &h->pwc[i];

		if (c->table && leaf_table(h, c->root, c->block << LEVEL_SHIFT(2)) != c->table)
			g_error("stale table for block 0x%" G_GINT64_MODIFIER "x", c->block);
	}
}

static void pwc_fill(struct hal *h, const struct process *p, uint64_t va)
{
	uint64_t table = leaf_table(h, p->root, va), block = va >> LEVEL_SHIFT(2);

	for (unsigned i = 0; i < FAKE_PWC && table; i++)
		if (h->pwc[i].table && h->pwc[i].root == p->root && h->pwc[i].block == block)
			table = 0;
	if (table)
		h->pwc[h->pwc_next++ % FAKE_PWC] = (struct fake_pwc){ p->root, p->pcid, block, table };
}

void fake_speculate(struct hal *h, uint64_t va)
{
	pwc_fill(h, kernel_current(h->kernel), va);
}

static void tlb_check(struct hal *h)
{
	g_assert(!h->nqueued);
	pwc_check(h);
	for (unsigned i = 0; i < FAKE_TLB; i++) {
		struct fake_tlb *t = &h->tlb[i];
		unsigned level = 0;
		uint64_t *e;

		if (!t->entry)
			continue;
		e = walk(h, t->root, t->va, &level, false);
		if (!e || level != t->level || ((*e ^ t->entry) & (PTE_ADDR | PTE_P | PTE_U | PTE_W | PTE_NX)))
			g_error("stale translation of 0x%" G_GINT64_MODIFIER "x at level %u", t->va, t->level);
	}
}

static void enter(struct hal *h)
{
	struct process *p = kernel_current(h->kernel);

	h->interrupted = p ? p->root : 0;
}

void fake_fault(struct hal *h, uint64_t va, uint32_t error)
{
	enter(h);
	kernel_page_fault(h->kernel, va, error);
	tlb_check(h);
}

void fake_op(struct hal *h, unsigned kind, uint64_t va, uint64_t arg)
{
	struct op op = { OP_MAKE(kind, va), arg };

	enter(h);
	kernel_syscall(h->kernel, &op);
	tlb_check(h);
}

void fake_quantum(struct hal *h)
{
	enter(h);
	kernel_quantum(h->kernel);
	tlb_check(h);
}

void fake_interrupt(struct hal *h)
{
	enter(h);
	kernel_interrupt(h->kernel, IRQ_DISK | IRQ_BALLOON);
	tlb_check(h);
}

void fake_wake(struct hal *h)
{
	enter(h);
	kernel_wake(h->kernel);
	tlb_check(h);
}

static struct fake_tlb *tlb_find(struct hal *h, uint64_t root, uint64_t va)
{
	for (unsigned i = 0; i < FAKE_TLB; i++) {
		struct fake_tlb *t = &h->tlb[i];

		if (t->entry && t->root == root && va - t->va < LEVEL_SIZE(t->level))
			return t;
	}
	return NULL;
}

/* One try of @p: its bytes, or NULL and the error code. A fault drops the translation, as on hardware. */
static uint8_t *translate(struct hal *h, const struct process *p, uint64_t va, unsigned want, uint32_t *error)
{
	struct fake_tlb *t = tlb_find(h, p->root, va);
	unsigned level = 0;
	uint64_t *e = walk(h, p->root, va, &level, true);

	pwc_fill(h, p, va);
	*error = PF_U | (want & PROT_W ? PF_W : 0) | (want & PROT_X ? PF_I : 0);
	if (!e || !allows(*e, want)) {
		*error |= e && (*e & PTE_P) ? PF_P : 0;
		if (t)
			t->entry = 0;
		return NULL;
	}
	*e |= PTE_A | (want & PROT_W ? PTE_D : 0);
	if (!t) {
		t = &h->tlb[h->tlb_next++ % FAKE_TLB];
		*t = (struct fake_tlb){ p->root, p->pcid, va & ~(LEVEL_SIZE(level) - 1), level, *e };
	}
	return h->mem + (*e & PTE_ADDR) + (va & (LEVEL_SIZE(level) - 1));
}

static uint8_t *access_as_current(struct hal *h, uint64_t va, unsigned want)
{
	const struct process *p = kernel_current(h->kernel);
	uint32_t pid = p->pid, error;

	for (unsigned tries = 0; tries < 2; tries++) {
		uint8_t *bytes = translate(h, p, va, want, &error);

		if (bytes)
			return bytes;
		fake_fault(h, va, error);
		p = kernel_current(h->kernel);
		if (!p || p->pid != pid)
			return NULL;
	}
	return translate(h, p, va, want, &error);
}

bool fake_read(struct hal *h, uint64_t va, uint64_t *value)
{
	uint8_t *b = access_as_current(h, va & ~7ull, PROT_R);

	if (b && value)
		*value = *(uint64_t *)b;
	return b != NULL;
}

bool fake_write(struct hal *h, uint64_t va, uint64_t value)
{
	uint8_t *b = access_as_current(h, va & ~7ull, PROT_W);

	if (b)
		*(uint64_t *)b = value;
	return b != NULL;
}

bool fake_fetch(struct hal *h, uint64_t va)
{
	return access_as_current(h, va, PROT_X) != NULL;
}

uint8_t *fake_leaf_bytes(struct hal *h, uint64_t entry, unsigned level, uint64_t va)
{
	if (!entry)
		return NULL;
	if (pte_is_swap(entry))
		return fake_disk_bytes(h, h->kernel->mem.slot[pte_gfn(entry)].word,
				       h->kernel->mem.file_pages + pte_gfn(entry));
	return h->mem + (entry & PTE_ADDR) + (va & (LEVEL_SIZE(level) - 1) & PAGE_MASK);
}

uint8_t *fake_peek(struct hal *h, const struct process *p, uint64_t va, uint64_t *entry, unsigned *level)
{
	unsigned l = 0;
	uint64_t *e = walk(h, p->root, va, &l, false);

	if (level)
		*level = l;
	if (entry)
		*entry = e ? *e : 0;
	return e ? fake_leaf_bytes(h, *e, l, va) : NULL;
}

struct process *fake_process(struct hal *h, uint32_t pid)
{
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++) {
		struct process *p = &h->kernel->process[i];

		if (p->state != PROCESS_FREE && p->pid == pid)
			return p;
	}
	return NULL;
}

static void check_leaf(struct hal *h, const struct process *p, uint64_t va, unsigned level, uint64_t e,
		       struct fake_census *c)
{
	struct vma *m = vma_find(h->kernel, (struct process *)p, va);
	uint64_t gfn = pte_gfn(e);

	if (pte_is_swap(e)) {
		g_assert(m && !m->file && level == 1 && gfn < h->kernel->mem.swap_pages);
		g_assert(!!(e & PTE_NONE) == !m->prot && !(e & PTE_NX) == !!(m->prot & PROT_X));
		g_assert(!(e & PTE_W) || (m->prot & PROT_W));
		c->refs[gfn]++;
		c->npages++;
		return;
	}
	if (gfn < h->kernel->alloc.first_gfn) {
		g_assert(va >= RUNTIME_VA && va < RUNTIME_VA + RESERVED_SIZE);
		return;
	}
	g_assert(m && va + LEVEL_SIZE(level) <= m->va + (m->npages << PAGE_SHIFT) && level <= m->level);
	g_assert(gfn % LEVEL_PAGES(level) == 0);
	g_assert(!(e & PTE_W) || (m->prot & PROT_W));
	g_assert(!(e & PTE_NX) == !!(m->prot & PROT_X));
	g_assert(!!(e & PTE_P) == (m->prot != 0));
	g_assert(!!(e & PTE_FILE) == m->file);
	if (m->file) {
		uint64_t i = m->offset + ((va - m->va) >> PAGE_SHIFT) + 1;

		g_assert(level == 1 && (!c->file[gfn] || c->file[gfn] == i));
		c->file[gfn] = i;
	}
	c->npages += LEVEL_PAGES(level);
	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++) {
		c->maps[gfn + i]++;
		c->writer[gfn + i] |= !!(e & PTE_W) && !m->file;
	}
}

static void check_table(struct hal *h, const struct process *p, uint64_t table, unsigned level, uint64_t base,
			struct fake_census *c)
{
	unsigned n = 0;

	c->ntables++;
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t e = *entry_at(h, table + i * 8), va = base + i * LEVEL_SIZE(level);

		if (!e)
			continue;
		n++;
		if (pte_is_leaf(e, level))
			check_leaf(h, p, va, level, e, c);
		else if (!h->kernel->common || (e & PTE_ADDR) != h->kernel->common)
			check_table(h, p, e & PTE_ADDR, level - 1, va, c);
	}
	g_assert(n && heap_page(h->kernel, table)->nentries == n);
}

static uint64_t count_kernel_tables(struct hal *h, uint64_t table, unsigned level)
{
	uint64_t n = 1;

	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t e = *entry_at(h, table + i * 8);

		if (e && !pte_is_leaf(e, level))
			n += count_kernel_tables(h, e & PTE_ADDR, level - 1);
	}
	return n;
}

static void check_vmas(struct hal *h, const struct process *p, uint64_t *nvmas)
{
	const struct vma *before = NULL;

	for (uint64_t gpa = p->vmas; gpa; gpa = vma_at(h->kernel, gpa)->next) {
		const struct vma *m = vma_at(h->kernel, gpa);

		(*nvmas)++;
		g_assert(m->npages && m->va % PAGE_SIZE == 0);
		if (before) {
			uint64_t end = before->va + (before->npages << PAGE_SHIFT);

			g_assert(m->va >= end);
			g_assert(m->va > end || m->prot != before->prot || m->level != before->level ||
				 m->file != before->file ||
				 (m->file && m->offset != before->offset + before->npages));
		}
		before = m;
	}
}

static void check_pages(struct hal *h, const struct fake_census *c)
{
	struct kernel *k = h->kernel;
	uint64_t used = 0;

	for (uint64_t gfn = k->alloc.first_gfn; gfn < k->alloc.end_gfn; gfn++) {
		used += c->maps[gfn] > 0 || c->cached[gfn];
		if (c->writer[gfn] && c->maps[gfn] != 1)
			g_error("page 0x%" G_GINT64_MODIFIER "x is shared and writable", gfn);
	}
	g_assert_cmpuint(used + k->counts.pages_free, ==, k->alloc.end_gfn - k->alloc.first_gfn);
}

static void check_queue(struct hal *h, uint32_t head, uint32_t state, unsigned *n)
{
	for (uint32_t i = head; i != NO_PROCESS; i = h->kernel->process[i].next) {
		g_assert(h->kernel->process[i].state == state && i != h->kernel->current);
		(*n)++;
	}
}

static void check_schedule(struct hal *h)
{
	struct kernel *k = h->kernel;
	unsigned queued = k->current != NO_PROCESS, live = 0;

	check_queue(h, k->ready_head, PROCESS_READY, &queued);
	check_queue(h, k->sleeping, PROCESS_SLEEPING, &queued);
	check_queue(h, k->mem.blocked_head, PROCESS_BLOCKED, &queued);
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++) {
		struct process *p = &k->process[i];
		unsigned children = 0;

		g_assert(k->export->process[i].state == p->state);
		if (p->state == PROCESS_FREE || p->state == PROCESS_DONE)
			continue;
		live++;
		queued += p->state == PROCESS_WAITING;
		g_assert(p->state != PROCESS_BLOCKED || p->retry);
		g_assert(k->export->process[i].pid == p->pid && k->export->process[i].root == p->root);
		for (unsigned j = 0; j < EXPORT_PROCESSES; j++)
			children += k->process[j].state != PROCESS_FREE && k->process[j].parent == i;
		g_assert(children == p->nchildren && (p->state != PROCESS_WAITING || children));
	}
	g_assert(live == queued && live == k->nlive);
	g_assert(kernel_done(k) == !live && k->export->done == !live);
	g_assert(k->current != NO_PROCESS || k->ready_head == NO_PROCESS);
}

void fake_check(struct hal *h)
{
	struct kernel *k = h->kernel;
	struct fake_census c = { g_new0(uint16_t, h->npages), g_new0(uint8_t, h->npages), g_new0(uint64_t, h->npages),
				 g_new0(uint32_t, k->mem.swap_pages + 1), g_new0(bool, h->npages), 0, 0 };
	uint64_t used = count_kernel_tables(h, k->root, k->levels), nvmas = 0, pages;

	check_schedule(h);
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++) {
		const struct process *p = &k->process[i];

		if (p->state == PROCESS_FREE)
			continue;
		pages = c.npages;
		check_table(h, p, p->root, k->levels, 0, &c);
		check_vmas(h, p, &nvmas);
		g_assert_cmpuint(c.npages - pages, ==, p->npages);
		used++;
	}
	for (uint64_t i = 0; i < k->mem.file_pages; i++)
		c.cached[word_gfn(k->mem.index[i])] = true;
	for (uint64_t i = 0; i < k->mem.swap_pages; i++)
		c.cached[word_gfn(k->mem.slot[i].word)] = true;
	check_pages(h, &c);
	if (h->disk)
		fake_disk_check(h, &c);
	g_assert_cmpuint(nvmas, ==, k->nvmas);
	for (uint64_t gpa = k->unused_vmas; gpa; gpa = vma_at(k, gpa)->next)
		nvmas++;
	used += (h->disk ? h->disk->heap_pages : 0) + c.ntables + nvmas / (PAGE_SIZE / sizeof(struct vma));
	g_assert_cmpuint(nvmas % (PAGE_SIZE / sizeof(struct vma)), ==, 0);
	g_assert_cmpuint(used + k->heap.nfree, ==, (k->heap.end - k->heap.start) >> PAGE_SHIFT);
	g_free(c.maps);
	g_free(c.writer);
	g_free(c.file);
	g_free(c.refs);
	g_free(c.cached);
}
