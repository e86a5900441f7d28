/* SPDX-License-Identifier: MIT */
/*
 * fill.c - a page fault on shadow tables
 *
 * Problem. The processor could not complete an access. One of: the guest's tables forbid it (its own fault); gmem has
 * taken the page or its right to be written; the shadow has not been filled; the access is a write to a traced table
 * page.
 *
 * Idea. Ask in this order. (1) Walk the guest's tables (walk.c): refused -> inject. (2) Ask gmem for the page with
 * the right that this access needs. (3) Go down the shadow from the root, making what is missing: above the guest's
 * leaf, shadow pages of the guest's tables; at the guest's leaf, and below it if the leaf is larger than the shadow's,
 * direct pages. (4) Write the leaf with no more than guest, gmem and trace allow. If the access is a write and the leaf
 * had to stay read-only for a trace, the write is the VMM's to carry out.
 *
 * Size of the leaf: the smallest of the guest's, the host's contiguous run, cfg.max_leaf, and what leaves guest tables
 * with a shadow page out of large leaves: each must be read-only for itself.
 *
 * gmem is asked before any shadow page is held: it may call back and zap. Within (3) nothing calls gmem's faulting
 * side, and pages carry the stamp of the operation, so none is evicted.
 *
 * CR0.WP = 0: a kernel's write to a read-only page is allowed, which an entry for both worlds cannot say while the
 * processor runs with WP on. The leaf becomes a supervisor page that is writable, and not executable under SMEP, until
 * a user-mode access faults and turns it back (KVM does the same; role.wp keeps such pages apart from the others).
 *
 * Invariants: those of shadow.c; tests/unit/test_shadow.c and test_shadow_large.c have a test for each path.
 */
#include "shadow/internal.h"

struct fill {
	const struct guest_walk *w;
	const struct gmem_page *page;
	gva_t gva;
	gfn_t gfn;
	unsigned access; /* of the fault */
	unsigned level;	 /* of the leaf to write */
	bool traced;	 /* out: write it is, but not for the guest to do */
};

/* Go from @*sp to the shadow page (gfn, role) below it for f->gva, linking it if it is not yet. */
static int step_down(struct shadow *s, struct fill *f, struct shadow_page **sp, gfn_t gfn, union shadow_role role)
{
	struct shadow_page *parent = *sp, *child;
	unsigned idx = PT_INDEX(f->gva, parent->role.level);
	uint64_t entry = shadow_entries(s, parent)[idx];
	int ret;

	child = shadow_entry_child(s, parent, entry);
	if (child && child->gfn == gfn && child->role.word == role.word) {
		shadow_page_use(s, child);
		*sp = child;
		return 0;
	}
	if (entry & PTE_P)
		shadow_entry_set(s, parent, idx, 0, 0);
	ret = shadow_page_get(s, gfn, role, &child);
	if (ret)
		return ret;
	shadow_resync_below(s, child);
	shadow_page_reach(s, child, parent, f->gva);
	shadow_entry_set(s, parent, idx, pt_format_x86.table(child->hfn << PAGE_SHIFT) | PTE_W | PTE_U | PTE_A,
			 f->w->at[parent->role.level].entry);
	if (role.direct && !parent->role.direct)
		s->c->shadow_splinters++;
	*sp = child;
	return 0;
}

/* The shadow pages of the guest's tables, down to the one that holds the guest's leaf. */
static int descend_tables(struct shadow *s, struct fill *f, struct shadow_page **sp)
{
	for (unsigned level = (*sp)->role.level; level > f->w->level; level--) {
		union shadow_role role = (*sp)->role;
		gfn_t gfn;
		int ret;

		role.level = level - 1;
		if (role.direct) {
			gfn = f->gfn & ~(LEVEL_PAGES(level) - 1);
		} else {
			role.access = f->w->at[level - 1].access;
			gfn = f->w->at[level - 1].table;
		}
		ret = step_down(s, f, sp, gfn, role);
		if (ret)
			return ret;
	}
	return 0;
}

/* Direct pages from the guest's leaf down to the shadow's. */
static int descend_splinters(struct shadow *s, struct fill *f, struct shadow_page **sp, unsigned access)
{
	for (unsigned level = (*sp)->role.level; level > f->level; level--) {
		union shadow_role role = (*sp)->role;
		int ret;

		role.level = level - 1;
		role.direct = 1;
		role.access = access;
		ret = step_down(s, f, sp, f->gfn & ~(LEVEL_PAGES(level) - 1), role);
		if (ret)
			return ret;
	}
	return 0;
}

/* The rights of the guest's leaf and path as the shadow may show them, before gmem and traces are asked. */
static unsigned guest_leaf_access(const struct shadow_page *sp, const struct fill *f)
{
	union shadow_role role = sp->role;
	unsigned access = f->w->access;

	if (role.direct)
		return access;
	if (!role.wp && !(access & ACC_W) && (f->access & (ACC_W | ACC_U)) == ACC_W) {
		access = (access | ACC_W) & ~ACC_U;
		if (role.smep)
			access &= ~ACC_X;
	}
	if (!(f->w->at[f->w->level].entry & PTE_D))
		access &= ~ACC_W;
	return access;
}

static unsigned leaf_level(const struct shadow *s, const struct fill *f)
{
	unsigned level = MIN(MIN(f->w->level, f->page->level), s->cfg.max_leaf);

	while (level > 1 && shadow_block_has_tables(s, f->gfn, level))
		level--;
	return level;
}

/* Write the leaf; false if it was there already. */
static bool set_leaf(struct shadow *s, struct fill *f, struct shadow_page *sp, unsigned access)
{
	unsigned idx = PT_INDEX(f->gva, f->level);
	uint64_t old = shadow_entries(s, sp)[idx], value;
	hfn_t hfn = f->page->hfn - (f->gfn & (LEVEL_PAGES(f->level) - 1));

	if (!(f->page->access & ACC_W))
		access &= ~ACC_W;
	if ((access & ACC_W) && shadow_traced(s, f->gfn) && !((f->access & ACC_W) && shadow_unsync_gfn(s, f->gfn))) {
		access &= ~ACC_W;
		f->traced = f->access & ACC_W;
	}
	value = pt_format_x86.leaf(hfn << PAGE_SHIFT, f->level, access) | PTE_A |
		(f->access & ACC_W & access ? PTE_D : 0);
	if (!((old ^ value) & ~(PTE_A | PTE_D)))
		value |= old;
	if (old == value && (!sp->guest || !((sp->guest[idx] ^ f->w->at[f->level].entry) & PTE_ADDR)))
		return false;
	shadow_entry_set(s, sp, idx, value, sp->guest ? f->w->at[f->level].entry : 0);
	return true;
}

static enum paging_verdict fill(struct shadow *s, struct fill *f, unsigned vcpu, int *err)
{
	struct shadow_page *sp;
	unsigned access = 0;

	*err = shadow_root_get(s, vcpu, &sp);
	if (*err == 0 && !sp)
		*err = ERR(-EFAULT);
	if (*err)
		return PAGING_FAIL;
	shadow_page_use(s, sp);
	*err = descend_tables(s, f, &sp);
	if (*err == 0) {
		access = guest_leaf_access(sp, f);
		f->level = leaf_level(s, f);
		*err = descend_splinters(s, f, &sp, access);
	}
	if (*err)
		return PAGING_FAIL;
	if (set_leaf(s, f, sp, access)) {
		s->c->shadow_fills++;
	} else if (!f->traced) {
		s->c->shadow_spurious++;
		s->machine->ops->flush(s->machine, s->vm, FLUSH_GVA, f->gva & PAGE_MASK, 1);
	}
	return f->traced ? PAGING_EMULATE : PAGING_RETRY;
}

/* The page with the right to do @access; gmem counts a fault only if it has something to do. */
static int back(struct shadow *s, gfn_t gfn, unsigned access, struct gmem_page *page)
{
	unsigned need = access & ACC_W ? ACC_W : ACC_R;
	int ret = gmem_lookup(s->gmem, gfn, page);

	if (ret || (page->hfn != HFN_NONE && (page->access & need)))
		return ret;
	return gmem_fault(s->gmem, gfn, access & ACC_RWX, FAULT_CPU, page);
}

enum paging_verdict shadow_fault(struct paging *p, struct paging_fault *fault, int *err)
{
	struct shadow *s = (struct shadow *)p;
	struct guest_walk w = { .level = 0 };
	struct gmem_page page;
	struct fill f = { .w = &w, .page = &page, .gva = fault->gva };
	enum paging_verdict verdict;
	uint32_t error;

	f.access = (fault->error & PF_W	  ? ACC_W
		    : fault->error & PF_I ? ACC_X
					  : ACC_R) |
		   (fault->error & PF_U ? ACC_U : 0);
	if (s->cfg.reserved_entry && PT_INDEX(fault->gva, s->cfg.guest_levels) == s->cfg.reserved_slot) {
		/* What is there is not the guest's, and whatever it has put there does not exist. */
		fault->error &= ~(PF_P | PF_RSVD);
		return PAGING_INJECT;
	}
	*err = shadow_walk(s, s->cfg.regs[fault->vcpu], fault->gva, f.access, &w, &error);
	if (*err < 0)
		return PAGING_FAIL;
	if (*err > 0) {
		*err = 0;
		fault->error = error;
		return PAGING_INJECT;
	}
	fault->gpa = w.gpa;
	f.gfn = w.gpa >> PAGE_SHIFT;
	*err = back(s, f.gfn, f.access, &page);
	if (*err)
		return PAGING_FAIL;
	shadow_begin(s);
	verdict = fill(s, &f, fault->vcpu, err);
	shadow_end(s);
	return verdict;
}
