/* SPDX-License-Identifier: MIT */
/*
 * bench_mrc.c - replay of decoded traces under lru and clock, requests a second
 *
 * Prints CSV rows name,value,unit. Two traces: zipf 0.99 over 256 MiB with a quarter of it as memory, and the shipped
 * one (its path may be given as argument) with a quarter of its footprint, every access replayed, no runs cut. Beside
 * each policy the limit: a bare loop over the same ids that keeps only the arrays the policy cannot do without. Medians
 * of RUNS rounds in which everything is measured in turn, in CPU time.
 */
#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mm/replace.h"
#include "vmm/trace.h"
#include "workloads/rng.h"

#define RUNS	  7
#define ZIPF_N	  (8u << 20)
#define ZIPF_NIDS 65536u

struct job {
	const char *name;
	const uint32_t *ids;
	size_t n;
	uint32_t nids, nframes;
	const struct replace_ops *ops;		 /* or, if NULL: */
	uint64_t (*bare)(const struct job *job); /* returns misses */
	double rate[RUNS];
	uint64_t misses;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* LRU as three arrays in one loop. */
static uint64_t bare_lru(const struct job *job)
{
	uint32_t head = job->nids, nfree = job->nframes, *prev = g_new(uint32_t, head + 1),
		 *next = g_new(uint32_t, head + 1);
	uint8_t *resident = g_new0(uint8_t, head);
	uint64_t misses = 0;

	prev[head] = next[head] = head;
	for (size_t i = 0; i < job->n; i++) {
		uint32_t id = job->ids[i], out = resident[id] ? id : REPLACE_NONE;

		if (next[head] == id)
			continue;
		if (out == REPLACE_NONE) {
			misses++;
			resident[id] = 1;
			if (nfree)
				nfree--;
			else
				resident[out = prev[head]] = 0;
		}
		if (out != REPLACE_NONE)
			next[prev[out]] = next[out], prev[next[out]] = prev[out];
		next[id] = next[head], prev[id] = head;
		prev[next[id]] = id, next[head] = id;
	}
	g_free(prev), g_free(next), g_free(resident);
	return misses;
}

/* The clock: a byte a page, a ring, a hand. */
static uint64_t bare_clock(const struct job *job)
{
	uint32_t *ring = g_new(uint32_t, job->nframes), hand = 0, nused = 0;
	uint8_t *state = g_new0(uint8_t, job->nids);
	uint64_t misses = 0;

	for (size_t i = 0; i < job->n; i++) {
		uint32_t id = job->ids[i];

		if (!state[id]) {
			misses++;
			if (nused < job->nframes) {
				ring[nused++] = id;
			} else {
				for (; state[ring[hand]] == 2; hand = (hand + 1) % job->nframes)
					state[ring[hand]] = 1;
				state[ring[hand]] = 0;
				ring[hand] = id;
				hand = (hand + 1) % job->nframes;
			}
		}
		state[id] = 2;
	}
	g_free(ring), g_free(state);
	return misses;
}

static void measure(struct job *job, int run)
{
	void *policy = NULL;
	double start;

	if (job->ops)
		policy = job->ops->create(&(struct replace_args){ .nframes = job->nframes, .nids = job->nids });
	start = now();
	job->misses = policy ? job->ops->replay(policy, job->ids, job->n) : job->bare(job);
	job->rate[run] = job->n / (now() - start) / 1e6;
	if (policy)
		job->ops->destroy(policy);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static uint32_t *make_zipf(void)
{
	double *upto = g_new(double, ZIPF_NIDS), sum = 0;
	uint32_t *ids = g_new(uint32_t, ZIPF_N), *page = g_new(uint32_t, ZIPF_NIDS);
	struct rng r;

	rng_seed(&r, 1);
	for (uint32_t i = 0; i < ZIPF_NIDS; i++) {
		uint32_t j = rng_below(&r, i + 1);

		upto[i] = sum += pow(i + 1, -0.99);
		/* Ranks fall on pages at random. */
		page[i] = page[j];
		page[j] = i;
	}
	for (uint32_t i = 0; i < ZIPF_N; i++) {
		double x = sum * (rng_u64(&r) >> 11) / 9007199254740992.0;
		uint32_t low = 0, high = ZIPF_NIDS - 1;

		while (low < high) {
			uint32_t mid = (low + high) / 2;

			if (upto[mid] < x)
				low = mid + 1;
			else
				high = mid;
		}
		ids[i] = page[low];
	}
	g_free(upto), g_free(page);
	return ids;
}

/* Every access of the shipped trace as a page number; also how fast it is decoded. */
static uint32_t *load(const char *path, size_t *n, uint32_t *nids)
{
	GError *error = NULL;
	struct trace_reader *r = trace_open(path, &error);
	double start = now();
	uint64_t access[4096];
	uint32_t *ids, got;

	if (!r) {
		fprintf(stderr, "%s\n", error->message);
		exit(EXIT_FAILURE);
	}
	ids = g_new(uint32_t, trace_info(r)->total);
	for (*n = 0; (got = trace_read(r, access, G_N_ELEMENTS(access))); *n += got)
		for (uint32_t i = 0; i < got; i++)
			ids[*n + i] = trace_page_id(r, (access[i] & OP_VA_MASK) >> 12);
	printf("mrc_shipped_decode,%.1f,M requests/s\n", *n / (now() - start) / 1e6);
	*nids = trace_info(r)->npages;
	trace_close(r);
	return ids;
}

int main(int argc, char **argv)
{
	uint32_t *zipf = make_zipf(), *shipped, nids;
	size_t n;

	shipped = load(argc > 1 ? argv[1] : "workloads/traces/sort.obt", &n, &nids);
	struct job jobs[] = {
		{ "mrc_zipf_lru", zipf, ZIPF_N, ZIPF_NIDS, ZIPF_NIDS / 4, &replace_lru, NULL, { 0 }, 0 },
		{ "mrc_zipf_lru_limit", zipf, ZIPF_N, ZIPF_NIDS, ZIPF_NIDS / 4, NULL, bare_lru, { 0 }, 0 },
		{ "mrc_zipf_clock", zipf, ZIPF_N, ZIPF_NIDS, ZIPF_NIDS / 4, &replace_clock, NULL, { 0 }, 0 },
		{ "mrc_zipf_clock_limit", zipf, ZIPF_N, ZIPF_NIDS, ZIPF_NIDS / 4, NULL, bare_clock, { 0 }, 0 },
		{ "mrc_shipped_lru", shipped, n, nids, nids / 4, &replace_lru, NULL, { 0 }, 0 },
		{ "mrc_shipped_lru_limit", shipped, n, nids, nids / 4, NULL, bare_lru, { 0 }, 0 },
		{ "mrc_shipped_clock", shipped, n, nids, nids / 4, &replace_clock, NULL, { 0 }, 0 },
		{ "mrc_shipped_clock_limit", shipped, n, nids, nids / 4, NULL, bare_clock, { 0 }, 0 },
	};

	for (int run = 0; run < RUNS; run++)
		for (size_t k = 0; k < G_N_ELEMENTS(jobs); k++)
			measure(&jobs[k], run);
	for (size_t k = 0; k < G_N_ELEMENTS(jobs); k++) {
		qsort(jobs[k].rate, RUNS, sizeof(double), compare);
		printf("%s,%.1f,M requests/s\n", jobs[k].name, jobs[k].rate[RUNS / 2]);
		/* The limit does the same work, or it is no limit. */
		if (!jobs[k].ops && jobs[k].misses != jobs[k - 1].misses)
			return EXIT_FAILURE;
	}
	g_free(zipf), g_free(shipped);
	return EXIT_SUCCESS;
}
