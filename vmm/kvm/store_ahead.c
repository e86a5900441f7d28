/* SPDX-License-Identifier: MIT */
/*
 * store_ahead.c - reading from the device, more at once than was asked for
 *
 * Problem: a device moves a megabyte in ten times the time of a page, so one page at a time wastes nine tenths of it;
 * but reading what nobody wants is as bad.
 *
 * Idea. The memory manager, when it takes a page in, asks for its aligned group of slots right afterwards, one by one.
 * So a page that is missing is read with its group, into a *window* of memory, and the others are copied from there.
 * Groups that follow one another are a *stream*: from the second on, the reads grow, fourfold each, to a megabyte, and
 * while one window is being copied from, the next is under way. This goes on below what the memory manager counts: a
 * window is the device's cache, no page of it is in a guest. With cluster = 0 nothing is ever read ahead.
 *
 * Structures: two windows, each a range of slots, with a bit for each that is still what the device has; a slot that is
 * dropped or written loses its bit.
 *
 * Invariant (tests/unit/test_store.c): a slot with a bit is on the device, and the window's bytes are (or, flying, will
 * be) its page.
 *
 * Source: Linux mm/swap_state.c (swap_cluster_readahead), mm/readahead.c (doubling, asynchronous trigger).
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mm/err.h"
#include "vmm/kvm/store_impl.h"

#define GROWTH 4

static bool window_has(const struct file_window *w, uint64_t slot)
{
	uint64_t i = slot - w->first;

	return i < w->n && (w->valid[i / 64] >> (i % 64) & 1);
}

void ahead_forget(struct store_file *f, uint64_t slot)
{
	for (unsigned k = 0; k < G_N_ELEMENTS(f->window); k++) {
		struct file_window *w = &f->window[k];
		uint64_t i = slot - w->first;

		if (i < w->n)
			w->valid[i / 64] &= ~(1ull << (i % 64));
	}
}

/* What a read of the window brought: @res bytes, or -errno. What it did not bring has no bit any more. */
void ahead_done(struct store_file *f, unsigned window, int res)
{
	struct file_window *w = &f->window[window];
	unsigned good = res > 0 ? (unsigned)res / PAGE_SIZE : 0;

	w->flying = false;
	if (good < w->n)
		w->n = good;
}

/* Slots [first, last] that are on the device at both ends, of those in [first, end); false: none are. */
static bool trim(const struct store_file *f, uint64_t *first, uint64_t *end)
{
	while (*first < *end && f->state[*first] != SLOT_DEVICE)
		++*first;
	while (*first < *end && f->state[*end - 1] != SLOT_DEVICE)
		--*end;
	return *first < *end;
}

/* Begin to read [first, end) into @w, which is not flying. */
static void fill(struct store_file *f, struct file_window *w, uint64_t first, uint64_t end, bool wait)
{
	struct io_uring_sqe *sqe = wait ? NULL : file_sqe(f);
	size_t nbytes = (end - first) * PAGE_SIZE;
	unsigned index = (unsigned)(w - f->window);
	ssize_t got;

	w->first = first;
	w->n = (unsigned)(end - first);
	w->flying = true;
	memset(w->valid, 0, sizeof(w->valid));
	for (uint64_t i = 0; i < w->n; i++)
		if (f->state[first + i] == SLOT_DEVICE)
			w->valid[i / 64] |= 1ull << (i % 64);
	f->stats.reads++;
	f->stats.pages_read += w->n;
	f->stream_end = end;
	if (!sqe) {
		while ((got = pread(f->fd, w->data, nbytes, (off_t)(first * PAGE_SIZE))) < 0 && errno == EINTR)
			;
		ahead_done(f, index, got < 0 ? -errno : (int)got);
		return;
	}
	if (f->has_fixed)
		io_uring_prep_read_fixed(sqe, f->fd, w->data, (unsigned)nbytes, first * PAGE_SIZE, 0);
	else
		io_uring_prep_read(sqe, f->fd, w->data, (unsigned)nbytes, first * PAGE_SIZE);
	io_uring_sqe_set_data64(sqe, AHEAD_DATA | index);
	file_submit(f);
}

static void land(struct store_file *f, struct file_window *w)
{
	while (w->flying)
		file_reap(f, true);
}

/* The stream has come to @w: have the next one read into the other window meanwhile. */
static void go_on(struct store_file *f, const struct file_window *w)
{
	struct file_window *other = &f->window[w == f->window];
	uint64_t first = f->stream_end, end;

	if (!f->stream || !f->has_ring || other->flying || w->first + w->n != f->stream_end)
		return;
	f->stream = MIN(f->stream * GROWTH, FILE_AHEAD);
	end = MIN(first + f->stream, f->nslots);
	if (trim(f, &first, &end))
		fill(f, other, first, end, false);
	else
		f->stream = 0;
}

static void copy(struct store_file *f, struct file_window *w, uint64_t slot, void *page)
{
	w->used = ++f->clock;
	memcpy(page, w->data + (slot - w->first) * PAGE_SIZE, PAGE_SIZE);
}

/* Read @slot, with what is due to come along. */
static int miss(struct store_file *f, uint64_t slot, void *page)
{
	uint64_t group = 1ull << MIN(f->cluster, 8), first = slot & ~(group - 1), end = MIN(first + group, f->nslots);
	struct file_window *w = &f->window[f->window[0].used > f->window[1].used];

	if (f->cluster && first <= f->stream_end && f->stream_end <= slot) {
		f->stream = f->stream ? MIN(f->stream * GROWTH, FILE_AHEAD) : (unsigned)group;
		first = slot;
		end = MIN(first + f->stream, f->nslots);
	} else {
		f->stream = 0;
	}
	land(f, w);
	trim(f, &first, &end);
	fill(f, w, first, end, true);
	if (!window_has(w, slot))
		return ERR(-EIO);
	copy(f, w, slot, page);
	go_on(f, w);
	return 0;
}

int ahead_get(struct store_file *f, uint64_t slot, void *page)
{
	for (unsigned k = 0; k < G_N_ELEMENTS(f->window); k++) {
		struct file_window *w = &f->window[k];

		if (!window_has(w, slot))
			continue;
		land(f, w);
		if (!window_has(w, slot))
			break;
		f->stats.ahead_hits++;
		copy(f, w, slot, page);
		go_on(f, w);
		return 0;
	}
	return miss(f, slot, page);
}
