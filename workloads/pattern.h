/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - what a page contains, in 16 bytes
 *
 * Contents decide what merges, what compresses and what patches, so every page has some; but nobody wants
 * 4096 bytes of memory for each simulated page. A *pattern* is a 64-bit base (family and number) plus a
 * 64-bit stamp. pattern_fill() makes the 4096 bytes from it: the base makes words 1 to 511, and word 0 *is*
 * the stamp, which is where a workload's store goes. Hence: equal bytes <=> equal (base, stamp), provided
 * that two bases never make the same words, which pattern.c guarantees by making word 1 the base itself.
 * Base 0 makes zeros: {0, 0} is the zero page.
 *
 * Freestanding: the simulator and the guest compile this same file.
 */
#ifndef OVERBOOK_WORKLOADS_PATTERN_H
#define OVERBOOK_WORKLOADS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* The top byte of a base. Families differ in how their words look to a compressor and to a differ. */
enum pattern_family {
	PATTERN_ZERO = 0, /* all zero but the stamp; base is exactly 0 */
	PATTERN_TEXT,	  /* text-like: words of a small vocabulary; zstd -1 makes 3.5:1 of it, lz4 2:1 */
	PATTERN_POINTER,  /* heap-like: pointers into a few pages, small integers, zeros; 4:1 and 2.6:1 */
	PATTERN_CODE,	  /* machine-code-like: common groups of bytes, with changes; 1.9:1 and 1.4:1 */
	PATTERN_RANDOM,	  /* incompressible */
	PATTERN_NEAR,	  /* the page `number >> 8` of family TEXT, but for (number & 0xff) words, at least 1 */
	PATTERN_FAMILIES,
	PATTERN_POISON = 0xaa, /* base 0xaaaa...: every word is the base; free pages of a guest that poisons them */
	PATTERN_IMAGE = 0xfe, /* a page of an image file, by index; only where the image is known */
	PATTERN_BYTES = 0xff, /* no pattern: the frame holds real bytes (tables, rings) */
};

struct pattern {
	uint64_t base;
	uint64_t stamp;
};

#define PATTERN_BASE(family, number) (((uint64_t)(family) << 56) | ((number)&0x00ffffffffffffffull))
#define PATTERN_FAMILY(base)	     ((unsigned)((base) >> 56))
#define PATTERN_NUMBER(base)	     ((base)&0x00ffffffffffffffull)

/* The family's name as experiment files spell it, or NULL. */
const char *pattern_family_name(unsigned family);
/* One sentence about it, for `overbook list patterns`, or NULL. */
const char *pattern_family_summary(unsigned family);

/*
 * Make the 4096 bytes of @p at @page (8-byte aligned). Families IMAGE and BYTES are not made here: the
 * caller holds their bytes; passing one fills the page as family RANDOM would, so that no two differ silently.
 */
void pattern_fill(struct pattern p, void *page);

/* One word of the page, index 0 to 511, without making the rest. */
uint64_t pattern_word(struct pattern p, unsigned index);

#endif
