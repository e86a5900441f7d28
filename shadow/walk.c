/* SPDX-License-Identifier: MIT */
/*
 * walk.c - the guest's own page tables, walked by software as the processor would
 *
 * Problem. A page fault on shadow tables says nothing yet: is it the guest's fault, or has the shadow not been
 * filled? Only the guest's tables can tell.
 *
 * Idea. The walk of SDM vol. 3A, 4.5 to 4.7, step by step: present, reserved bits, then, at the leaf, the rights of the
 * whole path against the access (U/S, W under CR0.WP, NX, SMEP, SMAP under AC). If the access is allowed, accessed bits
 * are set on the path and the dirty bit in the leaf of a write, before any shadow entry may be made from them. They are
 * set by compare-and-exchange: if another vCPU changed the entry meanwhile, the walk begins again.
 *
 * Tables in the arena are read in place; elsewhere through gmem, which may fault them in. A table beyond the
 * guest's memory ends the guest (-EFAULT), as an access there does in every mode. With paging off the result is the
 * identity.
 *
 * Differences from hardware that the architecture allows: accessed bits of upper levels are set only if the whole walk
 * succeeds (as KVM's; a processor may set them earlier).
 *
 * Invariants: outcome and error code equal those of a naive walker (tests/unit/test_guest_walk.c).
 */
#include "shadow/internal.h"

static const uint64_t *arena_table(const struct shadow *s, gfn_t gfn)
{
	return (const uint64_t *)(s->arena + gfn * PAGE_SIZE);
}

int shadow_guest_entry(struct shadow *s, gfn_t gfn, unsigned idx, uint64_t *entry)
{
	shadow_charge(s, CHARGE_GUEST_READ, 1);
	if (gfn < s->arena_pages) {
		*entry = __atomic_load_n(&arena_table(s, gfn)[idx], __ATOMIC_RELAXED);
		return 0;
	}
	return gmem_read(s->gmem, (gfn << PAGE_SHIFT) + idx * sizeof(*entry), entry, sizeof(*entry));
}

/* Bits of a present entry that must be zero and are not. 1 GiB pages are taken to exist. */
uint64_t shadow_walk_reserved(uint64_t entry, unsigned level, unsigned maxphyaddr, bool nx)
{
	bool leaf = pt_is_leaf(&pt_format_x86, entry, level);

	return entry & pt_format_x86.reserved(level, leaf, maxphyaddr, nx, true);
}

/* Set @bits in a guest entry that was read as @entry; 1 if it no longer reads so. */
static int set_bits(struct shadow *s, gfn_t gfn, unsigned idx, uint64_t entry, uint64_t bits)
{
	gpa_t gpa = (gfn << PAGE_SHIFT) + idx * sizeof(entry);
	uint64_t now = entry | bits;

	s->c->shadow_ad_updates++;
	if (gfn >= s->arena_pages)
		return gmem_write(s->gmem, gpa, &now, sizeof(now));
	return !__atomic_compare_exchange_n((uint64_t *)(s->arena + gpa), &entry, now, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED);
}

/* A on the path, D on the leaf of a write. 1: walk again. */
static int set_accessed(struct shadow *s, struct guest_walk *w, gva_t gva, bool write)
{
	for (unsigned level = s->cfg.guest_levels; level >= w->level; level--) {
		uint64_t want = PTE_A | (write && level == w->level ? PTE_D : 0);
		uint64_t entry = w->at[level].entry;
		int ret;

		if ((entry & want) == want)
			continue;
		ret = set_bits(s, w->at[level].table, PT_INDEX(gva, level), entry, want & ~entry);
		if (ret)
			return ret;
		w->at[level].entry = entry | want;
	}
	return 0;
}

/* Is @access refused by the rights of the whole path? */
static bool denied(const struct guest_regs *regs, unsigned rights, unsigned access)
{
	bool user = access & ACC_U;

	if (user && !(rights & ACC_U))
		return true;
	if ((access & ACC_W) && !(rights & ACC_W) && (user || (regs->cr0 & CR0_WP)))
		return true;
	if ((access & ACC_X) && !(rights & ACC_X))
		return true;
	if (user || !(rights & ACC_U))
		return false;
	if (access & ACC_X)
		return regs->cr4 & CR4_SMEP;
	return (regs->cr4 & CR4_SMAP) && !(regs->rflags & RFLAGS_AC);
}

static uint32_t error_code(const struct guest_regs *regs, unsigned access, uint32_t why)
{
	bool fetch = (access & ACC_X) && ((regs->efer & EFER_NX) || (regs->cr4 & CR4_SMEP));

	return why | (access & ACC_W ? PF_W : 0) | (access & ACC_U ? PF_U : 0) | (fetch ? PF_I : 0);
}

static bool canonical(gva_t gva, unsigned levels)
{
	unsigned shift = 64 - (PAGE_SHIFT + PT_BITS * levels);

	return (gva_t)((int64_t)(gva << shift) >> shift) == gva;
}

/* One descent. Fills @w; 1 with @error set to why (PF_P, PF_RSVD or 0) if it ends early. */
static int descend(struct shadow *s, const struct guest_regs *regs, gva_t gva, struct guest_walk *w, uint32_t *error)
{
	bool nx = regs->efer & EFER_NX;
	gfn_t table = (regs->cr3 & PTE_ADDR) >> PAGE_SHIFT;
	unsigned level = s->cfg.guest_levels, access = SHADOW_ACCESS;

	for (;; level--) {
		uint64_t entry;
		int ret;

		if (table >= s->npages)
			return ERR(-EFAULT);
		ret = shadow_guest_entry(s, table, PT_INDEX(gva, level), &entry);
		if (ret)
			return ret;
		w->at[level].table = table;
		w->at[level].entry = entry;
		w->at[level].access = access;
		*error = 0;
		if (!(entry & PTE_P))
			return 1;
		*error = PF_P | PF_RSVD;
		if (shadow_walk_reserved(entry, level, s->cfg.maxphyaddr, nx))
			return 1;
		access &= pt_format_x86.access(entry);
		if (level == 1 || (level <= 3 && (entry & PTE_PS)))
			break;
		table = (entry & PTE_ADDR) >> PAGE_SHIFT;
	}
	w->level = level;
	w->access = access;
	w->gpa = (w->at[level].entry & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) | (gva & (LEVEL_SIZE(level) - 1));
	return 0;
}

int shadow_walk(struct shadow *s, const struct guest_regs *regs, gva_t gva, unsigned access, struct guest_walk *w,
		uint32_t *error)
{
	uint32_t why = 0;
	int ret;

	if (!(regs->cr0 & CR0_PG)) {
		w->level = 3;
		w->access = SHADOW_ACCESS;
		w->gpa = gva;
		return 0;
	}
	if (!canonical(gva, s->cfg.guest_levels)) {
		*error = error_code(regs, access, 0);
		return 1;
	}
	do {
		ret = descend(s, regs, gva, w, &why);
		if (ret < 0)
			return ret;
		if (ret == 0 && denied(regs, w->access, access)) {
			why = PF_P;
			ret = 1;
		}
		if (ret) {
			*error = error_code(regs, access, why);
			return 1;
		}
		ret = set_accessed(s, w, gva, access & ACC_W);
	} while (ret > 0);
	return ret;
}
