/* SPDX-License-Identifier: MIT */
/*
 * experiment_expect.c - [expect NAME]: its small grammar, checked when the file is read
 *
 * value = SUM | SUM / SUM, SUM = counter { (+ | -) counter }. where and against are lists of overrides; each must be
 * one that --set would take, and one that [vary] lists if it varies the key at all.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/conf.h"
#include "vmm/expect.h"

static gboolean refuse(const struct experiment *e, const struct conf_expect *x, GError **error, const char *key,
		       const char *value, const char *format, ...) G_GNUC_PRINTF(6, 7);
static gboolean refuse(const struct experiment *e, const struct conf_expect *x, GError **error, const char *key,
		       const char *value, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	g_set_error(error, EXPERIMENT_ERROR, 0, "%s: [expect %s] %s = %s: %s", e->path, x->name, key, value, text);
	return FALSE;
}

static const struct counter_info *find_counter(const char *name)
{
	for (const struct counter_info *c = counter_table; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static char *no_counter(const char *name)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (const struct counter_info *c = counter_table; c->name; c++)
		g_ptr_array_add(names, (char *)c->name);
	g_ptr_array_add(names, NULL);
	near = conf_nearest(name, (const char *const *)names->pdata);
	return g_strdup_printf("there is no counter \"%.64s\"%s%s%s; see overbook list counters", name,
			       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

GArray *expect_terms(const char *text, char **why)
{
	g_autoptr(GArray) terms = g_array_new(FALSE, FALSE, sizeof(struct expect_term));
	struct expect_term t = { .sign = 1 };

	for (;;) {
		size_t n;

		text += strspn(text, " ");
		n = strcspn(text, " +-/");
		g_autofree char *name = g_strndup(text, n);

		t.counter = find_counter(name);
		if (!t.counter) {
			*why = n ? no_counter(name) : g_strdup("a counter is missing: SUM or SUM / SUM is allowed");
			return NULL;
		}
		g_array_append_val(terms, t);
		text += n;
		text += strspn(text, " ");
		if (!*text)
			return g_steal_pointer(&terms);
		if ((*text == '/' && t.below) || !strchr("+-/", *text)) {
			*why = g_strdup("SUM or SUM / SUM is allowed, a SUM being counters joined by + and -");
			return NULL;
		}
		t.sign = *text == '-' ? -1 : 1;
		t.below = t.below || *text == '/';
		text++;
	}
}

GPtrArray *expect_where(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, strchr(text, ';') ? ";" : ",", -1);
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);

	for (char **p = parts; *p; p++) {
		struct override *o;

		if (!*g_strstrip(*p) && !p[1])
			break;
		o = override_parse(*p, NULL);
		if (!o)
			return NULL;
		g_ptr_array_add(all, o);
	}
	return g_steal_pointer(&all);
}

double expect_bound(const char *text, double def)
{
	double x = *text ? g_ascii_strtod(text, NULL) : def;

	return g_str_has_suffix(text, "%") ? x / 100 : x;
}

static gboolean check_band(const struct experiment *e, const struct conf_expect *x, GError **error)
{
	if (!*x->min && !*x->max)
		return refuse(e, x, error, "min", x->min, "min, max or both must say where the value was found before");
	if (*x->min && *x->max && expect_bound(x->min, 0) > expect_bound(x->max, 0))
		return refuse(e, x, error, "max", x->max, "it is less than min = %s", x->min);
	if (!*x->source)
		return refuse(e, x, error, "source", x->source, "where the figure comes from must be said");
	return TRUE;
}

static gboolean check_vm(const struct experiment *e, const struct conf_expect *x, const char *key, const char *name,
			 GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	g_ptr_array_add(names, (char *)"host");
	for (guint i = 0; i < e->vms->len; i++) {
		const struct conf_vm *vm = g_ptr_array_index(e->vms, i);
		size_t n = strlen(vm->name);

		g_ptr_array_add(names, vm->name);
		if (!strncmp(name, vm->name, n) && name[n] == '-' &&
		    g_ascii_string_to_unsigned(name + n + 1, 10, 0, 4095, NULL, NULL))
			return TRUE;
	}
	g_ptr_array_add(names, NULL);
	if (g_strv_contains((const char *const *)names->pdata, name))
		return TRUE;
	g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);

	return refuse(e, x, error, key, name,
		      "there is no such VM; allowed are %s, and NAME-0, NAME-1, ... where count is above 1", all);
}

/* One of a list is what [vary] lists for its key, or [vary] says nothing of that key. */
static gboolean check_listed(const struct experiment *e, const struct conf_expect *x, const char *key,
			     const char *value, const struct override *o, GError **error)
{
	for (guint i = 0; i < e->vary->len; i++) {
		const struct conf_vary *v = g_ptr_array_index(e->vary, i);
		g_autofree char *all = g_strjoinv(", ", v->values);

		if (strcmp(v->key, o->key) || strncmp(v->section, o->section, strcspn(o->section, " ")))
			continue;
		if (!strcmp(v->section, o->section))
			return g_strv_contains((const char *const *)v->values, o->value) ||
			       refuse(e, x, error, key, value, "[vary] lists no %s.%s=%s; allowed are %s", o->section,
				      o->key, o->value, all);
		if (!strcmp(v->section, "vm") || !strcmp(o->section, "vm"))
			return refuse(e, x, error, key, value, "it must name the key as [vary] does: %s.%s", v->section,
				      v->key);
	}
	return TRUE;
}

static gboolean check_where(const struct experiment *e, const struct raw *raw, const struct conf_expect *x,
			    const char *key, const char *value, GError **error)
{
	g_autoptr(GPtrArray) all = expect_where(value);
	gboolean ok = TRUE;

	if (!all)
		return refuse(e, x, error, key, value, "SECTION.KEY=VALUE is needed, for instance vm.paging=ept");
	for (guint i = 0; ok && i < all->len; i++) {
		const struct override *o = g_ptr_array_index(all, i);
		struct raw *copy = raw_copy(raw);
		struct experiment *with = NULL;

		ok = check_listed(e, x, key, value, o, error) && raw_override(copy, o, " (from [expect])", error) &&
		     (with = experiment_build(copy, error));
		experiment_free(with);
		raw_free(copy);
	}
	return ok;
}

gboolean expect_check(const struct experiment *e, const struct raw *raw, GError **error)
{
	for (guint i = 0; i < e->expects->len; i++) {
		const struct conf_expect *x = g_ptr_array_index(e->expects, i);
		g_autofree char *why = NULL;
		g_autoptr(GArray) terms = expect_terms(x->value, &why);

		if (!terms)
			return refuse(e, x, error, "value", x->value, "%s", why);
		if (!check_band(e, x, error) || !check_vm(e, x, "vm", x->vm, error) ||
		    (*x->against_vm && !check_vm(e, x, "against-vm", x->against_vm, error)) ||
		    !check_where(e, raw, x, "where", x->where, error) ||
		    !check_where(e, raw, x, "against", x->against, error))
			return FALSE;
	}
	return TRUE;
}
