/* SPDX-License-Identifier: MIT */
/*
 * future.c - every use of every page, for the optimum
 *
 * Problem: an experiment's future is known after it has been run; and then only if it is the same the second time.
 *
 * Idea: run it twice. In lockstep nothing a guest does depends on what things cost, so the second run uses the same
 * pages in the same order whatever was swapped; with the free schedule that holds for a single process that neither
 * sleeps nor is timed (experiment_check.c lets nothing else pass). It is not taken on trust: both runs note each use,
 * and the first that differs fails the run.
 *
 * A use is noted when it is over, so that until then its page is the one that is needed next, and stays. Operations
 * are executed one at a time for that; results do not depend on it.
 *
 * Invariant (tests/model/test_swap_mrc.c): misses are those of mm/replace_opt.c on the same trace.
 */
#include "vmm/sim/future.h"

#include "vmm/sim/swap.h"

gboolean sim_future_learn(struct run *r, future_run_fn run, struct swap_future **f, GError **error)
{
	const struct conf_swap *c = &r->e->swap;
	struct run *first;
	gboolean ok;

	*f = NULL;
	if (!c->size || !swap_policies[c->policy]->offline)
		return TRUE;
	*f = swap_future_new();
	first = run_new(r->e, r->seed);
	ok = run(first, *f, error);
	r->interrupted = first->interrupted;
	run_free(first);
	if (ok && swap_future_begin(*f)) {
		g_set_error(error, VMM_ERROR, VMM_FAILED,
			    "[swap] policy = opt: the run is too long: more than 2^32 uses of pages");
		ok = FALSE;
	}
	return ok;
}

void sim_future_use(struct sim *s, unsigned vm, gfn_t gfn)
{
	if (!s->future || swap_used(s->host.swap, vm, gfn))
		return;
	for (unsigned i = 0; i < s->nvms; i++)
		sim_vm_fail(s->vms[i],
			    "[swap] policy = opt: the second run used VM %u's page 0x%" G_GINT64_MODIFIER
			    "x where the first used another: the order of accesses depends on what is swapped",
			    vm, gfn);
}

/* GFN_NONE: not mapped, or the guest's tables make no sense. */
static gfn_t translate(struct sim_vcpu *v, gva_t va)
{
	struct sim_vm *vm = v->vm;
	gpa_t table = v->regs.cr3 & PTE_ADDR, arena = gmem_config(vm->gmem)->arena_pages << PAGE_SHIFT;

	for (unsigned level = vm->conf->guest_levels; level; level--) {
		gpa_t at = table + (va >> (PAGE_SHIFT + 9 * (level - 1)) & (PT_ENTRIES - 1)) * sizeof(uint64_t);
		uint64_t e;

		if (at >= arena)
			return GFN_NONE;
		e = vm->conf->paging == MODE_PV ? pv_read(vm->paging, at) :
						  *(const uint64_t *)(gmem_arena(vm->gmem) + at);
		if (!(e & PTE_P))
			return GFN_NONE;
		table = e & PTE_ADDR;
		if (level == 1 || (e & PTE_PS))
			return ((table & ~(LEVEL_SIZE(level) - 1)) | (va & (LEVEL_SIZE(level) - 1))) >> PAGE_SHIFT;
	}
	return GFN_NONE;
}

void sim_future_access(struct sim_vcpu *v, gva_t va)
{
	gfn_t gfn = translate(v, va);

	if (gfn != GFN_NONE)
		sim_future_use(v->vm->sim, v->vm->id, gfn);
}
