/* SPDX-License-Identifier: MIT */
/*
 * hal_kvm.h - the guest kernel's world in a real guest: what entry.c and hal_kvm.c share
 *
 * The kernel runs at CPL 3 on its own root and reaches all guest-physical memory through the direct map, with plain
 * loads and stores. There is one vCPU, hence one struct hal.
 */
#ifndef OVERBOOK_GUEST_KVM_HAL_KVM_H
#define OVERBOOK_GUEST_KVM_HAL_KVM_H

#include "workloads/guest/abi.h"
#include "workloads/guest/hal.h"
#include "workloads/guest/kernel.h"
#include "workloads/guest/kvm/layout.h"

struct hal {
	volatile struct vcpu_page *vcpu;
	const struct boot_info *boot;
	struct kernel *kernel; /* NULL while it boots */
	unsigned pcid;	       /* of the process that ran last */
};

static inline void *direct(uint64_t gpa)
{
	return (void *)(KERNEL_DIRECT_MAP + gpa);
}

static inline uint64_t vcpu_now(const volatile struct vcpu_page *v)
{
	uint32_t low, high;

	if (!v->clock_mult)
		return v->operations * LOCKSTEP_NS + v->idle_ns;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return v->clock_ns + (uint64_t)(((unsigned __int128)(((uint64_t)high << 32 | low) - v->clock_tsc) *
					 v->clock_mult) >> 32);
}

/* One word of the stub's data. */
static inline volatile uint64_t *stub_word(unsigned offset)
{
	return direct(STUB_DATA_GPA + offset);
}

/* Ask the stub, or through it the VMM. */
static inline void request(uint32_t what, uint64_t operand)
{
	__asm__ volatile("int3" : "+a"(what), "+d"(operand) : : "memory", "cc");
}

/* Where the stub enters the kernel, on an empty stack (entry.c). */
_Noreturn void kernel_start(void);
_Noreturn void kernel_event_entry(void);
/* Where a process begins and, after every event, goes on (user.c). */
_Noreturn void user_start(void);

#endif
