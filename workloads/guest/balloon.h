/* SPDX-License-Identifier: MIT */
/*
 * balloon.h - what the guest kernel asks of its balloon driver (balloon/driver.c)
 *
 * All of them do nothing in a guest without a balloon. Freestanding.
 */
#ifndef OVERBOOK_GUEST_BALLOON_H
#define OVERBOOK_GUEST_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

struct kernel;

/* At boot: find the device that boot_info names and set it up. */
void balloon_start(struct kernel *k);
/* The device raised its interrupt. */
void balloon_interrupt(struct kernel *k);
/* Time may have passed: inflate or deflate what is due. */
void balloon_tick(struct kernel *k);
/* When there will be something due; UINT64_MAX: not by itself. */
uint64_t balloon_wake_time(const struct kernel *k);
/* The allocator handed these pages out: they are free no longer. */
void balloon_taken(struct kernel *k, uint64_t gfn, uint64_t npages);
/* The guest is out of memory: true if the balloon gave some back. */
bool balloon_oom(struct kernel *k);

#endif
