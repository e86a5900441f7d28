/* SPDX-License-Identifier: MIT */
/*
 * fake_disk.h - a disk for the guest kernel in the world of fake_hal.h: in place of workloads/guest/block.c
 *
 * Real bytes. Requests end when the test says so, in any order, and may fail. A test that includes fake_block.h is
 * linked with this driver instead of the kernel's own.
 */
#ifndef OVERBOOK_TESTS_FAKE_DISK_H
#define OVERBOOK_TESTS_FAKE_DISK_H

#include "tests/lib/fake_hal.h"
#include "workloads/guest/block.h"
#include "workloads/rng.h"

#define FAKE_REQUESTS 42

struct fake_request {
	bool write;
	uint64_t page, gfn, cookie;
	uint32_t npages;
};

struct fake_disk {
	struct disk_info info;
	uint8_t *bytes;
	unsigned nrequests;
	struct fake_request request[FAKE_REQUESTS];
	unsigned due; /* of them, to be ended by the next interrupt */
	struct rng rng;
	uint64_t failure_ppm;
	uint64_t reads, writes, failures; /* requests */
	uint64_t heap_pages;
	void (*check)(struct hal *h, const struct fake_census *c);
	uint8_t *(*find)(struct hal *h, uint64_t word, uint64_t disk_page);
};

/* Word 0 of page i of the file range is i + 1, the rest zero. */
struct fake_disk *fake_disk_new(uint64_t file_pages, uint64_t swap_pages, uint64_t seed);
void fake_disk_free(struct fake_disk *d);

/* End up to @n requests, chosen by chance, and interrupt the guest. False: there was none. */
bool fake_disk_run(struct hal *h, unsigned n);

/* What the kernel's driver does. */
bool fake_disk_submit(struct kernel *k, bool write, uint64_t disk_page, uint64_t gfn, uint32_t npages,
		      uint64_t cookie);
void fake_disk_interrupt(struct kernel *k);

/* The page of the disk, or what the guest has of it in memory, as the cache word says. */
static inline uint8_t *fake_disk_bytes(struct hal *h, uint64_t word, uint64_t disk_page)
{
	return h->disk->find(h, word, disk_page);
}

static inline void fake_disk_check(struct hal *h, const struct fake_census *c)
{
	h->disk->check(h, c);
}

#endif
