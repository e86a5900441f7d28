/* SPDX-License-Identifier: MIT */
/* Generators and programs: addresses stay in their regions, streams do not depend on batches, distributions are what
 * they say. */
#include <check.h>
#include <glib.h>
#include <math.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "workloads/pattern.h"
#include "workloads/workload.h"

#define MAX_OPS 100000

/* ck_assert() tells the parent process of every check: too dear for one an operation. */
#define CHECK_OP(cond, i)                                                                                              \
	do                                                                                                             \
		if (!(cond))                                                                                           \
			ck_abort_msg("operation %u: %s", (unsigned)(i), #cond);                                        \
	while (0)

static int generator(const char *name)
{
	for (int i = 0; workload_generators[i]; i++)
		if (!strcmp(workload_generators[i]->name, name))
			return i;
	ck_abort_msg("no generator %s", name);
}

/* A script of one phase of the generator with its default parameters. */
static struct script *script_new(const char *name, uint64_t npages)
{
	struct script *s = g_new0(struct script, 1);
	struct phase *ph = &s->phase[0];
	const struct workload_param *p;

	s->seed = 7;
	s->nprocesses = s->nphases = 1;
	ph->generator = (uint32_t)generator(name);
	p = workload_generators[ph->generator]->params;
	ph->flags = PHASE_MAPS;
	ph->npages = npages;
	ph->leaf_level = 1;
	for (unsigned i = 0; p && p[i].name; i++)
		ph->param[i] = p[i].def;
	if (workload_generators[ph->generator]->flags & WORKLOAD_FILLS)
		ph->content = PATTERN_BASE(PATTERN_TEXT, 0);
	return s;
}

static void prepare(struct script *s, unsigned phase)
{
	struct phase *ph = &s->phase[phase];
	uint32_t n = SCRIPT_TABLE;

	if (workload_generators[ph->generator]->prepare) {
		workload_generators[ph->generator]->prepare(ph, s->table, &n);
		ck_assert_uint_le(n, SCRIPT_TABLE);
		ph->table_words = n;
	}
}

/* The first n operations, in batches of @max, or of changing sizes for max == 0. */
static struct op *run(const struct script *s, uint64_t pid, uint32_t n, uint32_t max)
{
	struct program_world w = { 0 };
	struct op *out = g_new(struct op, n + 300);
	struct program p;
	struct rng rng;

	rng_seed(&rng, 3);
	program_start(&p, s, pid, 0);
	for (uint32_t i = 0; i < n;) {
		uint32_t room = max ? max : (uint32_t)rng_below(&rng, 250) + 1;
		uint32_t got = program_next(&p, s, &w, out + i, room);

		CHECK_OP(got >= 1 && got <= room, i);
		i += got;
	}
	return out;
}

static const char *const all[] = { "sequential", "strided", "uniform", "zipf", "hotcold", "moving",
				  "chase",	"fork",	   "switch",  "mmap", "content", "mix" };

START_TEST(table_is_complete)
{
	guint n = 0;

	for (; workload_generators[n]; n++) {
		const struct workload_param *p = workload_generators[n]->params;
		unsigned k = 0;

		ck_assert_str_eq(workload_generators[n]->name, all[n]);
		for (; p && p[k].name; k++)
			ck_assert(p[k].def >= p[k].min && p[k].def <= p[k].max);
		ck_assert_uint_le(k, PHASE_PARAMS);
	}
	ck_assert_uint_eq(n, G_N_ELEMENTS(all));
}
END_TEST

/* What if a batch ended elsewhere? Not one operation may change; nor between two runs; but for another process all do.
 */
START_TEST(resumable)
{
	g_autofree struct script *s = script_new(all[_i], 5000);
	const uint32_t sizes[] = { 1, 7, 240, 0 };

	s->phase[0].write_ppm = 300000;
	s->phase[0].think_ns = 100;
	s->phase[0].think_every = 33;
	prepare(s, 0);
	g_autofree struct op *want = run(s, 1, 20000, 1000), *other = run(s, 2, 20000, 1000);

	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree struct op *got = run(s, 1, 20000, sizes[i]);

		ck_assert_mem_eq(got, want, 20000 * sizeof(*got));
	}
	ck_assert_mem_ne(other, want, 20000 * sizeof(*want));
}
END_TEST

/* What if the region is a page, or no power of two, or large? Every address lies in it, and what is mapped is what is
 * touched. */
START_TEST(stays_in_region)
{
	static const uint64_t sizes[] = { 1, 2, 3, 17, 511, 4096, 100003, (16ull << 30) / 4096 };

	for (size_t k = 0; k < G_N_ELEMENTS(sizes); k++) {
		g_autofree struct script *s = script_new(all[_i], sizes[k]);
		uint64_t low = PROGRAM_BASE + (5ull << 30), high = low + sizes[k] * 4096;

		s->phase[0].region = (5ull << 30) / 4096;
		s->phase[0].write_ppm = 200000;
		prepare(s, 0);
		g_autofree struct op *ops = run(s, 1, 20000, 240);

		ck_assert_uint_eq(OP_KIND(&ops[0]), OP_MMAP);
		ck_assert_uint_eq(OP_MAP_PAGES(ops[0].arg), sizes[k]);
		for (unsigned i = 0; i < 20000; i++) {
			uint64_t va = OP_VA(&ops[i]);

			if (OP_IS_ACCESS(&ops[i]))
				CHECK_OP(va >= low && va + 8 <= high && va % 8 == 0, i);
			else if (va)
				CHECK_OP(va >= low && va < high && va % 4096 == 0, i);
		}
	}
}
END_TEST

static uint64_t *count_pages(const struct script *s, uint32_t n)
{
	g_autofree struct op *ops = run(s, 1, n, 240);
	uint64_t *count = g_new0(uint64_t, s->phase[0].npages);

	for (uint32_t i = 0; i < n; i++)
		if (OP_IS_ACCESS(&ops[i]) || OP_KIND(&ops[i]) == OP_FILL)
			count[(OP_VA(&ops[i]) - phase_va(&s->phase[0])) / 4096]++;
	return count;
}

START_TEST(covers)
{
	g_autofree struct script *s = script_new(all[_i], 200);
	bool partly = !strcmp(all[_i], "mmap") || !strcmp(all[_i], "moving") || !strcmp(all[_i], "mix");

	prepare(s, 0);
	g_autofree uint64_t *count = count_pages(s, MAX_OPS);
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < 200; i++)
		least = MIN(least, count[i]);
	ck_assert_msg(least > 0 || partly, "%s left out a page", all[_i]);
}
END_TEST

START_TEST(chase_is_one_cycle)
{
	static const uint64_t sizes[] = { 1, 2, 3, 100, 1024, 4097 };

	for (size_t k = 0; k < G_N_ELEMENTS(sizes); k++) {
		g_autofree struct script *s = script_new("chase", sizes[k]);
		g_autofree uint64_t *count = count_pages(s, 1 + 3 * (uint32_t)sizes[k]); /* one mmap, three rounds */
		g_autofree struct op *ops = run(s, 1, 1 + 2 * (uint32_t)sizes[k], 240);

		for (uint64_t i = 0; i < sizes[k]; i++) {
			ck_assert_uint_eq(count[i], 3);
			ck_assert_uint_eq(ops[1 + i].va_kind, ops[1 + sizes[k] + i].va_kind);
		}
	}
}
END_TEST

/* Chi-square per degree of freedom of observed counts against expected ones: near 1; far above it if they differ. */
static double chi_square(const double *seen, const double *want, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (seen[i] - want[i]) * (seen[i] - want[i]) / want[i];
	return sum / (double)n;
}

START_TEST(uniform_distribution)
{
	g_autofree struct script *s = script_new("uniform", 1000);
	g_autofree uint64_t *count = count_pages(s, 1000001);
	double seen[1000], want[1000];

	for (int i = 0; i < 1000; i++) {
		seen[i] = (double)count[i];
		want[i] = 1000;
	}
	ck_assert_double_lt(chi_square(seen, want, 1000), 1.3);
	ck_assert_double_gt(chi_square(seen, want, 1000), 0.7);
}
END_TEST

/*
 * Draws of the generator in rank order (scatter = 0) against the definition, computed naively in floating point: in
 * classes of about equal expected counts, so that head, middle and tail, and places within one bucket, all weigh.
 */
START_TEST(zipf_distribution)
{
	static const struct {
		uint64_t npages, theta;
	} cases[] = { { 100, 990 },     { 5000, 0 },	      { 5000, 500 }, { 77777, 990 },  { 77777, 1000 },
		     { 1 << 20, 990 }, { 1 << 22, 1200 }, { 3, 4000 },   { 1 << 22, 800 } };
	const uint32_t ndraws = 2000000;
	g_autofree struct script *s = script_new("zipf", cases[_i].npages);
	g_autoptr(GArray) want = g_array_new(FALSE, TRUE, sizeof(double)),
			  seen = g_array_new(FALSE, TRUE, sizeof(double));
	double total = 0, class_want = 0, class_seen = 0, theta = (double)cases[_i].theta / 1000;

	s->phase[0].param[0] = cases[_i].theta;
	s->phase[0].param[1] = 0;
	prepare(s, 0);
	g_autofree uint64_t *count = count_pages(s, ndraws + 1);

	for (uint64_t k = 1; k <= cases[_i].npages; k++)
		total += pow((double)k, -theta);
	for (uint64_t k = 1; k <= cases[_i].npages; k++) {
		class_want += ndraws * pow((double)k, -theta) / total;
		class_seen += (double)count[k - 1];
		if (class_want >= 2000 || k == cases[_i].npages) {
			g_array_append_val(want, class_want);
			g_array_append_val(seen, class_seen);
			class_want = class_seen = 0;
		}
	}
	double chi = chi_square((double *)(void *)seen->data, (double *)(void *)want->data, want->len);
	double slack = 4 * sqrt(2.0 / want->len);

	ck_assert_msg(chi < 1 + slack && chi > 1 - slack - 0.2, "theta %g, %u classes: chi2/n = %g", theta, want->len,
		      chi);
}
END_TEST

/* Scattered, the counts are the same ones in another order. */
START_TEST(zipf_scatter)
{
	g_autofree struct script *s = script_new("zipf", 1000);
	uint64_t sorted = 0, plain = 0, moved = 0;

	prepare(s, 0);
	g_autofree uint64_t *scattered = count_pages(s, MAX_OPS);

	s->phase[0].param[1] = 0;
	g_autofree uint64_t *ranked = count_pages(s, MAX_OPS);

	for (int i = 0; i < 1000; i++) {
		sorted += scattered[i] * scattered[i];
		plain += ranked[i] * ranked[i];
		moved += scattered[i] != ranked[i];
	}
	ck_assert_uint_eq(sorted, plain);
	ck_assert_uint_gt(moved, 500);
}
END_TEST

START_TEST(hotcold_shares)
{
	g_autofree struct script *s = script_new("hotcold", 1000);
	uint64_t hot = 0, all_of_them = 0;

	s->phase[0].param[0] = 50000;
	s->phase[0].param[1] = 800000;
	s->phase[0].param[2] = 0;
	g_autofree uint64_t *count = count_pages(s, MAX_OPS);

	for (int i = 0; i < 1000; i++) {
		hot += i < 50 ? count[i] : 0;
		all_of_them += count[i];
	}
	ck_assert_double_eq_tol((double)hot / (double)all_of_them, 0.8, 0.01);
}
END_TEST

START_TEST(moving_window)
{
	g_autofree struct script *s = script_new("moving", 1000);

	s->phase[0].param[0] = 50 * 4096;
	s->phase[0].param[1] = 100;
	g_autofree struct op *ops = run(s, 1, 250001, 240);

	for (uint32_t i = 1; i <= 250000; i++) {
		uint64_t page = (OP_VA(&ops[i]) - PROGRAM_BASE) / 4096, first = (i - 1) / 100 % 1000;

		CHECK_OP((page + 1000 - first) % 1000 < 50, i);
	}
}
END_TEST

START_TEST(strided_and_sequential_order)
{
	g_autofree struct script *s = script_new("strided", 2);

	s->phase[0].param[0] = 1024;
	s->phase[0].param[1] = 512;
	g_autofree struct op *ops = run(s, 1, 20, 3);

	for (uint64_t i = 0; i < 19; i++)
		ck_assert_uint_eq(OP_VA(&ops[1 + i]) - PROGRAM_BASE, i % 8 * 1024 + (i / 8 % 2) * 512);
	s->phase[0].generator = (uint32_t)generator("sequential");
	g_autofree struct op *seq = run(s, 1, 20, 3);

	for (uint64_t i = 0; i < 19; i++)
		ck_assert_uint_eq(OP_VA(&seq[1 + i]) - PROGRAM_BASE, i % 8 * 1024);
}
END_TEST

/* What if churn touched what it had unmapped? A naive map of pages says what is allowed at each step. */
START_TEST(churn)
{
	g_autofree struct script *s = script_new("mmap", 100);
	uint8_t prot[100] = { 0 };
	unsigned unmaps = 0, writes = 0;

	s->phase[0].flags = 0;
	s->phase[0].write_ppm = 900000;
	s->phase[0].param[0] = 7 * 4096;
	g_autofree struct op *ops = run(s, 1, MAX_OPS, 240);

	for (unsigned i = 0; i < MAX_OPS; i++) {
		uint64_t first = (OP_VA(&ops[i]) - PROGRAM_BASE) / 4096, n = OP_MAP_PAGES(ops[i].arg);
		unsigned kind = OP_KIND(&ops[i]);

		if (OP_IS_ACCESS(&ops[i])) {
			CHECK_OP(prot[first] & (kind == OP_WRITE ? PROT_W : PROT_R), i);
			writes += kind == OP_WRITE;
			continue;
		}
		CHECK_OP(n == 7, i);
		for (uint64_t p = first; p < first + n; p++) {
			CHECK_OP((prot[p] == 0) == (kind == OP_MMAP), i);
			prot[p] = kind == OP_MUNMAP ? 0 : (uint8_t)OP_MAP_PROT(ops[i].arg);
		}
		unmaps += kind == OP_MUNMAP;
	}
	ck_assert_uint_gt(unmaps, 1000);
	ck_assert_uint_gt(writes, 10000);
}
END_TEST

START_TEST(duplicates)
{
	g_autofree struct script *s = script_new("content", 64);
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	unsigned common = 0, zeros = 0;

	s->phase[0].flags = 0;
	s->phase[0].param[1] = 10;
	g_autofree struct op *ops = run(s, 1, MAX_OPS, 240);

	for (unsigned i = 0; i < MAX_OPS; i++) {
		CHECK_OP(ops[i].va_kind == OP_MAKE(OP_FILL, PROGRAM_BASE + i % 64 * 4096), i);
		zeros += ops[i].arg == 0;
		if (ops[i].arg && PATTERN_NUMBER(ops[i].arg) < 10)
			common++;
		else if (ops[i].arg)
			CHECK_OP(g_hash_table_add(seen, g_memdup2(&ops[i].arg, 8)), i); /* a fresh content came twice */
	}
	ck_assert_double_eq_tol(common / (double)MAX_OPS, 0.3, 0.01);
	ck_assert_double_eq_tol(zeros / (double)MAX_OPS, 0.05, 0.005);
}
END_TEST

START_TEST(writes_and_stamps)
{
	g_autofree struct script *s = script_new("uniform", 64);
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	unsigned writes = 0;

	s->phase[0].write_ppm = 250000;
	for (uint64_t pid = 1; pid < 4; pid++) {
		g_autofree struct op *ops = run(s, pid, MAX_OPS, 240);

		for (unsigned i = 0; i < MAX_OPS; i++)
			if (OP_KIND(&ops[i]) == OP_WRITE) {
				writes++;
				CHECK_OP(g_hash_table_add(seen, g_memdup2(&ops[i].arg, 8)), i);
			}
	}
	ck_assert_double_eq_tol(writes / (3.0 * MAX_OPS), 0.25, 0.005);
	s->phase[0].stamps = 5;
	g_hash_table_remove_all(seen);
	for (uint64_t pid = 1; pid < 4; pid++) {
		g_autofree struct op *ops = run(s, pid, 10000, 240);

		for (unsigned i = 0; i < 10000; i++)
			if (OP_KIND(&ops[i]) == OP_WRITE)
				g_hash_table_add(seen, g_memdup2(&ops[i].arg, 8));
	}
	ck_assert_uint_eq(g_hash_table_size(seen), 5);
	s->phase[0].write_ppm = 1000000;
	g_autofree struct op *only = run(s, 1, 10000, 240);

	for (unsigned i = 1; i < 10000; i++)
		CHECK_OP(OP_KIND(&only[i]) == OP_WRITE, i);
}
END_TEST

/* Two phases of one region, then a child's, then one of another region: what is mapped when, and how it ends. */
START_TEST(phases)
{
	g_autofree struct script *s = script_new("uniform", 10);
	static const enum op_kind want[] = { OP_MMAP,  OP_FILL, OP_FILL, OP_READ, OP_READ, OP_READ,
					    OP_SLEEP, OP_READ, OP_MMAP, OP_READ, OP_EXIT, OP_EXIT };

	s->nphases = 4;
	for (int i = 1; i < 4; i++)
		s->phase[i] = s->phase[0];
	for (int i = 0; i < 4; i++)
		s->phase[i].noperations = 1;
	s->phase[0].npages = 2;
	s->phase[0].flags |= PHASE_FILLS;
	s->phase[0].content = PATTERN_BASE(PATTERN_TEXT, 0);
	s->phase[1].noperations = 3;
	s->phase[1].think_ns = 5;
	s->phase[1].think_every = 2;
	s->phase[2].flags |= PHASE_CHILD;
	s->phase[3].region = 1 << 18;
	g_autofree struct op *ops = run(s, 1, 12, 240);

	ck_assert_uint_eq(OP_MAP_PAGES(ops[0].arg), 10); /* as large as the largest phase of the region */
	for (size_t i = 0; i < G_N_ELEMENTS(want); i++)
		ck_assert_msg(OP_KIND(&ops[i]) == want[i], "operation %zu is %u", i, OP_KIND(&ops[i]));
	ck_assert_uint_ne(ops[1].arg, ops[2].arg);
}
END_TEST

START_TEST(duration)
{
	g_autofree struct script *s = script_new("uniform", 10);
	struct program_world w = { .now_ns = 1000 };
	struct program p;
	struct op out[10];

	s->phase[0].duration_ns = 500;
	program_start(&p, s, 1, 0);
	ck_assert_uint_eq(program_next(&p, s, &w, out, 10), 1); /* the mapping */
	ck_assert_uint_eq(program_next(&p, s, &w, out, 10), 10);
	w.now_ns = 1499;
	ck_assert_uint_eq(program_next(&p, s, &w, out, 10), 10);
	w.now_ns = 1500;
	ck_assert_uint_eq(program_next(&p, s, &w, out, 10), 1);
	ck_assert_uint_eq(OP_KIND(&out[0]), OP_EXIT);
}
END_TEST

/* A fork storm's parent, and a child copied from it in the middle. */
START_TEST(forked_child)
{
	g_autofree struct script *s = script_new("fork", 10);
	struct program_world w = { 0 };
	struct program parent, child, fresh;
	struct op out[20], other[20];
	static const enum op_kind want[] = { OP_MMAP, OP_READ, OP_READ, OP_FORK, OP_READ, OP_READ,
					    OP_FORK, OP_WAIT, OP_READ, OP_READ, OP_WAIT, OP_EXIT };

	s->nphases = 2;
	s->phase[1] = s->phase[0];
	s->phase[0].param[0] = s->phase[0].param[1] = 2;
	s->phase[0].fork_phase = 1;
	s->phase[0].flags |= PHASE_WAITS;
	s->phase[0].noperations = 9;
	s->phase[1].generator = (uint32_t)generator("uniform");
	s->phase[1].flags |= PHASE_CHILD;
	s->phase[1].noperations = 4;
	s->phase[1].write_ppm = 1000000;
	g_autofree struct op *ops = run(s, 1, 12, 240);

	for (size_t i = 0; i < G_N_ELEMENTS(want); i++)
		ck_assert_uint_eq(OP_KIND(&ops[i]), want[i]);
	ck_assert_uint_eq(ops[3].arg, 1);

	program_start(&parent, s, 1, 0);
	for (int i = 0; i < 4; i++)
		program_next(&parent, s, &w, out, 1);
	child = parent;
	program_fork(&child, s, 2, 1);
	ck_assert_uint_eq(program_next(&child, s, &w, out, 20), 4); /* no OP_MMAP: the region came with the fork */
	ck_assert_uint_eq(OP_KIND(&out[0]), OP_WRITE);
	program_next(&child, s, &w, other, 20);
	ck_assert_uint_eq(OP_KIND(&other[0]), OP_EXIT);

	/* A process started there maps it itself and then does the same: nothing but its pid made the child's stream.
	 */
	program_start(&fresh, s, 2, 1);
	program_next(&fresh, s, &w, other, 20);
	ck_assert_uint_eq(OP_KIND(&other[0]), OP_MMAP);
	program_next(&fresh, s, &w, other, 20);
	ck_assert_mem_eq(out, other, 4 * sizeof(*out));
}
END_TEST

START_TEST(contents)
{
	g_autofree struct script *s = script_new("uniform", 100);
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

	s->phase[0].flags |= PHASE_FILLS;
	s->phase[0].content = PATTERN_BASE(PATTERN_CODE, 0);
	for (uint64_t pid = 1; pid < 4; pid++) {
		g_autofree struct op *ops = run(s, pid, 101, 240);

		for (int i = 1; i <= 100; i++) {
			ck_assert_uint_eq(OP_KIND(&ops[i]), OP_FILL);
			ck_assert_uint_eq(PATTERN_FAMILY(ops[i].arg), PATTERN_CODE);
			ck_assert(g_hash_table_add(seen, g_memdup2(&ops[i].arg, 8)));
		}
	}
	s->phase[0].content = PATTERN_BASE(PATTERN_CODE, 7);
	g_autofree struct op *a = run(s, 1, 101, 240), *b = run(s, 2, 101, 240);

	ck_assert_mem_eq(a, b, 101 * sizeof(*a));
	ck_assert_uint_eq(a[1].arg, a[8].arg);
	ck_assert_uint_ne(a[1].arg, a[7].arg);
}
END_TEST

static uint32_t fake_trace(void *ctx, uint32_t trace, uint64_t *cursor, struct op *out, uint32_t max)
{
	(void)ctx;
	(void)max;
	if (cursor[0] == 3)
		return 0;
	out->va_kind = OP_MAKE(cursor[0] == 0 && !cursor[TRACE_PASS] ? OP_MMAP : OP_WRITE, 4096 * trace);
	out->arg = 0;
	cursor[0]++;
	return 1;
}

START_TEST(trace)
{
	g_autofree struct script *s = script_new("uniform", 1);
	struct program_world w = { .trace = fake_trace };
	struct program p;
	struct op out[8];
	static const enum op_kind want[] = { OP_MMAP, OP_WRITE, OP_WRITE, OP_WRITE, OP_WRITE, OP_WRITE, OP_EXIT };

	s->phase[0].generator = PHASE_TRACE_GENERATOR;
	s->phase[0].flags = 0;
	s->phase[0].param[0] = 9;
	s->phase[0].param[1] = 2;
	program_start(&p, s, 1, 0);
	for (int i = 0; i < 7; i++) {
		ck_assert_uint_eq(program_next(&p, s, &w, &out[i], 1), 1);
		ck_assert_uint_eq(OP_KIND(&out[i]), want[i]);
	}
	ck_assert_uint_ne(out[1].arg, out[2].arg);
	ck_assert_uint_eq(OP_VA(&out[1]), 9 * 4096);
	w.trace = NULL;
	/* A world without traces stops there, and one that has them goes on. */
	program_start(&p, s, 1, 0);
	ck_assert(!program_replays(&p, s));
	ck_assert_uint_eq(program_next(&p, s, &w, out, 1), 0);
	ck_assert(program_replays(&p, s));
	w.trace = fake_trace;
	ck_assert_uint_eq(program_next(&p, s, &w, out, 1), 1);
	ck_assert_uint_eq(OP_KIND(&out[0]), OP_MMAP);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("generators");
	TCase *tc = tcase_create("generators");
	const int n = G_N_ELEMENTS(all);

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, table_is_complete);
	tcase_add_loop_test(tc, resumable, 0, n);
	tcase_add_loop_test(tc, stays_in_region, 0, n);
	tcase_add_loop_test(tc, covers, 0, n);
	tcase_add_test(tc, chase_is_one_cycle);
	tcase_add_test(tc, uniform_distribution);
	tcase_add_loop_test(tc, zipf_distribution, 0, 9);
	tcase_add_test(tc, zipf_scatter);
	tcase_add_test(tc, hotcold_shares);
	tcase_add_test(tc, moving_window);
	tcase_add_test(tc, strided_and_sequential_order);
	tcase_add_test(tc, churn);
	tcase_add_test(tc, duplicates);
	tcase_add_test(tc, writes_and_stamps);
	tcase_add_test(tc, phases);
	tcase_add_test(tc, duration);
	tcase_add_test(tc, forked_child);
	tcase_add_test(tc, contents);
	tcase_add_test(tc, trace);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
