/* SPDX-License-Identifier: MIT */
/*
 * device.h - the virtio-balloon as the host has it: asks a guest for pages, and takes those that it gives
 *
 * STATS_VQ is always offered, the other features as the configuration says.
 */
#ifndef OVERBOOK_BALLOON_DEVICE_H
#define OVERBOOK_BALLOON_DEVICE_H

#include "mm/virtqueue.h"

struct balloon_config {
	bool must_tell, deflate_on_oom; /* features to offer */
	bool free_page_hint, reporting, poison;
	bool keep_poisoned; /* free pages that hold a poison value are left alone, as QEMU does; else it is restored */
	bool fixed_queues;  /* queues have the specification's numbers, not those of Linux and QEMU */
	uint64_t max_pages;		/* most that may be in the balloon */
};

struct balloon_device;

/* @g is borrowed; its counters are kept. */
struct balloon_device *balloon_new(struct gmem *g, const struct balloon_config *cfg);
void balloon_free(struct balloon_device *b);

/* What a transport talks to. */
struct virtio_device *balloon_virtio(struct balloon_device *b);

/* Ask for so many pages, or as many as the balloon may hold; the driver is told if that is news. */
void balloon_set_target(struct balloon_device *b, uint64_t npages);

/* Ask the driver for statistics; they come when it answers, if it does. */
void balloon_poll_stats(struct balloon_device *b);

/*
 * Ask for hints at all free pages. The device sees to the end of it: when the driver has said what it knows, or by
 * stop. Nothing if hints were not negotiated.
 */
void balloon_ask_hints(struct balloon_device *b);
void balloon_stop_hints(struct balloon_device *b);

/* The value of a tag (enum virtio_balloon_tag) in the last report; false: it was not in it. */
bool balloon_stat(const struct balloon_device *b, unsigned tag, uint64_t *value);

#endif
