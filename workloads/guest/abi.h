/* SPDX-License-Identifier: MIT */
/*
 * abi.h - what guest and host say to each other
 *
 * Guest-physical memory, [0, arena_end), is the *arena*: pinned, in real bytes, outside counts and digest.
 *
 *	0x0000	never used
 *	0x1000	struct boot_info: written by the VMM before the first instruction
 *	0x2000	struct guest_export: kept by the kernel, read by the VMM (digest, reports)
 *	0x4000	struct script: the workload, written by the VMM (up to SCRIPT_END)
 *	0x100000 kernel image, stub, stacks (real guests only)
 *	heap_start ... arena_end: what the kernel allocates from: its own data, page tables, process run-times
 *
 * Memory above arena_end belongs to the processes. The kernel sees all guest-physical memory at KERNEL_DIRECT_MAP in a
 * root of its own, mapped with 2 MiB pages at CPL 3; a process's root has none of it but its run-time at RUNTIME_VA.
 *
 * Both structs have the same layout in both worlds: fixed-width fields only, no pointers.
 */
#ifndef OVERBOOK_GUEST_ABI_H
#define OVERBOOK_GUEST_ABI_H

#include <stdint.h>

#include "workloads/workload.h"
#include "workloads/x86.h"

#define BOOT_INFO_GPA	0x1000ull
#define EXPORT_GPA	0x2000ull
#define SCRIPT_GPA	0x4000ull
#define SCRIPT_END	0xe000ull
#define KERNEL_IMAGE_GPA 0x100000ull
#define HEAP_MIN_GPA	0x400000ull /* nothing of image or tables made by the VMM lies above */

#define KERNEL_DIRECT_MAP 0x8000000000ull /* PML4 slot 1; 512 GiB and more follow */
#define RUNTIME_VA	  0x7000000000ull /* in a process's root: its struct runtime */
#define RESERVED_SIZE	  0x40000000ull	  /* no process may map anything in [RUNTIME_VA, RUNTIME_VA + this) */

/*
 * 2 MiB that every root maps alike, the kernel's too, through one shared level-1 table: what boot_info.common lists.
 * The lists are equal in both worlds (boot_info_layout() fills them), so that table writes are too.
 */
#define COMMON_VA	   (RUNTIME_VA + 0x200000)
#define COMMON_PAGE_SCRIPT 0u	/* first page of the script, read-only at CPL 3 */
#define COMMON_PAGE_TEXT   256u /* code of the processes' loop, executable at CPL 3 */
#define COMMON_PAGE_STUB   384u /* ring 0's code, descriptor tables and data; then the vCPU page (guest/kvm/layout.h) */
#define COMMON_PAGE_LAPIC  (COMMON_PAGE_STUB + 5) /* behind that, with BOOT_INTERRUPTS */
#define COMMON_RANGES	   7u

#define COMMON_W	  (1u << 0)
#define COMMON_X	  (1u << 1)
#define COMMON_SUPERVISOR (1u << 2)

#define USER_TEXT_GPA	0x200000ull
#define USER_TEXT_PAGES 16u
#define STUB_GPA	0x210000ull
#define TABLES_GPA	0x211000ull
#define STUB_DATA_GPA	0x212000ull
#define VCPU_GPA	0x213000ull
#define VCPU_PAGES	2u

#define BOOT_MAGIC 0x6b6f6f62726576ffull

/* boot_info.flags */
#define BOOT_LOCKSTEP (1u << 0)
#define BOOT_PV	      (1u << 2)
#define BOOT_PCID     (1u << 3)
#define BOOT_INTERRUPTS (1u << 5) /* a real guest with a local APIC: its timer and its devices interrupt */
#define BOOT_KEEP     (1u << 4) /* processes started at boot keep their memory when they end, for the digest */

struct common_range {
	uint64_t gpa;
	uint32_t page; /* first page within the 2 MiB at COMMON_VA */
	uint32_t npages; /* 0: entry unused */
	uint32_t flags; /* COMMON_* */
	uint32_t reserved;
};

/* What the guest kernel fills free pages with, and looks for when it allocates them. */
enum page_poison { POISON_NONE, POISON_ZERO, POISON_AA };

#define POISON_WORD(poison) ((poison) == POISON_AA ? 0xaaaaaaaaaaaaaaaaull : 0)

/* How the guest's balloon driver behaves. */
enum balloon_behaviour { BALLOON_GOOD, BALLOON_SLOW, BALLOON_SILENT, BALLOON_HOSTILE, BALLOON_RECKLESS };

struct balloon_info {
	uint64_t registers; /* gpa of the device's virtio-mmio registers; 0: there is none */
	uint64_t rate;	    /* most pages that the driver moves in each interval */
	uint64_t interval_ns;
	uint64_t behaviour; /* enum balloon_behaviour */
	uint64_t refuses;   /* features that the driver does not accept */
	uint64_t fixed_queues; /* 1: it numbers queues as the specification does, not as Linux does */
	uint64_t free_order; /* free pages are reported and hinted in aligned blocks of 2^n pages, 0 to 9 */
	uint64_t report_delay_ns; /* from the first page freed until free pages are reported */
};

/* The guest's virtio-blk disk: pages [0, file_pages) hold its files, the next swap_pages are its swap. */
struct disk_info {
	uint64_t registers; /* gpa of the device's virtio-mmio registers; 0: there is none */
	uint64_t file_pages, swap_pages;
};

struct boot_info {
	uint64_t magic;
	uint64_t npages;     /* guest-physical memory, 4 KiB pages */
	uint64_t arena_end;  /* gpa */
	uint64_t heap_start; /* gpa */
	uint32_t levels;     /* 4 or 5, of the guest's tables */
	uint32_t flags;	     /* BOOT_* */
	uint64_t quantum;    /* operations per quantum */
	uint64_t timeslice;  /* quanta until another process's turn */
	struct common_range common[COMMON_RANGES];
	uint64_t poison; /* enum page_poison */
	struct balloon_info balloon;
	struct disk_info disk;
	uint64_t swappiness; /* 0 to 200: how readily reclaim takes anonymous pages rather than the cache's */
};

/*
 * A leaf entry that is not present but not empty is a page its process owns and may not touch (protection 0): address,
 * PTE_PS and PTE_SW1 as in a present leaf, PTE_P and PTE_W clear. The digest counts it with protection 0.
 */
#define PTE_NONE PTE_SW1

/*
 * A leaf of level 1 with PTE_FILE maps a page of the disk's file range, shared by all; it belongs to the disk, not to
 * the process. One that is not present and has PTE_SWAP is a page in the guest's swap: its address is a slot << 12, W,
 * NX and PTE_NONE are as they were and will be.
 */
#define PTE_FILE PTE_SW2
#define PTE_SWAP PTE_SW3

/*
 * A cache word says where a page of the disk is in memory: 0 nowhere, a gfn, a gfn | CACHE_LOADING while it is being
 * read (what counts is on the disk), or, with CACHE_SHADOW, when it went (workingset.c).
 */
#define CACHE_SHADOW  (1ull << 63)
#define CACHE_LOADING (1ull << 62)

struct swap_slot {
	uint64_t word;
	uint32_t refs; /* entries with PTE_SWAP that name it */
	uint32_t zero;
};

#define EXPORT_PROCESSES 250

enum process_state {
	PROCESS_FREE = 0,
	PROCESS_READY,
	PROCESS_SLEEPING, /* until wake_ns */
	PROCESS_WAITING,  /* for its children */
	PROCESS_DONE,	  /* ended, its memory kept (BOOT_KEEP) */
	PROCESS_BLOCKED,  /* waits for the disk */
};

/* 32 bytes; two pages hold the table. Entries are live when state != PROCESS_FREE. */
struct export_process {
	uint32_t pid;
	uint32_t state;
	uint64_t root; /* gpa of the top table */
	uint64_t reserved[2];
};

/* A process that was killed for lack of memory. */
struct export_oom {
	uint32_t pid;
	uint32_t phase;	 /* of the script, that it was in */
	uint64_t npages; /* that it held, in memory and in swap */
	uint64_t now_ns;
};

#define EXPORT_OOMS 4

struct guest_export {
	uint64_t nslots; /* EXPORT_PROCESSES */
	uint64_t panic;	 /* line of a failed assertion, 0: none */
	uint64_t panic_file; /* gpa of its file name, zero-ended */
	uint64_t done;	 /* 1 when no process is left */
	uint64_t file_words; /* gpa of the cache words of the disk's file range; 0: there is no disk */
	uint64_t swap_slots; /* gpa of struct swap_slot[swap_pages] */
	uint64_t nooms;	     /* processes killed for lack of memory; the first EXPORT_OOMS are told of */
	struct export_oom oom[EXPORT_OOMS];
	struct export_process process[EXPORT_PROCESSES];
};

_Static_assert(sizeof(struct guest_export) <= SCRIPT_GPA - EXPORT_GPA, "the export must fit its pages");
_Static_assert(sizeof(struct script) <= SCRIPT_END - SCRIPT_GPA, "the script must fit its pages");

/*
 * Registers of devices: a page each, in the first 2 MiB of a power of two above all memory. Every processor that runs
 * the guests has that many address bits, if it has them for the memory. They are where boot_info says; by this rule all
 * machines agree, so that the guest makes the same tables on each.
 */
enum device_page { DEVICE_BALLOON, DEVICE_DISK, DEVICE_LAPIC };

static inline uint64_t device_gpa(uint64_t npages, enum device_page page)
{
	uint64_t base = 1ull << 38;

	while (base < npages * PAGE_SIZE)
		base <<= 1;
	return base + page * PAGE_SIZE;
}

/* Virtual time of one operation in lockstep, ns. */
#define LOCKSTEP_NS 100

/* Port of the guest's only `out`; the operand says why (real guests; docs/guest-abi.md). */
#define HYPERCALL_PORT 0x0b

enum hypercall {
	HC_YIELD = 1, /* a quantum is over */
	HC_IDLE,      /* nothing to run until the time given */
	HC_DONE,      /* no process left: the guest has ended */
	HC_PANIC,     /* an assertion failed; guest_export says where */
	HC_BOOTED = 7,    /* the kernel is up; the first process has not run yet */
	HC_NO_ARENA,  /* the arena is too small to boot */
	HC_DEVICES,   /* lockstep: which devices interrupt now? */
	HC_REFILL,    /* the process replays a trace: which operations are next? */
	HC_NOTHING,   /* lockstep: woken, and still nothing to run: somebody else's turn */
};

#endif
