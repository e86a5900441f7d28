/* SPDX-License-Identifier: MIT */
/* results.c - samples.csv, summary.json, manifest.json */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <lz4.h>
#include <zstd.h>

#include "vmm/results.h"
#include "vmm/version.h"

static const char *vm_name(const struct run *r, unsigned vm)
{
	return vm == RUN_HOST ? "host" : ((const struct run_vm *)g_ptr_array_index(r->vms, vm))->name;
}

static char *samples_csv(const struct run *r)
{
	GString *out = g_string_new("time_ns,vm");

	for (const struct counter_info *i = counter_table; i->name; i++)
		g_string_append_printf(out, ",%s", i->name);
	g_string_append_c(out, '\n');
	for (guint n = 0; n < r->samples->len; n++) {
		const struct run_sample *s = &g_array_index(r->samples, struct run_sample, n);

		g_string_append_printf(out, "%" G_GUINT64_FORMAT ",%s", s->time_ns, vm_name(r, s->vm));
		for (const struct counter_info *i = counter_table; i->name; i++)
			g_string_append_printf(out, ",%" G_GUINT64_FORMAT, counter_get(&s->counters, i));
		g_string_append_c(out, '\n');
	}
	return g_string_free(out, FALSE);
}

static void add_counters(JsonBuilder *b, const struct counters *c)
{
	json_builder_begin_object(b);
	for (const struct counter_info *i = counter_table; i->name; i++) {
		json_builder_set_member_name(b, i->name);
		json_builder_add_int_value(b, (gint64)counter_get(c, i));
	}
	json_builder_end_object(b);
}

static void add_latency(JsonBuilder *b, const struct hist *h)
{
	static const struct {
		const char *name;
		uint32_t ppm;
	} points[] = { { "p50", 500000 }, { "p90", 900000 }, { "p99", 990000 }, { "p99.9", 999000 } };

	json_builder_begin_object(b);
	json_builder_set_member_name(b, "count");
	json_builder_add_int_value(b, (gint64)h->n);
	json_builder_set_member_name(b, "sum_ns");
	json_builder_add_int_value(b, (gint64)h->sum);
	for (unsigned i = 0; i < G_N_ELEMENTS(points); i++) {
		g_autofree char *name = g_strdup_printf("%s_ns", points[i].name);

		json_builder_set_member_name(b, name);
		json_builder_add_int_value(b, (gint64)hist_percentile(h, points[i].ppm));
	}
	json_builder_end_object(b);
}

static void begin_section(JsonBuilder *b, const char *name)
{
	json_builder_set_member_name(b, name);
	json_builder_begin_object(b);
}

char *json_text(JsonBuilder *b)
{
	g_autoptr(JsonGenerator) gen = json_generator_new();
	g_autoptr(JsonNode) root = json_builder_get_root(b);

	json_generator_set_root(gen, root);
	json_generator_set_pretty(gen, TRUE);
	g_autofree char *text = json_generator_to_data(gen, NULL);

	return g_strconcat(text, "\n", NULL);
}

/* Only where the guest did so. */
static void add_killed(JsonBuilder *b, const struct run *r)
{
	bool any = false;

	for (guint i = 0; i < r->vms->len; i++) {
		const struct run_vm *vm = g_ptr_array_index(r->vms, i);

		if (!vm->killed)
			continue;
		if (!any)
			begin_section(b, "killed");
		any = true;
		json_builder_set_member_name(b, vm->name);
		json_builder_add_string_value(b, vm->killed);
	}
	if (any)
		json_builder_end_object(b);
}

static char *summary_json(const struct run *r)
{
	g_autoptr(JsonBuilder) b = json_builder_new();

	json_builder_begin_object(b);
	json_builder_set_member_name(b, "end_ns");
	json_builder_add_int_value(b, (gint64)r->end_ns);
	json_builder_set_member_name(b, "interrupted");
	json_builder_add_boolean_value(b, r->interrupted);
	json_builder_set_member_name(b, "host");
	add_counters(b, &r->host);

	begin_section(b, "vms");
	for (guint i = 0; i < r->vms->len; i++) {
		json_builder_set_member_name(b, vm_name(r, i));
		add_counters(b, &((struct run_vm *)g_ptr_array_index(r->vms, i))->counters);
	}
	json_builder_end_object(b);

	begin_section(b, "latency");
	for (guint i = 0; i < r->vms->len; i++) {
		json_builder_set_member_name(b, vm_name(r, i));
		add_latency(b, ((struct run_vm *)g_ptr_array_index(r->vms, i))->latency);
	}
	json_builder_end_object(b);

	begin_section(b, "digest");
	for (guint i = 0; i < r->vms->len; i++) {
		const struct run_vm *vm = g_ptr_array_index(r->vms, i);
		g_autofree char *hex = g_strdup_printf("%016" G_GINT64_MODIFIER "x", vm->digest);

		if (!vm->has_digest)
			continue;
		json_builder_set_member_name(b, vm->name);
		json_builder_add_string_value(b, hex);
	}
	json_builder_end_object(b);

	add_killed(b, r);
	begin_section(b, "failures");
	for (guint i = 0; i < r->vms->len; i++) {
		const struct run_vm *vm = g_ptr_array_index(r->vms, i);

		if (!vm->failure)
			continue;
		json_builder_set_member_name(b, vm->name);
		json_builder_add_string_value(b, vm->failure);
	}
	json_builder_end_object(b);
	json_builder_end_object(b);
	return json_text(b);
}

static char *cpu_model(void)
{
	g_autofree char *text = NULL;

	if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
		const char *at = strstr(text, "model name");
		const char *colon = at ? strchr(at, ':') : NULL;

		if (colon)
			return g_strstrip(g_strndup(colon + 1, strcspn(colon + 1, "\n")));
	}
	return g_strdup("unknown");
}

static void add_string(JsonBuilder *b, const char *name, const char *value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_string_value(b, value);
}

static void add_time(JsonBuilder *b, const char *name, gint64 us)
{
	g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(us / G_USEC_PER_SEC);
	g_autofree char *text = g_date_time_format(t, "%Y-%m-%dT%H:%M:%SZ");

	add_string(b, name, text);
}

void manifest_common(JsonBuilder *b, const struct manifest *m)
{
	g_autofree char *cpu = cpu_model();
	g_autofree char *kernel = NULL;
	struct utsname u;

	uname(&u);
	kernel = g_strdup_printf("%s %s %s", u.sysname, u.release, u.machine);
	add_string(b, "version", OVERBOOK_VERSION);
	add_string(b, "commit", overbook_commit);
	add_string(b, "command", m->command_line);
	add_time(b, "start", m->start_us);
	add_time(b, "end", m->end_us);
	json_builder_set_member_name(b, "seconds");
	json_builder_add_double_value(b, (double)(m->end_us - m->start_us) / G_USEC_PER_SEC);
	add_string(b, "host_cpu", cpu);
	add_string(b, "host_kernel", kernel);
	add_string(b, "zstd", ZSTD_versionString());
	add_string(b, "lz4", LZ4_versionString());
	add_string(b, "machine", m->machine);
	if (m->seed <= G_MAXINT64) {
		json_builder_set_member_name(b, "seed");
		json_builder_add_int_value(b, (gint64)m->seed);
	} else {
		g_autofree char *seed = g_strdup_printf("%" G_GUINT64_FORMAT, m->seed);

		add_string(b, "seed", seed);
	}
}

static char *manifest_json(const struct run *r, const struct manifest *m)
{
	g_autoptr(JsonBuilder) b = json_builder_new();

	json_builder_begin_object(b);
	manifest_common(b, m);
	json_builder_set_member_name(b, "vms");
	json_builder_begin_array(b);
	for (guint i = 0; i < r->vms->len; i++)
		json_builder_add_string_value(b, vm_name(r, i));
	json_builder_end_array(b);
	json_builder_end_object(b);
	return json_text(b);
}

static gboolean put(const char *dir, const char *name, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	return g_file_set_contents(path, text, -1, error);
}

gboolean results_put_experiment(const struct experiment *e, bool without_vary, const char *dir, GError **error)
{
	struct experiment here = *e;
	g_autofree char *profile = NULL, *ini = NULL;

	if (experiment_names_file(e->host.profile)) {
		if (!g_file_get_contents(e->host.profile, &profile, NULL, error) ||
		    !put(dir, "profile.ini", profile, error))
			return FALSE;
		here.host.profile = (char *)"./profile.ini";
	}
	ini = experiment_to_string(&here, without_vary);
	return put(dir, "experiment.ini", ini, error);
}

gboolean results_write(const struct run *r, const struct manifest *m, const char *dir, GError **error)
{
	g_autofree char *csv = samples_csv(r);
	g_autofree char *summary = summary_json(r);
	g_autofree char *manifest = manifest_json(r, m);

	return results_put_experiment(r->e, true, dir, error) && put(dir, "samples.csv", csv, error) &&
	       (!r->curves || put(dir, "curves.csv", r->curves->str, error)) &&
	       (!r->kvm_stats || put(dir, "kvm-stats.csv", r->kvm_stats->str, error)) &&
	       (!r->decisions || put(dir, "decisions.csv", r->decisions->str, error)) &&
	       put(dir, "summary.json", summary, error) && put(dir, "manifest.json", manifest, error);
}
