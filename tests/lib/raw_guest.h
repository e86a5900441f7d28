/* SPDX-License-Identifier: MIT */
/*
 * raw_guest.h - a real guest that does nothing but check and write its memory
 *
 * A VM of the real machine, with its memory, paging mode and vCPU, that runs a loop of ours instead of its kernel. In
 * round r it goes over its pages: word r % 512 of page p must be what round r - 512 left there (0 in the first 512
 * rounds), and becomes raw_guest_word(p, r). So a word lost or mixed up by whatever is done to the memory meanwhile is
 * found at the latest 512 rounds later. Pages of a group of RAW_GUEST_ALIKE are equal whenever a round is over.
 */
#ifndef OVERBOOK_TESTS_RAW_GUEST_H
#define OVERBOOK_TESTS_RAW_GUEST_H

#include "vmm/kvm/kvm.h"

#define RAW_GUEST_ALIKE 4

/* The guest is ready; its pages are @npages from the end of its arena on. */
void raw_guest_start(struct kvm_vm *vm, uint64_t npages);
/* Let it run until round @rounds has been reached. False: it found a wrong word, or failed; said on stderr. */
bool raw_guest_run(struct kvm_vm *vm, uint64_t rounds);
/* From another thread: let it be over after the round it is in. */
void raw_guest_stop(struct kvm_vm *vm);
/* How far it is. */
uint64_t raw_guest_round(const struct kvm_vm *vm);

static inline uint64_t raw_guest_word(uint64_t page, uint64_t round)
{
	return (round << 20) + page / RAW_GUEST_ALIKE + 1;
}
/* What word @word of page @page must be after @rounds. */
static inline uint64_t raw_guest_expect(uint64_t page, unsigned word, uint64_t rounds)
{
	return rounds <= word ? 0 : raw_guest_word(page, (rounds - 1 - word) / 512 * 512 + word);
}

#endif
