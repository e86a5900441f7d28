/* SPDX-License-Identifier: MIT */
/* store_impl.h - what the files store*.c share; private to them */
#ifndef OVERBOOK_KVM_STORE_IMPL_H
#define OVERBOOK_KVM_STORE_IMPL_H

#include <liburing.h>

#include "vmm/kvm/store.h"

/* store_blobs.c */
struct blobs;

struct blobs *blobs_new(void);
void blobs_free(struct blobs *h); /* and all that was taken */
void *blobs_take(struct blobs *h, unsigned nbytes); /* at most COMPRESSED_MAX + 16; NULL: no memory */
void blobs_give(struct blobs *h, void *at, unsigned nbytes);

/* store_file.c */
#define FILE_BUFFERS 512u /* pages on their way to the device, at most */
#define FILE_AHEAD 256u	  /* pages that one read brings, at most */

enum file_buffer_state {
	BUFFER_FREE,
	BUFFER_FILLED, /* not sent yet */
	BUFFER_FLYING,
};

struct file_buffer {
	uint64_t slot;
	uint8_t state;
	bool detached; /* flying, and nobody wants its outcome */
};

/* Slots [first, first + n) as they are, or will soon be, at data. */
struct file_window {
	uint64_t first;
	unsigned n;
	uint8_t *data;
	bool flying;
	uint64_t used; /* when, by file.clock */
	uint64_t valid[FILE_AHEAD / 64];
};

struct store_file {
	int fd;
	bool direct, has_ring, has_fixed;
	uint64_t nslots;
	uint32_t *state; /* [nslots], SLOT_*, lazily backed */
	uint8_t *memory; /* of the buffers, then of the windows */
	struct file_buffer buffers[FILE_BUFFERS];
	unsigned next;	 /* buffer to be taken */
	unsigned filled, flying, detached;
	struct io_uring ring;
	bool told; /* of a write that failed */
	struct store_stats stats;

	unsigned cluster;
	struct file_window window[2];
	uint64_t clock;
	uint64_t stream_end; /* behind the last slot that was read: a read from here on goes on with a stream */
	unsigned stream;     /* pages to be read at once; 0: no stream */
};

/* state[slot]: a buffer's index + 1, or one of these. */
#define SLOT_NONE   0u
#define SLOT_LOST   UINT32_MAX
#define SLOT_DEVICE (UINT32_MAX - 1)

struct store_file *file_new(const struct store_config *cfg, GError **error);
void file_free(struct store_file *f);
/* Where the 4096 bytes for @slot, which is empty, are to be put now. Waits if all buffers fly. */
void *file_put(struct store_file *f, uint64_t slot);
void file_write(struct store_file *f, uint64_t first, uint64_t n);
int file_get(struct store_file *f, uint64_t slot, void *page); /* -EIO */
void file_drop(struct store_file *f, uint64_t slot);
void file_flush(struct store_file *f);
/* Take in what has ended; with @wait at least one. */
void file_reap(struct store_file *f, bool wait);
/* A command to the ring; NULL: there is no ring. */
struct io_uring_sqe *file_sqe(struct store_file *f);
void file_submit(struct store_file *f);

/* store_kernel.c: as file_*() */
struct store_kernel;

struct store_kernel *kernel_new(const struct store_config *cfg, GError **error);
void kernel_free(struct store_kernel *k); /* NULL: nothing */
void *kernel_put(struct store_kernel *k, uint64_t slot);
void kernel_push(struct store_kernel *k, bool write, uint64_t first, uint64_t n);
int kernel_get(struct store_kernel *k, uint64_t slot, void *page);
void kernel_drop(struct store_kernel *k, uint64_t slot);
void kernel_stats(const struct store_kernel *k, struct store_stats *out);

/* store_ahead.c */
#define AHEAD_DATA (1ull << 63) /* user_data of a window's read: this, and its index */
/* @slot is on the device. */
int ahead_get(struct store_file *f, uint64_t slot, void *page);
void ahead_forget(struct store_file *f, uint64_t slot);
void ahead_done(struct store_file *f, unsigned window, int res);

#endif
