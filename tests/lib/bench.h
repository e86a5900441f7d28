/* SPDX-License-Identifier: MIT */
/*
 * bench.h - rows of a bench that has limits to hold
 *
 * A row is name,value,unit,limit,held on stdout. What is compared is measured in turn, in the same run, several rounds;
 * a row is the median over rounds, of values or of the ratios of each round, because these machines are shared and
 * only what was measured side by side means anything.
 */
#ifndef OVERBOOK_TESTS_BENCH_H
#define OVERBOOK_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS 9 /* the least; BENCH_ROUNDS=n in the environment asks for others */

struct series {
	double *v;
	size_t n, room;
};

void series_add(struct series *s, double value);
/* Of all values so far, @permille in [0, 1000]; sorts them. 0 of none. */
double series_quantile(struct series *s, unsigned permille);
double series_median(struct series *s);
void series_clear(struct series *s);

unsigned bench_rounds(void);
double bench_now_us(void);
double bench_cpu_us(void); /* of this process */
void bench_header(void);
void bench_row(const char *name, double value, const char *unit);
/* With a limit that it must not exceed (@most) or fall below; the median of @s, no row if there is none. */
void bench_most(const char *name, struct series *s, const char *unit, double limit);
void bench_least(const char *name, struct series *s, const char *unit, double limit);
void bench_median(const char *name, struct series *s, const char *unit);
/* In the table and, loudly, on stderr. */
void bench_skip(const char *name, const char *why);

/*
 * Run @f in a process of its own and fetch what it leaves in @out; false if it did not exit with 0: @f returns NULL, or
 * what the host lacks, which *why then is (static).
 */
bool bench_child(const char *(*f)(void *arg, double *out), void *arg, double *out, size_t n, const char **why);

#endif
