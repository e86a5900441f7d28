/* SPDX-License-Identifier: MIT */
/* mmu_run.c - a batch of accesses */
#include "vmm/sim/mmu_int.h"

static const unsigned access_of[] = { [OP_READ] = ACC_R | ACC_U, [OP_WRITE] = ACC_R | ACC_W | ACC_U, [OP_EXEC] = ACC_X | ACC_U };

uint32_t mmu_run(struct sim_mmu *m, const struct mmu_context *x, const struct op *ops, uint32_t n, uint64_t budget,
		 uint64_t *work, uint64_t *walk, struct mmu_result *r)
{
	uint64_t spent = 0;
	uint32_t i;

	r->outcome = MMU_OK;
	for (i = 0; i < n; i++) {
		unsigned kind = OP_KIND(&ops[i]);

		if (kind > OP_EXEC || (budget && i % MMU_BUDGET_OPS == 0 && spent >= budget))
			break;
		mmu_access(m, x, OP_VA(&ops[i]), access_of[kind], r);
		if (r->outcome != MMU_OK)
			break;
		*walk += r->walk_cycles;
		*work += r->cycles - r->walk_cycles + m->p.op_cycles;
		spent += r->cycles + m->p.op_cycles;
		x->c->accesses++;
		x->c->reads += kind == OP_READ;
		x->c->writes += kind == OP_WRITE;
		x->c->fetches += kind == OP_EXEC;
		if (kind == OP_WRITE && x->content)
			x->content[r->hpa >> PAGE_SHIFT].stamp = ops[i].arg;
	}
	return i;
}
