/* SPDX-License-Identifier: MIT */
/*
 * guest.c - one simulated VM: how it is made, and how its vCPU runs
 *
 * Problem. A guest is user programs and a kernel that take turns, and the kernel's loads and stores must be paid for
 * like anybody's. But its C code runs in this process, not on the simulated processor.
 *
 * Idea. A program is only its accesses: it emits operations into its process's run-time buffer, as it does in a real
 * guest, and those go to the MMU in batches until one faults. A system call, a page fault of the guest's own and the
 * end of a turn enter the guest kernel: switch to the kernel's root, call the kernel as a C function (what it touches
 * goes through hal.c to the same MMU), switch back to whom it wants to run.
 *
 * Turns. In lockstep one lasts boot_info.quantum operations, counted over all processes, and ends with a hypercall;
 * otherwise it lasts until the guest's timer ticks, and ends with an interrupt.
 *
 * Invariants. An operation counts when it is complete: a system call when it is made, an access when it no longer
 * faults, in whatever mode (tests/twin/test_modes.c). In lockstep nothing depends on cycles, so a real guest counts
 * the same (tests/twin/test_hello.c). After a panic of the kernel nothing of the guest runs again: hal_panic() jumps
 * back into sim_vcpu_run().
 */
#include <errno.h>
#include <string.h>

#include "vmm/sim/future.h"
#include "vmm/sim/sim.h"
#include "vmm/sim/truth.h"

#define GUEST_CR4 (CR4_PAE | CR4_PGE)

static void enter_kernel(struct sim_vcpu *v, bool reflected, uint32_t cycles)
{
	struct sim_vm *vm = v->vm;

	if (vm->truth)
		truth_forget(vm->truth);
	sim_spend(v, BUCKET_KERNEL, cycles);
	sim_load_cr3(v, kernel_root(vm->kernel) | (vm->conf->pcid ? CR3_NOFLUSH : 0), !reflected);
}

static bool in_lockstep(const struct sim_vcpu *v)
{
	return v->vm->sim->run->e->experiment.schedule == SCHEDULE_LOCKSTEP;
}

/* One access of the process's own code, beside those of its program. */
static void process_access(struct sim_vcpu *v, gva_t gva, unsigned access)
{
	struct mmu_result r;

	while (!v->vm->done) {
		mmu_access(v->cpu->mmu, &v->ctx, gva, access | ACC_U, &r);
		sim_spend(v, BUCKET_WORK, r.cycles);
		if (r.outcome == MMU_OK)
			return;
		if (sim_handle(v, &r) == SIM_INJECT)
			sim_vm_fail_as(v->vm, FAILURE_CRASH,
				       "page fault in a process's run-time at 0x%" G_GINT64_MODIFIER "x (error 0x%x)",
				       r.gva, r.error);
	}
}

/*
 * A process's run-time and script are its own memory, which its code touches before anything else. Programs are no code
 * here; but in shadow mode the tables behind these pages become shadowed and traced, so what it takes to unmap them
 * shows in counts. So in lockstep, whose counts are a real guest's, they are touched when a process first runs.
 */
static void begin_process(struct sim_vcpu *v, const struct process *p)
{
	const struct gmem *g = v->vm->gmem;
	uint64_t page = (uint64_t)((uint8_t *)kernel_runtime(v->vm->kernel, p) - gmem_arena(g)) / PAGE_SIZE;

	if (!v->resumed)
		v->resumed = g_new0(uint32_t, gmem_config(g)->arena_pages);
	if (v->resumed[page] == p->pid)
		return;
	v->resumed[page] = p->pid;
	process_access(v, COMMON_VA, ACC_R);
	process_access(v, RUNTIME_VA, ACC_W);
}

/* Back to user mode, in the root of whichever process the kernel wants to run. */
static void leave_kernel(struct sim_vcpu *v)
{
	struct sim_vm *vm = v->vm;
	const struct process *p = kernel_current(vm->kernel);

	uint64_t switches = kernel_counts(vm->kernel)->switches;

	hal_pte_flush(sim_hal(v));
	sim_spend(v, BUCKET_KERNEL, (switches - v->switches) * vm->sim->profile->switch_cycles);
	v->switches = switches;
	if (!p)
		return;
	v->user_cr3 = p->root | p->pcid | (vm->conf->pcid ? CR3_NOFLUSH : 0);
	sim_load_cr3(v, v->user_cr3, true);
	if (vm->conf->paging == MODE_SHADOW && in_lockstep(v))
		begin_process(v, p);
}

static void page_fault(struct sim_vcpu *v, const struct mmu_result *r)
{
	const struct sim_profile *p = v->vm->sim->profile;
	int mode = v->vm->conf->paging;

	enter_kernel(v, mode == MODE_SHADOW || mode == MODE_PV, p->exception_cycles + p->fault_cycles);
	kernel_page_fault(v->vm->kernel, r->gva, r->error);
	leave_kernel(v);
}

static void system_call(struct sim_vcpu *v, const struct op *op)
{
	const struct sim_profile *p = v->vm->sim->profile;
	uint32_t cycles = p->syscall_cycles;

	if (OP_KIND(op) == OP_FORK)
		cycles += p->fork_cycles;
	else if (OP_KIND(op) == OP_EXIT)
		cycles += p->exit_process_cycles;
	enter_kernel(v, false, cycles);
	kernel_syscall(v->vm->kernel, op);
	leave_kernel(v);
}

/* A new turn: so many operations in lockstep, so much time otherwise. */
static void begin_turn(struct sim_vcpu *v)
{
	const struct conf_experiment *e = &v->vm->sim->run->e->experiment;

	v->until_quantum = in_lockstep(v) ? e->quantum : UINT64_MAX;
	v->next_tick = v->cpu->clock + sim_ns_to_cycles(v->vm->sim, e->tick_ns);
}

static bool turn_over(const struct sim_vcpu *v)
{
	return in_lockstep(v) ? !v->until_quantum : v->cpu->clock >= v->next_tick;
}

/* Free schedule: the cycle at which the disk has done what is next, UINT64_MAX if nothing is under way. */
static uint64_t disk_due(const struct sim_vcpu *v)
{
	uint64_t ns = v->vm->disk ? vm_disk_next(v->vm->disk) : UINT64_MAX;

	return ns == UINT64_MAX ? ns : sim_ns_to_cycles(v->vm->sim, ns) + 1;
}

/* Cycles until somebody else must look, 0 for no limit: the end of the timeslice (@limit), the next tick. */
static uint64_t cycles_left(const struct sim_vcpu *v, uint64_t limit)
{
	uint64_t end = in_lockstep(v) ? UINT64_MAX : v->next_tick;

	if (limit && limit < end)
		end = limit;
	if (v->vm->disk && !in_lockstep(v))
		end = MIN(end, disk_due(v));
	/* A wake-up may have taken until after the tick: then only what costs nothing to stop at. */
	return end == UINT64_MAX ? 0 : end > v->cpu->clock ? end - v->cpu->clock : 1;
}

/* Does the host want anything of the balloon, or has the disk done anything? If so, the guest is interrupted. */
static void look_at_devices(struct sim_vcpu *v)
{
	struct sim_vm *vm = v->vm;
	uint64_t now = hal_now(sim_hal(v));
	unsigned lines = vm->balloon && vm_balloon_tick(vm->balloon, now) ? IRQ_BALLOON : 0;
	bool transfer = vm->disk && vm_disk_next(vm->disk) <= now;

	if (vm->disk)
		lines |= vm_disk_tick(vm->disk, now) ? IRQ_DISK : 0;
	/* For what it read the host may have taken pages away. */
	if (transfer)
		sim_refresh_root(v);
	if (!lines)
		return;
	sim_spend(v, BUCKET_OTHER, vm->sim->profile->inject_cycles);
	enter_kernel(v, false, vm->sim->profile->exception_cycles);
	kernel_interrupt(vm->kernel, lines);
	leave_kernel(v);
}

/* The turn is over: in lockstep the guest yields by a hypercall, else its timer interrupts it. */
static void end_turn(struct sim_vcpu *v)
{
	struct sim_vm *vm = v->vm;

	look_at_devices(v);
	vm->counters.quanta++;
	if (vm->conf->paging != MODE_NATIVE)
		sim_exit(v, in_lockstep(v) ? EXIT_HYPERCALL : EXIT_INTERRUPT);
	begin_turn(v);
	enter_kernel(v, false, vm->sim->profile->exception_cycles);
	kernel_quantum(vm->kernel);
	leave_kernel(v);
}

/* @n operations are over. A system call counts when it is made, an access when it has been completed. */
static void account(struct sim_vcpu *v, struct runtime *rt, uint32_t n)
{
	rt->pos += n;
	v->vm->operations += n;
	v->until_quantum -= n;
}

static void handle_fault(struct sim_vcpu *v, struct runtime *rt, struct mmu_result *r)
{
	switch (sim_handle(v, r)) {
	case SIM_RETRY:
	case SIM_FAILED:
		break;
	case SIM_INJECT:
		page_fault(v, r);
		break;
	case SIM_EMULATE:
		/* A process stored to a page that is also one of its tables: only a hostile guest has that. */
		if (!sim_emulate_store(v, r, rt->ops[rt->pos].arg))
			account(v, rt, 1);
		break;
	}
}

/*
 * Execute accesses of process @pid, at most @n operations, up to the first that is none or faults; deal with the fault.
 * An access that faulted is retried alone, so that its latency, from the first try on, is known. The budget is
 * looked at where the position is a multiple of MMU_BUDGET_OPS, wherever a batch began: so a slice ends with the same
 * operation however it is cut.
 */
static void run_accesses(struct sim_vcpu *v, uint32_t pid, struct runtime *rt, uint32_t n, uint64_t budget)
{
	uint64_t work = 0, walk = 0;
	struct mmu_result r = { .outcome = MMU_OK };
	struct sim_fault *fault = &v->faults[pid % SIM_FAULTS];
	bool retry = fault->pid == pid;
	uint32_t odd = rt->pos % MMU_BUDGET_OPS;

	v->ctx.latency = retry ? NULL : v->latency;
	n = retry || v->vm->sim->future ? 1 : odd ? MIN(n, MMU_BUDGET_OPS - odd) : n;

	uint32_t done = mmu_run(v->cpu->mmu, &v->ctx, rt->ops + rt->pos, n, budget, &work, &walk, &r);

	sim_spend(v, BUCKET_WORK, work);
	sim_spend(v, BUCKET_WALK, walk);
	if (v->vm->truth)
		truth_accesses(v, rt->ops + rt->pos, done);
	account(v, rt, done);
	if (v->vm->sim->future && done)
		sim_future_access(v, OP_VA(&rt->ops[rt->pos - 1]));
	if (retry && done) {
		hist_add(v->vm->out->latency, sim_cycles_to_ns(v->vm->sim, sim_clock(v) - fault->start), 1);
		fault->pid = 0;
	}
	if (r.outcome == MMU_OK)
		return;
	if (!retry) {
		fault->start = sim_clock(v);
		fault->pid = pid;
	}
	sim_spend(v, BUCKET_WALK, r.cycles);
	handle_fault(v, rt, &r);
}

/* Is there a process to run? Lets virtual time pass in lockstep, where nobody else can. */
static struct process *next_process(struct sim_vcpu *v)
{
	struct sim_vm *vm = v->vm;
	struct process *p = kernel_current(vm->kernel);
	bool lockstep = vm->sim->run->e->experiment.schedule == SCHEDULE_LOCKSTEP;

	if (p)
		return p;
	if (kernel_done(vm->kernel)) {
		vm->done = true;
		return NULL;
	}
	look_at_devices(v);
	p = kernel_current(vm->kernel);
	if (p)
		return p;

	uint64_t wake = kernel_wake_time(vm->kernel), now = hal_now(sim_hal(v));

	if (vm->balloon)
		wake = MIN(wake, vm_balloon_next(vm->balloon, now));
	if (vm->disk)
		wake = MIN(wake, vm_disk_next(vm->disk));
	if (wake > now) {
		sim_exit(v, EXIT_HALT);
		if (!lockstep) {
			v->ready_at = sim_ns_to_cycles(vm->sim, wake);
			return NULL;
		}
		vm->idle_ns += wake - now;
		look_at_devices(v);
	}
	enter_kernel(v, false, vm->sim->profile->exception_cycles);
	kernel_wake(vm->kernel);
	leave_kernel(v);
	return kernel_current(vm->kernel);
}

static void refill(struct sim_vcpu *v, struct runtime *rt)
{
	struct sim_vm *vm = v->vm;
	struct program_world world = { .now_ns = hal_now(sim_hal(v)), .trace = trace_feed_next, .ctx = vm->feed };

	rt->n = program_next(&rt->program, vm->script, &world, rt->ops, RUNTIME_OPS);
	rt->pos = 0;
}

static bool run_until(struct sim_vcpu *v, uint64_t limit)
{
	struct sim_vm *vm = v->vm;

	while (!vm->done && !turn_over(v)) {
		if (!in_lockstep(v) && v->cpu->clock >= disk_due(v))
			look_at_devices(v);

		struct process *p = next_process(v);

		if (!p)
			return false;
		if (limit && v->cpu->clock >= limit)
			return true;
		/*
		 * It waits for the host's swap. An access that was begun comes first, lest the page go again before it
		 * is made.
		 */
		if (v->waiting && v->faults[p->pid % SIM_FAULTS].pid != p->pid)
			return false;

		struct runtime *rt = kernel_runtime(vm->kernel, p);

		if (rt->pos == rt->n)
			refill(v, rt);

		if (OP_IS_ACCESS(&rt->ops[rt->pos])) {
			uint32_t n = (uint32_t)MIN(rt->n - rt->pos, v->until_quantum);

			run_accesses(v, p->pid, rt, n, cycles_left(v, limit));
		} else {
			struct op op = rt->ops[rt->pos];

			account(v, rt, 1);
			system_call(v, &op);
		}
	}
	if (!vm->done)
		end_turn(v);
	return !vm->done;
}

bool sim_vcpu_run(struct sim_vcpu *v, uint64_t budget)
{
	bool more;

	v->vm->sim->running = v;
	v->bucket = BUCKET_OTHER;
	/* Another VM's faults may have taken pages from this one since it last ran. */
	if (v->vm->sim->host.swap)
		sim_refresh_root(v);
	if (setjmp(v->panic))
		more = false;
	else
		more = run_until(v, budget ? v->cpu->clock + budget : 0);
	v->vm->sim->running = NULL;
	return more;
}

static struct boot_info boot_info(const struct sim_vm *vm)
{
	const struct conf_vm *c = vm->conf;
	const struct conf_experiment *e = &vm->sim->run->e->experiment;
	struct boot_info b = {
		.npages = c->memory / PAGE_SIZE,
		.arena_end = c->arena,
		.levels = c->guest_levels,
		.flags = BOOT_KEEP | (e->schedule == SCHEDULE_LOCKSTEP ? BOOT_LOCKSTEP : 0) |
			 (c->paging == MODE_PV ? BOOT_PV : 0) |
			 (c->pcid ? BOOT_PCID : 0),
		.quantum = e->quantum,
		.timeslice = 1,
		.poison = (uint64_t)c->page_poison,
		.balloon = vm_balloon_info(vm->sim->run->e, c, device_gpa(c->memory / PAGE_SIZE, DEVICE_BALLOON)),
		.disk = vm_disk_info(c, device_gpa(c->memory / PAGE_SIZE, DEVICE_DISK)),
		.swappiness = c->swappiness,
	};

	boot_info_layout(&b, vm->script->nprocesses);
	return b;
}

static uint64_t disk_now(void *ctx)
{
	const struct sim_vm *vm = ctx;
	const struct sim_vcpu *v = vm->sim->running;

	return v ? sim_cycles_to_ns(vm->sim, sim_clock(v)) : 0;
}

/* As for what comes from the host's swap (swap.c). */
static void disk_wait(void *ctx, uint64_t ns)
{
	const struct sim_vm *vm = ctx;

	if (vm->sim->running)
		sim_wait(vm->sim->running, sim_ns_to_cycles(vm->sim, ns));
}

static int make_disk(struct sim_vm *vm)
{
	const struct vm_disk_config cfg = {
		.conf = vm->conf,
		.name = vm->out->name,
		.gmem = vm->gmem,
		.seed = vm->script->seed,
		.lockstep = vm->sim->run->e->experiment.schedule == SCHEDULE_LOCKSTEP,
		.now = disk_now,
		.wait = disk_wait,
		.ctx = vm,
	};

	return vm_disk_new(&cfg, &vm->disk);
}

static const char *vm_memory(struct sim_vm *vm)
{
	struct sim *s = vm->sim;
	const struct conf_vm *c = vm->conf;
	struct boot_info b = boot_info(vm);
	struct gmem_config cfg = {
		.vm = vm->id,
		.npages = b.npages,
		.arena_pages = b.arena_end / PAGE_SIZE,
		.level = s->run->e->host.page_level,
		.node = (unsigned)c->node,
		.placement = (enum placement)c->placement,
		.nodes = c->nodes,
		.linear = c->paging == MODE_NATIVE,
	};

	if (cfg.arena_pages + 512 > cfg.npages)
		return "its arena leaves no memory for processes: give the VM more memory";
	vm->gmem = gmem_new(&cfg, s->frames, &s->machine, &vm->counters, s->run->events);
	if (!vm->gmem)
		return cfg.linear ? "the host has not that much free memory (paging = native needs all of it)" :
				    "the host has no memory for its arena";
	vm->balloon = vm_balloon_new(s->run->e, c, vm->gmem);
	if (make_disk(vm))
		return "there is no address space for its disk";
	if (s->run->e->host.young == YOUNG_BIT)
		gmem_young_by_bit(vm->gmem);
	if (host_attach(&s->host, vm->id, vm->gmem, vm->balloon))
		return "no address space for the host's lists of its pages";
	memcpy(gmem_arena(vm->gmem) + BOOT_INFO_GPA, &b, sizeof(b));
	memcpy(gmem_arena(vm->gmem) + SCRIPT_GPA, vm->script, sizeof(*vm->script));
	return NULL;
}

static const char *vm_paging(struct sim_vm *vm)
{
	struct sim *s = vm->sim;
	const struct conf_vm *c = vm->conf;
	struct paging_config cfg = {
		.gmem = vm->gmem,
		.nvcpus = vm->nvcpus,
		.regs = vm->regs,
		.guest_levels = c->guest_levels,
		.host_levels = c->host_levels,
		.maxphyaddr = s->profile->maxphyaddr,
		.max_leaf = c->max_leaf,
		.npt = !strcmp(s->profile->vendor, "amd"),
		.ad_bits = c->ept_ad,
		.pml = c->dirty_log == DIRTY_PML,
		.unsync = c->unsync,
		.shadow_limit = c->shadow_limit,
		.flood_limit = (unsigned)c->flood_limit,
	};

	vm->paging = paging_modes[c->paging]->create(&cfg);
	if (!vm->paging)
		return errno == ENOMEM ? "the host has no memory for its tables" : g_strerror(errno);
	gmem_set_paging(vm->gmem, vm->paging);
	return NULL;
}

/* Where it boots, and stays in lockstep: VMs take the CPUs that they may run on in turn. */
static struct sim_cpu *first_cpu(struct sim *s, const struct sim_vm *vm)
{
	unsigned n = 0, i = 0;

	for (unsigned cpu = 0; cpu < s->ncpus; cpu++)
		n += sim_may_run(vm, &s->cpus[cpu]);
	for (n = vm->id % n; n || !sim_may_run(vm, &s->cpus[i]); i++)
		n -= sim_may_run(vm, &s->cpus[i]);
	return &s->cpus[i];
}

static void vcpu_init(struct sim_vcpu *v, struct sim_vm *vm, unsigned id)
{
	struct sim *s = vm->sim;
	const struct conf_vm *c = vm->conf;

	v->vm = vm;
	v->id = id;
	v->cpu = first_cpu(s, vm);
	begin_turn(v);
	v->latency = g_new0(uint64_t, MMU_LATENCY_BINS);
	v->regs = (struct guest_regs){
		.cr0 = CR0_PE | CR0_WP | CR0_PG,
		.cr4 = GUEST_CR4 | (c->pcid ? CR4_PCIDE : 0) | (c->guest_levels == 5 ? CR4_LA57 : 0),
		.efer = EFER_LME | EFER_LMA | EFER_NX,
		.cpl = 3,
	};
	v->ctx = (struct mmu_context){
		.walk = c->paging == MODE_EPT ? MMU_2D : MMU_1D,
		.regs = &v->hw,
		.levels = c->guest_levels,
		.host_levels = c->host_levels,
		.npt = !strcmp(s->profile->vendor, "amd"),
		.ad_bits = c->ept_ad,
		.use_pcid = c->pcid,
		.vpid = vm->id + 1,
		.maxphyaddr = s->profile->maxphyaddr,
		.pml = c->dirty_log == DIRTY_PML ? &v->pml : NULL,
		.c = &vm->counters,
		.bytes = frames_bytes(s->frames),
		.content = s->content,
		.frames = s->frames,
		.node = v->cpu->node,
		.distance = sim_distances(s, v->cpu),
	};
	if (c->paging == MODE_NATIVE) {
		struct gmem_page first;

		gmem_lookup(vm->gmem, 0, &first);
		v->ctx.bias = first.hfn << PAGE_SHIFT;
		v->ctx.limit = c->memory;
	}
}

/*
 * The kernel boots with paging on, in a root that the VMM would have given it; here its first tables are made by the
 * kernel itself, so until they exist CR3 points at nothing and hal_pte_write() goes to physical memory directly.
 */
static const char *vm_boot(struct sim_vm *vm)
{
	struct sim_vcpu *v = &vm->vcpu[0];

	vm->sim->running = v;
	v->idle_cycles = v->cpu->clock; /* others that boot on the same CPU came first */
	if (setjmp(v->panic) == 0) {
		v->booting = true;
		vm->kernel = kernel_boot(sim_hal(v));
		v->booting = false;
		if (vm->kernel) {
			sim_set_cr3(v, kernel_root(vm->kernel));
			leave_kernel(v);
		}
	}
	vm->sim->running = NULL;
	v->ready_at = v->off_at = v->stalled_at = v->cpu->clock;
	if (vm->conf->start_ns)
		v->ready_at = MAX(v->ready_at, sim_ns_to_cycles(vm->sim, vm->conf->start_ns) + 1);
	if (vm->out->failure)
		return vm->out->failure;
	return vm->kernel ? NULL : "its arena is too small to boot: raise [vm] arena";
}

struct sim_vm *sim_vm_new(struct sim *s, struct run_vm *out, unsigned id, GError **error)
{
	const struct conf_workload *w = experiment_workload(s->run->e, out->conf->workload);
	struct sim_vm *vm = g_new0(struct sim_vm, 1);
	const char *why;

	vm->sim = s;
	vm->id = id;
	vm->out = out;
	vm->conf = out->conf;
	vm->nvcpus = 1;
	vm->regs = g_new0(const struct guest_regs *, vm->nvcpus);
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vm->regs[i] = &vm->vcpu[i].regs;
	s->vms[id] = vm;
	vm->script = experiment_script(s->run->e, w, id, error);
	if (!vm->script)
		return NULL;
	vm->script->seed = rng_mix(s->run->seed ^ rng_mix(id));
	vm->feed = trace_feed_new(s->run->e);
	s->pinned = s->pinned || vm->conf->cpu_nodes;
	why = vm_memory(vm);
	if (!why)
		why = vm_paging(vm);
	if (!why) {
		for (unsigned i = 0; i < vm->nvcpus; i++)
			vcpu_init(&vm->vcpu[i], vm, i);
		why = vm_boot(vm);
	}
	if (why) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "VM \"%s\" cannot start: %s", out->name, why);
		return NULL;
	}
	return vm;
}

void sim_vm_free(struct sim_vm *vm)
{
	if (!vm)
		return;
	vm_balloon_free(vm->balloon);
	truth_free(vm->truth);
	if (vm->paging)
		vm->paging->ops->destroy(vm->paging);
	if (vm->gmem)
		gmem_free(vm->gmem);
	vm_disk_free(vm->disk);
	trace_feed_free(vm->feed);
	g_free(vm->script);
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		g_free(vm->vcpu[i].latency);
		g_free(vm->vcpu[i].resumed);
	}
	g_free(vm->regs);
	g_free(vm);
}
