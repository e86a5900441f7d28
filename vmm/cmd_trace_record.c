/* SPDX-License-Identifier: MIT */
/*
 * cmd_trace_record.c - overbook trace record: run a command under valgrind's lackey, straight into a trace
 *
 * Lackey prints a line for each access to a descriptor of our choice; the other end of that pipe goes through the
 * importer, so the text, a hundred times the trace, never lies anywhere. The command keeps its own standard input,
 * output and error. Ctrl-C reaches the command, not us: what it did until then is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/cmd.h"
#include "vmm/child.h"
#include "vmm/cmd_trace.h"
#include "vmm/conf.h"
#include "vmm/trace.h"

/* Start @command under lackey; *fd is where the lines come from. Returns the process, or -1. */
static pid_t start(char **command, int *fd)
{
	g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
	gpointer self = GINT_TO_POINTER(getpid());
	int pipe_fd[2];
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC))
		return -1;
	g_ptr_array_add(args, g_strdup("valgrind"));
	g_ptr_array_add(args, g_strdup("--tool=lackey"));
	g_ptr_array_add(args, g_strdup("--trace-mem=yes"));
	/* A forked child would write into the same lines. */
	g_ptr_array_add(args, g_strdup("--child-silent-after-fork=yes"));
	g_ptr_array_add(args, g_strdup_printf("--log-fd=%d", pipe_fd[1]));
	g_ptr_array_add(args, g_strdup("--"));
	for (; *command; command++)
		g_ptr_array_add(args, g_strdup(*command));
	g_ptr_array_add(args, NULL);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		child_dies_with(self);
		fcntl(pipe_fd[1], F_SETFD, 0);
		execvp(args->pdata[0], (char **)args->pdata);
		_exit(126);
	}
	close(pipe_fd[1]);
	*fd = pipe_fd[0];
	if (pid < 0)
		close(*fd);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return CMD_FAILED;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Record into @w; *command_status is the command's own, 0 if the limit ended it. */
static gboolean record(struct trace_writer *w, char **command, const struct trace_import *how, int *command_status,
		       GError **error)
{
	g_autofree char *name = g_path_get_basename(command[0]);
	struct sigaction ignore = { .sa_handler = SIG_IGN }, interrupt, quit;
	gboolean ok;
	pid_t pid;
	int fd;

	pid = start(command, &fd);
	if (pid < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: cannot be started: %s", name,
			    g_strerror(errno));
		return FALSE;
	}
	/* After the fork: the command must not inherit it. */
	sigaction(SIGINT, &ignore, &interrupt);
	sigaction(SIGQUIT, &ignore, &quit);
	ok = trace_import(w, fd, name, how, error);
	close(fd);
	if (!ok || (how->limit && trace_written(w) == how->limit)) {
		kill(pid, SIGKILL);
		wait_for(pid);
		*command_status = 0;
	} else {
		*command_status = wait_for(pid);
	}
	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGQUIT, &quit, NULL);
	return ok;
}

static int run(char **command, const char *output, const struct trace_import *how)
{
	struct trace_writer *w;
	GError *error = NULL;
	uint64_t n = 0;
	int status = 0;
	gboolean ok;

	cmd_sweep(output);
	w = trace_create(output, &error);
	ok = w && record(w, command, how, &status, &error);
	if (ok) {
		n = trace_written(w);
		ok = trace_commit(w, &error);
	} else {
		trace_abandon(w);
	}
	if (!ok)
		return cmd_gerror(error);
	fprintf(stderr, "overbook: %s: %" PRIu64 " accesses", output, n);
	if (how->limit && n == how->limit)
		fprintf(stderr, ", then stopped\n");
	else
		fprintf(stderr, "; %s ended with status %d\n", command[0], status);
	return status;
}

int cmd_trace_record(int argc, char **argv)
{
	g_autofree char *output = NULL, *command = NULL, *valgrind = NULL, *limit = NULL, *why = NULL;
	gboolean instructions = FALSE;
	static const struct conf_key count = { .name = "limit", .type = CONF_COUNT, .min = 1, .max = UINT64_MAX };
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "the trace to write; by default COMMAND.obt here",
		  "F" },
		{ "limit", 0, 0, G_OPTION_ARG_STRING, &limit, "end the command after so many accesses (as 20M)", "N" },
		{ "instructions", 0, 0, G_OPTION_ARG_NONE, &instructions, "record instruction fetches too", NULL },
		G_OPTION_ENTRY_NULL,
	};
	int status = cmd_trace_options(&argc, &argv, entries, "-- COMMAND...",
				       "Run COMMAND under valgrind's lackey (about a thousand times slower than alone) "
				       "and keep each of its accesses. Children it "
				       "forks are not recorded. The exit status is COMMAND's own.",
				       true);
	struct trace_import how = { .format = TRACE_LACKEY };

	if (status >= 0)
		return status;
	if (argc > 1 && !strcmp(argv[1], "--"))
		argc--, argv++;
	if (argc < 2)
		return cmd_error(CMD_USAGE, "trace record: give a COMMAND to run");
	if (limit && !conf_parse(&count, limit, &how.limit, &why))
		return cmd_error(CMD_USAGE, "trace record: --limit \"%s\": allowed is %s", limit, why);
	command = g_find_program_in_path(argv[1]);
	if (!command)
		return cmd_error(CMD_USAGE, "trace record: %s: no such program", argv[1]);
	valgrind = g_find_program_in_path("valgrind");
	if (!valgrind)
		return cmd_error(
			CMD_LACKS,
			"trace record needs valgrind, which is not installed (on Debian: apt install valgrind)");
	if (!output) {
		g_autofree char *name = g_path_get_basename(argv[1]);

		output = g_strdup_printf("%s.obt", name);
	}
	how.data_only = !instructions;
	return run(argv + 1, output, &how);
}
