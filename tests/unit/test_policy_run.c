/* SPDX-License-Identifier: MIT */
/* A policy at work in the simulator: what is applied, refused and written down, and that no guest notices. */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

#define EXPERIMENT                                                                                                     \
	"[experiment]\ntitle = t\nschedule = %s\nquantum = 500\n"                                                      \
	"[host]\nmemory = 48 MiB\ncpus = 2\n"                                                                          \
	"[swap]\nsize = 64 MiB\n%s"                                                                                    \
	"[policy]\nname = %s\ninterval = 400 us\n"                                                                     \
	"[vm a]\nmemory = 20 MiB\nworkload = w\nmin = 8 MiB\n"                                                         \
	"[vm b]\nmemory = 20 MiB\nworkload = w\nstart = 1 ms\nshares = 500\n"                                          \
	"[vm c]\nmemory = 20 MiB\nworkload = w\nballoon = no\n"                                                        \
	"[workload w]\nphases = p, q\n"                                                                                \
	"[phase p]\npattern = sequential\nstep = 4 KiB\nsize = 10 MiB\noperations = 3000\nregion = m\n"             \
	"[phase q]\npattern = zipf\nsize = 10 MiB\noperations = 12000\nwrites = 30%%\nregion = m\n"

static struct text_run run_policy(const char *schedule, const char *policy, const struct policy_ops *ops,
				  const char *more)
{
	g_autofree char *text = g_strdup_printf(EXPERIMENT, schedule, more, policy);
	g_autoptr(GError) error = NULL;
	struct text_run t = { NULL, NULL };

	ck_assert_msg(load_text(&t, text, &error), "%s", error ? error->message : "");
	if (ops)
		t.e->policy.ops = ops;
	ck_assert_msg(backend_sim.run(t.run, &error), "%s", error ? error->message : "");
	return t;
}

static void same_digests(const struct text_run *a, const struct text_run *b)
{
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(run_text_vm(a, i)->has_digest && run_text_vm(b, i)->has_digest);
		ck_assert_uint_eq(run_text_vm(a, i)->digest, run_text_vm(b, i)->digest);
	}
}

/* Asks for anything, sensible or not. */
static void decide_anything(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	struct rng *g = state;

	for (uint32_t i = 0; i < view->nvms; i++) {
		struct policy_vm_plan *p = &plan->vm[i];

		p->balloon = rng_below(g, 3) ? rng_below(g, 8000) : rng_u64(g);
		p->limit = rng_below(g, 3) ? 3500 + rng_below(g, 3000) : rng_u64(g);
		p->block = rng_below(g, 4) == 0;
		policy_because(&p->rule, "any,\"thing\"\n");
		for (unsigned n = 0; n < 20; n++)
			policy_input(&p->rule, n % 2 ? "x" : "bad;na=me", rng_u64(g));
		if (rng_below(g, 8) == 0)
			p->rule.ninputs = UINT32_MAX;
	}
	plan->pages_to_scan = rng_u64(g);
	plan->sleep_ns = 0;
}

static void *create_anything(uint32_t nvms)
{
	static struct rng g;

	rng_seed(&g, nvms);
	return &g;
}

static void destroy_anything(void *state)
{
	(void)state;
}

static const struct policy_ops anything = {
	.abi = POLICY_ABI,
	.name = "anything",
	.summary = "x",
	.create = create_anything,
	.destroy = destroy_anything,
	.decide = decide_anything,
};

static const char *const schedules[] = { "lockstep", "free" };

/* Each line has eight fields, times never fall, the vm is one of the run's. */
static void csv_is_sound(const char *csv)
{
	g_auto(GStrv) lines = g_strsplit(csv, "\n", -1);
	uint64_t last = 0;

	ck_assert_str_eq(lines[0], "time_ns,vm,rule,inputs,mechanism,before,asked,actual");
	ck_assert(lines[1] && *lines[1]);
	for (unsigned i = 1; *lines[i]; i++) {
		g_auto(GStrv) f = g_strsplit(lines[i], ",", -1);
		uint64_t time = g_ascii_strtoull(f[0], NULL, 10);

		ck_assert_msg(g_strv_length(f) == 8, "%s", lines[i]);
		ck_assert_uint_ge(time, last);
		ck_assert_msg(!strcmp(f[1], "a") || !strcmp(f[1], "b") || !strcmp(f[1], "c") || !strcmp(f[1], "host"),
			      "%s", lines[i]);
		last = time;
	}
}

/* What if a policy asks for nonsense? It is clamped and counted; guests compute what they always did. */
START_TEST(nonsense)
{
	struct text_run wild = run_policy(schedules[_i], "static", &anything, "");
	struct text_run calm = run_policy(schedules[_i], "none", NULL, "");

	ck_assert_uint_gt(wild.run->host.policy_decisions, 5);
	ck_assert_uint_gt(wild.run->host.policy_clamped, 5);
	ck_assert_uint_gt(wild.run->host.swap_outs, 0);
	ck_assert_uint_gt(wild.run->host.balloon_inflated, 0);
	csv_is_sound(wild.run->decisions->str);
	ck_assert(strstr(wild.run->decisions->str, "any??thing??") != NULL);
	ck_assert_uint_eq(calm.run->host.policy_decisions, 0);
	ck_assert(calm.run->decisions == NULL);
	same_digests(&wild, &calm);
	run_text_free(&wild);
	run_text_free(&calm);
}
END_TEST

static const char *const names[] = { "static", "swap-only",   "proportional", "esx",
				     "mom",    "esx-minfree", "psi",	      "refault" };

/* Every policy: the same decisions each time, and guests that compute what they do alone. */
START_TEST(every_policy)
{
	for (unsigned s = 0; s < 2; s++) {
		struct text_run calm = run_policy(schedules[s], "none", NULL, "");
		struct text_run a = run_policy(schedules[s], names[_i], NULL, "");
		struct text_run b = run_policy(schedules[s], names[_i], NULL, "");

		ck_assert_str_eq(a.run->decisions->str, b.run->decisions->str);
		csv_is_sound(a.run->decisions->str);
		ck_assert_uint_gt(a.run->host.policy_decisions, 5);
		ck_assert_uint_eq(a.run->host.policy_clamped, 0);
		same_digests(&a, &calm);
		run_text_free(&a);
		run_text_free(&b);
		run_text_free(&calm);
	}
}
END_TEST

/* What if the host has no swap? Balloons are what there is; limits are refused and counted. */
START_TEST(no_swap)
{
	static const char text[] = "[experiment]\ntitle = t\n[host]\nmemory = 64 MiB\n[policy]\nname = static\n"
				   "interval = 200 us\n"
				   "[vm a]\nmemory = 20 MiB\nmax = 16 MiB\nworkload = w\n"
				   "[vm b]\nmemory = 20 MiB\nmax = 16 MiB\nworkload = w\nballoon = no\n"
				   "[workload w]\nphases = q\n"
				   "[phase q]\npattern = zipf\nsize = 4 MiB\noperations = 200000\n";
	g_autoptr(GError) error = NULL;
	struct text_run t;

	ck_assert_msg(run_text(&t, &backend_sim, text, &error), "%s", error ? error->message : "");
	ck_assert_uint_eq(run_text_vm(&t, 0)->counters.balloon_actual, 1024);
	ck_assert_uint_eq(run_text_vm(&t, 1)->counters.balloon_actual, 0);
	ck_assert_uint_gt(t.run->host.policy_clamped, 0);
	run_text_free(&t);
}
END_TEST

static void decide_refuse(void *state, const struct policy_view *view, struct policy_plan *plan)
{
	(void)state;
	for (uint32_t i = 0; i < view->nvms; i++) {
		ck_assert(!view->vm[i].waiting || !view->vm[i].running);
		ck_assert(!view->vm[i].waiting || view->host.time_ns >= (i == 1 ? 1000000 : 0));
		plan->vm[i].admit = !view->vm[i].waiting || i != 1;
	}
}

static const struct policy_ops refuse = {
	.abi = POLICY_ABI, .name = "refuse", .summary = "x", .decide = decide_refuse,
};

/* What if a guest is refused? It never runs and says why, the others go on; nobody is asked before its start. */
START_TEST(refused)
{
	struct text_run t = run_policy(schedules[_i], "static", &refuse, "");

	ck_assert(run_text_vm(&t, 0)->failure == NULL && run_text_vm(&t, 2)->failure == NULL);
	ck_assert_str_eq(run_text_vm(&t, 1)->failure, "policy refuse did not admit it");
	ck_assert_uint_eq(run_text_vm(&t, 1)->counters.operations, 0);
	ck_assert(strstr(t.run->decisions->str, ",b,unnamed,,admit,0,0,0\n") != NULL);
	run_text_free(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy_run");
	TCase *tc = tcase_create("policy_run");

	tcase_add_loop_test(tc, nonsense, 0, 2);
	tcase_add_loop_test(tc, every_policy, 0, G_N_ELEMENTS(names));
	tcase_add_test(tc, no_swap);
	tcase_add_loop_test(tc, refused, 0, 2);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
