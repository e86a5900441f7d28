/* SPDX-License-Identifier: MIT */
/*
 * unfinished.c - see unfinished.h
 *
 * Between making a name and locking it there is a moment in which it looks like one of the dead. So makers and sweepers
 * take turns: either locks the folder itself meanwhile. Where a file system has no locks (some NFS) nothing is swept,
 * because nobody can be told from the dead.
 *
 * Invariants (tests/unit/test_unfinished.c): what a live process makes is never swept; what is not called like ours,
 * and what lies deeper, is never touched; a symbolic link is not followed.
 */
#include "vmm/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "mm/err.h"

#define MARK   ".overbook-"
#define RANDOM "XXXXXX"

/* Lock @path, which is not followed, and wait for it if @how is LOCK_EX. The descriptor that holds it, or -errno. */
static int lock(const char *path, int how)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	do
		ret = flock(fd, how) ? -errno : 0;
	while (ret == -EINTR);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

static void unlock(int fd)
{
	if (fd >= 0)
		close(fd);
}

static char *template(const char *final)
{
	g_autofree char *dir = g_path_get_dirname(final), *name = g_path_get_basename(final);

	return g_strdup_printf("%s/.%s" MARK RANDOM, dir, name);
}

static int make(struct unfinished *u, const char *final, gboolean is_dir)
{
	g_autofree char *parent = g_path_get_dirname(final);
	int turn = lock(parent, LOCK_EX);
	int ret = 0;

	*u = (struct unfinished){ .path = template(final), .fd = -1 };
	if (!is_dir)
		u->fd = g_mkstemp_full(u->path, O_RDWR | O_CLOEXEC, 0666);
	else if (g_mkdtemp_full(u->path, 0777))
		u->fd = open(u->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u->fd < 0) {
		ret = errno ? ERR(-errno) : ERR(-EIO);
		g_clear_pointer(&u->path, g_free);
	} else {
		flock(u->fd, LOCK_EX);
	}
	unlock(turn);
	return ret;
}

int unfinished_dir(struct unfinished *u, const char *final)
{
	return make(u, final, TRUE);
}

int unfinished_file(struct unfinished *u, const char *final)
{
	return make(u, final, FALSE);
}

void unfinished_end(struct unfinished *u)
{
	if (u->path)
		close(u->fd);
	g_clear_pointer(&u->path, g_free);
}

void unfinished_remove(const char *path)
{
	gboolean is_dir = g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK);
	GDir *d = is_dir ? g_dir_open(path, 0, NULL) : NULL;
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *below = g_build_filename(path, name, NULL);

		unfinished_remove(below);
	}
	if (d)
		g_dir_close(d);
	g_remove(path);
}

/* .NAME.overbook-XXXXXX, with a NAME. */
static gboolean is_ours(const char *name)
{
	size_t n = strlen(name), tail = strlen(MARK RANDOM);

	return name[0] == '.' && n > 1 + tail && g_str_has_prefix(name + n - tail, MARK);
}

/* Remove @path if nobody holds it. */
static gboolean sweep(const char *path)
{
	int fd = lock(path, LOCK_EX | LOCK_NB);

	if (fd < 0)
		return FALSE;
	unfinished_remove(path);
	close(fd);
	return g_access(path, F_OK) != 0;
}

char *unfinished_sweep(const char *final)
{
	g_autofree char *parent = g_path_get_dirname(final);
	g_autoptr(GString) names = g_string_new(NULL);
	int turn = lock(parent, LOCK_EX);
	GDir *d = turn < 0 ? NULL : g_dir_open(parent, 0, NULL);
	const char *name;
	unsigned n = 0;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(parent, name, NULL);

		if (is_ours(name) && sweep(path))
			g_string_append_printf(names, "%s%s", n++ ? ", " : "", name);
	}
	if (d)
		g_dir_close(d);
	unlock(turn);
	return n ? g_strdup_printf("removed from %s what a killed process had not finished: %s", parent, names->str) :
		   NULL;
}
