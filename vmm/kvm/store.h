/* SPDX-License-Identifier: MIT */
/*
 * store.h - where the bytes of swapped pages are on the real machine
 *
 * One struct store serves a host's swap: `nslots` slots, each of which holds nothing, a page in the compressed tier
 * (this process's memory), or a page on the device: a file that has no name, read and written around the kernel's page
 * cache, or the host's own swap. It does what struct machine_ops asks of save, load, write_back, drop, peek, swap_io
 * and save_patch; see there for who calls what when. Callers serialise: whoever calls the memory manager holds the
 * machine's lock.
 *
 * All return 0 or -errno unless stated. A slot that is loaded or written back has been saved before.
 */
#ifndef OVERBOOK_KVM_STORE_H
#define OVERBOOK_KVM_STORE_H

#include <glib.h>

#include "mm/types.h"
#include "vmm/compressor.h"
#include "vmm/disk_model.h"
#include "vmm/experiment.h"

struct store;

/* Bytes free in the host's own swap; 0: it has none. */
uint64_t kernel_swap_free(void);

struct store_config {
	uint64_t nslots;
	const struct compressor *compressor; /* NULL: pages are kept as they are */
	const char *directory;	/* of the file; NULL or "": $TMPDIR, or /var/tmp */
	bool buffered;		/* through the kernel's page cache */
	bool kernel;		/* the host's own swap instead of a file */
	bool plain;		/* pread and pwrite, though there may be io_uring */
	unsigned cluster;	/* a read brings in its aligned group of 2^cluster slots; 0: one page alone */
	/* What goes wrong on purpose: the simulator's sequence, one draw a page, in the order of the calls. */
	struct disk_faults faults;
	uint64_t seed; /* of the run */

	/* May be NULL. The time, for fails_at; the 4096 bytes of merged frame @hfn, to which a patch refers. */
	uint64_t (*now)(void *ctx);
	void (*read_frame)(void *ctx, hfn_t hfn, void *page);
	void *ctx;
};

/* What the device did; never part of a run's results, which are counted by the memory manager. */
struct store_stats {
	uint64_t writes, pages_written; /* commands, pages */
	uint64_t reads, pages_read;
	uint64_t buffer_hits; /* loads of pages whose write was under way */
	uint64_t ahead_hits;  /* loads that found the page read before */
	uint64_t lost;	      /* pages whose write failed after it had been accepted */
	uint64_t tier_pages, tier_bytes; /* now */
	uint64_t kept; /* engine = kernel: pages of slots that are in memory now */
	bool direct, ring;
};

/* As @c says, for a run of this @seed; now, read_frame and ctx are left to the caller. */
void store_config_read(struct store_config *cfg, const struct conf_swap *c, uint64_t seed);
/* NULL and VMM_LACKS (no room, no directory). The string of @cfg is not kept. */
struct store *store_new(const struct store_config *cfg, GError **error);
void store_free(struct store *s); /* NULL: nothing */

/*
 * @page (4096 bytes) goes to @slot, on the device or into the tier. -EIO, -ENOMEM. To the device it is only accepted
 * here: store_io() sends it there, and if that fails, the next load of the slot is -EIO.
 */
int store_save(struct store *s, uint64_t slot, const void *page, bool device);
/* As its difference to @reference_bytes, those of merged frame @reference; HFN_NONE and NULL: to a page of zeros. */
int store_save_patch(struct store *s, uint64_t slot, const void *page, const void *reference_bytes, hfn_t reference);
/* The inverse; @device as the memory manager knows it. The slot stays as it is. */
int store_load(struct store *s, uint64_t slot, void *page, bool device);
int store_write_back(struct store *s, uint64_t slot); /* from the tier to the device */
void store_drop(struct store *s, uint64_t slot);
int store_peek(struct store *s, uint64_t slot, void *page); /* no draw, never an injected fault */
/* A write: what was saved in [slot, slot + npages) is sent. A read is over: the pages were loaded before. */
void store_io(struct store *s, bool write, uint64_t slot, uint64_t npages);
/* All that was accepted is on the device or lost. */
void store_flush(struct store *s);

/* Bytes that a page's compressor, or a patch, makes of it. Change nothing. */
unsigned store_compressed_size(struct store *s, const void *page);
unsigned store_patched_size(struct store *s, const void *page, const void *reference_bytes);

void store_stats(const struct store *s, struct store_stats *out);

#endif
