/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - a real guest's devices: balloon and disk behind their registers
 *
 * Problem. The devices (vmm/vm_balloon.c, vmm/vm_disk.c) are those of the simulated machine. A real guest reaches their
 * registers by loads and stores at guest-physical addresses that no memory slot covers.
 *
 * Idea. Such an access leaves the guest, by KVM_EXIT_MMIO or, in shadow mode, as an instruction that the VMM decodes;
 * either way kvm_mmio() carries it out, and a notification is served before the guest goes on. Interrupts are lines
 * (IRQ_*). In lockstep the guest's kernel asks for them when its quantum is over or it has nothing to run, which is
 * when the simulator looks (vmm/sim/guest.c), so that both count the same (tests/twin/test_devices.c).
 *
 * The lock is held throughout: devices read and write guest memory through the memory manager.
 */
#include <string.h>

#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

static uint64_t disk_now(void *ctx)
{
	return kvm_guest_now(ctx);
}

const char *kvm_devices_new(struct kvm_vm *vm)
{
	const struct run *r = vm->m->run;
	const struct vm_disk_config cfg = {
		.conf = vm->conf,
		.name = vm->out->name,
		.gmem = vm->gmem,
		.seed = vm->script->seed,
		.lockstep = r->e->experiment.schedule == SCHEDULE_LOCKSTEP,
		.now = disk_now,
		.ctx = vm,
	};

	vm->balloon = vm_balloon_new(r->e, vm->conf, vm->gmem);
	return vm_disk_new(&cfg, &vm->disk) ? "there is no address space for its disk" : NULL;
}

bool kvm_mmio(struct kvm_vm *vm, gpa_t gpa, bool write, void *data, unsigned len)
{
	uint64_t offset = gpa % PAGE_SIZE, value = 0;
	bool balloon = vm->balloon && gpa - offset == vm->boot.balloon.registers;
	bool disk = vm->disk && gpa - offset == vm->boot.disk.registers;

	if (len > sizeof(value) || !(balloon || disk))
		return false;
	if (write) {
		memcpy(&value, data, len);
		if (balloon)
			vm_balloon_write(vm->balloon, offset, value, len);
		else
			vm_disk_write(vm->disk, offset, value, len, kvm_guest_now(vm));
	} else {
		value = balloon ? vm_balloon_read(vm->balloon, offset, len) : vm_disk_read(vm->disk, offset, len);
		memcpy(data, &value, len);
	}
	if (vm->m->free && write) {
		kvm_irq_raise(vm, kvm_devices_look(vm));
		kvm_free_poke(vm->m);
	}
	return true;
}

unsigned kvm_devices_look(struct kvm_vm *vm)
{
	uint64_t now = kvm_guest_now(vm);
	unsigned lines = vm->balloon && vm_balloon_tick(vm->balloon, now) ? IRQ_BALLOON : 0;

	if (vm->disk && vm_disk_tick(vm->disk, now))
		lines |= IRQ_DISK;
	return lines;
}

uint64_t kvm_devices_next(struct kvm_vm *vm)
{
	uint64_t next = vm->balloon ? vm_balloon_next(vm->balloon, kvm_guest_now(vm)) : UINT64_MAX;

	return vm->disk ? MIN(next, vm_disk_next(vm->disk)) : next;
}
