/* SPDX-License-Identifier: MIT */
/*
 * pt_npt.c - entries of AMD's nested page tables: the x86-64 format under two more rules
 *
 * Every access through a nested table counts as a user-mode one, so an entry without U maps nothing: this format
 * sets U always. And AMD reserves bit 8 in entries that point to tables, from level 3 up, where Intel ignores it.
 *
 * Source: AMD APM vol. 2, sections 15.25.5 and 5.3; bit 8: as the Linux KVM checks it (arch/x86/kvm/mmu/mmu.c,
 * nonleaf_bit8_rsvd).
 */
#include "mm/pt.h"

static uint64_t npt_leaf(hpa_t hpa, unsigned level, unsigned access)
{
	return pt_format_x86.leaf(hpa, level, access | ACC_U);
}

static uint64_t npt_table(hpa_t hpa)
{
	return pt_format_x86.table(hpa);
}

static unsigned npt_access(uint64_t entry)
{
	return pt_format_x86.access(entry);
}

static uint64_t npt_reserved(unsigned level, bool leaf, unsigned maxphyaddr, bool nx, bool gbpages)
{
	return pt_format_x86.reserved(level, leaf, maxphyaddr, nx, gbpages) | (level >= 3 && !leaf ? PTE_G : 0);
}

const struct pt_format pt_format_npt = {
	.name = "npt",
	.present = PTE_P,
	.write = PTE_W,
	.user = PTE_U,
	.accessed = PTE_A,
	.dirty = PTE_D,
	.large = PTE_PS,
	.global = 0, /* nested tables have no global pages: the bit is ignored in leaves */
	.addr = PTE_ADDR,
	.max_leaf = 3,
	.leaf = npt_leaf,
	.table = npt_table,
	.access = npt_access,
	.reserved = npt_reserved,
};
