/* SPDX-License-Identifier: MIT */
/*
 * kvm_probe.h - a tiny guest that asks KVM what its MMU does
 *
 * Nothing of vmm/kvm is used: what is compared with KVM must not stand on what is built on it. The guest performs a
 * list of accesses at CPL 3, each on a root of its choice, and writes down what happened; page faults are handled
 * inside the guest, so a list costs one exit. Before each access ring 0 loads CR3 and does INVLPG.
 *
 * The guest's own pages are PROBE_PAGES pages of guest-physical memory from PROBE_GPA on. Every root must hold, at
 * index PROBE_SLOT, what probe_slot_entry() returns; no access of a list may go there.
 */
#ifndef OVERBOOK_TESTS_KVM_PROBE_H
#define OVERBOOK_TESTS_KVM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/x86.h"

#define PROBE_GPA   0x10000ull
#define PROBE_PAGES 16
#define PROBE_SLOT  6  /* index in a level-4 table */
#define PROBE_LIST  64 /* most accesses a list */

enum probe_what { PROBE_LOAD, PROBE_STORE, PROBE_EXECUTE };
enum probe_end { PROBE_NOT_YET, PROBE_DONE, PROBE_FAULT };

/* One access of 8 aligned bytes; an execution calls them. The guest fills in what follows @end. */
struct probe_access {
	uint64_t root, gva, what;
	uint64_t stamp; /* what a store puts there */
	uint64_t end;
	uint64_t value; /* loaded, or left in rax by the code that was called; on a fault: the instruction's address */
	uint64_t cr2, error;
};

/* Code for PROBE_EXECUTE that returns @id; as a number it is what a load sees and a store may write. */
static inline uint64_t probe_code(uint32_t id)
{
	return 0xb8 | (uint64_t)id << 8 | 0xc3ull << 40; /* mov $id, %eax; ret */
}

struct kvm_probe;

/* A VM with one vCPU and no memory. NULL: *why says what is missing. */
struct kvm_probe *probe_new(const char **why);
void probe_free(struct kvm_probe *p);

/* Show the guest @nbytes at @at as its memory from @gpa on. */
void probe_add_memory(struct kvm_probe *p, uint64_t gpa, uint64_t nbytes, void *at);
/* The guest's own pages; @at is where PROBE_GPA is in this process. */
void probe_install(struct kvm_probe *p, void *at);
uint64_t probe_slot_entry(void);

/* Make the guest see what this process has changed in its page tables. */
void probe_flush(struct kvm_probe *p);
/* Perform @list of @n accesses. NULL, or what went wrong that is none of the guest's business. */
const char *probe_run(struct kvm_probe *p, struct probe_access *list, unsigned n, uint32_t cr4, uint32_t efer);

/* What the guest's processor has. */
unsigned probe_maxphyaddr(const struct kvm_probe *p);
bool probe_has_gigabyte_pages(const struct kvm_probe *p);
bool probe_has_smep(const struct kvm_probe *p);
/* KVM walks the guest's tables in software; false: the processor does, and may set accessed bits speculatively. */
bool probe_walks_in_software(void);

#endif
