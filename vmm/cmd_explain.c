/* SPDX-License-Identifier: MIT */
/*
 * cmd_explain.c - overbook explain DIR: why the policy did what it did, in sentences
 *
 * Each row of decisions.csv is a clause of its rule, with the numbers it looked at, and one for what was asked and what
 * came of it. Rows of a guest that say the same again are told once, with their number. The sentences are the policy's
 * (struct policy_sentence); where a user's policy is no longer there, rule and numbers are told as they are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/conf.h"
#include "vmm/policy/policies.h"
#include "vmm/policy_load.h"
#include "vmm/vmm.h"

enum { TIME, VM, RULE, INPUTS, MECHANISM, BEFORE, ASKED, ACTUAL, COLUMNS };

struct row {
	char **f; /* COLUMNS of them */
	uint64_t time;
	guint times;	/* so often the same was decided in a row */
	uint64_t until; /* the last of them */
};

struct explain {
	char *dir, *vm;
	gboolean at;
	uint64_t at_ns;
	const struct policy_sentence *rules; /* NULL: not known */
	GPtrArray *rows;		     /* of struct row */
};

static void row_free(gpointer p)
{
	struct row *r = p;

	g_strfreev(r->f);
	g_free(r);
}

/* Why there is nothing to tell. */
static gboolean nothing(const char *dir, GError **error)
{
	g_autofree char *ini = g_build_filename(dir, "experiment.ini", NULL);
	g_autofree char *samples = g_build_filename(dir, "samples.csv", NULL);

	if (!g_file_test(ini, G_FILE_TEST_EXISTS))
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s is no run directory: it has no experiment.ini", dir);
	else if (!g_file_test(samples, G_FILE_TEST_EXISTS))
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s holds several runs; give the directory of one of them",
			    dir);
	else
		g_set_error(error, VMM_ERROR, VMM_USAGE,
			    "%s has no decisions.csv: its experiment has no [policy]; run it again with --policy NAME, "
			    "one of overbook list policies",
			    dir);
	return FALSE;
}

static gboolean read_rows(struct explain *x, GError **error)
{
	g_autofree char *path = g_build_filename(x->dir, "decisions.csv", NULL), *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return nothing(x->dir, error);
	lines = g_strsplit(text, "\n", -1);
	for (guint i = 1; lines[0] && lines[i] && *lines[i]; i++) {
		struct row *r = g_new0(struct row, 1);

		r->f = g_strsplit(lines[i], ",", -1);
		g_ptr_array_add(x->rows, r);
		if (g_strv_length(r->f) != COLUMNS) {
			g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: line %u is damaged: it has not %d fields", path,
				    i + 1, COLUMNS);
			return FALSE;
		}
		r->time = r->until = g_ascii_strtoull(r->f[TIME], NULL, 10);
		r->times = 1;
	}
	return TRUE;
}

/* The sentences of the policy that the run had. */
static const struct policy_sentence *find_rules(const char *dir)
{
	g_autofree char *ini = g_build_filename(dir, "experiment.ini", NULL), *name = NULL, *module = NULL, *why = NULL;
	g_autoptr(GKeyFile) kf = g_key_file_new();
	const struct policy_ops *ops = NULL;

	if (!g_key_file_load_from_file(kf, ini, G_KEY_FILE_NONE, NULL))
		return NULL;
	name = g_key_file_get_value(kf, "policy", "name", NULL);
	module = g_key_file_get_value(kf, "policy", "module", NULL);
	if (module && *module)
		ops = policy_load(module, &why);
	else
		for (unsigned i = 0; name && policies[i]; i++)
			if (!strcmp(policies[i]->name, name))
				ops = policies[i];
	if (why)
		fprintf(stderr, "overbook: %s: %s; its rules are told by name\n", module, why);
	return ops ? ops->rules : NULL;
}

static void put_pages(GString *s, uint64_t pages)
{
	g_string_append_printf(s, "%.1f MiB", (double)pages / 256);
}

static void put_input(GString *s, const char *value, const char *unit)
{
	uint64_t n = g_ascii_strtoull(value, NULL, 10);

	if (!strcmp(unit, "pages"))
		put_pages(s, n);
	else if (!strcmp(unit, "ppm"))
		g_string_append_printf(s, n % 10000 ? "%.2f%%" : "%.0f%%", (double)n / 10000);
	else if (!strcmp(unit, "ns"))
		g_string_append_printf(s, "%.3f ms", (double)n / 1e6);
	else
		g_string_append(s, value);
}

/* The value of input @name among "a=1;b=2"; g_free; NULL: it is not there. */
static char *input_of(const char *inputs, const char *name)
{
	g_auto(GStrv) each = g_strsplit(inputs, ";", -1);
	size_t n = strlen(name);

	for (char **i = each; *i; i++)
		if (!strncmp(*i, name, n) && (*i)[n] == '=')
			return g_strdup(*i + n + 1);
	return NULL;
}

/* The rule's sentence with {name:unit} filled in. */
static void put_sentence(GString *s, const char *text, const struct row *r)
{
	while (*text) {
		size_t plain = strcspn(text, "{"), inside = strcspn(text + plain, "}");
		g_autofree char *name = NULL, *value = NULL;
		char *unit;

		g_string_append_len(s, text, (gssize)plain);
		text += plain;
		if (!*text || !text[inside])
			break;
		name = g_strndup(text + 1, inside - 1);
		unit = strchr(name, ':');
		if (unit)
			*unit++ = '\0';
		value = strcmp(name, "vm") ? input_of(r->f[INPUTS], name) : g_strdup(r->f[VM]);
		put_input(s, value ? value : "?", unit ? unit : "");
		text += inside + 1;
	}
}

static void put_reason(GString *s, const struct explain *x, const struct row *r)
{
	const struct policy_sentence *rule = x->rules;

	while (rule && rule->rule && strcmp(rule->rule, r->f[RULE]))
		rule++;
	if (rule && rule->rule) {
		put_sentence(s, rule->text, r);
		return;
	}
	g_auto(GStrv) each = g_strsplit(r->f[INPUTS], ";", -1);
	g_autofree char *inputs = g_strjoinv(", ", each);

	g_string_append_printf(s, "rule %s fired%s%s", r->f[RULE], *inputs ? " on " : "", inputs);
}

/* What was asked of which mechanism, and what came of it. */
static void put_deed(GString *s, const struct row *r)
{
	uint64_t before = g_ascii_strtoull(r->f[BEFORE], NULL, 10), asked = g_ascii_strtoull(r->f[ASKED], NULL, 10);
	uint64_t actual = g_ascii_strtoull(r->f[ACTUAL], NULL, 10);
	const char *what = r->f[MECHANISM];

	if (!strcmp(what, "balloon") || !strcmp(what, "limit")) {
		g_string_append(s, *what == 'b' ? "Its balloon is to hold " : "Resident may be at most ");
		put_pages(s, asked);
		g_string_append(s, *what == 'b' ? "; it held " : "; it was ");
		put_pages(s, before);
		g_string_append(s, ", and at the next decision ");
		put_pages(s, actual);
	} else if (!strcmp(what, "block")) {
		g_string_append(s, asked ? "It is not to run until the next decision" : "It may run again");
		g_string_append(s, asked && !actual ? ", but did" : asked ? ", and did not" : "");
	} else if (!strcmp(what, "admit")) {
		g_string_append(s, asked ? "It may start" : "It may not start");
	} else if (!strcmp(what, "scan")) {
		g_string_append_printf(s, "The scanner is to look at %" PRIu64 " pages each time, not at %" PRIu64,
				       asked, before);
	} else {
		g_string_append(s, "Nothing is asked");
	}
	g_string_append_c(s, '.');
}

static void print_row(const struct explain *x, const struct row *r, const struct row *last)
{
	g_autoptr(GString) s = g_string_new(NULL);
	gboolean goes_on =
		last && last->time == r->time && !strcmp(last->f[VM], r->f[VM]) && !strcmp(last->f[RULE], r->f[RULE]);

	if (!goes_on) {
		g_string_append_printf(s, "%" PRIu64 ".%06" PRIu64 " s  %s: ", r->time / 1000000000,
				       r->time % 1000000000 / 1000, r->f[VM]);
		put_reason(s, x, r);
		g_string_append(s, ". ");
	} else {
		g_string_append(s, "    ");
	}
	put_deed(s, r);
	if (r->times > 1)
		g_string_append_printf(s, " The same at %u more, until %" PRIu64 ".%06" PRIu64 " s.", r->times - 1,
				       r->until / 1000000000, r->until % 1000000000 / 1000);
	puts(s->str);
}

/* Of each guest and mechanism, the row that @r repeats: the same rule and the same asked, and nothing else since. */
static void tell_all(const struct explain *x)
{
	g_autoptr(GHashTable) lasts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) told = g_ptr_array_new();

	for (guint i = 0; i < x->rows->len; i++) {
		struct row *r = g_ptr_array_index(x->rows, i), *last;
		char *key;

		if (x->vm && strcmp(x->vm, r->f[VM]))
			continue;
		key = g_strdup_printf("%s,%s", r->f[VM], r->f[MECHANISM]);
		last = g_hash_table_lookup(lasts, key);
		if (last && !strcmp(last->f[RULE], r->f[RULE]) && !strcmp(last->f[ASKED], r->f[ASKED])) {
			last->times++;
			last->until = r->time;
			g_free(key);
			continue;
		}
		g_hash_table_replace(lasts, key, r);
		g_ptr_array_add(told, r);
	}
	for (guint i = 0; i < told->len; i++)
		print_row(x, g_ptr_array_index(told, i), i ? g_ptr_array_index(told, i - 1) : NULL);
}

/* The decisions that held at that time, to the microsecond that is printed. */
static gboolean tell_at(const struct explain *x, GError **error)
{
	uint64_t time = 0;
	const struct row *last = NULL;

	for (guint i = 0; i < x->rows->len; i++) {
		const struct row *r = g_ptr_array_index(x->rows, i);

		if (r->time / 1000 <= x->at_ns / 1000 && (!x->vm || !strcmp(x->vm, r->f[VM]))) {
			time = r->time;
			last = r;
		}
	}
	if (!last) {
		g_set_error(error, VMM_ERROR, VMM_USAGE,
			    "nothing had been decided by then; the first decision is at %s ns",
			    x->rows->len ? ((struct row *)g_ptr_array_index(x->rows, 0))->f[TIME] : "no");
		return FALSE;
	}
	last = NULL;
	for (guint i = 0; i < x->rows->len; i++) {
		const struct row *r = g_ptr_array_index(x->rows, i);

		if (r->time == time && (!x->vm || !strcmp(x->vm, r->f[VM]))) {
			print_row(x, r, last);
			last = r;
		}
	}
	return TRUE;
}

static gboolean knows_vm(const struct explain *x, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	for (guint i = 0; i < x->rows->len; i++) {
		const char *name = ((const struct row *)g_ptr_array_index(x->rows, i))->f[VM];

		if (x->vm && !strcmp(x->vm, name))
			return TRUE;
		if (!g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
			g_ptr_array_add(names, (gpointer)name);
	}
	g_ptr_array_add(names, NULL);
	if (!x->vm)
		return TRUE;

	g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);

	g_set_error(error, VMM_ERROR, VMM_USAGE, "nothing was decided about a VM \"%s\" in %s; there are: %s", x->vm,
		    x->dir, all);
	return FALSE;
}

static gboolean parse_time(const char *text, uint64_t *ns, GError **error)
{
	const struct conf_key k = { .name = "at", .type = CONF_TIME, .max = 3600000000000000ull };
	g_autofree char *why = NULL;

	if (conf_parse(&k, text, ns, &why))
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_USAGE, "--at %s: allowed is %s", text, why);
	return FALSE;
}

int cmd_explain(int argc, char **argv)
{
	struct explain x = { .rows = NULL };
	g_autofree char *at = NULL;
	const GOptionEntry entries[] = {
		{ "vm", 0, 0, G_OPTION_ARG_STRING, &x.vm, "only what was decided about this guest", "NAME" },
		{ "at", 0, 0, G_OPTION_ARG_STRING, &at, "only the last decision up to then, such as 300ms", "TIME" },
		{ NULL, 0, 0, 0, NULL, NULL, NULL },
	};
	g_autoptr(GOptionContext) ctx = g_option_context_new("DIR - why the policy did what it did");
	GError *error = NULL;
	int status = CMD_OK;

	g_option_context_add_main_entries(ctx, entries, NULL);
	x.rows = g_ptr_array_new_with_free_func(row_free);
	if (!g_option_context_parse(ctx, &argc, &argv, &error)) {
		status = cmd_gerror(error);
	} else if (argc != 2) {
		status = cmd_error(CMD_USAGE, "explain takes the directory of one run; see overbook explain --help");
	} else {
		x.dir = argv[1];
		x.at = at != NULL;
		if ((at && !parse_time(at, &x.at_ns, &error)) || !read_rows(&x, &error) || !knows_vm(&x, &error)) {
			status = cmd_gerror(error);
		} else {
			x.rules = find_rules(x.dir);
			if (!x.at)
				tell_all(&x);
			else if (!tell_at(&x, &error))
				status = cmd_gerror(error);
		}
	}
	g_ptr_array_unref(x.rows);
	g_free(x.vm);
	return status;
}
