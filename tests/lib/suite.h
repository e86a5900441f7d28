/* SPDX-License-Identifier: MIT */
/* suite.h - the end of every test program's main(), and how much it is to do */
#ifndef OVERBOOK_TESTS_SUITE_H
#define OVERBOOK_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Run @s, show what failed, free it; returns the exit status of the program. */
static inline int suite_run(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* @n, or where every exit is emulated (make check-nested) that part of it that OVERBOOK_TEST_SCALE says; at least 1. */
static inline unsigned suite_scaled(unsigned n)
{
	const char *s = getenv("OVERBOOK_TEST_SCALE");
	unsigned divisor = s ? (unsigned)strtoul(s, NULL, 10) : 1;

	if (divisor <= 1)
		return n;
	return n / divisor ? n / divisor : 1;
}

#endif
