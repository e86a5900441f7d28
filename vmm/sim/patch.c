/* SPDX-License-Identifier: MIT */
/*
 * patch.c - the simulated machine's part in patching
 *
 * Contents of a patched page are kept as those of any slot (swap.c), 16 bytes a page. How large a patch is, is what
 * mm/patch.c really makes of the two pages' bytes; sizes of pairs of patterns are remembered. A host without swap has
 * no compressor; there a page's compressed size is that of its patch against zeros.
 */
#include "mm/patch.h"
#include "vmm/sim/swap.h"
#include "workloads/rng.h"

#define MEMO_ENTRIES 16384u

struct patch_memo {
	struct pattern page, reference;
	unsigned nbytes; /* 0: empty */
};

struct sim_patch {
	struct patcher *patcher;
	struct patch_memo memo[MEMO_ENTRIES];
};

int sim_save_patch(struct machine *m, unsigned vm, gfn_t gfn, hfn_t hfn, hfn_t reference, uint64_t slot)
{
	(void)reference;
	return sim_save(m, vm, gfn, hfn, slot, false);
}

static bool same(struct pattern a, struct pattern b)
{
	return a.base == b.base && a.stamp == b.stamp;
}

static unsigned measure(struct sim *s, hfn_t hfn, hfn_t reference)
{
	uint64_t page[PAGE_SIZE / 8], other[PAGE_SIZE / 8];
	uint8_t patch[PATCH_MAX];

	sim_page_bytes(s, hfn, page);
	sim_page_bytes(s, reference, other);
	return patch_make(s->patch->patcher, other, page, patch);
}

unsigned sim_patched_size(struct machine *m, hfn_t hfn, hfn_t reference)
{
	struct sim *s = (struct sim *)m;
	struct pattern p = s->content[hfn], r = { 0, 0 };
	struct patch_memo *memo;

	if (reference != HFN_NONE)
		r = s->content[reference];
	if (!s->patch) {
		s->patch = g_new0(struct sim_patch, 1);
		s->patch->patcher = patcher_new();
	}
	if (PATTERN_FAMILY(p.base) == PATTERN_BYTES || PATTERN_FAMILY(r.base) == PATTERN_BYTES)
		return measure(s, hfn, reference);
	memo = &s->patch->memo[(rng_mix(p.base) ^ rng_mix(~p.stamp) ^ rng_mix(r.base + r.stamp)) % MEMO_ENTRIES];
	if (!memo->nbytes || !same(memo->page, p) || !same(memo->reference, r))
		*memo = (struct patch_memo){ p, r, measure(s, hfn, reference) };
	return memo->nbytes;
}

void sim_patch_destroy(struct sim *s)
{
	if (!s->patch)
		return;
	patcher_free(s->patch->patcher);
	g_free(s->patch);
}
