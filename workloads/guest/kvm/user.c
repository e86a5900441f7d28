/* SPDX-License-Identifier: MIT */
/*
 * user.c - what a process of a real guest executes: its program's operations, as loads and stores
 *
 * Runs at CPL 3 in the process's root. All state that outlives an event is in struct runtime and in the vCPU page,
 * and each operation is entered there only after it was performed. So the loop can be left at any access (a page
 * fault) and be begun anew from its first line, which is how the kernel resumes it; and all processes of a vCPU use
 * the same stack, one at a time.
 *
 * A load comes before the store that goes with it (OP_WRITE), as in the simulator: either may fault.
 */
#include "workloads/guest/kvm/hal_kvm.h"
#include "workloads/x86.h"

static const struct script *script(void)
{
	return (const void *)SCRIPT_VA;
}

static void refill(struct runtime *rt, const struct vcpu_page *v)
{
	struct program_world world = { .now_ns = vcpu_now(v) };

	rt->n = program_next(&rt->program, script(), &world, rt->ops, RUNTIME_OPS);
	rt->pos = 0;
}

/* Where the loop may be left for good: whatever was counted before is in memory by then, and nothing after it is. */
static void load(uint64_t va)
{
	uint64_t word;

	__asm__ volatile("mov (%1), %0" : "=r"(word) : "r"(va) : "memory");
}

static void store(uint64_t va, uint64_t word)
{
	__asm__ volatile("mov %1, (%0)" : : "r"(va), "r"(word) : "memory");
}

void user_loop(void);
void user_loop(void)
{
	struct runtime *rt = (void *)RUNTIME_VA;
	struct vcpu_page *v = (void *)VCPU_VA;

	while (v->operations < v->quantum_end) {
		if (rt->pos == rt->n)
			refill(rt, v);
		if (!rt->n)
			return;

		const struct op *op = &rt->ops[rt->pos];
		uint64_t va = OP_VA(op);

		switch (OP_KIND(op)) {
		case OP_READ:
			load(va & ~7ull);
			v->reads++;
			break;
		case OP_WRITE:
			load(va & ~7ull);
			store(va & PAGE_MASK, op->arg);
			v->writes++;
			break;
		case OP_EXEC:
			/* There is no code at a trace's addresses. */
			load(va & ~7ull);
			v->fetches++;
			break;
		default:
			return;
		}
		rt->pos++;
		v->operations++;
	}
}

/*
 * The kernel reads the operation, or sees that there is none or that the quantum is over, by itself; then the loop
 * begins anew.
 */
__asm__(".globl user_start\n"
	"user_start: call user_loop\n"
	"int3\n");
