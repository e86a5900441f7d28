/* SPDX-License-Identifier: MIT */
/* sguest.c - see sguest.h */
#include "tests/lib/sguest.h"

const struct shadowed_config sguest_plain = { .host_pages = 16384,
					      .npages = NPAGES,
					      .arena_pages = ARENA,
					      .level = 1,
					      .max_leaf = 3,
					      .levels = 4,
					      .maxphyaddr = 46,
					      .flood = 3 };

struct shadowed *sguest_boot_with(const struct shadowed_config *cfg)
{
	struct shadowed *v = shadowed_new(cfg);

	for (unsigned i = 0; i < 2; i++) {
		gpa_t root = i ? ROOT2 : ROOT;

		shadowed_poke(v, root, PDPT | USER);
		shadowed_poke(v, root + 8, (20ull << 12) | PTE_P | PTE_W);
		v->regs[i].cr3 = ROOT;
	}
	shadowed_poke(v, 20ull << 12, (21ull << 12) | PTE_P | PTE_W);
	for (unsigned i = 0; i < NPAGES / 512; i++)
		shadowed_poke(v, (21ull << 12) + i * 8, i * MIB2 | PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D);
	shadowed_poke(v, PDPT, PD | USER);
	shadowed_poke(v, PD, PT | USER);
	for (unsigned i = 0; i < 16; i++)
		shadowed_poke(v, PT + i * 8, (DATA + i) * 4096ull | USER);
	return v;
}

struct shadowed *sguest_boot(bool unsync)
{
	struct shadowed_config cfg = sguest_plain;

	cfg.unsync = unsync;
	return sguest_boot_with(&cfg);
}

void sguest_done(struct shadowed *v)
{
	must(shadowed_check(v));
	shadowed_free(v);
}

gfn_t sguest_touch(struct shadowed *v, gva_t gva, unsigned access, unsigned *faults)
{
	struct shadowed_result r = shadowed_access(v, 0, gva, access);

	must_eq(r.verdict, PAGING_RETRY);
	if (faults)
		*faults = r.faults;
	must(shadowed_check(v));
	return gmem_gfn_of(v->gmem, r.hpa >> PAGE_SHIFT);
}

unsigned sguest_faults(struct shadowed *v, gva_t gva, unsigned access)
{
	unsigned n;

	sguest_touch(v, gva, access, &n);
	return n;
}

enum paging_verdict sguest_store(struct shadowed *v, gpa_t gpa, uint64_t value)
{
	enum paging_verdict verdict = shadowed_store(v, 0, DIRECT + gpa, 0, value);

	must(shadowed_check(v));
	must_eq(shadowed_peek(v, gpa) & ~(PTE_A | PTE_D), value & ~(PTE_A | PTE_D));
	return verdict;
}

void sguest_event(struct shadowed *v, enum guest_event ev, uint64_t arg)
{
	if (ev == GUEST_CR3)
		v->regs[0].cr3 = arg & ~CR3_NOFLUSH;
	v->paging->ops->guest_event(v->paging, 0, ev, arg);
	must(shadowed_check(v));
}

bool sguest_mapped(struct shadowed *v, gva_t gva, unsigned access)
{
	struct shadowed_result r;

	return shadowed_walk(v, 0, gva, access, &r);
}

unsigned sguest_level(struct shadowed *v, gva_t gva, unsigned access)
{
	struct shadowed_result r = shadowed_access(v, 0, gva, access);

	must_eq(r.verdict, PAGING_RETRY);
	must(shadowed_check(v));
	return r.level;
}
