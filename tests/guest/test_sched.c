/* SPDX-License-Identifier: MIT */
/* test_sched.c - who runs when in the guest, families of processes, and whole programs */
#include <check.h>

#include "tests/lib/fake_hal.h"
#include "tests/lib/suite.h"

#define PAGES(mib) ((mib)*1024 * 1024ull / PAGE_SIZE)

static struct hal *guest(uint32_t nprocesses, uint64_t timeslice, uint32_t flags)
{
	struct hal *h = fake_new(&(struct fake_config){
		.npages = PAGES(64), .nprocesses = nprocesses, .timeslice = timeslice, .flags = flags });

	ck_assert_ptr_nonnull(h->kernel);
	return h;
}

static uint32_t running(struct hal *h)
{
	struct process *p = kernel_current(h->kernel);

	return p ? p->pid : 0;
}

/* What if several processes want the processor? Each gets its slice in turn. */
START_TEST(round_robin)
{
	struct hal *h = guest(3, 2, 0);

	for (unsigned i = 0; i < 12; i++) {
		ck_assert_uint_eq(running(h), 1 + i / 2 % 3);
		fake_quantum(h);
		fake_check(h);
	}
	ck_assert_uint_eq(h->kernel->counts.switches, 1 + 6);
	fake_op(h, OP_YIELD, 0, 0);
	ck_assert_uint_eq(running(h), 2);
	fake_free(h);
}
END_TEST

/* What if there is nobody to switch to? */
START_TEST(alone)
{
	struct hal *h = guest(1, 1, 0);

	for (unsigned i = 0; i < 5; i++)
		fake_quantum(h);
	fake_op(h, OP_YIELD, 0, 0);
	fake_op(h, OP_WAIT, 0, 0); /* no children: nothing to wait for */
	ck_assert_uint_eq(running(h), 1);
	ck_assert_uint_eq(h->kernel->counts.switches, 1);
	fake_free(h);
}
END_TEST

/* What if processes sleep? They wake in order of time; equal times in order of going to bed. */
START_TEST(sleepers)
{
	struct hal *h = guest(4, 1, 0);
	struct kernel *k = h->kernel;

	ck_assert_uint_eq(kernel_wake_time(k), UINT64_MAX);
	fake_op(h, OP_SLEEP, 0, 500);
	fake_op(h, OP_SLEEP, 0, 300);
	fake_op(h, OP_SLEEP, 0, 300);
	fake_check(h);
	ck_assert_uint_eq(running(h), 4);
	ck_assert_uint_eq(kernel_wake_time(k), 300);
	fake_op(h, OP_SLEEP, 0, UINT64_MAX);
	ck_assert_uint_eq(running(h), 0);
	ck_assert(!kernel_done(k));
	h->now = 299;
	fake_wake(h);
	ck_assert_uint_eq(running(h), 0);
	h->now = 300;
	fake_wake(h);
	ck_assert_uint_eq(running(h), 2);
	ck_assert_uint_eq(kernel_wake_time(k), 500);
	h->now = 600;
	fake_quantum(h); /* also looks who is to wake: but behind those in line */
	fake_check(h);
	ck_assert_uint_eq(running(h), 3);
	fake_op(h, OP_EXIT, 0, 0);
	ck_assert_uint_eq(running(h), 1);
	fake_op(h, OP_EXIT, 0, 0);
	fake_op(h, OP_EXIT, 0, 0);
	ck_assert_uint_eq(running(h), 0);
	ck_assert_uint_lt(kernel_wake_time(k), UINT64_MAX);
	fake_free(h);
}
END_TEST

/* What if a parent waits, and what if it does not? */
START_TEST(families)
{
	struct hal *h = guest(1, 1, 0);

	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_WAIT, 0, 0);
	ck_assert_uint_eq(running(h), 2);
	fake_op(h, OP_FORK, 0, 0); /* pid 4, a grandchild, will be an orphan */
	fake_op(h, OP_EXIT, 0, 0);
	fake_check(h);
	ck_assert_uint_eq(running(h), 3);
	ck_assert_uint_eq(fake_process(h, 4)->parent, NO_PROCESS);
	ck_assert_int_eq(fake_process(h, 1)->state, PROCESS_WAITING);
	fake_op(h, OP_EXIT, 0, 0);
	fake_check(h);
	ck_assert_int_eq(fake_process(h, 1)->state, PROCESS_READY);
	ck_assert_uint_eq(running(h), 4);
	fake_op(h, OP_EXIT, 0, 0);
	ck_assert_uint_eq(running(h), 1);
	fake_op(h, OP_EXIT, 0, 0);
	ck_assert(kernel_done(h->kernel));
	ck_assert_uint_eq(h->kernel->counts.exits, 4);
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if there are more forks than slots? Those too many make no child; PCIDs stay distinct. */
START_TEST(many)
{
	struct hal *h = fake_new(&(struct fake_config){ .npages = PAGES(512), .nprocesses = 1, .flags = BOOT_PCID });
	struct kernel *k = h->kernel;
	bool seen[EXPORT_PROCESSES + 1] = { false };

	for (unsigned i = 0; i < 300; i++)
		fake_op(h, OP_FORK, 0, 0);
	ck_assert_uint_eq(k->nlive, EXPORT_PROCESSES);
	ck_assert_uint_eq(k->counts.forks, EXPORT_PROCESSES - 1);
	ck_assert_uint_eq(k->counts.oom_kills, 0);
	fake_check(h);
	for (unsigned i = 0; i < 100; i++) {
		fake_op(h, OP_EXIT, 0, 0);
		fake_op(h, OP_FORK, 0, 0);
	}
	ck_assert_uint_eq(k->nlive, EXPORT_PROCESSES);
	fake_check(h);
	for (unsigned i = 0; i < EXPORT_PROCESSES; i++) {
		uint32_t pcid = k->process[i].pcid;

		ck_assert(pcid >= 1 && pcid <= EXPORT_PROCESSES && !seen[pcid]);
		seen[pcid] = true;
	}
	while (!kernel_done(k))
		fake_op(h, OP_EXIT, 0, 0);
	fake_check(h);
	fake_free(h);
}
END_TEST

/* What if what processes leave is kept for the digest? Only of those of the beginning, that ended by themselves. */
START_TEST(kept)
{
	struct hal *h = guest(3, 1, BOOT_KEEP);
	struct kernel *k = h->kernel;
	uint64_t all = k->counts.pages_free;

	for (unsigned i = 0; i < 3; i++) {
		fake_op(h, OP_MMAP, PROGRAM_BASE, OP_MAP(10, PROT_R | PROT_W, 1));
		fake_write(h, PROGRAM_BASE, 1 + i);
		fake_op(h, OP_YIELD, 0, 0);
	}
	fake_op(h, OP_FORK, 0, 0);
	fake_op(h, OP_EXIT, 0, 0); /* 1 leaves its page, shared with its child 4 */
	ck_assert(!fake_write(h, PROGRAM_BASE + 4096 * 10, 1)); /* 2 is killed */
	fake_check(h);
	ck_assert_uint_eq(k->counts.pages_free, all - 2);
	fake_op(h, OP_EXIT, 0, 0); /* 3 */
	ck_assert_uint_eq(running(h), 4);
	ck_assert(fake_write(h, PROGRAM_BASE, 5));
	fake_check(h);
	ck_assert_uint_eq(k->counts.pages_free, all - 3);
	fake_op(h, OP_EXIT, 0, 0);
	fake_check(h);
	ck_assert(kernel_done(k));
	ck_assert_uint_eq(k->counts.exits, 4);
	ck_assert_uint_eq(k->counts.pages_free, all - 2);
	ck_assert_int_eq(fake_process(h, 1)->state, PROCESS_DONE);
	ck_assert_uint_eq(*(uint64_t *)fake_peek(h, fake_process(h, 1), PROGRAM_BASE, NULL, NULL), 1);
	ck_assert_uint_eq(*(uint64_t *)fake_peek(h, fake_process(h, 3), PROGRAM_BASE, NULL, NULL), 3);
	ck_assert_ptr_null(fake_process(h, 2));
	fake_free(h);
}
END_TEST

/* What if memory runs out while the dead hold some? They go before the living. */
START_TEST(kept_and_oom)
{
	struct hal *h = fake_new(&(struct fake_config){ .npages = PAGES(16), .nprocesses = 2, .flags = BOOT_KEEP });
	struct kernel *k = h->kernel;
	uint64_t all = k->counts.pages_free;

	for (unsigned n = 0; n < 2; n++) {
		fake_op(h, OP_MMAP, PROGRAM_BASE, OP_MAP(all, PROT_R | PROT_W, 1));
		for (uint64_t i = 0; i < all * 2 / 3; i++)
			ck_assert(fake_write(h, PROGRAM_BASE + i * PAGE_SIZE, i));
		fake_op(h, OP_EXIT, 0, 0);
		fake_check(h);
	}
	ck_assert_uint_eq(k->counts.oom_kills, 0);
	ck_assert_uint_eq(k->counts.exits, 2);
	ck_assert_ptr_null(fake_process(h, 1));
	ck_assert_ptr_nonnull(fake_process(h, 2));
	fake_free(h);
}
END_TEST

static void perform(struct hal *h, const struct op *op)
{
	if (OP_KIND(op) == OP_READ)
		ck_assert(fake_read(h, OP_VA(op), NULL));
	else if (OP_KIND(op) == OP_WRITE)
		ck_assert(fake_read(h, OP_VA(op), NULL) && fake_write(h, OP_VA(op) & PAGE_MASK, op->arg));
	else if (OP_KIND(op) == OP_EXEC)
		ck_assert(fake_fetch(h, OP_VA(op)));
	else
		fake_op(h, OP_KIND(op), OP_VA(op), op->arg);
}

/* As a machine runs a guest: refill the run-time, perform, quantum by quantum. */
static uint64_t run(struct hal *h, uint64_t limit)
{
	const struct script *s = hal_arena(h, SCRIPT_GPA);
	uint64_t n = 0;

	while (!kernel_done(h->kernel) && n < limit) {
		struct process *p = kernel_current(h->kernel);

		if (!p) {
			h->now = kernel_wake_time(h->kernel);
			fake_wake(h);
			continue;
		}
		struct runtime *rt = kernel_runtime(h->kernel, p);
		struct program_world w = { .now_ns = h->now };

		if (rt->pos == rt->n) {
			rt->n = program_next(&rt->program, s, &w, rt->ops, RUNTIME_OPS);
			rt->pos = 0;
		}
		struct op op = rt->ops[rt->pos++];

		perform(h, &op);
		h->now += 100;
		if (++n % 1000 == 0)
			fake_quantum(h);
		if (n % 10007 == 0)
			fake_check(h);
	}
	return n;
}

/* What if real programs run, each generator in turn, two processes with children? */
START_TEST(programs)
{
	struct hal *h = fake_new(&(struct fake_config){ .npages = PAGES(64), .levels = 4 + _i % 2 });
	const struct workload_ops *g = workload_generators[_i];
	struct script *s = hal_arena(h, SCRIPT_GPA);
	uint32_t words = SCRIPT_TABLE;

	s->seed = 5;
	s->nprocesses = 2;
	s->nphases = 2;
	s->phase[0] = (struct phase){ .generator = (uint32_t)_i, .flags = PHASE_MAPS, .npages = 1500,
				      .noperations = 6000, .write_ppm = 300000, .leaf_level = 1 + _i % 2,
				      .think_ns = _i % 3 ? 0 : 5000,
				      .think_every = 1000, .fork_phase = 1 };
	for (unsigned i = 0; g->params && g->params[i].name; i++)
		s->phase[0].param[i] = g->params[i].def;
	s->phase[1] = (struct phase){ .generator = 2, .flags = PHASE_CHILD, .npages = 1500, .noperations = 300,
				      .write_ppm = 500000, .leaf_level = 1 + _i % 2 };
	if (g->flags & WORKLOAD_MAPS) { /* what a child finds mapped is anything */
		s->phase[1].region = LEVEL_PAGES(3);
		s->phase[1].flags |= PHASE_MAPS;
		s->phase[1].npages = 100;
	}
	if (g->prepare)
		g->prepare(&s->phase[0], s->table, &words);
	h->kernel = kernel_boot(h);
	ck_assert_ptr_nonnull(h->kernel);
	run(h, 5000000);
	ck_assert(kernel_done(h->kernel));
	fake_check(h);
	ck_assert_uint_eq(h->kernel->counts.faults_segv, 0);
	ck_assert_uint_eq(h->kernel->counts.oom_kills, 0);
	ck_assert_uint_eq(h->kernel->counts.exits, h->kernel->counts.forks + 2);
	fake_free(h);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("guest scheduler");
	TCase *tc = tcase_create("sched");
	int ngenerators = 0;

	while (workload_generators[ngenerators])
		ngenerators++;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, round_robin);
	tcase_add_test(tc, alone);
	tcase_add_test(tc, sleepers);
	tcase_add_test(tc, families);
	tcase_add_test(tc, many);
	tcase_add_test(tc, kept);
	tcase_add_test(tc, kept_and_oom);
	tcase_add_loop_test(tc, programs, 0, ngenerators);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_run(suite());
}
