/* SPDX-License-Identifier: MIT */
/*
 * pt_ept.c - entries of Intel's extended page tables, 4 or 5 levels
 *
 *	 63    52 51             12 11 10 9 8 7  6  5  3 2 1 0
 *	+--------+-----------------+-----+-+-+-+---+----+-+-+-+
 *	| ignored| address         | ign |D|A|S|IPT| MT |X|W|R|	D, IPT, MT: leaves only; S: leaf at levels 2, 3
 *	+--------+-----------------+-----+-+-+-+---+----+-+-+-+
 *
 * An entry is present if any of R, W, X is set. Leaves are write-back (MT = 6), PAT of the guest honoured (IPT = 0).
 * A processor that cannot do execute-only leaves is older than any profile here, so X without R is right.
 *
 * Source: Intel SDM vol. 3C, section 28.3.2, tables 28-1 to 28-7; misconfigurations: section 28.3.3.1.
 */
#include "mm/pt.h"

#define EPT_R	  (1ull << 0)
#define EPT_W	  (1ull << 1)
#define EPT_X	  (1ull << 2)
#define EPT_RWX	  (EPT_R | EPT_W | EPT_X)
#define EPT_MT(e) ((unsigned)((e) >> 3) & 7)
#define EPT_WB	  (6ull << 3)
#define EPT_IPT	  (1ull << 6)
#define EPT_S	  (1ull << 7)
#define EPT_A	  (1ull << 8)
#define EPT_D	  (1ull << 9)
#define EPT_TABLE_MBZ (0xfull << 3) /* bits 6:3 of a pointer to a table */

_Static_assert((EPT_RWX & (EPT_WB | EPT_IPT | EPT_S | EPT_A | EPT_D | PTE_ADDR)) == 0, "disjoint fields");

static uint64_t ept_leaf(hpa_t hpa, unsigned level, unsigned access)
{
	/* Writable implies readable: W alone is a misconfiguration. */
	return hpa | (access & (ACC_R | ACC_W) ? EPT_R : 0) | (access & ACC_W ? EPT_W : 0) |
	       (access & ACC_X ? EPT_X : 0) | EPT_WB | (level > 1 ? EPT_S : 0);
}

static uint64_t ept_table(hpa_t hpa)
{
	return hpa | EPT_RWX;
}

static unsigned ept_access(uint64_t entry)
{
	return (entry & EPT_R ? ACC_R : 0) | (entry & EPT_W ? ACC_W : 0) | (entry & EPT_X ? ACC_X : 0) | ACC_U;
}

static uint64_t ept_reserved(unsigned level, bool leaf, unsigned maxphyaddr, bool nx, bool gbpages)
{
	uint64_t bits = PTE_ADDR & ~((1ull << maxphyaddr) - 1);

	(void)nx; /* bit 63 is never NX here */
	if (level >= 4 || (level == 3 && !gbpages))
		bits |= EPT_S;
	if (!leaf)
		bits |= EPT_TABLE_MBZ;
	else if (level > 1)
		bits |= (LEVEL_SIZE(level) - 1) & PAGE_MASK;
	return bits;
}

bool pt_ept_misconfigured(uint64_t entry, bool leaf)
{
	unsigned mt = EPT_MT(entry);

	if ((entry & (EPT_R | EPT_W)) == EPT_W)
		return true;
	return leaf && (mt == 2 || mt == 3 || mt == 7);
}

const struct pt_format pt_format_ept = {
	.name = "ept",
	.present = EPT_RWX,
	.write = EPT_W,
	.user = 0,
	.accessed = EPT_A,
	.dirty = EPT_D,
	.large = EPT_S,
	.global = 0,
	.addr = PTE_ADDR,
	.max_leaf = 3,
	.leaf = ept_leaf,
	.table = ept_table,
	.access = ept_access,
	.reserved = ept_reserved,
};
