/* SPDX-License-Identifier: MIT */
/*
 * test_accounting.c - what if everything that takes memory back is at work at once, and fails now and then?
 *
 * tests/lib/accounting.h says what is checked. This program and test_accounting_hash.c run half a million events each;
 * with SOAK=n both together run n.
 */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/accounting.h"
#include "tests/lib/suite.h"

static const struct accounting_config configs[] = {
	{ .dedup = "ksm", .victims = "clock", .pool_frames = 150, .cluster = 3, .nslots = 6000 },
	{ .dedup = "ksm", .victims = "fifo", .pool_frames = 0, .cluster = 2, .nslots = 1500 },
};

START_TEST(nothing_leaks)
{
	accounting_run(&configs[_i], (uint64_t)_i + 1, accounting_events(250000));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("accounting");
	TCase *tc = tcase_create("accounting");

	tcase_set_timeout(tc, getenv("SOAK") ? 3600 : 120);
	tcase_add_loop_test(tc, nothing_leaks, 0, sizeof(configs) / sizeof(*configs));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
