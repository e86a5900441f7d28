/* SPDX-License-Identifier: MIT */
/* suite.h - the end of every test program's main() */
#ifndef OVERBOOK_TESTS_SUITE_H
#define OVERBOOK_TESTS_SUITE_H

#include <check.h>

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

#endif
