/* SPDX-License-Identifier: MIT */
/*
 * guest.c - for a machine that carries out some of the guest's instructions itself
 *
 * Problem. A real processor lets the guest's ordinary instructions run natively; what traps has to be carried out by
 * the VMM, at the guest's addresses, with the guest's rights, and with a processor's side effects on the guest's
 * tables.
 *
 * Idea. Translation is the walk that a page fault makes anyway (walk.c). A store is an ordinary write to guest memory,
 * unless its page is traced: then it is a traced write. A store that nobody can carry out (a vector instruction) must
 * be made by the processor: the trace has to give way, as if the page had been written often.
 *
 * Invariants: what shadow_store() leaves behind satisfies verify.c (tests/unit/test_shadow.c).
 */
#include "shadow/shadow.h"
#include "shadow/internal.h"

int shadow_translate(struct paging *p, unsigned vcpu, gva_t gva, unsigned access, gpa_t *gpa, uint32_t *error)
{
	struct shadow *s = (struct shadow *)p;
	struct guest_walk w = { .level = 0 };
	int ret;

	if (s->cfg.reserved_entry && PT_INDEX(gva, s->cfg.guest_levels) == s->cfg.reserved_slot) {
		*error = (access & ACC_W ? PF_W : 0) | (access & ACC_U ? PF_U : 0) | (access & ACC_X ? PF_I : 0);
		return 1;
	}
	ret = shadow_walk(s, s->cfg.regs[vcpu], gva, access, &w, error);
	*gpa = w.gpa;
	return ret;
}

int shadow_store(struct paging *p, unsigned vcpu, gpa_t gpa, const void *data, unsigned len)
{
	struct shadow *s = (struct shadow *)p;
	gfn_t gfn = gpa >> PAGE_SHIFT;

	if (gfn < s->npages && shadow_traced(s, gfn))
		return shadow_guest_write(p, vcpu, gpa, data, len);
	return gmem_write(s->gmem, gpa, data, len);
}

void shadow_lift_trace(struct paging *p, gpa_t gpa)
{
	struct shadow *s = (struct shadow *)p;
	gfn_t gfn = gpa >> PAGE_SHIFT;

	shadow_begin(s);
	if (!shadow_unsync_gfn(s, gfn))
		shadow_page_zap_table(s, gfn);
	shadow_end(s);
}
