/* SPDX-License-Identifier: MIT */
/* host_journal.c - reading and writing the journal of changed host settings */
#define G_LOG_DOMAIN "vmm"
#include "vmm/host_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "vmm/vmm.h"

static const char *const kinds[JOURNAL_KINDS] = { "setting", "claim", "swap", "file" };

static void entry_free(gpointer p)
{
	struct journal_entry *e = p;

	g_free(e->name);
	g_free(e->old);
	g_free(e->value);
	g_free(e->before);
	g_free(e->who);
	g_free(e);
}

/* Field 22 of /proc/PID/stat; the second is in parentheses and may hold anything. 0: no such process, or a zombie. */
static uint64_t start_of(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
	g_autofree char *text = NULL;
	const char *p;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(p = strrchr(text, ')')))
		return 0;

	g_auto(GStrv) field = g_strsplit(p + 2, " ", -1);

	if (g_strv_length(field) < 20 || *field[0] == 'Z' || *field[0] == 'X')
		return 0;
	return g_ascii_strtoull(field[19], NULL, 10);
}

static char *boot_id(void)
{
	char *id = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, NULL))
		return g_strdup("");
	return g_strstrip(id);
}

gboolean journal_mine(const struct journal_entry *e)
{
	return e->pid == getpid() && e->start == start_of(getpid());
}

gboolean journal_alive(const struct journal *j, const struct journal_entry *e)
{
	return !j->rebooted && e->start && start_of(e->pid) == e->start;
}

struct journal_entry *journal_add(struct journal *j, enum journal_kind kind, const char *name, const char *who)
{
	struct journal_entry *e = g_new0(struct journal_entry, 1);

	e->kind = kind;
	e->name = g_strdup(name);
	e->who = g_strdup(who);
	e->pid = getpid();
	e->start = start_of(e->pid);
	g_ptr_array_add(j->entries, e);
	return e;
}

static const char *text_of(JsonObject *o, const char *member)
{
	JsonNode *n = json_object_get_member(o, member);

	return n && JSON_NODE_HOLDS_VALUE(n) ? json_node_get_string(n) : NULL;
}

static int64_t number_of(JsonObject *o, const char *member)
{
	JsonNode *n = json_object_get_member(o, member);

	return n && JSON_NODE_HOLDS_VALUE(n) ? json_node_get_int(n) : 0;
}

static gboolean read_entry(struct journal *j, JsonNode *node)
{
	JsonObject *o = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
	const char *kind = o ? text_of(o, "kind") : NULL, *name = o ? text_of(o, "name") : NULL;
	unsigned k = 0;

	while (kind && k < JOURNAL_KINDS && strcmp(kind, kinds[k]))
		k++;
	if (!kind || !name || k == JOURNAL_KINDS || (k == JOURNAL_SETTING && !text_of(o, "old")))
		return FALSE;

	struct journal_entry *e = g_new0(struct journal_entry, 1);

	e->kind = (enum journal_kind)k;
	e->name = g_strdup(name);
	e->old = g_strdup(text_of(o, "old"));
	e->value = g_strdup(text_of(o, "value"));
	e->before = g_strdup(text_of(o, "before"));
	e->who = g_strdup(text_of(o, "who"));
	e->shared = number_of(o, "shared") != 0;
	e->pid = (pid_t)number_of(o, "pid");
	e->start = (uint64_t)number_of(o, "start");
	g_ptr_array_add(j->entries, e);
	return TRUE;
}

static gboolean read_all(struct journal *j, JsonNode *root)
{
	JsonObject *o = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
	JsonNode *list = o ? json_object_get_member(o, "changes") : NULL;
	const char *boot = o ? text_of(o, "boot") : NULL;
	g_autofree char *now = boot_id();
	gboolean ok = TRUE;

	if (!boot || !list || !JSON_NODE_HOLDS_ARRAY(list))
		return FALSE;
	j->rebooted = strcmp(boot, now) != 0;

	JsonArray *a = json_node_get_array(list);

	for (guint i = 0; i < json_array_get_length(a) && ok; i++)
		ok = read_entry(j, json_array_get_element(a, i));
	return ok;
}

static void read_file(struct journal *j)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	GError *error = NULL;

	if (!g_file_test(j->path, G_FILE_TEST_EXISTS))
		return;
	if (json_parser_load_from_file(parser, j->path, &error) && read_all(j, json_parser_get_root(parser)))
		return;

	g_autofree char *aside = g_strconcat(j->path, ".bad", NULL);

	g_warning("%s makes no sense (%s): put aside as %s", j->path, error ? error->message : "not a journal", aside);
	g_clear_error(&error);
	g_ptr_array_set_size(j->entries, 0);
	if (g_rename(j->path, aside))
		g_warning("%s: %s", aside, g_strerror(errno));
}

static int lock(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "settings.lock", NULL);
	int fd = -1;

	if (g_mkdir_with_parents(dir, 0755) == 0)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	while (fd >= 0 && flock(fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		close(fd);
		fd = -1;
	}
	return fd;
}

/* New versions that somebody was killed over: whoever writes one holds the lock. */
static void sweep(const char *dir)
{
	GDir *d = g_dir_open(dir, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);

		if (g_str_has_prefix(name, "settings.json.") && !g_str_has_suffix(name, ".bad"))
			g_unlink(path);
	}
	if (d)
		g_dir_close(d);
}

struct journal *journal_open(const char *dir, GError **error)
{
	int fd = lock(dir);

	if (fd < 0) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "%s: %s: no setting of the host is changed without a journal",
			    dir, g_strerror(errno));
		return NULL;
	}
	struct journal *j = g_new0(struct journal, 1);

	j->lock_fd = fd;
	j->path = g_build_filename(dir, "settings.json", NULL);
	j->entries = g_ptr_array_new_with_free_func(entry_free);
	sweep(dir);
	read_file(j);
	return j;
}

gboolean journal_exists(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "settings.json", NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void put_text(JsonBuilder *b, const char *member, const char *text)
{
	if (!text)
		return;
	json_builder_set_member_name(b, member);
	json_builder_add_string_value(b, text);
}

static void put_number(JsonBuilder *b, const char *member, int64_t n)
{
	json_builder_set_member_name(b, member);
	json_builder_add_int_value(b, n);
}

static void put_entry(JsonBuilder *b, const struct journal_entry *e)
{
	json_builder_begin_object(b);
	put_text(b, "kind", kinds[e->kind]);
	put_text(b, "name", e->name);
	put_text(b, "old", e->old);
	put_text(b, "value", e->value);
	put_text(b, "before", e->before);
	put_text(b, "who", e->who);
	put_number(b, "shared", e->shared);
	put_number(b, "pid", e->pid);
	put_number(b, "start", (int64_t)e->start);
	json_builder_end_object(b);
}

gboolean journal_store(struct journal *j, GError **error)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	g_autofree char *boot = boot_id();

	if (!j->entries->len) {
		if (g_unlink(j->path) == 0 || errno == ENOENT)
			return TRUE;
		g_set_error(error, VMM_ERROR, VMM_LACKS, "%s: %s", j->path, g_strerror(errno));
		return FALSE;
	}
	json_builder_begin_object(b);
	put_text(b, "boot", boot);
	json_builder_set_member_name(b, "changes");
	json_builder_begin_array(b);
	for (guint i = 0; i < j->entries->len; i++)
		put_entry(b, g_ptr_array_index(j->entries, i));
	json_builder_end_array(b);
	json_builder_end_object(b);

	g_autoptr(JsonNode) root = json_builder_get_root(b);
	g_autofree char *text = json_to_string(root, TRUE);
	GError *why = NULL;

	if (g_file_set_contents_full(j->path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
				     0644, &why))
		return TRUE;
	g_set_error(error, VMM_ERROR, VMM_LACKS, "%s", why->message);
	g_error_free(why);
	return FALSE;
}

void journal_close(struct journal *j)
{
	close(j->lock_fd);
	g_ptr_array_unref(j->entries);
	g_free(j->path);
	g_free(j);
}
