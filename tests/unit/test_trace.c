/* SPDX-License-Identifier: MIT */
/* Trace files: what is written is read back; texts are imported or refused by line; curves are what replays count. */
#include <check.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "mm/replace.h"
#include "tests/lib/run_text.h"
#include "tests/lib/suite.h"
#include "vmm/trace.h"
#include "vmm/trace_feed.h"
#include "vmm/vmm.h"
#include "workloads/guest/abi.h"
#include "workloads/rng.h"

static char *dir, *path;

static void setup(void)
{
	dir = g_dir_make_tmp("overbook-trace-XXXXXX", NULL);
	ck_assert_ptr_nonnull(dir);
	path = g_build_filename(dir, "t.obt", NULL);
}

static void teardown(void)
{
	g_remove(path);
	ck_assert_msg(g_rmdir(dir) == 0, "something was left in %s", dir);
	g_free(path);
	g_free(dir);
}

static void write_trace(const uint64_t *access, size_t n)
{
	GError *error = NULL;
	struct trace_writer *w = trace_create(path, &error);

	ck_assert_ptr_nonnull(w);
	for (size_t i = 0; i < n; i++)
		ck_assert(trace_write(w, access[i] & OP_VA_MASK, access[i] >> 57, &error));
	ck_assert_uint_eq(trace_written(w), n);
	ck_assert_msg(trace_commit(w, &error), "%s", error ? error->message : "");
}

/* A few working places, far jumps, every type, both ends of the address space. */
static GArray *random_accesses(uint64_t seed, size_t n)
{
	GArray *a = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	uint64_t place[12];
	struct rng r;

	rng_seed(&r, seed);
	for (int i = 0; i < 12; i++)
		place[i] = rng_u64(&r) & OP_VA_MASK;
	place[0] = 0;
	place[1] = OP_VA_MASK;
	for (size_t i = 0; i < n; i++) {
		uint64_t at = rng_below(&r, 12), v;

		if (at > 1)
			place[at] = (place[at] + rng_below(&r, 1 << rng_below(&r, 20)) - 16) & OP_VA_MASK;
		v = OP_MAKE(rng_below(&r, 3), place[at]);
		g_array_append_val(a, v);
	}
	return a;
}

static void check_equal(struct trace_reader *r, const GArray *a, uint32_t chunk)
{
	g_autofree uint64_t *out = g_new(uint64_t, chunk);
	guint done = 0;
	uint32_t got;

	while ((got = trace_read(r, out, chunk))) {
		ck_assert_uint_le(done + got, a->len);
		ck_assert(!memcmp(out, &g_array_index(a, uint64_t, done), got * sizeof(*out)));
		done += got;
	}
	ck_assert_ptr_null(trace_error(r));
	ck_assert_uint_eq(done, a->len);
}

START_TEST(roundtrip_of_random_accesses)
{
	static const size_t lengths[] = { 1, 2, 1000, 300000 };
	struct trace_reader *r;

	for (size_t k = 0; k < G_N_ELEMENTS(lengths); k++) {
		g_autoptr(GArray) a = random_accesses(k, lengths[k]);

		write_trace((uint64_t *)a->data, a->len);
		r = trace_open(path, NULL);
		ck_assert_ptr_nonnull(r);
		ck_assert_uint_eq(trace_info(r)->total, a->len);
		check_equal(r, a, 1000);
		trace_rewind(r);
		check_equal(r, a, 7);
		trace_close(r);
	}
}
END_TEST

START_TEST(operations_are_aligned)
{
	static const uint64_t a[] = { OP_MAKE(OP_WRITE, 0x1fff), OP_MAKE(OP_EXEC, 0x3001) };
	struct trace_reader *r;
	struct op op[4];

	write_trace(a, 2);
	r = trace_open(path, NULL);
	ck_assert_uint_eq(trace_next(r, op, 4), 2);
	ck_assert_uint_eq(OP_KIND(&op[0]), OP_WRITE);
	ck_assert_uint_eq(OP_VA(&op[0]), 0x1ff8);
	ck_assert_uint_eq(OP_KIND(&op[1]), OP_EXEC);
	ck_assert_uint_eq(OP_VA(&op[1]), 0x3000);
	ck_assert_uint_eq(op[0].arg | op[1].arg, 0);
	ck_assert_uint_eq(trace_next(r, op, 4), 0);
	trace_close(r);
}
END_TEST

START_TEST(ranges_are_runs_of_touched_pages)
{
	static const uint64_t a[] = { OP_MAKE(OP_READ, 0x5008),	OP_MAKE(OP_WRITE, 0x4000),
				     OP_MAKE(OP_READ, 0x5ff8),	OP_MAKE(OP_EXEC, 0x9000),
				     OP_MAKE(OP_READ, 0),	OP_MAKE(OP_WRITE, OP_VA_MASK),
				     OP_MAKE(OP_WRITE, 0x9001), OP_MAKE(OP_READ, 0x5010) };
	const struct trace_range *ranges;
	struct trace_reader *r;
	size_t n;

	write_trace(a, G_N_ELEMENTS(a));
	r = trace_open(path, NULL);
	ck_assert_uint_eq(trace_info(r)->naccesses[OP_READ], 4);
	ck_assert_uint_eq(trace_info(r)->naccesses[OP_WRITE], 3);
	ck_assert_uint_eq(trace_info(r)->naccesses[OP_EXEC], 1);
	ck_assert_uint_eq(trace_info(r)->npages, 5);
	ranges = trace_ranges(r, &n);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(ranges[0].start, 0);
	ck_assert_uint_eq(ranges[1].start, 0x4000);
	ck_assert_uint_eq(ranges[1].npages, 2);
	ck_assert_uint_eq(ranges[1].kinds, 1 << OP_READ | 1 << OP_WRITE);
	ck_assert_uint_eq(ranges[2].kinds, 1 << OP_EXEC | 1 << OP_WRITE);
	ck_assert_uint_eq(ranges[3].start, OP_VA_MASK & ~0xfffull);
	ck_assert_uint_eq(ranges[3].first_id, 4);
	ck_assert_uint_eq(trace_page_id(r, 5), 2);
	ck_assert_uint_eq(trace_page_id(r, 6), REPLACE_NONE);
	ck_assert_uint_eq(trace_page_id(r, 1), REPLACE_NONE);
	ck_assert_uint_eq(trace_page_id(r, OP_VA_MASK >> 12), 4);
	trace_close(r);
}
END_TEST

START_TEST(an_empty_trace_is_refused)
{
	GError *error = NULL;

	ck_assert(!trace_commit(trace_create(path, NULL), &error));
	ck_assert_int_eq(error->code, VMM_USAGE);
	ck_assert(!g_file_test(path, G_FILE_TEST_EXISTS));
	g_clear_error(&error);
	trace_abandon(trace_create(path, NULL));
	ck_assert_ptr_null(trace_create("/nonexistent/t.obt", &error));
	ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent/t.obt"));
	g_clear_error(&error);
}
END_TEST

/* Through a pipe, as a recording is. */
static GError *import(const char *text, const struct trace_import *how)
{
	GError *error = NULL;
	struct trace_writer *w = trace_create(path, NULL);
	int fd[2];

	ck_assert_uint_lt(strlen(text), 60000);
	ck_assert(!pipe(fd));
	ck_assert_int_eq(write(fd[1], text, strlen(text)), strlen(text));
	close(fd[1]);
	if (trace_import(w, fd[0], "text", how, &error))
		trace_commit(w, &error);
	else
		trace_abandon(w);
	close(fd[0]);
	return error;
}

static void expect(const char *text, const struct trace_import *how, const uint64_t *access, size_t n)
{
	GError *error = import(text, how);
	struct trace_reader *r;
	uint64_t out[64];

	ck_assert_msg(!error, "%s", error ? error->message : "");
	r = trace_open(path, NULL);
	ck_assert_uint_eq(trace_read(r, out, 64), n);
	ck_assert(!memcmp(out, access, n * sizeof(*access)));
	trace_close(r);
}

#define EXPECT(text, how, ...)                                                                                         \
	expect(text, &(struct trace_import)how, (uint64_t[]){ __VA_ARGS__ }, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8)
#define ANY                                                                                                            \
	{                                                                                                              \
		0                                                                                                      \
	}

START_TEST(lackey_is_imported)
{
	const char *text = "==12== Lackey, an example\n==12== \nI  0401ab70,3\n S 1fff000708,8\n L 04222ac0,4\n"
			   " M 1ffefffe70,8\nI  0401ab73,5\n==12== done\n";

	EXPECT(text, ANY, OP_MAKE(OP_EXEC, 0x401ab70), OP_MAKE(OP_WRITE, 0x1fff000708), OP_MAKE(OP_READ, 0x4222ac0),
	       OP_MAKE(OP_READ, 0x1ffefffe70), OP_MAKE(OP_WRITE, 0x1ffefffe70), OP_MAKE(OP_EXEC, 0x401ab73));
	EXPECT(text, { .data_only = true }, OP_MAKE(OP_WRITE, 0x1fff000708), OP_MAKE(OP_READ, 0x4222ac0),
	       OP_MAKE(OP_READ, 0x1ffefffe70), OP_MAKE(OP_WRITE, 0x1ffefffe70));
	EXPECT(text, { .limit = 4 }, OP_MAKE(OP_EXEC, 0x401ab70), OP_MAKE(OP_WRITE, 0x1fff000708),
	       OP_MAKE(OP_READ, 0x4222ac0), OP_MAKE(OP_READ, 0x1ffefffe70));
}
END_TEST

START_TEST(csv_is_imported)
{
	EXPECT("address,type\n# a comment\n\n0x1000,r\n4097,W\r\n  0XfF , i \n", ANY, OP_MAKE(OP_READ, 0x1000),
	       OP_MAKE(OP_WRITE, 4097), OP_MAKE(OP_EXEC, 0xff));
	EXPECT("16,r", ANY, OP_MAKE(OP_READ, 16));
	EXPECT("0x1ffffffffffffff,w", ANY, OP_MAKE(OP_WRITE, OP_VA_MASK));
	EXPECT("16,r\nrubbish", { .limit = 1 }, OP_MAKE(OP_READ, 16));
}
END_TEST

static const struct {
	const char *text, *place;
} bad[] = {
	{ "16,r\n17\n", "text:2: " },
	{ "16,r\n\n# x\n17,x\n", "text:4: " },
	{ "abc,r\n", "text:1: " },
	{ "0x,r\n", "text:1: " },
	{ "1 6,r\n", "text:1: " },
	{ "16,rw\n", "text:1: " },
	{ "16,\n", "text:1: " },
	{ "-16,r\n", "text:1: " },
	{ "16,r,8\n", "text:1: " },
	{ "16,r\naddress,type\n", "text:2: " },
	{ "18446744073709551616,r\n", "text:1: " },
	{ "0x200000000000000,r\n", "text:1: " },
	{ " L 1000,8\n16,r\n", "text:2: " },
	{ " L 1000,8\n L 1000\n", "text:2: " },
	{ " L 1000,8\n L zz,8\n", "text:2: " },
	{ " L 1000,8\n L 1000,8 x\n", "text:2: " },
	{ " L 1000,8\n L 1000,\n", "text:2: " },
	{ " L 1000,8\n X 1000,8\n", "text:2: " },
	{ "I 1000,8\n", "text:1: " },
	{ "", "no access" },
	{ "# nothing\n", "no access" },
	{ "address,type\n", "no access" },
	{ "==1== \n", "no access" },
	{ "\x01\x02\x7f"
	  "ELF\n",
	  "text:1: \"???ELF\"" },
};

START_TEST(bad_lines_are_named)
{
	g_autofree char *longest = g_strnfill(50000, '1');
	GError *error;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		error = import(bad[i].text, &(struct trace_import){ 0 });
		ck_assert_msg(error && strstr(error->message, bad[i].place), "\"%s\": %s", bad[i].text,
			      error ? error->message : "taken");
		ck_assert_int_eq(error->code, VMM_USAGE);
		ck_assert(!strchr(error->message, '\n'));
		ck_assert(!g_file_test(path, G_FILE_TEST_EXISTS));
		g_clear_error(&error);
	}
	error = import(longest, &(struct trace_import){ 0 });
	ck_assert_msg(error && strstr(error->message, "too long") && strlen(error->message) < 200, "%s",
		      error->message);
	g_clear_error(&error);
}
END_TEST

/* A trace that dwells on pages, as programs do. */
static void write_program(uint64_t seed, size_t n)
{
	GArray *a = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	uint64_t page = 0, v;
	struct rng r;

	rng_seed(&r, seed);
	for (size_t i = 0; i < n; i++) {
		page = rng_below(&r, 3) ? page : rng_below(&r, 1 + rng_below(&r, 120));
		v = OP_MAKE(OP_READ, page * 8192 + rng_below(&r, 4096));
		g_array_append_val(a, v);
	}
	write_trace((uint64_t *)a->data, a->len);
	g_array_free(a, TRUE);
}

START_TEST(runs_change_nothing)
{
	g_autofree uint32_t *ids = g_new(uint32_t, 20000);
	struct trace_pages p;
	struct trace_reader *r;
	uint64_t access, misses;

	write_program(1, 20000);
	r = trace_open(path, NULL);
	ck_assert(trace_pages_load(&p, r, NULL));
	ck_assert_uint_eq(p.nrequests, 20000);
	ck_assert_uint_lt(p.n, 15000);
	ck_assert_uint_eq(p.nids, trace_info(r)->npages);
	trace_rewind(r);
	for (size_t i = 0; i < 20000; i++) {
		ck_assert_uint_eq(trace_read(r, &access, 1), 1);
		ids[i] = trace_page_id(r, (access & OP_VA_MASK) >> 12);
	}
	g_autofree uint32_t *next = replace_next_use(ids, 20000, p.nids);
	for (uint32_t nframes = 1; nframes < 128; nframes += 9)
		for (const struct replace_ops *const *ops = replace_policies; *ops; ops++) {
			void *policy = (*ops)->create(&(struct replace_args){ .nframes = nframes,
									     .nids = p.nids,
									     .seed = 5,
									     .trace = ids,
									     .next_use = next,
									     .n = 20000 });

			trace_mrc(&p, *ops, &nframes, 1, 5, &misses);
			ck_assert_uint_eq((*ops)->replay(policy, ids, 20000), misses);
			(*ops)->destroy(policy);
		}
	trace_pages_free(&p);
	trace_close(r);
}
END_TEST

START_TEST(curves_equal_replays)
{
	uint32_t sizes[130];
	uint64_t curve[130], one;
	struct trace_pages p;
	struct trace_reader *r;

	for (uint32_t k = 0; k < 130; k++)
		sizes[k] = k + 1;
	for (uint64_t seed = 0; seed < 5; seed++) {
		write_program(seed, 3000 + 3000 * seed);
		r = trace_open(path, NULL);
		ck_assert(trace_pages_load(&p, r, NULL));
		trace_mrc(&p, &replace_lru, sizes, 130, 0, curve);
		for (uint32_t k = 0; k < 130; k++) {
			trace_mrc(&p, &replace_lru, &sizes[k], 1, 0, &one);
			ck_assert_uint_eq(curve[k], one);
		}
		ck_assert_uint_eq(curve[129], trace_info(r)->npages);
		trace_pages_free(&p);
		trace_close(r);
	}
}
END_TEST

/* What if who replays a trace forgets where it was, again and again? A guest can: then it gets no more of it. */
START_TEST(lost_cursors_take_no_files)
{
	static const char text[] = "[vm a]\nworkload = w\n[workload w]\nphases = t\n[phase t]\npattern = trace\n"
				   "trace = %s/workloads/traces/sort.obt\n";
	g_autofree char *here = g_get_current_dir(), *ini = g_strdup_printf(text, here);
	uint64_t cursor[24] = { 0 };
	struct trace_feed *f;
	struct text_run t;
	struct op op;
	unsigned n = 0;

	ck_assert(load_text(&t, ini, NULL));
	f = trace_feed_new(t.e);
	while (n < 1000 && trace_feed_next(f, 0, cursor, &op, 1)) {
		ck_assert_ptr_null(trace_feed_error(f));
		memset(cursor, 0, sizeof(cursor));
		n++;
	}
	ck_assert_uint_eq(n, EXPORT_PROCESSES);
	ck_assert_ptr_nonnull(trace_feed_error(f));
	trace_feed_free(f);
	run_text_free(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trace");
	TCase *tc = tcase_create("trace");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, roundtrip_of_random_accesses);
	tcase_add_test(tc, operations_are_aligned);
	tcase_add_test(tc, ranges_are_runs_of_touched_pages);
	tcase_add_test(tc, an_empty_trace_is_refused);
	tcase_add_test(tc, lackey_is_imported);
	tcase_add_test(tc, csv_is_imported);
	tcase_add_test(tc, bad_lines_are_named);
	tcase_add_test(tc, runs_change_nothing);
	tcase_add_test(tc, lost_cursors_take_no_files);
	tcase_add_test(tc, curves_equal_replays);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
