/* SPDX-License-Identifier: MIT */
/*
 * unfinished.h - results under a temporary name, and what killed processes have left of theirs
 *
 * What overbook makes appears under its name when it is complete. Until then it is DIR/.NAME.overbook-XXXXXX beside it,
 * locked by its maker. A lock ends with its process, whatever ended that; so one that nobody holds belongs to the dead,
 * and whoever makes something in the same folder next removes it. tests/cli/check_kill.sh holds this.
 */
#ifndef OVERBOOK_VMM_UNFINISHED_H
#define OVERBOOK_VMM_UNFINISHED_H

#include <glib.h>

struct unfinished {
	char *path; /* NULL: nothing */
	int fd;	    /* of the file or directory; holds the lock. Not inherited by other programs */
};

/* A new directory, or empty file, on the way to be @final; its folder exists. 0 or -errno. */
int unfinished_dir(struct unfinished *u, const char *final);
int unfinished_file(struct unfinished *u, const char *final);
/* Close it: it has been renamed or removed. */
void unfinished_end(struct unfinished *u);

/* Remove what the dead have left in @final's folder. One line that says what, or NULL if there was nothing; g_free. */
char *unfinished_sweep(const char *final);

/* Remove a file or a directory tree that is not to be kept. */
void unfinished_remove(const char *path);

#endif
