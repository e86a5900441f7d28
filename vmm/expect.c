/* SPDX-License-Identifier: MIT */
/*
 * expect.c - from a finished directory and its [expect] sections to verdicts
 *
 * `where` selects combinations: a key that varied must have the value said; one that did not must have it in the
 * experiment file. `against` is followed from each of them to the one combination that differs in those keys alone. A
 * ratio of two combinations is taken repetition by repetition: both began with the same seed.
 */
#include "vmm/expect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "vmm/conf.h"
#include "vmm/text.h"

struct judge {
	const struct view *v;
	const struct raw *raw; /* the experiment.ini */
	GPtrArray *judgements;
};

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {
		[VERDICT_REPRODUCED] = "reproduced",
		[VERDICT_NOT_REPRODUCED] = "not reproduced",
		[VERDICT_NOT_COMPARABLE] = "not comparable",
	};

	return names[verdict];
}

static void judgement_free(gpointer p)
{
	struct judgement *j = p;

	g_free(j->label);
	g_free(j->against);
	g_free(j->reason);
	g_free(j);
}

static gboolean same_but_blanks(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, " ");
		b += strspn(b, " ");
		if (*a != *b)
			return FALSE;
		if (!*a)
			return TRUE;
	}
}

static const char *varied(JsonObject *set, const char *name)
{
	JsonNode *n = set ? json_object_get_member(set, name) : NULL;

	return n && JSON_NODE_HOLDS_VALUE(n) ? json_node_get_string(n) : NULL;
}

/* What the file says for a key that did not vary, the first of several VMs'; NULL: nothing. */
static const char *in_file(const struct raw *raw, const struct override *o)
{
	for (guint i = 0; i < raw->sections->len; i++) {
		const struct raw_section *s = g_ptr_array_index(raw->sections, i);
		const char *kind = conf_sections[s->kind].name;
		g_autofree char *full = g_strdup_printf("%s%s%s", kind, *s->name ? " " : "", s->name);
		const struct raw_entry *e = raw_find(s, o->key);

		if (e && (!strcmp(full, o->section) || (s->kind == SECTION_VM && !strcmp(o->section, kind))))
			return e->value;
	}
	return NULL;
}

/* Is combination @i one that @where selects? If not, *why says so, unless it does already. */
static gboolean selected(const struct judge *judge, guint i, const GPtrArray *where, char **why)
{
	for (guint n = 0; n < where->len; n++) {
		const struct override *o = g_ptr_array_index(where, n);
		g_autofree char *name = g_strdup_printf("%s.%s", o->section, o->key);
		const char *cell = varied(g_ptr_array_index(judge->v->sets, i), name);
		const char *value = cell ? cell : in_file(judge->raw, o);

		if (value && same_but_blanks(value, o->value))
			continue;
		if (!*why)
			*why = cell ? g_strdup_printf("no run has %s = %s", name, o->value) :
				      g_strdup_printf("%s is %s here, not %s", name, value ? value : "not said",
						      o->value);
		return FALSE;
	}
	return TRUE;
}

/* The combination that differs from @i in what @against says, and in nothing else; or -1. */
static int counterpart(const struct judge *judge, guint i, const GPtrArray *against)
{
	JsonObject *from = g_ptr_array_index(judge->v->sets, i);
	g_autofree char *why = NULL;

	for (guint j = 0; from && j < judge->v->sets->len; j++) {
		JsonObject *to = g_ptr_array_index(judge->v->sets, j);
		g_autoptr(GList) names = json_object_get_members(from);
		gboolean ok = selected(judge, j, against, &why);

		for (GList *l = names; ok && l; l = l->next) {
			const char *a = varied(from, l->data), *b = varied(to, l->data);

			for (guint n = 0; n < against->len; n++) {
				const struct override *o = g_ptr_array_index(against, n);
				g_autofree char *name = g_strdup_printf("%s.%s", o->section, o->key);

				if (!strcmp(name, l->data))
					b = a;
			}
			ok = a && b && !strcmp(a, b);
		}
		if (ok)
			return (int)j;
	}
	return -1;
}

/* Is @row that of VM @name, or one of several of [vm @name]? */
static gboolean is_of(const struct view_row *row, const char *name)
{
	size_t n = strlen(name);

	return !strcmp(row->vm, name) ||
	       (!strncmp(row->vm, name, n) && row->vm[n] == '-' &&
		g_ascii_string_to_unsigned(row->vm + n + 1, 10, 0, G_MAXUINT, NULL, NULL));
}

static GPtrArray *rows_of(const struct view *v, const char *label, const char *vm)
{
	const GPtrArray *from = strcmp(vm, "host") ? v->rows : v->hosts;
	GPtrArray *rows = g_ptr_array_new();

	for (guint i = 0; i < from->len; i++) {
		struct view_row *row = g_ptr_array_index(from, i);

		if (!strcmp(row->label, label) && is_of(row, vm))
			g_ptr_array_add(rows, row);
	}
	return rows;
}

/* The value in repetition @rep; NAN: it has none, or its divisor is not above zero. */
static double value_of(const GPtrArray *rows, const GArray *terms, guint rep)
{
	double sum[2] = { 0, 0 };
	bool below = false;

	for (guint t = 0; t < terms->len; t++) {
		const struct expect_term *term = &g_array_index(terms, struct expect_term, t);

		below |= term->below;
		for (guint i = 0; i < rows->len; i++) {
			const struct view_row *row = g_ptr_array_index(rows, i);

			if (rep >= row->counters->len)
				return NAN;
			sum[term->below] += term->sign *
					    view_value(g_ptr_array_index(row->counters, rep), term->counter->name);
		}
	}
	if (!rows->len || (below && sum[1] <= 0))
		return NAN;
	return below ? sum[0] / sum[1] : sum[0];
}

/* Why the results of combination @label are none; NULL: they are. g_free. */
static char *spoilt(const struct view *v, const char *label)
{
	if (v->interrupted)
		return g_strdup("the run was interrupted");
	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);

		if (row->failure && !strcmp(row->label, label))
			return g_strdup_printf("VM %s failed: %s", row->vm, row->failure);
	}
	return NULL;
}

/* The mean of the value over repetitions, divided by that of combination @base or of another VM, if there is one. */
static double measure(const struct view *v, const struct conf_expect *x, const char *label, const char *base,
		      double *ci)
{
	bool divided = base || *x->against_vm;
	g_autofree char *why = NULL;
	g_autoptr(GArray) terms = expect_terms(x->value, &why), values = g_array_new(FALSE, FALSE, sizeof(double));
	g_autoptr(GPtrArray) rows = rows_of(v, label, x->vm), others = NULL;

	others = rows_of(v, base ? base : label, *x->against_vm ? x->against_vm : x->vm);

	guint nreps = rows->len ? ((struct view_row *)g_ptr_array_index(rows, 0))->counters->len : 0;

	for (guint rep = 0; terms && rep < nreps; rep++) {
		double value = value_of(rows, terms, rep);
		double by = divided ? value_of(others, terms, rep) : 1;

		value = isnan(by) || by == 0 ? NAN : value / by;
		if (!isnan(value))
			g_array_append_val(values, value);
	}
	return view_mean((double *)(void *)values->data, values->len, ci);
}

static struct judgement *judgement_new(const struct conf_expect *x, const char *label)
{
	struct judgement *j = g_new0(struct judgement, 1);

	j->expect = x;
	j->label = g_strdup(label);
	j->against = g_strdup("");
	j->value = NAN;
	j->min = expect_bound(x->min, -INFINITY);
	j->max = expect_bound(x->max, INFINITY);
	j->percent = g_str_has_suffix(x->min, "%") || g_str_has_suffix(x->max, "%");
	j->verdict = VERDICT_NOT_COMPARABLE;
	return j;
}

static void judge_one(struct judge *judge, const struct conf_expect *x, guint i, const GPtrArray *against)
{
	const struct view *v = judge->v;
	const char *label = g_ptr_array_index(v->labels, i), *base = NULL;
	struct judgement *j = judgement_new(x, label);
	int other = against->len ? counterpart(judge, i, against) : -1;

	g_ptr_array_add(judge->judgements, j);
	if (other >= 0) {
		base = g_ptr_array_index(v->labels, (guint)other);
		g_free(j->against);
		j->against = g_strdup(base);
	} else if (against->len) {
		j->reason = g_strdup_printf("no run to divide by: none has %s", x->against);
		return;
	}
	j->value = measure(v, x, label, base, &j->ci);
	j->reason = spoilt(v, label);
	if (!j->reason && base)
		j->reason = spoilt(v, base);
	if (!j->reason && *x->not_comparable)
		j->reason = g_strdup(x->not_comparable);
	if (!j->reason && isnan(j->value))
		j->reason = g_strdup("there is no such value: its divisor is zero, or the VM is not there");
	if (!j->reason)
		j->verdict = j->value >= j->min && j->value <= j->max ? VERDICT_REPRODUCED : VERDICT_NOT_REPRODUCED;
}

static void judge_all(struct judge *judge, const struct conf_expect *x)
{
	g_autoptr(GPtrArray) where = expect_where(x->where), against = expect_where(x->against);
	g_autofree char *why = NULL;
	guint before = judge->judgements->len;

	for (guint i = 0; where && against && i < judge->v->labels->len; i++)
		if (selected(judge, i, where, &why))
			judge_one(judge, x, i, against);
	if (judge->judgements->len == before) {
		struct judgement *j = judgement_new(x, "");

		j->reason = g_strdup(why ? why : "there is no such combination");
		g_ptr_array_add(judge->judgements, j);
	}
}

struct expected *expected_judge(const struct view *v, GError **error)
{
	g_autofree char *path = g_build_filename(v->dir, "experiment.ini", NULL);
	struct raw *raw = raw_read(path, error);
	GPtrArray *expects = raw ? expects_build(raw, error) : NULL;
	struct expected *all = NULL;

	if (expects) {
		struct judge judge = { v, raw, g_ptr_array_new_with_free_func(judgement_free) };

		all = g_new0(struct expected, 1);
		all->expects = expects;
		all->judgements = judge.judgements;
		for (guint i = 0; i < expects->len; i++)
			judge_all(&judge, g_ptr_array_index(expects, i));
	}
	raw_free(raw);
	return all;
}

void expected_free(struct expected *x)
{
	if (!x)
		return;
	g_ptr_array_unref(x->judgements);
	g_ptr_array_unref(x->expects);
	g_free(x);
}

static char *number(const struct judgement *j, double x)
{
	return j->percent && !isnan(x) ? g_strdup_printf("%.1f%%", x * 100) : text_number(x);
}

char *judgement_value(const struct judgement *j)
{
	g_autofree char *x = number(j, j->value), *ci = j->ci > 0 ? number(j, j->ci) : NULL;

	return ci ? g_strdup_printf("%s \u00b1 %s", x, ci) : g_steal_pointer(&x);
}

char *judgement_band(const struct judgement *j)
{
	const char *min = j->expect->min, *max = j->expect->max;

	if (!*max)
		return g_strdup_printf("at least %s", min);
	if (!*min)
		return g_strdup_printf("at most %s", max);
	return strcmp(min, max) ? g_strdup_printf("%s to %s", min, max) : g_strdup(min);
}

static void csv_double(GString *out, double x)
{
	g_string_append_c(out, ',');
	if (isfinite(x))
		g_string_append_printf(out, "%.6g", x);
}

static void csv_text(GString *out, const char *text)
{
	g_string_append_c(out, ',');
	text_csv(out, text);
}

static char *expected_csv(const struct expected *x)
{
	GString *out = g_string_new("expect,combination,against,vm,quantity,min,max,value,ci95,verdict,reason,"
				    "claim,source\n");

	for (guint i = 0; i < x->judgements->len; i++) {
		const struct judgement *j = g_ptr_array_index(x->judgements, i);

		text_csv(out, j->expect->name);
		csv_text(out, j->label);
		csv_text(out, j->against);
		csv_text(out, j->expect->vm);
		csv_text(out, j->expect->value);
		csv_double(out, j->min);
		csv_double(out, j->max);
		csv_double(out, j->value);
		csv_double(out, j->ci);
		csv_text(out, verdict_name(j->verdict));
		csv_text(out, j->reason ? j->reason : "");
		csv_text(out, j->expect->claim);
		csv_text(out, j->expect->source);
		g_string_append_c(out, '\n');
	}
	return g_string_free(out, FALSE);
}

static void say(const struct judgement *j)
{
	g_autofree char *value = judgement_value(j), *band = judgement_band(j);

	fprintf(stderr, "overbook: %s%s%s%s: %s: %s, expected %s (%s)%s%s\n", j->expect->name, *j->label ? " (" : "",
		j->label, *j->label ? ")" : "", verdict_name(j->verdict), value, band, j->expect->source,
		j->reason ? ": " : "", j->reason ? j->reason : "");
}

gboolean expected_write(const char *dir, gboolean quiet, GError **error)
{
	struct view *v = view_load(dir, error);
	struct expected *x = v ? expected_judge(v, error) : NULL;
	g_autofree char *path = g_build_filename(dir, "expected.csv", NULL), *csv = NULL;
	gboolean ok = x != NULL;

	if (ok && x->judgements->len) {
		csv = expected_csv(x);
		ok = g_file_set_contents(path, csv, -1, error);
		for (guint i = 0; ok && !quiet && i < x->judgements->len; i++)
			say(g_ptr_array_index(x->judgements, i));
	}
	expected_free(x);
	view_free(v);
	return ok;
}
