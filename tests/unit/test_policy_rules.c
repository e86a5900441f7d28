/* SPDX-License-Identifier: MIT */
/* The policies with rules and states of their own, on views worked out by hand from their sources. */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/policy.h"
#include "tests/lib/suite.h"

static struct policy_bench b;

static void rule_is(const struct policy_rule *r, const char *name)
{
	ck_assert_msg(r->name && !strcmp(r->name, name), "rule is %s, not %s", r->name ? r->name : "none", name);
}

/* --- esx --- */

enum { HIGH, SOFT, HARD, LOW };

/* 10,000 frames: thresholds at 600, 400, 200 and 100, left upwards at 660, 440 and 220. */
START_TEST(esx_states)
{
	static const struct {
		uint64_t free, state;
	} rows[] = {
		{ 5000, HIGH }, { 400, HIGH }, { 399, SOFT }, { 430, SOFT }, { 660, SOFT }, { 661, HIGH },
		{ 150, HARD },	{ 300, HARD }, { 440, HARD }, { 441, SOFT }, { 199, HARD }, { 99, LOW },
		{ 220, LOW },	{ 221, HARD }, { 50, LOW },   { 441, SOFT }, { 5, LOW },    { 9000, HIGH },
	};

	policy_bench_init(&b, "esx", 2, 10000, 6000);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		b.view.host.free = rows[i].free;
		policy_bench_decide(&b);
		ck_assert_msg(policy_bench_input(&b.plan.rule, "state") == rows[i].state, "row %zu: free %d", i,
			      (int)rows[i].free);
	}
	policy_bench_free(&b);
}
END_TEST

/* Two guests of 6,000 pages share 10,000 less 600 to keep free: 4,700 each. */
START_TEST(esx_means)
{
	policy_bench_init(&b, "esx", 2, 10000, 6000);
	b.vm[1].has_balloon = false;
	b.view.host.free = 5000; /* high: balloons are not made larger */
	b.vm[0].balloon_target = 300;
	policy_bench_decide(&b);
	ck_assert_uint_eq(b.plan_vm[0].balloon, 300);
	ck_assert_uint_eq(b.plan_vm[1].limit, POLICY_NO_LIMIT);
	b.vm[1].limit = 4000; /* what limits there are ease */
	policy_bench_decide(&b);
	ck_assert_uint_eq(b.plan_vm[1].limit, 4700);
	b.view.host.free = 390; /* soft: balloons, swap only for whom has none */
	policy_bench_decide(&b);
	rule_is(&b.plan_vm[0].rule, "soft-state");
	ck_assert_uint_eq(b.plan_vm[0].balloon, 1300);
	ck_assert_uint_eq(b.plan_vm[0].limit, POLICY_NO_LIMIT);
	ck_assert_uint_eq(b.plan_vm[1].limit, 4700);
	b.view.host.free = 190; /* hard: swap too */
	policy_bench_decide(&b);
	ck_assert_uint_eq(b.plan_vm[0].limit, 4700);
	ck_assert(!b.plan_vm[0].block && !b.plan_vm[1].block);
	b.view.host.free = 90; /* low: who is above his target does not run */
	b.vm[1].resident = 4700;
	policy_bench_decide(&b);
	ck_assert(b.plan_vm[0].block && !b.plan_vm[1].block);
	policy_bench_free(&b);
}
END_TEST

/* 6% of the first 4 GiB, 4% of the next 8, 2% of the next 16, 1% of the rest: 899 MB for 28 GiB, says VMware. */
START_TEST(esx_minfree)
{
	static const struct {
		uint64_t gib, minfree; /* pages */
	} rows[] = {
		{ 1, 15728 }, { 4, 62914 }, { 12, 146800 }, { 28, 230686 }, { 128, 492830 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		policy_bench_init(&b, "esx-minfree", 1, rows[i].gib << 18, 6000);
		policy_bench_decide(&b);
		ck_assert_uint_eq(policy_bench_input(&b.plan.rule, "threshold"), rows[i].minfree);
		b.view.host.free = rows[i].minfree * 63 / 100;
		policy_bench_decide(&b);
		rule_is(&b.plan.rule, "soft-state");
		b.view.host.free = rows[i].minfree * 31 / 100;
		policy_bench_decide(&b);
		rule_is(&b.plan.rule, "hard-state");
		b.view.host.free = rows[i].minfree * 15 / 100;
		policy_bench_decide(&b);
		rule_is(&b.plan.rule, "low-state");
		policy_bench_free(&b);
	}
}
END_TEST

/* 10,000 frames, 1,000 of them tables, 600 to keep free: 8,400 can be guaranteed. */
START_TEST(esx_admission)
{
	policy_bench_init(&b, "esx", 2, 10000, 6000);
	b.view.host.overhead = 1000;
	b.vm[0].min = 5000;
	b.vm[1].running = false;
	b.vm[1].waiting = true;
	b.vm[1].resident = 0;
	b.vm[1].min = 3400;
	policy_bench_decide(&b);
	ck_assert(b.plan_vm[1].admit);
	rule_is(&b.plan_vm[1].rule, "admitted");
	b.vm[1].min = 3401;
	policy_bench_decide(&b);
	ck_assert(!b.plan_vm[1].admit);
	rule_is(&b.plan_vm[1].rule, "refused");
	ck_assert_uint_eq(policy_bench_input(&b.plan_vm[1].rule, "guaranteed"), 8401);
	policy_bench_free(&b);
}
END_TEST

/* --- mom --- */

struct mom_row {
	const char *what;
	uint64_t host_free;		 /* of 10,000 frames */
	uint64_t balloon, guest_free;	 /* of a guest of 10,000 pages */
	const char *rule;
	uint64_t asked;
};

static const struct mom_row mom_rows[] = {
	/* 15% free: the guest keeps 20% * 15 / 20 = 15%: 8,500; but 5% at a time. */
	{ "shrinks by a step", 1500, 0, 3000, "shrink", 500 },
	/* Uses 8,300 and keeps 1,500: 9,800. */
	{ "shrinks to what it keeps", 1500, 0, 1700, "shrink", 200 },
	{ "uses too much to shrink", 1500, 0, 1000, "shrunk-enough", POLICY_KEEP },
	/* To 9,980: 20 pages are less than 0.25%. */
	{ "hardly any change", 1500, 0, 1520, "shrunk-enough", POLICY_KEEP },
	/* 3% free: 2% below what it uses. */
	{ "critical: to less than it uses", 300, 0, 0, "critical", 200 },
	{ "critical: still a step at a time", 300, 0, 5000, "critical", 500 },
	/* At 5% it is critical already, with 0% below. */
	{ "just critical", 500, 0, 100, "critical", 100 },
	/* No pressure: to 7,000 used + 20% of 8,000, more than 5% on 8,000. */
	{ "grows to its free part", 3000, 2000, 1000, "grow", 1400 },
	{ "grows by a step", 3000, 2000, 4000, "grow", 1600 },
	{ "has all", 3000, 0, 1000, "no-pressure", POLICY_KEEP },
	{ "exactly at the threshold", 2000, 0, 3000, "no-pressure", POLICY_KEEP },
};

START_TEST(mom_balloon_rules)
{
	const struct mom_row *r = &mom_rows[_i];

	policy_bench_init(&b, "mom", 2, 10000, 10000);
	b.view.host.free = r->host_free;
	b.vm[0].has_stats = true;
	b.vm[0].balloon_actual = r->balloon;
	b.vm[0].guest_free = r->guest_free;
	policy_bench_decide(&b);
	rule_is(&b.plan_vm[0].rule, r->rule);
	ck_assert_msg(b.plan_vm[0].balloon == r->asked, "%s: asked %d", r->what, (int)b.plan_vm[0].balloon);
	rule_is(&b.plan_vm[1].rule, "no-statistics");
	policy_bench_free(&b);
}
END_TEST

START_TEST(mom_ksm_rules)
{
	static const struct {
		uint64_t gib, free_percent, pages, asked, sleep_ms;
	} rows[] = {
		{ 16, 15, 100, 400, 10 },   { 16, 15, 1100, 1250, 10 }, { 16, 30, 200, 150, 10 },
		{ 16, 30, 100, 64, 10 },    { 8, 15, 100, 400, 20 },    { 64, 20, 164, 114, 10 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		policy_bench_init(&b, "mom", 1, rows[i].gib << 18, 1000);
		b.view.host.free = (b.view.host.frames * rows[i].free_percent + 99) / 100;
		b.view.host.pages_to_scan = rows[i].pages;
		policy_bench_decide(&b);
		ck_assert_uint_eq(b.plan.pages_to_scan, rows[i].asked);
		ck_assert_uint_eq(b.plan.sleep_ns, rows[i].sleep_ms * 1000000);
		b.view.host.pages_to_scan = 0;
		policy_bench_decide(&b);
		ck_assert_uint_eq(b.plan.pages_to_scan, POLICY_KEEP);
		policy_bench_free(&b);
	}
}
END_TEST

/* --- psi --- */

/* A guest of 10,000 pages, threshold 0.1%, ratio 0.05%; pressure is the part of 100 ms that it stalled. */
START_TEST(psi_senpai)
{
	static const struct {
		uint64_t stall_ns, balloon, asked;
		const char *rule;
	} rows[] = {
		{ 0, 0, 5, "no-pressure" },		/* 10,000 * 0.0005 */
		{ 40000, 0, 3, "no-pressure" },		/* * (1 - 0.4) */
		{ 99000, 0, 0, "no-pressure" },		/* hardly anything */
		{ 100000, 1000, 1000, "under-pressure" }, /* at the threshold: neither */
		{ 300000, 1000, 820, "under-pressure" },  /* twice beyond it: 2% of 9,000 */
		{ 100000000, 1000, 100, "under-pressure" }, /* never more than ten times: 10% */
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		policy_bench_init(&b, "psi", 1, 20000, 10000);
		policy_bench_decide(&b);
		b.vm[0].balloon_actual = rows[i].balloon;
		b.vm[0].since.stall_some_ns = rows[i].stall_ns;
		policy_bench_decide(&b);
		rule_is(&b.plan_vm[0].rule, rows[i].rule);
		ck_assert_uint_eq(b.plan_vm[0].balloon, rows[i].asked);
		/* Without a balloon by its limit, with room for what it touches for the first time. */
		b.vm[0].has_balloon = false;
		b.vm[0].resident = 10000 - rows[i].balloon;
		b.vm[0].since.first_touches = 3;
		b.vm[0].memory = 20000;
		policy_bench_decide(&b);
		ck_assert_uint_eq(b.plan_vm[0].limit, 10000 - rows[i].asked + 6);
		policy_bench_free(&b);
	}
}
END_TEST

/* --- refault --- */

START_TEST(refault_moves_memory)
{
	policy_bench_init(&b, "refault", 3, 100000, 10000);
	policy_bench_set(&b, "reserve", 10000); /* 1,000 pages, and so many are free */
	b.view.host.free = 1000;
	policy_bench_decide(&b);
	rule_is(&b.plan_vm[0].rule, "enough-for-all");
	/* 100 of 9,000 came back in a tenth of a second: 11% a second. Two pages for each are needed. */
	b.vm[0].balloon_actual = 1000;
	b.vm[0].since.refaults = 100;
	policy_bench_decide(&b);
	rule_is(&b.plan_vm[0].rule, "refaults");
	ck_assert_uint_eq(b.plan_vm[0].balloon, 800);
	/* The two others have steps of 200 to lose: 100 each is enough. */
	for (unsigned i = 1; i < 3; i++) {
		rule_is(&b.plan_vm[i].rule, "misses-nothing");
		ck_assert_uint_eq(b.plan_vm[i].balloon, 100);
	}
	/* One of them misses half of what is tolerated: it loses half as much as the other. */
	b.vm[1].since.refaults = 5;
	policy_bench_decide(&b);
	ck_assert_uint_eq(b.plan_vm[1].balloon, 66);
	ck_assert_uint_eq(b.plan_vm[2].balloon, 133);
	/* More is needed than both have to spare: a step of each. */
	b.view.host.free = 0;
	b.vm[1].since.refaults = 0;
	policy_bench_decide(&b);
	ck_assert_uint_eq(b.plan_vm[1].balloon, 200);
	policy_bench_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy_rules");
	TCase *tc = tcase_create("rules");

	tcase_add_test(tc, esx_states);
	tcase_add_test(tc, esx_means);
	tcase_add_test(tc, esx_minfree);
	tcase_add_test(tc, esx_admission);
	tcase_add_loop_test(tc, mom_balloon_rules, 0, G_N_ELEMENTS(mom_rows));
	tcase_add_test(tc, mom_ksm_rules);
	tcase_add_test(tc, psi_senpai);
	tcase_add_test(tc, refault_moves_memory);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
