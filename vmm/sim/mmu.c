/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - one access, start to end: the plain model
 *
 * Problem. An access looks in two levels of TLB, walks if both miss, and walks again if the entry it found does not let
 * it pass: rights may have been widened since, or a dirty bit must be set. A processor reports a fault only after such
 * a walk.
 *
 * Idea. One loop over the halves of the access (a load, a store, or a load and then a store), each of which either is
 * allowed by the entry at hand or drops it and walks (mmu_translate() in mmu_int.h, which mmu_run.c uses too). What the
 * walk put into the TLB is what the next half is judged by.
 *
 * The invalidating instructions are in mmu_flush.c, the batch in mmu_run.c, the walks in walk.c, walk2.c
 * and walk_quick.c.
 */
#include "vmm/sim/mmu_int.h"

#include <glib.h>

/* Has every array that a usual walk uses ways, and sets of @stride (0: any)? */
static bool arrays_are(const struct sim_mmu *m, uint32_t stride)
{
	const struct assoc *fixed[] = { m->tlb.l1[1], &m->ntlb };
	bool yes = m->tlb.l2[1]->ways > 0;

	for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
		yes = yes && (stride ? fixed[i]->stride == stride : fixed[i]->ways > 0);
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		yes = yes && (stride ? m->pwc[level].stride == stride : m->pwc[level].ways > 0);
		yes = yes && (stride ? m->npwc[level].stride == stride : m->npwc[level].ways > 0);
	}
	return yes;
}

struct sim_mmu *mmu_new(const struct sim_profile *p, bool cache_model)
{
	struct sim_mmu *m = g_new0(struct sim_mmu, 1);

	m->p = *p;
	m->cache_model = cache_model;
	tlb_init(&m->tlb, p, &m->clock);
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		assoc_init(&m->pwc[level], p->pwc[level], true, &m->clock);
		assoc_init(&m->npwc[level], p->npwc[level], false, &m->clock);
	}
	assoc_init(&m->ntlb, p->ntlb, false, &m->clock);
	m->whole = arrays_are(m, 0);
	m->four = arrays_are(m, 4);
	dcache_init(&m->cache, p);
	m->ahead.stage1 = g_new0(uint32_t, AHEAD_HINTS);
	m->ahead.stage2 = g_new0(uint32_t, AHEAD_HINTS);
	spaces_init(&m->spaces);
	m->holds = g_byte_array_new();
	return m;
}

void mmu_free(struct sim_mmu *m)
{
	if (!m)
		return;
	tlb_free(&m->tlb);
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		assoc_free(&m->pwc[level]);
		assoc_free(&m->npwc[level]);
	}
	assoc_free(&m->ntlb);
	dcache_free(&m->cache);
	g_free(m->ahead.stage1);
	g_free(m->ahead.stage2);
	spaces_free(&m->spaces);
	g_byte_array_unref(m->holds);
	g_free(m);
}

static void renumber(struct assoc *a, uint32_t *clock)
{
	assoc_renumber(a);
	*clock = MAX(*clock, a->ways);
}

void mmu_renumber(struct sim_mmu *m)
{
	m->clock = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(m->tlb.array); i++)
		renumber(&m->tlb.array[i], &m->clock);
	for (unsigned level = 2; level <= MAX_LEVELS; level++) {
		renumber(&m->pwc[level], &m->clock);
		renumber(&m->npwc[level], &m->clock);
	}
	renumber(&m->ntlb, &m->clock);
}

/* Look in both levels of TLB. True if found: value and page size. */
static bool look_up(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, uint64_t *val, unsigned *level,
		    struct mmu_result *r)
{
	struct tlb_hit hit;

	if (tlb_find(&m->tlb, m->tlb.l1, gva, &m->ids, &hit)) {
		assoc_touch(hit.a, hit.slot);
		x->c->tlb_l1_hits++;
	} else {
		r->walk_cycles += m->p.l2_tlb_cycles;
		if (!tlb_find(&m->tlb, m->tlb.l2, gva, &m->ids, &hit)) {
			x->c->tlb_misses++;
			return false;
		}
		assoc_touch(hit.a, hit.slot);
		tlb_promote(&m->tlb, gva, &hit);
		x->c->tlb_l2_hits++;
	}
	*val = *slot_val(hit.slot);
	*level = hit.level;
	return true;
}

void mmu_access(struct sim_mmu *m, const struct mmu_context *x, gva_t gva, unsigned access, struct mmu_result *r)
{
	struct translation t = { 0 };

	*r = (struct mmu_result){ .gva = gva };
	if (!mmu_canonical(gva, x->levels)) {
		r->outcome = MMU_PAGE_FAULT;
		return;
	}
	mmu_wind(m);
	walk_prepare(m, x);
	t.found = look_up(m, x, gva, &t.val, &t.level, r);
	mmu_translate(m, x, gva, access, &t, r);
	mmu_settle(m, x->c);
}

/* An array full of what it holds of the VM. */
static uint64_t full_of(const struct sim_mmu *m, const struct assoc *a, unsigned vpid)
{
	uint64_t nbytes = 0, n = 0;

	for (uint64_t set = 0; a->ways && set <= a->set_mask; set++) {
		struct slot s = { assoc_row(a, set), 0, a->stride };

		for (; s.way < a->ways; s.way++) {
			uint64_t key = *slot_key(s);

			if (!key || space_vpid(&m->spaces, (unsigned)(key & KEY_SPACE_MASK)) != vpid)
				continue;
			nbytes += LEVEL_SIZE(assoc_key_level(key));
			n++;
		}
	}
	return n ? nbytes / n * a->ways * (a->set_mask + 1) : 0;
}

uint64_t mmu_reach(const struct sim_mmu *m, unsigned vpid)
{
	const struct assoc *seen[3] = { NULL, NULL, NULL };
	uint64_t reach = 0;

	for (unsigned level = 1; level <= 3; level++) {
		const struct assoc *a = m->tlb.l2[level]->ways ? m->tlb.l2[level] : m->tlb.l1[level];

		if (a != seen[0] && a != seen[1])
			reach += full_of(m, a, vpid);
		seen[level - 1] = a;
	}
	return reach;
}
