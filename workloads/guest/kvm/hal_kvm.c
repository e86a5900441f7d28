/* SPDX-License-Identifier: MIT */
/*
 * hal_kvm.c - hal.h in a real guest
 *
 * Page tables and process pages are reached through the kernel's direct map. An absent page above the arena makes the
 * processor exit; the VMM populates it and the access goes on, unseen by the kernel.
 *
 * Without PCIDs, address spaces are left and entered by loading CR3, which drops what was cached for them: dropping a
 * whole space needs nothing more. INVLPG is executed all the same, as a kernel that shares its root with its
 * processes would have to, and as the shadow mode needs to see. With PCIDs, which a VMM may offer where it carries out
 * CR3 loads itself, both are INVPCID, of the space of the process.
 */
#include "workloads/guest/kvm/hal_kvm.h"

#include "workloads/pattern.h"
#include "workloads/x86.h"

void *hal_arena(struct hal *h, uint64_t gpa)
{
	(void)h;
	return direct(gpa);
}

uint64_t hal_pte_read(struct hal *h, uint64_t entry_gpa)
{
	(void)h;
	return *(volatile uint64_t *)direct(entry_gpa);
}

void hal_pte_write(struct hal *h, uint64_t entry_gpa, uint64_t value, unsigned level)
{
	(void)h;
	(void)level;
	*(volatile uint64_t *)direct(entry_gpa) = value;
}

void hal_pte_flush(struct hal *h)
{
	(void)h;
}

/*
 * A page that was a table may still be traced, and the kernel frees tables empty: so one store, which tells whoever
 * traces, and others only where there is anything to clear.
 */
void hal_table_new(struct hal *h, uint64_t gpa, unsigned level)
{
	volatile uint64_t *table = direct(gpa);

	(void)h;
	(void)level;
	table[0] = 0;
	for (unsigned i = 1; i < PT_ENTRIES; i++)
		if (table[i])
			table[i] = 0;
}

void hal_table_free(struct hal *h, uint64_t gpa, unsigned level)
{
	(void)h;
	(void)gpa;
	(void)level;
}

void hal_zero_pages(struct hal *h, uint64_t gfn, uint64_t npages)
{
	void *to = direct(gfn << PAGE_SHIFT);
	uint64_t nwords = npages * (PAGE_SIZE / 8);

	(void)h;
	__asm__ volatile("rep stosq" : "+D"(to), "+c"(nwords) : "a"(0ull) : "memory");
}

void hal_copy_pages(struct hal *h, uint64_t dst_gfn, uint64_t src_gfn, uint64_t npages)
{
	void *to = direct(dst_gfn << PAGE_SHIFT);
	const void *from = direct(src_gfn << PAGE_SHIFT);
	uint64_t nwords = npages * (PAGE_SIZE / 8);

	(void)h;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(nwords) : : "memory");
}

void hal_fill_page(struct hal *h, uint64_t gfn, uint64_t base)
{
	volatile uint64_t *first = direct(gfn << PAGE_SHIFT);
	uint64_t *page = direct(gfn << PAGE_SHIFT);

	(void)h;
	/* A write first: a load of the stamp would be one more fault where the page may only be read. */
	first[1] = base;
	pattern_fill((struct pattern){ .base = base, .stamp = page[0] }, page);
}

void hal_poison_pages(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word)
{
	void *to = direct(gfn << PAGE_SHIFT);
	uint64_t nwords = npages * (PAGE_SIZE / 8);

	(void)h;
	__asm__ volatile("rep stosq" : "+D"(to), "+c"(nwords) : "a"(word) : "memory");
}

bool hal_poisoned(struct hal *h, uint64_t gfn, uint64_t npages, uint64_t word)
{
	const uint64_t *at = direct(gfn << PAGE_SHIFT), *end = at + npages * (PAGE_SIZE / 8);

	(void)h;
	while (at < end && *at == word)
		at++;
	return at == end;
}

static void invpcid(uint64_t what, unsigned pcid, uint64_t va)
{
	stub_word(STUB_SPACE)[0] = pcid;
	stub_word(STUB_SPACE)[1] = va;
	request(REQUEST_INVPCID, what);
}

void hal_invlpg(struct hal *h, uint64_t va)
{
	if (h->boot->flags & BOOT_PCID)
		invpcid(INVPCID_ADDRESS, h->pcid, va);
	else
		request(REQUEST_INVLPG, va);
}

void hal_flush_space(struct hal *h, uint64_t root, unsigned pcid)
{
	(void)root;
	if (h->boot->flags & BOOT_PCID)
		invpcid(INVPCID_SPACE, pcid, 0);
}

/* No memory lies there: the VMM emulates the instruction, so it is always one of these two. */
uint32_t hal_mmio_read(struct hal *h, uint64_t gpa)
{
	uint32_t value;

	(void)h;
	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(direct(gpa)) : "memory");
	return value;
}

void hal_mmio_write(struct hal *h, uint64_t gpa, uint32_t value)
{
	(void)h;
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(direct(gpa)) : "memory");
}

uint64_t hal_now(struct hal *h)
{
	return vcpu_now(h->vcpu);
}

void hal_panic(struct hal *h, const char *file, unsigned line)
{
	struct guest_export *export = direct(EXPORT_GPA);

	(void)h;
	export->panic_file = (uint64_t)file - KERNEL_DIRECT_MAP;
	export->panic = line;
	for (;;)
		request(HC_PANIC, 0);
}
