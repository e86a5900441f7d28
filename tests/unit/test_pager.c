/* SPDX-License-Identifier: MIT */
/* The benches' pager: not a wrong word, however pages come and go. */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/pager.h"
#include "tests/lib/suite.h"
#include "workloads/rng.h"
#include "workloads/x86.h"

enum { PAGES = 2048, FRAMES = 512, TOUCHES = 20000 };

struct toucher {
	uint8_t *memory;
	unsigned id;
	uint64_t *written; /* by page of this thread's */
};

/* Each thread has every other page, and knows what it wrote there. */
static void *touch(void *arg)
{
	struct toucher *t = arg;
	struct rng rng;

	rng_seed(&rng, 50 + t->id);
	for (unsigned i = 0; i < TOUCHES; i++) {
		size_t page = rng_below(&rng, PAGES / 2) * 2 + t->id;
		volatile uint64_t *word = (uint64_t *)(t->memory + page * PAGE_SIZE);

		if (word[1] != t->written[page] || word[511] != t->written[page])
			return (void *)"a wrong word";
		if (rng_below(&rng, 3))
			continue;
		word[1] = word[511] = t->written[page] = i + 1;
	}
	return NULL;
}

/* What if two threads use four times the memory that there is? */
START_TEST(integrity)
{
	const struct pager_config cfg = {
		.npages = PAGES, .nframes = FRAMES, .ahead = _i & 2 ? 128 : 0,
		.way = _i & 1 ? PAGER_THREAD : PAGER_SIGNAL,
	};
	struct pager *p = pager_new(&cfg);
	uint64_t written[PAGES] = { 0 };
	struct toucher t[2];
	struct pager_stats st;
	pthread_t thread;
	void *other, *mine;

	if (!p) {
		printf("SKIP: integrity: userfaultfd with UFFDIO_MOVE: %s\n", g_strerror(errno));
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		t[i] = (struct toucher){ pager_memory(p), i, written };
	ck_assert_int_eq(pthread_create(&thread, NULL, touch, &t[1]), 0);
	mine = touch(&t[0]);
	pthread_join(thread, &other);
	must(!mine && !other);
	pager_evict_all(p);
	for (size_t page = 0; page < PAGES; page++)
		must(*(uint64_t *)(pager_memory(p) + page * PAGE_SIZE + 8) == written[page]);
	pager_stats(p, &st);
	must(st.evictions > PAGES && st.loads > PAGES && st.faults >= st.loads);
	pager_free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pager");
	TCase *t = tcase_create("pager");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, integrity, 0, 4);
	suite_add_tcase(s, t);
	return suite_run(s);
}
