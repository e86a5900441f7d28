/* SPDX-License-Identifier: MIT */
/*
 * cmd_run.c - overbook run: one experiment file, one or many runs
 *
 * [vary] and `repeats` make a list of *tasks*. A single task runs in this process and its directory is the result; many
 * run in up to --jobs child processes, one sub-directory each, and are combined when all are done. Every task depends
 * on its overrides and seed alone, so --jobs changes nothing but the time.
 *
 * Everything is checked before anything runs; everything is written under a temporary name and renamed at the end. A
 * guest that fails, or one task of many that cannot start, makes the exit status 1 and costs no other result.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/child.h"
#include "vmm/cmd.h"
#include "vmm/policy/policies.h"
#include "vmm/expect.h"
#include "vmm/host_settings.h"
#include "vmm/progress.h"
#include "vmm/report.h"
#include "vmm/results.h"

/* How far a task is. */
struct task_state {
	double done; /* in [0, 1] */
	uint64_t operations;
	bool kept; /* its results are written */
};

struct task {
	struct experiment *e;
	struct progress *bar;  /* of a single task, drawn by itself; NULL in a child */
	const GPtrArray *cell; /* its overrides */
	char *name;	       /* of its sub-directory; "" when it is the only one */
	uint64_t seed, repeat; /* the repetition, from 1 */
	pid_t pid;	       /* while a child runs it */
	struct task_state *state; /* in memory shared with the child */
};

struct options {
	char *out, *machine, *seed, *policy, **set;
	gboolean quiet, force, no_figures;
	int jobs;
	const char *file;
	char *command_line;
};

static void on_sigint(int sig)
{
	(void)sig;
	run_stop = 1;
}

static void task_free(gpointer p)
{
	struct task *t = p;

	experiment_free(t->e);
	g_free(t->name);
	g_free(t);
}

static void task_progress(struct run *r, double done, void *ctx)
{
	struct task *t = ctx;

	t->state->done = done;
	t->state->operations = r->operations;
	if (t->bar)
		progress_draw(t->bar, done, 0, r->operations);
}

/* --policy: a name, or a shared object, which is relative to where one is and not to the experiment. */
static void policy_overrides(const char *policy, char **name, char **module)
{
	gboolean file = strchr(policy, '/') || g_str_has_suffix(policy, ".so");
	g_autofree char *path = file ? g_canonicalize_filename(policy, NULL) : NULL;

	*name = g_strdup_printf("policy.name=%s", file ? policies[0]->name : policy);
	*module = g_strdup_printf("policy.module=%s", file ? path : "");
}

static GPtrArray *collect_overrides(const struct options *o, GError **error)
{
	GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)override_free);
	g_autofree char *machine = o->machine ? g_strdup_printf("experiment.machine=%s", o->machine) : NULL;
	g_autofree char *seed = o->seed ? g_strdup_printf("experiment.seed=%s", o->seed) : NULL;
	g_autofree char *policy = NULL, *module = NULL;

	if (o->policy)
		policy_overrides(o->policy, &policy, &module);

	const char *fixed[] = { machine, seed, policy, module };
	const unsigned nfixed = G_N_ELEMENTS(fixed);

	for (unsigned i = 0; i < nfixed + (o->set ? g_strv_length(o->set) : 0); i++) {
		const char *text = i < nfixed ? fixed[i] : o->set[i - nfixed];
		struct override *ov = text ? override_parse(text, error) : NULL;

		if (text && !ov) {
			g_ptr_array_unref(all);
			return NULL;
		}
		if (ov)
			g_ptr_array_add(all, ov);
	}
	return all;
}

/* One cell of [vary] on top of the command line's overrides. */
static struct experiment *load_cell(const struct options *o, const GPtrArray *base, const GPtrArray *cell,
				    GError **error)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new();

	for (guint i = 0; i < base->len; i++)
		g_ptr_array_add(all, g_ptr_array_index(base, i));
	for (guint i = 0; i < cell->len; i++)
		g_ptr_array_add(all, g_ptr_array_index(cell, i));
	return experiment_load(o->file, all, error);
}

static GPtrArray *make_tasks(const struct options *o, const GPtrArray *base, const GPtrArray *cells, GError **error)
{
	GPtrArray *tasks = g_ptr_array_new_with_free_func(task_free);

	for (guint i = 0; i < cells->len; i++) {
		const GPtrArray *cell = g_ptr_array_index(cells, i);
		g_autofree char *name = combination_name(cell);
		uint64_t repeats = 1;

		for (uint64_t n = 0; n < repeats; n++) {
			struct experiment *e = load_cell(o, base, cell, error);

			if (!e) {
				g_ptr_array_unref(tasks);
				return NULL;
			}
			struct task *t = g_new0(struct task, 1);

			repeats = e->experiment.repeats;
			t->e = e;
			t->cell = cell;
			t->seed = e->experiment.seed + n;
			t->repeat = n + 1;
			t->name = repeats > 1 ? g_strdup_printf("%s%srepeat=%" G_GUINT64_FORMAT, name, *name ? "," : "",
								n + 1) :
						g_strdup(name);
			g_ptr_array_add(tasks, t);
		}
	}
	return tasks;
}

/* A full disk is no fault of the experiment's. */
static int cannot_write(GError *error)
{
	cmd_gerror(error);
	return CMD_FAILED;
}

/* Say which guests failed; CMD_FAILED if any did. */
static int tell_failures(const struct task *t, const struct run *r)
{
	int status = CMD_OK;

	for (guint i = 0; i < r->vms->len; i++) {
		const struct run_vm *vm = g_ptr_array_index(r->vms, i);

		if (vm->failure)
			status = cmd_error(CMD_FAILED, "%s%sVM \"%s\" failed: %s", t->name, *t->name ? ": " : "",
					   vm->name, vm->failure);
	}
	return status;
}

/* Run @t and write its files into @dir, which exists. Returns the exit status; t->state->kept says whether it did. */
static int run_task(const struct options *o, struct task *t, const char *dir)
{
	const struct backend *backend = backends[t->e->experiment.machine];
	struct manifest m = {
		.command_line = o->command_line,
		.start_us = g_get_real_time(),
		.machine = backend->name,
		.seed = t->seed,
	};
	struct run *r = run_new(t->e, t->seed);
	g_autofree char *log = g_build_filename(dir, "events.zst", NULL);
	GError *error = NULL;
	int status = CMD_OK;

	/* The seed of a repetition is this run's own: its experiment.ini must reproduce it. */
	t->e->experiment.seed = t->seed;
	t->e->experiment.repeats = 1;
	r->progress = task_progress;
	r->progress_ctx = t;
	if (t->e->experiment.events && !(r->events = events_open(log)))
		status = cmd_error(CMD_FAILED, "%s: cannot write: %s", log, g_strerror(errno));
	if (!status && !backend->run(r, &error))
		status = cmd_gerror(error);
	if (r->events && events_close(r->events) && !status)
		status = cmd_error(CMD_FAILED, "%s: the event log could not be written", log);
	m.end_us = g_get_real_time();
	error = NULL;
	if (!status && !results_write(r, &m, dir, &error))
		status = cannot_write(error);
	if (!status) {
		t->state->kept = true;
		status = tell_failures(t, r);
	}
	if (t->state->kept && !o->quiet && !isatty(STDERR_FILENO))
		fprintf(stderr, "overbook: finished %s in %.1f s\n", *t->name ? t->name : t->e->path,
			(double)(m.end_us - m.start_us) / G_USEC_PER_SEC);
	run_free(r);
	return status;
}

static int start_child(const struct options *o, struct task *t, const char *dir)
{
	gpointer self = GINT_TO_POINTER(getpid());

	fflush(NULL);
	t->pid = fork();
	if (t->pid < 0)
		return cmd_error(CMD_FAILED, "cannot start a process: %s", g_strerror(errno));
	if (t->pid)
		return CMD_OK;
	child_dies_with(self);

	g_autofree char *sub = g_build_filename(dir, t->name, NULL);
	int status = g_mkdir(sub, 0777) ? cmd_error(CMD_FAILED, "%s: %s", sub, g_strerror(errno)) : run_task(o, t, sub);

	fflush(NULL);
	_exit(status);
}

static struct task *by_pid(const GPtrArray *tasks, pid_t pid)
{
	for (guint i = 0; i < tasks->len; i++) {
		struct task *t = g_ptr_array_index(tasks, i);

		if (t->pid == pid)
			return t;
	}
	return NULL;
}

static void draw_all(struct progress *bar, const GPtrArray *tasks, unsigned finished)
{
	uint64_t operations = 0;
	double sum = 0;

	for (guint i = 0; i < tasks->len; i++) {
		const struct task *t = g_ptr_array_index(tasks, i);

		sum += t->state->done;
		operations += t->state->operations;
	}
	progress_draw(bar, sum / tasks->len, finished, operations);
}

/* Interrupted: what has begun ends early and is kept, the rest is not begun. */
static int drop_rest(GPtrArray *tasks, unsigned begun)
{
	for (guint i = 0; i < begun; i++) {
		const struct task *t = g_ptr_array_index(tasks, i);

		if (t->pid)
			kill(t->pid, SIGINT); /* the signal may have been for this process alone */
	}
	if (!begun)
		return cmd_error(CMD_FAILED, "interrupted before anything was measured");
	cmd_error(CMD_OK, "interrupted: %u of %u runs were begun, their results are kept", begun, tasks->len);
	g_ptr_array_set_size(tasks, (gint)begun);
	return CMD_OK;
}

/* Wait a little for a child to end. Its exit status; -1: none has. */
static int reap(const GPtrArray *tasks)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);
	struct task *t = pid > 0 ? by_pid(tasks, pid) : NULL;

	if (!t) {
		g_usleep(2000);
		return -1;
	}
	t->pid = 0;
	t->state->done = 1;
	if (WIFSIGNALED(status))
		return cmd_error(CMD_FAILED, "%s: killed by signal %d", t->name, WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* CMD_FAILED of one task does not stop the others; any other status but CMD_OK does. */
static int run_many(const struct options *o, GPtrArray *tasks, const char *dir)
{
	struct progress bar;
	unsigned next = 0, alive = 0, finished = 0;
	int status = CMD_OK;
	bool stopped = false;

	progress_begin(&bar, o->quiet, tasks->len);
	while (alive || (next < tasks->len && status <= CMD_FAILED)) {
		while (status <= CMD_FAILED && next < tasks->len && alive < (unsigned)o->jobs && !run_stop) {
			int started = start_child(o, g_ptr_array_index(tasks, next++), dir);

			alive += !started;
			status = MAX(status, started);
		}
		if (run_stop && !stopped) {
			stopped = true;
			if (drop_rest(tasks, next)) {
				status = CMD_FAILED;
				break;
			}
		}

		int ended = reap(tasks);

		if (ended >= 0) {
			alive--;
			finished++;
			status = MAX(status, ended);
		}
		draw_all(&bar, tasks, finished);
	}
	progress_clear(&bar);
	return status;
}

/* What left no results is no part of the whole. */
static void drop_failed(GPtrArray *tasks, const char *dir)
{
	for (guint i = tasks->len; i-- > 0;) {
		struct task *t = g_ptr_array_index(tasks, i);
		g_autofree char *sub = g_build_filename(dir, t->name, NULL);

		if (t->state->kept)
			continue;
		unfinished_remove(sub);
		g_ptr_array_remove_index(tasks, i);
	}
}

static int combine(const struct options *o, const GPtrArray *tasks, const char *dir, const struct experiment *whole,
		   gint64 start_us)
{
	struct manifest m = {
		.command_line = o->command_line,
		.start_us = start_us,
		.end_us = g_get_real_time(),
		.machine = backends[whole->experiment.machine]->name,
		.seed = whole->experiment.seed,
	};
	g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(struct part));
	GError *error = NULL;

	for (guint i = 0; i < tasks->len; i++) {
		const struct task *t = g_ptr_array_index(tasks, i);
		struct part p = { .name = t->name, .cell = t->cell, .repeat = t->repeat };

		g_array_append_val(parts, p);
	}
	if (!results_put_experiment(whole, false, dir, &error) || !results_combine(dir, parts, &m, &error))
		return cannot_write(error);
	return CMD_OK;
}

/* Returns the exit status. *keep: @dir holds results, whatever the status. */
static int run_all(const struct options *o, GPtrArray *tasks, const struct experiment *whole, const char *dir,
		   bool *keep)
{
	struct task *first = g_ptr_array_index(tasks, 0);
	size_t nbytes = tasks->len * sizeof(struct task_state);
	struct task_state *shared = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	gint64 start_us = g_get_real_time();
	int status;

	if (shared == MAP_FAILED)
		return cmd_error(CMD_FAILED, "out of memory");
	for (guint i = 0; i < tasks->len; i++)
		((struct task *)g_ptr_array_index(tasks, i))->state = &shared[i];
	if (tasks->len == 1 && !*first->name) {
		struct progress bar;

		progress_begin(&bar, o->quiet, 1);
		first->bar = &bar;
		status = run_task(o, first, dir);
		progress_clear(&bar);
		*keep = first->state->kept;
	} else {
		status = run_many(o, tasks, dir);
		drop_failed(tasks, dir);
		*keep = tasks->len && status <= CMD_FAILED;
		if (*keep && combine(o, tasks, dir, whole, start_us)) {
			*keep = false;
			status = CMD_FAILED;
		}
	}
	munmap(shared, nbytes);
	return status;
}

/* Verdicts, pictures and the page are worth having but not worth losing results for. */
static void draw(const struct options *o, const char *dir)
{
	GError *error = NULL;

	if (!expected_write(dir, o->quiet, &error)) {
		cmd_error(CMD_OK, "no verdicts: %s", error->message);
		g_clear_error(&error);
	}
	if (!o->no_figures && !figures_draw(dir, &error)) {
		cmd_error(CMD_OK, "no figures: %s", error->message);
		g_clear_error(&error);
	}
	if (!report_write(dir, &error)) {
		cmd_error(CMD_OK, "no report: %s", error->message);
		g_clear_error(&error);
	}
}

/* What a killed run has left of this host must not become part of this run's conditions. */
static void repair_host(void)
{
	g_autofree char *line = host_settings_repair(NULL, NULL);

	if (line)
		cmd_error(CMD_OK, "%s", line);
}

static int run_experiment(const struct options *o)
{
	GError *error = NULL;
	g_autoptr(GPtrArray) base = collect_overrides(o, &error);
	struct experiment *whole = base ? experiment_load(o->file, base, &error) : NULL;

	if (!whole)
		return cmd_gerror(error);

	g_autoptr(GPtrArray) cells = experiment_combinations(whole);
	g_autoptr(GPtrArray) tasks = make_tasks(o, base, cells, &error);
	g_autofree char *final = o->out ? rundir_named(o->out) : rundir_default(o->file);
	struct unfinished tmp = { NULL, -1 };
	bool keep = false;
	int status = CMD_OK;

	if (!tasks || !backends[whole->experiment.machine]->available(&error))
		status = cmd_gerror(error);
	else if (!rundir_may_replace(final, o->force, &error))
		status = cmd_gerror(error);
	else
		cmd_sweep(final);
	if (!status && !rundir_begin(&tmp, final, &error))
		status = cmd_gerror(error);
	if (tmp.path)
		status = run_all(o, tasks, whole, tmp.path, &keep);
	if (keep) {
		draw(o, tmp.path);
		if (!rundir_commit(&tmp, final, o->force, &error))
			status = cmd_gerror(error);
		else if (!o->quiet)
			fprintf(stderr, "overbook: results in %s (open %s/report.html)\n", final, final);
	} else if (tmp.path) {
		rundir_drop(&tmp);
	}
	experiment_free(whole);
	return status;
}

/* As a shell would take it. */
static char *command_line(char *const *argv)
{
	GString *out = g_string_new("overbook");

	for (unsigned i = 0; argv[i]; i++) {
		gboolean plain = *argv[i] && !argv[i][strcspn(argv[i], " \t\n\"'\\$`*?[]{}()<>|&;#~!")];
		g_autofree char *word = plain ? g_strdup(argv[i]) : g_shell_quote(argv[i]);

		g_string_append_printf(out, " %s", word);
	}
	return g_string_free(out, FALSE);
}

int cmd_run(int argc, char **argv)
{
	struct options o = { .jobs = 1 };
	g_auto(GStrv) rest = NULL;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &o.out,
		  "directory for the results (default: results/runs/NAME)", "DIR" },
		{ "machine", 'm', 0, G_OPTION_ARG_STRING, &o.machine, "sim or kvm", "NAME" },
		{ "policy", 'p', 0, G_OPTION_ARG_STRING, &o.policy,
		  "who decides: one of overbook list policies, or a shared object of your own", "NAME|FILE.so" },
		{ "set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &o.set, "override a key; may be given again",
		  "SECTION.KEY=VALUE" },
		{ "seed", 0, 0, G_OPTION_ARG_STRING, &o.seed, "seed of all randomness", "N" },
		{ "jobs", 'j', 0, G_OPTION_ARG_INT, &o.jobs, "runs of [vary] and repeats at a time (default: 1)", "N" },
		{ "force", 'f', 0, G_OPTION_ARG_NONE, &o.force, "replace the output directory if it exists", NULL },
		{ "no-figures", 0, 0, G_OPTION_ARG_NONE, &o.no_figures, "draw nothing", NULL },
		{ "quiet", 'q', 0, G_OPTION_ARG_NONE, &o.quiet, "no progress and no closing message", NULL },
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rest, NULL, "FILE.ini" },
		{ NULL, 0, 0, 0, NULL, NULL, NULL },
	};
	g_autoptr(GOptionContext) ctx = g_option_context_new("- run an experiment");
	GError *error = NULL;
	struct sigaction sa = { .sa_handler = on_sigint };
	int status;

	o.command_line = command_line(argv);
	g_option_context_add_main_entries(ctx, entries, NULL);
	if (!g_option_context_parse(ctx, &argc, &argv, &error))
		status = cmd_gerror(error);
	else if (rest && rest[1] && strchr(rest[1], '='))
		status = cmd_error(CMD_USAGE, "run takes one experiment file; for a key, write --set %s", rest[1]);
	else if (!rest || rest[1])
		status = cmd_error(CMD_USAGE, "run takes one experiment file; see overbook run --help");
	else if (o.jobs < 1 || o.jobs > 1024)
		status = cmd_error(CMD_USAGE, "--jobs %d: from 1 to 1024 is allowed", o.jobs);
	else {
		o.file = rest[0];
		sigaction(SIGINT, &sa, NULL);
		sigaction(SIGTERM, &sa, NULL);
		repair_host();
		status = run_experiment(&o);
	}
	g_free(o.command_line);
	g_free(o.out);
	g_free(o.machine);
	g_free(o.seed);
	g_free(o.policy);
	g_strfreev(o.set);
	return status;
}
