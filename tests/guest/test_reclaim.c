/* SPDX-License-Identifier: MIT */
/*
 * test_reclaim.c - page cache, swap and reclaim of the guest kernel against a naive model of what processes must see
 *
 * The model of a process is an array of pages; a page is anonymous, with contents of its own, or a page of the one file
 * that all share. Memory is too small for them, so pages come and go; requests of the disk end in any order, whenever
 * the test says so. Whatever happens, a process reads what was written last.
 */
#include <check.h>

#include "tests/lib/fake_block.h"
#include "tests/lib/suite.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"

#define NPAGES	 2400 /* the window that processes play in */
#define BASE	 (PROGRAM_BASE - 40 * PAGE_SIZE) /* crooked */
#define FILE_MAX 1500
#define UNMAPPED 0xff
#define NO_FILE	 UINT32_MAX
#define MOST	 5

struct model_page {
	uint8_t prot;
	uint32_t file; /* page of the file, or NO_FILE */
	uint64_t word[2]; /* 0 and 100 */
};

struct model_process {
	uint32_t pid; /* 0: none */
	uint32_t pending; /* page being filled while it waits, + 1 */
	uint64_t base;
	struct model_page page[NPAGES];
};

struct model {
	struct hal *h;
	struct rng rng;
	struct model_process process[EXPORT_PROCESSES];
	uint64_t file[FILE_MAX][2];
	bool roomy; /* memory and swap for all: nobody may be killed */
	bool failing;
	unsigned eager; /* how often requests end, of 40 */
};

static const unsigned words[2] = { 0, 100 };

static struct model_process *model_of(struct model *m, uint32_t pid)
{
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++)
		if (m->process[i].pid == pid)
			return &m->process[i];
	return NULL;
}

static uint64_t *model_words(struct model *m, struct model_page *g)
{
	return g->file == NO_FILE ? g->word : m->file[g->file];
}

/* Forget those that were killed for lack of memory or because the disk failed. */
static void reap(struct model *m)
{
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++) {
		struct model_process *p = &m->process[i];

		if (!p->pid || fake_process(m->h, p->pid))
			continue;
		g_assert(!m->roomy || m->failing);
		p->pid = 0;
	}
}

/* What a process waited in has been done by the time it runs again. */
static void settle(struct model *m, struct model_process *p)
{
	if (p->pending)
		model_words(m, &p->page[p->pending - 1])[1] = pattern_word((struct pattern){ p->base, 0 }, words[1]);
	p->pending = 0;
}

static void start(struct model *m, struct model_process *from, uint32_t pid)
{
	struct model_process *p = model_of(m, 0);

	if (from) {
		*p = *from;
	} else {
		for (unsigned i = 0; i < NPAGES; i++)
			p->page[i].prot = UNMAPPED;
	}
	p->pid = pid;
	p->pending = 0;
}

static bool allowed(const struct model_page *g, unsigned want)
{
	return g->prot != UNMAPPED && g->prot && !(want & ~(g->prot | PROT_R));
}

/* A page where @want is allowed, near the last one more often than not; NPAGES: none found. */
static unsigned pick(struct model *m, const struct model_process *p, unsigned want)
{
	unsigned i = (unsigned)rng_below(&m->rng, NPAGES);

	for (unsigned tries = 0; tries < 60; tries++) {
		if (allowed(&p->page[i], want))
			return i;
		i = rng_below(&m->rng, 3) ? (i + 1) % NPAGES : (unsigned)rng_below(&m->rng, NPAGES);
	}
	return NPAGES;
}

static void access_run(struct model *m, struct model_process *p, unsigned want)
{
	unsigned i = pick(m, p, want), n = rng_below(&m->rng, 4) ? 1 : 1 + (unsigned)rng_below(&m->rng, 60);

	for (; n && i < NPAGES && allowed(&p->page[i], want); n--, i++) {
		unsigned w = (unsigned)rng_below(&m->rng, 2);
		uint64_t va = BASE + i * (uint64_t)PAGE_SIZE + words[w] * 8, value = rng_u64(&m->rng), seen = 0;
		uint64_t *expected = &model_words(m, &p->page[i])[w];

		if (!(want == PROT_W ? fake_write(m->h, va, value) : fake_read(m->h, va, &seen)))
			return; /* it waits for the disk, and did not get to it */
		if (want == PROT_W)
			*expected = value;
		else
			g_assert_cmphex(seen, ==, *expected);
	}
}

static void fill(struct model *m, struct model_process *p)
{
	unsigned i = pick(m, p, PROT_W);
	uint32_t pid = p->pid;
	struct process *q;

	if (i == NPAGES)
		return;
	p->pending = i + 1;
	p->base = PATTERN_BASE(1 + rng_below(&m->rng, PATTERN_FAMILIES - 1), rng_u64(&m->rng));
	fake_op(m->h, OP_FILL, BASE + i * (uint64_t)PAGE_SIZE, p->base);
	q = fake_process(m->h, pid);
	if (q && !q->retry)
		settle(m, p);
}

static void map_call(struct model *m, struct model_process *p, unsigned kind)
{
	static const unsigned prots[] = { 0, PROT_R, PROT_R | PROT_W, PROT_R | PROT_W | PROT_X, PROT_R | PROT_X };
	unsigned first = (unsigned)rng_below(&m->rng, NPAGES), n = 1 + (unsigned)rng_below(&m->rng, 300);
	unsigned prot = rng_below(&m->rng, 3) ? PROT_R | PROT_W : prots[rng_below(&m->rng, G_N_ELEMENTS(prots))];
	uint32_t offset = (uint32_t)rng_below(&m->rng, FILE_MAX);
	uint64_t va = BASE + first * (uint64_t)PAGE_SIZE;

	n = MIN(n, NPAGES - first);
	if (kind == OP_MMAP_FILE)
		n = MIN(n, FILE_MAX - offset);
	if (kind == OP_MMAP_FILE)
		fake_op(m->h, kind, va, OP_MAP_FILE(n, prot, offset));
	else
		fake_op(m->h, kind, va, OP_MAP(n, prot, 1 + rng_below(&m->rng, 2)));
	for (unsigned i = 0; i < n; i++) {
		struct model_page *g = &p->page[first + i];

		if (kind == OP_MPROTECT)
			g->prot = g->prot == UNMAPPED ? UNMAPPED : prot;
		else
			*g = (struct model_page){ .prot = kind == OP_MUNMAP ? UNMAPPED : prot,
						  .file = kind == OP_MMAP_FILE ? offset + i : NO_FILE };
	}
}

static void fork_or_exit(struct model *m, struct model_process *p)
{
	struct kernel *k = m->h->kernel;
	uint32_t pid = k->next_pid, before = k->nlive;

	if (before >= 2 && rng_below(&m->rng, MOST) < before) {
		p->pid = 0;
		fake_op(m->h, OP_EXIT, 0, 0);
		return;
	}
	fake_op(m->h, OP_FORK, 0, 0);
	if (k->nlive > before)
		start(m, p, pid);
}

static void give_way(struct model *m)
{
	switch (rng_below(&m->rng, 3)) {
	case 0:
		fake_op(m->h, OP_YIELD, 0, 0);
		break;
	case 1:
		fake_quantum(m->h);
		break;
	default:
		fake_op(m->h, OP_SLEEP, 0, rng_below(&m->rng, 5000));
		break;
	}
}

static void idle(struct model *m)
{
	uint64_t wake = kernel_wake_time(m->h->kernel);

	if (fake_disk_run(m->h, 1 + (unsigned)rng_below(&m->rng, 4)))
		return;
	g_assert(wake != UINT64_MAX);
	m->h->now = wake;
	fake_wake(m->h);
}

static void step(struct model *m)
{
	static const unsigned calls[] = { OP_MMAP, OP_MMAP_FILE, OP_MMAP_FILE, OP_MUNMAP, OP_MPROTECT, OP_MPROTECT };
	struct process *current = kernel_current(m->h->kernel);
	struct model_process *p;
	unsigned what = (unsigned)rng_below(&m->rng, 40);

	m->h->now += 100;
	if (!current) {
		idle(m);
	} else {
		p = model_of(m, current->pid);
		g_assert(p && !current->retry);
		settle(m, p);
		if (what < 13)
			access_run(m, p, PROT_R);
		else if (what < 26)
			access_run(m, p, PROT_W);
		else if (what < 30)
			fill(m, p);
		else if (what < 33)
			map_call(m, p, calls[rng_below(&m->rng, G_N_ELEMENTS(calls))]);
		else if (what < 34)
			fork_or_exit(m, p);
		else
			give_way(m);
	}
	reap(m);
	if (rng_below(&m->rng, 40) < m->eager)
		fake_disk_run(m->h, 1 + (unsigned)rng_below(&m->rng, 3));
	reap(m);
}

static void compare_process(struct model *m, struct model_process *p)
{
	struct process *q = fake_process(m->h, p->pid);

	g_assert(q);
	for (unsigned i = 0; i < NPAGES; i++) {
		struct model_page *g = &p->page[i];
		uint64_t *bytes = (uint64_t *)fake_peek(m->h, q, BASE + i * (uint64_t)PAGE_SIZE, NULL, NULL);

		g_assert(!bytes || g->prot != UNMAPPED);
		if (g->prot == UNMAPPED || g->file != NO_FILE || p->pending == i + 1)
			continue;
		for (unsigned w = 0; w < 2; w++)
			g_assert_cmphex(bytes ? bytes[words[w]] : 0, ==, g->word[w]);
	}
}

/* Everything that processes and the file hold is what the model says. */
static void compare(struct model *m)
{
	bool pending[FILE_MAX] = { false };

	for (unsigned n = 0; n < EXPORT_PROCESSES; n++) {
		struct model_process *p = &m->process[n];

		if (!p->pid)
			continue;
		compare_process(m, p);
		if (p->pending && p->page[p->pending - 1].file != NO_FILE)
			pending[p->page[p->pending - 1].file] = true;
	}
	for (unsigned i = 0; i < FILE_MAX; i++) {
		uint64_t *bytes = (uint64_t *)fake_disk_bytes(m->h, m->h->kernel->mem.index[i], i);

		for (unsigned w = 0; w < 2 && !pending[i]; w++)
			g_assert_cmphex(bytes[words[w]], ==, m->file[i][w]);
	}
	fake_check(m->h);
}

static void end_all(struct model *m)
{
	while (!kernel_done(m->h->kernel)) {
		if (kernel_current(m->h->kernel))
			fake_op(m->h, OP_EXIT, 0, 0);
		else
			idle(m);
	}
	while (fake_disk_run(m->h, 8))
		;
	fake_check(m->h);
}

static struct model *model_new(unsigned i, uint64_t npages, uint64_t swap_pages, unsigned eager)
{
	struct model *m = g_new0(struct model, 1);

	rng_seed(&m->rng, 500 + i);
	m->eager = eager;
	for (unsigned f = 0; f < FILE_MAX; f++)
		m->file[f][0] = f + 1;
	m->h = fake_new(&(struct fake_config){ .npages = npages,
					       .arena_end = HEAP_MIN_GPA + 2 * LEVEL_SIZE(2),
					       .nprocesses = 2,
					       .levels = 4 + i / 2 % 2,
					       .flags = i % 3 ? BOOT_PCID : 0,
					       .swappiness = i % 5 * 50,
					       .disk = fake_disk_new(FILE_MAX, swap_pages, 900 + i) });
	g_assert(m->h->kernel);
	start(m, NULL, 1);
	start(m, NULL, 2);
	return m;
}

static void model_free(struct model *m)
{
	fake_disk_free(m->h->disk);
	fake_free(m->h);
	g_free(m);
}

/* What if memory is short, but swap is there for all? */
START_TEST(random_roomy)
{
	struct model *m = model_new(_i, 2048 + 700 + _i * 40, 40000, 1 + _i * 3 % 14);
	struct kernel *k = m->h->kernel;

	m->roomy = true;
	for (unsigned i = 0; i < 9000; i++) {
		step(m);
		if (i % 500 == 0)
			compare(m);
	}
	compare(m);
	if (k->mem.swappiness) {
		ck_assert_uint_gt(k->counts.swap_outs, 50);
		ck_assert_uint_gt(k->counts.swap_ins, 50);
	}
	ck_assert_uint_gt(k->counts.faults_major, 100);
	ck_assert_uint_gt(k->counts.faults_minor, 100);
	ck_assert_uint_gt(k->counts.writebacks, 10);
	ck_assert_uint_eq(k->counts.oom_kills, 0);
	end_all(m);
	ck_assert_uint_eq(k->counts.pages_swapped, 0);
	ck_assert_uint_eq(k->counts.pages_free + k->counts.pages_cache, k->alloc.end_gfn - k->alloc.first_gfn);
	model_free(m);
}
END_TEST

/* What if swap is too small, or there is none: somebody has to die? */
START_TEST(random_scarce)
{
	struct model *m = model_new(_i, 2048 + 500, _i % 2 ? 100 + _i : 0, 6);

	for (unsigned i = 0; i < 9000 && !kernel_done(m->h->kernel); i++) {
		step(m);
		if (i % 500 == 0)
			compare(m);
	}
	compare(m);
	ck_assert_uint_eq(m->h->kernel->export->nooms, m->h->kernel->counts.oom_kills);
	if (_i % 2 == 0) {
		ck_assert_uint_gt(m->h->kernel->counts.oom_kills, 0);
		ck_assert_uint_gt(m->h->kernel->export->oom[0].npages, 0);
	}
	end_all(m);
	model_free(m);
}
END_TEST

/* What if the disk fails now and then? Who needs what it cannot read dies, nobody reads anything wrong. */
START_TEST(random_failing)
{
	struct model *m = model_new(_i, 2048 + 700, 40000, 8);

	m->roomy = m->failing = true;
	m->h->disk->failure_ppm = 10000;
	for (unsigned i = 0; i < 9000 && !kernel_done(m->h->kernel); i++) {
		step(m);
		if (i % 500 == 0)
			fake_check(m->h);
	}
	ck_assert_uint_gt(m->h->disk->failures, 0);
	ck_assert_uint_eq(m->h->kernel->counts.io_errors, m->h->disk->failures);
	end_all(m);
	model_free(m);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guest kernel, reclaim");
	TCase *tc = tcase_create("random");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, random_roomy, 0, 12);
	tcase_add_loop_test(tc, random_scarce, 0, 8);
	tcase_add_loop_test(tc, random_scarce, 165, 168); /* took each other's pages for ever, once */
	tcase_add_loop_test(tc, random_failing, 0, 6);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
