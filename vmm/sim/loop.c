/* SPDX-License-Identifier: MIT */
/*
 * loop.c - who runs when
 *
 * lockstep: VMs take turns, one quantum each, in order of their number; virtual time is operations x 100 ns; samples
 * and housekeeping happen between rounds. Nothing depends on what things cost, so counts are the same on every
 * machine and with every profile.
 *
 * free: discrete events. Each host CPU has a clock; a free CPU takes the vCPU that has been ready longest (the lowest
 * number among equals) and holds it for a timeslice; where several could begin at the same time it goes where it ran
 * last. A slice is cut into turns wherever a sample, the dirty log, a collapse or the end is due, and turns of all CPUs
 * are taken in the order of their beginnings: what is due at a time sees every CPU at that time, within one access.
 * On one CPU being looked at changes nothing, because the slice goes on afterwards; on several, turns that overlap take
 * host frames in another order, which the caches can tell. Time a vCPU does not hold a CPU is its idle time, so that of
 * each VM that has not ended ns_total + ns_idle is the time of the run (tests/unit/test_sim_loop.c).
 *
 * A vCPU that waits for the host's swap gives its CPU up, and its time is ns_swap, not idle: another may run meanwhile.
 * Only one page fault of a guest is outstanding at a time: the whole guest waits (no asynchronous page faults).
 *
 * In both, the run ends when all guests are done, when [experiment] duration is over, or at SIGINT.
 */
#include "vmm/digest.h"
#include "vmm/guest_counts.h"
#include "vmm/sim/sim.h"

static void housekeeping(struct sim_vm *vm, uint64_t now)
{
	struct sim *s = vm->sim;

	if (!host_upkeep_due(&s->host, vm->id, now))
		return;
	s->running = &vm->vcpu[0];
	vm->vcpu[0].bucket = BUCKET_OTHER;
	host_upkeep(&s->host, vm->id, now);
	sim_refresh_root(&vm->vcpu[0]);
	s->running = NULL;
}

static void read_counters(void *ctx, unsigned i, struct counters *out)
{
	struct sim *s = ctx;

	sim_vm_refresh(s->vms[i]);
	*out = s->vms[i]->counters;
}

static void read_host(void *ctx, struct counters *out)
{
	struct sim *s = ctx;

	host_report(&s->host);
	*out = s->host.counters;
}

static void progress(struct sim *s, uint64_t now)
{
	struct run_part part = { 0 };

	if (!s->run->progress)
		return;
	for (unsigned i = 0; i < s->nvms; i++)
		run_part_add(&part, s->vms[i]->script, s->vms[i]->operations, s->vms[i]->done);
	run_part_report(s->run, &part, now);
}

static bool over(const struct sim *s, uint64_t now)
{
	uint64_t duration = s->run->e->experiment.duration_ns;

	if (run_stop) {
		s->run->interrupted = true;
		return true;
	}
	return duration && now >= duration;
}

static void run_lockstep(struct sim *s)
{
	bool alive = true;

	for (uint64_t round = 0; alive && !over(s, s->now_ns); round++) {
		alive = false;
		host_decide(&s->host, s->now_ns);
		sampler_tick(&s->sampler, s->now_ns);
		for (unsigned i = 0; i < s->nvms; i++) {
			if (s->vms[i]->done)
				continue;
			alive = true;
			if (s->host.vm[i].blocked_until <= s->now_ns)
				sim_vcpu_run(&s->vms[i]->vcpu[0], 0);
			host_bury(&s->host, i);
		}
		s->now_ns += s->run->e->experiment.quantum * LOCKSTEP_NS;
		for (unsigned i = 0; i < s->nvms; i++)
			housekeeping(s->vms[i], s->now_ns);
		sim_host_work(s, s->now_ns);
		if (round % 64 == 0)
			progress(s, s->now_ns);
	}
}

/* Of those that no CPU holds and that may run on @cpu (NULL: on some), the one that has been ready longest. */
static struct sim_vcpu *longest_ready(struct sim *s, const struct sim_cpu *cpu)
{
	struct sim_vcpu *best = NULL;

	for (unsigned i = 0; i < s->nvms; i++) {
		for (unsigned j = 0; j < s->vms[i]->nvcpus && !s->vms[i]->done; j++) {
			struct sim_vcpu *v = &s->vms[i]->vcpu[j];

			if (v->cpu->current != v && (!best || v->ready_at < best->ready_at) &&
			    (!cpu || sim_may_run(s->vms[i], cpu)))
				best = v;
		}
	}
	return best;
}

/*
 * The next thing that happens: the CPU that can go on first, with the vCPU it holds or with the one that has been ready
 * longest, which becomes *@next. Among equals the CPU in the middle of a slice, then the one that the vCPU last ran on,
 * then the lowest number. NULL: nothing will ever happen.
 */
static struct sim_cpu *next_cpu(struct sim *s, struct sim_vcpu **next, uint64_t *start)
{
	struct sim_vcpu *any = s->pinned ? NULL : longest_ready(s, NULL);
	struct sim_cpu *best = NULL;
	unsigned best_rank = 0;

	for (unsigned i = 0; i < s->ncpus; i++) {
		struct sim_cpu *cpu = &s->cpus[i];
		struct sim_vcpu *ready = s->pinned && !cpu->current ? longest_ready(s, cpu) : any;
		unsigned rank = cpu->current ? 0 : cpu == (ready ? ready->cpu : NULL) ? 1 : 2;
		uint64_t at = cpu->current ? cpu->clock : MAX(cpu->clock, ready ? ready->ready_at : 0);

		if (!cpu->current && !ready)
			continue;
		if (!best || at < *start || (at == *start && rank < best_rank)) {
			best = cpu;
			best_rank = rank;
			*start = at;
			*next = ready;
		}
	}
	return best;
}

/* A vCPU that comes to another CPU must not find what it left there before. */
static void put_on_cpu(struct sim_vcpu *v, struct sim_cpu *cpu, uint64_t start, uint64_t slice)
{
	if (v->cpu != cpu)
		mmu_flush_vm(cpu->mmu, v->ctx.vpid, &v->vm->counters);
	v->cpu = cpu;
	v->ctx.node = cpu->node;
	v->ctx.distance = sim_distances(v->vm->sim, cpu);
	v->idle_cycles += start - v->off_at;
	cpu->clock = start;
	cpu->current = v;
	cpu->slice_end = start + slice;
}

/* What it waits for is its time, though it holds no CPU meanwhile. */
static void take_off_cpu(struct sim_vcpu *v)
{
	v->cycles[BUCKET_SWAP] += v->waiting;
	v->stalled_at = v->cpu->clock;
	v->off_at = v->cpu->clock + v->waiting;
	v->waiting = 0;
	v->ready_at = MAX(v->ready_at, v->off_at);
	v->cpu->current = NULL;
}

/* Something is due at @ns: no turn that begins before may go on for long after it. */
static void limit_turn(const struct sim *s, uint64_t *limit, uint64_t ns)
{
	if (ns < UINT64_MAX)
		*limit = MIN(*limit, sim_ns_to_cycles(s, ns) + 1);
}

/* Where the turn of @cpu that begins now has to end, for the slice or for what is to be seen or done before its end. */
static uint64_t turn_end(struct sim *s, const struct sim_cpu *cpu)
{
	const struct sim_vm *vm = cpu->current->vm;
	uint64_t duration = s->run->e->experiment.duration_ns, end = cpu->slice_end;

	limit_turn(s, &end, sampler_due(&s->sampler));
	if (duration)
		limit_turn(s, &end, duration);
	limit_turn(s, &end, host_scan_due(&s->host));
	limit_turn(s, &end, policy_run_due(s->host.policy));
	limit_turn(s, &end, host_estimate_due(&s->host));
	limit_turn(s, &end, host_upkeep_next(&s->host, vm->id));
	return MAX(end, cpu->clock + 1);
}

static void run_turn(struct sim *s, struct sim_cpu *cpu)
{
	struct sim_vcpu *v = cpu->current;
	uint64_t end = turn_end(s, cpu);
	bool more = true;

	v->ready_at = 0;
	while (more && cpu->clock < end)
		more = sim_vcpu_run(v, end - cpu->clock);
	housekeeping(v->vm, sim_cycles_to_ns(s, cpu->clock));
	host_bury(&s->host, v->vm->id);
	if (!more || v->vm->done || cpu->clock >= cpu->slice_end)
		take_off_cpu(v);
}

/* Scanner and estimators take a CPU from whoever has it, or an idle one: the one furthest behind. True if they did. */
static bool host_work(struct sim *s, uint64_t start)
{
	uint64_t cycles = sim_host_work(s, s->now_ns);
	struct sim_cpu *cpu = &s->cpus[0];

	if (!cycles)
		return false;
	for (unsigned i = 1; i < s->ncpus; i++)
		if (s->cpus[i].clock < cpu->clock)
			cpu = &s->cpus[i];
	cpu->clock = MAX(cpu->clock, start) + cycles;
	if (cpu->current) {
		cpu->current->idle_cycles += cycles;
		cpu->slice_end += cycles;
	}
	return true;
}

/* A policy that blocks a guest takes its CPU from it. True: somebody else's turn may have come. */
static bool decide(struct sim *s)
{
	if (policy_run_due(s->host.policy) > s->now_ns)
		return false;
	host_decide(&s->host, s->now_ns);
	for (unsigned i = 0; i < s->nvms; i++) {
		struct sim_vm *vm = s->vms[i];

		for (unsigned j = 0; j < vm->nvcpus && s->host.vm[i].blocked_until > s->now_ns; j++) {
			struct sim_vcpu *v = &vm->vcpu[j];

			if (v->cpu->current == v)
				take_off_cpu(v);
			v->ready_at = MAX(v->ready_at, sim_ns_to_cycles(s, s->host.vm[i].blocked_until));
		}
	}
	return true;
}

struct stall {
	uint64_t from, to;
};

static gint by_beginning(gconstpointer a, gconstpointer b)
{
	const struct stall *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/* For how long between @from and @to did at least one vCPU wait for the host's swap? */
static uint64_t stalled(struct sim *s, uint64_t from, uint64_t to)
{
	g_autoptr(GArray) stalls = g_array_new(FALSE, FALSE, sizeof(struct stall));
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->nvms; i++)
		for (unsigned j = 0; j < s->vms[i]->nvcpus; j++) {
			const struct sim_vcpu *v = &s->vms[i]->vcpu[j];
			struct stall stall = { MAX(v->stalled_at, from), MIN(v->off_at, to) };

			if (stall.from < stall.to)
				g_array_append_val(stalls, stall);
		}
	g_array_sort(stalls, by_beginning);
	for (guint i = 0; i < stalls->len; i++) {
		const struct stall *stall = &g_array_index(stalls, struct stall, i);

		from = MAX(from, stall->from);
		sum += stall->to > from ? stall->to - from : 0;
		from = MAX(from, stall->to);
	}
	return sum;
}

/*
 * Pressure, as PSI has it: up to cycle @now, how long did some vCPU wait, and how long did one while no CPU had
 * anything to run?
 */
static void note_pressure(struct sim *s, uint64_t now)
{
	uint64_t from = s->pressure_at, busy = from;

	if (!s->swap || now <= from)
		return;
	for (unsigned i = 0; i < s->ncpus; i++)
		busy = MAX(busy, s->cpus[i].current ? now : s->cpus[i].clock);
	s->stall_some += stalled(s, from, now);
	if (busy < now)
		s->stall_full += stalled(s, busy, now);
	s->host.counters.ns_stall_some = sim_cycles_to_ns(s, s->stall_some);
	s->host.counters.ns_stall_full = sim_cycles_to_ns(s, s->stall_full);
	s->pressure_at = now;
}

static void run_free_schedule(struct sim *s)
{
	uint64_t slice = sim_ns_to_cycles(s, s->run->e->host.timeslice_ns), turns = 0, start = 0;

	for (;;) {
		struct sim_vcpu *ready = NULL;
		struct sim_cpu *cpu = next_cpu(s, &ready, &start);

		if (!cpu)
			break;
		s->now_ns = sim_cycles_to_ns(s, start);
		note_pressure(s, start);
		if (over(s, s->now_ns))
			break;
		if (decide(s))
			continue;
		sampler_tick(&s->sampler, s->now_ns);
		if (host_work(s, start))
			continue;
		if (!cpu->current)
			put_on_cpu(ready, cpu, start, slice);
		run_turn(s, cpu);
		if (turns++ % 64 == 0)
			progress(s, s->now_ns);
	}
}

static int pv_table(void *ctx, gpa_t gpa, uint64_t *entries)
{
	return pv_peek(ctx, gpa, entries);
}

static void finish_vm(struct sim *s, struct sim_vm *vm)
{
	struct run_vm *out = vm->out;

	if (trace_feed_error(vm->feed))
		sim_vm_fail(vm, "%s", trace_feed_error(vm->feed));
	out->killed = guest_killed(s->run, vm->conf, (const void *)(gmem_arena(vm->gmem) + EXPORT_GPA));
	if (!s->run->e->experiment.digest || out->failure)
		return;
	out->has_digest = digest_vm(vm->gmem, vm->conf->guest_levels, vm->conf->paging == MODE_PV ? pv_table : NULL,
				    vm->paging, vm->disk ? vm_disk_image(vm->disk) : NULL, &out->digest) == 0;
	if (!out->has_digest)
		sim_vm_fail_as(vm, FAILURE_ACCESS, "the guest's page tables make no sense: no digest");
}

gboolean sim_loop(struct sim *s, GError **error)
{
	gboolean ok;

	sampler_init(&s->sampler, s->run, read_counters, s);
	s->sampler.read_host = read_host;
	if (s->run->e->experiment.schedule == SCHEDULE_LOCKSTEP) {
		run_lockstep(s);
	} else {
		run_free_schedule(s);
		for (unsigned i = 0; i < s->ncpus; i++)
			s->now_ns = MAX(s->now_ns, sim_cycles_to_ns(s, s->cpus[i].clock));
	}
	for (unsigned i = 0; i < s->nvms; i++)
		for (unsigned j = 0; j < s->vms[i]->nvcpus; j++)
			sim_drain_pml(&s->vms[i]->vcpu[j]);
	host_finish(&s->host);
	ok = sampler_finish(&s->sampler, s->now_ns, error);
	sampler_destroy(&s->sampler);
	for (unsigned i = 0; i < s->nvms && ok; i++)
		finish_vm(s, s->vms[i]);
	return ok;
}
