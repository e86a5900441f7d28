/* SPDX-License-Identifier: MIT */
/*
 * lazy.h - large arrays that cost nothing until they are written
 *
 * Anonymous memory, zero at first, backed by the kernel as it is touched. From 2 MiB on it is aligned to 2 MiB and the
 * kernel is asked for huge pages: what is touched here is touched densely, a first touch of 4 KiB costs microseconds,
 * and the simulator's random walks through it would otherwise miss the real TLB at every step.
 */
#ifndef OVERBOOK_MM_LAZY_H
#define OVERBOOK_MM_LAZY_H

#include <stdint.h>

/* NULL if there is no address space. */
void *lazy_new(uint64_t nbytes);
/* The same of a file of memory, from its beginning. */
void *lazy_new_shared(uint64_t nbytes, int memfd);
/* @p may be NULL. */
void lazy_free(void *p, uint64_t nbytes);
/* What lies in [p, p + nbytes), whole pages, reads as zero again and costs nothing. */
void lazy_clear(void *p, uint64_t nbytes);

#endif
