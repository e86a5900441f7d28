/* SPDX-License-Identifier: MIT */
/*
 * traces.c - processes of real guests that replay traces
 *
 * A trace is a file of the host, so that its operations come from here: when a process's loop has performed what it
 * had, its kernel hands its struct runtime over (HC_REFILL), and the program goes on in this world, which has traces,
 * exactly as it does in the simulator. The run-time is the guest's, which may be hostile: it is looked at once, in a
 * copy.
 */
#include "vmm/kvm/kvm.h"
#include "workloads/guest/kernel.h"

void kvm_trace_refill(struct kvm_vm *vm)
{
	gpa_t at = kvm_vcpu_page(vm)->refill, arena_end = vm->arena_pages * PAGE_SIZE;
	struct program_world world = { .now_ns = kvm_guest_now(vm), .trace = trace_feed_next, .ctx = vm->feed };
	struct program program;
	struct runtime *rt;

	if (at % sizeof(uint64_t) || at >= arena_end || arena_end - at < sizeof(*rt)) {
		kvm_vm_fail_as(vm, FAILURE_ACCESS,
			       "its kernel wants a trace's operations at 0x%" G_GINT64_MODIFIER "x, which is no place",
			       at);
		return;
	}
	rt = kvm_arena(vm, at);
	program = rt->program;
	if (!program_replays(&program, vm->script)) {
		kvm_vm_fail_as(vm, FAILURE_ACCESS,
			       "its kernel wants a trace's operations for a process that replays none");
		return;
	}
	rt->n = program_next(&program, vm->script, &world, rt->ops, RUNTIME_OPS);
	rt->pos = 0;
	rt->program = program;
	if (trace_feed_error(vm->feed))
		kvm_vm_fail(vm, "%s", trace_feed_error(vm->feed));
}
