/* SPDX-License-Identifier: MIT */
/*
 * life.c - guests that get nowhere
 *
 * Problem: a guest can keep its vCPU for ever, with a loop, with hypercalls or devices' registers that lead to
 * nothing, with faults, or with operations that it only claims: all it counts is in memory that it can write.
 *
 * Idea: its time is what it spends in KVM_RUN. Operations beyond what was ever seen are work. Signs of life are, too,
 * that it sleeps, and that it faults: a kernel that frees or copies a lot touches memory between two operations.
 * Without a sign for kvm_life.patience_ns, or without work for WORK_PATIENCE times as long, it is given up. Claims
 * are bounded: in lockstep a guest yields at the end of a quantum, and no script is so much longer than it says;
 * mapping, exiting and the like are operations beyond those of its phases.
 *
 * Invariants: no guest runs for ever (tests/guest/test_kvm_hostile.c); one that works is never given up, however
 * slowly it does (test_kvm_hostile.c: slow_is_not_dead).
 */
#include "vmm/kvm/kvm.h"

#define PATIENCE_NS   20000000000ull
#define WORK_PATIENCE 10

/* Operations beyond what is due: those of a batch that a fault interrupted are counted when they are performed. */
#define SLACK 64

void kvm_life_begin(struct kvm_vm *vm)
{
	const struct script *sc = vm->script;
	uint64_t n = run_expected_operations(sc);

	vm->life = (struct kvm_life){
		.most = n ? 16 * n + 10000000 : UINT64_MAX,
		.patience_ns = PATIENCE_NS,
	};
	for (uint32_t i = 0; i < sc->nphases; i++)
		if (sc->phase[i].flags & PHASE_CHILD)
			vm->life.most = UINT64_MAX; /* whoever is forked performs some */
}

static uint64_t claimed(const struct kvm_vm *vm)
{
	return *(volatile uint64_t *)&kvm_vcpu_page(vm)->operations;
}

/* In lockstep, the most operations that may have been performed by now. */
static uint64_t due(const struct kvm_vm *vm)
{
	const struct conf_experiment *e = &vm->m->run->e->experiment;

	return e->schedule == SCHEDULE_LOCKSTEP ? vm->life.yielded + e->quantum + SLACK : UINT64_MAX;
}

uint64_t kvm_life_operations(struct kvm_vm *vm)
{
	uint64_t operations = MIN(claimed(vm), MIN(due(vm), vm->life.most));

	vm->life.operations = MAX(vm->life.operations, operations);
	return vm->life.operations;
}

void kvm_life_yielded(struct kvm_vm *vm)
{
	vm->life.yielded = kvm_life_operations(vm);
}

/* Exits that a guest at work between two operations has: lock held. */
static uint64_t faults_of(const struct counters *c)
{
	return c->exits_ept_violation + c->exits_page_fault + c->exits_traced_write + c->exits_cr_write +
	       c->exits_invlpg;
}

const char *kvm_life_look(struct kvm_vm *vm, uint64_t run_ns)
{
	struct kvm_life *l = &vm->life;
	uint64_t work = kvm_life_operations(vm), signs = work + vm->idle_ns + faults_of(&vm->counters);

	if (work > l->work)
		l->work_ns = run_ns;
	if (signs > l->signs)
		l->sign_ns = run_ns;
	l->work = work;
	l->signs = signs;
	if (claimed(vm) > due(vm))
		return "it claims more operations than a quantum has";
	if (claimed(vm) > l->most)
		return "it claims more operations than its workload has";
	if (run_ns - l->sign_ns > vm->life.patience_ns)
		return "no operation and no fault for a long time: given up";
	if (run_ns - l->work_ns > WORK_PATIENCE * vm->life.patience_ns)
		return "no operation for a very long time: given up";
	return NULL;
}
