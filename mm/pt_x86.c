/* SPDX-License-Identifier: MIT */
/*
 * pt_x86.c - entries of x86-64 page tables, 4 or 5 levels
 *
 *	 63 62    52 51             12 11  9 8 7 6 5 4   3   2 1 0
 *	+--+--------+-----------------+-----+-+-+-+-+---+---+-+-+-+
 *	|NX| ignored| address         | sw  |G|S|D|A|PCD|PWT|U|W|P|	S: page size; G, S, D in leaves only
 *	+--+--------+-----------------+-----+-+-+-+-+---+---+-+-+-+
 *
 * Source: Intel SDM vol. 3A, section 4.5, tables 4-14 to 4-20; reserved bits: section 4.7 and figure 4-11. Protection
 * keys and PAT are not used: bits 62:59 are ignored, memory is write-back.
 */
#include "mm/pt.h"

#define X86_LARGE_LOW(level) ((LEVEL_SIZE(level) - 1) & ~((1ull << 13) - 1)) /* bit 12 of a large leaf is PAT */

_Static_assert((PTE_ADDR & (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS | PTE_G | PTE_NX)) == 0, "disjoint fields");

static uint64_t x86_leaf(hpa_t hpa, unsigned level, unsigned access)
{
	return hpa | PTE_P | (access & ACC_W ? PTE_W : 0) | (access & ACC_U ? PTE_U : 0) |
	       (access & ACC_X ? 0 : PTE_NX) | (level > 1 ? PTE_PS : 0);
}

static uint64_t x86_table(hpa_t hpa)
{
	return hpa | PTE_P | PTE_W | PTE_U;
}

static unsigned x86_access(uint64_t entry)
{
	return ACC_R | (entry & PTE_W ? ACC_W : 0) | (entry & PTE_U ? ACC_U : 0) | (entry & PTE_NX ? 0 : ACC_X);
}

static uint64_t x86_reserved(unsigned level, bool leaf, unsigned maxphyaddr, bool nx, bool gbpages)
{
	uint64_t bits = PTE_ADDR & ~((1ull << maxphyaddr) - 1);

	if (!nx)
		bits |= PTE_NX;
	if (level >= 4 || (level == 3 && !gbpages))
		bits |= PTE_PS;
	if (leaf && level > 1)
		bits |= X86_LARGE_LOW(level);
	return bits;
}

const struct pt_format pt_format_x86 = {
	.name = "x86-64",
	.present = PTE_P,
	.write = PTE_W,
	.user = PTE_U,
	.accessed = PTE_A,
	.dirty = PTE_D,
	.large = PTE_PS,
	.global = PTE_G,
	.addr = PTE_ADDR,
	.max_leaf = 3,
	.leaf = x86_leaf,
	.table = x86_table,
	.access = x86_access,
	.reserved = x86_reserved,
};
