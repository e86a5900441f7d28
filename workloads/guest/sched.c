/* SPDX-License-Identifier: MIT */
/*
 * sched.c - who runs: round robin, sleep, wait
 *
 * The running process is in no queue. Ready ones stand in line, first come first served; sleeping ones are sorted by
 * the time they wake, those of equal time in the order they went to sleep. Waiting ones (for their children) are in
 * no queue: the last child's end makes them ready. Those that wait for the disk have a queue (io.c). Queues are
 * chains of slots; nothing depends on addresses.
 *
 * A sleeper whose time has come is woken at the next event that looks: the end of a quantum, a process giving up the
 * processor, or kernel_wake(). Being woken preempts nobody.
 *
 * Invariant (tests/guest/test_kernel.c): every live process is running, in exactly the queue of its state, or waiting.
 */

#include <stddef.h>

#include "workloads/guest/internal.h"

void schedule_init(struct kernel *k)
{
	k->current = k->ready_head = k->ready_tail = k->sleeping = k->free_slots = k->interrupted = NO_PROCESS;
	k->mem.blocked_head = k->mem.blocked_tail = NO_PROCESS;
	for (uint32_t i = EXPORT_PROCESSES; i-- > 0;) {
		k->process[i].next = k->free_slots;
		k->free_slots = i;
	}
}

void schedule_state(struct kernel *k, struct process *p, uint32_t state)
{
	p->state = state;
	k->export->process[process_slot(k, p)].state = state;
}

/* To the end of the line. */
void schedule_ready(struct kernel *k, struct process *p)
{
	uint32_t slot = process_slot(k, p);

	schedule_state(k, p, PROCESS_READY);
	p->next = NO_PROCESS;
	if (k->ready_head == NO_PROCESS)
		k->ready_head = slot;
	else
		k->process[k->ready_tail].next = slot;
	k->ready_tail = slot;
}

static void dequeue(struct kernel *k, uint32_t *head, uint32_t *tail, struct process *p)
{
	uint32_t slot = process_slot(k, p), before = NO_PROCESS, i = *head;

	while (i != slot) {
		before = i;
		i = k->process[i].next;
	}
	if (before == NO_PROCESS)
		*head = p->next;
	else
		k->process[before].next = p->next;
	if (tail && *tail == slot)
		*tail = before;
	p->next = NO_PROCESS;
}

/* Take @p from the processor or from the queue that it is in. */
void schedule_remove(struct kernel *k, struct process *p)
{
	if (k->current == process_slot(k, p))
		k->current = NO_PROCESS;
	else if (p->state == PROCESS_READY)
		dequeue(k, &k->ready_head, &k->ready_tail, p);
	else if (p->state == PROCESS_SLEEPING)
		dequeue(k, &k->sleeping, NULL, p);
	else if (p->state == PROCESS_BLOCKED)
		io_unblock(k, p);
}

static void schedule_wake(struct kernel *k)
{
	uint64_t now = k->sleeping == NO_PROCESS ? 0 : hal_now(k->hal);

	while (k->sleeping != NO_PROCESS && k->process[k->sleeping].wake_ns <= now) {
		struct process *p = &k->process[k->sleeping];

		k->sleeping = p->next;
		schedule_ready(k, p);
	}
}

/* The processor is free: the next in line gets it, if any. */
void schedule_pick(struct kernel *k)
{
	struct process *p;

	schedule_wake(k);
	if (k->current != NO_PROCESS || k->ready_head == NO_PROCESS)
		return;
	p = &k->process[k->ready_head];
	k->current = k->ready_head;
	k->ready_head = p->next;
	p->next = NO_PROCESS;
	p->quanta = 0;
	if (p->pid != k->last)
		k->counts.switches++;
	k->last = p->pid;
}

/* The running process lets others go first. */
void schedule_yield(struct kernel *k)
{
	struct process *p = &k->process[k->current];

	schedule_wake(k);
	k->current = NO_PROCESS;
	schedule_ready(k, p);
	schedule_pick(k);
}

void schedule_sleep(struct kernel *k, struct process *p, uint64_t ns)
{
	uint64_t now = hal_now(k->hal);
	uint32_t *link = &k->sleeping;

	schedule_remove(k, p);
	p->wake_ns = ns > UINT64_MAX - 1 - now ? UINT64_MAX - 1 : now + ns;
	while (*link != NO_PROCESS && k->process[*link].wake_ns <= p->wake_ns)
		link = &k->process[*link].next;
	p->next = *link;
	*link = process_slot(k, p);
	schedule_state(k, p, PROCESS_SLEEPING);
	schedule_pick(k);
}

/* Until the disk is done with something (io.c). */
void schedule_block(struct kernel *k, struct process *p)
{
	uint32_t slot = process_slot(k, p);

	schedule_remove(k, p);
	schedule_state(k, p, PROCESS_BLOCKED);
	p->next = NO_PROCESS;
	if (k->mem.blocked_head == NO_PROCESS)
		k->mem.blocked_head = slot;
	else
		k->process[k->mem.blocked_tail].next = slot;
	k->mem.blocked_tail = slot;
	schedule_pick(k);
}

/* It is in no queue afterwards. */
void schedule_unblock(struct kernel *k, struct process *p)
{
	dequeue(k, &k->mem.blocked_head, &k->mem.blocked_tail, p);
}

/* Until its children have ended. */
void schedule_wait(struct kernel *k, struct process *p)
{
	if (!p->nchildren)
		return;
	schedule_remove(k, p);
	schedule_state(k, p, PROCESS_WAITING);
	schedule_pick(k);
}
