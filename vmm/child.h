/* SPDX-License-Identifier: MIT */
/* child.h - processes that must not outlive this one, whatever ends it */
#ifndef OVERBOOK_VMM_CHILD_H
#define OVERBOOK_VMM_CHILD_H

#include <glib.h>

/*
 * In a new child, before anything else: end when the parent does. @parent is GINT_TO_POINTER() of its pid, taken before
 * the fork; the shape is g_spawn's child_setup, so only what is safe after a fork happens here.
 */
void child_dies_with(gpointer parent);

#endif
