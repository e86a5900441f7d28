/* SPDX-License-Identifier: MIT */
/* test_accounting_hash.c - the other half of test_accounting.c: other scanners and victims, seeds of their own */
#include <check.h>
#include <stdlib.h>

#include "tests/lib/accounting.h"
#include "tests/lib/suite.h"

static const struct accounting_config configs[] = {
	{ .dedup = "hash", .victims = "random", .pool_frames = 300, .cluster = 0, .nslots = 6000 },
	{ .dedup = "hash", .victims = "clock", .pool_frames = 60, .cluster = 4, .nslots = 3000 },
	/* It goes over all memory at each scan: fewer events. */
	{ .dedup = "oracle", .victims = "clock", .pool_frames = 60, .cluster = 4, .nslots = 3000 },
};

START_TEST(nothing_leaks)
{
	accounting_run(&configs[_i], (uint64_t)_i + 11, accounting_events(250000) / (_i == 2 ? 10 : 1));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("accounting hash");
	TCase *tc = tcase_create("accounting");

	tcase_set_timeout(tc, getenv("SOAK") ? 3600 : 120);
	tcase_add_loop_test(tc, nothing_leaks, 0, sizeof(configs) / sizeof(*configs));
	suite_add_tcase(s, tc);
	return suite_run(s);
}
