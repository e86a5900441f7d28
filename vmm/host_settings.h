/* SPDX-License-Identifier: MIT */
/*
 * host_settings.h - changing settings of the host so that they are always put back
 *
 * KSM's knobs, vm.max_map_count, a swap file: whoever changes what belongs to the whole host does it through here.
 * Nothing is written before a journal says what was there, so that what a killed run leaves behind is found and put
 * back by the next one, or by `overbook doctor --repair`.
 */
#ifndef OVERBOOK_VMM_HOST_SETTINGS_H
#define OVERBOOK_VMM_HOST_SETTINGS_H

#include <glib.h>
#include <stdint.h>

/* Where the host is; tests have one of their own. */
struct host_place {
	const char *root; /* what /sys and /proc/sys are relative to; "" for this host */
	const char *dir;  /* of the journal */
	/* 0 or -errno. */
	int (*swap_on)(const char *path);
	int (*swap_off)(const char *path);
};

/* This host. The journal is in $OVERBOOK_RUNTIME_DIR, or /run/overbook for root, or $XDG_RUNTIME_DIR/overbook. */
const struct host_place *host_place(void);

/* A setting's value, the chosen one of "always [madvise] never"; NULL: there is none, or it cannot be read. g_free. */
char *host_settings_read(const struct host_place *place, const char *path);

/*
 * What one run changes. @place is borrowed, NULL for this host; @who is the command, for others to read, NULL for that
 * of this process.
 * host_settings_free() puts everything back, the last change first; what cannot be put back stays in the journal.
 */
struct host_settings *host_settings_new(const struct host_place *place, const char *who);
void host_settings_free(struct host_settings *s);

/*
 * Nobody else may use @what ("KSM") while this run lives. FALSE: another live run does, and the error (VMM_LACKS) says
 * which. Claim before the first change.
 */
gboolean host_settings_claim(struct host_settings *s, const char *what, GError **error);
/* @path becomes @value. FALSE, VMM_LACKS: not allowed, not there, or another live run has changed it. */
gboolean host_settings_set(struct host_settings *s, const char *path, const char *value, GError **error);
/* A number becomes at least @least, for as long as any run wants that. */
gboolean host_settings_raise(struct host_settings *s, const char *path, uint64_t least, GError **error);
/* Swap on @file, which exists and is formatted. */
gboolean host_settings_swap_on(struct host_settings *s, const char *file, GError **error);
/* @file, about to be made, must not outlive the run. */
gboolean host_settings_file(struct host_settings *s, const char *file, GError **error);

/*
 * Put back what runs that are dead have changed. One line that says what came of it, or NULL if there was nothing;
 * g_free. *whole, if not NULL: nothing is left to do.
 */
char *host_settings_repair(const struct host_place *place, gboolean *whole);
/* What live and dead runs have changed at present, a line for each change; NULL: nothing. Changes nothing. */
char *host_settings_list(const struct host_place *place);

#endif
