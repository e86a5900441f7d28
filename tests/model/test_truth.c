/* SPDX-License-Identifier: MIT */
/*
 * test_truth.c - the pages that a guest touches, counted: where the answer is known, in every paging mode, and without
 * changing anything else that is counted
 */
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

/* Windows of 10,000 operations, ten quanta. */
#define HEAD(ms)                                                                                   \
	"[experiment]\nschedule = lockstep\nduration = " ms " ms\nsample-interval = 1 ms\ndigest = no\n" \
	"[host]\nmemory = 256 MiB\ncaches = flat\n"
#define TRUTH "[estimate]\nwindow = 1 ms\ntruth = yes\n"

static void run(struct text_run *t, const char *text)
{
	GError *error = NULL;

	if (!run_text(t, &backend_sim, text, &error))
		ck_abort_msg("%s", error->message);
	must(!run_text_vm(t, 0)->failure);
}

static const struct counters *sample(const struct text_run *t, unsigned vm, unsigned n)
{
	for (guint i = 0; i < t->run->samples->len; i++) {
		const struct run_sample *s = &g_array_index(t->run->samples, struct run_sample, i);

		if (s->vm == vm && n-- == 0)
			return &s->counters;
	}
	return NULL;
}

/* Pages outside the arena that are touched again and again, by one process each; a fifth of them idle. */
static const struct {
	const char *phases;
	uint64_t pages;
} known[] = {
	{ "[phase p]\npattern = sequential\nstep = 4 KiB\nsize = 2 MiB\n", 512 },
	{ "[phase p]\npattern = sequential\nstep = 64 B\nsize = 4 KiB\n", 1 },
	{ "[phase p]\npattern = uniform\nsize = 1 MiB\nwrites = 0%\n", 256 },
	{ "[phase p]\npattern = strided\nstride = 4160 B\nsize = 512 KiB\n", 128 },
	{ "[phase p]\npattern = uniform\nsize = 4 MiB\npage-size = 2M\n", 1024 },
};

START_TEST(what_is_known_beforehand)
{
	static const char *const modes[] = { "ept", "shadow", "pv" };

	for (unsigned m = 0; m < G_N_ELEMENTS(modes); m++) {
		g_autofree char *text = g_strconcat(HEAD("7") TRUTH "[vm a]\nmemory = 32 MiB\nworkload = w\npaging = ",
						    modes[m], "\n[workload w]\nphases = p\n", known[_i].phases, NULL);
		struct text_run t;

		run(&t, text);
		for (unsigned n = 3; n < 7; n++)
			must_eq(sample(&t, 0, n)->wss_truth, known[_i].pages);
		run_text_free(&t);
	}
}
END_TEST

/* Forks, copies, mappings that come and go, several processes: whatever the mode, the guest touches the same pages. */
#define BUSY                                                                                              \
	"[vm a]\nmemory = 32 MiB\nworkload = fork\npaging = %s\n[vm b]\nmemory = 32 MiB\nworkload = mmap\n" \
	"paging = %s\n[workload fork]\nphases = load, storm, request\n[workload mmap]\nprocesses = 3\n"      \
	"phases = churn\n[phase load]\npattern = sequential\nstep = 4 KiB\nregion = r\nsize = 1 MiB\n"       \
	"operations = 256\n[phase storm]\npattern = fork\nforks = request\ntouches = 8\nwait-every = 2\n"    \
	"region = r\nsize = 1 MiB\n[phase request]\npattern = uniform\nchild = yes\nregion = r\nsize = 1 MiB\n" \
	"operations = 50\n[phase churn]\npattern = mmap\narea = 64 KiB\nsize = 512 KiB\n"

START_TEST(modes_agree)
{
	static const char *const modes[] = { "shadow", "pv" };
	g_autofree char *first = g_strdup_printf(HEAD("4") TRUTH BUSY, "ept", "ept");
	struct text_run a, b;

	run(&a, first);
	must(run_text_vm(&a, 0)->counters.wss_truth_sum > 500);
	for (unsigned m = 0; m < G_N_ELEMENTS(modes); m++) {
		g_autofree char *text = g_strdup_printf(HEAD("4") TRUTH BUSY, modes[m], modes[m]);

		run(&b, text);
		for (unsigned vm = 0; vm < 2; vm++)
			for (unsigned n = 0; n < 4; n++)
				must_eq(sample(&b, vm, n)->wss_truth, sample(&a, vm, n)->wss_truth);
		run_text_free(&b);
	}
	run_text_free(&a);
}
END_TEST

START_TEST(nothing_else_changes)
{
	static const char *const schedules[] = { "lockstep", "free" };
	struct text_run with, without;

	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *body = g_strdup_printf(HEAD("4") BUSY, "shadow", "ept");
		g_autofree char *plain = NULL, *truth = NULL;
		GString *s = g_string_new(body);

		g_string_replace(s, "lockstep", schedules[i], 1);
		plain = g_string_free(s, FALSE);
		truth = g_strconcat(plain, TRUTH, NULL);
		run(&with, truth);
		run(&without, plain);
		for (unsigned vm = 0; vm < 2; vm++)
			for (const struct counter_info *c = counter_table; c->name; c++)
				if (!g_str_has_prefix(c->name, "wss_"))
					must_eq(counter_get(&run_text_vm(&with, vm)->counters, c),
						counter_get(&run_text_vm(&without, vm)->counters, c));
		must(run_text_vm(&with, 0)->counters.wss_truth_sum > 0);
		must_eq(run_text_vm(&without, 0)->counters.wss_truth_sum, 0);
		run_text_free(&with);
		run_text_free(&without);
	}
}
END_TEST

/* Whoever looks, and however often: guests compute the same; and looking twice shows the same. */
START_TEST(estimators_change_no_contents)
{
	static const char *const modes[] = { "ept", "shadow", "pv" };
	static const char methods[] = "[estimate]\nmethods = esx, idle, refault, mrc\nwindow = 300 us\ntruth = yes\n"
				      "[swap]\nsize = 64 MiB\n";
	g_autofree char *body = g_strdup_printf(HEAD("3") BUSY, modes[_i], modes[_i]), *plain = NULL, *text = NULL;
	struct text_run with, again, without;
	GString *s = g_string_new(body);

	g_string_replace(s, "digest = no", "digest = yes", 1);
	plain = g_strdup(s->str);
	g_string_replace(s, "memory = 256 MiB", "memory = 14 MiB", 1);
	text = g_strconcat(s->str, methods, NULL);
	g_string_free(s, TRUE);
	run(&with, text);
	run(&again, text);
	run(&without, plain);
	for (unsigned vm = 0; vm < 2; vm++) {
		const struct run_vm *a = run_text_vm(&with, vm), *b = run_text_vm(&again, vm);

		must(a->has_digest);
		must_eq(a->digest, run_text_vm(&without, vm)->digest);
		must(!memcmp(&a->counters, &b->counters, sizeof(a->counters)));
		must(a->counters.faults_young > 100 && a->counters.wss_windows >= 8);
	}
	must(run_text_vm(&with, 0)->counters.swap_outs + run_text_vm(&with, 1)->counters.swap_outs > 0);
	run_text_free(&with);
	run_text_free(&again);
	run_text_free(&without);
}
END_TEST

/* Where the processor's accessed bits tell, no page is taken away, and the estimates are as good. */
START_TEST(accessed_bits_tell_too)
{
	g_autofree char *text = g_strconcat("[experiment]\nduration = 12 ms\n[host]\nmemory = 256 MiB\ncaches = flat\n"
					    "young = accessed-bit\n[estimate]\nmethods = esx, idle, mrc\n"
					    "window = 1 ms\ntruth = yes\nsample-pages = 100000\nmrc-sampling = 100%\n"
					    "[vm a]\nmemory = 32 MiB\nworkload = w\n[workload w]\nphases = l, p\n"
					    "[phase l]\npattern = sequential\nstep = 4 KiB\nsize = 8 MiB\n"
					    "operations = 2048\n[phase p]\npattern = uniform\nsize = 1 MiB\n", NULL);
	const struct counters *c;
	struct text_run t;

	run(&t, text);
	c = &run_text_vm(&t, 0)->counters;
	must_eq(c->wss_truth, 256);
	must_eq(c->wss_idle, 256);
	must(c->wss_mrc >= 250 && c->wss_mrc <= 256);
	must(c->wss_esx >= 250 && c->wss_esx < 1200); /* the slow average remembers the load */
	must_eq(c->faults_young, 0);
	run_text_free(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("truth");
	TCase *tc = tcase_create("truth");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_is_known_beforehand, 0, G_N_ELEMENTS(known));
	tcase_add_test(tc, modes_agree);
	tcase_add_test(tc, nothing_else_changes);
	tcase_add_loop_test(tc, estimators_change_no_contents, 0, 3);
	tcase_add_test(tc, accessed_bits_tell_too);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
