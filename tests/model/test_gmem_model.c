/* SPDX-License-Identifier: MIT */
/*
 * gmem against a naive model: several VMs on one host that is too small for them, random operations of every kind.
 *
 * The model keeps, for each page, what a careful reader of gmem.h would write on paper: is it there, what does it
 * contain, how large is its backing, is it watched, is it in the dirty log; and it counts. It knows nothing of frames
 * but how many are in use. After each operation the counters must agree, and now and then everything is compared page
 * by page: state, rights, contents, owner of the frame, and no frame used twice.
 */
#include <check.h>
#include <errno.h>
#include <glib.h>

#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/fake_paging.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

enum { VMS = 3, PAGES = 4096 + 100, NODES = 2 };

struct page {
	bool resident, large, idle, dirty;
	bool touched; /* by a fault or DMA since test_clear_young */
	bool untold[2]; /* a touch that one of the two who ask does not know of yet: reclaimer, observer */
	uint64_t value; /* word 5 */
};

struct vm {
	struct gmem *g;
	struct fake_paging *p;
	struct counters c, want;
	struct gmem_config cfg;
	bool logging, observed;
	struct page page[PAGES];
};

struct world {
	uint64_t host; /* pages */
	uint64_t refused; /* faults, for want of memory */
	struct frames *fr;
	struct fake_machine *fm;
	struct rng rng;
	struct vm vm[VMS];
};

static void world_setup(struct world *w, uint64_t seed, uint64_t host)
{
	static const struct gmem_config cfg[VMS] = {
		{ .vm = 0, .npages = PAGES, .arena_pages = 512, .level = 2, .node = 1 },
		{ .vm = 1, .npages = PAGES, .arena_pages = 0, .level = 1 },
		{ .vm = 700, .npages = PAGES, .arena_pages = 1024, .level = 2 },
	};

	rng_seed(&w->rng, seed);
	w->host = host;
	w->fr = frames_new(host, NODES);
	w->fm = fake_machine_new(host);
	for (unsigned i = 0; i < VMS; i++) {
		struct vm *v = &w->vm[i];

		v->cfg = cfg[i];
		v->g = gmem_new(&cfg[i], w->fr, &w->fm->base, &v->c, NULL);
		must(v->g);
		v->p = fake_paging_new(v->g);
		v->p->pml = i == 2;
	}
}

static void world_teardown(struct world *w)
{
	for (unsigned i = 0; i < VMS; i++) {
		gmem_dirty_log_stop(w->vm[i].g);
		fake_paging_free(w->vm[i].p);
		gmem_free(w->vm[i].g);
	}
	must_eq(frames_used(w->fr), 0);
	fake_machine_free(w->fm);
	frames_free(w->fr);
	g_free(w);
}

/* Every second time from a few hot pages, so that things happen to the same page twice. */
static gfn_t random_gfn(struct world *w)
{
	if (rng_below(&w->rng, 50) == 0)
		return PAGES + rng_below(&w->rng, 10);
	if (rng_below(&w->rng, 2))
		return rng_below(&w->rng, PAGES);
	return 1024 + rng_below(&w->rng, 5) * 512 + rng_below(&w->rng, 16);
}

static bool full(const struct world *w)
{
	return frames_used(w->fr) == w->host;
}

static bool block_absent(const struct vm *v, gfn_t start)
{
	if (start < v->cfg.arena_pages || start + 512 > PAGES)
		return false;
	for (unsigned i = 0; i < 512; i++)
		if (v->page[start + i].resident)
			return false;
	return true;
}

/* gmem says that a fault succeeded on a page that was absent: how many came with it? */
static void model_populate(struct vm *v, gfn_t gfn, enum fault_source src)
{
	uint64_t came = v->c.pages_resident - v->want.pages_resident;
	gfn_t start = came == 512 ? gfn & ~511ull : gfn;

	must(came == 1 || (came == 512 && v->cfg.level >= 2 && block_absent(v, start)));
	for (uint64_t i = 0; i < came; i++)
		v->page[start + i] = (struct page){ .resident = true, .large = came == 512,
						    .dirty = v->page[start + i].dirty };
	v->want.pages_resident += came;
	v->want.faults_prefetch += came - (src != FAULT_PREFETCH);
	v->want.faults_absent += src == FAULT_CPU;
	v->want.faults_dma += src == FAULT_DMA;
}

/* What a fault does to a page; true if anything changed. */
static bool model_fault(struct vm *v, gfn_t gfn, bool write, enum fault_source src)
{
	struct page *p = &v->page[gfn];
	bool changed = !p->resident;

	if (changed)
		model_populate(v, gfn, src);
	if (src == FAULT_PREFETCH)
		return changed;
	if (p->idle) {
		p->idle = false;
		v->want.faults_young++;
		changed = true;
	}
	p->touched = true;
	if (v->logging && write && !p->dirty && !(v->p->pml && src == FAULT_CPU)) {
		p->dirty = true;
		v->want.dirty_log_writes++;
		changed = true;
	}
	return changed;
}

static void expect_error(struct world *w, const struct vm *v, gfn_t gfn, int err)
{
	if (gfn >= PAGES)
		must(err == -EFAULT);
	else
		must(err == -ENOMEM && full(w) && gfn >= v->cfg.arena_pages && !v->page[gfn].resident);
	w->refused += err == -ENOMEM;
}

static void do_access(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w);
	bool write = rng_below(&w->rng, 2), faulted;
	int err = fake_paging_access(v->p, gfn, write ? ACC_W : ACC_R, &faulted);

	if (err) {
		expect_error(w, v, gfn, err);
		return;
	}
	if (gfn < v->cfg.arena_pages)
		return;
	if (faulted && !model_fault(v, gfn, write, FAULT_CPU))
		v->want.faults_spurious++;
	must(faulted || (v->page[gfn].resident && !v->page[gfn].idle));
	if (v->p->pml && v->logging && write && !v->page[gfn].dirty) {
		v->page[gfn].dirty = true;
		v->want.dirty_log_writes++;
	}
}

static void do_dma(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w);
	bool write = rng_below(&w->rng, 2);
	uint64_t value = rng_u64(&w->rng), got = value;
	gpa_t gpa = (gfn << PAGE_SHIFT) + 40;
	int err = write ? gmem_write(v->g, gpa, &value, 8) : gmem_read(v->g, gpa, &got, 8);

	if (err) {
		expect_error(w, v, gfn, err);
		return;
	}
	if (gfn >= v->cfg.arena_pages)
		model_fault(v, gfn, write, FAULT_DMA);
	if (write)
		v->page[gfn].value = value;
	else
		must_eq(got, v->page[gfn].value);
}

static void prefetch(struct world *w, struct vm *v, gfn_t gfn, uint64_t n)
{
	for (; n; n--, gfn++) {
		struct gmem_page page;
		int err = gmem_fault(v->g, gfn, ACC_R, FAULT_PREFETCH, &page);

		if (err)
			expect_error(w, v, gfn, err);
		else if (gfn >= v->cfg.arena_pages)
			model_fault(v, gfn, false, FAULT_PREFETCH);
	}
}

static void do_prefetch(struct world *w, struct vm *v)
{
	prefetch(w, v, random_gfn(w), 1);
}

static void model_shatter(struct vm *v, gfn_t gfn)
{
	if (!v->page[gfn].large)
		return;
	v->want.host_splits++;
	for (unsigned i = 0; i < 512; i++)
		v->page[(gfn & ~511ull) + i].large = false;
}

static void do_release(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w);
	uint64_t n = rng_below(&w->rng, 5) ? 1 : 900;

	for (; n; n--, gfn++) {
		int err = gmem_release(v->g, gfn);

		must(err == (gfn >= PAGES ? -EFAULT : gfn < v->cfg.arena_pages ? -EBUSY : 0));
		if (err || !v->page[gfn].resident)
			continue;
		model_shatter(v, gfn);
		v->want.pages_resident--;
		v->want.pages_released++;
		v->want.dirty_log_writes += v->logging && !v->page[gfn].dirty; /* it reads as zero now */
		v->page[gfn] = (struct page){ .dirty = v->page[gfn].dirty || v->logging };
	}
}

static void do_move(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w);
	unsigned node = (unsigned)rng_below(&w->rng, NODES);
	bool no_room = frames_used_on(w->fr, node) == w->host / NODES;
	struct gmem_page page;
	int err = gmem_move(v->g, gfn, node);

	if (gfn >= PAGES)
		must(err == -EFAULT);
	else if (gfn < v->cfg.arena_pages || !v->page[gfn].resident)
		must(err == -EBUSY);
	else
		must(err == (no_room ? -ENOMEM : 0));
	if (err)
		return;
	model_shatter(v, gfn);
	v->want.pages_moved++;
	must(gmem_lookup(v->g, gfn, &page) == 0 && frames_node(w->fr, page.hfn) == node);
}

static bool block_resident(const struct vm *v, gfn_t start)
{
	for (unsigned i = 0; i < 512; i++)
		if (start + i >= PAGES || !v->page[start + i].resident)
			return false;
	return true;
}

static void do_collapse(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w), start;
	uint64_t moved = v->c.pages_moved;
	int err;

	start = gfn & ~511ull;
	if (rng_below(&w->rng, 2)) /* most blocks lack a page */
		prefetch(w, v, start, 512);
	err = gmem_collapse(v->g, gfn, 2);
	if (gfn >= PAGES)
		must(err == -EFAULT);
	else if (start < v->cfg.arena_pages)
		must(err == -EBUSY);
	else if (!block_resident(v, start))
		must(err == -EAGAIN);
	else
		must(err == 0 || (err == -ENOMEM && frames_used(w->fr) > 0));
	if (err || v->page[start].large)
		return;
	moved = v->c.pages_moved - moved;
	must(moved == 0 || moved == 512);
	v->want.pages_moved += moved;
	v->want.host_collapses++;
	for (unsigned i = 0; i < 512; i++)
		v->page[start + i].large = true;
}

static void do_split(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w);
	int err = gmem_split(v->g, gfn);

	if (gfn >= PAGES)
		must(err == -EFAULT);
	else if (gfn < v->cfg.arena_pages)
		must(err == -EBUSY);
	else
		must(err == (v->page[gfn].large ? 0 : -EAGAIN));
	if (!err)
		model_shatter(v, gfn);
}

/* Two ask, in turn and out of turn; each is told of every touch once. */
static void do_young(struct world *w, struct vm *v)
{
	gfn_t gfn = random_gfn(w);
	bool observer = rng_below(&w->rng, 2);
	bool seen = gfn < PAGES && v->p->map[gfn].access && v->p->map[gfn].accessed;
	bool young = observer ? gmem_observe_young(v->g, gfn) : gmem_test_clear_young(v->g, gfn);
	struct page *p = &v->page[gfn];

	if (gfn >= PAGES || gfn < v->cfg.arena_pages || !p->resident) {
		must(!young);
		return;
	}
	if (!p->idle && (p->touched || seen)) {
		p->untold[0] = true;
		p->untold[1] = v->observed || observer;
	}
	must(young == p->untold[observer]);
	p->untold[observer] = false;
	v->observed |= observer;
	p->touched = false;
	p->idle = true;
}

static void do_log(struct world *w, struct vm *v)
{
	uint64_t bitmap[(PAGES + 63) / 64], n = 0;

	(void)w;
	if (!v->logging) {
		must(gmem_dirty_log_start(v->g) == 0);
		for (gfn_t gfn = 0; gfn < PAGES; gfn++)
			v->page[gfn].dirty = false;
		v->logging = true;
		return;
	}
	must(gmem_dirty_log_start(v->g) == -EBUSY);
	if (rng_below(&w->rng, 4) == 0) {
		gmem_dirty_log_stop(v->g);
		v->logging = false;
		return;
	}
	n = gmem_dirty_log_collect(v->g, bitmap);
	for (gfn_t gfn = 0; gfn < PAGES; gfn++) {
		must_eq(bitmap[gfn / 64] >> (gfn % 64) & 1, v->page[gfn].dirty);
		n -= v->page[gfn].dirty;
		v->page[gfn].dirty = false;
	}
	must_eq(n, 0);
}

static unsigned want_level(const struct vm *v, gfn_t gfn)
{
	if (gfn < v->cfg.arena_pages)
		return v->cfg.level;
	if (!v->page[gfn].large || v->logging)
		return 1;
	for (unsigned i = 0; i < 512; i++)
		if (v->page[(gfn & ~511ull) + i].idle)
			return 1;
	return 2;
}

static void check_page(struct world *w, struct vm *v, gfn_t gfn, uint8_t *used)
{
	const struct page *p = &v->page[gfn];
	bool arena = gfn < v->cfg.arena_pages;
	uint64_t bytes[512];
	struct gmem_page got;
	unsigned access = ACC_RWX;

	must(gmem_lookup(v->g, gfn, &got) == 0 && gmem_peek(v->g, gfn, bytes) == 0);
	must_eq(bytes[5], p->value);
	if (!arena && !p->resident) {
		must(got.state == PAGE_ABSENT && got.hfn == HFN_NONE && got.access == 0 && got.level == 1);
		return;
	}
	must(got.state == PAGE_RESIDENT && got.hfn < w->host && !used[got.hfn]);
	used[got.hfn] = 1;
	must_eq(gmem_gfn_of(v->g, got.hfn), gfn);
	must_eq(frames_owner(w->fr, got.hfn), FRAME_OWNER(arena ? FRAME_ARENA : FRAME_GUEST, v->cfg.vm, gfn));
	if (!arena && v->logging && !p->dirty && !v->p->pml)
		access &= ~ACC_W;
	must_eq(got.access, p->idle ? 0 : access);
	must_eq(got.level, want_level(v, gfn));
	must(got.level == 1 || (got.hfn - gfn) % 512 == 0);
}

/* The gauges of nodes, by where each page's frame is; unless @all, it is enough that their sum is right. */
static void check_nodes(struct vm *v, bool all)
{
	uint64_t on[4] = { 0 };
	struct gmem_page page;

	must_eq(v->c.pages_node0 + v->c.pages_node1 + v->c.pages_node2 + v->c.pages_node3, v->c.pages_resident);
	for (gfn_t gfn = v->cfg.arena_pages; all && gfn < PAGES; gfn++)
		if (v->page[gfn].resident && !gmem_lookup(v->g, gfn, &page))
			on[frames_node(gmem_frames(v->g), page.hfn)]++;
	must(!all || (on[0] == v->c.pages_node0 && on[1] == v->c.pages_node1 && on[2] == v->c.pages_node2));
	v->want.pages_node0 = v->c.pages_node0;
	v->want.pages_node1 = v->c.pages_node1;
	v->want.pages_node2 = v->c.pages_node2;
	v->want.pages_node3 = v->c.pages_node3;
}

static void check_counters(struct vm *v)
{
	check_nodes(v, false);
	v->want.pages_large = 0;
	for (gfn_t gfn = v->cfg.arena_pages; gfn < PAGES; gfn++)
		v->want.pages_large += v->page[gfn].large;
	for (const struct counter_info *i = counter_table; i->name; i++)
		if (counter_get(&v->c, i) != counter_get(&v->want, i))
			ck_abort_msg("vm %u: %s is %llu, %llu wanted", v->cfg.vm, i->name,
				     (unsigned long long)counter_get(&v->c, i),
				     (unsigned long long)counter_get(&v->want, i));
}

static void check_all(struct world *w)
{
	uint8_t *used = g_new0(uint8_t, w->host);
	uint64_t n = 0;

	for (unsigned i = 0; i < VMS; i++) {
		for (gfn_t gfn = 0; gfn < PAGES; gfn++)
			check_page(w, &w->vm[i], gfn, used);
		check_nodes(&w->vm[i], true);
		fake_paging_check(w->vm[i].p);
	}
	for (hfn_t hfn = 0; hfn < w->host; hfn++) {
		n += used[hfn];
		must(used[hfn] || !frames_owner(w->fr, hfn));
	}
	must_eq(frames_used(w->fr), n);
	g_free(used);
}

/* What if anything happens, in any order? */
START_TEST(test_random)
{
	static const struct {
		unsigned weight;
		void (*op)(struct world *w, struct vm *v);
	} ops[] = {
		{ 40, do_access }, { 12, do_dma },  { 10, do_prefetch }, { 12, do_release }, { 6, do_move },
		{ 6, do_collapse }, { 4, do_split }, { 8, do_young },	 { 2, do_log },
	};
	struct world *w = g_new0(struct world, 1);
	bool tight = _i & 1;

	world_setup(w, (uint64_t)_i, tight ? 5 * 1024 : 10 * 1024);
	for (unsigned step = 0; step < 15000; step++) {
		struct vm *v = &w->vm[rng_below(&w->rng, VMS)];
		uint64_t pick = rng_below(&w->rng, 100);
		unsigned i;

		for (i = 0; pick >= ops[i].weight; i++)
			pick -= ops[i].weight;
		ops[i].op(w, v);
		check_counters(v);
		if (step % 300 == 0)
			check_all(w);
	}
	check_all(w);
	must(!tight || w->refused > 100);
	for (unsigned i = 0; !tight && i < VMS; i++) { /* each kind of thing did happen */
		must(w->vm[i].c.host_collapses > 2);
		must(w->vm[i].c.host_splits > 2);
		must(w->vm[i].c.faults_young > 20);
		must(w->vm[i].c.dirty_log_writes && w->vm[i].c.pages_moved && w->vm[i].c.pages_released);
	}
	world_teardown(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem model");
	TCase *t = tcase_create("gmem model");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_random, 0, 6);
	suite_add_tcase(s, t);
	return suite_run(s);
}
