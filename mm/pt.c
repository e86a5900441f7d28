/* SPDX-License-Identifier: MIT */
/*
 * pt.c - the radix engine: map, unmap, split and visit, in any format
 *
 * Problem: the VMM builds trees in three formats, with leaves of three sizes, four or five levels deep. Their rules
 * differ in bits, their algorithms do not.
 *
 * Idea: every function is the same descent: take 9 bits of the address, load an entry, ask the format whether it is
 * present and a leaf. A large leaf and a table of smaller leaves are two forms of the same thing, so the only two
 * transformations are *split* (leaf to table, rights and A/D bits kept) and its inverse, mapping a leaf over a table.
 * A range operation first splits what sticks out of the range at either end, the only step that needs memory, and
 * then cannot fail.
 *
 * Structures: the tree itself, in frames of kind TABLE. No count of used entries is kept: whoever has the slot of
 * an entry may write to it, so emptiness is found by looking, beginning at the neighbours of what was removed.
 *
 * Invariants (held by tests/unit/test_pt.c and tests/model/test_pt_model.c, the latter against a hash table):
 *  - ntables is the number of frames that the tree holds, the root included;
 *  - no table is empty but the root, unless somebody cleared entries by hand;
 *  - a translation outside the range of an operation never changes; split changes none at all;
 *  - when pt_unmap() fails, no leaf is gone.
 *
 * Addresses: levels * 9 + 12 bits count; those above (a canonical address's sign) are carried along.
 */
#include "mm/pt.h"

#include <errno.h>
#include <glib.h>

#include "mm/err.h"

/* What one tree spans; addresses above are the same to it. */
static uint64_t pt_span_mask(const struct pt *pt)
{
	return LEVEL_SIZE(pt->levels + 1) - 1;
}

static int table_new(struct pt *pt, hpa_t *hpa)
{
	hfn_t hfn;
	int err = frames_alloc(pt->frames, 1, pt->node, false, FRAME_OWNER(FRAME_TABLE, pt->vm, 0), &hfn);

	if (err)
		return ERR(err);
	pt->ntables++;
	*hpa = hfn << PAGE_SHIFT;
	return 0;
}

static void table_free(struct pt *pt, hpa_t hpa)
{
	pt->ntables--;
	frames_release(pt->frames, hpa >> PAGE_SHIFT, 1);
}

/* Free the table at @hpa, whose entries are of @level, and all below it. */
static void subtree_free(struct pt *pt, hpa_t hpa, unsigned level)
{
	const uint64_t *table = pt_table(pt->frames, hpa);

	for (unsigned i = 0; level > 1 && i < PT_ENTRIES; i++)
		if (pt_present(pt->fmt, table[i]) && !pt_is_leaf(pt->fmt, table[i], level))
			subtree_free(pt, pt_addr(pt->fmt, table[i], level, false), level - 1);
	table_free(pt, hpa);
}

int pt_init(struct pt *pt, const struct pt_format *fmt, struct frames *fr, unsigned levels, unsigned vm, unsigned node)
{
	g_assert(levels == 4 || levels == 5);
	*pt = (struct pt){ .fmt = fmt, .frames = fr, .levels = levels, .vm = vm, .node = node };
	return table_new(pt, &pt->root);
}

void pt_destroy(struct pt *pt)
{
	subtree_free(pt, pt->root, pt->levels);
}

struct pt_slot pt_walk(const struct pt *pt, uint64_t addr, unsigned level)
{
	const struct pt_format *f = pt->fmt;
	uint64_t *table = pt_table(pt->frames, pt->root);

	for (unsigned l = pt->levels;; l--) {
		uint64_t *entry = &table[PT_INDEX(addr, l)];

		if (l == level || !pt_present(f, *entry) || pt_is_leaf(f, *entry, l))
			return (struct pt_slot){ entry, l };
		table = pt_table(pt->frames, pt_addr(f, *entry, l, false));
	}
}

/* Replace the leaf in a slot by a table of leaves. */
static int split_slot(struct pt *pt, struct pt_slot slot)
{
	const struct pt_format *f = pt->fmt;
	uint64_t leaf = *slot.entry, *table;
	hpa_t hpa, first = pt_addr(f, leaf, slot.level, true);
	uint64_t bits = leaf & ~f->addr & ~f->large;
	unsigned below = slot.level - 1;
	int err = table_new(pt, &hpa);

	if (err)
		return err;
	if (below > 1)
		bits |= f->large;
	table = pt_table(pt->frames, hpa);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		table[i] = bits | (first + i * LEVEL_SIZE(below));
	*slot.entry = f->table(hpa);
	if (leaf & f->accessed)
		*slot.entry |= f->accessed;
	return 0;
}

int pt_split(struct pt *pt, uint64_t addr)
{
	struct pt_slot slot = pt_walk(pt, addr, 1);

	if (!pt_present(pt->fmt, *slot.entry) || slot.level == 1)
		return ERR(-ENOENT);
	return split_slot(pt, slot);
}

/* Split until no leaf extends across @addr. */
static int split_at(struct pt *pt, uint64_t addr)
{
	struct pt_slot slot;
	int err = 0;

	for (;;) {
		slot = pt_walk(pt, addr, 1);
		if (err || !(addr & (LEVEL_SIZE(slot.level) - 1)) || !pt_present(pt->fmt, *slot.entry))
			return err;
		err = split_slot(pt, slot);
	}
}

static bool table_empty(const struct pt *pt, const uint64_t *table, unsigned near)
{
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		if (pt_present(pt->fmt, table[(near + i) % PT_ENTRIES]))
			return false;
	return true;
}

/* Remove what lies in [addr, last] from one table; no leaf extends beyond the range. */
static int64_t unmap_table(struct pt *pt, uint64_t *table, unsigned level, uint64_t addr, uint64_t last)
{
	const struct pt_format *f = pt->fmt;
	int64_t n = 0;

	for (;;) {
		uint64_t end = addr | (LEVEL_SIZE(level) - 1), *entry = &table[PT_INDEX(addr, level)], *below;
		hpa_t hpa;

		if (pt_present(f, *entry) && pt_is_leaf(f, *entry, level)) {
			*entry = 0;
			n++;
		} else if (pt_present(f, *entry)) {
			hpa = pt_addr(f, *entry, level, false);
			below = pt_table(pt->frames, hpa);
			n += unmap_table(pt, below, level - 1, addr, MIN(end, last));
			if (table_empty(pt, below, PT_INDEX(addr, level - 1))) {
				*entry = 0;
				table_free(pt, hpa);
			}
		}
		if (end >= last)
			return n;
		addr = end + 1;
	}
}

int pt_map(struct pt *pt, uint64_t addr, unsigned level, hpa_t hpa, unsigned access, uint64_t *old)
{
	const struct pt_format *f = pt->fmt;
	struct pt_slot slot;
	uint64_t was = 0;

	g_assert(level >= 1 && level <= f->max_leaf && !((addr | hpa) & (LEVEL_SIZE(level) - 1)));
	for (;;) {
		hpa_t table;
		int err;

		slot = pt_walk(pt, addr, level);
		if (slot.level == level)
			break;
		if (pt_present(f, *slot.entry)) {
			err = split_slot(pt, slot);
		} else {
			err = table_new(pt, &table);
			if (!err)
				*slot.entry = f->table(table);
		}
		if (err) {
			/* Nothing is mapped here: this only frees the tables just made. */
			if (!pt_present(f, *slot.entry))
				unmap_table(pt, pt_table(pt->frames, pt->root), pt->levels, addr & pt_span_mask(pt),
					    addr & pt_span_mask(pt));
			return err;
		}
	}
	if (pt_present(f, *slot.entry)) {
		if (pt_is_leaf(f, *slot.entry, level))
			was = *slot.entry;
		else
			subtree_free(pt, pt_addr(f, *slot.entry, level, false), level - 1);
	}
	*slot.entry = f->leaf(hpa, level, access);
	if (old)
		*old = was;
	return 0;
}

int64_t pt_unmap(struct pt *pt, uint64_t addr, uint64_t size)
{
	uint64_t mask = pt_span_mask(pt), first = addr & mask;
	int err;

	g_assert(size && !((addr | size) & ~PAGE_MASK) && size - 1 <= mask - first);
	err = split_at(pt, first);
	if (!err && first + size <= mask)
		err = split_at(pt, first + size);
	if (err)
		return err;
	return unmap_table(pt, pt_table(pt->frames, pt->root), pt->levels, first, first + size - 1);
}

struct visit {
	uint64_t sign; /* bits above the tree's span */
	pt_leaf_fn fn;
	void *ctx;
};

static int visit_table(struct pt *pt, uint64_t *table, unsigned level, uint64_t addr, uint64_t last,
		       const struct visit *v)
{
	const struct pt_format *f = pt->fmt;

	for (;;) {
		uint64_t end = addr | (LEVEL_SIZE(level) - 1), *entry = &table[PT_INDEX(addr, level)];
		uint64_t base = addr & ~(LEVEL_SIZE(level) - 1);
		int ret = 0;

		if (pt_present(f, *entry) && pt_is_leaf(f, *entry, level))
			ret = v->fn(pt, base | v->sign, level, entry, v->ctx);
		else if (pt_present(f, *entry))
			ret = visit_table(pt, pt_table(pt->frames, pt_addr(f, *entry, level, false)), level - 1, addr,
					  MIN(end, last), v);
		if (ret || end >= last)
			return ret;
		addr = end + 1;
	}
}

int pt_for_each(struct pt *pt, uint64_t addr, uint64_t size, pt_leaf_fn fn, void *ctx)
{
	uint64_t mask = pt_span_mask(pt), first = addr & mask;
	struct visit v = { .sign = addr & ~mask, .fn = fn, .ctx = ctx };

	g_assert(size && size - 1 <= mask - first);
	return visit_table(pt, pt_table(pt->frames, pt->root), pt->levels, first, first + size - 1, &v);
}
