/* SPDX-License-Identifier: MIT */
/*
 * sampler.h - from live counters to samples and results, on any machine
 *
 * A backend's loop calls sampler_tick() whenever time has passed; the sampler knows warm-up, interval and the host's
 * sums, and asks the backend for a VM's counters when it needs them.
 */
#ifndef OVERBOOK_VMM_SAMPLER_H
#define OVERBOOK_VMM_SAMPLER_H

#include "vmm/vmm.h"

struct sampler {
	struct run *run;
	/* The counters of VM @vm, as they are now, since the beginning of the run. */
	void (*read)(void *ctx, unsigned vm, struct counters *out);
	/* What belongs to the host alone, to be called before the VMs; NULL: there is nothing. */
	void (*read_host)(void *ctx, struct counters *out);
	void *ctx;
	struct counters base_host;
	struct counters *base; /* at the end of the warm-up, one a VM */
	uint64_t next;	       /* time of the next sample */
	bool warm;	       /* the warm-up is over */
};

void sampler_init(struct sampler *s, struct run *run, void (*read)(void *ctx, unsigned vm, struct counters *out),
		  void *ctx);
/* Ends the warm-up and takes samples, when they are due at @now. */
void sampler_tick(struct sampler *s, uint64_t now);
/* When sampler_tick() next has something to do; UINT64_MAX: never. */
uint64_t sampler_due(const struct sampler *s);
/*
 * The run is over: the last sample, each VM's counters and the host's into the run. FALSE with @error if the guests
 * ended before the warm-up did.
 */
gboolean sampler_finish(struct sampler *s, uint64_t now, GError **error);
void sampler_destroy(struct sampler *s);

#endif
