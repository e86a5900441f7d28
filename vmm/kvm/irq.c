/* SPDX-License-Identifier: MIT */
/*
 * irq.c - what interrupts a real guest, in the free schedule
 *
 * The interrupt controller is KVM's split one: a local APIC in the kernel, and instead of an I/O APIC messages (MSI).
 * Each device has a message route and an eventfd that sends it (irqfd); the timer is the APIC's own, set to be periodic
 * from here, because ring 0 of the guest is a stub that knows no more than how to acknowledge.
 *
 * The APIC's registers are moved from their usual place below 4 GiB to a page among those of the devices, since guests
 * may have memory at the usual one. KVM then leaves its hardware acceleration off (APICv, AVIC), which nothing here
 * needs.
 *
 * In shadow mode, where the VMM plays the guest's ring 0, there is no controller at all: whoever interrupts does what
 * the stub's handler would, in the vCPU page. That needs no exit: the guest looks there before its next operation.
 *
 * A guest that idles does so in its thread (free.c) and not in the APIC: whoever raises a line says so there, too.
 *
 * Sources: Intel SDM vol. 3A, 11.4 to 11.8 (local APIC), 11.11.1 (message address); Linux
 * Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

#define IOAPIC_PINS 24u /* routes below are for pins of an I/O APIC, which there is not */
#define MSI_ADDRESS 0xfee00000u

#define APIC_SPIV	    0xf0u
#define APIC_LVT_TIMER	    0x320u
#define APIC_INITIAL_COUNT  0x380u
#define APIC_CURRENT_COUNT  0x390u
#define APIC_DIVIDE	    0x3e0u
#define SPIV_ENABLED	    0x1ffu
#define TIMER_PERIODIC	    0x20000u
#define DIVIDE_BY_1	    0xbu
#define DIVIDE_BY_128	    0xau

static const struct {
	unsigned line, vector, word;
} lines[KVM_LINES] = {
	{ IRQ_DISK, VECTOR_DISK, VCPU_LINE_DISK },
	{ IRQ_BALLOON, VECTOR_BALLOON, VCPU_LINE_BALLOON },
};

int kvm_irq_create(struct kvm_vm *vm)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { IOAPIC_PINS } };

	return ioctl(vm->fd, KVM_ENABLE_CAP, &split);
}

void kvm_irq_base(const struct kvm_vm *vm, struct kvm_sregs *s)
{
	s->apic_base = (s->apic_base & (PAGE_SIZE - 1)) | device_gpa(vm->npages, DEVICE_LAPIC);
}

static int set_routes(struct kvm_vm *vm)
{
	struct kvm_irq_routing *r = g_malloc0(sizeof(*r) + KVM_LINES * sizeof(r->entries[0]));
	int err;

	r->nr = KVM_LINES;
	for (unsigned i = 0; i < KVM_LINES; i++)
		r->entries[i] = (struct kvm_irq_routing_entry){
			.gsi = IOAPIC_PINS + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = MSI_ADDRESS, .data = lines[i].vector },
		};
	err = ioctl(vm->fd, KVM_SET_GSI_ROUTING, r);
	g_free(r);
	return err;
}

int kvm_irq_connect(struct kvm_vm *vm)
{
	if (set_routes(vm))
		return -1;
	for (unsigned i = 0; i < KVM_LINES; i++) {
		struct kvm_irqfd q = { .gsi = IOAPIC_PINS + i };

		vm->irq_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vm->irq_fd[i] < 0)
			return -1;
		q.fd = (uint32_t)vm->irq_fd[i];
		if (ioctl(vm->fd, KVM_IRQFD, &q))
			return -1;
	}
	return 0;
}

void kvm_irq_disconnect(struct kvm_vm *vm)
{
	for (unsigned i = 0; i < KVM_LINES; i++) {
		if (vm->irq_fd[i] >= 0)
			close(vm->irq_fd[i]);
		vm->irq_fd[i] = -1;
	}
}

static void put(struct kvm_lapic_state *l, unsigned at, uint32_t value)
{
	*(uint32_t *)(l->regs + at) = value;
}

/* KVM's APIC counts nanoseconds. */
int kvm_irq_timer(struct kvm_vm *vm, uint64_t period_ns)
{
	bool coarse = period_ns > UINT32_MAX;
	uint32_t count = (uint32_t)MIN(coarse ? period_ns / 128 : period_ns, UINT32_MAX);
	struct kvm_lapic_state l;

	if (ioctl(vm->vcpu_fd, KVM_GET_LAPIC, &l))
		return -1;
	put(&l, APIC_SPIV, SPIV_ENABLED);
	put(&l, APIC_LVT_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
	put(&l, APIC_DIVIDE, coarse ? DIVIDE_BY_128 : DIVIDE_BY_1);
	put(&l, APIC_INITIAL_COUNT, count);
	put(&l, APIC_CURRENT_COUNT, count);
	return ioctl(vm->vcpu_fd, KVM_SET_LAPIC, &l);
}

/* In this order: who sees the quantum's end finds the word. */
static void leave_word(struct kvm_vm *vm, unsigned offset)
{
	uint8_t *page = (uint8_t *)kvm_vcpu_page(vm);

	__atomic_store_n((uint64_t *)(page + offset), 1, __ATOMIC_SEQ_CST);
	__atomic_store_n((uint64_t *)(page + VCPU_QUANTUM_END), 0, __ATOMIC_SEQ_CST);
}

uint64_t kvm_irq_tick(struct kvm_vm *vm, uint64_t now)
{
	uint64_t period = vm->m->run->e->experiment.tick_ns;

	if (!vm->shadow)
		return UINT64_MAX;
	if (now >= vm->next_tick) {
		leave_word(vm, VCPU_TICK);
		vm->next_tick = now - now % period + period;
	}
	return vm->next_tick;
}

void kvm_irq_raise(struct kvm_vm *vm, unsigned which)
{
	const uint64_t one = 1;

	for (unsigned i = 0; i < KVM_LINES; i++) {
		if (!(which & lines[i].line))
			continue;
		if (vm->shadow)
			leave_word(vm, lines[i].word);
		else if (write(vm->irq_fd[i], &one, sizeof(one)) != sizeof(one))
			g_error("irqfd: %s", g_strerror(errno));
	}
	vm->raised |= which;
	if (which)
		g_cond_broadcast(&vm->wake);
}
