/* SPDX-License-Identifier: MIT */
/* doctor.h - private to `overbook doctor`: findings, one line each, of the host and of its KVM */
#ifndef OVERBOOK_VMM_DOCTOR_H
#define OVERBOOK_VMM_DOCTOR_H

#include <glib.h>

/*
 * @verdict: "ok"; "note", works, but know this; "lacks", something will not work, and the text says what and how to get
 * it.
 */
void doctor_say(const char *verdict, const char *what, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* "ok" if @there, else @verdict and @otherwise. */
void doctor_has(gboolean there, const char *what, const char *text, const char *verdict, const char *otherwise);
/* The first line of a small file, or NULL; g_free. */
char *doctor_line(const char *path);

void doctor_kvm(void);	/* doctor_kvm.c */
void doctor_host(void); /* doctor_host.c */

#endif
