/* SPDX-License-Identifier: MIT */
/*
 * entry.c - one shadow entry: its codec, and the only place that writes one
 *
 * An entry changes for many reasons (filled, traced, zapped, the guest changed its own) and each time the same must
 * follow: a leaf leaves or enters the rmap of its guest frame, a link leaves or enters its child's parents, the
 * guest entry it was made from is remembered, a weakened entry is flushed. shadow_entry_set() does all of it from
 * (old, new). The exchange is atomic because a processor may be setting accessed and dirty bits in the old value.
 *
 * Shapes. A link (level > 1, no PS): present, writable, user, accessed. A leaf: present, accessed if filled for an
 * access, writable and user and NX by right. Never global: a guest's CR3 load must reach all that one root made.
 *
 * Invariants: entry present <=> counted in used; leaf <=> in rmap[level]; link <=> in the child's parents; checked by
 * verify.c. Source: the idea of mmu_set_spte()/drop_spte(), Linux arch/x86/kvm/mmu/mmu.c.
 */
#include "shadow/internal.h"

/* The shadow page that the entry at host-physical @hpa belongs to. */
struct shadow_page *shadow_page_at(const struct shadow *s, hpa_t hpa)
{
	return s->pages->pdata[FRAME_GFN(frames_get(s->frames, hpa >> PAGE_SHIFT))];
}

/* The shadow page that @entry of @sp links; NULL for a leaf and for nothing. */
struct shadow_page *shadow_entry_child(const struct shadow *s, const struct shadow_page *sp, uint64_t entry)
{
	if (!(entry & PTE_P) || pt_is_leaf(&pt_format_x86, entry, sp->role.level))
		return NULL;
	return shadow_page_at(s, entry & PTE_ADDR);
}

/* First guest frame of the present leaf at @idx. */
gfn_t shadow_leaf_gfn(const struct shadow_page *sp, unsigned idx)
{
	uint64_t npages = LEVEL_PAGES(sp->role.level);

	if (sp->role.direct)
		return sp->gfn + idx * npages;
	return ((sp->guest[idx] & PTE_ADDR) >> PAGE_SHIFT) & ~(npages - 1);
}

/* The machine may have to know each of them. */
static void tell_machine(struct shadow *s, const struct shadow_page *sp, unsigned idx, uint64_t old, bool leaf)
{
	struct machine_entry e = {
		.entry = shadow_entry_hpa(sp, idx),
		.gva = sp->gva + idx * LEVEL_SIZE(sp->role.level),
		.many = sp->gva_many,
		.leaf = leaf,
		.hfn = pt_addr(&pt_format_x86, old, sp->role.level, leaf) >> PAGE_SHIFT,
		.npages = leaf ? LEVEL_PAGES(sp->role.level) : 1,
	};

	if (s->machine->ops->weakened)
		s->machine->ops->weakened(s->machine, s->vm, &e);
}

/* TLBs may hold what the entry at @idx said, @old: before the operation ends they must not. */
static void flush_entry(struct shadow *s, const struct shadow_page *sp, unsigned idx, uint64_t old, bool leaf)
{
	struct shadow_flush *f = &s->flush;

	tell_machine(s, sp, idx, old, leaf);
	if (f->all)
		return;
	if (!leaf || sp->gva_many || f->n == SHADOW_FLUSH_MAX) {
		f->all = true;
		return;
	}
	f->gva[f->n++] = sp->gva + idx * LEVEL_SIZE(sp->role.level);
}

static void detach(struct shadow *s, struct shadow_page *sp, unsigned idx, uint64_t old)
{
	unsigned level = sp->role.level;
	hpa_t hpa = shadow_entry_hpa(sp, idx);
	struct shadow_page *child = shadow_entry_child(s, sp, old);

	sp->used--;
	if (!child) {
		rmap_remove(s->rmap[level], shadow_leaf_gfn(sp, idx) / LEVEL_PAGES(level), hpa);
		return;
	}
	rmap_remove(s->parents, child->id, hpa);
	if (child->role.direct && !child->nroots && !rmap_count(s->parents, child->id))
		shadow_page_zap(s, child);
}

static void attach(struct shadow *s, struct shadow_page *sp, unsigned idx, uint64_t value)
{
	unsigned level = sp->role.level;
	hpa_t hpa = shadow_entry_hpa(sp, idx);
	struct shadow_page *child = shadow_entry_child(s, sp, value);

	sp->used++;
	if (child)
		rmap_add(s->parents, child->id, hpa);
	else
		rmap_add(s->rmap[level], shadow_leaf_gfn(sp, idx) / LEVEL_PAGES(level), hpa);
}

/*
 * The entry at @idx becomes @value (0: nothing), made from the guest's entry @guest. Returns what it was, with the
 * accessed and dirty bits that the processor had set by then.
 */
uint64_t shadow_entry_set(struct shadow *s, struct shadow_page *sp, unsigned idx, uint64_t value, uint64_t guest)
{
	uint64_t old = __atomic_exchange_n(&shadow_entries(s, sp)[idx], value, __ATOMIC_SEQ_CST);
	bool was_leaf = (old & PTE_P) && pt_is_leaf(&pt_format_x86, old, sp->role.level);
	bool same_target = (old & PTE_P) && (value & PTE_P) && !((old ^ value) & (PTE_ADDR | PTE_PS)) &&
			   (!sp->guest || !was_leaf || !((sp->guest[idx] ^ guest) & PTE_ADDR));
	bool weaker = (old & PTE_P) && (!same_target || (old & ~value & (PTE_W | PTE_U)) || (value & ~old & PTE_NX));

	if ((old & PTE_P) && !same_target)
		detach(s, sp, idx, old);
	if (sp->guest)
		sp->guest[idx] = guest;
	if ((value & PTE_P) && !same_target)
		attach(s, sp, idx, value);
	if (weaker)
		flush_entry(s, sp, idx, old, was_leaf);
	shadow_charge(s, CHARGE_TABLE_WRITE, 1);
	return old;
}

/*
 * The guest's entry behind the present shadow entry at @idx now reads @guest: keep what still holds, take away what
 * does not. Rights that were added are left to the fault that will ask for them, unless they show in the
 * role of what is below.
 */
void shadow_entry_update(struct shadow *s, struct shadow_page *sp, unsigned idx, uint64_t guest)
{
	uint64_t entry = shadow_entries(s, sp)[idx];
	uint64_t changed = guest ^ sp->guest[idx];
	bool link = shadow_entry_child(s, sp, entry) != NULL;
	uint64_t keep = PTE_P | PTE_ADDR | PTE_U | PTE_NX | (link ? PTE_W : 0) | (sp->role.level > 1 ? PTE_PS : 0);

	if ((changed & keep) || !(guest & PTE_A) ||
	    shadow_walk_reserved(guest, sp->role.level, s->cfg.maxphyaddr, sp->role.nx)) {
		shadow_entry_set(s, sp, idx, 0, 0);
		return;
	}
	/* A splintered large page takes its right to write from D, too, and has no other leaf to lose it. */
	if (link && (guest & PTE_PS) && sp->role.level > 1 && (changed & PTE_D))
		shadow_entry_set(s, sp, idx, 0, 0);
	else if (!link && (!(guest & PTE_W) || !(guest & PTE_D)) && (entry & PTE_W))
		shadow_entry_set(s, sp, idx, sp->role.wp ? entry & ~PTE_W : 0, sp->role.wp ? guest : 0);
	else
		sp->guest[idx] = guest;
}
