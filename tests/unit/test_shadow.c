/* SPDX-License-Identifier: MIT */
/* test_shadow.c - shadow paging, one mechanism a test; large pages are in test_shadow_large.c */
#include <glib.h>

#include "tests/lib/sguest.h"
#include "tests/lib/suite.h"

/* What if a page is touched, then written? One fault each; A, then D, reach the guest's entries. */
START_TEST(fill_and_dirty)
{
	struct shadowed *v = sguest_boot(false);

	must_eq(sguest_touch(v, 0x3000, ACC_R | ACC_U, NULL), DATA + 3);
	must_eq(shadowed_peek(v, PT + 24) & (PTE_A | PTE_D), PTE_A);
	must_eq(v->c.shadow_fills, 1);
	must_eq(v->c.shadow_pages_made, 4);
	must_eq(v->c.shadow_ad_updates, 4);
	must_eq(sguest_faults(v, 0x3000, ACC_R | ACC_U), 0);
	must_eq(sguest_faults(v, 0x3000, ACC_W | ACC_U), 1);
	must_eq(shadowed_peek(v, PT + 24) & (PTE_A | PTE_D), PTE_A | PTE_D);
	must_eq(sguest_faults(v, 0x3008, ACC_W | ACC_U), 0);
	must_eq(v->c.faults_absent, 1);
	must_eq(v->paging->ops->table_frames(v->paging), 5);
	sguest_done(v);
}
END_TEST

/* What if the guest forbids it? Its own fault is injected, and nothing is counted as filled. */
START_TEST(inject)
{
	struct shadowed *v = sguest_boot(false);
	struct shadowed_result r = shadowed_access(v, 0, 0x100000, ACC_W | ACC_U);

	must_eq(r.verdict, PAGING_INJECT);
	must_eq(r.error, PF_W | PF_U);
	r = shadowed_access(v, 0, DIRECT, ACC_R | ACC_U);
	must_eq(r.verdict, PAGING_INJECT);
	must_eq(r.error, PF_P | PF_U);
	shadowed_poke(v, PT + 8, (DATA + 1) * 4096ull | PTE_P | PTE_U | PTE_NX);
	must_eq(sguest_faults(v, 0x1000, ACC_R | ACC_U), 1);
	r = shadowed_access(v, 0, 0x1000, ACC_X | ACC_U);
	must_eq(r.error, PF_P | PF_U | PF_I);
	r = shadowed_access(v, 0, 0x1000, ACC_W | ACC_U);
	must_eq(r.error, PF_P | PF_U | PF_W);
	must_eq(v->c.shadow_fills, 1);
	sguest_done(v);
}
END_TEST

/* What if the guest changes a traced entry? The store is carried out for it and the shadow follows at once. */
START_TEST(traced_write)
{
	struct shadowed *v = sguest_boot(false);

	sguest_touch(v, 0, ACC_W | ACC_U, NULL);
	sguest_touch(v, 0x1000, ACC_W | ACC_U, NULL);
	must_eq(sguest_store(v, PT, (DATA + 9) * 4096ull | USER), PAGING_EMULATE);
	must_eq(v->c.shadow_traced_writes, 1);
	must(!sguest_mapped(v, 0, ACC_R | ACC_U));
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA + 9);
	/* Less, but not other: the entry is weakened in place. */
	must_eq(sguest_store(v, PT + 8, (DATA + 1) * 4096ull | PTE_P | PTE_U | PTE_A | PTE_D), PAGING_EMULATE);
	must(sguest_mapped(v, 0x1000, ACC_R | ACC_U));
	must(!sguest_mapped(v, 0x1000, ACC_W | ACC_U));
	/* A cleared: the next touch must set it again. */
	must_eq(sguest_store(v, PT + 8, (DATA + 1) * 4096ull | PTE_P | PTE_U), PAGING_EMULATE);
	must_eq(sguest_faults(v, 0x1000, ACC_R | ACC_U), 1);
	must(shadowed_peek(v, PT + 8) & PTE_A);
	/* An upper entry takes everything below it along. */
	must_eq(sguest_store(v, PD, 0), PAGING_EMULATE);
	must(!sguest_mapped(v, 0, ACC_R | ACC_U));
	sguest_done(v);
}
END_TEST

/* What if a store covers parts of two entries, or part of one? */
START_TEST(odd_writes)
{
	struct shadowed *v = sguest_boot(false);
	uint64_t zero = 0;

	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	sguest_touch(v, 0x1000, ACC_R | ACC_U, NULL);
	must_eq(-v->paging->ops->guest_write(v->paging, 0, PT + 4, &zero, 8), 0);
	must(shadowed_check(v));
	/* The first lost its upper half (still present, other address), the second its present bit. */
	must(!sguest_mapped(v, 0x1000, ACC_R | ACC_U));
	must_eq(shadowed_access(v, 0, 0x1000, ACC_R | ACC_U).verdict, PAGING_INJECT);
	sguest_touch(v, 0x2000, ACC_R | ACC_U, NULL);
	must_eq(-v->paging->ops->guest_write(v->paging, 0, PT + 16, &zero, 1), 0);
	must(!sguest_mapped(v, 0x2000, ACC_R | ACC_U));
	must_eq(-v->paging->ops->guest_write(v->paging, 0, (uint64_t)NPAGES * 4096 - 4, &zero, 8), EFAULT);
	sguest_done(v);
}
END_TEST

/* What if the guest writes a leaf table many times? One fault lifts the trace; the shadow lags until told. */
START_TEST(unsync_and_invlpg)
{
	struct shadowed *v = sguest_boot(true);

	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	sguest_touch(v, 0x1000, ACC_R | ACC_U, NULL);
	must_eq(sguest_store(v, PT, (DATA + 9) * 4096ull | USER), PAGING_RETRY);
	must_eq(sguest_store(v, PT + 8, 0), PAGING_RETRY);
	must_eq(v->c.shadow_unsyncs, 1);
	must_eq(v->c.shadow_traced_writes, 0);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA); /* as from a TLB */
	sguest_event(v, GUEST_INVLPG, 0x123);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA + 9);
	must_eq(sguest_touch(v, 0x1000, ACC_R | ACC_U, NULL), DATA + 1); /* not told yet */
	must_eq(sguest_faults(v, DIRECT + PT, ACC_W), 0);		 /* still unsync */
	sguest_event(v, GUEST_INVLPG, 0x1000);
	must_eq(shadowed_access(v, 0, 0x1000, ACC_R | ACC_U).verdict, PAGING_INJECT);
	must_eq(v->c.shadow_resyncs, 0);
	sguest_done(v);
}
END_TEST

/* What if CR3 is loaded? What the new root reaches catches up and is traced again; what it does not reach may lag. */
START_TEST(unsync_and_cr3)
{
	struct shadowed *v = sguest_boot(true);

	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	sguest_store(v, PT, (DATA + 9) * 4096ull | USER);
	sguest_event(v, GUEST_CR3, ROOT);
	must_eq(v->c.shadow_resyncs, 1);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA + 9);
	must_eq(sguest_store(v, PT, (DATA + 8) * 4096ull | USER), PAGING_RETRY);
	must_eq(v->c.shadow_unsyncs, 2);
	/* A root that has no user memory at all. */
	sguest_store(v, ROOT2, 0);
	sguest_event(v, GUEST_CR3, ROOT2);
	must_eq(v->c.shadow_resyncs, 1);
	sguest_event(v, GUEST_CR3, ROOT);
	must_eq(v->c.shadow_resyncs, 2);
	/* With PCIDs, bit 63 keeps what is cached for a PCID, if that was this root's. */
	v->regs[0].cr4 |= CR4_PCIDE;
	sguest_event(v, GUEST_CR3, ROOT | 5 | CR3_NOFLUSH);
	must_eq(v->c.shadow_resyncs, 2);
	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	sguest_store(v, PT, (DATA + 7) * 4096ull | USER);
	sguest_event(v, GUEST_CR3, ROOT | 5 | CR3_NOFLUSH);
	must_eq(v->c.shadow_resyncs, 2);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA + 8);
	sguest_event(v, GUEST_MODE, 0);
	must_eq(v->c.shadow_resyncs, 3);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA + 7);
	/* A PCID that goes from one root to another has nothing to keep. */
	sguest_store(v, PT, (DATA + 6) * 4096ull | USER);
	sguest_event(v, GUEST_CR3, ROOT2 | 6);
	must_eq(v->c.shadow_resyncs, 3);
	sguest_event(v, GUEST_CR3, ROOT | 6 | CR3_NOFLUSH);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA + 6);
	sguest_done(v);
}
END_TEST

/* What if an unsync table gets a second parent, or is used as an upper table? It catches up first. */
START_TEST(unsync_and_links)
{
	struct shadowed *v = sguest_boot(true);

	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	sguest_store(v, PT, (DATA + 9) * 4096ull | USER);
	sguest_store(v, PD + 8, PT | USER);
	must_eq(sguest_touch(v, MIB2, ACC_R | ACC_U, NULL), DATA + 9);
	must_eq(v->c.shadow_resyncs, 1);
	sguest_store(v, PT + 8, PT2 | USER);
	must_eq(v->c.shadow_unsyncs, 2);
	/* PT as a PD: its entry 1 leads to PT2. */
	sguest_store(v, PDPT + 8, PT | USER);
	sguest_store(v, PT2, (DATA + 5) * 4096ull | USER);
	must_eq(sguest_touch(v, (1ull << 30) + MIB2, ACC_R | ACC_U, NULL), DATA + 5);
	must_eq(v->c.shadow_resyncs, 2);
	must_eq(sguest_store(v, PT + 8, 0), PAGING_EMULATE); /* never unsync while it is one */
	sguest_done(v);
}
END_TEST

/* What if a page far above an unsync table is reached on a new path? What is below catches up and
 * is flushed there. */
START_TEST(second_path)
{
	struct shadowed *v = sguest_boot(true);
	gva_t other = 2ull << 39;

	sguest_touch(v, 0, ACC_W | ACC_U, NULL);
	sguest_touch(v, 0x1000, ACC_W | ACC_U, NULL);
	sguest_store(v, PT, (DATA + 9) * 4096ull | USER);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA);
	sguest_store(v, ROOT + 16, PDPT | USER);
	must_eq(sguest_touch(v, other, ACC_R | ACC_U, NULL), DATA + 9);
	must_eq(v->c.shadow_resyncs, 1);
	must_eq(sguest_faults(v, other + 0x1000, ACC_W | ACC_U), 0);
	must_eq(-gmem_move(v->gmem, DATA + 1, 0), 0);
	must(!sguest_mapped(v, other + 0x1000, ACC_R | ACC_U));
	sguest_done(v);

	/* A leaf table that comes back, entries and all, below pages that got a second address meanwhile. */
	v = sguest_boot(true);
	shadowed_poke(v, PT2, (DATA + 5) * 4096ull | USER);
	shadowed_poke(v, PD + 8, PT2 | USER);
	sguest_touch(v, 0x2000, ACC_R | ACC_U, NULL);
	sguest_store(v, PD, 0);
	sguest_store(v, ROOT + 16, PDPT | USER);
	must_eq(sguest_touch(v, other + MIB2, ACC_R | ACC_U, NULL), DATA + 5);
	sguest_store(v, PD, PT | USER);
	sguest_touch(v, 0x3000, ACC_R | ACC_U, NULL);
	must_eq(sguest_faults(v, other + 0x2000, ACC_R | ACC_U), 0);
	must_eq(-gmem_move(v->gmem, DATA + 2, 0), 0);
	must(shadowed_check(v));
	sguest_done(v);
}
END_TEST

/* What if address spaces are switched? Each keeps its shadow; common tables are shadowed once. */
START_TEST(roots_are_cached)
{
	struct shadowed *v = sguest_boot(false);
	uint64_t made;

	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	made = v->c.shadow_pages_made;
	sguest_event(v, GUEST_CR3, ROOT2);
	must_eq(sguest_faults(v, 0, ACC_R | ACC_U), 1); /* the root's link alone */
	must_eq(v->c.shadow_pages_made, made + 1);
	sguest_event(v, GUEST_CR3, ROOT);
	must_eq(sguest_faults(v, 0, ACC_R | ACC_U), 0);
	sguest_event(v, GUEST_CR3, ROOT2);
	must_eq(sguest_faults(v, 0, ACC_R | ACC_U), 0);
	must(v->c.shadow_pages_found >= 3);
	/* The other vCPU stands on ROOT. */
	must_eq(shadowed_access(v, 1, 0, ACC_R | ACC_U).faults, 0);
	sguest_done(v);
}
END_TEST

/* What if CR3 leads out of memory? The guest cannot go on, the VMM can. */
START_TEST(cr3_nowhere)
{
	struct shadowed *v = sguest_boot(false);
	struct shadowed_result r;

	sguest_touch(v, 0, ACC_R | ACC_U, NULL);
	sguest_event(v, GUEST_CR3, 0x000ffffffffff000ull);
	r = shadowed_access(v, 0, 0, ACC_R | ACC_U);
	must_eq(r.verdict, PAGING_FAIL);
	must_eq(-r.err, EFAULT);
	sguest_event(v, GUEST_CR3, ROOT);
	must_eq(sguest_faults(v, 0, ACC_R | ACC_U), 0);
	sguest_store(v, PT, (uint64_t)NPAGES * 4096 | USER);
	r = shadowed_access(v, 0, 0, ACC_R | ACC_U);
	must_eq(-r.err, EFAULT);
	sguest_done(v);
}
END_TEST

/* What if one table is reached with different rights, or under another mode? One shadow page for each role. */
START_TEST(roles)
{
	struct shadowed *v = sguest_boot(false);
	struct shadowed_result r;

	sguest_touch(v, 0, ACC_W | ACC_U, NULL);
	shadowed_poke(v, PD + 8, PT | PTE_P | PTE_U); /* the same table, read-only */
	must_eq(sguest_touch(v, MIB2, ACC_R | ACC_U, NULL), DATA);
	must_eq(shadowed_access(v, 0, MIB2, ACC_W | ACC_U).error, PF_P | PF_W | PF_U);
	must_eq(v->c.shadow_pages_made, 5);
	/* CR0.WP = 0: the kernel may write it, the user still may not, nor lose it. */
	v->regs[0].cr0 &= ~CR0_WP;
	sguest_event(v, GUEST_MODE, 0);
	must_eq(sguest_touch(v, MIB2, ACC_W, NULL), DATA);
	must_eq(sguest_touch(v, MIB2, ACC_R | ACC_U, NULL), DATA);
	r = shadowed_access(v, 0, MIB2, ACC_W | ACC_U);
	must_eq(r.verdict, PAGING_INJECT);
	/* ... and under SMEP what became a supervisor page is not executable to the kernel. */
	v->regs[0].cr4 |= CR4_SMEP;
	sguest_event(v, GUEST_MODE, 0);
	must_eq(sguest_touch(v, MIB2, ACC_W, NULL), DATA);
	must_eq(shadowed_access(v, 0, MIB2, ACC_X).error, PF_P | PF_I);
	/* No NX: bit 63 is reserved. */
	v->regs[0].efer &= ~EFER_NX;
	sguest_event(v, GUEST_MODE, 0);
	shadowed_poke(v, PT + 120, (DATA + 15) * 4096ull | USER | PTE_NX);
	must_eq(shadowed_access(v, 0, 0xf000, ACC_R | ACC_U).error, PF_P | PF_U | PF_RSVD);
	sguest_done(v);
}
END_TEST

/* What if paging is off? Addresses are physical. */
START_TEST(paging_off)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;

	cfg.level = 2;
	v = sguest_boot_with(&cfg);
	v->regs[0].cr0 = CR0_PE;
	sguest_event(v, GUEST_MODE, 0);
	must_eq(sguest_touch(v, (DATA + 700) * 4096ull, ACC_W, NULL), DATA + 700);
	must_eq(sguest_touch(v, 0x7000, ACC_R, NULL), 7);
	must_eq(-shadowed_access(v, 0, (uint64_t)NPAGES * 4096, ACC_R).err, EFAULT);
	v->regs[0].cr0 |= CR0_PG | CR0_WP;
	sguest_event(v, GUEST_MODE, 0);
	must_eq(sguest_touch(v, 0x7000, ACC_R | ACC_U, NULL), DATA + 7);
	sguest_done(v);
}
END_TEST

/* What if a table is written again and again without use? Zapped at the limit; any use in between starts anew. */
START_TEST(flood)
{
	struct shadowed *v = sguest_boot(false);

	for (unsigned i = 0; i < 6; i++) {
		sguest_touch(v, i * 0x1000ull, ACC_R | ACC_U, NULL);
		must_eq(sguest_store(v, PT + 2048 + 8 * i, 0), PAGING_EMULATE);
	}
	must_eq(v->c.shadow_floods, 0);
	sguest_store(v, PT + 2048, 1);
	must_eq(sguest_store(v, PT + 2048, 2), PAGING_EMULATE);
	must_eq(v->c.shadow_floods, 1);
	must_eq(sguest_store(v, PT + 2048, 3), PAGING_RETRY);
	must_eq(v->c.shadow_pages_zapped, 1);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA);
	must_eq(sguest_store(v, PT + 2048, 4), PAGING_EMULATE); /* a table again */
	/* A root in use may go, too. */
	for (unsigned i = 0; i < 4; i++)
		sguest_store(v, ROOT + 2048, i << 1);
	must_eq(sguest_touch(v, 0, ACC_R | ACC_U, NULL), DATA);
	sguest_done(v);
}
END_TEST

/* What if tables would need more than the bound? The least recently used go, what is in use stays. */
START_TEST(limit)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;
	unsigned n = 60;

	cfg.limit = 1; /* at least 16 */
	v = sguest_boot_with(&cfg);
	for (unsigned i = 0; i < n; i++) {
		shadowed_poke(v, PD + 8 * (i + 8), (FREE + i * 4096ull) | USER);
		shadowed_poke(v, FREE + i * 4096ull, (DATA + i) * 4096ull | USER);
	}
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < n; i++) {
			must_eq(sguest_touch(v, (i + 8) * MIB2, ACC_R | ACC_U, NULL), DATA + i);
			must(v->paging->ops->table_frames(v->paging) <= 17);
			must_eq(sguest_faults(v, (i + 8) * MIB2, ACC_R | ACC_U), 0);
		}
	must(v->c.shadow_evictions > 2 * n - 20 && v->c.shadow_evictions < 4 * n);
	sguest_done(v);
}
END_TEST

/* What if the host has no frame left? Old tables make room; when none is left, the error says so. */
START_TEST(host_full)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;
	hfn_t hfn;
	int err = 0;

	v = sguest_boot_with(&cfg);
	for (unsigned i = 0; i < 16; i++)
		sguest_touch(v, i * 0x1000ull, ACC_R | ACC_U, NULL);
	sguest_touch(v, DIRECT, ACC_R, NULL);
	while (frames_alloc(v->frames, 1, 0, false, FRAME_OWNER(FRAME_TABLE, 9, 0), &hfn) == 0)
		;
	shadowed_poke(v, PD + 8, PT2 | USER);
	shadowed_poke(v, PT2, (DATA + 1) * 4096ull | USER);
	must_eq(sguest_touch(v, MIB2, ACC_R | ACC_U, NULL), DATA + 1);
	must(v->c.shadow_evictions > 0);
	/* What eviction freed serves the guest's pages for a while. */
	for (unsigned i = 0; i < 64 && !err; i++)
		err = shadowed_access(v, 0, DIRECT + (DATA + 99 + i) * 4096ull, ACC_R).err;
	must_eq(-err, ENOMEM);
	sguest_done(v);
}
END_TEST

/* What if gmem takes, moves or protects a page? Every entry follows; the next touch finds the new state. */
START_TEST(backing_changes)
{
	struct shadowed *v = sguest_boot(false);
	struct gmem_page page;

	sguest_touch(v, 0, ACC_W | ACC_U, NULL);
	sguest_touch(v, DIRECT + DATA * 4096ull, ACC_W, NULL); /* the same page twice */
	must_eq(-gmem_move(v->gmem, DATA, 0), 0);
	must(!sguest_mapped(v, 0, ACC_R | ACC_U) && !sguest_mapped(v, DIRECT + DATA * 4096ull, ACC_R));
	must_eq(sguest_touch(v, 0, ACC_W | ACC_U, NULL), DATA);
	must_eq(-gmem_release(v->gmem, DATA), 0);
	must(!sguest_mapped(v, 0, ACC_R | ACC_U));
	must_eq(sguest_touch(v, 0, ACC_W | ACC_U, NULL), DATA);
	must_eq(v->c.faults_absent, 2);
	must(gmem_test_clear_young(v->gmem, DATA));
	must(!gmem_test_clear_young(v->gmem, DATA));
	must_eq(sguest_faults(v, 0, ACC_R | ACC_U), 1);
	must_eq(v->c.faults_young, 1);
	must_eq(-gmem_dirty_log_start(v->gmem), 0);
	must(!sguest_mapped(v, 0, ACC_W | ACC_U));
	must_eq(sguest_faults(v, 0, ACC_W | ACC_U), 1);
	must_eq(v->c.dirty_log_writes, 1);
	gmem_dirty_log_stop(v->gmem);
	must_eq(gmem_lookup(v->gmem, DATA, &page), 0);
	must_eq(v->c.faults_spurious, 0);
	sguest_done(v);
}
END_TEST

/* What if a page that holds a table, outside the arena, is taken? Its shadow goes with it. */
START_TEST(table_taken)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;
	gpa_t far = (DATA + 100) * 4096ull;

	cfg.unsync = true;
	v = sguest_boot_with(&cfg);
	shadowed_poke(v, PD + 8, far | USER);
	shadowed_poke(v, far, DATA * 4096ull | USER);
	must_eq(sguest_touch(v, MIB2, ACC_R | ACC_U, NULL), DATA);
	must_eq(sguest_store(v, far + 8, 0), PAGING_EMULATE); /* traced: only arena tables go out of sync */
	must_eq(-gmem_release(v->gmem, DATA + 100), 0);
	must(shadowed_check(v));
	must_eq(shadowed_access(v, 0, MIB2, ACC_R | ACC_U).verdict, PAGING_INJECT);
	sguest_done(v);
}
END_TEST

/* What if a fault comes for an entry that is right already? It is counted and harmless. */
START_TEST(spurious)
{
	struct shadowed *v = sguest_boot(false);
	struct paging_fault f = { .gva = 0x2000, .error = PF_U };
	int err;

	sguest_touch(v, 0x2000, ACC_R | ACC_U, NULL);
	must_eq(v->paging->ops->fault(v->paging, &f, &err), PAGING_RETRY);
	must_eq(v->c.shadow_spurious, 1);
	must_eq(v->c.shadow_fills, 1);
	sguest_done(v);
}
END_TEST

/* What if the guest has five levels? */
START_TEST(five_levels)
{
	struct shadowed_config cfg = sguest_plain;
	struct shadowed *v;

	cfg.levels = 5;
	v = shadowed_new(&cfg);
	v->regs[0].cr3 = 0x1000;
	v->regs[0].cr4 |= CR4_LA57;
	for (unsigned i = 1; i < 5; i++)
		shadowed_poke(v, i * 4096 + 511 * 8, (i + 1) * 4096ull | USER);
	shadowed_poke(v, 5 * 4096 + 511 * 8, DATA * 4096ull | USER);
	must_eq(sguest_touch(v, ~0xfffull, ACC_W | ACC_U, NULL), DATA);
	must_eq(-gmem_move(v->gmem, DATA, 0), 0);
	must_eq(sguest_faults(v, ~0xfffull, ACC_W | ACC_U), 1);
	must_eq(v->paging->ops->table_frames(v->paging), 6);
	sguest_done(v);
}
END_TEST

int main(void)
{
	const struct {
		const char *name;
		const TTest *test;
	} tests[] = {
		{ "fill", fill_and_dirty },
		{ "inject", inject },
		{ "trace", traced_write },
		{ "odd", odd_writes },
		{ "invlpg", unsync_and_invlpg },
		{ "cr3", unsync_and_cr3 },
		{ "links", unsync_and_links },
		{ "roots", roots_are_cached },
		{ "nowhere", cr3_nowhere },
		{ "roles", roles },
		{ "off", paging_off },
		{ "flood", flood },
		{ "limit", limit },
		{ "full", host_full },
		{ "backing", backing_changes },
		{ "taken", table_taken },
		{ "spurious", spurious },
		{ "five", five_levels },
		{ "second path", second_path },
	};
	Suite *suite = suite_create("shadow");

	for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
		TCase *tc = tcase_create(tests[i].name);

		tcase_set_timeout(tc, 60);
		tcase_add_test(tc, tests[i].test);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
