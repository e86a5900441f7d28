/* SPDX-License-Identifier: MIT */
/*
 * together.c - the threads of a lockstep run share a processor
 *
 * Problem: in ept mode a fault is two switches between threads, from the vCPU's to the one that serves faults
 * (faults.c) and back. On two processors each is an interrupt to the other one, and where the host is a virtual machine
 * itself, that takes longer than the work: a run took 1.5 to 2 times the time, and of the processor's, too.
 *
 * Idea: in lockstep only one of the two ever has something to do, so both are bound to one processor. Others may come
 * to want that one: every tenth of a second the vCPU's thread sleeps a little where it likes, and where the scheduler
 * wakes it, both go on.
 */
#include <sched.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"

#define PERIOD_NS 100000000
#define SLEEP_US  50

static void bind(struct kvm_machine *m, const cpu_set_t *set)
{
	pid_t other = atomic_load(&m->fault_tid);

	sched_setaffinity(0, sizeof(*set), set);
	if (other)
		sched_setaffinity(other, sizeof(*set), set);
}

void kvm_together_begin(struct kvm_machine *m)
{
	struct kvm_together *t = &m->together;

	*t = (struct kvm_together){ .since_ns = 0 };
	t->can = !sched_getaffinity(0, sizeof(t->allowed), &t->allowed) && CPU_COUNT(&t->allowed) > 1;
}

void kvm_together_tick(struct kvm_machine *m)
{
	struct kvm_together *t = &m->together;
	uint64_t now = kvm_clock_ns();
	cpu_set_t here;

	if (!t->can || (t->since_ns && now - t->since_ns < PERIOD_NS))
		return;
	t->since_ns = now;
	sched_setaffinity(0, sizeof(t->allowed), &t->allowed);
	usleep(SLEEP_US);
	CPU_ZERO(&here);
	CPU_SET((unsigned)sched_getcpu(), &here);
	bind(m, &here);
}

void kvm_together_end(struct kvm_machine *m)
{
	if (m->together.can)
		bind(m, &m->together.allowed);
}
