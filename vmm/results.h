/* SPDX-License-Identifier: MIT */
/*
 * results.h - what a run leaves on disk
 *
 * A run directory is written under a temporary name beside its place and renamed when it is complete, so a directory
 * that exists is whole. samples.csv and summary.json hold nothing that depends on the host or the hour: equal
 * experiments give equal bytes. The manifest holds the rest.
 */
#ifndef OVERBOOK_VMM_RESULTS_H
#define OVERBOOK_VMM_RESULTS_H

#include <glib.h>
#include <json-glib/json-glib.h>

#include "vmm/unfinished.h"
#include "vmm/vmm.h"

/* What the manifest tells beside the run itself. */
struct manifest {
	const char *command_line;
	gint64 start_us, end_us; /* real time, microseconds since 1970 */
	const char *machine;
	uint64_t seed;
};

/* The canonical experiment.ini into @dir, and a profile that is a file beside it: the two reproduce the run. */
gboolean results_put_experiment(const struct experiment *e, bool without_vary, const char *dir, GError **error);
/* experiment.ini, samples.csv, summary.json, manifest.json and, if somebody decided, decisions.csv into @dir. */
gboolean results_write(const struct run *r, const struct manifest *m, const char *dir, GError **error);

/* One of several runs. */
struct part {
	const char *name;	/* of its sub-directory */
	const GPtrArray *cell;	/* of struct override: the varied keys, the same in all parts */
	uint64_t repeat;	/* which repetition of its cell, from 1 */
};

/*
 * summary.csv of several runs: for each of @parts (struct part) in @dir the varied keys, the repetition, and every VM's
 * counters; manifest.json lists the runs; with repetitions also means.csv: mean and half-width of the 95% confidence
 * interval over them.
 */
gboolean results_combine(const char *dir, const GArray *parts, const struct manifest *m, GError **error);

/* What every manifest says: version, commit, command, times, host, machine, seed. For the builder's current object. */
void manifest_common(JsonBuilder *b, const struct manifest *m);
/* The finished builder as indented text; g_free. */
char *json_text(JsonBuilder *b);

/* "results/runs/NAME", or the next free "NAME-2", "NAME-3", ... (g_free). */
char *rundir_default(const char *experiment_path);
/* What -o says, without slashes at the end (g_free). */
char *rundir_named(const char *name);
/* @final does not exist; or it is a run directory, or empty, and @force says to replace it. FALSE and @error. */
gboolean rundir_may_replace(const char *final, gboolean force, GError **error);
/* A fresh temporary directory beside @final. FALSE and @error. */
gboolean rundir_begin(struct unfinished *tmp, const char *final, GError **error);
/* It is complete: rename it into place; with @force in exchange for an older one, which is removed. Ends @tmp. */
gboolean rundir_commit(struct unfinished *tmp, const char *final, gboolean force, GError **error);
/* It is not to be kept. Ends @tmp. */
void rundir_drop(struct unfinished *tmp);

#endif
