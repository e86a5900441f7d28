/* SPDX-License-Identifier: MIT */
/*
 * test_twin.c - the twin rule (docs/twin.md), event by event
 *
 * Each experiment of tests/twin/ runs four times: in ept and in shadow mode, on the simulator and on KVM. All four end
 * with one digest and one count of everything that the guest kernel counts; within a mode, simulator and KVM agree on
 * every counter there is, but for those of exceptions[], which docs/twin.md explains.
 *
 * With TWIN_TABLE set, the counts are printed as a table (make check-twin).
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"

enum { EPT, SHADOW, MODES };
static const char *const modes[MODES] = { "ept", "shadow" };

static const struct {
	const char *name;
	bool on_kvm[MODES];
} experiments[] = {
	{ "demand", { true, true } }, { "fork", { true, true } },   { "mmap", { true, true } },
	{ "swap", { true, true } },   { "tier", { true, true } },   { "share", { true, true } },
	{ "cow", { true, true } },    { "balloon", { true, true } },
	{ "trace", { true, true } },  { "watch", { true, true } },
};

/* Counters that may differ between simulator and KVM: those whose names begin so. */
static const char *const exceptions[] = {
	"ns_",		"tlb_",		 "walk",	    "pwc_",	      "ntlb_",		   "cache_",
	"numa_",	"ad_updates",	 "exits",	    "kvm_",	      "table_frames",	   "faults_spurious",
	"shadow_fills", "shadow_pages_", "shadow_spurious", "shadow_ad_updates", "shadow_evictions", "shadow_splinters",
};

/* What the table shows. */
static const struct {
	const char *title, *counter;
} shown[] = {
	{ "faults", "guest_faults" },	     { "absent", "faults_absent" },    { "swapped", "faults_swapped" },
	{ "compr.", "faults_compressed" },   { "shared", "faults_write_shared" }, { "out", "swap_outs" },
	{ "in", "swap_ins" },		     { "merged", "merges" },	       { "zeros", "ksm_zero_pages" },
	{ "inflated", "balloon_inflated" },  { "traced", "shadow_traced_writes" }, { "unsync", "shadow_unsyncs" },
};

static struct text_run *run(const char *name, unsigned mode, const struct backend *machine)
{
	g_autofree char *path = g_strdup_printf("tests/twin/%s.ini", name);
	g_autofree char *set = g_strdup_printf("vm.paging=%s", modes[mode]);
	struct text_run *t = g_new0(struct text_run, 1);
	GError *error = NULL;

	ck_assert_msg(run_file_with(t, machine, path, set, &error), "%s in mode %s on %s: %s", name, modes[mode],
		      machine->name, error ? error->message : "?");
	for (unsigned i = 0; i < t->run->vms->len; i++)
		ck_assert_msg(!run_text_vm(t, i)->failure, "%s in mode %s on %s: %s", name, modes[mode], machine->name,
			      run_text_vm(t, i)->failure);
	return t;
}

static void done(struct text_run *t)
{
	run_text_free(t);
	g_free(t);
}

static bool excepted(const char *counter)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(exceptions); i++)
		if (g_str_has_prefix(counter, exceptions[i]))
			return true;
	return false;
}

static void differ(GString *why, const char *vm, const struct counter_info *c, const struct counters *a,
		   const struct counters *b)
{
	if (counter_get(a, c) != counter_get(b, c))
		g_string_append_printf(why, "%s: %s is %" G_GUINT64_FORMAT ", not %" G_GUINT64_FORMAT "\n", vm, c->name,
				       counter_get(b, c), counter_get(a, c));
}

/* @b against @a: the digests, and those counters that @counts says. */
static void compare(const struct text_run *a, const struct text_run *b, bool (*counts)(const char *), const char *what)
{
	g_autoptr(GString) why = g_string_new(NULL);

	ck_assert_uint_eq(a->run->vms->len, b->run->vms->len);
	for (unsigned i = 0; i < a->run->vms->len; i++) {
		const struct run_vm *x = run_text_vm(a, i), *y = run_text_vm(b, i);

		ck_assert(x->has_digest && y->has_digest);
		if (x->digest != y->digest)
			g_string_append_printf(why, "%s: another digest\n", x->name);
		for (const struct counter_info *c = counter_table; c->name; c++)
			if (counts(c->name))
				differ(why, x->name, c, &x->counters, &y->counters);
	}
	for (const struct counter_info *c = counter_table; c->name; c++)
		if (counts(c->name))
			differ(why, "host", c, &a->run->host, &b->run->host);
	ck_assert_msg(!why->len, "%s:\n%s", what, why->str);
}

static bool counted_by_guest(const char *counter)
{
	return (g_str_has_prefix(counter, "guest_") && !excepted(counter)) || !strcmp(counter, "operations") ||
	       !strcmp(counter, "accesses");
}

static bool comparable(const char *counter)
{
	return !excepted(counter);
}

static void show(const char *name, unsigned mode, struct text_run *const *t, unsigned n)
{
	if (!getenv("TWIN_TABLE"))
		return;
	for (unsigned i = 0; i < n; i++) {
		printf("%-8s %-6s %-3s %016" G_GINT64_MODIFIER "x", name, modes[mode], i ? "kvm" : "sim",
		       run_text_vm(t[i], 0)->digest);
		for (unsigned j = 0; j < G_N_ELEMENTS(shown); j++) {
			const struct counter_info *c = counter_table;

			while (strcmp(c->name, shown[j].counter))
				c++;
			printf(" %8" G_GUINT64_FORMAT, counter_get(&t[i]->run->host, c));
		}
		printf("\n");
	}
}

/* What if the same guests run in the other paging mode? They compute the same, with the same faults. */
START_TEST(modes_agree)
{
	struct text_run *ept = run(experiments[_i].name, EPT, &backend_sim);
	struct text_run *shadow = run(experiments[_i].name, SHADOW, &backend_sim);

	compare(ept, shadow, counted_by_guest, experiments[_i].name);
	done(ept);
	done(shadow);
}
END_TEST

/* What if the processor itself runs them? Everything that happens to a page happens as often. */
START_TEST(machines_agree)
{
	const char *name = experiments[_i / MODES].name;
	unsigned mode = (unsigned)_i % MODES;
	struct text_run *t[2] = { run(name, mode, &backend_sim), run(name, mode, &backend_kvm) };
	g_autofree char *what = g_strdup_printf("%s in mode %s, kvm against sim", name, modes[mode]);

	show(name, mode, t, 2);
	compare(t[0], t[1], comparable, what);
	done(t[0]);
	done(t[1]);
}
END_TEST

/* What may differ has its reason in the documentation. */
START_TEST(exceptions_are_documented)
{
	g_autofree char *text = NULL;

	ck_assert(g_file_get_contents("docs/twin.md", &text, NULL, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(exceptions); i++) {
		g_autofree char *code = g_strdup_printf("`%s", exceptions[i]);

		ck_assert_msg(strstr(text, code) != NULL, "docs/twin.md does not mention %s", exceptions[i]);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("twin");
	TCase *t = tcase_create("sim"), *k = tcase_create("kvm");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, modes_agree, 0, G_N_ELEMENTS(experiments));
	tcase_add_test(t, exceptions_are_documented);
	if (suite_scaled(2) == 2) /* where KVM is emulated, there is time for KVM only */
		suite_add_tcase(s, t);
	if (getenv("TWIN_TABLE")) {
		printf("%-8s %-6s %-3s %-16s", "", "paging", "", "digest of VM 0");
		for (unsigned i = 0; i < G_N_ELEMENTS(shown); i++)
			printf(" %8s", shown[i].title);
		printf("\n");
		fflush(stdout);
	}
	if (kvm_or_skip()) {
		tcase_set_timeout(k, 120);
		for (int i = 0; i < (int)G_N_ELEMENTS(experiments) * MODES; i++)
			if (experiments[i / MODES].on_kvm[i % MODES])
				tcase_add_loop_test(k, machines_agree, i, i + 1);
		suite_add_tcase(s, k);
	}
	return suite_run(s);
}
