/* SPDX-License-Identifier: MIT */
/*
 * The radix engine against a hash table of leaves: random maps, unmaps and splits in every format, with 4 and 5 levels
 * and all leaf sizes; then with so little host memory that tables often cannot be had.
 *
 * The model is a set of leaves by address. A split in the model is 512 insertions, a map over smaller leaves so many
 * removals: nothing of the engine's way of doing it. Addresses come from a few corners of the address space, so that
 * operations meet each other at every level.
 */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "mm/pt.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

struct leaf {
	uint64_t addr, hpa, ad;
	unsigned level, access;
};

struct model {
	struct frames *fr;
	struct pt pt;
	GHashTable *leaves; /* &leaf->addr -> leaf */
	struct rng rng;
	uint64_t failures;
};

static const struct pt_format *const formats[] = { &pt_format_x86, &pt_format_ept, &pt_format_npt };

static void insert(struct model *m, struct leaf leaf)
{
	struct leaf *copy = g_memdup2(&leaf, sizeof(leaf));

	must(g_hash_table_replace(m->leaves, &copy->addr, copy));
}

static struct leaf *find(struct model *m, uint64_t addr)
{
	for (unsigned level = 1; level <= 3; level++) {
		uint64_t base = addr & ~(LEVEL_SIZE(level) - 1);
		struct leaf *l = g_hash_table_lookup(m->leaves, &base);

		if (l && l->level >= level)
			return l;
	}
	return NULL;
}

static void split(struct model *m, const struct leaf *l)
{
	struct leaf part = *l;

	g_hash_table_remove(m->leaves, &part.addr);
	part.level--;
	for (unsigned i = 0; i < 512; i++) {
		insert(m, part);
		part.addr += LEVEL_SIZE(part.level);
		part.hpa += LEVEL_SIZE(part.level);
	}
}

/* Split what reaches across @addr. */
static void cut(struct model *m, uint64_t addr)
{
	struct leaf *l;

	while ((l = find(m, addr)) && l->addr != addr)
		split(m, l);
}

static int64_t remove_range(struct model *m, uint64_t addr, uint64_t size)
{
	GHashTableIter it;
	struct leaf *l;
	int64_t n = 0;

	g_hash_table_iter_init(&it, m->leaves);
	while (g_hash_table_iter_next(&it, NULL, (gpointer *)&l)) {
		if (l->addr - addr < size) {
			g_hash_table_iter_remove(&it);
			n++;
		}
	}
	return n;
}

/* An address near a corner of the tree: high indexes few, low ones anywhere in one table now and then. */
static uint64_t random_addr(struct model *m)
{
	static const unsigned corner[] = { 0, 1, 255, 256, 511 };
	uint64_t addr = 0;

	for (unsigned level = m->pt.levels; level >= 1; level--) {
		uint64_t index = corner[rng_below(&m->rng, level > 3 ? 2 : 5)];

		if (level <= 2 && !rng_below(&m->rng, 4))
			index = rng_below(&m->rng, 512);
		addr |= index << LEVEL_SHIFT(level);
	}
	return addr;
}

static void do_map(struct model *m)
{
	unsigned level = 1 + (unsigned)rng_below(&m->rng, 3), access = ACC_R | (unsigned)rng_below(&m->rng, 16);
	uint64_t mask = LEVEL_SIZE(level) - 1, addr = random_addr(m) & ~mask, old = 1, before;
	hpa_t hpa = (rng_u64(&m->rng) & 0x3fffffffffff) & ~mask;
	struct leaf *l = find(m, addr);
	int err;

	/* Of a larger leaf, the part that a split makes of it. */
	before = l && l->level >= level ? m->pt.fmt->leaf(l->hpa + (addr - l->addr), level, l->access) | l->ad : 0;
	err = pt_map(&m->pt, addr, level, hpa, access, &old);
	if (err) {
		must(err == -ENOMEM);
		m->failures++;
		return;
	}
	must(old == before || (m->failures && old == 0)); /* a split may be left over from a failure */
	while ((l = find(m, addr)) && l->level > level)
		split(m, l);
	remove_range(m, addr, LEVEL_SIZE(level));
	insert(m, (struct leaf){ .addr = addr, .hpa = hpa, .level = level, .access = access });
}

static void do_unmap(struct model *m)
{
	unsigned level = 1 + (unsigned)rng_below(&m->rng, 3);
	uint64_t addr = random_addr(m) & PAGE_MASK, size = (1 + rng_below(&m->rng, 600)) * LEVEL_SIZE(level);
	uint64_t span = LEVEL_SIZE(m->pt.levels + 1);
	int64_t n;

	size = MIN(size, span - addr);
	n = pt_unmap(&m->pt, addr, size);
	if (n < 0) {
		must(n == -ENOMEM);
		m->failures++;
		return;
	}
	cut(m, addr);
	if (addr + size < span)
		cut(m, addr + size);
	must(n == remove_range(m, addr, size) || m->failures);
}

static void do_split(struct model *m)
{
	uint64_t addr = random_addr(m);
	struct leaf *l = find(m, addr);
	int err = pt_split(&m->pt, addr);

	must(err == 0 || err == -ENOMEM || err == -ENOENT);
	must(err == -ENOENT || (l && l->level > 1));
	must(err != -ENOENT || !l || l->level == 1 || m->failures);
	m->failures += err == -ENOMEM;
	if (!err)
		split(m, l);
}

/* The processor touches a page. */
static void do_touch(struct model *m)
{
	uint64_t addr = random_addr(m), bits = m->pt.fmt->accessed;
	struct pt_slot slot = pt_walk(&m->pt, addr, 1);
	struct leaf *l = find(m, addr);

	must((l != NULL) == pt_present(m->pt.fmt, *slot.entry));
	if (!l || l->level != slot.level) /* none, or left split by a failure: the model would mark too much */
		return;
	if (rng_below(&m->rng, 2))
		bits |= m->pt.fmt->dirty;
	*slot.entry |= bits;
	l->ad |= bits;
}

struct check {
	struct model *m;
	bool exact; /* leaves have the model's sizes; else only the same translations */
	uint64_t next, pages;
};

static int check_leaf(struct pt *pt, uint64_t addr, unsigned level, uint64_t *entry, void *ctx)
{
	struct check *c = ctx;
	struct leaf *l = find(c->m, addr);

	must(addr >= c->next);
	c->next = addr + LEVEL_SIZE(level);
	c->pages += LEVEL_PAGES(level);
	must(l && level <= l->level && (!c->exact || level == l->level));
	must_eq(*entry, pt->fmt->leaf(l->hpa + (addr - l->addr), level, l->access) | l->ad);
	must_eq(*entry & pt->fmt->reserved(level, true, 46, true, true), 0);
	return 0;
}

/* Tables reachable, root included; every one but the root must hold something. */
static uint64_t count_tables(const struct pt *pt, hpa_t hpa, unsigned level)
{
	const uint64_t *table = pt_table(pt->frames, hpa);
	uint64_t n = 1;
	bool empty = true;

	must(FRAME_KIND(frames_get(pt->frames, hpa >> PAGE_SHIFT)) == FRAME_TABLE);
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		if (!pt_present(pt->fmt, table[i]))
			continue;
		empty = false;
		if (pt_is_leaf(pt->fmt, table[i], level))
			continue;
		must_eq(table[i] & pt->fmt->reserved(level, false, 46, true, true), 0);
		must_eq(pt->fmt->access(table[i]) & ACC_RWX, ACC_RWX);
		n += count_tables(pt, pt_addr(pt->fmt, table[i], level, false), level - 1);
	}
	must(!empty || hpa == pt->root);
	return n;
}

static void check_all(struct model *m)
{
	struct check c = { .m = m, .exact = !m->failures };
	GHashTableIter it;
	struct leaf *l;
	uint64_t pages = 0;

	must(pt_for_each(&m->pt, 0, LEVEL_SIZE(m->pt.levels + 1), check_leaf, &c) == 0);
	g_hash_table_iter_init(&it, m->leaves);
	while (g_hash_table_iter_next(&it, NULL, (gpointer *)&l))
		pages += LEVEL_PAGES(l->level);
	must_eq(c.pages, pages);
	must_eq(frames_used(m->fr), m->pt.ntables);
	must_eq(count_tables(&m->pt, m->pt.root, m->pt.levels), m->pt.ntables);
}

static void run(unsigned i, uint64_t host_pages, unsigned steps, unsigned check_every)
{
	struct model m = { .fr = frames_new(host_pages, 1) };
	bool tight = host_pages < 1000;

	rng_seed(&m.rng, i);
	m.leaves = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	must(pt_init(&m.pt, formats[i % 3], m.fr, 4 + i / 3 % 2, 1, 0) == 0);
	for (unsigned step = 0; step < steps; step++) {
		unsigned what = (unsigned)rng_below(&m.rng, 100);

		if (what < 45)
			do_map(&m);
		else if (what < 60)
			do_split(&m);
		else if (what < 80)
			do_touch(&m);
		else
			do_unmap(&m);
		if (step % check_every == 0)
			check_all(&m);
	}
	check_all(&m);
	must((m.failures > steps / 100) == tight && (tight || !m.failures));
	must(pt_unmap(&m.pt, 0, LEVEL_SIZE(m.pt.levels + 1)) >= 0);
	must_eq(m.pt.ntables, 1);
	pt_destroy(&m.pt);
	must_eq(frames_used(m.fr), 0);
	g_hash_table_unref(m.leaves);
	frames_free(m.fr);
}

/* What if anything happens in any order, with memory enough? */
START_TEST(test_roomy)
{
	run((unsigned)_i, 1 << 20, 2000, 100);
}
END_TEST

/* What if the host has hardly a frame for tables? Failures leave every translation as it was. */
START_TEST(test_tight)
{
	run((unsigned)_i, 12, 2000, 100);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pt model");
	TCase *t = tcase_create("pt model");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_roomy, 0, 6);
	tcase_add_loop_test(t, test_tight, 0, 6);
	suite_add_tcase(s, t);
	return suite_run(s);
}
