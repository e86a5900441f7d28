/* SPDX-License-Identifier: MIT */
/*
 * vcpu.c - KVM's own objects, and running a guest until it says something
 *
 * A vCPU starts at CPL 3 in long mode, in the kernel's first instruction, on the boot root: nothing else is ever set
 * from here. What guest and VMM tell each other is in shared memory, so an exit needs no register but the operand of
 * `out`, which KVM hands over in its run page; the rest is only read to report a failure.
 *
 * A guest that loops for ever must not hang the run: a timer interrupts KVM_RUN ten times a second, and one that gets
 * nowhere is given up (life.c). The same ticks make SIGINT seen in time whenever it arrives.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"
#include "vmm/kvm/shadow.h"

#define TICK_NS	       100000000ll
#define STOP_NS	       2000000000ull /* after SIGINT a guest may finish its quantum for so long */

#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR4_OSFXSR (1u << 9)

static gboolean failed(struct kvm_vm *vm, const char *what, GError **error)
{
	g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start: %s: %s", vm->out->name, what,
		    g_strerror(errno));
	return FALSE;
}

static int set_slot(struct kvm_vm *vm, uint32_t slot, gpa_t gpa, uint64_t size, void *at)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)at,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

/* Show the guest the processor that KVM supports; its guest-physical addresses have *@bits bits. */
static int set_cpuid(struct kvm_vm *vm, unsigned *bits)
{
	unsigned n = 256;
	struct kvm_cpuid2 *cpuid = g_malloc0(sizeof(*cpuid) + n * sizeof(cpuid->entries[0]));
	int err;

	cpuid->nent = n;
	err = ioctl(vm->m->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (!err)
		err = ioctl(vm->vcpu_fd, KVM_SET_CPUID2, cpuid);
	*bits = 36; /* SDM vol. 2A, CPUID: what a processor without the leaf has */
	for (unsigned i = 0; i < cpuid->nent && !err; i++)
		if (cpuid->entries[i].function == 0x80000008)
			*bits = cpuid->entries[i].eax & 0xff;
	g_free(cpuid);
	return err;
}

static int set_registers(struct kvm_vm *vm)
{
	struct kvm_regs regs = {
		.rip = kvm_image_header()->entry, .rsp = KERNEL_DIRECT_MAP + STACK_TOP_GPA, .rflags = 2
	};
	struct kvm_segment code = { .limit = ~0u, .selector = SEL_USER_CS, .type = 11, .present = 1, .dpl = 3, .s = 1,
				    .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = ~0u, .selector = SEL_USER_SS, .type = 3, .present = 1, .dpl = 3, .db = 1,
				    .s = 1, .g = 1 };
	struct kvm_sregs s;

	if (ioctl(vm->vcpu_fd, KVM_GET_SREGS, &s))
		return -1;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .base = TABLES_VA + TSS_OFFSET, .limit = 0x67, .selector = SEL_TSS,
				     .type = 11, .present = 1 };
	s.gdt.base = TABLES_VA;
	s.gdt.limit = SEL_TSS + 15;
	s.idt.base = TABLES_VA + IDT_OFFSET;
	s.idt.limit = IMAGE_VECTORS * 16 - 1;
	s.cr0 = vm->regs.cr0 | CR0_ET | CR0_NE;
	s.cr3 = vm->regs.cr3;
	s.cr4 = vm->regs.cr4 | CR4_OSFXSR;
	s.efer = vm->regs.efer;
	if (vm->m->free)
		kvm_irq_base(vm, &s);
	if (ioctl(vm->vcpu_fd, KVM_SET_SREGS, &s))
		return -1;
	return ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs);
}

gboolean kvm_vcpu_create(struct kvm_vm *vm, GError **error)
{
	uint64_t arena = vm->arena_pages * PAGE_SIZE, size = vm->npages * PAGE_SIZE;
	int run_size = ioctl(vm->m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	unsigned bits;

	/* It takes all of a process's locks, and gives up when a signal comes meanwhile. */
	do
		vm->fd = ioctl(vm->m->kvm_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0 || run_size < 0)
		return failed(vm, "KVM_CREATE_VM", error);
	if (!vm->shadow &&
	    (set_slot(vm, 0, 0, arena, kvm_arena(vm, 0)) || set_slot(vm, 1, arena, size - arena, vm->memory)))
		return failed(vm, "KVM_SET_USER_MEMORY_REGION", error);
	if (vm->m->free && !vm->shadow && kvm_irq_create(vm))
		return failed(vm, "KVM_CAP_SPLIT_IRQCHIP", error);
	vm->vcpu_fd = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu_fd < 0)
		return failed(vm, "KVM_CREATE_VCPU", error);

	void *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);

	if (run == MAP_FAILED)
		return failed(vm, "the vCPU's run page", error);
	vm->kvm_run = run;
	vm->kvm_run_size = (size_t)run_size;
	if (set_cpuid(vm, &bits))
		return failed(vm, "KVM_SET_CPUID2", error);
	if (!vm->shadow && device_gpa(vm->npages, DEVICE_LAPIC) >> bits) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "VM \"%s\" cannot start: its devices would lie beyond the processor's %u address bits",
			    vm->out->name, bits);
		return FALSE;
	}
	if (vm->shadow)
		return kvm_shadow_vcpu(vm, error);
	if (set_registers(vm))
		return failed(vm, "KVM_SET_SREGS", error);
	if (vm->m->free && kvm_irq_connect(vm))
		return failed(vm, "interrupts", error);
	return TRUE;
}

void kvm_vcpu_destroy(struct kvm_vm *vm)
{
	if (vm->kvm_run)
		munmap(vm->kvm_run, vm->kvm_run_size);
	if (vm->vcpu_fd >= 0)
		close(vm->vcpu_fd);
	kvm_irq_disconnect(vm);
	if (vm->fd >= 0)
		close(vm->fd);
	vm->kvm_run = NULL;
	vm->vcpu_fd = vm->fd = -1;
}

/* To be interrupted is all. It stays installed: a last tick may arrive after the timer is gone. */
static void on_tick(int sig)
{
	(void)sig;
}

gboolean kvm_watch_start(timer_t *watch, GError **error)
{
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_RESTART }; /* KVM_RUN never restarts */
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_WATCH_SIGNAL };
	struct itimerspec every = { .it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS };

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (sigaction(KVM_WATCH_SIGNAL, &sa, NULL) || timer_create(CLOCK_MONOTONIC, &ev, watch)) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "timer: %s", g_strerror(errno));
		return FALSE;
	}
	timer_settime(*watch, 0, &every, NULL);
	return TRUE;
}

void kvm_watch_stop(timer_t *watch)
{
	timer_delete(*watch);
}

void kvm_vcpu_kick(struct kvm_vm *vm)
{
	if (!vm->running || vm->done)
		return;
	vm->kvm_run->immediate_exit = 1;
	pthread_kill(vm->self, KVM_WATCH_SIGNAL);
}

void kvm_vcpu_halt(struct kvm_vm *vm)
{
	vm->kvm_run->immediate_exit = 1;
	if (vm->self)
		pthread_kill(vm->self, KVM_WATCH_SIGNAL);
}

/* For failures only: where the guest is. */
static uint64_t guest_rip(struct kvm_vm *vm)
{
	struct kvm_regs regs = { 0 };

	return ioctl(vm->vcpu_fd, KVM_GET_REGS, &regs) ? 0 : regs.rip;
}

static void fail_locked(struct kvm_vm *vm, enum failure kind, const char *what)
{
	g_mutex_lock(&vm->m->lock);
	kvm_vm_fail_as(vm, kind, "%s at 0x%" G_GINT64_MODIFIER "x", what, guest_rip(vm));
	g_mutex_unlock(&vm->m->lock);
}

/* False: the guest, which has been in KVM_RUN since @begin, gets nowhere. */
static bool lives(struct kvm_vm *vm, uint64_t begin)
{
	const char *why;

	g_mutex_lock(&vm->m->lock);
	why = kvm_life_look(vm, vm->run_ns + kvm_clock_ns() - begin);
	if (why && !vm->done)
		kvm_vm_fail_as(vm, FAILURE_HANG, "%s at 0x%" G_GINT64_MODIFIER "x", why, guest_rip(vm));
	g_mutex_unlock(&vm->m->lock);
	return !why;
}

/* An access to where no memory slot is. False: nor is there a device. */
static bool device_access(struct kvm_vm *vm)
{
	struct kvm_run *r = vm->kvm_run;
	bool ok;

	g_mutex_lock(&vm->m->lock);
	kvm_count_exit(vm, &vm->counters.exits_io);
	ok = kvm_mmio(vm, r->mmio.phys_addr, r->mmio.is_write, r->mmio.data, r->mmio.len);
	g_mutex_unlock(&vm->m->lock);
	return ok;
}

/* What one exit means: a hypercall's number, or 0 after a failure; -1: enter again. */
static int64_t handle_exit(struct kvm_vm *vm)
{
	struct kvm_run *r = vm->kvm_run;
	enum failure kind = FAILURE_ACCESS;
	char what[80];

	switch (r->exit_reason) {
	case KVM_EXIT_IO:
		if (vm->shadow)
			return kvm_shadow_exit(vm, r->io.port - STUB_PORT);
		if (r->io.port == HYPERCALL_PORT && r->io.direction == KVM_EXIT_IO_OUT && r->io.size == 4)
			return *(uint32_t *)((uint8_t *)r + r->io.data_offset);
		snprintf(what, sizeof(what), "access to port 0x%x", r->io.port);
		break;
	case KVM_EXIT_INTR:
		return -1;
	case KVM_EXIT_MMIO:
		if (device_access(vm))
			return -1;
		snprintf(what, sizeof(what), "access beyond the guest's memory, 0x%llx", r->mmio.phys_addr);
		break;
	case KVM_EXIT_SHUTDOWN:
		kind = FAILURE_CRASH;
		snprintf(what, sizeof(what), "triple fault");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		kind = FAILURE_CRASH;
		snprintf(what, sizeof(what), "KVM internal error %u", r->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(what, sizeof(what), "the processor refused to enter the guest (0x%llx)",
			 r->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		snprintf(what, sizeof(what), "unexpected KVM exit %u", r->exit_reason);
	}
	fail_locked(vm, kind, what);
	return 0;
}

/* What the ticks are for. False: the guest is to be left. */
static bool keep_running(struct kvm_vm *vm, uint64_t *begin, uint64_t *stopping)
{
	uint64_t now = kvm_clock_ns();

	if (vm->done || !lives(vm, *begin))
		return false;
	vm->kvm_run->immediate_exit = 0; /* kvm_vcpu_kick() */
	if (kvm_free_blocked(vm))
		*begin += kvm_clock_ns() - now;
	if (!run_stop && !vm->m->ending)
		return true;
	if (!*stopping)
		*stopping = now;
	return now - *stopping < STOP_NS;
}

uint32_t kvm_vcpu_run(struct kvm_vm *vm)
{
	uint64_t begin = kvm_clock_ns(), stopping = 0;
	int64_t call = -1;

	vm->self = pthread_self();
	while (call < 0) {
		if (vm->shadow) {
			call = kvm_shadow_enter(vm);
			if (call >= 0)
				break;
		}
		int err = ioctl(vm->vcpu_fd, KVM_RUN, 0) ? errno : 0;
		uint64_t left = kvm_clock_ns();

		if (err == EFAULT && kvm_merge_disturbed(vm)) {
			continue;
		} else if (err && err != EINTR && err != EAGAIN) {
			fail_locked(vm, FAILURE_ACCESS, g_strerror(err));
			call = 0;
		} else if (err) {
			call = keep_running(vm, &begin, &stopping) ? -1 : 0;
		} else {
			call = handle_exit(vm);
			vm->exit_ns += kvm_clock_ns() - left;
		}
	}
	if (call > 0 && !lives(vm, begin))
		call = 0;
	else if (call == HC_YIELD)
		kvm_life_yielded(vm);
	vm->run_ns += kvm_clock_ns() - begin;
	return (uint32_t)call;
}
