/* SPDX-License-Identifier: MIT */
/*
 * disk_model.c - a queueing model of disks
 *
 * Problem: what swapping costs depends on the device far more than on anything else, by a factor of a thousand between
 * far memory and a disk; and on what else it is doing.
 *
 * Idea: a command takes the latency of its kind (and a seek, if it does not go on where the last command ended) of the
 * servers' time, of which there is `parallel` times as much as of time, and then its transfer of the one link's. Time
 * is divided into intervals; a command takes what earlier ones have left of the interval in which it comes, then of
 * the next. Simulated CPUs are up to a timeslice apart, so commands come out of order: a queue would let the one that
 * is behind wait for what the others do in its future. With intervals it finds the time that they have left it.
 *
 * On request no command takes what it should: latencies, seeks with them, are drawn from quantiles of the device, so
 * that there is a tail. A device may also fail: a share of pages, or all from some time on.
 *
 * A write is accepted at once unless more work is queued before it than `queue` commands make.
 *
 * Invariants (tests/unit/test_disk_model.c): accepted <= done; an idle device takes latency + size / bandwidth; a
 * device kept busy moves no more than its bandwidth, and no more commands than parallel / latency; a command is not
 * delayed by later ones as long as there is time left.
 *
 * Source of the numbers: docs/cost-model.md.
 */
#include "vmm/disk_model.h"

#include <glib.h>

#include "workloads/x86.h"

/* Flash: a read waits for others on its die, or for the collection of garbage. */
static const struct disk_quantile nvme_spread[] = {
	{ 0, 800 }, { 500000, 1000 }, { 900000, 1200 }, { 990000, 2000 }, { 999000, 6000 }, { 1000000, 25000 },
};

static const struct disk_quantile ssd_spread[] = {
	{ 0, 700 }, { 500000, 1000 }, { 900000, 1500 }, { 990000, 4000 }, { 999000, 20000 }, { 1000000, 80000 },
};

/* Where the head is and where the platter: anything between nothing and a whole stroke and a turn. */
static const struct disk_quantile disk_spread[] = { { 0, 50 }, { 500000, 1000 }, { 1000000, 2000 } };

static const struct disk_quantile zram_spread[] = {
	{ 0, 900 }, { 500000, 1000 }, { 990000, 1700 }, { 1000000, 4000 },
};

/* A network with others on it. */
static const struct disk_quantile far_spread[] = {
	{ 0, 850 }, { 500000, 1000 }, { 900000, 1300 }, { 990000, 2500 }, { 999000, 10000 }, { 1000000, 50000 },
};

static const struct disk_profile nvme = {
	.name = "nvme",
	.spread = nvme_spread,
	.summary = "NVMe flash drive",
	.read_ns = 80000,
	.write_ns = 20000,
	.bytes_per_us = 3000,
	.parallel = 32,
	.queue = 128,
};

static const struct disk_profile ssd = {
	.name = "ssd",
	.spread = ssd_spread,
	.summary = "SATA flash drive",
	.read_ns = 120000,
	.write_ns = 60000,
	.bytes_per_us = 520,
	.parallel = 8,
	.queue = 32,
};

static const struct disk_profile hard_disk = {
	.name = "disk",
	.spread = disk_spread,
	.summary = "hard disk, 7,200 turns a minute",
	.read_ns = 100000,
	.write_ns = 100000,
	.seek_ns = 12500000,
	.bytes_per_us = 200,
	.parallel = 1,
	.queue = 32,
};

static const struct disk_profile zram = {
	.name = "zram",
	.spread = zram_spread,
	.summary = "compressed RAM disk; its memory is not taken from the host's",
	.read_ns = 3000,
	.write_ns = 9000,
	.bytes_per_us = 10000,
	.parallel = 16,
	.queue = 16,
};

static const struct disk_profile far_memory = {
	.name = "far",
	.spread = far_spread,
	.summary = "memory of another machine, by RDMA",
	.read_ns = 4000,
	.write_ns = 4000,
	.bytes_per_us = 7000,
	.parallel = 16,
	.queue = 256,
};

const struct disk_profile *const disk_profiles[] = { &nvme, &ssd, &hard_disk, &zram, &far_memory, NULL };

void disk_init(struct disk *d, const struct disk_profile *profile, bool alone)
{
	*d = (struct disk){ .profile = profile, .alone = alone };
	d->calendar = g_new0(struct disk_interval, DISK_INTERVALS);
}

void disk_destroy(struct disk *d)
{
	g_free(d->calendar);
}

void disk_vary(struct disk *d, uint64_t seed)
{
	d->vary = true;
	rng_seed(&d->latency, seed);
}

void disk_break(struct disk *d, const struct disk_faults *faults, uint64_t seed)
{
	d->faults = *faults;
	rng_seed(&d->fate, seed);
}

bool disk_fails(struct disk *d, uint64_t now, bool write)
{
	uint32_t ppm = write ? d->faults.write_ppm : d->faults.read_ppm;

	if (d->faults.fails_at && now >= d->faults.fails_at)
		return true;
	return ppm && rng_below(&d->fate, 1000000) < ppm;
}

/* One command's share of the latency it should have, in permille. */
static uint64_t draw(struct disk *d)
{
	const struct disk_quantile *q = d->profile->spread;
	uint64_t at = rng_below(&d->latency, 1000000);

	while (q[1].ppm <= at)
		q++;
	return q->permille + (q[1].permille - q->permille) * (at - q->ppm) / (q[1].ppm - q->ppm);
}

/* The interval's entry; NULL if the ring has gone so far ahead that it holds a later one there. */
static struct disk_interval *interval(struct disk *d, uint64_t number)
{
	struct disk_interval *e = &d->calendar[number % DISK_INTERVALS];

	if (e->number > number)
		return NULL;
	if (e->number < number)
		*e = (struct disk_interval){ .number = number };
	return e;
}

/*
 * Take @ns of a resource of @width units from @now on, from what others have left of each interval. Returns when the
 * last of it is done.
 */
static uint64_t take(struct disk *d, uint64_t now, uint64_t ns, unsigned width, bool link)
{
	uint64_t number = now / DISK_INTERVAL_NS, left = ns, end = now + ns;

	for (uint64_t i = 0; left && i < DISK_INTERVALS; i++, number++) {
		struct disk_interval *e = interval(d, number);
		uint64_t *used = e ? (link ? &e->link : &e->servers) : NULL, part;

		if (!e || *used >= (uint64_t)width * DISK_INTERVAL_NS)
			continue;
		part = MIN(left, (uint64_t)width * DISK_INTERVAL_NS - *used);
		*used += part;
		left -= part;
		end = MAX(end, number * DISK_INTERVAL_NS + *used / width);
	}
	return end;
}

struct disk_times disk_submit(struct disk *d, uint64_t now, bool write, uint64_t first, uint64_t npages)
{
	const struct disk_profile *p = d->profile;
	uint64_t latency = (write ? p->write_ns : p->read_ns) + (first != d->position ? p->seek_ns : 0);
	uint64_t transfer = npages * PAGE_SIZE * 1000 / p->bytes_per_us, backlog = latency * p->queue / p->parallel;
	struct disk_times t;

	d->position = first + npages;
	if (d->vary)
		latency = latency * draw(d) / 1000;
	t = (struct disk_times){ .accepted = now, .done = now + latency + transfer };
	if (d->alone)
		return t;
	t.done = take(d, take(d, now, latency, p->parallel, false), transfer, 1, true);
	if (t.done > now + latency + transfer + backlog)
		t.accepted = t.done - latency - transfer - backlog;
	return t;
}
