/* SPDX-License-Identifier: MIT */
/* rundir.c - run directories appear whole or not at all */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

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

gboolean rundir_begin(struct unfinished *tmp, const char *final, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(final);
	int ret = g_mkdir_with_parents(parent, 0777) ? -errno : unfinished_dir(tmp, final);

	if (!ret)
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_USAGE, "%s: cannot write there: %s", parent, g_strerror(-ret));
	return FALSE;
}

/* Put @tmp where an older directory is, which is then where @tmp was, or gone. 0 or -errno. */
static int replace(const char *tmp, const char *final)
{
	if (!renameat2(AT_FDCWD, tmp, AT_FDCWD, final, RENAME_EXCHANGE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system that cannot exchange: killed here, neither is left. */
	unfinished_remove(final);
	return rename(tmp, final) ? -errno : 0;
}

gboolean rundir_commit(struct unfinished *tmp, const char *final, gboolean force, GError **error)
{
	gboolean older = force && g_file_test(final, G_FILE_TEST_EXISTS);
	int ret = older ? replace(tmp->path, final) : rename(tmp->path, final) ? -errno : 0;

	if (ret)
		g_set_error(error, VMM_ERROR, VMM_FAILED,
			    "%s: cannot be put in place: %s (the results are in %s until the next run there)",
			    final, g_strerror(-ret), tmp->path);
	else if (older)
		unfinished_remove(tmp->path);
	unfinished_end(tmp);
	return ret == 0;
}

void rundir_drop(struct unfinished *tmp)
{
	unfinished_remove(tmp->path);
	unfinished_end(tmp);
}
