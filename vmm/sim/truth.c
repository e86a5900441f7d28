/* SPDX-License-Identifier: MIT */
/*
 * truth.c - which pages a guest touches, exactly
 *
 * Problem: an estimate of a working set is worth what its error is, and the error needs the truth. The simulated
 * processor executes every access, but its path is too fast to be burdened, and a TLB hit never learns which guest page
 * it hit.
 *
 * Idea: after the processor has executed a batch, the addresses in it are translated once more, by the guest's own
 * tables as they are: between two entries of its kernel they do not change, so neither do translations, which are
 * remembered until then. The kernel's own accesses and those of devices name guest pages anyway (hal.c, machine.c).
 *
 * Structures: for each page the number of the window in which it was touched last, lazily backed; a small table of
 * translations by virtual page.
 *
 * Invariants (tests/model/test_truth.c): the count is that of the distinct guest pages that operations name, in every
 * paging mode; a run with it is a run without it in every other counter.
 */
#include "vmm/sim/truth.h"

#include "mm/lazy.h"

#define ENTRIES 1024u

struct translation_entry {
	uint64_t page;	     /* virtual page, plus 1 */
	uint64_t generation;
	gfn_t gfn;
};

struct sim_truth {
	gfn_t first;
	uint64_t npages;
	uint32_t *last; /* by gfn */
	uint32_t window; /* from 1 */
	uint64_t count;	 /* pages touched in it */
	uint64_t generation;
	struct translation_entry entry[ENTRIES];
};

struct sim_truth *truth_new(gfn_t first, uint64_t npages)
{
	struct sim_truth *t = g_new0(struct sim_truth, 1);

	t->first = first;
	t->npages = npages;
	t->window = 1;
	t->last = lazy_new(npages * sizeof(*t->last));
	if (t->last)
		return t;
	g_free(t);
	return NULL;
}

void truth_free(struct sim_truth *t)
{
	if (!t)
		return;
	lazy_free(t->last, t->npages * sizeof(*t->last));
	g_free(t);
}

void truth_touch(struct sim_truth *t, gfn_t gfn)
{
	if (gfn < t->first || gfn >= t->npages || t->last[gfn] == t->window)
		return;
	t->last[gfn] = t->window;
	t->count++;
}

void truth_forget(struct sim_truth *t)
{
	t->generation++;
}

uint64_t truth_take(struct sim_truth *t)
{
	uint64_t count = t->count;

	t->count = 0;
	t->window++;
	return count;
}

static uint64_t table_entry(const struct sim_vm *vm, gpa_t gpa)
{
	if (gpa >= gmem_config(vm->gmem)->arena_pages << PAGE_SHIFT)
		return 0;
	return vm->conf->paging == MODE_PV ? pv_read(vm->paging, gpa) : *(uint64_t *)(gmem_arena(vm->gmem) + gpa);
}

/* The guest page behind @gva in the tables of the process that runs, or GFN_NONE. */
static gfn_t translate(const struct sim_vcpu *v, gva_t gva)
{
	gpa_t table = v->user_cr3 & PTE_ADDR;

	for (unsigned level = v->vm->conf->guest_levels;; level--) {
		uint64_t e = table_entry(v->vm, table + (gva >> LEVEL_SHIFT(level)) % PT_ENTRIES * 8);
		uint64_t inside = LEVEL_SIZE(level) - 1;

		if (!(e & PTE_P))
			return GFN_NONE;
		if (level == 1 || (level <= 3 && e & PTE_PS))
			return ((e & PTE_ADDR & ~inside) | (gva & inside)) >> PAGE_SHIFT;
		table = e & PTE_ADDR;
	}
}

void truth_accesses(struct sim_vcpu *v, const struct op *ops, uint32_t n)
{
	struct sim_truth *t = v->vm->truth;
	uint64_t before = UINT64_MAX;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t page = OP_VA(&ops[i]) >> PAGE_SHIFT;
		struct translation_entry *e = &t->entry[page % ENTRIES];

		if (page == before)
			continue;
		before = page;
		if (e->page != page + 1 || e->generation != t->generation)
			*e = (struct translation_entry){ page + 1, t->generation,
							 translate(v, page << PAGE_SHIFT) };
		truth_touch(t, e->gfn);
	}
}
