/* SPDX-License-Identifier: MIT */
/*
 * experiment.c - from text to struct experiment
 *
 * The tables of conf_keys.c say all: for each section its struct is made, each key of the table is parsed from the file
 * or from its default, and a key that no table names is an error.
 */
#include "vmm/experiment.h"

#include <string.h>

#include "vmm/conf.h"

static GPtrArray *sections_of(const struct experiment *e, enum conf_section kind)
{
	return kind == SECTION_VM	  ? e->vms :
	       kind == SECTION_WORKLOAD ? e->workloads :
	       kind == SECTION_EXPECT	  ? e->expects :
					    e->phases;
}

static void clear(enum conf_section kind, void *section)
{
	for (const struct conf_key *k = conf_sections[kind].keys; k->name; k++)
		conf_clear(k, CONF_FIELD(section, k));
}

static void section_free(char **section, enum conf_section kind)
{
	clear(kind, section);
	g_free(*section); /* its name */
	g_free(section);
}

static void expect_free(gpointer p)
{
	section_free(p, SECTION_EXPECT);
}

static void free_named(GPtrArray *list, enum conf_section kind)
{
	for (guint i = 0; list && i < list->len; i++)
		section_free(g_ptr_array_index(list, i), kind);
	g_ptr_array_unref(list);
}

static void cost_free(gpointer p)
{
	struct conf_cost *c = p;

	g_free(c->field);
	g_free(c->value);
	g_free(c);
}

static void vary_free(gpointer p)
{
	struct conf_vary *v = p;

	g_free(v->section);
	g_free(v->key);
	g_strfreev(v->values);
	g_free(v);
}

static struct experiment *experiment_new(const char *path)
{
	struct experiment *e = g_new0(struct experiment, 1);

	e->path = g_strdup(path);
	e->vms = g_ptr_array_new();
	e->workloads = g_ptr_array_new();
	e->phases = g_ptr_array_new();
	e->expects = g_ptr_array_new();
	e->costs = g_ptr_array_new_with_free_func(cost_free);
	e->vary = g_ptr_array_new_with_free_func(vary_free);
	return e;
}

void experiment_free(struct experiment *e)
{
	if (!e)
		return;
	clear(SECTION_EXPERIMENT, &e->experiment);
	clear(SECTION_HOST, &e->host);
	clear(SECTION_SWAP, &e->swap);
	clear(SECTION_DEDUP, &e->dedup);
	conf_clear_policy(&e->policy);
	clear(SECTION_ESTIMATE, &e->estimate);
	free_named(e->vms, SECTION_VM);
	free_named(e->workloads, SECTION_WORKLOAD);
	free_named(e->phases, SECTION_PHASE);
	free_named(e->expects, SECTION_EXPECT);
	g_ptr_array_unref(e->costs);
	g_ptr_array_unref(e->vary);
	g_free(e->path);
	g_free(e);
}

bool conf_find_static_key(enum conf_section kind, const char *name, struct conf_key *out)
{
	for (const struct conf_key *k = conf_sections[kind].keys; k && k->name; k++)
		if (!strcmp(k->name, name)) {
			*out = *k;
			return true;
		}
	return false;
}

bool conf_find_key(enum conf_section kind, const void *section, const char *name, struct conf_key *out)
{
	const struct workload_param *p =
		kind == SECTION_PHASE ? conf_params(((const struct conf_phase *)section)->pattern) : NULL;

	if (conf_find_static_key(kind, name, out))
		return true;
	if (kind == SECTION_POLICY && section)
		return conf_find_constant(section, name, out);
	for (unsigned i = 0; p && p[i].name; i++)
		if (!strcmp(p[i].name, name)) {
			*out = conf_param_key(&p[i], i);
			return true;
		}
	return false;
}

static void add_constants(GPtrArray *names, const struct conf_policy *p)
{
	for (const struct policy_key *k = p->ops->keys; k && k->name; k++)
		g_ptr_array_add(names, (char *)k->name);
}

gboolean conf_unknown_key(const struct raw *raw, const struct raw_section *s, const struct raw_entry *entry,
			  const void *section, GError **error)
{
	const struct workload_param *p =
		s->kind == SECTION_PHASE ? conf_params(((const struct conf_phase *)section)->pattern) : NULL;
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (const struct conf_key *k = conf_sections[s->kind].keys; k->name; k++)
		g_ptr_array_add(names, (char *)k->name);
	for (unsigned i = 0; p && p[i].name; i++)
		g_ptr_array_add(names, (char *)p[i].name);
	if (s->kind == SECTION_POLICY)
		add_constants(names, section);
	g_ptr_array_add(names, NULL);
	near = conf_nearest(entry->key, (const char *const *)names->pdata);
	g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);
	g_autofree char *hint = near ? g_strdup_printf("; did you mean \"%s\"?", near) : g_strdup(".");

	return raw_fault(raw, s, entry, error, "no such key%s Allowed are %s", hint, all);
}

bool experiment_names_file(const char *profile)
{
	return strchr(profile, '/') || g_str_has_suffix(profile, ".ini");
}

static void make_absolute(const struct raw *raw, char **name)
{
	g_autofree char *folder = g_path_get_dirname(raw->path);
	g_autofree char *base = g_canonicalize_filename(folder, NULL);
	char *absolute = **name ? g_canonicalize_filename(*name, base) : g_strdup("");

	g_free(*name);
	*name = absolute;
}

/* What is most often wrong with a size that is refused. */
static const char *size_hint(const struct conf_key *k, const char *value)
{
	if (k->type != CONF_SIZE)
		return "";
	if (g_str_has_suffix(value, "KB") || g_str_has_suffix(value, "MB") || g_str_has_suffix(value, "GB"))
		return "; units are powers of 1024: MiB, not MB";
	return *value && strspn(value, "0123456789") == strlen(value) ? "; a number alone is bytes" : "";
}

static gboolean fill_key(const struct raw *raw, const struct raw_section *s, const struct conf_key *k, void *section,
			 GError **error)
{
	const struct raw_entry *entry = raw_find(s, k->name);
	g_autofree char *why = NULL;

	if (!entry && !k->def) {
		g_autofree char *what = conf_describe(k);

		return raw_fault(raw, s, NULL, error, "the key \"%s\" is missing: %s", k->name, what);
	}
	if (!conf_parse(k, entry ? entry->value : k->def, CONF_FIELD(section, k), &why)) {
		g_assert(entry);
		return raw_fault(raw, s, entry, error, "allowed is %s%s", why, size_hint(k, entry->value));
	}
	if (k->type == CONF_FILE ||
	    (k->type == CONF_PROFILE && experiment_names_file(*(char **)CONF_FIELD(section, k))))
		make_absolute(raw, CONF_FIELD(section, k));
	return TRUE;
}

static gboolean fill_params(const struct raw *raw, const struct raw_section *s, struct conf_phase *ph, GError **error)
{
	const struct workload_param *p = conf_params(ph->pattern);

	for (unsigned i = 0; p && p[i].name; i++) {
		struct conf_key k = conf_param_key(&p[i], i);

		if (!raw_find(s, k.name))
			ph->param[i] = p[i].def;
		else if (!fill_key(raw, s, &k, ph, error))
			return FALSE;
	}
	return TRUE;
}

static gboolean fill_section(const struct raw *raw, const struct raw_section *s, void *section, GError **error)
{
	for (const struct conf_key *k = conf_sections[s->kind].keys; k->name; k++)
		if (!fill_key(raw, s, k, section, error))
			return FALSE;
	if (s->kind == SECTION_PHASE && !fill_params(raw, s, section, error))
		return FALSE;
	if (s->kind == SECTION_POLICY)
		return conf_fill_policy(raw, s, section, error);
	for (guint i = 0; i < s->entries->len; i++) {
		const struct raw_entry *entry = g_ptr_array_index(s->entries, i);
		struct conf_key k;

		if (!conf_find_key(s->kind, section, entry->key, &k))
			return conf_unknown_key(raw, s, entry, section, error);
	}
	return TRUE;
}

static gboolean build_section(struct experiment *e, const struct raw *raw, const struct raw_section *s, GError **error)
{
	const struct conf_section_info *info = &conf_sections[s->kind];

	if (info->named) {
		char **section = g_malloc0(info->size);

		*section = g_strdup(s->name);
		g_ptr_array_add(sections_of(e, s->kind), section);
		return fill_section(raw, s, section, error);
	}
	for (guint i = 0; s->kind == SECTION_COSTS && i < s->entries->len; i++) {
		const struct raw_entry *entry = g_ptr_array_index(s->entries, i);
		struct conf_cost *c = g_new0(struct conf_cost, 1);

		c->field = g_strdup(entry->key);
		c->value = g_strdup(entry->value);
		g_ptr_array_add(e->costs, c);
	}
	return TRUE;
}

/* [experiment], [host] and the like exist even where the file is silent. */
static gboolean build_single(const struct raw *raw, enum conf_section kind, void *section, GError **error)
{
	struct raw_section empty = { .kind = kind, .name = (char *)"", .entries = NULL };
	gboolean ok;

	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);

		if (s->kind == kind)
			return fill_section(raw, s, section, error);
	}
	empty.entries = g_ptr_array_new();
	ok = fill_section(raw, &empty, section, error);
	g_ptr_array_unref(empty.entries);
	return ok;
}

struct experiment *experiment_build(const struct raw *raw, GError **error)
{
	struct experiment *e = experiment_new(raw->path);
	gboolean ok = build_single(raw, SECTION_EXPERIMENT, &e->experiment, error) &&
		      build_single(raw, SECTION_HOST, &e->host, error) &&
		      build_single(raw, SECTION_BALLOON, &e->balloon, error) &&
		      build_single(raw, SECTION_DEDUP, &e->dedup, error) &&
		      build_single(raw, SECTION_SWAP, &e->swap, error) &&
		      build_single(raw, SECTION_POLICY, &e->policy, error) &&
		      build_single(raw, SECTION_ESTIMATE, &e->estimate, error);

	for (guint i = 0; ok && i < raw->sections->len; i++)
		ok = build_section(e, raw, g_ptr_array_index(raw->sections, i), error);
	if (ok)
		return e;
	experiment_free(e);
	return NULL;
}

GPtrArray *expects_build(const struct raw *raw, GError **error)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(expect_free);

	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);
		struct conf_expect *x;

		if (s->kind != SECTION_EXPECT)
			continue;
		x = g_new0(struct conf_expect, 1);
		x->name = g_strdup(s->name);
		g_ptr_array_add(all, x);
		if (!fill_section(raw, s, x, error)) {
			g_ptr_array_unref(all);
			return NULL;
		}
	}
	return all;
}

/* That each workload makes a script: its tables must fit. */
static gboolean check_scripts(const struct experiment *e, GError **error)
{
	for (guint i = 0; i < e->workloads->len; i++) {
		g_autofree struct script *s = experiment_script(e, g_ptr_array_index(e->workloads, i), 0, error);

		if (!s)
			return FALSE;
	}
	return TRUE;
}

/* A message is one line of a terminal's length or two, whatever was in the file. */
static void tidy(GError *error)
{
	char *end = NULL;

	for (char *c = error->message; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	if (strlen(error->message) > 1000) {
		error->message[1000] = '\0';
		if (!g_utf8_validate(error->message, -1, (const char **)&end))
			*end = '\0';
	}
}

struct experiment *experiment_load(const char *path, const GPtrArray *overrides, GError **error)
{
	GError *why = NULL;
	struct raw *raw = raw_read(path, &why);
	struct experiment *e = NULL;
	gboolean ok = raw != NULL;

	for (guint i = 0; ok && overrides && i < overrides->len; i++)
		ok = raw_override(raw, g_ptr_array_index(overrides, i), " (overridden)", &why);
	ok = ok && (e = experiment_build(raw, &why)) && vary_read(e, raw, overrides, &why) &&
	     experiment_check(e, &why) && check_scripts(e, &why) && vary_check(e, raw, &why) &&
	     expect_check(e, raw, &why);
	raw_free(raw);
	if (ok)
		return e;
	experiment_free(e);
	tidy(why);
	g_propagate_error(error, why);
	return NULL;
}

static const void *find_named(const GPtrArray *list, const char *name)
{
	for (guint i = 0; i < list->len; i++) {
		char *const *section = g_ptr_array_index(list, i);

		if (!strcmp(*section, name))
			return section;
	}
	return NULL;
}

bool conf_estimates(const struct conf_estimate *c)
{
	return *c->methods && (c->methods[1] || strcmp(*c->methods, "none"));
}

const struct conf_workload *experiment_workload(const struct experiment *e, const char *name)
{
	return find_named(e->workloads, name);
}

const struct conf_phase *experiment_phase(const struct experiment *e, const char *name)
{
	return find_named(e->phases, name);
}
