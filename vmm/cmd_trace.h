/* SPDX-License-Identifier: MIT */
/* cmd_trace.h - the parts of `overbook trace`; each gets argv[0] = its own name and returns the exit status */
#ifndef OVERBOOK_VMM_CMD_TRACE_H
#define OVERBOOK_VMM_CMD_TRACE_H

#include <glib.h>
#include <stdbool.h>

int cmd_trace_record(int argc, char **argv);
int cmd_trace_import(int argc, char **argv);
int cmd_trace_info(int argc, char **argv);
int cmd_trace_mrc(int argc, char **argv);

/*
 * Parse options into @entries. -1: go on, argc and argv hold what is left; else the exit status to end with. @rest is
 * what follows the options in the usage line. With @posix options end at the first other argument, as for verbs that
 * run a command.
 */
int cmd_trace_options(int *argc, char ***argv, const GOptionEntry *entries, const char *rest, const char *summary,
		      bool posix);

/* Draw the curve in @csv (what `trace mrc` prints): vmm/trace_plot.c. */
struct trace_plot {
	const char *csv;
	const char *policies; /* their names, blanks between */
	const char *subject;  /* the figure's title */
};

/* DIR/mrc.csv, mrc.gp and mrc.svg, whole or not at all. @dir is made if it is missing. */
gboolean trace_plot_dir(const struct trace_plot *p, const char *dir, GError **error);
/* The picture alone. */
gboolean trace_plot_file(const struct trace_plot *p, const char *path, GError **error);

#endif
