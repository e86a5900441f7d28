/* SPDX-License-Identifier: MIT */
/* bench.c - rows of a bench that has limits to hold; see bench.h */
#include "tests/lib/bench.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void series_add(struct series *s, double value)
{
	if (s->n == s->room) {
		s->room = MAX(64, s->room * 2);
		s->v = g_renew(double, s->v, s->room);
	}
	s->v[s->n++] = value;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double series_quantile(struct series *s, unsigned permille)
{
	if (!s->n)
		return 0;
	qsort(s->v, s->n, sizeof(*s->v), by_value);
	return s->v[(s->n - 1) * permille / 1000];
}

double series_median(struct series *s)
{
	return series_quantile(s, 500);
}

void series_clear(struct series *s)
{
	g_free(s->v);
	*s = (struct series){ 0 };
}

unsigned bench_rounds(void)
{
	const char *n = g_getenv("BENCH_ROUNDS");

	return n ? (unsigned)MAX(1, atoi(n)) : BENCH_ROUNDS;
}

static double clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double bench_now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

double bench_cpu_us(void)
{
	return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

void bench_header(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("name,value,unit,limit,held\n");
}

void bench_row(const char *name, double value, const char *unit)
{
	printf("%s,%.3g,%s,,\n", name, value, unit);
}

static void row(const char *name, double value, const char *unit, const char *sign, double limit, bool held)
{
	printf("%s,%.*f,%s,%s %g,%s\n", name, value < 100 ? 3 : 0, value, unit, sign, limit, held ? "yes" : "NO");
}

void bench_most(const char *name, struct series *s, const char *unit, double limit)
{
	double value = series_median(s);

	if (!s->n)
		return;
	row(name, value, unit, "<=", limit, value <= limit);
}

void bench_least(const char *name, struct series *s, const char *unit, double limit)
{
	double value = series_median(s);

	if (!s->n)
		return;
	row(name, value, unit, ">=", limit, value >= limit);
}

void bench_median(const char *name, struct series *s, const char *unit)
{
	double value = series_median(s);

	if (!s->n)
		return;
	printf("%s,%.*f,%s,,\n", name, value < 100 ? 3 : 0, value, unit);
}

void bench_skip(const char *name, const char *why)
{
	printf("%s,,,,skipped\n", name);
	fprintf(stderr, "SKIP: %s: %s\n", name, why);
}

struct answer {
	char why[200];
	double out[];
};

bool bench_child(const char *(*f)(void *arg, double *out), void *arg, double *out, size_t n, const char **why)
{
	static char reason[200];
	size_t size = sizeof(struct answer) + n * sizeof(double);
	struct answer *a = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	g_assert(a != MAP_FAILED);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		const char *lacks = f(arg, a->out);

		if (lacks)
			g_strlcpy(a->why, lacks, sizeof(a->why));
		_exit(lacks != NULL);
	}
	waitpid(pid, &status, 0);
	memcpy(out, a->out, n * sizeof(*out));
	g_strlcpy(reason, a->why[0] ? a->why : "it died", sizeof(reason));
	*why = reason;
	munmap(a, size);
	return pid > 0 && !status;
}
