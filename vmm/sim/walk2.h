/* SPDX-License-Identifier: MIT */
/*
 * walk2.h - the second stage of a walk, as the first one sees it
 */
#ifndef OVERBOOK_SIM_WALK2_H
#define OVERBOOK_SIM_WALK2_H

#include "vmm/sim/mmu_int.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define EPT_RWX	   7ull
#define EPT_PS	   (1ull << 7)
#define EPT_A	   (1ull << 8)
#define EPT_D	   (1ull << 9)
#define EPT_TYPE(e) (((e) >> 3) & 7)
#define EPT_TYPE_MASK  (7ull << 3)
#define EPT_WRITE_BACK (6ull << 3)

/* One walk's surroundings, and what it adds to counters and costs at its end. */
struct trip {
	struct sim_mmu *m;
	const struct mmu_context *x;
	struct mmu_result *r;
	uint32_t refs_guest, refs_host;
	uint32_t ntlb_hits, ntlb_misses;
	uint64_t cycles; /* of references; with flat costs they follow from their number */
};

/* Bits that must be as they are in @want, and those that must be clear. */
static inline struct usual usual(uint64_t want, uint64_t clear)
{
	return (struct usual){ want | clear, want };
}

static inline bool is_usual(uint64_t e, struct usual u)
{
	return (e & u.mask) == u.want;
}

static inline uint64_t bits_from(unsigned low)
{
	return PTE_ADDR & (~0ull << low);
}

/* The lowest entry for @addr in page-walk caches, and its *level; none, and MAX_LEVELS + 1. */
static inline struct slot pwc_find(const struct assoc *pwc, uint64_t addr, unsigned space, unsigned *level)
{
	for (*level = 2; *level <= MAX_LEVELS; ++*level) {
		uint64_t page = addr >> LEVEL_SHIFT(*level);
		struct slot s = { 0 };

		if (assoc_seen(&pwc[*level], 0))
			s = assoc_find(&pwc[*level], page, assoc_key(page, 0, space));
		if (s.row)
			return s;
	}
	return (struct slot){ 0 };
}

/* A translation in one word: address of the 4K frame, S2_* flags, the page's level. Never 0. */
#define STAGE2_LEVEL_SHIFT 4

static inline uint64_t stage2_word(hpa_t hpa, unsigned flags, unsigned level)
{
	return (hpa & PTE_ADDR) | level << STAGE2_LEVEL_SHIFT | flags;
}

static inline unsigned stage2_level(uint64_t word)
{
	return (unsigned)(word >> STAGE2_LEVEL_SHIFT) & 3;
}

/*
 * Translate @gpa for @access (one of ACC_R, ACC_W, ACC_X); @table: the access is the guest's own walk. 0: t->r says
 * why not. Sets A/D bits and feeds the caches as it succeeds.
 */
uint64_t stage2(struct trip *t, gpa_t gpa, unsigned access, bool table);

#endif
