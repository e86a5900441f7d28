/* SPDX-License-Identifier: MIT */
/*
 * figure.h - what a figure is made of
 *
 * A figure is a gnuplot template, results/figures/NAME.gp, and a function that writes the data it plots,
 * figures/NAME.csv, and what else it must know, as variables in figures/run.gp. Titles, colours and layout are the
 * template's, which a user may edit.
 *
 * Bars and points come as panels (small multiples): one for each VM, with a scale of its own, and in it one bar for
 * each combination; in a single run one panel, a bar for each VM. All panels have the same number of rows in the CSV: a
 * combination that lacks a VM, or has no value for it, has a row of NaN.
 */
#ifndef OVERBOOK_VMM_FIGURE_H
#define OVERBOOK_VMM_FIGURE_H

#include "vmm/view.h"

#define FIGURE_PANELS 12 /* a page holds no more */
#define FIGURE_BARS   40
#define FIGURE_LINES  8

struct figure {
	const char *name;
	const char *caption; /* a sentence for whoever sees the picture, or cannot */
	gboolean asked;	     /* drawn only if [experiment] figures names it */
	/* FALSE: the directory has nothing that it could show. */
	gboolean (*data)(const struct view *v, GString *csv, GString *vars);
};

/* In the order in which a report shows them; ends with a row without a name. */
extern const struct figure figure_table[];

/* One part of a stacked bar: a counter, how it is called, the style (results/figures/style.gp) it always has; its name
 * in a sentence. */
struct figure_part {
	const char *counter, *title;
	unsigned style;
	const char *prose;
};

/* What a number is multiplied with, and what it is then. */
struct figure_unit {
	double factor;
	const char *name;
};

/* For operations a second, and ns an operation, of which these are the most. */
const struct figure_unit *figure_rate_unit(double per_second);
const struct figure_unit *figure_time_unit(double ns);

/* Where the time of a vCPU goes: the parts of ns_total. Ends with a row without a counter. */
extern const struct figure_part figure_time_parts[];

/*
 * Methods that estimate working sets: counter, title, and the counter of its errors for prose. The combination in which
 * most of them worked, or NULL; those that did in @label, at most FIGURE_ESTIMATES.
 */
#define FIGURE_ESTIMATES 4
extern const struct figure_part figure_estimates[];
const char *figure_most_methods(const struct view *v);
guint figure_methods(const struct view *v, const char *label, const struct figure_part **used);

gboolean figure_metric(const struct view *v, GString *csv, GString *vars);
gboolean figure_time(const struct view *v, GString *csv, GString *vars);
gboolean figure_exits(const struct view *v, GString *csv, GString *vars);
gboolean figure_translation(const struct view *v, GString *csv, GString *vars);
gboolean figure_latency(const struct view *v, GString *csv, GString *vars);
gboolean figure_memory(const struct view *v, GString *csv, GString *vars);
gboolean figure_throughput(const struct view *v, GString *csv, GString *vars);
gboolean figure_balloon(const struct view *v, GString *csv, GString *vars);
gboolean figure_guest_memory(const struct view *v, GString *csv, GString *vars);
gboolean figure_where(const struct view *v, GString *csv, GString *vars);
gboolean figure_states(const struct view *v, GString *csv, GString *vars);
gboolean figure_work(const struct view *v, GString *csv, GString *vars);
gboolean figure_sharing(const struct view *v, GString *csv, GString *vars);
gboolean figure_pathologies(const struct view *v, GString *csv, GString *vars);
gboolean figure_merging(const struct view *v, GString *csv, GString *vars);
gboolean figure_working_set(const struct view *v, GString *csv, GString *vars);
gboolean figure_miss_ratio(const struct view *v, GString *csv, GString *vars);
gboolean figure_working_set_error(const struct view *v, GString *csv, GString *vars);
gboolean figure_savings(const struct view *v, GString *csv, GString *vars);
gboolean figure_savings_cost(const struct view *v, GString *csv, GString *vars);
gboolean figure_large_pages(const struct view *v, GString *csv, GString *vars);
gboolean figure_tlb_reach(const struct view *v, GString *csv, GString *vars);
gboolean figure_walk_references(const struct view *v, GString *csv, GString *vars);

#endif
