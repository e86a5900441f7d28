/* SPDX-License-Identifier: MIT */
/*
 * accounting.h - does anything leak? Four guests, everything that takes memory back, faults injected, and a naive model
 *
 * Guests with second-stage tables (EPT, NPT with large pages), with shadow tables and with a flat map share a host that
 * is too small, a swap device with a compressed tier, a merging scanner; each has a balloon whose driver may do
 * anything. Events are drawn at random: accesses, DMA, releases, moves, splits, scans, pages given up and taken back,
 * limits, queries for young pages, dirty logs, hints; and faults: no frames for a while, errors of the swap device, of
 * populating, of moving and copying, malformed rings.
 *
 * The model is told of each change of state, and keeps for each page its state, its frame, its slot and its contents,
 * for each frame how many pages use it, for each guest how many pages are in each state and how often each thing
 * happened. After each event what changed is compared: the page, its frame's owner and references, the entry of the
 * tables, the slot, the contents, the counters. After each thousand everything is, frames from their side too.
 */
#ifndef OVERBOOK_TESTS_ACCOUNTING_H
#define OVERBOOK_TESTS_ACCOUNTING_H

#include <stdint.h>

struct accounting_config {
	const char *dedup;  /* algorithm */
	const char *victims; /* policy of host swapping */
	uint64_t pool_frames; /* of the compressed tier */
	unsigned cluster;
	uint64_t nslots;
};

/* So many events from @seed on; fails the test of check(3) that calls it if anything disagrees. */
void accounting_run(const struct accounting_config *cfg, uint64_t seed, uint64_t nevents);

/* How many events one of the four runs of make check should have: @n, or a fourth of SOAK in the environment. */
uint64_t accounting_events(uint64_t n);

#endif
