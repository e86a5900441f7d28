/* SPDX-License-Identifier: MIT */
/*
 * report_answer.c - the answer, in words
 *
 * Computed from the experiment's metric, of which less is better. With several combinations: for each guest which comes
 * lowest, how many times as much the others come to, and, where the metric is a time, the part of the vCPU's time that
 * grew most. In a single run: the metric of each guest and where its time went. Many guests, or other ones in each
 * combination, are told of together.
 */
#include <math.h>
#include <string.h>

#include "vmm/figure.h"
#include "vmm/report_impl.h"
#include "vmm/text.h"

#define RANKED 6 /* more combinations than this are not all told */
#define TOLD   8 /* nor more guests than this; of many combinations, a third */

static void strong(GString *out, const char *text)
{
	g_string_append(out, "<strong>");
	text_html(out, text);
	g_string_append(out, "</strong>");
}

/* A combination by name: "shadow", but "vm.count 10". */
static void strong_label(GString *out, const struct view *v, const char *label)
{
	g_autofree char *named = g_strdup_printf("%s %s", v->keys, label);

	strong(out, g_ascii_isdigit(*label) && !strchr(v->keys, ',') ? named : label);
}

static double per_operation(const struct view_row *row, const char *counter)
{
	double operations = view_counter(row, "operations", NULL);

	return operations > 0 ? view_counter(row, counter, NULL) / operations : 0;
}

/* The part of the time per operation by which @row exceeds @base most, if that is a tenth of the difference or more. */
static const struct figure_part *culprit(const struct view_row *row, const struct view_row *base)
{
	double all = per_operation(row, "ns_total") - per_operation(base, "ns_total"), most = all / 10;
	const struct figure_part *found = NULL;

	for (const struct figure_part *p = figure_time_parts; all > 0 && p->counter; p++) {
		double grown = per_operation(row, p->counter) - per_operation(base, p->counter);

		if (grown > most) {
			most = grown;
			found = p;
		}
	}
	return found;
}

static gboolean is_time(const char *metric)
{
	return g_str_has_prefix(metric, "ns_total");
}

struct rank {
	const struct view_row *row;
	double x;
	guint order;
};

static gint by_value(gconstpointer a, gconstpointer b)
{
	const struct rank *p = a, *q = b;

	return p->x < q->x ? -1 : p->x > q->x ? 1 : p->order < q->order ? -1 : 1;
}

/* The combinations that have a value for @vm, NULL: for the whole host; least first. */
static GArray *ranking(const struct view *v, const char *vm)
{
	GArray *a = g_array_new(FALSE, FALSE, sizeof(struct rank));

	for (guint i = 0; i < v->labels->len; i++) {
		const struct view_row *row = vm ? view_find(v, g_ptr_array_index(v->labels, i), vm)
						: g_ptr_array_index(v->hosts, i);
		struct rank r = { row, row ? view_metric(row, v->metric, NULL) : NAN, i };

		if (!isnan(r.x))
			g_array_append_val(a, r);
	}
	g_array_sort(a, by_value);
	return a;
}

/* "; ept 1.40 times as much, above all for page walks and TLB misses" */
static void runner_up(const struct view *v, const struct rank *r, const struct rank *best, const char *lead,
		      GString *out)
{
	g_autofree char *times = text_number(r->x / best->x), *value = text_number(r->x);
	const struct figure_part *p = is_time(v->metric) ? culprit(r->row, best->row) : NULL;

	g_string_append_printf(out, "; %s", lead);
	strong_label(out, v, r->row->label);
	if (best->x > 0 && r->x / best->x < 1.005)
		g_string_append_printf(out, " about as much (%s)", value);
	else if (best->x > 0)
		g_string_append_printf(out, " %s times as much (%s)", times, value);
	else
		g_string_append_printf(out, " %s", value);
	if (p && r->x / best->x >= 1.005)
		g_string_append_printf(out, ", above all for %s", p->prose);
}

static void ranked(const struct view *v, const GArray *a, GString *out)
{
	const struct rank *best = &g_array_index(a, struct rank, 0),
			  *worst = &g_array_index(a, struct rank, a->len - 1);
	g_autofree char *low = text_number(best->x), *unit = view_metric_unit(v->metric);

	if (worst->x <= best->x) {
		g_string_append_printf(out, "%s %s in every combination", low, unit);
		return;
	}
	g_string_append(out, "least with ");
	strong_label(out, v, best->row->label);
	g_string_append_printf(out, " at %s %s", low, unit);
	for (guint i = 1; i < a->len && a->len <= RANKED; i++)
		runner_up(v, &g_array_index(a, struct rank, i), best, "", out);
	if (a->len > RANKED)
		runner_up(v, worst, best, "most with ", out);
}

/* The three largest parts of the vCPU's time. */
static void parts(const struct view_row *row, GString *out)
{
	double all = view_counter(row, "ns_total", NULL), last = INFINITY;
	const char *lead = " (of its time ";

	for (unsigned n = 0; n < 3 && all > 0; n++) {
		const struct figure_part *found = NULL;
		double most = 0;

		for (const struct figure_part *p = figure_time_parts; p->counter; p++) {
			double x = view_counter(row, p->counter, NULL);

			if (x > most && x < last) {
				most = x;
				found = p;
			}
		}
		if (!found || most * 100 / all < 0.5)
			break;
		g_string_append_printf(out, "%s%.0f%% %s", lead, most * 100 / all, found->prose);
		last = most;
		lead = ", ";
	}
	if (isfinite(last))
		g_string_append_c(out, ')');
}

/* Of label "86 MiB, psi" the first value, "86 MiB": g_free. */
static char *first_value(const char *label)
{
	const char *end = strstr(label, ", ");

	return end ? g_strndup(label, (gsize)(end - label)) : g_strdup(label);
}

/* Too many for one ranking: one for each value of the first key, in the order of the experiment. */
static void ranked_by_first(const struct view *v, const GArray *all, GString *out)
{
	g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	g_string_append(out, "<ul>\n");
	for (guint i = 0; i < v->labels->len; i++) {
		g_autoptr(GArray) a = g_array_new(FALSE, FALSE, sizeof(struct rank));
		char *value = first_value(g_ptr_array_index(v->labels, i));

		if (!g_hash_table_add(told, value))
			continue;
		for (guint j = 0; j < all->len; j++) {
			const struct rank *r = &g_array_index(all, struct rank, j);
			g_autofree char *first = first_value(r->row->label);

			if (!strcmp(first, value))
				g_array_append_val(a, *r);
		}
		if (!a->len)
			continue;
		g_string_append(out, "<li>");
		ranked(v, a, out);
		g_string_append(out, "</li>\n");
	}
	g_string_append(out, "</ul>");
}

static void answer_for_vm(const struct view *v, const char *vm, GString *out)
{
	g_autoptr(GArray) a = ranking(v, vm);

	if (!a->len)
		return;
	g_string_append(out, "<li>");
	strong(out, vm ? vm : "all guests together");
	g_string_append(out, ": ");
	if (a->len > RANKED && strchr(v->keys, ',')) {
		ranked_by_first(v, a, out);
		g_string_append(out, "</li>\n");
		return;
	}
	if (v->labels->len > 1) {
		ranked(v, a, out);
	} else {
		const struct rank *r = &g_array_index(a, struct rank, 0);
		g_autofree char *x = text_number(r->x), *unit = view_metric_unit(v->metric);

		g_string_append_printf(out, "%s %s", x, unit);
		parts(r->row, out);
	}
	g_string_append(out, ".</li>\n");
}

/* The one combination in which guests run natively, or NULL. */
static const char *native_label(const struct view *v)
{
	const char *found = NULL;

	for (guint i = 0; i < v->labels->len; i++) {
		g_auto(GStrv) words = g_strsplit(g_ptr_array_index(v->labels, i), ", ", -1);

		if (!g_strv_contains((const char *const *)words, "native"))
			continue;
		if (found)
			return NULL;
		found = g_ptr_array_index(v->labels, i);
	}
	return found;
}

/* Does @label come to the least for @vm but for @native, give or take one per cent? */
static gboolean wins(const struct view *v, const char *vm, const char *label, const char *native)
{
	g_autoptr(GArray) a = ranking(v, vm);
	guint first = a->len && !strcmp(g_array_index(a, struct rank, 0).row->label, native) ? 1 : 0;

	for (guint i = 0; i < a->len; i++) {
		const struct rank *r = &g_array_index(a, struct rank, i);

		if (!strcmp(r->row->label, label))
			return strcmp(label, native) && r->x <= 1.01 * g_array_index(a, struct rank, first).x;
	}
	return FALSE;
}

/* "ept for tlb, fork; pv for tlb": native is what virtualization is measured by, not one of its ways. */
static void winners(const struct view *v, const char *native, GString *out)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	gboolean any = FALSE;

	for (guint i = 0; i < v->labels->len; i++) {
		const char *label = g_ptr_array_index(v->labels, i);

		g_ptr_array_set_size(names, 0);
		for (guint j = 0; j < v->vms->len; j++)
			if (wins(v, g_ptr_array_index(v->vms, j), label, native))
				g_ptr_array_add(names, g_ptr_array_index(v->vms, j));
		if (!names->len)
			continue;
		g_string_append(out, any ? "; " : "<p>Apart from native, which virtualizes nothing, least comes with ");
		any = TRUE;
		strong(out, label);
		for (guint j = 0; j < names->len; j++) {
			g_string_append(out, j == 0 ? " for " : j + 1 < names->len ? ", " : " and ");
			text_html(out, g_ptr_array_index(names, j));
		}
	}
	g_string_append(out, any ? " (ties: within 1%).</p>\n" : "");
}

/* Are all guests copies of one: NAME-0, NAME-1, ...? */
static gboolean all_alike(const struct view *v)
{
	const char *first = v->vms->len ? g_ptr_array_index(v->vms, 0) : "";
	const char *end = strrchr(first, '-');

	for (guint i = 0; i < v->vms->len; i++) {
		g_autofree char *copy = g_strdup_printf("%.*s-%u", end ? (int)(end - first) : 0, first, i);

		if (strcmp(g_ptr_array_index(v->vms, i), copy))
			return FALSE;
	}
	return v->vms->len > 1;
}

/*
 * Few guests, that differ, and the same ones in every combination: then each has its own answer, else they have one
 * together.
 */
static gboolean tell_each(const struct view *v)
{
	if (v->hosts->len != v->labels->len || v->labels->len < 2)
		return TRUE;
	if (all_alike(v))
		return FALSE;
	for (guint i = 0; i < v->vms->len; i++)
		for (guint j = 0; j < v->labels->len; j++)
			if (!view_find(v, g_ptr_array_index(v->labels, j), g_ptr_array_index(v->vms, i)))
				return FALSE;
	return v->vms->len * (v->labels->len > 2 * RANKED ? 3 : 1) <= TOLD;
}

void report_answer(const struct view *v, GString *out)
{
	g_autofree char *label = view_metric_label(v->metric);
	const char *native = v->labels->len > 2 ? native_label(v) : NULL;

	g_string_append(out, "<section class=\"answer\">\n");
	if (*v->question) {
		g_string_append(out, "<p>");
		strong(out, v->question);
		g_string_append(out, "</p>\n");
	}
	if (strchr(v->keys, ',')) {
		g_string_append(out, "<p>Combinations are named by <code>");
		text_html(out, v->keys);
		g_string_append(out, "</code>.</p>\n");
	}
	if (native)
		winners(v, native, out);
	g_string_append(out, "<p>Measured by ");
	text_html(out, label);
	g_string_append(out, "; less is better:</p>\n<ul>\n");
	if (!tell_each(v))
		answer_for_vm(v, NULL, out);
	for (guint i = 0; i < v->vms->len && tell_each(v); i++)
		answer_for_vm(v, g_ptr_array_index(v->vms, i), out);
	g_string_append(out, "</ul>\n</section>\n");
}

static void failed_with(const struct view *v, guint from, GString *out)
{
	const struct view_row *first = g_ptr_array_index(v->rows, from);
	const char *lead = "<li>";

	for (guint i = from; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (!r->failure || strcmp(r->failure, first->failure))
			continue;
		g_string_append(out, lead);
		strong(out, r->vm);
		if (*r->label) {
			g_string_append(out, " (");
			text_html(out, r->label);
			g_string_append_c(out, ')');
		}
		lead = ", ";
	}
	g_string_append(out, ": ");
	text_html(out, first->failure);
	g_string_append(out, "</li>\n");
}

/* Guests that ran out of memory, and whom it cost. */
static void report_killed(const struct view *v, GString *out)
{
	gboolean any = FALSE;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);

		if (!r->killed)
			continue;
		if (!any)
			g_string_append(out, "<section class=\"failed\">"
					     "<p>Guests ran out of memory and killed:</p>\n<ul>\n");
		any = TRUE;
		g_string_append(out, "<li>");
		strong(out, r->vm);
		if (*r->label) {
			g_string_append(out, " (");
			text_html(out, r->label);
			g_string_append_c(out, ')');
		}
		g_string_append(out, ": ");
		text_html(out, r->killed);
		g_string_append(out, "</li>\n");
	}
	if (any)
		g_string_append(out, "</ul></section>\n");
}

void report_failures(const struct view *v, GString *out)
{
	guint n = 0;


	if (v->interrupted)
		g_string_append(
			out, "<section class=\"failed\"><p>The run was interrupted: what follows is what it had done "
			     "until then.</p></section>\n");
	report_killed(v, out);
	for (guint i = 0; i < v->rows->len; i++)
		n += ((const struct view_row *)g_ptr_array_index(v->rows, i))->failure != NULL;
	if (!n)
		return;
	g_string_append_printf(
		out, "<section class=\"failed\"><p>%u of %u guests failed; their numbers end there:</p>\n<ul>\n", n,
		v->rows->len);
	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *r = g_ptr_array_index(v->rows, i);
		gboolean told = !r->failure;

		for (guint j = 0; j < i && !told; j++) {
			const struct view_row *earlier = g_ptr_array_index(v->rows, j);

			told = earlier->failure && !strcmp(earlier->failure, r->failure);
		}
		if (!told)
			failed_with(v, i, out);
	}
	g_string_append(out, "</ul></section>\n");
}
