/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "mm/events.h"
#include "mm/gmem.h"
#include "tests/lib/fake_machine.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"

static char *dir, *path;

static void setup(void)
{
	dir = g_dir_make_tmp("overbook-XXXXXX", NULL);
	path = g_build_filename(dir, "events.zst", NULL);
}

static void teardown(void)
{
	g_remove(path);
	g_rmdir(dir);
	g_free(path);
	g_free(dir);
}

static struct event make(struct rng *rng, uint64_t i)
{
	return (struct event){ .time_ns = i * 100, .gfn = rng_below(rng, 1 << 20), .hfn = rng_u64(rng),
			       .vm = (uint16_t)rng_below(rng, 65536), .from = 0, .to = 1,
			       .cause = (uint8_t)rng_below(rng, EVENT_CAUSES), .level = 1 };
}

struct replay {
	struct rng rng;
	uint64_t n, stop;
};

static int compare(const struct event *e, void *ctx)
{
	struct replay *r = ctx;
	struct event want = make(&r->rng, r->n++);

	must(memcmp(e, &want, sizeof(want)) == 0);
	return r->n == r->stop ? 99 : 0;
}

static void write_log(uint64_t n)
{
	struct events *ev = events_open(path);
	struct rng rng;

	rng_seed(&rng, 4);
	must(ev);
	for (uint64_t i = 0; i < n; i++) {
		struct event e = make(&rng, i);

		events_add(ev, &e);
	}
	ck_assert_int_eq(events_close(ev), 0);
}

/* What if a log is empty, fills its buffer exactly, or many times over? It reads back as written. */
START_TEST(test_round_trip)
{
	const uint64_t sizes[] = { 0, 1, 4095, 4096, 4097, 8192, 100000 };

	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		struct replay r = { 0 };

		rng_seed(&r.rng, 4);
		write_log(sizes[i]);
		ck_assert_int_eq(events_read(path, compare, &r), 0);
		ck_assert_uint_eq(r.n, sizes[i]);
	}
	struct replay r = { .stop = 7 };

	rng_seed(&r.rng, 4);
	ck_assert_int_eq(events_read(path, compare, &r), 99);
	ck_assert_uint_eq(r.n, 7);
}
END_TEST

static int count(const struct event *e, void *ctx)
{
	(void)e;
	++*(uint64_t *)ctx;
	return 0;
}

/* What if the file is missing, empty, cut short anywhere, or something else? Never a full reading. */
START_TEST(test_damage)
{
	uint64_t n = 0;
	gsize len;
	char *text;

	ck_assert_int_eq(events_read(path, count, &n), -ENOENT);
	write_log(20);
	ck_assert(g_file_get_contents(path, &text, &len, NULL));
	for (gsize cut = 0; cut < len; cut++) {
		g_file_set_contents(path, text, (gssize)cut, NULL);
		must(events_read(path, count, &n) == -EINVAL);
	}
	text = g_realloc(text, len + 1);
	text[len] = 'x';
	g_file_set_contents(path, text, (gssize)len + 1, NULL);
	ck_assert_int_eq(events_read(path, count, &n), -EINVAL);
	g_file_set_contents(path, "time,gfn\n1,2\n", -1, NULL);
	ck_assert_int_eq(events_read(path, count, &n), -EINVAL);
	ck_assert_int_eq(events_read(dir, count, &n), -EIO);
	g_free(text);
}
END_TEST

/* What if the disk is full? Adding never complains, closing does. */
START_TEST(test_full)
{
	struct events *ev = events_open("/dev/full");
	struct event e = { 0 };
	struct rng rng;

	rng_seed(&rng, 1);
	if (!ev) {
		puts("SKIP: no /dev/full");
		return;
	}
	for (unsigned i = 0; i < 20000; i++) {
		e = make(&rng, i);
		events_add(ev, &e);
	}
	ck_assert_int_eq(events_close(ev), -EIO);
	ck_assert_ptr_null(events_open("/nowhere/at/all"));
	events_add(NULL, &e);
	ck_assert_int_eq(events_close(NULL), 0);
}
END_TEST

static int collect(const struct event *e, void *ctx)
{
	g_array_append_vals(ctx, e, 1);
	return 0;
}

/* What if gmem changes pages? Each change is one record, with what it was and why. */
START_TEST(test_gmem_history)
{
	static const struct {
		uint64_t gfn, from, to, cause, level;
	} want[] = {
		{ 600, PAGE_ABSENT, PAGE_RESIDENT, EVENT_FAULT, 1 },
		{ 601, PAGE_ABSENT, PAGE_RESIDENT, EVENT_DMA, 1 },
		{ 600, PAGE_RESIDENT, PAGE_RESIDENT, EVENT_MOVE, 1 },
		{ 600, PAGE_RESIDENT, PAGE_RESIDENT, EVENT_IDLE, 1 },
		{ 600, PAGE_RESIDENT, PAGE_RESIDENT, EVENT_YOUNG, 1 },
		{ 600, PAGE_RESIDENT, PAGE_RESIDENT, EVENT_DIRTY, 1 },
		{ 600, PAGE_RESIDENT, PAGE_ABSENT, EVENT_RELEASE, 1 },
	};
	const struct gmem_config cfg = { .vm = 9, .npages = 1024, .arena_pages = 512, .level = 1 };
	struct frames *fr = frames_new(2048, 1);
	struct fake_machine *fm = fake_machine_new(2048);
	struct events *ev = events_open(path);
	struct counters c = { 0 };
	struct gmem *g = gmem_new(&cfg, fr, &fm->base, &c, ev);
	GArray *got = g_array_new(FALSE, FALSE, sizeof(struct event));
	struct gmem_page page;

	gmem_fault(g, 600, ACC_R, FAULT_CPU, &page);
	fm->now_ns = 1000;
	gmem_write(g, 601 * PAGE_SIZE, "x", 1);
	gmem_fault(g, 3, ACC_W, FAULT_CPU, &page); /* arena: not logged */
	gmem_move(g, 600, 0);
	gmem_test_clear_young(g, 600);
	gmem_dirty_log_start(g);
	gmem_fault(g, 600, ACC_W, FAULT_CPU, &page);
	gmem_release(g, 600);
	gmem_free(g);
	ck_assert_int_eq(events_close(ev), 0);
	ck_assert_int_eq(events_read(path, collect, got), 0);
	ck_assert_uint_eq(got->len, G_N_ELEMENTS(want));
	for (unsigned i = 0; i < got->len; i++) {
		const struct event *e = &g_array_index(got, struct event, i);

		must_eq(e->gfn, want[i].gfn);
		must_eq(e->from, want[i].from);
		must_eq(e->to, want[i].to);
		must_eq(e->cause, want[i].cause);
		must_eq(e->level, want[i].level);
		must_eq(e->vm, 9);
		must_eq(e->time_ns, i ? 1000 : 0);
		must_eq(e->hfn == HFN_NONE, i == 6);
	}
	g_array_unref(got);
	frames_free(fr);
	fake_machine_free(fm);
}
END_TEST

/* What if somebody asks for the name of a cause? All have one, all differ. */
START_TEST(test_names)
{
	for (unsigned i = 0; i < EVENT_CAUSES; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(event_cause_name(i), event_cause_name(j));
	ck_assert_str_eq(event_cause_name(EVENT_CAUSES), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("events");
	TCase *t = tcase_create("events");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_round_trip);
	tcase_add_test(t, test_damage);
	tcase_add_test(t, test_full);
	tcase_add_test(t, test_gmem_history);
	tcase_add_test(t, test_names);
	suite_add_tcase(s, t);
	return suite_run(s);
}
