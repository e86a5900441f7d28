/* SPDX-License-Identifier: MIT */
/* shadowed.c - see shadowed.h */
#include "tests/lib/shadowed.h"

#include <glib.h>
#include <string.h>

#include "tests/lib/must.h"

/* A fault may lead to others (gmem, evicted tables), but an access must end. */
#define MOST_FAULTS 8

static struct shadowed *of(struct machine *m)
{
	return (struct shadowed *)((char *)m - offsetof(struct shadowed, machine));
}

static void flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n)
{
	struct shadowed *v = of(m);
	unsigned left = 0;

	(void)vm;
	v->machine.flushes[kind]++;
	for (unsigned i = 0; i < v->ntlb; i++) {
		struct shadowed_hit *h = &v->tlb[i];

		if (kind == FLUSH_GVA && ((h->gva ^ start) & ~(LEVEL_SIZE(h->level) - 1)))
			v->tlb[left++] = *h;
	}
	must(kind == FLUSH_VM || (kind == FLUSH_GVA && n == 1));
	v->ntlb = left;
}

struct shadowed *shadowed_new(const struct shadowed_config *cfg)
{
	struct shadowed *v = g_new0(struct shadowed, 1);
	struct fake_machine *fm = fake_machine_new(cfg->host_pages);
	struct gmem_config gc = {
		.vm = 3, .npages = cfg->npages, .arena_pages = cfg->arena_pages, .level = cfg->level
	};
	struct paging_config pc = { .nvcpus = SHADOWED_VCPUS,
				    .regs = v->regs_of,
				    .guest_levels = cfg->levels,
				    .maxphyaddr = cfg->maxphyaddr,
				    .max_leaf = cfg->max_leaf,
				    .unsync = cfg->unsync,
				    .shadow_limit = cfg->limit,
				    .flood_limit = cfg->flood };

	v->cfg = *cfg;
	v->machine = *fm;
	g_free(fm);
	v->ops = *v->machine.base.ops;
	v->ops.flush = flush;
	v->machine.base.ops = &v->ops;
	v->frames = frames_new(cfg->host_pages, 1);
	v->gmem = gmem_new(&gc, v->frames, &v->machine.base, &v->c, NULL);
	must(v->gmem);
	for (unsigned i = 0; i < SHADOWED_VCPUS; i++) {
		v->regs[i] = (struct guest_regs){
			.cr0 = CR0_PE | CR0_PG | CR0_WP, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA | EFER_NX, .cpl = 3
		};
		v->regs_of[i] = &v->regs[i];
	}
	pc.gmem = v->gmem;
	v->paging = shadow_paging_ops.create(&pc);
	must(v->paging);
	gmem_set_paging(v->gmem, v->paging);
	return v;
}

void shadowed_free(struct shadowed *v)
{
	struct fake_machine *fm = g_new(struct fake_machine, 1);

	v->paging->ops->destroy(v->paging);
	gmem_free(v->gmem);
	frames_free(v->frames);
	*fm = v->machine;
	fake_machine_free(fm);
	g_free(v);
}

static void remember(struct shadowed *v, const struct shadowed_hit *h)
{
	if (v->ntlb == SHADOWED_TLB) {
		memmove(v->tlb, v->tlb + 1, (SHADOWED_TLB - 1) * sizeof(*h));
		v->ntlb--;
	}
	v->tlb[v->ntlb++] = *h;
}

static bool refused(const struct guest_regs *hw, unsigned rights, unsigned access)
{
	bool user = access & ACC_U;

	if ((user && !(rights & ACC_U)) || ((access & ACC_W) && !(rights & ACC_W)) ||
	    ((access & ACC_X) && !(rights & ACC_X)))
		return true;
	if (user || !(rights & ACC_U))
		return false;
	return access & ACC_X ? (hw->cr4 & CR4_SMEP) != 0 : (hw->cr4 & CR4_SMAP) && !(hw->rflags & RFLAGS_AC);
}

static void set_ad(struct shadowed *v, struct shadowed_hit *h, bool write)
{
	for (unsigned level = v->cfg.levels; level >= h->level; level--) {
		uint64_t *e = (uint64_t *)(frames_bytes(v->frames) + h->at[level]);

		h->value[level] = *e |= 0x20 | (write && level == h->level ? 0x40 : 0);
	}
}

bool shadowed_walk(struct shadowed *v, unsigned vcpu, gva_t gva, unsigned access, struct shadowed_result *r)
{
	struct shadowed_hit h = { .gva = gva };
	unsigned level = v->cfg.levels, rights = ACC_RWX | ACC_U;
	struct guest_regs hw;
	hpa_t table;

	shadow_hw_regs(&v->regs[vcpu], &hw);
	must_eq(-v->paging->ops->hw_root(v->paging, vcpu, &table), 0);
	r->error = (access & ACC_W ? 2 : 0) | (access & ACC_U ? 4 : 0) | (access & ACC_X ? 16 : 0);
	for (;; level--) {
		uint64_t e;

		h.at[level] = table + (gva >> (12 + 9 * (level - 1)) & 511) * 8;
		e = *(uint64_t *)(frames_bytes(v->frames) + h.at[level]);
		if (!(e & 1))
			return false;
		must(!(e & 0x7ff0000000000000ull));
		must((e & 0x000ffffffffff000ull) >> 12 < frames_total(v->frames));
		rights &= 1u | (e & 2 ? ACC_W : 0) | (e & 4 ? ACC_U : 0) | (e >> 63 ? 0 : ACC_X);
		if (level == 1 || (e & 0x80)) {
			must(level <= 3);
			r->hpa = (e & 0x000ffffffffff000ull) | (gva & ((1ull << (12 + 9 * (level - 1))) - 1));
			break;
		}
		table = e & 0x000ffffffffff000ull;
	}
	r->level = h.level = level;
	if (refused(&hw, rights, access)) {
		r->error |= 1;
		return false;
	}
	set_ad(v, &h, access & ACC_W);
	remember(v, &h);
	return true;
}

struct shadowed_result shadowed_access(struct shadowed *v, unsigned vcpu, gva_t gva, unsigned access)
{
	struct shadowed_result r = { .verdict = PAGING_RETRY };

	while (!shadowed_walk(v, vcpu, gva, access, &r)) {
		struct paging_fault f = { .vcpu = vcpu, .error = r.error, .gva = gva };

		v->faults++;
		must(++r.faults <= MOST_FAULTS);
		r.verdict = v->paging->ops->fault(v->paging, &f, &r.err);
		r.error = f.error;
		r.gpa = f.gpa;
		if (r.verdict != PAGING_RETRY)
			break;
	}
	return r;
}

enum paging_verdict shadowed_store(struct shadowed *v, unsigned vcpu, gva_t gva, unsigned user, uint64_t value)
{
	struct shadowed_result r = shadowed_access(v, vcpu, gva, ACC_W | user);

	if (r.verdict == PAGING_EMULATE) {
		must_eq(-v->paging->ops->guest_write(v->paging, vcpu, r.gpa, &value, sizeof(value)), 0);
	} else if (r.verdict == PAGING_RETRY) {
		gfn_t gfn = gmem_gfn_of(v->gmem, r.hpa >> PAGE_SHIFT);

		must(gfn != GFN_NONE);
		shadowed_poke(v, (gfn << PAGE_SHIFT) + (r.hpa & ~PAGE_MASK), value);
	}
	return r.verdict;
}

/* Has the walk @h become more than the tables say? */
static bool stale(struct shadowed *v, const struct shadowed_hit *h)
{
	for (unsigned level = v->cfg.levels; level >= h->level; level--) {
		uint64_t now = *(uint64_t *)(frames_bytes(v->frames) + h->at[level]), then = h->value[level];

		if (!(now & 1) || ((now ^ then) & 0x000ffffffffff000ull) || (level > 1 && ((now ^ then) & 0x80)) ||
		    (then & ~now & 6) || (now & ~then) >> 63)
			return true;
	}
	return false;
}

bool shadowed_check(struct shadowed *v)
{
	for (unsigned i = 0; i < v->ntlb; i++)
		if (stale(v, &v->tlb[i])) {
			g_warning("TLB holds %#llx, which the tables no longer say", (unsigned long long)v->tlb[i].gva);
			return false;
		}
	return v->paging->ops->verify(v->paging) == 0;
}

uint64_t shadowed_peek(struct shadowed *v, gpa_t gpa)
{
	uint64_t page[512];

	if (gpa >> PAGE_SHIFT < v->cfg.arena_pages)
		return *(uint64_t *)(gmem_arena(v->gmem) + gpa);
	must_eq(-gmem_peek(v->gmem, gpa >> PAGE_SHIFT, page), 0);
	return page[(gpa & ~PAGE_MASK) / 8];
}

void shadowed_poke(struct shadowed *v, gpa_t gpa, uint64_t value)
{
	if (gpa >> PAGE_SHIFT < v->cfg.arena_pages)
		*(uint64_t *)(gmem_arena(v->gmem) + gpa) = value;
	else
		must_eq(-gmem_write(v->gmem, gpa, &value, sizeof(value)), 0);
}
