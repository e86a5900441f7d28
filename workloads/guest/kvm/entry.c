/* SPDX-License-Identifier: MIT */
/*
 * entry.c - into the guest kernel and out of it again
 *
 * Problem: the portable kernel is a set of functions, one an event; somebody has to turn exceptions into calls, keep
 * the quantum, and let the right process run.
 *
 * Idea: the stub (stub.S) enters kernel_event_entry at CPL 3 on the kernel's root for every exception of a process,
 * each time on an empty stack. The event is dealt with, then go_on() decides as the simulator's loop does
 * (vmm/sim/guest.c, in the same order, for the twin rule): quantum over? somebody to run? all done? else idle. A
 * process is resumed by entering its user loop anew; the loop's whole state is its struct runtime, so no register has
 * to be kept.
 *
 * It boots on a root of the VMM's making, and goes over to its own when it has one.
 */
#include "workloads/guest/kvm/hal_kvm.h"
#include "workloads/x86.h"

_Static_assert(HYPERCALL_PORT == 0x0b && HC_PANIC == 4, "stub.S spells these out");
_Static_assert(STUB_GPA == 0x210000 && USER_TEXT_GPA == 0x200000 && KERNEL_IMAGE_GPA == 0x100000,
	       "stub.S spells these out");
#define COMMON_PAGE_VA(page) (COMMON_VA + (page) * PAGE_SIZE)
_Static_assert(SCRIPT_VA == COMMON_PAGE_VA(COMMON_PAGE_SCRIPT) && USER_TEXT_VA == COMMON_PAGE_VA(COMMON_PAGE_TEXT) &&
		       STUB_VA == COMMON_PAGE_VA(COMMON_PAGE_STUB) && TABLES_VA == STUB_VA + PAGE_SIZE &&
		       STUB_DATA_VA == STUB_VA + 2 * PAGE_SIZE && VCPU_VA == STUB_VA + 3 * PAGE_SIZE &&
		       USER_STACK_VA == VCPU_VA + 2 * PAGE_SIZE &&
		       LAPIC_VA == COMMON_PAGE_VA(COMMON_PAGE_LAPIC) &&
		       KERNEL_VA == KERNEL_DIRECT_MAP + KERNEL_IMAGE_GPA &&
		       STACK_TOP_GPA == HEAP_MIN_GPA,
	       "layout.h must agree with abi.h");

static struct hal the_hal;

/* The stub's iretq comes here with the stack at its top, as a call would leave it but for the return address. */
__asm__(".pushsection .text\n"
	".globl kernel_start, kernel_event_entry\n"
	"kernel_start: call kernel_begin\n"
	"kernel_event_entry: call kernel_event\n"
	".popsection\n");

static void interrupts(struct hal *h)
{
	unsigned lines = (unsigned)h->vcpu->lines;

	h->vcpu->lines = 0;
	if (lines)
		kernel_interrupt(h->kernel, lines);
}

/* In lockstep devices interrupt at set times only, and the VMM says which of them do. */
static void look_at_devices(struct hal *h)
{
	if (!(h->boot->flags & BOOT_LOCKSTEP) || (!h->boot->balloon.registers && !h->boot->disk.registers))
		return;
	request(HC_DEVICES, 0);
	interrupts(h);
}

/* HC_IDLE: the VMM lets time pass until wake_ns, or until a device has something. */
static void idle(struct hal *h)
{
	look_at_devices(h);
	if (kernel_current(h->kernel))
		return;
	h->vcpu->wake_ns = kernel_wake_time(h->kernel);
	request(HC_IDLE, 0);
	interrupts(h);
	kernel_wake(h->kernel);
	if (!kernel_current(h->kernel) && h->boot->flags & BOOT_LOCKSTEP)
		request(HC_NOTHING, 0);
}

static void quantum_end(struct hal *h)
{
	look_at_devices(h);
	kernel_quantum(h->kernel);
	h->vcpu->quanta++;
	h->vcpu->quantum_end += h->boot->quantum;
	request(HC_YIELD, 0);
}

static bool take(volatile uint64_t *word)
{
	return __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
}

/*
 * Free schedule: what have interrupts left? What one leaves while this looks is found the next time, because the
 * process then stops again.
 */
static bool attend(struct hal *h)
{
	volatile struct vcpu_page *v = h->vcpu;
	unsigned lines;

	if (!(v->tick | v->line_disk | v->line_balloon | v->stop))
		return false;
	v->quantum_end = UINT64_MAX;
	lines = (take(&v->line_disk) ? IRQ_DISK : 0) | (take(&v->line_balloon) ? IRQ_BALLOON : 0);
	if (lines)
		kernel_interrupt(h->kernel, lines);
	if (take(&v->tick)) {
		kernel_quantum(h->kernel);
		v->quanta++;
	}
	if (v->stop)
		request(HC_YIELD, 0);
	return true;
}

/* Is the process's turn, or its run of operations, over? */
static bool stopped(struct hal *h)
{
	if (!(h->boot->flags & BOOT_LOCKSTEP))
		return attend(h);
	if (h->vcpu->operations < h->vcpu->quantum_end)
		return false;
	quantum_end(h);
	return true;
}

/* With PCIDs, a CR3 load leaves what is cached for the space: whoever changes that says so. */
static uint64_t cr3_of(const struct hal *h, uint64_t root, unsigned pcid)
{
	return h->boot->flags & BOOT_PCID ? root | pcid | CR3_NOFLUSH : root;
}

static _Noreturn void resume(struct hal *h, const struct process *p)
{
	h->pcid = p->pcid;
	for (;;)
		request(REQUEST_RESUME, cr3_of(h, p->root, p->pcid));
}

static _Noreturn void go_on(struct hal *h)
{
	for (;;) {
		const struct process *p = kernel_current(h->kernel);

		if (stopped(h))
			continue;
		if (p)
			resume(h, p);
		else if (kernel_done(h->kernel))
			request(HC_DONE, 0);
		else
			idle(h);
	}
}

/*
 * The process's loop stopped in front of an operation that is not an access; or at the end of the quantum, or for an
 * interrupt, wherever it stood: then that is all. (By now another interrupt may have come, or none be left to see.)
 */
static void system_call(struct hal *h)
{
	struct runtime *rt = kernel_runtime(h->kernel, kernel_current(h->kernel));

	if (h->boot->flags & BOOT_LOCKSTEP && h->vcpu->operations == h->vcpu->quantum_end)
		return;
	if (rt->pos == rt->n) {
		if (!program_replays(&rt->program, direct(SCRIPT_GPA)))
			return;
		h->vcpu->refill = (uint64_t)rt - KERNEL_DIRECT_MAP;
		request(HC_REFILL, 0);
		return;
	}

	if (OP_IS_ACCESS(&rt->ops[rt->pos]))
		return;

	struct op op = rt->ops[rt->pos++];

	h->vcpu->operations++;
	kernel_syscall(h->kernel, &op);
}

_Noreturn void kernel_event(void);
_Noreturn void kernel_event(void)
{
	struct hal *h = &the_hal;

	switch (*stub_word(STUB_VECTOR)) {
	case 14:
		kernel_page_fault(h->kernel, *stub_word(STUB_CR2), (uint32_t)*stub_word(STUB_ERROR));
		break;
	case 3:
		system_call(h);
		break;
	default:
		guest_assert(h, !"exception in a process");
	}
	go_on(h);
}

_Noreturn void kernel_begin(void);
_Noreturn void kernel_begin(void)
{
	struct hal *h = &the_hal;

	h->vcpu = direct(VCPU_GPA);
	h->boot = direct(BOOT_INFO_GPA);
	guest_assert(h, h->boot->magic == BOOT_MAGIC);
	h->vcpu->quantum_end = h->boot->flags & BOOT_LOCKSTEP ? h->boot->quantum : UINT64_MAX;
	h->kernel = kernel_boot(h);
	if (!h->kernel)
		request(HC_NO_ARENA, 0);
	h->vcpu->counts = (uint64_t)kernel_counts(h->kernel) - KERNEL_DIRECT_MAP;

	*stub_word(STUB_KERNEL_CR3) = cr3_of(h, kernel_root(h->kernel), 0);
	request(REQUEST_CR3, kernel_root(h->kernel));
	request(HC_BOOTED, 0);
	go_on(h);
}
