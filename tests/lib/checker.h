/* SPDX-License-Identifier: MIT */
/*
 * checker.h - processes of a real guest that keep data and know what it must be
 *
 * Takes the place of the processes' loop before a guest's first instruction. Each process maps some pages and a table
 * of their versions, and then, page after page at random, verifies all words of one or writes its next version. Every
 * word is a function of page, version and place; of a quarter of the pages not of the process, so that guests have
 * equal pages; half of them compress well. A word that is not what it was ends the guest, with what it found in its
 * vCPU page.
 *
 * A process may be begun anew at any instruction, so each write is entered in a journal first and done again after
 * that.
 */
#ifndef OVERBOOK_TESTS_CHECKER_H
#define OVERBOOK_TESTS_CHECKER_H

#include <stdint.h>

#include "vmm/kvm/kvm.h"

/* What processes are told: to verify every page once more and exit, or to exit. */
enum { CHECKER_FINISH = 1, CHECKER_EXIT };

/* In the second half of the vCPU page. All of a VM's processes add to it. */
struct checker {
	uint64_t npages;  /* of each process: told by the test */
	uint64_t stop;	  /* set by the test: CHECKER_* */
	uint64_t begun, written, verified, ended; /* processes; pages; pages; processes */
	uint64_t wrong;	  /* not 0: a word that is not what it was: */
	uint64_t page, word, version, found, expected;
};

/* Put it into @vm, which has not run yet. */
void checker_install(struct kvm_vm *vm, uint64_t npages);
volatile struct checker *checker_of(const struct kvm_vm *vm);

#endif
