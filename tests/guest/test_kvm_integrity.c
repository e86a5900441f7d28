/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_integrity.c - not one wrong word, whatever is done to a guest's memory meanwhile
 *
 * Two VMs keep data that they verify all the time (checker.h), while their pages are evicted, compressed, merged,
 * ballooned and written. Takes half a minute by the clock; make soak-kvm gives it ten
 * minutes in each paging mode.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checker.h"
#include "tests/lib/kvm_text.h"
#include "tests/lib/suite.h"

/* The host has room for the arenas and about half of the data. */
#define HOST(memory, sleep) \
	"[host]\nmemory = " memory "\n[dedup]\nalgorithm = ksm\npages-to-scan = 200\nsleep = " sleep "\n" \
	"[balloon]\ninterval = " sleep "\n[workload w]\nprocesses = 2\nphases = p\n" \
	"[phase p]\npattern = uniform\nsize = 1 MiB\noperations = 1000000000\n"
#define VMS(n, more) \
	"[vm a]\ncount = " n "\nmemory = 48 MiB\nballoon-target = 8 MiB\nballoon-from = 0\n" more "workload = w\n"

#define FREE \
	"[experiment]\nmachine = kvm\ndigest = no\nschedule = free\nsample-interval = 100 ms\n"
#define SECONDS	 "balloon-until = 1 s\nballoon-period = 2 s\n"
#define TWO_TIERS "[swap]\nsize = 256 MiB\ncompressed-pool = 4 MiB\ncompressor = lz4\nwriteback = yes\n"
#define FAILING	  "[swap]\nsize = 256 MiB\nread-error-rate = "

static struct text_run t;
static struct kvm_machine m;

struct clock {
	unsigned seconds;
	bool until_failure; /* of a VM */
	bool changes_word;  /* of the first VM's memory, halfway */
	GMutex lock;
	GCond over;
	bool finished;
};

static void stop_guests(uint64_t how)
{
	for (unsigned i = 0; i < m.nvms; i++)
		checker_of(m.vms[i])->stop = how;
}

static bool any_failed(void)
{
	bool failed = false;

	g_mutex_lock(&m.lock);
	for (unsigned i = 0; i < m.nvms; i++)
		failed |= m.vms[i]->out->failure != NULL;
	g_mutex_unlock(&m.lock);
	return failed;
}

/* A word of every page that holds data: the version tables' too. */
static void change_words(void)
{
	struct gmem *g = m.vms[0]->gmem;
	uint64_t page[PAGE_SIZE / 8];

	g_mutex_lock(&m.lock);
	for (gfn_t gfn = m.vms[0]->arena_pages; gfn < m.vms[0]->npages; gfn++) {
		struct gmem_page p;

		if (gmem_lookup(g, gfn, &p) || p.state != PAGE_RESIDENT || gmem_peek(g, gfn, page) || !page[100])
			continue;
		page[100] ^= 1ull << 40;
		ck_assert_int_eq(gmem_write(g, gfn * PAGE_SIZE + 800, &page[100], 8), 0);
	}
	g_mutex_unlock(&m.lock);
}

static gpointer keep_time(gpointer data)
{
	struct clock *c = data;
	gint64 now = g_get_monotonic_time(), end = now + c->seconds * G_TIME_SPAN_SECOND, half = (now + end) / 2;

	g_mutex_lock(&c->lock);
	while (!c->finished && (now = g_get_monotonic_time()) < end && !(c->until_failure && any_failed())) {
		if (c->changes_word && now >= half) {
			change_words();
			c->changes_word = false;
		}
		g_cond_wait_until(&c->over, &c->lock, MIN(end, now + 50000));
	}
	g_mutex_unlock(&c->lock);
	stop_guests(c->until_failure ? CHECKER_EXIT : CHECKER_FINISH);
	return NULL;
}

static void run_for(const char *text, unsigned npages, struct clock *c)
{
	GError *error = NULL;
	GThread *thread;
	gboolean ok;

	must_make(&t, &m, text);
	for (unsigned i = 0; i < m.nvms; i++)
		checker_install(m.vms[i], npages);
	g_mutex_init(&c->lock);
	g_cond_init(&c->over);
	thread = g_thread_new("clock", keep_time, c);
	ok = run_guests(&m, &error);
	g_mutex_lock(&c->lock);
	c->finished = true;
	g_cond_signal(&c->over);
	g_mutex_unlock(&c->lock);
	g_thread_join(thread);
	ck_assert_msg(ok, "%s", error ? error->message : "?");
}

static void check_data(unsigned vm)
{
	volatile struct checker *c = checker_of(m.vms[vm]);
	const char *failure = run_text_vm(&t, vm)->failure;

	ck_assert_msg(!c->wrong,
		      "VM %u: page %lu of version %lu: word %lu is 0x%lx, not 0x%lx (%lu pages written, %lu verified)",
		      vm, (unsigned long)c->page, (unsigned long)c->version, (unsigned long)c->word,
		      (unsigned long)c->found, (unsigned long)c->expected, (unsigned long)c->written,
		      (unsigned long)c->verified);
	ck_assert_uint_gt(c->written, 0);
	if (!failure)
		ck_assert_uint_eq(c->ended, 2);
}

static void show(const char *what)
{
	const struct counters *c = &t.run->host;

	if (!getenv("SHOW_OUTCOMES"))
		return;
	printf("%s: %lu swap-outs, %lu swap-ins, %lu compressed, %lu merges, %lu cow breaks, %lu inflated\n", what,
	       c->swap_outs, c->swap_ins, c->swap_compressed, c->merges, c->faults_write_shared, c->balloon_inflated);
	for (unsigned i = 0; i < m.nvms; i++)
		printf("    VM %u: %lu pages written, %lu verified; %s\n", i, checker_of(m.vms[i])->written,
		       checker_of(m.vms[i])->verified,
		       run_text_vm(&t, i)->failure ? run_text_vm(&t, i)->failure : "good");
}

static void teardown(void)
{
	kvm_machine_destroy(&m);
	run_text_free(&t);
}

/* SOAK: seconds of each run of twelve. */
static unsigned seconds(unsigned n)
{
	const char *soak = getenv("SOAK");

	return soak ? n * (unsigned)atoi(soak) / 12 : n;
}

static const struct {
	const char *what;
	unsigned npages; /* of each process */
	const char *text;
} runs[] = {
	{ "ept", 2048, FREE HOST("30 MiB", "10 ms") TWO_TIERS VMS("2", SECONDS) },
	{ "shadow", 2048, FREE HOST("30 MiB", "10 ms") TWO_TIERS VMS("2", SECONDS "paging = shadow\n") },
};

/* What if memory is taken from guests in every way there is, while they write? They find what they left. */
START_TEST(not_one_wrong_word)
{
	struct clock c = { .seconds = seconds(12) };

	run_for(runs[_i].text, runs[_i].npages, &c);
	show(runs[_i].what);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_msg(!run_text_vm(&t, i)->failure || checker_of(m.vms[i])->wrong, "VM %u: %s", i,
			      run_text_vm(&t, i)->failure);
		check_data(i);
	}
	teardown();
}
END_TEST

/* What if pages cannot be read back? Who needs one fails with a machine check; the data of the others is good. */
START_TEST(swap_file_with_errors)
{
	struct clock c = { .seconds = seconds(60), .until_failure = true };
	unsigned nfailed = 0;

	run_for(FREE HOST("56 MiB", "10 ms") FAILING "1%\n" VMS("4", SECONDS), 2048, &c);
	show("errors");
	for (unsigned i = 0; i < 4; i++) {
		const struct run_vm *vm = run_text_vm(&t, i);

		check_data(i);
		if (!vm->failure)
			continue;
		nfailed++;
		ck_assert_msg(strstr(vm->failure, "machine check"), "%s", vm->failure);
		ck_assert_uint_eq(vm->counters.guest_failures_memory, 1);
	}
	ck_assert_uint_ge(nfailed, 1);
	ck_assert_uint_lt(nfailed, 4);
	teardown();
}
END_TEST

/* What if a word does change? Then this test would say so. */
START_TEST(changed_word_is_found)
{
	struct clock c = { .seconds = 2, .changes_word = true };

	run_for(FREE HOST("96 MiB", "10 ms") VMS("1", ""), 64, &c);
	ck_assert_uint_eq(checker_of(m.vms[0])->wrong, 1);
	ck_assert_uint_eq(checker_of(m.vms[0])->found ^ checker_of(m.vms[0])->expected, 1ull << 40);
	ck_assert_msg(strstr(run_text_vm(&t, 0)->failure, "entry.c"), "%s", run_text_vm(&t, 0)->failure);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("integrity");
	TCase *c = tcase_create("of real guests' memory");

	if (!kvm_or_skip())
		return 0;
	if (suite_scaled(2) == 1) {
		printf("SKIP: integrity is tested by the clock, and emulated exits leave no time for it\n");
		return 0;
	}
	tcase_set_timeout(c, 1200);
	tcase_add_loop_test(c, not_one_wrong_word, 0, G_N_ELEMENTS(runs));
	tcase_add_test(c, swap_file_with_errors);
	tcase_add_test(c, changed_word_is_found);
	suite_add_tcase(s, c);
	return suite_run(s);
}
