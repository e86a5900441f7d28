/* SPDX-License-Identifier: MIT */
/*
 * store_file.c - pages on the device: a file without a name, written behind and read ahead
 *
 * Problem: evicting a page must not wait for the device, and what the experiment measures must be the device, not the
 * kernel's page cache before it; yet a page may be wanted back while it is still on its way.
 *
 * Idea. A page that goes is copied to a buffer, and the eviction is over. When the memory manager announces what lies
 * together (file_write), neighbours in neighbouring buffers become one command through io_uring. Until the command has
 * ended the slot's bytes are the buffer's: a load copies them from there. A page that is dropped before it was sent is
 * not sent; one that is dropped in flight leaves its buffer *detached*, whose outcome nobody wants, and no later write
 * to the same slot is sent before that has landed. A command that fails leaves its slots *lost*: loading them is an I/O
 * error. Reads are store_ahead.c's.
 *
 * The file is made by O_TMPFILE, or unlinked at once, so that nothing is left when the process is killed; room for all
 * of it is reserved at the start. O_DIRECT where the file system has it. Without io_uring (old kernel, seccomp)
 * commands are pwrite() and the writer waits.
 *
 * Structures: a word for each slot, which is nothing, lost, on the device, or in buffer i; a ring of buffers, taken in
 * turn, so that what is saved in turn lies together.
 *
 * Invariants (tests/unit/test_store.c, against a naive model): a slot has one buffer at most that is not detached; what
 * is loaded is what was saved last; `filled` and `flying` count the buffers in those states.
 *
 * Source: Linux mm/page_io.c (swap_writepage), mm/swap_state.c.
 */
#define G_LOG_DOMAIN "kvm"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/magic.h>

#include "mm/err.h"
#include "mm/lazy.h"
#include "vmm/kvm/store_impl.h"
#include "vmm/vmm.h"

#define MEMORY_SIZE ((FILE_BUFFERS + 2 * FILE_AHEAD) * (size_t)PAGE_SIZE)
#define RING_ENTRIES 256u

static uint8_t *buffer_data(const struct store_file *f, unsigned i)
{
	return f->memory + (size_t)i * PAGE_SIZE;
}

/* A file in @dir that no name leads to; around the page cache unless @buffered or the file system cannot. */
static int open_nameless(const char *dir, bool buffered, bool *direct)
{
	char *path;
	int fd;

	*direct = !buffered;
	if (!buffered) {
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
		if (fd >= 0)
			return fd;
		g_debug("swap file in %s: O_DIRECT: %s; the kernel's page cache is used", dir, g_strerror(errno));
		*direct = false;
	}
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	path = g_build_filename(dir, "overbook-swap-XXXXXX", NULL);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	g_free(path);
	return fd;
}

/* 0, or an errno: the file gets @nbytes of room, of which *nfree there are. */
static int reserve(int fd, uint64_t nbytes, uint64_t *nfree)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return errno;
	*nfree = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (*nfree < nbytes)
		return ENOSPC;
	/* On tmpfs reserved is taken: pages of memory, zeroed. */
	if (fs.f_type == TMPFS_MAGIC || (fallocate(fd, 0, 0, (off_t)nbytes) && errno == EOPNOTSUPP))
		return ftruncate(fd, (off_t)nbytes) ? errno : 0;
	return fallocate(fd, 0, 0, (off_t)nbytes) ? errno : 0;
}

/* O_DIRECT may be refused as late as at the first read or write. */
static bool direct_works(const struct store_file *f)
{
	return pwrite(f->fd, f->memory, PAGE_SIZE, 0) == PAGE_SIZE || errno != EINVAL;
}

static gboolean file_open(struct store_file *f, const struct store_config *cfg, GError **error)
{
	const char *dir = cfg->directory, *tmp = g_getenv("TMPDIR");
	uint64_t nbytes = cfg->nslots * PAGE_SIZE, nfree = 0;
	int err;

	if (!dir || !*dir)
		dir = tmp && *tmp ? tmp : "/var/tmp";
	f->fd = open_nameless(dir, cfg->buffered, &f->direct);
	if (f->fd < 0) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "[swap] directory = %s: cannot make a swap file there: %s",
			    dir, g_strerror(errno));
		return FALSE;
	}
	err = reserve(f->fd, nbytes, &nfree);
	if (err == ENOSPC) {
		g_set_error(error, VMM_ERROR, VMM_LACKS,
			    "[swap] size: no room for %" PRIu64 " MiB in %s, which has %" PRIu64
			    " MiB free; make it smaller, or give another [swap] directory",
			    nbytes >> 20, dir, nfree >> 20);
		return FALSE;
	}
	if (err) {
		g_set_error(error, VMM_ERROR, VMM_LACKS, "[swap] directory = %s: swap file of %" PRIu64 " MiB: %s", dir,
			    nbytes >> 20, g_strerror(err));
		return FALSE;
	}
	if (f->direct && !direct_works(f)) {
		g_debug("swap file in %s: no direct I/O of 4 KiB; the kernel's page cache is used", dir);
		f->direct = false;
		fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_DIRECT);
	}
	return TRUE;
}

static void ring_open(struct store_file *f)
{
	struct iovec iov = { f->memory, MEMORY_SIZE };
	int err = io_uring_queue_init(RING_ENTRIES, &f->ring, 0);

	if (err < 0) {
		g_debug("io_uring: %s; pages are read and written by plain system calls", g_strerror(-err));
		return;
	}
	f->has_ring = true;
	/* Pinning them fails where little memory may be locked; then they are looked up at each command. */
	f->has_fixed = !io_uring_register_buffers(&f->ring, &iov, 1);
}

struct store_file *file_new(const struct store_config *cfg, GError **error)
{
	struct store_file *f = g_new0(struct store_file, 1);

	f->fd = -1;
	f->nslots = cfg->nslots;
	f->cluster = cfg->cluster;
	f->state = lazy_new(cfg->nslots * sizeof(*f->state));
	f->memory = lazy_new(MEMORY_SIZE);
	if (!f->state || !f->memory) {
		g_set_error(error, VMM_ERROR, VMM_FAILED,
			    "[swap] size: no address space for a table of %" PRIu64 " slots", cfg->nslots);
		file_free(f);
		return NULL;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(f->window); i++)
		f->window[i].data = buffer_data(f, FILE_BUFFERS + i * FILE_AHEAD);
	if (!file_open(f, cfg, error)) {
		file_free(f);
		return NULL;
	}
	if (!cfg->plain)
		ring_open(f);
	f->stats.direct = f->direct;
	f->stats.ring = f->has_ring;
	return f;
}

void file_free(struct store_file *f)
{
	if (f->has_ring) {
		/* The kernel writes to our memory until the last command has ended. */
		while (f->flying || f->window[0].flying || f->window[1].flying)
			file_reap(f, true);
		io_uring_queue_exit(&f->ring);
	}
	if (f->fd >= 0)
		close(f->fd);
	lazy_free(f->memory, MEMORY_SIZE);
	lazy_free(f->state, f->nslots * sizeof(*f->state));
	g_free(f);
}

/* Write buffers [i, i + n), of neighbouring slots, now. Bytes, or -errno. */
static int write_here(const struct store_file *f, unsigned i, unsigned n)
{
	uint64_t at = f->buffers[i].slot * PAGE_SIZE;
	ssize_t got;

	do
		got = pwrite(f->fd, buffer_data(f, i), (size_t)n * PAGE_SIZE, (off_t)at);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : (int)got;
}

/* The write of buffers [i, i + n), of neighbouring slots, has ended with @res: bytes, or -errno. */
static void write_done(struct store_file *f, unsigned i, unsigned n, int res)
{
	unsigned good;

	/* The kernel gives up what it has not begun when the thread that sent it ends, or is signalled too often. */
	if (res == -ECANCELED || res == -EINTR)
		res = write_here(f, i, n);
	good = res > 0 ? (unsigned)res / PAGE_SIZE : 0;
	if (good < n && !f->told) {
		/* Half a write is no error yet, but the rest would be one: the device is full. */
		g_warning("swap file: a write of %u pages at slot %" PRIu64
			  " failed: %s. Pages are lost, who needs them ends",
			  n, f->buffers[i].slot, g_strerror(res < 0 ? -res : ENOSPC));
		f->told = true;
	}
	for (unsigned k = 0; k < n; k++) {
		struct file_buffer *b = &f->buffers[i + k];

		if (b->detached)
			f->detached--;
		else
			f->state[b->slot] = k < good ? SLOT_DEVICE : SLOT_LOST;
		f->stats.lost += k >= good && !b->detached;
		*b = (struct file_buffer){ .state = BUFFER_FREE };
	}
	f->flying -= n;
}

void file_reap(struct store_file *f, bool wait)
{
	struct io_uring_cqe *cqe;
	int err;

	if (!f->has_ring)
		return;
	do {
		err = wait ? io_uring_wait_cqe(&f->ring, &cqe) : io_uring_peek_cqe(&f->ring, &cqe);
	} while (err == -EINTR);
	while (!err) {
		uint64_t data = cqe->user_data;
		int res = cqe->res;

		io_uring_cqe_seen(&f->ring, cqe);
		if (data & AHEAD_DATA)
			ahead_done(f, (unsigned)(data & ~AHEAD_DATA), res);
		else
			write_done(f, (unsigned)data, (unsigned)(data >> 32), res);
		err = io_uring_peek_cqe(&f->ring, &cqe);
	}
}

void file_submit(struct store_file *f)
{
	int err;

	/* -EBUSY, -EAGAIN: first take in what has ended. */
	while ((err = io_uring_submit(&f->ring)) == -EINTR || err == -EBUSY || err == -EAGAIN)
		file_reap(f, false);
	g_assert(err >= 0);
}

struct io_uring_sqe *file_sqe(struct store_file *f)
{
	struct io_uring_sqe *sqe;

	if (!f->has_ring)
		return NULL;
	while (!(sqe = io_uring_get_sqe(&f->ring)))
		file_submit(f);
	return sqe;
}

/* Send buffers [i, i + n), which hold neighbouring slots. */
static void send_buffers(struct store_file *f, unsigned i, unsigned n)
{
	struct io_uring_sqe *sqe = file_sqe(f);
	uint64_t at = f->buffers[i].slot * PAGE_SIZE;

	for (unsigned k = 0; k < n; k++)
		f->buffers[i + k].state = BUFFER_FLYING;
	f->filled -= n;
	f->flying += n;
	f->stats.writes++;
	f->stats.pages_written += n;
	if (!sqe) {
		write_done(f, i, n, write_here(f, i, n));
		return;
	}
	if (f->has_fixed)
		io_uring_prep_write_fixed(sqe, f->fd, buffer_data(f, i), n * PAGE_SIZE, at, 0);
	else
		io_uring_prep_write(sqe, f->fd, buffer_data(f, i), n * PAGE_SIZE, at);
	io_uring_sqe_set_data64(sqe, i | (uint64_t)n << 32);
}

/* Is an older write to one of [first, first + n) still under way? */
static bool must_wait(const struct store_file *f, uint64_t first, uint64_t n)
{
	if (f->detached)
		for (unsigned i = 0; i < FILE_BUFFERS; i++)
			if (f->buffers[i].detached && f->buffers[i].slot - first < n)
				return true;
	return false;
}

/* The buffer that holds @slot and was not sent; -1: there is none. */
static int filled_buffer(const struct store_file *f, uint64_t slot)
{
	uint32_t at = f->state[slot];

	if (!at || at > FILE_BUFFERS || f->buffers[at - 1].state != BUFFER_FILLED)
		return -1;
	return (int)at - 1;
}

void file_write(struct store_file *f, uint64_t first, uint64_t n)
{
	file_reap(f, false);
	while (must_wait(f, first, n))
		file_reap(f, true);
	for (uint64_t slot = first; slot < first + n;) {
		int i = filled_buffer(f, slot);
		unsigned k = 1;

		if (i < 0) {
			slot++;
			continue;
		}
		while (slot + k < first + n && filled_buffer(f, slot + k) == i + (int)k)
			k++;
		send_buffers(f, (unsigned)i, k);
		slot += k;
	}
	if (f->has_ring)
		file_submit(f);
}

/* Everything that was not announced, too. */
static void write_all(struct store_file *f)
{
	for (unsigned i = 0; i < FILE_BUFFERS && f->filled; i++)
		if (f->buffers[i].state == BUFFER_FILLED)
			file_write(f, f->buffers[i].slot, 1);
}

void file_flush(struct store_file *f)
{
	write_all(f);
	while (f->flying)
		file_reap(f, true);
}

void *file_put(struct store_file *f, uint64_t slot)
{
	unsigned i = f->next;

	if (f->buffers[i].state != BUFFER_FREE)
		file_reap(f, false);
	if (f->buffers[i].state == BUFFER_FILLED)
		write_all(f);
	while (f->buffers[i].state != BUFFER_FREE)
		file_reap(f, true);
	f->next = (i + 1) % FILE_BUFFERS;
	f->filled++;
	f->buffers[i] = (struct file_buffer){ .slot = slot, .state = BUFFER_FILLED };
	f->state[slot] = i + 1;
	ahead_forget(f, slot);
	return buffer_data(f, i);
}

int file_get(struct store_file *f, uint64_t slot, void *page)
{
	uint32_t at = f->state[slot];

	if (at == SLOT_DEVICE)
		return ahead_get(f, slot, page);
	if (at == SLOT_LOST || at == SLOT_NONE)
		return ERR(-EIO);
	memcpy(page, buffer_data(f, at - 1), PAGE_SIZE);
	f->stats.buffer_hits++;
	return 0;
}

void file_drop(struct store_file *f, uint64_t slot)
{
	uint32_t at = f->state[slot];

	if (at == SLOT_NONE)
		return;
	f->state[slot] = SLOT_NONE;
	ahead_forget(f, slot);
	if (at > FILE_BUFFERS)
		return;
	if (f->buffers[at - 1].state == BUFFER_FLYING) {
		f->buffers[at - 1].detached = true;
		f->detached++;
		return;
	}
	f->buffers[at - 1] = (struct file_buffer){ .state = BUFFER_FREE };
	f->filled--;
}
