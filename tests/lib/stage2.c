/* SPDX-License-Identifier: MIT */
/* stage2.c - see stage2.h */
#include "tests/lib/stage2.h"

#include "tests/lib/must.h"

/* Two formats: SDM vol. 3C tables 28-3 to 28-7; APM vol. 2 section 5.4 (NPT uses the long-mode format). */
struct bits {
	uint64_t present, write, large, accessed, dirty;
};
static const struct bits ept_bits = { .present = 7, .write = 2, .large = 1 << 7, .accessed = 1 << 8, .dirty = 1 << 9 };
static const struct bits npt_bits = { .present = 1, .write = 2, .large = 1 << 7, .accessed = 1 << 5, .dirty = 1 << 6 };

static struct stage2 *stage2_now; /* whose TLB the machine's flush means: tests run one at a time */

static void stage2_flush(struct machine *m, unsigned vm, enum flush_kind kind, uint64_t start, uint64_t n)
{
	struct stage2 *s = stage2_now;

	(void)m, (void)vm;
	s->machine->flushes[kind]++;
	must(kind == FLUSH_GPA);
	if (n > 4096) {
		g_hash_table_remove_all(s->tlb);
		return;
	}
	for (uint64_t i = 0; i < n; i++)
		g_hash_table_remove(s->tlb, GSIZE_TO_POINTER(start + i));
}

struct stage2 *stage2_new(const struct stage2_config *cfg)
{
	struct stage2 *s = g_new0(struct stage2, 1);
	struct gmem_config gc = {
		.vm = 3, .npages = cfg->npages, .arena_pages = cfg->arena_pages, .level = cfg->level,
	};
	struct paging_config pc = { .nvcpus = 1, .guest_levels = 4, .host_levels = cfg->levels, .maxphyaddr = 46,
				    .max_leaf = cfg->max_leaf, .npt = cfg->npt, .ad_bits = cfg->ad_bits,
				    .pml = cfg->pml };

	s->cfg = *cfg;
	s->frames = frames_new(cfg->host_pages, 2);
	s->machine = fake_machine_new(cfg->host_pages);
	s->ops = *s->machine->base.ops;
	s->ops.flush = stage2_flush;
	s->machine->base.ops = &s->ops;
	s->tlb = g_hash_table_new(g_direct_hash, g_direct_equal);
	stage2_now = s;
	s->gmem = gmem_new(&gc, s->frames, &s->machine->base, &s->c, NULL);
	must(s->gmem);
	pc.gmem = s->gmem;
	s->paging = ept_paging_ops.create(&pc);
	must(s->paging);
	gmem_set_paging(s->gmem, s->paging);
	return s;
}

void stage2_free(struct stage2 *s)
{
	s->paging->ops->destroy(s->paging);
	gmem_free(s->gmem);
	must_eq(frames_used(s->frames), 0);
	fake_machine_free(s->machine);
	frames_free(s->frames);
	g_hash_table_unref(s->tlb);
	g_free(s);
}

static const struct bits *stage2_bits(const struct stage2 *s)
{
	return s->cfg.npt ? &npt_bits : &ept_bits;
}

uint64_t *stage2_entry(struct stage2 *s, gpa_t gpa, unsigned *level)
{
	const struct bits *b = stage2_bits(s);
	hpa_t table;
	uint64_t *e;

	must(!s->paging->ops->hw_root(s->paging, 0, &table));
	for (*level = s->cfg.levels;; --*level) {
		e = (uint64_t *)(frames_bytes(s->frames) + table) + (gpa >> (12 + 9 * (*level - 1)) & 511);
		if (!(*e & b->present) || *level == 1 || *e & b->large)
			return e;
		table = *e & 0xffffffffff000;
	}
}

bool stage2_mapped(struct stage2 *s, gpa_t gpa, bool write)
{
	unsigned level;
	uint64_t e = *stage2_entry(s, gpa, &level);

	return e & stage2_bits(s)->present && (!write || e & stage2_bits(s)->write);
}

void stage2_drain(struct stage2 *s)
{
	ept_pml_drain(s->paging, s->pml, s->npml);
	s->npml = 0;
}

static bool stage2_walk(struct stage2 *s, gpa_t gpa, bool write, hfn_t *hfn)
{
	const struct bits *b = stage2_bits(s);
	bool ad = s->cfg.npt || s->cfg.ad_bits;
	unsigned level;
	uint64_t *e = stage2_entry(s, gpa, &level), mask = (1ull << (12 + 9 * (level - 1))) - 1;

	if (!(*e & b->present) || (write && !(*e & b->write)))
		return false;
	if (ad && write && !(*e & b->dirty)) {
		if (s->cfg.pml && s->npml == 512)
			stage2_drain(s);
		*e |= b->dirty;
		if (s->cfg.pml)
			s->pml[s->npml++] = gpa & ~0xfffull;
	}
	if (ad)
		*e |= b->accessed;
	*hfn = ((*e & 0xffffffffff000 & ~mask) | (gpa & mask)) >> 12;
	write = *e & b->write && (!ad || *e & b->dirty);
	g_hash_table_insert(s->tlb, GSIZE_TO_POINTER(gpa >> 12), GSIZE_TO_POINTER(*hfn << 1 | write));
	return true;
}

int stage2_access(struct stage2 *s, gpa_t gpa, bool write, hfn_t *hfn)
{
	gpointer hit;
	int err;

	for (int tries = 0; tries < 3; tries++) {
		struct paging_fault f = { .gpa = gpa, .error = write ? PF_W : 0, .second_stage = true };

		if (g_hash_table_lookup_extended(s->tlb, GSIZE_TO_POINTER(gpa >> 12), NULL, &hit) &&
		    (!write || GPOINTER_TO_SIZE(hit) & 1)) {
			*hfn = GPOINTER_TO_SIZE(hit) >> 1;
			return 0;
		}
		if (stage2_walk(s, gpa, write, hfn))
			return 0;
		g_hash_table_remove(s->tlb, GSIZE_TO_POINTER(gpa >> 12)); /* a violation drops its own address */
		if (s->paging->ops->fault(s->paging, &f, &err) == PAGING_FAIL)
			return err;
	}
	ck_abort_msg("gpa %llx: no progress", (unsigned long long)gpa);
	return -1;
}
