/* SPDX-License-Identifier: MIT */
/* must.h - an assertion for hot loops of tests: check(3)'s own cost a write to a pipe even when they hold */
#ifndef OVERBOOK_TESTS_MUST_H
#define OVERBOOK_TESTS_MUST_H

#include <check.h>

#define must(cond)                                                       \
	do {                                                             \
		if (!(cond))                                             \
			ck_abort_msg("line %d: %s", __LINE__, #cond); \
	} while (0)

/* Two unsigned numbers that must be equal, shown when they are not. */
#define must_eq(a, b)                                                                                           \
	do {                                                                                                    \
		unsigned long long must_a = (a), must_b = (b);                                                  \
		if (must_a != must_b)                                                                           \
			ck_abort_msg("line %d: %s is %llu, %s is %llu", __LINE__, #a, must_a, #b, must_b); \
	} while (0)

#endif
