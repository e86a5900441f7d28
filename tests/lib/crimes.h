/* SPDX-License-Identifier: MIT */
/*
 * crimes.h - what guests do that they should not: code to put into a real guest before its first instruction
 *
 * A crime is committed by the first process (at its first instruction) or by the kernel (at the first event that a
 * process causes). Each ends the guest, its processes, or nothing, but never anybody else.
 */
#ifndef OVERBOOK_TESTS_CRIMES_H
#define OVERBOOK_TESTS_CRIMES_H

#include <stdint.h>

#include "vmm/vmm.h"

enum crime_place { CRIME_PROCESS, CRIME_KERNEL, CRIME_IDT, CRIME_INFO };

struct crime {
	const char *what;
	enum crime_place place;
	const uint8_t *code, *end;
	enum failure kind;   /* FAILURE_OTHER: whatever KVM makes of it */
	const char *failure; /* words of it, "a|b" if shadow mode has others; or one of those below */
	uint64_t seed;	     /* not 0: replaces the operand of the code's first instruction, a movabs */
};

/* Not words of a failure, but: its processes die, of faults; whatever happens, the run goes on. */
extern const char crime_kills_process[], crime_ends_somehow[];

extern const struct crime crimes[];
extern const unsigned ncrimes;

#endif
