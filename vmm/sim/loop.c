/* SPDX-License-Identifier: MIT */
/*
 * loop.c - who runs when
 *
 * lockstep: VMs take turns, one quantum each, in order of their number; virtual time is operations x 100 ns; samples
 * and housekeeping happen between rounds. Nothing depends on what things cost, so counts are the same on every
 * machine and with every profile.
 *
 * free: discrete events. Each host CPU has a clock. The vCPU that has been ready longest (the lowest number among
 * equals) runs for a timeslice on the CPU it last ran on or, if that is busy, on the one furthest behind (the lowest
 * number among equals). No vCPU runs on two CPUs at once, because it is put back, ready from the end of its slice
 * on, before the next choice.
 *
 * In both, the run ends when all guests are done, when [experiment] duration is over, or at SIGINT.
 */
#include "vmm/digest.h"
#include "vmm/sim/sim.h"

static void collect_dirty(struct sim_vm *vm, uint64_t now)
{
	const struct conf_vm *c = vm->conf;

	if (c->dirty_log == DIRTY_NONE || now < vm->next_dirty)
		return;
	if (!vm->dirty) {
		vm->dirty = g_new0(uint64_t, gmem_config(vm->gmem)->npages / 64 + 1);
		if (gmem_dirty_log_start(vm->gmem))
			sim_vm_fail(vm, "dirty logging: the host has no memory for smaller tables");
	} else {
		for (unsigned i = 0; i < vm->nvcpus; i++)
			sim_drain_pml(&vm->vcpu[i]);
		gmem_dirty_log_collect(vm->gmem, vm->dirty);
	}
	vm->next_dirty = now + c->dirty_interval_ns;
}

/* Look at up to 64 blocks, from where the last attempt stopped, and gather what can be gathered. */
static void collapse(struct sim_vm *vm, uint64_t now)
{
	unsigned level = vm->sim->run->e->host.page_level;
	const struct gmem_config *g = gmem_config(vm->gmem);

	if (!vm->conf->collapse_ns || level < 2 || g->linear || now < vm->next_collapse)
		return;
	for (unsigned i = 0; i < 64; i++) {
		struct gmem_page page;

		if (vm->collapse_at < g->arena_pages || vm->collapse_at + LEVEL_PAGES(2) > g->npages)
			vm->collapse_at = g->arena_pages;
		if (!gmem_lookup(vm->gmem, vm->collapse_at, &page) && page.state == PAGE_RESIDENT && page.level == 1)
			gmem_collapse(vm->gmem, vm->collapse_at, 2);
		vm->collapse_at += LEVEL_PAGES(2);
	}
	vm->next_collapse = now + vm->conf->collapse_ns;
}

static void housekeeping(struct sim_vm *vm, uint64_t now)
{
	if (vm->done)
		return;
	vm->sim->running = &vm->vcpu[0];
	vm->vcpu[0].bucket = BUCKET_OTHER;
	collect_dirty(vm, now);
	collapse(vm, now);
	sim_refresh_root(&vm->vcpu[0]);
	vm->sim->running = NULL;
}

static void read_counters(void *ctx, unsigned i, struct counters *out)
{
	struct sim *s = ctx;

	sim_vm_refresh(s->vms[i]);
	*out = s->vms[i]->counters;
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
		sampler_tick(&s->sampler, s->now_ns);
		for (unsigned i = 0; i < s->nvms; i++) {
			if (s->vms[i]->done)
				continue;
			sim_vcpu_run(&s->vms[i]->vcpu[0], 0);
			alive = true;
		}
		s->now_ns += s->run->e->experiment.quantum * SIM_LOCKSTEP_NS;
		for (unsigned i = 0; i < s->nvms; i++)
			housekeeping(s->vms[i], s->now_ns);
		if (round % 64 == 0)
			progress(s, s->now_ns);
	}
}

static struct sim_cpu *earliest_cpu(struct sim *s)
{
	struct sim_cpu *best = &s->cpus[0];

	for (unsigned i = 1; i < s->ncpus; i++)
		if (s->cpus[i].clock < best->clock)
			best = &s->cpus[i];
	return best;
}

/* Where @v starts soonest: on the CPU it knows, whose TLBs know it, unless another is free before. */
static struct sim_cpu *cpu_for(struct sim *s, const struct sim_vcpu *v)
{
	struct sim_cpu *first = earliest_cpu(s);

	return v->cpu->clock <= MAX(v->ready_at, first->clock) ? v->cpu : first;
}

static struct sim_vcpu *longest_ready(struct sim *s)
{
	struct sim_vcpu *best = NULL;

	for (unsigned i = 0; i < s->nvms; i++)
		for (unsigned j = 0; j < s->vms[i]->nvcpus && !s->vms[i]->done; j++)
			if (!best || s->vms[i]->vcpu[j].ready_at < best->ready_at)
				best = &s->vms[i]->vcpu[j];
	return best;
}

/* A vCPU that comes to another CPU must not find what it left there before. */
static void put_on_cpu(struct sim_vcpu *v, struct sim_cpu *cpu)
{
	if (v->cpu != cpu)
		mmu_flush_vm(cpu->mmu, v->ctx.vpid, &v->vm->counters);
	v->cpu = cpu;
	v->ctx.node = cpu->node;
	if (cpu->clock > v->ready_at)
		v->idle_cycles += cpu->clock - v->ready_at;
	else
		cpu->clock = v->ready_at;
}

static void run_free_schedule(struct sim *s)
{
	uint64_t slice = sim_ns_to_cycles(s, s->run->e->host.timeslice_ns), turns = 0;

	for (;;) {
		struct sim_vcpu *v = longest_ready(s);

		if (!v)
			break;

		struct sim_cpu *cpu = cpu_for(s, v);

		s->now_ns = sim_cycles_to_ns(s, MAX(cpu->clock, v->ready_at));
		if (over(s, s->now_ns))
			break;
		sampler_tick(&s->sampler, s->now_ns);
		put_on_cpu(v, cpu);
		v->ready_at = 0;

		uint64_t end = cpu->clock + slice;

		while (cpu->clock < end && sim_vcpu_run(v, end - cpu->clock))
			;
		v->ready_at = MAX(v->ready_at, cpu->clock);
		housekeeping(v->vm, s->now_ns);
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
	if (!s->run->e->experiment.digest || out->failure)
		return;
	out->has_digest = digest_vm(vm->gmem, vm->conf->guest_levels, vm->conf->paging == MODE_PV ? pv_table : NULL,
				    vm->paging, &out->digest) == 0;
	if (!out->has_digest)
		sim_vm_fail(vm, "the guest's page tables make no sense: no digest");
}

gboolean sim_loop(struct sim *s, GError **error)
{
	gboolean ok;

	sampler_init(&s->sampler, s->run, read_counters, s);
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
	ok = sampler_finish(&s->sampler, s->now_ns, error);
	sampler_destroy(&s->sampler);
	for (unsigned i = 0; i < s->nvms && ok; i++)
		finish_vm(s, s->vms[i]);
	return ok;
}
