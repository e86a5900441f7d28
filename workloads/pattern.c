/* SPDX-License-Identifier: MIT */
/*
 * pattern.c - the 4096 bytes that a pattern stands for
 *
 * Problem: contents must look like those of real memory to a compressor and to a differ, must be the same bytes in
 * the guest and in the simulator, and equal exactly when (base, stamp) are equal, without storing any of them.
 *
 * Idea: a page is 512 words. Word 0 is the stamp and word 1 the base itself: that alone makes two patterns differ.
 * Word i from 2 on is a function of a hash of (base, i), so that any word can be made alone:
 *
 *	TEXT	 one of 128 English words of seven letters, the first ones more often
 *	POINTER	 zero, a small integer, or a pointer into a 4 KiB neighbourhood of one of 4 arenas
 *	CODE	 four two-byte pieces of instructions, often one of 32 common groups, with a byte changed here and there
 *	RANDOM	 the hash
 *	NEAR	 the word of a TEXT page, but for exactly so many words as the base says (word 1 is one of them)
 *
 * Invariants: distinct patterns have distinct pages (test_pattern: distinct); a page is the sum of its words
 * (words_make_page); near pages differ in exactly n words (near); the bytes never change between versions, for results
 * and traces refer to them (pinned); ratios under zstd and lz4 are in the bands pattern.h states (ratios).
 */
#include "workloads/pattern.h"

#include "workloads/rng.h"

#define PAGE_WORDS 512u

static const char *const family_names[PATTERN_FAMILIES] = {
	[PATTERN_ZERO] = "zero", [PATTERN_TEXT] = "text",     [PATTERN_POINTER] = "pointer",
	[PATTERN_CODE] = "code", [PATTERN_RANDOM] = "random", [PATTERN_NEAR] = "near",
};

const char *pattern_family_name(unsigned family)
{
	return family < PATTERN_FAMILIES ? family_names[family] : NULL;
}

const char *pattern_family_summary(unsigned family)
{
	static const char *const summaries[PATTERN_FAMILIES] = {
		[PATTERN_ZERO] = "All zero.",
		[PATTERN_TEXT] = "English words; zstd makes 3.5:1 of it, lz4 2:1.",
		[PATTERN_POINTER] = "A heap: pointers into a few pages, small integers, zeros; 4:1 and 2.6:1.",
		[PATTERN_CODE] = "Machine code: common groups of bytes, with changes; 1.9:1 and 1.4:1.",
		[PATTERN_RANDOM] = "Random words; incompressible.",
		[PATTERN_NEAR] = "Near-duplicates: groups of 32 pages, 1 to 32 words away from one page of text.",
	};

	return family < PATTERN_FAMILIES ? summaries[family] : NULL;
}

/* One of 128 words of seven letters and a blank, the first ones more often. */
static inline uint64_t text_word(uint64_t hash)
{
	static const char vocabulary[] = "through another between nothing because without himself against "
					 "thought brought looking country several perhaps however general "
					 "morning evening present company history certain already whether "
					 "towards herself century subject service problem program society "
					 "control science natural measure feeling process example surface "
					 "picture special usually quickly machine support private quality "
					 "address western nations central account reading writing believe "
					 "produce include develop receive improve suggest explain discuss "
					 "forward outside instead element feature network storage virtual "
					 "pointer integer kernels testing loading compute message session "
					 "project meeting student teacher parents friends village weather "
					 "station library kitchen journey holiday brother freedom justice "
					 "respect balance courage passion mystery harvest blossom captain "
					 "soldier voyages horizon diamond crystal thunder sunrise silence "
					 "whisper lantern feather journal chapter section version release "
					 "failure success finally exactly clearly closely largely greatly ";
	uint64_t n = ((hash & 0xffff) * ((hash >> 16) & 0xffff)) >> 25, w;

	__builtin_memcpy(&w, vocabulary + n * 8, 8);
	return w;
}

/* Three pointers, two small integers, three zeros in eight; by masks, for which it is cannot be predicted. */
static inline uint64_t pointer_word(uint64_t key, uint64_t hash)
{
	uint64_t arena = 0x00007f0000000000ull + (((key + (hash & 3) * 0x9e3779b9ull) & 0xfffffff) << 12);
	uint64_t kind = (hash >> 2) & 7, pointer = arena + ((hash >> 8) & 0xff0), small = (hash >> 8) & 0x3f;

	return (pointer & (0 - (uint64_t)(kind < 3))) | (small & (0 - (uint64_t)(kind == 3 || kind == 4)));
}

/* Four pairs of bytes that x86-64 code is full of, and perhaps one byte that may be any. */
static inline uint64_t code_word(uint64_t hash)
{
	static const uint16_t pairs[64] = {
		0x8948, 0x8b48, 0x8d48, 0x8348, 0x8548, 0x894c, 0x8b4c, 0x8d4c, 0x8948, 0x8b48, 0x840f, 0x850f, 0x1f0f,
		0xb60f, 0xb70f, 0x440f, 0x00e8, 0xffe8, 0x00c3, 0xc3c0, 0x458b, 0x4589, 0xc789, 0xd689, 0x008b, 0x448b,
		0x448d, 0x2424, 0x0824, 0x1024, 0x1824, 0x2024, 0x0000, 0x0000, 0x0000, 0x0000, 0xffff, 0x15ff, 0xfeff,
		0x0100, 0x0874, 0x0575, 0x1074, 0x05eb, 0x0aeb, 0x9090, 0xc35d, 0x5d5b, 0x5c41, 0x5d41, 0x5e41, 0x5f41,
		0x85c0, 0x48c0, 0xc0f6, 0xc483, 0xec83, 0xf883, 0x8945, 0x8b45, 0xc031, 0xd231, 0x00c0, 0x0008,
	};
	uint64_t any = hash >> 56, group = 0 - (uint64_t)((any & 7) < 5), change = 0 - (uint64_t)((any & 24) == 8);
	uint64_t h = (hash & 0xffffff & ~group) | (((hash & 31) * 0x41c64e6d) & group);
	uint64_t w = pairs[h & 63] | (uint64_t)pairs[(h >> 6) & 63] << 16 | (uint64_t)pairs[(h >> 12) & 63] << 32 |
		     (uint64_t)pairs[(h >> 18) & 63] << 48;

	return w ^ ((((hash >> 40) & 0xff) << (any >> 5) * 8) & change);
}

/* What makes a page of @base: its family and the key its words hash with. */
static uint64_t base_key(uint64_t base)
{
	return rng_mix(base);
}

static inline __attribute__((always_inline)) uint64_t family_word(unsigned family, uint64_t key, unsigned index)
{
	switch (family) {
	case PATTERN_ZERO:
		return 0;
	case PATTERN_TEXT:
		return text_word(rng_mix(key + index));
	case PATTERN_POINTER:
		return pointer_word(key, rng_mix(key + index));
	case PATTERN_CODE:
		return code_word(rng_mix(key + index));
	default:
		return rng_mix(key + index);
	}
}

/*
 * Words 2 to 511 of a near page are numbered by a bijection of 0..509 (multiplication by 19, coprime to 510, and a
 * shift of its own): those numbered below n - 1 differ. Adding an odd hash to a word always changes it.
 */
static uint64_t near_word(uint64_t base, uint64_t key, uint64_t text_key, unsigned index)
{
	unsigned n = base & 0xff, number = ((index - 2) * 19 + (unsigned)(key >> 40)) % (PAGE_WORDS - 2);
	uint64_t w = family_word(PATTERN_TEXT, text_key, index);

	return number + 1 < n ? w + (rng_mix(key + index) | 1) : w;
}

static uint64_t near_text_key(uint64_t base)
{
	return base_key(PATTERN_BASE(PATTERN_TEXT, PATTERN_NUMBER(base) >> 8));
}

uint64_t pattern_word(struct pattern p, unsigned index)
{
	unsigned family = PATTERN_FAMILY(p.base);

	if (index == 0)
		return p.stamp;
	if (index == 1)
		return p.base;
	if (family == PATTERN_POISON)
		return p.base;
	if (family == PATTERN_NEAR)
		return near_word(p.base, base_key(p.base), near_text_key(p.base), index);
	return family_word(family, base_key(p.base), index);
}

/* Inlined once for each family, so that the loops are tight. */
static inline __attribute__((always_inline)) void fill_words(uint64_t *w, unsigned family, uint64_t key)
{
	for (unsigned i = 2; i < PAGE_WORDS; i++) {
		w[i] = family_word(family, key, i);
		__asm__ volatile(""); /* keeps compilers from calling memset, which a freestanding guest lacks */
	}
}

void pattern_fill(struct pattern p, void *page)
{
	uint64_t *w = page, key = base_key(p.base), text_key = near_text_key(p.base);

	w[0] = p.stamp;
	w[1] = p.base;
	switch (PATTERN_FAMILY(p.base)) {
	case PATTERN_ZERO:
		fill_words(w, PATTERN_ZERO, key);
		break;
	case PATTERN_TEXT:
		fill_words(w, PATTERN_TEXT, key);
		break;
	case PATTERN_POINTER:
		fill_words(w, PATTERN_POINTER, key);
		break;
	case PATTERN_CODE:
		fill_words(w, PATTERN_CODE, key);
		break;
	case PATTERN_NEAR:
		for (unsigned i = 2; i < PAGE_WORDS; i++)
			w[i] = near_word(p.base, key, text_key, i);
		break;
	case PATTERN_POISON:
		for (unsigned i = 2; i < PAGE_WORDS; i++) {
			w[i] = p.base;
			__asm__ volatile("");
		}
		break;
	default:
		fill_words(w, PATTERN_RANDOM, key);
	}
}
