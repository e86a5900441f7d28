/* SPDX-License-Identifier: MIT */
/*
 * mmu_flush.c - the invalidating instructions, each with the architecture's reach
 *
 *	instruction		TLB				page-walk caches	nested TLB and second-stage PWC
 *	INVLPG			address, this PCID and globals	this PCID		-
 *	MOV CR3 (no PCID)	all but globals of the VPID	same			-
 *	MOV CR3 (PCID)		all but globals of the PCID	same			-
 *	  with bit 63 set	-				-			-
 *	INVPCID single		all but globals of the PCID	same			-
 *	one address (VPID)	address, every PCID, globals	the VPID		-
 *	INVVPID + INVEPT	the VPID			the VPID		the VPID
 *	INVEPT (gpa)		the VPID			the VPID		the VPID
 *
 * There is no instruction that drops one guest-physical address, and an entry of the TLB does not say which ones it was
 * made from: after a change to the second stage everything of the VM goes. Reaches by address look
 * at one set; the others sweep all that is not empty. Software flushes a VM on every CPU, most of which have not run it
 * since it was last flushed there: they know that they hold nothing of it.
 *
 * Source: Intel SDM vol. 3A, 4.10.4; vol. 3C, 28.4.3. tests/model/test_tlb.c compares with a naive list.
 */
#include "vmm/sim/mmu_int.h"

static bool reaches_all(unsigned space, void *ctx)
{
	(void)space, (void)ctx;
	return true;
}

static void drop_pwc(struct assoc *pwc, bool (*match)(unsigned, void *), void *ctx)
{
	for (unsigned level = 2; level <= MAX_LEVELS; level++)
		assoc_drop_spaces(&pwc[level], match, ctx);
}

/* Drop everything of everyone. */
static void flush_all(struct sim_mmu *m)
{
	tlb_drop_spaces(&m->tlb, reaches_all, NULL);
	drop_pwc(m->pwc, reaches_all, NULL);
	drop_pwc(m->npwc, reaches_all, NULL);
	assoc_drop_spaces(&m->ntlb, reaches_all, NULL);
	m->tlb.globals = false;
}

void mmu_enter_space(struct sim_mmu *m, unsigned vpid, unsigned pcid)
{
	struct space_ids ids;

	for (;;) {
		ids.own = space_id(&m->spaces, vpid, pcid);
		ids.global = space_id(&m->spaces, vpid, SPACE_GLOBAL);
		ids.guest = space_id(&m->spaces, vpid, SPACE_GUEST);
		if (ids.own && ids.global && ids.guest)
			break;
		flush_all(m);
		spaces_reset(&m->spaces);
	}
	m->ids = ids;
	m->vpid = vpid;
	m->pcid = pcid;
	while (m->holds->len <= vpid)
		g_byte_array_append(m->holds, &(guint8){ 0 }, 1);
}

/* Which spaces an instruction reaches. */
struct reach {
	const struct spaces *spaces;
	unsigned vpid;
	unsigned pcid; /* ANY_PCID: all of the vpid; else exactly this one, globals not included */
};

#define ANY_PCID UINT32_MAX

static bool reaches(unsigned space, void *ctx)
{
	const struct reach *r = ctx;

	return space_vpid(r->spaces, space) == r->vpid &&
	       (r->pcid == ANY_PCID || space_pcid(r->spaces, space) == r->pcid);
}

void mmu_invlpg(struct sim_mmu *m, const struct mmu_context *x, gva_t gva)
{
	mmu_enter(m, x);

	struct reach r = { &m->spaces, m->vpid, m->pcid };

	tlb_drop(&m->tlb, gva, &m->ids);
	drop_pwc(m->pwc, reaches, &r);
	x->c->tlb_flush_page++;
}

static void flush_space(struct sim_mmu *m, unsigned vpid, unsigned pcid, struct counters *c)
{
	struct reach r = { &m->spaces, vpid, pcid };

	c->tlb_flush_space++;
	if (!mmu_holds(m, vpid))
		return;
	tlb_drop_spaces(&m->tlb, reaches, &r);
	drop_pwc(m->pwc, reaches, &r);
}

void mmu_load_cr3(struct sim_mmu *m, const struct mmu_context *x, uint64_t cr3)
{
	if (x->use_pcid && (cr3 & CR3_NOFLUSH))
		return;
	flush_space(m, x->vpid, x->use_pcid ? (unsigned)(cr3 & CR3_PCID) : 0, x->c);
}

void mmu_flush_space(struct sim_mmu *m, const struct mmu_context *x, unsigned pcid)
{
	flush_space(m, x->vpid, x->use_pcid ? pcid : 0, x->c);
}

void mmu_flush_vm(struct sim_mmu *m, unsigned vpid, struct counters *c)
{
	struct reach r = { &m->spaces, vpid, ANY_PCID };

	c->tlb_flush_vm++;
	if (!mmu_holds(m, vpid))
		return;
	tlb_drop_spaces(&m->tlb, reaches, &r);
	drop_pwc(m->pwc, reaches, &r);
	drop_pwc(m->npwc, reaches, &r);
	assoc_drop_spaces(&m->ntlb, reaches, &r);
	m->holds->data[vpid] = 0;
}

void mmu_flush_gva(struct sim_mmu *m, unsigned vpid, gva_t gva, struct counters *c)
{
	struct reach r = { &m->spaces, vpid, ANY_PCID };

	c->tlb_flush_page++;
	if (!mmu_holds(m, vpid))
		return;
	tlb_drop_address(&m->tlb, gva, reaches, &r);
	drop_pwc(m->pwc, reaches, &r);
}

void mmu_flush_gpa(struct sim_mmu *m, unsigned vpid, gfn_t gfn, uint64_t n, struct counters *c)
{
	(void)gfn, (void)n;
	mmu_flush_vm(m, vpid, c);
}
