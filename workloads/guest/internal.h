/* SPDX-License-Identifier: MIT */
/*
 * internal.h - the guest kernel's own structures; for workloads/guest/ and its tests only
 *
 * Everything lives in the arena and is reached through struct kernel. Metadata of memory is never initialised as a
 * whole: a block's is valid once the block was taken from its parent (alloc.c), a heap page's once it was allocated.
 */
#ifndef OVERBOOK_GUEST_INTERNAL_H
#define OVERBOOK_GUEST_INTERNAL_H

#include "workloads/guest/kernel.h"
#include "workloads/guest/memory.h"
#include "workloads/x86.h"

struct balloon_driver; /* balloon/driver.h */
struct block_driver;   /* block.c */

/* alloc.c: memory above the arena, in units of level 1 (4 KiB), 2 (2 MiB) and 3 (1 GiB). */

struct page {
	uint16_t ref;  /* level-1 entries that map it */
	uint16_t next; /* next free page of its block */
};

enum block_state {
	BLOCK_WHOLE = 0, /* one unit: free, or allocated as it is; its children's metadata means nothing */
	BLOCK_OPEN,	 /* its 512 children are units of their own */
};

struct block {
	uint32_t prev, next; /* in a list of its level; next also chains a parent's free children */
	uint16_t nfree;	     /* free children */
	uint16_t bump;	     /* children from here on were never taken */
	uint16_t head;	     /* first free child below bump, or NO_CHILD */
	uint16_t ref;	     /* entries of its own level that map it */
	uint32_t state;	     /* enum block_state */
};

#define NO_BLOCK UINT32_MAX
#define NO_CHILD UINT16_MAX

struct allocator {
	struct page *pages;    /* [gfn - first_gfn] */
	struct block *level[4]; /* [2]: by gfn >> 9, [3]: by gfn >> 18 */
	uint64_t first_gfn, end_gfn;
	uint32_t partial[4]; /* [2], [3]: open blocks with a free child */
	uint32_t whole;	     /* free blocks of level 3 */
	bool freed;	     /* something was, since the balloon driver last looked */
};

/* heap.c: pages of the arena. Each use has free pages of its own: a page that once was a table stays one. */

enum heap_use { HEAP_TABLE, HEAP_RUNTIME, HEAP_VMAS, HEAP_BALLOON, HEAP_BLOCK, HEAP_USES };

struct heap_page {
	uint32_t next;	   /* index of the next free page of this use */
	uint32_t nentries; /* of a table: entries that are not 0 */
};

struct heap {
	uint64_t start, end;	/* gpas */
	struct heap_page *page; /* [(gpa - start) >> 12] */
	uint64_t bump;		/* gpa: pages from here on were never allocated */
	uint32_t free[HEAP_USES];
	uint64_t nfree; /* pages, of every use and never allocated */
};

/* vma.c: one mapping of a process; 64 bytes. */
struct vma {
	uint64_t va;
	uint64_t npages;
	uint64_t next; /* gpa of the next mapping, or of the next unused struct; 0: last */
	uint32_t prot; /* PROT_*; readable if any bit is set */
	uint32_t level; /* largest leaf to map it with */
	/* Of the disk's files (@file), from page @offset on; else anonymous. */
	uint64_t offset;
	uint64_t ra_start, ra_prev; /* cache.c: window read ahead last, page faulted last */
	uint16_t ra_size, ra_async;
	uint32_t file;
};

struct kernel {
	struct hal *hal;
	const struct boot_info *info;
	const struct script *script;
	struct guest_export *export;
	uint64_t root;	 /* of the kernel's own address space */
	uint64_t common; /* the level-1 table of COMMON_VA */
	unsigned levels;
	struct allocator alloc;
	struct heap heap;
	uint64_t unused_vmas; /* gpa */
	uint64_t nvmas;	      /* in use */
	struct balloon_driver *balloon; /* NULL: there is no device */
	struct block_driver *block;	/* NULL: there is no disk */
	bool poisoned;			/* free pages hold the poison value by now */
	struct memory mem;
	uint64_t mem_gpa; /* where its arrays are to be */
	struct kernel_counts counts;
	uint32_t next_pid;
	uint32_t nlive;
	uint32_t free_slots;		 /* stack of free slots */
	uint32_t current, last;		 /* slot running; pid that ran last */
	uint32_t interrupted;		 /* slot whose address space is loaded: that of the event; NO_PROCESS: none */
	uint32_t ready_head, ready_tail; /* first in, first out */
	uint32_t sleeping;		 /* by wake_ns */
	struct process process[EXPORT_PROCESSES];
};

/* boot.c */
void bytes_zero(void *p, uint64_t nbytes);

/* alloc.c. A gfn of 0 is none. */
void alloc_init(struct kernel *k);
bool alloc_page_free(const struct allocator *a, uint64_t gfn);
uint64_t alloc_metadata(uint64_t npages);
uint64_t page_alloc(struct kernel *k, unsigned level);
void page_get(struct kernel *k, uint64_t gfn, unsigned level);
void page_put(struct kernel *k, uint64_t gfn, unsigned level);
void page_split(struct kernel *k, uint64_t gfn, unsigned level);
bool page_exclusive(struct kernel *k, uint64_t gfn, unsigned level);
void page_free_map(struct kernel *k, uint32_t n, uint64_t map[8]);

/* poison.c */
void poison_all(struct kernel *k);
void poison_free(struct kernel *k, uint64_t gfn, uint64_t npages);
void poison_check(struct kernel *k, uint64_t gfn, uint64_t npages);
uint32_t page_refs(struct kernel *k, uint64_t gfn);
bool page_held_above(struct kernel *k, uint64_t gfn);

/* heap.c. A gpa of 0 is none. */
uint64_t heap_alloc(struct kernel *k, enum heap_use use);
void heap_free(struct kernel *k, uint64_t gpa, enum heap_use use);
struct heap_page *heap_page(struct kernel *k, uint64_t gpa);

/* table.c */

/* Invalidations to be done for the interrupted process once a change of its tables is complete. */
#define FLUSH_PAGES 32
struct flush {
	unsigned n; /* may exceed FLUSH_PAGES: then all of the space is flushed */
	uint64_t va[FLUSH_PAGES];
};

/* Where a descent stands: at table @table of @level. */
struct walk {
	uint64_t table;
	unsigned level;
};

struct visit {
	struct kernel *k;
	struct process *p;
	uint64_t start, end; /* [start, end) */
	/* Called for each leaf entry that is not empty: returns what it becomes. Sets result to stop. */
	uint64_t (*leaf)(struct visit *v, uint64_t va, unsigned level, uint64_t entry);
	enum result result;
	struct flush flush;
	unsigned prot;	       /* the callbacks' own */
	struct process *child;
	struct walk walk;
	uint64_t walk_base;
};

static inline bool pte_is_leaf(uint64_t entry, unsigned level)
{
	return level == 1 || (entry & PTE_PS);
}

/* It names a slot of the guest's swap. */
static inline bool pte_is_swap(uint64_t entry)
{
	return !(entry & PTE_P) && (entry & PTE_SWAP);
}

static inline uint64_t pte_gfn(uint64_t entry)
{
	return (entry & PTE_ADDR) >> PAGE_SHIFT;
}

uint64_t pte_swapped(uint64_t slot, unsigned prot, bool writable);
uint64_t pte_make(uint64_t gfn, unsigned level, unsigned prot, bool writable);
uint64_t table_new(struct kernel *k, unsigned level);
void table_free(struct kernel *k, uint64_t table, unsigned level);
void table_set(struct kernel *k, uint64_t entry_gpa, unsigned level, uint64_t old, uint64_t entry);
uint64_t table_find(struct kernel *k, struct walk *w, uint64_t va, uint64_t *entry);
enum result table_map(struct kernel *k, struct walk *w, uint64_t va, unsigned level, uint64_t entry);
uint64_t table_split(struct kernel *k, uint64_t entry_gpa, uint64_t entry, unsigned level);
enum result table_visit(struct visit *v);
enum result table_visit_later(struct visit *v);
void flush_add(struct flush *f, uint64_t va);
void flush_end(struct kernel *k, const struct process *p, struct flush *f);

/* vma.c */
struct vma *vma_at(struct kernel *k, uint64_t gpa);
struct vma *vma_find(struct kernel *k, struct process *p, uint64_t va);
enum result vma_map(struct kernel *k, struct process *p, uint64_t va, uint64_t npages, unsigned prot, unsigned level);
enum result vma_map_file(struct kernel *k, struct process *p, uint64_t va, uint64_t npages, unsigned prot,
			 uint64_t offset);
enum result vma_unmap(struct kernel *k, struct process *p, uint64_t va, uint64_t npages);
enum result vma_protect(struct kernel *k, struct process *p, uint64_t va, uint64_t npages, unsigned prot);
enum result vma_copy_all(struct kernel *k, struct process *child, const struct process *parent);
void vma_free_all(struct kernel *k, struct process *p);

/* fault.c */
enum result fault_resolve(struct kernel *k, struct process *p, uint64_t va, unsigned want, enum fault_kind *kind);
enum result fault_fill(struct kernel *k, struct process *p, uint64_t va, uint64_t base, enum fault_kind *kind);

/* fork.c, process.c */
void process_fork(struct kernel *k, struct process *parent, uint32_t phase);
uint64_t process_drop_leaf(struct visit *v, uint64_t va, unsigned level, uint64_t entry);
struct process *process_new(struct kernel *k, struct process *parent);
void process_start(struct kernel *k, struct process *p);
void process_destroy(struct kernel *k, struct process *p);
void process_exit(struct kernel *k, struct process *p, bool killed);
bool process_drop_kept(struct kernel *k);
bool process_oom(struct kernel *k);
uint32_t process_slot(const struct kernel *k, const struct process *p);

/* sched.c */
void schedule_init(struct kernel *k);
void schedule_ready(struct kernel *k, struct process *p);
void schedule_sleep(struct kernel *k, struct process *p, uint64_t ns);
void schedule_wait(struct kernel *k, struct process *p);
void schedule_yield(struct kernel *k);
void schedule_remove(struct kernel *k, struct process *p);
void schedule_pick(struct kernel *k);
void schedule_state(struct kernel *k, struct process *p, uint32_t state);
void schedule_block(struct kernel *k, struct process *p);
void schedule_unblock(struct kernel *k, struct process *p);

#endif
