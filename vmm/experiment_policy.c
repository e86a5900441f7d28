/* SPDX-License-Identifier: MIT */
/*
 * experiment_policy.c - [policy]: which policy, and its constants
 *
 * Beside its own keys the section has those of the policy that it names. When [vary] goes over policies it may have
 * keys of any of them: those of others are checked as well and kept as text, for the canonical file.
 */
#include <string.h>

#include "vmm/conf.h"
#include "vmm/policy/policies.h"
#include "vmm/policy_load.h"

/* The number of the key in the policy's table, or -1. */
static int key_number(const struct policy_ops *ops, const char *name)
{
	for (int i = 0; ops && ops->keys && ops->keys[i].name; i++)
		if (!strcmp(ops->keys[i].name, name))
			return i;
	return -1;
}

struct conf_key conf_constant_key(const struct policy_ops *ops, unsigned i)
{
	static const enum conf_type types[] = {
		[POLICY_COUNT] = CONF_COUNT,
		[POLICY_SIZE] = CONF_SIZE,
		[POLICY_TIME] = CONF_TIME,
		[POLICY_SHARE] = CONF_SHARE,
	};
	const struct policy_key *k = &ops->keys[i];

	return (struct conf_key){
		.name = k->name,
		.type = types[k->unit],
		.offset = offsetof(struct conf_policy, constant) + i * sizeof(uint64_t),
		.min = k->min,
		.max = k->max,
		.sentence = k->sentence,
	};
}

bool conf_find_constant(const struct conf_policy *p, const char *name, struct conf_key *out)
{
	int i = key_number(p->ops, name);

	if (i >= 0)
		*out = conf_constant_key(p->ops, (unsigned)i);
	return i >= 0;
}

static const struct policy_ops *choose(const struct raw *raw, const struct raw_section *s, const struct conf_policy *p,
				       GError **error)
{
	const struct policy_ops *ops;
	g_autofree char *why = NULL;

	if (!*p->module)
		return policies[p->name];
	ops = policy_load(p->module, &why);
	if (!ops)
		raw_fault(raw, s, raw_find(s, "module"), error, "%s", why);
	return ops;
}

static bool varies_policies(const struct raw *raw)
{
	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);

		if (s->kind == SECTION_VARY && raw_find(s, "policy.name"))
			return true;
	}
	return false;
}

/* A key that the chosen policy does not have. */
static gboolean fill_other(const struct raw *raw, const struct raw_section *s, const struct raw_entry *entry,
			   struct conf_policy *p, GError **error)
{
	struct conf_policy scratch = { .name = 0 };
	g_autofree char *why = NULL;
	bool known = false;

	for (unsigned n = 0; policies[n] && varies_policies(raw); n++) {
		int i = key_number(policies[n], entry->key);
		struct conf_key k;

		if (i < 0)
			continue;
		known = true;
		k = conf_constant_key(policies[n], (unsigned)i);
		if (!conf_parse(&k, entry->value, CONF_FIELD(&scratch, &k), &why))
			return raw_fault(raw, s, entry, error, "for %s, allowed is %s", policies[n]->name, why);
	}
	if (!known)
		return conf_unknown_key(raw, s, entry, p, error);

	struct conf_cost *c = g_new0(struct conf_cost, 1);

	c->field = g_strdup(entry->key);
	c->value = g_strdup(entry->value);
	g_ptr_array_add(p->others, c);
	return TRUE;
}

static void other_free(gpointer item)
{
	struct conf_cost *c = item;

	g_free(c->field);
	g_free(c->value);
	g_free(c);
}

gboolean conf_fill_policy(const struct raw *raw, const struct raw_section *s, struct conf_policy *p, GError **error)
{
	p->others = g_ptr_array_new_with_free_func(other_free);
	p->ops = choose(raw, s, p, error);
	if (!p->ops)
		return FALSE;
	for (unsigned i = 0; p->ops->keys && p->ops->keys[i].name; i++)
		p->constant[i] = p->ops->keys[i].def;
	for (guint i = 0; i < s->entries->len; i++) {
		const struct raw_entry *entry = g_ptr_array_index(s->entries, i);
		g_autofree char *why = NULL;
		struct conf_key k;

		if (conf_find_static_key(SECTION_POLICY, entry->key, &k))
			continue;
		if (!conf_find_constant(p, entry->key, &k)) {
			if (!fill_other(raw, s, entry, p, error))
				return FALSE;
		} else if (!conf_parse(&k, entry->value, CONF_FIELD(p, &k), &why)) {
			return raw_fault(raw, s, entry, error, "allowed is %s", why);
		}
	}
	return TRUE;
}

void conf_clear_policy(struct conf_policy *p)
{
	for (const struct conf_key *k = conf_sections[SECTION_POLICY].keys; k->name; k++)
		conf_clear(k, CONF_FIELD(p, k));
	if (p->others)
		g_ptr_array_unref(p->others);
}

/* The constants of the policy; those of others too where [vary] stays in the file. */
void conf_put_policy(GString *out, const struct conf_policy *p, bool without_vary)
{
	for (unsigned i = 0; p->ops && p->ops->keys && p->ops->keys[i].name; i++) {
		struct conf_key k = conf_constant_key(p->ops, i);
		g_autofree char *value = conf_format(&k, CONF_FIELD(p, &k));

		g_string_append_printf(out, "%s = %s\n", k.name, value);
	}
	for (guint i = 0; p->others && i < p->others->len && !without_vary; i++) {
		const struct conf_cost *c = g_ptr_array_index(p->others, i);

		g_string_append_printf(out, "%s = %s\n", c->field, c->value);
	}
}

void conf_refer_policies(GString *out)
{
	for (unsigned n = 0; policies[n]; n++) {
		const struct policy_ops *ops = policies[n];

		g_string_append_printf(out, "\n# name = %s: %s\n", ops->name, ops->summary);
		for (unsigned i = 0; ops->keys && ops->keys[i].name; i++) {
			struct conf_policy p = { .name = 0 };
			struct conf_key k = conf_constant_key(ops, i);
			g_autofree char *def = NULL, *what = conf_describe(&k);

			p.constant[i] = ops->keys[i].def;
			def = conf_format(&k, CONF_FIELD(&p, &k));
			g_string_append_printf(out, "#   %s = %s\n#     %s\n#     %s\n", k.name, def, k.sentence, what);
		}
	}
}
