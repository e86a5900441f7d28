/* SPDX-License-Identifier: MIT */
/*
 * tiny.h - a guest of a few instructions, to ask this KVM what things cost
 *
 * No kernel, no devices: one vCPU in long mode, at CPL 0 or 3, that runs a loop of machine code until it does `out` to
 * TINY_DONE. Memory under test is the caller's, at TINY_DATA for guest-virtual and guest-physical alike.
 */
#ifndef OVERBOOK_KVM_TINY_H
#define OVERBOOK_KVM_TINY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_run;

#define TINY_DATA (1ull << 30)
#define TINY_PORT 0x10 /* an exit that counts */
#define TINY_DONE 0x1f /* the end */

struct tiny {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *mem; /* guest-physical 0 */
};

/* What it can run: r15 is how often, rbx where. */
enum tiny_code {
	TINY_SPIN,	 /* r15 times two instructions */
	TINY_OUT,	 /* r15 exits */
	TINY_READ,	 /* one read of each of r15 pages from rbx on */
	TINY_WRITE,	 /* one write */
	TINY_BREAKPOINT, /* r15 exceptions that a handler in ring 0 returns from at once */
	TINY_CODES,
};

/* 0 or -errno; tiny_close() in either case. */
int tiny_open(struct tiny *t);
void tiny_close(struct tiny *t);
/* Guest memory at TINY_DATA: @nbytes (a multiple of 2 MiB, at most 1 GiB) of this process's from @at on. Once. */
int tiny_map(struct tiny *t, void *at, size_t nbytes);
/*
 * Run @code at @cpl to its end. Returns how many exits came before, or -errno: -EIO if the guest did something else
 * than it should.
 */
long tiny_run(struct tiny *t, enum tiny_code code, unsigned cpl, uint64_t rbx, uint64_t r15);
/*
 * As a VMM that handles guest page faults in whole: reads at CPL 3 of @r15 pages (at most 512) that the guest's table
 * lacks. The handler in ring 0 exits; here the page is mapped, the handler's frame dropped, and the read done again.
 * Returns how many faults there were. Once for each tiny_open(): KVM remembers what was mapped. -ENOTSUP: there is no
 * KVM_CAP_SYNC_REGS, without which nobody would do it so.
 */
long tiny_fault(struct tiny *t, uint64_t r15);

#endif
