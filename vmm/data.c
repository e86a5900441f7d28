/* SPDX-License-Identifier: MIT */
/* data.c - finding shipped files */
#include <glib.h>

#include "vmm/data.h"

/* The folder that holds the running program's folder: build/overbook lies in the tree, bin/overbook in the prefix. */
static char *program_root(void)
{
	g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *dir = exe ? g_path_get_dirname(exe) : g_get_current_dir();

	return g_path_get_dirname(dir);
}

char *data_path(const char *name)
{
	const char *env = g_getenv("OVERBOOK_DATA");
	g_autofree char *root = program_root();
	char *places[] = {
		env ? g_build_filename(env, name, NULL) : NULL,
		g_build_filename(root, "results", name, NULL),
		g_build_filename(root, "..", "results", name, NULL),
		g_build_filename(root, "share", "overbook", name, NULL),
	};
	char *found = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		if (!found && places[i] && g_file_test(places[i], G_FILE_TEST_IS_REGULAR))
			found = places[i];
		else
			g_free(places[i]);
	}
	return found;
}
