/* SPDX-License-Identifier: MIT */
/* walk2.c - the second stage's rare turns: faults, and bits to be set (walk2.h has the walk) */
#include "vmm/sim/walk2.h"

void walk_drop_gpa(struct sim_mmu *m, gpa_t gpa)
{
	walk_drop_pwc(m->npwc, gpa, m->ids.guest);
	for (unsigned level = 1; level <= 3; level++) {
		struct tlb_hit hit;

		if (m->ntlb.seen[level] && tlb_probe(&m->ntlb, gpa, level, m->ids.guest, &hit))
			assoc_drop(hit.a, hit.slot);
	}
}

bool stage2_stop(struct sim_mmu *m, const struct mmu_context *x, enum mmu_outcome outcome, uint32_t error, gpa_t gpa,
		 unsigned access, bool table, struct mmu_result *r)
{
	r->outcome = outcome;
	r->error = error | (access & ACC_W ? PF_W : 0) | (access & ACC_X ? PF_I : 0) | (x->npt ? PF_U : 0);
	r->gpa = gpa;
	r->table_access = table;
	if (outcome != MMU_PML_FULL)
		walk_drop_gpa(m, gpa);
	return false;
}

bool stage2_update(struct sim_mmu *m, const struct mmu_context *x, gpa_t gpa, unsigned access, bool table,
		   struct steps2 steps, unsigned top, unsigned leaf, struct mmu_result *r)
{
	uint64_t a = x->npt ? PTE_A : EPT_A, d = x->npt ? PTE_D : EPT_D;
	bool dirties = (access & ACC_W) && !(steps.at[leaf].val & d);

	if (dirties && x->pml && !x->npt) {
		if (x->pml->n >= G_N_ELEMENTS(x->pml->gpa))
			return stage2_stop(m, x, MMU_PML_FULL, PF_P, gpa, access, table, r);
		x->pml->gpa[x->pml->n++] = gpa & PAGE_MASK;
		x->c->pml_entries++;
	}
	for (unsigned level = top; level > leaf; level--)
		mmu_set_bits(m, x, steps.at[level].entry, a, r);
	mmu_set_bits(m, x, steps.at[leaf].entry, dirties ? a | d : a, r);
	return true;
}
