/* SPDX-License-Identifier: MIT */
/*
 * trace_plot.c - the figure of `overbook trace mrc`
 *
 * With two lines before it that say what to draw, the template results/figures/mrc.gp becomes mrc.gp, which anybody can
 * edit and run again beside mrc.csv. All is made in a directory under a temporary name, next to where it shall be.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/child.h"
#include "vmm/cmd_trace.h"
#include "vmm/data.h"
#include "vmm/unfinished.h"
#include "vmm/vmm.h"

static const char *const files[] = { "mrc.csv", "mrc.gp", "mrc.svg" };

/* As a string of gnuplot's: in single quotes, which are doubled inside. */
static char *quoted(const char *text)
{
	GString *s = g_string_new("'");

	for (; *text; text++)
		g_string_append_printf(s, "%s%c", *text == '\'' ? "'" : "", (unsigned char)*text < ' ' ? '?' : *text);
	g_string_append_c(s, '\'');
	return g_string_free(s, FALSE);
}

static gboolean put(const char *dir, const char *name, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	return g_file_set_contents(path, text, -1, error);
}

static gboolean run_gnuplot(const char *dir, GError **error)
{
	char *argv[] = { "gnuplot", "-d", "mrc.gp", NULL };
	g_autofree char *said = NULL;
	int status;

	if (!g_spawn_sync(dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
			  child_dies_with, GINT_TO_POINTER(getpid()), NULL, &said,
			  &status, error))
		return FALSE;
	if (status) {
		g_set_error(error, VMM_ERROR, VMM_FAILED, "gnuplot failed: %s", g_strstrip(said));
		return FALSE;
	}
	return TRUE;
}

/* Rename @name out of @from to @to. */
static gboolean move(const char *from, const char *name, const char *to, GError **error)
{
	g_autofree char *path = g_build_filename(from, name, NULL);

	if (!g_rename(path, to))
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot be written: %s", to, g_strerror(errno));
	return FALSE;
}

/* The template with what to draw before it; g_free. */
static char *make_script(const struct trace_plot *p, GError **error)
{
	g_autofree char *from = data_path("figures/mrc.gp"), *template = NULL;
	g_autofree char *policies = quoted(p->policies), *subject = quoted(p->subject);

	if (!from) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "the template figures/mrc.gp is not to be found: "
			    "set OVERBOOK_DATA to the folder that holds figures/");
		return NULL;
	}
	if (!g_file_get_contents(from, &template, NULL, error))
		return NULL;
	return g_strdup_printf("policies = %s\nsubject = %s\n%s", policies, subject, template);
}

/* csv, gp and svg in a new directory beside @path. */
static gboolean make(const struct trace_plot *p, struct unfinished *dir, const char *path, GError **error)
{
	g_autofree char *gnuplot = g_find_program_in_path("gnuplot"), *script = NULL;
	int ret;

	if (!gnuplot) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "the figure needs gnuplot, which is not installed (on Debian: apt install gnuplot-nox)");
		return FALSE;
	}
	script = make_script(p, error);
	if (!script)
		return FALSE;
	ret = unfinished_dir(dir, path);
	if (ret) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot be written: %s", path, g_strerror(-ret));
		return FALSE;
	}
	if (put(dir->path, "mrc.csv", p->csv, error) && put(dir->path, "mrc.gp", script, error) &&
	    run_gnuplot(dir->path, error))
		return TRUE;
	unfinished_remove(dir->path);
	unfinished_end(dir);
	return FALSE;
}

gboolean trace_plot_dir(const struct trace_plot *p, const char *dir, GError **error)
{
	g_autofree char *final = g_canonicalize_filename(dir, NULL), *parent = g_path_get_dirname(final);
	struct unfinished made;
	gboolean ok = TRUE;

	if (g_mkdir_with_parents(parent, 0777)) {
		g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot be made: %s", parent, g_strerror(errno));
		return FALSE;
	}
	if (!make(p, &made, final, error))
		return FALSE;
	/* New: the whole directory at once. There already: each file at once. */
	if (g_file_test(final, G_FILE_TEST_EXISTS) || g_rename(made.path, final)) {
		for (size_t i = 0; ok && i < G_N_ELEMENTS(files); i++) {
			g_autofree char *to = g_build_filename(final, files[i], NULL);

			ok = move(made.path, files[i], to, error);
		}
		unfinished_remove(made.path);
	}
	unfinished_end(&made);
	return ok;
}

gboolean trace_plot_file(const struct trace_plot *p, const char *path, GError **error)
{
	struct unfinished made;
	gboolean ok;

	if (!make(p, &made, path, error))
		return FALSE;
	ok = move(made.path, "mrc.svg", path, error);
	unfinished_remove(made.path);
	unfinished_end(&made);
	return ok;
}
