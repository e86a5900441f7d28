/* SPDX-License-Identifier: MIT */
/*
 * cmd_calibrate.c - overbook calibrate: a cost profile of this host, and how well it predicts
 *
 * Measurements come from vmm/calibrate_*.c and vmm/kvm; here they become fields of a profile (vmm/sim/profile.h), in
 * cycles of the core's clock. What cannot be measured here keeps the value of the built-in profile of the same vendor,
 * and the file says so. docs/cost-model.md says how each field is measured.
 *
 * --predict runs experiments on both machines and prints the CPU time each took, and what the simulator thought: on a
 * host that runs other things too, the clock on the wall would say more about those.
 */
#include <cpuid.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "vmm/calibrate.h"
#include "vmm/calibrate_fit.h"
#include "vmm/cmd.h"
#include "vmm/version.h"

#define WIDTH	       100 /* of lists in comments */
#define PREDICT_ROUNDS 3

struct calibrating {
	struct calibration c;
	struct sim_profile *p;
	const char *base;
	GHashTable *about; /* field -> comment, owned */
	GArray *fitted;
};

/* Fields that are one measurement, in cycles. */
static const struct {
	const char *field;
	enum measure m;
} direct[] = {
	{ "l1d_cycles", M_LOAD_L1 },	      { "l2d_cycles", M_LOAD_L2 },
	{ "l3d_cycles", M_LOAD_L3 },	      { "mem_cycles", M_LOAD_MEMORY },
	{ "flat_data_cycles", M_LOAD_L1 },    { "l2_tlb_cycles", M_TLB_L2 },
	{ "exit_cycles", M_EXIT },	      { "exception_cycles", M_EXCEPTION },
	{ "zero_page_cycles", M_ZERO },	      { "copy_page_cycles", M_COPY },
	{ "fill_page_cycles", M_FILL },	      { "populate_cycles", M_TOUCH },
	{ "release_cycles", M_DROP },	      { "checksum_cycles", M_HASH },
	{ "compare_cycles", M_COMPARE },      { "compress_cycles", M_ZSTD_OUT },
	{ "decompress_cycles", M_ZSTD_IN },   { "lz4_compress_cycles", M_LZ4_OUT },
	{ "lz4_decompress_cycles", M_LZ4_IN },
};

/* Fields that are what one measurement has on top of others. */
static const struct {
	const char *field;
	enum measure whole, part[2];
} rest[] = {
	{ "move_cycles", M_COW, { M_KVM_FAULT, MEASURES } },
	{ "handle_ept", M_VIOLATION, { M_EXIT, M_TOUCH } },
	{ "handle_page_fault", M_SHADOW_FAULT, { M_EXIT, MEASURES } },
};

static void set(struct calibrating *k, const char *field, double cycles, char *about)
{
	g_autofree char *value = g_strdup_printf("%.0f", CLAMP(cycles, 0, 1e9));
	GError *error = NULL;

	if (profile_set(k->p, field, value, &error)) {
		g_hash_table_replace(k->about, g_strdup(field), about);
	} else {
		g_debug("%s", error->message);
		g_error_free(error);
		g_free(about);
	}
}

static char *in_words(const struct calibration *c, enum measure m)
{
	return g_strdup_printf("%s: %.4g ns (%.4g to %.4g)", measure_name(m), c->m[m].ns, c->m[m].low, c->m[m].high);
}

static void set_pair(struct calibrating *k, const char *field, uint32_t n, uint32_t ways)
{
	g_autofree char *value = g_strdup_printf("%u/%u", n, ways);

	if (n && profile_set(k->p, field, value, NULL))
		g_hash_table_replace(k->about, g_strdup(field), g_strdup("CPUID"));
}

/* The largest share of so many KiB whose sets are a power of two, which is all that the simulator knows. */
static uint32_t round_kib(uint32_t kib, uint32_t ways)
{
	uint32_t sets = ways ? kib * 16 / ways : 0, power = 1;

	while (power * 2 <= sets)
		power *= 2;
	return sets ? power * ways / 16 : 0;
}

static void set_processor(struct calibrating *k)
{
	unsigned a, b, c, d;
	struct calibration *m = &k->c;

	set(k, "mhz", 1000 / m->m[M_CYCLE].ns, in_words(m, M_CYCLE));
	if (__get_cpuid(0x80000008, &a, &b, &c, &d))
		set(k, "maxphyaddr", a & 255, g_strdup("CPUID"));
	set_pair(k, "l1d", round_kib(m->l1d_kib, m->l1d_ways), m->l1d_ways);
	set_pair(k, "l2d", round_kib(m->l2d_kib, m->l2d_ways), m->l2d_ways);
	set_pair(k, "l3d", round_kib(m->l3d_kib, m->l3d_ways), m->l3d_ways);
	if (!strcmp(k->p->vendor, "amd") && __get_cpuid(0x80000005, &a, &b, &c, &d)) {
		uint32_t entries = b >> 16 & 255, ways = b >> 24;

		set_pair(k, "l1_4k", entries, ways == 255 ? entries : ways);
	}
}

static void set_fields(struct calibrating *k)
{
	const struct calibration *c = &k->c;
	const double cycle = c->m[M_CYCLE].ns;

	for (unsigned i = 0; i < G_N_ELEMENTS(direct); i++)
		if (measured_has(c, direct[i].m))
			set(k, direct[i].field, round(c->m[direct[i].m].ns / cycle), in_words(c, direct[i].m));
	for (unsigned i = 0; i < G_N_ELEMENTS(rest); i++) {
		g_autofree char *words = in_words(c, rest[i].whole);
		double ns = c->m[rest[i].whole].ns;
		bool all = measured_has(c, rest[i].whole);

		for (unsigned j = 0; j < 2; j++) {
			if (rest[i].part[j] == MEASURES)
				continue;
			all = all && measured_has(c, rest[i].part[j]);
			ns -= c->m[rest[i].part[j]].ns;
		}
		if (all)
			set(k, rest[i].field, MAX(ns, 0) / cycle,
			    g_strdup_printf("%s, less what is charged apart", words));
	}
}

static void set_fitted(struct calibrating *k)
{
	for (guint i = 0; k->fitted && i < k->fitted->len; i++) {
		const struct fitted *f = &g_array_index(k->fitted, struct fitted, i);

		if (f->why)
			continue;
		g_hash_table_replace(k->about, g_strdup(f->field),
				     g_strdup_printf("fitted to runs: %.4g us for each of %.0f %s more (rounds: the "
						     "field from %.0f to %.0f)",
						     f->kvm_ns / f->events / 1000, f->events, f->event, f->low,
						     f->high));
	}
}

/* What the file begins with: what was measured and is no field, what could not be, what kept its value. */
static char *headline(const struct calibrating *k)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *date = g_date_time_format(now, "%F");
	static const enum measure apart[] = {
		M_WALK, M_READ, M_WRITE, M_EXIT_KERNEL, M_KVM_FAULT, M_COW, M_VIOLATION, M_SHADOW_FAULT,
		M_TIER_LZ4, M_TIER_ZSTD, M_FILE, M_FILE_NEXT,
	};
	GString *s = g_string_new(NULL);

	g_string_append_printf(s,
			       "Costs of this host, measured on %s by overbook %s calibrate%s: medians of %u rounds,\n"
			       "quartiles in parentheses. Fields are cycles of the core's clock.\n\n",
			       date, OVERBOOK_VERSION, k->c.quick ? " --quick" : "", k->c.rounds);
	for (unsigned i = 0; i < G_N_ELEMENTS(apart); i++)
		if (measured_has(&k->c, apart[i])) {
			g_autofree char *words = in_words(&k->c, apart[i]);

			g_string_append_printf(s, "%s\n", words);
		}
	for (enum measure m = 0; m < MEASURES; m++)
		if (!measured_has(&k->c, m))
			g_string_append_printf(s, "%s: not measured: %s\n", measure_name(m), k->c.m[m].why);
	for (guint i = 0; k->fitted && i < k->fitted->len; i++) {
		const struct fitted *f = &g_array_index(k->fitted, struct fitted, i);

		if (f->why)
			g_string_append_printf(s, "%s: not fitted to runs: %s\n", f->field, f->why);
	}
	g_string_append_printf(s, "\nNot measured, as in %s:", k->base);
	for (unsigned i = 0, column = WIDTH; profile_field(i); i++) {
		if (g_hash_table_contains(k->about, profile_field(i)))
			continue;
		column += (unsigned)strlen(profile_field(i)) + 1;
		if (column > WIDTH) {
			g_string_append(s, "\n ");
			column = (unsigned)strlen(profile_field(i)) + 1;
		}
		g_string_append_printf(s, " %s", profile_field(i));
	}
	return g_string_free(s, FALSE);
}

static char *comment(const char *field, void *ctx)
{
	const struct calibrating *k = ctx;

	return *field ? g_strdup(g_hash_table_lookup(k->about, field)) : headline(k);
}

static void print_table(const struct calibration *c)
{
	printf("%-36s %12s %12s %12s\n", "what", "ns", "low", "high");
	for (enum measure m = 0; m < MEASURES; m++) {
		const struct measured *v = &c->m[m];

		if (v->rounds)
			printf("%-36s %12.*f %12.*f %12.*f\n", measure_name(m), v->ns < 100 ? 2 : 0, v->ns,
			       v->ns < 100 ? 2 : 0, v->low, v->ns < 100 ? 2 : 0, v->high);
		else
			printf("%-36s %12s %s\n", measure_name(m), "-", v->why);
	}
}

static void print_fitted(const GArray *fitted)
{
	if (fitted->len)
		printf("\n%-20s %12s %12s  %s\n", "fitted to runs", "events more", "us each", "event");
	for (guint i = 0; i < fitted->len; i++) {
		const struct fitted *f = &g_array_index(fitted, struct fitted, i);

		if (f->why)
			printf("%-20s %s\n", f->field, f->why);
		else
			printf("%-20s %12.0f %12.4g  %s\n", f->field, f->events, f->kvm_ns / f->events / 1000,
			       f->event);
	}
}

/* Runs, if real guests can run at all. */
static gboolean fit(struct calibrating *k, GError **error)
{
	GError *why = NULL;

	if (!backend_kvm.available(&why)) {
		fprintf(stderr, "overbook: no runs of real guests: %s\n", why->message);
		g_error_free(why);
		return TRUE;
	}
	k->fitted = calibrate_fit(&k->c, k->p, k->base, error);
	return k->fitted != NULL;
}

static int calibrate(const char *out, gboolean quick, gboolean no_runs, gboolean quiet)
{
	struct calibrating k = { .c = { .rounds = quick ? 3 : 9, .quick = quick } };
	unsigned a, b, c, d;
	gboolean amd = __get_cpuid(0, &a, &b, &c, &d) && c == signature_AMD_ecx;
	g_autofree char *file = g_path_get_basename(out);
	GError *error = NULL;
	gboolean ok;

	k.base = amd ? "zen3" : "icelake-sp";
	k.p = profile_load(k.base, NULL);
	k.about = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	k.p->name = g_intern_string(file);
	k.p->summary = "This host, as overbook calibrate measured it";
	calibrate_memory(&k.c);
	calibrate_pages(&k.c);
	calibrate_kvm(&k.c);
	calibrate_store(&k.c);
	set_processor(&k);
	set_fields(&k);
	ok = quick || no_runs || fit(&k, &error);
	set_fitted(&k);
	ok = ok && profile_write(k.p, k.base, out, comment, &k, &error);
	if (!quiet)
		print_table(&k.c);
	if (k.fitted) {
		if (!quiet)
			print_fitted(k.fitted);
		g_array_unref(k.fitted);
	}
	g_hash_table_unref(k.about);
	profile_free(k.p);
	calibrate_clear(&k.c);
	if (!ok)
		return cmd_gerror(error);
	if (!quiet)
		fprintf(stderr, "overbook: %s: use it as [host] profile = %s\n", out, out);
	return CMD_OK;
}

/* Runs of real guests: the times of PREDICT_ROUNDS, in order. */
static gboolean measure_runs(const char *path, const char *const *set, double *ms, GError **error)
{
	for (unsigned r = 0; r < PREDICT_ROUNDS; r++) {
		struct fit_run kvm;
		unsigned at = r;

		if (!fit_run(&backend_kvm, path, set, &kvm, error))
			return FALSE;
		for (; at > 0 && ms[at - 1] > kvm.ns / 1e6; at--)
			ms[at] = ms[at - 1];
		ms[at] = kvm.ns / 1e6;
	}
	return TRUE;
}

/* One line of the table of predictions; a machine that cannot run it is told. */
static int predict(const char *path, const char *profile, char **set)
{
	const unsigned n = set ? g_strv_length(set) : 0;
	const char **all = g_new0(const char *, n + 2);
	g_autofree char *use = g_strdup_printf("host.profile=%s", profile);
	g_autofree char *name = g_path_get_basename(path);
	double ms[PREDICT_ROUNDS], wanted;
	struct fit_run sim;
	GError *error = NULL;
	int status = CMD_OK;

	all[0] = use;
	for (unsigned i = 0; i < n; i++)
		all[i + 1] = set[i];
	if (fit_run(&backend_sim, path, all, &sim, &error) && measure_runs(path, all, ms, &error)) {
		wanted = sim.ns / 1e6;
		printf("%-24s %12.1f %12.1f %10.1f %10.1f %8.2f\n", name, wanted, ms[PREDICT_ROUNDS / 2], ms[0],
		       ms[PREDICT_ROUNDS - 1], wanted / ms[PREDICT_ROUNDS / 2]);
	} else {
		printf("%-24s %s\n", name, error->message);
		status = CMD_FAILED;
		g_error_free(error);
	}
	fflush(stdout);
	g_free(all);
	return status;
}

static int predict_all(const char *profile, char **set, char **files)
{
	GError *error = NULL;
	int status = CMD_OK;

	if (!backend_kvm.available(&error))
		return cmd_gerror(error);
	printf("%-24s %12s %12s %10s %10s %8s\n", "experiment", "predicted ms", "measured ms", "least",
	       "most", "ratio");
	for (; *files && !run_stop; files++)
		if (predict(*files, profile, set))
			status = CMD_FAILED;
	return status;
}

int cmd_calibrate(int argc, char **argv)
{
	g_autofree char *out = NULL, *profile = NULL;
	g_auto(GStrv) files = NULL, set = NULL;
	gboolean quick = FALSE, no_runs = FALSE, quiet = FALSE;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &out, "the profile to write", "PROFILE.ini" },
		{ "quick", 0, 0, G_OPTION_ARG_NONE, &quick, "fewer, shorter rounds, no runs of real guests", NULL },
		{ "no-runs", 0, 0, G_OPTION_ARG_NONE, &no_runs, "do not fit fields to runs of real guests", NULL },
		{ "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "print nothing", NULL },
		{ "predict", 0, 0, G_OPTION_ARG_FILENAME, &profile,
		  "run experiments on both machines, and compare their times with this profile", "PROFILE.ini" },
		{ "set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &set, "with --predict: override a key", "KEY=VALUE" },
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &files, NULL, "[FILE.ini...]" },
		{ NULL, 0, 0, 0, NULL, NULL, NULL },
	};
	g_autoptr(GOptionContext) ctx = g_option_context_new("- measure what things cost on this host");
	GError *error = NULL;

	g_option_context_add_main_entries(ctx, entries, NULL);
	if (!g_option_context_parse(ctx, &argc, &argv, &error))
		return cmd_gerror(error);
	if (profile && files && !out)
		return predict_all(profile, set, files);
	if (profile || files || set)
		return cmd_error(CMD_USAGE, "calibrate takes -o PROFILE.ini, or --predict PROFILE.ini FILE.ini...");
	if (!out || !(strchr(out, '/') || g_str_has_suffix(out, ".ini")))
		return cmd_error(CMD_USAGE, "calibrate: -o PROFILE is needed, a file: NAME.ini, or a name with a '/'");
	return calibrate(out, quick, no_runs, quiet);
}
