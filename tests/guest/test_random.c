/* SPDX-License-Identifier: MIT */
/*
 * test_random.c - random operations of several processes against a naive model of what each must see
 *
 * The model of a process is an array of pages with protection and a few words of contents; fork copies it. After every
 * operation the running process's view is compared where it was touched, after every few hundred all of everybody's.
 */
#include <check.h>

#include "tests/lib/fake_hal.h"
#include "tests/lib/suite.h"
#include "workloads/pattern.h"
#include "workloads/rng.h"

#define NPAGES	   1700 /* the window that processes play in: three large blocks and a bit */
#define BASE	   (PROGRAM_BASE - 40 * PAGE_SIZE) /* crooked */
#define UNMAPPED   0xff
#define NWORDS	   4
#define MOST	   6 /* processes that the test wants at a time */

static const unsigned words[NWORDS] = { 0, 1, 100, 511 };

struct model_page {
	uint8_t prot;
	uint64_t word[NWORDS];
};

struct model_process {
	uint32_t pid; /* 0: none */
	struct model_page page[NPAGES];
};

struct model {
	struct hal *h;
	struct rng rng;
	struct model_process process[EXPORT_PROCESSES];
	bool roomy; /* memory for all of them: nobody may be killed for lack of it */
};

static struct model_process *model_of(struct model *m, uint32_t pid)
{
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++)
		if (m->process[i].pid == pid)
			return &m->process[i];
	return NULL;
}

/* Forget processes that were killed for lack of memory; any other end was forgotten before. */
static void reap(struct model *m)
{
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++) {
		struct model_process *p = &m->process[i];

		if (!p->pid || fake_process(m->h, p->pid))
			continue;
		g_assert(!m->roomy);
		p->pid = 0;
	}
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
}

static bool allowed(const struct model_page *g, unsigned want)
{
	return g->prot != UNMAPPED && g->prot && !(want & ~(g->prot | PROT_R));
}

/* A page to touch: nearly always one where @want is allowed. */
static unsigned pick(struct model *m, const struct model_process *p, unsigned want)
{
	unsigned i = 0;

	for (unsigned tries = 0; tries < 30; tries++) {
		i = (unsigned)rng_below(&m->rng, NPAGES);
		if (allowed(&p->page[i], want) || !rng_below(&m->rng, 3000))
			break;
	}
	return i;
}

static void access_one(struct model *m, struct model_process *p, unsigned want)
{
	unsigned i = pick(m, p, want), w = (unsigned)rng_below(&m->rng, NWORDS);
	uint64_t va = BASE + i * (uint64_t)PAGE_SIZE + words[w] * 8, value = rng_u64(&m->rng), seen = 0;
	uint64_t kills = m->h->kernel->counts.oom_kills;
	bool ok = allowed(&p->page[i], want), alive;

	if (!ok && (m->h->kernel->nlive == 1 || rng_below(&m->rng, 20)))
		return;
	if (want == PROT_W)
		alive = fake_write(m->h, va, value);
	else
		alive = want == PROT_X ? fake_fetch(m->h, va) : fake_read(m->h, va, &seen);
	if (!ok)
		p->pid = 0;
	g_assert(alive == ok || m->h->kernel->counts.oom_kills > kills);
	if (alive && want == PROT_R)
		g_assert_cmphex(seen, ==, p->page[i].word[w]);
	if (alive && want == PROT_W)
		p->page[i].word[w] = value;
}

static void fill(struct model *m, struct model_process *p)
{
	unsigned i = pick(m, p, PROT_W);
	uint64_t base = PATTERN_BASE(1 + rng_below(&m->rng, PATTERN_FAMILIES - 1), rng_u64(&m->rng));

	if (!allowed(&p->page[i], PROT_W))
		return;
	fake_op(m->h, OP_FILL, BASE + i * (uint64_t)PAGE_SIZE, base);
	for (unsigned w = 1; w < NWORDS; w++)
		p->page[i].word[w] = pattern_word((struct pattern){ base, 0 }, words[w]);
}

static void map_call(struct model *m, struct model_process *p, unsigned kind)
{
	static const unsigned prots[] = { 0,	  PROT_R,	   PROT_R | PROT_W, PROT_R | PROT_W | PROT_X,
					  PROT_W, PROT_R | PROT_X };
	unsigned first = (unsigned)rng_below(&m->rng, NPAGES), n = 1 + (unsigned)rng_below(&m->rng, 60);
	unsigned prot = rng_below(&m->rng, 3) ? PROT_R | PROT_W : prots[rng_below(&m->rng, G_N_ELEMENTS(prots))];

	if (!rng_below(&m->rng, 4))
		n = 1 + (unsigned)rng_below(&m->rng, NPAGES);
	n = MIN(n, NPAGES - first);
	fake_op(m->h, kind, BASE + first * (uint64_t)PAGE_SIZE, OP_MAP(n, prot, 1 + rng_below(&m->rng, 2)));
	for (struct model_page *g = &p->page[first]; g < &p->page[first + n]; g++) {
		if (kind == OP_MPROTECT)
			g->prot = g->prot == UNMAPPED ? UNMAPPED : prot;
		else
			*g = (struct model_page){ .prot = kind == OP_MMAP ? prot : UNMAPPED };
	}
}

static void fork_or_exit(struct model *m, struct model_process *p)
{
	struct kernel *k = m->h->kernel;
	uint32_t pid = k->next_pid, before = k->nlive;

	if (before >= 2 && rng_below(&m->rng, MOST) < before) {
		fake_op(m->h, OP_EXIT, 0, 0);
		p->pid = 0;
		return;
	}
	fake_op(m->h, OP_FORK, 0, 0);
	if (k->nlive > before)
		start(m, p, pid);
	else
		g_assert(!m->roomy);
}

static void give_way(struct model *m)
{
	switch (rng_below(&m->rng, 4)) {
	case 0:
		fake_op(m->h, OP_YIELD, 0, 0);
		break;
	case 1:
		fake_quantum(m->h);
		break;
	case 2:
		fake_op(m->h, OP_SLEEP, 0, rng_below(&m->rng, 5000));
		break;
	default:
		fake_op(m->h, OP_WAIT, 0, 0);
		break;
	}
}

static void step(struct model *m)
{
	struct process *current = kernel_current(m->h->kernel);
	struct model_process *p;

	m->h->now += 100;
	if (!current) {
		m->h->now = kernel_wake_time(m->h->kernel);
		fake_wake(m->h);
		return;
	}
	p = model_of(m, current->pid);
	g_assert(p);
	switch (rng_below(&m->rng, 40)) {
	case 0 ... 12:
		access_one(m, p, PROT_R);
		break;
	case 13 ... 25:
		access_one(m, p, PROT_W);
		break;
	case 26:
		access_one(m, p, PROT_X);
		break;
	case 27 ... 30:
		fill(m, p);
		break;
	case 31 ... 32:
		map_call(m, p, OP_MMAP);
		break;
	case 33:
		map_call(m, p, OP_MUNMAP);
		break;
	case 34 ... 35:
		map_call(m, p, OP_MPROTECT);
		break;
	case 36:
		fork_or_exit(m, p);
		break;
	default:
		give_way(m);
		break;
	}
	reap(m);
}

/* Everything that the tables hold is what the model says; what is not there yet is zero. */
static void compare(struct model *m)
{
	for (unsigned n = 0; n < EXPORT_PROCESSES; n++) {
		struct model_process *p = &m->process[n];
		struct process *q = p->pid ? fake_process(m->h, p->pid) : NULL;

		g_assert(!p->pid == !q);
		for (unsigned i = 0; q && i < NPAGES; i++) {
			struct model_page *g = &p->page[i];
			uint64_t *bytes = (uint64_t *)fake_peek(m->h, q, BASE + i * (uint64_t)PAGE_SIZE, NULL, NULL);

			g_assert(!bytes || g->prot != UNMAPPED);
			for (unsigned w = 0; w < NWORDS && g->prot != UNMAPPED; w++)
				g_assert_cmphex(bytes ? bytes[words[w]] : 0, ==, g->word[w]);
		}
	}
	fake_check(m->h);
}

/* Take away all but @npages of what the heap has not used yet. */
static void shrink_heap(struct hal *h, uint64_t npages)
{
	struct heap *heap = &h->kernel->heap;

	heap->nfree = npages;
	heap->end = heap->bump + npages * PAGE_SIZE;
}

/* What if processes do anything at all, with plenty of memory (even) and with too little (odd)? */
START_TEST(random_operations)
{
	struct model *m = g_new0(struct model, 1);
	uint64_t all;

	rng_seed(&m->rng, 100 + _i);
	m->roomy = _i % 2 == 0;
	m->h = fake_new(&(struct fake_config){ .npages = m->roomy ? 128 * 256 : 6 * 256 + 60 + _i * 25,
					       .arena_end = m->roomy ? 0 : HEAP_MIN_GPA + LEVEL_SIZE(2),
					       .nprocesses = 2,
					       .levels = 4 + _i / 2 % 2,
					       .flags = _i % 3 ? BOOT_PCID : 0 });
	ck_assert_ptr_nonnull(m->h->kernel);
	if (_i % 4 == 3)
		shrink_heap(m->h, 30 + _i);
	all = m->h->kernel->counts.pages_free;
	start(m, NULL, 1);
	start(m, NULL, 2);
	for (unsigned i = 0; i < 12000 && !kernel_done(m->h->kernel); i++) {
		step(m);
		if (i % 400 == 0)
			compare(m);
	}
	compare(m);
	while (!kernel_done(m->h->kernel)) {
		if (kernel_current(m->h->kernel)) {
			fake_op(m->h, OP_EXIT, 0, 0);
		} else {
			m->h->now = kernel_wake_time(m->h->kernel);
			fake_wake(m->h);
		}
	}
	fake_check(m->h);
	ck_assert_uint_eq(m->h->kernel->counts.pages_free, all);
	fake_free(m->h);
	g_free(m);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guest kernel, random");
	TCase *tc = tcase_create("random");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, random_operations, 0, 24);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
