/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <glib.h>
#include <string.h>

#include "mm/replace.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"
#include "tests/lib/swap_world.h"
#include "workloads/rng.h"

enum { FRAMES = 300, VM = 3 };

static struct swap_world *world_new(const struct swap_config *cfg, uint64_t npages)
{
	struct swap_world *w = swap_world_new(cfg, 512);

	swap_world_add(w, VM, npages, 1);
	return w;
}

/* Hot pages that change, loops and noise, over @npages. */
static uint32_t *stream_new(size_t n, uint32_t npages, uint64_t seed)
{
	uint32_t *ids = g_new(uint32_t, n);
	struct rng rng;

	rng_seed(&rng, seed);
	for (size_t i = 0; i < n; i++) {
		uint64_t kind = rng_below(&rng, 10), base = i / 5000 * 37;

		ids[i] = (uint32_t)((kind < 5 ? base + rng_below(&rng, 1 + npages / 8) :
				     kind < 8 ? i % (npages / 2) : rng_below(&rng, npages)) % npages);
	}
	return ids;
}

/* Misses of @policy on the stream, with @nframes for it: by its VM's limit, or all of the host's. */
static uint64_t misses(const struct swap_policy *policy, const uint32_t *ids, size_t n, uint32_t npages,
		       uint64_t nframes)
{
	struct swap_future *future = swap_future_new();
	const struct swap_config cfg = { .nslots = 4ull * npages, .policy = policy, .seed = 5, .future = future };
	struct swap_world *w;
	uint64_t result;

	for (size_t i = 0; i < n; i++)
		must(swap_future_note(future, VM, ids[i]));
	must(swap_future_begin(future) == 0);
	w = world_new(&cfg, npages);
	must(nframes == 512 || swap_set_limit(w->swap, VM, nframes) == 0);
	for (size_t i = 0; i < n; i++) {
		struct gmem_page page;

		must(gmem_fault(w->g[0], ids[i], i % 3 ? ACC_R : ACC_W, FAULT_CPU, &page) == 0);
		must(swap_used(w->swap, VM, ids[i]));
	}
	must(w->c[0].pages_resident <= nframes);
	result = w->c[0].faults_absent + w->c[0].faults_swapped;
	swap_world_free(w);
	swap_future_free(future);
	return result;
}

static uint64_t replace_misses(const char *name, const uint32_t *ids, size_t n, uint32_t npages, uint32_t nframes)
{
	const struct replace_ops *ops = replace_find(name);
	uint32_t *next = replace_next_use(ids, n, npages);
	const struct replace_args args = {
		.nframes = nframes, .nids = npages, .seed = 5, .trace = ids, .next_use = next, .n = n,
	};
	void *policy = ops->create(&args);
	uint64_t result = ops->replay(policy, ids, n);

	ops->destroy(policy);
	g_free(next);
	return result;
}

static const uint32_t sizes[] = { 16, 40, 150, FRAMES, 512 };

/* What if the future is known? As few misses as Belady's, and no policy has fewer, whatever stream and memory. */
START_TEST(opt_is_never_beaten)
{
	enum { N = 12000 };

	for (uint64_t seed = 1; seed <= 4; seed++) {
		uint32_t npages = 200 + 450 * (uint32_t)(seed % 3), nframes = sizes[_i];
		uint32_t *ids = stream_new(N, npages, seed);
		uint64_t best = misses(&swap_opt, ids, N, npages, nframes);

		must_eq(best, replace_misses("opt", ids, N, npages, nframes));
		for (int i = 0; swap_policies[i]; i++)
			must(misses(swap_policies[i], ids, N, npages, nframes) >= best);
		g_free(ids);
	}
}
END_TEST

/* What if the frames of a policy are bounded by a limit and not by the host? The same misses. */
START_TEST(limit_is_as_good_as_a_host)
{
	static const char *const names[] = { "fifo", "clock" };
	enum { N = 20000, PAGES = 900 };
	uint32_t *ids = stream_new(N, PAGES, 9);

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		for (int k = 0; swap_policies[k]; k++)
			if (!strcmp(swap_policies[k]->name, names[i]))
				must_eq(misses(swap_policies[k], ids, N, PAGES, FRAMES),
					replace_misses(names[i], ids, N, PAGES, FRAMES));
	g_free(ids);
}
END_TEST

/* What if the second run is another? It is noticed at the first page that differs, and nothing is believed after. */
START_TEST(another_run_is_noticed)
{
	struct swap_future *f = swap_future_new();

	ck_assert_uint_eq(swap_future_next(f, 0, 1), SWAP_NEVER);
	for (unsigned i = 0; i < 6; i++)
		ck_assert(swap_future_note(f, i % 2, i % 3)); /* 0/0 1/1 0/2 1/0 0/1 1/2 */
	ck_assert(swap_future_note(f, 1, 2) && swap_future_note(f, 0, 2));
	ck_assert_int_eq(swap_future_begin(f), 0);
	ck_assert_uint_eq(swap_future_next(f, 0, 0), 0);
	ck_assert_uint_eq(swap_future_next(f, 0, 2), 2);
	ck_assert_uint_eq(swap_future_next(f, 0, 7), SWAP_NEVER);
	ck_assert(swap_future_note(f, 0, 0) && swap_future_note(f, 0, 0));
	ck_assert_uint_eq(swap_future_next(f, 0, 0), SWAP_NEVER);
	ck_assert(swap_future_note(f, 1, 1) && swap_future_note(f, 0, 2));
	ck_assert_uint_eq(swap_future_next(f, 0, 2), 6);
	ck_assert(!swap_future_note(f, 0, 1));
	ck_assert(!swap_future_note(f, 1, 0));
	ck_assert_uint_eq(swap_future_next(f, 0, 2), SWAP_NEVER);
	swap_future_free(f);

	f = swap_future_new();
	ck_assert_int_eq(swap_future_begin(f), 0);
	ck_assert(swap_future_known(f) && !swap_future_note(f, 0, 0));
	swap_future_free(f);
}
END_TEST

/* The pools alone, over pages that are young at random. */
struct toy {
	struct swap_links links;
	struct swap_pool pool;
	struct rng rng;
	bool in[FRAMES], young[FRAMES];
	uint32_t next[FRAMES];
	uint64_t asked;
};

static bool toy_young(void *ctx, hfn_t hfn)
{
	struct toy *t = ctx;
	bool young = t->young[hfn];

	must(t->in[hfn]);
	t->asked++;
	t->young[hfn] = false;
	return young;
}

static uint32_t toy_next(void *ctx, hfn_t hfn)
{
	return ((struct toy *)ctx)->next[hfn];
}

static void toy_init(struct toy *t, const struct swap_policy *policy, uint64_t seed)
{
	memset(t, 0, sizeof(*t));
	must(swap_links_init(&t->links, FRAMES) == 0);
	must(swap_pool_init(&t->pool, policy, &t->links, 7, seed) == 0);
	t->pool.young = toy_young;
	t->pool.next_use = toy_next;
	t->pool.ctx = t;
	rng_seed(&t->rng, seed);
}

static void toy_destroy(struct toy *t)
{
	swap_pool_destroy(&t->pool);
	swap_links_destroy(&t->links);
}

static void toy_add(struct toy *t, uint32_t hfn, uint32_t shadow)
{
	t->in[hfn] = true;
	t->young[hfn] = true;
	t->next[hfn] = (uint32_t)rng_below(&t->rng, 100000);
	swap_pool_add(&t->pool, hfn, shadow);
}

static uint32_t toy_victim(struct toy *t)
{
	uint64_t before = t->asked;
	uint32_t hfn = t->pool.policy->victim(&t->pool);

	must(hfn < FRAMES && t->in[hfn]);
	must(t->asked - before <= 4 * t->pool.count + 4);
	if (t->pool.policy->offline)
		for (uint32_t i = 0; i < FRAMES; i++)
			must(!t->in[i] || t->links.key[i] <= t->links.key[hfn]);
	return hfn;
}

static void toy_evict(struct toy *t)
{
	uint32_t hfn = toy_victim(t);

	swap_pool_remove(&t->pool, hfn);
	t->in[hfn] = false;
	if (t->pool.policy->evicted)
		must(t->pool.policy->evicted(&t->pool) != 0);
}

static uint32_t toy_find(struct toy *t, bool in)
{
	uint32_t hfn = (uint32_t)rng_below(&t->rng, FRAMES);

	while (t->in[hfn] != in)
		hfn = (hfn + 1) % FRAMES;
	return hfn;
}

static void toy_step(struct toy *t)
{
	uint64_t count = t->pool.count;
	uint32_t hfn, to;

	switch (rng_below(&t->rng, 8)) {
	case 0 ... 2:
		if (count < FRAMES)
			toy_add(t, toy_find(t, false), (uint32_t)rng_below(&t->rng, 3) * t->pool.age / 2);
		break;
	case 3 ... 4:
		if (count)
			toy_evict(t);
		break;
	case 5:
		if (count)
			t->pool.policy->spare(&t->pool, toy_victim(t));
		break;
	case 6:
		for (unsigned i = 0; count && i < 20; i++) {
			hfn = toy_find(t, true);
			t->young[hfn] = true;
			t->next[hfn] = (uint32_t)rng_below(&t->rng, 100000);
			if (t->pool.policy->used)
				t->pool.policy->used(&t->pool, hfn);
		}
		break;
	default:
		if (!count || count == FRAMES)
			break;
		hfn = toy_find(t, true);
		to = toy_find(t, false);
		t->pool.policy->rename(&t->pool, hfn, to);
		t->in[hfn] = false;
		t->in[to] = true;
		t->next[to] = t->next[hfn];
	}
}

/* What if pages come, go, move and are touched at random? Each is a victim sometime, and none that is not there. */
START_TEST(pools_hold_what_they_were_given)
{
	struct toy *t = g_new(struct toy, 1);

	toy_init(t, swap_policies[_i], 11);
	for (unsigned i = 0; i < 60000; i++)
		toy_step(t);
	for (uint64_t n = t->pool.count; n; n--)
		toy_evict(t);
	must_eq(t->pool.count, 0);
	for (unsigned i = 0; i < SWAP_RINGS; i++)
		must_eq(t->pool.nring[i], 0);
	for (uint32_t i = 0; i < FRAMES; i++)
		must(!t->in[i]);
	toy_destroy(t);
	g_free(t);
}
END_TEST

/* What if pages used again and again meet a stream of pages used once? lru and mglru keep the former, fifo cannot. */
START_TEST(streams_do_not_drive_out_what_is_used)
{
	static const struct swap_policy *const policies[] = { &swap_fifo, &swap_lru, &swap_mglru };
	enum { HOT = 60, PAGES = 100000 };
	uint64_t ins[G_N_ELEMENTS(policies)];

	for (unsigned k = 0; k < G_N_ELEMENTS(policies); k++) {
		const struct swap_config cfg = { .nslots = 120000, .policy = policies[k], .seed = 5 };
		struct swap_world *w = world_new(&cfg, PAGES);
		struct gmem_page page;

		must(swap_set_limit(w->swap, VM, 200) == 0);
		for (unsigned i = 0; i < 20000; i++) {
			must(gmem_fault(w->g[0], i % HOT, ACC_R, FAULT_CPU, &page) == 0);
			must(gmem_fault(w->g[0], HOT + i, ACC_R, FAULT_CPU, &page) == 0);
		}
		ins[k] = w->c[0].swap_ins;
		swap_world_free(w);
	}
	/* Until they have been seen twice, some go. */
	must(ins[1] <= HOT && ins[2] <= HOT);
	must(ins[0] > 5000);
}
END_TEST

/*
 * What if what is used again has moved on, and the new pages come back too late to be seen twice while they are
 * inactive? Their refaults say so: lru activates them, and they displace the old ones.
 */
START_TEST(refaults_change_the_working_set)
{
	const struct swap_config cfg = { .nslots = 4000, .policy = &swap_lru };
	struct swap_world *w = world_new(&cfg, 2000);
	struct gmem_page page;
	uint64_t early, late;

	must(swap_set_limit(w->swap, VM, 200) == 0);
	for (unsigned i = 0; i < 4000; i++) {
		must(gmem_fault(w->g[0], i % 100, ACC_R, FAULT_CPU, &page) == 0);
		must(gmem_fault(w->g[0], 500 + i % 1000, ACC_R, FAULT_CPU, &page) == 0);
	}
	/* The loop over 1000 pages is longer than the memory; what is used is now a loop over 150 other ones. */
	for (unsigned i = 0; i < 1500; i++)
		must(gmem_fault(w->g[0], 1600 + i % 150, ACC_R, FAULT_CPU, &page) == 0);
	early = w->c[0].swap_ins;
	for (unsigned i = 0; i < 1500; i++)
		must(gmem_fault(w->g[0], 1600 + i % 150, ACC_R, FAULT_CPU, &page) == 0);
	late = w->c[0].swap_ins - early;
	must_eq(late, 0);
	swap_world_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("swap policies");
	TCase *t = tcase_create("swap policies");
	int n = 0;

	while (swap_policies[n])
		n++;
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, opt_is_never_beaten, 0, G_N_ELEMENTS(sizes));
	tcase_add_test(t, limit_is_as_good_as_a_host);
	tcase_add_test(t, another_run_is_noticed);
	tcase_add_loop_test(t, pools_hold_what_they_were_given, 0, n);
	tcase_add_test(t, streams_do_not_drive_out_what_is_used);
	tcase_add_test(t, refaults_change_the_working_set);
	suite_add_tcase(s, t);
	return suite_run(s);
}
