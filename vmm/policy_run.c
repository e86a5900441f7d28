/* SPDX-License-Identifier: MIT */
/*
 * policy_run.c - a policy at work: decide, clamp, apply
 *
 * Problem: whoever decides may be wrong - a user's first attempt, or a rule that meets a guest it was not made for -
 * and must neither break the run nor be believed blindly.
 *
 * Idea: a plan is requests. Each is brought into what is possible (the balloon's limit, the guest's minimum, what the
 * scanner can be set to), counted in policy_clamped if it was not, applied, and written down with the rule. A guest
 * whose driver does not answer is shown as such, so that a policy can turn to swap.
 *
 * Invariants (tests/unit/test_policy_run.c): what is applied keeps min; equal views give equal plans; every decision
 * has one row for each mechanism, in order of guests.
 */
#include "vmm/policy_run.h"

#include <errno.h>

#include "vmm/policy_impl.h"

/* [vm] swap-limit, until the policy says something else. */
static uint64_t first_limit(const struct policy_vm_parts *vm, const struct run_vm *out)
{
	if (!out->conf->swap_limit)
		return POLICY_NO_LIMIT;
	return gmem_config(vm->gmem)->arena_pages + out->conf->swap_limit / POLICY_PAGE;
}

struct policy_run *policy_run_new(const struct policy_run_config *cfg, const struct policy_vm_parts *vm, GError **error)
{
	struct run *r = cfg->run;
	struct policy_run *p;

	if (!experiment_has_policy(r->e))
		return NULL;
	p = g_new0(struct policy_run, 1);
	p->cfg = *cfg;
	p->ops = r->e->policy.ops;
	p->nvms = r->vms->len;
	p->vm = g_new0(struct guest, p->nvms);
	p->seen = g_new0(struct policy_vm, p->nvms);
	p->plan = g_new0(struct policy_vm_plan, p->nvms);
	p->pending = g_array_new(FALSE, FALSE, sizeof(struct pending));
	for (unsigned i = 0; i < p->nvms; i++)
		p->vm[i] = (struct guest){ .parts = vm[i], .limit = first_limit(&vm[i], g_ptr_array_index(r->vms, i)) };
	if (!r->decisions)
		r->decisions = g_string_new(NULL);
	errno = 0;
	if (!p->ops->create || (p->state = p->ops->create(p->nvms)))
		return p;
	g_set_error(error, VMM_ERROR, VMM_FAILED, "policy %s cannot begin: %s", p->ops->name,
		    g_strerror(errno ? errno : ENOMEM));
	policy_run_free(p);
	return NULL;
}

void policy_run_free(struct policy_run *p)
{
	if (!p)
		return;
	if (p->state)
		p->ops->destroy(p->state);
	g_array_unref(p->pending);
	g_free(p->plan);
	g_free(p->seen);
	g_free(p->vm);
	g_free(p);
}

uint64_t policy_run_due(const struct policy_run *p)
{
	return p ? p->next : UINT64_MAX;
}

static uint64_t clamp(struct policy_run *p, uint64_t asked, uint64_t min, uint64_t max)
{
	uint64_t possible = CLAMP(asked, min, max);

	p->cfg.host->policy_clamped += possible != asked;
	return possible;
}

static void apply_balloon(struct policy_run *p, unsigned i)
{
	const struct policy_vm *v = &p->seen[i];
	struct policy_vm_plan *plan = &p->plan[i];
	uint64_t kept = MAX(v->min, v->pinned);

	if (plan->balloon == POLICY_KEEP)
		return;
	if (!v->has_balloon || !v->running) {
		p->cfg.host->policy_clamped++;
		return;
	}
	plan->balloon = clamp(p, plan->balloon, 0, MIN(v->balloon_limit, v->memory - kept));
	policy_log_add(p, i, MECHANISM_BALLOON, v->balloon_actual, plan->balloon, &plan->rule);
	if (plan->balloon == v->balloon_target)
		return;
	balloon_set_target(p->vm[i].parts.balloon, plan->balloon);
	p->cfg.machine->wake(p->cfg.ctx, i);
}

/* False: the host cannot: it has no swap, or none for this VM. */
static bool set_limit(struct policy_run *p, unsigned i, uint64_t limit)
{
	uint64_t npages = limit == POLICY_NO_LIMIT ? UINT64_MAX : limit - p->seen[i].pinned;

	if (limit == p->vm[i].limit)
		return p->cfg.swap != NULL;
	return p->cfg.swap && swap_set_limit(p->cfg.swap, i, npages) == 0;
}

static void apply_limit(struct policy_run *p, unsigned i)
{
	const struct policy_vm *v = &p->seen[i];
	struct policy_vm_plan *plan = &p->plan[i];

	if (plan->limit == POLICY_KEEP)
		return;
	/* Nobody has more than all. */
	if (plan->limit >= v->memory)
		plan->limit = POLICY_NO_LIMIT;
	else
		plan->limit = clamp(p, plan->limit, MAX(v->min, v->pinned), v->memory);
	/* Where nothing limits it and nothing shall, there is nothing to tell. */
	if (plan->limit == POLICY_NO_LIMIT && v->limit == POLICY_NO_LIMIT)
		return;
	if (!set_limit(p, i, plan->limit)) {
		p->cfg.host->policy_clamped++;
		return;
	}
	policy_log_add(p, i, MECHANISM_LIMIT, v->resident, MIN(plan->limit, v->memory), &plan->rule);
	p->vm[i].limit = plan->limit;
}

static void apply_vm(struct policy_run *p, unsigned i)
{
	struct policy_vm_plan *plan = &p->plan[i];
	struct guest *g = &p->vm[i];
	guint before = p->pending->len;

	if (p->seen[i].waiting) {
		if (plan->rule.name || !plan->admit)
			policy_log_add(p, i, MECHANISM_ADMIT, 0, plan->admit, &plan->rule);
		p->cfg.machine->start(p->cfg.ctx, i, plan->admit);
		return;
	}
	apply_balloon(p, i);
	apply_limit(p, i);
	if (plan->block || g->blocked) {
		policy_log_add(p, i, MECHANISM_BLOCK, g->blocked, plan->block, &plan->rule);
		g->blocked = plan->block;
		p->cfg.machine->block(p->cfg.ctx, i, plan->block ? p->next : 0);
	}
	if (before == p->pending->len && plan->rule.name)
		policy_log_add(p, i, MECHANISM_NONE, 0, 0, &plan->rule);
}

static void apply_host(struct policy_run *p, struct policy_plan *plan)
{
	uint64_t pages = plan->pages_to_scan, sleep = plan->sleep_ns;

	if (!p->host.pages_to_scan && (pages != POLICY_KEEP || sleep != POLICY_KEEP)) {
		/* Policies that know of merging may meet a host without a scanner. */
		pages = sleep = POLICY_KEEP;
	}
	if (pages == POLICY_KEEP && sleep == POLICY_KEEP) {
		if (plan->rule.name)
			policy_log_add(p, RUN_HOST, MECHANISM_NONE, 0, 0, &plan->rule);
		return;
	}
	pages = pages == POLICY_KEEP ? p->host.pages_to_scan : clamp(p, pages, 1, 1ull << 32);
	sleep = sleep == POLICY_KEEP ? p->host.sleep_ns : clamp(p, sleep, 1000, 3600ull * 1000000000);
	policy_log_add(p, RUN_HOST, MECHANISM_SCAN, p->host.pages_to_scan, pages, &plan->rule);
	p->cfg.machine->set_scanner(p->cfg.ctx, pages, sleep);
}

static void decide(struct policy_run *p)
{
	const struct policy_view view = {
		.host = p->host,
		.nvms = p->nvms,
		.vm = p->seen,
		.constant = p->cfg.run->e->policy.constant,
	};
	struct policy_plan plan = {
		.nvms = p->nvms,
		.vm = p->plan,
		.pages_to_scan = POLICY_KEEP,
		.sleep_ns = POLICY_KEEP,
	};

	for (unsigned i = 0; i < p->nvms; i++)
		p->plan[i] = (struct policy_vm_plan){ .balloon = POLICY_KEEP, .limit = POLICY_KEEP, .admit = true };
	p->ops->decide(p->state, &view, &plan);
	apply_host(p, &plan);
	for (unsigned i = 0; i < p->nvms; i++)
		apply_vm(p, i);
}

bool policy_run_tick(struct policy_run *p, uint64_t now)
{
	uint64_t decided, interval;

	if (!p || now < p->next)
		return false;
	decided = p->host.time_ns;
	interval = p->cfg.run->e->policy.interval_ns;
	policy_view_read(p, now);
	policy_log_settle(p, decided);
	p->next = MIN(now - now % interval + interval, p->cfg.machine->next_start(p->cfg.ctx, now));
	decide(p);
	p->decisions++;
	p->cfg.host->policy_decisions++;
	return true;
}

void policy_run_finish(struct policy_run *p)
{
	uint64_t decided;

	if (!p)
		return;
	decided = p->host.time_ns;
	policy_view_read(p, decided);
	policy_log_settle(p, decided);
}
