/* SPDX-License-Identifier: MIT */
/*
 * fake_machine.h - a struct machine for tests: contents per hfn, hooks counted
 *
 * Contents are real bytes, kept apart from frames_bytes(), so that a test sees a page's data follow it between
 * frames, and to swap and back. Every hook is counted; populate, move, save and load can be made to fail. A page's
 * compressed size is that of its words that are not zero. Patches are kept as such: the page is made again from its
 * reference's bytes.
 */
#ifndef OVERBOOK_TESTS_FAKE_MACHINE_H
#define OVERBOOK_TESTS_FAKE_MACHINE_H

#include <glib.h>

#include "mm/machine.h"

struct fake_machine {
	struct machine base; /* first: what the hooks are given */
	uint64_t npages;
	uint8_t *bytes; /* npages * 4096, backed when written */
	uint64_t now_ns;
	uint64_t populated, released, moved, reads, writes; /* pages; calls for the last two */
	uint64_t flushes[FLUSH_SPACE + 1];
	uint64_t charged[CHARGE_KINDS];
	uint64_t shared, unshared;
	uint64_t checksum_mask; /* fewer bits: unequal pages with equal checksums */
	uint64_t saved, loaded, dropped;		    /* pages */
	uint64_t io_reads, io_writes, io_pages;		    /* commands; pages of both */
	GHashTable *slots;				    /* slot -> 4096 bytes */
	GHashTable *patches;				    /* slot -> struct fake_patch */
	struct patcher *patcher;
	/* The n-th call from now returns -EIO; 0: never. */
	uint64_t fail_share_in; /* -ENOSPC, that is */
	bool no_share;		/* always */
	uint64_t fail_populate_in, fail_move_in, fail_unshare_in, fail_save_in, fail_load_in;
};

/* For a host of @npages frames. */
struct fake_machine *fake_machine_new(uint64_t npages);
void fake_machine_free(struct fake_machine *fm);

static inline uint8_t *fake_machine_page(struct fake_machine *fm, hfn_t hfn)
{
	return fm->bytes + hfn * PAGE_SIZE;
}

#endif
