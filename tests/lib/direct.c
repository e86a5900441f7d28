/* SPDX-License-Identifier: MIT */
/* direct.c - see direct.h */
#include "tests/lib/direct.h"

#include "tests/lib/must.h"

static struct direct *direct_now; /* whose TLB the machine's flush means: tests run one at a time */

static void direct_flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n)
{
	(void)m, (void)vm, (void)start, (void)n;
	must(kind == FLUSH_VM);
	direct_now->machine->flushes[kind]++;
	g_hash_table_remove_all(direct_now->tlb);
	g_hash_table_remove_all(direct_now->pwc);
}

static gpointer direct_key(const struct direct *d, gva_t gva, unsigned shift)
{
	return GSIZE_TO_POINTER(d->regs.cr3 >> 12 << 48 | gva >> shift);
}

static void direct_forget(struct direct *d, gva_t gva)
{
	g_hash_table_remove(d->tlb, direct_key(d, gva, 12));
	g_hash_table_remove(d->pwc, direct_key(d, gva, 21));
}

struct direct *direct_new(const struct direct_config *cfg)
{
	struct direct *d = g_new0(struct direct, 1);
	struct gmem_config gc = {
		.vm = 5, .npages = cfg->npages, .arena_pages = cfg->arena_pages, .level = cfg->level,
	};
	struct paging_config pc = { .nvcpus = 1, .regs = d->vcpu, .guest_levels = cfg->levels, .maxphyaddr = 46,
				    .max_leaf = cfg->max_leaf };

	d->cfg = *cfg;
	d->vcpu[0] = &d->regs;
	d->regs = (struct guest_regs){ .cr0 = CR0_PG | CR0_PE | CR0_WP, .efer = EFER_NX | EFER_LME | EFER_LMA,
				       .cpl = 3 };
	d->frames = frames_new(cfg->host_pages, 2);
	d->machine = fake_machine_new(cfg->host_pages);
	d->ops = *d->machine->base.ops;
	d->ops.flush = direct_flush;
	d->machine->base.ops = &d->ops;
	d->tlb = g_hash_table_new(g_direct_hash, g_direct_equal);
	d->pwc = g_hash_table_new(g_direct_hash, g_direct_equal);
	direct_now = d;
	d->gmem = gmem_new(&gc, d->frames, &d->machine->base, &d->c, NULL);
	must(d->gmem);
	pc.gmem = d->gmem;
	d->paging = pv_paging_ops.create(&pc);
	must(d->paging);
	gmem_set_paging(d->gmem, d->paging);
	return d;
}

void direct_free(struct direct *d)
{
	d->paging->ops->destroy(d->paging);
	gmem_free(d->gmem);
	must_eq(frames_used(d->frames), 0);
	fake_machine_free(d->machine);
	frames_free(d->frames);
	g_hash_table_unref(d->tlb);
	g_hash_table_unref(d->pwc);
	g_free(d);
}

void direct_load(struct direct *d, gpa_t root)
{
	d->regs.cr3 = root;
	d->paging->ops->guest_event(d->paging, 0, GUEST_CR3, root);
}

void direct_invlpg(struct direct *d, gva_t gva)
{
	direct_forget(d, gva);
	d->paging->ops->guest_event(d->paging, 0, GUEST_INVLPG, gva);
}

/*
 * Walk from the page-walk cache: true if it says yes and there is nothing to set. Everything else walks from the
 * root, so that what a stale cache may do to A/D bits need not be modelled.
 */
static bool direct_walk_cached(struct direct *d, gva_t gva, unsigned access, hfn_t *hfn)
{
	gpointer hit;
	uint64_t table, e;
	hfn_t frame;

	if (!g_hash_table_lookup_extended(d->pwc, direct_key(d, gva, 21), NULL, &hit))
		return false;
	table = GPOINTER_TO_SIZE(hit);
	frame = table >> 12;
	must(gmem_gfn_of(d->gmem, frame) < d->cfg.arena_pages ||
	     frames_get(d->frames, frame)->owner == FRAME_OWNER(FRAME_TABLE, 5, 0));
	e = *(uint64_t *)(frames_bytes(d->frames) + (table & ~0xfffull) + (gva >> 12 & 511) * 8);
	if (!(e & 1) || !(e & table & 4) || !(e & 0x20) || (access == ACC_W && (!(e & table & 2) || !(e & 0x40))))
		return false;
	*hfn = (e & 0xffffffffff000) >> 12;
	return true;
}

/* 0, or the error code of the fault; bits 0 P, 1 W, 2 U of an entry are as in an error code. */
static unsigned direct_walk(struct direct *d, gva_t gva, unsigned access, hfn_t *hfn, bool *ok)
{
	unsigned level = d->cfg.levels, error = 4 | (access == ACC_W ? 2 : 0);
	uint64_t *e[6], rights = 6, above = 6, mask;
	hpa_t table;

	*ok = false;
	must(!d->paging->ops->hw_root(d->paging, 0, &table));
	for (;; level--) {
		e[level] = (uint64_t *)(frames_bytes(d->frames) + table) + (gva >> (12 + 9 * (level - 1)) & 511);
		if (!(*e[level] & 1))
			return error;
		above = rights;
		rights &= *e[level];
		must((*e[level] & 0xffffffffff000) >> 12 < d->cfg.host_pages);
		if (level == 1 || *e[level] & 0x80)
			break;
		table = *e[level] & 0xffffffffff000;
	}
	if (!(rights & 4) || (access == ACC_W && !(rights & 2)))
		return error | 1;
	for (unsigned l = level; l <= d->cfg.levels; l++)
		*e[l] |= 0x20;
	if (access == ACC_W)
		*e[level] |= 0x40;
	mask = (1ull << (9 * (level - 1))) - 1;
	*hfn = ((*e[level] & 0xffffffffff000) >> 12 & ~mask) | (gva >> 12 & mask);
	if (!(*e[level] & 0x40))
		rights &= ~2ull;
	g_hash_table_insert(d->tlb, direct_key(d, gva, 12), GSIZE_TO_POINTER(*hfn << 3 | rights));
	if (level == 1)
		g_hash_table_insert(d->pwc, direct_key(d, gva, 21),
				    GSIZE_TO_POINTER((uint64_t)((uint8_t *)e[1] - frames_bytes(d->frames)) >> 12 << 12 |
						     above));
	*ok = true;
	return 0;
}

enum direct_result direct_access(struct direct *d, gva_t gva, unsigned access, hfn_t *hfn, unsigned *error, int *err)
{
	gpointer hit;
	bool ok;

	for (int tries = 0; tries < 3; tries++) {
		struct paging_fault f = { .gva = gva };

		if (g_hash_table_lookup_extended(d->tlb, direct_key(d, gva, 12), NULL, &hit) &&
		    (access == ACC_R || GPOINTER_TO_SIZE(hit) & 2)) {
			*hfn = GPOINTER_TO_SIZE(hit) >> 3;
			return DIRECT_HIT;
		}
		if (direct_walk_cached(d, gva, access, hfn))
			return DIRECT_HIT;
		f.error = direct_walk(d, gva, access, hfn, &ok);
		if (ok)
			return DIRECT_OK;
		direct_forget(d, gva); /* as a fault does */
		switch (d->paging->ops->fault(d->paging, &f, err)) {
		case PAGING_RETRY:
			continue;
		case PAGING_INJECT:
			*error = f.error;
			return DIRECT_FAULT;
		default:
			return DIRECT_FAIL;
		}
	}
	ck_abort_msg("gva %llx: no progress", (unsigned long long)gva);
	return DIRECT_FAIL;
}

bool direct_set(struct direct *d, gpa_t table, unsigned index, uint64_t value, unsigned level)
{
	struct pv_entry u = { .gpa = table + index * 8, .value = value, .level = level };

	return pv_update(d->paging, &u, 1) == 0;
}

uint64_t direct_get(struct direct *d, gpa_t table, unsigned index)
{
	uint64_t rejected = d->c.pv_rejected, v = pv_read(d->paging, table + index * 8);

	must_eq(d->c.pv_rejected, rejected);
	return v;
}
