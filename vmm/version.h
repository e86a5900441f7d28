/* SPDX-License-Identifier: MIT */
#ifndef OVERBOOK_VMM_VERSION_H
#define OVERBOOK_VMM_VERSION_H

#define OVERBOOK_VERSION "0.1"

/* The commit it was built from, with "+" if the tree had changes; "unknown" outside a checkout (Makefile). */
extern const char overbook_commit[];

#endif
