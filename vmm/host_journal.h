/* SPDX-License-Identifier: MIT */
/*
 * host_journal.h - the file in which live runs say what of the host they have changed
 *
 * One JSON file for all runs of this user, beside a lock file: journal_open() locks and reads, journal_store() writes
 * (a new file, fsync, rename), journal_close() unlocks. Hold it for moments only. What the entries mean is
 * host_settings.c's.
 */
#ifndef OVERBOOK_VMM_HOST_JOURNAL_H
#define OVERBOOK_VMM_HOST_JOURNAL_H

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

enum journal_kind {
	JOURNAL_SETTING, /* name: a file of /sys or /proc/sys */
	JOURNAL_CLAIM,	 /* name: what no two runs may use at once */
	JOURNAL_SWAP,	 /* name: a file or device that swapping was switched on for */
	JOURNAL_FILE,	 /* name: a file that must not outlive its run */
	JOURNAL_KINDS,
};

struct journal_entry {
	enum journal_kind kind;
	gboolean shared; /* a setting that several runs may raise */
	char *name;
	char *old;    /* settings: before anybody's change; NULL otherwise */
	char *value;  /* what the writer made of it */
	char *before; /* the writer's value before that; NULL: there was none */
	pid_t pid;
	uint64_t start; /* of the process, in ticks since boot: pids are used again */
	char *who;	/* its command */
};

struct journal {
	char *path;
	int lock_fd;
	gboolean rebooted;  /* what is in it is from before the last boot */
	GPtrArray *entries; /* of struct journal_entry, oldest change first */
};

/* NULL: @dir cannot be made or used. A file that makes no sense is put aside, with a warning. */
struct journal *journal_open(const char *dir, GError **error);
/* Whether journal_open() would find anything; changes nothing. */
gboolean journal_exists(const char *dir);
/* Write it durably; nothing left: no file. */
gboolean journal_store(struct journal *j, GError **error);
void journal_close(struct journal *j);

struct journal_entry *journal_add(struct journal *j, enum journal_kind kind, const char *name, const char *who);
/* Whether the process that wrote it still runs. */
gboolean journal_alive(const struct journal *j, const struct journal_entry *e);
gboolean journal_mine(const struct journal_entry *e);

#endif
