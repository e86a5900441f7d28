/* SPDX-License-Identifier: MIT */
/* mm/counters.c and mm/err.c */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm/counters.h"
#include "mm/err.h"
#include "tests/lib/suite.h"

/* What if an error passes through ERR()? It stays the same number, and its birthplace is told to those who ask. */
START_TEST(test_err)
{
	char *line = NULL;
	size_t size = 0;
	FILE *f = tmpfile();

	ck_assert_int_ge(dup2(fileno(f), STDERR_FILENO), 0);
	unsetenv("OVERBOOK_TRACE_ERRORS");
	ck_assert_int_eq(ERR(-ENOMEM), -ENOMEM);
	setenv("OVERBOOK_TRACE_ERRORS", "1", 1);
	ck_assert_int_eq(ERR(0), 0);
	ck_assert_int_eq(ERR(-EFAULT), -EFAULT);
	rewind(f);
	ck_assert_int_gt(getline(&line, &size, f), 0);
	ck_assert(strstr(line, "test_counters.c:") && strstr(line, "-14"));
	ck_assert_int_lt(getline(&line, &size, f), 0);
	free(line);
	fclose(f);
}
END_TEST

/* What if counters.def names a counter twice, or the table misses one? */
START_TEST(test_counters)
{
	struct counters a = { 0 }, b = { 0 };
	unsigned n = 0;

	for (const struct counter_info *i = counter_table; i->name; i++, n++) {
		ck_assert_uint_eq(i->offset, n * sizeof(uint64_t));
		ck_assert(strlen(i->sentence) > 5 && i->sentence[strlen(i->sentence) - 1] == '.');
		for (const struct counter_info *j = counter_table; j < i; j++)
			ck_assert_str_ne(i->name, j->name);
		*(uint64_t *)((char *)&a + i->offset) = n;
		*(uint64_t *)((char *)&b + i->offset) = 1000;
	}
	ck_assert_uint_eq(n * sizeof(uint64_t), sizeof(struct counters));
	counters_add(&b, &a);
	for (n = 0; counter_table[n].name; n++)
		ck_assert_uint_eq(counter_get(&b, &counter_table[n]), 1000 + n);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("counters");
	TCase *t = tcase_create("counters");

	tcase_add_test(t, test_err);
	tcase_add_test(t, test_counters);
	suite_add_tcase(s, t);
	return suite_run(s);
}
