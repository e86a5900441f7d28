/* SPDX-License-Identifier: MIT */
/*
 * shadowed.h - a VM with shadow paging and a processor that walks its tables, for tests of shadow/
 *
 * The processor is written from the manual's tables alone: it walks the shadow tables as 4- or 5-level x86-64 tables,
 * checks rights, sets accessed and dirty bits. It keeps what it walked in a TLB that drops only what it is told to
 * flush, and shadowed_check() demands that nothing in that TLB says more than the tables do now: a missing flush shows.
 */
#ifndef OVERBOOK_TESTS_SHADOWED_H
#define OVERBOOK_TESTS_SHADOWED_H

#include "mm/gmem.h"
#include "mm/paging.h"
#include "shadow/shadow.h"
#include "tests/lib/fake_machine.h"

#define SHADOWED_VCPUS 2
#define SHADOWED_TLB   64

struct shadowed_config {
	uint64_t host_pages, npages, arena_pages;
	unsigned level, max_leaf, levels, maxphyaddr;
	bool unsync;
	uint64_t limit;
	unsigned flood;
};

/* A walk that ended well: entry and value at each level it passed. */
struct shadowed_hit {
	gva_t gva;
	unsigned level;
	hpa_t at[6];
	uint64_t value[6];
};

struct shadowed {
	struct shadowed_config cfg;
	struct frames *frames;
	struct fake_machine machine; /* by value: flush() finds the VM around it */
	struct machine_ops ops;
	struct counters c;
	struct gmem *gmem;
	struct paging *paging;
	struct guest_regs regs[SHADOWED_VCPUS];
	const struct guest_regs *regs_of[SHADOWED_VCPUS];
	struct shadowed_hit tlb[SHADOWED_TLB];
	unsigned ntlb;	 /* valid entries */
	uint64_t faults; /* that the processor raised */
};

struct shadowed *shadowed_new(const struct shadowed_config *cfg);
void shadowed_free(struct shadowed *v);

/* How an access ended. */
struct shadowed_result {
	enum paging_verdict verdict; /* PAGING_RETRY: done */
	hpa_t hpa;		     /* if done */
	unsigned level;		     /* of the shadow leaf */
	gpa_t gpa;		     /* PAGING_EMULATE */
	unsigned error;		     /* PAGING_INJECT */
	int err;		     /* PAGING_FAIL */
	unsigned faults;	     /* it took */
};

/* One access with ACC_R, ACC_W or ACC_X; ACC_U for user mode. Fails the test if it does not end. */
struct shadowed_result shadowed_access(struct shadowed *v, unsigned vcpu, gva_t gva, unsigned access);

/* The processor alone: true if the tables let it through now. Fills r->hpa, r->level or r->error. */
bool shadowed_walk(struct shadowed *v, unsigned vcpu, gva_t gva, unsigned access, struct shadowed_result *r);

/* A store of the guest through its mapping of @gva, carried out by whoever has to; the verdict that led to it. */
enum paging_verdict shadowed_store(struct shadowed *v, unsigned vcpu, gva_t gva, unsigned user, uint64_t value);

/* TLB and verify(): true if all is well. */
bool shadowed_check(struct shadowed *v);

/* The guest's memory as it is; stores behind the VMM's back, for building tables before they are used. */
uint64_t shadowed_peek(struct shadowed *v, gpa_t gpa);
void shadowed_poke(struct shadowed *v, gpa_t gpa, uint64_t value);

#endif
