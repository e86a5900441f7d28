/* SPDX-License-Identifier: MIT */
/*
 * accounting_cpu.c - processors of four kinds, from the manuals' tables alone
 *
 * The guest with shadow tables runs on tables of its own, in its arena, that map each page to itself.
 */
#include "tests/lib/accounting_impl.h"
#include "tests/lib/must.h"

#define ROOT   0x100000ull
#define LEAVES 0x103000ull
#define USUAL  0x67ull /* present, writable, user, accessed, dirty */

void guest_make_tables(struct guest *v)
{
	uint64_t *root = (uint64_t *)(gmem_arena(v->g) + ROOT);

	if (v->kind != KIND_SHADOW)
		return;
	root[0] = (ROOT + 0x1000) | USUAL;
	root[512] = (ROOT + 0x2000) | USUAL;
	for (unsigned i = 0; i < PAGES / 512; i++)
		root[1024 + i] = (LEAVES + i * 0x1000) | USUAL;
	for (gfn_t gfn = 0; gfn < PAGES; gfn++)
		((uint64_t *)(gmem_arena(v->g) + LEAVES))[gfn] = gfn << PAGE_SHIFT | USUAL;
	v->regs = (struct guest_regs){
		.cr3 = ROOT, .cr0 = CR0_PE | CR0_PG | CR0_WP, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA | EFER_NX,
		.cpl = 3,
	};
}

/* The entry that ends the walk, or NULL without a root. */
static uint64_t *walk(struct guest *v, gfn_t gfn, unsigned *level)
{
	uint64_t present = v->kind == KIND_EPT ? 7 : 1, *e;
	hpa_t table;

	if (v->p->ops->hw_root(v->p, 0, &table))
		return NULL;
	for (*level = 4;; --*level) {
		e = (uint64_t *)(frames_bytes(v->w->fr) + table) + (gfn >> (9 * (*level - 1)) & 511);
		if (!(*e & present) || *level == 1 || *e & 0x80)
			return e;
		table = *e & 0xffffffffff000;
	}
}

bool guest_mapped(struct guest *v, gfn_t gfn, hfn_t *hfn, bool *writable)
{
	uint64_t mask, *e;
	unsigned level;

	if (v->kind == KIND_FLAT) {
		*hfn = v->flat->map[gfn].hfn;
		*writable = v->flat->map[gfn].access & ACC_W;
		return v->flat->map[gfn].access != 0;
	}
	e = walk(v, gfn, &level);
	if (!e || !(*e & (v->kind == KIND_EPT ? 7 : 1)))
		return false;
	mask = LEVEL_PAGES(level) - 1;
	*hfn = ((*e & 0xffffffffff000) >> PAGE_SHIFT & ~mask) | (gfn & mask);
	*writable = *e & 2;
	return true;
}

static void set_accessed(struct guest *v, gfn_t gfn, bool write)
{
	unsigned level;
	uint64_t *e;

	if (v->kind != KIND_NPT && v->kind != KIND_SHADOW)
		return;
	e = walk(v, gfn, &level);
	must(e != NULL);
	*e |= 0x20 | (write ? 0x40 : 0);
}

int guest_access(struct guest *v, gfn_t gfn, bool write, hfn_t *hfn)
{
	bool writable, faulted;
	int err;

	if (v->kind == KIND_FLAT) {
		err = fake_paging_access(v->flat, gfn, write ? ACC_W : ACC_R, &faulted);
		*hfn = err ? HFN_NONE : v->flat->map[gfn].hfn;
		return err;
	}
	for (unsigned tries = 0; tries < 8; tries++) {
		bool there = guest_mapped(v, gfn, hfn, &writable);
		struct paging_fault f = { .gva = gfn << PAGE_SHIFT, .gpa = gfn << PAGE_SHIFT,
					  .error = (write ? PF_W : 0), .second_stage = v->kind != KIND_SHADOW };

		if (there && (writable || !write)) {
			set_accessed(v, gfn, write);
			return 0;
		}
		if (v->kind == KIND_SHADOW)
			f.error |= PF_U | (there ? PF_P : 0);
		switch (v->p->ops->fault(v->p, &f, &err)) {
		case PAGING_RETRY:
			break;
		case PAGING_FAIL:
			return err;
		default:
			ck_abort_msg("gfn %llx: neither mapped nor refused", (unsigned long long)gfn);
		}
	}
	ck_abort_msg("gfn %llx: no progress", (unsigned long long)gfn);
	return 0;
}
