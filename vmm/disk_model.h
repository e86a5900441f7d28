/* SPDX-License-Identifier: MIT */
/*
 * disk_model.h - a model of a disk: when a command is accepted, and when it is done
 *
 * Latency, bandwidth, parallelism and queue of a kind of device, in integer nanoseconds; it holds no contents. See
 * disk_model.c.
 */
#ifndef OVERBOOK_VMM_DISK_MODEL_H
#define OVERBOOK_VMM_DISK_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/rng.h"

/* @ppm of all commands take no more than @permille of the latency. In rising order, to 1,000,000. */
struct disk_quantile {
	uint32_t ppm, permille;
};

struct disk_profile {
	const char *name, *summary;
	const struct disk_quantile *spread; /* between two, latency grows evenly; the first is the least there is */
	uint64_t read_ns, write_ns; /* of a command, before its first byte */
	uint64_t seek_ns;	    /* added if it does not begin where the last one ended */
	uint64_t bytes_per_us;	    /* of the link or the head: all commands share it */
	unsigned parallel;	    /* commands served at once */
	unsigned queue;		    /* commands accepted and not done; the next write waits outside */
};

extern const struct disk_profile *const disk_profiles[]; /* NULL-ended: nvme, ssd, disk, zram, far */

#define DISK_INTERVALS 16384u
#define DISK_INTERVAL_NS 100000u

/* What is taken of the servers' and of the link's time in one interval. */
struct disk_interval {
	uint64_t number; /* of the interval, since time 0 */
	uint64_t servers, link;
};

/* What goes wrong; all 0: nothing. */
struct disk_faults {
	uint32_t read_ppm, write_ppm; /* of pages */
	uint64_t fails_at;	      /* ns: from then on every one; 0: never */
};

struct disk {
	const struct disk_profile *profile;
	bool vary;		   /* latencies are drawn from the profile's spread */
	struct rng latency, fate;
	struct disk_faults faults;
	bool alone;		   /* commands do not wait for one another */
	uint64_t position;	   /* behind the last page read or written */
	struct disk_interval *calendar; /* [DISK_INTERVALS], a ring */
};

struct disk_times {
	uint64_t accepted, done; /* ns */
};

void disk_init(struct disk *d, const struct disk_profile *profile, bool alone);
void disk_destroy(struct disk *d);
/* Latencies differ from now on. */
void disk_vary(struct disk *d, uint64_t seed);
void disk_break(struct disk *d, const struct disk_faults *faults, uint64_t seed);
/* Does it fail to read or write a page at @now? Each call draws anew. */
bool disk_fails(struct disk *d, uint64_t now, bool write);
/* A command for @npages pages from page @first on, given at @now. Times need not come in order, but for 0.5 s or so. */
struct disk_times disk_submit(struct disk *d, uint64_t now, bool write, uint64_t first, uint64_t npages);

#endif
