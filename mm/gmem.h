/* SPDX-License-Identifier: MIT */
/*
 * gmem.h - one VM's guest-physical memory: the state of each page, and the only code that changes it
 *
 * Every gfn is in exactly one state. A change of state goes through one function in gmem.c, which keeps frame
 * owner, paging tables, counters and event log in step; nothing else writes them. Metadata is 8 bytes a page in
 * lazily backed memory: an untouched gigabyte costs nothing.
 *
 * The *arena*, gfn [0, arena_pages), is different: populated and pinned from the start in one contiguous run of
 * frames with real bytes, never taken away, outside the counts (docs/guest-abi.md). A *linear* VM (paging mode
 * native) owns a contiguous run of frames for all of its memory, resident from the start.
 *
 * Backing: with level 2 or 3, a first touch populates the whole aligned block if it lies outside the arena and all of
 * it is absent and a contiguous run can be had; otherwise the next smaller size. Arena and linear runs are aligned to
 * 2 MiB in the host, and to 1 GiB if they are that long and it is to be had: leaves over them may be as large.
 *
 * Guests are hostile: a gfn beyond the end is -EFAULT to the caller, never a crash.
 */
#ifndef OVERBOOK_MM_GMEM_H
#define OVERBOOK_MM_GMEM_H

#include "mm/counters.h"
#include "mm/frame.h"
#include "mm/machine.h"
#include "mm/types.h"

enum page_state {
	PAGE_ABSENT = 0, /* never given, or released: no frame; reads as zero when touched */
	PAGE_RESIDENT,	 /* one frame of its own */
	PAGE_ZERO,	 /* maps the one zero frame, read-only */
	PAGE_SHARED,	 /* maps a merged frame, read-only */
	PAGE_BALLOONED,	 /* given up by the guest's balloon; touching it is a guest error or a deflate */
	PAGE_SWAPPED,	 /* contents in a swap slot */
	PAGE_COMPRESSED, /* contents in the compressed tier */
	PAGE_DROPPED,	 /* contents on the guest's own disk (gmem_disk.h) */
	PAGE_STATES,
};

/* As users read it: "resident". */
const char *page_state_name(unsigned state);

enum fault_source {
	FAULT_CPU,	/* a vCPU's access */
	FAULT_DMA,	/* a device or the VMM, through gmem_read and gmem_write */
	FAULT_PREFETCH, /* around a fault, or ahead of one */
};

/* What a translation of one gfn yields. */
struct gmem_page {
	enum page_state state;
	hfn_t hfn;	 /* of this gfn itself; HFN_NONE unless mapped */
	unsigned level;	 /* the largest leaf that may map it: its whole block has contiguous, equally allowed frames */
	unsigned access; /* ACC_* a mapping may give now; no ACC_W while shared, zero or write-logged; 0: none, not even
			    ahead of a touch: the page is watched by test_clear_young */
};

struct gmem;
struct paging;
struct events;

/* Which node a page's frame is taken from: gmem_place.c. */
enum placement { PLACE_PREFERRED, PLACE_BIND, PLACE_INTERLEAVE, PLACE_LOCAL };

struct gmem_config {
	unsigned vm;	      /* number of the VM, below 65,536 */
	uint64_t npages;      /* of guest-physical memory */
	uint64_t arena_pages; /* multiple of 512 */
	unsigned level;	      /* largest backing, 1 to 3 */
	unsigned node;	      /* preferred NUMA node; tables and arena are there too */
	enum placement placement;
	uint64_t nodes;	      /* bind, interleave: one bit a node; 0: all */
	bool linear;
};

/* NULL and errno: ENOMEM when the arena (or the linear run) does not fit. Pointers are borrowed for its life. */
struct gmem *gmem_new(const struct gmem_config *cfg, struct frames *fr, struct machine *m, struct counters *c,
		      struct events *ev);
/* Gives every frame back. No hook is called and nothing counted; the paging mode is gone by then. */
void gmem_free(struct gmem *g);

/* The VM's paging mode, told of every unmap and write-protection from then on. */
void gmem_set_paging(struct gmem *g, struct paging *p);

/* What is known of a page, without touching it. -EFAULT beyond the end. */
int gmem_lookup(const struct gmem *g, gfn_t gfn, struct gmem_page *out);

/*
 * Make @gfn accessible for @access (ACC_*): populate, swap in, break sharing. On 0, @out is the result. Counts
 * one fault by cause if the state changed, a spurious one if @src is FAULT_CPU and nothing had to be done.
 * -EFAULT beyond the end, -ENOMEM, -EIO, -EPERM (ballooned, see gmem_balloon()).
 */
int gmem_fault(struct gmem *g, gfn_t gfn, unsigned access, enum fault_source src, struct gmem_page *out);

/*
 * Sharing, for dedup/: a page maps a frame that others map too, read-only, until a write gives it a frame of its
 * own again with the same contents (faults_write_shared). Its large backing, if any, becomes single frames. gmem
 * compares nothing: the caller has found the contents equal after gmem_share_protect(), with no vCPU run in between
 * that could have written through a fault. -EBUSY unless the page is RESIDENT and not in a run; -EFAULT beyond the
 * end; -ENOSPC: the machine can let no more pages map merged frames (machine_ops.share).
 */
/* No mapping lets anybody write the page without a fault, until it is next written. */
int gmem_share_protect(struct gmem *g, gfn_t gfn);
/* Its frame, in place, becomes a merged one (FRAME_SHARED, refs 1), named by @hfn. */
int gmem_share_begin(struct gmem *g, gfn_t gfn, hfn_t *hfn);
/* It maps merged frame @stable instead of its own, which goes back. -EINVAL: no merged frame. */
int gmem_share(struct gmem *g, gfn_t gfn, hfn_t stable);
/* Somebody else than a page needs the contents of merged frame @hfn, and no more: the frame goes with the last. */
void gmem_share_hold(struct gmem *g, hfn_t hfn);
void gmem_share_put(struct gmem *g, hfn_t hfn);
/* It maps the host's one zero frame. -ENOMEM: there was none, nor memory for it. */
int gmem_share_zero(struct gmem *g, gfn_t gfn);
/* Undo it without a fault: SHARED or ZERO to RESIDENT, or to swap (0 if it is neither). -ENOMEM. */
int gmem_unshare(struct gmem *g, gfn_t gfn);
/* The first page from @gfn on that has a frame which could be or is shared; GFN_NONE: none. */
gfn_t gmem_next_mapped(const struct gmem *g, gfn_t gfn);
bool gmem_is_mapped(const struct gmem *g, gfn_t gfn); /* is @gfn such a page? */
/* Is the page part of a large backing? */
bool gmem_is_large(const struct gmem *g, gfn_t gfn);

/* Copy bytes out of or into guest memory, faulting pages in; may cross pages. */
int gmem_read(struct gmem *g, gpa_t gpa, void *buf, size_t len);
int gmem_write(struct gmem *g, gpa_t gpa, const void *buf, size_t len);

/* The same for a whole page, by a device that knows of patterns. */
int gmem_read_page(struct gmem *g, gfn_t gfn, struct page_content *out);
int gmem_write_page(struct gmem *g, gfn_t gfn, const struct page_content *in);

/* The bytes of @in. */
void page_content_bytes(const struct page_content *in, void *page);

/* Copy one page out as it is, changing no state: zeros if absent. For digests. -EFAULT beyond the end. */
int gmem_peek(const struct gmem *g, gfn_t gfn, void *page);

/* The arena's bytes, arena_pages * 4096 of them; for table walks. */
uint8_t *gmem_arena(const struct gmem *g);

/*
 * Take the page back, contents lost, from its frame (own or merged) or its slot: to ABSENT (0 if it is). Splits its
 * large backing.
 * -EBUSY in a run.
 */
int gmem_release(struct gmem *g, gfn_t gfn);

/*
 * The guest gave the page up: what backs it goes, whatever its state. -EALREADY if it did before, -EBUSY in a run.
 * Deflate is the inverse: the page is absent again. -EALREADY if it is not in the balloon. A touch of a ballooned page
 * is -EPERM; but if the guest need not tell the host first (not strict, the default), a vCPU's touch deflates it.
 */
int gmem_balloon(struct gmem *g, gfn_t gfn);
int gmem_deflate(struct gmem *g, gfn_t gfn);
void gmem_deflate_all(struct gmem *g);
void gmem_balloon_strict(struct gmem *g, bool strict);

/*
 * The guest says that it does not need the contents of [gfn, gfn + npages), and may still use the pages at any time.
 * Reported ones are released now, whatever their state. Hinted ones stay until frames are short, and only if
 * nobody touched them until then. @poison: what is taken comes back filled with the value of gmem_set_poison(). Pages
 * in the balloon and pages that are absent are passed over. -EFAULT if any is beyond the end, -EBUSY in a run: then
 * nothing was done.
 */
int gmem_report(struct gmem *g, gfn_t gfn, uint64_t npages, bool poison);
int gmem_hint(struct gmem *g, gfn_t gfn, uint64_t npages, bool poison);
void gmem_set_poison(struct gmem *g, uint32_t value);
/* Frames are short: take up to @npages hinted pages, of any VM, oldest hints first; how many. No page may be held. */
uint64_t gmem_drop_hinted(struct frames *fr, uint64_t npages);

/* The node that a frame for the block of @level around @gfn would be taken from first, were it touched now. */
unsigned gmem_node_for(const struct gmem *g, gfn_t gfn, unsigned level);

/* Move a page to another frame on @node; contents and state stay. -ENOMEM, -EBUSY (arena, linear, not RESIDENT). */
int gmem_move(struct gmem *g, gfn_t gfn, unsigned node);

/*
 * Gather the aligned block of @level (2 or 3) around @gfn into one contiguous run, moving pages
 * unless they lie so already; all must be resident and single, and without a copy in swap. -EAGAIN if they are not,
 * -ENOMEM, -EBUSY in a run. Split is the inverse, one level down: the block may only be mapped by smaller leaves.
 * -EAGAIN if it is not large.
 */
int gmem_collapse(struct gmem *g, gfn_t gfn, unsigned level);
int gmem_split(struct gmem *g, gfn_t gfn);

/*
 * The same with pages in the block that are not resident: so many of each kind may be populated, get a copy of their
 * own, or come in from swap (khugepaged's max_ptes_none, max_ptes_shared, max_ptes_swap). -EAGAIN if there are more, or
 * one in the balloon; -ENOMEM also if what the reclaimer keeps free would be touched.
 */
struct collapse_limits {
	uint64_t absent, shared, swapped;
};
int gmem_collapse_within(struct gmem *g, gfn_t gfn, unsigned level, const struct collapse_limits *limits);

/*
 * Was the page touched since the last call? Afterwards the next touch is a counted `young` fault. False for pages that
 * have no frame or are in a run.
 */
bool gmem_test_clear_young(struct gmem *g, gfn_t gfn);
/* From now on the accessed bits of second-stage tables answer that, if there are any: no fault follows. */
void gmem_young_by_bit(struct gmem *g);
bool gmem_is_young_by_bit(const struct gmem *g);

/*
 * The same for whoever only watches (mm/estimate.h): what one of the two is told, the other is told too, when it asks.
 * So an estimator does not make hot pages look cold to the reclaimer, nor the reclaimer to it.
 */
bool gmem_observe_young(struct gmem *g, gfn_t gfn);

/*
 * One watcher: told of each change of state, and of each touch of a page that was idle (cause EVENT_YOUNG), after the
 * fact; @cause is an enum event_cause. It may not call gmem. NULL: none.
 */
struct gmem_watch {
	void (*changed)(struct gmem_watch *w, gfn_t gfn, enum page_state from, enum page_state to, unsigned cause);
};
void gmem_set_watch(struct gmem *g, struct gmem_watch *w);

/*
 * Dirty logging. Starting it write-protects all that is mapped (splitting large mappings), or leaves it to the paging
 * mode's log_dirty(); each first write to a page sets its bit, counts dirty_log_writes and makes the page writable
 * again. collect() copies and clears the bitmap (one bit a gfn, npages / 64 words rounded up), re-arms the pages in it
 * and returns their number. Not logged: the arena. -EOPNOTSUPP for a linear VM, -EBUSY if it is on.
 */
int gmem_dirty_log_start(struct gmem *g);
void gmem_dirty_log_stop(struct gmem *g);
uint64_t gmem_dirty_log_collect(struct gmem *g, uint64_t *bitmap);
/* The processor's page-modification log says that gfn was written (no fault happened). */
void gmem_dirty_log_mark(struct gmem *g, gfn_t gfn);
bool gmem_dirty_logging(const struct gmem *g);

const struct gmem_config *gmem_config(const struct gmem *g);
struct machine *gmem_machine(const struct gmem *g);
struct frames *gmem_frames(const struct gmem *g);
struct counters *gmem_counters(const struct gmem *g);

/* The gfn that holds @hfn in this VM (the machine-to-physical table of pv), or GFN_NONE. */
gfn_t gmem_gfn_of(const struct gmem *g, hfn_t hfn);

#endif
