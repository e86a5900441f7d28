/* SPDX-License-Identifier: MIT */
/* Every policy on views made by hand: what it asks for, why, and what no policy may ask for. */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/policy.h"
#include "tests/lib/suite.h"
#include "vmm/conf.h"
#include "vmm/policy/divide.h"
#include "vmm/policy/policies.h"
#include "vmm/policy_load.h"
#include "workloads/rng.h"

static struct policy_bench b;

static void rule_is(const struct policy_rule *r, const char *name)
{
	ck_assert_msg(r->name && !strcmp(r->name, name), "rule is %s, not %s", r->name ? r->name : "none", name);
}

static void vm_asks(unsigned vm, const char *rule, uint64_t balloon, uint64_t limit)
{
	rule_is(&b.plan_vm[vm].rule, rule);
	ck_assert_uint_eq(b.plan_vm[vm].balloon, balloon);
	ck_assert_uint_eq(b.plan_vm[vm].limit, limit);
}

/* What if a policy's tables were wrong? They are not, and [policy] names them in order. */
START_TEST(tables)
{
	struct conf_key k;
	unsigned n = 0;

	ck_assert(conf_find_static_key(SECTION_POLICY, "name", &k));
	for (; policies[n]; n++) {
		g_autofree char *why = policy_fault(policies[n]);

		ck_assert_msg(!why, "%s: %s", policies[n]->name, why);
		ck_assert_str_eq(policies[n]->name, k.choices[n]);
	}
	ck_assert(k.choices[n] == NULL);
}
END_TEST

START_TEST(none_asks_nothing)
{
	policy_bench_init(&b, "none", 2, 1000, 1000);
	b.view.host.free = 0;
	policy_bench_decide(&b);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(b.plan_vm[i].rule.name == NULL && !b.plan_vm[i].block);
		ck_assert(b.plan_vm[i].balloon == POLICY_KEEP && b.plan_vm[i].limit == POLICY_KEEP);
	}
	policy_bench_free(&b);
}
END_TEST

START_TEST(static_holds_at_max)
{
	policy_bench_init(&b, "static", 4, 8000, 1000);
	b.vm[1].max = 700;
	b.vm[2].max = 200; /* the balloon holds 650 at most: swap takes the rest */
	b.vm[3].max = 700;
	b.vm[3].has_balloon = false;
	policy_bench_decide(&b);
	vm_asks(0, "held-at-max", 0, POLICY_NO_LIMIT);
	vm_asks(1, "held-at-max", 300, POLICY_NO_LIMIT);
	vm_asks(2, "held-at-max", 650, 200);
	vm_asks(3, "held-at-max", POLICY_KEEP, 700);
	b.vm[1].responding = false;
	policy_bench_decide(&b);
	vm_asks(1, "held-at-max", 300, 700);
	policy_bench_set(&b, "part", 500000);
	policy_bench_decide(&b);
	vm_asks(0, "held-at-max", 500, POLICY_NO_LIMIT);
	policy_bench_free(&b);
}
END_TEST

START_TEST(swap_only_shares)
{
	policy_bench_init(&b, "swap-only", 2, 1600, 1000);
	policy_bench_set(&b, "reserve", 250000); /* 400 of 1600 */
	b.vm[0].shares = 3000;
	policy_bench_decide(&b);
	vm_asks(0, "share", POLICY_KEEP, 900);
	vm_asks(1, "share", POLICY_KEEP, 300);
	b.view.host.frames = 3000;
	policy_bench_decide(&b);
	vm_asks(0, "enough-for-all", POLICY_KEEP, POLICY_NO_LIMIT);
	policy_bench_free(&b);
}
END_TEST

/* Two guests of 1000 pages, 1000 pages for them; one uses all of its memory, one nothing: figure 7 of the paper. */
START_TEST(proportional_taxes_idleness)
{
	static const struct {
		uint64_t tax, idle, busy;
	} rows[] = { { 0, 500, 500 }, { 500000, 333, 667 }, { 750000, 200, 800 } };

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		policy_bench_init(&b, "proportional", 2, 1200, 1000);
		policy_bench_set(&b, "reserve", 0);
		policy_bench_set(&b, "idle-tax", rows[i].tax);
		b.view.host.overhead = 200;
		b.vm[0].active_ppm = 0;
		b.vm[0].balloon_limit = b.vm[1].balloon_limit = 1000;
		policy_bench_decide(&b);
		vm_asks(0, "idle-adjusted-share", 1000 - rows[i].idle, POLICY_NO_LIMIT);
		vm_asks(1, "idle-adjusted-share", 1000 - rows[i].busy, POLICY_NO_LIMIT);
		ck_assert_uint_eq(policy_bench_input(&b.plan_vm[0].rule, "granted"), rows[i].idle);
		policy_bench_free(&b);
	}
}
END_TEST

START_TEST(proportional_keeps_minimum_and_steps)
{
	policy_bench_init(&b, "proportional", 2, 1000, 1000);
	policy_bench_set(&b, "reserve", 0);
	b.vm[0].active_ppm = 0;
	b.vm[0].min = 400;
	policy_bench_decide(&b);
	vm_asks(0, "minimum", 600, POLICY_NO_LIMIT);
	vm_asks(1, "idle-adjusted-share", 400, POLICY_NO_LIMIT);
	/* Asked 395 before: 5 pages, half of 1%, are not worth it. */
	b.vm[1].balloon_target = 395;
	policy_bench_decide(&b);
	vm_asks(1, "idle-adjusted-share", 395, POLICY_NO_LIMIT);
	b.view.host.frames = 4000;
	policy_bench_decide(&b);
	vm_asks(1, "enough-for-all", 0, POLICY_NO_LIMIT);
	policy_bench_free(&b);
}
END_TEST

static void random_vm(struct rng *g, struct policy_vm *vm)
{
	uint64_t memory = 600 + rng_below(g, 3000), gone = rng_below(g, memory / 2);

	*vm = (struct policy_vm){
		.name = "vm",
		.running = rng_below(g, 10) != 0,
		.shares = 1 + rng_below(g, 4000),
		.memory = memory,
		.pinned = 512,
		.has_balloon = rng_below(g, 4) != 0,
		.responding = rng_below(g, 4) != 0,
		.balloon_limit = memory * 65 / 100,
		.resident = memory - gone,
		.has_stats = rng_below(g, 2) != 0,
		.guest_free = rng_below(g, memory / 2),
		.guest_available = memory / 2,
		.active_ppm = rng_below(g, POLICY_PPM + 1),
		.limit = rng_below(g, 2) ? POLICY_NO_LIMIT : 512 + rng_below(g, memory),
	};
	vm->max = 512 + rng_below(g, memory - 511);
	vm->min = rng_below(g, vm->max);
	vm->balloon_actual = rng_below(g, gone + 1);
	vm->swapped = gone - vm->balloon_actual;
	vm->balloon_target = rng_below(g, vm->balloon_limit + 1);
	vm->since.swap_ins = vm->since.refaults = rng_below(g, 200);
	vm->since.stall_some_ns = rng_below(g, 100000000);
	vm->since.first_touches = rng_below(g, 50);
}

/* What if the world is any? No balloon is asked for more than it may hold, no guest left less than its minimum. */
START_TEST(plans_keep_bounds)
{
	struct rng g;

	rng_seed(&g, 21 + 100 * (uint64_t)_i);
	for (unsigned round = 0; round < 500; round++) {
		policy_bench_init(&b, policies[_i]->name, POLICY_TEST_VMS, 4000, 1000);
		b.view.host.free = rng_below(&g, 2000);
		b.view.host.pages_to_scan = rng_below(&g, 2) ? 0 : 100;
		b.view.host.sleep_ns = 20000000;
		for (unsigned step = 0; step < 4; step++) {
			for (unsigned i = 0; i < POLICY_TEST_VMS; i++)
				random_vm(&g, &b.vm[i]);
			policy_bench_decide(&b);
			for (unsigned i = 0; i < POLICY_TEST_VMS; i++) {
				const struct policy_vm *vm = &b.vm[i];
				const struct policy_vm_plan *p = &b.plan_vm[i];
				uint64_t kept = MAX(vm->min, vm->pinned);

				ck_assert(p->balloon == POLICY_KEEP || (vm->has_balloon && vm->running));
				ck_assert(p->balloon == POLICY_KEEP || p->balloon <= vm->balloon_limit);
				ck_assert(p->balloon == POLICY_KEEP || vm->memory - p->balloon >= kept);
				ck_assert(p->limit >= POLICY_NO_LIMIT || p->limit >= (vm->running ? kept : vm->pinned));
				ck_assert(p->limit >= POLICY_NO_LIMIT || p->limit <= vm->memory);
				ck_assert_uint_le(p->rule.ninputs, POLICY_INPUTS);
			}
		}
		policy_bench_free(&b);
	}
}
END_TEST

/* What if guests want more than there is? What they are granted together fits, unless their minima alone do not. */
START_TEST(grants_fit_the_host)
{
	struct rng g;

	rng_seed(&g, 24);
	policy_bench_init(&b, "proportional", POLICY_TEST_VMS, 4000, 1000);
	for (unsigned round = 0; round < 2000; round++) {
		uint64_t reserve = rng_below(&g, 500), granted = 0, least = 0, there;
		struct claim claim[POLICY_TEST_VMS];

		for (unsigned i = 0; i < POLICY_TEST_VMS; i++)
			random_vm(&g, &b.vm[i]);
		b.view.host.frames = 1000 + rng_below(&g, 9000);
		b.view.host.overhead = rng_below(&g, 300);
		there = b.view.host.frames - b.view.host.overhead - reserve;
		divide_host(&b.view, 750000, reserve, claim);
		for (unsigned i = 0; i < POLICY_TEST_VMS; i++) {
			granted += claim[i].grant;
			least += claim[i].min;
		}
		ck_assert_uint_le(granted, MAX(there, least));
	}
	policy_bench_free(&b);
}
END_TEST

/* What if the same view is shown twice to two states? The plans are the same: nothing else is looked at. */
START_TEST(plans_are_functions_of_views)
{
	struct policy_vm_plan first[POLICY_TEST_VMS];

	for (unsigned twice = 0; twice < 2; twice++) {
		struct rng g;

		rng_seed(&g, 22 + 100 * (uint64_t)_i);
		policy_bench_init(&b, policies[_i]->name, POLICY_TEST_VMS, 4000, 1000);
		for (unsigned i = 0; i < POLICY_TEST_VMS; i++)
			random_vm(&g, &b.vm[i]);
		b.view.host.free = 100;
		policy_bench_decide(&b);
		if (!twice)
			memcpy(first, b.plan_vm, sizeof(first));
		for (unsigned i = 0; i < POLICY_TEST_VMS; i++) {
			ck_assert_uint_eq(first[i].balloon, b.plan_vm[i].balloon);
			ck_assert_uint_eq(first[i].limit, b.plan_vm[i].limit);
			ck_assert_ptr_eq(first[i].rule.name, b.plan_vm[i].rule.name);
		}
		policy_bench_free(&b);
	}
}
END_TEST

/* What if a rule is not explained? Each that fires has a sentence, which names only what was looked at. */
START_TEST(rules_have_sentences)
{
	struct rng g;

	rng_seed(&g, 23 + 100 * (uint64_t)_i);
	policy_bench_init(&b, policies[_i]->name, POLICY_TEST_VMS, 4000, 1000);
	for (unsigned round = 0; round < 300; round++) {
		b.view.host.free = rng_below(&g, 2000);
		for (unsigned i = 0; i < POLICY_TEST_VMS; i++)
			random_vm(&g, &b.vm[i]);
		policy_bench_decide(&b);
		for (unsigned i = 0; i <= POLICY_TEST_VMS; i++) {
			const struct policy_rule *r = i < POLICY_TEST_VMS ? &b.plan_vm[i].rule : &b.plan.rule;
			const struct policy_sentence *s = b.ops->rules;

			while (r->name && s && s->rule && strcmp(s->rule, r->name))
				s++;
			ck_assert_msg(!r->name || (s && s->rule), "%s: no sentence for %s", b.ops->name, r->name);
			for (const char *at = r->name ? strchr(s->text, '{') : NULL; at; at = strchr(at + 1, '{')) {
				g_autofree char *name = g_strndup(at + 1, strcspn(at + 1, ":}"));

				if (strcmp(name, "vm"))
					policy_bench_input(r, name);
			}
		}
	}
	policy_bench_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy");
	TCase *tc = tcase_create("policy");
	int n = 0;

	while (policies[n])
		n++;
	tcase_add_test(tc, tables);
	tcase_add_test(tc, none_asks_nothing);
	tcase_add_test(tc, static_holds_at_max);
	tcase_add_test(tc, swap_only_shares);
	tcase_add_test(tc, proportional_taxes_idleness);
	tcase_add_test(tc, proportional_keeps_minimum_and_steps);
	tcase_add_loop_test(tc, plans_keep_bounds, 0, n);
	tcase_add_test(tc, grants_fit_the_host);
	tcase_add_loop_test(tc, plans_are_functions_of_views, 0, n);
	tcase_add_loop_test(tc, rules_have_sentences, 0, n);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
