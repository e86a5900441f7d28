/* SPDX-License-Identifier: MIT */
/*
 * bench_mmu.c - what a simulated access costs, in nanoseconds of CPU time
 *
 * Streams: l1-hit (48 pages, at random), zipf256M (zipf 0.99 over 256 MiB, ranks scattered), uniform16G. Each through
 * the 1D walk (native) and the 2D walk 4x4, 4K on 4K (ept), with flat costs and with the data-cache model. Guest frames
 * are given to pages at random, host frames to guest frames too: what first touches in random order leave. Beside them
 * `limit`: a bare loop that does nothing but the exact-LRU look-ups of the same stream in a 64-entry 4-way TLB, and
 * `generator`, which is not part of any other row.
 *
 * Output: CSV rows name,value,unit; the median of ROUNDS interleaved runs. Numbers of one run of this program may be
 * compared with each other, not with those of another machine or hour.
 */
#include <glib.h>
#include <math.h>
#include <smmintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/tables.h"

#define ROUNDS 5
#define CHUNK	8192u /* operations between two readings of the clock */
#define CHUNKS	128u
#define QUANTUM 1024u

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum stream { L1_HIT, ZIPF, UNIFORM, STREAMS };

static const char *const stream_names[] = { "l1-hit", "zipf256M", "uniform16G" };
static const uint64_t stream_pages[] = { 48, 65536, 4194304 };

#define BASE_VA 0x10000000000ull

/* ---- generators: simple ones of our own, so that this program measures only the MMU ---- */

struct gen {
	enum stream stream;
	struct rng rng;
	unsigned write_percent;
};

#define ZIPF_S 0.99

/* The integral of x^-s, and its inverse. */
static double zipf_h(double x)
{
	return pow(x, 1 - ZIPF_S) / (1 - ZIPF_S);
}

static double zipf_h_inverse(double y)
{
	return pow(y * (1 - ZIPF_S), 1 / (1 - ZIPF_S));
}

/*
 * Rejection-inversion (Hoermann, Derflinger 1996): no tables, which would push those of the MMU out of the host's
 * caches.
 */
static uint64_t zipf_rank(struct rng *rng, uint64_t n)
{
	double low = zipf_h(1.5) - 1, high = zipf_h((double)n + 0.5);

	for (;;) {
		double u = low + (double)(rng_u64(rng) >> 11) / 9007199254740992.0 * (high - low);
		double x = zipf_h_inverse(u);
		uint64_t k = x < 1.5 ? 1 : x > (double)n ? n : (uint64_t)(x + 0.5);

		if (u >= zipf_h((double)k + 0.5) - pow((double)k, -ZIPF_S))
			return k - 1;
	}
}

static uint64_t gen_page(struct gen *g)
{
	uint64_t n = stream_pages[g->stream];

	if (g->stream != ZIPF)
		return rng_below(&g->rng, n);
	/* Ranks are scattered over the pages by an odd multiplier: n is a power of two. */
	return zipf_rank(&g->rng, n) * 40503 % n;
}

static void gen_fill(struct gen *g, struct op *ops, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		bool write = g->write_percent && rng_below(&g->rng, 100) < g->write_percent;

		ops[i].va_kind = OP_MAKE(write ? OP_WRITE : OP_READ,
					 BASE_VA + gen_page(g) * PAGE_SIZE + (rng_u64(&g->rng) & 0xff8));
		ops[i].arg = i;
	}
}

/* ---- rigs ---- */

struct rig {
	struct host host; /* tables from page 1 on; data frames above `data` */
	struct guest_regs regs;
	struct counters c;
	struct mmu_context x;
	struct pattern *content;
	uint64_t npages;
};

/* A random order of [0, n). */
static uint32_t *shuffled(uint64_t n, uint64_t seed)
{
	uint32_t *a = g_new(uint32_t, n);
	struct rng rng;

	rng_seed(&rng, seed);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t j = rng_below(&rng, i + 1);

		a[i] = a[j];
		a[j] = (uint32_t)i;
	}
	return a;
}

/* Tables in guest-physical [0, 1 GiB), which the host backs in order; data above, placed at random. */
static void rig_init(struct rig *m, uint64_t npages, bool two)
{
	uint64_t arena = 1 << 18, user = PTE_P | PTE_W | PTE_U;
	uint32_t *gfn = shuffled(npages, 1), *hfn = shuffled(npages, 2);

	memset(m, 0, sizeof(*m));
	host_init(&m->host, arena * 2 + npages);
	m->npages = npages;
	m->regs = test_regs();
	m->x = (struct mmu_context){
		.walk = two ? MMU_2D : MMU_1D, .regs = &m->regs, .levels = 4, .host_levels = 4, .ad_bits = true,
		.vpid = 1, .maxphyaddr = 46, .c = &m->c, .bytes = m->host.bytes,
	};
	hpa_t groot = host_page(&m->host);

	m->regs.cr3 = m->x.root = groot;
	for (uint64_t i = 0; i < npages; i++)
		host_map(&m->host, groot, 4, BASE_VA + i * PAGE_SIZE, 1, (arena + gfn[i]) * PAGE_SIZE, user, user);
	if (two) {
		uint64_t tables = m->host.next;

		m->x.root = host_page(&m->host);
		for (uint64_t i = 0; i < tables; i++)
			host_map(&m->host, m->x.root, 4, i * PAGE_SIZE, 1, i * PAGE_SIZE, EPT_RWX | EPT_WB, EPT_RWX);
		for (uint64_t i = 0; i < npages; i++)
			host_map(&m->host, m->x.root, 4, (arena + i) * PAGE_SIZE, 1, (2 * arena + hfn[i]) * PAGE_SIZE,
				 EPT_RWX | EPT_WB, EPT_RWX);
	}
	size_t nbytes = (2 * arena + npages) * sizeof(struct pattern);

	m->content = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->content == MAP_FAILED)
		g_error("no memory");
	m->x.content = m->content;
	g_free(gfn);
	g_free(hfn);
}

static void rig_free(struct rig *m)
{
	munmap(m->content, ((2u << 18) + m->npages) * sizeof(struct pattern));
	host_free(&m->host);
}

/* ---- the limit: nothing but exact-LRU look-ups, 64 entries in 4 ways ---- */

struct bare {
	uint64_t key[16][4], stamp[16][4], clock, hits;
};

static void bare_run(struct bare *b, const struct op *ops, uint32_t n)
{
	uint64_t clock = b->clock, hits = b->hits;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t page = ops[i].va_kind << 7 >> 19, *key = b->key[page & 15], *stamp = b->stamp[page & 15];
		__m128i want = _mm_set1_epi64x((long long)page);
		__m128i lo = _mm_cmpeq_epi64(_mm_load_si128((const __m128i *)key), want);
		__m128i hi = _mm_cmpeq_epi64(_mm_load_si128((const __m128i *)(key + 2)), want);
		__m128 both = _mm_shuffle_ps(_mm_castsi128_ps(lo), _mm_castsi128_ps(hi), 0x88);
		unsigned mask = (unsigned)_mm_movemask_ps(both), way = 0;

		if (mask) {
			way = (unsigned)__builtin_ctz(mask);
			hits++;
		} else {
			for (unsigned w = 1; w < 4; w++)
				if (stamp[w] < stamp[way])
					way = w;
			key[way] = page;
		}
		stamp[way] = ++clock;
	}
	b->clock = clock;
	b->hits = hits;
}

/* ---- runs ---- */

struct row {
	char *name;
	double ns[ROUNDS];
};

struct subject {
	struct row *row;
	enum stream stream;
	bool two, model, bare, generator;
	unsigned write_percent;
	struct rig *rig;
	struct sim_mmu *mmu;
	struct bare *tlb;
	struct gen gen;
};

/* As the simulator does it: a quantum at a time. */
static void run_quanta(struct subject *s, const struct op *ops)
{
	uint64_t work = 0, walk = 0;
	struct mmu_result r;

	for (uint32_t i = 0; i < CHUNK; i += QUANTUM)
		if (mmu_run(s->mmu, &s->rig->x, ops + i, QUANTUM, 0, &work, &walk, &r) != QUANTUM)
			g_error("an access failed: outcome %d", r.outcome);
}

/* Every page once, stored to: what is measured is the steady state, not first touches of tables and bits. */
static void touch_all(struct subject *s)
{
	static struct op ops[QUANTUM];
	uint64_t work = 0, walk = 0;
	struct mmu_result r;

	for (uint64_t page = 0; page < s->rig->npages; page += QUANTUM) {
		uint32_t n = (uint32_t)MIN(QUANTUM, s->rig->npages - page);

		for (uint32_t i = 0; i < n; i++)
			ops[i] = (struct op){ OP_MAKE(OP_WRITE, BASE_VA + (page + i) * PAGE_SIZE), page + i };
		if (mmu_run(s->mmu, &s->rig->x, ops, n, 0, &work, &walk, &r) != n)
			g_error("a first touch failed: outcome %d", r.outcome);
	}
}

static double run_once(struct subject *s)
{
	static struct op ops[CHUNK];
	uint64_t spent = 0, t;

	for (unsigned c = 0; c < CHUNKS; c++) {
		t = cpu_ns();
		gen_fill(&s->gen, ops, CHUNK);
		if (!s->generator)
			t = cpu_ns();
		if (s->bare)
			bare_run(s->tlb, ops, CHUNK);
		else if (!s->generator)
			run_quanta(s, ops);
		spent += cpu_ns() - t;
	}
	return (double)spent / (CHUNKS * CHUNK);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* `mmu PROFILE WORD`: only the rows whose names contain WORD. */
static void add(GArray *subjects, struct rig *rigs, const struct sim_profile *p, const char *word, struct subject s)
{
	s.row = g_new0(struct row, 1);
	s.row->name = g_strdup_printf("%s-%s%s%s", stream_names[s.stream],
				      s.bare	  ? "limit" :
				      s.generator ? "generator" :
				      s.two	  ? "ept" :
						    "native",
				      s.bare || s.generator ? "" :
				      s.model		    ? "-model" :
							      "-flat",
				      s.write_percent ? "-w30" : "");
	if (word && !strstr(s.row->name, word)) {
		g_free(s.row->name);
		g_free(s.row);
		return;
	}
	bool fresh = !rigs[s.stream * 2 + s.two].npages && !s.bare && !s.generator;

	s.rig = &rigs[s.stream * 2 + s.two];
	if (fresh)
		rig_init(s.rig, stream_pages[s.stream], s.two);
	if (s.bare) {
		s.tlb = aligned_alloc(64, sizeof(struct bare));
		memset(s.tlb, 0, sizeof(*s.tlb));
	} else if (!s.generator) {
		s.mmu = mmu_new(p, s.model);
		if (fresh)
			touch_all(&s);
	}
	s.gen = (struct gen){ .stream = s.stream, .write_percent = s.write_percent };
	rng_seed(&s.gen.rng, 42 + s.stream);
	g_array_append_val(subjects, s);
}

int main(int argc, char **argv)
{
	struct sim_profile *p = profile_load(argc > 1 ? argv[1] : "skylake-sp", NULL);
	GArray *subjects = g_array_new(FALSE, TRUE, sizeof(struct subject));
	struct rig rigs[STREAMS * 2] = { 0 };
	const char *word = argc > 2 ? argv[2] : NULL;

	if (!p)
		g_error("no such profile");
	for (enum stream s = 0; s < STREAMS; s++) {
		for (unsigned k = 0; k < 4; k++)
			add(subjects, rigs, p, word, (struct subject){ .stream = s, .two = k & 1, .model = k & 2 });
		add(subjects, rigs, p, word, (struct subject){ .stream = s, .two = true, .write_percent = 30 });
		add(subjects, rigs, p, word, (struct subject){ .stream = s, .bare = true });
		add(subjects, rigs, p, word, (struct subject){ .stream = s, .generator = true });
	}
	for (int round = -1; round < ROUNDS; round++) /* the first warms up */
		for (unsigned i = 0; i < subjects->len; i++) {
			struct subject *s = &g_array_index(subjects, struct subject, i);
			double ns = run_once(s);

			if (round >= 0)
				s->row->ns[round] = ns;
		}
	printf("name,value,unit\n");
	for (unsigned i = 0; i < subjects->len; i++) {
		struct subject *s = &g_array_index(subjects, struct subject, i);

		qsort(s->row->ns, ROUNDS, sizeof(double), by_value);
		printf("%s,%.2f,ns\n", s->row->name, s->row->ns[ROUNDS / 2]);
		mmu_free(s->mmu);
		free(s->tlb);
		g_free(s->row->name);
		g_free(s->row);
	}
	for (unsigned i = 0; i < STREAMS * 2; i++)
		if (rigs[i].npages)
			rig_free(&rigs[i]);
	g_array_free(subjects, TRUE);
	profile_free(p);
	return 0;
}
