/* SPDX-License-Identifier: MIT */
/* experiment_text.c - the canonical file, and the reference of all keys; both from the tables */

#include <string.h>

#include "vmm/conf.h"

static void put_key(GString *s, const struct conf_key *k, const void *section)
{
	g_autofree char *value = conf_format(k, CONF_FIELD(section, k));

	g_string_append_printf(s, "%s = %s\n", k->name, value);
}

static void put_section(GString *s, enum conf_section kind, const void *section)
{
	const struct conf_section_info *info = &conf_sections[kind];
	const struct workload_param *p =
		kind == SECTION_PHASE ? conf_params(((const struct conf_phase *)section)->pattern) : NULL;

	if (info->named)
		g_string_append_printf(s, "\n[%s %s]\n", info->name, *(char *const *)section);
	else
		g_string_append_printf(s, "%s[%s]\n", s->len ? "\n" : "", info->name);
	for (const struct conf_key *k = info->keys; k->name; k++)
		put_key(s, k, section);
	for (unsigned i = 0; p && p[i].name; i++) {
		struct conf_key k = conf_param_key(&p[i], i);

		put_key(s, &k, section);
	}
}

static void put_list(GString *s, enum conf_section kind, const GPtrArray *list)
{
	for (guint i = 0; i < list->len; i++)
		put_section(s, kind, g_ptr_array_index(list, i));
}

/* A varied file is relative to the experiment's folder, where the canonical text will not be. */
static void make_absolute(const struct experiment *e, char **value)
{
	g_autofree char *folder = g_path_get_dirname(e->path);
	g_autofree char *base = g_canonicalize_filename(folder, NULL);
	char *absolute = g_canonicalize_filename(*value, base);

	g_free(*value);
	*value = absolute;
}

static void put_vary(GString *s, const struct experiment *e, const struct conf_vary *v)
{
	g_auto(GStrv) copy = g_strdupv(v->values);
	g_autofree char *values = NULL;

	for (unsigned i = 0; copy[i]; i++)
		if (*copy[i] && ((!strcmp(v->key, "profile") && experiment_names_file(copy[i])) ||
				 (!strcmp(v->key, "trace") && g_str_has_prefix(v->section, "phase"))))
			make_absolute(e, &copy[i]);
	values = g_strjoinv("; ", copy);

	/* The closing ';' tells a single value with commas from a list. */
	g_string_append_printf(s, "%s.%s = %s;\n", v->section, v->key, values);
}

char *experiment_to_string(const struct experiment *e, bool without_vary)
{
	GString *s = g_string_new(NULL);

	put_section(s, SECTION_EXPERIMENT, &e->experiment);
	put_section(s, SECTION_HOST, &e->host);
	put_section(s, SECTION_BALLOON, &e->balloon);
	put_section(s, SECTION_DEDUP, &e->dedup);
	put_section(s, SECTION_SWAP, &e->swap);
	put_section(s, SECTION_POLICY, &e->policy);
	conf_put_policy(s, &e->policy, without_vary);
	put_section(s, SECTION_ESTIMATE, &e->estimate);
	put_list(s, SECTION_VM, e->vms);
	put_list(s, SECTION_WORKLOAD, e->workloads);
	put_list(s, SECTION_PHASE, e->phases);
	put_list(s, SECTION_EXPECT, e->expects);
	if (e->costs->len)
		g_string_append(s, "\n[costs]\n");
	for (guint i = 0; i < e->costs->len; i++) {
		const struct conf_cost *c = g_ptr_array_index(e->costs, i);

		g_string_append_printf(s, "%s = %s\n", c->field, c->value);
	}
	if (e->vary->len && !without_vary)
		g_string_append(s, "\n[vary]\n");
	for (guint i = 0; i < e->vary->len && !without_vary; i++)
		put_vary(s, e, g_ptr_array_index(e->vary, i));
	return g_string_free(s, FALSE);
}

static void refer_key(GString *s, const struct conf_key *k, const char *def)
{
	g_autofree char *what = conf_describe(k);

	g_string_append_printf(s, "# %s\n#   %s%s\n%s%s = %s\n", k->sentence, what, def ? "" : "; must be given",
			       def ? "" : "# ", k->name, def ? def : "...");
}

static void refer_params(GString *s)
{
	for (int i = 0; workload_generators[i]; i++) {
		const struct workload_param *p = workload_generators[i]->params;

		g_string_append_printf(s, "\n# pattern = %s: %s\n", workload_generators[i]->name,
				       workload_generators[i]->summary);
		for (unsigned n = 0; p && p[n].name; n++) {
			struct conf_key k = conf_param_key(&p[n], n);
			g_autofree char *def = NULL, *what = conf_describe(&k);
			struct conf_phase ph = { .param = { 0 } };

			ph.param[n] = p[n].def;
			def = conf_format(&k, CONF_FIELD(&ph, &k));
			g_string_append_printf(s, "#   %s = %s\n#     %s\n#     %s\n", k.name, def, k.sentence, what);
		}
	}
	g_string_append(s, "\n# pattern = trace: Replays the memory trace of a real program; its addresses are the "
			   "program's own.\n");
}

char *experiment_reference(void)
{
	GString *s = g_string_new("# Keys of an experiment file, with their defaults.\n");

	for (int i = 0; i < SECTION_COUNT; i++) {
		const struct conf_section_info *info = &conf_sections[i];

		g_string_append_printf(s, "\n# %s\n[%s%s]\n", info->sentence, info->name, info->named ? " NAME" : "");
		for (const struct conf_key *k = info->keys; k && k->name; k++)
			refer_key(s, k, k->def);
		if (i == SECTION_PHASE)
			refer_params(s);
		if (i == SECTION_POLICY)
			conf_refer_policies(s);
		if (i == SECTION_COSTS)
			g_string_append(s, "# exit_cycles = 1200\n");
		if (i == SECTION_VARY)
			g_string_append(s,
					"# vm.paging = native, shadow, ept, pv\n# phase scan.size = 64 MiB, 1 GiB\n");
	}
	return g_string_free(s, FALSE);
}
