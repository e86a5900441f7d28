/* SPDX-License-Identifier: MIT */
/* figure_bars.c - data of the figures whose panels hold a bar (or a column of points) for each combination */
#include <math.h>

#include "vmm/figure.h"
#include "vmm/text.h"

const struct figure_part figure_time_parts[] = {
	{ "ns_work", "useful work", 1, "useful work" },
	{ "ns_walk", "page walks and TLB misses", 2, "page walks and TLB misses" },
	{ "ns_guest_kernel", "guest kernel", 3, "the guest kernel" },
	{ "ns_exit_page_fault", "exits: page faults", 4, "exits for page faults" },
	{ "ns_exit_traced_write", "exits: traced writes", 5, "exits for traced writes" },
	{ "ns_exit_cr_write", "exits: CR3 loads", 6, "exits for CR3 loads" },
	{ "ns_exit_invlpg", "exits: INVLPG", 7, "exits for INVLPG" },
	{ "ns_exit_ept", "exits: EPT violations", 8, "EPT violations" },
	{ "ns_exit_hypercall", "exits: hypercalls", 9, "hypercalls" },
	{ "ns_exit_other", "exits: other", 10, "other exits" },
	{ "ns_host_memory", "host memory manager", 11, "the host memory manager" },
	{ "ns_swap", "waiting for swap", 12, "waiting for swap" },
	{ NULL, NULL, 0, NULL },
};

static const struct figure_part exit_parts[] = {
	{ "exits_page_fault", "page faults", 4, NULL },
	{ "exits_traced_write", "traced writes", 5, NULL },
	{ "exits_cr_write", "CR3 loads", 6, NULL },
	{ "exits_invlpg", "INVLPG", 7, NULL },
	{ "exits_ept_violation", "EPT violations", 8, NULL },
	{ "exits_ept_misconfig", "EPT misconfigurations", 2, NULL },
	{ "exits_pml_full", "PML full", 12, NULL },
	{ "exits_hypercall", "hypercalls", 9, NULL },
	{ "exits_io", "port and MMIO", 10, NULL },
	{ "exits_halt", "halts", 3, NULL },
	{ "exits_interrupt", "timer", 11, NULL },
	{ NULL, NULL, 0, NULL },
};

/* First-level hits are not shown: they are what is left to 100%, nearly all of it. */
static const struct figure_part translation_parts[] = {
	{ "tlb_l2_hits", "hit in the second-level TLB", 3, NULL },
	{ "tlb_misses", "page walk", 2, NULL },
	{ NULL, NULL, 0, NULL },
};

/* Writes the values of one row, each after a comma; @row is NULL where a combination lacks the VM. */
typedef void (*values_fn)(const struct view *v, const struct view_row *row, const void *ctx, GString *csv);

static void panels(const struct view *v, values_fn values, const void *ctx, GString *csv)
{
	gboolean single = v->labels->len < 2;
	guint nvms = MIN(v->vms->len, single ? FIGURE_BARS : FIGURE_PANELS),
	      ncombinations = MIN(v->labels->len, FIGURE_BARS);

	for (guint i = 0; i < nvms; i++) {
		for (guint j = 0; j < ncombinations; j++) {
			const char *vm = g_ptr_array_index(v->vms, i), *label = g_ptr_array_index(v->labels, j);

			text_gnuplot_field(csv, vm);
			g_string_append_c(csv, ',');
			text_gnuplot_field(csv, label);
			values(v, view_find(v, label, vm), ctx, csv);
			g_string_append_c(csv, '\n');
		}
	}
}

static double total(const struct view *v, const char *counter)
{
	double sum = 0;

	for (guint i = 0; i < v->rows->len; i++)
		sum += view_counter(g_ptr_array_index(v->rows, i), counter, NULL);
	return sum;
}

/* The parts that are not zero everywhere, scaled by factor over the sum of the counters in @whole. */
struct stack {
	const struct figure_part *parts[16];
	unsigned n;
	const char *const *whole;
	double factor;
};

static void stack_values(const struct view *v, const struct view_row *row, const void *ctx, GString *csv)
{
	const struct stack *s = ctx;
	double whole = 0;

	(void)v;
	for (const char *const *c = s->whole; row && *c; c++)
		whole += view_counter(row, *c, NULL);
	for (unsigned i = 0; i < s->n; i++) {
		if (whole > 0)
			g_string_append_printf(csv, ",%.6g",
					       view_counter(row, s->parts[i]->counter, NULL) * s->factor / whole);
		else
			g_string_append(csv, ",NaN");
	}
}

static gboolean stacked(const struct view *v, const char *name, const struct figure_part *parts,
			const char *const *whole, double factor, GString *csv, GString *vars)
{
	struct stack s = { .whole = whole, .factor = factor };

	g_string_append(csv, "vm,combination");
	g_string_append_printf(vars, "%s_styles = '", name);
	for (; parts->counter; parts++) {
		if (total(v, parts->counter) <= 0)
			continue;
		g_string_append_c(csv, ',');
		text_gnuplot_field(csv, parts->title);
		g_string_append_printf(vars, "%s%u", s.n ? " " : "", parts->style);
		s.parts[s.n++] = parts;
	}
	g_string_append_c(csv, '\n');
	g_string_append(vars, "'\n");
	panels(v, stack_values, &s, csv);
	return s.n > 0;
}

static const char *const operations[] = { "operations", NULL };

gboolean figure_time(const struct view *v, GString *csv, GString *vars)
{
	const struct figure_unit *unit;
	double most = 0;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);
		double done = view_counter(row, "operations", NULL);

		if (done > 0)
			most = MAX(most, view_counter(row, "ns_total", NULL) / done);
	}
	unit = figure_time_unit(most);
	text_gnuplot_set(vars, "time_unit", unit->name);
	return stacked(v, "time", figure_time_parts, operations, unit->factor, csv, vars);
}

gboolean figure_exits(const struct view *v, GString *csv, GString *vars)
{
	return stacked(v, "exits", exit_parts, operations, 1000, csv, vars);
}

gboolean figure_translation(const struct view *v, GString *csv, GString *vars)
{
	static const char *const lookups[] = { "tlb_l1_hits", "tlb_l2_hits", "tlb_misses", NULL };

	return stacked(v, "translation", translation_parts, lookups, 100, csv, vars);
}

static void metric_values(const struct view *v, const struct view_row *row, const void *ctx, GString *csv)
{
	double ci = 0, value = row ? view_metric(row, v->metric, &ci) : NAN;

	(void)ctx;
	if (isnan(value))
		g_string_append(csv, ",NaN,NaN");
	else
		g_string_append_printf(csv, ",%.6g,%.6g", value, ci);
}

gboolean figure_metric(const struct view *v, GString *csv, GString *vars)
{
	g_autofree char *label = view_metric_label(v->metric);
	gboolean any = FALSE;

	for (guint i = 0; i < v->rows->len; i++)
		any = any || view_metric(g_ptr_array_index(v->rows, i), v->metric, NULL) > 0;
	text_gnuplot_set(vars, "metric_label", label);
	g_string_append(csv, "vm,combination,value,ci95\n");
	panels(v, metric_values, NULL, csv);
	return any && v->rows->len > 1;
}

static const char *const points[] = { "p50_ns", "p90_ns", "p99_ns", "p99.9_ns" };

static void latency_values(const struct view *v, const struct view_row *row, const void *ctx, GString *csv)
{
	(void)v;
	(void)ctx;
	for (unsigned i = 0; i < G_N_ELEMENTS(points); i++) {
		if (row && view_latency(row, "count") > 0)
			g_string_append_printf(csv, ",%.6g", MAX(view_latency(row, points[i]), 1));
		else
			g_string_append(csv, ",NaN");
	}
}

gboolean figure_latency(const struct view *v, GString *csv, GString *vars)
{
	double low = INFINITY, high = 1;

	for (guint i = 0; i < v->rows->len; i++) {
		const struct view_row *row = g_ptr_array_index(v->rows, i);

		if (!(view_latency(row, "count") > 0))
			continue;
		low = MIN(low, MAX(view_latency(row, points[0]), 1));
		high = MAX(high, view_latency(row, points[G_N_ELEMENTS(points) - 1]));
	}
	g_string_append(csv, "vm,combination,p50_ns,p90_ns,p99_ns,p99.9_ns\n");
	panels(v, latency_values, NULL, csv);
	if (isinf(low))
		return FALSE;
	/* Whole decades, the same in every panel. */
	g_string_append_printf(vars, "latency_low = %.0f\nlatency_high = %.0f\n", pow(10, floor(log10(low))),
			       pow(10, floor(log10(high)) + 1));
	return TRUE;
}
