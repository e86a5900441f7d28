/* SPDX-License-Identifier: MIT */
/* data.h - where the files that overbook ships are found: figure templates and the style of reports */
#ifndef OVERBOOK_VMM_DATA_H
#define OVERBOOK_VMM_DATA_H

/*
 * The path of shipped file @name ("figures/time.gp"), g_free: below $OVERBOOK_DATA if set, else beside the
 * build tree the program runs from (results/), else where `make install` puts it. NULL if it is nowhere.
 */
char *data_path(const char *name);

#endif
