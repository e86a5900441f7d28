/* SPDX-License-Identifier: MIT */
/*
 * view.h - a finished run directory, read back: what figures and report work on
 *
 * A directory is either one run (summary.json) or several (manifest.json lists them). Either way the view is a list
 * of rows, one for each VM of each combination; repetitions of one combination are one row whose values are means.
 */
#ifndef OVERBOOK_VMM_VIEW_H
#define OVERBOOK_VMM_VIEW_H

#include <glib.h>
#include <json-glib/json-glib.h>

struct view_row {
	char *label;	 /* values of the varied keys, "shadow" or "shadow, 4K"; "" in a single run */
	char *vm;
	char *run;	 /* directory of its first repetition, relative to the view's; "" in a single run */
	GPtrArray *counters; /* of JsonObject, one a repetition, at least one */
	GPtrArray *latency;  /* likewise, of those that have latencies */
	const char *digest;  /* of the first repetition, or NULL */
	const char *failure; /* of any repetition, or NULL */
	const char *killed;  /* processes that the guest killed for lack of memory, in any repetition, or NULL */
};

struct view {
	char *dir;
	char *title, *question, *metric; /* from [experiment] */
	char **figures;	    /* names asked for; empty: those that fit */
	char *keys;	    /* "vm.paging, vm.levels"; "" in a single run */
	GPtrArray *rows;    /* of struct view_row, runs in order, VMs in order within */
	GPtrArray *hosts;   /* of struct view_row: each label's host, in order; empty where summaries have none */
	GPtrArray *labels;  /* distinct labels in order, char * */
	GPtrArray *sets;    /* of each label the varied keys, JsonObject; NULL in a single run */
	GPtrArray *vms;	    /* distinct VM names in order, char * */
	gboolean interrupted; /* some run was ended by a signal */
	GPtrArray *parsers; /* hold the JSON */
};

struct view *view_load(const char *dir, GError **error);
void view_free(struct view *v);

const struct view_row *view_find(const struct view *v, const char *label, const char *vm);
/* Directory of the first repetition of @label, relative to the view's; "" in a single run. */
const char *view_run(const struct view *v, const char *label);
/* Mean over repetitions of a counter; @ci, if not NULL, gets the half-width of its 95% interval (0 for one). */
double view_counter(const struct view_row *row, const char *counter, double *ci);
/*
 * The same for "numerator/denominator" or a bare counter: the mean of each repetition's own ratio. NAN if no repetition
 * has a denominator above zero.
 */
double view_metric(const struct view_row *row, const char *metric, double *ci);
/* The metric in words, with its unit where that can be told: "ns_total / operations (ns per operation)"; g_free. */
char *view_metric_label(const char *metric);
/* That unit alone: "ns per operation", "walk refs per walk", "ns" or ""; g_free. */
char *view_metric_unit(const char *metric);
double view_latency(const struct view_row *row, const char *point); /* "p99_ns"; NAN if there is none */

/* One counter of one repetition; 0: there is none. */
double view_value(JsonObject *counters, const char *counter);
/* Mean of @n values; @ci as above. NAN if there are none. */
double view_mean(const double *x, guint n, double *ci);

/* Two-sided 95% quantile of Student's t. */
double view_t95(guint degrees);

#endif
