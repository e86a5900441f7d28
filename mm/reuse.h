/* SPDX-License-Identifier: MIT */
/*
 * reuse.h - reuse distances of a stream of touches, as it comes
 *
 * The distance of a touch is the number of distinct items touched since the last touch of the same one, that one
 * included: a memory of LRU order that holds at least so many items hits. Items are numbers from 0 on, as few as
 * possible: memory is a few words for the largest of them.
 */
#ifndef OVERBOOK_MM_REUSE_H
#define OVERBOOK_MM_REUSE_H

#include <stdint.h>

struct reuse;

struct reuse *reuse_new(void);
void reuse_free(struct reuse *r);
/* A touch; its distance, at least 1, or 0 if @item was never touched before. log n. */
uint32_t reuse_touch(struct reuse *r, uint32_t item);

#endif
