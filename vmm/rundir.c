/* SPDX-License-Identifier: MIT */
/* rundir.c - run directories appear whole or not at all */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/results.h"

char *rundir_default(const char *experiment_path)
{
	g_autofree char *base = g_path_get_basename(experiment_path);
	const char *where = g_file_test("results", G_FILE_TEST_IS_DIR) ? "results/runs" : "runs";

	if (g_str_has_suffix(base, ".ini"))
		base[strlen(base) - 4] = '\0';

	char *dir = g_build_filename(where, base, NULL);

	for (unsigned n = 2; g_file_test(dir, G_FILE_TEST_EXISTS); n++) {
		g_free(dir);
		dir = g_strdup_printf("%s/%s-%u", where, base, n);
	}
	return dir;
}

char *rundir_named(const char *name)
{
	g_autofree char *base = g_path_get_basename(name);
	char *dir = g_strdup(name);
	size_t n = strlen(dir);

	if (!strcmp(base, ".") || !strcmp(base, "..")) {
		g_free(dir);
		return g_canonicalize_filename(name, NULL);
	}
	while (n > 1 && dir[n - 1] == '/')
		dir[--n] = '\0';
	return dir;
}

static gboolean is_empty(const char *dir)
{
	g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);

	return d && !g_dir_read_name(d);
}

gboolean rundir_may_replace(const char *final, gboolean force, GError **error)
{
	g_autofree char *manifest = g_build_filename(final, "manifest.json", NULL);
	g_autofree char *ini = g_build_filename(final, "experiment.ini", NULL);
	GStatBuf st;

	if (!*final)
		g_set_error(error, VMM_ERROR, VMM_USAGE, "-o needs the name of a directory");
	else if (g_lstat(final, &st))
		return TRUE;
	else if (!force)
		g_set_error(error, VMM_ERROR, VMM_USAGE,
			    "%s exists: name another directory with -o, or replace it with --force", final);
	else if (S_ISDIR(st.st_mode) && (is_empty(final) || (g_file_test(manifest, G_FILE_TEST_IS_REGULAR) &&
							      g_file_test(ini, G_FILE_TEST_IS_REGULAR))))
		return TRUE;
	else
		g_set_error(error, VMM_ERROR, VMM_USAGE,
			    "%s is no run directory: --force replaces nothing else", final);
	return FALSE;
}

char *rundir_begin(const char *final, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(final);
	g_autofree char *base = g_path_get_basename(final);
	char *tmp = g_strdup_printf("%s/.%s.XXXXXX", parent, base);

	if (g_mkdir_with_parents(parent, 0777) == 0 && g_mkdtemp_full(tmp, 0777))
		return tmp;
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot write there: %s", parent, g_strerror(errno));
	g_free(tmp);
	return NULL;
}

void rundir_remove(const char *dir)
{
	GDir *d = g_dir_open(dir, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);

		if (g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK))
			rundir_remove(path);
		else
			g_unlink(path);
	}
	if (d)
		g_dir_close(d);
	g_rmdir(dir);
}

gboolean rundir_commit(const char *tmp, const char *final, gboolean force, GError **error)
{
	g_autofree char *old = NULL;

	if (force && g_file_test(final, G_FILE_TEST_EXISTS)) {
		old = g_strdup_printf("%s.old", tmp);
		if (g_rename(final, old))
			goto fail;
	}
	if (g_rename(tmp, final))
		goto fail;
	if (old)
		rundir_remove(old);
	return TRUE;
fail:
	g_set_error(error, VMM_ERROR, VMM_FAILED, "%s: cannot be put in place: %s (the results are in %s)", final,
		    g_strerror(errno), tmp);
	return FALSE;
}
