/* SPDX-License-Identifier: MIT */
/*
 * host_settings.c - changing settings of the host so that they are always put back
 *
 * Problem: a run may want KSM on, more mappings a process, or a swap file. These belong to the host, not to the run;
 * the run may end by Ctrl-C or kill -9, and others may run beside it.
 *
 * Idea: write ahead. Before a change, what was there goes into a journal together with who changes it (pid and start
 * time, so that a pid used again is not mistaken for its writer). A clean end puts back and removes the entries; an
 * entry whose writer is dead is work for whoever looks next. All of it happens under one lock, a change included.
 *
 * Several runs may *raise* one number (vm.max_map_count): each has an entry with the same old value, the highest wish
 * counts, and the last to leave restores. Everything else has one owner: the second run is refused by name.
 *
 * A setting is put back only while it holds what a run wrote, or what it held before: whoever changed it since had
 * reasons of their own, and it is left alone, with a word about it.
 *
 * Invariants (tests/unit/test_host_settings.c): a change without an entry does not exist (killed_between); after the
 * last writer is gone all is as before the first (last_one_restores); a live writer's change is never undone
 * (the_living_are_left_alone); two owners of one thing do not exist (the_second_is_refused).
 */
#define G_LOG_DOMAIN "vmm"
#include "vmm/host_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "vmm/host_journal.h"
#include "vmm/vmm.h"

#define KSM "/sys/kernel/mm/ksm/"

struct host_settings {
	const struct host_place *place;
	char *who;
};

static int real_swap_on(const char *path)
{
	return swapon(path, 0) ? -errno : 0;
}

static int real_swap_off(const char *path)
{
	return swapoff(path) ? -errno : 0;
}

static char *journal_dir(void)
{
	const char *given = g_getenv("OVERBOOK_RUNTIME_DIR");

	if (given && *given)
		return g_strdup(given);
	if (geteuid() == 0)
		return g_strdup("/run/overbook");
	return g_build_filename(g_get_user_runtime_dir(), "overbook", NULL);
}

const struct host_place *host_place(void)
{
	static struct host_place here = { .root = "", .swap_on = real_swap_on, .swap_off = real_swap_off };
	static gsize once;

	if (g_once_init_enter(&once)) {
		here.dir = journal_dir();
		g_once_init_leave(&once, 1);
	}
	return &here;
}

char *host_settings_read(const struct host_place *place, const char *path)
{
	g_autofree char *file = g_strconcat(place->root, path, NULL);
	char *text = NULL, *open, *close;

	if (!g_file_get_contents(file, &text, NULL, NULL))
		return NULL;
	g_strstrip(text);
	open = strchr(text, '[');
	close = open ? strchr(open, ']') : NULL;
	if (!close)
		return text;

	char *chosen = g_strndup(open + 1, (gsize)(close - open - 1));

	g_free(text);
	return chosen;
}

static int write_once(const struct host_place *place, const char *path, const char *value)
{
	g_autofree char *file = g_strconcat(place->root, path, NULL);
	int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		err = errno ? -errno : -EIO;
	if (close(fd) && !err)
		err = -errno;
	return err;
}

/* Some of KSM's knobs refuse to change while pages are merged, be it by processes that are gone. */
static int write_value(const struct host_place *place, const char *path, const char *value)
{
	int err = write_once(place, path, value);
	gboolean merged = err == -EBUSY && g_str_has_prefix(path, KSM);
	g_autofree char *run = merged ? host_settings_read(place, KSM "run") : NULL;

	if (!run)
		return err;
	err = write_once(place, KSM "run", "2");
	if (!err)
		err = write_once(place, path, value);
	write_once(place, KSM "run", run);
	return err;
}

static gboolean same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static struct journal_entry *find(const struct journal *j, enum journal_kind kind, const char *name, gboolean mine)
{
	for (guint i = 0; i < j->entries->len; i++) {
		struct journal_entry *e = g_ptr_array_index(j->entries, i);

		if (e->kind == kind && same(e->name, name) && journal_mine(e) == mine)
			return e;
	}
	return NULL;
}

/* What others that share the setting @e still want, or what it was. */
static const char *wanted_without(const struct journal *j, const struct journal_entry *e)
{
	const char *best = NULL;

	for (guint i = 0; i < j->entries->len; i++) {
		const struct journal_entry *o = g_ptr_array_index(j->entries, i);

		if (o == e || o->kind != JOURNAL_SETTING || !same(o->name, e->name))
			continue;
		if (!best || g_ascii_strtoull(o->value, NULL, 10) > g_ascii_strtoull(best, NULL, 10))
			best = o->value;
	}
	return best && g_ascii_strtoull(best, NULL, 10) > g_ascii_strtoull(e->old, NULL, 10) ? best : e->old;
}

static int restore_setting(const struct host_place *place, const struct journal *j, const struct journal_entry *e,
			   GString *done)
{
	const char *target = wanted_without(j, e);
	g_autofree char *now = host_settings_read(place, e->name);
	int err;

	if (j->rebooted || !now || same(now, target))
		return 0;
	if (!same(now, e->value) && !same(now, e->before)) {
		g_string_append_printf(done, "%s%s is %s by now and stays so", done->len ? ", " : "", e->name, now);
		return 0;
	}
	err = write_value(place, e->name, target);
	if (!err)
		g_string_append_printf(done, "%s%s is %s again", done->len ? ", " : "", e->name, target);
	return err;
}

static int restore_swap(const struct host_place *place, const struct journal *j, const struct journal_entry *e,
			GString *done)
{
	int err = j->rebooted ? -EINVAL : place->swap_off(e->name);

	if (!err)
		g_string_append_printf(done, "%sswapping to %s is off", done->len ? ", " : "", e->name);
	return err == -EINVAL || err == -ENOENT ? 0 : err; /* it was not on */
}

static int restore_file(const struct journal_entry *e, GString *done)
{
	if (g_unlink(e->name))
		return errno == ENOENT ? 0 : -errno;
	g_string_append_printf(done, "%s%s is removed", done->len ? ", " : "", e->name);
	return 0;
}

/*
 * Undo the change of the entry at @i and remove it, and say so in @done; if that is impossible it stays, and @done says
 * why.
 */
static gboolean restore(const struct host_place *place, struct journal *j, guint i, GString *done)
{
	const struct journal_entry *e = g_ptr_array_index(j->entries, i);
	int err = 0;

	switch (e->kind) {
	case JOURNAL_SETTING:
		err = restore_setting(place, j, e, done);
		break;
	case JOURNAL_SWAP:
		err = restore_swap(place, j, e, done);
		break;
	case JOURNAL_FILE:
		err = restore_file(e, done);
		break;
	case JOURNAL_CLAIM:
	case JOURNAL_KINDS:
		break;
	}
	if (err)
		g_string_append_printf(done, "%s%s cannot be put back to %s: %s", done->len ? ", " : "", e->name,
				       e->old ? e->old : "what it was", g_strerror(-err));
	else
		g_ptr_array_remove_index(j->entries, i);
	return !err;
}

/* Everything of dead writers, the last change first. */
static gboolean restore_dead(const struct host_place *place, struct journal *j, GString *done)
{
	g_autofree char *who = NULL;
	gboolean whole = TRUE;

	for (guint i = j->entries->len; i-- > 0;) {
		const struct journal_entry *e = g_ptr_array_index(j->entries, i);

		if (journal_alive(j, e))
			continue;
		if (!who)
			who = g_strdup_printf("%s (pid %d)", e->who ? e->who : "a run", (int)e->pid);
		whole = restore(place, j, i, done) && whole;
	}
	if (done->len) {
		g_autofree char *begin = g_strdup_printf("%s had left settings of the host changed: ", who);

		g_string_prepend(done, begin);
	}
	return whole;
}

static char *own_command(void)
{
	char *text = NULL;
	gsize n = 0;

	if (!g_file_get_contents("/proc/self/cmdline", &text, &n, NULL) || !n) {
		g_free(text);
		return g_strdup("a run");
	}
	for (gsize i = 0; i + 1 < n; i++)
		if (!text[i])
			text[i] = ' ';
	return text;
}

struct host_settings *host_settings_new(const struct host_place *place, const char *who)
{
	struct host_settings *s = g_new0(struct host_settings, 1);

	s->place = place ? place : host_place();
	s->who = who ? g_strdup(who) : own_command();
	return s;
}

/* The journal, with nothing of the dead in it any more. */
static struct journal *begin(const struct host_settings *s, GError **error)
{
	struct journal *j = journal_open(s->place->dir, error);
	g_autoptr(GString) done = g_string_new(NULL);
	guint before = j ? j->entries->len : 0;

	if (!j)
		return NULL;
	restore_dead(s->place, j, done);
	if (done->len)
		g_message("%s", done->str);
	j->rebooted = FALSE; /* what is added is of this boot */
	if (j->entries->len == before || journal_store(j, error))
		return j;
	journal_close(j);
	return NULL;
}

static gboolean refuse(const struct journal_entry *e, const char *what, GError **error)
{
	g_set_error(error, VMM_ERROR, VMM_LACKS, "%s is in use by another run: %s (pid %d); wait for its end", what,
		    e->who, (int)e->pid);
	return FALSE;
}

/* Drop what was just added, because it did not happen. */
static gboolean take_back(struct journal *j, struct journal_entry *e, const char *what, int err, GError **error)
{
	if (e) {
		g_ptr_array_remove(j->entries, e);
		journal_store(j, NULL);
	}
	g_set_error(error, VMM_ERROR, VMM_LACKS, "%s: %s%s", what, g_strerror(-err),
		    err == -EACCES || err == -EPERM ? ": run as root, or set it yourself" : "");
	return FALSE;
}

gboolean host_settings_claim(struct host_settings *s, const char *what, GError **error)
{
	struct journal *j = begin(s, error);
	gboolean ok = j != NULL;
	const struct journal_entry *other = j ? find(j, JOURNAL_CLAIM, what, FALSE) : NULL;

	if (other)
		ok = refuse(other, what, error);
	else if (j && !find(j, JOURNAL_CLAIM, what, TRUE)) {
		journal_add(j, JOURNAL_CLAIM, what, s->who);
		ok = journal_store(j, error);
	}
	if (j)
		journal_close(j);
	return ok;
}

static gboolean change(const struct host_settings *s, struct journal *j, const char *path, const char *value,
		       gboolean shared, GError **error)
{
	g_autofree char *now = host_settings_read(s->place, path), *after = NULL;
	struct journal_entry *other = find(j, JOURNAL_SETTING, path, FALSE), *e = find(j, JOURNAL_SETTING, path, TRUE);
	struct journal_entry *fresh = NULL;
	int err = 0;

	if (!now)
		return take_back(j, NULL, path, errno ? -errno : -ENOENT, error);
	if (other && !(other->shared && shared))
		return refuse(other, path, error);
	if (!e) {
		e = fresh = journal_add(j, JOURNAL_SETTING, path, s->who);
		e->old = g_strdup(other ? other->old : now);
		e->shared = shared;
	}
	g_free(e->before);
	e->before = e->value;
	e->value = g_strdup(value);
	if (!journal_store(j, error))
		return FALSE;
	if (!shared || g_ascii_strtoull(now, NULL, 10) < g_ascii_strtoull(value, NULL, 10))
		err = write_value(s->place, path, value);
	if (err) {
		g_autofree char *what = g_strdup_printf("%s = %s", path, value);

		return take_back(j, fresh, what, err, error);
	}
	after = host_settings_read(s->place, path);
	if (shared || !after || same(after, e->value))
		return TRUE;
	g_free(e->before); /* the kernel made something else of it */
	e->before = e->value;
	e->value = g_steal_pointer(&after);
	return journal_store(j, error);
}

gboolean host_settings_set(struct host_settings *s, const char *path, const char *value, GError **error)
{
	struct journal *j = begin(s, error);
	gboolean ok = j && change(s, j, path, value, FALSE, error);

	if (j)
		journal_close(j);
	return ok;
}

gboolean host_settings_raise(struct host_settings *s, const char *path, uint64_t least, GError **error)
{
	g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, least);
	g_autofree char *now = host_settings_read(s->place, path);
	struct journal *j;
	gboolean ok;

	/* Nobody has lowered it meanwhile, and nobody will: no journal is needed, so no privilege either. */
	if (now && g_ascii_strtoull(now, NULL, 10) >= least && !journal_exists(s->place->dir))
		return TRUE;
	j = begin(s, error);
	ok = j && change(s, j, path, value, TRUE, error);
	if (j)
		journal_close(j);
	return ok;
}

gboolean host_settings_swap_on(struct host_settings *s, const char *file, GError **error)
{
	struct journal *j = begin(s, error);
	struct journal_entry *e = j ? journal_add(j, JOURNAL_SWAP, file, s->who) : NULL;
	gboolean ok = j && journal_store(j, error);
	int err = ok ? s->place->swap_on(file) : 0;

	if (err)
		ok = take_back(j, e, file, err, error);
	if (j)
		journal_close(j);
	return ok;
}

gboolean host_settings_file(struct host_settings *s, const char *file, GError **error)
{
	struct journal *j = begin(s, error);
	gboolean ok = FALSE;

	if (j) {
		journal_add(j, JOURNAL_FILE, file, s->who);
		ok = journal_store(j, error);
		journal_close(j);
	}
	return ok;
}

void host_settings_free(struct host_settings *s)
{
	g_autoptr(GString) done = g_string_new(NULL);
	GError *error = NULL;
	struct journal *j = journal_exists(s->place->dir) ? journal_open(s->place->dir, &error) : NULL;
	gboolean whole = TRUE;

	for (guint i = j ? j->entries->len : 0; i-- > 0;)
		if (journal_mine(g_ptr_array_index(j->entries, i)))
			whole = restore(s->place, j, i, done) && whole;
	if (!whole)
		g_warning("%s", done->str);
	if (j && !journal_store(j, &error)) {
		g_warning("%s", error->message);
		g_clear_error(&error);
	}
	if (j)
		journal_close(j);
	g_clear_error(&error);
	g_free(s->who);
	g_free(s);
}

char *host_settings_repair(const struct host_place *place, gboolean *whole)
{
	g_autoptr(GString) done = g_string_new(NULL);
	GError *error = NULL;
	struct journal *j;
	gboolean ok = TRUE;

	place = place ? place : host_place();
	if (whole)
		*whole = TRUE;
	if (!journal_exists(place->dir))
		return NULL;
	j = journal_open(place->dir, &error);
	if (j) {
		ok = restore_dead(place, j, done);
		ok = journal_store(j, &error) && ok;
		journal_close(j);
	}
	if (whole)
		*whole = ok && !error;
	if (error)
		g_string_append_printf(done, "%s%s", done->len ? "; " : "", error->message);
	g_clear_error(&error);
	return done->len ? g_strdup(done->str) : NULL;
}

char *host_settings_list(const struct host_place *place)
{
	g_autoptr(GString) out = g_string_new(NULL);
	struct journal *j;

	place = place ? place : host_place();
	j = journal_exists(place->dir) ? journal_open(place->dir, NULL) : NULL;
	for (guint i = 0; j && i < j->entries->len; i++) {
		const struct journal_entry *e = g_ptr_array_index(j->entries, i);

		g_string_append_printf(out, "%s%s%s%s by %s (pid %d, %s)\n", e->name, e->value ? " = " : "",
				       e->value ? e->value : "", e->kind == JOURNAL_SWAP ? " swaps" : "",
				       e->who ? e->who : "a run", (int)e->pid,
				       journal_alive(j, e) ? "running" : "dead");
	}
	if (j)
		journal_close(j);
	return out->len ? g_strdup(out->str) : NULL;
}
