/* SPDX-License-Identifier: MIT */
/*
 * cmd.h - the verbs of the command line: one file each, vmm/cmd_*.c
 *
 * A verb gets argv[0] = its own name and returns the exit status: 0 done, 1 the experiment failed, 2 bad usage or
 * input, 3 this host lacks something. stdout carries data only; messages go to stderr through cmd_error().
 */
#ifndef OVERBOOK_VMM_CMD_H
#define OVERBOOK_VMM_CMD_H

#include <glib.h>

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_LACKS = 3 };

int cmd_run(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_page(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_calibrate(int argc, char **argv);

/* "overbook: MESSAGE" on stderr; returns @status, so that a verb can end with it. */
int cmd_error(int status, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The same for a GError, which it frees: its status if it is a VMM_ERROR, else CMD_USAGE. */
int cmd_gerror(GError *error);
/* Before @final is made: remove, and say so, what killed processes have left unfinished in its folder. */
void cmd_sweep(const char *final);

#endif
