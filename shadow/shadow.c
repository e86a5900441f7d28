/* SPDX-License-Identifier: MIT */
/*
 * shadow.c - shadow paging: the whole picture, life of a VM's tables, roots and guest events
 *
 * Problem. A processor without second-stage paging walks one table, gva to host. The guest keeps another, gva to gpa,
 * and believes that the processor walks that.
 *
 * Idea. The guest's table is the truth and the VMM's a cache of it, exactly as a TLB is: filled on a miss (a page
 * fault, fill.c, after the VMM has walked the guest's table in software, walk.c), and dropped where the guest
 * changes the truth. The guest must tell the processor of changes (INVLPG, CR3), but a cache of this size must not be
 * thrown away at each CR3 load; so the VMM rather watches the truth: pages in use as guest tables are mapped read-only
 * (trace.c), a write to one arrives as a fault and is carried out by the VMM, which mends the shadow. Where a guest
 * writes often, on leaf tables, the trace is lifted and the page is out of sync until the next architectural point
 * (unsync.c): there the shadow may lag as a TLB may.
 *
 * Structures. A shadow page (page.c) is one host frame of 512 entries that shadows one guest table page in one role;
 * the cache is keyed by (gfn, role) and outlives CR3 loads, which is what makes a context switch cheap. Upper
 * entries grant everything; a leaf carries the rights of its whole path, so that role.access need not be
 * checked by the walker. Leaves are in an rmap by guest frame, for gmem (backing.c); links are in a second rmap
 * by shadow page: its parents. A large guest page is a large leaf if the host's backing is contiguous and
 * no guest table lies in it; else *direct* shadow pages splinter it.
 *
 * Accessed and dirty bits belong to the guest's entries: A is set there before an entry is filled, and a leaf
 * is writable only once the guest's D is set, so that the first write is a fault that sets it.
 *
 * Flushes. Whatever entry is weakened or removed is flushed before the operation ends, and a table's frame
 * goes back only after the flush: TLBs and page-walk caches never hold what the tables do not say. A page reached at
 * one address is flushed by that address, otherwise the VM as a whole.
 *
 * Invariants, checked by verify.c after each step of tests/model/test_shadow_model.c:
 *  - a present entry grants no more than the guest's entry (synced) or than the guest's entry when it was last looked
 *    at (unsync), and no more than gmem allows; it maps the frame that gmem names;
 *  - leaves and rmap, links and parents are the same sets;
 *  - a traced page is writable nowhere; a block with guest tables in it is under no large leaf;
 *  - a present entry's guest entry has A, a writable leaf's D;
 *  - there are never more shadow pages than cfg.shadow_limit.
 *
 * Not guaranteed: a kernel that runs with CR0.WP = 0 and SMAP on is not stopped by SMAP on a read-only user page that
 * it has written to (the page is a supervisor page in the shadow until a user touches it); KVM has the same gap.
 *
 * Source: Linux Documentation/virt/kvm/x86/mmu.rst and arch/x86/kvm/mmu/; Adams and Agesen, A comparison of software
 * and hardware techniques for x86 virtualization, ASPLOS 2006 (tracing); Intel SDM vol. 3A 4.10 (what may be stale).
 */
#include "shadow/shadow.h"
#include "shadow/internal.h"

#define SHADOW_LIMIT_MIN 16

void shadow_begin(struct shadow *s)
{
	if (s->depth++ == 0)
		s->stamp++;
}

/* Ask for the flushes that are due, then let go of frames that nothing can refer to any more. */
void shadow_flush_now(struct shadow *s)
{
	const struct machine_ops *ops = s->machine->ops;

	if (s->flush.all)
		ops->flush(s->machine, s->vm, FLUSH_VM, 0, 0);
	else
		for (unsigned i = 0; i < s->flush.n; i++)
			ops->flush(s->machine, s->vm, FLUSH_GVA, s->flush.gva[i], 1);
	s->flush.all = false;
	s->flush.n = 0;
	for (unsigned i = 0; i < s->limbo->len; i++)
		frames_release(s->frames, g_array_index(s->limbo, hfn_t, i), 1);
	g_array_set_size(s->limbo, 0);
}

void shadow_end(struct shadow *s)
{
	shadow_flush_now(s);
	if (--s->depth == 0)
		g_ptr_array_set_size(s->graves, 0);
}

/* The role of a table reached with full rights: a root. */
static union shadow_role shadow_role_of(const struct guest_regs *regs, unsigned level)
{
	union shadow_role role = { .word = 0 };
	bool wp = regs->cr0 & CR0_WP;

	role.level = level;
	role.direct = !(regs->cr0 & CR0_PG);
	role.access = SHADOW_ACCESS;
	if (role.direct)
		return role;
	role.wp = wp;
	role.nx = (regs->efer & EFER_NX) != 0;
	role.smep = !wp && (regs->cr4 & CR4_SMEP);
	role.smap = !wp && (regs->cr4 & CR4_SMAP);
	return role;
}

/* The shadow page this vCPU's registers ask for as root. */
int shadow_root_get(struct shadow *s, unsigned vcpu, struct shadow_page **out)
{
	const struct guest_regs *regs = s->cfg.regs[vcpu];
	union shadow_role role = shadow_role_of(regs, s->cfg.guest_levels);
	gfn_t gfn = role.direct ? 0 : (regs->cr3 & PTE_ADDR) >> PAGE_SHIFT;
	struct shadow_page *sp = s->root[vcpu];
	int ret;

	*out = sp;
	if (sp && sp->gfn == gfn && sp->role.word == role.word)
		return 0;
	*out = NULL;
	if (gfn >= s->npages) {
		shadow_page_set_root(s, vcpu, NULL);
		return 0;
	}
	ret = shadow_page_get(s, gfn, role, &sp);
	if (ret)
		return ret;
	shadow_page_set_root(s, vcpu, sp);
	*out = sp;
	return 0;
}

static int shadow_hw_root(struct paging *p, unsigned vcpu, hpa_t *root)
{
	struct shadow *s = (struct shadow *)p;
	struct shadow_page *sp;
	int ret;

	shadow_begin(s);
	ret = shadow_root_get(s, vcpu, &sp);
	if (ret == 0) {
		*root = (sp ? sp->hfn : s->empty) << PAGE_SHIFT;
		if (sp)
			shadow_page_use(s, sp);
	}
	shadow_end(s);
	return ret;
}

/*
 * A CR3 load: may what is reached from the new root lag as it did? Bit 63 under PCID says that what is cached for the
 * PCID stays. Ours is cached by root, so that holds only if the PCID goes on with the root it had.
 */
static bool cr3_keeps(struct shadow *s, unsigned vcpu, uint64_t cr3)
{
	gfn_t root = ((cr3 & PTE_ADDR) >> PAGE_SHIFT) + 1, *space;
	bool same;

	if (!(s->cfg.regs[vcpu]->cr4 & CR4_PCIDE))
		return false;
	if (!s->spaces[vcpu])
		s->spaces[vcpu] = g_new0(gfn_t, CR3_PCID + 1);
	space = &s->spaces[vcpu][cr3 & CR3_PCID];
	same = *space == root;
	*space = root;
	return same && (cr3 & CR3_NOFLUSH);
}

/* The architectural points at which a TLB must have forgotten: unsync pages catch up. */
static void shadow_guest_event(struct paging *p, unsigned vcpu, enum guest_event ev, uint64_t arg)
{
	struct shadow *s = (struct shadow *)p;

	shadow_begin(s);
	switch (ev) {
	case GUEST_INVLPG:
		shadow_resync_gva(s, arg);
		break;
	case GUEST_CR3:
		if (!cr3_keeps(s, vcpu, arg))
			shadow_resync_space(s, (arg & PTE_ADDR) >> PAGE_SHIFT);
		break;
	case GUEST_MODE:
		shadow_resync_all(s);
		break;
	}
	shadow_end(s);
}

static uint64_t shadow_table_frames(const struct paging *p)
{
	const struct shadow *s = (const struct shadow *)p;

	return s->live + 1;
}

static void shadow_destroy(struct paging *p)
{
	struct shadow *s = (struct shadow *)p;

	shadow_begin(s);
	while (s->lru.head)
		shadow_page_zap(s, s->lru.head->data);
	shadow_end(s);
	if (s->empty != HFN_NONE)
		frames_release(s->frames, s->empty, 1);
	for (unsigned level = 1; level <= 3; level++) {
		if (s->rmap[level])
			rmap_free(s->rmap[level]);
		g_free(s->tables[level]);
	}
	if (s->parents)
		rmap_free(s->parents);
	g_ptr_array_free(s->pages, TRUE);
	g_array_free(s->free_ids, TRUE);
	g_hash_table_destroy(s->by_gfn);
	g_array_free(s->limbo, TRUE);
	g_ptr_array_free(s->graves, TRUE);
	for (unsigned v = 0; v < s->cfg.nvcpus; v++)
		g_free(s->spaces[v]);
	g_free(s->spaces);
	g_free(s->root);
	g_free(s);
}

/* Index structures whose size guest memory decides. */
static int shadow_init_indexes(struct shadow *s)
{
	for (unsigned level = 1; level <= 3; level++) {
		uint64_t nblocks = (s->npages + LEVEL_PAGES(level) - 1) / LEVEL_PAGES(level);

		s->rmap[level] = rmap_new(nblocks);
		if (!s->rmap[level])
			return ERR(-ENOMEM);
		if (level > 1)
			s->tables[level] = g_new0(uint32_t, nblocks);
	}
	s->parents = rmap_new(frames_total(s->frames));
	return s->parents ? 0 : ERR(-ENOMEM);
}

static struct shadow *shadow_new(const struct paging_config *cfg)
{
	const struct gmem_config *gc = gmem_config(cfg->gmem);
	struct shadow *s = g_new0(struct shadow, 1);

	s->cfg = *cfg;
	if (s->cfg.shadow_limit && s->cfg.shadow_limit < SHADOW_LIMIT_MIN)
		s->cfg.shadow_limit = SHADOW_LIMIT_MIN;
	s->gmem = cfg->gmem;
	s->frames = gmem_frames(cfg->gmem);
	s->machine = gmem_machine(cfg->gmem);
	s->c = gmem_counters(cfg->gmem);
	s->arena = gmem_arena(cfg->gmem);
	s->arena_pages = gc->arena_pages;
	s->npages = gc->npages;
	s->vm = gc->vm;
	s->node = gc->node;
	s->pages = g_ptr_array_new();
	s->free_ids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	s->by_gfn = g_hash_table_new(g_direct_hash, g_direct_equal);
	g_queue_init(&s->lru);
	g_queue_init(&s->unsync);
	s->root = g_new0(struct shadow_page *, cfg->nvcpus);
	s->spaces = g_new0(gfn_t *, cfg->nvcpus);
	s->limbo = g_array_new(FALSE, FALSE, sizeof(hfn_t));
	s->graves = g_ptr_array_new_with_free_func(shadow_page_free);
	s->empty = HFN_NONE;
	return s;
}

static struct paging *shadow_create(const struct paging_config *cfg)
{
	struct shadow *s = shadow_new(cfg);
	int ret;

	s->base.ops = &shadow_paging_ops;
	ret = shadow_init_indexes(s);
	if (ret == 0)
		ret = frames_alloc(s->frames, 1, s->node, false, FRAME_OWNER(FRAME_TABLE, s->vm, 0), &s->empty);
	if (ret) {
		shadow_destroy(&s->base);
		errno = -ret;
		return NULL;
	}
	shadow_reserve_slot(s, s->empty);
	return &s->base;
}

const struct paging_ops shadow_paging_ops = {
	.name = "shadow",
	.summary = "The VMM builds the tables the processor walks and traces the guest's own.",
	.create = shadow_create,
	.destroy = shadow_destroy,
	.fault = shadow_fault,
	.guest_write = shadow_guest_write,
	.guest_event = shadow_guest_event,
	.hw_root = shadow_hw_root,
	.unmap = shadow_unmap,
	.wrprotect = shadow_wrprotect,
	.test_clear_young = shadow_test_clear_young,
	.collapse = shadow_collapse,
	.table_frames = shadow_table_frames,
	.verify = shadow_verify,
};
