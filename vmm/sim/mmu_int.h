/* SPDX-License-Identifier: MIT */
/*
 * mmu_int.h - the parts of one CPU's translation hardware, as the files mmu*.c and walk* share them
 */
#ifndef OVERBOOK_SIM_MMU_INT_H
#define OVERBOOK_SIM_MMU_INT_H

#include "vmm/sim/ahead.h"
#include "vmm/sim/dcache.h"
#include "vmm/sim/mmu.h"
#include "vmm/sim/space.h"
#include "vmm/sim/tlb.h"

#define MAX_LEVELS 5

/*
 * What a table entry looks like that needs no thought: (entry & mask) == want. That is what nearly all are: present,
 * accessed, nothing reserved; in the second stage with all rights. Any other is decoded with care.
 */
struct usual {
	uint64_t mask, want;
};

/* What walks go by that is the same for all accesses of a context. */
struct rules {
	bool flat;   /* costs, on one node */
	bool quick;  /* walks may take the short way (walk_quick.c) */
	uint64_t reserved1;  /* stage 1: never set */
	struct usual table1; /* an entry that points to a table */
	struct usual load1, store1; /* the last one's entry, for an access of either kind */
	struct usual table2, load2, store2;
	uint64_t dirty2; /* the second stage's dirty bit; 0: there is none */
	/* What the guest's own walk is to the second stage; what it needs in the nested TLB, and of a leaf. */
	unsigned table_access, table_need;
	struct usual table_leaf;
};

struct sim_mmu {
	struct sim_profile p;
	bool cache_model;
	bool plain; /* for tests: no short ways */
	bool whole; /* no array lacks that a usual walk uses */
	bool four;  /* and all but the second-level TLB have sets of four */
	uint32_t clock; /* of all arrays */
	/* What walks did since mmu_settle(): their number; WALK_* added up. */
	uint64_t quick_walks, quick_tally;
	struct tlb tlb;
	/* By level of the entry. Value: address of the next table and PWC_* flags; aux: its guest-physical address. */
	struct assoc pwc[MAX_LEVELS + 1];
	struct assoc npwc[MAX_LEVELS + 1];
	struct assoc ntlb; /* value: address of the page and S2_* flags */
	struct dcache cache;
	struct ahead ahead;
	struct spaces spaces;
	GByteArray *holds; /* by vpid: 0 if surely nothing of it is cached here */
	/* The space that ran last, so that its numbers are not looked up for each access. */
	unsigned vpid, pcid;
	struct space_ids ids; /* own == 0: none */
	struct rules rules;   /* of the context at hand */
	uint64_t rules_key;   /* what they follow from; 0: none yet */
};

/* What the second stage says of a guest-physical page: ACC_R, ACC_W, ACC_X, and whether a write needs no update. */
#define S2_DIRTY (1u << 3)
#define S2_FLAGS 0xfull

struct stage2 {
	hpa_t hpa; /* of the very address asked for */
	unsigned flags;
	unsigned level;
};

/* A page-walk cache's value: rights of the entries above and of this one, as TLB_W, TLB_U, TLB_X; and: */
#define PWC_TABLE_W (1u << 3) /* the second stage allows writing to the table */

/* Give (vpid, pcid) numbers. May flush everything (see space.h). */
void mmu_enter_space(struct sim_mmu *m, unsigned vpid, unsigned pcid);

static inline unsigned mmu_pcid(const struct mmu_context *x)
{
	return x->use_pcid ? (unsigned)(x->regs->cr3 & CR3_PCID) : 0;
}

/* Make m->ids those of x's current address space. */
static inline void mmu_enter(struct sim_mmu *m, const struct mmu_context *x)
{
	unsigned pcid = mmu_pcid(x);

	if (m->vpid != x->vpid || m->pcid != pcid || !m->ids.own)
		mmu_enter_space(m, x->vpid, pcid);
	m->holds->data[x->vpid] = 1;
}

/* Is anything of the VM cached? */
static inline bool mmu_holds(const struct sim_mmu *m, unsigned vpid)
{
	return vpid < m->holds->len && m->holds->data[vpid];
}

/* May a reference leave the node? */
static inline bool mmu_numa(const struct mmu_context *x)
{
	return x->distance && frames_nodes(x->frames) > 1;
}

static inline bool mmu_remote(const struct mmu_context *x, hpa_t hpa)
{
	return mmu_numa(x) && frames_node(x->frames, hpa >> PAGE_SHIFT) != x->node;
}

/* A reference to memory that takes @cycles here: what it takes where the memory is. */
static inline uint64_t mmu_memory_cycles(const struct mmu_context *x, hpa_t hpa, uint64_t cycles, bool remote)
{
	if (!remote) {
		x->c->numa_local++;
		return cycles;
	}
	x->c->numa_remote++;
	return cycles * x->distance[frames_node(x->frames, hpa >> PAGE_SHIFT)] / NODE_LOCAL;
}

/* The cost of one reference to a table entry. */
static inline uint64_t mmu_table_cycles(struct sim_mmu *m, const struct mmu_context *x, hpa_t hpa)
{
	bool memory = true;
	uint64_t cycles = m->cache_model ? dcache_ref(&m->cache, hpa, x->c, &memory) : m->p.flat_ref_cycles;

	return memory && mmu_numa(x) ? mmu_memory_cycles(x, hpa, cycles, mmu_remote(x, hpa)) : cycles;
}

/* The cost of one load, store or fetch; @remote as the TLB entry says. */
static inline uint64_t mmu_data_cycles(struct sim_mmu *m, const struct mmu_context *x, hpa_t hpa, bool remote)
{
	bool memory = true;
	uint64_t cycles = m->cache_model ? dcache_ref(&m->cache, hpa, x->c, &memory) : m->p.flat_data_cycles;

	return memory && mmu_numa(x) ? mmu_memory_cycles(x, hpa, cycles, remote) : cycles;
}

/*
 * Set bits in a table entry, as the walker's locked read-modify-write does. Counted by bit, charged by update.
 */
static inline void mmu_set_bits(struct sim_mmu *m, const struct mmu_context *x, uint64_t *entry, uint64_t bits,
				struct mmu_result *r)
{
	uint64_t fresh = bits & ~*entry;

	if (!fresh)
		return;
	*entry |= fresh;
	x->c->ad_updates += (unsigned)__builtin_popcountll(fresh);
	r->walk_cycles += m->p.ad_update_cycles;
}

/* More than any row of this many operations can tick: 2 halves, 6 translations each, and a dozen of either stage. */
#define MMU_TICKS (128u * MMU_BUDGET_OPS)

/* Before up to MMU_BUDGET_OPS accesses: the clock must not run out in their midst. */
void mmu_renumber(struct sim_mmu *m);

static inline void mmu_wind(struct sim_mmu *m)
{
	if (__builtin_expect(m->clock > ASSOC_LAST_TICK - MMU_TICKS, 0))
		mmu_renumber(m);
}

/* Before accesses of a context: m->ids and m->rules become its own. */
void walk_prepare(struct sim_mmu *m, const struct mmu_context *x);

/*
 * A complete walk for one access (ACC_R, ACC_W or ACC_X, with ACC_U): sets A/D bits and fills the TLB. Returns the
 * entry's value, its page size in r->level; or 0, with the fault in r.
 */
uint64_t walk_stage1(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access,
		     struct mmu_result *r);

/* What a quick walk counts, four counts in one word: it is at home in a register. */
#define WALK_HOST  1ull		/* references of the second stage */
#define WALK_HIT   (1ull << 16) /* of the nested TLB */
#define WALK_MISS  (1ull << 32)
#define WALK_GUEST (1ull << 48) /* references of the first stage */

/* After at most MMU_BUDGET_OPS operations, before anything overflows: to the counters. */
static inline void mmu_settle(struct sim_mmu *m, struct counters *c)
{
	uint64_t host = (uint16_t)(m->quick_tally / WALK_HOST), guest = m->quick_tally / WALK_GUEST;

	c->walks += m->quick_walks;
	c->pwc_hits += m->quick_walks;
	c->walk_refs += host + guest;
	c->walk_refs_host += host;
	c->walk_refs_guest += guest;
	c->ntlb_hits += (uint16_t)(m->quick_tally / WALK_HIT);
	c->ntlb_misses += (uint16_t)(m->quick_tally / WALK_MISS);
	m->quick_walks = m->quick_tally = 0;
}

/* Drop what the caches hold about the upper levels of @addr's walk. */
void walk_drop_pwc(struct assoc *pwc, uint64_t addr, unsigned space);

/* The same for a guest-physical address and its cached translation: the VMM may be about to allow what just failed. */
void walk_drop_gpa(struct sim_mmu *m, gpa_t gpa);

/* A fault of stage 1 for @access, with P and RSVD as given. Always false. */
static inline bool mmu_page_fault(const struct mmu_context *x, unsigned access, uint32_t error, struct mmu_result *r)
{
	struct cpu_mode cpu = cpu_mode_of(x->regs);

	r->outcome = MMU_PAGE_FAULT;
	r->error = error | (access & ACC_W ? PF_W : 0) | (access & ACC_U ? PF_U : 0) |
		   (access & ACC_X && (cpu.nx || cpu.smep) ? PF_I : 0);
	return false;
}

/* Bits above the translated ones must repeat the highest of them. */
static inline bool mmu_canonical(gva_t gva, unsigned levels)
{
	unsigned shift = 64 - (levels == 5 ? 57 : 48);

	return (uint64_t)((int64_t)(gva << shift) >> shift) == gva;
}

/* What is known of an address: the TLB entry that serves it, if one was found. */
struct translation {
	bool found;
	unsigned level;
	uint64_t val;
};

/*
 * From the look-up to the end of an access: each half that the entry at hand does not allow drops it and walks; then
 * the data is referenced. r->walk_cycles holds what the look-up cost.
 */
static inline void mmu_translate(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access,
				 struct translation *t, struct mmu_result *r)
{
	struct cpu_mode cpu = cpu_mode_of(x->regs);
	unsigned who = access & ACC_U;

	for (unsigned half = ACC_R; half <= ACC_X; half <<= 1) {
		if (!(access & half) || (t->found && tlb_allows((unsigned)(t->val & TLB_FLAGS), half | who, cpu)))
			continue;
		if (t->found)
			tlb_drop(&m->tlb, gva, &m->ids);
		t->val = walk_stage1(m, x, gva, half | who, r);
		t->found = t->val != 0;
		t->level = r->level;
		if (!t->found) {
			r->cycles = r->walk_cycles;
			return;
		}
	}
	r->hpa = (t->val & PTE_ADDR) + (gva & (LEVEL_SIZE(t->level) - 1));
	r->cycles = r->walk_cycles + mmu_data_cycles(m, x, r->hpa, (t->val & TLB_REMOTE) != 0);
	if ((access & (ACC_R | ACC_W)) == (ACC_R | ACC_W))
		r->cycles += mmu_data_cycles(m, x, r->hpa & PAGE_MASK, (t->val & TLB_REMOTE) != 0);
}

#endif
