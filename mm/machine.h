/* SPDX-License-Identifier: MIT */
/*
 * machine.h - what a machine offers the memory manager
 *
 * The memory manager decides; a machine (vmm/sim, vmm/kvm) knows where bytes live and what things cost. Each
 * hook says who calls it and when. All return 0 or -errno unless stated; a machine never calls back into gmem
 * from a hook.
 */
#ifndef OVERBOOK_MM_MACHINE_H
#define OVERBOOK_MM_MACHINE_H

#include "mm/types.h"
#include "workloads/pattern.h"

struct machine;

/* The contents of a page on its way: a pattern, or, if its family is PATTERN_BYTES, words. */
struct page_content {
	struct pattern pattern;
	uint64_t words[PAGE_SIZE / 8];
};

/* What flush() drops from the TLBs, page-walk caches and nested TLBs of every CPU vm runs on. */
enum flush_kind {
	FLUSH_VM,   /* all that is tagged with the VM (INVVPID all-context, INVEPT) */
	FLUSH_GPA,  /* what was derived from guest frames [start, start + n): on real hardware INVEPT does it */
	FLUSH_GVA,  /* linear address start (page aligned), every PCID: shadow paging's unmap */
	FLUSH_SPACE, /* address space start = PCID */
};

/* What charge() accounts: time the memory manager spent on a VM's behalf, priced by the cost profile. */
enum charge_kind {
	CHARGE_POPULATE,  /* per page: allocate and zero a frame */
	CHARGE_RELEASE,	  /* per page */
	CHARGE_MOVE,	  /* per page: copy and remap */
	CHARGE_TABLE_WRITE, /* per entry the VMM wrote in a table it built */
	CHARGE_TABLE_PAGE, /* per table page it made, zapped or resynced */
	CHARGE_GUEST_READ, /* per guest table entry it read */
	CHARGE_CHECKSUM, /* per page: read it all */
	CHARGE_COMPARE, /* per pair of pages compared */
	CHARGE_MERGE, /* per page: protect and remap it to a merged frame */
	CHARGE_COMPRESS,   /* per page offered to the compressed tier */
	CHARGE_DECOMPRESS, /* per page that came back from it */
	CHARGE_KINDS,
};

#define MACHINE_BLOCK 64

/*
 * An entry of a table that a paging mode built for the processor to walk at its first stage: until the flush() that
 * follows, TLBs may hold what it said.
 */
struct machine_entry {
	hpa_t entry;	 /* where it is */
	gva_t gva;	 /* first address that it translates, if !many */
	bool many;	 /* it is reached at several addresses */
	bool leaf;	 /* it mapped memory, not a table */
	hfn_t hfn;	 /* the first frame that it mapped or the table that it linked, */
	uint64_t npages; /* and how many */
};

struct machine_ops {
	const char *name; /* "sim", "kvm" */

	/* gmem, when guest pages [gfn, gfn + npages) get frames from hfn on: contents become zero. */
	int (*populate)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages);

	/* gmem, before the frames are given back: contents are lost. */
	void (*release)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t npages);

	/* gmem, when a page moves between frames: contents follow. */
	int (*move)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to);

	/*
	 * gmem, when a page that is unmapped will map merged frame @to instead of its own @from, whose contents,
	 * equal, are lost; @from == @to: its own frame becomes a merged one. -ENOSPC: the machine can let no more
	 * pages map merged frames (each may cost it something that is scarce); nothing has changed.
	 */
	int (*share)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to);

	/* gmem, when a page leaves merged frame @from for its own @to: contents are copied. */
	int (*unshare)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t from, hfn_t to);

	/*
	 * dedup: a total order of contents, 0: equal bytes; and a number that equal bytes have in common. Of frames
	 * with guests' pages (no arena), or HFN_NONE, which stands for a page of zeros.
	 */
	int (*compare)(struct machine *m, hfn_t a, hfn_t b);
	uint64_t (*checksum)(struct machine *m, hfn_t hfn);
	/* dedup: the same of the MACHINE_BLOCK bytes at @offset, a multiple of that, of the frame. */
	uint64_t (*block_checksum)(struct machine *m, hfn_t hfn, unsigned offset);

	/* gmem_read and gmem_write on a page that is resident: @len bytes at @offset, within the page. */
	int (*read)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, void *buf, unsigned len);
	int (*write)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, unsigned offset, const void *buf,
		     unsigned len);

	/*
	 * gmem_read_page and gmem_write_page on a page that is resident, outside the arena: all of it. A machine that
	 * keeps bytes only leaves these NULL: it is read and written as such.
	 */
	void (*take)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, struct page_content *out);
	void (*put)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, const struct page_content *in);

	/*
	 * Swapping. Slots are numbered from 0 to the size the reclaimer was made with; the machine knows where their
	 * bytes are. A machine without swap leaves these NULL.
	 *
	 * gmem_evict(), the page being unmapped: the contents of @hfn go to @slot, on the device or, compressed, in
	 * memory. -EIO. load() is the inverse, and leaves the slot as it is. write_back(): what was in memory goes to
	 * the device. drop(), by the reclaimer: nobody wants the slot's contents any more. peek(): one
	 * slot's 4096 bytes, for digests.
	 */
	int (*save)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device);
	int (*load)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, uint64_t slot, bool device);
	int (*write_back)(struct machine *m, uint64_t slot);
	void (*drop)(struct machine *m, uint64_t slot);
	int (*peek)(struct machine *m, uint64_t slot, void *page);

	/*
	 * gmem_evict_patch(): as save(), but the slot need only keep what differs from the contents of frame
	 * @reference, which stay as they are until the slot is dropped. A machine without it leaves both NULL: no page
	 * is patched. patched_size(), dedup: how many bytes that would be. Changes nothing.
	 */
	int (*save_patch)(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, hfn_t reference, uint64_t slot);
	unsigned (*patched_size)(struct machine *m, hfn_t hfn, hfn_t reference);

	/* The reclaimer: how many bytes a compressor makes of the page in @hfn. Changes nothing. */
	unsigned (*compressed_size)(struct machine *m, hfn_t hfn);

	/*
	 * The reclaimer: one command to the swap device for @npages pages from @slot on. A read lets the vCPU now
	 * running wait for its end; a write is waited for only if the device is far behind.
	 */
	void (*swap_io)(struct machine *m, bool write, uint64_t slot, uint64_t npages);

	/*
	 * Shadow paging, for each entry that it weakened or removed, before flush(). For a machine whose processor may
	 * cache what such an entry said in a way that flush() must undo entry by entry; others leave it NULL.
	 */
	void (*weakened)(struct machine *m, unsigned vm, const struct machine_entry *e);

	/* paging_ops implementations, after they removed or weakened entries. */
	void (*flush)(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n);

	/* Anyone in the memory manager, for work done on behalf of the vCPU now running. */
	void (*charge)(struct machine *m, unsigned vm, enum charge_kind kind, uint64_t n);

	/* gmem: the NUMA node of the processor that runs for a VM now; @other if none does. May be NULL. */
	unsigned (*node)(struct machine *m, unsigned other);

	/* Anyone: nanoseconds since the experiment began. */
	uint64_t (*now)(struct machine *m);
};

struct machine {
	const struct machine_ops *ops;
};

#endif
